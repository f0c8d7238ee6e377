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

func (r *rig) summary() *types.StreamDescriptionSummary {
	r.t.Helper()
	return must[*kinesis.DescribeStreamSummaryOutput](r.t)(r.client.DescribeStreamSummary(r.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &r.stream})).StreamDescriptionSummary
}

func (r *rig) description() *types.StreamDescription {
	r.t.Helper()
	return must[*kinesis.DescribeStreamOutput](r.t)(r.client.DescribeStream(r.t.Context(), &kinesis.DescribeStreamInput{StreamName: &r.stream})).StreamDescription
}

// updating checks that the stream is UPDATING, and lets it become ACTIVE.
func (r *rig) updating() {
	r.t.Helper()
	if got := r.summary().StreamStatus; got != types.StreamStatusUpdating {
		r.t.Errorf("after a change: %s", got)
	}
	r.Advance(time.Second)
	if got := r.summary().StreamStatus; got != types.StreamStatusActive {
		r.t.Errorf("after the transition: %s", got)
	}
}

// newSlowRig returns a rig whose stream is UPDATING for a second after each
// change.
func newSlowRig(t *testing.T, shards int) *rig {
	t.Helper()
	r := newRig(t, shards, streamdtest.TransitionDelay(time.Second))
	r.Advance(time.Second)
	return r
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlowRig(t, 1)
		increase := func(hours int32) {
			t.Helper()
			must[*kinesis.IncreaseStreamRetentionPeriodOutput](t)(r.client.IncreaseStreamRetentionPeriod(t.Context(), &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: &r.stream, RetentionPeriodHours: &hours}))
		}
		decrease := func(hours int32) {
			t.Helper()
			must[*kinesis.DecreaseStreamRetentionPeriodOutput](t)(r.client.DecreaseStreamRetentionPeriod(t.Context(), &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: &r.stream, RetentionPeriodHours: &hours}))
		}
		r.put(0, "a")
		increase(24)
		if got := r.summary().StreamStatus; got != types.StreamStatusActive {
			t.Errorf("after the same retention: %s", got)
		}
		increase(48)
		r.updating()
		if got := *r.description().RetentionPeriodHours; got != 48 {
			t.Errorf("retention %d hours", got)
		}
		r.Advance(30 * time.Hour)
		r.put(0, "b")
		r.expect("after 30 of 48 hours", r.iterator(0, types.ShardIteratorTypeTrimHorizon), "a,b")
		decrease(24)
		r.updating()
		r.expect("lowered to 24", r.iterator(0, types.ShardIteratorTypeTrimHorizon), "b")
		increase(8760)
		r.updating()
		r.expect("raised to a year", r.iterator(0, types.ShardIteratorTypeTrimHorizon), "b")
		r.Advance(360 * 24 * time.Hour)
		r.expect("almost a year later", r.iterator(0, types.ShardIteratorTypeTrimHorizon), "b")

		// A closed shard lives as long as its last record could.
		must[*kinesis.SplitShardOutput](t)(r.client.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: &r.stream, ShardToSplit: aws.String("0"), NewStartingHashKey: aws.String("1000")}))
		r.updating()
		r.Advance(25 * time.Hour)
		if n := len(r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})); n != 3 {
			t.Errorf("%d shards a day after a split", n)
		}
		decrease(24)
		r.updating()
		increase(48)
		r.updating()
		if n := len(r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})); n != 2 {
			t.Errorf("%d shards after a retention of 24 hours", n)
		}
		trim := types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}
		if !covers(t, r.filtered(trim)) {
			t.Error("the shards at the trim horizon leave a hole")
		}
	})
}

func tagList(tags []types.Tag) string {
	var all []string
	for _, t := range tags {
		all = append(all, *t.Key+"="+*t.Value)
	}
	return strings.Join(all, " ")
}

