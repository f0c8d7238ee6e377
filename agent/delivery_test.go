package agent_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
)

// A record that the stream does not take in time is given up: counted, or appended
// to the dead letters. What comes later arrives, and what was given up is not read
// again.
func TestRecordTTL(t *testing.T) {
	for _, letters := range []bool{false, true} {
		flow := agent.FlowConfig{RecordTTL: time.Minute}
		file := filepath.Join(t.TempDir(), "dead")
		if letters {
			flow.DeadLetterFile = file
		}
		bubble(t, flow, func(w *world) {
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			var down atomic.Bool
			w.sink.refuse = down.Load
			w.start()
			w.lines("app.log", 10)
			w.settle(2 * time.Second)
			down.Store(true)
			w.write("app.log", "old 1\nold 2\n")
			w.settle(55 * time.Second)
			if s := w.status(); s.ExpiredRecords != 0 || s.State != "blocked" {
				t.Errorf("too early: %+v", s)
			}
			w.settle(20 * time.Second)
			s := w.status()
			want := uint64(len("old 1\nold 2\n"))
			if letters {
				want = 0
			}
			if s.ExpiredRecords != 2 || s.LostBytes["expired"] != want || s.BehindBytes != 0 || letters != (s.DeadLetters == 2) {
				t.Errorf("after the time: %+v", s)
			}
			text, err := os.ReadFile(file)
			if letters && string(text) != "old 1\nold 2\n" || !letters && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("dead letters %q, %v", text, err)
			}
			down.Store(false)
			w.lines("app.log", 10)
			w.settle(15 * time.Second)
			w.verify(0)
			w.stopped()
			w.start()
			w.settle(3 * time.Second)
			w.verify(0)
			w.stopped()
		})
	}
}

// Without a wait for what is on its way the end is quick, and what was not
// acknowledged is read again.
func TestEndWithoutDraining(t *testing.T) {
	bubble(t, agent.FlowConfig{SkipDrain: true}, func(w *world) {
		w.start()
		w.lines("app.log", 10)
		w.settle(2 * time.Second)
		w.sink.keep()
		w.lines("app.log", 5)
		w.settle(2 * time.Second)
		began := time.Now()
		if err := w.stop(); !errors.Is(err, agent.ErrNotDrained) {
			t.Errorf("Run: %v", err)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("the end took %v", d)
		}
		w.sink.release()
		w.start()
		w.settle(2 * time.Second)
		w.verify(5)
		w.stopped()
	})
}

// A rotated file is deleted once all of it is acknowledged and stored, and not a
// moment earlier; the file that is written to never is.
func TestDeleteAfterDelivered(t *testing.T) {
	bubble(t, agent.FlowConfig{DeleteDelivered: true, ScanInterval: time.Second}, func(w *world) {
		disk := underPositions(w)
		there := func(name string) bool {
			_, err := os.Stat(w.path(name))
			return err == nil
		}
		w.start()
		w.lines("app.log", 10)
		w.settle(2 * time.Second)
		w.sink.keep()
		w.lines("app.log", 10)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 10)
		w.settle(time.Minute)
		if !there("app.log.1") {
			t.Error("deleted before it was acknowledged")
		}
		disk.full.Store(true)
		w.sink.release()
		w.settle(time.Minute)
		if !there("app.log.1") {
			t.Error("deleted before its position was stored")
		}
		disk.full.Store(false)
		w.settle(time.Minute)
		if there("app.log.1") || !there("app.log") {
			t.Errorf("app.log.1 is there: %v, app.log: %v; want the first deleted", there("app.log.1"), there("app.log"))
		}
		if s := w.status(); s.DeletedFiles != 1 || len(s.Files) != 1 || s.OpenFiles > 1 {
			t.Errorf("status %+v", s)
		}

		// One that is rotated and grows later is not delivered.
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 10)
		w.settle(3 * time.Second)
		w.lines("app.log.1", 10)
		w.settle(4 * time.Second)
		if !there("app.log.1") {
			t.Error("deleted while it grew")
		}
		w.settle(time.Minute)
		if there("app.log.1") {
			t.Error("not deleted after it grew")
		}
		w.verify(0)
		w.stopped()

		// Nor is anything forgotten when the agent does not run meanwhile.
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 10)
		w.start()
		w.settle(time.Minute)
		if there("app.log.1") || !there("app.log") {
			t.Error("not deleted after a start")
		}
		w.verify(0)
		w.stopped()
	})
}

// The copy of a file that was truncated before it was read is looked for beside it,
// unless that is not wanted; then what is lost is counted.
func TestSearchOfSiblings(t *testing.T) {
	for _, skip := range []bool{false, true} {
		bubble(t, agent.FlowConfig{FilePattern: "app.log", SkipSiblings: skip, RotateWait: time.Second}, func(w *world) {
			w.cfg.MaxMemoryBytes = 4 << 20
			w.sink.hold = true // so that reading stops long before the end
			w.lines("app.log", 60_000)
			w.start()
			w.settle(10 * time.Second)
			w.copyFile("app.log", "app.log.1")
			w.truncate("app.log")
			w.settle(10 * time.Second)
			w.sink.release()
			w.settle(time.Minute)
			if !skip {
				w.verify(0)
				w.stopped()
				return
			}
			written, arrived := len(strings.Join(w.want, "")), len(strings.Join(w.data(), ""))
			if lost := w.status().LostBytes["truncated"]; arrived == written || lost != uint64(written-arrived) {
				t.Errorf("%d of %d bytes arrived, %d are counted as lost", arrived, written, lost)
			}
			w.stopped()
		})
	}
}
