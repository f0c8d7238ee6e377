package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

// once runs the agent to the end of all files and returns what Run returned.
func (w *world) once() error {
	w.t.Helper()
	w.cfg.Once = true
	w.start()
	return <-w.done
}

// A run to the end of all files that could not read some of them has failed, and says
// which. What it could read is delivered, and the rest of it once it can be read.
func TestOnceWithWhatCannotBeRead(t *testing.T) {
	failing := func(op vfstest.Op) func(w *world, on *atomic.Bool, err error) vfs.FS {
		return func(w *world, on *atomic.Bool, err error) vfs.FS {
			return vfstest.FS{FS: w.cfg.FS, Fault: func(o vfstest.Op, name string) error {
				if o == op && on.Load() && name == w.path("app.log.2") {
					return &os.PathError{Op: string(op), Path: name, Err: err}
				}
				return nil
			}}
		}
	}
	blindTo := func(op, dir string) func(w *world, on *atomic.Bool, err error) vfs.FS {
		return func(w *world, on *atomic.Bool, err error) vfs.FS {
			return blindFS{FS: w.cfg.FS, op: op, dir: w.path(dir), err: err, on: on, failed: &atomic.Int64{}}
		}
	}
	for _, tt := range []struct {
		name, pattern string
		fs            func(w *world, on *atomic.Bool, err error) vfs.FS
		unread        string
	}{
		{"the directory", "app.log*", blindTo("list", "."), "."},
		{"a directory of a pattern", "*/app.log*", blindTo("list", "sub"), "sub"},
		{"the directory above", "*/app.log*", blindTo("list", "."), "."},
		{"a file's state", "app.log*", blindTo("below", "."), "app.log.2"},
		{"the opening of a file", "app.log*", failing(vfstest.OpenFile), "app.log.2"},
		{"the reading of a file", "app.log*", failing(vfstest.Read), "app.log.2"},
	} {
		for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EIO} {
			t.Run(tt.name+", "+errno.Error(), func(t *testing.T) {
				bubble(t, agent.FlowConfig{FilePattern: tt.pattern}, func(w *world) {
					var on atomic.Bool
					w.cfg.FS = tt.fs(w, &on, errno)
					w.check(os.Mkdir(w.path("sub"), 0o700))
					dir := filepath.Dir(strings.Replace(tt.pattern, "*/", "sub/", 1))
					w.lines(filepath.Join(dir, "app.log"), 10)
					w.lines(filepath.Join(dir, "app.log.2"), 10)
					w.check(w.once())
					w.verify(0)
					w.lines(filepath.Join(dir, "app.log.2"), 5)
					on.Store(true)
					err := w.once()
					if want := w.path(tt.unread) + ": " + errno.Error() + "; see that this user can read it, and run again"; !errors.Is(err, agent.ErrUnread) || !strings.Contains(err.Error(), want) {
						t.Errorf("Run: %v, want one with %q", err, want)
					}
					if s := w.status(); lostBytes(s) != 0 {
						t.Errorf("lost bytes %v of what is there", s.LostBytes)
					}
					on.Store(false)
					w.check(w.once())
					w.verify(0)
				})
			})
		}
	}
}

// Hundreds of unreadable files make a message that can be read.
func TestOnceNamesFewOfManyFiles(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.cfg.FS = vfstest.FS{FS: w.cfg.FS, Fault: func(o vfstest.Op, name string) error {
			if o == vfstest.OpenFile && strings.HasPrefix(name, w.dir) {
				return syscall.EACCES
			}
			return nil
		}}
		for i := range 300 {
			w.write("app.log."+strings.Repeat("i", i%100+1)+string(rune('a'+i/100)), "x\n")
		}
		err := w.once()
		if n := strings.Count(err.Error(), "\n") + 1; n != 11 || !strings.Contains(err.Error(), "290 more; the log has them") {
			t.Errorf("%d lines, want 11: %v", n, err)
		}
	})
}

// What is known of a file that cannot be opened is not given up by a run to the end of all
// files: it is there.
func TestOnceKeepsWhatCannotBeOpened(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		var on atomic.Bool
		w.cfg.FS = vfstest.FS{FS: w.cfg.FS, Fault: func(o vfstest.Op, name string) error {
			if o == vfstest.OpenFile && on.Load() && strings.HasPrefix(name, w.dir) {
				return syscall.EACCES
			}
			return nil
		}}
		w.lines("app.log", 10)
		w.start()
		w.settle(2 * time.Second)
		w.sink.drop, w.sink.hold = true, true
		w.lines("app.log", 10)
		w.settle(2 * time.Second)
		w.kill()
		on.Store(true)
		if err := w.once(); !errors.Is(err, agent.ErrUnread) {
			t.Errorf("Run: %v", err)
		}
		if s := w.status(); lostBytes(s) != 0 {
			t.Errorf("lost bytes %v of what is there", s.LostBytes)
		}
		for _, c := range w.a.Checkpoints() {
			if c.State == "lost" {
				t.Errorf("%s is taken for lost", c.Path)
			}
		}
		on.Store(false)
		w.check(w.once())
		w.verify(10)
	})
}
