package producer_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/blockrec"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

var compressions = []producer.Compression{producer.CompressionZstd, producer.CompressionS2}

// line returns a log line that compresses as log lines do.
func line(r *rand.Rand, i int) string {
	return fmt.Sprintf(`{"n":%d,"level":"info","msg":"request served","path":"/api/v1/orders/%d","status":200,"id":"%016x"}`, i, r.IntN(10_000), r.Uint64())
}

// noise returns text that does not compress.
func noise(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// TestCompression: the limit is one of compressed bytes, each record is
// reported and comes out again with its key, and far fewer bytes are stored.
func TestCompression(t *testing.T) {
	for _, c := range compressions {
		t.Run(string(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(2)
				p := start(t, f, producer.Config{Compression: c, AggregationMaxSize: 5000, RecordTTL: -1})
				r := rand.New(rand.NewPCG(1, 1))
				const n = 20_000
				raw := 0
				want := map[string]string{}
				var mu sync.Mutex // guards reported
				reported := map[string]int{}
				for i := range n {
					if i%400 == 0 {
						time.Sleep(time.Millisecond) // what is expected of a block is learnt as they go
					}
					data := line(r, i)
					raw += len(data)
					key := fmt.Sprint("key-", i%50)
					want[data] = key
					put(t, p, record(key, data), func(res producer.Result) {
						if res.Err != nil || res.SubSequenceNumber != 0 {
							t.Errorf("result %+v", res)
						}
						mu.Lock()
						defer mu.Unlock()
						reported[data]++
					})
				}
				closeNow(t, p)
				blobs, stored := readBlocks(t, f, func(_ *fakeShard, u aggregation.Record) {
					if k, ok := want[string(u.Data)]; !ok || k != u.PartitionKey || reported[string(u.Data)] != 1 {
						t.Errorf("record %q under key %q, reported %d times", u.Data, u.PartitionKey, reported[string(u.Data)])
					}
					delete(want, string(u.Data))
				}, 5000)
				if len(want) > 0 {
					t.Errorf("%d records are not there", len(want))
				}
				t.Logf("%d bytes of data in %d bytes, %d Kinesis records", raw, stored, blobs)
				if stored > raw*2/3 || stored/blobs < 3500 {
					t.Errorf("%d bytes of data in %d bytes, %d Kinesis records", raw, stored, blobs)
				}
				if s := p.Stats(); s.UserRecordsPut != n || s.KinesisRecordsDataPut != uint64(stored) {
					t.Errorf("Stats: %+v", s)
				}
			})
		})
	}
}

// readBlocks reads all Kinesis records of a fake and checks their form.
func readBlocks(t *testing.T, f *fakeStream, yield func(s *fakeShard, u aggregation.Record), limit int) (blobs, stored int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	blocks := newBlockReader(t)
	for _, s := range f.shards {
		for _, e := range s.entries {
			blobs++
			stored += len(e.data)
			if len(e.data) > limit {
				t.Errorf("Kinesis record of %d bytes", len(e.data))
			}
			ok, err := aggregation.Walk(e.data, func(_ int, u aggregation.Record) bool {
				if k := hashOf(u.PartitionKey, u.ExplicitHashKey); blockrec.IsBlock(u.Data) && !s.keys.Contains(k) {
					t.Error("a block names a place outside its shard")
				}
				return true
			})
			if err != nil {
				t.Error(err)
			}
			if !ok {
				yield(s, aggregation.Record{PartitionKey: e.pk, ExplicitHashKey: e.ehk, Data: e.data})
				continue
			}
			_, err = blocks.Walk(e.data, func(_ blockrec.Index, u aggregation.Record, _ *aggregation.Stamp) bool {
				u.Data = []byte(string(u.Data))
				yield(s, u)
				return true
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	return blobs, stored
}

// TestCompressionOfNoise: what does not compress goes as it is, within the
// limit, even after records that led the producer to expect more.
func TestCompressionOfNoise(t *testing.T) {
	for _, c := range compressions {
		t.Run(string(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				p := start(t, f, producer.Config{Compression: c, AggregationMaxSize: 10_000, RecordTTL: -1})
				loadMap(t, p, newLedger())
				r := rand.New(rand.NewPCG(1, 1))
				var want []string
				send := func(data string) {
					want = append(want, data)
					put(t, p, record("key", data), func(res producer.Result) {
						if res.Err != nil {
							t.Error(res.Err)
						}
					})
				}
				for i := range 2000 {
					send(strings.Repeat("the same again and again ", 10) + fmt.Sprint(i))
				}
				for i := range 300 {
					send(fmt.Sprint(i, "|", noise(r, 700)))
				}
				send("large|" + noise(r, 50_000)) // does not fit, and goes alone
				for i := range 2000 {
					send(strings.Repeat("and the same once more ", 10) + fmt.Sprint(i))
				}
				closeNow(t, p)
				i, plain := 0, 0
				readBlocks(t, f, func(_ *fakeShard, u aggregation.Record) {
					if u.PartitionKey != "key" {
						return // of loadMap
					}
					if i >= len(want) || string(u.Data) != want[i] {
						t.Fatalf("record %d is %.40q", i, u.Data)
					}
					i++
					if len(u.Data) > 10_000 {
						plain++
					}
				}, 60_000)
				over := 0
				f.mu.Lock()
				for _, e := range f.shards[0].entries {
					if len(e.data) > 10_000 {
						over++
					}
				}
				f.mu.Unlock()
				if i != len(want) || over != 1 || plain != 1 {
					t.Errorf("%d of %d records; %d Kinesis records above the limit", i, len(want), over)
				}
			})
		})
	}
}

// TestCompressedSplit: a block made for a shard that has been split is taken
// apart if it has keys of both children, and only then.
func TestCompressedSplit(t *testing.T) {
	halves := hashkey.Uniform(2)
	left, right := keysIn(halves[0], 3), keysIn(halves[1], 3)
	for _, tt := range []struct {
		name   string
		keys   []string
		resent uint64
	}{
		{"both children", []string{left[0], right[0], left[1], right[1]}, 40},
		{"one child", []string{left[0], left[1], left[2], left[0]}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				p := start(t, f, producer.Config{Compression: producer.CompressionZstd, ShardRefreshInterval: -1})
				loadMap(t, p, newLedger())
				f.split(0)
				r := rand.New(rand.NewPCG(1, 1))
				for i := range 40 {
					put(t, p, record(tt.keys[i%4], line(r, i)), nil)
				}
				time.Sleep(time.Second)
				closeNow(t, p)
				if s := p.Stats(); s.WrongShard != 1 || s.ReshardResent != tt.resent || s.UserRecordsPut != 41 {
					t.Errorf("Stats: %+v", s)
				}
				in := 0
				readBlocks(t, f, func(s *fakeShard, u aggregation.Record) {
					if u.PartitionKey != "first" && s.keys.Contains(hashOf(u.PartitionKey, u.ExplicitHashKey)) {
						in++
					}
				}, 51200)
				// The block that was taken apart has twenty that belong there.
				if want := 40 + int(tt.resent)/2; in != want {
					t.Errorf("%d records where they belong, copies included, want %d", in, want)
				}
			})
		})
	}
}

