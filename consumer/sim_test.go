package consumer_test

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/memnet"
)

var (
	simSeeds = flag.Uint64("sim-seeds", 500, "how many histories the simulation plays")
	simFrom  = flag.Uint64("sim-from", 1, "the seed of the first one")
	simShow  = flag.String("sim-show", "", "with -sim-seed: the shard to tell the whole history of")
	simOnly  = flag.String("sim-mode", "", "the mode to play all seeds under, instead of the one that each draws")
	simRich  = flag.Uint64("sim-rich", 60, "how many histories are played again with lanes and paused shards; with -sim-seed: whether that one is")
	simWide  = flag.Uint64("sim-wide", 40, "how many are played again with stamped records that come twice and with leases that are given up on request; with -sim-seed: whether that one is")
	simFull  = flag.Uint64("sim-full", 80, "how many are played again with two streams, peers, resets and an administrator outside; with -sim-seed: whether that one is")
	simSeed  = flag.Uint64("sim-seed", 0, "the only one to play, and to tell of")
)

// simRun is one history under way.
type simRun struct {
	plan      simPlan
	seed      uint64
	rng       *rand.Rand // of what happens
	history   *simHistory
	streams   []*simStream
	net       *memnet.Network // between peers; nil without
	outside   *simOutside     // nil without
	db        *simDB
	calm      atomic.Bool
	ended     chan struct{} // closed with the run
	callers   uint64
	processes int
	names     int
	workers   []simWorker // that run
	gone      []simWorker // that have stopped, or died

	requests sync.WaitGroup // of an administrator

	calls    atomic.Int64 // to services
	endless  func(why string)
	mu       sync.Mutex // guards all below
	problems []string
	acting   map[string]*simGo // workers that have peers
}

// A history is over within these. One that is not would go on for ever.
const (
	simLongest   = 2 * time.Hour // of virtual time; they take ten minutes
	simMostCalls = 500_000       // they make ten thousand
)

// watch ends the tests with a message if the history does not end.
func (x *simRun) watch() (end func() bool) {
	return time.AfterFunc(simLongest, func() { x.endless(x.under(fmt.Sprintf("%v of virtual time", simLongest))) }).Stop
}

// called counts a call to a service. Calls made over and over at one moment do not
// let virtual time go on.
func (x *simRun) called() {
	if x.calls.Add(1) == simMostCalls {
		x.endless(x.under(fmt.Sprintf("%d calls", simMostCalls)))
	}
}

// under says which history is under way still, and where it stands.
func (x *simRun) under(after string) string {
	x.history.mu.Lock()
	defer x.history.mu.Unlock()
	var last []string
	for _, e := range x.history.events[max(0, len(x.history.events)-20):] {
		last = append(last, e.String())
	}
	return fmt.Sprintf("%s, seed %d: the history is not over after %s; the last that happened:\n%s", x.plan.mode.name, x.seed, after, strings.Join(last, "\n"))
}

func (x *simRun) complain(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.problems) < 10 {
		x.problems = append(x.problems, fmt.Sprintf(format, args...))
	}
}

// simPlay plays the history of a plan, in a bubble.
func simPlay(seed uint64, pl simPlan) (*simRun, *simChecker) {
	h := newSimHistory()
	x := &simRun{plan: pl, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), history: h, db: newSimDB(pl.lag), acting: map[string]*simGo{}, ended: make(chan struct{}), endless: func(why string) { panic(why) }}
	defer close(x.ended)
	defer x.watch()()
	x.open()
	x.db.onWrite = func(w simWrite) {
		if w.table == "app" {
			h.wrote(w, x.paused)
		}
		h.beat(w)
		x.heard(w)
	}
	x.start("")
	if pl.javaFirst {
		time.Sleep(10 * time.Second) // or another takes the lock while it waits for the index
	}
	for time.Since(h.began) < pl.span {
		time.Sleep(time.Duration(x.rng.Int64N(int64(pl.nap))))
		x.produce()
		x.happen()
		x.hold()
		x.request()
		x.ask()
	}
	x.settle()
	x.stop()
	x.requests.Wait()
	x.db.late.Wait()
	for _, s := range x.streams {
		s.late.Wait()
	}
	if x.net != nil {
		x.net.Wait()
	}
	c := h.check(x.rules())
	c.finish()
	c.problems = append(c.problems, x.problems...)
	c.sum.mostCalls, c.sum.longest = x.calls.Load(), time.Since(h.began)
	return x, c
}

