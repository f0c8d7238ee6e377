package runs_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/runs"
)

var disk = vfstest.Lazy{FS: vfs.OS}

// put is a batch on its way into a run.
type put struct {
	runs.Key
	runs.Batch
}

func batch(first uint64, count int, arrival int64, records []byte) runs.Batch {
	return runs.Batch{
		First: first, Count: uint32(count), Arrival: arrival, Records: records,
		CRC: crc32.Checksum(records, crc32.MakeTable(crc32.Castagnoli)),
	}
}

func key(stream, shard int) runs.Key { return runs.Key{Stream: uint64(stream), Shard: uint32(shard)} }

// random makes batches with consecutive sequence indexes from first on, in the
// order of their indexes.
func random(r *rand.Rand, n int, first uint64, streams, shards int) []put {
	var puts []put
	arrival := int64(first) * 10
	for range n {
		count := 1 + r.IntN(5)
		data := make([]byte, r.IntN(20)*r.IntN(200))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		puts = append(puts, put{key(1+r.IntN(streams), r.IntN(shards)), batch(first, count, arrival, data)})
		first += uint64(count)
		arrival += r.Int64N(3)
	}
	return puts
}

func sorted(puts []put) []put {
	puts = slices.Clone(puts)
	slices.SortStableFunc(puts, func(a, b put) int { return a.Compare(b.Key) })
	return puts
}

func id(puts []put) runs.ID {
	return runs.ID{First: puts[0].First, Last: puts[len(puts)-1].Last(), Class: 24}
}

