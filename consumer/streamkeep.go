package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// listEvery is the time between two questions to the tracker.
	//
	// Source: amazon-kinesis-client, Scheduler.
	listEvery = time.Minute

	// askAgain is the least time between two questions to the tracker that reads
	// which fail bring about.
	askAgain = 10 * time.Second

	// identifyEvery is the time after which a stream is described again, in case
	// that it was deleted and created anew. If something is read from it, it shows
	// sooner.
	identifyEvery = 10 * time.Minute

	// listAtOnce bounds the requests for several streams that are made at a time.
	listAtOnce = 10

	// buryAtOnce bounds the leases of former streams that are deleted after one
	// look.
	buryAtOnce = 100
)

// attend keeps the streams up to date until ctx ends.
func (s *streams) attend(ctx context.Context) {
	var registering sync.WaitGroup
	defer registering.Wait()
	running := map[*registration]context.CancelFunc{}
	var failures, unsynced streak
	for first := true; ; first = false {
		if !first {
			switch err := s.refresh(ctx); {
			case ctx.Err() != nil:
				return
			case err != nil:
				if failures.fail() {
					s.c.log.Error("streams not listed; those of before are read on", errAttr(err))
				}
			default:
				if n := failures.ok(); n > 0 {
					s.c.log.Info("streams listed again", slog.Int("failed", n))
				}
			}
			s.complete(ctx, &unsynced)
		}
		s.letGo()
		s.runRegistrations(ctx, running, &registering)

		wait := min(jitter(listEvery), s.untilPast())
		if failures.n > 0 || unsynced.n > 0 || s.isMissing() {
			wait = min(wait, readPolicy.Wait(max(failures.n, unsynced.n, 3), chance))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
			// Many shards of a stream fail at once, and for other reasons again and again.
			if sleep(ctx, jitter(max(time.Second, askAgain-s.asked.age()))) != nil {
				return
			}
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// prepare asks the tracker for the first time, and makes the first leases.
func (s *streams) prepare(ctx context.Context) error {
	var failures streak
	for {
		err := s.refresh(ctx)
		if err == nil {
			break
		}
		if _, useless := errors.AsType[*listError](err); useless || ctx.Err() != nil {
			return err
		}
		if failures.fail() {
			s.c.log.Warn("streams not listed; trying again", errAttr(err))
		}
		if err := sleep(ctx, readPolicy.Wait(failures.n, chance)); err != nil {
			return err
		}
	}
	s.complete(ctx, new(streak)) // what fails is tried again while others are read
	return ctx.Err()
}

// isMissing reports whether a listed stream is not there.
func (s *streams) isMissing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.missing) > 0
}

// untilPast returns the time until the leases of a stream are to be let go.
func (s *streams) untilPast() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := time.Hour
	for _, src := range s.known {
		left := s.c.cfg.FormerStreamsWait - time.Since(src.since)
		if !src.listed && s.c.cfg.FormerStreamsWait >= 0 && left > 0 {
			least = min(least, left)
		}
	}
	return least
}

// complete makes the leases of streams that are newly listed.
func (s *streams) complete(ctx context.Context, failures *streak) {
	var todo []*source
	for _, src := range s.listed() {
		s.mu.Lock()
		if !src.synced {
			todo = append(todo, src)
		}
		s.mu.Unlock()
	}
	if len(todo) == 0 {
		failures.ok()
		return
	}
	leases, err := s.c.listLeases(ctx)
	if err != nil {
		if failures.fail() && ctx.Err() == nil {
			s.c.log.Warn("leases not listed; trying again", errAttr(err))
		}
		return
	}
	errs := make([]error, len(todo))
	atMost(listAtOnce, len(todo), func(i int) {
		src := todo[i]
		if errs[i] = s.c.complete(ctx, src, leases); errs[i] != nil {
			if classify(errs[i]) == faultNotFound {
				s.doubt(src)
			}
			return
		}
		s.mu.Lock()
		src.synced = true
		s.mu.Unlock()
	})
	s.c.lookNow()
	if err := errors.Join(errs...); err == nil {
		failures.ok()
	} else if failures.fail() && ctx.Err() == nil {
		s.c.log.Warn("shards and leases not yet in step; trying again", errAttr(err))
	}
}

// letGo gives up, in order, the leases of streams that are not read any more.
func (s *streams) letGo() {
	for _, h := range s.c.holdings() {
		if !s.reads(h.key) {
			h.stop(ErrFormerStream)
		}
	}
}

