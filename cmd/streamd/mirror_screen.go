package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/streamkit/streamkit/cmd/internal/mirror"
)

// A screen shows a line of progress below what is written to it, if it leads to
// a terminal.
type screen struct {
	mu   sync.Mutex // guards what follows, and the order of writes
	w    io.Writer
	live bool
	line string // on the terminal now, without a line end
}

func newScreen(w io.Writer) *screen { return &screen{w: w, live: terminal(w)} }

const clearLine = "\r\x1b[K"

// Write implements [io.Writer] for whole lines.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" {
		return s.w.Write(b)
	}
	_, err := io.WriteString(s.w, clearLine+string(b)+s.line)
	return len(b), err
}

// set replaces the line of progress.
func (s *screen) set(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line != "" || line != "" {
		_, _ = io.WriteString(s.w, clearLine+line) // a terminal that is gone ends the program otherwise
	}
	s.line = line
}

// show draws progress each second until the returned function is called, which
// removes it.
func (s *screen) show(stats func() []mirror.Stats) (stop func()) {
	if !s.live {
		return func() {}
	}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var last mirror.Stats
		for {
			select {
			case <-end:
				s.set("")
				return
			case <-tick.C:
				now := total(stats())
				s.set(progressLine(now, last))
				last = now
			}
		}
	}()
	return func() { close(end); <-done }
}

// total adds up what was done of all streams.
func total(all []mirror.Stats) mirror.Stats {
	var t mirror.Stats
	for _, s := range all {
		t.Records += s.Records
		t.Bytes += s.Bytes
		t.Duplicates += s.Duplicates
		t.Resent += s.Resent
		t.Reordered += s.Reordered
		t.ThrottledReads += s.ThrottledReads
		t.ThrottledWrites += s.ThrottledWrites
		t.Gaps += s.Gaps
		t.Split += s.Split
		t.Shards += s.Shards
		t.Lag = max(t.Lag, s.Lag)
	}
	return t
}

// progressLine says what was done in all, and in the last second.
func progressLine(now, last mirror.Stats) string {
	line := fmt.Sprintf("%d records, %s; %d records/s, %s/s; %d shards, lag %v", now.Records, size(now.Bytes),
		now.Records-last.Records, size(now.Bytes-last.Bytes), now.Shards, lag(now.Lag))
	if n := now.ThrottledReads + now.ThrottledWrites - last.ThrottledReads - last.ThrottledWrites; n > 0 {
		line += ", throttled"
	}
	return line
}

// lag rounds a time for people.
func lag(d time.Duration) time.Duration {
	if d > 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(10 * time.Millisecond)
}

func size(n int64) string {
	const unit = 1024
	value, name := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, name = value/unit, next
	}
	if name == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, name)
}

// summary prints what was done of each stream.
func summary(w io.Writer, all []mirror.Stats, took time.Duration) {
	for _, s := range all {
		name := s.From
		if s.To != s.From {
			name += " to " + s.To
		}
		fmt.Fprintf(w, "%s: %d records, %s in %v; lag %v; sent again: %d refused, %d without an answer, so at most as many are there twice; throttled: %d reads, %d records\n",
			name, s.Records, size(s.Bytes), took.Round(10*time.Millisecond), lag(s.Lag), s.Resent, s.Duplicates, s.ThrottledReads, s.ThrottledWrites)
		var more []string
		if s.Gaps > 0 {
			more = append(more, fmt.Sprintf("%d gaps by retention of the source", s.Gaps))
		}
		if s.Split > 0 {
			more = append(more, fmt.Sprintf("%d aggregated records that are not whole in a shard of the target", s.Split))
		}
		if s.Reordered > 0 {
			more = append(more, fmt.Sprintf("%d records stored behind a later one of their key", s.Reordered))
		}
		if len(more) > 0 {
			fmt.Fprintf(w, "%s: %s\n", name, strings.Join(more, "; "))
		}
	}
}
