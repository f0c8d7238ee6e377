//go:build unix

package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/consumer/deaggregate"
)

var (
	logOutage = flag.Duration("log-outage", time.Second, "how long the server is away in TestLogOutlivesAnOutage")
	logFleet  = flag.Duration("log-fleet", 2500*time.Millisecond, "how long TestLogsOfManyPrograms logs; a fifth of it the server is away")
	logRate   = flag.Int("log-rate", 500_000, "bytes that all programs together log in a second")
	logModes  = flag.String("log-modes", "always,pressure", "modes of the spill, with a comma between them")
)

// TestLogOutlivesAnOutage kills the server under a program that logs, and starts it
// again after a time. Everything that was logged comes to the stream, each key in
// its order, while the program goes on.
func TestLogOutlivesAnOutage(t *testing.T) {
	for mode := range strings.SplitSeq(*logModes, ",") {
		t.Run(mode, func(t *testing.T) {
			if mode != "always" && mode != "pressure" {
				t.Fatalf("-log-modes: %q is neither always nor pressure", mode)
			}
			logPlan{
				programs: 1, always: mode == "always",
				before: *logOutage / 4, outage: *logOutage, after: *logOutage / 20,
			}.run(t)
		})
	}
}

// TestLogsOfManyPrograms has four programs log through a reshard and an outage.
func TestLogsOfManyPrograms(t *testing.T) {
	logPlan{
		programs: 4, reshard: true,
		before: *logFleet * 2 / 5, outage: *logFleet / 5, after: *logFleet * 2 / 5,
	}.run(t)
}

// A logPlan is what happens while programs log.
type logPlan struct {
	programs              int
	always                bool // they write ahead
	reshard               bool // a split, in the midst of before
	before, outage, after time.Duration
}

// logStatus is what the program applogger prints.
type logStatus struct {
	Logged                   int
	Delivered, Dropped, Lost uint64
	Pending, Spilled         uint64
	CircuitOpened            uint64
	SpillBytes               int64
	Longest, P9999, Late     time.Duration
	CloseError               string
	Done                     bool
}

