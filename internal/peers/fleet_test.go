package peers_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/memnet"
	"github.com/streamkit/streamkit/internal/peers"
)

// fleet is workers, a network between them, and the table that they share.
type fleet struct {
	t   *testing.T
	net *memnet.Network
	rng *rand.Rand

	flaw flaw // of all workers

	mu      sync.Mutex // guards what follows
	workers map[string]*worker
	rows    map[string]row // by id
	leases  map[string]lease
	deaths  []death
	bad     []string
}

// flaw is a rule that workers break.
type flaw struct {
	anyTerm   bool // the term of a verdict is not compared with that in the row
	termFirst bool // the row is read before the leases are listed
}

type row struct {
	incarnation string
	term        uint64
}

type lease struct {
	owner, incarnation string
	counter            int
}

// death is a verdict as one watcher has come to it.
type death struct {
	peers.Verdict
	by string
	at time.Time
}

// worker is one process.
type worker struct {
	f    *fleet
	self peers.Member
	mesh *peers.Mesh

	// Guarded by the fleet's mutex.
	alive bool
	cutAt bool           // the table does not answer it
	slow  time.Duration  // how much later than usual the table answers it, at most
	holds map[string]int // counters of the leases that it believes in
	hints []peers.Hint
	born  time.Time
}

func newFleet(t *testing.T, seed uint64) *fleet {
	t.Helper()
	f := &fleet{
		t: t, net: memnet.NewNetwork(seed), rng: rand.New(rand.NewPCG(seed, 2)),
		workers: map[string]*worker{}, rows: map[string]row{}, leases: map[string]lease{},
	}
	return f
}

// start begins a process of the given id, with a new incarnation, at an address
// of that name. Its clock runs at rate.
func (f *fleet) start(id string, rate float64) *worker {
	f.t.Helper()
	f.mu.Lock()
	inc := fmt.Sprintf("i%d", f.rng.Uint32())
	f.mu.Unlock()
	w := &worker{
		f: f, alive: true, holds: map[string]int{}, born: time.Now(),
		self: peers.Member{ID: id, Incarnation: inc, Addr: id, Secret: []byte("secret of the fleet " + id)},
	}
	mesh, err := peers.NewDrifting(w.self, f.net.Listen(id), peers.Config{
		Dial: f.net.Dialer(id), OnPause: w.onPause, OnDead: w.onDead, OnHint: w.onHint, Logger: slog.New(slog.DiscardHandler),
	}, rate)
	if err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	w.mesh = mesh
	f.workers[id] = w
	f.rows[id] = row{inc, 1}
	// What it owned before is its own again, and it has something of its own.
	if _, ok := f.leases[id+"/a"]; !ok {
		f.leases[id+"/a"] = lease{}
	}
	for k, l := range f.leases {
		if l.owner == id || l.owner == "" {
			f.leases[k] = lease{id, inc, l.counter + 1}
			w.holds[k] = l.counter + 1
		}
	}
	f.mu.Unlock()
	return w
}

// startAll begins n workers that know each other.
func (f *fleet) startAll(n int) {
	f.t.Helper()
	for i := range n {
		f.start(fmt.Sprintf("w%02d", i), 1)
	}
	f.introduce()
}

// introduce gives every worker the list of those that live.
func (f *fleet) introduce() {
	f.mu.Lock()
	var list []peers.Member
	var all []*worker
	for _, w := range f.workers {
		if w.alive {
			list = append(list, w.self)
			all = append(all, w)
		}
	}
	f.mu.Unlock()
	for _, w := range all {
		w.mesh.SetMembers(list)
	}
}

// kill ends the process of id without a word.
func (f *fleet) kill(id string) *worker {
	f.mu.Lock()
	w := f.workers[id]
	w.alive = false
	f.mu.Unlock()
	f.net.Kill(id)
	_ = w.mesh.Close() // nothing of it gets out any more
	return w
}

// isolate holds up all that goes to and from id, as when its host is lost.
func (f *fleet) isolate(id string, on bool) {
	f.mu.Lock()
	var others []string
	for o := range f.workers {
		if o != id {
			others = append(others, o)
		}
	}
	f.mu.Unlock()
	for _, o := range others {
		f.net.BlockBoth(id, o, on)
	}
}

