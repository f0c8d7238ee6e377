package store

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// submit sends an encoded change through the journal and returns the outcomes
// of its entries. If ctx ends first the change may still take effect.
func (s *Store) submit(ctx context.Context, c *call) ([]state.Outcome, error) {
	c.done = make(chan struct{})
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
	for {
		select {
		case <-s.queue.ready:
		case <-s.failed:
			return
		case <-ctx.Done():
			return
		}
		runtime.Gosched() // who can put something without waiting shares the frame
		calls, size := s.queue.take()
		if calls, size = s.leaveReserve(ctx, calls, size); len(calls) == 0 {
			continue
		}
		f := s.newFrame(state.FrameSize(size))
		f.Body = state.BeginFrame(f.Body, s.clock.Now())
		for _, c := range calls {
			f.Body = append(f.Body, c.entries...)
			giveEntries(c.entries)
			c.entries = nil
		}
		id.N++
		s.frames.add(id.N, calls)
		err := s.append(ctx, f.Seal(id, prev))
		switch {
		case err == nil:
			prev = f.Sum
			s.noteRoom(nil)
		case errors.Is(err, journal.ErrFull):
			s.noteRoom(err)
			finish(s.frames.take(id.N), ErrFull)
			id.N-- // nothing was stored under this number
		default:
			s.fail(err)
			return
		}
	}
}

// newFrame returns a frame with an empty body that has room for size bytes.
func (s *Store) newFrame(size int) *journal.Frame {
	if s.ring != nil {
		return s.ring.Frame(size)
	}
	return &journal.Frame{Body: make([]byte, 0, size)}
}

// leaveReserve has a checkpoint written if the calls would use up what the journal
// keeps for what is small. If that does not help, it refuses records, and returns
// the other calls.
func (s *Store) leaveReserve(ctx context.Context, calls []*call, size int) ([]*call, int) {
	enough := func() bool { return s.ring == nil || s.ring.Room() >= int64(size)+s.reserve() }
	if enough() || !slices.ContainsFunc(calls, func(c *call) bool { return c.records }) {
		return calls, size
	}
	for stalls := 0; stalls < maxStalls && s.waitCheckpoint(ctx); stalls++ {
		if enough() {
			return calls, size
		}
	}
	var records, rest []*call
	size = 0
	for _, c := range calls {
		if c.records {
			records = append(records, c)
		} else {
			rest = append(rest, c)
			size += len(c.entries)
		}
	}
	finish(records, ErrFull)
	return rest, size
}

// noteRoom logs when the store begins to refuse writes, and when it ends to.
// The commit loop calls it.
func (s *Store) noteRoom(err error) {
	if err == nil {
		if s.refused > 0 {
			s.log.Info("there is room again", slog.Int("refused", s.refused))
		}
		s.refused = 0
		return
	}
	if s.refused++; s.refused == 1 {
		s.log.Warn("no room for what is written; writes are refused until there is some", slog.Any("err", err))
	}
}

// append appends f until its fate is known. A ring that is full is waited for
// as long as checkpoints free some of it.
func (s *Store) append(ctx context.Context, f *journal.Frame) error {
	for full := 0; ; {
		_, err := s.j.Append(ctx, f)
		switch {
		case ctx.Err() != nil:
			return err
		case errors.Is(err, journal.ErrUnknown):
		case errors.Is(err, journal.ErrFull) && s.opts.Dir != "" && full < maxStalls:
			full++
			if !s.waitCheckpoint(ctx) {
				return err
			}
		default:
			return err
		}
	}
}

// waitCheckpoint has a checkpoint written and reports whether it succeeded.
func (s *Store) waitCheckpoint(ctx context.Context) bool {
	began := time.Now()
	defer func() { s.stalled.Add(int64(time.Since(began))) }()
	ended := s.checkpoints.ask()
	select {
	case <-ended:
	case <-s.failed:
		return false
	case <-ctx.Done():
		return false
	}
	_, _, err := s.checkpoints.last()
	return err == nil
}

// apply applies the journal from position from on until ctx ends or it fails.
// It closes caughtUp once the state has reached position target.
func (s *Store) apply(ctx context.Context, from, target journal.LSN) {
	var file journal.LSN // of the journal's ring that the last frame lies in
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
		if s.ring != nil {
			if base := s.ring.Base(lsn - 1); base != file {
				if file != 0 {
					s.checkpoints.ask() // the file before can be used again after it
				}
				file = base
			}
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
	request := func() *table.Request {
		if next == len(calls) {
			return nil
		}
		return calls[next].request
	}
	err := s.state.ApplyOwn(lsn, f, request, func(o state.Outcome) {
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
	s.at = lsn
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
			s.log.Error("cannot free what has expired", slog.Any("err", err))
		}
		s.scheduleTrim()
	})
}

func (s *Store) trim() error {
	if s.opts.Dir == "" {
		s.mu.Lock()
		s.state.Trim(s.trimTime())
		oldest, ok := s.state.Oldest()
		upTo := s.at
		s.mu.Unlock()
		if ok {
			upTo = min(upTo, journal.LSN(oldest))
		}
		return s.j.Release(context.Background(), upTo)
	}
	s.mu.RLock()
	horizons, applied := s.state.Horizons(s.trimTime()), s.at
	s.mu.RUnlock()
	lsn, at, err := s.checkpoints.last()
	if err != nil || applied > lsn && s.clock.Now().Sub(at) >= checkpointEvery || len(s.runs.Dead(expired(horizons))) > 0 {
		s.checkpoints.ask()
	}
	return nil
}
