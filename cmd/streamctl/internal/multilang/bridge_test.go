package multilang_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/multilang"
	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// request is a line that a child is sent, whichever it is.
type request struct {
	Action            string
	ShardID           string
	Reason            string
	SequenceNumber    *string
	SubSequenceNumber *int64
	Error             *string
	Records           []record
}

type record struct {
	Data              string
	PartitionKey      string
	SequenceNumber    string
	SubSequenceNumber int64
}

func (r *record) text() string {
	b, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// conversation is the child's side of the protocol.
type conversation struct {
	in  *bufio.Reader
	out io.Writer
}

func (c *conversation) read() (r request, ok bool) {
	line, err := c.in.ReadBytes('\n')
	return r, err == nil && json.Unmarshal(line, &r) == nil
}

// say writes a line as amazon_kclpy does, with an empty one before.
func (c *conversation) say(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(c.out, "\n%s\n", line)
}

func (c *conversation) status(action string) {
	c.say(map[string]any{"action": "status", "responseFor": action})
}

// checkpoint returns the name of the error.
func (c *conversation) checkpoint(seq, sub any) string {
	c.say(map[string]any{"action": "checkpoint", "sequenceNumber": seq, "subSequenceNumber": sub})
	r, ok := c.read()
	switch {
	case !ok || r.Action != "checkpoint":
		return "no answer but " + r.Action
	case r.Error != nil:
		return *r.Error
	}
	return ""
}

// serve handles requests until the end of input. handle may be nil; its false
// ends the child.
func (c *conversation) serve(handle func(*request) bool) {
	for {
		r, ok := c.read()
		if !ok || handle != nil && !handle(&r) {
			return
		}
		c.status(r.Action)
	}
}

// fakeChild is a child that is a goroutine.
type fakeChild struct {
	conversation
	stderr io.Writer
	killed chan struct{}
}

// children start fake children, and note what they are asked.
type children struct {
	run func(n int, c *fakeChild) error // the n-th child, from 0

	mu      sync.Mutex // guards all below
	started int
	running int
	kills   int
}

func (cs *children) start() (multilang.Process, error) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	errR, errW := io.Pipe()
	c := &fakeChild{conversation{bufio.NewReader(inR), outW}, errW, make(chan struct{})}
	done := make(chan error, 1) // its sender must not wait
	cs.mu.Lock()
	n := cs.started
	cs.started++
	cs.running++
	cs.mu.Unlock()
	go func() {
		err := cs.run(n, c)
		select {
		case <-c.killed:
			err = errors.New("signal: killed")
		default:
		}
		_, _, _ = inR.Close(), outW.Close(), errW.Close()
		cs.mu.Lock()
		cs.running--
		cs.mu.Unlock()
		done <- err
	}()
	return multilang.Process{
		Stdin: inW, Stdout: outR, Stderr: errR,
		Wait: func() error { return <-done },
		Kill: func() {
			cs.mu.Lock()
			cs.kills++
			cs.mu.Unlock()
			close(c.killed)
			_, _, _ = inR.Close(), outW.Close(), errW.Close()
		},
	}, nil
}

func (cs *children) counts() (started, running, kills int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.started, cs.running, cs.kills
}

// diary notes lines from all children.
type diary struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// Write takes the log.
func (d *diary) Write(p []byte) (int, error) {
	d.note("%s", p)
	return len(p), nil
}

// scene is a bridge in a bubble, with a server and leases in memory.
type scene struct {
	*multilang.Bridge
	srv    *streamdtest.Server
	api    *kinesis.Client
	leases *memlease.Store
	log    *diary
	stop   func() error
}

func start(t *testing.T, shards int, cs *children, cfg multilang.Config) *scene {
	t.Helper()
	s := &scene{srv: streamdtest.New(t), leases: memlease.New(), log: &diary{}}
	s.srv.CreateStream(t, "words", shards)
	s.api = s.srv.Kinesis()
	cfg.Consumer.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	var err error
	s.Bridge, err = multilang.NewWith(s.api, s.leases, "app", "words", cfg, cs.start)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1) // its sender must not wait
	go func() { done <- s.Run(ctx) }()
	s.stop = func() error {
		cancel()
		return <-done
	}
	return s
}

