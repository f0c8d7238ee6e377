package consumer_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/streamkit/streamkit/consumer"
)

// Hand-overs by the rules of the official library's 3.x, explored exhaustively: a leader
// that decides by what it has read, and three workers, some of which may be the official
// library's. Requests land late or never, answers get lost, workers lose their trust in
// the lease, and the leader ends a hand-over that it has waited for. What a write leaves
// of a row, and what a worker concludes of a conflict, is asked of the code that runs.
//
// Counters have no bound where all are ours, or one of two workers is the official
// library's: see plain for which worlds stand for others. Elsewhere they have one, as
// official workers do not look at them in all that they write, so that their late requests
// add up.
//
// A second lease would add nothing: each write is conditional on one row, each worker lets
// go of any lease at any moment here, as it does of all at a stop, and the leader
// asks for anything at any moment, as it does of several leases at once by any plan. So
// what happens to one of two leases is among what happens here. What holds between two
// leases, that children wait for their parents, is in TestProtocol.

const (
	hoLast    = 1 // the highest position
	hoWorkers = 3
)

// hoRow is a lease as it is stored. Workers are numbered from 1.
type hoRow struct{ owner, chk, inc, n, pos int8 }

// holder is the worker that may read the shard.
func (r hoRow) holder() int8 { return cmp.Or(r.chk, r.owner) }

type hoKind int8

const (
	hoNone   hoKind = iota
	hoAdopt         // a new owner's first write
	hoRenew         // with the position, if there is news
	hoLeave         // the last write: a release, or the end of a hand-over
	hoPass          // the end of a hand-over of what was never begun
	hoAssign        // by the leader
	hoForce         // likewise, whatever the counter
	hoStart         // of a hand-over
)

// hoReq is a request on its way.
type hoReq struct {
	kind   hoKind
	of     hoRow // what the sender believed
	pos    int8
	commit bool
	to     int8
}

type hoWorker struct {
	held   bool  // and trusted
	leaves bool  // has sent its last write
	robbed bool  // by a leader that does not look at the counter, and does not know
	known  hoRow // as stored last
	acked  int8
	wait   hoReq // waits for the answer
	ghost  hoReq // given up, and still on its way
}

type hoWorld struct {
	row     hoRow
	workers [hoWorkers]hoWorker
	wait    hoReq // the leader's: it has looked, and will ask for this, or has
	ghost   hoReq
	high    int8 // the highest position that was acknowledged
	writes  int8 // how much the counter has grown, if there is a bound
	rough   bool // a worker has lost its trust, or was robbed: records may come again
}

// hoRules is a configuration.
type hoRules struct {
	java    [hoWorkers]bool
	jleader bool
	workers int8 // how many there are; 0: all
	broken  string
	whole   bool // no world stands for another
	slow    bool // the leader looks, asks, and has what it asked for arrive, one after the other
	counter int8 // the highest; 0: there is no bound

	explorer[hoWorld]
	alike [][hoWorkers + 1]int8 // orders of the workers that change nothing
	next  hoWorld               // one step further
}

var hoNames = exNames

func hoCheckpoint(pos int8) consumer.Checkpoint {
	if pos == 0 {
		return consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}
	}
	return consumer.Checkpoint{SequenceNumber: fmt.Sprint(pos)}
}

func (r hoRow) lease() consumer.Lease {
	return consumer.Lease{Key: "s", Owner: hoNames[r.owner], CheckpointOwner: hoNames[r.chk], Incarnation: hoNames[r.inc], Counter: int64(r.n), Checkpoint: hoCheckpoint(r.pos)}
}

func hoRowOf(l consumer.Lease) hoRow {
	find := func(name string) int8 { return int8(slices.Index(hoNames[:], name)) }
	r := hoRow{owner: find(l.Owner), chk: find(l.CheckpointOwner), inc: find(l.Incarnation), n: int8(l.Counter)}
	for r.pos = 0; hoCheckpoint(r.pos) != l.Checkpoint; r.pos++ {
	}
	return r
}

// write is what a worker's request asks for.
func (q hoReq) write() consumer.Write {
	var w consumer.Write
	if q.commit {
		w.Checkpoint = hoCheckpoint(q.pos)
	}
	last := q.kind == hoLeave || q.kind == hoPass
	w.EndHandOver = last && q.of.chk != 0
	w.Release = last && !w.EndHandOver
	return w
}

