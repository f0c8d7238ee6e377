package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/capture"
)

// maxOpen bounds the subscriptions that are open at once.
const maxOpen = 1000

// subscription is one that the second server has let in. A goroutine of its own
// reads it, as a client does, so that the server need not wait until the replay
// has come to its end.
type subscription struct {
	body io.Closer
	more chan struct{} // of capacity 1: there are events, or the end
	done chan struct{} // closed as the goroutine returns

	mu     sync.Mutex      // guards events and ended
	events []capture.Event // that were read, and not taken yet; counts alone
	ended  bool

	seen  capture.Subscription // what was taken from events
	early int                  // records that the subscription before it has had instead
}

// earlyFor returns how many records of those that a subscription brought in the
// first run came with the one that it goes on from: events have other bounds.
func (p *player) earlyFor(l capture.Line) int {
	for next, n := range p.early {
		if next != "" && bytes.Contains(l.Body, []byte(next)) {
			return n
		}
	}
	return 0
}

// follow reads the events of an answer until close.
func follow(body io.ReadCloser) *subscription {
	s := &subscription{body: body, more: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.read(body)
	}()
	return s
}

func (s *subscription) read(body io.Reader) {
	var buf []byte
	for {
		var e capture.Event
		var err error
		if buf, err = capture.ReadMessage(body, buf); err == nil {
			e, err = capture.ReadEvent(buf)
		}
		switch {
		case errors.Is(err, io.EOF):
		case err != nil:
			e = capture.Event{Code: "the connection was lost"}
		case e.Records == 0 && !e.Last && e.Code == "":
			continue // a sign of life
		}
		s.mu.Lock()
		if s.ended = err != nil; e != (capture.Event{}) {
			s.events = append(s.events, e)
		}
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default: // it was told already
		}
		if err != nil {
			return
		}
	}
}

// take returns the next event; ok is false if there is none now.
func (s *subscription) take() (e capture.Event, ok, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == 0 {
		return e, false, s.ended
	}
	e, s.events = s.events[0], s.events[1:]
	return e, true, false
}

// close ends the subscription and waits for its goroutine.
func (s *subscription) close() {
	_ = s.body.Close() // nothing is wanted of it
	<-s.done
}

// await takes events until there is what want says, the stream ends, or nothing
// comes for so long.
func (s *subscription) await(ctx context.Context, want capture.Subscription, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	for s.seen.Records < want.Records || want.Last && !s.seen.Last || want.Code != "" {
		e, ok, ended := s.take()
		switch {
		case ended:
			return nil
		case ok:
			s.seen.Add(e)
			t.Reset(wait)
			continue
		}
		select {
		case <-s.more:
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// end reads a subscription as far as it went in the capture, and compares.
func (p *player) end(ctx context.Context, n int, l capture.Line) error {
	s := p.open[l.Stream]
	if s == nil {
		return nil // it was not let in, which was said
	}
	want := *l.Ended
	want.Records = max(0, want.Records-s.early)
	if err := s.await(ctx, want, p.opts.Wait); err != nil {
		return err
	}
	p.drop(l.Stream)
	seen := s.seen
	seen.Records += s.early
	if seen.Next != "" {
		p.early[want.Next] = max(0, seen.Records-l.Ended.Records)
		p.names.Learn(l.Answer, capture.Answer{Values: map[string]string{"ContinuationSequenceNumber": seen.Next}})
	}
	// The last event may have more than the last of the first run had.
	seen.Records = min(seen.Records, l.Ended.Records)
	p.compare(n, l, went(*l.Ended), went(seen))
	return nil
}

// went is how a subscription ended, in words that can be compared.
func went(s capture.Subscription) string {
	text := fmt.Sprintf("%d records", s.Records)
	if s.Last {
		text += ", the end of the shard"
	}
	if s.Code != "" {
		text += ", " + s.Code
	}
	return text
}

// drop closes a subscription, if there is one of that number.
func (p *player) drop(number int64) {
	if s := p.open[number]; s != nil {
		delete(p.open, number)
		s.close()
	}
}

func (p *player) close() {
	for number := range p.open {
		p.drop(number)
	}
}