// open makes what there is before the first worker.
func (x *simRun) open() {
	pl, h := &x.plan, x.history
	x.streams = []*simStream{newSimStream(h, pl.shards)}
	if pl.streams > 1 {
		x.streams = nil
		for _, name := range []string{"stream", "other"}[:pl.streams] {
			id := consumer.StreamID{Account: simAccount, Name: name, Epoch: h.began.Unix()}
			x.streams = append(x.streams, newSimStreamOf(h, name, id.String(), pl.shards))
		}
	}
	for _, s := range x.streams {
		s.retention, s.iteratorLife, s.limit, s.shardPage = pl.retention, pl.iteratorLife, pl.limit, pl.shardPage
		s.noChildren, s.creating, s.cuts, s.copies = pl.noChildren, pl.creating, pl.cuts, pl.copies
	}
	if pl.peers {
		x.net = memnet.NewNetwork(x.seed)
	}
	if pl.outside > 0 {
		x.outside = newSimOutside(x)
	}
}

// one returns a stream.
func (x *simRun) one() *simStream {
	if len(x.streams) == 1 {
		return x.streams[0]
	}
	return x.streams[x.rng.IntN(len(x.streams))]
}

func (x *simRun) rules() simRules {
	pl := &x.plan
	r := simRules{steals: pl.mode.steals, rows: pl.mode.rows, assigns: pl.mode.assigns, asked: pl.admin > 0 || pl.outside > 0, peers: pl.peers, calm: pl.calm, late: pl.table.late > 0, latest: pl.cfg.InitialPosition.Latest, lag: pl.lag, told: 2 * pl.cfg.FailoverTime}
	// Three looks, a wait after the last listing, and as many failed tries as may come.
	if pl.calm {
		return r // nothing is lost that were to heal
	}
	r.heal = 3*pl.cfg.FailoverTime + 30*time.Second + 2*pl.leader() + pl.audit()
	return r
}

// start starts one more worker, under a name of its own unless it is given one.
func (x *simRun) start(name string) {
	if name == "" {
		x.names++
		name = simName(x.names)
	}
	if (x.processes == 0 && x.plan.javaFirst || len(x.workers) > 0 && x.rng.IntN(100) < x.plan.java) && !x.calm.Load() {
		versions := x.plan.mode.java
		x.workers = append(x.workers, x.launchJava(name, versions[x.rng.IntN(len(versions))]))
		return
	}
	x.workers = append(x.workers, x.launch(name))
}

func simName(n int) string { return fmt.Sprintf("w%d", n) }

// leave takes a worker from those that run.
func (x *simRun) leave() simWorker {
	i := x.rng.IntN(len(x.workers))
	w := x.workers[i]
	x.workers = slices.Delete(x.workers, i, i+1)
	x.gone = append(x.gone, w)
	return w
}

// produce puts some records.
func (x *simRun) produce() {
	for range x.rng.IntN(x.plan.burst + 1) {
		s := x.one()
		key := func() string { return fmt.Sprintf("%s-%d", s.keyName(), x.rng.IntN(x.plan.keys)) }
		n := len(x.history.records)
		users := []simUser{{key(), fmt.Sprint(n)}}
		shard := s.shardOf(users[0].key)
		for range x.rng.IntN(x.plan.together) {
			if k := key(); s.shardOf(k) == shard {
				users = append(users, simUser{k, fmt.Sprint(n + len(users))})
			}
		}
		s.put(users...)
		if x.plan.copies > 0 && x.rng.IntN(100) < x.plan.copies {
			s.repeat(x.rng)
		}
	}
}

