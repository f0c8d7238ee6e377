package agent

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// A key is a name that a configuration may hold. Exactly one of set, idle and
// refuse is given.
type key[T any] struct {
	set    func(t *T, n *node) error
	idle   string // why it has no effect here
	refuse string // why it is an error, and what to do instead
}

func text[T any](f func(*T) *string) key[T] {
	return key[T]{set: func(t *T, n *node) (err error) { *f(t), err = n.asString(); return err }}
}

func whole[T any](f func(*T) *int) key[T] {
	return key[T]{set: func(t *T, n *node) error {
		v, err := n.asInt()
		if *f(t) = int(v); err == nil && int64(int(v)) != v {
			err = fmt.Errorf("%d is too large", v)
		}
		return err
	}}
}

// positive is whole for a number where zero would be a choice that does not exist.
func positive[T any](f func(*T) *int) key[T] {
	k := whole(f)
	return key[T]{set: func(t *T, n *node) error {
		err := k.set(t, n)
		if err == nil && *f(t) <= 0 {
			err = fmt.Errorf("%d must be more than 0", *f(t))
		}
		return err
	}}
}

func truth[T any](f func(*T) *bool) key[T] {
	return key[T]{set: func(t *T, n *node) (err error) { *f(t), err = n.asBool(); return err }}
}

func texts[T any](f func(*T) *[]string) key[T] {
	return key[T]{set: func(t *T, n *node) (err error) { *f(t), err = n.asStrings(); return err }}
}

func span64[T any](unit time.Duration, f func(*T) *time.Duration) key[T] {
	return key[T]{set: func(t *T, n *node) error {
		v, err := n.asInt()
		if err != nil {
			return err
		}
		if v <= 0 {
			// Zero would take the default behind the user's back.
			return fmt.Errorf("%d must be more than 0", v)
		}
		if v > int64(365*24*100*time.Hour/unit) {
			return fmt.Errorf("%d is more than a hundred years", v)
		}
		*f(t) = time.Duration(v) * unit
		return nil
	}}
}

func idle[T any](why string) key[T]   { return key[T]{idle: why} }
func refuse[T any](why string) key[T] { return key[T]{refuse: why} }

const (
	noCloudWatch = "there is no CloudWatch reporting; run with --status-addr and read /metrics there"
	noPool       = "the producer needs no pool of sending threads"
	sdkHTTP      = "the HTTP client has fixed settings"
	noQueue      = "memory is bounded by maxMemoryBytes, not by queues"
	useProfile   = "not supported; put role_arn into a profile of ~/.aws/config and name it in AWS_PROFILE"
	useProcess   = "Java classes cannot be loaded; put credential_process into a profile of ~/.aws/config instead"
	noFirehose   = "Firehose delivery streams are not supported; send to a Kinesis stream with kinesisStream, and let Firehose read from that"
)

// agentKeys are the keys at the top of the configuration, all of the official
// agent's and our own. "flows" is read apart.
var agentKeys = map[string]key[Config]{
	"awsAccessKeyId":           text(func(c *Config) *string { return &c.AWSAccessKeyID }),
	"awsSecretAccessKey":       text(func(c *Config) *string { return &c.AWSSecretAccessKey }),
	"kinesis.endpoint":         text(func(c *Config) *string { return &c.KinesisEndpoint }),
	"kinesis.region":           text(func(c *Config) *string { return &c.KinesisRegion }),
	"checkpointFile":           text(func(c *Config) *string { return &c.CheckpointFile }),
	"checkpointTimeToLiveDays": span64(24*time.Hour, func(c *Config) *time.Duration { return &c.CheckpointTimeToLive }),
	"shutdownTimeoutMillis":    span64(time.Millisecond, func(c *Config) *time.Duration { return &c.ShutdownTimeout }),
	"log.statusReportingPeriodSeconds": span64(time.Second,
		func(c *Config) *time.Duration { return &c.StatusPeriod }),
	"maxMemoryBytes": {set: func(c *Config, n *node) (err error) {
		if c.MaxMemoryBytes, err = n.asInt(); err == nil && c.MaxMemoryBytes <= 0 {
			err = fmt.Errorf("%d must be more than 0", c.MaxMemoryBytes)
		}
		return err
	}},

	"assumeRoleARN":                            refuse[Config](useProfile),
	"assumeRoleExternalId":                     refuse[Config](useProfile),
	"userDefinedCredentialsProvider.classname": refuse[Config](useProcess),
	"userDefinedCredentialsProvider.location":  refuse[Config](useProcess),

	"sts.endpoint":                       idle[Config]("no role is assumed; AWS_ENDPOINT_URL_STS is honoured"),
	"firehose.endpoint":                  idle[Config]("there is no Firehose delivery"),
	"cloudwatch.endpoint":                idle[Config](noCloudWatch),
	"cloudwatch.emitMetrics":             idle[Config](noCloudWatch),
	"cloudwatch.namespace":               idle[Config](noCloudWatch),
	"cloudwatch.tagInstance":             idle[Config](noCloudWatch),
	"cloudwatch.metricsBufferTimeMillis": idle[Config](noCloudWatch),
	"cloudwatch.metricsQueueSize":        idle[Config](noCloudWatch),
	"log.emitMetrics":                    idle[Config]("metrics are on /metrics, with --status-addr"),
	"log.emitInternalMetrics":            idle[Config]("metrics are on /metrics, with --status-addr"),
	"log.level":                          idle[Config]("the flag --log-level sets it"),
	"log.file":                           idle[Config]("the log goes to the standard error output"),
	"checkpoints.queryTimeoutSeconds":    idle[Config]("the checkpoint file is no SQLite database"),
	"checkpoints.connectionTimeoutSeconds": idle[Config](
		"the checkpoint file is no SQLite database"),
	"maxSendingThreadsPerCore":      idle[Config](noPool),
	"maxSendingThreads":             idle[Config](noPool),
	"sendingThreadsKeepAliveMillis": idle[Config](noPool),
	"sendingThreadsMaxQueueSize":    idle[Config](noPool),
	"maxConnections":                idle[Config](sdkHTTP),
	"connectionTimeoutMillis":       idle[Config](sdkHTTP),
	"socketTimeoutMillis":           idle[Config](sdkHTTP),
	"connectionTTLMillis":           idle[Config](sdkHTTP),
	"useTcpKeepAlive":               idle[Config](sdkHTTP),
	"useHttpGzip":                   idle[Config](sdkHTTP),
	"userAgent":                     idle[Config](sdkHTTP),
	"userAgentOverride":             idle[Config](sdkHTTP),
}

