package integration_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	loadRates   = flag.String("load-rates", "5", "MB a second that TestAgentPaced writes, with commas between them; each is a run of its own")
	loadTime    = flag.Duration("load-time", 2200*time.Millisecond, "how long each run of TestAgentPaced writes")
	loadRotate  = flag.Duration("load-rotate", time.Second, "time between two rotations in TestAgentPaced")
	loadBytes   = flag.Int("load-bytes", 2_000_000, "that TestAgentManyLogs writes to all logs together between two rotations")
	burstLines  = flag.Int("burst-lines", 10_000, "in each burst of TestAgentBursts")
	latencyRuns = flag.String("latency-runs", "100/100", "maxBufferAgeMillis/minTimeBetweenFilePollsMillis of the runs of TestAgentLatency, with commas between them")
	latencyTime = flag.Duration("latency-time", 600*time.Millisecond, "how long each run of TestAgentLatency writes")
)

// loadMemory is what an agent under load may take.
const loadMemory = 100 << 20

// TestAgentPaced writes a file at a pace and rotates it. Every line arrives, and none
// twice.
func TestAgentPaced(t *testing.T) {
	for name := range strings.SplitSeq(*loadRates, ",") {
		t.Run(name+" MB a second", func(t *testing.T) {
			rate, err := strconv.ParseFloat(name, 64)
			if err != nil || rate <= 0 {
				t.Fatalf("-load-rates: %q is no number of MB a second", name)
			}
			l := startAgentLoad(t, 1, nil)
			l.agent.rate = int(rate * 1e6)
			rotated, looked, most := time.Now(), time.Now(), int64(0)
			begin := time.Now()
			l.agent.writeFor(*loadTime, func() int { return l.write(0, 50) }, func() {
				if time.Since(rotated) >= *loadRotate {
					rotated = time.Now()
					l.rotate(0)
					l.removeDelivered(1)
				}
				if time.Since(looked) >= 200*time.Millisecond {
					looked = time.Now()
					most = max(most, l.agent.flow().BehindBytes)
				}
			})
			wrote := time.Since(begin)
			l.settle(*loadTime + time.Minute)
			all := time.Since(begin)
			l.t.Logf("%.1f MB/s written for %v, %d rotations; %d MB were behind at the most, and all was delivered %v after the last line",
				float64(l.lines*loadLine)/1e6/wrote.Seconds(), wrote.Round(time.Millisecond), l.rotations, most/1_000_000, (all - wrote).Round(10*time.Millisecond))
			l.check(all)
		})
	}
}

// TestAgentManyLogs writes logs as fast as it can and rotates them five times, as
// logrotate does that moves app.log.1 to app.log.2 first. Every line arrives, and none
// twice.
func TestAgentManyLogs(t *testing.T) {
	for _, logs := range []int{4, 100} {
		t.Run(fmt.Sprintf("%d logs", logs), func(t *testing.T) {
			const rotations = 5
			l := startAgentLoad(t, logs, nil)
			begin := time.Now()
			for r := range rotations + 1 {
				for left := *loadBytes / loadLine; left > 0; {
					for i := range logs {
						l.write(i, 50)
						left -= 50
					}
				}
				if l.agent.sample(); r < rotations {
					for i := range logs {
						l.rotate(i)
					}
				}
			}
			wrote := time.Since(begin)
			l.settle(10 * time.Minute)
			all := time.Since(begin)
			t.Logf("%d rotations of %d logs; written at %.1f MB/s, delivered at %.1f MB/s", l.rotations, logs,
				float64(l.lines*loadLine)/1e6/wrote.Seconds(), float64(l.lines*loadLine)/1e6/all.Seconds())
			l.check(all)
		})
	}
}

// TestAgentBursts writes ten times many lines at once, each time once all before is
// delivered. Every line arrives, none twice, and no burst leaves memory behind that
// adds up.
func TestAgentBursts(t *testing.T) {
	const bursts = 10
	l := startAgentLoad(t, 1, nil)
	var took, cpu []time.Duration
	var resident []int64
	begin := time.Now()
	for range bursts {
		before, start := l.agent.sample(), time.Now()
		for end := l.lines + *burstLines; l.lines < end; {
			l.write(0, min(5000, end-l.lines))
		}
		l.settle(10 * time.Minute)
		after := l.agent.sample()
		took = append(took, time.Since(start).Round(time.Millisecond))
		cpu = append(cpu, after.cpu-before.cpu)
		resident = append(resident, after.resident>>20)
	}
	t.Logf("%d bursts of %d lines; until all was delivered %v; CPU time of the agent %v; MB after each %v", bursts, *burstLines, took, cpu, resident)
	l.check(time.Since(begin))
}

