package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

func key(name string) state.StreamKey {
	return state.StreamKey{Scope: arn.Scope{Account: "000000000000", Region: "us-east-1"}, Name: name}
}

// fixture is a store with its clock.
type fixture struct {
	*store.Store
	t     testing.TB
	clock *clock.Clock
}

func (f *fixture) close() {
	f.t.Helper()
	if err := f.Close(); err != nil {
		f.t.Errorf("Close: %v", err)
	}
	f.clock.Close()
}

func tryOpen(t testing.TB, opts store.Options) (*fixture, error) {
	opts.Clock = new(clock.Clock)
	opts.Logger = slog.New(slog.DiscardHandler)
	if _, bench := t.(*testing.B); opts.FS == nil && !bench {
		opts.FS = vfstest.Lazy{FS: vfs.OS}
	}
	s, err := store.Open(opts)
	if err != nil {
		return nil, err
	}
	return &fixture{s, t, opts.Clock}, nil
}

func open(t testing.TB, opts store.Options) *fixture {
	t.Helper()
	f, err := tryOpen(t, opts)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) create(name string, shards int) *state.Stream {
	f.t.Helper()
	return f.must(state.CreateStream{Key: key(name), ShardCount: shards, Mode: state.Provisioned, MaxRecordBytes: 1 << 20})
}

func (f *fixture) must(c state.Command) *state.Stream {
	f.t.Helper()
	s, err := f.Command(f.t.Context(), c)
	if err != nil {
		f.t.Fatalf("%T: %v", c, err)
	}
	return s
}

func record(k, data string) store.Record {
	return store.Record{PartitionKey: k, Data: []byte(data), HashKey: hashkey.Of(k)}
}

func (f *fixture) put(s *state.Stream, recs ...store.Record) []store.Stored {
	f.t.Helper()
	stored, err := f.Put(f.t.Context(), s.ID, recs)
	if err != nil {
		f.t.Fatal(err)
	}
	return stored
}

// all reads a shard from a position on, a few records at a time.
func (f *fixture) all(s *state.Stream, shard int, from state.Position) []store.StoredRecord {
	f.t.Helper()
	var recs []store.StoredRecord
	for {
		res, err := f.Read(f.t.Context(), store.ReadRequest{StreamID: s.ID, Shard: shard, From: from, MaxRecords: 3, MaxBytes: 1 << 20})
		if err != nil {
			f.t.Fatal(err)
		}
		if res.Next.Before(from) {
			f.t.Fatalf("read from %+v goes back to %+v", from, res.Next)
		}
		recs = append(recs, res.Records...)
		from = res.Next
		if len(res.Records) == 0 && res.BehindLatest != 0 {
			f.t.Fatalf("nothing found, and %v behind", res.BehindLatest)
		}
		if len(res.Records) == 0 {
			return recs
		}
	}
}

func datas(recs []store.StoredRecord) []string {
	var ds []string
	for _, r := range recs {
		ds = append(ds, string(r.Data))
	}
	return ds
}

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

// copyDir copies a data directory as a crash of the process would leave it.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	for {
		to, before := t.TempDir(), names(t, from)
		err := copyInto(to, from)
		if err == nil && slices.Equal(names(t, from), before) {
			return to
		}
		// A checkpoint was at it while the copy was: no moment had been like what
		// was copied.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// names returns what lies in a directory and below.
func names(t testing.TB, dir string) (names []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

func copyInto(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		src, err := os.Open(path)
		if err != nil {
			return err
		}
		defer src.Close()
		dst, err := os.Create(filepath.Join(to, rel))
		if err != nil {
			return err
		}
		_, err = io.Copy(dst, src)
		return errors.Join(err, dst.Close())
	})
}