// happen does one of the things that the plan has.
func (x *simRun) happen() {
	pl := &x.plan
	r := x.rng.IntN(100)
	for i, share := range []int{pl.launches, pl.stops, pl.crashes, pl.pauses, pl.splits, pl.merges, pl.partitions} {
		if r -= share; r >= 0 {
			continue
		}
		switch i {
		case 0:
			if len(x.workers) < pl.fleet {
				x.start("")
			}
		case 1:
			if len(x.workers) > 1 {
				w := x.leave()
				x.history.note(simEvent{kind: simStopping, who: w.process()})
				w.stop()
			}
		case 2:
			if len(x.workers) > 1 {
				x.crash(x.leave())
			}
		case 3:
			w := x.workers[x.rng.IntN(len(x.workers))]
			x.pause(w, time.Duration(x.rng.Int64N(int64(3*pl.cfg.FailoverTime))))
		case 4:
			if s := x.one(); s.count() < pl.most {
				s.split(x.rng)
			}
		case 5:
			if s := x.one(); s.count() < pl.most {
				s.merge(x.rng)
			}
		case 6:
			x.part()
		}
		return
	}
}

// hold pauses a shard at a worker, which may have it or come to have it.
func (x *simRun) hold() {
	if x.plan.holds == 0 || x.rng.IntN(100) >= x.plan.holds {
		return
	}
	w, ok := x.workers[x.rng.IntN(len(x.workers))].(*simGo)
	shard := x.shard()
	for range 1 + x.rng.IntN(2) {
		after := time.Duration(x.rng.Int64N(int64(10 * time.Second)))
		if ok {
			w.hold(shard)
			time.AfterFunc(after, func() { w.goOn(shard) })
		}
	}
}

// shard returns the key of the lease of a shard.
func (x *simRun) shard() string {
	s := x.one()
	return s.lease(x.rng.IntN(s.count()))
}

// request has a worker give a shard up that it may have, or to another worker.
func (x *simRun) request() {
	if x.plan.admin == 0 || x.rng.IntN(100) >= x.plan.admin {
		return
	}
	w, ok := x.workers[x.rng.IntN(len(x.workers))].(*simGo)
	to := x.workers[x.rng.IntN(len(x.workers))].identity().name
	shard := x.shard()
	transfer := x.rng.IntN(2) == 0
	if !ok {
		return
	}
	x.requests.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if transfer {
			_ = w.Transfer(ctx, shard, to) // refused, often, and what is done is seen
		} else {
			_ = w.Release(ctx, shard)
		}
	})
}

// crash ends a process at once. Sometimes another one runs under its name soon.
func (x *simRun) crash(w simWorker) {
	w.way().kill()
	x.unplug(w)
	x.history.note(simEvent{kind: simCrashed, who: w.process()})
	w.stop() // of its goroutines; nothing comes of it
	if x.rng.IntN(3) == 0 {
		x.start(w.identity().name)
	}
}

// settle ends the faults and waits until everything that is retained was
// acknowledged, and the fleet is at rest.
func (x *simRun) settle() {
	x.calm.Store(true)
	for _, s := range x.streams {
		s.mu.Lock()
		s.limit = 10000 // a worker that reads once a second would take its time
		s.mu.Unlock()
	}
	x.join()
	x.history.note(simEvent{kind: simCalm})
	f := x.plan.cfg.FailoverTime
	x.start("") // one that certainly lives
	x.requests.Wait()
	longest := 12*f + 2*time.Minute + x.plan.leader() + x.plan.audit()
	limit := time.Now().Add(longest)
	if x.plan.cfg.InitialPosition.Latest { // not everything must be read: until nothing comes any more
		for before := -1; before < x.history.deliveries(); time.Sleep(3*f + time.Minute + x.plan.leader()) {
			before = x.history.deliveries()
		}
	} else {
		for x.history.missing() > 0 && time.Now().Before(limit) {
			time.Sleep(200 * time.Millisecond)
		}
	}
	if n := x.history.missing(); n > 0 && !x.plan.cfg.InitialPosition.Latest {
		x.complain("%d of %d records were not acknowledged %v after the last fault", n, len(x.history.records), longest)
		x.db.mu.Lock()
		for key, r := range x.db.tables["app"].rows {
			x.complain("lease %s: %v", key, simLeaseOf(r.now()))
		}
		x.db.mu.Unlock()
		for _, w := range x.workers {
			if w, ok := w.(*simGo); ok {
				x.complain("%s: %+v", w.who, w.Stats())
			}
		}
	}
}

