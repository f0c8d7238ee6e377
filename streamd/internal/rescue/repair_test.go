package rescue_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/rescue"
)

// broken is one way in which a data directory is damaged, and what is to come of
// it.
type broken struct {
	name   string
	do     func(t *testing.T, f *fixture, d *vfstest.Disk)
	finds  []string // in the findings
	starts bool     // a server starts all the same
	lost   int      // records
	says   []string // in the plan
	hopes  bool     // false if it cannot be repaired
}

func cases() []broken {
	ring := filepath.Join(dataDir, "journal", "00.ring")
	return []broken{
		{
			name: "nothing", do: func(*testing.T, *fixture, *vfstest.Disk) {},
			starts: true, hopes: true, says: []string{"nothing to repair"},
		},
		{
			name:  "the body of a frame",
			do:    func(t *testing.T, _ *fixture, d *vfstest.Disk) { flipIn(t, d, ring, "phase 2 record 5 ") },
			finds: []string{"00.ring at byte", "is not whole", "a frame of", "it is whole"},
			lost:  15, hopes: true,
			says: []string{"end the journal at position", "the frame that begins at byte", "records of shardId-", "of stream a", "1 changes of tables by PutItem"},
		},
		{
			name: "the header of a frame",
			do: func(t *testing.T, _ *fixture, d *vfstest.Disk) {
				b, err := vfs.ReadFile(d, ring)
				check(t, err)
				flip(t, d, ring, int64(strings.Index(string(b), "phase 2 record 5 ")&^4095+10))
			},
			finds: []string{"00.ring at byte"}, lost: 15, hopes: true, says: []string{"end the journal"},
		},
		{
			name:  "the newest snapshot",
			do:    func(t *testing.T, f *fixture, d *vfstest.Disk) { flip(t, d, f.snap(1), 300) },
			finds: []string{"the snapshot is damaged"}, starts: true, hopes: true,
			says: []string{"the journal has all that came between"},
		},
		{
			name: "the newest snapshot, and the journal before it",
			do: func(t *testing.T, f *fixture, d *vfstest.Disk) {
				flip(t, d, f.snap(1), 300)
				from := (int64(f.snaps[0]) + 4095) &^ 4095
				overwrite(t, d, ring, from, make([]byte, int64(f.snaps[1])-from))
			},
			finds: []string{"the snapshot is damaged", "00.ring at byte"}, lost: 20, hopes: true,
			says: []string{"what changed from position", "with 20 records"},
		},
		{
			name: "the newest snapshot, and all of the journal",
			do: func(t *testing.T, f *fixture, d *vfstest.Disk) {
				flip(t, d, f.snap(1), 300)
				for _, name := range names(t, d, "journal") {
					remove(t, d, name)
				}
			},
			finds: []string{"but the journal ends at"}, lost: 20, hopes: true,
			says: []string{"what changed from position", "with 20 records"},
		},
		{
			name:  "the older snapshot",
			do:    func(t *testing.T, f *fixture, d *vfstest.Disk) { flip(t, d, f.snap(0), 300) },
			finds: []string{"the snapshot is damaged"}, starts: true, hopes: true, says: []string{"older than what is used"},
		},
		{
			name: "both snapshots, but the journal has all",
			do: func(t *testing.T, f *fixture, d *vfstest.Disk) {
				flip(t, d, f.snap(0), 300)
				flip(t, d, f.snap(1), 300)
			},
			finds: []string{"the snapshot is damaged"}, hopes: true, says: []string{"begin from the beginning"},
		},
		{
			name: "both snapshots, and the journal",
			do: func(t *testing.T, f *fixture, d *vfstest.Disk) {
				flip(t, d, f.snap(0), 300)
				flip(t, d, f.snap(1), 300)
				overwrite(t, d, ring, 0, make([]byte, 8192))
			},
			finds: []string{"the snapshot is damaged", "00.ring at byte 0"},
		},
		{
			name:  "records of a run",
			do:    func(t *testing.T, f *fixture, d *vfstest.Disk) { flipIn(t, d, f.runs[0], "phase 0 record 4 ") },
			finds: []string{"records fail their checksum"}, starts: true, lost: 1, hopes: true,
			says: []string{"from the 19 records that are whole", "1 records of shardId-000000000000 of stream b, with sequence indexes from 5 to 5"},
		},
		{
			name: "the header of a batch",
			do: func(t *testing.T, f *fixture, d *vfstest.Disk) {
				b, err := vfs.ReadFile(d, f.runs[0])
				check(t, err)
				at := strings.Index(string(b), "phase 0 record 4 ") // its partition key
				flip(t, d, f.runs[0], int64(at)-30)
			},
			finds: []string{"no batch where one was written"}, starts: true, lost: 1, hopes: true,
			says: []string{"from the 19 records that are whole", "1 records of"},
		},
		{
			name:  "the end of a run",
			do:    func(t *testing.T, f *fixture, d *vfstest.Disk) { truncate(t, d, f.runs[1], 600) },
			finds: []string{"the trailer is not valid"}, lost: 1, hopes: true,
			says: []string{"from the 19 records that are whole", "which would say what that was"},
		},
		{
			name: "the footer of a run",
			do: func(t *testing.T, f *fixture, d *vfstest.Disk) {
				info, err := d.Stat(f.runs[1])
				check(t, err)
				flip(t, d, f.runs[1], info.Size()-45)
			},
			finds: []string{"the footer is not valid"}, hopes: true, says: []string{"from the 20 records that are whole"},
		},
		{
			name:  "the header of a run",
			do:    func(t *testing.T, f *fixture, d *vfstest.Disk) { flip(t, d, f.runs[1], 10) },
			finds: []string{"the header is not valid"}, hopes: true, says: []string{"from the 20 records that are whole"},
		},
		{
			name: "all of a run",
			do: func(t *testing.T, f *fixture, d *vfstest.Disk) {
				overwrite(t, d, f.runs[1], 0, make([]byte, 1<<16))
			},
			finds: []string{"the header is not valid", "no batch"}, lost: 20, hopes: true, says: []string{"nothing in it is whole"},
		},
		{
			name:  "a run is missing",
			do:    func(t *testing.T, f *fixture, d *vfstest.Disk) { remove(t, d, f.runs[0]) },
			finds: []string{"the run is missing"}, lost: 20, hopes: true,
			says: []string{"out of the snapshot", "sequence indexes from 1 to 20, of streams that keep them for 24 hours"},
		},
		{
			name: "what identifies the store",
			do: func(t *testing.T, _ *fixture, d *vfstest.Disk) {
				overwrite(t, d, filepath.Join(dataDir, "STORE"), 0, []byte("not JSON"))
			},
			finds: []string{"STORE at byte 0"}, hopes: true, says: []string{"STORE anew", "iterators"},
		},
		{
			name: "what identifies the store is missing",
			do: func(t *testing.T, _ *fixture, d *vfstest.Disk) {
				remove(t, d, filepath.Join(dataDir, "STORE"))
			},
			finds: []string{"STORE: it is missing"}, hopes: true, says: []string{"STORE anew"},
		},
		{
			name: "a file of another journal",
			do: func(t *testing.T, _ *fixture, d *vfstest.Disk) {
				other := build(t)
				b, err := vfs.ReadFile(other.disk, ring)
				check(t, err)
				check(t, vfs.WriteFile(d, filepath.Join(dataDir, "journal", "07.ring"), b, 0o600))
			},
			finds: []string{"07.ring: it belongs to the journal of another store"}, hopes: true, says: []string{"take away"},
		},
		{
			name: "a name like that of a file of the journal",
			do: func(t *testing.T, _ *fixture, d *vfstest.Disk) {
				check(t, vfs.WriteFile(d, filepath.Join(dataDir, "journal", "x.ring"), []byte("x"), 0o600))
			},
			finds: []string{"x.ring: it has not the name"}, hopes: true, says: []string{"take away"},
		},
		{
			name: "a journal, a run and a snapshot",
			do: func(t *testing.T, f *fixture, d *vfstest.Disk) {
				flip(t, d, f.snap(0), 300)
				flipIn(t, d, f.runs[0], "phase 0 record 4 ")
				flipIn(t, d, ring, "phase 2 record 19 ")
			},
			finds: []string{"the snapshot is damaged", "records fail", "00.ring at byte"}, lost: 2, hopes: true,
			says: []string{"end the journal", "write /data/runs"},
		},
	}
}

