package crashtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/logcheck"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// faultTable says what a store does when something fails beside it. A row that
// is not met yet is run too, and must not pass: so that it is said here when it
// is.
var faultTable = []struct {
	name string
	met  bool
	test func(*testing.T) error // in a bubble of its own
}{
	{"an input/output error of any write", true, func(t *testing.T) error { return errorAtEach(t, vfstest.Write, syscall.EIO) }},
	{"an input/output error of any sync", true, func(t *testing.T) error { return errorAtEach(t, vfstest.Sync, syscall.EIO) }},
	{"an input/output error of any sync of a directory", true, func(t *testing.T) error { return errorAtEach(t, vfstest.SyncDir, syscall.EIO) }},
	{"an input/output error of any read", true, func(t *testing.T) error { return errorAtEach(t, vfstest.Read, syscall.EIO) }},
	{"an error of any opening, renaming, removal or truncation", true, func(t *testing.T) error {
		return errors.Join(errorAtEach(t, vfstest.OpenFile, syscall.EIO), errorAtEach(t, vfstest.Rename, syscall.EIO),
			errorAtEach(t, vfstest.Remove, syscall.EIO), errorAtEach(t, vfstest.Truncate, syscall.EIO))
	}},
	{"an error of any operation while a store is opened", true, errorsWhileOpening},
	{"no descriptor for any opening", true, func(t *testing.T) error { return errorAtEach(t, vfstest.OpenFile, syscall.EMFILE) }},
	{"no room for any write", true, func(t *testing.T) error { return errorAtEach(t, vfstest.Write, syscall.ENOSPC) }},
	{"a full disk, until there is room again", true, fullDisk},
	{"a full disk at the start", true, fullAtStart},
	{"a disk that stands still", true, slowDisk},
	{"damage to the file that says whose store it is", true, func(t *testing.T) error { return damage(t, true, "STORE") }},
	{"damage to a snapshot", true, func(t *testing.T) error { return damage(t, true, ".snap") }},
	{"damage to the journal of a store that was closed in order", true, func(t *testing.T) error { return damage(t, true, "/journal/") }},
	{"damage to the journal of a store that was killed", true, func(t *testing.T) error { return damage(t, false, "/journal/") }},
	{"damage to a run", true, func(t *testing.T) error { return damage(t, true, "/runs/") }},
	{"damage to the records of one shard in a run", true, damagedRecords},
	{"a kill before any sync of a directory, and a power cut soon after", true, killedThenCut},
	{"a power cut that tears the first frame of a file, and a smaller frame in its place", true, tornFirstFrame},
	{"a clock that jumps back", true, func(t *testing.T) error { return clockJumps(t, 2*time.Hour, 0) }},
	{"a clock that jumps forward", true, func(t *testing.T) error { return clockJumps(t, 0, 48*time.Hour) }},
	{"a second process on the directory", true, secondProcess},
	{"a format of another time", true, unknownFormat},
	{"a power cut after the first start in a new directory", true, newDirectory},
}

func TestFaultTable(t *testing.T) {
	for _, row := range faultTable {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var err error
			synctest.Test(t, func(t *testing.T) { err = row.test(t) })
			switch {
			case row.met && err != nil:
				t.Error(err)
			case !row.met && err == nil:
				t.Error("this row is met now: say so in the table")
			case !row.met:
				t.Logf("not met yet: %v", err)
			}
		})
	}
}

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