// close ends all, and fails the test if anything was wrong.
func (f *fleet) close() {
	f.mu.Lock()
	var all []*worker
	for _, w := range f.workers {
		all = append(all, w)
	}
	f.mu.Unlock()
	for _, w := range all {
		_ = w.mesh.Close()
		f.net.Kill(w.self.ID)
	}
	f.net.Heal()
	f.net.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.bad {
		f.t.Error(b)
	}
}

// reach waits as long as an answer of the table takes, and reports false if the
// process has ended by then.
func (w *worker) reach() bool {
	for {
		w.f.mu.Lock()
		d := time.Duration(1+w.f.rng.IntN(20))*time.Millisecond + time.Duration(w.f.rng.Int64N(int64(w.slow)+1))
		alive, cut := w.alive, w.cutAt
		w.f.mu.Unlock()
		if !alive {
			return false
		}
		if !cut {
			time.Sleep(d)
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// onPause verifies: the row first, then each lease.
func (w *worker) onPause(next uint64) {
	if !w.reach() {
		return
	}
	f := w.f
	f.mu.Lock()
	if w.alive && f.rows[w.self.ID].incarnation == w.self.Incarnation {
		f.rows[w.self.ID] = row{w.self.Incarnation, next}
	}
	var held []string
	for k := range w.holds {
		held = append(held, k)
	}
	f.mu.Unlock()
	for _, k := range held {
		if !w.reach() {
			return
		}
		f.mu.Lock()
		l := f.leases[k]
		if l.owner == w.self.ID && l.incarnation == w.self.Incarnation && l.counter == w.holds[k] {
			l.counter++
			f.leases[k] = l
			w.holds[k] = l.counter
		} else {
			delete(w.holds, k)
		}
		f.mu.Unlock()
	}
	w.mesh.Resume(next)
	f.check("resume")
}

// onDead checks the verdict, and acts on it.
func (w *worker) onDead(v peers.Verdict) {
	f := w.f
	f.mu.Lock()
	f.deaths = append(f.deaths, death{v, w.self.ID, time.Now()})
	x := f.workers[v.ID]
	if x.alive && x.self.Incarnation == v.Incarnation && x.mesh.Term() == v.Term && x.mesh.Active() {
		s := fmt.Sprintf("%s calls %s dead in term %d, silent %v, and it is active in it\n%s", w.self.ID, v.ID, v.Term, v.Silent, x.mesh.Describe())
		for _, o := range f.workers {
			s += "\n" + o.mesh.Record(v.ID)
		}
		f.bad = append(f.bad, s)
	}
	f.mu.Unlock()

	seen, valid := map[string]lease{}, false
	list := func() {
		for k, l := range f.leases {
			if l.owner == v.ID && l.incarnation == v.Incarnation {
				seen[k] = l
			}
		}
	}
	read := func() {
		r := f.rows[v.ID]
		valid = r.incarnation == v.Incarnation && (r.term == v.Term || f.flaw.anyTerm)
	}
	steps := []func(){list, read}
	if f.flaw.termFirst {
		steps = []func(){read, list}
	}
	for _, step := range steps {
		if !w.reach() {
			return
		}
		f.mu.Lock()
		step()
		f.mu.Unlock()
	}
	if !valid {
		return
	}
	for k, l := range seen {
		if !w.reach() {
			return
		}
		f.mu.Lock()
		if f.leases[k] == l && w.mesh.Active() {
			f.leases[k] = lease{w.self.ID, w.self.Incarnation, l.counter + 1}
			w.holds[k] = l.counter + 1
		}
		f.mu.Unlock()
		f.check("take over")
	}
}

func (w *worker) onHint(_ string, h peers.Hint) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	w.hints = append(w.hints, h)
}

// check looks for a lease that two act on at once.
func (f *fleet) check(when string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.leases {
		active := ""
		for id, w := range f.workers {
			if _, ok := w.holds[k]; !ok || !w.alive || !w.mesh.Active() {
				continue
			}
			if active != "" {
				f.bad = append(f.bad, fmt.Sprintf("%s: %s and %s act on lease %s", when, active, id, k))
			}
			active = id
		}
	}
}

// deathsOf returns the verdicts on id so far.
func (f *fleet) deathsOf(id string) []death {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ds []death
	for _, d := range f.deaths {
		if d.ID == id {
			ds = append(ds, d)
		}
	}
	return ds
}
