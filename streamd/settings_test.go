package streamd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func (r *rig) commit(enable bool) *types.MinimumThroughputBillingCommitmentOutput {
	r.t.Helper()
	status := types.MinimumThroughputBillingCommitmentInputStatusDisabled
	if enable {
		status = types.MinimumThroughputBillingCommitmentInputStatusEnabled
	}
	return must[*kinesis.UpdateAccountSettingsOutput](r.t)(r.client.UpdateAccountSettings(r.t.Context(), &kinesis.UpdateAccountSettingsInput{
		MinimumThroughputBillingCommitment: &types.MinimumThroughputBillingCommitmentInput{Status: status},
	})).MinimumThroughputBillingCommitment
}

func (r *rig) onDemand() {
	r.t.Helper()
	must[*kinesis.UpdateStreamModeOutput](r.t)(r.client.UpdateStreamMode(r.t.Context(), &kinesis.UpdateStreamModeInput{
		StreamARN: r.summary().StreamARN, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
	}))
}

func TestAccountSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		described := func(client *kinesis.Client) *types.MinimumThroughputBillingCommitmentOutput {
			t.Helper()
			return must[*kinesis.DescribeAccountSettingsOutput](t)(client.DescribeAccountSettings(t.Context(), &kinesis.DescribeAccountSettingsInput{})).MinimumThroughputBillingCommitment
		}
		show := func(c *types.MinimumThroughputBillingCommitmentOutput, start time.Time) string {
			since := func(at *time.Time) string {
				if at == nil {
					return "-"
				}
				return at.Sub(start).String()
			}
			return fmt.Sprint(c.Status, " ", since(c.StartedAt), " ", since(c.EarliestAllowedEndAt), " ", since(c.EndedAt))
		}
		start := time.Now().Truncate(time.Millisecond)
		expect := func(when string, c *types.MinimumThroughputBillingCommitmentOutput, want string) {
			t.Helper()
			if got := show(c, start); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		expect("at first", described(r.client), "DISABLED - - -")
		expect("enabled", r.commit(true), "ENABLED 0s 24h0m0s -")
		expect("elsewhere", described(r.Kinesis(func(o *kinesis.Options) { o.Region = "eu-west-1" })), "DISABLED - - -")
		r.Advance(time.Hour)
		expect("disabled early", r.commit(false), "ENABLED_UNTIL_EARLIEST_ALLOWED_END 0s 24h0m0s -")
		r.Advance(22 * time.Hour)
		expect("before its end", described(r.client), "ENABLED_UNTIL_EARLIEST_ALLOWED_END 0s 24h0m0s -")
		r.Advance(time.Hour)
		expect("at its end", described(r.client), "DISABLED 0s - 24h0m0s")
	})
}

func TestWarmThroughput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlowRig(t, 2)
		ctx := t.Context()
		expect := func(when string, w *types.WarmThroughputObject, want string) {
			t.Helper()
			got := "none"
			if w != nil {
				got = fmt.Sprint(*w.CurrentMiBps, " to ", *w.TargetMiBps)
			}
			if got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		expect("PROVISIONED", r.summary().WarmThroughput, "none")
		r.onDemand()
		r.updating()
		expect("without a commitment", r.summary().WarmThroughput, "none")
		r.commit(true)
		expect("as many as its shards", r.summary().WarmThroughput, "2 to 2")
		out := must[*kinesis.UpdateStreamWarmThroughputOutput](t)(r.client.UpdateStreamWarmThroughput(ctx, &kinesis.UpdateStreamWarmThroughputInput{StreamName: &r.stream, WarmThroughputMiBps: aws.Int32(50)}))
		expect("answer", out.WarmThroughput, "2 to 50")
		if *out.StreamName != r.stream || *out.StreamARN != *r.summary().StreamARN {
			t.Errorf("answer %+v", out)
		}
		expect("UPDATING", r.summary().WarmThroughput, "2 to 50")
		r.updating()
		expect("updated", r.summary().WarmThroughput, "50 to 50")
		must[*kinesis.CreateStreamOutput](t)(r.client.CreateStream(ctx, &kinesis.CreateStreamInput{
			StreamName: aws.String("warm"), WarmThroughputMiBps: aws.Int32(9), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
		}))
		must[*kinesis.CreateStreamOutput](t)(r.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("plain")}))
		r.Advance(time.Second)
		r.stream = "warm"
		expect("created warm", r.summary().WarmThroughput, "9 to 9")
		if n := *r.summary().OpenShardCount; n != 4 {
			t.Errorf("ON_DEMAND has %d shards, want 4", n)
		}
		r.stream = "plain"
		if n := *r.summary().OpenShardCount; n != 4 {
			t.Errorf("without a number %d shards, want 4", n)
		}
	})
}