func (s *scene) put(t *testing.T, texts ...string) (seqs []string) {
	t.Helper()
	for _, text := range texts {
		out, err := s.api.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("words"), PartitionKey: aws.String("k"), Data: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, *out.SequenceNumber)
	}
	return seqs
}

func (s *scene) stored(t *testing.T, shard string) consumer.Checkpoint {
	t.Helper()
	l, ok, err := s.leases.Get(t.Context(), shard)
	if err != nil || !ok {
		t.Fatalf("lease %v, %v", ok, err)
	}
	return l.Checkpoint
}

const shard0 = "shardId-000000000000"

// TestLife follows a child through everything that it is asked.
func TestLife(t *testing.T) {
	for _, kcl1 := range []bool{false, true} {
		t.Run(fmt.Sprintf("kcl1 %v", kcl1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				cs := &children{run: func(n int, c *fakeChild) error {
					c.serve(func(r *request) bool {
						switch r.Action {
						case "initialize":
							d.note("%d initialize %s %s/%d", n, r.ShardID, *r.SequenceNumber, *r.SubSequenceNumber)
							if name := c.checkpoint(nil, nil); name != "InvalidStateException" {
								d.note("a checkpoint in initialize: %q", name)
							}
						case "processRecords":
							for _, rec := range r.Records {
								d.note("%d %s %s", n, rec.PartitionKey, rec.text())
							}
						case "shutdown":
							d.note("%d shutdown %s %q", n, r.Reason, c.checkpoint("SHARD_END", nil))
						default:
							d.note("%d %s %q", n, r.Action, c.checkpoint(nil, nil))
						}
						return true
					})
					d.note("%d input ended", n)
					return nil
				}}
				s := start(t, 1, cs, multilang.Config{KCL1: kcl1})
				s.put(t, "one", "two")
				time.Sleep(10 * time.Second)
				if _, err := s.api.SplitShard(t.Context(), &kinesis.SplitShardInput{
					StreamName: aws.String("words"), ShardToSplit: aws.String(shard0), NewStartingHashKey: aws.String("170141183460469231731687303715884105728"),
				}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				if got := s.stored(t, shard0).SequenceNumber; got != consumer.ShardEnd {
					t.Errorf("shard 0 is at %s", got)
				}
				// One lease goes to another worker.
				l, _, err := s.leases.Get(t.Context(), "shardId-000000000002")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.leases.Take(t.Context(), l, "other", "i"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				if err := s.stop(); err != nil {
					t.Error(err)
				}
				started, running, kills := cs.counts()
				if started != 3 || running != 0 || kills != 0 {
					t.Errorf("%d children started, %d run, %d were killed", started, running, kills)
				}
				got := d.all()
				of := func(n string) (lines []string) {
					for _, l := range got {
						if rest, ok := strings.CutPrefix(l, n+" "); ok {
							lines = append(lines, rest)
						}
					}
					return lines
				}
				ended, lost := `shardEnded ""`, `leaseLost "InvalidStateException"`
				if kcl1 {
					ended, lost = `shutdown TERMINATE ""`, `shutdown ZOMBIE "InvalidStateException"`
				}
				if want := []string{"initialize " + shard0 + " TRIM_HORIZON/0", "k one", "k two", ended, "input ended"}; !slices.Equal(of("0"), want) {
					t.Errorf("the parent's child noted %q, want %q", of("0"), want)
				}
				stopped := []string{`shutdownRequested ""`, lost, "input ended"}
				byLength := [][]string{of("1")[1:], of("2")[1:]}
				if len(byLength[0]) > len(byLength[1]) {
					slices.Reverse(byLength)
				}
				if !slices.Equal(byLength[0], stopped[1:]) || !slices.Equal(byLength[1], stopped) {
					t.Errorf("the children's children noted %q", byLength)
				}
				if st := s.Stats(); st.Children != 3 || st.Records != 2 || st.Consumer.ProcessorRestarts != 0 || st.CheckpointErrors != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// TestCheckpoints: what a child asks for in the middle of a batch is stored
// before it is answered, with the names of the KCL for what cannot be.
func TestCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var s *scene
		cs := &children{}
		cs.run = func(n int, c *fakeChild) error {
			c.serve(func(r *request) bool {
				if r.Action != "processRecords" || n > 0 {
					return true
				}
				ask := func(seq, sub any) { d.note("%q %v", c.checkpoint(seq, sub), short(s.stored(t, shard0), r.Records)) }
				first, agg := r.Records[0].SequenceNumber, r.Records[1].SequenceNumber
				for i, rec := range r.Records {
					d.note("%d/%d %s", i, rec.SubSequenceNumber, rec.text())
				}
				ask(first, nil)
				ask(first, 0)
				ask(agg, 1)
				ask(agg, nil) // is sub-sequence number 0, as with the KCL
				ask(first, nil)
				ask("9"+first, nil)
				ask("TRIM_HORIZON", nil)
				ask("SHARD_END", nil)
				ask("eleven", nil)
				ask(agg, -1)
				ask(agg, 2)
				ask(nil, nil)
				ask(nil, nil)
				return true
			})
			return nil
		}
		s = start(t, 1, cs, multilang.Config{Consumer: consumer.Config{IdleTimeBetweenReads: time.Hour}})
		var b aggregation.Builder
		for i := range 3 {
			b.Add(aggregation.Record{PartitionKey: "u", Data: fmt.Appendf(nil, "user %d", i)})
		}
		if _, err := s.api.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String("words"), Records: []types.PutRecordsRequestEntry{
			{PartitionKey: aws.String("k"), Data: []byte("first")},
			{PartitionKey: aws.String("k"), Data: b.Seal(nil)},
			{PartitionKey: aws.String("k"), Data: []byte("last")},
		}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		want := []string{
			"0/0 first", "1/0 user 0", "2/1 user 1", "3/2 user 2", "4/0 last",
			`"" 0/0`, `"" 0/0`, `"" 1/1`, `"IllegalArgumentException" 1/1`, `"IllegalArgumentException" 1/1`,
			`"IllegalArgumentException" 1/1`, `"IllegalArgumentException" 1/1`, `"IllegalArgumentException" 1/1`, `"IllegalArgumentException" 1/1`, `"IllegalArgumentException" 1/1`,
			`"" 1/2`, `"" 4/0`, `"" 4/0`,
		}
		if got := d.all(); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
}

// short writes a checkpoint as the index of the first record that has its
// number.
func short(c consumer.Checkpoint, records []record) string {
	i := slices.IndexFunc(records, func(r record) bool { return r.SequenceNumber == c.SequenceNumber })
	return fmt.Sprintf("%d/%d", i, c.SubSequenceNumber)
}

// TestFaultyChildren: whatever a child does wrong, the next one reads on from
// the last checkpoint, and nothing is lost.
func TestFaultyChildren(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(*fakeChild, *request) bool // of the first child, at the record "bad"; its false ends it
		log   string                          // what the log says
		check func(multilang.Stats) bool
	}{
		{name: "dies", fault: func(*fakeChild, *request) bool { return false }, log: "exited by itself"},
		{name: "dies after its answer", fault: func(c *fakeChild, r *request) bool {
			c.status(r.Action)
			return false
		}, log: "exited by itself"},
		{name: "hangs", fault: func(c *fakeChild, _ *request) bool {
			<-c.killed
			return false
		}, log: "did not answer in time", check: func(st multilang.Stats) bool { return st.Timeouts == 1 }},
		{name: "hangs and does not read", fault: func(c *fakeChild, _ *request) bool {
			c.say(map[string]any{"action": "checkpoint", "sequenceNumber": "1"})
			<-c.killed
			return false
		}, log: "did not answer in time"},
		{name: "answers another request", fault: func(c *fakeChild, _ *request) bool {
			c.status("initialize")
			<-c.killed
			return false
		}, log: `answered \"initialize\" where \"processRecords\" was asked`},
		{name: "answers twice", fault: func(c *fakeChild, r *request) bool {
			c.status(r.Action)
			c.status("shardEnded")
			<-c.killed
			return false
		}, log: `answered \"shardEnded\"`},
		{name: "floods", fault: func(c *fakeChild, _ *request) bool {
			for {
				if _, err := c.out.Write(make([]byte, 64<<10)); err != nil {
					return false
				}
			}
		}, log: "wrote a line of more than", check: func(st multilang.Stats) bool { return st.Floods == 1 }},
		{name: "closes its output", fault: func(c *fakeChild, _ *request) bool {
			_ = c.out.(io.Closer).Close()
			<-c.killed
			return false
		}, log: "killed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				cs := &children{run: func(n int, c *fakeChild) error {
					c.serve(func(r *request) bool {
						for _, rec := range r.Records {
							d.note("%d %s", n, rec.text())
							if rec.text() == "saved" {
								if name := c.checkpoint(rec.SequenceNumber, nil); name != "" {
									d.note("checkpoint: %s", name)
								}
							}
							if rec.text() == "bad" && n == 0 {
								return tt.fault(c, r)
							}
						}
						return true
					})
					return nil
				}}
				s := start(t, 1, cs, multilang.Config{Timeout: 30 * time.Second})
				time.Sleep(5 * time.Second)
				s.put(t, "saved", "lost")
				time.Sleep(5 * time.Second)
				s.put(t, "bad")
				time.Sleep(time.Second)
				s.put(t, "after") // by which an answer too many is found
				time.Sleep(2 * time.Minute)
				got := d.all()
				// The first child has seen three of them, perhaps four; the second sees
				// all after the checkpoint.
				want := []string{"0 saved", "0 lost", "0 bad", "1 lost", "1 bad", "1 after"}
				got = slices.DeleteFunc(got, func(l string) bool { return l == "0 after" })
				if !slices.Equal(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
				st := s.Stats()
				if st.Children != 2 || st.Consumer.ProcessorRestarts != 1 || tt.check != nil && !tt.check(st) {
					t.Errorf("%+v", st)
				}
				if log := strings.Join(s.log.all(), ""); !strings.Contains(log, tt.log) || !strings.Contains(log, shard0) {
					t.Errorf("the log does not say %q:\n%s", tt.log, log)
				}
				if err := s.stop(); err != nil {
					t.Error(err)
				}
				if _, running, _ := cs.counts(); running != 0 {
					t.Errorf("%d children are left", running)
				}
			})
		})
	}
}

