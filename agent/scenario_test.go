package agent_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
)

// logrotate runs the real one on app.log with these directives, now. Where it is
// not installed the test is skipped, or fails if CI or LOGROTATE_REQUIRE is set.
func (w *world) logrotate(directives ...string) {
	w.t.Helper()
	program, err := exec.LookPath("logrotate")
	if err != nil {
		for _, dir := range []string{"/usr/sbin/logrotate", "/sbin/logrotate"} {
			if _, serr := os.Stat(dir); serr == nil {
				program, err = dir, nil
			}
		}
	}
	if err != nil && (os.Getenv("CI") != "" || os.Getenv("LOGROTATE_REQUIRE") != "") {
		w.t.Fatal("logrotate is not installed; install the package logrotate")
	}
	if err != nil {
		w.t.Skip("skipped: logrotate is not installed; install the package logrotate")
	}
	// Apart from the logs, and not writable by others, or it refuses.
	dir := w.t.TempDir()
	conf := filepath.Join(dir, "conf")
	text := fmt.Sprintf("%s {\n  rotate 9\n  %s\n}\n", w.path("app.log"), strings.Join(directives, "\n  "))
	w.check(os.WriteFile(conf, []byte(text), 0o600))
	//nolint:noctx // a context's goroutine would outlive the bubble's test
	out, err := exec.Command(program, "--force", "--state", filepath.Join(dir, "state"), conf).CombinedOutput()
	if err != nil {
		w.t.Fatalf("logrotate: %v\n%s", err, out)
	}
	w.changed()
}

// header appends text that every file begins with.
func (w *world) header(name string) {
	w.t.Helper()
	h := strings.Repeat("# a header that all files have\n", 40)
	if len(h) < 1100 {
		w.t.Fatal("the header is shorter than a prefix")
	}
	for line := range strings.Lines(h) {
		w.repeated[line]++
	}
	w.write(name, h)
}

// A scenario is a way in which files are rotated.
type scenario struct {
	name   string
	flow   agent.FlowConfig
	log    string         // where is written to; empty: app.log
	before func(w *world) // in place of 500 lines in app.log, before the agent starts
	rotate func(w *world)
	loses  bool // what nobody has seen is gone, if the agent does not run
}

