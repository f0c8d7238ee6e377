package crashtest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// errorAtEach runs a load again and again, and has the first, the second, …
// operation of one kind fail. Whatever the store does then, it must not say that
// something is stored which the next process does not find, with and without a
// power cut.
func errorAtEach(t *testing.T, op vfstest.Op, errno error) error {
	for k := 1; ; k++ {
		failed, err := errorAt(t, op, k, errno)
		if err != nil {
			return fmt.Errorf("%s number %d: %w", op, k, err)
		}
		if !failed {
			return nil // there is no k-th
		}
	}
}

func errorAt(t *testing.T, op vfstest.Op, k int, errno error) (failed bool, err error) {
	r, err := newRig(t)
	if err != nil {
		return false, err
	}
	var count atomic.Int64
	r.disk.SetHook(func(o vfstest.Op, _ string) error {
		if o == op && count.Add(1) == int64(k) {
			return errno
		}
		return nil
	})
	_ = r.load()  // its errors are in the history
	_ = r.check() // reading may be what fails
	put := r.put(1, 20)
	broken := r.st.Err()
	if broken != nil && !errors.Is(put, store.ErrFailed) {
		return false, fmt.Errorf("a failed store answers %w", put)
	}
	failed = count.Load() >= int64(k)
	if failed && op == vfstest.Sync && broken == nil {
		if err := r.onlyASnapshot(); err != nil {
			return false, err
		}
	}
	r.disk.SetHook(nil)
	r.kill()
	if err := r.open(); err != nil {
		return false, fmt.Errorf("the next process does not start: %w", err)
	}
	if err := r.check(); err != nil {
		return false, fmt.Errorf("in the next process: %w", err)
	}
	// What it has shown may come from the page cache of the last one.
	r.cut(uint64(k), 0)
	if err := r.open(); err != nil {
		return false, fmt.Errorf("after a power cut: %w", err)
	}
	if err := r.check(); err != nil {
		return false, fmt.Errorf("after a power cut: %w", err)
	}
	if err := r.put(1, 20); err != nil {
		return false, fmt.Errorf("a put after all: %w", err)
	}
	return failed, nil
}

// errorsWhileOpening has one operation after the other fail while a store is
// opened again after it was killed. Whatever comes of that, the next process
// finds all, with and without a power cut.
func errorsWhileOpening(t *testing.T) error {
	r, err := newRig(t)
	if err != nil {
		return err
	}
	if err := r.load(); err != nil {
		return err
	}
	r.kill()
	base := r.disk
	for _, op := range []vfstest.Op{vfstest.OpenFile, vfstest.Read, vfstest.Write, vfstest.Sync, vfstest.SyncDir, vfstest.Rename, vfstest.Remove, vfstest.Truncate} {
		for k := 1; ; k++ {
			r.disk = base.Cut(rand.New(rand.NewPCG(1, 1)), 100)
			count := 0
			r.disk.SetHook(func(o vfstest.Op, _ string) error {
				if o == op {
					if count++; count == k {
						return syscall.EIO
					}
				}
				return nil
			})
			if err := r.open(); err == nil {
				if err := r.check(); err != nil && !errors.Is(err, errRead) {
					return fmt.Errorf("%s number %d: %w", op, k, err)
				}
			}
			r.disk.SetHook(nil)
			r.kill()
			if err := errors.Join(r.open(), r.check()); err != nil {
				return fmt.Errorf("%s number %d: in the next process: %w", op, k, err)
			}
			r.cut(uint64(k), 0)
			if err := errors.Join(r.open(), r.check()); err != nil {
				return fmt.Errorf("%s number %d: after a power cut: %w", op, k, err)
			}
			r.kill()
			if count < k {
				break
			}
		}
	}
	return nil
}

// onlyASnapshot returns an error unless all that was acknowledged is durable now,
// although a sync has failed and the store has not.
func (r *rig) onlyASnapshot() error {
	was := *r
	r.disk, r.st = r.disk.Cut(rand.New(rand.NewPCG(1, 1)), 0), nil
	if err := r.open(); err != nil {
		return fmt.Errorf("a sync has failed, the store goes on, and a power cut would end it: %w", err)
	}
	err := r.check()
	r.disk.PowerOff()
	_ = r.close() // its disk is gone
	r.disk, r.st, r.clk = was.disk, was.st, was.clk
	if err != nil {
		return fmt.Errorf("a sync has failed, the store goes on, and a power cut would lose what it told: %w", err)
	}
	r.h.Reads = was.h.Reads
	return nil
}
