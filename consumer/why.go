package consumer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Reason is the short form of why a shard is read by a worker or by none.
type Reason string

// The reasons. They are stable: programs may compare them.
const (
	ReasonReading  Reason = "reading"     // this worker reads it
	ReasonOther    Reason = "other"       // another worker has the lease
	ReasonHandOver Reason = "hand-over"   // a worker finishes, for another to go on
	ReasonExpired  Reason = "expired"     // its worker has not renewed the lease in time; it is taken at the next look
	ReasonUnowned  Reason = "unowned"     // nobody has the lease; it is taken at a next look
	ReasonFull     Reason = "full"        // nobody has the lease, and this worker has as many as it may
	ReasonParents  Reason = "parents"     // it waits until its parents are read to their ends
	ReasonEnded    Reason = "ended"       // it has been read to its end
	ReasonInvalid  Reason = "invalid"     // what is stored as its lease is not understood
	ReasonHole     Reason = "hole"        // it should have a lease and has none; that is healed by itself
	ReasonSkipped  Reason = "skipped"     // it needs no lease: it was finished, or ended before where the application began
	ReasonFormer   Reason = "former"      // its stream is not to be read any more, or does not exist
	ReasonForeign  Reason = "foreign"     // nobody living has the lease, and workers that do not know the rules of ModeNative share the table
	ReasonStopped  Reason = "not-running" // nobody has the lease, and this worker does not run
)

// Why says why a shard is read by a worker, or by none.
type Why struct {
	ShardID  string
	Stream   string // as it was named
	LeaseKey string // of the shard's lease; that is its id but with several streams
	Reason   Reason
	Owner    string        // the worker that has the lease; "" if none has
	Waiting  []string      // the parents that it waits for
	Since    time.Duration // for how long this worker has seen the lease unchanged
	Text     string        // the same in a sentence, with what to do if something is to be done
}

// UnknownShardError is returned for a shard that has no lease and is not in the
// stream, or no longer.
type UnknownShardError struct{ Stream, ShardID string }

func (e *UnknownShardError) Error() string {
	if e.Stream == "" {
		return fmt.Sprintf("consumer: there is no lease %q, and it is the key of none: name account:stream:epoch:shardId", e.ShardID)
	}
	return fmt.Sprintf("consumer: stream %q has no shard %q, and there is no lease for one", e.Stream, e.ShardID)
}

// Why says why a shard is read by a worker, or by none, as it is stored now. It
// lists the leases, and the stream's shards if the shard has no lease. With several
// streams, shard is the key of the lease. A Consumer
// that does not run can be asked too: whether an owner renews its lease it knows
// from the first time that it was asked on. The error is an [*UnknownShardError]
// if there is no such shard.
func (c *Consumer) Why(ctx context.Context, shard string) (Why, error) {
	all, now, err := c.observeNow(ctx)
	if err != nil {
		return Why{}, err
	}
	if _, ok := all[shard]; ok {
		return c.explain(shard, all, now), nil
	}
	src := c.streams.find(shard)
	if src == nil {
		return Why{}, &UnknownShardError{"", shard}
	}
	shards, err := c.listShards(ctx, src, nil)
	if err != nil {
		return Why{}, fmt.Errorf("consumer: list shards: %w", err)
	}
	i := slices.IndexFunc(shards, func(s shardInfo) bool { return s.id == shard })
	if i < 0 {
		return Why{}, &UnknownShardError{src.name, shard}
	}
	return explainMissing(shards[i], shards, all, src), nil
}

// WhyAll is Why for all shards that have a lease, and all of the stream's that
// have none, in order of the keys of leases.
func (c *Consumer) WhyAll(ctx context.Context) ([]Why, error) {
	all, now, err := c.observeNow(ctx)
	if err != nil {
		return nil, err
	}
	var whys []Why
	for _, key := range slices.Sorted(maps.Keys(all)) {
		whys = append(whys, c.explain(key, all, now))
	}
	for _, src := range c.streams.listed() {
		shards, err := c.listShards(ctx, src, nil)
		if err != nil {
			return nil, fmt.Errorf("consumer: list shards: %w", err)
		}
		for _, s := range shards {
			if _, ok := all[s.id]; !ok {
				whys = append(whys, explainMissing(s, shards, all, src))
			}
		}
	}
	slices.SortFunc(whys, func(a, b Why) int { return cmp.Compare(a.LeaseKey, b.LeaseKey) })
	return whys, nil
}

// Leases returns all leases of the application, in order of their keys, as they
// are stored now.
func (c *Consumer) Leases(ctx context.Context) ([]Lease, error) {
	leases, err := c.listLeases(ctx)
	if err != nil {
		return nil, fmt.Errorf("consumer: list leases: %w", err)
	}
	slices.SortFunc(leases, func(a, b Lease) int { return cmp.Compare(a.Key, b.Key) })
	return leases, nil
}

// look is what a worker saw of all leases. It does not change.
type look struct {
	at   time.Time
	seen map[string]observed
}

// observeNow lists the leases, and adds what was seen of them before.
func (c *Consumer) observeNow(ctx context.Context) (map[string]observed, time.Time, error) {
	leases, err := c.listLeases(ctx)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("consumer: list leases: %w", err)
	}
	if err := c.streams.ensure(ctx); err != nil {
		return nil, time.Time{}, err
	}
	leases = slices.DeleteFunc(leases, func(l Lease) bool { return !c.streams.fits(l.Key) })
	now := time.Now()
	var before map[string]observed
	if l := c.looked.Load(); l != nil {
		before = l.seen
	}
	all := observe(before, leases, now)
	if !c.started.Load() {
		c.looked.Store(&look{now, all}) // nobody else looks
	}
	return all, now, nil
}

