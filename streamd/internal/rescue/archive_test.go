package rescue_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/rescue"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// archive returns a snapshot of a running server.
func (s *server) archive() []byte {
	s.t.Helper()
	held, err := s.Hold(s.t.Context())
	check(s.t, err)
	defer held.Release()
	a, err := rescue.NewArchive(held, now)
	check(s.t, err)
	var out bytes.Buffer
	check(s.t, a.Write(&out))
	return out.Bytes()
}

func compressed(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := rescue.Compress(&out)
	check(t, err)
	_, err = w.Write(b)
	check(t, err)
	check(t, w.Close())
	return out.Bytes()
}

func TestSnapshotAndRestore(t *testing.T) {
	f := build(t)
	s := start(t, f.disk)
	plain := s.archive()
	secret := s.Secret()
	s.close()
	small := compressed(t, plain)
	if len(small) >= len(plain) {
		t.Errorf("%d bytes compressed, %d plain", len(small), len(plain))
	}
	for name, b := range map[string][]byte{"plain": plain, "compressed": small} {
		t.Run(name, func(t *testing.T) {
			d := vfstest.NewDisk()
			report, err := rescue.Restore(d, bytes.NewReader(b), dataDir)
			check(t, err)
			if !report.Clean || report.Dir != dataDir || report.Summary.Records != 60 || report.Summary.Items != 3 {
				t.Errorf("%+v", report)
			}
			// All of it is durable.
			restored := start(t, d.Cut(rand.New(rand.NewPCG(1, 1)), 0))
			defer restored.close()
			if !slices.Equal(restored.all(), f.want) {
				t.Error("the records are not those of the server")
			}
			if restored.Secret() != secret {
				t.Error("iterators of the server would be refused")
			}
			if index := restored.put(restored.Streams(scope)[0], "new"); index != f.last+1 {
				t.Errorf("the next record is %d, want %d", index, f.last+1)
			}
		})
	}
}

// What was acknowledged before a snapshot is in it, and of what came meanwhile
// no more than a part that ends somewhere; checkpoints and merges go on beside it.
func TestSnapshotOfABusyServer(t *testing.T) {
	d := vfstest.NewDisk()
	check(t, d.MkdirAll(dataDir, 0o700))
	s := start(t, d)
	a := s.create("a", 3)
	s.table("CreateTable", `{"TableName":"leases","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}`)
	const writers = 3
	var acked [writers]int // guarded by mu
	var mu sync.Mutex
	var writing sync.WaitGroup
	stop := make(chan struct{})
	began := make(chan struct{}, writers)
	for w := range writers {
		writing.Go(func() {
			for i := range 1 << 20 {
				select {
				case <-stop:
					return
				default:
				}
				// An item before the record of the same number, so that a state
				// that has the record has the item.
				s.item(fmt.Sprintf("%d-%d", w, i))
				s.put(a, fmt.Sprintf("%d-%d", w, i))
				mu.Lock()
				acked[w] = i + 1
				mu.Unlock()
				if i == 20 {
					began <- struct{}{}
				}
			}
		})
	}
	for range writers {
		<-began
	}
	for range 4 {
		mu.Lock()
		before := acked
		mu.Unlock()
		held, err := s.Hold(t.Context())
		check(t, err)
		for range 5 { // more than it takes to merge the runs that are held
			s.checkpoint()
		}
		archive, err := rescue.NewArchive(held, now)
		check(t, err)
		var out bytes.Buffer
		check(t, archive.Write(&out))
		held.Release()

		to := vfstest.NewDisk()
		report, err := rescue.Restore(to, &out, dataDir)
		check(t, err)
		restored := start(t, to)
		var counts [writers]int
		for _, data := range restored.all() {
			var w, i int
			if _, err := fmt.Sscanf(data, "%d-%d", &w, &i); err != nil {
				t.Fatal(err)
			}
			counts[w]++
		}
		restored.close()
		records := 0
		for w := range writers {
			if counts[w] < before[w] {
				t.Errorf("%d records of writer %d are in the snapshot, %d were acknowledged before", counts[w], w, before[w])
			}
			records += counts[w]
		}
		if items := report.Summary.Items; items < records || items > records+writers {
			t.Errorf("%d items and %d records are not of one moment", items, records)
		}
	}
	close(stop)
	writing.Wait()
	s.close()
	if live := names(t, d, "runs"); len(live) > 8 {
		t.Errorf("what was held has not gone: %d runs", len(live))
	}
}

func TestSnapshotRefuses(t *testing.T) {
	f := build(t)
	s := start(t, f.disk)
	flipIn(t, f.disk, f.runs[0], "phase 0 record 4 ")
	held, err := s.Hold(t.Context())
	check(t, err)
	if _, err := rescue.NewArchive(held, now); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), f.runs[0]) {
		t.Errorf("a snapshot of a damaged run: %v", err)
	}
	held.Release()
	s.close()
	if _, err := s.Hold(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Hold of a closed store: %v", err)
	}
}

// entries returns the files of a tar.
func entries(t *testing.T, b []byte) (headers []tar.Header, contents [][]byte) {
	t.Helper()
	in := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		check(t, err)
		content, err := io.ReadAll(in)
		check(t, err)
		headers, contents = append(headers, *h), append(contents, content)
	}
}

