package consumer_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/consumer"
)

// Hand-overs by the rules of the official library's 3.x, explored exhaustively: one
// lease, a leader that decides by what it has read, and three workers, one of which
// may be the official library's. A second lease would add nothing: each write is
// conditional on one row, and what is done about one has no bearing on another. Requests land late or never, answers get lost, workers
// lose their trust in the lease, and the leader ends a hand-over that it has waited
// for. What a write leaves of a row, and what a worker concludes of a conflict, is asked
// of the code that runs.

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
	looked  bool // the leader has a listing
	seen    hoRow
	wait    hoReq // the leader's
	ghost   hoReq
	high    int8 // the highest position that was acknowledged
	rough   bool // a worker has lost its trust, or was robbed: records may come again
}

// hoRules is a configuration.
type hoRules struct {
	java    [hoWorkers]bool
	jleader bool
	workers int8 // how many there are; 0: all
	counter int8 // the highest
	long    int8 // the highest with -native-protocol; 0: one more
	broken  string
	failed  string
}

func (h *hoRules) fail(format string, args ...any) {
	if h.failed == "" {
		h.failed = fmt.Sprintf(format, args...)
	}
}

var hoNames = [...]string{"", "a", "b", "c"}

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

// hoStep is what happens: to or by a worker, or the leader (0).
type hoStep struct {
	who  int8
	what string
	to   int8
}

func (s hoStep) String() string {
	return strings.TrimSpace(cmp.Or(hoNames[s.who], "the leader") + " " + s.what + " " + hoNames[s.to])
}

func (h *hoRules) step(w *hoWorld, visit func(next hoWorld, what hoStep)) {
	try := func(what hoStep, change func(n *hoWorld)) {
		next := *w
		change(&next)
		if next.row.n <= h.counter {
			h.forget(&next)
			visit(next, what)
		}
	}
	for who := int8(1); who <= h.workers; who++ {
		h.stepOf(w, who, try)
	}
	if q := w.ghost; q.kind != hoNone {
		try(hoStep{what: "has a late request land"}, func(n *hoWorld) { n.ghost = hoReq{}; h.land(n, 0, q) })
	}
	if q := w.wait; q.kind != hoNone {
		try(hoStep{what: "has its request land"}, func(n *hoWorld) { n.wait, n.looked = hoReq{}, false; h.land(n, 0, q) })
		try(hoStep{what: "does not wait"}, func(n *hoWorld) { n.wait, n.looked, n.ghost = hoReq{}, false, q })
		return
	}
	if !w.looked || w.seen != w.row {
		try(hoStep{what: "looks"}, func(n *hoWorld) { n.looked, n.seen = true, n.row })
	}
	if !w.looked {
		return
	}
	seen := w.seen
	for to := int8(1); to <= h.workers; to++ {
		ask := func(what string, kind hoKind) {
			try(hoStep{what: what, to: to}, func(n *hoWorld) { n.wait = hoReq{kind: kind, of: seen, to: to} })
		}
		// It has seen the counter for longer than the owner trusts the lease after the
		// write that set it.
		trusted := slices.ContainsFunc(w.workers[:], func(l hoWorker) bool { return l.held && l.known.n <= seen.n })
		switch {
		case seen.holder() == 0 || !trusted:
			ask("assigns to", hoAssign)
		case seen.chk == 0 && seen.owner != to:
			ask("begins a hand-over to", hoStart)
		}
		if seen.chk != 0 && seen.owner == to {
			ask("ends the hand-over to", hoForce)
		}
	}
}

// forget drops requests that nobody waits for and whose condition cannot hold any more.
func (h *hoRules) forget(w *hoWorld) {
	for i := range w.workers {
		if g := &w.workers[i].ghost; g.of.n != w.row.n && (!h.java[i] || g.kind != hoLeave) {
			*g = hoReq{}
		}
	}
	if g := &w.ghost; g.kind == hoAssign && g.of.n != w.row.n && !h.jleader && h.broken == "" {
		*g = hoReq{}
	}
}

func (h *hoRules) stepOf(w *hoWorld, who int8, try func(hoStep, func(*hoWorld))) {
	at := w.workers[who-1]
	java := h.java[who-1]
	do := func(what string, change func(n *hoWorld, l *hoWorker)) {
		try(hoStep{who: who, what: what}, func(n *hoWorld) { change(n, &n.workers[who-1]) })
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

// explore returns the steps to a world that breaks a rule, and how many worlds there are.
func (h *hoRules) explore() (way []string, worlds int) {
	type step struct {
		world hoWorld
		from  int32
		what  hoStep
	}
	first := hoWorld{}
	came := map[hoWorld]struct{}{first: {}}
	steps := []step{{world: first, from: -1}}
	for i := 0; i < len(steps) && h.failed == ""; i++ {
		h.step(&steps[i].world, func(n hoWorld, what hoStep) {
			if len(way) > 0 {
				return
			}
			before := len(came)
			if came[n] = struct{}{}; len(came) == before && h.failed == "" {
				return
			}
			if held := n.holders(); held > 1 {
				h.fail("%d workers read the shard", held)
			}
			steps = append(steps, step{n, int32(i), what})
			if h.failed != "" {
				for j := len(steps) - 1; j > 0; j = int(steps[j].from) {
					way = append(way, steps[j].what.String())
				}
				slices.Reverse(way)
				way = append(way, h.failed)
			}
		})
	}
	return way, len(steps)
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
		{name: "two of ours alone", rules: hoRules{workers: 2, counter: 4, long: 6}},
		{name: "from the official library", rules: hoRules{java: [hoWorkers]bool{true}, counter: 2}},
		{name: "from the official library, to one of ours", rules: hoRules{workers: 2, java: [hoWorkers]bool{true}}},
		{name: "led by the official library", rules: hoRules{jleader: true}},
		{name: "led by the official library, from it", rules: hoRules{jleader: true, java: [hoWorkers]bool{true}, counter: 2}},

		{name: "", rules: hoRules{broken: "a new owner does not wait"}, want: "2 workers read the shard"},
		{name: "", rules: hoRules{broken: "hand-overs end without their checkpoint"}, want: "without a fault"},
		{name: "", rules: hoRules{broken: "the leader does not look at the counter"}, want: "without a fault"},
		{name: "", rules: hoRules{broken: "a hand-over is a loss"}, want: "gives up what is its own"},
	} {
		t.Run(tt.name+tt.rules.broken, func(t *testing.T) {
			tt.rules.workers = cmp.Or(tt.rules.workers, hoWorkers)
			tt.rules.counter = cmp.Or(tt.rules.counter, 3)
			switch {
			case tt.want != "":
			case *npFull:
				tt.rules.counter = cmp.Or(tt.rules.long, tt.rules.counter+1)
			case raceEnabled: // several times slower
				tt.rules.counter = min(tt.rules.counter, 5-tt.rules.workers)
			}
			way, worlds := tt.rules.explore()
			t.Logf("%d worlds", worlds)
			switch found := strings.Join(way, "\n"); {
			case tt.want == "" && found != "":
				t.Errorf("this breaks a rule:\n%s", found)
			case !strings.Contains(found, tt.want):
				t.Errorf("found %q, want %q", found, tt.want)
			}
		})
	}
}
