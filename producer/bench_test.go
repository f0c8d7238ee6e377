package producer_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// stub acknowledges everything at once, where it was predicted.
type stub struct {
	ends   []hashkey.Key
	ids    []*string
	shards []types.Shard
}

func newStub(n int) *stub {
	s := &stub{}
	for i, r := range hashkey.Uniform(n) {
		id := aws.String(fmt.Sprintf("shardId-%012d", i))
		s.ends = append(s.ends, r.End)
		s.ids = append(s.ids, id)
		s.shards = append(s.shards, types.Shard{ShardId: id, HashKeyRange: &types.HashKeyRange{
			StartingHashKey: aws.String(r.Start.String()), EndingHashKey: aws.String(r.End.String()),
		}})
	}
	return s
}

func (s *stub) ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	return &kinesis.ListShardsOutput{Shards: s.shards}, nil
}

var stubSeq = aws.String("49000000000000000000000000000000000000000000000000000001")

func (s *stub) PutRecords(_ context.Context, in *kinesis.PutRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	out := &kinesis.PutRecordsOutput{Records: make([]types.PutRecordsResultEntry, len(in.Records))}
	for i := range in.Records {
		k, err := hashkey.Parse(*in.Records[i].ExplicitHashKey)
		if err != nil {
			return nil, err
		}
		j := 0
		for s.ends[j].Less(k) {
			j++
		}
		out.Records[i] = types.PutRecordsResultEntry{ShardId: s.ids[j], SequenceNumber: stubSeq}
	}
	return out, nil
}