func TestTags(t *testing.T) {
	r := rigOn(t, streamdtest.New(t), "tagged", nil)
	ctx := t.Context()
	must[*kinesis.CreateStreamOutput](t)(r.client.CreateStream(ctx, &kinesis.CreateStreamInput{
		StreamName: &r.stream, ShardCount: aws.Int32(1), Tags: map[string]string{"b": "", "aws:x/y": "é +-@ 1"},
	}))
	arn := r.summary().StreamARN
	list := func(in *kinesis.ListTagsForStreamInput) *kinesis.ListTagsForStreamOutput {
		t.Helper()
		in.StreamName = &r.stream
		return must[*kinesis.ListTagsForStreamOutput](t)(r.client.ListTagsForStream(ctx, in))
	}
	expect := func(when, want string) {
		t.Helper()
		if got := tagList(list(&kinesis.ListTagsForStreamInput{}).Tags); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
		res := must[*kinesis.ListTagsForResourceOutput](t)(r.client.ListTagsForResource(ctx, &kinesis.ListTagsForResourceInput{ResourceARN: arn}))
		if got := tagList(res.Tags); got != want {
			t.Errorf("%s, by resource: %q, want %q", when, got, want)
		}
	}
	expect("created", "aws:x/y=é +-@ 1 b=")
	must[*kinesis.AddTagsToStreamOutput](t)(r.client.AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamName: &r.stream, Tags: map[string]string{"b": "2", "a": "1"}}))
	expect("added", "a=1 aws:x/y=é +-@ 1 b=2")
	must[*kinesis.RemoveTagsFromStreamOutput](t)(r.client.RemoveTagsFromStream(ctx, &kinesis.RemoveTagsFromStreamInput{StreamARN: arn, TagKeys: []string{"aws:x/y", "unknown"}}))
	expect("removed", "a=1 b=2")
	must[*kinesis.TagResourceOutput](t)(r.client.TagResource(ctx, &kinesis.TagResourceInput{ResourceARN: arn, Tags: map[string]string{"c": "3", "d": "4"}}))
	must[*kinesis.UntagResourceOutput](t)(r.client.UntagResource(ctx, &kinesis.UntagResourceInput{ResourceARN: arn, TagKeys: []string{"a"}}))
	expect("by resource", "b=2 c=3 d=4")

	var all []string
	for in := (&kinesis.ListTagsForStreamInput{Limit: aws.Int32(2)}); ; {
		out := list(in)
		all = append(all, tagList(out.Tags))
		if !*out.HasMoreTags {
			break
		}
		in.ExclusiveStartTagKey = out.Tags[len(out.Tags)-1].Key
	}
	if got := strings.Join(all, "|"); got != "b=2 c=3|d=4" {
		t.Errorf("pages %q", got)
	}
	if out := list(&kinesis.ListTagsForStreamInput{ExclusiveStartTagKey: aws.String("bb")}); tagList(out.Tags) != "c=3 d=4" {
		t.Errorf("from a key that is not there: %q", tagList(out.Tags))
	}
	if out := list(&kinesis.ListTagsForStreamInput{ExclusiveStartTagKey: aws.String("e")}); out.Tags == nil || len(out.Tags) != 0 || *out.HasMoreTags {
		t.Errorf("behind the last: %+v", out)
	}
	must[*kinesis.DeleteStreamOutput](t)(r.client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &r.stream}))
	r.CreateStream(t, r.stream, 1)
	expect("of a stream made anew", "")
}

func TestDescribeLimits(t *testing.T) {
	r := newRig(t, 2)
	expect := func(when string, client *kinesis.Client, shards, onDemand int32) {
		t.Helper()
		out := must[*kinesis.DescribeLimitsOutput](t)(client.DescribeLimits(t.Context(), &kinesis.DescribeLimitsInput{}))
		if *out.OpenShardCount != shards || *out.OnDemandStreamCount != onDemand || *out.ShardLimit != 20000 || *out.OnDemandStreamCountLimit != 50 {
			t.Errorf("%s: %d open shards, %d on demand of %d and %d", when, *out.OpenShardCount, *out.OnDemandStreamCount, *out.ShardLimit, *out.OnDemandStreamCountLimit)
		}
	}
	expect("one stream", r.client, 2, 0)
	must[*kinesis.SplitShardOutput](t)(r.client.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: &r.stream, ShardToSplit: aws.String("0"), NewStartingHashKey: aws.String("1000")}))
	expect("closed shards do not count", r.client, 3, 0)
	must[*kinesis.CreateStreamOutput](t)(r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{
		StreamName: aws.String("demand"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
	}))
	expect("one on demand", r.client, 7, 1)
	expect("another region", r.Kinesis(func(o *kinesis.Options) { o.Region = "eu-west-1" }), 0, 0)
}

