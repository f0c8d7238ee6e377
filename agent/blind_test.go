package agent_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
)

// blindFS cannot look at a directory while on is set: op "list" lists it, "stat" looks
// at it, and "below" at what is in it.
type blindFS struct {
	vfs.FS
	op, dir string
	err     error
	on      *atomic.Bool
	failed  *atomic.Int64
}

func (b blindFS) check(op, name string, is bool) error {
	if op != b.op || !is || !b.on.Load() {
		return nil
	}
	b.failed.Add(1)
	return &fs.PathError{Op: op, Path: name, Err: b.err}
}

func (b blindFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := b.check("list", name, name == b.dir); err != nil {
		return nil, err
	}
	return b.FS.ReadDir(name)
}

func (b blindFS) Stat(name string) (fs.FileInfo, error) {
	if err := b.check("stat", name, name == b.dir); err != nil {
		return nil, err
	}
	if err := b.check("below", name, strings.HasPrefix(name, b.dir+string(filepath.Separator))); err != nil {
		return nil, err
	}
	return b.FS.Stat(name)
}

// blind runs f for each directory that cannot be looked at, each way in which it
// cannot, and each error. f gets the name of the log and a function that sets whether
// it is so.
func blind(t *testing.T, f func(w *world, log string, set func(on bool))) {
	t.Helper()
	for _, tt := range []struct{ name, pattern, op, dir string }{
		{"list the directory", "app.log*", "list", "."},
		{"look at the files", "app.log*", "below", "."},
		{"list the directory above", "*/logs/app.log*", "list", "."},
		{"look at the directory of a pattern", "*/logs/app.log*", "stat", "web/logs"},
		{"list the directory of a pattern", "*/logs/app.log*", "list", "web/logs"},
	} {
		for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.EIO} {
			t.Run(fmt.Sprintf("%s, %v", tt.name, errno), func(t *testing.T) {
				bubble(t, agent.FlowConfig{FilePattern: tt.pattern}, func(w *world) {
					b := blindFS{FS: w.cfg.FS, op: tt.op, dir: w.path(tt.dir), err: errno, on: &atomic.Bool{}, failed: &atomic.Int64{}}
					w.cfg.FS = b
					log := "app.log"
					if tt.pattern != "app.log*" {
						log = "web/logs/app.log"
						w.check(os.MkdirAll(w.path("web/logs"), 0o700))
					}
					f(w, log, func(on bool) {
						if was := b.on.Swap(on); was && b.failed.Load() < 3 {
							t.Errorf("%d looks failed, want at least 3", b.failed.Load())
						}
					})
				})
			})
		}
	}
}

// atRest checks that everything is delivered and nothing is counted as lost.
func (w *world) atRest() {
	w.t.Helper()
	w.verify(0)
	if s := w.status(); lostBytes(s) != 0 || s.BehindBytes != 0 {
		w.t.Errorf("lost bytes %v, %d behind; want none", s.LostBytes, s.BehindBytes)
	}
}

// restarted checks that a next start knows everything that was delivered.
func (w *world) restarted() {
	w.t.Helper()
	w.stopped()
	w.start()
	w.settle(15 * time.Second)
	w.atRest()
	w.stopped()
}

// While a directory cannot be looked at, its files are renamed and written to, with
// more unread than the memory holds. What is open is read meanwhile, and nothing is
// concluded of the rest.
func TestBlindWhileRenaming(t *testing.T) {
	blind(t, func(w *world, log string, set func(bool)) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.lines(log, 500)
		w.lines(log+".rest", 10)
		w.start()
		w.settle(2 * time.Second)
		w.sink.keep()
		w.lines(log, 20_000)
		w.settle(time.Second)
		if s := w.status(); s.MemoryStalls == 0 {
			w.t.Fatalf("the memory holds all of it: %+v", s)
		}
		set(true)
		w.rename(log, log+".1")
		w.lines(log, 10)
		w.settle(25 * time.Second)
		if s := w.status(); lostBytes(s) != 0 {
			w.t.Errorf("lost bytes %v while nobody can see", s.LostBytes)
		}
		w.sink.release()
		w.lines(log+".1", 10) // is read by its handle
		w.settle(5 * time.Second)
		set(false)
		w.settle(30 * time.Second)
		w.atRest()
		w.restarted()
	})
}

// A file is copied and truncated with unread bytes, and its copy cannot be seen for
// longer than a copy is waited for otherwise.
func TestBlindWhileCopying(t *testing.T) {
	blind(t, func(w *world, log string, set func(bool)) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.lines(log, 500)
		w.start()
		w.settle(2 * time.Second)
		w.sink.keep()
		w.lines(log, 20_000)
		w.settle(time.Second)
		set(true)
		w.copyFile(log, log+".1")
		w.truncate(log)
		w.lines(log, 10)
		w.settle(25 * time.Second)
		if s := w.status(); lostBytes(s) != 0 {
			w.t.Errorf("lost bytes %v while nobody can see", s.LostBytes)
		}
		w.sink.release()
		set(false)
		w.settle(30 * time.Second)
		w.atRest()
		w.restarted()
	})
}

