package spool_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

func truncate(t *testing.T, disk *vfstest.Disk, path string, n int64) {
	t.Helper()
	f, err := disk.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(n); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCutBehindABlock has a later process find a segment that ends behind one of its
// blocks, or in one, where it had more: what is not acknowledged of that is counted,
// and told.
func TestCutBehindABlock(t *testing.T) {
	for _, tt := range []struct {
		name    string
		segment int // of three, with four records each
		keep    int // records of it
		beyond  int64
		ack     []int // acknowledged before
		kill    bool
		missing int64
	}{
		{name: "nothing is cut", segment: 0, keep: 4},
		{name: "the first", segment: 0, keep: 1, missing: 3},
		{name: "to its head", segment: 0, keep: 0, missing: 4},
		{name: "in the midst", segment: 1, keep: 3, missing: 1},
		{name: "the last, after a clean end", segment: 2, keep: 2, missing: 2},
		{name: "the first, of a process that was killed", segment: 0, keep: 1, kill: true, missing: 3},
		{name: "in a block", segment: 1, keep: 1, beyond: 5, missing: 3},
		{name: "some of it was acknowledged", segment: 0, keep: 1, ack: []int{0, 2}, missing: 2},
		{name: "all of it was acknowledged", segment: 0, keep: 1, ack: []int{1, 2, 3}},
		{name: "one behind it is finished", segment: 0, keep: 2, ack: []int{4, 5, 6, 7}, missing: 2},
		{name: "all behind it is finished", segment: 0, keep: 2, ack: []int{4, 5, 6, 7, 8, 9, 10, 11}, missing: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfstest.NewDisk()
				s := start(t, disk, spool.Options{SegmentBytes: 400})
				var paths []string
				var sizes [][]int64
				for i := range 12 {
					s.add(fmt.Sprintf("%02d%s", i, strings.Repeat("x", 10)))
					entries, err := disk.ReadDir("spool")
					if err != nil {
						t.Fatal(err)
					}
					for _, e := range entries {
						if path := filepath.Join("spool", e.Name()); filepath.Ext(path) == ".seg" && !slices.Contains(paths, path) {
							paths, sizes = append(paths, path), append(sizes, []int64{32})
						}
					}
					fi, err := disk.Stat(paths[len(paths)-1])
					if err != nil {
						t.Fatal(err)
					}
					sizes[len(sizes)-1] = append(sizes[len(sizes)-1], fi.Size())
				}
				if len(sizes) != 3 || len(sizes[0]) != 5 || len(sizes[1]) != 5 || len(sizes[2]) != 5 {
					t.Fatalf("sizes of segments after each record: %v", sizes)
				}
				all, _ := s.read()
				for _, i := range tt.ack {
					s.ack(all[i])
				}
				time.Sleep(time.Second)
				if tt.kill {
					disk = disk.TakeOver()
				}
				_ = s.Close() // for its goroutine
				size := sizes[tt.segment][tt.keep] + tt.beyond
				truncate(t, disk, paths[tt.segment], size)

				segs, err := spool.Inspect(disk, "spool", nil)
				if err != nil {
					t.Fatal(err)
				}
				var missing int64
				for _, g := range segs {
					missing += g.Missing
				}
				if missing != tt.missing {
					t.Errorf("Inspect finds %d records missing, want %d", missing, tt.missing)
				}

				s = start(t, disk, spool.Options{})
				if st := s.Stats(); st.Records != int64(12-len(tt.ack)) {
					t.Errorf("%d records as it was opened, want %d", st.Records, 12-len(tt.ack))
				}
				s.add("new")
				again, lost := s.read()
				var want []string
				for i, g := range all {
					if cut := i/4 == tt.segment && i%4 >= tt.keep; !cut && !slices.Contains(tt.ack, i) {
						want = append(want, g.text)
					}
				}
				want = append(want, "new")
				var texts []string
				for _, g := range again {
					texts = append(texts, g.text)
				}
				if !slices.Equal(texts, want) {
					t.Errorf("read %q, want %q", texts, want)
				}
				if st := s.Stats(); st.Missing != uint64(tt.missing) {
					t.Errorf("Stats.Missing is %d, want %d", st.Missing, tt.missing)
				}
				var told int64
				for _, l := range lost {
					told += l.Records
					if !l.Old || !errors.Is(l.Err, spool.ErrDamaged) {
						t.Errorf("lost %+v", l)
					}
				}
				if told != tt.missing {
					t.Errorf("the reader is told of %d records, want %d", told, tt.missing)
				}
				s.ack(again...)
				s.close()
				if segs, err := spool.Inspect(disk, "spool", nil); err != nil || len(segs) > 0 {
					t.Errorf("in the end there are %+v, %v", segs, err)
				}
			})
		})
	}
}