func TestEnhancedMonitoring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlowRig(t, 1)
		expect := func(what string, got []types.MetricsName, want string) {
			t.Helper()
			if got := fmt.Sprint(got); got != "["+want+"]" {
				t.Errorf("%s: %s, want [%s]", what, got, want)
			}
		}
		const two, all = "IncomingBytes IteratorAgeMilliseconds", "IncomingBytes IncomingRecords OutgoingBytes OutgoingRecords WriteProvisionedThroughputExceeded ReadProvisionedThroughputExceeded IteratorAgeMilliseconds"
		expect("at first", r.summary().EnhancedMonitoring[0].ShardLevelMetrics, "")
		on := must[*kinesis.EnableEnhancedMonitoringOutput](t)(r.client.EnableEnhancedMonitoring(t.Context(), &kinesis.EnableEnhancedMonitoringInput{
			StreamName: &r.stream, ShardLevelMetrics: []types.MetricsName{types.MetricsNameIteratorAgeMilliseconds, types.MetricsNameIncomingBytes},
		}))
		expect("current", on.CurrentShardLevelMetrics, "")
		expect("desired", on.DesiredShardLevelMetrics, two)
		if *on.StreamName != r.stream || *on.StreamARN != *r.summary().StreamARN {
			t.Errorf("answer %+v", on)
		}
		r.updating()
		expect("in the summary", r.summary().EnhancedMonitoring[0].ShardLevelMetrics, two)
		expect("in the description", r.description().EnhancedMonitoring[0].ShardLevelMetrics, two)
		on = must[*kinesis.EnableEnhancedMonitoringOutput](t)(r.client.EnableEnhancedMonitoring(t.Context(), &kinesis.EnableEnhancedMonitoringInput{
			StreamName: &r.stream, ShardLevelMetrics: []types.MetricsName{types.MetricsNameAll},
		}))
		expect("current before ALL", on.CurrentShardLevelMetrics, two)
		expect("ALL", on.DesiredShardLevelMetrics, all)
		r.updating()
		off := must[*kinesis.DisableEnhancedMonitoringOutput](t)(r.client.DisableEnhancedMonitoring(t.Context(), &kinesis.DisableEnhancedMonitoringInput{
			StreamARN: on.StreamARN, ShardLevelMetrics: []types.MetricsName{types.MetricsNameAll},
		}))
		expect("current before none", off.CurrentShardLevelMetrics, all)
		expect("none", off.DesiredShardLevelMetrics, "")
		r.updating()
		expect("at last", r.summary().EnhancedMonitoring[0].ShardLevelMetrics, "")
	})
}

