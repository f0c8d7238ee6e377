package agent_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

// Copies of logs, as copytruncate makes them, at moments at which it is hard to tell
// what they are. None of their lines may arrive twice.

// A file that is closed because it is read, as on a network file system, may be copied
// like one that is open.
func TestCopyOfAClosedFile(t *testing.T) {
	network := func(w *world) { w.cfg.NetworkFS = func(string) string { return "nfs" } }
	for _, why := range []string{"network", "not opened since the start"} {
		t.Run("slowly, "+why, func(t *testing.T) {
			bubble(t, agent.FlowConfig{}, func(w *world) {
				w.lines("app.log", 100)
				if why == "network" {
					network(w)
				} else {
					w.cfg.Flows[0].PollInterval, w.cfg.Flows[0].ScanInterval = time.Hour, time.Second
					w.start()
					w.settle(2 * time.Second)
					w.check(w.stop())
				}
				w.start()
				w.settle(2 * time.Second)
				if s := w.status(); s.OpenFiles != 0 {
					t.Fatalf("%d files are open", s.OpenFiles)
				}
				whole, err := os.ReadFile(w.path("app.log"))
				w.check(err)
				for _, part := range [][]byte{whole[:500], whole[500:5000], whole[5000:]} {
					w.write("app.log.1", string(part))
					w.settle(3 * time.Second)
				}
				w.truncate("app.log")
				w.lines("app.log", 5)
				w.settle(20 * time.Second)
				w.verify(0)
				w.stopped()
			})
		})
	}
	for _, op := range []string{"stat", "open"} {
		t.Run("no "+op, func(t *testing.T) {
			bubble(t, agent.FlowConfig{}, func(w *world) {
				network(w)
				var denied atomic.Bool
				w.cfg.FS = deniedFS{FS: vfstest.Lazy{FS: vfs.OS}, path: w.path("app.log"), op: op, denied: &denied}
				w.lines("app.log", 20)
				w.start()
				w.settle(2 * time.Second)
				denied.Store(true)
				w.copyFile("app.log", "app.log.1")
				w.truncate("app.log")
				w.lines("app.log", 50) // it is longer than it was
				w.settle(30 * time.Second)
				denied.Store(false)
				w.settle(30 * time.Second)
				w.verify(0)
				w.stopped()
			})
		})
	}
	t.Run("to another file system", func(t *testing.T) {
		bubble(t, agent.FlowConfig{}, func(w *world) {
			network(w)
			w.lines("app.log", 20)
			w.start()
			w.settle(2 * time.Second)
			w.copyFile("app.log", "app.log.1")
			w.settle(time.Second)
			w.remove("app.log")
			w.settle(time.Second)
			w.lines("app.log", 5)
			w.settle(20 * time.Second)
			w.verify(0)
			w.stopped()
		})
	})
}

// The look that an event brings about may find a copy that has been created and not
// written, and a file may have so little that its copy cannot be told by it.
func TestCopyFromItsFirstByte(t *testing.T) {
	for _, lines := range []int{1, 100} {
		t.Run(fmt.Sprint(lines), func(t *testing.T) {
			bubble(t, agent.FlowConfig{}, func(w *world) {
				w.lines("app.log", lines)
				w.start()
				w.settle(2 * time.Second)
				whole, err := os.ReadFile(w.path("app.log"))
				w.check(err)
				for _, part := range [][]byte{nil, whole[:10], whole[10:30], whole[30:]} {
					w.write("app.log.1", string(part))
					w.settle(300 * time.Millisecond)
				}
				w.settle(time.Second)
				w.truncate("app.log")
				w.lines("app.log", 5)
				w.settle(20 * time.Second)
				w.verify(0)
				w.lines("app.log.2", 1) // shares some bytes with app.log, and is no copy
				w.settle(time.Second)
				w.verify(0)
				w.stopped()
			})
		})
	}
}

