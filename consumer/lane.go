package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
)

// recordPlace tells the records of one shard apart, those of a compressed block
// included, and orders them.
type recordPlace struct {
	at    Checkpoint
	block int
}

func placeOf(r *Record) recordPlace { return recordPlace{r.Checkpoint(), r.BlockIndex} }

func (p recordPlace) compare(o recordPlace) int {
	if c := p.at.Compare(o.at); c != 0 {
		return c
	}
	return p.block - o.block
}

// lane hands records to the processor, one call at a time, and again those that
// it fails on. What it knows of failures outlives the processor: a record that
// makes it panic is found all the same.
//
// A run of records that has failed Config.BisectAfter times is halved, its first
// half delivered, halved if that fails, and so on until one record is left. The
// second halves follow in order, so that no key sees its records out of order.
type lane struct {
	s *shardConsumer

	streak   streak        // of calls that failed
	fails    int           // of them, those in a row for which the run at hand may be to blame
	suspects []recordPlace // ends of runs that failed, outermost first; the last one is at hand
	lastErr  error         // with which the run at hand failed
}

// handle delivers all records of b, again and again until each is dealt with. It
// reports false if it gave up, because ctx ended or the shard consumer stops; the
// rest is then marked as given up.
func (l *lane) handle(ctx context.Context, b *Batch) bool {
	s, t := l.s, l.s.h.tracker
	rest := b.Records
	for try := 0; ; {
		part := b
		n := l.atHand(rest)
		if n < len(b.Records) {
			part = &Batch{Records: rest[:n:n], Shard: b.Shard, BehindLatest: b.BehindLatest, of: b.of}
		}
		if l.condemned(part) {
			if !l.bury(ctx, &part.Records[0], l.lastErr, l.fails) {
				break
			}
			rest = rest[1:]
			l.succeeded(rest)
			if len(rest) == 0 {
				return true
			}
			try = 0
			continue
		}
		err := s.deliver(ctx, part)
		if err == nil {
			if t.finish(part) {
				s.h.progress.set()
			}
			s.c.stats.batches.Add(1)
			rest = rest[n:]
			l.succeeded(rest)
			if len(rest) == 0 {
				return true
			}
			try = 0
			continue
		}
		if errors.Is(err, errNotDelivered) {
			break
		}
		list, blame := verdicts(err)
		if len(list) > 0 && !fatal(err) {
			wait, ok, refused := l.carryOut(ctx, part, list)
			if !ok {
				break
			}
			left := t.rest(b.of, rest)
			progress := len(left) < len(rest)
			if rest = left; len(rest) == 0 {
				l.succeeded(rest)
				return true
			}
			if progress {
				try = 0
				if refused == nil && !wait && !blame {
					l.succeeded(rest)
					continue
				}
			}
			if refused != nil {
				err = errors.Join(err, refused)
			}
			// What fails now is another run than the one that will be tried.
			blame = !progress && (blame || refused != nil)
		}
		l.failed(ctx, err)
		if blame && !stoppedBy(ctx, err) {
			if l.blame(part.Records, err) {
				try = 0
			}
		}
		if fatal(err) {
			s.restartBy(err)
		}
		if !s.pause(ctx, try) {
			break
		}
		try++
	}
	l.giveUp(&Batch{Records: rest, of: b.of})
	return false
}

// fatal reports whether a processor that failed with err is not to be called
// again.
func fatal(err error) bool {
	_, panicked := errors.AsType[*panicError](err)
	return panicked || errors.Is(err, ErrProcessorTimeout)
}

// stoppedBy reports whether a call failed only because its context ended, other
// than by its own deadline.
func stoppedBy(ctx context.Context, err error) bool {
	return ctx.Err() != nil && !fatal(err)
}

// atHand returns how many of rest go into the next call.
func (l *lane) atHand(rest []Record) int {
	for len(l.suspects) > 0 && len(rest) > 0 {
		end := l.suspects[len(l.suspects)-1]
		n := sort.Search(len(rest), func(i int) bool { return placeOf(&rest[i]).compare(end) > 0 })
		if n > 0 {
			return n
		}
		l.suspects = l.suspects[:len(l.suspects)-1]
	}
	return len(rest)
}

// condemned reports whether the batch is one record that has failed too often.
func (l *lane) condemned(part *Batch) bool {
	cfg := &l.s.c.cfg
	return cfg.DeadLetter != nil && cfg.BisectAfter > 0 && l.fails >= cfg.BisectAfter && len(part.Records) == 1
}

