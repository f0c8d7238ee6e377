package multilang_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/multilang"
	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// roleEnv makes the test binary a child process; its value is the directory of
// its notes.
const roleEnv = "MULTILANG_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(roleEnv); dir != "" {
		if err := childMain(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childMain is a record processor. It notes what it is given, checkpoints at
// every tenth record, and once in the application's life does what is wrong at
// each record of which that is the text.
func childMain(dir string) error {
	notes, err := os.OpenFile(filepath.Join(dir, "notes"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	c := &conversation{bufio.NewReader(os.Stdin), os.Stdout}
	var shard string
	var failed error
	n := 0
	c.serve(func(r *request) bool {
		switch r.Action {
		case "initialize":
			shard = r.ShardID
		case "processRecords":
			for _, rec := range r.Records {
				// One write of one line: children do not mix.
				if _, failed = fmt.Fprintf(notes, "%s %s\n", shard, rec.text()); failed != nil {
					return false
				}
				if n++; n%10 == 0 {
					if name := c.checkpoint(rec.SequenceNumber, rec.SubSequenceNumber); name != "" {
						failed = fmt.Errorf("checkpoint: %s", name)
						return false
					}
				}
				if fault, ok := faults[rec.text()]; ok {
					f, err := os.OpenFile(filepath.Join(dir, rec.text()), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
					if err != nil {
						continue // it was done
					}
					_ = f.Close()
					fault()
				}
			}
		default:
			c.checkpoint(nil, nil)
		}
		return true
	})
	return failed
}

// faults are what a child does at records of these texts.
var faults = map[string]func(){
	"crash":   func() { os.Exit(7) },
	"hang":    func() { <-time.After(time.Hour) }, // a timer: without one the runtime sees a deadlock
	"rubbish": func() { fmt.Println(`{"action":"status","responseFor":"nothing"}`) },
	"flood":   func() { _, _ = io.Copy(os.Stdout, endless{}) },
	"orphan": func() { // leaves a process behind that holds its pipes
		cmd := exec.CommandContext(context.Background(), "sleep", "60")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		_ = cmd.Start()
		os.Exit(8)
	},
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestProcesses runs real children over real pipes against a server: they
// crash, hang, write rubbish and floods, shards are split and merged, and no
// record is lost; what belongs to a parent comes before what belongs to its
// children.
func TestProcesses(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(roleEnv, dir)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "words", 2)
	api := srv.Kinesis()
	log := &diary{}
	b, err := multilang.New(api, memlease.New(), "app", "words", multilang.Config{
		Command: []string{exe}, Timeout: time.Second,
		Consumer: consumer.Config{IdleTimeBetweenReads: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1) // its sender must not wait
	go func() { done <- b.Run(ctx) }()

	n := 0
	put := func(count int, texts ...string) {
		t.Helper()
		var entries []types.PutRecordsRequestEntry
		for range count {
			texts = append(texts, strconv.Itoa(n))
			n++
		}
		for i, text := range texts {
			entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String(strconv.Itoa(i)), Data: []byte(text)})
		}
		if _, err := api.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String("words"), Records: entries}); err != nil {
			t.Fatal(err)
		}
	}
	put(100, "crash")
	put(100, "hang", "rubbish")
	middle := hashkey.Uniform(4)[1].Start.String()
	if _, err := api.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String("words"), ShardToSplit: aws.String(shard0), NewStartingHashKey: &middle}); err != nil {
		t.Fatal(err)
	}
	put(100, "flood")
	if _, err := api.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: aws.String("words"), ShardToMerge: aws.String("shardId-000000000003"), AdjacentShardToMerge: aws.String("shardId-000000000001")}); err != nil {
		t.Fatal(err)
	}
	put(100, "orphan")

	// Children note in an order of their own; wait until all is there.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(time.Minute)
	var lines []string
	for {
		raw, err := os.ReadFile(filepath.Join(dir, "notes"))
		if err == nil {
			lines = strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
		}
		seen := map[string]bool{}
		for _, l := range lines {
			_, text, _ := strings.Cut(l, " ")
			seen[text] = true
		}
		if len(seen) == n+len(faults) && b.Stats().Consumer.ProcessorRestarts >= int64(len(faults)) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d records have come\n%s", len(seen), n+len(faults), strings.Join(log.all(), ""))
		}
		<-tick.C
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	first, last := map[string]int{}, map[string]int{}
	for i, l := range lines {
		shard, _, _ := strings.Cut(l, " ")
		if _, ok := first[shard]; !ok {
			first[shard] = i
		}
		last[shard] = i
	}
	for child, parents := range map[string][]string{
		"shardId-000000000002": {shard0}, "shardId-000000000003": {shard0},
		"shardId-000000000004": {"shardId-000000000003", "shardId-000000000001"},
	} {
		at, ok := first[child]
		for _, p := range parents {
			if ok && last[p] > at {
				t.Errorf("%s was read before %s was finished", child, p)
			}
		}
	}
	st := b.Stats()
	if st.Timeouts != 1 || st.Floods != 1 || st.Consumer.ShardsEnded != 3 || st.CheckpointErrors != 0 {
		t.Errorf("%+v\n%s", st, strings.Join(log.all(), ""))
	}
	if all := strings.Join(log.all(), ""); !strings.Contains(all, "exit status 7") || !strings.Contains(all, "exit status 8") {
		t.Error("the log does not say how the children ended")
	}
}

// TestProgramThatIsNotThere: it is tried again, and the stop is clean.
func TestProgramThatIsNotThere(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "words", 1)
	b, err := multilang.New(srv.Kinesis(), memlease.New(), "app", "words", multilang.Config{
		Command: []string{filepath.Join(t.TempDir(), "nothing")}, Consumer: consumer.Config{Logger: slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1) // its sender must not wait
	go func() { done <- b.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for b.Stats().Consumer.ProcessorErrors < 2 {
		<-tick.C
	}
	cancel()
	if err := <-done; err != nil || b.Stats().Children != 0 {
		t.Errorf("%v, %+v", err, b.Stats())
	}
}