func TestEncryption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlowRig(t, 1)
		ctx := t.Context()
		put := func(want types.EncryptionType) {
			t.Helper()
			key := aws.String("k")
			one := must[*kinesis.PutRecordOutput](t)(r.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &r.stream, Data: []byte("x"), PartitionKey: key}))
			many := must[*kinesis.PutRecordsOutput](t)(r.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &r.stream, Records: []types.PutRecordsRequestEntry{{Data: []byte("y"), PartitionKey: key}}}))
			if one.EncryptionType != want || many.EncryptionType != want {
				t.Errorf("answers say %q and %q, want %q", one.EncryptionType, many.EncryptionType, want)
			}
		}
		described := func(want types.EncryptionType, key *string) {
			t.Helper()
			sum, desc := r.summary(), r.description()
			if sum.EncryptionType != want || desc.EncryptionType != want || aws.ToString(sum.KeyId) != aws.ToString(key) || aws.ToString(desc.KeyId) != aws.ToString(key) {
				t.Errorf("described as %s, %v and %s, %v", sum.EncryptionType, sum.KeyId, desc.EncryptionType, desc.KeyId)
			}
		}
		key := aws.String("alias/aws/kinesis")
		described(types.EncryptionTypeNone, nil)
		put("")
		must[*kinesis.StartStreamEncryptionOutput](t)(r.client.StartStreamEncryption(ctx, &kinesis.StartStreamEncryptionInput{StreamName: &r.stream, EncryptionType: types.EncryptionTypeKms, KeyId: key}))
		r.updating()
		described(types.EncryptionTypeKms, key)
		put(types.EncryptionTypeKms)
		must[*kinesis.StopStreamEncryptionOutput](t)(r.client.StopStreamEncryption(ctx, &kinesis.StopStreamEncryptionInput{StreamName: &r.stream, EncryptionType: types.EncryptionTypeKms, KeyId: key}))
		r.updating()
		described(types.EncryptionTypeNone, nil)
		put("")
		var got []types.EncryptionType
		for _, rec := range r.Records(t, r.stream) {
			got = append(got, rec.EncryptionType)
		}
		if fmt.Sprintf("%q", got) != `["" "" "KMS" "KMS" "" ""]` {
			t.Errorf("records are marked %q", got)
		}
	})
}

func TestUpdateMaxRecordSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlowRig(t, 1)
		ctx := t.Context()
		arn := r.summary().StreamARN
		put := func(size int) error {
			_, err := r.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &r.stream, Data: make([]byte, size), PartitionKey: aws.String("k")})
			return err
		}
		set := func(kib int32) {
			t.Helper()
			must[*kinesis.UpdateMaxRecordSizeOutput](t)(r.client.UpdateMaxRecordSize(ctx, &kinesis.UpdateMaxRecordSizeInput{StreamARN: arn, MaxRecordSizeInKiB: &kib}))
		}
		const tooLong = "1 validation error detected: Value at 'data' failed to satisfy constraint: Member must have length less than or equal to 1048576"
		wantError(t, put(2<<20-1), "ValidationException", tooLong)
		set(1024)
		if got := r.summary().StreamStatus; got != types.StreamStatusActive {
			t.Errorf("after the same size: %s", got)
		}
		set(2048)
		wantError(t, put(2<<20-1), "ValidationException", tooLong)
		r.updating()
		if got := *r.summary().MaxRecordSizeInKiB; got != 2048 {
			t.Errorf("size %d", got)
		}
		if err := put(2<<20 - 1); err != nil {
			t.Error(err)
		}
		set(1024)
		r.updating()
		wantError(t, put(1<<20), "ValidationException", tooLong)
		if got := r.Records(t, r.stream); len(got) != 1 || len(got[0].Data) != 2<<20-1 {
			t.Errorf("a large record did not outlive the limit")
		}
	})
}

func TestUpdateStreamMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlowRig(t, 2)
		ctx := t.Context()
		arn := r.summary().StreamARN
		set := func(mode types.StreamMode) {
			t.Helper()
			must[*kinesis.UpdateStreamModeOutput](t)(r.client.UpdateStreamMode(ctx, &kinesis.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: mode}}))
		}
		split := &kinesis.SplitShardInput{StreamName: &r.stream, ShardToSplit: aws.String("0"), NewStartingHashKey: aws.String("1000")}
		set(types.StreamModeProvisioned)
		if got := r.summary().StreamStatus; got != types.StreamStatusActive {
			t.Errorf("after the same mode: %s", got)
		}
		set(types.StreamModeOnDemand)
		_, err := r.client.UpdateStreamMode(ctx, &kinesis.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeProvisioned}})
		wantError(t, err, "ResourceInUseException", "Stream stream under account 000000000000 not ACTIVE, instead in state UPDATING")
		r.updating()
		if sum := r.summary(); sum.StreamModeDetails.StreamMode != types.StreamModeOnDemand || *sum.OpenShardCount != 2 {
			t.Errorf("on demand: %+v", sum)
		}
		_, err = r.client.SplitShard(ctx, split)
		wantError(t, err, "ValidationException", "Request is invalid. Stream stream under account 000000000000 is in On-Demand mode.")
		set(types.StreamModeProvisioned)
		r.updating()
		must[*kinesis.SplitShardOutput](t)(r.client.SplitShard(ctx, split))
		r.updating()
		if n := *r.summary().OpenShardCount; n != 3 {
			t.Errorf("%d open shards after a split", n)
		}
	})
}

