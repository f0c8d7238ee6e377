package logappender_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// crashSink stores by printing, at once, late, or, if it is down, not at all: it
// refuses what comes first, which opens the circuit, and then accepts nothing.
type crashSink struct {
	how     string
	batches atomic.Int32
}

func (*crashSink) Flush(context.Context) error { return nil }

func (c *crashSink) PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	n := len(rs)
	if c.how == "down" {
		if c.batches.Add(1) > 5 {
			<-ctx.Done()
			return ctx.Err()
		}
		return errRefused
	}
	var out strings.Builder
	for _, r := range rs {
		fmt.Fprintf(&out, "stored %s\n", r.Data)
	}
	answer := func() {
		_, _ = os.Stdout.WriteString(out.String())
		done(producer.BatchResult{Records: n})
	}
	if c.how == "slow" {
		time.AfterFunc(30*time.Millisecond, answer)
		return nil
	}
	answer()
	return nil
}

// crash is the child: it logs an early entry and has it flushed, logs a last
// one, and ends.
func crash(how string) {
	f := strings.Fields(how) // end, sink, spill, directory
	cfg := logappender.Config{FatalTimeout: deadline(f[1], 400*time.Millisecond), Linger: time.Hour, ErrorOutput: os.Stdout}
	if f[2] != "off" {
		cfg.SpillDir = f[3]
	}
	if f[2] == "always" {
		cfg.SpillMode = logappender.SpillAlways
	}
	a, err := logappender.New(&crashSink{how: f[1]}, cfg)
	if err != nil {
		panic(err)
	}
	l := zap.New(a.Core(zap.InfoLevel, bareEncoder()))
	flush := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		_ = a.Flush(ctx) // a stream that is down does not let it end
	}
	if f[1] == "down" {
		for range 5 {
			l.Info("opens the circuit")
			flush(20 * time.Millisecond)
		}
	}
	l.Info("early entry")
	if f[1] == "down" && f[2] == "off" {
		flush(20 * time.Millisecond)
	} else {
		flush(10 * time.Second)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		panic(err)
	}
	switch f[0] {
	case "fatal":
		l.Fatal("last entry")
	case "panic":
		l.Panic("last entry")
	case "exit":
		l.Info("last entry")
		os.Exit(7)
	case "kill":
		l.Info("last entry")
		_ = self.Kill()
		select {}
	case "term":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		l.Info("last entry")
		if self.Signal(syscall.SIGTERM) != nil { // where there are no signals
			stop()
		}
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.Background(), deadline(f[1], 200*time.Millisecond))
		defer cancel()
		_ = a.Close(closing)
		os.Exit(7)
	}
}

// TestCrashTable holds the table of the package's comment against processes that
// die: where each of two entries must be found.
func TestCrashTable(t *testing.T) {
	const stored, disk, fallback = "stored", "disk", "fallback"
	for _, sink := range []string{"ok", "slow", "down"} {
		for _, spill := range []string{"off", "on", "always"} {
			// By what an entry that must not be lost is allowed to be found.
			where := []string{stored}
			switch {
			case sink == "down" && spill == "off":
				where = []string{fallback}
			case sink == "down":
				where = []string{disk}
			case spill == "always":
				where = []string{stored, disk}
			}
			for _, tt := range []struct {
				end  string
				code int
				kept []string
			}{
				{"fatal", 1, []string{"early entry", "last entry"}},
				{"panic", 2, []string{"early entry", "last entry"}},
				{"term", 7, []string{"early entry", "last entry"}},
				{"exit", 7, []string{"early entry"}}, // the last one is in memory
				{"kill", -1, []string{"early entry"}},
			} {
				if sink == "down" && spill == "off" && len(tt.kept) == 1 {
					tt.kept = nil
				}
				where := where
				if tt.end == "term" && sink != "down" {
					where = []string{stored} // Close has delivered it
				}
				t.Run(tt.end+" "+sink+" "+spill, func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					cmd := exec.CommandContext(t.Context(), os.Args[0])
					cmd.Env = append(os.Environ(), childVar+"=crash "+tt.end+" "+sink+" "+spill+" "+dir)
					var stdout, stderr strings.Builder
					cmd.Stdout, cmd.Stderr = &stdout, &stderr
					err := cmd.Run()
					if ee, ok := errors.AsType[*exec.ExitError](err); !ok || ee.ExitCode() != tt.code {
						t.Fatalf("ended with %v, want code %d: %.500s", err, tt.code, stderr.String())
					}
					onDisk := make(map[string]bool)
					if spill != "off" {
						if _, err := spool.Inspect(vfs.OS, dir, func(r *spool.Record) error {
							if !r.Acked {
								onDisk[string(r.Data)] = true
							}
							return nil
						}); err != nil {
							t.Fatal(err)
						}
					}
					for _, entry := range tt.kept {
						found := map[string]bool{
							stored:   strings.Contains(stdout.String(), "stored "+entry+"\n"),
							disk:     onDisk[entry],
							fallback: strings.Contains(stderr.String(), entry+"\n"),
						}
						if !slices.ContainsFunc(where, func(w string) bool { return found[w] }) {
							t.Errorf("%q should be in %v, is in %v; stdout %.300q, stderr %.300q", entry, where, found, stdout.String(), stderr.String())
						}
					}
				})
			}
		}
	}
}