var scenarios = []scenario{
	{name: "rename_create", rotate: func(w *world) {
		w.logrotate("create")
		w.lines("app.log", 10)
	}},
	{name: "rename_create_plain_filename", flow: agent.FlowConfig{FilePattern: "app.log"}, rotate: func(w *world) {
		w.logrotate("create")
		w.lines("app.log", 10)
	}},
	{name: "rename_write_create", rotate: func(w *world) {
		w.rename("app.log", "app.log.1")
		w.lines("app.log.1", 10) // the writer has not noticed yet
		w.lines("app.log", 10)
	}},
	{name: "rename_chain", rotate: func(w *world) {
		for range 3 {
			w.logrotate("create")
			w.lines("app.log", 10)
		}
	}},
	{name: "dateext_create", rotate: func(w *world) {
		w.logrotate("create", "dateext")
		w.lines("app.log", 10)
	}},
	{name: "copytruncate_copy_in_pattern", rotate: func(w *world) {
		w.logrotate("copytruncate")
		w.lines("app.log", 10)
	}},
	{name: "copytruncate_copy_out_of_pattern", flow: agent.FlowConfig{FilePattern: "app.log"}, rotate: func(w *world) {
		w.logrotate("copytruncate")
		w.lines("app.log", 10)
	}},
	{name: "copytruncate_dateext", flow: agent.FlowConfig{FilePattern: "app.log"}, rotate: func(w *world) {
		w.logrotate("copytruncate", "dateext", "extension .log")
		w.lines("app.log", 10)
	}},
	{name: "copytruncate_compress", flow: agent.FlowConfig{FilePattern: "app.log"}, rotate: func(w *world) {
		w.logrotate("copytruncate", "compress")
		w.lines("app.log", 10)
	}},
	{name: "copytruncate_same_header", before: func(w *world) {
		w.header("app.log")
		w.lines("app.log", 100)
	}, rotate: func(w *world) {
		w.logrotate("copytruncate")
		w.header("app.log")
		w.lines("app.log", 10)
	}},
	{name: "slow_copytruncate", rotate: func(w *world) {
		w.copyFile("app.log", "app.log.1")
		w.settle(3 * time.Second)
		w.truncate("app.log")
		w.lines("app.log", 10)
	}},
	{name: "truncate_refill_larger", rotate: func(w *world) {
		w.copyFile("app.log", "app.log.1")
		w.truncate("app.log")
		w.lines("app.log", 3000)
	}},
	{name: "truncate_refill_same_first_kb", before: func(w *world) {
		w.header("app.log")
		w.lines("app.log", 100)
	}, rotate: func(w *world) {
		w.copyFile("app.log", "app.log.1")
		w.truncate("app.log")
		w.header("app.log")
		w.lines("app.log", 500)
	}},
	{name: "olddir", flow: agent.FlowConfig{FilePattern: "app.log", RotatedDirs: []string{"old"}}, rotate: func(w *world) {
		w.logrotate("create", "olddir "+w.path("old"), "createolddir")
		w.lines("app.log", 10)
	}},
	{name: "compress_now", flow: agent.FlowConfig{FilePattern: "app.log"}, rotate: func(w *world) {
		w.logrotate("create", "compress")
		w.lines("app.log", 10)
	}},
	{name: "delaycompress", rotate: func(w *world) {
		for range 2 {
			w.logrotate("create", "compress", "delaycompress")
			w.lines("app.log", 10)
			if w.cancel != nil {
				w.settle(2 * time.Second) // what is new to the agent must not be compressed before it looks
			}
		}
	}},
	{name: "delete_unread", loses: true, rotate: func(w *world) {
		w.forgo("app.log")
		w.remove("app.log")
		w.lines("app.log", 10)
	}},
	{name: "delete_recreate_same_inode", loses: true, rotate: func(w *world) {
		for range 10 {
			w.lines("app.log", 10)
			if w.cancel != nil {
				w.settle(1500 * time.Millisecond)
			}
			w.forgo("app.log")
			w.remove("app.log")
		}
		w.lines("app.log", 10)
	}},
	{name: "symlink_swap", before: func(w *world) {
		w.lines("app.log.00", 500)
		w.check(os.Symlink(w.path("app.log.00"), w.path("app.log")))
	}, rotate: func(w *world) {
		for i := range 30 {
			target := fmt.Sprintf("app.log.%02d", i+1)
			w.lines(target, 5)
			w.check(os.Symlink(w.path(target), w.path("new")))
			w.rename("new", "app.log")
			w.lines("app.log", 5)
			w.settle(10 * time.Millisecond)
		}
	}},
	{name: "atomic_replace", rotate: func(w *world) {
		w.copyFile("app.log", "app.log.1") // as a backup, or the old content is gone
		w.lines("other", 10)
		w.rename("other", "app.log")
	}},
	{name: "replace_by_longer_copy", rotate: func(w *world) { // as rsync and editors do
		w.settle(2 * time.Second)
		w.copyFile("app.log", "other")
		w.lines("other", 10)
		w.rename("other", "app.log")
	}},
	{name: "rotate_10_per_second", rotate: func(w *world) {
		for i := range 20 {
			w.lines("app.log", 20)
			w.settle(100 * time.Millisecond)
			w.rename("app.log", "app.log."+strings.Repeat("i", i+1))
		}
	}},
	{name: "rotate_during_scan", rotate: func(w *world) {
		// All happens between a listing and the looks at what it has listed.
		for range 5 {
			f := func() { w.logrotate("create"); w.lines("app.log", 10) }
			w.fs.listed.Store(&f)
			w.settle(11 * time.Second)
		}
		w.fs.call() // if the agent does not run
	}},
	{name: "rotate_while_throttled", before: func(w *world) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.lines("app.log", 500)
	}, rotate: func(w *world) {
		w.sink.hold = true
		for range 3 {
			w.lines("app.log", 15_000) // more than the budget holds
			if w.cancel != nil {
				w.settle(2 * time.Second)
			}
			w.logrotate("create")
		}
		w.lines("app.log", 10)
		w.settle(5 * time.Second)
		w.sink.release()
	}},
	{name: "rotate_unterminated_last_line", rotate: func(w *world) {
		w.write("app.log", "the end")
		w.want = append(w.want, "the end")
		w.settle(time.Second)
		w.logrotate("create")
		w.lines("app.log", 10)
	}},
	{name: "cross_device_move", flow: agent.FlowConfig{FilePattern: "app.log", RotatedDirs: []string{"old"}}, rotate: func(w *world) {
		w.check(os.MkdirAll(w.path("old"), 0o700))
		w.copyFile("app.log", "old/app.log.1") // as mv does between file systems
		w.remove("app.log")
		w.lines("app.log", 10)
	}},
	{name: "identical_files_two_names", rotate: func(w *world) {
		w.copyFile("app.log", "app.log.b")
		for _, l := range w.want {
			w.repeated[l]++
		}
		w.settle(30 * time.Second)
		w.lines("app.log", 10)
		w.lines("app.log.b", 10)
	}},
	{name: "link_alone", flow: agent.FlowConfig{FilePattern: "app.log"}, loses: true, before: func(w *world) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.lines("target-0", 500)
		w.check(os.Symlink(w.path("target-0"), w.path("app.log")))
	}, rotate: func(w *world) {
		w.sink.keep()
		for i := range 5 {
			w.lines("app.log", 6000) // five times as much is more than the budget holds
			w.end("app.log", fmt.Sprint("the end of target ", i))
			w.settle(2 * time.Second)
			w.forgo("app.log")
			target := fmt.Sprint("target-", i+1)
			w.lines(target, 5)
			w.check(os.Symlink(w.path(target), w.path("new")))
			w.rename("new", "app.log")
		}
		w.settle(5 * time.Second)
		w.sink.release()
	}},
	// As the kubelet rotates: a link that stays leads to a file in a directory of which no
	// events come.
	{
		name: "kubernetes_containers", flow: agent.FlowConfig{FilePattern: "containers/*.log", Container: agent.ContainerAuto},
		log: podLog, loses: true,
		before: func(w *world) {
			w.cfg.MaxMemoryBytes = 4 << 20
			w.deaf = true
			w.pod()
			w.check(os.Mkdir(w.path("containers"), 0o700))
			w.check(os.Symlink(w.path(podLog), w.path("containers/web-0_ns_nginx-abc.log")))
		},
		rotate: func(w *world) {
			w.sink.keep()
			for i := range 4 {
				w.lines(podLog, 6000)
				w.settle(12 * time.Second) // longer than a scan takes to come
				w.forgo(w.rotatePod(i))
			}
			w.settle(12 * time.Second)
			w.sink.release()
		},
	},
	{
		name: "kubernetes_pods", flow: agent.FlowConfig{FilePattern: "pods/*/*/*.log*", Container: agent.ContainerAuto},
		log: podLog, before: (*world).pod,
		rotate: func(w *world) {
			for i := range 2 {
				w.lines(podLog, 10)
				w.settle(12 * time.Second)
				w.rotatePod(i)
			}
		},
	},
}