// An agent starts, and cannot look at the directory of the files that it knows, of
// which one was written to and renamed meanwhile.
func TestBlindAfterRestart(t *testing.T) {
	blind(t, func(w *world, log string, set func(bool)) {
		w.lines(log, 500)
		w.lines(log+".rest", 10)
		w.write(log, "begun ")
		w.start()
		w.settle(3 * time.Second)
		w.stopped()
		w.write(log, "and ended\n")
		w.want = append(w.want, "begun and ended\n")
		w.lines(log, 2000)
		w.rename(log, log+".1")
		w.lines(log, 10)

		set(true)
		w.start()
		w.settle(25 * time.Second)
		if s := w.status(); lostBytes(s) != 0 || s.Troubles == 0 {
			w.t.Errorf("lost bytes %v, %d troubles while nobody can see", s.LostBytes, s.Troubles)
		}
		// It is stopped like that, and starts again.
		w.stopped()
		w.start()
		w.settle(10 * time.Second)
		set(false)
		w.settle(30 * time.Second)
		w.atRest()
		for _, c := range w.a.Checkpoints() {
			if c.State == "lost" {
				w.t.Errorf("%s is taken for lost", c.Path)
			}
		}
		w.restarted()
	})
}

// What was rotated away while the agent was stopped is looked for until the directory that
// it is in can be looked at.
func TestBlindToRotatedDirectory(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.EIO} {
		t.Run(errno.Error(), func(t *testing.T) {
			bubble(t, agent.FlowConfig{FilePattern: "app.log", RotatedDirs: []string{"old"}}, func(w *world) {
				b := blindFS{FS: w.cfg.FS, op: "list", dir: w.path("old"), err: errno, on: &atomic.Bool{}, failed: &atomic.Int64{}}
				w.cfg.FS = b
				w.check(os.Mkdir(w.path("old"), 0o700))
				w.lines("app.log", 500)
				w.write("app.log", "begun ")
				w.start()
				w.settle(3 * time.Second)
				w.stopped()
				w.write("app.log", "and ended\n")
				w.want = append(w.want, "begun and ended\n")
				w.lines("app.log", 100)
				w.rename("app.log", "old/app.log.1")
				w.lines("app.log", 10)
				b.on.Store(true)
				w.start()
				w.settle(25 * time.Second)
				if s := w.status(); lostBytes(s) != 0 || b.failed.Load() < 3 {
					w.t.Errorf("lost bytes %v after %d looks that failed", s.LostBytes, b.failed.Load())
				}
				b.on.Store(false)
				w.settle(30 * time.Second)
				w.atRest()
				w.restarted()
			})
		})
	}
}

// A directory that is gone is not one that cannot be looked at: what was unread in it is
// counted.
func TestDirectoryGoneAfterRestart(t *testing.T) {
	for name, put := range map[string]func(w *world){
		"nothing":   func(*world) {},
		"not a dir": func(w *world) { w.check(os.WriteFile(w.path("logs"), nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, agent.FlowConfig{FilePattern: "logs/app.log*"}, func(w *world) {
				w.check(os.Mkdir(w.path("logs"), 0o700))
				w.lines("logs/app.log", 10)
				w.write("logs/app.log", "these 23 bytes are lost")
				w.start()
				w.settle(3 * time.Second)
				w.stopped()
				w.check(os.RemoveAll(w.path("logs")))
				put(w)
				w.start()
				w.settle(30 * time.Second)
				w.verify(0)
				if n := w.status().LostBytes["missing"]; n != 23 {
					t.Errorf("%d bytes are counted as missing, want 23", n)
				}
				w.stopped()
			})
		})
	}
}

// A file whose directory cannot be looked at for longer than the positions of files that
// are gone are kept is not one that is gone.
func TestBlindForLongerThanPositionsAreKept(t *testing.T) {
	// Seldom, since the days are long.
	bubble(t, agent.FlowConfig{PollInterval: time.Hour, ScanInterval: time.Hour}, func(w *world) {
		b := blindFS{FS: w.cfg.FS, op: "below", dir: w.dir, err: syscall.EIO, on: &atomic.Bool{}, failed: &atomic.Int64{}}
		w.cfg.FS = b
		w.cfg.CheckpointTimeToLive = 24 * time.Hour
		w.lines("app.log", 10)
		w.start()
		w.settle(time.Minute)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 10)
		w.settle(3 * time.Hour)
		b.on.Store(true)
		w.settle(27 * time.Hour)
		if n := len(w.a.Checkpoints()); n != 2 || b.failed.Load() == 0 {
			t.Errorf("the positions of %d files are kept, want 2; %d looks failed", n, b.failed.Load())
		}
		b.on.Store(false)
		w.settle(3 * time.Hour)
		w.atRest()
		w.restarted()
	})
}
