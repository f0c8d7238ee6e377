package producer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/blockrec"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestStamps: each Kinesis record is an aggregated one with a stamp, and the
// records of a lane are numbered without a gap, those without a key too.
func TestStamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		p := start(t, f, producer.Config{DuplicateStamps: true, AggregationMaxSize: 400})
		other := start(t, f, producer.Config{DuplicateStamps: true})
		res, err := p.PutSync(t.Context(), record("alone", "alone|1"))
		if err != nil || !res.Aggregated || res.SubSequenceNumber != 0 {
			t.Errorf("a record alone: %+v, %v", res, err)
		}
		if _, err := other.PutSync(t.Context(), record("alone", "alone|2")); err != nil {
			t.Error(err)
		}
		for i := range 200 {
			k := fmt.Sprint("key-", i%10)
			if i%10 == 7 {
				k = ""
			}
			put(t, p, record(k, fmt.Sprint(k, "|", i)), nil)
		}
		closeNow(t, p)
		closeNow(t, other)
		type lane struct {
			producer [8]byte
			number   uint64
		}
		next := map[lane]uint64{}
		records := 0
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range f.shards {
			for _, e := range s.entries {
				if len(e.data) > 400 {
					t.Errorf("Kinesis record of %d bytes", len(e.data))
				}
				ok, err := aggregation.WalkStamped(e.data, func(_ int, _ aggregation.Record, st *aggregation.Stamp) bool {
					records++
					if st == nil {
						t.Fatal("no stamp")
					}
					l := lane{st.Producer, st.Lane}
					// Lane 1 is that from before the shards were known: what was
					// put to it has been moved, as by a reshard.
					if st.Sequence != next[l] || (st.Keys == hashkey.All) == (st.Lane == 1) {
						t.Errorf("stamp %+v, want number %d", st, next[l])
					}
					next[l]++
					return true
				})
				if !ok || err != nil || e.pk != "a" {
					t.Errorf("Kinesis record under %q: aggregated %v, %v", e.pk, ok, err)
				}
			}
		}
		if records != 202 || len(next) < 4 {
			t.Errorf("%d records in %d lanes", records, len(next))
		}
	})
}

// TestStampedRecordFitsTheStream: the largest record that is accepted fits the
// stream's limit with all that is around it; there is none in between that is
// accepted and does not.
func TestStampedRecordFitsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.onRequest = func(in *kinesis.PutRecordsInput) error {
			if n := len(in.Records[0].Data) + len(*in.Records[0].PartitionKey); n > 10_000 {
				t.Errorf("Kinesis record of %d bytes", n)
			}
			return nil
		}
		p := start(t, f, producer.Config{DuplicateStamps: true, MaxUserRecordSize: 10_000})
		accepted := 0
		for _, u := range []producer.UserRecord{{}, {PartitionKey: "k"}, {PartitionKey: strings.Repeat("é", 256), ExplicitHashKey: hashkey.Max.String()}} {
			u.Data = make([]byte, 10_000-len(u.PartitionKey))
			for {
				_, err := p.PutSync(t.Context(), u)
				if err == nil {
					accepted++
					break
				}
				if !errors.Is(err, producer.ErrTooLarge) || len(u.Data) < 9000 {
					t.Fatalf("%d bytes of data: %v", len(u.Data), err)
				}
				u.Data = u.Data[1:]
			}
		}
		closeNow(t, p)
		if accepted != 3 {
			t.Errorf("%d records", accepted)
		}
	})
}

