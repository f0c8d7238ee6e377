package agent_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/streamkit/streamkit/agent"
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
	path := filepath.Join(dir, "app.log")
	if _, err := os.Stat(path); err != nil {
		line := append(bytes.Repeat([]byte("x"), 199), '\n')
		if err := os.WriteFile(path, bytes.Repeat(line, size/len(line)), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	cfg := &agent.Config{
		Flows:          []agent.FlowConfig{{FilePattern: filepath.Join(dir, "app.log*"), KinesisStream: "s", StartOfFile: true, PartitionKey: agent.KeyFile}},
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
	if s := a.Status().Flows[0]; s.AckedRecords != uint64(size/200) {
		tb.Fatalf("%d records, want %d", s.AckedRecords, size/200)
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

// Reading allocates for files, chunks and spans, not for lines.
func TestLinesDoNotAllocate(t *testing.T) {
	allocs := func(size int) float64 {
		dir := t.TempDir()
		return testing.AllocsPerRun(3, func() { runOnce(t, dir, size) })
	}
	const lines = 100_000
	if small, large := allocs(200*1000), allocs(200*lines); large-small > lines/100 {
		t.Errorf("%v allocations for 1000 lines, %v for %d", small, large, lines)
	}
}