// podLog is the log of a container as the kubelet names it.
const podLog = "pods/ns_web-0_1234/nginx/0.log"

// pod makes podLog, in which lines are written as containerd does, in parts.
func (w *world) pod() {
	w.t.Helper()
	w.check(os.MkdirAll(filepath.Dir(w.path(podLog)), 0o700))
	r := &runtime{at: time.Now(), part: 100}
	w.lineAs = func(line string) string { return strings.Join(r.parts("stdout", strings.TrimSuffix(line, "\n")), "") }
	w.lines(podLog, 500)
}

// rotatePod rotates podLog for the i-th time: the file of the time before is compressed,
// and the writer notices late. It returns the name that the file has then.
func (w *world) rotatePod(i int) string {
	w.t.Helper()
	old := func(i int) string { return fmt.Sprintf("%s.20260102-03040%d", podLog, i) }
	if i > 0 {
		w.compress(old(i - 1))
	}
	w.rename(podLog, old(i))
	w.lines(old(i), 5)
	w.lines(podLog, 5)
	return old(i)
}

// compress makes a .gz of a file, which it removes.
func (w *world) compress(name string) {
	w.t.Helper()
	b, err := os.ReadFile(w.path(name))
	w.check(err)
	var z bytes.Buffer
	gz := gzip.NewWriter(&z)
	_, err = gz.Write(b)
	w.check(errors.Join(err, gz.Close()))
	w.check(os.WriteFile(w.path(name+".gz"), z.Bytes(), 0o600))
	w.remove(name)
}

// end writes a last line without a newline.
func (w *world) end(name, text string) {
	w.t.Helper()
	w.write(name, text)
	w.want = append(w.want, text)
}

// forgo notes that what the agent has not read of a file is about to be lost, if it
// does not run: nobody has it open.
func (w *world) forgo(name string) {
	w.t.Helper()
	if w.cancel != nil {
		return
	}
	b, err := os.ReadFile(w.path(name))
	w.check(err)
	for line := range strings.Lines(string(b)) {
		w.may[line] = true
	}
	if w.lineAs == nil {
		return
	}
	written := make(map[string]bool)
	for _, begin := range lineBegin.FindAllString(string(b), -1) {
		written[begin] = true
	}
	for _, line := range w.want {
		if written[lineBegin.FindString(line)] {
			w.may[line] = true
		}
	}
}

// lineBegin is how the lines of a world begin, each in a way of its own.
var lineBegin = regexp.MustCompile(`line \d{6}`)