// serve does a request of who, 0 for the leader, on a row.
func (h *hoRules) serve(who int8, r hoRow, q hoReq) (after hoRow, ok bool) {
	same := r.owner == q.of.owner && r.chk == q.of.chk
	switch {
	case q.kind == hoStart:
		if r.owner != q.of.owner || r.chk != 0 {
			return r, false
		}
		r.owner, r.chk = q.to, r.owner
		return r, true
	case who == 0:
		if !same || q.kind == hoAssign && r.n != q.of.n && !h.jleader && h.broken != "the leader does not look at the counter" {
			return r, false
		}
		return hoRowOf(consumer.Assignment{Owner: hoNames[q.to]}.Apply(r.lease())), true
	case h.java[who-1]:
		switch {
		case q.kind == hoLeave: // of a hand-over: it assigns the lease to its owner
			if !same {
				return r, false
			}
			return hoRowOf(consumer.Assignment{Owner: hoNames[r.owner]}.Apply(r.lease())), true
		case r.n != q.of.n, !q.commit && q.of.chk == 0 && r.chk != 0:
			return r, false
		}
		return hoRowOf(q.write().Apply(r.lease())), true
	}
	if r.n != q.of.n || !same && h.broken != "a new owner does not wait" {
		return r, false
	}
	w := q.write()
	if q.kind == hoAdopt {
		w.Incarnation = hoNames[who]
	}
	if h.broken == "hand-overs end without their checkpoint" && w.EndHandOver {
		w.Checkpoint = consumer.Checkpoint{}
	}
	return hoRowOf(w.Apply(r.lease())), true
}

// land lets a request reach the store.
func (h *hoRules) land(w *hoWorld, who int8, q hoReq) bool {
	before := w.row
	after, ok := h.serve(who, before, q)
	if !ok {
		return false
	}
	w.row = after
	switch {
	case after.pos < before.pos && (who == 0 || !h.java[who-1]): // its own late writes take it by surprise
		h.fail("the position goes back from %d to %d", before.pos, after.pos)
	case after.n <= before.n && q.kind != hoStart:
		h.fail("the counter stays at %d", after.n)
	case who > 0 && h.java[who-1] && q.kind == hoLeave && w.workers[who-1].held && !w.workers[who-1].leaves:
		// Of an earlier time as holder: it looks at the workers alone, who are the same.
		w.workers[who-1].robbed, w.rough = true, true
	case who == 0 || before.holder() == who:
	case h.java[who-1]: // it takes a renewal of the holder's for its own
		for i := range w.workers {
			w.workers[i].robbed = w.workers[i].robbed || w.workers[i].held
		}
		w.rough = true
	case h.broken == "":
		h.fail("%s writes what %s holds", hoNames[who], hoNames[before.holder()])
	}
	if who == 0 && q.kind != hoStart {
		for i := range w.workers {
			// One of the official library begins without a write.
			if o := &w.workers[i]; o.held && (q.kind == hoForce || h.jleader || h.java[i]) {
				o.robbed, w.rough = true, true
			}
		}
	}
	return true
}

// answer gives a worker what the store said.
func (h *hoRules) answer(w *hoWorld, who int8, q hoReq, ok bool) {
	l := &w.workers[who-1]
	l.wait = hoReq{}
	now := w.row
	author := consumer.NewAuthor(hoNames[who], hoNames[who])
	before, current := q.of.lease(), now.lease()
	switch {
	case ok && q.kind == hoAdopt:
		h.begin(w, who)
	case ok && q.kind == hoRenew:
		l.known = now
	case ok && q.kind == hoLeave:
		*l = hoWorker{ghost: l.ghost}
	case ok, q.kind == hoPass:
	case q.kind == hoAdopt:
		switch {
		case now.owner == who && now.chk == 0:
			l.wait = hoReq{kind: hoAdopt, of: now}
		case now.chk == who:
			l.wait = hoReq{kind: hoPass, of: now}
		}
	case h.java[who-1]:
		switch {
		case now.chk == who && q.of.chk == 0 && !q.commit && q.kind == hoRenew:
			// It adopts the owners, and not the counter.
			l.known.owner, l.known.chk = now.owner, now.chk
			l.wait = hoReq{kind: hoRenew, of: l.known}
		case q.kind == hoRenew && !q.commit && now.owner == who && now.n == q.of.n+1:
			l.known.n = now.n
		default:
			*l = hoWorker{ghost: l.ghost}
			w.rough = true // its checkpoint may be behind
		}
	case author.HandsOver(before, &current) && h.broken != "a hand-over is a loss":
		l.known = now
		q.of = now
		l.wait = q
	case author.Left(before, &current, q.write()):
		l.known = now
		switch landed := !q.commit || now.pos == q.pos; {
		case q.kind == hoLeave && landed && now.holder() != who:
			*l = hoWorker{ghost: l.ghost}
		case q.kind == hoLeave || !landed:
			q.of = now
			l.wait = q
		}
	default:
		if now.holder() == who && now.inc == who && l.held && !l.leaves && !l.robbed {
			h.fail("%s gives up what is its own", hoNames[who])
		}
		*l = hoWorker{ghost: l.ghost}
	}
}

