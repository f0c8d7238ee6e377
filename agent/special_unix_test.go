//go:build unix

package agent_test

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
)

// What is no file is left alone, counted and logged once an hour, whether it was there
// first or took the place of a file; a flow is not stopped by it, and nobody waits for
// the other end of a pipe.
func TestSpecialFiles(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		var log strings.Builder
		w.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		special := map[string]func(path string) error{
			"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
			"socket":    func(path string) error { return socketAt(w, path) },
			"device":    func(path string) error { return os.Symlink("/dev/zero", path) },
			"terminal":  func(path string) error { return os.Symlink("/dev/tty", path) },
			"directory": func(path string) error { return os.Mkdir(path, 0o700) },
			"loop":      func(path string) error { return os.Symlink(path, path) },
			"nowhere":   func(path string) error { return os.Symlink(path+".missing", path) },
		}
		for name, make := range special {
			w.check(make(w.path("app.log." + name)))
		}
		w.lines("app.log", 100)
		w.start()
		w.settle(2 * time.Second)
		w.verify(0)
		if s := w.status(); len(s.Files) != 1 || s.Troubles == 0 {
			t.Errorf("%d files, %d troubles; want the one file, and the others counted", len(s.Files), s.Troubles)
		}
		if by := w.status().TroublesBy; by["not_regular"] != 5*by["other"] { // the loop
			t.Errorf("troubles by reason: %v", by)
		}
		// The log turns into each of them, and back into a file.
		for _, name := range []string{"pipe", "socket", "device"} {
			w.rename("app.log", "app.log.was-"+name)
			w.check(special[name](w.path("app.log")))
			w.changed()
			w.settle(12 * time.Second)
			w.remove("app.log")
			w.lines("app.log", 10)
			w.settle(12 * time.Second)
			w.verify(0)
		}
		for name := range special {
			// A link that leads nowhere is as good as not there.
			want := 1
			if name == "nowhere" {
				want = 0
			}
			if n := strings.Count(log.String(), "app.log."+name+" "); n != want {
				t.Errorf("%d lines of the log name the %s, want %d:\n%s", n, name, want, log.String())
			}
		}
		if s := w.status(); lostBytes(s) != 0 || s.BehindBytes != 0 {
			t.Errorf("at rest: %+v", s)
		}
		w.stopped()
	})
}

// socketAt leaves a socket in the file system.
func socketAt(w *world, path string) error {
	// A socket's path must be short.
	dir, err := os.MkdirTemp("", "s")
	w.check(err)
	defer func() { w.check(os.RemoveAll(dir)) }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "s"), path)
}

// A FIFO that takes the place of a file between the look at it and its opening is not
// waited for.
func TestPipeInPlaceOfAFile(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.lines("app.log", 10)
		f := func() {
			w.check(os.Remove(w.path("app.log")))
			w.check(syscall.Mkfifo(w.path("app.log"), 0o600))
			for _, l := range w.want {
				w.may[l] = true
			}
		}
		w.fs.opens.Store(&f)
		w.start()
		w.settle(5 * time.Second)
		w.remove("app.log")
		w.lines("app.log", 10)
		w.settle(12 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// However many paths are in trouble, the log of the agent does not fill the disk.
func TestTroublesAreLoggedOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{FilePattern: "*.log", PollInterval: 10 * time.Second})
		var log strings.Builder
		w.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		const dirs = 1100
		for i := range dirs {
			w.check(os.Mkdir(w.path(fmt.Sprintf("%d.log", i)), 0o700))
		}
		w.lines("app.log", 10)
		w.start()
		w.settle(time.Minute)
		w.verify(0)
		if n := w.status().Troubles; n < 2*dirs {
			t.Errorf("%d troubles are counted, want %d for each scan", n, dirs)
		}
		w.stopped()
		named := strings.Count(log.String(), "file is left out")
		if named < 500 || named > 1010 {
			t.Errorf("%d lines name a path", named)
		}
		if n := strings.Count(log.String(), "more than are named here"); n != 1 {
			t.Errorf("%d lines say that there are more", n)
		}
	})
}