// flowKeys are the keys of a flow. "dataProcessingOptions" is read apart.
var flowKeys = map[string]key[FlowConfig]{
	"filePattern":   text(func(f *FlowConfig) *string { return &f.FilePattern }),
	"kinesisStream": text(func(f *FlowConfig) *string { return &f.KinesisStream }),
	"include":       texts(func(f *FlowConfig) *[]string { return &f.Include }),
	"exclude":       texts(func(f *FlowConfig) *[]string { return &f.Exclude }),
	"partitionKey":  text(func(f *FlowConfig) *string { return &f.PartitionKey }),
	"partitionKeyOption": {set: func(f *FlowConfig, n *node) error {
		switch s, err := n.asString(); {
		case err != nil:
			return err
		case s == "RANDOM":
			def(&f.PartitionKey, KeyRandom)
		case s == "DETERMINISTIC":
			def(&f.PartitionKey, KeyDeterministic)
		default:
			return fmt.Errorf("%q is none of RANDOM, DETERMINISTIC", s)
		}
		return nil
	}},
	"initialPosition": {set: func(f *FlowConfig, n *node) error {
		s, err := n.asString()
		if f.StartOfFile = s == "START_OF_FILE"; err == nil && !f.StartOfFile && s != "END_OF_FILE" {
			err = fmt.Errorf("%q is none of START_OF_FILE, END_OF_FILE", s)
		}
		return err
	}},
	"skipHeaderLines": whole(func(f *FlowConfig) *int { return &f.SkipHeaderLines }),
	"multiLineStartPattern": {set: func(f *FlowConfig, n *node) error {
		s, err := n.asString()
		if err != nil {
			return err
		}
		if f.MultiLineStart, err = regexp.Compile(s); err != nil {
			return fmt.Errorf("%w; lookaround, back-references and possessive quantifiers of Java do not exist here", err)
		}
		return nil
	}},
	"multiLineFlushMillis": span64(time.Millisecond, func(f *FlowConfig) *time.Duration { return &f.MultiLineFlush }),
	"truncatedRecordTerminator": {set: func(f *FlowConfig, n *node) (err error) {
		if f.TruncatedRecordTerminator, err = n.asString(); err == nil && f.TruncatedRecordTerminator == "" {
			err = errors.New("must have at least one character")
		}
		return err
	}},
	"maxRecordBytes":       positive(func(f *FlowConfig) *int { return &f.MaxRecordBytes }),
	"maxBufferAgeMillis":   span64(time.Millisecond, func(f *FlowConfig) *time.Duration { return &f.MaxBufferAge }),
	"maxBufferSizeRecords": positive(func(f *FlowConfig) *int { return &f.MaxBufferSizeRecords }),
	"maxBufferSizeBytes":   positive(func(f *FlowConfig) *int { return &f.MaxBufferSizeBytes }),
	"aggregation":          truth(func(f *FlowConfig) *bool { return &f.Aggregation }),
	"minTimeBetweenFilePollsMillis": span64(time.Millisecond,
		func(f *FlowConfig) *time.Duration { return &f.PollInterval }),
	"maxTimeBetweenFileTrackerRefreshMillis": span64(time.Millisecond,
		func(f *FlowConfig) *time.Duration { return &f.ScanInterval }),
	"rotateWaitSeconds":         span64(time.Second, func(f *FlowConfig) *time.Duration { return &f.RotateWait }),
	"retryInitialBackoffMillis": span64(time.Millisecond, func(f *FlowConfig) *time.Duration { return &f.RetryInitial }),
	"retryMaxBackoffMillis":     span64(time.Millisecond, func(f *FlowConfig) *time.Duration { return &f.RetryMax }),
	"maxOpenFiles":              positive(func(f *FlowConfig) *int { return &f.MaxOpenFiles }),

	"deliveryStream": refuse[FlowConfig](noFirehose),
	"fileFooterPattern": refuse[FlowConfig](
		"not supported; a footer would be sent as a record: let its consumer drop it, and remove the key"),

	"aggregatedRecordSizeBytes":    idle[FlowConfig]("it belongs to Firehose flows; aggregation packs records for Kinesis"),
	"publishQueueCapacity":         idle[FlowConfig](noQueue),
	"waitOnFullPublishQueueMillis": idle[FlowConfig](noQueue),
	"waitOnEmptyPublishQueueMillis": idle[FlowConfig](
		noQueue),
	"log.emitInternalMetrics": idle[FlowConfig]("metrics are on /metrics, with --status-addr"),
}
