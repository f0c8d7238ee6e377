package agent_test

import (
	"fmt"
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

// old appends lines to a file that must not arrive, and says that it was last written to
// before the agent starts.
func (w *world) old(name string) {
	w.t.Helper()
	w.write(name, strings.Repeat("long before\n", 20)+"begun")
	then := time.Now().Add(-time.Hour)
	w.check(os.Chtimes(w.path(name), then, then))
}

// What the first scan of a first start at the ends of files could not see, and was there,
// begins at its end once it can be seen; what came later, at its beginning. A stop in
// between changes nothing.
func TestFirstStartThatCannotSee(t *testing.T) {
	for name, ignoreOlder := range map[string]time.Duration{"running": 0, "stopped": 0, "with ignoreOlderSeconds": time.Minute} {
		t.Run(name, func(t *testing.T) {
			stopped := name == "stopped"
			blind(t, func(w *world, log string, set func(bool)) {
				w.cfg.Flows[0].StartOfFile, w.cfg.Flows[0].IgnoreOlder = false, ignoreOlder
				dir := filepath.Dir(log)
				w.old(log)
				w.old(filepath.Join(dir, "app.log.quiet"))
				set(true)
				w.start()
				w.settle(12 * time.Second)
				w.lines(filepath.Join(dir, "app.log.new"), 10)
				w.settle(12 * time.Second)
				if stopped {
					w.stopped()
					set(false)
					w.start()
				}
				set(false)
				w.settle(12 * time.Second)
				w.write(log, " and ended\n")
				w.write(filepath.Join(dir, "app.log.quiet"), "\n")
				w.want = append(w.want, "begun and ended\n", "begun\n")
				w.lines(log, 10)
				w.lines(filepath.Join(dir, "app.log.newer"), 10)
				w.settle(12 * time.Second)
				w.verify(0)
				// Once all is seen, files are new, however old they look.
				w.old(filepath.Join(dir, "app.log.moved"))
				w.write(filepath.Join(dir, "app.log.moved"), "!\n")
				w.want = append(w.want, "long before\n", "begun!\n")
				w.repeated["long before\n"] = 19
				w.settle(12 * time.Second)
				w.verify(0)
				w.restarted()
			})
		})
	}
}

// A file that the first scan saw, and could not open, was there.
func TestFirstStartThatCannotOpen(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EMFILE} {
		t.Run(errno.Error(), func(t *testing.T) {
			bubble(t, agent.FlowConfig{}, func(w *world) {
				var on atomic.Bool
				w.cfg.FS = vfstest.FS{FS: w.cfg.FS, Fault: func(o vfstest.Op, name string) error {
					if o == vfstest.OpenFile && on.Load() && name == w.path("app.log.other") {
						return errno
					}
					return nil
				}}
				w.cfg.Flows[0].StartOfFile = false
				w.old("app.log")
				w.old("app.log.other")
				on.Store(true)
				w.start()
				w.settle(12 * time.Second)
				on.Store(false)
				w.settle(12 * time.Second)
				for _, name := range []string{"app.log", "app.log.other"} {
					w.write(name, " and ended\n")
				}
				w.want = append(w.want, "begun and ended\n")
				w.repeated["begun and ended\n"] = 1
				w.settle(12 * time.Second)
				w.verify(0)
				w.stopped()
			})
		})
	}
}

// With more files than may be open, a first start at the ends of files begins at the end of
// each of them.
func TestFirstStartWithMoreFilesThanMayBeOpen(t *testing.T) {
	bubble(t, agent.FlowConfig{MaxOpenFiles: 16}, func(w *world) {
		w.cfg.Flows[0].StartOfFile = false
		for i := range 100 {
			w.old(fmt.Sprintf("app.log.%02d", i))
		}
		w.start()
		w.settle(30 * time.Second)
		for i := range 100 {
			w.write(fmt.Sprintf("app.log.%02d", i), " and ended\n")
		}
		w.want = append(w.want, "begun and ended\n")
		w.repeated["begun and ended\n"] = 99
		w.settle(30 * time.Second)
		w.verify(0)
		w.restarted()
	})
}

// Where a file's time of birth is known, it decides, and not when the file was written to.
func TestFirstStartKnowsTimeOfBirth(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leap  time.Duration // before the agent starts, from the year 2000 on
		there bool          // the files of today were there then
	}{
		{"born before the start", 100 * 365 * 24 * time.Hour, true},
		{"born after the start", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, agent.FlowConfig{}, func(w *world) {
				var on atomic.Bool
				w.cfg.FS = blindFS{FS: vfs.OS, op: "list", dir: w.dir, err: syscall.EACCES, on: &on, failed: &atomic.Int64{}}
				w.cfg.Flows[0].StartOfFile = false
				time.Sleep(tt.leap)
				on.Store(true)
				w.start()
				w.settle(12 * time.Second)
				line := "long before\n"
				w.write("app.log", line)
				// Neither way does the time of the last write say it.
				at := time.Now().Add(time.Hour)
				if !tt.there {
					at = time.Now().Add(-time.Hour)
				}
				w.check(os.Chtimes(w.path("app.log"), at, at))
				on.Store(false)
				w.settle(12 * time.Second)
				w.lines("app.log", 10)
				if !tt.there {
					w.want = append(w.want, line)
				}
				w.settle(12 * time.Second)
				w.verify(0)
				w.stopped()
			})
		})
	}
}
