package consumer

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Properties of a worker's row by which native workers know each other. A row
// without the first is not one of theirs.
const (
	propIncarnation = "g_inc"   // random, new with each process
	propSeq         = "g_seq"   // grows with each write of the row
	propStart       = "g_start" // when the process began, in milliseconds since 1970
	propMaxLeases   = "g_max"   // MaxLeasesForWorker; absent if there is no bound
	propStopping    = "g_stop"  // set while the worker lets its leases go
	propNot         = "g_not"   // leases that the worker leaves to others for a while; with commas
)

// native reports whether the row is one of a native worker.
func (r WorkerRow) native() bool {
	return r.Invalid == nil && r.Properties[propIncarnation] != "" && r.Properties[propSeq] != ""
}

// ownRow is this worker's row in the lease store. Writing it is how a native
// worker shows that it lives: no lease is renewed by itself. It is safe for
// concurrent use.
type ownRow struct {
	c      *Consumer
	store  CoordinationStore
	times  nativeTimes
	begun  string        // what seq was
	beaten func()        // called after each write that is known to be done
	turn   chan struct{} // capacity 1: held by the one that writes

	mu    sync.Mutex // guards extra
	extra map[string]string

	trust atomic.Pointer[rowTrust]

	// Owned by the holder of turn.
	seq      int64
	first    time.Time // when the first write was sent, which others may have seen
	failures streak
}

// rowTrust is for how long this worker's leases are trusted.
type rowTrust struct {
	beat    time.Time // when the last write known to be done was sent
	updated time.Time // what it stored as the time
	seq     int64     // what it stored as the sequence number
	since   time.Time // what is known of leases from before this is not trusted; in the future while this worker stands down
	lapses  int64     // how often the trust has ended
}

func newOwnRow(c *Consumer, store CoordinationStore, times nativeTimes) *ownRow {
	r := &ownRow{c: c, store: store, times: times, turn: make(chan struct{}, 1), extra: map[string]string{}}
	r.extra[propStart] = strconv.FormatInt(time.Now().UnixMilli(), 10)
	if most := c.cfg.MaxLeasesForWorker; most < unbounded {
		r.extra[propMaxLeases] = strconv.Itoa(most)
	}
	r.seq = time.Now().UnixNano() // no number comes twice, also if this row is begun anew
	r.begun = strconv.FormatInt(r.seq, 10)
	r.trust.Store(new(rowTrust))
	return r
}

// set adds properties to the row, with its next write; empty ones are removed.
func (r *ownRow) set(properties map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(r.extra, properties)
	maps.DeleteFunc(r.extra, func(_, value string) bool { return value == "" })
}

// property returns what is added to the row under a name.
func (r *ownRow) property(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.extra[name]
}

// trustedUntil returns the end of the trust in a lease of which the last that is
// known was so at the given time.
func (r *ownRow) trustedUntil(known time.Time) time.Time {
	t := r.trust.Load()
	if known.Before(t.since) || !r.c.awake.since(t.beat) {
		return known // that is over
	}
	return t.beat.Add(r.times.trust)
}

// lapsed reports whether the trust has ever ended. From then on others may have
// begun to take leases away, and only a write tells whose they are.
func (r *ownRow) lapsed() bool { return r.trust.Load().lapses > 0 }

// beatNow writes the row once.
func (r *ownRow) beatNow(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.seq++
	r.mu.Lock()
	properties := maps.Clone(r.extra)
	r.mu.Unlock()
	properties[propIncarnation] = r.c.incarnation
	if keys := r.not(); len(keys) > 0 {
		properties[propNot] = strings.Join(keys, ",")
	}
	properties[propSeq] = strconv.FormatInt(r.seq, 10)

	sent := time.Now()
	if r.first.IsZero() {
		r.first = sent
	}
	callCtx, cancel := context.WithTimeout(ctx, r.times.attempt)
	err := r.store.PutWorker(callCtx, WorkerRow{ID: r.c.cfg.WorkerID, Updated: sent, Properties: properties})
	cancel()
	if err != nil {
		r.c.stats.beatErrors.Add(1)
		if r.failures.fail() && ctx.Err() == nil {
			r.c.log.Warn("row of this worker not written; trying again", errAttr(err))
		}
		return err
	}
	if n := r.failures.ok(); n > 0 {
		r.c.log.Info("row of this worker written again", slog.Int("failed", n))
	}
	r.c.stats.beats.Add(1)
	now, before := time.Now(), r.trust.Load()
	t := rowTrust{beat: sent, updated: time.Unix(sent.Unix(), 0), seq: r.seq, since: before.since, lapses: before.lapses}
	known := before.beat
	if known.IsZero() {
		known = r.first // it may have been done though it seemed to fail
	}
	if now.After(known.Add(r.times.trust)) || !r.c.awake.since(known) {
		// Whoever was to judge this worker by its row may have done so. What it
		// then takes, it takes by the counters of before this moment.
		t.since, t.lapses = now, t.lapses+1
		r.c.log.Warn("row of this worker was not written in time; its leases are given up")
	}
	r.trust.Store(&t)
	r.beaten()
	return nil
}

// not returns the keys of leases that this worker cannot have, because they were let
// go while a call of the processor had not returned, or shall not have for a
// while. There are no more than a row has place for.
func (r *ownRow) not() []string {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	var keys []string
	for key, h := range r.c.held {
		if h != nil && h.isOver() && h.stored.Load().Owner == "" {
			keys = append(keys, key)
		}
	}
	for key := range r.c.left {
		if r.c.leavesLocked(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys[:min(len(keys), 10)]
}

// standDown gives up all leases, and for as long as it takes others to see that
// writes no row and believes in no lease.
func (r *ownRow) standDown() {
	r.turn <- struct{}{} // held for no longer than a call with a timeout
	t := *r.trust.Load()
	t.since, t.lapses = time.Now().Add(2*r.times.dead), t.lapses+1
	r.trust.Store(&t)
	<-r.turn
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for _, h := range byKey(r.c.held) {
		if h != nil {
			h.lose()
		}
	}
}

// standsDown reports whether this worker has given up all leases for a while.
func (r *ownRow) standsDown() bool { return time.Now().Before(r.trust.Load().since) }

// run writes the row, again and again until ctx ends.
func (r *ownRow) run(ctx context.Context) {
	tries := 0
	for {
		next := r.trust.Load().beat.Add(jitter(r.times.beat))
		if tries > 0 {
			next = time.Now().Add(min(writePolicy.Wait(tries-1, chance), r.times.beat/2))
		}
		if since := r.trust.Load().since; since.After(next) {
			next = since
		}
		if sleep(ctx, time.Until(next)) != nil {
			return
		}
		if r.beatNow(ctx) != nil {
			tries++
		} else {
			tries = 0
		}
	}
}

// remove deletes the row, if nobody else has written it.
func (r *ownRow) remove(ctx context.Context) error {
	return r.store.DeleteWorker(ctx, WorkerRow{ID: r.c.cfg.WorkerID, Updated: r.trust.Load().updated})
}
