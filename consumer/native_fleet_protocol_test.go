package consumer_test

import (
	"bytes"
	"fmt"
	"testing"
)

// The rules of ModeNative among three workers on two leases, explored exhaustively. Any
// number of them leads at any time: nothing of what is shown here needs the leader's
// lock. Each may lose its trust, be cut off from its peers, and die; peers call those
// dead that are, and those that are cut off. Requests land late or never, answers get lost.
//
// Rows are written on condition that they have no later write of the same process. Without
// that, as the last of the tests' cases finds, a beat of a term which peers have given up
// could land after the row of the next term, and a leader read the row in between: the
// worker would read a shard until its next write or look, as would who got the lease.
//
// No clock runs here. What clocks are for is shown by TestNativeProtocol: when a leader
// may call a worker dead because its row has not changed, the worker's trust is over, and
// what it is told after that does not bring it back. So of a worker's row there are
// three states: it is trusted; it is not, and a leader has seen the row for long
// enough; and it is not, but has been written since. Writes while the trust lasts
// change nothing but that a leader waits longer. Likewise a watcher votes only when the time
// within which the worker has to verify its leases is over.
//
// Counters have no bound: every condition asks whether one is the present one, and what was
// conditional on an older one is refused when it lands, so it is forgotten here.

const (
	nfWorkers = 3
	nfLeaders = 2 // the first of them
	nfKeys    = 2
)

// trust of a worker in its row.
const (
	nfTrusted  int8 = iota
	nfSilent        // it is over, and whoever has seen the row may know
	nfAnswered      // it is over, but a beat has landed since
)

// nfHold is what a worker knows of a lease.
type nfHold struct {
	reads  bool
	behind bool // what it knows, while it reads, is an older counter
	sure   bool // the lease was written to in the new term
	seen   int8 // a listing that shows it as owner: 1 with the present counter, 2 with an older one
	parted bool // it left the lease at the present counter
	again  bool // it left the lease at the counter of the listing, or a later one
	later  bool // the listing has a later counter than the one that it reads or begins with
	adopt  int8 // a write to begin with: 1 on its way, 2 done, 3 done and another after it
	void   bool // since that was sent, what was known before has lost its worth
	give   int8 // 1 + the worker to which a hand-over is on its way, or 1 for a release
	waits  bool // for the answer to that
}

type nfWorker struct {
	trust  int8
	lapsed bool // the trust has ever been over
	dead   bool
	cut    int8 // 1: off from its peers; 2: and the time to verify is over
	stored bool // the row shows the new term
	knows  bool // that it does
	doomed bool // peers have called it dead, in the term before
	holds  [nfKeys]nfHold
}

// nfLeader is what one that leads knows.
type nfLeader struct {
	listed [nfKeys]bool // with the present counter
	judged [nfWorkers]bool
	take   [nfKeys]int8 // 1 + to whom one is on its way
	void   [nfKeys]bool // since that was sent, as with nfHold
}

type nfWorld struct {
	owners  [nfKeys]int8 // 1 + number
	workers [nfWorkers]nfWorker
	doomed  [nfKeys]bool        // a take of what the owner has is on its way
	leaders [nfLeaders]nfLeader // of the slow form
	faults  int8
}

// nfRules is a configuration.
type nfRules struct {
	keys    int8
	faults  int8 // the most
	broken  string
	whole   bool // no world stands for another
	slow    bool // two of the workers lead, step by step
	early   bool // peers vote while leases are verified; what is read then is not delivered
	changed nfWorld

	explorer[nfWorld]
}

// bump has the counter of a lease grow, by a write of who, or of a leader.
func (w *nfWorld) bump(key, who int8) {
	for i := range w.workers {
		h := &w.workers[i].holds[key]
		if int8(i) == who {
			h.later = false
		} else if h.reads {
			h.behind = true
		}
		switch h.adopt {
		case 1:
			h.adopt, h.void = 0, false
		case 2:
			h.adopt = 3
		}
		if h.seen == 1 {
			h.seen, h.again = 2, h.parted
		}
		h.parted, h.give, h.waits = false, 0, false
	}
	w.doomed[key] = false
	for i := range w.leaders {
		l := &w.leaders[i]
		l.listed[key], l.take[key], l.void[key] = false, 0, false
	}
}

