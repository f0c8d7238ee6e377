package agent_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
)

// hole appends n bytes of zeros to a file, which take no room on the disk.
func (w *world) hole(name string, n int64) {
	w.t.Helper()
	fi, err := os.Stat(w.path(name))
	w.check(err)
	w.check(os.Truncate(w.path(name), fi.Size()+n))
	w.tell(agent.WatchEvent{Written: []string{w.path(name)}})
}

// A line of 1 GiB takes no more memory than any other: what is kept of it is sent, the
// rest is counted to the byte. Other files are read meanwhile.
func TestLineOfAGibibyte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 30
		w := newWorld(t, agent.FlowConfig{})
		w.lines("app.log", 100)
		w.start()
		w.settle(2 * time.Second)
		var before, after goruntime.MemStats
		goruntime.ReadMemStats(&before)
		w.write("app.log", "long: ")
		w.hole("app.log", size-int64(len("long: \n")))
		w.settle(5 * time.Second)
		if s := w.status(); s.MemoryBytes > 512<<10 {
			t.Errorf("%d bytes are held for a line without an end", s.MemoryBytes)
		}
		w.lines("app.log.other", 10)
		w.write("app.log", "\n")
		w.lines("app.log", 10)
		w.settle(5 * time.Second)
		goruntime.ReadMemStats(&after)
		// The sink of the test keeps a copy of the record.
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%d bytes were allocated for a line of %d", n, size)
		}
		kept := 1<<20 - 64
		long := "long: " + strings.Repeat("\x00", kept-len("long: \n")) + "\n"
		w.want = append(w.want, long)
		w.verify(0)
		s := w.status()
		if want := uint64(size - (kept - 1)); s.LostBytes["oversize"] != want || s.OversizeRecords != 1 || s.BehindBytes != 0 {
			t.Errorf("lost %d bytes of %d records, want %d of one; %d behind", s.LostBytes["oversize"], s.OversizeRecords, want, s.BehindBytes)
		}
		w.stopped()
	})
}

// A sparse file is read as what it shows: its holes are zeros, and belong to the line
// that ends behind them.
func TestSparseFile(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		const hole = 100_000
		zeros := strings.Repeat("\x00", hole)
		w.write("app.log", "")
		w.hole("app.log", hole)
		w.write("app.log", "behind\n")
		w.lines("app.log", 10)
		w.start()
		w.settle(2 * time.Second)
		w.write("app.log", "a")
		w.hole("app.log", hole)
		w.settle(2 * time.Second)
		w.write("app.log", "b\n")
		w.hole("app.log", hole)
		w.settle(2 * time.Second)
		w.rename("app.log", "app.log.1") // with a hole at its end
		w.lines("app.log", 10)
		w.settle(20 * time.Second)
		w.want = append(w.want, zeros+"behind\n", "a"+zeros+"b\n", zeros)
		w.verify(0)
		if s := w.status(); lostBytes(s) != 0 || s.LostBytes["hole"] != 0 || s.LostBytes["oversize"] != 0 || s.BehindBytes != 0 {
			t.Errorf("at rest: %+v", s)
		}
		w.stopped()
	})
}

var manyFiles = flag.Int("agent-files", 4000, "files in the one directory of TestManyFiles")

// Thousands of files in one directory: each is read, no more are open than may be, and
// what is added to some is found.
func TestManyFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, open := *manyFiles, int64(1000)
		w := newWorld(t, agent.FlowConfig{MaxOpenFiles: int(open)})
		// Without events the pause between two scans would be 20 times as long as they
		// take, which in a bubble is no time.
		w.watcher = &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
		name := func(i int) string { return fmt.Sprintf("app.log.%05d", i) }
		for i := range files {
			w.lines(name(i), 1)
		}
		w.start()
		w.settle(5 * time.Second)
		w.verify(0)
		for i := 0; i < files; i += 100 {
			w.lines(name(i), 2)
		}
		w.settle(5 * time.Second)
		w.verify(0)
		if s := w.status(); len(s.Files) != files || s.OpenFiles > open || s.BehindBytes != 0 || lostBytes(s) != 0 {
			t.Errorf("%d files, %d of them open, %d bytes behind, %d lost", len(s.Files), s.OpenFiles, s.BehindBytes, lostBytes(s))
		}
		w.stopped()
		// The next start knows them all.
		w.start()
		w.settle(5 * time.Second)
		w.verify(0)
		if s := w.status(); s.ReadBytes != 0 {
			t.Errorf("%d bytes were read again", s.ReadBytes)
		}
		w.stopped()
	})
}

