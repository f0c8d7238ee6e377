package integration_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/aggregation"
)

var (
	agentOutage = flag.Duration("agent-outage", 2*time.Second, "how long the server is away in TestAgentOutlivesAnOutage")
	agentSoak   = flag.Duration("agent-soak", 4*time.Second, "how long TestAgentSoak writes")
	agentRate   = flag.Int("agent-rate", 1_000_000, "bytes that are written to the agent's files in a second")
)

// agentMemory is what an agent with the default maxMemoryBytes of 16 MiB may take,
// all told.
const agentMemory = 64 << 20

// TestAgentOutlivesAnOutage kills the server under an agent whose file is written and
// rotated all the time, and starts it again after a time. Every line arrives, the
// memory stays what it may be, and the positions are those of the files' ends: the
// next agent sends what is written from then on, and nothing again.
func TestAgentOutlivesAnOutage(t *testing.T) {
	needProcesses(t)
	const stream = "lines"
	s := startServer(t)
	s.createStream(stream, 2)
	dir := t.TempDir()
	config := writeAgentConfig(t, s, dir, stream, true)
	a := startAgent(t, s, config)

	// Some twenty rotations while the server is away.
	lineBytes := len(testLine(0)) + 90
	w := &rotatingWriter{t: t, path: filepath.Join(dir, "app.log"), perFile: max(1000, int(agentOutage.Seconds()*float64(*agentRate))/lineBytes/20)}
	a.writeFor(*agentOutage/4, w.writeLine, w.flush)
	s.kill()
	a.writeFor(*agentOutage, w.writeLine, w.flush)
	during := a.flow()
	s.start()
	up := time.Now()
	// What is written meanwhile has to be delivered beside it.
	for caughtUp := false; !caughtUp; {
		if time.Since(up) > *agentOutage+time.Minute {
			t.Fatalf("after %v the agent is still behind: %+v", time.Since(up), a.flow())
		}
		a.writeFor(200*time.Millisecond, w.writeLine, w.flush)
		f := a.flow()
		caughtUp = f.State == "running" && f.BehindBytes < 2*int64(*agentRate) && f.BehindFiles <= 2
	}
	after := time.Since(up).Round(10 * time.Millisecond)
	a.writeFor(*agentOutage/20, w.writeLine, w.flush)
	w.close()
	a.settle(w.lines)
	f := a.flow()
	nothingLost(t, f)
	if during.BehindBytes == 0 || during.State == "running" && *agentOutage > time.Minute {
		t.Errorf("the state without a server is %q, and %d bytes wait", during.State, during.BehindBytes)
	}
	a.sample()
	if err := a.stop(); err != nil {
		t.Errorf("the agent stops with %v", err)
	}
	positionsAtEnds(t, config, dir)
	twice := s.linesOnce(stream, w.lines)

	// The positions tell the next one where to go on.
	old := w.lines
	b := startAgent(t, s, config)
	for range 1000 {
		w.writeLine()
	}
	w.close()
	eventually(t, time.Minute, "what was written last is delivered", func() error {
		if f := b.flow(); f.AckedRecords < 1000 || f.BehindBytes > 0 {
			return fmt.Errorf("%d records of 1000", f.AckedRecords)
		}
		return nil
	})
	if err := b.stop(); err != nil {
		t.Errorf("the next agent stops with %v", err)
	}
	if again := s.linesOnce(stream, w.lines); again != twice {
		t.Errorf("%d lines came once more with the next agent", again-twice)
	}
	t.Logf("%d lines, %d MB, in %d files; at the end of %v without a server %d MB were behind, caught up %v after it; %d lines stored twice",
		old, f.ReadBytes/1_000_000, w.files+1, *agentOutage, during.BehindBytes/1_000_000, after, twice)
	a.report()
}