// TestAgentLatency writes a megabyte a second, and looks how long it takes until what
// was written is acknowledged. The times are of the machine: they are logged.
func TestAgentLatency(t *testing.T) {
	for name := range strings.SplitSeq(*latencyRuns, ",") {
		var age, look int
		if _, err := fmt.Sscanf(name, "%d/%d", &age, &look); err != nil {
			t.Fatalf("-latency-runs: %q is not two numbers of milliseconds with / between them", name)
		}
		t.Run(fmt.Sprintf("wait %d ms, look each %d ms", age, look), func(t *testing.T) {
			l := startAgentLoad(t, 1, map[string]any{"maxBufferAgeMillis": age, "minTimeBetweenFilePollsMillis": look})
			type moment struct {
				end int64 // of what is written
				at  time.Time
			}
			var waiting []moment
			var took []time.Duration
			acknowledged := func() {
				files := l.agent.flow().Files
				now := time.Now()
				for len(waiting) > 0 && len(files) > 0 && waiting[0].end <= files[0].Committed {
					took = append(took, now.Sub(waiting[0].at))
					waiting = waiting[1:]
				}
			}
			// A new file is found first.
			begin := time.Now()
			l.write(0, 1)
			l.settle(time.Minute)
			found := time.Since(begin).Round(time.Millisecond)

			const every = 20 * time.Millisecond
			next := time.Duration(0)
			begin = time.Now()
			for next < *latencyTime || len(waiting) > 0 {
				if time.Since(begin) > *latencyTime+time.Minute {
					t.Fatalf("of %d writes %d are not acknowledged: %+v", len(took)+len(waiting), len(waiting), l.agent.flow())
				}
				if next < *latencyTime && time.Since(begin) >= next {
					l.write(0, int(every.Seconds()*1e6)/loadLine)
					waiting = append(waiting, moment{int64(l.lines * loadLine), time.Now()})
					next += every
				}
				acknowledged()
				pause(t.Context(), 5*time.Millisecond)
			}
			slices.Sort(took)
			quantile := func(q float64) time.Duration {
				return took[int(q*float64(len(took)-1))].Round(time.Millisecond)
			}
			t.Logf("a line of a new file was acknowledged after %v; of %d writes of %d bytes: p50 %v, p99 %v, at the most %v",
				found, len(took), l.lines/len(took)*loadLine, quantile(0.5), quantile(0.99), quantile(1))
			l.settle(time.Minute)
			l.check(time.Since(begin))
		})
	}
}

// An agentLoad is an agent and the logs that are written for it. Each line has a number and
// the length loadLine.
type agentLoad struct {
	t      *testing.T
	server *server
	agent  *watchedAgent
	config string
	dir    string

	logs      []*os.File
	old       [][]string // rotated files of each log, the latest first
	lines     int
	rotations int
	buf       []byte
}

const loadStream = "load"

// startAgentLoad starts a server and an agent whose only flow has those keys besides the
// usual ones.
func startAgentLoad(t *testing.T, logs int, keys map[string]any) *agentLoad {
	t.Helper()
	needProcesses(t)
	l := &agentLoad{t: t, server: startServer(t), dir: t.TempDir(), logs: make([]*os.File, logs), old: make([][]string, logs)}
	l.server.createStream(loadStream, 4)
	flow := map[string]any{
		"filePattern": filepath.Join(l.dir, "*.log*"), "kinesisStream": loadStream, "initialPosition": "START_OF_FILE",
		"maxBufferAgeMillis": 100, "maxTimeBetweenFileTrackerRefreshMillis": 1000, "aggregation": true,
	}
	maps.Copy(flow, keys)
	l.config = writeAgentConfig(t, l.server, l.dir, loadStream, true)
	changeConfig(t, l.config, map[string]any{"flows": []map[string]any{flow}})
	l.agent = startAgent(t, l.server, l.config)
	l.agent.memory = loadMemory
	for i := range l.logs {
		l.open(i)
	}
	t.Cleanup(func() {
		for _, f := range l.logs {
			_ = f.Close() // check has looked
		}
	})
	return l
}

func (l *agentLoad) path(i int) string { return filepath.Join(l.dir, fmt.Sprintf("app-%d.log", i)) }

