package consumer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// The protocol of leases is explored exhaustively: every order of the steps of a
// few workers on two leases, the second of which is the first one's child, up to a
// bound of the counter. Requests arrive late, or twice by a retry, answers get
// lost, workers pause, lose trust in a lease and die; one runs under the name of
// another. What a request does to a row is asked of a real store, and what a
// worker concludes of a conflict of the code that runs, so the model has the
// schedule alone.

// posEnd is the position of a shard that was read to its end. 0 is its begin.
const posEnd = 2

// actor is a kind of worker.
type actor struct {
	name, incarnation string
	// java acts as the official library's 2.x: its writes look at the counter
	// alone, and a conflict means that the lease is lost.
	java   bool
	steals bool // it takes leases of others that are alive
}

type reqKind uint8

const (
	reqNone reqKind = iota
	reqTake
	reqWrite   // a renewal, with the position if there is news
	reqRelease // the last one of a planned stop
	reqEnd     // the last one of a shard
)

var reqNames = [...]string{"", "asks to take", "writes", "asks to release", "writes the end"}

// req is a request on its way: what the worker believed when it was sent.
type req struct {
	kind   reqKind
	n      uint8 // counter
	pos    uint8 // to be stored
	commit bool  // store pos
}

// local is what a worker knows of a lease.
type local struct {
	held   bool // and trusted
	n      uint8
	stored uint8 // position that it knows to be stored
	acked  uint8 // position that it has read up to
	wait   req   // waits for the answer
	ghost  req   // given up, and still on its way
}

// row is a lease as it is stored.
type row struct {
	owner uint8 // 1 + index of the actor whose name it is; 0: none
	inc   uint8 // 1 + index of the actor that wrote it last as owner
	n     uint8
	pos   uint8
}

const (
	keys   = 2
	actors = 3
)

type world struct {
	rows   [keys]row
	locals [actors][keys]local
}

// protocol is a configuration of the exploration.
type protocol struct {
	actors [actors]actor
	broken string

	alike [][actors]uint8 // orders of the workers that change nothing
	memo  []memoResult    // by memoIndex

	explorer[world]
	next world // one step further
}

type memoResult struct {
	known bool
	after row
	ok    bool
	mine  bool // of a conflict: what is stored is an earlier try's
}

// position and back.

func (p *protocol) checkpoint(pos uint8) consumer.Checkpoint {
	switch pos {
	case 0:
		return consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}
	case posEnd:
		return consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}
	}
	return consumer.Checkpoint{SequenceNumber: fmt.Sprint(pos)}
}

func (p *protocol) position(c consumer.Checkpoint) uint8 {
	for pos := range uint8(posEnd + 1) {
		if c == p.checkpoint(pos) {
			return pos
		}
	}
	panic("unknown checkpoint " + c.String())
}

func (p *protocol) lease(r row) consumer.Lease {
	l := consumer.Lease{Key: "s", Counter: int64(r.n), Checkpoint: p.checkpoint(r.pos)}
	if r.owner > 0 {
		l.Owner = p.actors[r.owner-1].name
	}
	if r.inc > 0 {
		l.Incarnation = p.actors[r.inc-1].incarnation
	}
	return l
}

func (p *protocol) row(l consumer.Lease) row {
	find := func(match func(actor) bool) uint8 { return uint8(1 + slices.IndexFunc(p.actors[:], match)) }
	return row{
		owner: find(func(a actor) bool { return a.name == l.Owner }),
		inc:   find(func(a actor) bool { return l.Incarnation != "" && a.incarnation == l.Incarnation }),
		n:     uint8(l.Counter), pos: p.position(l.Checkpoint),
	}
}

func (q req) write(p *protocol) consumer.Write {
	var w consumer.Write
	if q.commit {
		w.Checkpoint = p.checkpoint(q.pos)
	}
	w.Release = q.kind == reqRelease || q.kind == reqEnd
	return w
}

// memoIndex numbers the requests on a row, whose counter is the present one.
func memoIndex(who uint8, r row, q req) int {
	i := int(who)
	for _, d := range [...]struct{ v, of uint8 }{{r.owner, actors + 1}, {r.inc, actors + 1}, {r.pos, posEnd + 1}, {uint8(q.kind), uint8(reqEnd) + 1}, {q.n, present + 1}, {q.pos, posEnd + 1}} {
		i = i*int(d.of) + int(d.v)
	}
	i *= 2
	if q.commit {
		i++
	}
	return i
}

