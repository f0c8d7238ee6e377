package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// described is a fake that can also be asked about the stream.
type described struct {
	*fakeStream
	auto bool
	err  error
	asks int
}

func (d *described) DescribeStreamSummary(ctx context.Context, in *kinesis.DescribeStreamSummaryInput, _ ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error) {
	if err := pause(ctx, d.delay()); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asks++
	if d.err != nil {
		return nil, d.err
	}
	s := &types.StreamDescriptionSummary{OpenShardCount: aws.Int32(int32(len(d.openLocked())))}
	if d.auto {
		s.RecordDistributionStrategy = types.RecordDistributionStrategyAuto
	}
	return &kinesis.DescribeStreamSummaryOutput{StreamDescriptionSummary: s}, nil
}

func (d *described) set(auto bool) {
	d.mu.Lock()
	d.auto = auto
	d.onRequest = nil
	d.mu.Unlock()
	if auto {
		scatter(d.fakeStream)
	}
}

// aggregates counts the aggregated records in the stream that hold more than
// one user record, from the n-th entry of each shard on.
func (f *fakeStream) aggregates() (n int) {
	for _, rd := range f.readAll() {
		if rd.sub == 1 {
			n++
		}
	}
	return n
}

// load puts many records, and fails the test if one of them fails.
func load(t *testing.T, p *producer.Producer, n int) {
	t.Helper()
	var s sink
	for i := range n {
		put(t, p, record(fmt.Sprint("key-", i), "x"), s.done)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range s.errors() {
		if err != nil {
			t.Fatalf("result: %v", err)
		}
	}
	if got := len(s.errors()); got != n {
		t.Fatalf("%d results of %d", got, n)
	}
}

// TestAutoStream: a stream that distributes records itself gets them one by
// one, and nothing else about it is taken for a fault. It may change its mind.
func TestAutoStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &described{fakeStream: newFake(4)}
		d.set(true)
		p := start(t, d, producer.Config{})
		load(t, p, 1000)
		st := p.Stats()
		if n := d.aggregates(); n != 0 || !st.Auto || st.Shards != 4 || st.WrongShard != 0 || st.UnexplainedShards != 0 || st.SequenceRegressions != 0 {
			t.Errorf("%d aggregated records, Stats: %+v", n, st)
		}
		if st.Requests > 60 {
			t.Errorf("%d requests for 1000 records", st.Requests)
		}
		d.set(false)
		time.Sleep(2 * time.Minute)
		load(t, p, 1000)
		if n, st := d.aggregates(), p.Stats(); n == 0 || st.Auto || st.WrongShard != 0 {
			t.Errorf("%d aggregated records on a stream that is no longer AUTO, Stats: %+v", n, st)
		}
		d.set(true)
		time.Sleep(2 * time.Minute)
		before := d.aggregates()
		load(t, p, 1000)
		if n := d.aggregates(); n != before || !p.Stats().Auto {
			t.Errorf("%d more aggregated records on a stream that is AUTO again", n-before)
		}
		if d.asks > 10 {
			t.Errorf("the stream was described %d times in four minutes", d.asks)
		}
		closeNow(t, p)
	})
}

// TestAutoStreamSwitches: what changes under load, between two looks, is
// noticed by where records land.
func TestAutoStreamSwitches(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error // of DescribeStreamSummary
		no   bool  // the API does not have it
	}{
		{name: "described"},
		{name: "no permission", err: apiError("AccessDeniedException")},
		{name: "no operation", no: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &described{fakeStream: newFake(4), err: tt.err}
				var api producer.API = d
				if tt.no {
					api = d.fakeStream
				}
				logs := &strings.Builder{}
				p := start(t, api, producer.Config{RecordTTL: 20 * time.Second, Logger: textLogger(logs)})
				load(t, p, 1000)
				if n := d.aggregates(); n == 0 {
					t.Error("nothing was aggregated on an ordinary stream")
				}
				d.set(true)
				for range 20 {
					load(t, p, 100)
					time.Sleep(100 * time.Millisecond)
				}
				before := d.aggregates()
				load(t, p, 1000)
				if n, st := d.aggregates(), p.Stats(); n != before || !st.Auto || st.UserRecordsFailed != 0 {
					t.Errorf("%d aggregated records after the switch, Stats: %+v", n-before, st)
				}
				closeNow(t, p)
				// Nothing that was acknowledged is discarded by a reader.
				kept := map[string]int{}
				for _, rd := range d.readAll() {
					if !rd.discarded {
						kept[rd.pk]++
					}
				}
				if kept["key-0"] < 22 || kept["key-999"] < 2 {
					t.Errorf("readers get %d of 22 records of one key, %d of 2 of another", kept["key-0"], kept["key-999"])
				}
				if n := strings.Count(logs.String(), "cannot be described"); n > 1 || n == 0 && tt.err != nil {
					t.Errorf("logged %d times that the stream cannot be described", n)
				}
			})
		})
	}
}