// damage flips one bit of one byte after the other, in the files of a store whose
// names hold part. What is read then is what was there, or somebody is told.
func damage(t *testing.T, closed bool, part string) error {
	r, err := newRig(t)
	if err != nil {
		return err
	}
	for range 4 {
		if err := r.put(2, 60); err != nil {
			return err
		}
	}
	if closed {
		// One snapshot in the middle, one at the end.
		if err := errors.Join(r.close(), r.open(), r.put(2, 60)); err != nil {
			return err
		}
	}
	want, err := r.contents()
	if err != nil {
		return err
	}
	if closed {
		if err := r.close(); err != nil {
			return err
		}
	} else {
		r.kill()
	}
	names, err := allFiles(r.disk, dataDir)
	if err != nil {
		return err
	}
	base := r.disk
	same, told, places := 0, 0, 0
	for _, name := range names {
		if !strings.Contains(name, part) {
			continue
		}
		b, err := vfs.ReadFile(base, name)
		if err != nil {
			return err
		}
		for i := range b {
			if !worthDamage(b, i) {
				continue
			}
			places++
			r.disk = base.Cut(rand.New(rand.NewPCG(1, 1)), 100)
			if err := flip(r.disk, name, i, 1<<(i%8)); err != nil {
				return err
			}
			if err := r.open(); err != nil {
				told++
				continue
			}
			got, err := r.contents()
			switch {
			case err != nil && errors.Is(err, errRead):
				told++
			case err != nil:
				return fmt.Errorf("byte %d of %s: %w", i, name, err)
			case got == want:
				same++
			case !closed && lastGroupIsMissing(want, got):
				same++ // no one can tell it from a write that the crash has torn
			default:
				return fmt.Errorf("byte %d of %s: nobody is told, and the store holds other than before:\n%s", i, name, difference(want, got))
			}
			r.disk.PowerOff()
			_ = r.close() // its disk is gone
		}
	}
	if places == 0 || same+told != places {
		return fmt.Errorf("%d places, %d the same, %d told", places, same, told)
	}
	return nil
}

// tornFirstFrame has a frame begin a file of the ring, cuts the power before it is
// synced, and then has a smaller one stored that still fits behind the frame
// before: two frames have one position, and only the smaller is whole.
func tornFirstFrame(t *testing.T) error {
	hits := 0
	for seed := range uint64(120) {
		r, err := newRig(t)
		if err != nil {
			return err
		}
		for range 1 + seed%15 { // from each file into each
			if err := r.put(1, 10); err != nil {
				return err
			}
			synctest.Wait()
		}
		last := ""
		var cut *vfstest.Disk
		told := 0 // puts with an answer by then
		r.disk.SetHook(func(op vfstest.Op, name string) error {
			if op != vfstest.Sync || cut != nil || !strings.Contains(name, "/journal/") {
				return nil
			}
			file := strings.TrimSuffix(name, ".tmp") // it was opened under that name
			if last != "" && last != file {
				cut, told = r.disk.Cut(rand.New(rand.NewPCG(seed, 0)), 50), len(r.h.Puts)-1
			}
			last = file
			return nil
		})
		if err := errors.Join(r.put(1, 10), r.put(1, 11_000)); err != nil {
			return err
		}
		if cut == nil {
			if err := r.close(); err != nil {
				return err
			}
			continue // the frame has begun no file
		}
		hits++
		for i := range r.h.Puts[told:] {
			r.h.Puts[told+i].Outcome = logcheck.Unknown // where the power went
		}
		r.disk.PowerOff()
		_ = r.close() // its disk is gone
		r.disk = cut
		if err := errors.Join(r.open(), r.check(), r.put(1, 20)); err != nil {
			return fmt.Errorf("seed %d: the next process: %w", seed, err)
		}
		r.cut(seed, 0)
		if err := errors.Join(r.open(), r.check(), r.close()); err != nil {
			return fmt.Errorf("seed %d: after another power cut: %w", seed, err)
		}
	}
	if hits == 0 {
		return errors.New("no frame has begun a file")
	}
	return nil
}

// worthDamage picks the bytes of a file to damage: all that were ever written in
// a long run, else of each block some, and of the headers that begin there more.
func worthDamage(b []byte, i int) bool {
	const block, header = 4096, 96
	at := i % block
	switch written := len(bytes.Trim(b[i-at:min(i-at+block, len(b))], "\x00")) > 0; {
	case !written:
		return at == 0 || at == block-1
	case *cutsFlag >= 100_000:
		return true
	case at < header:
		return at%2 == 0
	}
	return i%61 == 0
}

// difference returns the first lines that differ.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "- " + a[i] + "\n+ " + b[i]
		}
	}
	return fmt.Sprintf("%d lines, and %d", len(a), len(b))
}