// What was acknowledged is there after a crash at any moment, once, in order,
// under its number; a small ring makes checkpoints part of the test.
func TestCrashKeepsWhatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	small := store.Options{RingFiles: 3, RingBytes: 16 << 10}
	r := rand.New(rand.NewPCG(7, 7))
	acked := make(map[string]store.Stored)
	n := 0
	var retired []*fixture
	for round := range 25 {
		opts := small
		opts.Dir = dir
		f := open(t, opts)
		retired = append(retired, f)
		s, ok := f.Stream(key("s"))
		if !ok {
			s = f.create("s", 2)
		}
		found := make(map[string]bool)
		for shard := range s.Shards {
			prev := uint64(0)
			for _, rec := range f.all(s, shard, state.Position{}) {
				d := string(rec.Data)
				if found[d] {
					t.Fatalf("round %d: %q is there twice", round, d)
				}
				found[d] = true
				if rec.Index <= prev {
					t.Fatalf("round %d: index %d after %d", round, rec.Index, prev)
				}
				prev = rec.Index
				if a, ok := acked[d]; !ok || a.Shard != shard || a.Index != rec.Index {
					t.Fatalf("round %d: %q is at %d of shard %d, acknowledged as %+v", round, d, rec.Index, shard, a)
				}
				if got := s.Shards[shard].Number(rec.Index, rec.Arrival).Time; got != acked[d].Second {
					t.Fatalf("round %d: %q has second %d, acknowledged with %d", round, d, got, acked[d].Second)
				}
			}
		}
		if len(found) != len(acked) {
			t.Fatalf("round %d: %d of %d acknowledged records are there", round, len(found), len(acked))
		}
		var mu sync.Mutex
		var writers sync.WaitGroup
		for range 4 {
			seed := r.Uint64()
			writers.Go(func() {
				r := rand.New(rand.NewPCG(seed, 0))
				for range 10 {
					mu.Lock()
					var recs []store.Record
					for range 1 + r.IntN(5) {
						n++
						recs = append(recs, record(fmt.Sprint("k", r.IntN(20)), fmt.Sprintf("%d:%s", n, strings.Repeat("z", r.IntN(60)))))
					}
					mu.Unlock()
					stored := f.put(s, recs...)
					mu.Lock()
					for i, st := range stored {
						acked[string(recs[i].Data)] = st
					}
					mu.Unlock()
				}
			})
		}
		writers.Wait()
		if round%3 == 0 {
			cur, _ := f.Stream(s.Key)
			f.must(state.UpdateShardCount{Key: s.Key, Target: 1 + len(cur.Open())%4})
		}
		dir = copyDir(t, dir) // f goes on, as far as the copy is concerned it is dead
	}
	for _, f := range retired {
		f.close()
	}
}

func TestSecretStays(t *testing.T) {
	dir := t.TempDir()
	f := open(t, store.Options{Dir: dir})
	secret := f.Secret()
	f.close()
	f = open(t, store.Options{Dir: dir})
	defer f.close()
	if f.Secret() != secret || secret == ([32]byte{}) {
		t.Error("the secret changed with a restart")
	}
}

// The ring goes round as checkpoints move records into runs, what runs hold is
// read as before, and their files go when their records are past retention.
func TestRecordsMoveIntoRunsAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		opts := store.Options{Dir: dir, RingFiles: 3, RingBytes: 16 << 10}
		f := open(t, opts)
		defer func() { f.close() }()
		s := f.create("s", 2)
		files := func(pattern string) int {
			names, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			return len(names)
		}
		var want []string
		for n := range 100 {
			want = append(want, fmt.Sprint(n, strings.Repeat("x", 1000)))
			f.put(s, record("k", want[n]))
			if n%10 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		shard := s.Route(record("k", "").HashKey)
		if n := files("journal/*.ring"); n != 3 {
			t.Errorf("%d files of the journal, want 3", n)
		}
		if n := files("runs/*"); n == 0 || n > 8 {
			t.Errorf("%d runs, want some, and those merged with their neighbours", n)
		}
		if got := datas(f.all(s, shard, state.Position{})); !slices.Equal(got, want) {
			t.Errorf("the shard holds %d records, want %d", len(got), len(want))
		}
		f.close()
		f = open(t, opts)
		if got := datas(f.all(s, shard, state.Position{})); !slices.Equal(got, want) {
			t.Errorf("after a restart the shard holds %d records, want %d", len(got), len(want))
		}
		f.clock.Advance(25 * time.Hour)
		f.put(s, record("k", "new"))
		f.clock.Advance(2 * time.Minute)
		synctest.Wait()
		f.clock.Advance(2 * time.Minute)
		synctest.Wait()
		if n := files("runs/*"); n > 1 {
			t.Errorf("%d runs once their records are past retention", n)
		}
		if got := datas(f.all(s, shard, state.Position{})); !slices.Equal(got, []string{"new"}) {
			t.Errorf("the shard holds %v", got)
		}
	})
}

