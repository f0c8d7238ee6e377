package integration_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWorkerPaused holds one of two workers for longer than others wait for it, and
// lets it go on. What was put meanwhile is processed once: by the other, and not by
// the one that wakes up and has to find out what has become of its leases.
func TestWorkerPaused(t *testing.T) {
	needProcesses(t)
	for _, mode := range []string{"native", "native+peers"} {
		t.Run(mode, func(t *testing.T) {
			const shards = 4
			s := startServer(t)
			s.createStream("paused", shards)
			f := newFleet(t, s, "paused")
			load := startTicker(t, s, "paused", 2*shards)
			w := f.watch()
			first, second := startIn(f, mode, "first"), startIn(f, mode, "second")
			half := map[string]int{"first": shards / 2, "second": shards / 2}
			f.awaitOwners(time.Minute, half)
			pause(t.Context(), *failoverTime) // peers have met, and something is stored

			held := f.shardsOf("first")
			since := time.Now()
			hold(t, first)
			stopped := time.Now()
			took := takenOver(t, w, held, "first", since)
			pause(t.Context(), 2**failoverTime)
			if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			back := f.awaitOwners(time.Minute, half)
			t.Logf("held: all its shards read after %v; %v until leases are balanced once it goes on", slices.Max(took), back)

			stored := load.stop()
			w.awaitAll(t, stored)
			for _, p := range []*process{first, second} {
				if err := p.stop(); err != nil {
					t.Errorf("a worker that is asked to stop ends with %v", err)
				}
			}
			if _, err := w.next(); err != nil {
				t.Fatal(err)
			}
			again := 0
			for data, n := range w.count {
				_, put, _ := strings.Cut(data, "|")
				nanos, err := strconv.ParseInt(put, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				switch at := time.Unix(0, nanos); {
				case n == 1:
				case at.After(stopped):
					t.Errorf("%s, put %v after the worker was held, is processed %d times", data, at.Sub(stopped), n)
				default:
					again += n - 1
				}
			}
			t.Logf("%d records, %d from before processed again", len(stored), again)
		})
	}
}

// hold stops a process and waits until all its threads stand still.
func hold(t *testing.T, p *process) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "process held", func() error {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return errors.New("no threads")
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if _, state, _ := strings.Cut(string(b), ") "); !strings.HasPrefix(state, "T") {
				return fmt.Errorf("%s is in state %.1s", name, state)
			}
		}
		return nil
	})
}