// leave ends what a worker reads of a lease, or begins with.
func (h *nfHold) leave(behind bool) {
	h.parted = !behind
	h.again = h.seen != 0 && !h.later
	h.reads, h.behind, h.sure, h.later = false, false, false, false
}

// list has the worker see itself as the owner.
func (h *nfHold) list() {
	h.seen, h.again, h.later = 1, h.parted, h.reads && h.behind || h.adopt == 3
}

// forget has it use the listing, or not.
func (h *nfHold) forget() { h.seen, h.again, h.later = 0, false, false }

// doubt has what a worker knew before lose its worth, but what it reads.
func (w *nfWorld) doubt(who int8) {
	l := &w.workers[who]
	l.lapsed = true
	for key := range l.holds {
		h := &l.holds[key]
		h.forget()
		h.void = h.adopt != 0
		if who < nfLeaders {
			w.leaders[who].void[key] = w.leaders[who].take[key] == who+1
		}
	}
}

// begin has a worker read the shard of a lease.
func (w *nfWorld) begin(who, key int8, behind bool) {
	l := &w.workers[who]
	h := &l.holds[key]
	h.reads, h.behind, h.sure = true, behind, l.cut != 0 && l.knows
	h.later = h.later && behind
	if l.cut == 2 && !l.knows {
		h.leave(behind) // it may not deliver, and has to begin anew
	}
}

func (r *nfRules) steps(w *nfWorld, visit func(next *nfWorld, what exStep)) {
	try := func(what exStep, change func(n *nfWorld)) {
		r.changed = *w
		change(&r.changed)
		n := &r.changed
		if n.faults > r.faults {
			return
		}
		for key := range r.keys {
			readers := 0
			for i := range n.workers {
				if l := &n.workers[i]; l.holds[key].reads && (!r.early || l.cut == 0 || l.holds[key].sure) {
					readers++
				}
			}
			if readers > 1 {
				r.fail("%d workers read the shard of lease %d", readers, key)
			}
		}
		if !r.whole {
			*n = r.plain(n)
		}
		visit(n, what)
	}
	for who := range int8(nfWorkers) {
		r.stepsOfRow(w, who, try)
		for key := range r.keys {
			r.stepsOfHold(w, who, key, try)
		}
		if r.slow && who < nfLeaders {
			r.stepsOfLeader(w, who, try)
		}
	}
	for key := range r.keys {
		if !r.slow {
			r.stepsOfLease(w, key, try)
		}
	}
}

// stepsOfLease are those of any number of leaders, about one lease. A take is
// conditional on the counter that was listed, so a lease may as well have been listed
// just before its owner was found dead; and whom it is for shows only when it
// lands. What has no owner may as well be listed just before it is taken.
func (r *nfRules) stepsOfLease(w *nfWorld, key int8, try func(exStep, func(*nfWorld))) {
	owner := w.owners[key]
	if owner == 0 || w.doomed[key] {
		for to := int8(1); to <= nfWorkers; to++ {
			take := func(what string, then func(n *nfWorld)) {
				try(exStep{what: what, to: to, key: key + 1}, func(n *nfWorld) {
					n.owners[key] = to
					n.bump(key, -1)
					then(n)
				})
			}
			take("has a take land, for", func(*nfWorld) {})
			// It may be the leader's own, which begins on the answer, if that is not too late.
			if l := &w.workers[to-1]; !l.dead && !l.holds[key].reads {
				take("has a take land too late, and is", func(n *nfWorld) { n.workers[to-1].holds[key].parted = true })
				if l.trust == nfTrusted {
					take("has a take land, and is", func(n *nfWorld) { n.begin(to-1, key, false) })
				}
			}
		}
		return
	}
	if r.dead(&w.workers[owner-1]) {
		try(exStep{what: "lists, finds the owner dead, and takes", key: key + 1}, func(n *nfWorld) { n.doomed[key] = true })
	}
}

