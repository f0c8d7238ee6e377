package spool_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

type testSpool struct {
	*spool.Spool[string]
	t testing.TB
}

func start(t testing.TB, fsys vfs.FS, opt spool.Options) testSpool {
	t.Helper()
	opt.FS = fsys
	if opt.Logger == nil {
		opt.Logger = quiet()
	}
	s, err := spool.Open[string]("spool", opt)
	if err != nil {
		t.Fatal(err)
	}
	return testSpool{s, t}
}

func entry(text string) spool.Entry {
	return spool.Entry{PartitionKey: "key", Hash: hashkey.Of("key"), Data: []byte(text)}
}

func (s testSpool) add(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if err := s.Append([]spool.Entry{entry(text)}, text, true); err != nil {
			s.t.Fatal(err)
		}
	}
}

// got is a record that was read.
type got struct {
	number uint64
	text   string
	c      string // attached
}

// read returns all that there is now.
func (s testSpool) read() (all []got, lost []*spool.Loss[string]) {
	s.t.Helper()
	for {
		b, l, err := s.Next()
		if err != nil {
			s.t.Fatal(err)
		}
		switch {
		case l != nil:
			lost = append(lost, l)
		case b == nil:
			return all, lost
		default:
			for {
				n, e, c, ok := b.Next()
				if !ok {
					break
				}
				g := got{number: n, text: string(e.Data)}
				if c != nil {
					g.c = *c
				}
				all = append(all, g)
			}
		}
	}
}

func (s testSpool) texts() (texts []string) {
	s.t.Helper()
	all, _ := s.read()
	for _, g := range all {
		texts = append(texts, g.text)
	}
	return texts
}

func (s testSpool) ack(all ...got) {
	s.Ack(func(yield func(uint64) bool) {
		for _, g := range all {
			if !yield(g.number) {
				return
			}
		}
	})
}

func (s testSpool) close() {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func TestWhatIsNotAcknowledgedComesAgain(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{})
	s.add("a", "b", "c", "d")
	all, _ := s.read()
	if len(all) != 4 || all[3].text != "d" || all[3].c != "d" {
		t.Fatalf("read %v", all)
	}
	s.ack(all[0], all[2])
	s.close()

	s = start(t, disk, spool.Options{})
	if !s.Busy() {
		t.Error("not busy with two records left")
	}
	if st := s.Stats(); st.Records != 2 || st.Unread < 2 {
		t.Errorf("Stats after the reopening: %+v, want 2 records", st)
	}
	s.add("e")
	all, _ = s.read()
	var texts []string
	for _, g := range all {
		texts = append(texts, g.text)
	}
	if want := []string{"b", "d", "e"}; !slices.Equal(texts, want) {
		t.Errorf("read %v, want %v", texts, want)
	}
	if all[0].c != "" || all[2].c != "e" {
		t.Errorf("attached: %q and %q, want nothing and e", all[0].c, all[2].c)
	}
	if s.Busy() {
		t.Error("busy with nothing left")
	}
	if st := s.Stats(); st.Replayed != 2 || st.Records != 3 || st.Unread != 0 {
		t.Errorf("Stats: %+v, want 2 replayed, 3 records", st)
	}
	s.ack(all...)
	s.close()
	if st := s.Stats(); st.Segments != 0 || st.Bytes != 0 {
		t.Errorf("%d segments of %d bytes left of an empty spool", st.Segments, st.Bytes)
	}
	s = start(t, disk, spool.Options{})
	if texts := s.texts(); len(texts) > 0 {
		t.Errorf("read %v from an empty spool", texts)
	}
	s.close()
}

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	disk := vfstest.NewDisk()
	want := []spool.Entry{
		{Data: []byte("keyless")},
		{PartitionKey: "k", Hash: hashkey.Of("k"), Data: []byte("keyed")},
		{PartitionKey: "k", Hash: hashkey.Max, Explicit: true, Data: []byte("explicit")},
		{Explicit: true, Data: nil},
		{PartitionKey: strings.Repeat("ü", 256), Hash: hashkey.Of("ü"), Data: []byte(strings.Repeat("x", 300_000))},
	}
	s := start(t, disk, spool.Options{})
	if err := s.Append(want, "", false); err != nil {
		t.Fatal(err)
	}
	check := func(s testSpool) {
		t.Helper()
		b, _, err := s.Next()
		if err != nil || b == nil {
			t.Fatalf("Next: %v, %v", b, err)
		}
		for i := range want {
			_, e, c, ok := b.Next()
			if !ok || c != nil || e.PartitionKey != want[i].PartitionKey || e.Hash != want[i].Hash || e.Explicit != want[i].Explicit || string(e.Data) != string(want[i].Data) {
				t.Errorf("record %d: %+v, want %+v", i, e, want[i])
			}
		}
	}
	check(s)
	s.close()
	s = start(t, disk, spool.Options{})
	check(s)
	s.close()
}