func TestCompressionConfig(t *testing.T) {
	for name, cfg := range map[string]producer.Config{
		"DisableAggregation": {Compression: producer.CompressionS2, DisableAggregation: true},
		`"gzip"`:             {Compression: "gzip"},
	} {
		if _, err := producer.New(newFake(1), "stream", cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSmallRecordsAreNotCompressed: a record that a block would only make
// larger is sent as it is, readable by all.
func TestSmallRecordsAreNotCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, producer.Config{Compression: producer.CompressionZstd})
		res, err := p.PutSync(t.Context(), record("key", "small"))
		if err != nil || res.Aggregated {
			t.Errorf("%+v, %v", res, err)
		}
		closeNow(t, p)
		f.mu.Lock()
		defer f.mu.Unlock()
		if e := f.shards[0].entries[0]; string(e.data) != "small" || e.pk != "key" {
			t.Errorf("stored %q under %q", e.data, e.pk)
		}
	})
}

// BenchmarkForms puts log lines in JSON and counts what is stored of each.
func BenchmarkForms(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	lines := make([]string, 20_000)
	total := 0
	for i := range lines {
		lines[i] = line(r, i)
		total += len(lines[i])
	}
	for _, f := range []struct {
		name string
		cfg  producer.Config
	}{
		{"plain", producer.Config{}},
		{"stamps", producer.Config{DuplicateStamps: true}},
		{"zstd", producer.Config{Compression: producer.CompressionZstd}},
		{"s2", producer.Config{Compression: producer.CompressionS2}},
	} {
		b.Run(f.name, func(b *testing.B) {
			f.cfg.Logger, f.cfg.AggregationMaxSize = quiet(), 51200 // less than all lines together
			p, err := producer.New(newStub(4), "stream", f.cfg)
			if err != nil {
				b.Fatal(err)
			}
			ks := keys(100)
			b.ReportAllocs()
			b.SetBytes(int64(total / len(lines)))
			i := 0
			for b.Loop() {
				if err := p.Put(b.Context(), record(ks[i%len(ks)], lines[i%len(lines)]), nil); err != nil {
					b.Fatal(err)
				}
				i++
			}
			if err := p.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
			s := p.Stats()
			b.ReportMetric(float64(s.KinesisRecordsDataPut)/float64(s.UserRecordsPut), "stored-B/op")
		})
	}
}

// TestFormsAllocations holds stamps and compression to what Put is held to.
func TestFormsAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	r := rand.New(rand.NewPCG(1, 1))
	lines := make([][]byte, 2000)
	for i := range lines {
		lines[i] = []byte(line(r, i))
	}
	ks := keys(100)
	for name, cfg := range map[string]producer.Config{
		"stamps":          {DuplicateStamps: true},
		"zstd":            {Compression: producer.CompressionZstd},
		"s2":              {Compression: producer.CompressionS2},
		"stamps and zstd": {DuplicateStamps: true, Compression: producer.CompressionZstd},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Logger = quiet()
			p, err := producer.New(newStub(4), "stream", cfg)
			if err != nil {
				t.Fatal(err)
			}
			run := func() {
				for i, data := range lines {
					if err := p.Put(t.Context(), producer.UserRecord{PartitionKey: ks[i%100], Data: data}, nil); err != nil {
						t.Fatal(err)
					}
				}
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			run()
			n := testing.AllocsPerRun(20, run) / float64(len(lines))
			t.Logf("%.4f allocations a record", n)
			if n > 0.05 {
				t.Errorf("%.4f allocations a record", n)
			}
			closeNow(t, p)
		})
	}
}