// TestRepair damages a data directory in every way, and has it checked and
// repaired; the power is cut at every sync of the repair.
func TestRepair(t *testing.T) {
	f := build(t)
	for _, tt := range cases() {
		t.Run(tt.name, func(t *testing.T) {
			d := f.copy()
			tt.do(t, f, d)
			before := tree(t, d, dataDir)

			forbid(d)
			report, err := rescue.Check(d, dataDir)
			check(t, err)
			var plan *rescue.Plan
			plan, err = rescue.Repair(d, dataDir, false, now)
			if tt.hopes == errors.Is(err, rescue.ErrHopeless) {
				t.Fatalf("Repair: %v", err)
			}
			d.SetHook(nil)
			if !maps.Equal(before, tree(t, d, dataDir)) {
				t.Error("the directory was changed by a look at it")
			}
			var found strings.Builder
			found.WriteString(report.String())
			for _, want := range tt.finds {
				if !strings.Contains(found.String(), want) {
					t.Errorf("%q is not in\n%s", want, &found)
				}
			}
			if clean := len(tt.finds) == 0; report.Clean != clean {
				t.Errorf("clean: %v\n%s", report.Clean, &found)
			}
			if s, err := tryStart(t, d.Cut(rand.New(rand.NewPCG(1, 1)), 100)); err != nil != !tt.starts {
				t.Errorf("a server starts: %v", err)
			} else if err == nil {
				s.close()
			} else if !strings.Contains(err.Error(), "streamd check") {
				t.Errorf("the server's error does not say what to do: %v", err)
			}
			if !tt.hopes {
				return
			}
			var says strings.Builder
			says.WriteString(plan.String())
			for _, want := range tt.says {
				if !strings.Contains(says.String(), want) {
					t.Errorf("%q is not in\n%s", want, &says)
				}
			}

			var cuts []*vfstest.Disk
			r := rand.New(rand.NewPCG(7, 7))
			d.SetHook(func(op vfstest.Op, _ string) error {
				if op == vfstest.Sync || op == vfstest.SyncDir {
					cuts = append(cuts, d.Cut(r, []int{0, 50, 100}[r.IntN(3)]))
				}
				return nil
			})
			done, err := rescue.Repair(d, dataDir, true, now)
			d.SetHook(nil)
			check(t, err)
			if len(done.Steps) != len(plan.Steps) {
				t.Errorf("%d steps were done, %d were planned", len(done.Steps), len(plan.Steps))
			}
			repaired(t, f, &tt, before, d, "at the end")
			for i, cut := range cuts {
				if _, err := rescue.Repair(cut, dataDir, true, now); err != nil {
					t.Fatalf("cut %d: %v", i, err)
				}
				repaired(t, f, &tt, before, cut, fmt.Sprintf("after cut %d of %d", i, len(cuts)))
			}
		})
	}
}