// stop stops all that runs, and hears what they have to say.
func (x *simRun) stop() {
	for _, w := range x.workers {
		w.stop()
	}
	for _, w := range append(x.gone, x.workers...) {
		<-w.done()
		if problem := w.finished(); problem != "" {
			x.complain("%s", problem)
		}
	}
	// For acknowledgements that are late, and wait while a process is paused.
	time.Sleep(2*time.Second + 3*x.plan.cfg.FailoverTime)
}

// fingerprint is what a history comes to: two runs of a seed should agree, but for
// the order of what happens at one moment.
func (x *simRun) fingerprint() uint64 {
	f := fnv.New64a()
	var moment []string
	for i, e := range x.history.events {
		if i > 0 && e.at != x.history.events[i-1].at {
			slices.Sort(moment)
			fmt.Fprintln(f, moment)
			moment = moment[:0]
		}
		e.session = 0 // the number of an event
		moment = append(moment, e.String())
	}
	return f.Sum64()
}

// singly lets one goroutine run at a time, so that those which become ready at
// the same moment run in an order that repeats.
func singly(t *testing.T) {
	t.Helper()
	old := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

// TestSimulation plays random histories of fleets on a stream that is resharded,
// with faults of all kinds, and checks each: no record is skipped, the records of a
// key come in order, parents come before children, every write is by the owner, who
// delivers nothing when it is no longer that, a shard ends when its children have
// leases, all hash keys are covered, the official library can read what is written,
// and without faults nothing comes twice.
//
// A seed that fails is played again with -sim-seed, and `make sim SEEDS=10000` plays
// many.
func TestSimulation(t *testing.T) {
	singly(t)
	type play struct {
		simFind
		simMode
	}
	var plays []play
	drawn := func(seed uint64, more string) play {
		return play{simFind{seed: seed, more: more}, drawSimPlan(seed).mode}
	}
	for _, f := range simFound {
		plays = append(plays, play{f, simModeOf(f.mode)})
	}
	n, rich, wide, full := *simSeeds, *simRich, *simWide, *simFull
	if raceEnabled && n == 500 {
		n, rich, wide, full = 50, 10, 10, 10 // several times slower
	}
	for i := range n {
		plays = append(plays, drawn(*simFrom+i, ""))
	}
	for i := range rich {
		plays = append(plays, drawn(*simFrom+i, "rich"))
	}
	for i := range wide {
		plays = append(plays, drawn(*simFrom+i, "wide"))
	}
	for i := range full {
		plays = append(plays, drawn(*simFrom+i, "full"))
	}
	if *simSeed != 0 {
		more := ""
		switch {
		case rich == 1:
			more = "rich"
		case wide == 1:
			more = "wide"
		case full == 1:
			more = "full"
		}
		plays = []play{drawn(*simSeed, more)}
	}
	if *simOnly != "" {
		for i := range plays {
			plays[i].simMode = simModeOf(*simOnly)
		}
	}
	begin := time.Now()
	var bad []uint64
	var sums []simSum
	for _, p := range plays {
		seed := p.seed
		pl := drawSimPlanOf(seed, p.simMode)
		pl.more(p.more, seed)
		x, c := simSeeded(t, seed, pl)
		if *simShow != "" {
			t.Logf("%+v", x.plan)
			for _, e := range x.history.events {
				if e.shard == *simShow || e.shard == "" {
					t.Log(e)
				}
			}
		}
		sums = append(sums, c.sum)
		if len(c.problems) > 0 {
			t.Errorf("%s, seed %d %s (%s):\n%s", p.name, seed, p.more, p.bug, c.report(60))
			if bad = append(bad, seed); len(bad) == 20 {
				break
			}
		}
	}
	slices.Sort(bad)
	t.Logf("%d histories in %v: %v; failing seeds: %v", len(sums), time.Since(begin).Round(time.Millisecond), simTotal(sums), bad)
}

// simSeeded plays a plan in a bubble of its own, with chance drawn from the seed.
func simSeeded(t *testing.T, seed uint64, pl simPlan) (x *simRun, c *simChecker) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed)
		defer consumer.Play(seed)()
		x, c = simPlay(seed, pl)
	})
	return x, c
}

