package agent_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/agent/internal/transform"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/producer"
)

// refusing is a file system that opens some files with an error.
type refusing struct {
	vfs.FS
	errs map[string]error
}

func (f refusing) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := f.errs[name]; err != nil {
		return nil, err
	}
	return f.FS.OpenFile(name, flag, perm)
}

// values are what metrics must be, by name and labels.
type values map[string]float64

// A metricCase is something that happens to an agent, and what its metrics are then. The
// lines that it reads have no end of their own in want.
type metricCase struct {
	name   string
	flow   agent.FlowConfig
	events bool // the system tells of what happens to files
	play   func(w *world, is func(values))
}

// epoch is when the time of a bubble begins, in Unix seconds.
const epoch = 946684800

var metricCases = []metricCase{
	{name: "delivered", events: true, play: func(w *world, is func(values)) {
		w.sink.delay = func() time.Duration { return 40 * time.Millisecond }
		w.write("app.log", strings.Repeat("0123456789\n", 100))
		w.write("app.log.b", strings.Repeat("abcdefghij\n", 10))
		w.start()
		w.settle(2300 * time.Millisecond)
		is(values{
			`records_total{result="sent"}`: 110, "read_bytes_total": 1210, "acked_bytes_total": 1210, "behind_bytes": 0, "behind_files": 0,
			"files_tracked": 2, "open_files": 2, `flow_state{state="running"}`: 1, `flow_state{state="blocked"}`: 0,
			`flow_state{state="stalled"}`: 0, "blocked": 0, "consecutive_errors": 0, "record_failures_total": 0, "refused_batches_total": 0,
			`watch_mode{mode="events"}`: 1, `watch_mode{mode="poll"}`: 0, "watch_overflows_total": 0, `troubles_total{reason="not_regular"}`: 0,
			"read_to_ack_seconds_count": 2, "read_to_ack_seconds_sum": 0.08, `read_to_ack_seconds_bucket{le="0.01"}`: 0,
			`read_to_ack_seconds_bucket{le="0.05"}`: 2, "last_progress_timestamp_seconds": epoch + 0.04, "oldest_unacked_seconds": 0,
			"checkpoint_success": 1, "checkpoint_failures_total": 0, "checkpoint_age_seconds": 0.3, "config_reload_success": 1,
			"backpressure_seconds_total": 0, "memory_stalls_total": 0,
		})
		w.watcher.c <- agent.WatchEvent{Names: true, Lost: true}
		w.settle(time.Second)
		w.watcher.c <- agent.WatchEvent{Names: true, Lost: true}
		w.watcher.c <- agent.WatchEvent{Names: true}
		w.settle(time.Second)
		is(values{"watch_overflows_total": 2})
	}},
	{name: "on its way", play: func(w *world, is func(values)) {
		w.sink.keep()
		w.write("app.log", "0123456789\n")
		w.write("app.log.b", "0123456789\nunfinished")
		w.start()
		w.settle(5 * time.Second)
		w.write("app.log", "0123456789\n")
		w.settle(10 * time.Second)
		is(values{
			"behind_bytes": 43, "behind_files": 2, "oldest_unacked_seconds": 15, "read_bytes_total": 33, "acked_bytes_total": 0,
			"read_to_ack_seconds_count": 0, `records_total{result="sent"}`: 0, `flow_state{state="running"}`: 1,
			"budget_used_bytes":         256<<10 + 2048*float64(unsafe.Sizeof(producer.UserRecord{})),
			`watch_mode{mode="events"}`: 0, `watch_mode{mode="poll"}`: 1, "last_progress_timestamp_seconds": epoch,
		})
		w.settle(80 * time.Second) // more than a minute and a half, for which a stream may be silent
		is(values{`flow_state{state="running"}`: 0, `flow_state{state="stalled"}`: 1, "blocked": 0})
		w.sink.release()
		w.settle(time.Second)
		is(values{
			`flow_state{state="stalled"}`: 0, `flow_state{state="running"}`: 1, "behind_bytes": 10, "behind_files": 1, "oldest_unacked_seconds": 0,
			"read_to_ack_seconds_count": 3, "read_to_ack_seconds_sum": 95 + 95 + 89.9, "last_progress_timestamp_seconds": epoch + 95,
		})
	}},
	// Attempts are made after 0, 100, 300, 700, 1500 and 2500 ms, and then each second.
	{name: "refused", flow: agent.FlowConfig{RetryInitial: 100 * time.Millisecond, RetryMax: time.Second}, play: func(w *world, is func(values)) {
		var refuse atomic.Bool
		refuse.Store(true)
		w.sink.refuse = refuse.Load
		w.write("app.log", strings.Repeat("0123456789\n", 10))
		w.start()
		w.settle(2 * time.Second)
		is(values{
			"consecutive_errors": 5, "refused_batches_total": 5, "record_failures_total": 50, "blocked": 1, `flow_state{state="blocked"}`: 1,
			`flow_state{state="running"}`: 0, `records_total{result="sent"}`: 0, "last_progress_timestamp_seconds": epoch,
		})
		w.settle(10 * time.Second)
		is(values{"consecutive_errors": 15, "refused_batches_total": 15, "record_failures_total": 150})
		refuse.Store(false)
		w.settle(time.Second)
		is(values{
			"consecutive_errors": 0, "refused_batches_total": 15, "record_failures_total": 150, "blocked": 0, `flow_state{state="blocked"}`: 0,
			`records_total{result="sent"}`: 10, "last_progress_timestamp_seconds": epoch + 12.5, "read_to_ack_seconds_sum": 12.5,
		})
	}},
	{name: "no memory", play: func(w *world, is func(values)) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.sink.keep()
		w.write("app.log", strings.Repeat("0123456789\n", 500_000))
		w.start()
		w.settle(10*time.Second + 50*time.Millisecond)
		s := w.status()
		// The time of a wait counts once it ends, which it does with each look at the files.
		is(values{"backpressure_seconds_total": 10, "memory_stalls_total": float64(s.MemoryStalls), "behind_bytes": 5_500_000})
		if s.MemoryStalls == 0 {
			w.t.Error("reading never stopped for want of memory")
		}
		w.sink.release()
		w.settle(20 * time.Second)
		is(values{"backpressure_seconds_total": 10.05, "behind_bytes": 0})
	}},
	{name: "rotations", events: true, play: func(w *world, is func(values)) {
		long := func(name string) { w.lines(name, 20) }
		for _, name := range []string{"app.log", "app.log-m", "app.log-d", "app.log-c", "app.log-z"} {
			long(name)
		}
		w.start()
		w.settle(2 * time.Second)
		w.rename("app.log", "app.log.1")
		long("app.log")
		w.rename("app.log-m", "elsewhere")
		w.remove("app.log-d")
		w.write("app.log-c", "unfinished")
		w.settle(time.Second)
		w.copyFile("app.log-c", "app.log-c.1")
		w.truncate("app.log-c")
		w.copyFile("app.log-z", "app.log-z.1")
		w.compress("app.log-z.1")
		w.truncate("app.log-z")
		w.settle(30 * time.Second)
		is(values{
			`rotations_total{kind="rename"}`: 1, `rotations_total{kind="move"}`: 1, `rotations_total{kind="delete"}`: 1,
			`rotations_total{kind="truncate"}`: 2, `rotations_total{kind="copy"}`: 1, `rotations_total{kind="compress"}`: 1,
		})
	}},
	{name: "lost with their files", play: func(w *world, is func(values)) {
		w.lines("app.log", 20)
		w.write("app.log", "these 23 bytes are lost")
		w.lines("app.log.b", 20)
		w.write("app.log.b", "and these 26 too, for sure")
		w.start()
		w.settle(2 * time.Second)
		w.truncate("app.log")
		w.settle(10 * time.Second)
		is(values{`lost_bytes_total{reason="truncated"}`: 23, `lost_bytes_total{reason="missing"}`: 0})
		w.write("app.log", strings.Repeat("\x00", 500)+"text\n")
		w.settle(2 * time.Second)
		is(values{`lost_bytes_total{reason="hole"}`: 500})
		w.stopped()
		w.remove("app.log.b")
		w.start()
		w.settle(10 * time.Second)
		is(values{`lost_bytes_total{reason="missing"}`: 26, `lost_bytes_total{reason="truncated"}`: 0})
	}},
	{name: "deleted before they are read", flow: agent.FlowConfig{CloseDeletedAfter: 20 * time.Second}, play: func(w *world, is func(values)) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.sink.keep()
		w.write("app.log", strings.Repeat("0123456789\n", 500_000))
		w.start()
		w.settle(2 * time.Second)
		read := w.status().Files[0].Read
		w.remove("app.log")
		w.settle(19 * time.Second)
		is(values{`lost_bytes_total{reason="deleted"}`: 0, "open_files": 1})
		w.settle(5 * time.Second)
		is(values{`lost_bytes_total{reason="deleted"}`: float64(5_500_000 - read), "open_files": 0})
		w.sink.release()
	}},
	{name: "too large", flow: agent.FlowConfig{MaxRecordBytes: 1024}, play: func(w *world, is func(values)) {
		w.write("app.log", strings.Repeat("x", 1999)+"\n"+"y\n")
		w.start()
		w.settle(time.Second)
		is(values{
			`records_total{result="oversize"}`: 1, `records_total{result="sent"}`: 2, `lost_bytes_total{reason="oversize"}`: 2000 - (1024 - 64 - 1),
			"acked_bytes_total": 1024 - 64 + 2, "read_bytes_total": 2002,
		})
	}},
	{name: "not of the format", flow: agent.FlowConfig{SkipHeaderLines: 2, DataProcessing: &transform.Chain{Options: []transform.Option{
		syslog, &transform.JSONFields{Drop: []string{"program"}}, transform.AddBrackets{},
	}}}, play: func(w *world, is func(values)) {
		w.write("app.log", "head\nhead\nbad one\nMar 12 12:00:08 h p: m\nMar 12 12:00:09 h p: m\n")
		w.start()
		w.settle(time.Second)
		is(values{
			`records_total{result="filtered"}`: 2, `records_total{result="parse_failed"}`: 1, `records_total{result="sent"}`: 2,
			`lost_bytes_total{reason="unparsed"}`:                                        8,
			`option_records_total{option="LOGTOJSON",position="0",result="skipped"}`:     1,
			`option_records_total{option="LOGTOJSON",position="0",result="converted"}`:   2,
			`option_records_total{option="LOGTOJSON",position="0",result="failed"}`:      0,
			`option_records_total{option="JSONFIELDS",position="1",result="converted"}`:  2,
			`option_records_total{option="ADDBRACKETS",position="2",result="converted"}`: 2,
			`option_records_total{option="ADDBRACKETS",position="2",result="skipped"}`:   0,
		})
	}},
	{name: "no JSON", flow: agent.FlowConfig{
		OnParseError: agent.ParseErrorDeadLetter, DataProcessing: &transform.Chain{Options: []transform.Option{&transform.JSONFields{Drop: []string{"a"}}}},
	}, play: func(w *world, is func(values)) {
		w.cfg.Flows[0].DeadLetterFile = filepath.Join(w.t.TempDir(), "dead")
		w.write("app.log", "{\"a\":1}\nno\n{\"b\":1}\n")
		w.start()
		w.settle(time.Second)
		is(values{
			`option_records_total{option="JSONFIELDS",position="0",result="failed"}`: 1, `option_records_total{option="JSONFIELDS",position="0",result="converted"}`: 2,
			`records_total{result="dead_letter"}`: 1, `records_total{result="parse_failed"}`: 1, `lost_bytes_total{reason="unparsed"}`: 0,
		})
	}},
	{name: "expired", flow: agent.FlowConfig{RecordTTL: 10 * time.Second, RetryMax: time.Second}, play: func(w *world, is func(values)) {
		w.sink.refuse = func() bool { return true }
		w.write("app.log", strings.Repeat("0123456789\n", 10))
		w.start()
		w.settle(9 * time.Second)
		is(values{`records_total{result="expired"}`: 0, `lost_bytes_total{reason="expired"}`: 0, "behind_bytes": 110})
		w.settle(3 * time.Second)
		is(values{`records_total{result="expired"}`: 10, `lost_bytes_total{reason="expired"}`: 110, "behind_bytes": 0})
	}},
	{name: "second names", flow: agent.FlowConfig{Protect: agent.ProtectHardlink}, play: func(w *world, is func(values)) {
		w.cfg.FS = unlinkable{w.cfg.FS}
		w.cfg.Flows[0].ProtectDirectory = w.path("protected")
		w.lines("app.log", 10)
		w.lines("app.log.b", 10)
		w.lines("app.log.never", 10)
		w.start()
		w.settle(2 * time.Second)
		is(values{"protected_files": 2, "unprotected_files_total": 1})
	}},
	{name: "deleted when delivered", flow: agent.FlowConfig{DeleteDelivered: true}, play: func(w *world, is func(values)) {
		w.lines("app.log", 10)
		w.start()
		w.settle(2 * time.Second)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 10)
		w.settle(30 * time.Second)
		is(values{"deleted_files_total": 1, "files_tracked": 1})
	}},
	{name: "a disk that fails", play: func(w *world, is func(values)) {
		var full atomic.Bool
		w.cfg.FS = vfstest.FS{FS: w.cfg.FS, Fault: func(op vfstest.Op, name string) error {
			if full.Load() && op == vfstest.Write && strings.HasPrefix(name, w.cfg.CheckpointFile) {
				return syscall.ENOSPC
			}
			return nil
		}}
		w.lines("app.log", 10)
		w.start()
		w.settle(2500 * time.Millisecond)
		is(values{"checkpoint_success": 1, "checkpoint_failures_total": 0, "checkpoint_age_seconds": 0.5})
		stored := w.values()["checkpoint_persist_seconds_count"]
		full.Store(true)
		w.lines("app.log", 10)
		w.settle(10 * time.Second)
		is(values{
			"checkpoint_success": 0, "checkpoint_failures_total": 10, "checkpoint_age_seconds": 10.5, "checkpoint_persist_seconds_count": stored,
			`records_total{result="sent"}`: 20,
		})
		full.Store(false)
		w.settle(time.Second)
		is(values{
			"checkpoint_success": 1, "checkpoint_failures_total": 10, "checkpoint_age_seconds": 0.5, "checkpoint_persist_seconds_count": stored + 1,
		})
	}},
	// Each look at the directory takes 10 ms, and each write of positions 20.
	{name: "a disk that is slow", events: true, play: func(w *world, is func(values)) {
		w.deaf = true
		w.cfg.FS = slow{w.cfg.FS, w.dir, w.cfg.CheckpointFile}
		w.sink.delay = func() time.Duration { return 300 * time.Millisecond }
		w.lines("app.log", 10)
		w.check(os.Mkdir(w.path("app.log.dir"), 0o700))
		w.start()
		w.settle(25 * time.Second) // scans after 0, 10 and 20 s
		n := w.values()["checkpoint_persist_seconds_count"]
		is(values{
			"scan_seconds_count": 3, "scan_seconds_sum": 0.03, `troubles_total{reason="not_regular"}`: 3, `troubles_total{reason="other"}`: 0,
			"checkpoint_persist_seconds_count": n, "checkpoint_persist_seconds_sum": n * 0.02,
			`checkpoint_persist_seconds_bucket{le="0.01"}`: 0, `checkpoint_persist_seconds_bucket{le="0.05"}`: n,
		})
		if n < 2 || n > 3 { // what is found is stored at once, the rest in the next second
			w.t.Errorf("positions were written %v times", n)
		}
	}},
	{name: "what cannot be read", events: true, play: func(w *world, is func(values)) {
		w.deaf = true
		w.cfg.FS = refusing{w.cfg.FS, map[string]error{
			w.path("app.log.secret"): syscall.EACCES, w.path("app.log.too-many"): syscall.EMFILE, w.path("app.log.broken"): syscall.EIO,
		}}
		w.cfg.Flows[0].Include = []string{w.path("none/*")}
		for _, name := range []string{"app.log.secret", "app.log.too-many", "app.log.broken"} {
			w.write(name, "x\n")
		}
		w.check(os.Mkdir(w.path("app.log.dir"), 0o700))
		w.start()
		w.settle(50 * time.Millisecond) // one scan
		is(values{
			`troubles_total{reason="permission"}`: 1, `troubles_total{reason="limit"}`: 1, `troubles_total{reason="other"}`: 1,
			`troubles_total{reason="missing"}`: 1, `troubles_total{reason="not_regular"}`: 1,
		})
	}},
	{name: "a configuration that is not taken", play: func(w *world, is func(values)) {
		w.start()
		w.settle(time.Second)
		w.a.ReloadFailed(errors.New("broken"))
		is(values{"config_reload_success": 0})
		w.a.ReloadFailed(nil)
		is(values{"config_reload_success": 1})
	}},
}

