package multilang

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Why properties have no effect.
const (
	noteMetrics    = "has no effect: no metrics are sent to CloudWatch; --metrics serves them for Prometheus"
	noteLeader     = "has no effect: by which rules leases are shared is found out from the table, and the times of a leader are fixed, see consumer.ModeAuto"
	noteTables     = "has no effect: no table is made beside the lease table; those of the KCL 3.0 to 3.4 are used as they are, if they exist"
	noteCapacity   = "has no effect: a lease table that is created is billed by request"
	noteThreads    = "has no effect: there are no thread pools"
	noteSync       = "has no effect: shards and leases are compared at every start, and children are created as their parents end"
	noteRetry      = "has no effect: calls that fail are tried again for as long as it takes, with growing pauses"
	noteValidate   = "has no effect: a sequence number is always compared with what was delivered, without a call"
	noteParents    = "has no effect: children of a shard that ends here are taken at once, others at the next look at the leases"
	noteBackoff    = "has no effect: a child that fails is restarted after 100 ms at first and 30 s at last"
	noteCloudWatch = "has no effect: CloudWatch is not called"
	noteTable      = "has no effect: set it on the table by other means"
)

// properties are the keys of the MultiLangDaemon 1.x to 3.x.
//
// Sources: MultiLangDaemonConfig, MultiLangDaemonConfiguration,
// KinesisClientLibConfigurator and the beans beside them;
// KinesisClientLibConfiguration of 1.x; sample.properties of amazon_kclpy and
// aws-kcl.
var properties = map[string]property{
	"executableName": {set: func(s *Settings, v string) error {
		s.Command = strings.Fields(v) // the KCL splits at blanks, and knows no quotes
		return nil
	}},
	"applicationName": {set: text(func(s *Settings) *string { return &s.Application })},
	"streamName": {set: func(s *Settings, v string) error {
		if arnRegion(s.Stream) == "" { // the ARN wins, wherever it stands
			s.Stream = v
		}
		return nil
	}},
	"streamArn": {set: func(s *Settings, v string) error {
		if arnRegion(v) == "" {
			return fmt.Errorf("%q is not the ARN of a stream; write it like arn:aws:kinesis:REGION:ACCOUNT:stream/NAME", v)
		}
		s.Stream = v
		return nil
	}},
	"tableName":          {set: text(func(s *Settings) *string { return &s.Table })},
	"workerId":           {set: text(func(s *Settings) *string { return &s.Consumer.WorkerID })},
	"workerIdentifier":   {set: text(func(s *Settings) *string { return &s.Consumer.WorkerID })},
	"processingLanguage": {set: func(*Settings, string) error { return nil }}, // a word for the user agent

	"regionName":                      {set: text(func(s *Settings) *string { return &s.Region })},
	"dynamoDBRegionName":              {set: text(func(s *Settings) *string { return &s.DynamoDBRegion })},
	"cloudWatchRegionName":            {note: noteCloudWatch},
	"kinesisClient.region":            {set: text(func(s *Settings) *string { return &s.Region })},
	"dynamoDbClient.region":           {set: text(func(s *Settings) *string { return &s.DynamoDBRegion })},
	"cloudWatchClient.region":         {note: noteCloudWatch},
	"kinesisEndpoint":                 {set: endpoint(func(s *Settings) *string { return &s.KinesisEndpoint })},
	"dynamoDBEndpoint":                {set: endpoint(func(s *Settings) *string { return &s.DynamoDBEndpoint })},
	"kinesisClient.endpointOverride":  {set: endpoint(func(s *Settings) *string { return &s.KinesisEndpoint })},
	"dynamoDbClient.endpointOverride": {set: endpoint(func(s *Settings) *string { return &s.DynamoDBEndpoint })},

	"cloudWatchClient.endpointOverride": {note: noteCloudWatch},

	"awsCredentialsProvider": {set: func(s *Settings, v string) (err error) {
		s.Kinesis, err = credentials(v)
		if s.DynamoDB == (Credentials{}) {
			s.DynamoDB = s.Kinesis
		}
		return err
	}},
	"awsCredentialsProviderDynamoDB": {set: func(s *Settings, v string) (err error) {
		s.DynamoDB, err = credentials(v)
		return err
	}},
	"awsCredentialsProviderCloudWatch": {note: noteCloudWatch},

	"initialPositionInStream": {set: func(s *Settings, v string) error {
		p := &s.Consumer.InitialPosition
		switch strings.ToUpper(v) {
		case "LATEST":
			p.Latest = p.Time.IsZero()
		case "TRIM_HORIZON":
			p.Latest = false
		default:
			return fmt.Errorf("%q is neither LATEST nor TRIM_HORIZON; for a time set initialPositionInStreamExtended", v)
		}
		return nil
	}},
	"initialPositionInStreamExtended": {set: func(s *Settings, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n <= 0 {
			return fmt.Errorf("%q is not a time in seconds since 1970", v)
		}
		s.Consumer.InitialPosition.Latest, s.Consumer.InitialPosition.Time = false, time.Unix(n, 0)
		return nil
	}},

	"timeoutInSeconds":                         {set: duration(time.Second, func(s *Settings) *time.Duration { return &s.Timeout })},
	"shutdownGraceMillis":                      {set: duration(time.Millisecond, func(s *Settings) *time.Duration { return &s.Consumer.ShutdownTimeout })},
	"failoverTimeMillis":                       {set: duration(time.Millisecond, func(s *Settings) *time.Duration { return &s.Consumer.FailoverTime })},
	"idleTimeBetweenReadsInMillis":             {polling: true, set: duration(time.Millisecond, func(s *Settings) *time.Duration { return &s.Consumer.IdleTimeBetweenReads })},
	"maxRecords":                               {polling: true, set: number(func(s *Settings) *int { return &s.Consumer.MaxRecords })},
	"maxLeasesForWorker":                       {set: number(func(s *Settings) *int { return &s.Consumer.MaxLeasesForWorker })},
	"maxLeasesToStealAtOneTime":                {set: number(func(s *Settings) *int { return &s.Consumer.MaxLeasesToStealAtOneTime })},
	"maxLeaseRenewalThreads":                   {set: number(func(s *Settings) *int { return &s.Consumer.MaxLeaseRenewalThreads })},
	"cleanupLeasesUponShardCompletion":         {set: boolean(true, func(s *Settings) *bool { return &s.Consumer.DisableCleanupLeasesUponShardCompletion })},
	"callProcessRecordsEvenForEmptyRecordList": {set: boolean(false, func(s *Settings) *bool { return &s.Consumer.CallProcessRecordsEvenForEmptyRecordList })},
	"leaseTableDeletionProtectionEnabled":      {set: boolean(false, func(s *Settings) *bool { return &s.TableDeletionProtection })},

	"retrievalMode": {set: func(s *Settings, v string) error {
		mode, ok := map[string]retrieval{"DEFAULT": retrievalDefault, "POLLING": retrievalPolling, "FANOUT": retrievalFanOut}[strings.ToUpper(v)]
		if !ok {
			return fmt.Errorf("%q is none of DEFAULT, POLLING, FANOUT", v)
		}
		s.retrieval = mode
		return nil
	}},
	"consumerName":                     {set: text(func(s *Settings) *string { return &s.Consumer.ConsumerName })},
	"consumerArn":                      {set: text(func(s *Settings) *string { return &s.Consumer.ConsumerARN })},
	"fanoutConfig.consumerName":        {set: text(func(s *Settings) *string { return &s.Consumer.ConsumerName })},
	"fanoutConfig.consumerArn":         {set: text(func(s *Settings) *string { return &s.Consumer.ConsumerARN })},
	"maxDescribeStreamSummaryRetries":  {note: noteRetry},
	"maxDescribeStreamConsumerRetries": {note: noteRetry},
	"registerStreamConsumerRetries":    {note: noteRetry},
	"retryBackoffMillis":               {note: noteRetry},

	"fanoutConfig.maxDescribeStreamSummaryRetries":  {note: noteRetry},
	"fanoutConfig.maxDescribeStreamConsumerRetries": {note: noteRetry},
	"fanoutConfig.registerStreamConsumerRetries":    {note: noteRetry},
	"fanoutConfig.retryBackoffMillis":               {note: noteRetry},

	"validateSequenceNumberBeforeCheckpointing":        {note: noteValidate},
	"maxActiveThreads":                                 {note: noteThreads, unless: "0"},
	"maxGetRecordsThreadPool":                          {polling: true, note: noteThreads},
	"retryGetRecordsInSeconds":                         {polling: true, note: noteRetry},
	"listShardsBackoffTimeInMillis":                    {note: noteRetry},
	"maxListShardsRetryAttempts":                       {note: noteRetry},
	"maxInitializationAttempts":                        {note: noteRetry},
	"schedulerInitializationBackoffTimeMillis":         {note: noteRetry},
	"taskBackoffTimeMillis":                            {note: noteBackoff},
	"parentShardPollIntervalMillis":                    {note: noteParents},
	"shardSyncIntervalMillis":                          {note: noteSync},
	"ignoreUnexpectedChildShards":                      {note: noteSync},
	"shardPrioritization":                              {note: noteSync},
	"skipShardSyncAtWorkerInitializationIfLeasesExist": {note: noteSync},
	"logWarningForTaskAfterMillis":                     {note: "has no effect: set timeoutInSeconds to have a child restarted that does not answer"},
	"enablePriorityLeaseAssignment":                    {note: "has no effect: all leases that are free are taken in one look"},
	"userAgent":                                        {note: "has no effect: the user agent is that of the AWS SDK"},

	"metricsBufferTimeMillis":  {note: noteMetrics},
	"metricsMaxQueueSize":      {note: noteMetrics},
	"metricsLevel":             {note: noteMetrics, unless: "NONE"},
	"metricsEnabledDimensions": {note: noteMetrics},

	"initialLeaseTableReadCapacity":  {note: noteCapacity},
	"initialLeaseTableWriteCapacity": {note: noteCapacity},
	"billingMode":                    {note: noteCapacity, unless: "PAY_PER_REQUEST"},
	"leaseTablePitrEnabled":          {note: noteTable, unless: "false"},

	"clientVersionConfig":                         {note: "has no effect: by which rules leases are shared is found out from the table"},
	"coordinatorStateTableName":                   {set: text(func(s *Settings) *string { return &s.CoordinatorStateTable })},
	"coordinatorStateBillingMode":                 {note: noteTables},
	"coordinatorStateReadCapacity":                {note: noteTables},
	"coordinatorStateWriteCapacity":               {note: noteTables},
	"coordinatorStatePointInTimeRecoveryEnabled":  {note: noteTables},
	"coordinatorStateDeletionProtectionEnabled":   {note: noteTables},
	"coordinatorStateTags":                        {note: noteTables},
	"workerMetricsTableName":                      {set: text(func(s *Settings) *string { return &s.WorkerMetricsTable })},
	"workerMetricsBillingMode":                    {note: noteTables},
	"workerMetricsReadCapacity":                   {note: noteTables},
	"workerMetricsWriteCapacity":                  {note: noteTables},
	"workerMetricsPointInTimeRecoveryEnabled":     {note: noteTables},
	"workerMetricsDeletionProtectionEnabled":      {note: noteTables},
	"workerMetricsTags":                           {note: noteTables},
	"gracefulLeaseHandoffTimeoutMillis":           {note: noteLeader},
	"isGracefulLeaseHandoffEnabled":               {note: noteLeader},
	"inMemoryWorkerMetricsCaptureFrequencyMillis": {note: noteLeader},
	"workerMetricsReporterFreqInMillis":           {note: noteLeader},
	"noOfPersistedMetricsPerWorkerMetrics":        {note: noteLeader},
	"disableWorkerMetrics":                        {note: noteLeader},
	"maxThroughputPerHostKBps":                    {note: noteLeader},
	"dampeningPercentage":                         {note: noteLeader},
	"reBalanceThresholdPercentage":                {note: noteLeader},
	"allowThroughputOvershoot":                    {note: noteLeader},
	"varianceBalancingFrequency":                  {note: noteLeader},
	"workerMetricsEMAAlpha":                       {note: noteLeader},
	"staleWorkerMetricsEntryCleanupDuration":      {note: noteLeader},
	"leaseAssignmentIntervalMillis":               {note: noteLeader},
	"leaseAssignmentStrategy":                     {note: noteLeader},
}

