package peers

import (
	"log/slog"
	"math"
	"slices"
	"time"
)

const never = time.Duration(math.MaxInt64)

// told is a set of watchers that the links tell of.
type told struct {
	epoch uint32
	set   []peer
	at    time.Duration // when it was decided on
}

// owner is what a worker keeps of those who watch it. The Mesh's mutex guards
// it.
//
// The worker may act until trust runs out. It runs from the sending of the last
// beat that any watcher of the set has acknowledged. A verdict takes the votes
// of all of the set, each given long after that watcher's last acknowledgement;
// so one watcher that acknowledges is enough to prevent it.
//
// The set changes in two steps, because watchers do not learn of it at once.
// While next is being told, trust must come from both sets, as either may come
// to a verdict. As soon as one watcher of the old set that has not voted on it
// knows of the new one, it never will, and the old set cannot come to a verdict
// any more.
type owner struct {
	paused bool
	active told
	next   *told // being told, nil if none
	epoch  uint32

	holdUntil time.Duration // nothing is declared before
	holds     int           // pauses in short order
	pausedAt  time.Duration
}

// tellLocked returns the set that links tell of.
func (m *Mesh) tellLocked() told {
	if m.own.next != nil {
		return *m.own.next
	}
	return m.own.active
}

// coverLocked returns the instant until which the watchers of t let the worker
// act.
func (m *Mesh) coverLocked(t told) time.Duration {
	if len(t.set) == 0 {
		return never // nobody may vote
	}
	var until time.Duration
	for _, p := range t.set {
		l := m.links[p]
		if l == nil {
			continue
		}
		u := max(l.acked, t.at) + m.t.trust
		if !l.up {
			u = min(u, l.downAt+m.t.regrets)
		}
		until = max(until, u)
	}
	return until
}

// expiredLocked pauses if trust has run out. It comes before everything that
// lengthens trust: what has run out stays so.
func (m *Mesh) expiredLocked(now time.Duration) bool {
	if !m.own.paused && int64(now) >= m.until.Load() {
		m.pauseLocked(now)
	}
	return m.own.paused
}

// trustLocked finds anew until when the worker may act.
func (m *Mesh) trustLocked(now time.Duration) {
	if m.expiredLocked(now) {
		return
	}
	until := m.coverLocked(m.own.active)
	if m.own.next != nil {
		until = min(until, m.coverLocked(*m.own.next))
	}
	m.until.Store(int64(until))
	m.expiredLocked(now)
}

func (m *Mesh) pauseLocked(now time.Duration) {
	o := &m.own
	o.paused = true
	m.until.Store(0)
	m.stats.pauses.Add(1)
	if o.holds > 0 && now-o.pausedAt > m.t.calm+m.t.maxHold {
		o.holds = 0
	}
	o.pausedAt = now
	m.pausing = m.term.Load() + 1
	m.ringLocked()
	m.log.Warn("no watcher answers; the worker pauses until it has verified its leases", slog.Uint64("term", m.term.Load()))
}

func (m *Mesh) resumeLocked(now time.Duration, term uint64) bool {
	o := &m.own
	if !o.paused || term != m.term.Load()+1 || m.closing {
		return false
	}
	m.term.Store(term)
	*o = owner{holds: o.holds + 1, pausedAt: o.pausedAt}
	// A net that fails again and again costs a verification each time: wait
	// longer before relying on it.
	if o.holds > 1 {
		o.holdUntil = now + min(time.Second<<min(o.holds-2, 10), m.t.maxHold)
	}
	for _, l := range m.links {
		l.known = accepted{}
		l.refused = false
		l.acked = 0
		l.tell()
	}
	m.until.Store(math.MaxInt64)
	m.pausing = 0
	m.stats.resumes.Add(1)
	return true
}