// repaired checks what a repair has left.
func repaired(t *testing.T, f *fixture, tt *broken, before map[string]string, d *vfstest.Disk, when string) {
	t.Helper()
	kept := make(map[string]bool)
	for name, content := range tree(t, d, dataDir) {
		kept[content] = true
		if strings.HasPrefix(name, filepath.Join(dataDir, "lost")) {
			kept[content] = true
		}
	}
	for name, content := range before {
		if !kept[content] {
			t.Errorf("%s: what %s held is nowhere", when, name)
		}
	}
	forbid(d)
	again, err := rescue.Repair(d, dataDir, true, now)
	d.SetHook(nil)
	if err != nil || len(again.Steps) > 0 {
		t.Fatalf("%s: a second repair finds more: %v %v", when, again, err)
	}
	s := start(t, d)
	defer s.close()
	got := s.all()
	if len(got) != len(f.want)-tt.lost {
		t.Errorf("%s: %d records are left of %d, want %d less", when, len(got), len(f.want), tt.lost)
	}
	rest := f.want // what is left is in order
	for _, g := range got {
		i := slices.Index(rest, g)
		if i < 0 {
			t.Fatalf("%s: %q was never stored, or stands in another place", when, g)
		}
		rest = rest[i+1:]
	}
	streams := s.Streams(scope)
	if len(streams) != 2 {
		t.Fatalf("%s: %d streams", when, len(streams))
	}
	if index := s.put(streams[0], "new"); index <= f.last {
		t.Errorf("%s: sequence index %d was given before", when, index)
	}
}
