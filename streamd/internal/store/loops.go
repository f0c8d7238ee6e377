package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// submit sends an encoded change through the journal and returns the outcomes
// of its entries. If ctx ends first the change may still take effect.
func (s *Store) submit(ctx context.Context, entries []byte, n int) ([]state.Outcome, error) {
	c := &call{entries: entries, n: n, done: make(chan struct{})}
	if err := s.queue.put(c); err != nil {
		return nil, err
	}
	select {
	case <-c.done:
		return c.outcomes, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// commit writes what waits in the queue, frame by frame, until ctx ends or the
// journal fails.
func (s *Store) commit(ctx context.Context) {
	id := journal.FrameID{Gateway: s.meta.ID, Session: s.session}
	var prev uint32
	refused := 0 // frames in a row, for want of room
	for {
		select {
		case <-s.queue.ready:
		case <-s.failed:
			return
		case <-ctx.Done():
			return
		}
		calls, size := s.queue.take()
		if len(calls) == 0 {
			continue
		}
		body := make([]byte, 0, size+8) // the journal and the readers keep it
		body = state.BeginFrame(body, s.clock.Now())
		for _, c := range calls {
			body = append(body, c.entries...)
			c.entries = nil
		}
		id.N++
		s.frames.add(id.N, calls)
		err := s.append(ctx, &journal.Frame{ID: id, Prev: prev, Body: body})
		switch {
		case err == nil:
			prev = journal.Checksum(body)
			if refused > 0 {
				s.log.Info("the disk of the data directory has room again", slog.Int("refused", refused))
			}
			refused = 0
		case errors.Is(err, journal.ErrFull):
			if refused++; refused == 1 {
				s.log.Warn("the disk of the data directory is full; writes are refused until there is room", slog.Any("err", err))
			}
			finish(s.frames.take(id.N), ErrFull)
			id.N-- // nothing was stored under this number
		default:
			s.fail(err)
			return
		}
	}
}

// append appends f until its fate is known.
func (s *Store) append(ctx context.Context, f *journal.Frame) error {
	for {
		_, err := s.j.Append(ctx, f)
		if !errors.Is(err, journal.ErrUnknown) || ctx.Err() != nil {
			return err
		}
	}
}

// apply applies the journal from position from on until ctx ends or it fails.
// It closes caughtUp once the state has reached position target.
func (s *Store) apply(ctx context.Context, from, target journal.LSN) {
	lastSnapshot := from
	if from >= target {
		close(s.caughtUp)
	}
	err := s.j.Follow(ctx, from, func(lsn journal.LSN, f *journal.Frame) error {
		if err := s.applyFrame(lsn, f); err != nil {
			return err
		}
		if lsn >= target && from < target {
			close(s.caughtUp)
			from = target
		}
		if s.opts.Dir != "" && lsn-lastSnapshot >= journal.LSN(s.opts.SnapshotBytes) {
			lastSnapshot = lsn
			s.mu.Lock() // a clone marks the tables' trees as shared
			st := s.state.Clone()
			s.mu.Unlock()
			s.snapshots.start(s.log, st, lsn)
		}
		return nil
	})
	if ctx.Err() == nil {
		s.fail(err)
	}
}

// applyFrame applies one frame and releases the callers that it answers.
func (s *Store) applyFrame(lsn journal.LSN, f *journal.Frame) error {
	var calls []*call
	if f.ID.Gateway == s.meta.ID && f.ID.Session == s.session {
		calls = s.frames.take(f.ID.N)
	}
	next := 0
	var transitions []*state.Stream
	s.mu.Lock()
	err := s.state.Apply(lsn, f, func(o state.Outcome) {
		if o.Stream != nil && o.Stream.Transition() != nil {
			transitions = append(transitions, o.Stream)
		}
		s.watchers.note(o)
		if next == len(calls) {
			return // a frame of another time
		}
		c := calls[next]
		if c.outcomes = append(c.outcomes, o); len(c.outcomes) == c.n {
			next++
		}
	})
	s.mu.Unlock()
	if err != nil {
		finish(calls, ErrFailed)
		return err
	}
	select {
	case <-s.caughtUp: // while catching up, what is pending is not known yet
		// Before the callers hear of it: one that moves the clock must find it.
		for _, st := range transitions {
			s.scheduleTransition(st)
		}
	default:
	}
	s.applied.Store(uint64(lsn))
	s.frames.applyDone()
	finish(calls, nil)
	s.watchers.tell()
	return nil
}

// resumeTransitions schedules the transitions that the last process left.
func (s *Store) resumeTransitions() {
	s.mu.RLock()
	streams := s.state.All()
	s.mu.RUnlock()
	for _, st := range streams {
		if st.Transition() != nil {
			s.scheduleTransition(st)
		}
	}
}

// scheduleTransition completes the transition of st when it is due. To do so
// twice is harmless.
func (s *Store) scheduleTransition(st *state.Stream) {
	t := st.Transition()
	s.clock.At(t.Due, func() {
		_, err := s.Command(context.Background(), state.Complete{StreamID: st.ID, Transition: t.ID})
		switch {
		case errors.Is(err, ErrFull):
			retry := *st
			s.clock.At(s.clock.Now().Add(time.Second), func() { s.scheduleTransition(&retry) })
		case err != nil && !errors.Is(err, ErrClosed):
			s.log.Error("a stream stays in transition", slog.String("stream", st.Key.Name), slog.Any("err", err))
		}
	})
}

// scheduleTrim frees, once a minute, the place of what is past retention.
func (s *Store) scheduleTrim() {
	s.clock.At(s.clock.Now().Add(trimInterval), func() {
		if s.closed.Load() {
			return
		}
		if err := s.trim(); err != nil {
			s.log.Error("cannot remove expired journal segments", slog.Any("err", err))
		}
		s.scheduleTrim()
	})
}

func (s *Store) trim() error {
	// A frame that raises a retention keeps what had not expired when it arrived,
	// and may be on its way. What it keeps must not be freed before it is here.
	now := s.clock.Now().Add(-trimLag)
	s.mu.Lock()
	s.state.Trim(now)
	oldest, ok := s.state.Oldest()
	s.mu.Unlock()
	upTo := journal.LSN(s.applied.Load())
	if s.opts.Dir != "" {
		upTo = s.snapshots.released()
	}
	if ok {
		upTo = min(upTo, journal.LSN(oldest))
	}
	return s.j.Release(context.Background(), upTo)
}