// TestAgentSoak has files made, written, rotated, copied, truncated and deleted at
// random under the agent. Every line arrives, and in the end the agent has no more
// descriptors, goroutines and memory than it needs for the files that are there.
func TestAgentSoak(t *testing.T) {
	needProcesses(t)
	const stream = "soaked"
	s := startServer(t)
	s.createStream(stream, 2)
	dir := t.TempDir()
	config := writeAgentConfig(t, s, dir, stream, true)
	changeConfig(t, config, map[string]any{"flows": []map[string]any{{
		"filePattern": filepath.Join(dir, "**", "*.log*"), "kinesisStream": stream, "initialPosition": "START_OF_FILE",
		"maxBufferAgeMillis": 500, "maxTimeBetweenFileTrackerRefreshMillis": 1000, "rotateWaitSeconds": 1, "aggregation": true,
	}}})
	a := startAgent(t, s, config)
	k := &soak{agent: a, r: chance(7), dir: dir}

	k.write(*agentSoak / 4)
	k.finishLines()
	a.settle(k.lines)
	early := a.sample()
	k.write(*agentSoak * 3 / 4)
	k.finishLines()
	a.settle(k.lines)
	// What is rotated or deleted is given up once it is sure to grow no more.
	var f agent.FlowStatus
	eventually(t, time.Minute, "no file is open that is not there", func() error {
		if f = a.flow(); f.OpenFiles > int64(len(k.files)+len(k.old)) {
			return fmt.Errorf("%d files are open, there are %d", f.OpenFiles, len(k.files)+len(k.old))
		}
		return nil
	})
	late := a.sample()
	nothingLost(t, f)
	if late.goroutines > early.goroutines+5 {
		t.Errorf("%d goroutines, %d after a quarter of the time", late.goroutines, early.goroutines)
	}
	// Besides files: the checkpoints, sockets, events.
	if others := late.descriptors - int(f.OpenFiles); others > 40 {
		t.Errorf("%d descriptors are open besides %d files", others, f.OpenFiles)
	}
	if err := a.stop(); err != nil {
		t.Errorf("the agent stops with %v", err)
	}
	positionsAtEnds(t, config, dir)
	twice := s.linesOnce(stream, k.lines)
	t.Logf("%d lines, %d MB; %d made, %d renamed, %d copied and truncated, %d truncated, %d deleted; %d lines stored twice",
		k.lines, f.ReadBytes/1_000_000, k.made, k.renamed, k.copied, k.truncated, k.deleted, twice)
	t.Logf("after a quarter %v, at the end %v, with %d files", early, late, len(k.files)+len(k.old))
	a.report()
}

// A soak writes and rotates files at random.
type soak struct {
	agent *watchedAgent
	r     *rand.Rand
	dir   string

	lines, names                              int
	files                                     []*soakFile // that are written
	old                                       []string    // rotated files
	made, renamed, copied, truncated, deleted int
}

type soakFile struct {
	path  string
	f     *os.File
	rest  string // of a line that is written by half
	quiet bool   // is not written to until it is truncated
}

func (k *soak) write(d time.Duration) {
	k.agent.t.Helper()
	step := time.Now()
	k.agent.writeFor(d, k.writeLine, func() {
		if time.Since(step) > 50*time.Millisecond {
			step = time.Now()
			k.change()
		}
	})
}

// writeLine writes a line, a half of one at times, to one of the files.
func (k *soak) writeLine() int {
	if len(k.files) == 0 {
		k.create()
	}
	f := k.files[k.r.IntN(len(k.files))]
	if f.quiet && k.r.IntN(1000) > 0 {
		return 0
	}
	text := f.rest
	if f.rest = ""; text == "" {
		text = testLine(k.lines) + "\n"
		k.lines++
	}
	if k.r.IntN(50) == 0 {
		text, f.rest = text[:len(text)/2], text[len(text)/2:]
	}
	k.text(f, text)
	return len(text)
}

func (k *soak) text(f *soakFile, text string) {
	if _, err := f.f.WriteString(text); err != nil {
		k.agent.t.Fatal(err)
	}
}

func (k *soak) finishLines() {
	for _, f := range k.files {
		k.text(f, f.rest)
		f.rest = ""
	}
}

func (k *soak) create() {
	path := filepath.Join(k.dir, fmt.Sprintf("d%d", k.r.IntN(4)), fmt.Sprintf("f%d.log", k.names))
	k.names++
	k.made++
	k.must(os.MkdirAll(filepath.Dir(path), 0o755))
	k.files = append(k.files, &soakFile{path: path, f: k.open(path)})
}

func (k *soak) open(path string) *os.File {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	k.must(err)
	k.agent.t.Cleanup(func() { _ = f.Close() }) // most are closed before
	return f
}

func (k *soak) must(err error) {
	k.agent.t.Helper()
	if err != nil {
		k.agent.t.Fatal(err)
	}
}

// change does something to a file.
func (k *soak) change() {
	n := len(k.files)
	if n < 5 || n < 30 && k.r.IntN(4) == 0 {
		k.create()
		return
	}
	i := k.r.IntN(n)
	f := k.files[i]
	k.text(f, f.rest)
	f.rest = ""
	k.names++
	rotated := fmt.Sprintf("%s.%d", f.path, k.names)
	switch k.r.IntN(5) {
	case 0: // the last line of the old file may lack its end
		if k.r.IntN(3) == 0 {
			k.text(f, testLine(k.lines))
			k.lines++
		}
		k.must(os.Rename(f.path, rotated))
		k.must(f.f.Close())
		f.f = k.open(f.path)
		k.old = append(k.old, rotated)
		k.renamed++
	case 1: // as copytruncate does
		b, err := os.ReadFile(f.path)
		k.must(err)
		k.must(os.WriteFile(rotated, b, 0o600))
		k.must(f.f.Truncate(0))
		k.old = append(k.old, rotated)
		k.copied++
	case 2: // what is not delivered would be lost
		if !f.quiet {
			f.quiet = true
		} else if k.agent.drained(f.path) {
			k.must(f.f.Truncate(0))
			f.quiet = false
			k.truncated++
		}
	case 3:
		if n > 15 && k.agent.holds(f.path) {
			k.must(f.f.Close())
			k.must(os.Remove(f.path))
			k.files = slices.Delete(k.files, i, i+1)
			k.deleted++
		}
	default:
		k.old = slices.DeleteFunc(k.old, func(path string) bool {
			if len(k.old) < 10 || k.r.IntN(2) == 0 || !k.agent.holds(path) && !k.agent.drained(path) {
				return false
			}
			k.must(os.Remove(path))
			k.deleted++
			return true
		})
	}
}