// serve does a request on a row, as the store does it.
func (p *protocol) serve(who uint8, r row, q req) memoResult {
	i := memoIndex(who, r, q)
	if i >= len(p.memo) {
		p.memo = append(p.memo, make([]memoResult, i+1-len(p.memo))...)
	}
	if !p.memo[i].known {
		p.memo[i] = p.serveNow(who, r, q)
		p.memo[i].known = true
	}
	return p.memo[i]
}

func (p *protocol) serveNow(who uint8, r row, q req) memoResult {
	a := p.actors[who]
	if a.java {
		if r.n != q.n {
			return memoResult{after: r}
		}
		r.n++
		switch q.kind {
		case reqTake:
			r.owner = 1 + uint8(slices.IndexFunc(p.actors[:], func(b actor) bool { return b.name == a.name }))
		default:
			if q.commit {
				r.pos = q.pos
			}
			if q.kind != reqWrite {
				r.owner = 0
			}
		}
		return memoResult{after: r, ok: true}
	}
	s := memlease.New()
	if ok, err := s.Create(context.Background(), p.lease(r)); err != nil || !ok {
		panic(err)
	}
	before := consumer.Lease{Key: "s", Owner: a.name, Counter: int64(q.n), Incarnation: a.incarnation}
	if q.kind == reqTake {
		before.Owner = ""
	}
	if p.broken == "writes without a condition" && q.kind != reqTake {
		before.Counter = int64(r.n)
		before.Owner = p.lease(r).Owner
	}
	var got consumer.Lease
	var err error
	if q.kind == reqTake {
		got, err = s.Take(context.Background(), before, a.name, a.incarnation)
	} else {
		got, err = s.Update(context.Background(), before, q.write(p))
	}
	if err == nil {
		after := p.row(got)
		if p.broken == "takes leave the counter" && q.kind == reqTake {
			after.n = r.n
		}
		return memoResult{after: after, ok: true}
	}
	conflict, ok := errors.AsType[*consumer.ConflictError](err)
	if !ok {
		panic(err)
	}
	me := consumer.NewAuthor(a.name, a.incarnation)
	if p.broken == "no incarnation" {
		me = consumer.NewAuthor(a.name, conflict.Current.Incarnation)
	}
	before.Counter = int64(q.n)
	if q.kind == reqTake {
		return memoResult{after: r, mine: me.Took(before, conflict.Current)}
	}
	mine := me.Left(before, conflict.Current, q.write(p))
	if p.broken == "lost answers lose leases" {
		mine = false
	}
	return memoResult{after: r, mine: mine}
}

// land lets a request reach the store, and checks what it does there.
func (p *protocol) land(w *world, who, key uint8, q req) memoResult {
	before := w.rows[key]
	m := p.serve(who, before, q)
	if !m.ok {
		return m
	}
	w.rows[key] = m.after
	switch {
	case m.after.pos < before.pos:
		p.fail("%s moved the position of lease %d back from %d to %d", p.actors[who].incarnation, key, before.pos, m.after.pos)
	case m.after.n <= before.n:
		p.fail("%s left the counter of lease %d at %d", p.actors[who].incarnation, key, m.after.n)
	case q.kind != reqTake && !p.actors[who].java && (before.owner == 0 || p.actors[before.owner-1].name != p.actors[who].name || before.inc != who+1):
		p.fail("%s wrote lease %d of somebody else", p.actors[who].incarnation, key)
	}
	return m
}

