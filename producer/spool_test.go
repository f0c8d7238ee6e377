package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/producer"
)

func spoolTo(t *testing.T, api producer.API, fsys vfs.FS, cfg producer.Config) *producer.Producer {
	t.Helper()
	cfg.Spool.Dir, cfg.Logger = "spool", quiet()
	p, err := producer.New(api, "stream", producer.SpoolOn(cfg, fsys))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A stream that swallows requests for minutes costs memory up to the budget and
// no more, while ten times as much is put. Then the process is killed. The next
// one delivers all of it, each key in its order.
func TestSpoolOutlivesABlackHoleAndAKill(t *testing.T) {
	for _, mode := range []producer.SpoolMode{producer.SpoolOnPressure, producer.SpoolAlways} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(3)
				f.onRequest = func(*kinesis.PutRecordsInput) error { return errDead }
				disk := vfstest.NewDisk()
				api := &mortal{fakeStream: f}
				const budget, records = 1 << 20, 12_000
				cfg := producer.Config{MaxBufferedBytes: budget, MaxUserRecordSize: 100_000, Spool: producer.SpoolConfig{Mode: mode}}
				p := spoolTo(t, api, disk, cfg)
				inMemory := 0
				for i := range records {
					key := fmt.Sprintf("key-%d", i%50)
					if err := p.Put(t.Context(), producer.UserRecord{PartitionKey: key, Data: []byte(payload(key, i/50+1) + "|" + strings.Repeat("x", 1000))}, nil); err != nil {
						t.Fatalf("Put of record %d: %v", i, err)
					}
					s := p.Stats()
					if s.BufferedBytes > budget {
						t.Fatalf("%d bytes in memory of a budget of %d", s.BufferedBytes, budget)
					}
					if s.SpoolAppended == 0 {
						inMemory = i + 1
					}
					time.Sleep(20 * time.Millisecond) // four minutes in all
				}
				s := p.Stats()
				if s.SpoolBytes < 10*budget || !s.Spooling || s.UserRecordsReceived != records || s.UserRecordsPut != 0 {
					t.Errorf("before the kill: %+v", s)
				}
				api.dead.Store(true)
				next := disk.TakeOver()
				_ = p.Abort(t.Context())

				f.onRequest = nil
				p = spoolTo(t, f, next, cfg)
				if err := p.Close(t.Context()); err != nil {
					t.Fatalf("Close: %v", err)
				}
				if s := p.Stats(); s.SpoolReplayed < uint64(records-inMemory) || s.SpoolRecords != 0 || s.UserRecordsPut != s.SpoolReplayed {
					t.Errorf("after the restart: %+v", s)
				}
				last, got := map[string]int{}, 0
				for _, rd := range f.readAll() {
					key, n := parsePayload(rd.data)
					if n <= last[key] {
						t.Fatalf("%s: %d after %d", key, n, last[key])
					}
					last[key] = n
					got++
				}
				if got != records-inMemory || mode == producer.SpoolAlways && inMemory != 0 {
					t.Errorf("%d records delivered, %d were on disk", got, records-inMemory)
				}
			})
		})
	}
}