// Readers of values.

func text(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		*field(s) = v
		return nil
	}
}

func endpoint(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		if u, err := url.Parse(v); err != nil || u.Hostname() == "" {
			if u, err = url.Parse("https://" + v); err != nil || u.Hostname() == "" {
				return fmt.Errorf("%q is not a URL", v)
			}
			v = "https://" + v // the KCL 1.x took a host alone
		}
		*field(s) = v
		return nil
	}
}

func duration(unit time.Duration, field func(*Settings) *time.Duration) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 || n > int64((1<<63-1)/unit) {
			return fmt.Errorf("%q is not a number from 0", v)
		}
		*field(s) = time.Duration(n) * unit
		return nil
	}
}

func number(field func(*Settings) *int) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number from 1", v)
		}
		*field(s) = n
		return nil
	}
}

// boolean sets a field to the value, or to its opposite.
func boolean(negate bool, field func(*Settings) *bool) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		b, err := strconv.ParseBool(strings.ToLower(v))
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		*field(s) = b != negate
		return nil
	}
}

// chains are the providers that the default chain of the AWS SDK for Go has
// as well.
var chains = map[string]bool{
	"DefaultCredentialsProvider": true, "DefaultAWSCredentialsProviderChain": true,
	"AwsCredentialsProviderChain": true, "EnvironmentVariableCredentialsProvider": true,
	"ContainerCredentialsProvider": true, "EC2ContainerCredentialsProviderWrapper": true,
	"InstanceProfileCredentialsProvider": true, "WebIdentityTokenFileCredentialsProvider": true,
	"WebIdentityTokenCredentialsProvider": true,
}

