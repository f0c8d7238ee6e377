package consumer_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
)

// plug joins a worker to the network between peers, if there is one. Each process is a
// host.
func (x *simRun) plug(w *simGo) {
	if x.net == nil {
		return
	}
	w.SetPeerNetwork(func(context.Context, string, string) (net.Listener, error) { return x.net.Listen(w.who), nil }, x.net.Dialer(w.who))
	x.mu.Lock()
	defer x.mu.Unlock()
	x.acting[w.who] = w
}

// paused returns the workers that do not act, as their peers have not heard them.
func (x *simRun) paused() (names []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, w := range x.acting {
		if w.known && !w.PeersActive() {
			names = append(names, name)
		}
	}
	return names
}

// heard notes which workers have written their rows. By then they listen.
func (x *simRun) heard(row simWrite) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if w := x.acting[row.who]; w != nil && row.key == w.id.name {
		w.known = true
	}
}

// pause stops a process for a while. Nothing of it gets out, and what comes waits.
func (x *simRun) pause(w simWorker, d time.Duration) {
	w.way().pause(d)
	if x.net != nil {
		x.net.Hold(w.process())
		time.AfterFunc(d+time.Millisecond, func() { x.net.Release(w.process()) })
	}
}

// unplug takes the process of w, or its host, from the network.
func (x *simRun) unplug(w simWorker) {
	if x.net == nil {
		return
	}
	x.mu.Lock()
	delete(x.acting, w.process())
	x.mu.Unlock()
	if x.rng.IntN(2) == 0 {
		x.net.Kill(w.process())
		return
	}
	x.net.Hold(w.process()) // and back it is without the process
	time.AfterFunc(time.Duration(x.rng.Int64N(int64(15*time.Second))), func() { x.net.Kill(w.process()) })
}

// part cuts some of the network between peers, for a while.
func (x *simRun) part() {
	host := func() string { return x.workers[x.rng.IntN(len(x.workers))].process() }
	a, b := host(), host()
	d := time.Duration(x.rng.Int64N(int64(12 * time.Second)))
	cut := func(from, to string, d time.Duration) {
		x.net.Block(from, to, true)
		time.AfterFunc(d, func() { x.net.Block(from, to, false) })
	}
	switch x.rng.IntN(7) {
	case 0: // one way
		cut(a, b, d)
	case 1:
		cut(a, b, d)
		cut(b, a, d)
	case 2: // a host is lost to its peers, and not to the table
		x.net.Hold(a)
		time.AfterFunc(d, func() { x.net.Release(a) })
	case 3: // from some, in some directions
		for _, w := range x.workers {
			if x.rng.IntN(2) == 0 {
				cut(a, w.process(), d)
			}
			if x.rng.IntN(2) == 0 {
				cut(w.process(), a, d)
			}
		}
	case 4:
		x.net.Slow(a, time.Duration(x.rng.IntN(900))*time.Millisecond)
		time.AfterFunc(d, func() { x.net.Slow(a, 0) })
	case 5:
		x.net.Reset(a, b)
	case 6: // those who answer are others before it has turned to them
		for i, w := range x.workers {
			from, other := time.Duration(i%2)*1600*time.Millisecond, w.process()
			time.AfterFunc(from, func() {
				cut(a, other, 1700*time.Millisecond)
				cut(other, a, 1700*time.Millisecond)
			})
		}
	}
}

// join ends all that is wrong with the network. The dead stay dead.
func (x *simRun) join() {
	if x.net == nil {
		return
	}
	for _, w := range x.gone {
		if w.way().isDead() {
			x.net.Kill(w.process())
		}
	}
	x.net.Heal()
}

// simOutside is an administrator who changes leases as streamctl does, and is none of the
// workers.
type simOutside struct {
	x     *simRun
	store *dynamolease.Store
}

const simOutsideName = "admin"

func newSimOutside(x *simRun) *simOutside {
	x.history.started(simOutsideName, simIdentity{name: simOutsideName, admin: true, wait: simLongest})
	store, err := dynamolease.New(&simClient{simCaller: x.caller(new(simGate), &x.plan.table), db: x.db, who: simOutsideName, page: x.plan.page}, "app", dynamolease.Config{})
	if err != nil {
		panic(err)
	}
	return &simOutside{x, store}
}

// ask has somebody change where a shard is read, or by whom.
func (x *simRun) ask() {
	if x.plan.resets > 0 && x.rng.IntN(100) < x.plan.resets {
		x.askReset()
	}
	if x.outside != nil && x.rng.IntN(100) < x.plan.outside {
		shard, to := x.shard(), x.workers[x.rng.IntN(len(x.workers))].identity().name
		what, rng, names := x.rng.IntN(8), rand.New(rand.NewPCG(x.rng.Uint64(), 0)), x.names
		x.requests.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_ = x.outside.change(ctx, what, shard, to, names, rng) // refused, often, and what is done is seen
		})
	}
}

