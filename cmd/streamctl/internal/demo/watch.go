package demo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/leases"
)

// stallError says that nothing moved for too long, and who is behind.
type stallError struct {
	after time.Duration
	text  string
}

func (e *stallError) Error() string {
	return fmt.Sprintf("nothing moved for %v: %s", e.after, e.text)
}

// drive runs the writer, the faults and the observers, and watches them until
// every line came back.
func (d *demo) drive(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		cancel()
		// The writer may hang in the pipe to a service that does not read.
		_ = d.c.service.stdin.Close()
	}()
	failed := make(chan error, 3) // one for each goroutine that can fail
	wg.Go(func() {
		if err := d.replay.Run(ctx); err != nil {
			failed <- fmt.Errorf("write the input: %w", err)
			return
		}
		d.finished.Store(true)
	})
	wg.Go(func() {
		if err := d.audit.run(ctx, d.c.kinesis, Stream, d.opts.StallLimit); err != nil && ctx.Err() == nil {
			failed <- fmt.Errorf("read the stream beside the consumers: %w", err)
		}
	})
	faultsDone := make(chan struct{})
	wg.Go(func() {
		defer close(faultsDone)
		if err := d.runFaults(ctx); err != nil && ctx.Err() == nil {
			failed <- err
		}
	})
	wg.Go(func() { d.observe(ctx) })
	return d.watch(ctx, failed, faultsDone)
}

const (
	watchEvery = 50 * time.Millisecond
	drawEvery  = 200 * time.Millisecond
	plainEvery = time.Second
)

// watch follows the receipts, lets the writer on, shows the figures and looks
// for trouble.
func (d *demo) watch(ctx context.Context, failed <-chan error, faultsDone <-chan struct{}) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	every := plainEvery
	if d.screen.Live() {
		every = drawEvery
	}
	var (
		shown     time.Time
		lastMoved = time.Now()
		lastSum   uint64
		rate      = newRate(3 * time.Second)
		quiet     bool // faults are over
	)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			if died := d.c.died(); died != nil {
				return died // the cause
			}
			return err
		case <-faultsDone:
			quiet, faultsDone = true, nil
		case <-tick.C:
		}
		if err := d.prog.Update(); err != nil {
			return fmt.Errorf("read the receipts: %w", err)
		}
		d.read.Store(d.prog.Distinct())
		d.repeats.Store(d.prog.Deliveries() - d.prog.Distinct())
		select {
		case d.advanced <- struct{}{}:
		default:
		}
		if err := d.c.died(); err != nil {
			return err
		}
		f := d.figures()
		f.rate = rate.add(time.Now(), f.read)
		if now := time.Now(); now.Sub(shown) >= every {
			shown = now
			if d.screen.Live() {
				d.screen.Draw(d.block(f))
			} else {
				d.screen.Say("%s", f.line())
			}
		}
		if d.finished.Load() && f.read == f.written && quiet && f.stored >= f.written {
			if !d.screen.Live() {
				d.screen.Say("%s", f.line())
			}
			return nil
		}
		if sum := f.written + f.stored + f.read + f.repeats; sum != lastSum {
			lastSum, lastMoved = sum, time.Now()
		}
		if time.Since(lastMoved) > d.opts.StallLimit {
			return &stallError{after: d.opts.StallLimit, text: d.diagnose(f)}
		}
	}
}

func (d *demo) figures() figures {
	return figures{
		elapsed: time.Since(d.screen.start), written: d.replay.Written(), bytes: d.replay.Bytes(),
		acked: d.seen.acknowledged(), stored: d.audit.userRecords.Load(), records: d.audit.records.Load(),
		read: d.read.Load(), repeats: d.repeats.Load(), fraction: d.fraction(),
	}
}

// diagnose says which part is behind, with what is known of it.
func (d *demo) diagnose(f figures) string {
	var b strings.Builder
	suspects := d.c.processes()
	switch {
	case f.stored < f.written:
		fmt.Fprintf(&b, "%s lines are written, only %s are in the stream: streamagent or the logging service is behind, or streamd refuses.", number(f.written), number(f.stored))
	case f.read < f.written:
		fmt.Fprintf(&b, "all %s lines are in the stream, only %s came back: the consumer workers are behind.", number(f.written), number(f.read))
	default:
		b.WriteString("all lines came back, but an event did not end.")
	}
	d.seen.mu.Lock()
	for id, l := range d.seen.leases {
		if l.Checkpoint != leases.ShardEnd {
			fmt.Fprintf(&b, "\n  lease %s: owner %q, counter %d, checkpoint %s", id, l.Owner, l.Counter, l.Checkpoint)
		}
	}
	d.seen.mu.Unlock()
	for _, p := range suspects {
		state := "runs"
		if !p.Running() {
			state = "has ended"
		}
		fmt.Fprintf(&b, "\n  %s (pid %d) %s", p.Name, p.PID(), state)
		last := p.tailOfLog(5)
		if len(last) == 0 {
			b.WriteString(", and has said nothing")
			continue
		}
		b.WriteString("; last lines of its log:")
		for _, line := range last {
			fmt.Fprintf(&b, "\n    %s", line)
		}
	}
	return b.String()
}

// rate measures lines a second over the last while.
type rate struct {
	window time.Duration
	times  []time.Time
	counts []uint64
}

func newRate(window time.Duration) *rate { return &rate{window: window} }

func (r *rate) add(now time.Time, n uint64) float64 {
	r.times, r.counts = append(r.times, now), append(r.counts, n)
	for len(r.times) > 2 && now.Sub(r.times[0]) > r.window {
		r.times, r.counts = r.times[1:], r.counts[1:]
	}
	if took := now.Sub(r.times[0]).Seconds(); took > 0 {
		return float64(n-r.counts[0]) / took
	}
	return 0
}