// A watchedAgent is an agent whose use of the machine is looked at.
type watchedAgent struct {
	*process
	t      *testing.T
	http   http.Client
	rate   int   // bytes a second of writeFor
	memory int64 // that it may take, all told

	samples []usage
	peak    usage
}

// usage is what an agent uses of the machine.
type usage struct {
	resident, heap          int64 // bytes
	goroutines, descriptors int
	cpu                     time.Duration // since its start
}

func (u usage) String() string {
	return fmt.Sprintf("%d MB (%d MB heap), %d goroutines, %d descriptors", u.resident>>20, u.heap>>20, u.goroutines, u.descriptors)
}

func startAgent(t *testing.T, s *server, config string) *watchedAgent {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	a := &watchedAgent{t: t, rate: *agentRate, memory: agentMemory, process: start(t, "streamagent", s.env(), "-c", config, "--socket", socket)}
	a.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(a.http.CloseIdleConnections)
	eventually(t, time.Minute, "the agent is ready", func() error {
		if a.ended() {
			return fmt.Errorf("%w: the agent ended: %w", errGiveUp, a.err)
		}
		body, err := a.get("/status")
		if err == nil && !strings.Contains(body, `"id"`) {
			return fmt.Errorf("no flow yet: %s", body)
		}
		return err
	})
	return a
}

func (a *watchedAgent) get(path string) (string, error) {
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, "http://agent"+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, b)
	}
	return string(b), err
}

// flow is the state of the agent's only flow.
func (a *watchedAgent) flow() agent.FlowStatus {
	a.t.Helper()
	var s agent.Status
	body, err := a.get("/status")
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil || len(s.Flows) != 1 {
		a.t.Fatalf("status of the agent: %v: %s", err, body)
	}
	return s.Flows[0]
}

// drained reports whether all of a file is delivered.
func (a *watchedAgent) drained(path string) bool {
	body, err := a.get("/drained?path=" + path)
	if err != nil {
		return false // not found yet
	}
	var d agent.Delivery
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		a.t.Fatalf("drained: %v: %s", err, body)
	}
	return d.Pending == 0
}

// holds reports whether the agent has the file open, whatever becomes of its name.
func (a *watchedAgent) holds(path string) bool {
	fi, err := os.Stat(path)
	if err != nil {
		a.t.Fatal(err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		a.t.Fatalf("%s has no inode", path)
	}
	ino := fmt.Sprintf("ino=%d)", st.Ino)
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", a.cmd.Process.Pid))
	if err != nil {
		a.t.Fatal(err)
	}
	open := false
	for _, fd := range fds {
		if other, err := os.Stat(fd); err == nil && os.SameFile(fi, other) {
			open = true
		}
	}
	return open && slices.ContainsFunc(a.flow().Files, func(f agent.FileStatus) bool { return strings.HasSuffix(f.FileID, ino) })
}

// metricsPage is what the agent says of itself.
type metricsPage struct {
	t    *testing.T
	text string
}

func (a *watchedAgent) metrics() metricsPage {
	a.t.Helper()
	text, err := a.get("/metrics")
	if err != nil {
		a.t.Fatalf("the agent does not answer: %v", err)
	}
	return metricsPage{a.t, text}
}

// number returns the value of a metric, named with its labels.
func (m metricsPage) number(name string) float64 {
	m.t.Helper()
	_, rest, _ := strings.Cut(m.text, "\n"+name+" ")
	digits, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		m.t.Fatalf("metric %s: %v", name, err)
	}
	return n
}