// TestStrayOutput: what a child prints besides is logged with its shard, and
// disturbs nothing.
func TestStrayOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cs := &children{run: func(_ int, c *fakeChild) error {
			c.serve(func(r *request) bool {
				fmt.Fprintf(c.out, "printed by hand\r\n{\"level\":\"info\"}\n\n%s\n", strings.Repeat("x", 100<<10))
				fmt.Fprintf(c.stderr, "complaint\n%s", strings.Repeat("y", 20<<10))
				c.say(request{Action: "leaseLost"}) // not for it to say
				return true
			})
			return nil
		}}
		s := start(t, 1, cs, multilang.Config{})
		s.put(t, "x")
		time.Sleep(5 * time.Second)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		log := strings.Join(s.log.all(), "")
		for _, want := range []string{
			`msg="child wrote to standard output" shard=` + shard0 + ` pid=0 line="printed by hand"`,
			`line="{\"level\":\"info\"}"`, "line=" + strings.Repeat("x", 8<<10) + "…",
			`msg="child wrote to standard error" shard=` + shard0 + " pid=0 line=complaint", "line=" + strings.Repeat("y", 8<<10),
			`msg="child sent a message that is not for it to send"`,
		} {
			if !strings.Contains(log, want) {
				t.Errorf("the log does not have %.100s", want)
			}
		}
		// Initialize, the record, shutdownRequested, leaseLost: three lines each.
		if st := s.Stats(); st.StrayLines != 12 || st.Children != 1 || st.Consumer.ProcessorErrors != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestStubbornChildren: those who do not do their part at the end hold nothing