// explain is Why for a shard with a lease.
func (c *Consumer) explain(key string, all map[string]observed, now time.Time) Why {
	o := all[key]
	_, id := SplitLeaseKey(key)
	w := Why{ShardID: id, Stream: c.streams.of(key).name, LeaseKey: key, Owner: o.Owner, Since: now.Sub(o.changed)}
	say := func(r Reason, format string, args ...any) Why {
		w.Reason, w.Text = r, fmt.Sprintf(format, args...)
		return w
	}
	since := w.Since.Truncate(time.Second)
	mine := o.Owner == c.cfg.WorkerID && o.Incarnation == c.incarnation && c.holds(key)
	switch {
	case o.Invalid != nil:
		return say(ReasonInvalid, "what is stored is not understood: %v", o.Invalid)
	case o.ended():
		return say(ReasonEnded, "it has been read to its end%s", after("; its children are ", o.Children))
	case !c.streams.reads(key):
		return say(ReasonFormer, "%s", c.streams.whyNot(key))
	case o.CheckpointOwner != "" && o.CheckpointOwner != o.Owner:
		return say(ReasonHandOver, "worker %q finishes, for worker %q to go on", o.CheckpointOwner, o.Owner)
	case mine:
		return say(ReasonReading, "this worker reads it")
	case o.Owner != "" && !c.silent(o, now):
		text := "worker %q has the lease"
		if o.Owner == c.cfg.WorkerID {
			text += ": an earlier run of this worker, or another process of its name, see WorkerID"
		}
		return say(ReasonOther, text, o.Owner)
	}
	if w.Waiting = waitingFor(o.Lease, all); len(w.Waiting) > 0 {
		return say(ReasonParents, "it waits until %s been read to the end", have(w.Waiting))
	}
	switch foreign := c.stats.foreignWorkers.Load(); {
	case foreign > 0 && c.running():
		return say(ReasonForeign, "workers that do not know the rules of ModeNative (%d) share the table, so no lease moves: stop them, or use ModeKCL2 or ModeKCL3 everywhere", foreign)
	case o.Owner != "":
		if !c.workersTake() {
			return say(ReasonExpired, "worker %q seems to be gone; the worker that leads gives the lease to another", o.Owner)
		}
		return say(ReasonExpired, "worker %q has not renewed the lease for %v; the next worker that looks and has room takes it", o.Owner, since)
	case !c.running():
		return say(ReasonStopped, "nobody has the lease, and this worker does not run")
	case c.countHeld() >= c.cfg.MaxLeasesForWorker:
		return say(ReasonFull, "nobody has the lease, and this worker has %d, as many as it may: start another worker, or raise MaxLeasesForWorker", c.countHeld())
	}
	if !c.workersTake() {
		return say(ReasonUnowned, "nobody has had the lease for %v; the worker that leads gives it to one at its next look", since)
	}
	return say(ReasonUnowned, "nobody has had the lease for %v; a worker with fewer than its share takes it at its next look, and any after %v", since, 3*c.cfg.FailoverTime)
}

// explainMissing is Why for a shard without a lease.
func explainMissing(s shardInfo, shards []shardInfo, all map[string]observed, src *source) Why {
	_, id := SplitLeaseKey(s.id)
	w := Why{ShardID: id, Stream: src.name, LeaseKey: s.id}
	leases := make([]Lease, 0, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		leases = append(leases, all[key].Lease)
	}
	if slices.ContainsFunc(missingLeases(shards, leases, src.initial), func(l Lease) bool { return l.Key == s.id }) {
		w.Reason = ReasonHole
		w.Text = "it has no lease and should have one; workers list the shards and create it when they have seen that a few times"
		return w
	}
	if w.Waiting = waitingFor(Lease{Parents: s.parents}, all); len(w.Waiting) > 0 {
		w.Reason = ReasonParents
		w.Text = fmt.Sprintf("its lease is created when %s been read to the end", have(w.Waiting))
		return w
	}
	if s.open {
		// Its parents have no leases either, but theirs have.
		w.Reason = ReasonParents
		w.Text = "its lease is created when its ancestors have been read to the end"
		return w
	}
	w.Reason = ReasonSkipped
	w.Text = "it is not read: it was read to its end and its lease deleted, or it ended before where the application began"
	return w
}

// waitingFor returns the parents of a shard that are still to be read.
func waitingFor(l Lease, all map[string]observed) []string {
	var waiting []string
	for _, p := range l.Parents {
		if parent, ok := all[p]; ok && !parent.ended() {
			waiting = append(waiting, p)
		}
	}
	return waiting
}

func after(text string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return text + strings.Join(names, ", ")
}

func have(parents []string) string {
	if len(parents) == 1 {
		return "its parent " + parents[0] + " has"
	}
	return "its parents " + strings.Join(parents, " and ") + " have"
}

// silent reports whether the owner of a lease should have shown by now that it
// lives.
func (c *Consumer) silent(o observed, now time.Time) bool { return !c.rules.lives(o, now) }

// running reports whether Run was called and its context has not ended.
func (c *Consumer) running() bool { return c.started.Load() && !c.isStopping() }

func (c *Consumer) countHeld() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held)
}
