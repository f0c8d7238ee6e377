package journal_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
