package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

func TestTail(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.lines("app.log", 100)
		w.start()
		w.settle(time.Second)
		w.lines("app.log", 1)
		w.settle(time.Minute) // the file sleeps
		w.lines("app.log", 5000)
		w.lines("app.log.other", 3) // another live file of the pattern
		w.settle(11 * time.Second)
		w.verify(0)
		s := w.status()
		if len(s.Files) != 2 || s.Files[0].Committed != s.Files[0].Size || s.BehindBytes != 0 {
			t.Errorf("status %+v, want two files, all committed", s)
		}
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestDeleteUnread(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.sink.hold = true
		w.lines("app.log", 100_000) // more than the budget holds
		w.start()
		w.settle(time.Second)
		if s := w.status(); s.Files[0].Read == s.Files[0].Size {
			t.Fatalf("all was read: %+v", s.Files[0])
		}
		w.remove("app.log")
		w.lines("app.log", 10)
		w.settle(time.Minute)
		// The stream comes back in another process; the handle is gone with this one,
		// but here only the callbacks are late.
		w.sink.release()
		w.settle(time.Minute)
		w.verify(0)
		if s := w.status(); len(s.Files) != 1 || s.OpenFiles != 1 {
			t.Errorf("status %+v, want the new file alone", s)
		}
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// The position of a rotated file is kept as long as the file is, however long that is:
// the next start does not read it again.
func TestRotatedFileThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{PollInterval: time.Hour, ScanInterval: time.Hour}) // seldom, since the days are long
		w.watcher = &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
		w.cfg.CheckpointTimeToLive = 24 * time.Hour
		w.lines("app.log", 10)
		w.start()
		w.settle(time.Minute)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 10)
		w.settle(27 * time.Hour)
		w.stopped()
		w.start()
		w.settle(time.Minute)
		w.stopped()
		w.settle(27 * time.Hour) // it is there, though nobody has looked for so long
		w.start()
		w.settle(time.Minute)
		w.verify(0)
		if n := len(w.a.Checkpoints()); n != 2 {
			t.Errorf("the positions of %d files are kept, want 2", n)
		}
		w.remove("app.log.1")
		w.settle(27 * time.Hour)
		if n := len(w.a.Checkpoints()); n != 1 {
			t.Errorf("the positions of %d files are kept when one is gone, want 1", n)
		}
		w.stopped()
	})
}