// credentials reads a list of providers, of which the first one counts that
// can be had. A provider may have arguments, behind bars.
func credentials(list string) (Credentials, error) {
	var errs []error
	for one := range strings.SplitSeq(list, ",") {
		args := strings.Split(strings.TrimSpace(one), "|")
		name := args[0][strings.LastIndexByte(args[0], '.')+1:] // it may have its package
		switch args = args[1:]; {
		case chains[name]:
			return Credentials{}, nil
		case name == "ProfileCredentialsProvider" && len(args) == 0:
			return Credentials{Profile: "default"}, nil
		case name == "ProfileCredentialsProvider" && len(args) == 1 && !strings.Contains(args[0], "="):
			return Credentials{Profile: args[0]}, nil
		case (name == "StaticCredentialsProvider" || name == "KclStaticCredentialsProvider" || name == "BasicAWSCredentials") && len(args) == 2:
			return Credentials{AccessKeyID: args[0], SecretAccessKey: args[1]}, nil
		}
		errs = append(errs, fmt.Errorf("credentials provider %q is not known here", name))
	}
	errs = append(errs, errors.New("name DefaultCredentialsProvider, or ProfileCredentialsProvider|PROFILE for a profile of the AWS config files, which may have a role_arn"))
	return Credentials{}, errors.Join(errs...)
}