// dead reports whether a leader that has listed the leases finds a worker dead.
func (r *nfRules) dead(o *nfWorker) bool {
	if o.trust == nfSilent || r.broken == "the leader does not look at rows again" {
		return true
	}
	return o.doomed && (!o.stored || r.broken == "the leader does not look at terms")
}

// stepsOfRow are those about a worker's row and its peers.
func (r *nfRules) stepsOfRow(w *nfWorld, who int8, try func(exStep, func(*nfWorld))) {
	at := w.workers[who]
	do := func(what string, change func(n *nfWorld, l *nfWorker)) {
		try(exStep{who: who + 1, what: what}, func(n *nfWorld) { change(n, &n.workers[who]) })
	}
	if at.trust == nfTrusted {
		over := func(n *nfWorld, l *nfWorker) {
			l.trust = nfSilent
			if !l.dead {
				n.faults++
			}
			for key := range l.holds {
				if l.holds[key].reads {
					l.holds[key].leave(l.holds[key].behind)
				}
			}
		}
		do("has its trust end", over)
		if !at.dead {
			do("has its trust end after a beat", func(n *nfWorld, l *nfWorker) { over(n, l); l.trust = nfAnswered })
		}
	}
	if !at.doomed && (at.dead || at.cut == 2 || at.cut == 1 && (r.early || r.broken == "peers vote while leases are verified")) {
		do("is called dead by its peers", func(_ *nfWorld, l *nfWorker) { l.doomed = true })
	}
	if at.trust == nfAnswered {
		do("has its row seen for long", func(_ *nfWorld, l *nfWorker) { l.trust = nfSilent })
	}
	if at.dead {
		return
	}
	switch at.trust {
	case nfSilent:
		do("has a beat land", func(_ *nfWorld, l *nfWorker) { l.trust = nfAnswered })
	case nfAnswered:
		do("has the answer to a beat", func(n *nfWorld, l *nfWorker) {
			l.trust = nfTrusted
			if r.broken == "what was asked before a lapse counts" {
				l.lapsed = true
				return
			}
			n.doubt(who)
		})
	}
	do("dies", func(n *nfWorld, l *nfWorker) {
		n.faults++
		l.dead = true
		for key := range l.holds {
			give := l.holds[key].give
			l.holds[key] = nfHold{give: give}
		}
	})
	if at.cut == 0 {
		do("is cut off from its peers", func(n *nfWorld, l *nfWorker) { n.faults++; l.cut = 1 })
		return
	}
	if at.cut == 1 {
		do("has had the time to verify its leases", func(_ *nfWorld, l *nfWorker) {
			l.cut = 2
			for key := range l.holds {
				if h := &l.holds[key]; h.reads && !h.sure {
					h.leave(h.behind)
				}
			}
		})
	}
	if !at.stored && !at.knows {
		do("has its new term land", func(_ *nfWorld, l *nfWorker) {
			l.stored = true
			if l.trust == nfSilent {
				l.trust = nfAnswered
			}
		})
	}
	if at.knows && at.stored && r.broken == "rows are written without a condition" {
		do("has a beat of the term before land late", func(_ *nfWorld, l *nfWorker) { l.stored = false })
	}
	if at.stored && !at.knows {
		do("has the answer to its new term", func(n *nfWorld, l *nfWorker) {
			l.knows = true
			if l.trust == nfAnswered {
				l.trust = nfTrusted
			}
			n.doubt(who)
		})
	}
	if at.knows {
		all := true
		for key := range r.keys {
			h := &at.holds[key]
			all = all && (h.sure || !h.reads)
			if h.reads && !h.sure {
				try(exStep{who: who + 1, what: "verifies", key: key + 1}, func(n *nfWorld) {
					h := &n.workers[who].holds[key]
					switch {
					case r.broken == "nothing is written to verify a lease":
						h.sure = true
					case h.behind:
						h.leave(h.behind)
					default:
						n.bump(key, who)
						h.sure = true
					}
				})
			}
		}
		if all {
			do("goes on in its new term", func(_ *nfWorld, l *nfWorker) {
				l.cut, l.stored, l.knows, l.doomed = 0, false, false, false
				for key := range l.holds {
					l.holds[key].sure = false
				}
			})
		}
	}
}

