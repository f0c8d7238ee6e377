package agent_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
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

// twoDisks has what is below dir on a disk that can lose its power, and all else where
// it is: identities are the operating system's.
type twoDisks struct {
	vfs.FS
	dir  string
	disk *atomic.Pointer[vfstest.Disk]
}

// positionsOnDisk puts such a disk under the positions of w.
func positionsOnDisk(w *world) twoDisks {
	d := twoDisks{FS: w.cfg.FS, dir: filepath.Dir(w.cfg.CheckpointFile), disk: &atomic.Pointer[vfstest.Disk]{}}
	disk := vfstest.NewDisk()
	w.check(disk.MkdirAll(filepath.Dir(d.dir), 0o700)) // an administrator's
	for up := filepath.Dir(d.dir); up != filepath.Dir(up); up = filepath.Dir(up) {
		w.check(disk.SyncDir(filepath.Dir(up)))
	}
	d.disk.Store(disk)
	w.cfg.FS = d
	return d
}

// cut replaces the disk by what a power cut leaves of it.
func (d twoDisks) cut(r *rand.Rand, percent int) {
	old := d.disk.Load()
	d.disk.Store(old.Cut(r, percent))
	old.PowerOff()
}

func (d twoDisks) at(name string) vfs.FS {
	if name == d.dir || strings.HasPrefix(name, d.dir+string(filepath.Separator)) {
		return d.disk.Load()
	}
	return d.FS
}

func (d twoDisks) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	return d.at(name).OpenFile(name, flag, perm)
}
func (d twoDisks) Rename(from, to string) error               { return d.at(from).Rename(from, to) }
func (d twoDisks) Link(from, to string) error                 { return d.at(from).Link(from, to) }
func (d twoDisks) Remove(name string) error                   { return d.at(name).Remove(name) }
func (d twoDisks) Stat(name string) (fs.FileInfo, error)      { return d.at(name).Stat(name) }
func (d twoDisks) ReadDir(name string) ([]fs.DirEntry, error) { return d.at(name).ReadDir(name) }
func (d twoDisks) MkdirAll(name string, perm fs.FileMode) error {
	return d.at(name).MkdirAll(name, perm)
}
func (d twoDisks) SyncDir(name string) error           { return d.disk.Load().SyncDir(name) }
func (d twoDisks) Lock(name string) (io.Closer, error) { return d.at(name).Lock(name) }

// prefix returns how many bytes at the start of app.log are stored: all lines of w up to
// the first that is not.
func (w *world) prefix() (bytes int64) {
	stored := make(map[string]bool)
	for _, r := range w.sink.records() {
		stored[string(r.Data)] = true
	}
	for _, line := range w.want {
		if !stored[line] {
			break
		}
		bytes += int64(len(line))
	}
	return bytes
}

// At whatever step of storing the positions the power goes, and whatever of the bytes
// that are not synced survives: the position that is read later does not pass a line
// that is not stored, nor fall behind one that was there a second before, though each
// seventh sync fails, after which the file is written anew.
func TestPowerCutAtEachStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{})
		w.cfg.CheckpointFile = filepath.Join(t.TempDir(), "new", "state", "checkpoints")
		d := positionsOnDisk(w)
		r := rand.New(rand.NewPCG(1, 1))
		delays := newChance(1)
		w.sink.delay = func() time.Duration { return time.Duration(delays.below(int64(2 * time.Second))) }
		var (
			floor        atomic.Int64 // what is certain
			steps, syncs int
			failed       int
			seen         = make(map[vfstest.Op]int)
		)
		d.disk.Load().SetHook(func(op vfstest.Op, _ string) error {
			steps++
			seen[op]++
			stored := w.prefix()
			for _, percent := range []int{0, 50, 100} {
				left := d.disk.Load().Cut(r, percent)
				list, err := agent.ReadCheckpoints(left, w.cfg.CheckpointFile)
				if err != nil && (!errors.Is(err, fs.ErrNotExist) || floor.Load() > 0) {
					t.Errorf("step %d, %s, %d%% survive: %v", steps, op, percent, err)
				}
				at := int64(0)
				for _, c := range list {
					at = max(at, c.Offset)
				}
				if at > stored || at < floor.Load() {
					t.Errorf("step %d, %s, %d%% survive: the position is %d, %d bytes are stored and %d were certain", steps, op, percent, at, stored, floor.Load())
				}
			}
			if op == vfstest.Sync {
				if syncs++; syncs%7 == 0 {
					failed++
					return syscall.EIO
				}
			}
			return nil
		})
		w.start()
		for range 30 {
			w.lines("app.log", 200)
			w.settle(1500 * time.Millisecond)
			if w.a.Status().CheckpointError != "" {
				continue
			}
			w.settle(5 * time.Second)
			if s := w.a.Status(); s.CheckpointError == "" && s.CheckpointAge < 2 && len(s.Flows[0].Files) == 1 {
				floor.Store(w.prefix())
			}
		}
		w.verify(0)
		d.disk.Load().SetHook(nil)
		w.stopped()
		if steps < 100 || failed < 3 || seen[vfstest.Rename] < 3 || floor.Load() == 0 {
			t.Errorf("%d steps, %d failed syncs, %d bytes certain, %v: the test shows too little", steps, failed, floor.Load(), seen)
		}
	})
}

// An agent whose machine loses its power goes on, on what is left, with every line.
func TestPowerCuts(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, agent.FlowConfig{PartitionKey: agent.KeyFile})
				d := positionsOnDisk(w)
				r := rand.New(rand.NewPCG(seed, 1))
				delays := newChance(seed)
				w.sink.delay = func() time.Duration { return time.Duration(delays.below(int64(time.Second))) }
				w.sink.drop = true
				for round := range 10 {
					w.start()
					for range 1 + r.IntN(5) {
						w.lines("app.log", 1+r.IntN(300))
						w.settle(time.Duration(r.Int64N(int64(1500 * time.Millisecond))))
					}
					if r.IntN(2) == 0 {
						w.rename("app.log", fmt.Sprint("app.log.", round))
						w.lines("app.log", 10)
						w.settle(time.Duration(r.Int64N(int64(time.Second))))
					}
					w.kill()
					d.cut(r, []int{0, 50, 100}[r.IntN(3)])
				}
				w.start()
				w.settle(30 * time.Second)
				w.verify(w.n) // of each cut, what was not certain
				if s := w.status(); lostBytes(s) != 0 || s.BehindBytes != 0 {
					t.Errorf("at rest: %+v", s)
				}
				w.stopped()
			})
		})
	}
}