func TestRecordDistribution(t *testing.T) {
	r := newRig(t, 4)
	ctx := t.Context()
	arn := r.summary().StreamARN
	set := func(strategy types.RecordDistributionStrategy) error {
		_, err := r.client.UpdateStreamRecordDistributionStrategy(ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{StreamARN: arn, RecordDistributionStrategy: strategy})
		return err
	}
	one := func(key *string) (*kinesis.PutRecordOutput, error) {
		return r.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &r.stream, Data: []byte("x"), PartitionKey: key})
	}
	if got := r.summary().RecordDistributionStrategy; got != "" {
		t.Errorf("PROVISIONED, and described as %s", got)
	}
	wantError(t, set(types.RecordDistributionStrategyAuto), "InvalidArgumentException", "RecordDistributionStrategy AUTO is only supported for streams in On-Demand mode. Stream stream under account 000000000000 is in Provisioned mode.")
	r.onDemand()
	const missing = "1 validation error detected: Value null at 'partitionKey' failed to satisfy constraint: Member must not be null"
	_, err := one(nil)
	wantError(t, err, "ValidationException", missing)
	if err := set(types.RecordDistributionStrategyAuto); err != nil {
		t.Fatal(err)
	}
	if got := r.summary(); got.RecordDistributionStrategy != types.RecordDistributionStrategyAuto || got.StreamStatus != types.StreamStatusActive {
		t.Errorf("AUTO, and described as %s, %s", got.RecordDistributionStrategy, got.StreamStatus)
	}

	var entries []types.PutRecordsRequestEntry
	for i := range 400 {
		e := types.PutRecordsRequestEntry{Data: fmt.Appendf(nil, "%d", i)}
		if i%2 == 0 { // neither of them decides
			e.PartitionKey, e.ExplicitHashKey = aws.String("key"), aws.String("0")
		}
		entries = append(entries, e)
	}
	many := must[*kinesis.PutRecordsOutput](t)(r.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &r.stream, Records: entries}))
	shards := make(map[string]int)
	for _, rec := range many.Records {
		shards[*rec.ShardId]++
	}
	for i := range 4 {
		if shards[shardID(i)] != 100 {
			t.Errorf("400 records went to shards %v", shards)
			break
		}
	}
	singles := make(map[string]bool)
	for range 200 { // all to one shard once in 4^199
		singles[*must[*kinesis.PutRecordOutput](t)(one(aws.String("key"))).ShardId] = true
	}
	if len(singles) < 2 {
		t.Errorf("200 records of one key went to %v", singles)
	}
	keys := make(map[string]int)
	for _, rec := range r.Records(t, r.stream) {
		if rec.PartitionKey == nil {
			keys["none"]++
		} else {
			keys[*rec.PartitionKey]++
		}
	}
	if keys["none"] != 200 || keys["key"] != 400 || len(keys) != 2 {
		t.Errorf("read records with keys %v", keys)
	}

	must[*kinesis.UpdateStreamModeOutput](t)(r.client.UpdateStreamMode(ctx, &kinesis.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeProvisioned}}))
	_, err = one(nil)
	wantError(t, err, "ValidationException", missing)
	r.onDemand()
	if got := r.summary().RecordDistributionStrategy; got != types.RecordDistributionStrategyUserPartitionKey {
		t.Errorf("ON_DEMAND again, and described as %s", got)
	}
}