// stepsOfHold are those about a worker and a lease.
func (r *nfRules) stepsOfHold(w *nfWorld, who, key int8, try func(exStep, func(*nfWorld))) {
	l := &w.workers[who]
	at := l.holds[key]
	do := func(what string, change func(n *nfWorld, h *nfHold)) {
		try(exStep{who: who + 1, what: what, key: key + 1}, func(n *nfWorld) { change(n, &n.workers[who].holds[key]) })
	}
	if at.give > 0 {
		do("has a hand-over land", func(n *nfWorld, h *nfHold) {
			n.owners[key] = h.give - 1
			n.bump(key, -1) // it may have begun again, and not know of this
		})
		if at.waits {
			do("does not wait for a hand-over", func(_ *nfWorld, h *nfHold) { h.waits = false })
		}
	}
	if l.dead {
		return
	}
	if w.owners[key] == who+1 && at.seen != 1 {
		do("lists itself as owner", func(_ *nfWorld, h *nfHold) { h.list() })
	}
	if at.seen != 0 {
		do("forgets a listing", func(_ *nfWorld, h *nfHold) { h.forget() })
		if !at.reads && at.adopt == 0 && !at.waits && l.trust == nfTrusted {
			again := at.again && r.broken != "old listings begin again"
			if (!l.lapsed || r.broken == "no write after a lapse") && !again {
				do("begins", func(n *nfWorld, h *nfHold) {
					behind := h.seen == 2
					h.forget()
					n.begin(who, key, behind)
				})
			} else if at.seen == 1 {
				do("writes to begin", func(_ *nfWorld, h *nfHold) {
					h.forget()
					h.adopt = 1
				})
			}
		}
	}
	switch at.adopt {
	case 1:
		do("has a write to begin land", func(n *nfWorld, h *nfHold) {
			h.adopt = 0
			void := h.void
			n.bump(key, -1)
			h.adopt, h.void, h.later = 2, void, false
		})
	case 2, 3:
		do("has the answer to a write to begin", func(n *nfWorld, h *nfHold) {
			good := n.workers[who].trust == nfTrusted && !h.void
			h.adopt, h.void = 0, false
			switch {
			case good:
				n.begin(who, key, at.adopt == 3)
			default:
				h.leave(at.adopt == 3)
			}
		})
		do("loses the answer to a write to begin", func(_ *nfWorld, h *nfHold) { h.adopt, h.void = 0, false })
	}
	if at.reads {
		do("commits", func(n *nfWorld, h *nfHold) {
			if h.behind {
				h.leave(h.behind)
				return
			}
			n.bump(key, who)
		})
		for to := range int8(nfWorkers + 1) {
			if to == who+1 || at.behind {
				continue
			}
			try(exStep{who: who + 1, what: "hands over to", to: to, key: key + 1}, func(n *nfWorld) {
				h := &n.workers[who].holds[key]
				h.leave(h.behind)
				h.give, h.waits = 1+to, true
			})
		}
	}
}

