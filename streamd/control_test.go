package streamd_test

import (
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
	})
}
