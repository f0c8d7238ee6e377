package journal_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/journal"
)

func TestIntervalSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int32
		d := newDisk(t)
		d.SetHook(func(op vfstest.Op, name string) error {
			if op == vfstest.Sync && filepath.Ext(name) == ".ring" {
				syncs.Add(1)
			}
			return nil
		})
		j, err := tryOpen(d, journal.LocalConfig{Fsync: journal.Fsync{Interval: 100 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		syncs.Store(0)
		fill(t, j, 1, 50)
		if n := syncs.Load(); n != 0 {
			t.Errorf("%d syncs while appending, want none", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := syncs.Load(); n != 1 {
			t.Errorf("%d syncs after ten intervals with one burst, want 1", n)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// stuck is a disk whose next sync of the ring waits until it is told how to end.
// Later ones end at once, and must not begin before.
type stuck struct {
	*vfstest.Disk
	began chan struct{} // closed when the sync has begun
	end   chan error    // takes its outcome
	ended atomic.Bool   // it was told
	syncs atomic.Int32
}

func newStuck(t *testing.T) *stuck {
	t.Helper()
	return &stuck{Disk: newDisk(t), began: make(chan struct{}), end: make(chan error)}
}

// arm makes the next sync wait.
func (s *stuck) arm(t *testing.T) {
	s.syncs.Store(0)
	s.SetHook(func(op vfstest.Op, name string) error {
		switch {
		case op != vfstest.Sync || filepath.Ext(name) != ".ring":
		case s.syncs.Add(1) == 1:
			close(s.began)
			return <-s.end
		case !s.ended.Load():
			t.Error("a second sync has begun before the first was over")
		}
		return nil
	})
}

// finish ends the sync that waits. Others have had time to come to where they
// wait for it: they wait for a lock, which a bubble does not tell from work.
func (s *stuck) finish(err error) {
	for range 1000 {
		runtime.Gosched()
	}
	s.ended.Store(true)
	s.end <- err
}

const pace = 100 * time.Millisecond

// says returns, by the positions at which frames begin, up to where they say that
// the journal is on disk.
func says(t *testing.T, d vfs.FS) map[journal.LSN]journal.LSN {
	t.Helper()
	all := make(map[journal.LSN]journal.LSN)
	for _, name := range ring(t, d) {
		for b := read(t, d, name); len(b) > 0; b = b[min(4096, len(b)):] {
			all[journal.Start(b)] = journal.Durable(b)
		}
	}
	return all
}

// end returns the position of frame n in a journal of frames of a block each.
func end(n int) journal.LSN {
	return journal.LSN((n-1)*4096 + journal.HeaderSize + len(frame(n).Body))
}

// Frames are appended while the interval's sync is under way. They, and those
// after them, do not say more than that what it has begun with is on disk.
func TestAppendsWhileTheIntervalSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newStuck(t)
		j := open(t, d, journal.LocalConfig{Fsync: journal.Fsync{Interval: pace}})
		d.arm(t)
		fill(t, j, 1, 3)
		<-d.began
		at := time.Now()
		fill(t, j, 3, 5)
		if waited := time.Since(at); waited > 0 {
			t.Errorf("appending took %v", waited)
		}
		wantFrames(t, follow(t, j, 0), 1, 5)
		d.finish(nil)
		synctest.Wait()
		fill(t, j, 5, 6)
		time.Sleep(2 * pace)
		fill(t, j, 6, 7)
		if n := d.syncs.Load(); n != 2 {
			t.Errorf("%d syncs, want one more for what came during the first", n)
		}
		got := says(t, d)
		for n, want := range []journal.LSN{0, 0, 0, 0, end(2), end(5)} {
			if got := got[journal.LSN(n*4096)]; got != want {
				t.Errorf("frame %d says that %d is on disk, want %d", n+1, got, want)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// The journal goes on in another file once all of the last one is synced, which
// waits for a sync of the interval.
func TestTheNextFileWaitsForTheIntervalsSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newStuck(t)
		j := open(t, d, journal.LocalConfig{Files: 3, FileBytes: small, Fsync: journal.Fsync{Interval: pace}})
		d.arm(t)
		fill(t, j, 1, 2)
		<-d.began
		fill(t, j, 2, 4) // the file is full
		rolled := make(chan error)
		go func() {
			_, err := j.Append(t.Context(), frame(4))
			if !d.ended.Load() {
				t.Error("the journal has gone on in another file while one was synced")
			}
			rolled <- err
		}()
		d.finish(nil)
		if err := <-rolled; err != nil {
			t.Fatal(err)
		}
		wantFrames(t, follow(t, j, 0), 1, 5)
		if got := says(t, d)[3*4096]; got != end(3) {
			t.Errorf("the first frame of the next file says that %d is on disk, want %d", got, end(3))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A sync of the interval that fails is final, for what was appended meanwhile as
// well, and no other is tried.
func TestAFailedSyncOfTheIntervalIsFinal(t *testing.T) {
	for name, waits := range map[string]bool{"while a frame waits for another file": true, "with nobody waiting": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newStuck(t)
				j := open(t, d, journal.LocalConfig{Files: 3, FileBytes: small, Fsync: journal.Fsync{Interval: pace}})
				d.arm(t)
				fill(t, j, 1, 2)
				<-d.began
				fill(t, j, 2, 4)
				refused := make(chan error, 1)
				if waits {
					go func() {
						_, err := j.Append(t.Context(), frame(4))
						refused <- err
					}()
				} else {
					refused <- journal.ErrFailed
				}
				d.finish(syscall.EIO)
				if err := <-refused; !errors.Is(err, journal.ErrFailed) {
					t.Errorf("the frame that waited: %v", err)
				}
				synctest.Wait()
				if _, err := j.Append(t.Context(), frame(5)); !errors.Is(err, journal.ErrFailed) || !errors.Is(err, syscall.EIO) {
					t.Errorf("Append after a failed sync: %v", err)
				}
				if _, err := j.Head(t.Context()); !errors.Is(err, journal.ErrFailed) {
					t.Errorf("Head after a failed sync: %v", err)
				}
				time.Sleep(3 * pace)
				if err := j.Close(); !errors.Is(err, journal.ErrFailed) {
					t.Errorf("Close after a failed sync: %v", err)
				}
				if n := d.syncs.Load(); n != 1 {
					t.Errorf("%d syncs, want none after the one that failed", n)
				}
			})
		})
	}
}

// A frame that is being written when the interval's sync fails is not
// acknowledged.
func TestAFrameUnderWayWhenASyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		j := open(t, d, journal.LocalConfig{Fsync: journal.Fsync{Interval: pace}})
		fill(t, j, 1, 2)
		writing := make(chan struct{})
		d.SetHook(func(op vfstest.Op, name string) error {
			switch {
			case filepath.Ext(name) != ".ring":
			case op == vfstest.Write:
				<-writing
			case op == vfstest.Sync:
				return syscall.EIO
			}
			return nil
		})
		done := make(chan error)
		go func() {
			_, err := j.Append(t.Context(), frame(2))
			done <- err
		}()
		time.Sleep(2 * pace) // the sync has failed
		close(writing)
		if err := <-done; !errors.Is(err, journal.ErrFailed) {
			t.Errorf("Append: %v, want ErrFailed", err)
		}
	})
}
