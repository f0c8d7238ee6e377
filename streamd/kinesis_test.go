package streamd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// rig is a server with a stream, and short words for what tests do with it.
type rig struct {
	*streamdtest.Server
	t      *testing.T
	client *kinesis.Client
	stream string

	history *historian
}

func newRig(t *testing.T, shards int, opts ...streamdtest.Option) *rig {
	t.Helper()
	r := rigOn(t, streamdtest.New(t, opts...), "stream", nil)
	r.CreateStream(t, r.stream, shards)
	return r
}

// rigOn returns a rig on a server that is there. If the server has the data of
// another, before is that one's rig, and what was seen of it counts.
func rigOn(t *testing.T, srv *streamdtest.Server, stream string, before *rig) *rig {
	t.Helper()
	r := &rig{Server: srv, t: t, stream: stream, history: newHistorian(srv)}
	if before != nil {
		r.history = before.history.goOn(srv)
	}
	t.Cleanup(r.check) // while the server is there
	r.client = r.Kinesis()
	return r
}

// goOn puts a server in the place of one that is closed, and whose data it has.
func (r *rig) goOn(srv *streamdtest.Server) {
	r.Server, r.history = srv, r.history.goOn(srv)
	r.t.Cleanup(r.check)
	r.client = r.Kinesis()
}

// Kinesis is [streamdtest.Server.Kinesis], for a client whose records are
// checked at the end of the test.
func (r *rig) Kinesis(opts ...func(*kinesis.Options)) *kinesis.Client {
	return r.Server.Kinesis(append(opts, r.history.watch)...)
}

// Advance moves the server's clock.
func (r *rig) Advance(d time.Duration) {
	r.Server.Advance(d)
	r.history.advance(d)
}

// Fault has requests fail until remove is called, or the test ends.
func (r *rig) Fault(t testing.TB, f streamdtest.Fault) (remove func()) {
	t.Helper()
	remove = r.Server.Fault(t, f)
	r.history.before(remove)
	return remove
}

// Close stops the server before the test ends.
func (r *rig) Close() error {
	r.check()
	return r.Server.Close()
}