// A directory that takes all it may refuses records, and nothing else, until some
// have expired.
func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, store.Options{Dir: t.TempDir(), RingFiles: 3, RingBytes: 16 << 10, MaxBytes: 200_000})
		defer f.close()
		s := f.create("s", 1)
		big := record("k", strings.Repeat("x", 5000))
		var err error
		taken := 0
		for ; err == nil && taken < 200; taken++ {
			_, err = f.Put(t.Context(), s.ID, []store.Record{big})
			synctest.Wait()
		}
		if d := f.Disk(); !errors.Is(err, store.ErrFull) || !d.Refused || d.Journal+d.Runs+d.Snapshots > 300_000 || taken < 20 {
			t.Fatalf("after %d puts: %v, %+v", taken, err, d)
		}
		if got := f.Stored()[s.ID]; got < uint64(5000*(taken-1)) || got > uint64(5200*taken) {
			t.Errorf("%d bytes are stored, after %d puts of 5,000", got, taken-1)
		}
		f.create("t", 1)
		if got := len(f.all(s, 0, state.Position{})); got != taken-1 {
			t.Errorf("%d records are there, want %d", got, taken-1)
		}
		f.clock.Advance(25 * time.Hour)
		f.clock.Advance(3 * time.Minute)
		synctest.Wait()
		f.clock.Advance(2 * time.Minute)
		synctest.Wait()
		f.put(s, big)
		if got := len(f.all(s, 0, state.Position{})); got != 1 || f.Disk().Refused {
			t.Errorf("%d records once all have expired but one, %+v", got, f.Disk())
		}
	})
}

// Records leave the last of a journal that nothing frees to what is small.
func TestReserve(t *testing.T) { synctest.Test(t, testReserve) }

func testReserve(t *testing.T) {
	var full atomic.Bool
	fsys := vfstest.FS{FS: vfstest.Lazy{FS: vfs.OS}, Fault: func(op vfstest.Op, name string) error {
		if full.Load() && op == vfstest.Write && !strings.HasSuffix(name, ".ring") {
			return syscall.ENOSPC
		}
		return nil
	}}
	f := open(t, store.Options{Dir: t.TempDir(), FS: fsys, RingFiles: 3, RingBytes: 64 << 10})
	defer f.close()
	s := f.create("s", 1)
	full.Store(true)
	var err error
	for range 100 {
		if _, err = f.Put(t.Context(), s.ID, []store.Record{record("k", strings.Repeat("x", 3000))}); err != nil {
			break
		}
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("puts on a full disk: %v", err)
	}
	for i := range 3 {
		f.create(fmt.Sprint("after", i), 1)
	}
	full.Store(false)
	f.clock.Advance(2 * time.Second)
	_, _ = f.Put(t.Context(), s.ID, []store.Record{record("k", "x")}) // refused, and has it tried again
	synctest.Wait()
	f.put(s, record("k", "x"))
}

func TestDiskFaults(t *testing.T) {
	var fault error
	var mu sync.Mutex
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(name, ".ring") && (op == vfstest.Write && errors.Is(fault, syscall.ENOSPC) || op == vfstest.Sync && errors.Is(fault, syscall.EIO)) {
			return fault
		}
		return nil
	}}
	set := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		fault = err
	}
	f := open(t, store.Options{Dir: t.TempDir(), FS: fsys})
	s := f.create("s", 1)
	f.put(s, record("k", "a"))
	set(syscall.ENOSPC)
	if _, err := f.Put(t.Context(), s.ID, []store.Record{record("k", "b")}); !errors.Is(err, store.ErrFull) {
		t.Errorf("a put to a full disk: %v, want ErrFull", err)
	}
	set(nil)
	f.put(s, record("k", "c"))
	if got := datas(f.all(s, 0, state.Position{})); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("after a full disk: %v", got)
	}
	set(syscall.EIO)
	if _, err := f.Put(t.Context(), s.ID, []store.Record{record("k", "d")}); !errors.Is(err, store.ErrFailed) {
		t.Errorf("a put to a broken disk: %v, want ErrFailed", err)
	}
	set(nil)
	if _, err := f.Put(t.Context(), s.ID, []store.Record{record("k", "e")}); !errors.Is(err, store.ErrFailed) {
		t.Errorf("a put after a failed sync: %v, want ErrFailed for ever", err)
	}
	<-f.Failed()
	if !errors.Is(f.Err(), syscall.EIO) {
		t.Errorf("Err() = %v", f.Err())
	}
	_ = f.Close() // its error is the failure
	f.clock.Close()
}