// TestSettingsSurvive restarts a server with a stream that has every setting,
// from its snapshot and from its journal.
func TestSettingsSurvive(t *testing.T) {
	dir := t.TempDir()
	show := func(r *rig) string {
		t.Helper()
		sum := r.summary()
		tags := must[*kinesis.ListTagsForStreamOutput](t)(r.client.ListTagsForStream(t.Context(), &kinesis.ListTagsForStreamInput{StreamName: &r.stream}))
		return fmt.Sprint(*sum.RetentionPeriodHours, " ", tagList(tags.Tags), " ", sum.EnhancedMonitoring[0].ShardLevelMetrics, " ", sum.EncryptionType, " ", aws.ToString(sum.KeyId), " ", *sum.MaxRecordSizeInKiB, " ", sum.StreamModeDetails.StreamMode, " ", *sum.OpenShardCount, " ", sum.StreamStatus)
	}
	r := newRig(t, 1, streamdtest.Dir(dir))
	ctx := t.Context()
	arn := r.summary().StreamARN
	must[*kinesis.IncreaseStreamRetentionPeriodOutput](t)(r.client.IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamARN: arn, RetentionPeriodHours: aws.Int32(72)}))
	must[*kinesis.AddTagsToStreamOutput](t)(r.client.AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamARN: arn, Tags: map[string]string{"a": "1", "b": ""}}))
	must[*kinesis.EnableEnhancedMonitoringOutput](t)(r.client.EnableEnhancedMonitoring(ctx, &kinesis.EnableEnhancedMonitoringInput{StreamARN: arn, ShardLevelMetrics: []types.MetricsName{types.MetricsNameOutgoingBytes}}))
	must[*kinesis.StartStreamEncryptionOutput](t)(r.client.StartStreamEncryption(ctx, &kinesis.StartStreamEncryptionInput{StreamARN: arn, EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("key")}))
	r.put(0, "x")
	must[*kinesis.UpdateMaxRecordSizeOutput](t)(r.client.UpdateMaxRecordSize(ctx, &kinesis.UpdateMaxRecordSizeInput{StreamARN: arn, MaxRecordSizeInKiB: aws.Int32(5000)}))
	must[*kinesis.UpdateStreamModeOutput](t)(r.client.UpdateStreamMode(ctx, &kinesis.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}}))
	const want = "72 a=1 b= [OutgoingBytes] KMS key 5000 ON_DEMAND 1 ACTIVE"
	if got := show(r); got != want {
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
		r = rigOn(t, streamdtest.New(t, streamdtest.Dir(dir)), r.stream, r)
		if got := show(r); got != want {
			t.Errorf("from the %s: %s, want %s", from, got, want)
		}
		if got := r.Records(t, r.stream); len(got) != 1 || got[0].EncryptionType != types.EncryptionTypeKms {
			t.Errorf("records from the %s: %+v", from, got)
		}
	}
}

// manyTags returns the JSON of tags with n keys, all beginning with prefix.
func manyTags(prefix string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%s%d":"v"`, prefix, i)
	}
	return "{" + b.String()[1:] + "}"
}

