package rescue_test

import (
	"encoding/json"
	"errors"
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

func TestCheckCounts(t *testing.T) {
	f := build(t)
	forbid(f.disk)
	killed, err := rescue.Check(f.disk, dataDir)
	check(t, err)
	f.disk.SetHook(nil)
	s := start(t, f.disk)
	s.close()
	closed, err := rescue.Check(f.disk, dataDir)
	check(t, err)
	for when, r := range map[string]*rescue.Report{"killed": killed, "closed": closed} {
		got := r.Summary
		if !r.Clean || got.Streams != 2 || got.Shards != 3 || got.Records != 60 || got.Bytes < 60*200 || got.Tables != 1 || got.Items != 3 || got.LastRecord.IsZero() {
			t.Errorf("%s: %+v %+v", when, r.Clean, got)
		}
	}
	if killed.Summary.Snapshot != uint64(f.snaps[1]) || killed.Summary.Position <= killed.Summary.Snapshot || killed.Summary.Runs != 2 {
		t.Errorf("killed: %+v", killed.Summary)
	}
	if closed.Summary.Snapshot != closed.Summary.Position || closed.Summary.Runs != 3 {
		t.Errorf("closed: %+v", closed.Summary)
	}
	b, err := json.Marshal(killed)
	check(t, err)
	if !strings.Contains(string(b), `"clean":true,"findings":[],"summary":{"streams":2,"shards":3,"records":60,`) {
		t.Errorf("as JSON: %s", b)
	}
}

// What a crash leaves is no damage.
func TestCheckOfLeftovers(t *testing.T) {
	f := build(t)
	for _, name := range []string{"runs/x.run.tmp", "snap/0000000000001000.snap.tmp", "journal/01.ring.tmp"} {
		check(t, vfs.WriteFile(f.disk, filepath.Join(dataDir, name), []byte("x"), 0o600))
	}
	run, err := vfs.ReadFile(f.disk, f.runs[0])
	check(t, err)
	check(t, vfs.WriteFile(f.disk, filepath.Join(dataDir, "runs", "0000000000000099-0000000000000099-24-0.run"), run, 0o600))
	flipIn(t, f.disk, filepath.Join(dataDir, "journal", "00.ring"), "phase 2 record 19 ") // the last but for an item
	ring, err := vfs.ReadFile(f.disk, filepath.Join(dataDir, "journal", "00.ring"))
	check(t, err)
	item := strings.Index(string(ring), "of phase 2") &^ 4095
	overwrite(t, f.disk, filepath.Join(dataDir, "journal", "00.ring"), int64(item), make([]byte, 4096))
	r, err := rescue.Check(f.disk, dataDir)
	check(t, err)
	var text strings.Builder
	text.WriteString(r.String())
	if !r.Clean || len(r.Findings) != 5 || strings.Count(text.String(), "note ") != 5 || !strings.Contains(text.String(), "was not acknowledged") {
		t.Errorf("%s", &text)
	}
}

func TestCheckCannotLook(t *testing.T) {
	f := build(t)
	empty := vfstest.NewDisk()
	check(t, empty.MkdirAll("/data", 0o700))
	newer := f.copy()
	check(t, vfs.WriteFile(newer, filepath.Join(dataDir, "STORE"), []byte(`{"Format":99,"ID":[1]}`), 0o600))
	newerRun := f.copy()
	overwrite(t, newerRun, f.runs[0], 7, []byte{9})
	b, err := vfs.ReadFile(newerRun, f.runs[0])
	check(t, err)
	overwrite(t, newerRun, f.runs[0], 36, crc(b[:36]))
	newerSnap := f.copy()
	overwrite(t, newerSnap, f.snap(1), 7, []byte{9})
	broken := f.copy()
	broken.SetHook(func(op vfstest.Op, name string) error {
		if op == vfstest.Read && name == f.runs[1] {
			return errors.New("the disk is broken")
		}
		return nil
	})
	running := start(t, f.copy())
	defer running.close()
	for name, tt := range map[string]struct {
		disk *vfstest.Disk
		want []string
	}{
		"no directory":        {vfstest.NewDisk(), []string{"there is no data directory /data", "--data"}},
		"another directory":   {empty, []string{"no data directory of streamd", "--data"}},
		"in use":              {running.disk, []string{"in use", "streamd snapshot"}},
		"of a newer version":  {newer, []string{"run the version that wrote it"}},
		"a run of a newer":    {newerRun, []string{"run the version that wrote it"}},
		"a snapshot of newer": {newerSnap, []string{"run the version that wrote it"}},
		"a broken disk":       {broken, []string{f.runs[1], "the disk is broken"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rescue.Check(tt.disk, dataDir)
			_, repair := rescue.Repair(tt.disk, dataDir, true, now)
			dump := rescue.Dump(tt.disk, dataDir, new(strings.Builder), rescue.DumpOptions{What: "records", Skipped: func(string) {}})
			for _, err := range []error{err, repair, dump} {
				for _, want := range tt.want {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%v; want %q", err, want)
					}
				}
			}
		})
	}
}

// Whatever byte is changed: it is found, or it does not matter; and a repair
// leaves what a server can start from.
func TestAnyByte(t *testing.T) {
	f := build(t)
	files := tree(t, f.disk, dataDir)
	var all []string
	for name, content := range files {
		if len(content) > 0 {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	r := rand.New(rand.NewPCG(3, 3))
	for range 250 {
		name := all[r.IntN(len(all))]
		size := len(files[name])
		if strings.HasSuffix(name, ".ring") {
			size = min(size, 70*4096) // as far as it is used
		}
		at := r.IntN(size)
		if r.IntN(2) == 0 { // where the headers are
			at = at&^4095 + r.IntN(min(160, size-at&^4095))
		}
		d := f.copy()
		flip(t, d, name, int64(at))
		report, err := rescue.Check(d, dataDir)
		if err != nil {
			if !strings.Contains(err.Error(), "run the version") { // a version that is damaged
				t.Fatalf("%s, byte %d: %v", name, at, err)
			}
			continue
		}
		damaged := !report.Clean
		plan, err := rescue.Repair(d, dataDir, true, now)
		if err != nil {
			t.Fatalf("%s, byte %d: %v", name, at, err)
		}
		if damaged != (len(plan.Steps) > 0) {
			t.Errorf("%s, byte %d: clean is %v, and %d steps repair it", name, at, report.Clean, len(plan.Steps))
		}
		s, err := tryStart(t, d)
		if err != nil {
			t.Fatalf("%s, byte %d: %v", name, at, err)
		}
		got := s.all()
		s.close()
		// Of the last frame nothing says that it was on disk; it has no records.
		if !damaged && !slices.Equal(got, f.want) {
			t.Errorf("%s, byte %d: the damage is not found, and %d of %d records are left", name, at, len(got), len(f.want))
		}
	}
}

func TestCheckTakesNoLockThatIsNotThere(t *testing.T) {
	f := build(t)
	remove(t, f.disk, filepath.Join(dataDir, "LOCK"))
	before := tree(t, f.disk, dataDir)
	_, err := rescue.Check(f.disk, dataDir)
	check(t, err)
	if !maps.Equal(before, tree(t, f.disk, dataDir)) {
		t.Error("the directory was changed by a look at it")
	}
}