func TestResourcePolicies(t *testing.T) {
	r := newRig(t, 1)
	ctx := t.Context()
	arn := r.summary().StreamARN
	expect := func(when, want string) {
		t.Helper()
		if got := *must[*kinesis.GetResourcePolicyOutput](t)(r.client.GetResourcePolicy(ctx, &kinesis.GetResourcePolicyInput{ResourceARN: arn})).Policy; got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	put := func(policy string) {
		t.Helper()
		must[*kinesis.PutResourcePolicyOutput](t)(r.client.PutResourcePolicy(ctx, &kinesis.PutResourcePolicyInput{ResourceARN: arn, Policy: &policy}))
	}
	expect("at first", "{}")
	put(` {"Version" : "2012-10-17"}`)
	expect("put, as it came", ` {"Version" : "2012-10-17"}`)
	put(`{"a":1}`)
	expect("put again", `{"a":1}`)
	must[*kinesis.DeleteResourcePolicyOutput](t)(r.client.DeleteResourcePolicy(ctx, &kinesis.DeleteResourcePolicyInput{ResourceARN: arn}))
	expect("deleted", "{}")
	put(`{"a":2}`)
	must[*kinesis.DeleteStreamOutput](t)(r.client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamARN: arn}))
	r.CreateStream(t, r.stream, 1)
	expect("of a stream made anew", "{}")
}

func bucketChannel(name string, stream *string) *kinesis.CreateChannelInput {
	return &kinesis.CreateChannelInput{
		ChannelName: &name, ServiceExecutionRoleARN: aws.String("arn:aws:iam::000000000000:role/r"),
		StreamConfigurationList: []types.ChannelStreamConfiguration{{StreamARN: stream, RecordConfiguration: &types.RecordConfiguration{RecordFormatType: types.RecordFormatTypeJson}}},
		S3DestinationConfiguration: &types.S3DestinationConfiguration{StorageConfiguration: &types.S3StorageConfiguration{
			BucketARN: aws.String("arn:aws:s3:::bucket"), ExpectedBucketOwner: aws.String("111111111111"), CompressionType: types.S3CompressionTypeGzip,
		}},
	}
}

func TestChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlowRig(t, 1)
		ctx := t.Context()
		arn := r.summary().StreamARN
		r.onDemand()
		r.updating()
		made := must[*kinesis.CreateChannelOutput](t)(r.client.CreateChannel(ctx, bucketChannel("b", arn))).ChannelDescription
		describe := func() *types.ChannelDescription {
			t.Helper()
			return must[*kinesis.DescribeChannelOutput](t)(r.client.DescribeChannel(ctx, &kinesis.DescribeChannelInput{ChannelARN: made.ChannelARN})).ChannelDescription
		}
		status := func(when string, want types.ChannelStatus) {
			t.Helper()
			if got := describe().ChannelStatus; got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		if *made.ChannelARN != "arn:aws:kinesis:us-east-1:000000000000:channel/"+*made.ChannelId || made.ChannelStatus != types.ChannelStatusCreating || *made.LoggingConfiguration.CloudWatchLogs.Enabled || *made.S3DestinationConfiguration.DataFreshnessInSeconds != 300 || *made.S3DestinationConfiguration.DeadLetterQueueS3Configuration.BucketARN != "arn:aws:s3:::bucket" {
			t.Errorf("created %+v", made)
		}
		status("created", types.ChannelStatusCreating)
		r.Advance(time.Second)
		status("a second later", types.ChannelStatusActive)

		table := bucketChannel("a", arn)
		table.S3DestinationConfiguration = nil
		table.StreamConfigurationList[0].RecordConfiguration.GSRSchemaARN = aws.String("arn:aws:glue:us-east-1:000000000000:schema/reg/s")
		table.EncryptionConfiguration = &types.ChannelEncryptionConfiguration{EncryptionType: types.ChannelEncryptionTypeKms, KeyId: aws.String("alias/mine")}
		table.LoggingConfiguration = &types.ChannelLoggingConfiguration{CloudWatchLogs: &types.CloudWatchLogs{Enabled: aws.Bool(true), LogGroupName: aws.String("g")}}
		table.S3TablesDestinationConfiguration = &types.S3TablesDestinationConfiguration{
			DataFreshnessInSeconds:         aws.Int32(600),
			DeadLetterQueueS3Configuration: &types.DeadLetterQueueS3Configuration{BucketARN: aws.String("arn:aws:s3:::dead"), ExpectedBucketOwner: aws.String("111111111111"), ErrorOutputPrefix: aws.String("e/")},
			S3TablesConfigurationList: []types.S3TablesConfiguration{{
				TableBucketARN: aws.String("arn:aws:s3tables:us-east-1:111111111111:bucket/tables"), Namespace: aws.String("ns"), TableName: aws.String("t"), CompressionType: types.S3TablesCompressionTypeZstd,
				PartitionSpec: &types.PartitionSpec{PartitionFields: []types.PartitionField{{SourceName: aws.String("at"), Transform: types.PartitionTransformTimeHour}}},
			}},
		}
		second := must[*kinesis.CreateChannelOutput](t)(r.client.CreateChannel(ctx, table)).ChannelDescription
		tab := second.S3TablesDestinationConfiguration
		if second.S3DestinationConfiguration != nil || *second.EncryptionConfiguration.KeyId != "alias/mine" || *second.LoggingConfiguration.CloudWatchLogs.LogGroupName != "g" || *second.LoggingConfiguration.CloudWatchLogs.LogStreamName != "DestinationDelivery" ||
			*tab.DataFreshnessInSeconds != 600 || *tab.DeadLetterQueueS3Configuration.ErrorOutputPrefix != "e/" || *tab.S3TablesConfigurationList[0].TableName != "t" || *tab.S3TablesConfigurationList[0].PartitionSpec.PartitionFields[0].SourceName != "at" ||
			*second.StreamConfigurationList[0].RecordConfiguration.GSRSchemaARN == "" || !second.StreamConfigurationList[0].StreamCreationTimestamp.Equal(*r.summary().StreamCreationTimestamp) {
			t.Errorf("created %+v", second)
		}

		list := func(in *kinesis.ListChannelsInput) string {
			t.Helper()
			var all []string
			for p := kinesis.NewListChannelsPaginator(r.client, in); p.HasMorePages(); {
				out := must[*kinesis.ListChannelsOutput](t)(p.NextPage(ctx))
				var page []string
				for _, c := range out.ChannelSummaries {
					page = append(page, fmt.Sprint(*c.ChannelName, " ", c.ChannelDestinationType, " ", c.ChannelStatus, " ", len(c.Streams)))
				}
				all = append(all, strings.Join(page, ","))
			}
			return strings.Join(all, "|")
		}
		const a, b = "a S3_TABLES CREATING 1", "b S3 ACTIVE 1"
		created := r.summary().StreamCreationTimestamp
		for _, tt := range []struct {
			name, want string
			in         kinesis.ListChannelsInput
		}{
			{"all", a + "," + b, kinesis.ListChannelsInput{}},
			{"one at a time", a + "|" + b, kinesis.ListChannelsInput{MaxResults: aws.Int32(1)}},
			{"of the stream", a + "|" + b, kinesis.ListChannelsInput{MaxResults: aws.Int32(1), StreamFilter: []types.StreamFilter{{StreamARN: arn, StreamCreationTimestamp: created}}}},
			{"of another stream", "", kinesis.ListChannelsInput{StreamFilter: []types.StreamFilter{{StreamARN: aws.String(*arn + "x")}}}},
			{"of an older stream", "", kinesis.ListChannelsInput{StreamFilter: []types.StreamFilter{{StreamARN: arn, StreamCreationTimestamp: aws.Time(created.Add(-time.Minute))}}}},
		} {
			if got := list(&tt.in); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
		limits := must[*kinesis.DescribeLimitsOutput](t)(r.client.DescribeLimits(ctx, &kinesis.DescribeLimitsInput{}))
		if *r.summary().ChannelCount != 2 || *limits.ChannelCount != 2 || *limits.ChannelCountLimit != 100 {
			t.Errorf("%d channels, %d of %d", *r.summary().ChannelCount, *limits.ChannelCount, *limits.ChannelCountLimit)
		}
		updated := must[*kinesis.UpdateChannelOutput](t)(r.client.UpdateChannel(ctx, &kinesis.UpdateChannelInput{
			ChannelARN: made.ChannelARN, S3DestinationConfiguration: &types.S3DestinationUpdateInput{DataFreshnessInSeconds: aws.Int32(900)},
			LoggingConfiguration: &types.ChannelLoggingUpdateInput{CloudWatchLogs: &types.CloudWatchLogsUpdateInput{Enabled: aws.Bool(true)}},
		})).ChannelDescription
		if updated.ChannelStatus != types.ChannelStatusUpdating || *updated.S3DestinationConfiguration.DataFreshnessInSeconds != 900 || *updated.LoggingConfiguration.CloudWatchLogs.LogGroupName != "/aws/kinesis/b/"+*made.ChannelId {
			t.Errorf("updated %+v", updated)
		}
		r.Advance(time.Second)
		status("updated", types.ChannelStatusActive)
		_, err := r.client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamARN: arn, EnforceConsumerDeletion: aws.Bool(true)})
		wantError(t, err, "ResourceInUseException", "DeleteStream can't delete 000000000000:stream because there are channels associated with this data stream. To delete stream, delete its channels first.")
		for _, c := range []*string{made.ChannelARN, second.ChannelARN} {
			must[*kinesis.DeleteChannelOutput](t)(r.client.DeleteChannel(ctx, &kinesis.DeleteChannelInput{ChannelARN: c}))
		}
		status("deleted", types.ChannelStatusDeleting)
		r.Advance(time.Second)
		_, err = r.client.DescribeChannel(ctx, &kinesis.DescribeChannelInput{ChannelARN: made.ChannelARN})
		wantError(t, err, "ResourceNotFoundException", "Channel "+*made.ChannelARN+" under account 000000000000 not found.")
		if n := *r.summary().ChannelCount; n != 0 {
			t.Errorf("%d channels are left", n)
		}
		must[*kinesis.DeleteStreamOutput](t)(r.client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamARN: arn}))
	})
}