// Records that were spooled and stored have had their callback once; those that
// Close leaves behind have had it with ErrSpooled.
func TestSpoolCloseLeavesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		disk := vfstest.NewDisk()
		cfg := producer.Config{Spool: producer.SpoolConfig{Mode: producer.SpoolAlways}}
		p := spoolTo(t, f, disk, cfg)
		var stored, left, other atomic.Int64
		done := func(r producer.Result) {
			switch {
			case r.Err == nil && r.SequenceNumber != "" && r.Tag == "tag":
				stored.Add(1)
			case errors.Is(r.Err, producer.ErrSpooled) && errors.Is(r.Err, producer.ErrClosed):
				left.Add(1)
			default:
				other.Add(1)
			}
		}
		put := func(n int) {
			for i := range n {
				if err := p.Put(t.Context(), producer.UserRecord{PartitionKey: fmt.Sprint(i), Data: []byte("x"), Tag: "tag"}, done); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(100)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if stored.Load() != 100 {
			t.Fatalf("%d records stored when Flush returned", stored.Load())
		}
		if res, err := p.PutSync(t.Context(), producer.UserRecord{Data: []byte("y")}); err != nil || res.SequenceNumber == "" {
			t.Errorf("PutSync: %+v, %v", res, err)
		}
		f.mu.Lock()
		f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("ResourceNotFoundException") }
		f.mu.Unlock()
		put(50)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := p.Close(ctx)
		ue, ok := errors.AsType[*producer.UnsentError](err)
		if !ok || ue.Spooled != 50 || ue.Records != 0 || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "50 left in the spool") {
			t.Errorf("Close: %v", err)
		}
		if stored.Load() != 100 || left.Load() != 50 || other.Load() != 0 {
			t.Errorf("callbacks: %d stored, %d left, %d others", stored.Load(), left.Load(), other.Load())
		}
		if err := p.Put(t.Context(), producer.UserRecord{Data: []byte("z")}, nil); !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Put after Close: %v", err)
		}
		f.onRequest = nil
		p = spoolTo(t, f, disk, cfg)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.SpoolReplayed != 50 || s.UserRecordsPut != 50 || s.UserRecordsReceived != 0 {
			t.Errorf("the next process: %+v", s)
		}
	})
}

// The time on disk counts to RecordTTL, that before a restart too.
func TestSpoolRecordTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.onRequest = func(*kinesis.PutRecordsInput) error { return errDead }
		disk := vfstest.NewDisk()
		cfg := producer.Config{RecordTTL: time.Minute, Spool: producer.SpoolConfig{Mode: producer.SpoolAlways}}
		p := spoolTo(t, f, disk, cfg)
		put := func(data string) {
			if err := p.Put(t.Context(), producer.UserRecord{PartitionKey: data, Data: []byte(data)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		put("old")
		time.Sleep(50 * time.Second)
		put("new")
		_ = p.Abort(t.Context())
		time.Sleep(20 * time.Second)
		f.onRequest = nil
		p = spoolTo(t, f, disk, cfg)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.UserRecordsExpired != 1 || s.UserRecordsPut != 1 || s.SpoolRecords != 0 {
			t.Errorf("%+v", s)
		}
		if all := f.readAll(); len(all) != 1 || all[0].data != "new" {
			t.Errorf("delivered: %v", all)
		}
	})
}

func TestSpoolDirectoryIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfstest.NewDisk()
		p := spoolTo(t, newFake(1), disk, producer.Config{})
		cfg := producer.SpoolOn(producer.Config{Logger: quiet(), Spool: producer.SpoolConfig{Dir: "spool"}}, disk)
		if _, err := producer.New(newFake(1), "stream", cfg); !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), "directory of its own") {
			t.Errorf("New on a directory in use: %v", err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := producer.New(newFake(1), "another", cfg); err == nil || !strings.Contains(err.Error(), `"stream"`) {
			t.Errorf("New on another stream's directory: %v", err)
		}
	})
	_, err := producer.New(newFake(1), "stream", producer.Config{Spool: producer.SpoolConfig{Dir: "d", MaxBytes: 1, Mode: 7, Full: -1}})
	for _, field := range []string{"Spool.MaxBytes", "Spool.Mode", "Spool.Full"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("New: %v, want a word on %s", err, field)
		}
	}
}

