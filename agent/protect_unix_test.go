//go:build unix

package agent_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
)

// protected returns the second names there are.
func (w *world) protected() []string {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(filepath.Dir(w.cfg.CheckpointFile), "protected", "*", "*"))
	w.check(err)
	return names
}

func protecting() agent.FlowConfig {
	return agent.FlowConfig{FilePattern: "app.log", Protect: agent.ProtectHardlink, PartitionKey: agent.KeyFile}
}

// What is rotated away and deleted while the agent does not run is read all the same,
// to its end and in order, and then given back to the disk.
func TestProtect(t *testing.T) {
	for _, end := range []string{"stopped", "killed"} {
		t.Run(end, func(t *testing.T) {
			bubble(t, protecting(), func(w *world) {
				w.lines("app.log", 100)
				w.start()
				w.settle(2 * time.Second)
				if s := w.status(); len(w.protected()) != 1 || s.Protected != 1 || s.Unprotected != 0 {
					t.Errorf("protected are %q; status %d, and %d that are not", w.protected(), s.Protected, s.Unprotected)
				}
				if end == "stopped" {
					w.stopped()
				} else {
					w.settle(2 * time.Second)
					w.kill()
				}
				w.lines("app.log", 100)
				w.write("app.log", "the end")
				w.want = append(w.want, "the end")
				w.remove("app.log") // and nobody has it open
				w.lines("app.log", 10)
				w.start()
				w.settle(30 * time.Second)
				w.verify(0)
				w.verifyOrderOfFiles()
				s := w.status()
				if lostBytes(s) != 0 || s.BehindBytes != 0 || len(s.Files) != 1 || s.OpenFiles != 1 {
					t.Errorf("at rest: %+v", s)
				}
				if n := len(w.protected()); n != 1 || s.Protected != 1 {
					t.Errorf("%d files are protected, status says %d, want the one there is", n, s.Protected)
				}
				w.stopped()
			})
		})
	}
}

// verifyOrderOfFiles checks that with each partition key the lines arrived in order.
func (w *world) verifyOrderOfFiles() {
	w.t.Helper()
	last := make(map[string]int)
	at := make(map[string]int)
	for i, l := range w.want {
		at[l] = i
	}
	for _, r := range w.sink.records() {
		if n := at[string(r.Data)]; n < last[r.PartitionKey] {
			w.t.Errorf("%.30q came too late", r.Data)
		} else {
			last[r.PartitionKey] = n
		}
	}
}

// While the agent runs, nothing is different: rotation, truncation and deletion leave
// no second name behind once all is delivered, and nothing arrives twice.
func TestProtectWhileRunning(t *testing.T) {
	flow := protecting()
	flow.FilePattern = "app.log*"
	bubble(t, flow, func(w *world) {
		w.lines("app.log", 100)
		w.start()
		w.settle(2 * time.Second)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 100)
		w.settle(10 * time.Second)
		w.remove("app.log.1")
		w.settle(20 * time.Second)
		w.copyFile("app.log", "app.log.2")
		w.truncate("app.log")
		w.settle(2 * time.Second)
		w.lines("app.log", 100)
		w.settle(20 * time.Second)
		w.lines("app.log", 50)
		w.remove("app.log") // unread
		w.lines("app.log", 100)
		w.settle(30 * time.Second)
		w.verify(0)
		// Moved from another file system: the copy is the file, though it had two names.
		w.check(os.MkdirAll(w.path("old"), 0o700))
		w.copyFile("app.log", "app.log.3")
		w.remove("app.log")
		w.lines("app.log", 10)
		w.settle(30 * time.Second)
		w.verify(0)
		for range 3 { // each that is delivered loses its second name in a later scan
			w.changed()
			w.settle(20 * time.Second)
		}
		if n := len(w.protected()); n != 1 {
			t.Errorf("%d files are protected, want the one that is written to: %q", n, w.protected())
		}
		w.stopped()
	})
}

// Where there can be no second name, all goes on without, with one warning that says
// what to do, and a count.
func TestProtectCannot(t *testing.T) {
	for _, reason := range []error{syscall.EXDEV, syscall.EPERM, syscall.EMLINK} {
		t.Run(reason.Error(), func(t *testing.T) {
			bubble(t, protecting(), func(w *world) {
				var log strings.Builder
				w.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				w.cfg.FS = noLinks{w.cfg.FS, reason}
				w.lines("app.log", 100)
				w.start()
				w.settle(2 * time.Second)
				w.rename("app.log", "app.log.1")
				w.lines("app.log", 10)
				w.settle(20 * time.Second)
				w.verify(0)
				if s := w.status(); s.Unprotected != 2 || s.Protected != 0 || len(w.protected()) != 0 {
					t.Errorf("%d files are not protected, want 2; %d are", s.Unprotected, s.Protected)
				}
				if n := strings.Count(log.String(), "cannot protect files"); n != 1 || !strings.Contains(log.String(), reason.Error()) {
					t.Errorf("%d warnings:\n%s", n, log.String())
				}
				w.stopped()
			})
		})
	}
}

