package logappender_test

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
)

var cuts = flag.Int("cuts", 500, "files of a spill that TestCutSpill damages")

// readDisk returns the files of a directory.
func readDisk(t *testing.T, disk *vfstest.Disk, dir string) map[string][]byte {
	t.Helper()
	entries, err := disk.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, e := range entries {
		f, err := disk.OpenFile(filepath.Join(dir, e.Name()), os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = b
	}
	return files
}

// writeDisk returns a disk with the files in a directory.
func writeDisk(t *testing.T, dir string, files map[string][]byte) *vfstest.Disk {
	t.Helper()
	disk := vfstest.NewDisk()
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := disk.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(files[name]); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// endsWhole reports whether a segment ends behind a block: what it has lost it may
// never have had.
func endsWhole(t *testing.T, name string, b []byte) bool {
	t.Helper()
	segs, err := spool.Inspect(writeDisk(t, "spill", map[string][]byte{name: b}), "spill", nil)
	return err == nil && len(segs) == 1 && segs[0].Fault == nil && segs[0].Bytes == int64(len(b))
}

// TestCutSpill has a process find a file of its spill cut short, or with a byte in it
// changed. It sends all that is whole, each entry once and in order, and nothing else;
// of one segment the rest behind the place may be missing, and is told of and counted,
// unless that segment was being written when the process was killed and ends behind a
// block.
func TestCutSpill(t *testing.T) {
	var files map[string][]byte
	var want []string
	segment := make(map[string]int) // number of the segment that holds an entry
	r := rand.New(rand.NewPCG(1, 1))
	synctest.Test(t, func(t *testing.T) {
		disk := vfstest.NewDisk()
		p := run(t, disk, newSink(block), logappender.Config{
			BufferBytes: 256 << 10, ChunkBytes: 4 << 10, MaxRecordBytes: 4 << 10, SpillMaxBytes: 1 << 20, SpillMode: logappender.SpillAlways, Linger: time.Millisecond,
		})
		for i := range 450 {
			want = append(want, fmt.Sprintf("%d %s", i, strings.Repeat("x", r.IntN(1500))))
			p.log.Info(want[i])
			if i%5 == 4 {
				time.Sleep(5 * time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		disk = p.kill(disk)
		files = readDisk(t, disk, "spill")
	})
	names := slices.Sorted(maps.Keys(files))
	segments := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, ".seg") })
	for i, n := range segments {
		only := writeDisk(t, "spill", map[string][]byte{n: files[n]})
		if _, err := spool.Inspect(only, "spill", func(r *spool.Record) error { segment[string(r.Data)] = i; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(segments) < 3 || len(segment) != len(want) {
		t.Fatalf("files %v, %d entries in them", names, len(segment))
	}

	refused := 0
	for i := range *cuts {
		name := segments[i%len(segments)]
		if i%10 == 9 {
			name = names[i/10%len(names)] // the small ones too
		}
		b := slices.Clone(files[name])
		if len(b) == 0 {
			continue
		}
		at := r.IntN(len(b))
		what := fmt.Sprintf("case %d: %s cut at %d of %d", i, name, at, len(b))
		if i%3 == 2 {
			what = fmt.Sprintf("case %d: byte %d of %d of %s changed", i, at, len(b), name)
			b[at] ^= byte(1 + r.IntN(255))
		} else {
			b = b[:at]
		}
		damaged := maps.Clone(files)
		damaged[name] = b
		synctest.Test(t, func(t *testing.T) {
			disk, s := writeDisk(t, "spill", damaged), newSink(store)
			var told []error
			a, err := logappender.NewOn(disk, s, quiet(logappender.Config{
				SpillDir: "spill", SpillMaxBytes: 8 << 20, ReplayBytesPerSecond: -1, OnError: func(err error) { told = append(told, err) },
			}))
			if err != nil {
				refused++
				if slices.Contains(segments, name) || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: New = %v", what, err)
				}
				return
			}
			time.Sleep(time.Minute)
			if err := a.Close(t.Context()); err != nil {
				t.Errorf("%s: Close = %v", what, err)
			}
			checkAccounts(t, a)
			got := s.lines()
			missing := make(map[string]bool)
			for _, l := range want {
				missing[l] = true
			}
			for _, l := range got {
				if !missing[l] {
					t.Errorf("%s: stored %.40q, which is no entry, or for the second time", what, l)
				}
				delete(missing, l)
			}
			if !slices.Equal(got, slices.DeleteFunc(slices.Clone(want), func(l string) bool { return missing[l] })) {
				t.Errorf("%s: out of order", what)
			}
			// The rest of the segment behind the place, and the block that it is in.
			lost := 0
			for l := range missing {
				lost += len(l)
				if name != segments[segment[l]] {
					t.Errorf("%s: %.20q is missing, which is in %s", what, l, segments[segment[l]])
				}
			}
			if most := len(files[name]) - at + 8<<10; lost > most {
				t.Errorf("%s: %d bytes are missing, %d may be", what, lost, most)
			}
			last := name == segments[len(segments)-1]
			if len(missing) > 0 && len(told) == 0 && !(last && endsWhole(t, name, b)) {
				t.Errorf("%s: %d entries are missing, and nobody is told", what, len(missing))
			}
			// With its head, a segment has lost what others know of it.
			if n := a.Stats().SpillMissing; !last && at >= 32 && n != uint64(len(missing)) {
				t.Errorf("%s: %d entries are missing, %d are counted", what, len(missing), n)
			}
			if st := a.Stats(); int(st.Recovered) != len(got) || st.Replayed.Total() != st.Recovered {
				t.Errorf("%s: %d recovered, %d replayed, %d stored", what, st.Recovered, st.Replayed.Total(), len(got))
			}
		})
	}
	t.Logf("%d cases, %d segments of %d files; New refused %d", *cuts, len(segments), len(names), refused)
}

// TestClockGoesBackwards has the second of two processes run when, by its clock, the
// first has not yet: each bubble of fake time begins at the same moment.
func TestClockGoesBackwards(t *testing.T) {
	for _, mode := range []logappender.SpillMode{logappender.SpillOnPressure, logappender.SpillAlways} {
		disk := vfstest.NewDisk()
		var last time.Time
		synctest.Test(t, func(t *testing.T) {
			p := run(t, disk, newSink(refuse), logappender.Config{SpillMode: mode})
			time.Sleep(48 * time.Hour)
			p.logEach(numbered(0, 50), 100*time.Millisecond)
			p.end(time.Second)
			last = time.Now()
		})
		synctest.Test(t, func(t *testing.T) {
			if !time.Now().Before(last.Add(-24 * time.Hour)) {
				t.Fatal("the clock has not gone backwards")
			}
			s := newSink(refuse)
			p := run(t, disk, s, logappender.Config{SpillMode: mode})
			p.logEach(numbered(50, 100), 100*time.Millisecond)
			s.set(store)
			time.Sleep(time.Minute)
			if got := s.lines(); !slices.Equal(got, numbered(0, 100)) {
				t.Errorf("mode %d: stored %q", mode, got)
			}
			if st := p.Stats(); st.Recovered != 50 || st.OldestPending != 0 || st.Spilled.Total() != 0 || st.CircuitOpen {
				t.Errorf("mode %d: %+v", mode, st)
			}
			if h := p.Stats().DeliverySeconds; h.Count != 50 || h.Sum < 0 || h.Sum > 50*60 {
				t.Errorf("mode %d: DeliverySeconds %+v", mode, h)
			}
			p.end(time.Second)
		})
	}
}