// sample looks at what the agent uses.
func (a *watchedAgent) sample() (u usage) {
	a.t.Helper()
	m := a.metrics()
	u = usage{
		resident: int64(m.number("process_resident_memory_bytes")), heap: int64(m.number("go_memstats_heap_alloc_bytes")),
		goroutines: int(m.number("go_goroutines")), descriptors: int(m.number("process_open_fds")),
		cpu: time.Duration(m.number("process_cpu_seconds_total") * float64(time.Second)),
	}
	a.samples = append(a.samples, u)
	a.peak.resident, a.peak.heap = max(a.peak.resident, u.resident), max(a.peak.heap, u.heap)
	a.peak.goroutines, a.peak.descriptors = max(a.peak.goroutines, u.goroutines), max(a.peak.descriptors, u.descriptors)
	if u.resident > a.memory {
		a.t.Errorf("the agent takes %d MB", u.resident>>20)
	}
	return u
}

// report logs what the agent used at most.
func (a *watchedAgent) report() {
	a.t.Helper()
	a.t.Logf("at the most, of %d looks: %v", len(a.samples), a.peak)
}

// writeFor writes at the agent's rate, calling moment every 20 ms, and looks
// at the agent once a second.
func (a *watchedAgent) writeFor(d time.Duration, line func() int, moment func()) {
	a.t.Helper()
	begin, looked, written := time.Now(), time.Time{}, 0
	for time.Since(begin) < d {
		for due := int(time.Since(begin).Seconds() * float64(a.rate)); written < due; {
			written += line()
		}
		moment()
		if time.Since(looked) > time.Second {
			if a.ended() {
				a.t.Fatalf("the agent ended: %v", a.err)
			}
			looked = time.Now()
			a.sample()
		}
		pause(a.t.Context(), 20*time.Millisecond)
	}
}

// settle waits until the agent has delivered that many lines, and nothing waits.
func (a *watchedAgent) settle(lines int) {
	a.t.Helper()
	eventually(a.t, *agentOutage+2*time.Minute, "all is delivered", func() error {
		if a.ended() {
			return fmt.Errorf("%w: the agent ended: %w", errGiveUp, a.err)
		}
		f := a.flow()
		if f.BehindBytes > 0 || f.OldestUnacked > 0 || f.AckedRecords < uint64(lines) {
			return fmt.Errorf("%d records of %d lines, %d bytes behind", f.AckedRecords, lines, f.BehindBytes)
		}
		return nil
	})
}

// nothingLost fails if a flow has counted lost bytes.
func nothingLost(t *testing.T, f agent.FlowStatus) {
	t.Helper()
	for reason, n := range f.LostBytes {
		if n > 0 {
			t.Errorf("%d bytes are counted as lost: %s", n, reason)
		}
	}
}

// positionsAtEnds fails if the position in a file that is there is not its end.
func positionsAtEnds(t *testing.T, config, dir string) {
	t.Helper()
	at := make(map[string]int64)
	for _, p := range positions(t, config) {
		_, ino, _ := strings.Cut(p.FileID, "ino=")
		at[p.Path+"\x00"+strings.TrimSuffix(ino, ")")] = p.Offset
	}
	n := 0
	if err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err != nil || !fi.Mode().IsRegular() {
			return err
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s has no inode", path)
		}
		offset, known := at[fmt.Sprintf("%s\x00%d", path, st.Ino)]
		if offset != fi.Size() || !known && fi.Size() > 0 {
			t.Errorf("the position in %s is %d, it has %d bytes", path, offset, fi.Size())
		}
		n++
		return nil
	}); err != nil || n == 0 {
		t.Errorf("%d files: %v", n, err)
	}
}

// linesOnce is eachOnce of lines that testLine made.
func (s *server) linesOnce(stream string, n int) (again int) {
	s.t.Helper()
	return s.eachOnce(stream, n, lineNumber)
}

// eachOnce fails unless each of the first n lines, and nothing else, is in the stream,
// and returns how many are there once more. It reads the stream bit by bit; number tells
// which of the n lines a record is.
func (s *server) eachOnce(stream string, n int, number func(record []byte, n int) (int, error)) (again int) {
	s.t.Helper()
	seen := make([]uint8, n)
	take := func(data []byte) error {
		i, err := number(data, n)
		if err == nil {
			seen[i]++
		}
		return err
	}
	shards, err := s.shards(s.t.Context(), stream)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, sh := range shards {
		if err := s.scanShard(s.t.Context(), stream, *sh.ShardId, func(r *types.Record) (bad error) {
			packed, err := aggregation.Walk(r.Data, func(_ int, user aggregation.Record) bool {
				bad = take(user.Data)
				return bad == nil
			})
			if err == nil && !packed {
				err = take(r.Data)
			}
			if bad == nil {
				bad = err
			}
			return bad
		}); err != nil {
			s.t.Fatal(err)
		}
	}
	missing, first := 0, -1
	for i, times := range seen {
		if times == 0 {
			if missing++; first < 0 {
				first = i
			}
		} else {
			again += int(times) - 1
		}
	}
	if missing > 0 {
		s.t.Errorf("%d of %d lines are missing, the first is %d", missing, n, first)
	}
	return again
}