// syslog is LOGTOJSON with the format SYSLOG.
var syslog = func() transform.Option {
	o, err := transform.NewLogToJSON("SYSLOG", "", nil, false)
	if err != nil {
		panic(err)
	}
	return o
}()

// unlinkable refuses a second name to some files.
type unlinkable struct{ vfs.FS }

func (u unlinkable) Link(oldName, newName string) error {
	if strings.HasSuffix(oldName, ".never") {
		return syscall.EPERM
	}
	return u.FS.Link(oldName, newName)
}

// slow takes time to list a directory, and to write to a file.
type slow struct {
	vfs.FS
	dir, file string
}

func (s slow) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == s.dir {
		time.Sleep(10 * time.Millisecond)
	}
	return s.FS.ReadDir(name)
}

func (s slow) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err == nil && strings.HasPrefix(name, s.file) {
		f = slowFile{f}
	}
	return f, err
}

type slowFile struct{ vfs.File }

func (f slowFile) Sync() error {
	time.Sleep(20 * time.Millisecond)
	return f.File.Sync()
}

// values returns the metrics by name and labels.
func (w *world) values() values {
	w.t.Helper()
	v, _ := w.metrics()
	return v
}

// optionLabels are labels of a metric whose values are as many as users have options.
var optionLabels = regexp.MustCompile(`option="[^"]*",position="[^"]*",`)