func pack(t *testing.T, headers []tar.Header, contents [][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := range headers {
		h := headers[i]
		h.Size = int64(len(contents[i]))
		check(t, w.WriteHeader(&h))
		_, err := w.Write(contents[i])
		check(t, err)
	}
	check(t, w.Close())
	return out.Bytes()
}

func TestRestoreRefuses(t *testing.T) {
	f := build(t)
	s := start(t, f.disk)
	good := s.archive()
	s.close()
	headers, contents := entries(t, good)
	replace := func(old, fresh string) []byte {
		c := slices.Clone(contents)
		c[0] = bytes.ReplaceAll(c[0], []byte(old), []byte(fresh))
		if bytes.Equal(c[0], contents[0]) {
			t.Fatalf("%q is not in the manifest", old)
		}
		return pack(t, headers, c)
	}
	flipped := slices.Clone(good)
	flipped[bytes.Index(flipped, []byte("phase 1 record 3 "))] ^= 1
	more := append(slices.Clone(headers), tar.Header{Name: "more", Mode: 0o600, Typeflag: tar.TypeReg})
	full := vfstest.NewDisk()
	full.SetRoom(12 << 10)
	for _, tt := range []struct {
		name  string
		b     []byte
		disk  *vfstest.Disk
		make  string // a file that is there before
		wants []string
	}{
		{name: "nothing", wants: []string{"no snapshot that streamd has written"}},
		{name: "something else", b: []byte(strings.Repeat("else ", 1000)), wants: []string{"no snapshot that streamd has written"}},
		{name: "another tar", b: pack(t, headers[1:], contents[1:]), wants: []string{"no snapshot that streamd has written"}},
		{name: "cut off", b: good[:len(good)/2], wants: []string{"unexpected EOF"}},
		{name: "cut off, compressed", b: compressed(t, good)[:2000], wants: []string{"unexpected EOF"}},
		{name: "without its last file", b: pack(t, headers[:len(headers)-1], contents[:len(contents)-1]), wants: []string{"cut off before runs/"}},
		{name: "one byte is wrong", b: flipped, wants: []string{"fails its checksum", "take another copy"}},
		{name: "a file more", b: pack(t, more, append(slices.Clone(contents), []byte("x"))), wants: []string{"behind the last file"}},
		{name: "a later version", b: replace(`"version":1`, `"version":2`), wants: []string{"run the version that wrote it"}},
		{name: "a way out", b: replace(`"name":"STORE"`, `"name":"../STORE"`), wants: []string{"belongs in no data directory"}},
		{name: "a name for another", b: replace(`"name":"STORE"`, `"name":"runs/STORE"`), wants: []string{"belongs in no data directory"}},
		{name: "a run is not in it", b: func() []byte {
			c := slices.Clone(contents)
			at, end := bytes.LastIndex(c[0], []byte(`,{"name":"runs/`)), bytes.LastIndex(c[0], []byte("]"))
			c[0] = append(slices.Clone(c[0][:at]), c[0][end:]...)
			return pack(t, headers[:len(headers)-1], c[:len(c)-1])
		}(), wants: []string{"does not make a whole", "the run is missing"}},
		{name: "the directory is used", b: good, make: dataDir + "/x", wants: []string{"/data is not empty"}},
		{name: "a restore was cut off", b: good, make: dataDir + ".tmp/x", wants: []string{"/data.tmp is there", "remove it"}},
		{name: "no room", b: compressed(t, good), disk: full, wants: []string{"cannot restore", "no space left"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.disk
			if d == nil {
				d = vfstest.NewDisk()
			}
			check(t, d.MkdirAll("/", 0o700))
			if tt.make != "" {
				check(t, d.MkdirAll(filepath.Dir(tt.make), 0o700))
				f, err := d.OpenFile(tt.make, 0x42, 0o600)
				check(t, err)
				check(t, f.Close())
			}
			before := tree(t, d, "/")
			_, err := rescue.Restore(d, bytes.NewReader(tt.b), dataDir)
			for _, want := range tt.wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want %q", err, want)
				}
			}
			if !maps.Equal(before, tree(t, d, "/")) {
				t.Error("something is left")
			}
			if _, err := d.Stat(dataDir); err == nil && tt.make != dataDir+"/x" {
				t.Error("the directory is there")
			}
		})
	}
}

// A restore that is cut off leaves no directory, or all of it.
func TestRestoreCutOff(t *testing.T) {
	f := build(t)
	s := start(t, f.disk)
	good := s.archive()
	s.close()
	d := vfstest.NewDisk()
	var cuts []*vfstest.Disk
	r := rand.New(rand.NewPCG(7, 7))
	d.SetHook(func(op vfstest.Op, _ string) error {
		if op == vfstest.Sync || op == vfstest.SyncDir {
			for _, percent := range []int{0, 50, 100} {
				cuts = append(cuts, d.Cut(r, percent))
			}
		}
		return nil
	})
	_, err := rescue.Restore(d, bytes.NewReader(good), dataDir)
	check(t, err)
	there := 0
	for i, cut := range cuts {
		if _, err := cut.Stat(dataDir); err != nil {
			continue
		}
		there++
		if r, err := rescue.Check(cut, dataDir); err != nil || !r.Clean || r.Summary.Records != 60 {
			t.Errorf("cut %d: %+v, %v", i, r, err)
		}
	}
	if there == 0 {
		t.Error("no cut came after the directory had its name")
	}
}

// FuzzRestore: no bytes make it write outside, or leave a directory that is
// damaged.
func FuzzRestore(f *testing.F) {
	fix := build(f)
	s := start(f, fix.disk)
	good := s.archive()
	s.close()
	f.Add(good)
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add(good[:600])
	f.Fuzz(func(t *testing.T, b []byte) {
		d := vfstest.NewDisk()
		d.SetRoom(64 << 20)
		_, err := rescue.Restore(d, bytes.NewReader(b), dataDir)
		left := tree(t, d, "/")
		if err != nil && len(left) > 0 {
			t.Errorf("%v, and files are left", err)
		}
		if err == nil {
			if r, err := rescue.Check(d, dataDir); err != nil || !r.Clean {
				t.Errorf("%+v, %v", r, err)
			}
		}
	})
}