// A writer that writes byte by byte, and a file that is emptied and filled again and
// again.
func TestByteByByte(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.start()
		for range 20 {
			line := w.line()
			w.want = append(w.want, line)
			for i := range len(line) {
				w.write("app.log", line[i:i+1])
				w.settle(7 * time.Millisecond)
			}
		}
		w.settle(2 * time.Second)
		w.verify(0)
		for range 10 {
			w.truncate("app.log")
			w.settle(2 * time.Second)
			w.lines("app.log", 3)
			w.settle(2 * time.Second)
		}
		w.verify(0)
		if s := w.status(); lostBytes(s) != 0 {
			t.Errorf("lost bytes %v", s.LostBytes)
		}
		w.stopped()
	})
}

// Events that the system lost are made up for by a scan, and counted.
func TestLostEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{ScanInterval: time.Hour})
		w.lines("app.log", 10)
		told := &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
		w.watcher = told
		w.start()
		w.settle(time.Minute)
		w.watcher = nil // nobody tells of what follows
		w.lines("app.log", 10)
		w.lines("app.log.1", 10)
		w.lines("app.log.2", 10)
		w.watcher = told
		w.tell(agent.WatchEvent{Names: true, Lost: true})
		w.settle(time.Second)
		w.verify(0)
		if m, _ := w.metrics(); m["watch_overflows_total"] != 1 {
			t.Errorf("%v overflows are counted, want 1", m["watch_overflows_total"])
		}
		w.stopped()
	})
}

// fullWatcher has no watches left.
type fullWatcher struct {
	fakeWatcher
	adds *atomic.Int64
}

func (w *fullWatcher) Add(string) error { w.adds.Add(1); return syscall.ENOSPC }

// Without watches a directory is polled, and the number of those is a metric.
func TestNoWatchesLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{})
		var adds atomic.Int64
		w.cfg.NewWatcher = func() (agent.Watcher, error) { return &fullWatcher{adds: &adds}, nil }
		w.lines("app.log", 10)
		w.start()
		w.settle(time.Minute)
		w.lines("app.log", 10)
		w.lines("app.log.new", 10)
		w.settle(2 * time.Second)
		w.verify(0)
		if m, _ := w.metrics(); m[`watch_mode{mode="poll"}`] != 1 || m[`watch_mode{mode="events"}`] != 0 || adds.Load() < 2 {
			t.Errorf("watch modes of %v after %d tries; want one directory polled, and more than one try", m, adds.Load())
		}
		w.stopped()
	})
}

// readOnly is a file system of which one directory cannot be written to.
type readOnly struct {
	vfs.FS
	dir string
}

func (r readOnly) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE) != 0 && strings.HasPrefix(name, r.dir) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	return r.FS.OpenFile(name, flag, perm)
}

func (r readOnly) Remove(name string) error {
	if strings.HasPrefix(name, r.dir) {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.EROFS}
	}
	return r.FS.Remove(name)
}

// Logs may lie on a file system that cannot be written to; what may not be deleted
// there is trouble, and no more. Positions may not.
func TestReadOnlyFileSystem(t *testing.T) {
	bubble(t, agent.FlowConfig{DeleteDelivered: true}, func(w *world) {
		plain := w.cfg.FS
		w.cfg.FS = readOnly{plain, w.dir}
		w.lines("app.log", 10)
		w.start()
		w.settle(2 * time.Second)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 10)
		w.settle(time.Minute)
		w.verify(0)
		if s := w.status(); s.Troubles == 0 || s.BehindBytes != 0 {
			t.Errorf("%d troubles, %d bytes behind; want the file counted that could not be deleted", s.Troubles, s.BehindBytes)
		}
		w.stopped()

		w.cfg.CheckpointFile = w.path("checkpoints")
		_, err := agent.New(&w.cfg, func(agent.FlowConfig, int64) (agent.Sink, error) { return w.sink, nil })
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(fmt.Sprint(err), `set "checkpointFile" to a file in a directory that this user may write`) {
			t.Errorf("positions on a file system that cannot be written to: %v", err)
		}
	})
}
