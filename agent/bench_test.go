package agent_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/agent/internal/transform"
	"github.com/streamkit/streamkit/producer"
)

// null acknowledges at once.
type null struct{}

func (null) PutBatch(_ context.Context, r []producer.UserRecord, done func(producer.BatchResult)) error {
	done(producer.BatchResult{Records: len(r)})
	return nil
}
func (null) Flush(context.Context) error { return nil }
func (null) Close(context.Context) error { return nil }

// runOnce reads a file of size bytes in lines of 200 bytes into the null sink.
func runOnce(tb testing.TB, dir string, size int) {
	tb.Helper()
	runFlow(tb, dir, size, strings.Repeat("x", 199)+"\n", agent.FlowConfig{})
}

// runFlow reads a file of size bytes, which are records like the one given, with a
// flow into the null sink.
func runFlow(tb testing.TB, dir string, size int, record string, flow agent.FlowConfig) {
	tb.Helper()
	path := filepath.Join(dir, "app.log")
	if _, err := os.Stat(path); err != nil {
		if err := os.WriteFile(path, bytes.Repeat([]byte(record), size/len(record)), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	flow.FilePattern, flow.KinesisStream, flow.StartOfFile, flow.PartitionKey = filepath.Join(dir, "app.log*"), "s", true, cmp.Or(flow.PartitionKey, agent.KeyFile)
	cfg := &agent.Config{
		Flows:          []agent.FlowConfig{flow},
		CheckpointFile: filepath.Join(tb.TempDir(), "checkpoints"), Once: true, Logger: slog.New(slog.DiscardHandler),
		NewWatcher: func() (agent.Watcher, error) { return nil, errors.New("none") },
	}
	a, err := agent.New(cfg, func(agent.FlowConfig, int64) (agent.Sink, error) { return null{}, nil })
	if err != nil {
		tb.Fatal(err)
	}
	if err := a.Run(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	if s := a.Status().Flows[0]; s.AckedRecords != uint64(size/len(record)) {
		tb.Fatalf("%d records, want %d", s.AckedRecords, size/len(record))
	}
}

func BenchmarkFileToNullSink(b *testing.B) {
	const size = 256 << 20 / 200 * 200
	dir := b.TempDir()
	runOnce(b, dir, size) // the file is in the page cache from here on
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		runOnce(b, dir, size)
	}
}

const (
	combinedLine = `127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" ` +
		`"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0 abcdefg"` + "\n"
	trace   = "2026-01-02 03:04:05 ERROR no connection\n" + traceAt + traceAt + traceAt + traceAt
	traceAt = "\tat com.example.Class.method(Class.java:123)\n"
	criLine = "2016-10-06T00:17:09.669794202Z stdout F a line of text that a container wrote, of some length, so that it is like others\n"
)

// conversions are flows that do more than cut lines.
func conversions(tb testing.TB) map[string]struct {
	record string
	flow   agent.FlowConfig
} {
	tb.Helper()
	combined, err := transform.NewLogToJSON("COMBINEDAPACHELOG", "", nil, false)
	if err != nil {
		tb.Fatal(err)
	}
	options := func(o transform.Option) *transform.Chain { return &transform.Chain{Options: []transform.Option{o}} }
	return map[string]struct {
		record string
		flow   agent.FlowConfig
	}{
		"combined":   {combinedLine, agent.FlowConfig{DataProcessing: options(combined)}},
		"multiline":  {trace, agent.FlowConfig{MultiLineStart: regexp.MustCompile(`^\d{4}-\d\d-\d\d`)}},
		"singleline": {trace, agent.FlowConfig{MultiLineStart: regexp.MustCompile(`^\d{4}-\d\d-\d\d`), DataProcessing: options(transform.SingleLine{})}},
		"cri":        {criLine, agent.FlowConfig{Container: agent.ContainerCRI}},
		"key":        {`{"user":"alice","text":"some text of some length, as a record may have it"}` + "\n", agent.FlowConfig{PartitionKey: "field:user"}},
		"utf-8":      {combinedLine, agent.FlowConfig{Encoding: "utf-8"}},
	}
}

func BenchmarkConversions(b *testing.B) {
	for name, c := range conversions(b) {
		b.Run(name, func(b *testing.B) {
			size := 64 << 20 / len(c.record) * len(c.record)
			dir := b.TempDir()
			runFlow(b, dir, size, c.record, c.flow)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				runFlow(b, dir, size, c.record, c.flow)
			}
		})
	}
}

// Reading allocates for files, chunks and spans, not for lines, whatever becomes of
// them.
func TestLinesDoNotAllocate(t *testing.T) {
	cases := conversions(t)
	plain := cases["combined"]
	plain.record, plain.flow = strings.Repeat("x", 199)+"\n", agent.FlowConfig{}
	cases["plain"] = plain
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			allocs := func(records int) float64 {
				dir := t.TempDir()
				return testing.AllocsPerRun(3, func() { runFlow(t, dir, records*len(c.record), c.record, c.flow) })
			}
			const records = 30_000
			if raceEnabled { // its pools lose things now and then, those of regexp too
				allocs(records)
				return
			}
			if small, large := allocs(1000), allocs(records); large-small > records/50 {
				t.Errorf("%v allocations for 1000 records, %v for %d", small, large, records)
			}
		})
	}
}
