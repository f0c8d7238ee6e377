package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

func TestPutAndRead(t *testing.T) {
	for _, dir := range []string{"", "disk"} {
		t.Run("in "+dir, func(t *testing.T) {
			if dir != "" {
				dir = t.TempDir()
			}
			f := open(t, store.Options{Dir: dir})
			defer f.close()
			s := f.create("s", 4)
			var recs []store.Record
			for i := range 50 {
				recs = append(recs, record(fmt.Sprint("key", i), fmt.Sprint("data", i)))
			}
			stored := f.put(s, recs...)
			byShard := make(map[int][]string)
			for i, st := range stored {
				if want := s.Route(recs[i].HashKey); st.Shard != want {
					t.Fatalf("record %d went to shard %d, want %d", i, st.Shard, want)
				}
				byShard[st.Shard] = append(byShard[st.Shard], string(recs[i].Data))
			}
			for shard := range s.Shards {
				got := f.all(s, shard, state.Position{})
				if !slices.Equal(datas(got), byShard[shard]) {
					t.Errorf("shard %d holds %v, want %v", shard, datas(got), byShard[shard])
				}
				for i, r := range got {
					at := state.At(s.Shards[shard].Number(r.Index, r.Arrival))
					if from := f.all(s, shard, at); len(from) != len(got)-i {
						t.Errorf("reading at record %d of shard %d gives %d records, want %d", i, shard, len(from), len(got)-i)
					}
					after := state.After(s.Shards[shard].Number(r.Index, r.Arrival))
					if from := f.all(s, shard, after); len(from) != len(got)-i-1 {
						t.Errorf("reading after record %d of shard %d gives %d records, want %d", i, shard, len(from), len(got)-i-1)
					}
				}
			}
		})
	}
}

func TestReadLimits(t *testing.T) {
	f := open(t, store.Options{})
	defer f.close()
	s := f.create("s", 1)
	for range 3 {
		f.put(s, record("k", strings.Repeat("x", 100)), record("k", strings.Repeat("y", 100)))
	}
	for _, tt := range []struct{ records, bytes, want int }{
		{10, 10_000, 6}, {1, 10_000, 1}, {2, 10_000, 2}, {3, 10_000, 3}, {10, 250, 2}, {10, 99, 1}, {10, 300, 3},
	} {
		res, err := f.Read(t.Context(), store.ReadRequest{StreamID: s.ID, MaxRecords: tt.records, MaxBytes: tt.bytes})
		if err != nil || len(res.Records) != tt.want {
			t.Errorf("at most %d records and %d bytes: %d records, %v, want %d", tt.records, tt.bytes, len(res.Records), err, tt.want)
		}
		if atTip := tt.want == 6; atTip != (res.BehindLatest == 0) {
			t.Errorf("%d of 6 records read, %v behind", tt.want, res.BehindLatest)
		}
	}
}

func TestTipAndSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, store.Options{})
		defer f.close()
		s := f.create("s", 1)
		tip := func() state.Position {
			p, err := f.Tip(s.ID, 0)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		empty := tip()
		start := time.Now()
		f.put(s, record("k", "a"))
		time.Sleep(time.Second)
		f.put(s, record("k", "b"))
		behind := tip()
		time.Sleep(time.Second)
		if got := datas(f.all(s, 0, empty)); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("from the tip of an empty shard: %v", got)
		}
		for after, want := range map[time.Duration][]string{
			-time.Hour: {"a", "b"}, 0: {"a", "b"}, time.Millisecond: {"b"}, time.Second: {"b"}, 1001 * time.Millisecond: nil, time.Hour: nil,
		} {
			p, err := f.Seek(s.ID, 0, start.Add(after))
			if err != nil {
				t.Fatal(err)
			}
			if got := datas(f.all(s, 0, p)); !slices.Equal(got, want) {
				t.Errorf("from %v on: %v, want %v", after, got, want)
			}
		}
		f.put(s, record("k", "c"))
		if got := datas(f.all(s, 0, behind)); !slices.Equal(got, []string{"c"}) {
			t.Errorf("from an old tip: %v", got)
		}
	})
}