// up for ever.
func TestStubbornChildren(t *testing.T) {
	hang := func(c *fakeChild) bool {
		<-c.killed
		return false
	}
	for _, tt := range []struct {
		name   string
		on     string // the request at which it does what it does
		do     func(*fakeChild) bool
		within time.Duration
		err    error
	}{
		{name: "does not know shutdownRequested", on: "shutdownRequested", do: func(*fakeChild) bool { return false }, within: 3 * time.Second},
		{name: "hangs in shutdownRequested", on: "shutdownRequested", do: hang, within: 40 * time.Second, err: consumer.ErrShutdown},
		{name: "hangs in leaseLost", on: "leaseLost", do: hang, within: 12 * time.Second},
		{name: "does not exit", on: "end of input", do: hang, within: 12 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cs := &children{run: func(_ int, c *fakeChild) error {
					c.serve(func(r *request) bool { return r.Action != tt.on || tt.do(c) })
					if tt.on == "end of input" {
						tt.do(c)
					}
					return nil
				}}
				s := start(t, 1, cs, multilang.Config{})
				seqs := s.put(t, "x")
				time.Sleep(5 * time.Second)
				began := time.Now()
				if err := s.stop(); !errors.Is(err, tt.err) {
					t.Errorf("Run: %v", err)
				}
				if d := time.Since(began); d > tt.within {
					t.Errorf("it took %v", d)
				}
				if _, running, _ := cs.counts(); running != 0 {
					t.Errorf("%d children are left", running)
				}
				if s.stored(t, shard0).SequenceNumber == seqs[0] {
					t.Error("a checkpoint is stored that nobody asked for")
				}
			})
		})
	}
}