// begin has a worker read the shard from the checkpoint on.
func (h *hoRules) begin(w *hoWorld, who int8) {
	l := &w.workers[who-1]
	*l = hoWorker{held: true, known: w.row, acked: w.row.pos, ghost: l.ghost}
	if !w.rough && w.row.pos != w.high {
		h.fail("%s begins at %d after %d was acknowledged, without a fault", hoNames[who], w.row.pos, w.high)
	}
}

func (h *hoRules) steps(w *hoWorld, visit func(next *hoWorld, what exStep)) {
	try := func(what exStep, change func(n *hoWorld)) {
		h.next = *w
		change(&h.next)
		h.forget(&h.next)
		if held := h.next.holders(); held > 1 {
			h.fail("%d workers read the shard", held)
		}
		if h.counter > 0 {
			if h.next.writes += h.next.row.n - w.row.n; h.next.writes > h.counter {
				return
			}
		}
		if !h.whole {
			h.next = h.plain(h.next)
		}
		visit(&h.next, what)
	}
	for who := int8(1); who <= h.workers; who++ {
		h.stepOf(w, who, try)
	}
	if q := w.ghost; q.kind != hoNone {
		try(exStep{what: "has a late request land"}, func(n *hoWorld) { n.ghost = hoReq{}; h.land(n, 0, q) })
	}
	// It gives away what has no holder, or what it has seen with the same counter for
	// longer than the holder trusts the lease after the write that set it.
	free := func(q hoReq) bool {
		trusts := func(l hoWorker) bool { return l.held && l.known.n <= q.of.n }
		return q.kind != hoAssign || q.of.holder() == 0 || !slices.ContainsFunc(w.workers[:], trusts)
	}
	if q := w.wait; q.kind != hoNone {
		if free(q) {
			try(exStep{what: "has its request land"}, func(n *hoWorld) { n.wait = hoReq{}; h.land(n, 0, q) })
			try(exStep{what: "does not wait"}, func(n *hoWorld) { n.wait, n.ghost = hoReq{}, q })
		}
		try(exStep{what: "decides to look again"}, func(n *hoWorld) { n.wait = hoReq{} })
	}
	for to := int8(1); to <= h.workers; to++ {
		look := func(what string, kind hoKind) {
			q := hoReq{kind: kind, of: w.row, to: to}
			if h.looks(q) {
				if w.wait.kind == hoNone {
					try(exStep{what: what, to: to}, func(n *hoWorld) { n.wait = q })
				}
				return
			}
			if !free(q) {
				return
			}
			try(exStep{what: what + " at once", to: to}, func(n *hoWorld) { h.land(n, 0, q) })
			if h.lateCounts(q) {
				try(exStep{what: what + " late", to: to}, func(n *hoWorld) { n.ghost = q })
			}
		}
		look("assigns to", hoAssign)
		switch {
		case w.row.chk == 0 && w.row.owner != 0 && w.row.owner != to:
			look("begins a hand-over to", hoStart)
		case w.row.chk != 0 && w.row.owner == to:
			look("ends the hand-over to", hoForce)
		}
	}
}

