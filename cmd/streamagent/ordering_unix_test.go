//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// linesOf returns the lines in the data of a Kinesis record.
func linesOf(t *testing.T, data []byte) (lines []string) {
	t.Helper()
	packed, err := aggregation.Walk(data, func(_ int, u aggregation.Record) bool {
		lines = append(lines, string(u.Data))
		return true
	})
	if err != nil {
		t.Error(err)
	}
	if !packed {
		lines = append(lines, string(data))
	}
	return lines
}

// A refusing client refuses some lines before it lets them through: those that say
// "busy" or "failing" once, each with the Kinesis record that it is in; those that
// say "invalid" with the whole request, until each was refused twice by itself.
type refusing struct {
	*kinesis.Client
	t *testing.T

	mu      sync.Mutex // guards what follows
	times   map[string]int
	entries int // refused
	alone   int // invalid lines that were refused by themselves
}

// invalid reports whether a request is refused as a whole.
func (r *refusing) invalid(entries []types.PutRecordsRequestEntry) (refused bool) {
	for _, e := range entries {
		lines := linesOf(r.t, e.Data)
		for _, line := range lines {
			if !strings.Contains(line, "invalid") || r.times[line] == 2 {
				continue
			}
			if refused = true; len(entries) == 1 && len(lines) == 1 {
				r.times[line]++
				r.alone++
			}
		}
	}
	return refused
}

// refusal returns why a Kinesis record is refused; empty if it is not.
func (r *refusing) refusal(e *types.PutRecordsRequestEntry) string {
	for _, line := range linesOf(r.t, e.Data) {
		for _, kind := range []struct{ word, code string }{
			{"busy", "ProvisionedThroughputExceededException"}, {"failing", "InternalFailure"},
		} {
			if strings.Contains(line, kind.word) && r.times[line] == 0 {
				r.times[line]++
				r.entries++
				return kind.code
			}
		}
	}
	return ""
}

// PutRecords passes on what is not refused.
func (r *refusing) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	// Nothing else that happens does so at the same nanosecond.
	time.Sleep(7*time.Millisecond + 3)
	results := make([]types.PutRecordsResultEntry, len(in.Records))
	var taken []int
	passed := *in
	passed.Records = nil
	r.mu.Lock()
	if r.invalid(in.Records) {
		r.mu.Unlock()
		return nil, &smithy.GenericAPIError{Code: "ValidationException", Message: "a line is invalid"}
	}
	for i, e := range in.Records {
		if code := r.refusal(&e); code != "" {
			results[i] = types.PutRecordsResultEntry{ErrorCode: aws.String(code), ErrorMessage: aws.String("refused")}
			continue
		}
		taken = append(taken, i)
		passed.Records = append(passed.Records, e)
	}
	r.mu.Unlock()
	if len(taken) > 0 {
		out, err := r.Client.PutRecords(ctx, &passed, opts...)
		if err != nil {
			return nil, err
		}
		for at, i := range taken {
			results[i] = out.Records[at]
		}
	}
	return &kinesis.PutRecordsOutput{FailedRecordCount: aws.Int32(int32(len(in.Records) - len(taken))), Records: results}, nil
}

// With "ordering": "file" the lines of each file are stored in their order, each once,
// though the stream refuses some of them for a time and others for good, and a file is
// rotated meanwhile. The producers are those that the command makes. With little memory
// for many lines, some wait for room in the producer when earlier ones fail.
func TestOrderOfFilesThroughRefusals(t *testing.T) {
	for _, c := range []refusals{
		{name: "plain", rounds: 40, perRound: 10, invalid: 100, once: 25},
		{name: "aggregated", aggregate: true, rounds: 40, perRound: 10, invalid: 100, once: 25},
		{name: "plain, little memory", memory: 4 << 20, rounds: 2, perRound: 2000, invalid: 1500, once: 1200},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { orderOfFiles(t, c) })
		})
	}
}

// refusals says how many lines there are, and which of them are refused.
type refusals struct {
	name             string
	aggregate        bool
	memory           int64 // zero: the usual
	rounds, perRound int   // of lines for each file
	invalid, once    int   // one of so many lines
}

func orderOfFiles(t *testing.T, c refusals) {
	srv := streamdtest.New(t)
	srv.CreateStream(t, "s", 2)
	client := &refusing{Client: srv.Kinesis(), t: t, times: make(map[string]int)}
	dir := t.TempDir()
	cfg := agent.Config{
		Flows: []agent.FlowConfig{{
			FilePattern: filepath.Join(dir, "*.log*"), KinesisStream: "s", StartOfFile: true,
			Ordering: agent.OrderingFile, Aggregation: c.aggregate, MaxBufferAge: 100 * time.Millisecond,
		}},
		CheckpointFile: filepath.Join(t.TempDir(), "checkpoints"), MaxMemoryBytes: c.memory, FS: vfstest.Lazy{FS: vfs.OS}, Logger: slog.New(slog.DiscardHandler),
		NewWatcher: func() (agent.Watcher, error) { return nil, errors.New("none: the real one stops fake time") },
	}
	a, err := agent.New(&cfg, func(f agent.FlowConfig, memory int64) (agent.Sink, error) {
		return producer.New(client, f.KinesisStream, producerConfig(f, cfg.Service, memory, cfg.Logger))
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()

	written := make(map[string][]string) // by generation
	generation := map[string]string{"a.log": "a", "b.log": "b", "c.log": "c"}
	for round := range c.rounds {
		if round == c.rounds/2 {
			if err := os.Rename(filepath.Join(dir, "b.log"), filepath.Join(dir, "b.log.1")); err != nil {
				t.Fatal(err)
			}
			generation["b.log"] = "b again"
		}
		for _, file := range slices.Sorted(maps.Keys(generation)) {
			g := generation[file]
			var text strings.Builder
			for range c.perRound {
				n := len(written[g])
				kind := "plain"
				switch {
				case n%c.invalid == 42:
					kind = "invalid"
				case n%c.once == 3:
					kind = "busy"
				case n%c.once == 16:
					kind = "failing"
				}
				line := fmt.Sprintf("%s %d %s\n", g, n, kind)
				written[g] = append(written[g], line)
				text.WriteString(line)
			}
			appendTo(t, filepath.Join(dir, file), text.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
	lines := 0
	for _, l := range written {
		lines += len(l)
	}
	for range 3600 {
		if a.Status().Flows[0].AckedRecords == uint64(lines) {
			break
		}
		time.Sleep(time.Second)
	}
	s := a.Status().Flows[0]
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	arrived := make(map[string][]string)
	for _, r := range srv.Records(t, "s") {
		for _, line := range linesOf(t, r.Data) {
			g := line[:strings.IndexAny(line, "0123456789")-1]
			arrived[g] = append(arrived[g], line)
		}
	}
	for g, want := range written {
		got := arrived[g]
		if slices.Equal(got, want) {
			continue
		}
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Errorf("file %q: %d lines stored of %d, and in another order from line %d on: %q, want %q",
			g, len(got), len(want), i, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))])
	}
	// Each invalid line fails for good, and those behind it are held back with it.
	invalid := 0
	for _, l := range written {
		for _, line := range l {
			if strings.Contains(line, "invalid") {
				invalid++
			}
		}
	}
	if client.alone != 2*invalid || client.entries < 10 || s.RecordFailures <= uint64(2*invalid) {
		t.Errorf("%d records were refused, %d lines for good, of which there are %d; %d failed, want more: those that were held back",
			client.entries, client.alone, invalid, s.RecordFailures)
	}
}