// damagedRecords damages one byte after the other of the records in a run, by
// which one shard becomes unreadable there. The store must start all the same,
// and the other shard be as it was.
func damagedRecords(t *testing.T) error {
	r, err := newRig(t)
	if err != nil {
		return err
	}
	if err := errors.Join(r.put(8, 100), r.close(), r.open()); err != nil {
		return err
	}
	names, err := allFiles(r.disk, dataDir+"/runs")
	if err != nil || len(names) != 1 {
		return fmt.Errorf("%d runs: %w", len(names), err)
	}
	want, _, err := r.look()
	if err != nil {
		return err
	}
	if err := r.close(); err != nil {
		return err
	}
	b, err := vfs.ReadFile(r.disk, names[0])
	if err != nil {
		return err
	}
	base, unreadable := r.disk, 0
	for _, p := range r.h.Puts {
		at := bytes.Index(b, fill(p.Value, 100))
		if at < 0 {
			return fmt.Errorf("%s is not in %s", p.Value, names[0])
		}
		r.disk = base.Cut(rand.New(rand.NewPCG(1, 1)), 100)
		if err := flip(r.disk, names[0], at, 1); err != nil {
			return err
		}
		if err := r.open(); err != nil {
			return fmt.Errorf("with one byte of %s changed: %w", p.Value, err)
		}
		for id, records := range want.Final {
			shard := int(mustNumber(records[0].Seq).Shard)
			page, err := readPage(r.st, r.id, shard, "", 100)
			switch {
			case id == p.Shard && err == nil:
				return fmt.Errorf("%s is damaged, and %s reads %v", p.Value, id, page.Records)
			case id == p.Shard:
				unreadable++
			case err != nil || !slices.Equal(page.Records, records):
				return fmt.Errorf("%s of %s is damaged, and %s reads %v: %w", p.Value, p.Shard, id, page.Records, err)
			}
		}
		r.disk.PowerOff()
		_ = r.close() // its disk is gone
	}
	if unreadable != len(r.h.Puts) {
		return fmt.Errorf("%d of %d records were found damaged", unreadable, len(r.h.Puts))
	}
	return nil
}

// killedThenCut kills a store before the first, the second, … sync of a
// directory, starts the next, and cuts the power a few puts later. What the
// killed one had named and not synced must not be what the next one stands on.
func killedThenCut(t *testing.T) error {
	for k := 1; ; k++ {
		for puts := range 4 {
			r, err := newRig(t)
			if err != nil {
				return err
			}
			var dead atomic.Bool
			var count atomic.Int64
			r.disk.SetHook(func(op vfstest.Op, _ string) error {
				if op == vfstest.SyncDir && count.Add(1) == int64(k) {
					dead.Store(true)
				}
				if dead.Load() {
					return syscall.EIO
				}
				return nil
			})
			_ = r.load() // it comes to an end somewhere
			r.disk.SetHook(nil)
			r.kill()
			if err := errors.Join(r.open(), r.check()); err != nil {
				return fmt.Errorf("sync %d: the next process: %w", k, err)
			}
			for range puts {
				if err := r.put(2, 4000); err != nil {
					return fmt.Errorf("sync %d: a put of the next process: %w", k, err)
				}
			}
			r.cut(uint64(k), 0)
			if err := errors.Join(r.open(), r.check(), r.close()); err != nil {
				return fmt.Errorf("sync %d, %d puts of the next process: after the power cut: %w", k, puts, err)
			}
			if !dead.Load() {
				return nil // there is no k-th
			}
		}
	}
}

// lastGroupIsMissing reports whether got is want without the records of the last
// request, which were two.
func lastGroupIsMissing(want, got string) bool {
	missing := 0
	for line := range strings.Lines(want) {
		if !strings.Contains(got, line) {
			if !strings.Contains(line, " v7 ") && !strings.Contains(line, " v8 ") {
				return false
			}
			missing++
		}
	}
	return missing == 2 && strings.Count(got, "\n") == strings.Count(want, "\n")-2
}