// With stamps a record that is sent again by another process carries the stamp
// that it had.
func TestSpoolStampsSurviveAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		disk := vfstest.NewDisk()
		cfg := producer.Config{DuplicateStamps: true, Spool: producer.SpoolConfig{Mode: producer.SpoolAlways}}
		api := &mortal{fakeStream: f}
		p := spoolTo(t, api, disk, cfg)
		f.mu.Lock()
		f.afterStore = func() fate { return timeout } // stored, and nobody knows
		f.mu.Unlock()
		for i := range 40 {
			if err := p.Put(t.Context(), producer.UserRecord{PartitionKey: fmt.Sprint(i % 7), Data: []byte(payload(fmt.Sprint(i%7), i))}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		api.dead.Store(true)
		next := disk.TakeOver()
		_ = p.Abort(t.Context())
		f.afterStore = nil
		p = spoolTo(t, f, next, cfg)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		stamps := map[string]map[string]bool{}
		copies := 0
		for _, sh := range f.shards {
			for _, e := range sh.entries {
				if ok, err := aggregation.WalkStamped(e.data, func(_ int, r aggregation.Record, st *aggregation.Stamp) bool {
					if st == nil {
						t.Fatalf("record %q has no stamp", r.Data)
					}
					if stamps[string(r.Data)] == nil {
						stamps[string(r.Data)] = map[string]bool{}
					} else {
						copies++
					}
					stamps[string(r.Data)][fmt.Sprint(st.Producer, st.Lane, st.Sequence)] = true
					return true
				}); !ok || err != nil {
					t.Fatalf("a Kinesis record is no aggregate: %v", err)
				}
			}
		}
		if len(stamps) != 40 || copies < 40 {
			t.Fatalf("%d records, %d copies", len(stamps), copies)
		}
		for data, s := range stamps {
			if len(s) != 1 {
				t.Errorf("record %q has the stamps %v", data, s)
			}
		}
	})
}

// Records of an earlier process, dropped from the disk while the reader holds
// them, are counted as lost when Close finds them still here.
func TestSpoolCountsWhatIsDroppedUnderTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.onRequest = func(*kinesis.PutRecordsInput) error { return errDead }
		disk := vfstest.NewDisk()
		var dropped atomic.Int64
		cfg := producer.Config{MaxBufferedBytes: 16 << 10, MaxUserRecordSize: 4000, AggregationMaxSize: 2000, Spool: producer.SpoolConfig{
			Mode: producer.SpoolAlways, Full: producer.SpoolDropOldest, MaxBytes: 1 << 16,
			OnDrop: func(d producer.SpoolDrop) { dropped.Add(d.Records) },
		}}
		put, spooled := int64(0), int64(0)
		fill := func(p *producer.Producer, n int, data string) {
			for range n {
				var batch []producer.UserRecord
				for range 40 { // one block
					batch = append(batch, producer.UserRecord{PartitionKey: "k", Data: []byte(data)})
				}
				if err := p.PutBatch(t.Context(), batch, nil); err != nil {
					t.Fatal(err)
				}
				put += int64(len(batch))
				synctest.Wait()
			}
		}
		end := func(p *producer.Producer) int64 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			ue, ok := errors.AsType[*producer.UnsentError](p.Close(ctx))
			if !ok {
				t.Fatal("Close left nothing behind")
			}
			spooled = ue.Spooled
			return ue.Records
		}
		p := spoolTo(t, f, disk, cfg)
		fill(p, 1, strings.Repeat("x", 300)) // more than the reader may hand to the lanes
		lost := end(p)
		p = spoolTo(t, f, disk, cfg)
		synctest.Wait()
		fill(p, 10, strings.Repeat("y", 300))
		lost += end(p)
		if dropped.Load() == 0 || lost == 0 || put != dropped.Load()+lost+spooled {
			t.Errorf("%d records were put: %d dropped, %d unsent, %d in the spool", put, dropped.Load(), lost, spooled)
		}
	})
}

