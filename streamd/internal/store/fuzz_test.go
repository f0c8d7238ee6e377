package store_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// written returns the files of a store that has been used: the last snapshot in
// two parts, the manifest and the state, and STORE.
func written(t testing.TB) (manifest, state, meta []byte) {
	t.Helper()
	d := vfstest.NewDisk()
	f := open(t, store.Options{Dir: "/data", FS: d})
	f.put(f.create("a", 3), record("k", "data"), record("l", "more"))
	f.close()
	names, err := d.ReadDir("/data/snap")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d snapshots, %v", len(names), err)
	}
	b, err := vfs.ReadFile(d, filepath.Join("/data/snap", names[len(names)-1].Name()))
	if err != nil {
		t.Fatal(err)
	}
	if meta, err = vfs.ReadFile(d, "/data/STORE"); err != nil {
		t.Fatal(err)
	}
	n := 16 + binary.LittleEndian.Uint32(b[8:])
	return b[16:n], b[n:], meta
}

// snapshotOf puts a manifest and a state together, with checksums that fit.
func snapshotOf(manifest, state []byte) []byte {
	b := []byte("sdckpt\x00\x01")
	b = binary.LittleEndian.AppendUint32(b, uint32(len(manifest)))
	b = binary.LittleEndian.AppendUint32(b, journal.Checksum(slices.Concat(b, manifest)))
	b = append(append(b, manifest...), state...)
	return binary.LittleEndian.AppendUint32(b, journal.Checksum(state))
}

// FuzzParseSnapshot: whatever a snapshot's two parts hold, it is refused, or
// says the same when it is written again, and leads to no file outside.
func FuzzParseSnapshot(f *testing.F) {
	manifest, state, _ := written(f)
	state = state[:len(state)-4]
	f.Add(manifest, state)
	f.Add([]byte(`{}`), state)
	f.Add([]byte(`{"Runs":["../../etc/passwd"]}`), state)
	f.Add([]byte(`{"Runs":["x/0000000000000001-0000000000000002-24-0.run"]}`), state)
	f.Add([]byte(`{"Runs":[1]}`), state)
	f.Add([]byte(nil), []byte(nil))
	f.Add(manifest, state[:20])
	f.Fuzz(func(t *testing.T, manifest, state []byte) {
		s, err := store.ParseSnapshot(snapshotOf(manifest, state))
		if err != nil {
			return
		}
		for _, name := range s.Runs {
			if _, ok := runs.ParseName(name); !ok || strings.ContainsAny(name, `/\`) {
				t.Errorf("it names %q", name)
			}
		}
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := store.ParseSnapshot(b)
		if err != nil || again.LSN != s.LSN || !slices.Equal(again.Runs, s.Runs) {
			t.Fatalf("written again: %v at %d, %v; was %v at %d", again.Runs, again.LSN, err, s.Runs, s.LSN)
		}
		if c, err := again.Encode(); err != nil || !bytes.Equal(b, c) {
			t.Fatalf("written twice it differs, %v", err)
		}
	})
}

// FuzzSnapshotFile gives bytes of any kind to who reads a snapshot.
func FuzzSnapshotFile(f *testing.F) {
	manifest, state, _ := written(f)
	good := snapshotOf(manifest, state[:len(state)-4])
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good[:15])
	f.Add([]byte("sdckpt\x00\x02aaaaaaaaaaaaaaaa"))
	f.Add([]byte("sdckpt\x00\x01\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := store.ParseSnapshot(b)
		if err == nil && s.State == nil {
			t.Error("a snapshot without a state")
		}
	})
}

// FuzzParseMeta: what is read as the file STORE is what would be written.
func FuzzParseMeta(f *testing.F) {
	_, _, meta := written(f)
	f.Add(meta, true)
	f.Add(meta, false)
	f.Add([]byte(`{"Format":3,"ID":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}`), true)
	f.Add([]byte(`{"Format":2}`), true)
	f.Add([]byte(`[]`), true)
	f.Fuzz(func(t *testing.T, b []byte, sum bool) {
		if sum { // with the checksum that it should have, so that it is read
			var m store.Meta
			if json.Unmarshal(b, &m) != nil {
				return
			}
			if y := m.Created.UTC().Year(); y < 0 || y > 9999 {
				return // no JSON
			}
			var err error
			if b, err = m.Encode(); err != nil {
				return
			}
		}
		m, err := store.ParseMeta(b)
		if err != nil {
			return
		}
		if again, err := m.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q, %v; was %q", again, err, b)
		}
	})
}

// TestNewMeta: what is new can be read, and what was changed cannot.
func TestNewMeta(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 5, time.FixedZone("", 3600))
	b, err := store.NewMeta([16]byte{7}, now).Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.ParseMeta(b)
	if err != nil || m.ID != [16]byte{7} || !m.Created.Equal(now) || m.Secret == [32]byte{} {
		t.Fatalf("%+v, %v", m, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := store.ParseMeta(bad); err == nil {
			t.Errorf("byte %d changed: %s", i, bad)
		}
	}
}

// FuzzNames: a name is read as what makes it again, or not at all.
func FuzzNames(f *testing.F) {
	f.Add("0000000000001101.snap")
	f.Add("0000000000000001-00000000000000ff-24-3.run")
	f.Add("+000000000000001-00000000000000ff-24-3.run")
	f.Add("../0000000000001101.snap")
	f.Add("0000000000001101.snap.tmp")
	f.Add("")
	f.Fuzz(func(t *testing.T, name string) {
		if lsn, ok := store.SnapshotLSN(name); ok && store.SnapshotName(lsn) != filepath.Base(name) {
			t.Errorf("%q is read as that of position %d", name, lsn)
		}
		if id, ok := runs.ParseName(name); ok && id.Name() != filepath.Base(name) {
			t.Errorf("%q is read as that of %+v", name, id)
		}
	})
}