// TestStoredConfigurationSurvives restarts a server in the middle of every
// transition, from its snapshot and from its journal.
func TestStoredConfigurationSurvives(t *testing.T) {
	dir := t.TempDir()
	opts := []streamdtest.Option{streamdtest.Dir(dir), streamdtest.TransitionDelay(time.Hour)}
	r := newRig(t, 2, opts...)
	ctx := t.Context()
	r.Advance(time.Hour)
	arn := r.summary().StreamARN
	r.onDemand()
	r.Advance(time.Hour)
	r.commit(true)
	ch := must[*kinesis.CreateChannelOutput](t)(r.client.CreateChannel(ctx, bucketChannel("c", arn))).ChannelDescription
	must[*kinesis.PutResourcePolicyOutput](t)(r.client.PutResourcePolicy(ctx, &kinesis.PutResourcePolicyInput{ResourceARN: arn, Policy: aws.String(`{"a":1}`)}))
	must[*kinesis.UpdateStreamRecordDistributionStrategyOutput](t)(r.client.UpdateStreamRecordDistributionStrategy(ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{StreamARN: arn, RecordDistributionStrategy: types.RecordDistributionStrategyAuto}))
	must[*kinesis.UpdateStreamWarmThroughputOutput](t)(r.client.UpdateStreamWarmThroughput(ctx, &kinesis.UpdateStreamWarmThroughputInput{StreamARN: arn, WarmThroughputMiBps: aws.Int32(7)}))
	show := func() string {
		t.Helper()
		sum := r.summary()
		policy := must[*kinesis.GetResourcePolicyOutput](t)(r.client.GetResourcePolicy(ctx, &kinesis.GetResourcePolicyInput{ResourceARN: arn}))
		account := must[*kinesis.DescribeAccountSettingsOutput](t)(r.client.DescribeAccountSettings(ctx, &kinesis.DescribeAccountSettingsInput{}))
		channel := must[*kinesis.DescribeChannelOutput](t)(r.client.DescribeChannel(ctx, &kinesis.DescribeChannelInput{ChannelARN: ch.ChannelARN})).ChannelDescription
		return fmt.Sprint(sum.StreamStatus, " ", *sum.WarmThroughput.CurrentMiBps, " ", *sum.WarmThroughput.TargetMiBps, " ", sum.RecordDistributionStrategy, " ", *policy.Policy, " ",
			account.MinimumThroughputBillingCommitment.Status, " ", *channel.ChannelName, " ", channel.ChannelStatus)
	}
	want := `UPDATING 2 7 AUTO {"a":1} ENABLED c CREATING`
	if got := show(); got != want {
		t.Errorf("before a restart: %s, want %s", got, want)
	}
	for _, from := range []string{"snapshot", "journal"} {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if from == "journal" {
			if err := os.RemoveAll(filepath.Join(dir, "snap")); err != nil {
				t.Fatal(err)
			}
		}
		r = rigOn(t, streamdtest.New(t, opts...), r.stream, r)
		if got := show(); got != want {
			t.Errorf("from the %s: %s, want %s", from, got, want)
		}
	}
	r.Advance(4 * time.Hour)
	if got, want := show(), `ACTIVE 7 7 AUTO {"a":1} ENABLED c ACTIVE`; got != want {
		t.Errorf("after the transitions: %s, want %s", got, want)
	}
}