func (l *agentLoad) open(i int) {
	l.t.Helper()
	f, err := os.OpenFile(l.path(i), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	l.logs[i] = f
}

// write appends the next n lines to a log, and returns how many bytes they have.
func (l *agentLoad) write(i, n int) int {
	l.t.Helper()
	l.buf = l.buf[:0]
	for range n {
		l.buf = appendLoadLine(l.buf, l.lines)
		l.lines++
	}
	if _, err := l.logs[i].Write(l.buf); err != nil {
		l.t.Fatal(err)
	}
	return len(l.buf)
}

// rotate renames the rotated files of a log, the oldest first, then the log, and starts
// it anew.
func (l *agentLoad) rotate(i int) {
	l.t.Helper()
	if err := l.logs[i].Close(); err != nil {
		l.t.Fatal(err)
	}
	names := slices.Insert(slices.Clone(l.old[i]), 0, l.path(i))
	for n := len(names) - 1; n >= 0; n-- {
		to := fmt.Sprintf("%s.%d", l.path(i), n+1)
		if err := os.Rename(names[n], to); err != nil {
			l.t.Fatal(err)
		}
		names[n] = to
	}
	l.old[i] = names
	l.rotations++
	l.open(i)
}

// removeDelivered removes the oldest rotated files while there are more than keep of a
// log and all of them is delivered.
func (l *agentLoad) removeDelivered(keep int) {
	l.t.Helper()
	for i, old := range l.old {
		for len(old) > keep && l.agent.drained(old[len(old)-1]) {
			if err := os.Remove(old[len(old)-1]); err != nil {
				l.t.Fatal(err)
			}
			old = old[:len(old)-1]
		}
		l.old[i] = old
	}
}

// settle waits until everything is delivered. It looks seldom, for the agent has to work.
func (l *agentLoad) settle(limit time.Duration) {
	l.t.Helper()
	for begin, n := time.Now(), 0; ; n++ {
		if l.agent.ended() {
			l.t.Fatalf("the agent ended: %v", l.agent.err)
		}
		f := l.agent.flow()
		if f.BehindBytes == 0 && f.OldestUnacked == 0 && f.AckedRecords >= uint64(l.lines) {
			return
		}
		if time.Since(begin) > limit {
			l.t.Fatalf("after %v %d of %d lines are acknowledged, %d bytes are behind", limit, f.AckedRecords, l.lines, f.BehindBytes)
		}
		if n%10 == 0 {
			l.agent.sample()
		}
		pause(l.t.Context(), 50*time.Millisecond)
	}
}

// check stops the agent and looks at what the stream has. All that was took that long.
func (l *agentLoad) check(took time.Duration) {
	l.t.Helper()
	last := l.agent.sample()
	f := l.agent.flow()
	nothingLost(l.t, f)
	m, ack := l.agent.metrics(), "streamagent_read_to_ack_seconds"
	slow := m.number(fmt.Sprintf("%s_count{flow=%q}", ack, f.ID)) - m.number(fmt.Sprintf(`%s_bucket{flow=%q,le="5"}`, ack, f.ID))
	if want := uint64(l.lines * loadLine); f.ReadBytes != want || f.AckedRecords != uint64(l.lines) {
		l.t.Errorf("%d bytes were read and %d records acknowledged; %d bytes and %d lines were written", f.ReadBytes, f.AckedRecords, want, l.lines)
	}
	if err := l.agent.stop(); err != nil {
		l.t.Errorf("the agent stops with %v", err)
	}
	positionsAtEnds(l.t, l.config, l.dir)
	twice := l.server.eachOnce(loadStream, l.lines, loadLineNumber)
	// A request that is given up after 6 s may be stored all the same, and is sent again.
	if twice > 0 && slow == 0 && f.RecordFailures == 0 {
		l.t.Errorf("%d lines are stored twice, none has failed, and all were acknowledged within 5 s", twice)
	}
	if err := l.server.stop(); err != nil {
		l.t.Errorf("streamd stops with %v", err)
	}
	server := l.server.cmd.ProcessState
	serverCPU := server.UserTime() + server.SystemTime() // with that of the reading of the check
	average, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Logf("%d lines, %d MB; %d stored twice, %d failures, %.0f batches later than 5 s; the agent took %v of CPU time, %.0f %% of a CPU over %v and %.2f µs a line, and streamd %v; load average %s",
		l.lines, l.lines*loadLine/1_000_000, twice, f.RecordFailures, slow, last.cpu, 100*last.cpu.Seconds()/took.Seconds(), took.Round(time.Millisecond),
		1e6*last.cpu.Seconds()/float64(l.lines), serverCPU.Round(10*time.Millisecond), bytes.Join(bytes.Fields(average)[:3], []byte(" ")))
	l.agent.report()
}

// loadLine is how long a line is, with its end.
const loadLine = 200

// loadTexts are what lines have behind their number: letters that do not compress well.
var loadTexts = func() (texts [][]byte) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 4096 {
		b := make([]byte, loadLine-loadDigits)
		for n := range b {
			b[n] = byte('!' + r.IntN('~'-'!'+1))
		}
		b[0], b[len(b)-1] = ' ', '\n'
		texts = append(texts, b)
	}
	return texts
}()

const loadDigits = 12

func appendLoadLine(b []byte, n int) []byte {
	at := len(b)
	b = append(b, "000000000000"...)
	for i, v := at+loadDigits-1, n; v > 0; i, v = i-1, v/10 {
		b[i] = byte('0' + v%10)
	}
	return append(b, loadTexts[n%len(loadTexts)]...)
}

// loadLineNumber returns which of the first n lines a record is.
func loadLineNumber(record []byte, n int) (int, error) {
	if len(record) >= loadDigits {
		i, err := strconv.Atoi(string(record[:loadDigits]))
		if err == nil && i >= 0 && i < n && bytes.Equal(record[loadDigits:], loadTexts[i%len(loadTexts)]) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("a line that nobody wrote: %q", record)
}