// TestLeaseLostInTheMiddle: a child may finish its batch, cannot store a
// checkpoint, and is told.
func TestLeaseLostInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		cs := &children{run: func(n int, c *fakeChild) error {
			c.serve(func(r *request) bool {
				if n == 0 && r.Action == "processRecords" {
					time.Sleep(8 * time.Second) // in it the lease goes
					d.note("%q", c.checkpoint(nil, nil))
				}
				d.note("%d %s", n, r.Action)
				return true
			})
			return nil
		}}
		s := start(t, 1, cs, multilang.Config{})
		time.Sleep(2 * time.Second)
		s.put(t, "x")
		time.Sleep(2 * time.Second)
		l, _, err := s.leases.Get(t.Context(), shard0)
		if err != nil {
			t.Fatal(err)
		}
		if l, err = s.leases.Take(t.Context(), l, "other", "i"); err != nil {
			t.Fatal(err)
		}
		for range 10 { // the other one lives
			time.Sleep(time.Second)
			if l, err = s.leases.Update(t.Context(), l, consumer.Write{}); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := d.all(), []string{"0 initialize", `"ShutdownException"`, "0 processRecords", "0 leaseLost"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestUnfinishedShard: a shard does not end before its child has checkpointed
// all of it; what it has not comes again.
func TestUnfinishedShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		cs := &children{run: func(n int, c *fakeChild) error {
			c.serve(func(r *request) bool {
				for _, rec := range r.Records {
					d.note("%d %s", n, rec.text())
				}
				if r.Action == "shardEnded" && n == 1 {
					d.note("%d ends %q", n, c.checkpoint(nil, nil))
				}
				return true
			})
			return nil
		}}
		s := start(t, 1, cs, multilang.Config{})
		s.put(t, "x")
		time.Sleep(5 * time.Second)
		if _, err := s.api.SplitShard(t.Context(), &kinesis.SplitShardInput{
			StreamName: aws.String("words"), ShardToSplit: aws.String(shard0), NewStartingHashKey: aws.String("170141183460469231731687303715884105728"),
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got, want := d.all(), []string{"0 x", "1 x", `1 ends ""`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := s.stored(t, shard0).SequenceNumber; got != consumer.ShardEnd {
			t.Errorf("shard 0 is at %s", got)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNewWithoutCommand(t *testing.T) {
	if _, err := multilang.New(nil, memlease.New(), "app", "s", multilang.Config{}); err == nil {
		t.Error("no error")
	}
	if _, err := multilang.New(nil, memlease.New(), "app", "s", multilang.Config{Command: []string{os.Args[0]}}); err == nil {
		t.Error("no error without a client")
	}
}