func allFiles(d vfs.FS, dir string) ([]string, error) {
	entries, err := d.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if !e.IsDir() {
			names = append(names, name)
			continue
		}
		below, err := allFiles(d, name)
		if err != nil {
			return nil, err
		}
		names = append(names, below...)
	}
	return names, nil
}

// flip changes bits of one byte of a file.
func flip(d vfs.FS, name string, at int, bits byte) error {
	f, err := d.OpenFile(name, syscall.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, int64(at)); err != nil {
		return err
	}
	b[0] ^= bits
	_, err = f.WriteAt(b, int64(at))
	return errors.Join(err, f.Sync())
}

// clockJumps has one process write with one offset of the clock, and the next
// read and write with another. Arrival must not fall, and nothing must expire
// because of a clock that nobody has confirmed.
func clockJumps(t *testing.T, first, then time.Duration) error {
	r, err := newRig(t)
	if err != nil {
		return err
	}
	r.offset = first
	if err := errors.Join(r.close(), r.open(), r.load(), r.close()); err != nil {
		return err
	}
	r.offset = then
	if err := r.open(); err != nil {
		return err
	}
	return errors.Join(r.check(), r.put(3, 10), r.check(), r.close())
}

func secondProcess(t *testing.T) error {
	r, err := newRig(t)
	if err != nil {
		return err
	}
	second := &rig{disk: r.disk, opts: r.opts}
	t.Cleanup(func() { _ = second.close() })
	if err := second.open(); !errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("a second store: %w", err)
	}
	// It has not disturbed the first.
	return errors.Join(r.load(), r.check(), r.close(), r.open(), r.check(), r.close())
}

// unknownFormat raises the version in each kind of file.
func unknownFormat(t *testing.T) error {
	r, err := newRig(t)
	if err != nil {
		return err
	}
	if err := errors.Join(r.load(), r.close()); err != nil {
		return err
	}
	names, err := allFiles(r.disk, dataDir)
	if err != nil {
		return err
	}
	base := r.disk
	tried := 0
	for _, name := range names {
		b, err := vfs.ReadFile(base, name)
		if err != nil {
			return err
		}
		var at int
		bits := byte('1' ^ '9')
		switch {
		case bytes.HasPrefix(b, []byte("sd")): // magic, zero, version
			at = 7
		case bytes.Contains(b, []byte(`"Format":2,`)):
			at, bits = bytes.Index(b, []byte(`"Format":2,`))+len(`"Format":`), '2'^'9'
		default:
			continue
		}
		tried++
		r.disk = base.Cut(rand.New(rand.NewPCG(1, 1)), 100)
		if err := flip(r.disk, name, at, bits); err != nil {
			return err
		}
		if err := r.open(); err == nil || !strings.Contains(err.Error(), "9") || !strings.Contains(err.Error(), "run the version that wrote it") {
			if err == nil && strings.HasSuffix(name, ".snap") {
				_ = r.close() // an older snapshot stands in
				continue
			}
			return fmt.Errorf("%s of version 9: %w", name, err)
		}
	}
	if tried < 3 {
		return fmt.Errorf("%d of %v have a version that this test knows", tried, names)
	}
	return nil
}

// newDirectory has the store make its own directory, and cuts the power after
// the first answer.
func newDirectory(t *testing.T) error {
	r := &rig{disk: vfstest.NewDisk()}
	t.Cleanup(func() { _ = r.close() })
	if err := r.open(); err != nil {
		return err
	}
	s, err := r.st.Command(context.Background(), state.CreateStream{Key: rigKey, ShardCount: 1, Mode: state.Provisioned, MaxRecordBytes: 1 << 20})
	if err != nil {
		return err
	}
	r.id = s.ID
	if err := r.put(1, 10); err != nil {
		return err
	}
	r.cut(1, 0)
	if _, err := r.disk.Stat(dataDir); errors.Is(err, fs.ErrNotExist) {
		return errors.New("the directory itself is gone: nobody has synced the one that it is in")
	}
	if err := r.open(); err != nil {
		return err
	}
	return errors.Join(r.check(), r.close())
}