// stepsOfLeader are those of one that leads.
func (r *nfRules) stepsOfLeader(w *nfWorld, who int8, try func(exStep, func(*nfWorld))) {
	at := &w.leaders[who]
	me := &w.workers[who]
	for key := range r.keys {
		do := func(what string, to int8, change func(n *nfWorld, l *nfLeader)) {
			try(exStep{who: who + 1, what: what, to: to, key: key + 1}, func(n *nfWorld) { change(n, &n.leaders[who]) })
		}
		if to := at.take[key]; to != 0 {
			do("has its take land", 0, func(n *nfWorld, l *nfLeader) {
				void := l.void[key] || n.workers[who].dead || n.workers[who].trust != nfTrusted
				n.owners[key] = to
				n.bump(key, -1)
				if to == who+1 && !n.workers[who].dead {
					if h := &n.workers[who].holds[key]; !void && !h.reads {
						n.begin(who, key, false)
					} else {
						h.parted = h.parted || !h.reads
					}
				}
			})
		}
		if me.dead {
			continue
		}
		if !at.listed[key] && me.cut == 0 {
			do("as the leader lists", 0, func(_ *nfWorld, l *nfLeader) {
				l.listed[key] = true
				if r.broken != "the leader judges before it lists" {
					l.judged = [nfWorkers]bool{}
				}
			})
		}
		if !at.listed[key] {
			continue
		}
		owner := w.owners[key]
		if owner == 0 || at.judged[owner-1] {
			for to := int8(1); to <= nfWorkers; to++ {
				do("as the leader takes, for", to, func(_ *nfWorld, l *nfLeader) {
					l.listed[key], l.take[key], l.void[key] = false, to, false
				})
			}
		}
	}
	if me.dead {
		return
	}
	for of := range int8(nfWorkers) {
		o := &w.workers[of]
		owns := r.broken == "the leader judges before it lists"
		for key := range r.keys {
			owns = owns || at.listed[key] && w.owners[key] == of+1
		}
		if at.judged[of] || !owns {
			continue
		}
		if r.dead(o) {
			try(exStep{who: who + 1, what: "as the leader finds dead", to: of + 1}, func(n *nfWorld) { n.leaders[who].judged[of] = true })
		}
	}
}

// hurried returns w as it is without leaders that go step by step.
func (r *nfRules) hurried(w nfWorld) nfWorld {
	for key := range r.keys {
		owner := w.owners[key]
		for i := range w.leaders {
			l := &w.leaders[i]
			w.doomed[key] = w.doomed[key] || owner != 0 && (l.take[key] != 0 || l.listed[key] && l.judged[owner-1])
		}
	}
	w.leaders = [nfLeaders]nfLeader{}
	return w
}

// plain returns the one of all worlds like w that stands for them: names of workers and of
// leases do not matter, nor what is known of a lease on which nothing can be based any more.
func (r *nfRules) plain(w *nfWorld) (least nfWorld) {
	o := *w
	for i := range o.workers {
		for key := range r.keys {
			h := &o.workers[i].holds[key]
			if h.reads {
				h.parted, h.again = false, false // known anew when it leaves
			}
			useless := h.again
			switch {
			case o.workers[i].lapsed:
				useless = true
			case h.reads:
				useless = !h.later
			case h.adopt != 0:
				useless = h.again && !h.later
			}
			if h.seen == 2 && useless && r.broken == "" {
				h.forget() // it does not begin on that ground without a write, which is refused
			}
		}
	}
	if r.slow {
		return o
	}
	first := true
	for turn := range r.keys {
		if turn == 1 {
			o.owners[0], o.owners[1] = o.owners[1], o.owners[0]
			o.doomed[0], o.doomed[1] = o.doomed[1], o.doomed[0]
			for i := range o.workers {
				h := &o.workers[i].holds
				h[0], h[1] = h[1], h[0]
			}
		}
		var keys [nfWorkers + 1]uint64
		for i := range o.workers {
			keys[i+1] = o.sign(int8(i + 1))
		}
	orders:
		for p := range exOrders {
			as := &exOrders[p]
			for i := 1; i <= nfWorkers; i++ {
				for j := i + 1; j <= nfWorkers; j++ {
					if keys[i] != keys[j] && (as[i] < as[j]) != (keys[i] < keys[j]) {
						continue orders
					}
				}
			}
			if n := o.renamed(as); first || bytes.Compare(exBytes(&n), exBytes(&least)) < 0 {
				least, first = n, false
			}
		}
	}
	return least
}