// TestSettingsErrors pins the wording of what the account's settings, warm
// throughput, distribution, policies and channels refuse.
func TestSettingsErrors(t *testing.T) {
	srv := streamdtest.New(t)
	srv.CreateStream(t, "s", 1)
	const (
		arn      = `"arn:aws:kinesis:us-east-1:000000000000:stream/s"`
		nope     = `"arn:aws:kinesis:us-east-1:000000000000:stream/nope"`
		consumer = `"arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1"`
		noName   = `"arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c"`
		channel  = `"arn:aws:kinesis:us-east-1:000000000000:channel/x"`
		role     = `"ServiceExecutionRoleARN":"arn:aws:iam::000000000000:role/r"`
		storage  = `{"BucketARN":"arn:aws:s3:::bucket","ExpectedBucketOwner":"000000000000","CompressionType":"NONE"}`
		bucket   = `"S3DestinationConfiguration":{"StorageConfiguration":` + storage + `}`
		dead     = `"DeadLetterQueueS3Configuration":{"BucketARN":"arn:aws:s3:::bucket","ExpectedBucketOwner":"000000000000"}`
		table    = `{"TableBucketARN":"arn:aws:s3tables:us-east-1:000000000000:bucket/tab","Namespace":"n","TableName":"t","CompressionType":"NONE"}`
		tables   = `"S3TablesDestinationConfiguration":{` + dead + `,"S3TablesConfigurationList":[` + table + `]}`
	)
	stream := func(format, schema string) string {
		return `"StreamConfigurationList":[{"StreamARN":` + arn + `,"RecordConfiguration":{"RecordFormatType":"` + format + `"` + schema + `}}]`
	}
	create := func(rest ...string) string {
		return `{"ChannelName":"c",` + role + `,` + strings.Join(rest, ",") + `}`
	}
	golden(t, srv, "settings.golden", []request{
		{name: "account settings without any", target: "UpdateAccountSettings", body: `{}`},
		{name: "account settings without a status", target: "UpdateAccountSettings", body: `{"MinimumThroughputBillingCommitment":{}}`},
		{name: "unknown status", target: "UpdateAccountSettings", body: `{"MinimumThroughputBillingCommitment":{"Status":"ENABLED_UNTIL_EARLIEST_ALLOWED_END"}}`},
		{name: "account settings, conversion", target: "UpdateAccountSettings", body: `{"MinimumThroughputBillingCommitment":"ENABLED"}`},
		{name: "account settings", target: "DescribeAccountSettings", body: `{}`},
		{name: "warm throughput without anything", target: "UpdateStreamWarmThroughput", body: `{}`},
		{name: "warm throughput without a stream", target: "UpdateStreamWarmThroughput", body: `{"WarmThroughputMiBps":0}`},
		{name: "negative warm throughput", target: "UpdateStreamWarmThroughput", body: `{"StreamName":"","StreamARN":"x","WarmThroughputMiBps":-1}`},
		{name: "warm throughput of no stream", target: "UpdateStreamWarmThroughput", body: `{"StreamName":"nope","WarmThroughputMiBps":1}`},
		{name: "warm throughput in provisioned mode", target: "UpdateStreamWarmThroughput", body: `{"StreamName":"s","WarmThroughputMiBps":1}`},
		{name: "stream with warm throughput and shards", target: "CreateStream", body: `{"StreamName":"t","ShardCount":1,"WarmThroughputMiBps":1}`},
		{name: "warm stream in provisioned mode", target: "CreateStream", body: `{"StreamName":"t","WarmThroughputMiBps":1}`},
		{name: "warm stream without a commitment", target: "CreateStream", body: `{"StreamName":"t","WarmThroughputMiBps":1,"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`},
		{name: "spread stream in provisioned mode", target: "CreateStream", body: `{"StreamName":"t","ShardCount":1,"RecordDistributionStrategy":"AUTO"}`},
		{name: "distribution without anything", target: "UpdateStreamRecordDistributionStrategy", body: `{}`},
		{name: "unknown distribution", target: "UpdateStreamRecordDistributionStrategy", body: `{"StreamARN":` + arn + `,"RecordDistributionStrategy":"RANDOM"}`},
		{name: "distribution of no stream", target: "UpdateStreamRecordDistributionStrategy", body: `{"StreamARN":` + nope + `,"RecordDistributionStrategy":"AUTO"}`},
		{name: "distribution in provisioned mode", target: "UpdateStreamRecordDistributionStrategy", body: `{"StreamARN":` + arn + `,"RecordDistributionStrategy":"AUTO"}`},
		{name: "the same distribution in provisioned mode", target: "UpdateStreamRecordDistributionStrategy", body: `{"StreamARN":` + arn + `,"RecordDistributionStrategy":"USER_PARTITION_KEY"}`},
		{name: "record without a key", target: "PutRecord", body: `{"StreamName":"s","Data":""}`},
		{name: "record without a key for no stream", target: "PutRecord", body: `{"StreamName":"nope","Data":""}`},
		{name: "records without keys", target: "PutRecords", body: `{"StreamName":"s","Records":[{"Data":""},{"Data":"","PartitionKey":"k"},{"Data":""}]}`},
		{name: "policy without anything", target: "PutResourcePolicy", body: `{}`},
		{name: "policy of no stream", target: "PutResourcePolicy", body: `{"ResourceARN":` + nope + `,"Policy":"{}"}`},
		{name: "policy of no consumer", target: "PutResourcePolicy", body: `{"ResourceARN":` + consumer + `,"Policy":"{}"}`},
		{name: "policy of what is no consumer", target: "GetResourcePolicy", body: `{"ResourceARN":` + noName + `}`},
		{name: "policy that is not JSON", target: "PutResourcePolicy", body: `{"ResourceARN":` + arn + `,"Policy":"{"}`},
		{name: "policy that is a list", target: "PutResourcePolicy", body: `{"ResourceARN":` + arn + `,"Policy":"[]"}`},
		{name: "long policy", target: "PutResourcePolicy", body: `{"ResourceARN":` + arn + `,"Policy":"{` + strings.Repeat(" ", 20<<10) + `}"}`},
		{name: "no policy", target: "GetResourcePolicy", body: `{"ResourceARN":` + arn + `}`},
		{name: "deletion of no policy", target: "DeleteResourcePolicy", body: `{"ResourceARN":` + arn + `}`},
		{name: "channel without anything", target: "CreateChannel", body: `{}`},
		{name: "channel that breaks every rule", target: "CreateChannel", body: `{"ChannelName":"a b","ServiceExecutionRoleARN":"r","StreamConfigurationList":[{"StreamARN":"x","RecordConfiguration":{"RecordFormatType":"XML","GSRSchemaARN":"g"}}],"S3DestinationConfiguration":{"StorageConfiguration":{"BucketARN":"b","ExpectedBucketOwner":"o","StorageClass":"TAPE","CompressionType":"LZ4"}}}`},
		{name: "channel to no place", target: "CreateChannel", body: create(stream("JSON", ""))},
		{name: "channel to two places", target: "CreateChannel", body: create(stream("JSON", ""), bucket, tables)},
		{name: "channel of two streams", target: "CreateChannel", body: create(`"StreamConfigurationList":[`+stream("JSON", "")[len(`"StreamConfigurationList":[`):len(stream("JSON", ""))-1]+`,`+stream("JSON", "")[len(`"StreamConfigurationList":[`):], bucket)},
		{name: "channel of registered records to a bucket", target: "CreateChannel", body: create(stream("GSR_JSON", ""), bucket)},
		{name: "channel of bytes to a table", target: "CreateChannel", body: create(stream("BYTE_ARRAY", ""), tables)},
		{name: "channel to a table without a schema", target: "CreateChannel", body: create(stream("JSON", ""), tables)},
		{name: "channel that is too fresh", target: "CreateChannel", body: create(stream("JSON", ""), `"S3DestinationConfiguration":{"DataFreshnessInSeconds":299,"StorageConfiguration":`+storage+`}`)},
		{name: "channel with the service's key", target: "CreateChannel", body: create(stream("JSON", ""), bucket, `"EncryptionConfiguration":{"EncryptionType":"KMS","KeyId":"alias/aws/kinesis"}`)},
		{name: "channel in provisioned mode", target: "CreateChannel", body: create(stream("JSON", ""), bucket)},
		{name: "channel that is not there", target: "DescribeChannel", body: `{"ChannelARN":` + channel + `}`},
		{name: "no channel's name", target: "DeleteChannel", body: `{"ChannelARN":"arn:aws:kinesis:us-east-1:000000000000:stream/x"}`},
		{name: "channel in another partition", target: "UpdateChannel", body: `{"ChannelARN":"arn:aws-cn:kinesis:us-east-1:000000000000:channel/x"}`},
		{name: "update that is too fresh", target: "UpdateChannel", body: `{"ChannelARN":` + channel + `,"S3DestinationConfiguration":{"DataFreshnessInSeconds":0}}`},
		{name: "bounds of a listing", target: "ListChannels", body: `{"StreamFilter":[],"MaxResults":0,"NextToken":""}`},
		{name: "token of nothing", target: "ListChannels", body: `{"NextToken":"x"}`},
		{name: "no channels", target: "ListChannels", body: `{}`},
		{name: "a queue's operation", target: "CreateQueue", body: `{}`},
		{name: "another", target: "ReceiveQueueRecords", body: `{}`},
		{name: "and another", target: "AcknowledgeQueueRecords", body: `{}`},
		{name: "order of errors", target: "SplitShard", body: `{"StreamName":"","StreamARN":"x","StreamId":"y"}`},
		{name: "order of errors of tags", target: "TagResource", body: `{"ResourceARN":"","StreamId":""}`},
		{name: "order of errors of a record", target: "PutRecord", body: `{"StreamName":"","StreamARN":"x","PartitionKey":""}`},
	})
}