// looks reports whether it matters when the leader has looked at what it asks for. It does
// not if what the request is conditional on is all that it has seen: then one that
// comes late, and is not refused, is one that was decided on only then. The official
// library's leader has seen a counter that it does not make a condition.
func (h *hoRules) looks(q hoReq) bool {
	return h.slow || h.broken != "" || h.jleader && q.kind == hoAssign
}

// lateCounts reports whether it matters that a request of the leader is late, for the same reason:
// it does if a holder may have begun since, with no write, or none that is a condition.
func (h *hoRules) lateCounts(q hoReq) bool {
	return h.slow || h.broken != "" || q.kind == hoAssign && (h.jleader || h.java != [hoWorkers]bool{})
}

// unhurried returns w without what does not matter of the leader.
func (h *hoRules) unhurried(w hoWorld) hoWorld {
	if !h.looks(w.wait) {
		w.wait = hoReq{}
	}
	if !h.lateCounts(w.ghost) {
		w.ghost = hoReq{}
	}
	return w
}

// forget drops requests that nobody waits for and whose condition cannot hold any more:
// the start of a hand-over leaves the counter, and nothing takes it back that does.
func (h *hoRules) forget(w *hoWorld) {
	past := func(q *hoReq) bool {
		return q.of.n != w.row.n || h.broken == "" && (q.of.owner != w.row.owner || q.of.chk != w.row.chk)
	}
	for i := range w.workers {
		g := &w.workers[i].ghost
		if h.java[i] && (g.kind == hoLeave || g.of.n == w.row.n) {
			continue
		}
		if past(g) {
			*g = hoReq{}
		}
	}
	if g := &w.ghost; g.kind == hoAssign && past(g) && !h.jleader && h.broken == "" {
		*g = hoReq{}
	}
}

// plain returns the one of all worlds like w that stands for them. Two worlds are alike if
// what can happen from there on is the same, but for the names of workers of one kind
// and for counters:
//
//   - Of what was known of a row when a request was sent, only owners and counter decide
//     anything; the position that it is to store does if it stores one.
//   - Every condition compares a counter with the present one: it is the same, or one
//     behind, or further. A leader compares what it has seen with what a holder knows as
//     well, of which the order is enough.
//   - An owner whose lease a leader has given away, and that is two writes behind, does
//     nothing more that counts: it finds out, or not.
//   - The highest position matters as long as nothing went wrong.
func (h *hoRules) plain(w hoWorld) hoWorld {
	const present, old, older = 3, 1, 0
	now := w.row.n
	counter := func(n int8) int8 {
		if behind := now - n; behind < 2 {
			return present - behind
		}
		return older
	}
	plain := func(q *hoReq, java bool) {
		if q.kind == hoNone {
			*q = hoReq{}
			return
		}
		if q.kind == hoStart || q.kind == hoForce {
			q.of.n = now // of no matter
		}
		q.of = hoRow{owner: q.of.owner, chk: q.of.chk, n: counter(q.of.n)}
		switch {
		case java || h.broken != "":
		case q.of.n == older, q.of.n < present && (q.kind == hoAdopt || q.kind == hoPass || q.kind == hoAssign):
			*q = hoReq{kind: q.kind, of: hoRow{n: older}}
		}
		if !q.commit {
			q.pos = 0
		}
	}
	for i := range w.workers {
		l := &w.workers[i]
		if h.java[i] && l.ghost.kind == hoLeave {
			l.ghost.of.n = now // of no matter
		}
		plain(&l.wait, h.java[i])
		plain(&l.ghost, h.java[i])
		if l.held {
			n := counter(l.known.n)
			if n == older && h.jleader && w.wait.kind == hoAssign && l.known.n > w.wait.of.n {
				n = old
			}
			l.known = hoRow{owner: l.known.owner, chk: l.known.chk, n: n, pos: l.known.pos}
			if l.robbed && n < present-1 && !h.java[i] {
				*l = hoWorker{held: true, robbed: true, known: hoRow{n: n}}
			}
		}
	}
	if h.jleader {
		w.ghost.of.n = now // of no matter
	}
	plain(&w.wait, h.jleader)
	plain(&w.ghost, h.jleader)
	w.row.n = present
	if w.rough {
		w.high = 0
	}
	return h.named(w)
}