// check checks what the clients have seen, once, while the server is there.
func (r *rig) check() { r.history.once.Do(func() { r.history.check(r.t) }) }

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// put stores a record in a shard and returns its number.
func (r *rig) put(shard int, data string) string {
	r.t.Helper()
	shards := r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})
	out, err := r.client.PutRecord(r.t.Context(), &kinesis.PutRecordInput{
		StreamName: &r.stream, PartitionKey: aws.String("key"), Data: []byte(data),
		ExplicitHashKey: shards[shard].HashKeyRange.StartingHashKey,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if want := shardID(shard); *out.ShardId != want {
		r.t.Fatalf("record went to %s, want %s", *out.ShardId, want)
	}
	return *out.SequenceNumber
}

func shardID(i int) string { return fmt.Sprintf("shardId-%012d", i) }

func (r *rig) iterator(shard int, kind types.ShardIteratorType, change ...func(*kinesis.GetShardIteratorInput)) string {
	r.t.Helper()
	in := &kinesis.GetShardIteratorInput{StreamName: &r.stream, ShardId: aws.String(shardID(shard)), ShardIteratorType: kind}
	for _, f := range change {
		f(in)
	}
	out, err := r.client.GetShardIterator(r.t.Context(), in)
	if err != nil {
		r.t.Fatal(err)
	}
	return *out.ShardIterator
}

func from(seq string) func(*kinesis.GetShardIteratorInput) {
	return func(in *kinesis.GetShardIteratorInput) { in.StartingSequenceNumber = &seq }
}

func at(ts time.Time) func(*kinesis.GetShardIteratorInput) {
	return func(in *kinesis.GetShardIteratorInput) { in.Timestamp = &ts }
}

// read gets once and returns the data joined by commas.
func (r *rig) read(iterator string) (data string, out *kinesis.GetRecordsOutput) {
	r.t.Helper()
	out, err := r.client.GetRecords(r.t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, rec := range out.Records {
		all = append(all, string(rec.Data))
	}
	return strings.Join(all, ","), out
}

func (r *rig) expect(what, iterator, want string) *kinesis.GetRecordsOutput {
	r.t.Helper()
	got, out := r.read(iterator)
	if got != want {
		r.t.Errorf("%s: read %q, want %q", what, got, want)
	}
	return out
}

func (r *rig) shards(in *kinesis.ListShardsInput) []types.Shard {
	r.t.Helper()
	var all []types.Shard
	for {
		out, err := r.client.ListShards(r.t.Context(), in)
		if err != nil {
			r.t.Fatal(err)
		}
		if all = append(all, out.Shards...); out.NextToken == nil {
			return all
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken, MaxResults: in.MaxResults}
	}
}

// wantError checks code and message of an answer. A message that ends in "…"
// is a beginning.
func wantError(t *testing.T, err error, code, message string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Errorf("error %v, want %s", err, code)
		return
	}
	begins, short := strings.CutSuffix(message, "…")
	if e.ErrorCode() != code || e.ErrorMessage() != message && (!short || !strings.HasPrefix(e.ErrorMessage(), begins)) {
		t.Errorf("got  %s: %s\nwant %s: %s", e.ErrorCode(), e.ErrorMessage(), code, message)
	}
}

func TestRoundTrip(t *testing.T) {
	r := newRig(t, 2)
	ctx := t.Context()
	data := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte{0, 255}, 1000)}
	var entries []types.PutRecordsRequestEntry
	for i, d := range data {
		entries = append(entries, types.PutRecordsRequestEntry{Data: d, PartitionKey: aws.String("ключ"), ExplicitHashKey: aws.String(fmt.Sprint(i))})
	}
	put := must[*kinesis.PutRecordsOutput](t)(r.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &r.stream, Records: entries}))
	if *put.FailedRecordCount != 0 || len(put.Records) != len(data) {
		t.Fatalf("answer %+v", put)
	}
	got := r.Records(t, r.stream)
	if len(got) != len(data) {
		t.Fatalf("%d records, want %d", len(got), len(data))
	}
	for i, rec := range got {
		if !bytes.Equal(rec.Data, data[i]) || *rec.PartitionKey != "ключ" || *rec.SequenceNumber != *put.Records[i].SequenceNumber {
			t.Errorf("record %d: %+v", i, rec)
		}
		if age := time.Since(*rec.ApproximateArrivalTimestamp); age < 0 || age > time.Minute {
			t.Errorf("record %d arrived %v ago", i, age)
		}
	}

	desc := must[*kinesis.DescribeStreamOutput](t)(r.client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: &r.stream})).StreamDescription
	if *desc.StreamARN != "arn:aws:kinesis:us-east-1:000000000000:stream/stream" || desc.StreamStatus != types.StreamStatusActive ||
		*desc.RetentionPeriodHours != 24 || len(desc.Shards) != 2 || *desc.HasMoreShards || desc.StreamModeDetails.StreamMode != types.StreamModeProvisioned {
		t.Errorf("description %+v", desc)
	}
	if first := desc.Shards[0]; *first.HashKeyRange.EndingHashKey != "170141183460469231731687303715884105727" ||
		first.SequenceNumberRange.EndingSequenceNumber != nil || first.ParentShardId != nil {
		t.Errorf("first shard %+v", first)
	}
	sum := must[*kinesis.DescribeStreamSummaryOutput](t)(r.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: desc.StreamARN})).StreamDescriptionSummary
	if *sum.OpenShardCount != 2 || sum.StreamId != nil || *sum.MaxRecordSizeInKiB != 1024 || !sum.StreamCreationTimestamp.Equal(*desc.StreamCreationTimestamp) {
		t.Errorf("summary %+v", sum)
	}

	must[*kinesis.SplitShardOutput](t)(r.client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &r.stream, ShardToSplit: aws.String("shardId-0"), NewStartingHashKey: aws.String("1000")}))
	must[*kinesis.MergeShardsOutput](t)(r.client.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: &r.stream, ShardToMerge: aws.String(shardID(3)), AdjacentShardToMerge: aws.String(shardID(1))}))
	shards := r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})
	if len(shards) != 5 || *shards[4].ParentShardId != shardID(3) || *shards[4].AdjacentParentShardId != shardID(1) || shards[3].SequenceNumberRange.EndingSequenceNumber == nil {
		t.Errorf("shards %+v", shards)
	}
	count := must[*kinesis.UpdateShardCountOutput](t)(r.client.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: &r.stream, TargetShardCount: aws.Int32(7), ScalingType: types.ScalingTypeUniformScaling}))
	if *count.CurrentShardCount != 2 || *count.TargetShardCount != 7 || *count.StreamARN != *desc.StreamARN {
		t.Errorf("UpdateShardCount %+v", count)
	}

	must[*kinesis.DeleteStreamOutput](t)(r.client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &r.stream}))
	_, err := r.client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: &r.stream})
	wantError(t, err, "ResourceNotFoundException", "Stream stream under account 000000000000 not found.")
}