// askReset has a worker read a shard from elsewhere, which it may not have.
func (x *simRun) askReset() {
	w, ok := x.workers[x.rng.IntN(len(x.workers))].(*simGo)
	shard := x.shard()
	at := x.history.somewhere(shard, x.rng)
	if !ok {
		return
	}
	x.requests.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		l, ok, err := x.outsideStore().Get(ctx, shard)
		if err != nil || !ok {
			return
		}
		done := x.history.reset(shard, at)
		// A lease that somebody has released there is as this worker's last write leaves it.
		already := l.Owner == "" && l.CheckpointOwner == "" && l.Checkpoint == at
		if err := w.ResetCheckpoint(ctx, shard, at); err == nil && !done() && !already {
			x.complain("%s has reset %s to %v, and nothing was written", w.who, shard, at)
		}
	})
}

// outsideStore returns the leases as they are, without faults.
func (x *simRun) outsideStore() *dynamolease.Store {
	caller := &simCaller{gate: new(simGate), faults: new(simFaults), calm: func() bool { return true }}
	store, err := dynamolease.New(&simClient{simCaller: caller, db: x.db, who: "onlooker", page: 1000}, "app", dynamolease.Config{})
	if err != nil {
		panic(err)
	}
	return store
}

// change does one of the things that streamctl does, when so many workers have been
// named.
func (o *simOutside) change(ctx context.Context, what int, shard, to string, names int, rng *rand.Rand) error {
	if _, err := o.store.Coordination(ctx); err != nil {
		return err
	}
	all, err := o.store.List(ctx)
	if err != nil {
		return err
	}
	rows, err := o.store.ListWorkers(ctx)
	if err != nil {
		return err
	}
	for _, l := range all {
		if l.Invalid != nil || l.Checkpoint.SequenceNumber == consumer.ShardEnd {
			continue
		}
		switch {
		case what == 7 && l.Owner == to: // drain
			if other := names - rng.IntN(2); other > 0 {
				err = errors.Join(err, o.give(ctx, l, simName(other), all, rows))
			}
		case l.Key != shard || what == 7:
		case what < 4 && o.told(rows, to) && o.told(rows, l.Owner): // transfer
			if l.CheckpointOwner == "" && l.Owner != to {
				_, err = o.store.StartHandOver(ctx, l, to)
			}
		case what < 5: // by force
			err = o.give(ctx, l, to, all, rows)
		case l.Owner != "" && l.CheckpointOwner == "": // release, and sometimes reset
			_, err = o.patiently(ctx, l, func(l consumer.Lease) (consumer.Lease, error) {
				return o.store.Update(ctx, l, consumer.Write{Release: true})
			})
			if what == 6 && o.x.plan.resets > 0 && err == nil {
				err = o.reset(ctx, shard, rng)
			}
		}
	}
	return err
}

// reset sets where a lease that nobody has is read from.
func (o *simOutside) reset(ctx context.Context, shard string, rng *rand.Rand) error {
	l, ok, err := o.store.Get(ctx, shard)
	if err != nil || !ok || l.Owner != "" || l.Checkpoint.SequenceNumber == consumer.ShardEnd {
		return err
	}
	w := consumer.Write{Checkpoint: o.x.history.somewhere(shard, rng)}
	if w.Checkpoint.SequenceNumber == consumer.Latest {
		w.LatestSince = time.Now()
	}
	o.x.history.reset(shard, w.Checkpoint)
	_, err = o.store.Update(ctx, l, w)
	return err
}

func (*simOutside) told(rows []consumer.WorkerRow, worker string) bool {
	for _, r := range rows {
		if r.ID == worker && r.Invalid == nil && time.Since(r.Updated) < time.Minute {
			return true
		}
	}
	return false
}

// give makes a worker the owner of a lease, if it is known.
func (o *simOutside) give(ctx context.Context, l consumer.Lease, to string, all []consumer.Lease, rows []consumer.WorkerRow) error {
	if l.Owner == to && l.CheckpointOwner == "" {
		return nil
	}
	incarnation, told := "", o.told(rows, to)
	for _, other := range all {
		if other.Owner == to && other.CheckpointOwner == "" && other.Incarnation != "" {
			incarnation = other.Incarnation
		}
	}
	for _, r := range rows {
		if r.ID == to && r.Properties["g_inc"] != "" {
			incarnation = r.Properties["g_inc"]
		}
	}
	if incarnation == "" && !told {
		return nil
	}
	_, err := o.patiently(ctx, l, func(l consumer.Lease) (consumer.Lease, error) {
		if told {
			return o.store.Assign(ctx, l, consumer.Assignment{Owner: to, Incarnation: incarnation})
		}
		return o.store.Take(ctx, l, to, incarnation)
	})
	return err
}

// patiently repeats a change that a living owner's writes get ahead of.
func (*simOutside) patiently(ctx context.Context, l consumer.Lease, change func(consumer.Lease) (consumer.Lease, error)) (consumer.Lease, error) {
	for range 5 {
		after, err := change(l)
		conflict, ok := errors.AsType[*consumer.ConflictError](err)
		if !ok || conflict.Current == nil || conflict.Current.Owner != l.Owner || conflict.Current.Invalid != nil || conflict.Current.Checkpoint.SequenceNumber == consumer.ShardEnd || ctx.Err() != nil {
			return after, err
		}
		l = *conflict.Current
	}
	return l, nil
}