func startStub(tb testing.TB, shards int) *producer.Producer {
	tb.Helper()
	p, err := producer.New(newStub(shards), "stream", producer.Config{Logger: quiet()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return p
}

func keys(n int) []string {
	ks := make([]string, n)
	for i := range ks {
		ks[i] = fmt.Sprintf("customer-%06d", i)
	}
	return ks
}

// BenchmarkPut puts into a stub: all of the producer and nothing behind it.
// Beside the time it reports how many bytes a user record takes in the stream
// beyond its data, and the least that the format allows.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{100, 1000} {
		for _, load := range []struct {
			name string
			keys int
			ehk  bool // records carry an explicit hash key
		}{{"keyed", 1000, false}, {"hotkey", 1, false}, {"keyless", 0, true}} {
			for _, callers := range []int{1, 8} {
				b.Run(fmt.Sprintf("%dB/%s/callers=%d", size, load.name, callers), func(b *testing.B) {
					p := startStub(b, 4)
					data := bytes.Repeat([]byte("x"), size)
					ks := append(keys(load.keys), "")
					n := max(load.keys, 1)
					// The first fill the memory that is then used again.
					for i := range 100_000 {
						if err := p.Put(b.Context(), producer.UserRecord{PartitionKey: ks[i%n], Data: data}, nil); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportAllocs()
					b.SetBytes(int64(size))
					eachCaller(b, callers, func(_, i int) error {
						return p.Put(context.Background(), producer.UserRecord{PartitionKey: ks[i%n], Data: data}, nil)
					})
					reportOverhead(b, p, size, load.ehk)
				})
			}
		}
		b.Run(fmt.Sprintf("%dB/callback/callers=1", size), func(b *testing.B) {
			p := startStub(b, 4)
			data, ks := bytes.Repeat([]byte("x"), size), keys(1000)
			done := func(r producer.Result) {
				if r.Err != nil {
					b.Error(r.Err)
				}
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			eachCaller(b, 1, func(_, i int) error {
				return p.Put(context.Background(), producer.UserRecord{PartitionKey: ks[i%len(ks)], Data: data}, done)
			})
		})
		b.Run(fmt.Sprintf("%dB/batch100/callers=1", size), func(b *testing.B) {
			p := startStub(b, 4)
			data, ks := bytes.Repeat([]byte("x"), size), keys(1000)
			batch := make([]producer.UserRecord, 100)
			done := func(r producer.BatchResult) {
				if err := r.Err(); err != nil {
					b.Error(err)
				}
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			eachCaller(b, 1, func(_, i int) error {
				batch[i%100] = producer.UserRecord{PartitionKey: ks[i%len(ks)], Data: data}
				if i%100 < 99 {
					return nil
				}
				return p.PutBatch(context.Background(), batch, done)
			})
		})
		for _, callers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%dB/floor/callers=%d", size, callers), func(b *testing.B) { benchFloor(b, size, callers) })
			b.Run(fmt.Sprintf("%dB/keyedfloor/callers=%d", size, callers), func(b *testing.B) { benchKeyedFloor(b, size, callers) })
			b.Run(fmt.Sprintf("%dB/orderedfloor/callers=%d", size, callers), func(b *testing.B) { benchOrderedFloor(b, size, callers) })
		}
	}
}

// eachCaller shares b.N calls of f among callers. Beside the caller f gets a
// number that grows by one with each of its calls.
func eachCaller(b *testing.B, callers int, f func(caller, i int) error) {
	b.Helper()
	b.ResetTimer()
	if callers == 1 {
		for i := range b.N {
			if err := f(0, i); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range b.N / callers {
				// Callers do not walk through the keys in step.
				if err := f(c, i+c*7919); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// reportOverhead reports the bytes of overhead of a user record, and the
// optimum: tags, lengths and indices of its message, if everything that records
// can share were stored once for ever.
func reportOverhead(b *testing.B, p *producer.Producer, size int, ehk bool) {
	b.Helper()
	b.StopTimer()
	if err := p.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	s := p.Stats()
	b.ReportMetric(float64(s.KinesisRecordsDataPut)/float64(s.UserRecordsPut)-float64(size), "overhead-B/op")
	optimum := 6
	if size >= 122 {
		optimum = 8
	}
	if ehk {
		optimum += 2
	}
	b.ReportMetric(float64(optimum), "optimum-B/op")
}

// benchFloor is the same work by hand: records are copied behind their headers,
// and an aggregated record that is full is copied once and gets its MD5. No key is
// hashed, no shard looked up, nothing kept to be sent again, no fate told. Callers
// share nothing.
func benchFloor(b *testing.B, size, callers int) {
	const blob = 1 << 20
	type floor struct{ recs, sealed []byte }
	floors := make([]floor, callers)
	data := bytes.Repeat([]byte("x"), size)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	eachCaller(b, callers, func(caller, i int) error {
		fl := &floors[caller]
		inner := 2 + len(data) + 2
		fl.recs = append(fl.recs, 0x1a, byte(inner)|0x80, byte(inner>>7), 0x08, byte(i), 0x1a, byte(len(data))|0x80, byte(len(data)>>7))
		fl.recs = append(fl.recs, data...)
		if len(fl.recs) < blob {
			return nil
		}
		fl.sealed = append(fl.sealed[:0], fl.recs...)
		sum := md5.Sum(fl.sealed)
		fl.sealed = append(fl.sealed, sum[:]...)
		fl.recs = fl.recs[:0]
		return nil
	})
}

// benchKeyedFloor is the floor of keyed records: as benchFloor, but the hash key of
// each partition key is looked up, and remembered, the record goes to the
// aggregated record of its shard, and there its partition key is stored once. No
// order is kept, nothing is kept to be sent again, no fate is told, and callers
// share nothing.
func benchKeyedFloor(b *testing.B, size, callers int) {
	const blob, shards = 1 << 20, 4
	type open struct {
		recs, keys, sealed []byte
		places             map[string]int
	}
	type floor struct {
		hashes map[string]hashkey.Key
		open   [shards]open
	}
	floors := make([]floor, callers)
	for c := range floors {
		floors[c].hashes = map[string]hashkey.Key{}
		for i := range floors[c].open {
			floors[c].open[i].places = map[string]int{}
		}
	}
	ranges := hashkey.Uniform(shards)
	data, ks := bytes.Repeat([]byte("x"), size), keys(1000)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	eachCaller(b, callers, func(caller, i int) error {
		fl, key := &floors[caller], ks[i%len(ks)]
		hash, known := fl.hashes[key]
		if !known {
			hash = hashkey.Of(key)
			fl.hashes[key] = hash
		}
		shard := 0
		for ranges[shard].End.Less(hash) {
			shard++
		}
		o := &fl.open[shard]
		place, known := o.places[key]
		if !known {
			place = len(o.places)
			o.places[key] = place
			o.keys = append(append(o.keys, 0x0a, byte(len(key))), key...)
		}
		inner := 3 + len(data) + 3
		o.recs = append(o.recs, 0x1a, byte(inner)|0x80, byte(inner>>7), 0x08, byte(place)|0x80, byte(place>>7), 0x1a, byte(len(data))|0x80, byte(len(data)>>7))
		o.recs = append(o.recs, data...)
		if len(o.recs) < blob {
			return nil
		}
		o.sealed = append(append(o.sealed[:0], o.keys...), o.recs...)
		sum := md5.Sum(o.sealed)
		o.sealed = append(o.sealed, sum[:]...)
		o.recs, o.keys = o.recs[:0], o.keys[:0]
		clear(o.places)
		return nil
	})
}

// benchOrderedFloor is the floor of keyed records that keep the order of their keys:
// as benchKeyedFloor, but callers share the aggregated record of a shard, under a
// mutex, and whoever fills it seals it after another has taken its place. No record is
// kept to be sent again, memory has no bound, no fate is told.
func benchOrderedFloor(b *testing.B, size, callers int) {
	const blob, shards = 1 << 20, 4
	type open struct {
		recs, keys []byte
		places     map[string]int
	}
	type lane struct {
		mu    sync.Mutex
		open  *open
		spare []*open
		_     [64]byte
	}
	type caller struct {
		hashes map[string]hashkey.Key
		sealed []byte
		_      [64]byte
	}
	var lanes [shards]lane
	for i := range lanes {
		lanes[i].open = &open{places: map[string]int{}}
	}
	all := make([]caller, callers)
	for c := range all {
		all[c].hashes = map[string]hashkey.Key{}
	}
	ranges := hashkey.Uniform(shards)
	data, ks := bytes.Repeat([]byte("x"), size), keys(1000)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	eachCaller(b, callers, func(n, i int) error {
		c, key := &all[n], ks[i%len(ks)]
		hash, known := c.hashes[key]
		if !known {
			hash = hashkey.Of(key)
			c.hashes[key] = hash
		}
		shard := 0
		for ranges[shard].End.Less(hash) {
			shard++
		}
		l := &lanes[shard]
		l.mu.Lock()
		o := l.open
		place, known := o.places[key]
		if !known {
			place = len(o.places)
			o.places[key] = place
			o.keys = append(append(o.keys, 0x0a, byte(len(key))), key...)
		}
		inner := 3 + len(data) + 3
		o.recs = append(o.recs, 0x1a, byte(inner)|0x80, byte(inner>>7), 0x08, byte(place)|0x80, byte(place>>7), 0x1a, byte(len(data))|0x80, byte(len(data)>>7))
		o.recs = append(o.recs, data...)
		if len(o.recs) < blob {
			l.mu.Unlock()
			return nil
		}
		if n := len(l.spare); n > 0 {
			l.open, l.spare = l.spare[n-1], l.spare[:n-1]
		} else {
			l.open = &open{places: map[string]int{}}
		}
		l.mu.Unlock()

		c.sealed = append(append(c.sealed[:0], o.keys...), o.recs...)
		sum := md5.Sum(c.sealed)
		c.sealed = append(c.sealed, sum[:]...)
		o.recs, o.keys = o.recs[:0], o.keys[:0]
		clear(o.places)
		l.mu.Lock()
		l.spare = append(l.spare, o)
		l.mu.Unlock()
		return nil
	})
}

// BenchmarkHashCache looks up more and more keys in turns: the cache has room
// for 4096.
func BenchmarkHashCache(b *testing.B) {
	for _, n := range []int{100, 1000, 3000, 10_000} {
		b.Run(fmt.Sprintf("%dkeys", n), func(b *testing.B) {
			c := producer.NewHashCache()
			ks := keys(n)
			i := 0
			for b.Loop() {
				c.Of(ks[i%n])
				i++
			}
		})
	}
}