func TestOnlyOneProcess(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{Stream: "a"})
	_, err := spool.Open[string]("spool", spool.Options{FS: disk})
	if !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), "directory of its own") {
		t.Errorf("second Open: %v", err)
	}
	s.close()
	if _, err := spool.Open[string]("spool", spool.Options{FS: disk, Stream: "b"}); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("Open for another stream: %v", err)
	}
	start(t, disk, spool.Options{Stream: "arn:aws:kinesis:us-east-1:1:stream/a"}).close()
}

func TestSegmentsGoWhenTheyAreAcknowledged(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10})
	for round := range 100 {
		s.add(strings.Repeat("x", 1000), strings.Repeat("y", 1000))
		all, _ := s.read()
		if len(all) != 2 {
			t.Fatalf("round %d: read %d records", round, len(all))
		}
		s.ack(all...)
		for s.Stats().Bytes > 60<<10 {
			<-s.Room()
		}
	}
	s.close()
	if n := s.Stats().Segments; n != 0 {
		t.Errorf("%d segments left", n)
	}
}

func TestFull(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{MaxBytes: 64 << 10, SegmentBytes: 8 << 10})
	n := 0
	var err error
	for ; err == nil; n++ {
		err = s.Append([]spool.Entry{entry(fmt.Sprintf("%d|%s", n, strings.Repeat("x", 1000)))}, fmt.Sprint(n), true)
	}
	n--
	if !errors.Is(err, spool.ErrFull) || n < 50 || n > 64 {
		t.Fatalf("after %d records: %v", n, err)
	}
	// The reader has three blocks in memory at most; the first segment has more.
	if !s.DropOldest() {
		t.Fatal("nothing to drop")
	}
	s.add("new")
	all, lost := s.read()
	if len(lost) != 1 || lost[0].Records < 5 || int(lost[0].Records)+len(all) != n+1 || len(lost[0].Calls) != int(lost[0].Records) || lost[0].Calls[0] != "0" || !errors.Is(lost[0].Err, spool.ErrFull) {
		t.Fatalf("%d records read, lost: %+v", len(all), lost)
	}
	if all[0].text[:2] != fmt.Sprintf("%d|", lost[0].Records)[:2] || all[len(all)-1].text != "new" {
		t.Errorf("read from %.5q on to %.5q", all[0].text, all[len(all)-1].text)
	}
	if st := s.Stats(); st.Dropped != uint64(lost[0].Records) {
		t.Errorf("Stats: %+v", st)
	}
	s.close()
}

