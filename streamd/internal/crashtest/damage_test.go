package crashtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/streamkit/streamkit/internal/logcheck"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

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