// runRegistrations has the consumer registered with all streams that are read.
func (s *streams) runRegistrations(ctx context.Context, running map[*registration]context.CancelFunc, wg *sync.WaitGroup) {
	s.mu.Lock()
	wanted := map[*registration]bool{}
	for _, src := range byKey(s.known) {
		r := src.registration
		if r == nil || src.gone != "" || s.pastLocked(src, 0) {
			continue
		}
		if wanted[r] = true; running[r] == nil {
			runCtx, stop := context.WithCancel(ctx)
			running[r] = stop
			wg.Go(func() { r.run(runCtx) })
		}
	}
	s.mu.Unlock()
	for r, stop := range running {
		if !wanted[r] {
			stop()
			delete(running, r)
		}
	}
}

// withRegistrations returns the streams that have one.
func (s *streams) withRegistrations() []*source {
	if s.only != nil {
		return []*source{s.only}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.known))
}

// deletable reports whether a lease that is not read may be deleted. One that
// somebody has is left for as long as it takes to hear of the list, which another
// worker may have done a look later, and to finish what was begun.
func (s *streams) deletable(l Lease) bool {
	if s.only != nil || !s.fits(l.Key) || l.Invalid != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var grace time.Duration
	if l.holder() != "" {
		grace = 2*listEvery + s.c.cfg.ShutdownTimeout + s.c.cfg.FailoverTime
	}
	return s.pastLocked(s.ofLocked(l.Key), grace)
}

// forget drops streams that are not listed and have no lease among those of a look
// any more.
func (s *streams) forget(leases []Lease) {
	if s.only != nil {
		return
	}
	has := map[string]bool{}
	for _, l := range leases {
		stream, _ := SplitLeaseKey(l.Key)
		has[stream] = true
	}
	for _, h := range s.c.holdings() {
		has[h.source.id.String()] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, src := range s.known {
		if src.listed || has[key] {
			continue
		}
		delete(s.known, key)
		if s.pastLocked(src, 0) {
			s.c.stats.streamsDeleted.Add(1)
			s.c.logOf(src).Info("leases of a former stream are deleted")
		}
	}
}

// problems returns what is wrong with streams.
func (s *streams) problems(limit time.Duration) []Problem {
	if s.only != nil {
		return nil
	}
	var all []Problem
	if age := s.asked.age(); age > limit+listEvery {
		all = append(all, Problem{Text: fmt.Sprintf("the streams could not be listed for %v; those of before are read", age.Truncate(time.Second))})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, why := range s.missing {
		all = append(all, Problem{Stream: name, Text: why})
	}
	for _, src := range s.known {
		if src.listed && src.gone != "" {
			all = append(all, Problem{Stream: src.name, Text: src.gone + ": create it, or take it off the list"})
		}
	}
	slices.SortFunc(all, func(a, b Problem) int { return cmp.Compare(a.Stream, b.Stream) })
	return all
}

// stats returns what is told of each stream, of which some shards are held.
func (s *streams) stats(shards []ShardStats) []StreamStats {
	sources := map[string]*source{}
	if s.only != nil {
		sources[""] = s.only
	}
	s.mu.Lock()
	maps.Copy(sources, s.known)
	var all []StreamStats
	at := map[string]int{}
	for _, id := range slices.Sorted(maps.Keys(sources)) {
		src := sources[id]
		at[id] = len(all)
		all = append(all, StreamStats{
			Stream: src.name, StreamID: src.id, Listed: src.listed, Missing: src.gone,
			Calls: src.calls.all.Load(), FailedCalls: src.calls.failed.Load(), CallTime: time.Duration(src.calls.took.Load()),
			Records: src.calls.records.Load(), Bytes: src.calls.bytes.Load(),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(s.missing)) {
		all = append(all, StreamStats{Stream: name, Listed: true, Missing: s.missing[name]})
	}
	s.mu.Unlock()
	for _, sh := range shards {
		id, _ := SplitLeaseKey(sh.LeaseKey)
		if i, ok := at[id]; ok {
			all[i].Shards++
			all[i].BehindLatest = max(all[i].BehindLatest, sh.BehindLatest)
		}
	}
	return all
}

// atMost calls f for 0 to n-1, several at a time.
func atMost(several, n int, f func(i int)) {
	var wg sync.WaitGroup
	places := make(chan struct{}, several)
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			f(i)
		})
	}
	wg.Wait()
}