func TestFullDisk(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{SegmentBytes: 1 << 20})
	s.add("first")
	disk.SetRoom(disk.Used() + 8<<10)
	var err error
	n := 1
	for ; err == nil; n++ {
		err = s.Append([]spool.Entry{entry(strings.Repeat("x", 1000))}, "x", true)
	}
	n--
	if !errors.Is(err, syscall.ENOSPC) || n < 8 {
		t.Fatalf("after %d records: %v", n, err)
	}
	err = s.Append([]spool.Entry{entry(strings.Repeat("x", 9000))}, "x", true)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on the full disk: %v", err)
	}
	disk.SetRoom(-1)
	s.add("last")
	all, lost := s.read()
	if len(all) != n+1 || len(lost) != 0 || all[n].text != "last" || all[n].c != "last" {
		t.Errorf("read %d records of %d, %d losses", len(all), n+1, len(lost))
	}
	s.close()
	s = start(t, disk, spool.Options{})
	if texts := s.texts(); len(texts) != n+1 || texts[n] != "last" {
		t.Errorf("after the reopening: %d records of %d", len(texts), n+1)
	}
	s.close()
}

// Many goroutines share writes, and each finds its own records in their order.
func TestConcurrentAppends(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{SegmentBytes: 64 << 10, BlockBytes: 4 << 10})
	const callers, records = 8, 500
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range records {
				s.add(fmt.Sprintf("%d|%d", c, i))
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	next := map[int]int{}
	total := 0
	for total < callers*records {
		all, lost := s.read()
		if len(lost) > 0 {
			t.Fatalf("lost: %v", lost[0].Err)
		}
		total += len(all)
		for _, g := range all {
			var c, i int
			if _, err := fmt.Sscanf(g.text, "%d|%d", &c, &i); err != nil {
				t.Fatal(err)
			}
			if i != next[c] || g.c != g.text {
				t.Fatalf("caller %d: record %d with %q, want %d", c, i, g.c, next[c])
			}
			next[c]++
		}
		s.ack(all...)
		if len(all) == 0 {
			<-s.Data()
		}
	}
	<-done
	s.close()
	if st := s.Stats(); st.Segments != 0 || st.Appended != callers*records {
		t.Errorf("Stats: %+v", st)
	}
}

// A loss of power does not bring back what was dropped, behind records that were
// sent meanwhile; nor does a file that cannot be removed lose its records.
func TestDropIsDurable(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{MaxBytes: 64 << 10, SegmentBytes: 8 << 10, Fsync: true})
	var err error
	for n := 0; err == nil; n++ {
		err = s.Append([]spool.Entry{entry(fmt.Sprintf("%d|%s", n, strings.Repeat("x", 1000)))}, "", false)
	}
	disk.SetHook(func(op vfstest.Op, _ string) error {
		if op == vfstest.Remove {
			return syscall.EIO
		}
		return nil
	})
	if s.DropOldest() {
		t.Error("dropped a file that cannot be removed")
	}
	if st := s.Stats(); st.Dropped != 0 {
		t.Errorf("%d records are called dropped and are still there", st.Dropped)
	}
	asked := false
	disk.SetHook(func(op vfstest.Op, _ string) error {
		if op == vfstest.SyncDir {
			asked = true
			if b, l, err := s.Next(); b != nil || l != nil || err != nil {
				t.Errorf("while the file goes, Next gives %v, %v, %v", b, l, err)
			}
		}
		return nil
	})
	if !s.DropOldest() || !asked {
		t.Fatalf("nothing dropped, or the directory not synced: %v", asked)
	}
	disk.SetHook(nil)
	dropped := s.Stats().Dropped
	left := s.Stats().Records
	cut := disk.Cut(rand.New(rand.NewPCG(1, 1)), 0)
	all, lost := s.read()
	if len(lost) != 1 || lost[0].Records != int64(dropped) || len(all) != int(left) {
		t.Errorf("%d records read, %d left; lost: %+v", len(all), left, lost)
	}
	s.close()
	next := start(t, cut, spool.Options{MaxBytes: 64 << 10})
	if again, _ := next.read(); len(again) != len(all) || again[0].text != all[0].text {
		t.Errorf("after a loss of power %d records from %.5q on, want %d from %.5q on", len(again), again[0].text, len(all), all[0].text)
	}
	next.close()
}