func write(t testing.TB, fsys vfs.FS, dir string, cache *runs.Cache, puts []put) *runs.Run {
	t.Helper()
	r, err := tryWrite(fsys, dir, cache, puts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryWrite(fsys vfs.FS, dir string, cache *runs.Cache, puts []put) (*runs.Run, error) {
	w, err := runs.Create(fsys, dir, id(puts), cache)
	if err != nil {
		return nil, err
	}
	for _, p := range sorted(puts) {
		if err := w.Add(p.Key, p.Batch); err != nil {
			return nil, errors.Join(err, w.Abort())
		}
	}
	r, err := w.Finish()
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return r, nil
}

func same(a, b runs.Batch) bool {
	return a.First == b.First && a.Count == b.Count && a.Arrival == b.Arrival && a.CRC == b.CRC && bytes.Equal(a.Records, b.Records)
}

// A set of runs reads as the batches that were put into it, from anywhere, by
// index and by time, also once runs are merged and opened anew.
func TestSetIsWhatWasPut(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		cache := runs.NewCache(1 + r.IntN(5000))
		set := new(runs.Set)
		defer func() {
			if err := set.Close(); err != nil {
				t.Error(err)
			}
		}()
		streams, shards := 1+r.IntN(3), 1+r.IntN(5)
		var all []put
		next := uint64(1)
		for range 1 + r.IntN(6) {
			puts := random(r, 1+r.IntN(200), next, streams, shards)
			next = puts[len(puts)-1].Last() + 1
			all = append(all, puts...)
			if err := set.Replace(nil, []*runs.Run{write(t, disk, dir, cache, puts)}); err != nil {
				t.Fatal(err)
			}
		}
		check := func(gone uint64) {
			t.Helper()
			for stream := range streams {
				for shard := range shards {
					k := key(stream+1, shard)
					var want []put
					for _, p := range all {
						if p.Key == k && p.Stream != gone {
							want = append(want, p)
						}
					}
					checkShard(t, r, set, k, want)
				}
			}
		}
		check(0)
		gone := uint64(r.IntN(2))
		expired := func(p runs.StreamPart) bool { return p.Stream == gone }
		live := set.Live()
		merged, err := runs.Merge(disk, dir, cache, live, expired)
		if err != nil {
			t.Fatal(err)
		}
		fresh := []*runs.Run{merged}
		if merged == nil {
			fresh = nil
		}
		if err := set.Replace(live, fresh); err != nil {
			t.Fatal(err)
		}
		check(gone)
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(names) != len(fresh) {
			t.Fatalf("files %v, %v; want the merged run alone", names, err)
		}
		if merged == nil {
			continue
		}
		again, err := runs.Open(disk, merged.Name(), cache)
		if err != nil {
			t.Fatal(err)
		}
		if again.ID() != merged.ID() || again.Size() != merged.Size() || again.Records() != merged.Records() || !slices.Equal(again.Streams(), merged.Streams()) {
			t.Errorf("opened as %+v, written as %+v", again.ID(), merged.ID())
		}
		if err := again.Check(); err != nil {
			t.Error(err)
		}
		again.Release()
	}
}

func checkShard(t *testing.T, r *rand.Rand, set *runs.Set, k runs.Key, want []put) {
	t.Helper()
	for _, from := range []uint64{0, 1 + r.Uint64N(100), 1 + r.Uint64N(1000)} {
		rest := want[:]
		for len(rest) > 0 && rest[0].Last() < from {
			rest = rest[1:]
		}
		at := from
		for {
			run, err := set.Find(k, at)
			if err != nil {
				t.Fatal(err)
			}
			if run == nil {
				break
			}
			got, err := run.Read(k, at, 1+r.IntN(20), 1+r.IntN(10_000))
			run.Release()
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 0 || len(got) > len(rest) {
				t.Fatalf("%v from %d: read %d batches, %d are left", k, at, len(got), len(rest))
			}
			for i, b := range got {
				if !same(b, rest[i].Batch) {
					t.Fatalf("%v from %d: batch %d is %d, want %d", k, at, i, b.First, rest[i].First)
				}
			}
			rest = rest[len(got):]
			at = got[len(got)-1].Last() + 1
		}
		if len(rest) > 0 {
			t.Fatalf("%v from %d: %d batches are missing", k, from, len(rest))
		}
	}
	for range 5 {
		ms := r.Int64N(3000)
		first, ok, err := set.SeekTime(k, ms)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(want, func(p put) bool { return p.Arrival >= ms })
		if ok != (i >= 0) || ok && first != want[i].First {
			t.Fatalf("%v at %d ms: %d, %v", k, ms, first, ok)
		}
	}
}

// Every byte of a run that changes is reported, or changes nothing.
func TestEveryFlippedByteIsReported(t *testing.T) {
	puts := random(rand.New(rand.NewPCG(1, 1)), 8, 1, 2, 2)
	dir := t.TempDir()
	cache := runs.NewCache(0)
	run := write(t, disk, dir, cache, puts)
	name := run.Name()
	run.Release()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range whole {
		if _, err := f.WriteAt([]byte{whole[i] ^ 0x20}, int64(i)); err != nil {
			t.Fatal(err)
		}
		run, err := runs.Open(disk, name, cache)
		if err == nil {
			err = run.Check()
			run.Release()
		}
		if !errors.Is(err, runs.ErrDamaged) {
			t.Errorf("byte %d: %v, want ErrDamaged", i, err)
		}
		if _, err := f.WriteAt(whole[i:i+1], int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range whole {
		if err := f.Truncate(int64(len(whole) - 1 - n)); err != nil {
			t.Fatal(err)
		}
		if _, err := runs.Open(disk, name, cache); !errors.Is(err, runs.ErrDamaged) {
			t.Fatalf("%d bytes of it: %v, want ErrDamaged", len(whole)-1-n, err)
		}
	}
}

// A run that cannot be written leaves nothing behind, whatever fails.
func TestFailuresLeaveNothing(t *testing.T) {
	puts := random(rand.New(rand.NewPCG(2, 2)), 3000, 1, 3, 3)
	for n := 1; ; n++ {
		calls := 0
		fsys := vfstest.FS{FS: disk, Fault: func(op vfstest.Op, _ string) error {
			if op == vfstest.Read || op == vfstest.Remove {
				return nil
			}
			if calls++; calls == n {
				return syscall.ENOSPC
			}
			return nil
		}}
		dir := t.TempDir()
		run, err := tryWrite(fsys, dir, runs.NewCache(0), puts)
		names, rerr := os.ReadDir(dir)
		if rerr != nil {
			t.Fatal(rerr)
		}
		if err == nil {
			run.Release()
			if n < 5 {
				t.Errorf("only %d calls can fail", n-1)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) || len(names) > 0 {
			t.Fatalf("call %d fails: %v, and %v is left", n, err, names)
		}
	}
}

// A run is removed when the last who reads it has done so.
func TestRemovedWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	puts := random(rand.New(rand.NewPCG(3, 3)), 50, 1, 1, 1)
	set := new(runs.Set)
	cache := runs.NewCache(0)
	run := write(t, disk, dir, cache, puts)
	if err := set.Replace(nil, []*runs.Run{run}); err != nil {
		t.Fatal(err)
	}
	reader, err := set.Find(key(1, 0), 0)
	if err != nil || reader == nil {
		t.Fatalf("Find: %v, %v", reader, err)
	}
	if err := set.Replace([]*runs.Run{run}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Read(key(1, 0), 0, math.MaxInt, 1<<20); err != nil {
		t.Error(err)
	}
	if found, err := set.Find(key(1, 0), 0); found != nil || err != nil {
		t.Errorf("found in an empty set: %v, %v", found, err)
	}
	reader.Release()
	if _, err := os.Stat(run.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestDeadAndCrowded(t *testing.T) {
	dir := t.TempDir()
	cache := runs.NewCache(0)
	set := new(runs.Set)
	defer func() { _ = set.Close() }()
	next := uint64(1)
	add := func(streams ...int) *runs.Run {
		var puts []put
		for _, s := range streams {
			puts = append(puts, put{key(s, 0), batch(next, 1, int64(next), make([]byte, 100))})
			next++
		}
		run := write(t, disk, dir, cache, puts)
		if err := set.Replace(nil, []*runs.Run{run}); err != nil {
			t.Fatal(err)
		}
		return run
	}
	a, b, c := add(1), add(1, 2), add(2, 3, 3)
	gone := func(streams ...uint64) func(runs.StreamPart) bool {
		return func(p runs.StreamPart) bool { return slices.Contains(streams, p.Stream) }
	}
	if got := set.Dead(gone(1)); !slices.Equal(got, []*runs.Run{a}) {
		t.Errorf("without stream 1, %d runs are dead", len(got))
	}
	if got := set.Dead(gone(1, 2)); !slices.Equal(got, []*runs.Run{a, b}) {
		t.Errorf("without streams 1 and 2, %d runs are dead", len(got))
	}
	if got := set.Crowded(gone()); got != nil {
		t.Errorf("%d of three runs are to be merged", len(got))
	}
	if got := set.Crowded(gone(3)); !slices.Equal(got, []*runs.Run{c}) {
		t.Errorf("%d runs are to be written anew", len(got))
	}
	d := add(1)
	if got := set.Crowded(gone()); !slices.Equal(got, []*runs.Run{a, b, c, d}) {
		t.Errorf("%d of four runs are to be merged", len(got))
	}
}

// A stream whose retention was changed and changed back has records in runs of
// another class between its others: those must not become one run.
func TestNeighboursWithOthersBetween(t *testing.T) {
	dir := t.TempDir()
	cache := runs.NewCache(0)
	set := new(runs.Set)
	defer func() { _ = set.Close() }()
	for n := range 8 {
		b := batch(uint64(n+1), 1, int64(n+1), []byte("x"))
		id := runs.ID{First: b.First, Last: b.First, Class: 24}
		if n == 3 {
			id.Class = 48
		}
		w, err := runs.Create(disk, dir, id, cache)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(key(1, 0), b); err != nil {
			t.Fatal(err)
		}
		run, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Replace(nil, []*runs.Run{run}); err != nil {
			t.Fatal(err)
		}
	}
	none := func(runs.StreamPart) bool { return false }
	for group := set.Crowded(none); group != nil; group = set.Crowded(none) {
		merged, err := runs.Merge(disk, dir, cache, group, none)
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Replace(group, []*runs.Run{merged}); err != nil {
			t.Fatal(err)
		}
	}
	for want := uint64(1); want <= 8; {
		run, err := set.Find(key(1, 0), want)
		if err != nil || run == nil {
			t.Fatalf("no run from %d on, %v", want, err)
		}
		got, err := run.Read(key(1, 0), want, 100, 1000)
		run.Release()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range got {
			if b.First != want {
				t.Fatalf("record %d comes after %d", b.First, want-1)
			}
			want++
		}
	}
}

func TestWriterRefusesDisorder(t *testing.T) {
	w, err := runs.Create(disk, t.TempDir(), runs.ID{First: 10, Last: 20}, runs.NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Abort() }()
	if err := w.Add(key(2, 1), batch(12, 2, 5, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	bad := batch(15, 1, 5, []byte("x"))
	bad.CRC++
	for name, p := range map[string]put{
		"a shard before":      {key(2, 0), batch(15, 1, 5, nil)},
		"an index before":     {key(2, 1), batch(13, 1, 5, nil)},
		"below the interval":  {key(3, 1), batch(9, 1, 5, nil)},
		"beyond the interval": {key(3, 1), batch(20, 2, 5, nil)},
		"no records":          {key(3, 1), batch(20, 0, 5, nil)},
		"a wrong checksum":    {key(3, 1), bad},
	} {
		if err := w.Add(p.Key, p.Batch); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// FuzzOpen gives the reader files of any kind: it refuses them, or reads them
// without a panic.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	puts := random(rand.New(rand.NewPCG(4, 4)), 20, 1, 2, 2)
	run := write(f, disk, dir, runs.NewCache(0), puts)
	whole, err := os.ReadFile(run.Name())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "a.run")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		run, err := runs.Open(disk, name, runs.NewCache(0))
		if err != nil {
			return
		}
		defer run.Release()
		_ = run.Check()
		for shard := range 3 {
			_, _, _ = run.SeekTime(key(1, shard), 15)
			_, _ = run.Read(key(2, shard), 3, 2, 100)
		}
	})
}

func TestReadAllocations(t *testing.T) {
	puts := random(rand.New(rand.NewPCG(6, 6)), 500, 1, 1, 1)
	run := write(t, disk, t.TempDir(), runs.NewCache(0), puts)
	defer run.Release()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := run.Read(key(1, 0), 100, 100, 1<<20); err != nil {
			t.Fatal(err)
		}
	}); n > 3 {
		t.Errorf("%v allocations for a read, want 3 at most", n)
	}
}

// A run of many shards costs memory for a few bytes of each.
func BenchmarkRead(b *testing.B) {
	puts := random(rand.New(rand.NewPCG(7, 7)), 20_000, 1, 4, 4)
	run := write(b, disk, b.TempDir(), runs.NewCache(0), puts)
	defer run.Release()
	for _, max := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(max), func(b *testing.B) {
			b.ReportAllocs()
			for from := uint64(0); b.Loop(); from = (from + 997) % 50_000 {
				if _, err := run.Read(key(1, 0), from, max, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var update = flag.Bool("update", false, "write the golden file anew")

// The bytes of a run are a format: what is stored is read for ever.
func TestTheFormatStays(t *testing.T) {
	golden := filepath.Join("testdata", "first.run")
	puts := []put{
		{key(1, 0), batch(1, 2, 1000, []byte("one two"))},
		{key(1, 3), batch(3, 1, 1000, []byte("three"))},
		{key(1, 0), batch(4, 1, 2000, nil)},
		{key(7, 1), batch(5, 3, 3000, bytes.Repeat([]byte("x"), 70_000))},
		{key(7, 1), batch(8, 1, 3500, []byte("last"))},
	}
	run := write(t, disk, t.TempDir(), runs.NewCache(0), puts)
	got, err := os.ReadFile(run.Name())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("a run is written differently than before; readers of old ones need the old way too")
	}
	old, err := runs.Open(disk, golden, runs.NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Check(); err != nil {
		t.Error(err)
	}
	if got, err := old.Read(key(1, 0), 0, 10, 100); err != nil || len(got) != 2 || !same(got[0], puts[0].Batch) || !same(got[1], puts[2].Batch) {
		t.Errorf("read %v, %v", got, err)
	}
}