func TestScopes(t *testing.T) {
	r := newRig(t, 1)
	other := r.Kinesis(func(o *kinesis.Options) {
		o.Region = "eu-west-1"
		o.Credentials = credentials.NewStaticCredentialsProvider("123456789012", "x", "")
	})
	_, err := other.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: &r.stream})
	wantError(t, err, "ResourceNotFoundException", "Stream stream under account 123456789012 not found.")
	must[*kinesis.CreateStreamOutput](t)(other.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &r.stream}))
	d := must[*kinesis.DescribeStreamOutput](t)(other.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: &r.stream})).StreamDescription
	if *d.StreamARN != "arn:aws:kinesis:eu-west-1:123456789012:stream/stream" || len(d.Shards) != 4 {
		t.Errorf("description %+v", d)
	}
	// A resource name reaches into another scope.
	d = must[*kinesis.DescribeStreamOutput](t)(r.client.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamARN: d.StreamARN})).StreamDescription
	if len(d.Shards) != 4 {
		t.Errorf("description by ARN %+v", d)
	}
}

func TestIteratorKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		latest := r.iterator(0, types.ShardIteratorTypeLatest)
		start := r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})[0].SequenceNumberRange.StartingSequenceNumber
		var seq []string
		var when []time.Time
		for _, d := range []string{"a", "b", "c"} {
			seq, when = append(seq, r.put(0, d)), append(when, time.Now())
			time.Sleep(1500 * time.Millisecond)
		}
		r.expect("LATEST has what came after it, before the first read", latest, "a,b,c")
		r.expect("the same iterator again", latest, "a,b,c")
		r.expect("TRIM_HORIZON", r.iterator(0, types.ShardIteratorTypeTrimHorizon), "a,b,c")
		r.expect("LATEST now", r.iterator(0, types.ShardIteratorTypeLatest), "")
		r.expect("AT the first", r.iterator(0, types.ShardIteratorTypeAtSequenceNumber, from(seq[0])), "a,b,c")
		r.expect("AT the second", r.iterator(0, types.ShardIteratorTypeAtSequenceNumber, from(seq[1])), "b,c")
		r.expect("AFTER the second", r.iterator(0, types.ShardIteratorTypeAfterSequenceNumber, from(seq[1])), "c")
		r.expect("AFTER the last", r.iterator(0, types.ShardIteratorTypeAfterSequenceNumber, from(seq[2])), "")
		r.expect("AT the shard's own start", r.iterator(0, types.ShardIteratorTypeAtSequenceNumber, from(*start)), "a,b,c")
		r.expect("AT_TIMESTAMP of a record", r.iterator(0, types.ShardIteratorTypeAtTimestamp, at(when[1])), "b,c")
		r.expect("AT_TIMESTAMP a millisecond later", r.iterator(0, types.ShardIteratorTypeAtTimestamp, at(when[1].Add(time.Millisecond))), "c")
		r.expect("AT_TIMESTAMP before all", r.iterator(0, types.ShardIteratorTypeAtTimestamp, at(when[0].Add(-time.Hour))), "a,b,c")
		past := r.iterator(0, types.ShardIteratorTypeAtTimestamp, at(time.Now()))
		out := r.expect("AT_TIMESTAMP behind the tip waits", past, "")
		if *out.MillisBehindLatest != 0 || out.NextShardIterator == nil || *out.NextShardIterator == past {
			t.Errorf("at the tip: %+v", out)
		}
		r.put(0, "d")
		r.expect("and has the next record", past, "d")
		r.expect("as has its continuation", *out.NextShardIterator, "d")
		r.expect("in quotes", `"`+past+`"`, "d")

		// One by one, nothing comes twice and nothing is missing.
		var all []string
		for next := r.iterator(0, types.ShardIteratorTypeTrimHorizon); ; {
			out := must[*kinesis.GetRecordsOutput](t)(r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &next, Limit: aws.Int32(1)}))
			if len(out.Records) == 0 {
				break
			}
			all = append(all, string(out.Records[0].Data))
			if behind := *out.MillisBehindLatest; (behind == 0) != (len(all) == 4) {
				t.Errorf("after %v: MillisBehindLatest %d", all, behind)
			}
			next = *out.NextShardIterator
		}
		if got := strings.Join(all, ","); got != "a,b,c,d" {
			t.Errorf("one by one: %s", got)
		}
	})
}

