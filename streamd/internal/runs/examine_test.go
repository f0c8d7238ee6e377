package runs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
)

// examined writes a run of three shards with batches of two records, and returns
// its name and how many batches it has.
func examined(t testing.TB, d vfs.FS) (name string, batches int) {
	t.Helper()
	if err := d.MkdirAll("/runs", 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := runs.Create(d, "/runs", runs.ID{First: 1, Last: 300, Class: 24}, runs.NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	for shard := range 3 {
		for i := range 10 {
			b := fmt.Appendf(nil, "shard %d batch %d and some more", shard, i)
			if err := w.Add(runs.Key{Stream: 7, Shard: uint32(shard)}, runs.Batch{
				First: uint64(1 + i*30 + shard*2), Count: 2, Arrival: int64(1000 + i), CRC: journal.Checksum(b), Records: b,
			}); err != nil {
				t.Fatal(err)
			}
			batches++
		}
	}
	run, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return run.Name(), batches
}

// Whatever byte of a run is changed: it is found, at most the batch that it is in
// is lost, and what is written anew from the rest is whole.
func TestExamineAnyByte(t *testing.T) {
	d := vfstest.NewDisk()
	name, batches := examined(t, d)
	good, err := vfs.ReadFile(d, name)
	if err != nil {
		t.Fatal(err)
	}
	if x, err := runs.Examine(d, name, nil); err != nil || !x.Whole() || x.Records != uint64(2*batches) || len(x.Lost) > 0 || x.Newest != 1009 {
		t.Fatalf("%+v, %v", x, err)
	}
	file, err := d.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := range good {
		if at == 7 {
			continue // the version: who wrote it may know better
		}
		if _, err := file.WriteAt([]byte{good[at] ^ 4}, int64(at)); err != nil {
			t.Fatal(err)
		}
		x, err := runs.Examine(d, name, nil)
		if err != nil || x.Whole() {
			t.Fatalf("byte %d: %+v, %v", at, x, err)
		}
		var lost uint64
		for _, l := range x.Lost {
			lost += l.Records
			if l.First > l.Last || l.Last > 300 {
				t.Fatalf("byte %d: %+v", at, l)
			}
		}
		if x.Records < uint64(2*batches-2) || lost != uint64(2*batches)-x.Records {
			t.Fatalf("byte %d: %d records are whole, %d are lost", at, x.Records, lost)
		}
		id := x.ID
		id.Merges++
		run, err := runs.Rewrite(d, name, id, nil)
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		if y, err := runs.Examine(d, run.Name(), nil); err != nil || !y.Whole() || y.Records != x.Records || y.Bytes != x.Bytes {
			t.Fatalf("byte %d: written anew: %+v, %v", at, y, err)
		}
		if err := run.Remove(); err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(good[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExamineRefuses(t *testing.T) {
	d := vfstest.NewDisk()
	name, _ := examined(t, d)
	stop := errors.New("stop")
	if _, err := runs.Examine(d, name, func(runs.Key, runs.Batch) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of yield: %v", err)
	}
	other := filepath.Join("/runs", "other.run")
	if err := d.Rename(name, other); err != nil {
		t.Fatal(err)
	}
	if _, err := runs.Examine(d, other, nil); err == nil {
		t.Error("a file of another name")
	}
	if run, err := runs.Rewrite(d, name, runs.ID{}, nil); err == nil {
		t.Errorf("a file that is not there: %v", run)
	}
	for _, bad := range []string{"", "1-2-3-4.run", "0000000000000001-0000000000000002-3-4.run.tmp", "x0000000000000001-0000000000000002-3-4.run"} {
		if _, ok := runs.ParseName(bad); ok {
			t.Errorf("%q is a name", bad)
		}
	}
}

func FuzzExamine(f *testing.F) {
	d := vfstest.NewDisk()
	name, _ := examined(f, d)
	good, err := vfs.ReadFile(d, name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := vfstest.NewDisk()
		if err := d.MkdirAll("/runs", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(d, name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var last uint64
		x, err := runs.Examine(d, name, func(_ runs.Key, b runs.Batch) error {
			last = b.Last()
			return nil
		})
		if err == nil && (last > 300 || x.Whole() && x.Size == 0) {
			t.Errorf("%+v", x)
		}
	})
}