// scenarioKinds are the rotations that are counted in each scenario, first with the agent
// running, then with an agent that finds what has become of the files.
var scenarioKinds = map[string]string{
	"rename_create":                    "rename:1; rename:1",
	"rename_create_plain_filename":     "move:1; move:1",
	"rename_write_create":              "rename:1; rename:1",
	"rename_chain":                     "rename:3; rename:3",
	"dateext_create":                   "rename:1; rename:1",
	"copytruncate_copy_in_pattern":     "copy:1 truncate:1; copy:1",
	"copytruncate_copy_out_of_pattern": "copy:1 truncate:1; copy:1",
	"copytruncate_dateext":             "copy:1 truncate:1; copy:1",
	"copytruncate_compress":            "compress:1 truncate:1; compress:1",
	"copytruncate_same_header":         "copy:1 truncate:1; copy:1",
	"slow_copytruncate":                "copy:1 truncate:1; copy:1",
	"truncate_refill_larger":           "copy:1 truncate:1; copy:1",
	"truncate_refill_same_first_kb":    "copy:1 truncate:1; copy:1",
	"olddir":                           "move:1; move:1",
	"compress_now":                     "delete:1; compress:1",
	"delaycompress":                    "rename:2; compress:1 rename:1",
	"delete_unread":                    "delete:1; ",
	"delete_recreate_same_inode":       "delete:10; ",
	"symlink_swap":                     "rename:30; rename:30",
	"atomic_replace":                   "delete:1; rename:1",
	"replace_by_longer_copy":           "delete:1; ",
	"rotate_10_per_second":             "rename:20; rename:1",
	"rotate_during_scan":               "rename:5; rename:1",
	"rotate_while_throttled":           "rename:3; rename:3",
	"rotate_unterminated_last_line":    "rename:1; rename:1",
	"cross_device_move":                "delete:1; copy:1",
	"identical_files_two_names":        "; ",
	"link_alone":                       "move:5; ",
	"kubernetes_containers":            "move:4; ",
	"kubernetes_pods":                  "rename:2; compress:1 rename:1",
}

// kinds returns the rotations that are counted.
func (w *world) kinds() string {
	var kinds []string
	for kind, n := range w.status().Rotations {
		if n > 0 {
			kinds = append(kinds, fmt.Sprintf("%s:%d", kind, n))
		}
	}
	slices.Sort(kinds)
	return strings.Join(kinds, " ")
}

// TestScenarios runs each way of rotation three times: with the agent running, with
// it stopped, and with it killed meanwhile; each of these with file events and
// without.
func TestScenarios(t *testing.T) {
	for _, tt := range scenarios {
		for _, while := range []string{"running", "stopped", "killed"} {
			t.Run(tt.name+"/"+while, func(t *testing.T) {
				bubble(t, tt.flow, func(w *world) { runScenario(w, tt, while) })
			})
		}
	}
}

func runScenario(w *world, tt scenario, while string) {
	log := cmp.Or(tt.log, "app.log")
	if tt.before != nil {
		tt.before(w)
	} else {
		w.lines(log, 500)
	}
	w.start()
	w.settle(2 * time.Second)
	w.lines(log, 20)
	duplicates := 0
	switch while {
	case "stopped":
		w.settle(2 * time.Second)
		w.stopped()
		w.lines(log, 20)
	case "killed":
		w.settle(150 * time.Millisecond)
		w.kill()
		duplicates = 20
		w.lines(log, 20)
	}
	if while != "running" {
		w.cancel = nil
	}
	tt.rotate(w)
	if while != "running" {
		w.start()
	}
	w.settle(30 * time.Second)
	w.lines(log, 10)
	w.settle(30 * time.Second)
	w.verify(duplicates)
	if s := w.status(); (!tt.loses || while == "running") && lostBytes(s) != 0 {
		w.t.Errorf("lost bytes %v, but nothing was lost", s.LostBytes)
	}
	running, asleep, known := strings.Cut(scenarioKinds[tt.name], "; ")
	if want := map[bool]string{true: running, false: asleep}[while == "running"]; !known || w.kinds() != want {
		w.t.Errorf("rotations %q, want %q", w.kinds(), want)
	}
	if s := w.status(); s.BehindBytes != 0 {
		w.t.Errorf("at rest %d bytes are not delivered", s.BehindBytes)
	}
	w.stopped()
}

// listing calls a function after a directory was listed, or before a file is opened.
type listing struct {
	vfs.FS
	listed atomic.Pointer[func()]
	opens  atomic.Pointer[func()]
}

func (l *listing) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if strings.HasPrefix(filepath.Base(name), "app.log") {
		if f := l.opens.Swap(nil); f != nil {
			(*f)()
		}
	}
	return l.FS.OpenFile(name, flag, perm)
}

func (l *listing) call() {
	if f := l.listed.Swap(nil); f != nil {
		(*f)()
	}
}

func (l *listing) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := l.FS.ReadDir(name)
	l.call()
	return entries, err
}