// succeeded notes that all before rest is dealt with.
func (l *lane) succeeded(rest []Record) {
	s := l.s
	if n := l.streak.ok(); n > 0 {
		s.h.recovered(n)
		s.c.log.Info("processor succeeds again", lease(s.h.key), slog.String("call", callProcess), slog.Int("failed", n))
	}
	l.fails, l.lastErr = 0, nil
	if len(l.suspects) == 0 {
		return
	}
	if n := l.atHand(rest); len(l.suspects) > 0 && n > 1 && s.c.cfg.BisectAfter > 0 {
		// It is part of a run that failed: one more failure halves it.
		l.fails = s.c.cfg.BisectAfter - 1
	}
	if len(rest) == 0 {
		l.suspects = l.suspects[:0]
	}
}

// failed counts and logs a failed call.
func (l *lane) failed(ctx context.Context, err error) {
	if stoppedBy(ctx, err) {
		return
	}
	s := l.s
	s.c.stats.processorErrors.Add(1)
	s.h.failed()
	if l.streak.fail() {
		s.c.log.Error("processor failed; the same will be tried again", lease(s.h.key), slog.String("call", callProcess), errAttr(err))
	}
}

// blame notes that a call with part failed, and that part may be why. It reports
// whether less is at hand now.
func (l *lane) blame(part []Record, err error) bool {
	l.fails++
	l.lastErr = err
	if len(part) == 0 {
		return false
	}
	end := placeOf(&part[len(part)-1])
	if k := len(l.suspects); k == 0 || l.suspects[k-1] != end {
		l.suspects = append(l.suspects, end)
	}
	after := l.s.c.cfg.BisectAfter
	if after <= 0 || l.fails < after || len(part) < 2 {
		return false
	}
	half := len(part) / 2
	l.suspects = append(l.suspects, placeOf(&part[half-1]))
	l.fails = 0
	if half > 1 {
		l.fails = after - 1
	}
	l.s.c.stats.bisections.Add(1)
	return true
}

// carryOut does what the processor has said of single records. refused is what
// cannot be done, wait tells that a pause was asked for, and ok is false if ctx
// ended or the shard consumer stops.
func (l *lane) carryOut(ctx context.Context, part *Batch, list []*verdictError) (wait, ok bool, refused error) {
	s := l.s
	for _, v := range list {
		switch v.verdict {
		case verdictStop:
			s.c.halt(fmt.Errorf("consumer: stopped by the processor of shard %q: %w", s.h.key, v.err))
			return false, false, nil
		case verdictRetry:
			wait = true
		case verdictSkip, verdictDeadLetter:
			i := -1
			if v.rec != nil {
				i = slices.IndexFunc(part.Records, func(r Record) bool { return placeOf(&r) == placeOf(v.rec) })
			}
			switch {
			case i < 0:
				refused = errors.Join(refused, errors.New("consumer: the record given up is none of the batch"))
			case v.verdict == verdictSkip:
				s.h.tracker.mark(part.of, int(part.Records[i].index))
				s.h.progress.set()
				s.c.stats.recordsSkipped.Add(1)
				s.c.log.Warn("record skipped", lease(s.h.key), slog.Any("at", part.Records[i].Checkpoint()), errAttr(v.err))
			case s.c.cfg.DeadLetter == nil:
				refused = errors.Join(refused, errors.New("consumer: a dead letter, and no Config.DeadLetter to take it; set it"))
			case !l.bury(ctx, &part.Records[i], v.err, l.fails+1):
				return false, false, nil
			}
		}
	}
	return wait, true, refused
}

// bury hands a record to the dead-letter hook, until that returns nil, and
// acknowledges it. It reports false if it gave up.
func (l *lane) bury(ctx context.Context, r *Record, cause error, failures int) bool {
	s := l.s
	one := *r
	letter := DeadLetterRecord{Record: &one, Key: deadLetterKey(r), App: s.c.app, Err: cause, Failures: failures}
	for try := 0; ctx.Err() == nil; try++ {
		err := s.call("DeadLetter", func() error { return s.c.cfg.DeadLetter(ctx, letter) })
		if err == nil {
			s.h.tracker.mark(r.of, int(r.index))
			s.h.progress.set()
			s.c.stats.recordsDeadLettered.Add(1)
			s.c.log.Warn("record handed to the dead letters", lease(s.h.key), slog.Any("at", r.Checkpoint()), errAttr(cause))
			return true
		}
		if stoppedBy(ctx, err) {
			return false
		}
		s.c.stats.deadLetterErrors.Add(1)
		s.h.failed()
		if l.streak.fail() {
			s.c.log.Error("dead letter not taken; it will be tried again", lease(s.h.key), slog.Any("at", r.Checkpoint()), errAttr(err))
		}
		if !s.pause(ctx, try) {
			return false
		}
	}
	return false
}