// front leaves records before all others, and returns how many are safe.
func (s testSpool) front(texts ...string) (safe int, err error) {
	s.t.Helper()
	s.Seal()
	s.Leave()
	f := s.Front()
	var numbers []uint64
	for _, text := range texts {
		var n uint64
		if n, err = f.Add(new(entry(text)), 1); err != nil {
			break
		}
		numbers = append(numbers, n)
	}
	end, endErr := f.End()
	for _, n := range numbers {
		if n < end {
			safe++
		}
	}
	return safe, errors.Join(err, endErr)
}

// What ends leave in front comes first, the latest end's first of all, then what
// nobody has read.
func TestFront(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{BlockBytes: 100})
	s.add("e", "f")
	if n, err := s.front("c", "d", strings.Repeat("x", 200)); n != 3 || err != nil {
		t.Fatalf("%d records are safe: %v", n, err)
	}
	if st := s.Stats(); st.Records != 5 || st.Unread != 2 {
		t.Errorf("Stats: %+v", st)
	}
	s.close()
	s = start(t, disk, spool.Options{})
	if n, err := s.front("a", "b"); n != 2 || err != nil {
		t.Fatalf("%d records are safe: %v", n, err)
	}
	s.close()
	s = start(t, disk, spool.Options{})
	if n, err := s.front(); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
	s.close()
	s = start(t, disk, spool.Options{})
	s.add("g")
	all, _ := s.read()
	want := []string{"a", "b", "c", "d", strings.Repeat("x", 200), "e", "f", "g"}
	if len(all) != len(want) {
		t.Fatalf("read %+v", all)
	}
	for i := range all {
		if all[i].text != want[i] {
			t.Errorf("record %d is %q, want %q", i, all[i].text, want[i])
		}
	}
	s.ack(all...)
	s.close()
	entries, err := disk.ReadDir("spool")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".front") || strings.HasSuffix(e.Name(), ".seg") {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// A disk that fails or is full takes a part, and End says which: it is what a
// later process reads.
func TestFrontOnBadDisk(t *testing.T) {
	texts := make([]string, 40)
	for i := range texts {
		texts[i] = fmt.Sprint(i, "|", strings.Repeat("x", 500))
	}
	for _, fsync := range []bool{false, true} {
		for fails := range 45 { // at least once for each write and sync
			disk := vfstest.NewDisk()
			s := start(t, disk, spool.Options{BlockBytes: 1000, Fsync: fsync})
			s.add("z")
			ops := 0
			disk.SetHook(func(op vfstest.Op, _ string) error {
				if op == vfstest.Write || op == vfstest.Sync || op == vfstest.OpenFile || op == vfstest.SyncDir {
					if ops++; ops == fails+1 {
						return syscall.EIO
					}
				}
				return nil
			})
			safe, err := s.front(texts...)
			disk.SetHook(nil)
			if (err == nil) != (safe == len(texts)) || fsync && safe != 0 && safe != len(texts) {
				t.Errorf("fault %d: %d are safe, %v", fails, safe, err)
			}
			_ = s.Close() // its writes have failed
			if fsync {
				disk = disk.Cut(rand.New(rand.NewPCG(1, 1)), 0)
			}
			s = start(t, disk, spool.Options{})
			got := s.texts()
			if len(got) != safe+1 || got[safe] != "z" || safe > 0 && got[safe-1] != texts[safe-1] {
				t.Errorf("fsync %v, fault %d: %d are safe, %d were read", fsync, fails, safe, len(got))
			}
			s.close()
		}
	}
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{MaxBytes: 10_000})
	if n, err := s.front(texts...); n < 15 || n > 20 || !errors.Is(err, spool.ErrFull) {
		t.Errorf("full: %d are safe, %v", n, err)
	}
	s.close()
}