// named gives workers of one kind the names by which w stands for all that differ in
// these: they are sorted by what they know, and of equals all orders are tried.
func (h *hoRules) named(w hoWorld) (least hoWorld) {
	var keys [hoWorkers + 1]uint64
	for i := range w.workers {
		keys[i+1] = w.sign(int8(i + 1))
	}
	first := true
orders:
	for p := range h.alike {
		as := &h.alike[p]
		for i := int8(1); i <= h.workers; i++ {
			for j := i + 1; j <= h.workers; j++ {
				if h.java[i-1] == h.java[j-1] && (as[i] < as[j]) != (keys[i] < keys[j]) && keys[i] != keys[j] {
					continue orders
				}
			}
		}
		if o := w.renamed(as); first || bytes.Compare(exBytes(&o), exBytes(&least)) < 0 {
			least, first = o, false
		}
	}
	return least
}

// sign returns a hash of a worker without names.
func (w *hoWorld) sign(who int8) uint64 {
	l := w.workers[who-1]
	name := func(n *int8) {
		switch *n {
		case 0:
		case who:
			*n = 1
		default:
			*n = 2
		}
	}
	for _, r := range []*hoRow{&l.known, &l.wait.of, &l.ghost.of} {
		name(&r.owner)
		name(&r.chk)
	}
	h := exHash(&l)
	for i, n := range []int8{w.row.owner, w.row.chk, w.row.inc, w.ghost.of.owner, w.ghost.of.chk, w.ghost.to, w.wait.of.owner, w.wait.of.chk, w.wait.to} {
		if n == who {
			h ^= 1 << i
		}
	}
	return h
}

// renamed returns w with its workers under other names.
func (w *hoWorld) renamed(as *[hoWorkers + 1]int8) hoWorld {
	o := *w
	row := func(r *hoRow) { r.owner, r.chk, r.inc = as[r.owner], as[r.chk], as[r.inc] }
	ask := func(q *hoReq) {
		row(&q.of)
		q.to = as[q.to]
	}
	for i := range w.workers {
		l := w.workers[i]
		row(&l.known)
		ask(&l.wait)
		ask(&l.ghost)
		o.workers[as[i+1]-1] = l
	}
	row(&o.row)
	ask(&o.wait)
	ask(&o.ghost)
	return o
}

// start makes the rules ready, and explores.
func (h *hoRules) start() (way []string) {
	h.workers = cmp.Or(h.workers, hoWorkers)
	h.step = h.steps
	first := hoWorld{}
	if h.whole {
		return h.explore(first)
	}
	kinds := []bool{true, true, true, true}
	copy(kinds[1:], h.java[:])
	for _, p := range exOrders {
		fits := true
		for i := int8(1); i <= hoWorkers; i++ {
			fits = fits && kinds[i] == kinds[p[i]] && (i <= h.workers) == (p[i] <= h.workers)
		}
		if fits {
			h.alike = append(h.alike, p)
		}
	}
	return h.explore(h.plain(first))
}

func (h *hoRules) stepOf(w *hoWorld, who int8, try func(exStep, func(*hoWorld))) {
	at := w.workers[who-1]
	java := h.java[who-1]
	do := func(what string, change func(n *hoWorld, l *hoWorker)) {
		try(exStep{who: who, what: what}, func(n *hoWorld) { change(n, &n.workers[who-1]) })
	}
	if q := at.ghost; q.kind != hoNone {
		do("has a late request land", func(n *hoWorld, l *hoWorker) { l.ghost = hoReq{}; h.land(n, who, q) })
	}
	if at.held {
		do("loses its trust", func(n *hoWorld, l *hoWorker) {
			n.rough = true
			*l = hoWorker{ghost: l.ghost}
			if at.wait.kind != hoNone {
				l.ghost = at.wait
			}
		})
		if at.acked < hoLast && !at.leaves {
			do("reads on", func(n *hoWorld, l *hoWorker) { l.acked++; n.high = max(n.high, l.acked) })
		}
	}
	if q := at.wait; q.kind != hoNone {
		do("is answered", func(n *hoWorld, _ *hoWorker) { h.answer(n, who, q, h.land(n, who, q)) })
		do("loses the answer", func(n *hoWorld, l *hoWorker) { l.wait = hoReq{}; h.land(n, who, q) })
		do("does not wait", func(_ *hoWorld, l *hoWorker) { l.wait, l.ghost = hoReq{}, q })
		return
	}
	send := func(what string, q hoReq) {
		do(what, func(_ *hoWorld, l *hoWorker) { l.wait, l.leaves = q, l.leaves || q.kind == hoLeave })
	}
	commit := at.acked > at.known.pos
	switch r := w.row; {
	case !at.held && r.owner == who && (r.chk == 0 || h.broken == "a new owner does not wait"):
		if java {
			do("begins", func(n *hoWorld, _ *hoWorker) { h.begin(n, who) })
		} else {
			send("adopts", hoReq{kind: hoAdopt, of: r})
		}
	case !at.held:
	case java && !at.leaves:
		send("renews", hoReq{kind: hoRenew, of: at.known})
		if commit {
			send("commits", hoReq{kind: hoRenew, of: at.known, pos: at.acked, commit: true})
		} else if at.known.chk == who {
			send("lets go", hoReq{kind: hoLeave, of: at.known})
		}
	case java:
		send("lets go", hoReq{kind: hoLeave, of: at.known})
	default:
		if !at.leaves {
			send("renews", hoReq{kind: hoRenew, of: at.known, pos: at.acked, commit: commit})
		}
		send("lets go", hoReq{kind: hoLeave, of: at.known, pos: at.acked, commit: commit})
	}
}

