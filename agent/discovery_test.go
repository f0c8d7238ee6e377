package agent_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

func TestDirectories(t *testing.T) {
	bubble(t, agent.FlowConfig{FilePattern: "logs/app-*/**/*.log"}, func(w *world) {
		w.cfg.Flows[0].Include = []string{w.path("other/x*"), "*.txt"}
		w.cfg.Flows[0].Exclude = []string{"skip*", w.path("logs/app-1/no/*.log")}
		put := func(name string) {
			w.check(os.MkdirAll(filepath.Dir(w.path(name)), 0o700))
			w.lines(name, 10)
		}
		put("logs/app-1/a.log")
		put("logs/app-1/x/y/a.log")
		put("logs/app-2/b.txt")
		put("other/x1")
		for _, name := range []string{"logs/app-1/no/a.log", "logs/app-1/skip.log", "logs/web/a.log", "other/y1"} {
			w.check(os.MkdirAll(filepath.Dir(w.path(name)), 0o700))
			w.write(name, "left out\n")
		}
		w.start()
		w.settle(2 * time.Second)
		w.verify(0)
		put("logs/app-3/2026/01/a.log") // of a day, or of a service, that is new
		w.settle(11 * time.Second)
		w.lines("logs/app-1/x/y/a.log", 10)
		w.settle(2 * time.Second)
		w.verify(0)
		w.check(os.RemoveAll(w.path("logs/app-1")))
		w.settle(20 * time.Second)
		if s := w.status(); len(s.Files) != 3 || s.OpenFiles != 3 {
			t.Errorf("%d files, %d open, after a directory was deleted, want 3", len(s.Files), s.OpenFiles)
		}
		w.stopped()
	})
}

// 500 files and 64 that may be open: each is read, whether it ends in a whole line
// or not, and whatever is added to it later.
func TestManyFilesFewOpen(t *testing.T) {
	bubble(t, agent.FlowConfig{MaxOpenFiles: 64}, func(w *world) {
		var open, most atomic.Int64
		w.cfg.FS = limitedFS{FS: vfstest.Lazy{FS: vfs.OS}, dir: w.dir, open: &open, most: &most, limit: 64}
		name := func(i int) string { return fmt.Sprintf("app.log.%03d", i) }
		for i := range 500 {
			w.lines(name(i), 2)
			if i%5 == 0 {
				w.write(name(i), "begun ")
			}
		}
		w.start()
		w.settle(20 * time.Second)
		w.verify(0)
		for i := range 500 {
			if i%5 == 0 {
				w.write(name(i), "ended\n")
				w.repeated["begun ended\n"]++
			} else if i%3 == 0 {
				w.lines(name(i), 1)
			}
		}
		w.settle(30 * time.Second)
		w.verify(0)
		if most.Load() > 64 {
			t.Errorf("%d files were open at a time", most.Load())
		}
		if s := w.status(); lostBytes(s) != 0 || s.BehindBytes != 0 {
			t.Errorf("status %+v", s)
		}
		w.stopped()
	})
}

