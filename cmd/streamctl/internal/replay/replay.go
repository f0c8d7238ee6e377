// Package replay sends the requests of a capture again, in their order, and
// compares what is answered with what was.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/streamkit/streamkit/internal/capture"
)

// A Sender sends one request to the second server: that of a line, with the body
// that this server understands.
type Sender interface {
	Send(ctx context.Context, l capture.Line, body []byte) (Answer, error)
}

// Answer is what came back.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
	// Events is the rest of an answer that is a stream of events, which has no
	// Body. Who has it closes it.
	Events io.ReadCloser
}

// Options say how to replay.
type Options struct {
	// Speed is how much faster than it came a request is sent: 2 halves the
	// pauses. Zero leaves them out.
	Speed float64
	// Wait is how long a subscription may bring no records before it is taken to
	// have no more. Default 10s.
	Wait time.Duration
	// WithoutTables leaves the requests to DynamoDB out.
	WithoutTables bool
	// Differ is told of each difference. Nil ignores them.
	Differ func(Difference)
}

// Difference is a request that was answered otherwise than in the capture.
type Difference struct {
	Line      int    `json:"line"` // of the file, from 1
	Operation string `json:"operation"`
	Captured  string `json:"captured"`
	Replayed  string `json:"replayed"`
}

// Report counts what was done.
type Report struct {
	Sent        int `json:"sent"`
	Differences int `json:"differences"`
	Skipped     int `json:"skipped"` // requests that were left out
	Damaged     int `json:"damaged"` // lines that could not be read
}

// Run replays the capture that r holds. It is read twice: first for what
// requests repeat from answers. An error ends the replay; the report says how far
// it came.
func Run(ctx context.Context, r io.ReadSeeker, to Sender, opts Options) (Report, error) {
	var names capture.Mapping
	var report Report
	if err := each(r, &report, func(_ int, l capture.Line) error {
		names.Need(l)
		return ctx.Err()
	}); err != nil {
		return report, err
	}
	report = Report{}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return report, err
	}
	p := &player{to: to, opts: opts, names: names, report: &report, began: time.Now(), open: make(map[int64]*subscription), early: make(map[string]int)}
	if p.opts.Wait == 0 {
		p.opts.Wait = 10 * time.Second
	}
	defer p.close()
	err := each(r, &report, func(n int, l capture.Line) error {
		err := p.play(ctx, n, l)
		if err != nil {
			return fmt.Errorf("line %d, %s: %w", n, l.Operation(), err)
		}
		return nil
	})
	return report, err
}

// player is a replay under way.
type player struct {
	to     Sender
	opts   Options
	names  capture.Mapping
	report *Report
	began  time.Time
	open   map[int64]*subscription // by their numbers in the capture
	early  map[string]int          // records that came too soon, by the number that ended their subscription
}

// play does what a line says.
func (p *player) play(ctx context.Context, n int, l capture.Line) error {
	if l.Service() == "dynamodb" && p.opts.WithoutTables {
		p.report.Skipped++
		return nil
	}
	if l.Ended == nil && l.Stream != 0 && len(p.open) >= maxOpen {
		p.report.Skipped++
		return nil
	}
	if err := pause(ctx, p.began, l.At, p.opts.Speed); err != nil {
		return err
	}
	if l.Ended != nil {
		return p.end(ctx, n, l)
	}
	got, err := p.send(ctx, l)
	if err != nil {
		return err
	}
	p.report.Sent++
	answer := capture.ReadAnswer(l.Target, got.ContentType, got.Status, got.Body)
	p.names.Learn(l.Answer, answer)
	p.compare(n, l, outcome(l.Status, l.Answer), outcome(got.Status, answer))
	switch {
	case got.Events == nil:
	case l.Stream == 0: // how it went is not known
		_ = got.Events.Close() // nothing is wanted of it
	default:
		p.drop(l.Stream) // of an earlier run
		p.open[l.Stream] = follow(got.Events)
		p.open[l.Stream].early = p.earlyFor(l)
	}
	return nil
}

// Between two subscriptions of a consumer to a shard there must be five seconds.
const (
	againAfter = time.Second
	againTimes = 6
)

// send sends a request. A subscription that came in time in the first run may
// come too early in a replay without pauses: it is tried again.
func (p *player) send(ctx context.Context, l capture.Line) (Answer, error) {
	for try := 0; ; try++ {
		got, err := p.to.Send(ctx, l, p.names.Rewrite(l))
		if err != nil || l.Stream == 0 || got.Events != nil || try == againTimes ||
			capture.ReadAnswer(l.Target, got.ContentType, got.Status, got.Body).Code != "ResourceInUseException" {
			return got, err
		}
		if err := sleep(ctx, againAfter); err != nil {
			return got, err
		}
	}
}

func (p *player) compare(n int, l capture.Line, was, is string) {
	if was == is {
		return
	}
	p.report.Differences++
	if p.opts.Differ != nil {
		p.opts.Differ(Difference{n, l.Operation(), was, is})
	}
}

// each calls f for every line that can be read, with its number.
func each(r io.Reader, report *Report, f func(int, capture.Line) error) error {
	lines := capture.NewReader(r)
	for {
		l, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if _, damaged := errors.AsType[*capture.DamagedError](err); damaged {
			report.Damaged++
			continue
		}
		if err == nil {
			err = f(lines.LineNumber(), l)
		}
		if err != nil {
			return err
		}
	}
}

// pause waits until a request is due.
func pause(ctx context.Context, began time.Time, at time.Duration, speed float64) error {
	if speed == 0 {
		return ctx.Err()
	}
	return sleep(ctx, time.Until(began.Add(time.Duration(float64(at)/speed))))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outcome is how a request ended, in words that can be compared.
func outcome(status int, a capture.Answer) string {
	switch {
	case a.Code != "":
		return fmt.Sprintf("%d %s", status, a.Code)
	case a.Failed > 0:
		return fmt.Sprintf("%d, %d records refused", status, a.Failed)
	}
	return fmt.Sprint(status)
}