type noLinks struct {
	vfs.FS
	err error
}

func (n noLinks) Link(from, to string) error {
	return &os.LinkError{Op: "link", Old: from, New: to, Err: n.err}
}

// A symbolic link would be linked itself, and protects nothing.
func TestProtectSymlink(t *testing.T) {
	bubble(t, protecting(), func(w *world) {
		w.lines("target", 10)
		w.check(os.Symlink(w.path("target"), w.path("app.log")))
		w.start()
		w.settle(2 * time.Second)
		w.verify(0)
		if s := w.status(); s.Unprotected != 1 || len(w.protected()) != 0 {
			t.Errorf("%d files are not protected, want 1; second names %q", s.Unprotected, w.protected())
		}
		w.stopped()
	})
}

// Deleted files do not fill the disk: beyond a bound the oldest are given up, which is
// counted, and so is what nobody has open then.
func TestProtectMaxBytes(t *testing.T) {
	flow := protecting()
	flow.ProtectMaxBytes = 50_000
	bubble(t, flow, func(w *world) {
		w.sink.hold = true
		w.start()
		size := 0
		for range 5 {
			w.lines("app.log", 200)
			fi, err := os.Stat(w.path("app.log"))
			w.check(err)
			size += int(fi.Size())
			w.settle(2 * time.Second)
			w.remove("app.log")
			w.settle(2 * time.Second)
		}
		w.settle(10 * time.Second)
		held := 0
		for _, name := range w.protected() {
			fi, err := os.Stat(name)
			w.check(err)
			held += int(fi.Size())
		}
		s := w.status()
		if held > 50_000 || held == 0 || s.Unprotected == 0 || s.Unprotected+uint64(len(w.protected())) != 5 {
			t.Errorf("%d of %d bytes are held, %d files are not protected", held, size, s.Unprotected)
		}
		w.sink.release() // this process has them open
		w.settle(30 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// What an earlier process has left and nobody knows is removed; what is no second name
// is not touched.
func TestProtectLeftovers(t *testing.T) {
	bubble(t, protecting(), func(w *world) {
		w.lines("app.log", 10)
		w.start()
		w.settle(2 * time.Second)
		w.stopped()
		dir := filepath.Dir(w.protected()[0])
		for _, name := range []string{"00000000000000aa", "notes.txt"} {
			w.check(os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
		}
		w.start()
		w.settle(2 * time.Second)
		got := fmt.Sprint(len(w.protected()))
		if _, err := os.Stat(filepath.Join(dir, "00000000000000aa")); err == nil || got != "2" {
			t.Errorf("%s names are left: %q", got, w.protected())
		}
		w.stopped()
	})
}

func TestProtectConfig(t *testing.T) {
	dir := t.TempDir()
	open := func(agent.FlowConfig, int64) (agent.Sink, error) { return nil, fs.ErrInvalid }
	for want, change := range map[string]func(f *agent.FlowConfig){
		`"protect": "copy" is none of none, hardlink`:             func(f *agent.FlowConfig) { f.Protect = "copy" },
		`"protectDirectory": "here" is no whole path`:             func(f *agent.FlowConfig) { f.Protect, f.ProtectDirectory = "hardlink", "here" },
		`"protectMaxBytes": -1 is outside [1, 1125899906842624]`:  func(f *agent.FlowConfig) { f.Protect, f.ProtectMaxBytes = "hardlink", -1 },
		`matches the flow's patterns; name another directory, or`: func(f *agent.FlowConfig) { f.Protect, f.ProtectDirectory = "hardlink", filepath.Join(dir, "x") },
	} {
		cfg := agent.Config{
			CheckpointFile: filepath.Join(dir, "state", "checkpoints"),
			Flows:          []agent.FlowConfig{{KinesisStream: "s", FilePattern: filepath.Join(dir, "**", "*")}},
		}
		change(&cfg.Flows[0])
		if _, err := agent.New(&cfg, open); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %s", err, want)
		}
	}
}