func (plan logPlan) run(t *testing.T) {
	const (
		stream = "logs"
		size   = 500
	)
	needProcesses(t)
	s := startServer(t)
	s.createStream(stream, 2)
	dir := t.TempDir()
	rate := *logRate / plan.programs
	var programs []*process
	for i := range plan.programs {
		name := fmt.Sprintf("p%d", i)
		programs = append(programs, start(t, "applogger", s.env(), "-stream", stream, "-name", name, "-spill", filepath.Join(dir, name),
			"-rate", strconv.Itoa(rate), "-size", strconv.Itoa(size), fmt.Sprintf("-always=%t", plan.always), "-drain", "5m"))
	}
	check := newLogCheck(t)
	pause(t.Context(), plan.before/2)
	if plan.reshard {
		check.around(time.Now())
		if err := s.splitFirst(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	pause(t.Context(), plan.before/2)
	check.around(time.Now())
	s.kill()
	pause(t.Context(), plan.outage)
	var behind uint64
	for _, p := range programs {
		behind += lastStatus(t, p).Spilled + lastStatus(t, p).Pending
	}
	s.start()
	up := time.Now()
	check.around(up)

	// What is logged meanwhile has to be delivered beside it.
	eventually(t, plan.outage*3+time.Minute, "all that was on disk is delivered", func() error {
		for _, p := range programs {
			if p.ended() {
				return fmt.Errorf("%w: %s ended: %w", errGiveUp, p.name, p.err)
			}
			// Written ahead, what was logged last is always on disk.
			if st := lastStatus(t, p); int(st.Spilled) > rate/size {
				return fmt.Errorf("%d entries are on disk", st.Spilled)
			}
		}
		return nil
	})
	caughtUp := time.Since(up).Round(10 * time.Millisecond)
	pause(t.Context(), plan.after)
	for _, p := range programs {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	entries := 0
	for i, p := range programs {
		if err := p.wait(6 * time.Minute); err != nil {
			t.Errorf("program %d ends with %v", i, err)
		}
		st := lastStatus(t, p)
		if !st.Done || st.CloseError != "" || st.Dropped+st.Lost+st.Pending+st.Spilled > 0 || int(st.Delivered) != st.Logged {
			t.Errorf("program %d: %+v", i, st)
		}
		check.expect(fmt.Sprintf("p%d", i), st.Logged)
		entries += st.Logged
		t.Logf("program %d: longest log call %v, 99.99 %% within %v, at most %v late; circuit opened %d times", i, st.Longest, st.P9999, st.Late, st.CircuitOpened)
	}
	check.read(s, stream)
	rows := 1
	if !plan.always {
		rows = 3 // from memory, from the disk, and what the producer has given back
	}
	twice := check.verify(rows, plan.outage > 30*time.Second)
	t.Logf("%d entries, %d MB; %d were not delivered at the end of %v without a server, caught up %v after it; %d stored twice",
		entries, entries*size/1_000_000, behind, plan.outage, caughtUp, twice)
}

// lastStatus is what the program has told last.
func lastStatus(t *testing.T, p *process) (st logStatus) {
	t.Helper()
	out := p.out.String()
	out = out[:strings.LastIndexByte(out, '\n')+1] // the last line may be a part
	// The appender tells of faults in lines of its own.
	if i := strings.LastIndex(out, "{\"Logged\":"); i >= 0 {
		line, _, _ := strings.Cut(out[i:], "\n")
		if err := json.Unmarshal([]byte(line), &st); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
	}
	return st
}

// logCheck holds what is in a stream against what was logged.
type logCheck struct {
	t     *testing.T
	have  map[string]*logSeen // by program
	times []time.Time         // when an entry may be stored twice
	gaps  int                 // entries that gap records tell of
}

// logSeen is what the stream has of a program.
type logSeen struct {
	logged int
	times  []uint8           // how often it has each entry
	rows   map[string]*[]int // by key: the last number of each ascending row
	again  []int64           // times of entries stored once more
}

func newLogCheck(t *testing.T) *logCheck {
	t.Helper()
	return &logCheck{t: t, have: make(map[string]*logSeen)}
}

func (c *logCheck) around(at time.Time) { c.times = append(c.times, at) }

func (c *logCheck) expect(program string, n int) {
	c.have[program] = &logSeen{logged: n, times: make([]uint8, n), rows: make(map[string]*[]int)}
}

// read reads the whole stream, parents before children, so that the entries of a
// key come in the order in which they were stored.
func (c *logCheck) read(s *server, stream string) {
	c.t.Helper()
	shards, err := s.shards(c.t.Context(), stream)
	if err != nil {
		c.t.Fatal(err)
	}
	slices.SortFunc(shards, func(a, b types.Shard) int { return strings.Compare(*a.ShardId, *b.ShardId) })
	for _, sh := range shards {
		if err := s.scanShard(c.t.Context(), stream, *sh.ShardId, func(r *types.Record) error {
			for u := range deaggregate.Records(*r.PartitionKey, r.Data) {
				if err := c.take(u.PartitionKey, u.Data); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// take reads {"m":"entry","from":P,"n":N,"t":T,"key":K,…}, or a gap record.
func (c *logCheck) take(key string, data []byte) error {
	if bytes.Contains(data, []byte(`"logger":"logappender"`)) {
		var gap struct{ Dropped int }
		if err := json.Unmarshal(data, &gap); err != nil {
			return fmt.Errorf("gap record %.200q: %w", data, err)
		}
		c.gaps += gap.Dropped
		return nil
	}
	number := func(name string) (n int, err error) {
		_, rest, ok := bytes.Cut(data, []byte(`"`+name+`":`))
		digits, _, end := bytes.Cut(rest, []byte(","))
		if !ok || !end {
			return 0, fmt.Errorf("entry %.200q has no %s", data, name)
		}
		return strconv.Atoi(string(digits))
	}
	program, _, _ := strings.Cut(key, "-")
	n, err := number("n")
	t, err2 := number("t")
	seen := c.have[program]
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if seen == nil || n >= seen.logged || !bytes.Contains(data, []byte(`"key":"`+key+`"`)) {
		return fmt.Errorf("nobody has logged %.200q with key %q", data, key)
	}
	seen.times[n]++
	if seen.times[n] > 1 {
		seen.again = append(seen.again, int64(t))
		return nil
	}
	rows := seen.rows[key]
	if rows == nil {
		rows = new([]int)
		seen.rows[key] = rows
	}
	best := -1 // the row that ends nearest below n
	for i, last := range *rows {
		if last < n && (best < 0 || last > (*rows)[best]) {
			best = i
		}
	}
	if best < 0 {
		*rows = append(*rows, n)
	} else {
		(*rows)[best] = n
	}
	return nil
}

// verify reports what is missing, keys whose entries come in more than so many
// ascending rows, and, if told, entries that are stored twice for no reason.
func (c *logCheck) verify(maxRows int, reasons bool) (twice int) {
	c.t.Helper()
	for program, seen := range c.have {
		missing := 0
		for _, times := range seen.times {
			if times == 0 {
				missing++
			}
		}
		if missing > 0 {
			c.t.Errorf("%s: %d of %d entries are missing, the first is %d; gap records of all programs tell of %d", program, missing, seen.logged, slices.Index(seen.times, 0), c.gaps)
		}
		for key, rows := range seen.rows {
			if len(*rows) > maxRows {
				c.t.Errorf("%s: %d rows, want %d at most", key, len(*rows), maxRows)
			}
		}
		for _, t := range seen.again {
			twice++
			// A producer gives a record up after 30 seconds.
			near := slices.ContainsFunc(c.times, func(at time.Time) bool { return time.UnixMilli(t).Sub(at).Abs() < 45*time.Second })
			if reasons && !near {
				c.t.Errorf("%s: an entry of %v is stored twice", program, time.UnixMilli(t))
			}
		}
	}
	return twice
}

// scanShard calls f with each record of a shard, from the oldest to the last there
// is now.
func (s *server) scanShard(ctx context.Context, stream, shard string, f func(*types.Record) error) error {
	c := s.kinesis()
	it, err := c.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return err
	}
	for next := it.ShardIterator; next != nil; {
		out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			return err
		}
		for i := range out.Records {
			if err := f(&out.Records[i]); err != nil {
				return err
			}
		}
		next = out.NextShardIterator
		if len(out.Records) == 0 && out.MillisBehindLatest != nil && *out.MillisBehindLatest == 0 {
			return nil
		}
	}
	return nil
}

// TestLogCheckReadsGaps has the check read on behind a gap record.
func TestLogCheckReadsGaps(t *testing.T) {
	c := newLogCheck(t)
	c.expect("p0", 3)
	for _, r := range []struct{ key, data string }{
		{"p0-0", `{"m":"entry","from":"p0","n":0,"t":1,"key":"p0-0","pad":""}`},
		{"a", `{"level":"warn","ts":1.5,"logger":"logappender","msg":"log records dropped","dropped":2,"by_level":{"info":2}}`},
		{"p0-2", `{"m":"entry","from":"p0","n":2,"t":3,"key":"p0-2","pad":""}`},
	} {
		if err := c.take(r.key, []byte(r.data)); err != nil {
			t.Errorf("%s: %v", r.data, err)
		}
	}
	if times := c.have["p0"].times; c.gaps != 2 || times[0] != 1 || times[1] != 0 || times[2] != 1 {
		t.Errorf("gaps of %d entries, times %v", c.gaps, times)
	}
}