// TestMetricValues checks what metrics are when something happens. Users' dashboards and
// alarms have their names. A metric, or a value of a label, that no case has seen at
// another value than zero is one whose meaning nothing tests, and fails too.
func TestMetricValues(t *testing.T) {
	exported, tested := make(map[string]bool), make(map[string]bool)
	for _, tt := range metricCases {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tt.flow)
				if tt.events {
					w.watcher = &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
				}
				tt.play(w, func(want values) {
					t.Helper()
					got := w.values()
					for what, v := range want {
						if g, ok := got[what]; !ok || math.Abs(g-v) > 1e-6 {
							t.Errorf("%s is %v, want %v (exported: %t)", what, g, v, ok)
						}
						tested[optionLabels.ReplaceAllString(what, "")] = tested[optionLabels.ReplaceAllString(what, "")] || v != 0
					}
					for what := range got {
						exported[optionLabels.ReplaceAllString(what, "")] = true
					}
				})
				w.cancel()
				if err := <-w.done; err != nil && !errors.Is(err, agent.ErrNotDrained) {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
	for what := range maps.Keys(exported) {
		if !tested[what] && !strings.Contains(what, "_bucket{") {
			t.Errorf("no case has streamagent_%s at another value than 0", what)
		}
	}
	if len(exported) < 60 {
		t.Error(fmt.Sprint(len(exported), " metrics are exported, want all"))
	}
}