// TestControlErrors pins the wording of what operations on a stream's settings
// refuse.
func TestControlErrors(t *testing.T) {
	srv := streamdtest.New(t)
	srv.CreateStream(t, "s", 1)
	golden(t, srv, "control.golden", []request{
		{name: "retention of no stream", target: "IncreaseStreamRetentionPeriod", body: `{"StreamName":"nope","RetentionPeriodHours":1}`},
		{name: "retention without hours", target: "DecreaseStreamRetentionPeriod", body: `{}`},
		{name: "retention, conversion", target: "DecreaseStreamRetentionPeriod", body: `{"RetentionPeriodHours":"24"}`},
		{name: "retention without a stream", target: "DecreaseStreamRetentionPeriod", body: `{"RetentionPeriodHours":24}`},
		{name: "short retention", target: "DecreaseStreamRetentionPeriod", body: `{"StreamName":"s","RetentionPeriodHours":23}`},
		{name: "long retention", target: "IncreaseStreamRetentionPeriod", body: `{"StreamName":"s","RetentionPeriodHours":8761}`},
		{name: "increase", target: "IncreaseStreamRetentionPeriod", body: `{"StreamName":"s","RetentionPeriodHours":30}`},
		{name: "increase to less", target: "IncreaseStreamRetentionPeriod", body: `{"StreamName":"s","RetentionPeriodHours":24}`},
		{name: "decrease to more", target: "DecreaseStreamRetentionPeriod", body: `{"StreamName":"s","RetentionPeriodHours":31}`},
		{name: "no tags", target: "AddTagsToStream", body: `{"StreamName":"s"}`},
		{name: "empty tags", target: "AddTagsToStream", body: `{"StreamName":"s","Tags":{}}`},
		{name: "tags, conversion", target: "AddTagsToStream", body: `{"StreamName":"s","Tags":[]}`},
		{name: "tags, conversion of a value", target: "AddTagsToStream", body: `{"StreamName":"s","Tags":{"a":1}}`},
		{name: "lengths of tags", target: "AddTagsToStream", body: `{"StreamName":"s","Tags":{"":"` + strings.Repeat("é", 257) + `"}}`},
		{name: "201 tags", target: "AddTagsToStream", body: `{"StreamName":"s","Tags":` + manyTags("k", 201) + `}`},
		{name: "51 tags", target: "AddTagsToStream", body: `{"StreamName":"s","Tags":` + manyTags("k", 51) + `}`},
		{name: "50 tags", target: "AddTagsToStream", body: `{"StreamName":"s","Tags":` + manyTags("k", 50) + `}`},
		{name: "the 51st tag", target: "TagResource", body: `{"ResourceARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s","Tags":{"x":""}}`},
		{name: "characters of tags", target: "AddTagsToStream", body: `{"StreamName":"nope","Tags":{"a":"!"}}`},
		{name: "per cent in a tag", target: "AddTagsToStream", body: `{"StreamName":"nope","Tags":{"%":"a"}}`},
		{name: "tags of no stream", target: "AddTagsToStream", body: `{"StreamName":"nope","Tags":{"a:b":"a"}}`},
		{name: "tags of a new stream", target: "CreateStream", body: `{"StreamName":"t","ShardCount":1,"Tags":` + manyTags("k", 51) + `}`},
		{name: "characters of tags of a new stream", target: "CreateStream", body: `{"StreamName":"t","ShardCount":1,"Tags":{"a":"?"}}`},
		{name: "no keys", target: "RemoveTagsFromStream", body: `{"StreamName":"s","TagKeys":[]}`},
		{name: "keys, conversion", target: "RemoveTagsFromStream", body: `{"StreamName":"s","TagKeys":"a"}`},
		{name: "lengths of keys", target: "RemoveTagsFromStream", body: `{"StreamName":"s","TagKeys":["a",""]}`},
		{name: "51 keys", target: "RemoveTagsFromStream", body: `{"StreamName":"s","TagKeys":["a"` + strings.Repeat(`,"a"`, 50) + `]}`},
		{name: "keys of no stream", target: "RemoveTagsFromStream", body: `{"StreamName":"nope","TagKeys":["a"]}`},
		{name: "bounds of a listing", target: "ListTagsForStream", body: `{"StreamName":"s","Limit":51,"ExclusiveStartTagKey":""}`},
		{name: "a page of tags", target: "ListTagsForStream", body: `{"StreamName":"s","Limit":2}`},
		{name: "listing of no stream", target: "ListTagsForStream", body: `{"StreamName":"nope"}`},
		{name: "no resource", target: "ListTagsForResource", body: `{}`},
		{name: "resource that is none", target: "ListTagsForResource", body: `{"ResourceARN":"s"}`},
		{name: "resource of another kind", target: "ListTagsForResource", body: `{"ResourceARN":"arn:aws:kinesis:us-east-1:000000000000:x/stream/s"}`},
		{name: "tags of a resource that is not there", target: "ListTagsForResource", body: `{"ResourceARN":"arn:aws:kinesis:us-east-1:000000000000:stream/nope"}`},
		{name: "tags of a consumer", target: "TagResource", body: `{"ResourceARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1","Tags":{"a":"b"}}`},
		{name: "keys of a resource", target: "UntagResource", body: `{"ResourceARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s"}`},
		{name: "unknown metric", target: "EnableEnhancedMonitoring", body: `{"StreamName":"s","ShardLevelMetrics":["Beauty"]}`},
		{name: "no metrics", target: "DisableEnhancedMonitoring", body: `{"StreamName":"s","ShardLevelMetrics":[]}`},
		{name: "eight metrics", target: "DisableEnhancedMonitoring", body: `{"StreamName":"s","ShardLevelMetrics":["ALL"` + strings.Repeat(`,"ALL"`, 7) + `]}`},
		{name: "metrics of no stream", target: "DisableEnhancedMonitoring", body: `{"StreamName":"nope","ShardLevelMetrics":["ALL"]}`},
		{name: "metrics", target: "EnableEnhancedMonitoring", body: `{"StreamName":"s","ShardLevelMetrics":["OutgoingBytes","OutgoingBytes"]}`},
		{name: "encryption without anything", target: "StartStreamEncryption", body: `{"StreamName":"s"}`},
		{name: "encryption of an unknown type", target: "StopStreamEncryption", body: `{"StreamName":"s","EncryptionType":"ROT13","KeyId":""}`},
		{name: "encryption of no type", target: "StartStreamEncryption", body: `{"StreamName":"s","EncryptionType":"NONE","KeyId":"k"}`},
		{name: "encryption of no stream", target: "StopStreamEncryption", body: `{"StreamName":"nope","EncryptionType":"KMS","KeyId":"k"}`},
		{name: "record size without anything", target: "UpdateMaxRecordSize", body: `{}`},
		{name: "record size of a stream by name", target: "UpdateMaxRecordSize", body: `{"StreamName":"s","MaxRecordSizeInKiB":1024}`},
		{name: "small record size", target: "UpdateMaxRecordSize", body: `{"StreamARN":"x","MaxRecordSizeInKiB":1023}`},
		{name: "large record size", target: "UpdateMaxRecordSize", body: `{"MaxRecordSizeInKiB":10241}`},
		{name: "record size of no stream", target: "UpdateMaxRecordSize", body: `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/nope","MaxRecordSizeInKiB":1024}`},
		{name: "mode without anything", target: "UpdateStreamMode", body: `{}`},
		{name: "unknown mode", target: "UpdateStreamMode", body: `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s","StreamModeDetails":{"StreamMode":"FAST"},"WarmThroughputMiBps":-1}`},
		{name: "mode with warm throughput", target: "UpdateStreamMode", body: `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s","StreamModeDetails":{"StreamMode":"ON_DEMAND"},"WarmThroughputMiBps":1}`},
		{name: "mode of no stream", target: "UpdateStreamMode", body: `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/nope","StreamModeDetails":{"StreamMode":"PROVISIONED"}}`},
	})
}