// answer gives a worker what the store said.
func (p *protocol) answer(w *world, who, key uint8, q req, m memoResult) {
	l := &w.locals[who][key]
	r := w.rows[key]
	l.wait = req{}
	switch {
	case q.kind == reqTake:
		switch {
		case m.ok, m.mine && p.broken == "what is found is trusted":
			*l = local{held: true, n: r.n, stored: r.pos, acked: r.pos, ghost: l.ghost}
		case m.mine:
			l.wait = req{kind: reqTake, n: r.n} // at once
		}
	case m.ok:
		l.n, l.stored = r.n, r.pos
		if q.kind != reqWrite {
			*l = local{ghost: l.ghost}
		}
	case m.mine:
		// An earlier try was done; this one is still to be done, unless they
		// are the same.
		l.n, l.stored = r.n, r.pos
		if q.kind != reqWrite && r.owner == 0 {
			*l = local{ghost: l.ghost}
		}
	default:
		if !p.actors[who].java && r.owner > 0 && p.actors[r.owner-1].name == p.actors[who].name && r.inc == who+1 && l.held {
			p.fail("%s gives up lease %d, which is its own", p.actors[who].incarnation, key)
		}
		*l = local{ghost: l.ghost}
	}
	if l.held && l.stored > r.pos {
		p.fail("%s believes that %d of lease %d is stored, which is at %d", p.actors[who].incarnation, l.stored, key, r.pos)
	}
}

// steps calls visit with each world that is one step away.
func (p *protocol) steps(w *world, visit func(next *world, what exStep)) {
	reached := func(next *world, what exStep) {
		p.check(next)
		if p.failed == "" {
			*next = p.plain(*next)
		}
		visit(next, what)
	}
	for who := range uint8(actors) {
		for key := range uint8(keys) {
			p.stepOf(w, who, key, reached)
		}
	}
	if w.rows[0].pos == posEnd {
		// The first lease has no say any more: what goes on with it is seen
		// without the second.
		p.next = *w
		p.next.rows[0] = row{pos: posEnd, n: present}
		for who := range p.next.locals {
			p.next.locals[who][0] = local{}
		}
		reached(&p.next, exStep{who: exNobody, what: "it is left alone", key: 1})
	}
}

func (p *protocol) stepOf(w *world, who, key uint8, visit func(*world, exStep)) {
	at := w.locals[who][key]
	try := func(what string, change func(next *world, l *local)) {
		p.next = *w
		change(&p.next, &p.next.locals[who][key])
		visit(&p.next, exStep{who: int8(who) + 1, what: what, key: int8(key) + 1})
	}
	if q := at.ghost; q.kind != reqNone {
		try("a late request arrives", func(n *world, l *local) { l.ghost = req{}; p.land(n, who, key, q) })
	}
	if q := at.wait; q.kind != reqNone {
		try("is answered", func(n *world, _ *local) { p.answer(n, who, key, q, p.land(n, who, key, q)) })
		gaveUp := func(l *local) { l.wait = req{} }
		try("loses the answer", func(n *world, l *local) { gaveUp(l); p.land(n, who, key, q) })
		// Of two late requests one is lost.
		try("does not wait for the answer", func(_ *world, l *local) { gaveUp(l); l.ghost = q })
	}
	if at.held {
		try("stops trusting the lease", func(_ *world, l *local) {
			if l.wait.kind != reqNone {
				l.ghost = l.wait
			}
			*l = local{ghost: l.ghost}
		})
	}
	if at.held && at.acked < posEnd {
		try("reads on", func(_ *world, l *local) { l.acked++ })
	}
	if at.wait.kind != reqNone {
		return
	}
	send := func(q req) {
		try(reqNames[q.kind], func(_ *world, l *local) { l.wait = q })
	}
	if at.held {
		commit := at.acked > at.stored
		if at.acked < posEnd {
			send(req{reqWrite, at.n, at.acked, commit})
			send(req{reqRelease, at.n, at.acked, commit})
		} else {
			send(req{reqWrite, at.n, at.stored, false})
			send(req{reqEnd, at.n, posEnd, true})
		}
		return
	}
	if r := w.rows[key]; p.takes(w, who, key) {
		send(req{kind: reqTake, n: r.n})
	}
}

// takes reports whether a worker may try to take a lease that it does not hold.
// That an owner trusts its lease for less time than others wait is what the clocks
// are for: here nobody waits for a lease that its owner trusts.
func (p *protocol) takes(w *world, who, key uint8) bool {
	r := w.rows[key]
	if r.pos == posEnd || key == 1 && w.rows[0] != (row{pos: posEnd, n: present}) && p.broken != "children do not wait" {
		return false
	}
	if p.actors[who].steals {
		return true
	}
	for other := range uint8(actors) {
		if other != who && w.locals[other][key].held {
			return false
		}
	}
	return true
}

