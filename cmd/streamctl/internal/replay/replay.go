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

// A Sender sends one request to the second server.
type Sender interface {
	Send(ctx context.Context, target, contentType string, body []byte) (Answer, error)
}

// Answer is what came back.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
}

// Options say how to replay.
type Options struct {
	// Speed is how much faster than it came a request is sent: 2 halves the
	// pauses. Zero leaves them out.
	Speed float64
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
	Skipped     int `json:"skipped"` // subscriptions, whose answers are streams
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
	began := time.Now()
	err := each(r, &report, func(n int, l capture.Line) error {
		if l.Operation() == "SubscribeToShard" {
			report.Skipped++
			return nil
		}
		if err := pause(ctx, began, l.At, opts.Speed); err != nil {
			return err
		}
		got, err := to.Send(ctx, l.Target, l.ContentType, names.Rewrite(l))
		if err != nil {
			return fmt.Errorf("line %d, %s: %w", n, l.Operation(), err)
		}
		report.Sent++
		answer := capture.ReadAnswer(l.Target, got.ContentType, got.Status, got.Body)
		names.Learn(l.Answer, answer)
		was, is := outcome(l.Status, l.Answer), outcome(got.Status, answer)
		if was != is {
			report.Differences++
			if opts.Differ != nil {
				opts.Differ(Difference{n, l.Operation(), was, is})
			}
		}
		return nil
	})
	return report, err
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
	t := time.NewTimer(time.Until(began.Add(time.Duration(float64(at) / speed))))
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