func TestIteratorRefusals(t *testing.T) {
	r := newRig(t, 2)
	seq := r.put(1, "x")
	must[*kinesis.SplitShardOutput](t)(r.client.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: &r.stream, ShardToSplit: aws.String(shardID(0)), NewStartingHashKey: aws.String("1000")}))
	end := *r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})[0].SequenceNumberRange.EndingSequenceNumber
	const either = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified "
	for _, tt := range []struct {
		name, stream, shard string
		kind                types.ShardIteratorType
		seq                 string
		at                  time.Time
		code, message       string
	}{
		{name: "no stream", stream: "nope", shard: "0", kind: "LATEST", code: "ResourceNotFoundException", message: "Shard shardId-000000000000 in stream nope under account 000000000000 does not exist"},
		{name: "no shard", shard: "shard-9", kind: "LATEST", code: "ResourceNotFoundException", message: "Shard shardId-000000000009 in stream stream under account 000000000000 does not exist"},
		{name: "no shard's name", shard: "shardId-x", kind: "LATEST", code: "ResourceNotFoundException", message: "Could not find shard shardId-x in stream stream under account 000000000000."},
		{name: "LATEST and a number", shard: "1", kind: "LATEST", seq: seq, code: "InvalidArgumentException", message: either + "LATEST and also a StartingSequenceNumber."},
		{name: "AT and no number", shard: "1", kind: "AT_SEQUENCE_NUMBER", code: "InvalidArgumentException", message: either + "AT_SEQUENCE_NUMBER and no StartingSequenceNumber."},
		{name: "no sequence number", shard: "1", kind: "AT_SEQUENCE_NUMBER", seq: "0", code: "InvalidArgumentException", message: "StartingSequenceNumber 0 used in GetShardIterator on shard shardId-000000000001 in stream stream under account 000000000000 is invalid."},
		{name: "of another shard", shard: "0", kind: "AT_SEQUENCE_NUMBER", seq: seq, code: "InvalidArgumentException", message: "Invalid StartingSequenceNumber. It encodes shardId-000000000001, while it was used in a call to a shard with shardId-000000000000"},
		{name: "of another stream", shard: "3", kind: "AT_SEQUENCE_NUMBER", seq: "49646437577175378652512468275251745506222989733565300786", code: "InvalidArgumentException", message: "StartingSequenceNumber 49646437577175378652512468275251745506222989733565300786 used in GetShardIterator on shard shardId-000000000003 in stream stream under account 000000000000 is invalid because it did not come from this stream."},
		{name: "the end", shard: "0", kind: "AFTER_SEQUENCE_NUMBER", seq: end, code: "InvalidArgumentException", message: "Invalid SequenceNumber for ShardIteratorType AFTER_SEQUENCE_NUMBER, SequenceNumber has reached max possible value for the shard."},
		{name: "no time", shard: "1", kind: "AT_TIMESTAMP", code: "InvalidArgumentException", message: "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter."},
		{name: "the future", shard: "1", kind: "AT_TIMESTAMP", at: time.Now().Add(time.Hour), code: "InvalidArgumentException", message: "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: …"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := &kinesis.GetShardIteratorInput{StreamName: &r.stream, ShardId: &tt.shard, ShardIteratorType: tt.kind}
			if tt.stream != "" {
				in.StreamName = &tt.stream
			}
			if tt.seq != "" {
				in.StartingSequenceNumber = &tt.seq
			}
			if !tt.at.IsZero() {
				in.Timestamp = &tt.at
			}
			_, err := r.client.GetShardIterator(t.Context(), in)
			wantError(t, err, tt.code, tt.message)
		})
	}
}

func TestIteratorLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.put(0, "a")
		it := r.iterator(0, types.ShardIteratorTypeTrimHorizon)
		r.Advance(300 * time.Second)
		r.expect("at the end of its life", it, "a")
		r.Advance(time.Millisecond)
		_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &it})
		wantError(t, err, "ExpiredIteratorException", "Iterator expired. The iterator was created at time Sat Jan 01 00:00:00 UTC 2000 while right now it is Sat Jan 01 00:05:00 UTC 2000 which is further in the future than the tolerated delay of 300000 milliseconds.")

		it = r.iterator(0, types.ShardIteratorTypeTrimHorizon)
		flipped := []byte(it)
		flipped[len(flipped)/2] ^= 1
		for _, bad := range []string{"x", "AAAA", it[:len(it)-4], string(flipped), `""`} {
			_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &bad})
			wantError(t, err, "InvalidArgumentException", "Invalid ShardIterator.")
		}
		other := newRig(t, 1)
		_, err = other.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &it})
		wantError(t, err, "InvalidArgumentException", "Invalid ShardIterator.")
		page := must[*kinesis.ListShardsOutput](t)(r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &r.stream}))
		if page.NextToken != nil {
			t.Error("one shard has a second page")
		}

		must[*kinesis.DeleteStreamOutput](t)(r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: &r.stream}))
		r.CreateStream(t, r.stream, 1)
		_, err = r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &it})
		wantError(t, err, "ResourceNotFoundException", "Shard shardId-000000000000 in stream stream under account 000000000000 does not exist")
	})
}

func TestEndOfShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		latest := r.iterator(0, types.ShardIteratorTypeLatest)
		r.put(0, "a")
		r.put(0, "b")
		mergedEarly := r.iterator(1, types.ShardIteratorTypeLatest)
		must[*kinesis.SplitShardOutput](t)(r.client.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: &r.stream, ShardToSplit: aws.String(shardID(0)), NewStartingHashKey: aws.String("1000")}))

		first := must[*kinesis.GetRecordsOutput](t)(r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &latest, Limit: aws.Int32(1)}))
		if first.NextShardIterator == nil || first.ChildShards != nil {
			t.Fatalf("in the middle of a closed shard: %+v", first)
		}
		for what, it := range map[string]string{
			"the rest": *first.NextShardIterator, "LATEST of a closed shard": r.iterator(0, types.ShardIteratorTypeLatest),
			"a time after its end": r.iterator(0, types.ShardIteratorTypeAtTimestamp, at(time.Now())),
		} {
			_, out := r.read(it)
			if out.NextShardIterator != nil || len(out.ChildShards) != 2 || *out.MillisBehindLatest != 0 {
				t.Errorf("%s: %+v", what, out)
				continue
			}
			for i, c := range out.ChildShards {
				if *c.ShardId != shardID(2+i) || len(c.ParentShards) != 1 || c.ParentShards[0] != shardID(0) || c.HashKeyRange == nil {
					t.Errorf("%s: child %+v", what, c)
				}
			}
		}

		must[*kinesis.MergeShardsOutput](t)(r.client.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: &r.stream, ShardToMerge: aws.String(shardID(3)), AdjacentShardToMerge: aws.String(shardID(1))}))
		_, out := r.read(mergedEarly)
		if out.NextShardIterator != nil || len(out.ChildShards) != 1 || fmt.Sprint(out.ChildShards[0].ParentShards) != fmt.Sprint([]string{shardID(3), shardID(1)}) {
			t.Errorf("end of a merged shard: %+v", out)
		}

		// Past retention the closed shards are gone, the open ones and their
		// names for their parents stay.
		kept := r.iterator(0, types.ShardIteratorTypeTrimHorizon)
		r.Advance(25 * time.Hour)
		_, err := r.client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &r.stream, ShardId: aws.String("0"), ShardIteratorType: "LATEST"})
		wantError(t, err, "ResourceNotFoundException", "Shard shardId-000000000000 in stream stream under account 000000000000 does not exist")
		_, err = r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &kept})
		wantError(t, err, "ExpiredIteratorException", "Iterator expired. …")
		shards := r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})
		if len(shards) != 2 || *shards[0].ParentShardId != shardID(0) {
			t.Errorf("shards past retention: %+v", shards)
		}
	})
}

func TestTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		old := r.put(0, "old")
		r.Advance(23 * time.Hour)
		r.put(0, "new")
		horizon := r.iterator(0, types.ShardIteratorTypeTrimHorizon)
		r.expect("all", horizon, "old,new")
		r.Advance(time.Hour - 3*time.Minute)
		it := r.iterator(0, types.ShardIteratorTypeTrimHorizon)
		r.Advance(4 * time.Minute)
		r.expect("TRIM_HORIZON is where it is when it is read", it, "new")
		r.expect("AT a trimmed number", r.iterator(0, types.ShardIteratorTypeAtSequenceNumber, from(old)), "new")
	})
}

func TestTransitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, streamdtest.TransitionDelay(time.Second))
		status := func(want types.StreamStatus, shards int) {
			t.Helper()
			d := must[*kinesis.DescribeStreamOutput](t)(r.client.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: &r.stream})).StreamDescription
			if d.StreamStatus != want || len(d.Shards) != shards {
				t.Errorf("%s with %d shards, want %s with %d", d.StreamStatus, len(d.Shards), want, shards)
			}
		}
		status("CREATING", 0)
		put := &kinesis.PutRecordInput{StreamName: &r.stream, Data: []byte("x"), PartitionKey: aws.String("k")}
		_, err := r.client.PutRecord(t.Context(), put)
		wantError(t, err, "ResourceNotFoundException", "Stream stream under account 000000000000 not found.")
		_, err = r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &r.stream})
		wantError(t, err, "ResourceInUseException", "Stream stream under account 000000000000 not ACTIVE, instead in state CREATING")
		_, err = r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &r.stream})
		wantError(t, err, "ResourceInUseException", "Stream stream under account 000000000000 already exists.")
		r.Advance(time.Second)
		status("ACTIVE", 2)

		split := &kinesis.SplitShardInput{StreamName: &r.stream, ShardToSplit: aws.String("0"), NewStartingHashKey: aws.String("1000")}
		must[*kinesis.SplitShardOutput](t)(r.client.SplitShard(t.Context(), split))
		status("UPDATING", 2)
		must[*kinesis.PutRecordOutput](t)(r.client.PutRecord(t.Context(), put))
		_, err = r.client.SplitShard(t.Context(), split)
		wantError(t, err, "ResourceInUseException", "Stream stream under account 000000000000 not ACTIVE, instead in state UPDATING")
		time.Sleep(time.Second) // the bubble's time moves the server's clock as well
		synctest.Wait()
		status("ACTIVE", 4)

		must[*kinesis.DeleteStreamOutput](t)(r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: &r.stream}))
		status("DELETING", 4)
		_, err = r.client.PutRecord(t.Context(), put)
		wantError(t, err, "ResourceNotFoundException", "Stream stream under account 000000000000 not found.")
		r.Advance(time.Second)
		_, err = r.client.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: &r.stream})
		wantError(t, err, "ResourceNotFoundException", "Stream stream under account 000000000000 not found.")
	})
}

// TestOrderingAfterManyReshards puts with the number of the last record after
// reshards so quick that shards' creation seconds run ahead of the clock.
func TestOrderingAfterManyReshards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		in := &kinesis.PutRecordInput{StreamName: &r.stream, Data: []byte("x"), PartitionKey: aws.String("k")}
		for i := range 6 {
			out := must[*kinesis.PutRecordOutput](t)(r.client.PutRecord(t.Context(), in))
			if last := in.SequenceNumberForOrdering; last != nil && *out.SequenceNumber <= *last {
				t.Errorf("number %s after %s", *out.SequenceNumber, *last)
			}
			in.SequenceNumberForOrdering = out.SequenceNumber
			must[*kinesis.UpdateShardCountOutput](t)(r.client.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{
				StreamName: &r.stream, TargetShardCount: aws.Int32(int32(1 + (i+1)%2)), ScalingType: types.ScalingTypeUniformScaling,
			}))
		}
	})
}