func TestStampsConfig(t *testing.T) {
	for name, cfg := range map[string]producer.Config{
		"DisableAggregation": {DuplicateStamps: true, DisableAggregation: true},
		"MaxUserRecordSize":  {DuplicateStamps: true, MaxUserRecordSize: 300},
	} {
		if _, err := producer.New(newFake(1), "stream", cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// lossy is a client whose answers get lost: what was asked for is done all the
// same.
type lossy struct {
	producer.API
	mu   sync.Mutex // guards r
	r    *rand.Rand
	lost int
}

func (l *lossy) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	out, err := l.API.PutRecords(ctx, in, opts...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.r.IntN(4) == 0 {
		l.lost++
		return nil, errors.New("read: connection reset by peer")
	}
	return out, err
}

// TestStampsAgainstStreamd loses a quarter of the answers of a real server
// while its shards are split and merged: with marks, a reader gets each record
// once, in order.
func TestStampsAgainstStreamd(t *testing.T) {
	for name, cfg := range map[string]producer.Config{
		"as they are": {AggregationMaxSize: 1500},
		"zstd":        {AggregationMaxSize: 400, Compression: producer.CompressionZstd},
		"s2":          {AggregationMaxSize: 600, Compression: producer.CompressionS2},
	} {
		t.Run(name, func(t *testing.T) {
			var sum reshardSum
			cfg.DuplicateStamps = true
			for seed := range uint64(4) {
				synctest.Test(t, func(t *testing.T) { stampsAgainstStreamd(t, seed, &sum, cfg) })
			}
			sum.check(t)
		})
	}
}

// reshardSum is what has happened in some histories.
type reshardSum struct {
	lost, copies int
	resent       uint64
}

func (s *reshardSum) check(t *testing.T) {
	t.Helper()
	t.Logf("%d answers lost, %d copies dropped, %d records resent for a reshard", s.lost, s.copies, s.resent)
	if s.lost == 0 || s.copies == 0 || s.resent == 0 {
		t.Error("too little happened")
	}
}

func stampsAgainstStreamd(t *testing.T, seed uint64, sum *reshardSum, cfg producer.Config) {
	t.Helper()
	srv := streamdtest.New(t)
	srv.CreateStream(t, "stream", 2)
	client := srv.Kinesis()
	api := &lossy{API: client, r: rand.New(rand.NewPCG(seed, 1))}
	cfg.RecordTTL = -1
	p := start(t, api, cfg)

	const perKey, keyCount = 150, 21
	var callers sync.WaitGroup
	for c := range 3 {
		callers.Go(func() {
			for n := range perKey {
				for k := c; k < keyCount; k += 3 {
					key := fmt.Sprint("key-", k)
					u := record(key, payload(key, n+1))
					if k == 5 {
						u.PartitionKey = "" // one caller, so one after the other, all the same
					}
					put(t, p, u, func(r producer.Result) {
						if r.Err != nil {
							t.Errorf("record %s %d: %v", key, n+1, r.Err)
						}
					})
				}
				time.Sleep(12 * time.Millisecond)
			}
		})
	}
	reshard(t, client)
	callers.Wait()
	closeNow(t, p)

	times, last := map[string]int{}, map[string]int{}
	copies, inOrder := 0, true
	readStamped(t, client, func(u aggregation.Record, v aggregation.Verdict) {
		if v != aggregation.Live {
			copies++
			return
		}
		times[string(u.Data)]++
		key, n := parsePayload(string(u.Data))
		inOrder = inOrder && (n == last[key]+1 || key == "key-5")
		last[key] = n
	})
	for data, n := range times {
		if n != 1 {
			t.Errorf("record %q comes %d times", data, n)
		}
	}
	if len(times) != perKey*keyCount || !inOrder {
		t.Errorf("%d records of %d, in order: %v", len(times), perKey*keyCount, inOrder)
	}
	s := p.Stats()
	sum.lost += api.lost
	sum.copies += copies
	sum.resent += s.ReshardResent
	if s.Shards != 2 {
		t.Errorf("Stats: %+v", s)
	}
}

// readStamped reads all shards of the stream, parents before children, and
// asks marks about each record.
func readStamped(t *testing.T, client *kinesis.Client, yield func(u aggregation.Record, v aggregation.Verdict)) {
	t.Helper()
	ctx := t.Context()
	list, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String("stream")})
	if err != nil {
		t.Fatal(err)
	}
	marks := map[string]*aggregation.Marks{}
	for _, s := range list.Shards { // in the order of their making
		keys := hashkey.Range{Start: parseKey(t, s.HashKeyRange.StartingHashKey), End: parseKey(t, s.HashKeyRange.EndingHashKey)}
		var parents []*aggregation.Marks
		for _, id := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
			if id == nil {
				continue
			}
			// As a consumer has them that other hands have read the parent for.
			b, err := marks[*id].AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := aggregation.ParseMarks(b)
			if err != nil {
				t.Fatal(err)
			}
			parents = append(parents, stored)
		}
		m := aggregation.NewMarks(keys, parents...)
		marks[*s.ShardId] = m
		blocks := newBlockReader(t)
		it, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: aws.String("stream"), ShardId: s.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		for next := it.ShardIterator; next != nil; {
			out, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range out.Records {
				openStamped(t, blocks, m, r, yield)
			}
			if next = out.NextShardIterator; len(out.Records) == 0 && aws.ToInt64(out.MillisBehindLatest) == 0 {
				break
			}
		}
	}
}