// What is in memory when Close gives up is left in the spool, before what is
// there already: nothing is lost and no key is out of order.
func TestSpoolTakesTheRest(t *testing.T) {
	for _, tt := range []struct {
		name    string
		records int // of 1 KB; the budget holds 256
		abort   bool
		fsync   bool
	}{
		{"memory alone", 100, false, false},
		{"memory alone, aborted", 100, true, true},
		{"memory and disk", 500, false, true},
		{"memory and disk, aborted", 500, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(3)
				f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("InternalFailure") }
				disk := vfstest.NewDisk()
				cfg := producer.Config{MaxBufferedBytes: 256 << 10, MaxUserRecordSize: 10_000, Spool: producer.SpoolConfig{Fsync: tt.fsync}}
				p := spoolTo(t, f, disk, cfg)
				var left, other atomic.Int64
				for i := range tt.records {
					key := fmt.Sprintf("key-%d", i%20)
					u := producer.UserRecord{PartitionKey: key, Data: []byte(payload(key, i/20+1) + "|" + strings.Repeat("x", 950))}
					switch i % 20 {
					case 3:
						u.ExplicitHashKey = "170141183460469231731687303715884105728"
					case 5:
						u.PartitionKey = ""
					}
					done := func(r producer.Result) {
						if errors.Is(r.Err, producer.ErrSpooled) && errors.Is(r.Err, producer.ErrClosed) {
							left.Add(1)
						} else {
							other.Add(1)
						}
					}
					if i%10 > 0 {
						done = nil // what is on disk keeps memory for a callback
					}
					if err := p.Put(t.Context(), u, done); err != nil {
						t.Fatal(err)
					}
				}
				if s := p.Stats(); (s.SpoolRecords > 0) != (tt.records > 256) {
					t.Fatalf("before the end: %+v", s)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				end := p.Close
				if tt.abort {
					end = p.Abort
				}
				ue, ok := errors.AsType[*producer.UnsentError](end(ctx))
				if !ok || ue.Records != 0 || ue.Spooled != int64(tt.records) || left.Load() != ue.Spooled/10 || other.Load() != 0 {
					t.Fatalf("closed with %+v; %d callbacks say spooled, %d say other", ue, left.Load(), other.Load())
				}
				if s := p.Stats(); s.UserRecordsFailed != 0 || s.UserRecordsReceived != uint64(tt.records) {
					t.Errorf("after the end: %+v", s)
				}
				f.onRequest = nil
				p = spoolTo(t, f, disk.TakeOver(), cfg)
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				last, got := map[string]int{}, 0
				for _, rd := range f.readAll() {
					key, n := parsePayload(rd.data)
					if n <= last[key] && key != "key-5" {
						t.Fatalf("%s: %d after %d", key, n, last[key])
					}
					last[key] = max(n, last[key])
					got++
				}
				if got != tt.records {
					t.Errorf("%d records of %d delivered", got, tt.records)
				}
			})
		})
	}
}

// While the stream refuses everything, records go to the disk though memory is free: a
// process that is killed then loses only those that came before the refusal.
func TestSpoolTakesWhatAPausedStreamDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("AccessDeniedException") }
		disk := vfstest.NewDisk()
		api := &mortal{fakeStream: f}
		p := spoolTo(t, api, disk, producer.Config{})
		put := func(n int) {
			for i := range n {
				if err := p.Put(t.Context(), record(fmt.Sprint("key-", i), payload(fmt.Sprint("key-", i), 1)), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(3)
		if s := p.Stats(); s.SpoolAppended != 0 {
			t.Fatalf("before the first answer: %+v", s)
		}
		time.Sleep(time.Second)
		put(100)
		if s := p.Stats(); !s.Paused || s.SpoolAppended != 100 {
			t.Errorf("while it is refused: %+v", s)
		}
		api.dead.Store(true)
		next := disk.TakeOver()
		_ = p.Abort(t.Context())
		f.onRequest = nil
		p = spoolTo(t, f, next, producer.Config{})
		closeNow(t, p)
		if s := p.Stats(); s.SpoolReplayed != 100 || s.UserRecordsPut != 100 || len(f.readAll()) != 100 {
			t.Errorf("after the restart: %d records stored, %+v", len(f.readAll()), s)
		}
	})
}