func TestReshardRefusals(t *testing.T) {
	r := newRig(t, 2)
	ctx := t.Context()
	split := func(shard, hash string) error {
		_, err := r.client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &r.stream, ShardToSplit: &shard, NewStartingHashKey: &hash})
		return err
	}
	wantError(t, split("7", "5"), "ResourceNotFoundException", "Could not find shard shardId-000000000007 in stream stream under account 000000000000.")
	wantError(t, split("0", "1"), "InvalidArgumentException", "NewStartingHashKey 1 used in SplitShard() on shard shardId-000000000000 in stream stream under account 000000000000 is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey 170141183460469231731687303715884105727.")
	wantError(t, split("0", strings.Repeat("9", 39)), "InvalidArgumentException", "NewStartingHashKey 999…")
	_, err := r.client.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: &r.stream, ShardToMerge: aws.String("1"), AdjacentShardToMerge: aws.String("0")})
	wantError(t, err, "InvalidArgumentException", "Shards shardId-000000000001 and shardId-000000000000 in stream stream under account 000000000000 are not an adjacent pair of shards eligible for merging")
	if err := split("0", "1000"); err != nil {
		t.Fatal(err)
	}
	wantError(t, split("0", "100"), "InvalidArgumentException", "Shard shardId-000000000000 in stream stream under account 000000000000 has already been merged or split, and thus is not eligible for merging or splitting.")
	_, err = r.client.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: &r.stream, TargetShardCount: aws.Int32(10001), ScalingType: "UNIFORM_SCALING"})
	wantError(t, err, "InvalidArgumentException", "TargetShardCount 10001 is above the maximum of 10000.")
	_, err = r.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("huge"), ShardCount: aws.Int32(20000)})
	wantError(t, err, "LimitExceededException", "This request would exceed the shard limit for the account 000000000000 in us-east-1. Current shard count for the account: 3. Limit: 20000. Number of additional shards that would have resulted from this request: 20000. Refer …")
}

func TestSizes(t *testing.T) {
	r := newRig(t, 1)
	ctx := t.Context()
	big := "big"
	must[*kinesis.CreateStreamOutput](t)(r.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &big, ShardCount: aws.Int32(1), MaxRecordSizeInKiB: aws.Int32(10240)}))
	data := bytes.Repeat([]byte{1, 2, 3}, 5<<20)[:10<<20-1] // with its key, the largest record there is
	must[*kinesis.PutRecordOutput](t)(r.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &big, Data: data, PartitionKey: aws.String("k")}))
	_, err := r.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &big, Data: append(data, 0), PartitionKey: aws.String("k")})
	wantError(t, err, "ValidationException", "1 validation error detected: Value at 'data' failed to satisfy constraint: Member must have length less than or equal to 10485760")
	entry := types.PutRecordsRequestEntry{Data: data[:1<<20-1], PartitionKey: aws.String("k")}
	ten := []types.PutRecordsRequestEntry{entry, entry, entry, entry, entry, entry, entry, entry, entry, entry}
	must[*kinesis.PutRecordsOutput](t)(r.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &big, Records: ten}))
	_, err = r.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &big, Records: append(ten, types.PutRecordsRequestEntry{Data: []byte{}, PartitionKey: aws.String("k")})})
	wantError(t, err, "InvalidArgumentException", "Records size exceeds 10 MB limit")

	// One answer carries 10 MiB of data: the first record alone, then the rest.
	r.stream = big
	first := must[*kinesis.GetRecordsOutput](t)(r.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String(r.iterator(0, "TRIM_HORIZON"))}))
	if len(first.Records) != 1 || *first.MillisBehindLatest == 0 || !bytes.Equal(first.Records[0].Data, data) {
		t.Errorf("the first answer has %d records, %d ms behind", len(first.Records), *first.MillisBehindLatest)
	}
	rest := must[*kinesis.GetRecordsOutput](t)(r.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: first.NextShardIterator}))
	if len(rest.Records) != 10 || *rest.MillisBehindLatest != 0 || !bytes.Equal(rest.Records[9].Data, entry.Data) {
		t.Errorf("the second answer has %d records, %d ms behind", len(rest.Records), *rest.MillisBehindLatest)
	}
}

func TestDryRun(t *testing.T) {
	r := newRig(t, 1)
	it := r.iterator(0, "LATEST")
	yes := aws.Bool(true)
	for name, call := range map[string]func(context.Context) error{
		"PutRecord": func(ctx context.Context) error {
			_, err := r.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &r.stream, Data: []byte("x"), PartitionKey: aws.String("k"), DryRun: yes})
			return err
		},
		"PutRecords": func(ctx context.Context) error {
			_, err := r.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &r.stream, Records: []types.PutRecordsRequestEntry{{Data: []byte("x"), PartitionKey: aws.String("k")}}, DryRun: yes})
			return err
		},
		"GetShardIterator": func(ctx context.Context) error {
			_, err := r.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &r.stream, ShardId: aws.String("0"), ShardIteratorType: "LATEST", DryRun: yes})
			return err
		},
		"GetRecords": func(ctx context.Context) error {
			_, err := r.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: &it, DryRun: yes})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, call(t.Context()), "DryRunOperationException", "The request would have succeeded, but the DryRun flag is set.")
		})
	}
	r.expect("after dry runs", it, "")
}