// What nobody can find again is counted, to the byte.
func TestLossIsCounted(t *testing.T) {
	t.Run("truncated", func(t *testing.T) {
		bubble(t, agent.FlowConfig{}, func(w *world) {
			w.cfg.MaxMemoryBytes = 4 << 20
			w.sink.hold = true
			w.lines("app.log", 100_000)
			w.start()
			w.settle(time.Second)
			s := w.status().Files[0]
			unread := uint64(s.Size - s.Read)
			w.truncate("app.log")
			w.settle(time.Second)
			w.sink.release()
			w.settle(20 * time.Second)
			if got := w.status().LostBytes["truncated"]; got != unread || got == 0 {
				t.Errorf("lost bytes %d, want %d", got, unread)
			}
			if err := w.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	})
	t.Run("missing", func(t *testing.T) {
		bubble(t, agent.FlowConfig{}, func(w *world) {
			w.lines("app.log", 10)
			w.start()
			w.settle(2 * time.Second)
			w.sink.hold = true
			w.write("app.log", "these 23 bytes are lost")
			w.settle(2 * time.Second)
			w.kill()
			w.remove("app.log")
			w.start()
			w.settle(20 * time.Second)
			if got := w.status().LostBytes["missing"]; got != 23 {
				t.Errorf("lost bytes %d, want 23", got)
			}
			w.verify(0)
			// It is counted once.
			if err := w.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
			w.start()
			w.settle(20 * time.Second)
			if got := w.status().LostBytes["missing"]; got != 0 {
				t.Errorf("lost bytes %d after another start, want 0", got)
			}
			if err := w.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	})
}

func TestUnterminatedLastLine(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.lines("app.log", 3)
		w.write("app.log", "half a ")
		w.start()
		w.settle(time.Minute)
		w.verify(0) // it waits
		w.write("app.log", "line\n")
		w.want = append(w.want, "half a line\n")
		w.settle(5 * time.Second)
		w.verify(0)
		w.write("app.log", "the end")
		w.want = append(w.want, "the end")
		w.settle(time.Second)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 1)
		w.settle(30 * time.Second)
		w.verify(0)
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// Files that came while the agent was down are read from their start, whatever
// initialPosition says; those of the first start are read from their end.
func TestInitialPosition(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.cfg.Flows[0].StartOfFile = false
		w.write("app.log", "old\nolder\nthe last one is ")
		w.start()
		w.settle(3 * time.Second)
		w.write("app.log", "open\n")
		w.want = append(w.want, "the last one is open\n")
		w.settle(3 * time.Second)
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		w.lines("app.log.new", 10)
		w.lines("app.log", 10)
		w.start()
		w.settle(3 * time.Second)
		w.verify(0)
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestReappearingDirectory(t *testing.T) {
	bubble(t, agent.FlowConfig{FilePattern: "logs/app.log*"}, func(w *world) {
		w.start()
		w.settle(time.Second) // no directory yet
		w.check(os.Mkdir(w.path("logs"), 0o700))
		w.lines("logs/app.log", 10)
		w.settle(20 * time.Second)
		w.rename("logs", "away")
		w.settle(time.Minute)
		w.rename("away", "logs")
		w.lines("logs/app.log", 10)
		w.settle(20 * time.Second)
		w.verify(0)
		// Another directory in its place, of which no watcher tells.
		w.rename("logs", "away")
		w.check(os.Mkdir(w.path("logs"), 0o700))
		w.lines("logs/app.log", 10)
		w.lines("away/app.log", 10) // its writer has it still open, and so has the agent
		w.settle(20 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// A file at rest that is moved within a moment, as between file systems, to a name that
// matches too: what is there now is a copy of it, and nothing arrives twice.
func TestMovedAtRest(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.lines("app.log", 100)
		w.start()
		w.settle(time.Minute)
		w.copyFile("app.log", "app.log.3")
		w.remove("app.log")
		w.lines("app.log", 10)
		w.settle(time.Minute)
		w.verify(0)
		w.stopped()
		w.start() // and the position is that of the copy now
		w.settle(time.Minute)
		w.verify(0)
		w.stopped()
	})
}

// A line is begun, which is all that the agent has seen of the file, then ended, and
// the file copied and truncated before the next look: nothing of it is lost, or counted
// as if it were.
func TestCopyOfALineThatWasBegun(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.start()
		w.settle(time.Second)
		w.write("app.log", "begun")
		w.settle(2 * time.Second)

		const text = "begun and ended\nanother\n"
		w.want = append(w.want, "begun and ended\n", "another\n")
		w.check(os.WriteFile(w.path("app.log.1"), []byte(text), 0o600))
		w.truncate("app.log")
		w.changed()
		w.settle(20 * time.Second)
		w.lines("app.log", 3)
		w.settle(20 * time.Second)
		w.verify(0)
		if s := w.status(); lostBytes(s) != 0 || s.BehindBytes != 0 {
			t.Errorf("%d bytes are counted as lost, %d are behind", lostBytes(s), s.BehindBytes)
		}
		w.stopped()
	})
}

// What the stream has not taken when the agent stops, of a file that was truncated, is
// lost; it is counted by the next start, though there was more that had never been read.
func TestReadAndTruncatedAndNotDelivered(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.sink.refuse = func() bool { return true }
		w.lines("app.log", 20)
		read := uint64(0)
		for _, line := range w.want {
			w.may[line] = true
			read += uint64(len(line))
		}
		w.write("app.log", "begun")
		w.start()
		w.settle(time.Second)
		w.truncate("app.log")
		w.settle(20 * time.Second)
		if n := lostBytes(w.status()); n != uint64(len("begun")) {
			t.Errorf("%d bytes are counted before the stop, want %d", n, len("begun"))
		}
		if err := w.stop(); !errors.Is(err, agent.ErrNotDrained) {
			t.Errorf("Run: %v", err)
		}
		w.sink.refuse = nil
		for _, want := range []uint64{read, 0} {
			w.start()
			w.settle(20 * time.Second)
			if n := lostBytes(w.status()); n != want {
				t.Errorf("%d bytes are counted after the stop, want %d", n, want)
			}
			w.stopped()
		}
		w.verify(0)
	})
}

// waitingSink is one whose calls wait while its gate is closed.
type waitingSink struct {
	agent.Sink
	gate *gate
}

func (s waitingSink) PutBatch(ctx context.Context, recs []producer.UserRecord, done func(producer.BatchResult)) error {
	if err := s.gate.pass(ctx); err != nil {
		return err
	}
	return s.Sink.PutBatch(ctx, recs, done)
}

// A file grows while the stream hangs, and is truncated, and perhaps filled with more than
// it had: a look at it finds that or a read, whatever comes first. All that was seen of it
// is counted.
func TestTruncatedBeforeItIsRead(t *testing.T) {
	for _, refill := range []int{0, 300} {
		for _, how := range []string{"found by a read", "found by a look", "nothing was read"} {
			t.Run(fmt.Sprintf("filled with %d, %s", refill, how), func(t *testing.T) {
				bubble(t, agent.FlowConfig{}, func(w *world) {
					var calls gate
					w.wrap = func(s *stream) agent.Sink { return waitingSink{s, &calls} }
					w.start()
					calls.close()
					for i := range 12 {
						name := "app.log"
						if how == "nothing was read" && i < 10 {
							name = "app.log.other"
						}
						w.lines(name, 9)
						w.settle(300 * time.Millisecond)
					}
					w.settle(30 * time.Millisecond) // between two looks at the file
					w.truncate("app.log")
					old := w.want
					if refill > 0 {
						w.lines("app.log", refill)
					}
					if how == "found by a look" {
						w.settle(300 * time.Millisecond)
					}
					calls.open(nil)
					w.settle(20 * time.Second)
					lost := uint64(0)
					arrived := w.data()
					for _, line := range old {
						if !slices.Contains(arrived, line) {
							w.may[line] = true
							lost += uint64(len(line))
						}
					}
					if n := lostBytes(w.status()); n != lost || lost == 0 {
						t.Errorf("%d bytes are counted, %d were lost", n, lost)
					}
					w.verify(0)
					w.stopped()
				})
			})
		}
	}
}