// check looks at a world.
func (p *protocol) check(w *world) {
	for key := range uint8(keys) {
		holders := 0
		steals := false
		for who := range uint8(actors) {
			l := &w.locals[who][key]
			steals = steals || p.actors[who].steals
			if !l.held {
				continue
			}
			holders++
			if key == 1 && w.rows[0].pos != posEnd {
				p.fail("%s reads the child before its parent's end is stored", p.actors[who].incarnation)
			}
		}
		if holders > 1 && !steals {
			p.fail("%d workers read lease %d", holders, key)
		}
	}
}

// present is the counter of every lease that is stored: what happens depends on
// how far a request is behind it, and two is as far as more. So counters have no
// bound here.
const present = 2

func (p *protocol) first() (w world) {
	for key := range w.rows {
		w.rows[key].n = present
	}
	return w
}

// plain returns the one of all worlds like w that stands for them: counters are
// taken from the present one, and workers of the same kind have no names.
func (p *protocol) plain(w world) world {
	for key := range w.rows {
		delta := w.rows[key].n - present
		w.rows[key].n = present
		for who := range w.locals {
			l := &w.locals[who][key]
			for _, n := range []*uint8{&l.n, &l.wait.n, &l.ghost.n} {
				*n -= min(*n, delta)
			}
			if l.ghost.n < present {
				l.ghost = req{} // whenever it comes, it is refused, and nobody hears
			}
		}
	}
	least := w
	for _, perm := range p.alike {
		if o := permuted(&w, perm); bytes.Compare(exBytes(&o), exBytes(&least)) < 0 {
			least = o
		}
	}
	return least
}

// permuted returns w with its workers in another order.
func permuted(w *world, perm [actors]uint8) (o world) {
	o = *w
	for who, to := range perm {
		o.locals[to] = w.locals[who]
	}
	for key := range o.rows {
		for _, who := range []*uint8{&o.rows[key].owner, &o.rows[key].inc} {
			if *who > 0 {
				*who = 1 + perm[*who-1]
			}
		}
	}
	return o
}

func (p *protocol) start() []string {
	p.step = p.steps
	return p.explore(p.first())
}

func TestProtocol(t *testing.T) {
	a, b, c := actor{name: "a", incarnation: "a"}, actor{name: "b", incarnation: "b"}, actor{name: "c", incarnation: "c"}
	thief := actor{name: "b", incarnation: "b", steals: true}
	twin := actor{name: "a", incarnation: "twin of a", steals: true}
	java := actor{name: "j", incarnation: "j", java: true, steals: true}
	same := [][actors]uint8{{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	for _, tt := range []struct {
		name   string
		actors [actors]actor
		alike  [][actors]uint8
		broken string // what is done wrong
		want   string // what is found then
	}{
		{name: "three that wait", actors: [actors]actor{a, b, c}, alike: same},
		{name: "one steals", actors: [actors]actor{a, thief, c}, alike: [][actors]uint8{{2, 1, 0}}},
		{name: "two of one name", actors: [actors]actor{a, twin, b}},
		{name: "beside Java", actors: [actors]actor{a, b, java}, alike: [][actors]uint8{{1, 0, 2}}},

		{name: "", actors: [actors]actor{a, b, c}, broken: "what is found is trusted", want: "2 workers read lease 0"},
		{name: "", actors: [actors]actor{a, b, c}, broken: "lost answers lose leases", want: "gives up lease 0, which is its own"},
		{name: "", actors: [actors]actor{a, b, c}, broken: "children do not wait", want: "reads the child"},
		{name: "", actors: [actors]actor{a, thief, c}, broken: "takes leave the counter", want: "left the counter of lease 0"},
		{name: "", actors: [actors]actor{a, thief, c}, broken: "writes without a condition", want: "wrote lease 0 of somebody else"},
		{name: "", actors: [actors]actor{a, twin, b}, broken: "no incarnation", want: "wrote lease 0 of somebody else"},
	} {
		t.Run(tt.name+tt.broken, func(t *testing.T) {
			t.Parallel()
			p := protocol{actors: tt.actors, alike: tt.alike, broken: tt.broken}
			way := p.start()
			t.Logf("%d worlds", p.count)
			judge(t, way, tt.want)
		})
	}
}
