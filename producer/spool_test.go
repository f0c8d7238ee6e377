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
