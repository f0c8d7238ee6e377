package logappender_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/logappender"
)

func init() { children["flood"] = flood }

// flood is the child: it logs numbers, and prints each hundredth once it is flushed,
// until it is killed.
func flood(how string) {
	f := strings.Fields(how) // sink, spill, directory
	cfg := logappender.Config{Linger: time.Millisecond, ErrorOutput: os.Stdout, SpillDir: f[2]}
	if f[1] == "always" {
		cfg.SpillMode = logappender.SpillAlways
	}
	a, err := logappender.New(&crashSink{how: f[0]}, cfg)
	if err != nil {
		panic(err)
	}
	l := zap.New(a.Core(zap.InfoLevel, bareEncoder()))
	for i := 0; ; i++ {
		l.Info(fmt.Sprintf("number %d", i))
		if i%100 == 99 {
			if err := a.Flush(context.Background()); err != nil {
				panic(err)
			}
			fmt.Fprintln(os.Stdout, "flushed", i)
		}
	}
}

// TestKilledAnywhere kills processes at some point of their work. What was flushed
// until then is stored or on disk.
func TestKilledAnywhere(t *testing.T) {
	for i, how := range []string{"ok always", "slow always", "down always", "down on", "ok on"} {
		for j := range 2 {
			t.Run(how, func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(1, uint64(2*i+j)))
				dir := t.TempDir()
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), childVar+"=flood "+how+" "+dir)
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				killAt, lines := 20+r.IntN(2000), 0
				if strings.HasPrefix(how, "down") {
					killAt = 5 + r.IntN(20) // it prints nothing else
				}
				have := make(map[string]bool)
				last := -1
				for in := bufio.NewScanner(out); in.Scan(); lines++ {
					if entry, ok := strings.CutPrefix(in.Text(), "stored "); ok {
						have[entry] = true
					}
					if number, ok := strings.CutPrefix(in.Text(), "flushed "); ok {
						if _, err := fmt.Sscan(number, &last); err != nil {
							t.Fatalf("%v in %q", err, in.Text())
						}
					}
					if lines == killAt {
						if err := cmd.Process.Kill(); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := cmd.Wait(); err == nil || lines < killAt {
					t.Fatalf("ended with %v after %d lines, %d were to come", err, lines, killAt)
				}
				onDisk := 0
				if _, err := spool.Inspect(vfs.OS, dir, func(r *spool.Record) error {
					if !r.Acked {
						have[string(r.Data)] = true
						onDisk++
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				for i := range last + 1 {
					if !have[fmt.Sprintf("number %d", i)] {
						t.Fatalf("number %d of %d flushed is neither stored nor on disk, where %d are", i, last, onDisk)
					}
				}
			})
		}
	}
}