func TestEndedShard(t *testing.T) {
	f := open(t, store.Options{})
	defer f.close()
	s := f.create("s", 1)
	f.put(s, record("k", "a"), record("k", "b"))
	s = f.must(state.SplitShard{Key: s.Key, Shard: 0, NewStartingHash: hashkey.Key{Hi: 1 << 63}})
	read := func(shard, max int) store.ReadResult {
		res, err := f.Read(t.Context(), store.ReadRequest{StreamID: s.ID, Shard: shard, MaxRecords: max, MaxBytes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := read(0, 1); res.Ended {
		t.Error("ended before its last record")
	}
	if res := read(0, 2); !res.Ended {
		t.Error("not ended with its last record")
	}
	if res := read(1, 2); res.Ended {
		t.Error("an open shard has ended")
	}
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, store.Options{})
		defer f.close()
		s := f.create("s", 1)
		f.put(s, record("k", "a"))
		f.clock.Advance(23 * time.Hour)
		s = f.must(state.SplitShard{Key: s.Key, Shard: 0, NewStartingHash: hashkey.Key{Hi: 1 << 63}})
		if got := datas(f.all(s, 0, state.Position{})); !slices.Equal(got, []string{"a"}) {
			t.Errorf("within retention: %v", got)
		}
		f.clock.Advance(2 * time.Hour)
		if got := f.all(s, 0, state.Position{}); len(got) != 0 {
			t.Errorf("past retention: %v", datas(got))
		}
		f.clock.Advance(23 * time.Hour)
		if _, err := f.Read(t.Context(), store.ReadRequest{StreamID: s.ID, MaxRecords: 1, MaxBytes: 1}); !errors.Is(err, store.ErrNoShard) {
			t.Errorf("a closed shard past retention: %v, want ErrNoShard", err)
		}
	})
}

func TestTransitionsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := open(t, store.Options{Dir: dir})
		c := state.CreateStream{Key: key("s"), ShardCount: 2, Delay: time.Minute}
		s := f.must(c)
		if _, err := f.Put(t.Context(), s.ID, []store.Record{record("k", "a")}); !errors.Is(err, store.ErrNoStream) {
			t.Errorf("a put while CREATING: %v, want ErrNoStream", err)
		}
		time.Sleep(30 * time.Second)
		f.close() // in the middle of the transition
		f = open(t, store.Options{Dir: dir})
		defer f.close()
		if s, _ := f.Stream(c.Key); s.Status != state.Creating {
			t.Fatalf("after a restart: %s", s.Status)
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if s, _ := f.Stream(c.Key); s.Status != state.Active || len(s.Open()) != 2 {
			t.Fatalf("after the delay: %s", s.Status)
		}
		f.must(state.DeleteStream{Key: c.Key, Delay: time.Minute})
		f.clock.Advance(time.Minute)
		if _, ok := f.Stream(c.Key); ok {
			t.Error("a stream outlives its deletion")
		}
	})
}

// Whoever has the answer to a change can move the clock to its end.
func TestATransitionIsScheduledBeforeItsAnswer(t *testing.T) {
	f := open(t, store.Options{})
	defer f.close()
	for i := range 300 {
		name := fmt.Sprint("s", i)
		f.must(state.CreateStream{Key: key(name), ShardCount: 1, Delay: time.Second})
		f.clock.Advance(time.Second)
		if s, _ := f.Stream(key(name)); s.Status != state.Active {
			t.Fatalf("stream %d is %s after its delay", i, s.Status)
		}
	}
}

func TestClosedStore(t *testing.T) {
	f := open(t, store.Options{})
	s := f.create("s", 1)
	f.close()
	if _, err := f.Put(t.Context(), s.ID, []store.Record{record("k", "a")}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Put: %v, want ErrClosed", err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestAnEndedContextEndsTheWait(t *testing.T) {
	f := open(t, store.Options{})
	defer f.close()
	s := f.create("s", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Put(ctx, s.ID, []store.Record{record("k", "a")}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1, 500} {
		for _, where := range []string{"memory", "disk"} {
			b.Run(fmt.Sprintf("%d in %s", n, where), func(b *testing.B) {
				dir := ""
				if where == "disk" {
					dir = b.TempDir()
				}
				f := open(b, store.Options{Dir: dir, Fsync: journal.Fsync{}})
				defer f.close()
				s := f.create("s", 4)
				recs := make([]store.Record, n)
				for i := range recs {
					recs[i] = record(fmt.Sprint("key", i), strings.Repeat("x", 200))
				}
				b.ReportAllocs()
				b.SetBytes(int64(200 * n))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := f.Put(b.Context(), s.ID, recs); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}
