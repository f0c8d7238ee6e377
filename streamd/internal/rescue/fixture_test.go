package rescue_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

const dataDir = "/data"

var (
	scope = arn.Scope{Account: "000000000000", Region: "us-east-1"}
	now   = time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
)

// check ends the test if err is not nil.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is a store on a disk in memory, whose journal's files are too large for
// it to write a checkpoint by itself, or to begin with the second one.
type server struct {
	*store.Store
	t     testing.TB
	disk  *vfstest.Disk
	clock *clock.Clock
}

func tryStart(t testing.TB, disk *vfstest.Disk) (*server, error) {
	clk := new(clock.Clock)
	st, err := store.Open(store.Options{
		Dir: dataDir, FS: disk, RingFiles: 2, RingBytes: 2 << 20, Clock: clk, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		clk.Close()
		return nil, err
	}
	return &server{st, t, disk, clk}, nil
}

func start(t testing.TB, disk *vfstest.Disk) *server {
	t.Helper()
	s, err := tryStart(t, disk)
	check(t, err)
	return s
}

func (s *server) close() {
	s.t.Helper()
	check(s.t, s.Close())
	s.clock.Close()
}

// kill ends the server as kill -9 does, and returns its disk.
func (s *server) kill() *vfstest.Disk {
	disk := s.disk.TakeOver()
	_ = s.Close() // its disk is gone
	s.clock.Close()
	return disk
}

func (s *server) create(name string, shards int) *state.Stream {
	s.t.Helper()
	st, err := s.Command(s.t.Context(), state.CreateStream{
		Key: state.StreamKey{Scope: scope, Name: name}, ShardCount: shards, Mode: state.Provisioned, MaxRecordBytes: 1 << 20,
	})
	check(s.t, err)
	return st
}

// put puts a record and returns its sequence index.
func (s *server) put(st *state.Stream, data string) uint64 {
	s.t.Helper()
	stored, err := s.Put(s.t.Context(), st.ID, []store.Record{{PartitionKey: data, Data: []byte(data), HashKey: hashkey.Of(data)}})
	check(s.t, err)
	return stored[0].Index
}

func (s *server) table(op, body string) {
	s.t.Helper()
	r, err := table.Parse(op, []byte(body))
	check(s.t, err)
	_, err = s.Table(s.t.Context(), scope, r)
	check(s.t, err)
}

func (s *server) item(key string) {
	s.t.Helper()
	s.table("PutItem", fmt.Sprintf(`{"TableName":"leases","Item":{"k":{"S":%q}}}`, key))
}

// checkpoint writes one.
func (s *server) checkpoint() journal.LSN {
	s.t.Helper()
	held, err := s.Hold(s.t.Context())
	check(s.t, err)
	held.Release()
	return held.LSN
}

// all returns the data of all records of all streams, in order of shard and
// sequence number.
func (s *server) all() []string {
	s.t.Helper()
	var all []string
	streams := s.Streams(scope)
	for _, st := range streams {
		for i := range st.Shards {
			for from := (state.Position{}); ; {
				res, err := s.Read(s.t.Context(), store.ReadRequest{StreamID: st.ID, Shard: i, From: from, MaxRecords: 1000, MaxBytes: math.MaxInt32})
				check(s.t, err)
				for _, r := range res.Records {
					all = append(all, string(r.Data))
				}
				if from = res.Next; len(res.Records) == 0 {
					break
				}
			}
		}
	}
	return all
}

// fixture is a data directory with everything in it: records in two runs, from
// two checkpoints, and in the journal; a table.
type fixture struct {
	disk     *vfstest.Disk
	snaps    [2]journal.LSN
	want     []string // what was put, in the order of server.all
	last     uint64   // sequence index of the last record
	runs     []string // names of files, in order
	perPhase int
}

func build(t testing.TB) *fixture {
	t.Helper()
	disk := vfstest.NewDisk()
	check(t, disk.MkdirAll(dataDir, 0o700))
	check(t, disk.SyncDir("/"))
	s := start(t, disk)
	f := &fixture{perPhase: 20}
	a, b := s.create("a", 2), s.create("b", 1)
	s.table("CreateTable", `{"TableName":"leases","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}`)
	for phase := range 3 {
		for i := range f.perPhase {
			to := a
			if i%4 == 0 {
				to = b
			}
			f.last = s.put(to, fmt.Sprintf("phase %d record %d of %s %s", phase, i, to.Key.Name, strings.Repeat("x", 200)))
		}
		s.item(fmt.Sprint("of phase ", phase))
		if phase < 2 {
			f.snaps[phase] = s.checkpoint()
		}
	}
	f.want = s.all()
	if len(f.want) != 3*f.perPhase {
		t.Fatalf("%d records are stored", len(f.want))
	}
	f.disk = s.kill()
	f.runs = names(t, f.disk, "runs")
	if len(f.runs) != 2 {
		t.Fatalf("runs: %v", f.runs)
	}
	return f
}

// copy returns the disk as it is.
func (f *fixture) copy() *vfstest.Disk { return f.disk.Cut(rand.New(rand.NewPCG(1, 1)), 100) }

func (f *fixture) snap(i int) string {
	return filepath.Join(dataDir, "snap", store.SnapshotName(f.snaps[i]))
}

func names(t testing.TB, fsys vfs.FS, folder string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(filepath.Join(dataDir, folder))
	check(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, filepath.Join(dataDir, folder, e.Name()))
	}
	return all
}

// tree returns the content of all files below a directory.
func tree(t testing.TB, fsys vfs.FS, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := fsys.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			maps.Copy(files, tree(t, fsys, name))
			continue
		}
		b, err := vfs.ReadFile(fsys, name)
		check(t, err)
		files[name] = string(b)
	}
	return files
}

func overwrite(t testing.TB, fsys vfs.FS, name string, offset int64, b []byte) {
	t.Helper()
	file, err := fsys.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	_, err = file.WriteAt(b, offset)
	check(t, err)
	check(t, file.Sync())
	check(t, file.Close())
}

// flip changes one byte.
func flip(t testing.TB, fsys vfs.FS, name string, offset int64) {
	t.Helper()
	b, err := vfs.ReadFile(fsys, name)
	check(t, err)
	overwrite(t, fsys, name, offset, []byte{b[offset] ^ 0x10})
}

// flipIn changes the first byte of a text in a file.
func flipIn(t testing.TB, fsys vfs.FS, name, text string) {
	t.Helper()
	b, err := vfs.ReadFile(fsys, name)
	check(t, err)
	at := strings.Index(string(b), text)
	if at < 0 {
		t.Fatalf("%q is not in %s", text, name)
	}
	flip(t, fsys, name, int64(at))
}

func truncate(t testing.TB, fsys vfs.FS, name string, by int64) {
	t.Helper()
	file, err := fsys.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	st, err := file.Stat()
	check(t, err)
	check(t, file.Truncate(st.Size()-by))
	check(t, file.Sync())
	check(t, file.Close())
}

func remove(t testing.TB, fsys vfs.FS, name string) {
	t.Helper()
	check(t, fsys.Remove(name))
	check(t, fsys.SyncDir(filepath.Dir(name)))
}

// forbid makes every change of a disk fail.
func forbid(d *vfstest.Disk) {
	d.SetHook(func(op vfstest.Op, name string) error {
		if slices.Contains([]vfstest.Op{vfstest.Write, vfstest.Sync, vfstest.Truncate, vfstest.Rename, vfstest.Remove, vfstest.SyncDir, "mkdir"}, op) {
			return fmt.Errorf("%s of %s: %w", op, name, fs.ErrPermission)
		}
		return nil
	})
}