// TestAutoStreamAggregates: with AggregateOnAuto records are aggregated, and
// sent where the stream likes.
func TestAutoStreamAggregates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &described{fakeStream: newFake(4)}
		d.set(true)
		p := start(t, d, producer.Config{AggregateOnAuto: true})
		load(t, p, 2000)
		if n, st := d.aggregates(), p.Stats(); n == 0 || st.ReshardResent != 0 || st.Requests > 20 || len(d.readAll()) != 2000 {
			t.Errorf("%d aggregated records, %d records read, Stats: %+v", n, len(d.readAll()), st)
		}
		closeNow(t, p)
	})
}

// strict is a fake with PutRecord.
type strict struct {
	*described
	afters []string // SequenceNumberForOrdering of each call
}

func (s *strict) PutRecord(ctx context.Context, in *kinesis.PutRecordInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordOutput, error) {
	s.mu.Lock()
	s.afters = append(s.afters, aws.ToString(in.SequenceNumberForOrdering))
	s.mu.Unlock()
	out, err := s.PutRecords(ctx, &kinesis.PutRecordsInput{
		StreamName: in.StreamName, StreamARN: in.StreamARN,
		Records: []types.PutRecordsRequestEntry{{Data: in.Data, PartitionKey: in.PartitionKey, ExplicitHashKey: in.ExplicitHashKey}},
	}, opts...)
	if err != nil {
		return nil, err
	}
	e := out.Records[0]
	if e.ErrorCode != nil {
		return nil, apiError(*e.ErrorCode)
	}
	return &kinesis.PutRecordOutput{ShardId: e.ShardId, SequenceNumber: e.SequenceNumber}, nil
}

// TestAutoStreamRefusesStrict: nothing can keep that order there. Records that
// wait fail, and those that come are refused.
func TestAutoStreamRefusesStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &strict{described: &described{fakeStream: newFake(4)}}
		s.set(true)
		p := start(t, s, producer.Config{Order: producer.Strict})
		var got sink
		for i := range 10 {
			put(t, p, record(fmt.Sprint(i), "x"), got.done)
		}
		time.Sleep(time.Second)
		if err := p.Put(t.Context(), record("k", "x"), nil); !errors.Is(err, producer.ErrNoOrder) {
			t.Errorf("Put = %v", err)
		}
		if err := p.PutBatch(t.Context(), []producer.UserRecord{record("k", "x")}, nil); !errors.Is(err, producer.ErrNoOrder) {
			t.Errorf("PutBatch = %v", err)
		}
		closeNow(t, p)
		for _, err := range got.errors() {
			if !errors.Is(err, producer.ErrNoOrder) {
				t.Errorf("result %v", err)
			}
		}
		if n := len(got.errors()); n != 10 || len(s.readAll()) != 0 {
			t.Errorf("%d results, %d records stored", n, len(s.readAll()))
		}
	})
}

// TestAutoStreamOfStreamd writes to a real server whose stream becomes AUTO and
// by-key again under load.
func TestAutoStreamOfStreamd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		client := srv.Kinesis()
		ctx := t.Context()
		if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("stream"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}}); err != nil {
			t.Fatal(err)
		}
		srv.WaitForStream(ctx, t, "stream", types.StreamStatusActive)
		out, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("stream")})
		if err != nil {
			t.Fatal(err)
		}
		set := func(s types.RecordDistributionStrategy) {
			t.Helper()
			if _, err := client.UpdateStreamRecordDistributionStrategy(ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{StreamARN: out.StreamDescriptionSummary.StreamARN, RecordDistributionStrategy: s}); err != nil {
				t.Fatal(err)
			}
			srv.WaitForStream(ctx, t, "stream", types.StreamStatusActive)
		}
		p := start(t, client, producer.Config{RecordTTL: -1})
		n := 0
		write := func(rounds int) {
			for range rounds {
				n++
				for k := range 50 {
					put(t, p, record(fmt.Sprint("k", k), payload(fmt.Sprint("k", k), n)), nil)
				}
				time.Sleep(200 * time.Millisecond)
			}
		}
		write(5)
		set(types.RecordDistributionStrategyAuto)
		write(20)
		if st := p.Stats(); !st.Auto || st.Shards != 4 {
			t.Errorf("Stats of the stream that is AUTO: %+v", st)
		}
		set(types.RecordDistributionStrategyUserPartitionKey)
		time.Sleep(2 * time.Minute)
		if st := p.Stats(); st.Auto || st.Shards != 4 {
			t.Errorf("Stats of the stream that is by key again: %+v", st)
		}
		write(5)
		closeNow(t, p)
		seen := map[string]bool{}
		for _, r := range srv.Records(t, "stream") {
			takeRecord(t, r, func(data string) { seen[data] = true })
		}
		if st := p.Stats(); len(seen) != 50*n || st.UserRecordsPut != uint64(50*n) {
			t.Errorf("%d records in the stream, want %d; Stats: %+v", len(seen), 50*n, st)
		}
	})
}