func parseKey(t *testing.T, s *string) hashkey.Key {
	t.Helper()
	k, err := hashkey.Parse(aws.ToString(s))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newBlockReader(t testing.TB) *blockrec.Reader {
	t.Helper()
	d, err := blockrec.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return blockrec.NewReader(d)
}

func openStamped(t *testing.T, blocks *blockrec.Reader, m *aggregation.Marks, r types.Record, yield func(u aggregation.Record, v aggregation.Verdict)) {
	t.Helper()
	ok, err := blocks.Walk(r.Data, func(_ blockrec.Index, u aggregation.Record, s *aggregation.Stamp) bool {
		if s == nil {
			t.Fatalf("record %q has no stamp", u.Data)
		}
		yield(u, m.Admit(s, hashOf(u.PartitionKey, u.ExplicitHashKey), *r.ApproximateArrivalTimestamp))
		return true
	})
	if !ok || err != nil {
		t.Fatalf("Walk: %v, %v", ok, err)
	}
}

// TestStampsOfTheSpoolThroughAMerge: the numbers of records from the spool are
// divided among the lanes. When the shards of two lanes become one, what both
// had waiting comes there in the order of chance, and none of it is a copy.
func TestStampsOfTheSpoolThroughAMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		cfg := producer.Config{DuplicateStamps: true, ShardRefreshInterval: -1, RecordMaxBufferedTime: time.Second, Spool: producer.SpoolConfig{Mode: producer.SpoolAlways}}
		p := spoolTo(t, f, vfstest.NewDisk(), cfg)
		loadMap(t, p, newLedger())
		f.merge(0)
		halves := hashkey.Uniform(2)
		sides := [][]string{keysIn(halves[0], 1), keysIn(halves[1], 1)}
		for i := range 100 {
			put(t, p, record(sides[i%2][0], fmt.Sprint(i)), nil)
		}
		closeNow(t, p)
		if s := p.Stats(); s.UserRecordsPut != 101 || s.ReshardResent != 0 {
			t.Errorf("Stats: %+v", s)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		merged := f.shards[len(f.shards)-1]
		m := aggregation.NewMarks(merged.keys)
		live := 0
		for _, e := range merged.entries {
			if _, err := aggregation.WalkStamped(e.data, func(_ int, r aggregation.Record, s *aggregation.Stamp) bool {
				if m.Admit(s, hashOf(r.PartitionKey, r.ExplicitHashKey), time.Unix(0, 0)) == aggregation.Live {
					live++
				}
				return true
			}); err != nil {
				t.Error(err)
			}
		}
		if live != 100 || len(merged.entries) < 2 { // one of each lane, or more: how the spool is read is chance
			t.Errorf("%d records of 100 are taken for live, in %d Kinesis records", live, len(merged.entries))
		}
	})
}
