//go:build unix

package benchmarks_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nxadm/tail"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

const (
	lines     = 500_000
	lineBytes = 200
)

func BenchmarkRead(b *testing.B) {
	path := filepath.Join(b.TempDir(), "app.log")
	line := append(bytes.Repeat([]byte("x"), lineBytes-1), '\n')
	if err := os.WriteFile(path, bytes.Repeat(line, lines), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, reader := range []struct {
		name string
		read func(b *testing.B, path string) (int, error)
	}{
		{"agent", readAgent},
		{"nxadm-tail", readTail},
		{"cat", readCat},
	} {
		b.Run(reader.name, func(b *testing.B) {
			b.SetBytes(lines * lineBytes)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				n, err := reader.read(b, path)
				if err == nil && n != lines {
					err = fmt.Errorf("%d lines of %d were read", n, lines)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/lines, "cpu-ns/line")
		})
	}
}

// cpuTime is what the process and those that it has waited for have used of all
// processors.
func cpuTime(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

func readAgent(b *testing.B, path string) (int, error) {
	b.Helper()
	cfg := agent.Config{
		Flows:          []agent.FlowConfig{{FilePattern: path, KinesisStream: "s", StartOfFile: true}},
		CheckpointFile: filepath.Join(b.TempDir(), "checkpoints"), Once: true, Logger: slog.New(slog.DiscardHandler),
	}
	var s counter
	a, err := agent.New(&cfg, func(agent.FlowConfig, int64) (agent.Sink, error) { return &s, nil })
	if err != nil {
		return 0, err
	}
	err = a.Run(b.Context())
	return s.n, err
}

// counter is a sink that counts.
type counter struct{ n int }

func (c *counter) PutBatch(_ context.Context, r []producer.UserRecord, done func(producer.BatchResult)) error {
	c.n += len(r) // by one goroutine
	done(producer.BatchResult{Records: len(r)})
	return nil
}
func (*counter) Flush(context.Context) error { return nil }
func (*counter) Close(context.Context) error { return nil }

func readTail(_ *testing.B, path string) (n int, err error) {
	t, err := tail.TailFile(path, tail.Config{Logger: log.New(io.Discard, "", 0), CompleteLines: true})
	if err != nil {
		return 0, err
	}
	for line := range t.Lines {
		if line.Err != nil {
			return n, line.Err
		}
		n++
	}
	return n, t.Wait()
}

func readCat(b *testing.B, path string) (int, error) {
	b.Helper()
	return lines, exec.CommandContext(b.Context(), "cat", path).Run()
}