// TestSimulationEnds: a history that does not end by itself is ended.
func TestSimulationEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		spin func(x *simRun)
		want string
	}{
		{"one that goes on in time", func(*simRun) { time.Sleep(simLongest + time.Second) }, "native, seed 7: the history is not over after 2h0m0s"},
		{"one that stands in time", func(x *simRun) {
			c := x.caller(new(simGate), new(simFaults))
			for range simMostCalls {
				c.called()
			}
		}, "native, seed 7: the history is not over after 500000 calls"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said string
				x := &simRun{plan: simPlan{mode: simModeOf("native")}, seed: 7, history: newSimHistory(), endless: func(why string) { said = why }}
				x.history.note(simEvent{kind: simCalm})
				defer x.watch()()
				tt.spin(x)
				synctest.Wait()
				if !strings.Contains(said, tt.want) || !strings.Contains(said, "calm") {
					t.Errorf("it ends with %q, want %q and what happened last", said, tt.want)
				}
			})
		})
	}
}

func simTotal(sums []simSum) string {
	var n simSum
	for _, s := range sums {
		n.records += s.records
		n.delivered += s.delivered
		n.duplicates += s.duplicates
		n.takenFree += s.takenFree
		n.takenExpired += s.takenExpired
		n.stolen += s.stolen
		n.handedOver += s.handedOver
		n.releases += s.releases
		n.ends += s.ends
		n.commits += s.commits
		n.creates += s.creates
		n.crashes += s.crashes
		n.stops += s.stops
		n.javaTakes += s.javaTakes
		n.javaEnds += s.javaEnds
		n.javaBack += s.javaBack
		n.asked += s.asked
		n.javaAsked += s.javaAsked
		n.javaHandedOver += s.javaHandedOver
		n.healed += s.healed
		n.verdicts += s.verdicts
		n.resets += s.resets
		n.outside += s.outside
		n.trimmedUnread += s.trimmedUnread
		n.mostCalls, n.longest = max(n.mostCalls, s.mostCalls), max(n.longest, s.longest)
		n.worstWake = max(n.worstWake, s.worstWake)
		n.worstFailover = max(n.worstFailover, s.worstFailover)
	}
	return strings.TrimSpace(fmt.Sprintf("%+v", n))
}

// TestSimulationRepeats: a seed tells one story, or nearly always.
func TestSimulationRepeats(t *testing.T) {
	singly(t)
	different := 0
	const seeds = 20
	for seed := range uint64(seeds) {
		var prints [2]uint64
		for i := range prints {
			x, _ := simSeeded(t, seed, drawSimPlan(seed))
			prints[i] = x.fingerprint()
		}
		if prints[0] != prints[1] {
			different++
			t.Logf("seed %d told two stories", seed)
		}
	}
	// Where several cases of a select are ready, Go picks one at random; and with
	// the race detector it picks the next goroutine at random, too.
	if different > seeds/4 && !raceEnabled {
		t.Errorf("%d of %d seeds told two stories", different, seeds)
	}
}