// declareLocked begins to tell of a new set.
func (m *Mesh) declareLocked(now time.Duration, set []peer) {
	o := &m.own
	o.epoch++
	t := told{epoch: o.epoch, set: set, at: now}
	if len(o.active.set) == 0 {
		o.active = t
	} else {
		o.next = &t
	}
	m.stats.declarations.Add(1)
	m.trustLocked(now)
	for _, l := range m.links {
		l.tell()
	}
}

// ownLocked does what is due for the worker itself.
func (m *Mesh) ownLocked(now time.Duration) time.Duration {
	m.trustLocked(now)
	o := &m.own
	if o.paused {
		return never
	}
	if o.next != nil && slices.ContainsFunc(o.active.set, m.releasedLocked) {
		o.active, o.next = *o.next, nil
		m.trustLocked(now)
	}
	wait := m.chooseLocked(now)
	if until := time.Duration(m.until.Load()); until != never {
		wait = min(wait, until-now)
	}
	return wait
}

// releasedLocked reports whether p, of the active set, knows of the next and so
// never votes on the active one.
func (m *Mesh) releasedLocked(p peer) bool {
	l := m.links[p]
	o := &m.own
	return l != nil && l.known.term == m.term.Load() && l.known.epoch >= o.next.epoch && l.known.voted <= uint64(o.active.epoch)
}

// chooseLocked declares another set of watchers if that is better.
func (m *Mesh) chooseLocked(now time.Duration) time.Duration {
	o := &m.own
	const soon = 100 * time.Millisecond
	if o.next != nil {
		return soon
	}
	alone := len(o.active.set) == 0
	if alone && now < o.holdUntil {
		return o.holdUntil - now
	}
	voted := false
	broken := o.active.epoch != o.epoch // watchers know a set that came to nothing
	var stay [watchers]bool             // of the active set
	for i, p := range o.active.set {
		l := m.links[p]
		_, member := m.members[p]
		unheard := l == nil || l.known.epoch < o.active.epoch && now-o.active.at > m.t.gather
		if !member || unheard || l.bad(now, m.t) {
			broken = true
			continue
		}
		stay[i] = true
		voted = voted || l.refused
	}
	early, usable := never, false
	var buf [watchers]peer // looks at the state allocate nothing
	want := buf[:0]
	for _, p := range m.ranked {
		if len(want) == watchers {
			break
		}
		l := m.links[p.peer()]
		i := slices.Index(o.active.set, p.peer())
		switch {
		case i >= 0 && stay[i]:
		case i >= 0 || l == nil || !l.good(now, m.t):
			continue
		case !alone && !broken && len(o.active.set) == watchers && now-l.goodSince < m.t.settle:
			continue
		}
		want = append(want, p.peer())
		early = min(early, l.goodSince)
		usable = usable || l.good(now, m.t)
	}
	wait := never
	if alone && len(m.ranked) > 0 || broken || voted {
		wait = soon
	}
	switch {
	case !usable, // it could not come into force
		!voted && o.active.epoch == o.epoch && sameSet(want, o.active.set),
		!alone && now-o.active.at < m.t.beat,
		alone && len(want) < min(watchers, len(m.ranked)) && now-early < m.t.gather:
		return wait
	}
	m.declareLocked(now, slices.Clone(want))
	return soon
}

func sameSet(a, b []peer) bool {
	for _, p := range a {
		if !slices.Contains(b, p) {
			return false
		}
	}
	return len(a) == len(b)
}

// leftLocked is told that the watcher p will never vote in this term: so no set
// that it is in comes to a verdict.
func (m *Mesh) leftLocked(now time.Duration, p peer) {
	o := &m.own
	if m.expiredLocked(now) {
		return
	}
	if o.next != nil && slices.Contains(o.next.set, p) {
		o.next = &told{epoch: o.next.epoch}
	}
	if slices.Contains(o.active.set, p) {
		o.active = told{epoch: o.active.epoch}
	}
	if o.next != nil && (len(o.active.set) == 0 || len(o.next.set) == 0) {
		if len(o.active.set) == 0 {
			o.active = *o.next
		}
		o.next = nil
	}
	m.trustLocked(now)
}