// With many more files than may be open, an agent that starts again soon has what was
// written meanwhile, to the last of them and to all.
func TestStartWithManyFilesFewOpen(t *testing.T) {
	bubble(t, agent.FlowConfig{MaxOpenFiles: 8}, func(w *world) {
		const files = 40
		w.cfg.FS = slowFS{vfstest.Lazy{FS: vfs.OS}} // a scan takes 80 ms
		name := func(i int) string { return fmt.Sprintf("app.log.%03d", i) }
		for i := range files {
			w.lines(name(i), 2)
		}
		w.start()
		w.settle(time.Minute)
		w.verify(0)
		w.check(w.stop())

		w.lines(name(files-1), 1)
		w.start()
		w.settle(1500 * time.Millisecond)
		w.verify(0)
		w.settle(time.Minute)
		w.check(w.stop())

		for i := range files {
			w.lines(name(i), 1)
		}
		w.start()
		w.settle(3 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// slowFS takes 2 ms for a look at a file.
type slowFS struct{ vfs.FS }

func (s slowFS) Stat(name string) (fs.FileInfo, error) {
	time.Sleep(2 * time.Millisecond)
	return s.FS.Stat(name)
}

// limitedFS lets only so many files be open.
type limitedFS struct {
	vfs.FS
	dir        string
	open, most *atomic.Int64
	limit      int64
}

func (l limitedFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if filepath.Dir(name) != l.dir {
		return l.FS.OpenFile(name, flag, perm)
	}
	n := l.open.Add(1)
	l.most.Store(max(l.most.Load(), n))
	if n > l.limit {
		l.open.Add(-1)
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	f, err := l.FS.OpenFile(name, flag, perm)
	if err != nil {
		l.open.Add(-1)
		return nil, err
	}
	return &countedFile{File: f, n: l.open}, nil
}

// The process has fewer files than the flow may have: that is no reason to stop.
func TestTooManyOpenFiles(t *testing.T) {
	bubble(t, agent.FlowConfig{MaxOpenFiles: 10}, func(w *world) {
		var open, most atomic.Int64
		w.cfg.FS = limitedFS{FS: vfstest.Lazy{FS: vfs.OS}, dir: w.dir, open: &open, most: &most, limit: 10}
		for i := range 50 {
			w.lines(fmt.Sprint("app.log.", i), 2)
		}
		open.Store(5) // others have some
		w.start()
		w.settle(10 * time.Second)
		open.Add(-5)
		w.settle(20 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// A file that cannot be looked at stops no other, nor what happens to others.
func TestUnreadableFile(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		var denied atomic.Bool
		denied.Store(true)
		w.cfg.FS = deniedFS{FS: vfstest.Lazy{FS: vfs.OS}, path: w.path("app.log.secret"), op: "stat", denied: &denied}
		w.lines("app.log.secret", 10)
		secret := w.want
		w.want = nil
		w.lines("app.log", 10)
		w.write("app.log", "the end")
		w.want = append(w.want, "the end")
		w.start()
		w.settle(2 * time.Second)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 10)
		w.settle(30 * time.Second)
		w.verify(0)
		if s := w.status(); s.Troubles == 0 {
			t.Error("an unreadable file is not counted")
		}
		denied.Store(false)
		w.tell(agent.WatchEvent{Written: []string{w.path("app.log.secret")}})
		w.want = append(w.want, secret...)
		w.settle(time.Second)
		w.verify(0)
		w.stopped()
	})
}

type deniedFS struct {
	vfs.FS
	path   string
	op     string // stat or open
	denied *atomic.Bool
}

func (d deniedFS) check(op, name string) error {
	if op == d.op && name == d.path && d.denied.Load() {
		return &fs.PathError{Op: op, Path: name, Err: syscall.EIO}
	}
	return nil
}

func (d deniedFS) Stat(name string) (fs.FileInfo, error) {
	if err := d.check("stat", name); err != nil {
		return nil, err
	}
	return d.FS.Stat(name)
}

func (d deniedFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	return d.FS.OpenFile(name, flag, perm)
}

// On a network file system nothing depends on inodes and open handles.
func TestNetworkFileSystem(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.cfg.NetworkFS = func(string) string { return "nfs" }
		w.lines("app.log", 100)
		w.start()
		w.settle(time.Second)
		if s := w.status(); s.OpenFiles != 0 || s.PolledDirs != 1 || s.WatchedDirs != 0 {
			t.Errorf("%d open files, %d polled and %d watched directories, want 0, 1, 0", s.OpenFiles, s.PolledDirs, s.WatchedDirs)
		}
		w.lines("app.log", 100)
		w.settle(time.Second)
		w.verify(0)
		// The server gives the file another inode.
		w.copyFile("app.log", "other")
		w.rename("other", "app.log")
		w.settle(10 * time.Second)
		w.lines("app.log", 100)
		w.settle(time.Second)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 100)
		w.settle(10 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

func TestIgnoreOlder(t *testing.T) {
	bubble(t, agent.FlowConfig{IgnoreOlder: time.Hour}, func(w *world) {
		w.write("app.log.old", "left out\n")
		old := time.Now().Add(-2 * time.Hour)
		w.check(os.Chtimes(w.path("app.log.old"), old, old))
		w.lines("app.log", 10)
		now := time.Now()
		w.check(os.Chtimes(w.path("app.log"), now, now))
		w.start()
		w.settle(3 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// At a first start at the ends of files those that are left out begin there too, once
// they are written to.
func TestIgnoreOlderAtEnd(t *testing.T) {
	bubble(t, agent.FlowConfig{IgnoreOlder: time.Hour}, func(w *world) {
		w.cfg.Flows[0].StartOfFile = false
		w.write("app.log", "left out\n")
		old := time.Now().Add(-2 * time.Hour)
		w.check(os.Chtimes(w.path("app.log"), old, old))
		w.start()
		w.settle(3 * time.Second)
		w.lines("app.log", 10)
		now := time.Now()
		w.check(os.Chtimes(w.path("app.log"), now, now))
		w.settle(15 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// A deleted file that nothing is read of is given up in the end, and counted.
func TestCloseDeletedAfter(t *testing.T) {
	bubble(t, agent.FlowConfig{CloseDeletedAfter: time.Minute}, func(w *world) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.sink.hold = true
		w.lines("app.log", 100_000)
		w.start()
		w.settle(time.Second)
		f := w.status().Files[0]
		w.remove("app.log")
		w.settle(50 * time.Second)
		if s := w.status(); lostBytes(s) != 0 || s.OpenFiles != 1 {
			t.Errorf("given up before its time: %+v", s)
		}
		w.settle(20 * time.Second)
		if s := w.status(); s.LostBytes["deleted"] != uint64(f.Size-f.Read) || s.OpenFiles != 0 {
			t.Errorf("lost bytes %v, %d open files, want %d and 0", s.LostBytes, s.OpenFiles, f.Size-f.Read)
		}
		w.sink.release()
		w.settle(time.Second)
		w.stopped()
	})
}

// A flow that found no file at its first start reads what comes later from its
// start, though it was stopped in between and initialPosition is the end.
func TestFirstFileWhileStopped(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.cfg.Flows[0].StartOfFile = false
		w.start()
		w.settle(2 * time.Second)
		w.stopped()
		w.lines("app.log", 10)
		w.start()
		w.settle(2 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// A flow whose stream does not answer holds what memory it got; the others go on.
func TestFlowsShareMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{})
		w.cfg.MaxMemoryBytes = 8 << 20
		stuck := w.cfg.Flows[0]
		stuck.KinesisStream, stuck.FilePattern = "stuck", w.path("stuck.log")
		w.cfg.Flows = append(w.cfg.Flows, stuck)
		hung := &stream{hold: true}
		w.lines("stuck.log", 60_000)
		w.want = nil
		a, err := agent.New(&w.cfg, func(f agent.FlowConfig, _ int64) (agent.Sink, error) {
			if f.KinesisStream == "stuck" {
				return hung, nil
			}
			return w.sink, nil
		})
		w.check(err)
		ctx, cancel := context.WithCancel(t.Context())
		w.a, w.cancel, w.done = a, cancel, make(chan error, 1)
		go func() { w.done <- a.Run(ctx) }()
		w.settle(5 * time.Second)
		s := a.Status().Flows
		if used := s[1].MemoryBytes; used <= 3<<19 || s[1].MemoryStalls == 0 {
			t.Errorf("the flow that is stuck holds %d bytes, want more than an equal part", used)
		}
		w.lines("app.log", 20_000)
		w.settle(5 * time.Second)
		w.verify(0)
		hung.release()
		w.settle(5 * time.Second)
		w.stopped()
	})
}

// slowOpenFS takes a millisecond to open a file of a directory.
type slowOpenFS struct {
	vfs.FS
	dir string
}

func (s slowOpenFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if filepath.Dir(name) == s.dir {
		time.Sleep(time.Millisecond)
	}
	return s.FS.OpenFile(name, flag, perm)
}

// What was written meanwhile is read at the start before the files are opened in which
// nothing is new, and those are soon after, so that what happens to them is seen.
func TestFirstLineAfterRestart(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		const files = 1000
		w.cfg.FS = slowOpenFS{vfstest.Lazy{FS: vfs.OS}, w.dir}
		name := func(i int) string { return fmt.Sprint("app.log.", i) }
		for i := range files {
			w.lines(name(i), 2)
		}
		w.start()
		w.settle(10 * time.Second)
		w.stopped()
		w.lines(name(700), 1)
		w.lines("app.log.new", 1)
		w.start()
		w.settle(50 * time.Millisecond)
		w.verify(0)
		w.settle(2 * time.Second)
		if s := w.status(); s.OpenFiles != files+1 || s.ReadBytes > 400 {
			t.Errorf("%d files are open of %d, %d bytes were read", s.OpenFiles, files+1, s.ReadBytes)
		}
		w.lines(name(5), 1)
		w.remove(name(5))
		w.settle(20 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// A file whose size and time are those of before may have other content all the same
// where times are whole seconds.
func TestRestartWithCoarseTimes(t *testing.T) {
	// Without a poll the files are not opened later either, as those beyond MaxOpenFiles.
	bubble(t, agent.FlowConfig{PollInterval: time.Hour, ScanInterval: time.Second}, func(w *world) {
		at := time.Now()
		w.lines("app.log", 5)
		w.check(os.Chtimes(w.path("app.log"), at, at))
		w.start()
		w.settle(500 * time.Millisecond)
		w.stopped()
		old, err := os.ReadFile(w.path("app.log"))
		w.check(err)
		line := strings.Repeat("y", len(old)-1) + "\n"
		w.want = append(w.want, line)
		w.check(os.WriteFile(w.path("app.log"), []byte(line), 0o600))
		w.check(os.Chtimes(w.path("app.log"), at, at))
		w.start()
		w.settle(5 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// The checkpoint of many files is found again at once.
func TestRestartWithManyFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{})
		w.cfg.Logger = slog.New(slog.DiscardHandler)
		for i := range 1000 {
			w.lines(fmt.Sprint("app.log.", i), 1)
		}
		w.start()
		w.settle(5 * time.Second)
		w.stopped()
		// The device has another number after a restart of the machine: here, each
		// file another inode.
		for i := range 1000 {
			name := fmt.Sprint("app.log.", i)
			w.copyFile(name, "other")
			w.rename("other", name)
			w.lines(name, 1)
		}
		w.start()
		w.settle(30 * time.Second)
		w.verify(1000) // of those, what is shorter than 64 bytes says too little
		w.stopped()
	})
}

// A pattern may be seen from the directory that the agent is started in: its files are
// the same, whoever asks for them and from where.
func TestRelativePattern(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		t.Chdir(w.dir)
		flow := &w.cfg.Flows[0]
		flow.FilePattern, flow.ID = "./app.log*", "f"
		flow.Include, flow.Exclude = []string{"./more*"}, []string{"./app.log.old"}
		w.lines("app.log", 10)
		w.lines("more", 10)
		w.write("app.log.old", "left out\n")
		w.start()
		w.settle(3 * time.Second)
		w.verify(0)
		w.write("app.log.new", "begun")
		for name, pending := range map[string]int64{"app.log": 0, "more": 0, "app.log.new": 5} {
			if d, err := w.a.Delivery(w.path(name)); err != nil || d.Pending != pending {
				t.Errorf("%s: %d bytes are pending, %v; want %d", name, d.Pending, err, pending)
			}
		}
		w.stopped()
		if list, err := agent.SetCheckpoint(&w.cfg, "", "app.log.new", 0); err != nil || len(list) != 1 {
			t.Errorf("set by a relative name: %v, %v", list, err)
		}
	})
}

// Files that cannot be opened yet after a start are not given up for others that lose
// theirs meanwhile, however many they are.
func TestRestartKeepsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent.SetMaxOrphans(t, 32)
		w := newWorld(t, agent.FlowConfig{FilePattern: "*.log", MaxOpenFiles: 16})
		const files = 300
		for i := range files {
			w.lines(fmt.Sprintf("%d.log", i), 1)
		}
		w.start()
		w.settle(time.Minute)
		w.verify(0)
		w.stopped()
		for i := range files {
			w.lines(fmt.Sprintf("%d.log", i), 1)
		}
		w.sink.keep() // so that none of the open ones can be closed for others
		w.start()
		w.settle(time.Second)
		live := w.status().Files
		if len(live) == 0 || len(live) > files-100 {
			t.Errorf("%d files are live", len(live))
		}
		w.check(os.Truncate(live[0].Path, 0))
		w.settle(2 * time.Second)
		w.sink.release()
		w.settle(30 * time.Second)
		if s := w.status(); lostBytes(s) != 0 || len(s.Files) != files {
			t.Errorf("lost bytes %v, %d files", s.LostBytes, len(s.Files))
		}
		w.verify(0)
		w.stopped()
	})
}

// Files whose last line has no end take up none of those that may be open for ever, though
// a record of theirs may be open, too.
func TestOpenRecordsTakeUpNoFiles(t *testing.T) {
	for name, flow := range map[string]agent.FlowConfig{
		"lines":   {},
		"records": {MultiLineStart: regexp.MustCompile(`l|s`)},
		"flushed": {MultiLineStart: regexp.MustCompile(`l|s`), FlushPartial: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			flow.MaxOpenFiles = 2
			bubble(t, flow, func(w *world) {
				for _, name := range []string{"app.log1", "app.log2", "app.log3"} {
					w.lines(name, 1)
					w.write(name, "s")
				}
				w.start()
				w.settle(time.Minute)
				w.lines("app.log4", 5)
				w.settle(time.Minute)
				if name == "flushed" {
					w.want, w.repeated["s"] = append(w.want, "s"), 2
				}
				w.verify(0)
				if f := w.status().OpenFiles; f > 2 {
					t.Errorf("%d files are open", f)
				}
				w.stopped()
			})
		})
	}
}