// holders returns how many workers read the shard. One that leaves does not any more.
func (w *hoWorld) holders() (n int) {
	for i := range w.workers {
		if l := &w.workers[i]; l.held && !l.robbed && !l.leaves {
			n++
		}
	}
	return n
}

func TestHandOverProtocol(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules hoRules
		want  string
	}{
		{name: "ours alone", rules: hoRules{}},
		{name: "one of the official library", rules: hoRules{java: [hoWorkers]bool{true}, counter: 6}},
		{name: "one of the official library of two", rules: hoRules{workers: 2, java: [hoWorkers]bool{true}}},
		{name: "led by the official library", rules: hoRules{jleader: true, counter: 3}},
		{name: "two led by the official library", rules: hoRules{workers: 2, jleader: true, counter: 4}},
		{name: "led by the official library, with another of it", rules: hoRules{jleader: true, java: [hoWorkers]bool{true}, counter: 2}},

		{name: "", rules: hoRules{broken: "a new owner does not wait"}, want: "2 workers read the shard"},
		{name: "", rules: hoRules{broken: "hand-overs end without their checkpoint"}, want: "without a fault"},
		{name: "", rules: hoRules{broken: "the leader does not look at the counter"}, want: "2 workers read the shard"},
		{name: "", rules: hoRules{broken: "a hand-over is a loss"}, want: "gives up what is its own"},
	} {
		t.Run(tt.name+tt.rules.broken, func(t *testing.T) {
			switch {
			case tt.rules.counter == 0:
			case *npFull:
				tt.rules.counter++
			case raceEnabled: // ten times slower
				tt.rules.counter = min(tt.rules.counter-1, 3)
			}
			way := tt.rules.start()
			t.Logf("%d worlds", tt.rules.count)
			judge(t, way, tt.want)
		})
	}
}

// TestHandOverProtocolReduced: what stands for other worlds is what they are like.
func TestHandOverProtocolReduced(t *testing.T) {
	for _, rules := range []hoRules{{}, {java: [hoWorkers]bool{true}}, {jleader: true}, {jleader: true, java: [hoWorkers]bool{false, true}}} {
		few, all := rules, rules
		all.whole = true
		few.depth, all.depth = 10, 10
		if raceEnabled { // ten times slower
			few.depth, all.depth = 8, 8
		}
		judge(t, few.start(), "")
		judge(t, all.start(), "")
		t.Logf("%d worlds, %d in their place", all.count, few.count)
		sameReached(t, &all.explorer, &few.explorer, few.plain, true)

		few, all = rules, rules
		few.whole, all.whole, all.slow = true, true, true
		few.counter, all.counter = 2, 2
		few.workers, all.workers = 2, 2
		judge(t, few.start(), "")
		judge(t, all.start(), "")
		t.Logf("%d worlds of a slow leader, %d in their place", all.count, few.count)
		sameReached(t, &all.explorer, &few.explorer, few.unhurried, !rules.jleader)
	}
}
