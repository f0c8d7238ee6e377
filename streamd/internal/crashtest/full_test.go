package crashtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// fullDisk fills the disk while the store runs, and frees it.
func fullDisk(t *testing.T) error {
	r, err := newRig(t)
	if err != nil {
		return err
	}
	if err := r.load(); err != nil {
		return err
	}
	r.disk.SetRoom(r.disk.Used() + 20_000)
	full := error(nil)
	for i := 0; i < 1000 && full == nil; i++ {
		full = r.put(1, 1000)
	}
	if !errors.Is(full, store.ErrFull) || r.st.Err() != nil {
		return fmt.Errorf("a put on a full disk: %w, the store: %w", full, r.st.Err())
	}
	for range 5 {
		if err := r.put(2, 3000); !errors.Is(err, store.ErrFull) {
			return fmt.Errorf("another put on a full disk: %w", err)
		}
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("reading on a full disk: %w", err)
	}
	r.disk.SetRoom(-1)
	time.Sleep(2 * time.Second)
	_ = r.put(3, 1000) // may be refused, and has it tried again
	synctest.Wait()
	if err := r.put(3, 1000); err != nil {
		return fmt.Errorf("a put once there is room again: %w", err)
	}
	if err := r.check(); err != nil {
		return err
	}
	r.cut(1, 0)
	if err := r.open(); err != nil {
		return err
	}
	return errors.Join(r.check(), r.close())
}

// fullAtStart starts a store that a full disk has ended.
func fullAtStart(t *testing.T) error {
	r, err := newRig(t)
	if err != nil {
		return err
	}
	if err := r.load(); err != nil {
		return err
	}
	r.disk.SetRoom(r.disk.Used())
	for range 3 {
		_ = r.put(1, 2000) // may be refused
	}
	r.kill()
	if err := r.open(); err != nil {
		return fmt.Errorf("on a full disk: %w", err)
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("on a full disk: %w", err)
	}
	r.disk.SetRoom(-1)
	if err := r.put(1, 2000); err != nil {
		return fmt.Errorf("once there is room: %w", err)
	}
	r.cut(1, 0)
	if err := r.open(); err != nil {
		return err
	}
	return errors.Join(r.check(), r.close())
}

// slowDisk has a sync take an hour. The store must refuse what it cannot hold,
// and answer all it took.
func slowDisk(t *testing.T) error {
	r, err := newRig(t)
	if err != nil {
		return err
	}
	r.opts.RingFiles, r.opts.RingBytes = 0, 0
	if err := r.close(); err != nil {
		return err
	}
	if err := r.open(); err != nil {
		return err
	}
	r.disk.SetHook(func(op vfstest.Op, _ string) error {
		if op == vfstest.Sync {
			time.Sleep(time.Hour)
		}
		return nil
	})
	const size, most = 1 << 20, 200
	var puts sync.WaitGroup
	var taken, refused, other atomic.Int64
	data := bytes.Repeat([]byte("x"), size)
	began := time.Now()
	for range most {
		puts.Go(func() {
			_, err := r.st.Put(context.Background(), r.id, []store.Record{{PartitionKey: "k", Data: data, HashKey: hashkey.Of("k")}})
			switch {
			case err == nil:
				taken.Add(1)
			case errors.Is(err, store.ErrFull):
				refused.Add(1)
			default:
				other.Add(1)
			}
		})
	}
	synctest.Wait()
	if time.Since(began) > 0 {
		return errors.New("a put that is refused has waited for the disk")
	}
	if refused.Load() < most/2 {
		return fmt.Errorf("of %d puts of 1 MiB %d were refused while the disk stood still", most, refused.Load())
	}
	if _, err := r.st.Read(context.Background(), store.ReadRequest{StreamID: r.id, MaxRecords: 1, MaxBytes: 1}); err != nil || time.Since(began) > 0 {
		return fmt.Errorf("a read while the disk stood still: %w", err)
	}
	time.Sleep(11 * time.Second)
	if w := r.st.Waiting(); w < 10*time.Second || w > 12*time.Second {
		return fmt.Errorf("after 11 seconds without a sync the store says that it has waited for %v", w)
	}
	puts.Wait()
	if w := r.st.Waiting(); w != 0 {
		return fmt.Errorf("the disk has done all, and the store says that it has waited for %v", w)
	}
	if taken.Load()+refused.Load() != most {
		return fmt.Errorf("%d taken, %d refused, %d ended otherwise", taken.Load(), refused.Load(), other.Load())
	}
	r.disk.SetHook(nil)
	return r.close()
}