// A disk that stands still shows in how long writes wait.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, name string) error {
			if slow.Load() && op == vfstest.Sync && strings.HasSuffix(name, ".ring") {
				time.Sleep(30 * time.Second)
			}
			return nil
		}}
		f := open(t, store.Options{Dir: t.TempDir(), FS: fsys})
		defer f.close()
		s := f.create("s", 1)
		if got := f.Waiting(); got != 0 {
			t.Errorf("waiting for %v, with nothing to write", got)
		}
		slow.Store(true)
		done := make(chan struct{})
		go func() { f.put(s, record("k", "a")); close(done) }()
		time.Sleep(12 * time.Second)
		if got := f.Waiting(); got != 12*time.Second {
			t.Errorf("waiting for %v, want 12s", got)
		}
		<-done
		if got := f.Waiting(); got != 0 {
			t.Errorf("waiting for %v, once all is written", got)
		}
		slow.Store(false)
	})
}

// A disk that is full at the end costs the snapshot and nothing else.
func TestCloseOnAFullDisk(t *testing.T) {
	full := false
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, _ string) error {
		if full && op == vfstest.Write {
			return syscall.ENOSPC
		}
		return nil
	}}
	opts := store.Options{Dir: t.TempDir(), FS: fsys}
	f := open(t, opts)
	s := f.create("s", 1)
	f.put(s, record("k", "a"))
	full = true
	f.close()
	f = open(t, opts)
	defer f.close()
	if got := datas(f.all(s, 0, state.Position{})); !slices.Equal(got, []string{"a"}) {
		t.Errorf("after a restart: %v", got)
	}
}

func TestOperatorErrors(t *testing.T) {
	used := t.TempDir()
	f := open(t, store.Options{Dir: used})
	f.put(f.create("s", 1), record("k", "a"))
	f.close()
	f = open(t, store.Options{Dir: used})
	s, _ := f.Stream(key("s"))
	f.put(s, record("k", "b"))
	f.put(s, record("k", "c"))
	crashed := copyDir(t, used)
	if _, err := tryOpen(t, store.Options{Dir: used}); !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a directory in use: %v", err)
	}
	f.close()

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, store.Options{Dir: filepath.Join(file, "data")}); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a directory that cannot be made: %v", err)
	}
	for name, damage := range map[string]func(dir string) error{
		"the STORE file": func(dir string) error { return os.WriteFile(filepath.Join(dir, "STORE"), []byte("{"), 0o600) },
		"every snapshot": func(dir string) error { return spoil(filepath.Join(dir, "snap", "*.snap")) },
		"the journal":    func(dir string) error { return spoil(filepath.Join(dir, "journal", "00.ring")) },
		"a run":          func(dir string) error { return spoil(filepath.Join(dir, "runs", "*.run")) },
		"no runs": func(dir string) error {
			return os.RemoveAll(filepath.Join(dir, "runs"))
		},
	} {
		dir := copyDir(t, crashed)
		if err := damage(dir); err != nil {
			t.Fatal(err)
		}
		if f, err := tryOpen(t, store.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "restore the data directory from a copy") {
			t.Errorf("damage to %s: %v", name, err)
			if err == nil {
				f.close()
			}
		}
	}
}

// spoil changes a byte in the header of each file.
func spoil(pattern string) error {
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		return fmt.Errorf("%s: %v, %w", pattern, names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b[9] ^= 0xff
		if err := os.WriteFile(name, b, 0o600); err != nil {
			return err
		}
	}
	return nil
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
