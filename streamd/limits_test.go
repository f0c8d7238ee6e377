package streamd_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// newLimitedRig returns a rig with limits whose client does not retry.
func newLimitedRig(t *testing.T, shards int, limits string) *rig {
	t.Helper()
	r := newRig(t, shards, streamdtest.Limits(limits))
	r.client = r.Kinesis(func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
	return r
}

// putMany puts n records of a size into a shard and returns which were taken.
func (r *rig) putMany(hashKey string, sizes ...int) (taken []bool, out *kinesis.PutRecordsOutput) {
	r.t.Helper()
	in := &kinesis.PutRecordsInput{StreamName: &r.stream}
	for _, size := range sizes {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{
			PartitionKey: aws.String("k"), ExplicitHashKey: &hashKey, Data: make([]byte, size-1),
		})
	}
	out = must[*kinesis.PutRecordsOutput](r.t)(r.client.PutRecords(r.t.Context(), in))
	failed := int32(0)
	for _, rec := range out.Records {
		taken = append(taken, rec.ErrorCode == nil)
		if rec.ErrorCode != nil {
			failed++
		}
	}
	if *out.FailedRecordCount != failed || len(out.Records) != len(sizes) {
		r.t.Errorf("%d of %d records failed, FailedRecordCount %d", failed, len(sizes), *out.FailedRecordCount)
	}
	return taken, out
}

func (r *rig) expectTaken(what, hashKey string, n, want int) {
	r.t.Helper()
	got := 0
	for n > 0 {
		sizes := make([]int, min(n, 500))
		for i := range sizes {
			sizes[i] = 10
		}
		n -= len(sizes)
		taken, _ := r.putMany(hashKey, sizes...)
		for _, ok := range taken {
			if ok {
				got++
			}
		}
	}
	if got != want {
		r.t.Errorf("%s: %d records taken, want %d", what, got, want)
	}
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

const upperHalf = "170141183460469231731687303715884105728"

func TestLimitsOfWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLimitedRig(t, 2, "aws")
		dry, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &r.stream, PartitionKey: aws.String("k"), Data: make([]byte, 1<<20-1), DryRun: aws.Bool(true), ExplicitHashKey: aws.String("0")})
		if code(err) != "DryRunOperationException" {
			t.Errorf("dry run: %v, %v", dry, err)
		}
		r.expectTaken("in the first second", "0", 1500, 1000)
		r.expectTaken("into the other shard", upperHalf, 1500, 1000)
		time.Sleep(100 * time.Millisecond)
		r.expectTaken("a tenth of a second later", "0", 500, 100)
		r.Advance(time.Second)
		r.expectTaken("a second of the server's clock later", "0", 1500, 1000)
		_, err = r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &r.stream, PartitionKey: aws.String("k"), Data: []byte("x"), ExplicitHashKey: aws.String("0")})
		if code(err) != "ProvisionedThroughputExceededException" {
			t.Errorf("PutRecord over the rate: %v", err)
		}
		other := *r
		other.stream = "other"
		r.CreateStream(t, other.stream, 1)
		other.expectTaken("into another stream", "0", 1500, 1000)

		// By size: what is refused uses nothing up, and smaller records pass.
		r.Advance(time.Minute)
		taken, out := r.putMany("0", 700<<10, 400<<10, 300<<10, 30<<10, 10<<10)
		for i, want := range []bool{true, false, true, false, true} {
			if taken[i] != want {
				t.Errorf("record %d taken: %t", i, taken[i])
			}
		}
		want := "Rate exceeded for shard shardId-000000000000 in stream stream under account 000000000000."
		if got := out.Records[1]; *got.ErrorCode != "ProvisionedThroughputExceededException" || *got.ErrorMessage != want || got.ShardId != nil {
			t.Errorf("refused with %s: %s", *got.ErrorCode, *got.ErrorMessage)
		}

		// The children of a shard begin with buckets of their own.
		r.Advance(time.Minute)
		r.expectTaken("before the split", "0", 1500, 1000)
		must[*kinesis.SplitShardOutput](t)(r.client.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: &r.stream, ShardToSplit: aws.String("0"), NewStartingHashKey: aws.String("1000")}))
		r.expectTaken("into the left child", "0", 1500, 1000)
		r.expectTaken("into the right child", "1000", 1500, 1000)
	})
}

func TestLimitsOfReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLimitedRig(t, 2, "aws")
		for range 10 {
			if taken, _ := r.putMany("0", 1<<20); !taken[0] {
				t.Fatal("not stored")
			}
			time.Sleep(time.Second)
		}
		first := r.iterator(0, types.ShardIteratorTypeTrimHorizon)
		reads := func(it string, n int) (ok int) {
			for range n {
				_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &it})
				switch {
				case err == nil:
					ok++
				case code(err) != "ProvisionedThroughputExceededException" || !strings.Contains(err.Error(), "Rate exceeded for Shard - 000000000000/stream/shardId-000000000000"):
					t.Errorf("refused with %v", err)
				}
			}
			return ok
		}
		_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &first, DryRun: aws.Bool(true)})
		if code(err) != "DryRunOperationException" {
			t.Error(err)
		}
		latest := r.iterator(0, types.ShardIteratorTypeLatest)
		other := r.iterator(1, types.ShardIteratorTypeLatest)
		if got := reads(latest, 8); got != 5 {
			t.Errorf("%d reads at once", got)
		}
		time.Sleep(time.Second)
		if got := reads(first, 2); got != 1 {
			t.Errorf("%d reads of 10 MiB at once", got)
		}
		if got := reads(other, 2); got != 2 {
			t.Errorf("%d reads of the other shard", got)
		}
		time.Sleep(4900 * time.Millisecond)
		if got := reads(latest, 2); got != 0 {
			t.Errorf("%d reads before the debt was paid", got)
		}
		r.Advance(100 * time.Millisecond)
		if got := reads(latest, 2); got != 2 {
			t.Errorf("%d reads after the debt was paid", got)
		}
	})
}

func TestLimitsOfOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLimitedRig(t, 1, "aws:0.2")
		list := func() string {
			_, err := r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
			return code(err)
		}
		if first, second := list(), list(); first != "" || second != "LimitExceededException" {
			t.Errorf("ListStreams twice: %q, %q", first, second)
		}
		time.Sleep(time.Second)
		if got := list(); got != "" {
			t.Errorf("a second later: %s", got)
		}
		r.expectTaken("a fifth of AWS", "0", 500, 200)
	})
}

func TestWithoutLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		newLimitedRig(t, 1, "off").expectTaken("without limits", "0", 5000, 5000)
		newLimitedRig(t, 1, "read-calls=1").expectTaken("with other limits", "0", 5000, 5000)
	})
}

func TestParseLimits(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want streamd.Limits
		err  string
	}{
		{in: "", want: streamd.Limits{}},
		{in: "off", want: streamd.Limits{}},
		{in: "aws", want: streamd.Limits{WriteRecords: 1000, WriteBytes: 1 << 20, ReadCalls: 5, ReadBytes: 2 << 20, Iterators: 5, Subscribe: 1, FanOutBytes: 2 << 20, Operations: 1, Quotas: true}},
		{in: "aws:0.5", want: streamd.Limits{WriteRecords: 500, WriteBytes: 1 << 19, ReadCalls: 2.5, ReadBytes: 1 << 20, Iterators: 2.5, Subscribe: 0.5, FanOutBytes: 1 << 20, Operations: 0.5, Quotas: true}},
		{in: "write-records=10, read-calls=2", want: streamd.Limits{WriteRecords: 10, ReadCalls: 2}},
		{in: "aws,read-calls=10,shards=7", want: streamd.Limits{WriteRecords: 1000, WriteBytes: 1 << 20, ReadCalls: 10, ReadBytes: 2 << 20, Iterators: 5, Subscribe: 1, FanOutBytes: 2 << 20, Operations: 1, Quotas: true, Shards: 7}},
		{in: "off,quotas=true", want: streamd.Limits{Quotas: true}},
		{in: "on-demand-streams=3,creating=2", want: streamd.Limits{OnDemandStreams: 3, Creating: 2}},
		{in: "write-records=9,iterators=2;orders-*:write-records=4 ; logs:off", want: streamd.Limits{WriteRecords: 9, Iterators: 2, Streams: []streamd.StreamLimits{
			{Stream: "orders-*", WriteRecords: 4, Iterators: 2}, {Stream: "logs"},
		}}},
		{in: ";a:aws:0.001", want: streamd.Limits{Streams: []streamd.StreamLimits{{Stream: "a", WriteRecords: 1, WriteBytes: 1048.576, ReadCalls: 0.005, ReadBytes: 2097.152, Iterators: 0.005, Subscribe: 0.001, FanOutBytes: 2097.152}}}},
		{in: "aws;orders", err: `"orders" is not the name of a stream and its limits; write orders:write-records=10`},
		{in: "aws;", err: `"" is not the name of a stream`},
		{in: "aws;[:off", err: `"[" is neither the name of a stream nor a pattern`},
		{in: "aws;a/b:off", err: `"a/b" is neither the name of a stream nor a pattern of names; write orders, or orders-*`},
		{in: "aws;a:operations=1", err: "operations is of the whole account, not of a stream; write it before the first semicolon"},
		{in: "aws;a:shards=1", err: "a: shards is of the whole account"},
		{in: "aws;a:read-calls=-1", err: "of a: read-calls -1 is outside"},
		{in: "shards=x", err: `"x" is not a whole number; write shards=100`},
		{in: "shards", err: `"" is not a whole number; write shards=100`},
		{in: "creating=-1", err: "creating -1 is negative; write creating=0"},
		{in: "quotas=maybe", err: `"maybe" is neither true nor false; write quotas=true`},
		{in: "write-records=1,aws", err: `"aws" is none of`},
		{in: "aws:0", err: "is not a factor from 0.001 to 100"},
		{in: "aws:NaN", err: "is not a factor"},
		{in: "aws:x", err: "is not a factor"},
		{in: "AWS", err: "is none of off, aws, aws:N"},
		{in: "write-records=x", err: "is not a number a second"},
		{in: "write-records=-1", err: "write-records -1 is outside [0.001, 268435456]; write write-records=0 for no limit"},
		{in: "puts=1", err: "is none of"},
	} {
		got, err := streamd.ParseLimits(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want %s", tt.in, err, tt.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, %v", tt.in, got, err)
		}
	}
	if _, err := streamd.New(streamd.Config{Limits: streamd.Limits{ReadCalls: -1}}); err == nil || !strings.Contains(err.Error(), "read-calls -1") {
		t.Errorf("New with a bad rate: %v", err)
	}
}

func TestQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigOn(t, streamdtest.New(t, streamdtest.TransitionDelay(time.Second), streamdtest.Config(func(c *streamd.Config) { c.Limits.Quotas = true })), "q", nil)
		r.client = r.Kinesis(func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
		create := func(name string, shards int32, mode types.StreamMode) string {
			_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &shards, StreamModeDetails: &types.StreamModeDetails{StreamMode: mode}})
			if err == nil {
				return ""
			}
			return err.Error()
		}
		for _, name := range []string{"q", "b", "c", "d", "e"} {
			if err := create(name, 4, types.StreamModeProvisioned); err != "" {
				t.Fatal(err)
			}
		}
		if err := create("f", 1, types.StreamModeProvisioned); !strings.Contains(err, "LimitExceededException: This request would exceed the limit on the number of streams in CREATING state") {
			t.Errorf("a sixth stream at once: %s", err)
		}
		r.Advance(time.Second)
		if err := create("f", 19981, types.StreamModeProvisioned); !strings.Contains(err, "Current shard count for the account: 20. Limit: 20000. Number of additional shards that would have resulted from this request: 19981.") {
			t.Errorf("20001 shards: %s", err)
		}
		for i := range 51 {
			err := create(fmt.Sprintf("demand%d", i), 1, types.StreamModeOnDemand)
			r.Advance(time.Second)
			if want := "on the number of On-Demand streams for the account `000000000000` in `us-east-1`. Current On-Demand streams count: 50. Limit: 50."; i < 50 && err != "" || i == 50 && !strings.Contains(err, want) {
				t.Errorf("on-demand stream %d: %s", i+1, err)
			}
		}
		limits := must[*kinesis.DescribeLimitsOutput](t)(r.client.DescribeLimits(t.Context(), &kinesis.DescribeLimitsInput{}))
		if *limits.ShardLimit != 20000 || *limits.OnDemandStreamCountLimit != 50 || *limits.OnDemandStreamCount != 50 {
			t.Errorf("DescribeLimits: %d, %d of %d", *limits.ShardLimit, *limits.OnDemandStreamCount, *limits.OnDemandStreamCountLimit)
		}
		for _, tt := range []struct {
			target int32
			want   string
		}{
			{9, "InvalidArgumentException: UpdateShardCount cannot scale up over double your current open shard count. Current open shard count: 4 Target shard count: 9"},
			{1, "InvalidArgumentException: UpdateShardCount cannot scale down below half your current open shard count. Current open shard count: 4 Target shard count: 1"},
			{8, ""},
		} {
			_, err := r.client.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{StreamName: &r.stream, TargetShardCount: &tt.target, ScalingType: types.ScalingTypeUniformScaling})
			if (err == nil) != (tt.want == "") || err != nil && !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("to %d shards: %v", tt.target, err)
			}
		}
	})
}
