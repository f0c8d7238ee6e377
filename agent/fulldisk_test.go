package agent_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
)

// fullDisk is a file system of which one directory has no room while full is set.
// Half of what is written still fits, as on a disk that is filling up.
type fullDisk struct {
	vfs.FS
	dir  string
	full *atomic.Bool
}

// underPositions puts such a disk, which has room yet, under the positions of w.
func underPositions(w *world) fullDisk {
	d := fullDisk{FS: w.cfg.FS, dir: filepath.Dir(w.cfg.CheckpointFile), full: &atomic.Bool{}}
	w.cfg.FS = d
	return d
}

func (d fullDisk) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil || filepath.Dir(name) != d.dir {
		return f, err
	}
	return fullFile{f, d.full}, nil
}

type fullFile struct {
	vfs.File
	full *atomic.Bool
}

func (f fullFile) Write(b []byte) (int, error) {
	if f.full.Load() {
		n, _ := f.File.Write(b[:len(b)/2]) // the error that matters is the next
		return n, syscall.ENOSPC
	}
	return f.File.Write(b)
}

func (f fullFile) WriteAt(b []byte, off int64) (int, error) {
	if f.full.Load() {
		n, _ := f.File.WriteAt(b[:len(b)/2], off) // the error that matters is the next
		return n, syscall.ENOSPC
	}
	return f.File.WriteAt(b, off)
}

// While the disk with the positions is full, delivery goes on, and status and
// metrics say what is wrong. When there is room again the positions are stored; a
// crash before that repeats records and loses none.
func TestFullDiskUnderPositions(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		disk := underPositions(w)
		w.start()
		w.lines("app.log", 100)
		w.settle(3 * time.Second)
		if s := w.a.Status(); s.CheckpointError != "" || s.CheckpointFailures != 0 {
			t.Errorf("with room: %q, %d failures", s.CheckpointError, s.CheckpointFailures)
		}

		disk.full.Store(true)
		w.lines("app.log", 100)
		w.settle(10 * time.Second)
		s := w.a.Status()
		if !strings.Contains(s.CheckpointError, "no space left") || s.CheckpointFailures < 5 || s.CheckpointAge < 8 {
			t.Errorf("without room: %q, %d failures, %v seconds old", s.CheckpointError, s.CheckpointFailures, s.CheckpointAge)
		}
		if f := s.Flows[0]; f.State != "running" || f.AckedRecords != 200 {
			t.Errorf("without room: %+v", f)
		}
		if m, _ := w.metrics(); m["checkpoint_success"] != 0 || m["checkpoint_failures_total"] < 5 {
			t.Errorf("without room: success %v, %v failures", m["checkpoint_success"], m["checkpoint_failures_total"])
		}
		w.verify(0)

		w.kill() // the second hundred was delivered and is not stored
		disk.full.Store(false)
		w.start()
		w.settle(3 * time.Second)
		w.verify(100)

		disk.full.Store(true)
		w.lines("app.log", 100)
		w.settle(3 * time.Second)
		disk.full.Store(false)
		w.settle(3 * time.Second)
		if s := w.a.Status(); s.CheckpointError != "" || s.CheckpointFailures == 0 || s.CheckpointAge > 2 {
			t.Errorf("with room again: %q, %d failures, %v seconds old", s.CheckpointError, s.CheckpointFailures, s.CheckpointAge)
		}
		if m, _ := w.metrics(); m["checkpoint_success"] != 1 {
			t.Errorf("with room again: success %v", m["checkpoint_success"])
		}
		w.stopped()
		w.start()
		w.settle(3 * time.Second)
		w.verify(100)
		w.stopped()
	})
}

// An end with a full disk is no clean one, and says why.
func TestEndWithAFullDisk(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		disk := underPositions(w)
		w.start()
		w.lines("app.log", 100)
		w.settle(3 * time.Second)
		disk.full.Store(true)
		w.lines("app.log", 10)
		w.settle(time.Second)
		if err := w.stop(); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("Run: %v, want the full disk named", err)
		}
		disk.full.Store(false)
		w.start()
		w.settle(3 * time.Second)
		w.verify(10)
		w.stopped()
	})
}

// On a full disk the agent starts all the same if there are positions, also behind a
// write that the full disk has torn. Without any it says what to do.
func TestStartOnFullDisk(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		disk := underPositions(w)
		disk.full.Store(true)
		if _, err := agent.New(&w.cfg, w.opener()); err == nil || !strings.Contains(err.Error(), "make room") {
			t.Errorf("without positions: %v, want what to do", err)
		}
		disk.full.Store(false)
		w.lines("app.log", 10)
		w.start()
		w.settle(3 * time.Second)
		disk.full.Store(true)
		w.lines("app.log", 10)
		w.settle(3 * time.Second)
		w.kill()
		w.lines("app.log", 10)
		w.start()
		w.settle(3 * time.Second)
		w.verify(10)
		disk.full.Store(false)
		w.settle(3 * time.Second)
		w.stopped()
	})
}