// A copy that cannot be opened yet, since other files take all that may be open, is
// looked for until it can.
func TestCopyThatIsOpenedLate(t *testing.T) {
	bubble(t, agent.FlowConfig{MaxOpenFiles: 2}, func(w *world) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.lines("app.log", 100)
		w.start()
		w.settle(2 * time.Second)
		w.sink.keep()
		for _, name := range []string{"app.log.a", "app.log.b"} {
			w.lines(name, 50_000) // both together more than the budget holds
		}
		w.settle(2 * time.Second)
		w.lines("app.log", 10)
		w.copyFile("app.log", "app.log.1")
		w.truncate("app.log")
		w.lines("app.log", 5)
		w.settle(time.Minute)
		if s := w.status(); s.OpenFiles != 2 || s.BehindBytes == 0 {
			t.Fatalf("%d files are open, %d bytes behind; want the two long ones that wait", s.OpenFiles, s.BehindBytes)
		}
		w.sink.release()
		w.settle(time.Minute)
		w.verify(0)
		if s := w.status(); lostBytes(s) != 0 || s.BehindBytes != 0 {
			t.Errorf("lost bytes %v, %d behind", s.LostBytes, s.BehindBytes)
		}
		w.stopped()
	})
}

// A file and its copy may be found by one look, before the one is truncated.
func TestCopyWithinTheFirstLook(t *testing.T) {
	for _, to := range []string{"app.log.1", "app-20260101.log"} {
		for _, when := range []string{"first start", "while running", "restart"} {
			t.Run(fmt.Sprint(to, " ", when), func(t *testing.T) {
				bubble(t, agent.FlowConfig{FilePattern: "app*"}, func(w *world) {
					w.lines("app-other.log", 10)
					switch when {
					case "while running":
						w.start()
						w.settle(2 * time.Second)
					case "restart":
						w.lines("app.log", 10)
						w.start()
						w.settle(2 * time.Second)
						w.check(w.stop())
					}
					w.lines("app.log", 100)
					w.copyFile("app.log", to)
					if when != "while running" {
						w.start()
					}
					w.settle(1500 * time.Millisecond)
					w.truncate("app.log")
					w.lines("app.log", 10)
					w.settle(20 * time.Second)
					w.verify(0)
					w.stopped()
				})
			})
		}
	}
	t.Run("no copy", func(t *testing.T) {
		bubble(t, agent.FlowConfig{}, func(w *world) {
			w.lines("app.log", 100)
			w.copyFile("app.log", "app.log.twin")
			w.start()
			w.settle(20 * time.Second)
			for _, line := range w.want {
				w.repeated[line]++
			}
			w.verify(0)
			w.stopped()
		})
	})
}

// readFile is a file of which something happens once it was read from.
type readFile struct {
	vfs.File
	after func()
}

func (f readFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.after()
	return n, err
}

// While a look at the directory goes on, which has seen a part of the copy, the copy is
// finished, and the original truncated and filled again.
func TestCopyIsFinishedWithinALook(t *testing.T) {
	for _, part := range []int{0, 40, 500, 1500} {
		t.Run(fmt.Sprint(part, " bytes"), func(t *testing.T) {
			bubble(t, agent.FlowConfig{}, func(w *world) {
				w.lines("app.log", 30)
				whole, err := os.ReadFile(w.path("app.log"))
				w.check(err)
				var next strings.Builder
				for range 40 {
					w.want = append(w.want, w.line())
					next.WriteString(w.want[len(w.want)-1])
				}
				finish := sync.OnceFunc(func() {
					w.check(os.WriteFile(w.path("app.log.1"), whole, 0o600))
					w.check(os.WriteFile(w.path("app.log"), []byte(next.String()), 0o600))
				})
				w.cfg.FS = fileFunc{w.fs, func(f vfs.File) vfs.File {
					if f.Name() != w.path("app.log.1") {
						return f
					}
					return readFile{f, finish}
				}}
				w.start()
				w.settle(2 * time.Second)
				w.write("app.log.1", string(whole[:part]))
				w.settle(20 * time.Second)
				finish()
				w.settle(20 * time.Second)
				w.verify(0)
				w.stopped()
			})
		})
	}
}

// A process is stopped while it looks at a file, which is copied and truncated meanwhile.
// When it goes on, the time for which a copy is looked for begins.
func TestCopyWhileTheProcessIsStopped(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		var process gate
		w.cfg.FS = haltedFS{w.fs, &process}
		w.start()
		w.lines("app.log", 20)
		w.settle(950 * time.Millisecond)
		process.close()
		w.settle(time.Second)
		w.lines("app.log", 20)
		w.copyFile("app.log", "app.log.1")
		w.truncate("app.log")
		w.settle(time.Minute)
		process.open(nil)
		w.settle(20 * time.Second)
		w.lines("app.log", 3)
		w.settle(20 * time.Second)
		w.verify(0)
		if n := lostBytes(w.status()); n != 0 {
			t.Errorf("%d bytes are counted as lost", n)
		}
		w.stopped()
	})
}