// sign returns a hash of a worker without names.
func (w *nfWorld) sign(who int8) uint64 {
	l := w.workers[who-1]
	owns := uint64(0)
	for key := range l.holds {
		if g := &l.holds[key].give; *g > 1 {
			*g = 2
		}
		if w.owners[key] == who {
			owns |= 1 << key
		}
	}
	return exHash(&l) ^ owns
}

// renamed returns w with its workers under other names.
func (w *nfWorld) renamed(as *[nfWorkers + 1]int8) nfWorld {
	o := *w
	for i := range w.workers {
		l := w.workers[i]
		for key := range l.holds {
			if g := &l.holds[key].give; *g > 1 {
				*g = 1 + as[*g-1]
			}
		}
		o.workers[as[i+1]-1] = l
	}
	for key := range o.owners {
		o.owners[key] = as[o.owners[key]]
	}
	return o
}

func (r *nfRules) start() []string {
	r.step = r.steps
	return r.explore(nfWorld{})
}

func TestNativeFleetProtocol(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules nfRules
		want  string
	}{
		{name: "one lease", rules: nfRules{keys: 1, faults: 2}},
		{name: "one lease, and peers that vote early", rules: nfRules{keys: 1, faults: 2, early: true}},
		{name: "two leases", rules: nfRules{keys: 2, faults: 1}},

		{rules: nfRules{broken: "no write after a lapse"}, want: "2 workers read"},
		{rules: nfRules{broken: "old listings begin again"}, want: "2 workers read"},
		{rules: nfRules{broken: "what was asked before a lapse counts"}, want: "2 workers read"},
		{rules: nfRules{slow: true, broken: "the leader judges before it lists"}, want: "2 workers read"},
		{rules: nfRules{broken: "the leader does not look at rows again"}, want: "2 workers read"},
		{rules: nfRules{broken: "the leader does not look at terms"}, want: "2 workers read"},
		{rules: nfRules{early: true, broken: "nothing is written to verify a lease"}, want: "2 workers read"},
		{rules: nfRules{broken: "peers vote while leases are verified"}, want: "2 workers read"},
		{rules: nfRules{broken: "rows are written without a condition"}, want: "2 workers read"},
	} {
		t.Run(tt.name+tt.rules.broken, func(t *testing.T) {
			switch {
			case tt.want != "":
				tt.rules.keys, tt.rules.faults = 1, 1
			case *npFull:
				tt.rules.faults++
			case raceEnabled: // ten times slower
				tt.rules.faults--
			}
			way := tt.rules.start()
			t.Logf("%d worlds, %d steps: %v", tt.rules.count, len(way), fmt.Sprint(way))
			judge(t, way, tt.want)
		})
	}
}

// TestNativeFleetProtocolReduced: what stands for other worlds is what they are like, and
// leaders that go step by step come to no other worlds.
func TestNativeFleetProtocolReduced(t *testing.T) {
	few, all := nfRules{keys: 2, faults: 2}, nfRules{keys: 2, faults: 2, whole: true}
	few.depth, all.depth = 6, 6
	if raceEnabled { // ten times slower
		few.depth, all.depth = 5, 5
	}
	judge(t, few.start(), "")
	judge(t, all.start(), "")
	t.Logf("%d worlds, %d in their place", all.count, few.count)
	sameReached(t, &all.explorer, &few.explorer, func(w nfWorld) nfWorld { return few.plain(&w) }, true)

	few, all = nfRules{keys: 1, faults: 1}, nfRules{keys: 1, faults: 1, slow: true}
	judge(t, few.start(), "")
	judge(t, all.start(), "")
	t.Logf("%d worlds with leaders that go step by step, %d in their place", all.count, few.count)
	sameReached(t, &all.explorer, &few.explorer, func(w nfWorld) nfWorld {
		w = few.hurried(w)
		return few.plain(&w)
	}, false)
}
