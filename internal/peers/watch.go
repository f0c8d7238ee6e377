package peers

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// watched is an owner that has declared itself to this worker. The Mesh's mutex
// guards it.
type watched struct {
	peer  peer
	term  uint64
	epoch uint32
	set   []peer // who may vote, this worker among them

	conn     *incoming     // on which it was declared; nil once that is closed
	from     uint64        // its number
	acked    time.Duration // the last acknowledgement, or declaration
	closedAt time.Duration // when conn was closed
	proof    bool          // since then, its address refuses calls
	probing  bool          // a goroutine calls it

	voted      uint64        // as in accepted
	votedAt    time.Duration // when last
	confirming bool          // a goroutine asks the others
	asked      time.Duration // since when
	over       bool          // the verdict is given, or given up
}

// deadLocked reports whether this watcher would vote, and if not how long it
// takes at least until it might.
func (m *Mesh) deadLocked(r *watched, now time.Duration) (dead, silent bool, wait time.Duration) {
	wait = r.acked + m.t.silence - now
	if wait <= 0 {
		return true, true, 0
	}
	if r.conn == nil {
		closed := max(r.closedAt+m.t.closed-now, 0)
		if r.proof && closed == 0 {
			return true, false, 0
		}
		if r.probing {
			closed = max(closed, m.t.beat/10)
		}
		if r.probing || r.proof {
			wait = min(wait, closed)
		}
	}
	return false, false, wait
}

// watchLocked starts what is due for those that are watched.
func (m *Mesh) watchLocked(ctx context.Context, now time.Duration) time.Duration {
	due := never
	for p, r := range m.watched {
		if r.over {
			// Others may still ask, and what was voted must be remembered as
			// long as anybody may count the vote.
			if now-max(r.votedAt, r.asked) > m.t.giveUp {
				delete(m.watched, p)
			}
			continue
		}
		if r.confirming {
			continue
		}
		dead, _, wait := m.deadLocked(r, now)
		if dead {
			r.confirming, r.asked = true, now
			m.stats.suspicions.Add(1)
			m.wg.Go(func() { m.confirm(ctx, r) })
			continue
		}
		// A member that has another incarnation by now may have another address:
		// that one tells nothing.
		if r.conn == nil && !r.proof && !r.probing && m.byID[r.peer.id].Incarnation == r.peer.incarnation {
			r.probing = true
			m.wg.Go(func() { m.probe(ctx, r) })
		}
		due = min(due, wait)
	}
	return due
}

// excuseLocked lets silence begin anew, because it was this process that stood
// still: what was sent to it in the meantime waits to be read.
func (m *Mesh) excuseLocked(now time.Duration) {
	if now-m.due < m.t.lateTimer {
		return
	}
	m.due = now
	m.stats.stalls.Add(1)
	for _, r := range m.watched {
		r.acked = now
	}
}

// currentLocked reports whether r is what is known of its owner.
func (m *Mesh) currentLocked(r *watched, epoch uint32) bool {
	return m.watched[r.peer] == r && r.epoch == epoch && !r.over
}

// probe calls an owner whose connection was closed, to find out whether its
// address refuses calls, until silence says enough.
func (m *Mesh) probe(ctx context.Context, r *watched) {
	m.mu.Lock()
	epoch := r.epoch
	m.mu.Unlock()
	for {
		m.mu.Lock()
		to, known := m.members[r.peer]
		if !known || !m.currentLocked(r, epoch) || r.conn != nil || m.now() >= r.acked+m.t.silence {
			r.probing = false
			m.mu.Unlock()
			m.lookNow()
			return
		}
		m.mu.Unlock()

		m.stats.probes.Add(1)
		var dead bool
		s, err := m.connect(ctx, to, m.t.ask)
		switch {
		case err != nil:
			dead = refused(err)
		default:
			// Somebody listens there. If it is the next process of that name,
			// the one before is gone.
			dead = s.other.id == r.peer.id && s.other != r.peer
			_ = s.conn.Close()
		}
		m.mu.Lock()
		if dead && m.currentLocked(r, epoch) && r.conn == nil {
			r.proof, r.probing = true, false
			m.mu.Unlock()
			m.lookNow()
			return
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(m.t.beat / 4):
		}
	}
}

// confirm asks the other watchers of an owner that seems dead, until all agree,
// or it lives, or there is no end to it.
func (m *Mesh) confirm(ctx context.Context, r *watched) {
	m.mu.Lock()
	epoch, term := r.epoch, r.term
	others := make([]peer, 0, watchers)
	for _, p := range r.set {
		if p != m.me {
			others = append(others, p)
		}
	}
	m.mu.Unlock()
	for {
		agree, wait := m.askAll(ctx, others, query{r.peer, declaration{term, epoch, r.set}})
		m.mu.Lock()
		now := m.now()
		dead, silent, _ := m.deadLocked(r, now)
		switch {
		case !m.currentLocked(r, epoch) || r.term != term || !dead:
			r.confirming = false
			m.stats.recovered.Add(1)
		case agree:
			r.voted, r.votedAt = uint64(epoch)+1, now
			r.confirming, r.over = false, true
			m.stats.verdicts.Add(1)
			v := &Verdict{ID: r.peer.id, Incarnation: r.peer.incarnation, Term: term, Silent: silent}
			if !m.queueLocked(event{dead: v}) {
				m.stats.verdictsDropped.Add(1)
			}
		case now-r.asked > m.t.giveUp:
			r.confirming, r.over = false, true
			m.stats.unconfirmed.Add(1)
		default:
			m.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			continue
		}
		m.mu.Unlock()
		if agree && dead {
			m.log.Warn("worker is dead, say all its watchers", slog.String("worker", r.peer.id), slog.Bool("silent", silent))
		}
		m.lookNow()
		return
	}
}

// askAll asks all others, and reports whether all agree; if not, when to ask
// again.
func (m *Mesh) askAll(ctx context.Context, others []peer, q query) (agree bool, wait time.Duration) {
	type reply struct {
		code answerCode
		wait time.Duration
	}
	replies := make(chan reply, watchers) // one for each, so that no sender waits
	for _, p := range others {
		m.wg.Go(func() {
			code, wait := m.ask(ctx, p, q)
			replies <- reply{code, wait}
		})
	}
	agree, wait = true, m.t.ask
	for range others {
		a := <-replies
		agree = agree && a.code == answerYes
		if a.code == answerNot {
			wait = min(wait, a.wait)
		}
	}
	return agree, max(wait, m.t.beat/25)
}

// ask puts q to one other watcher.
func (m *Mesh) ask(ctx context.Context, p peer, q query) (answerCode, time.Duration) {
	m.mu.Lock()
	to, ok := m.members[p]
	m.mu.Unlock()
	if !ok {
		return answerNo, 0
	}
	ctx, cancel := context.WithTimeout(ctx, m.t.ask)
	defer cancel()
	m.stats.asked.Add(1)
	s, err := m.connect(ctx, to, m.t.ask)
	if err != nil {
		m.stats.unanswered.Add(1)
		return answerNo, 0
	}
	defer s.conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Now().Add(-time.Second)) })
	defer stop()
	if s.other != p || s.write(frameQuery, 0, 0, q.append(nil)) != nil {
		m.stats.unanswered.Add(1)
		return answerNo, 0
	}
	f, err := s.in.next()
	if err != nil || f.typ != frameAnswer {
		m.stats.unanswered.Add(1)
		return answerNo, 0
	}
	return answerCode(f.flag), time.Duration(f.number) * time.Millisecond
}

// voteLocked answers q. Who says yes acknowledges nothing any more in that
// epoch: so whoever counts the votes, at whatever time, counts what still holds.
func (m *Mesh) voteLocked(q query, now time.Duration) (answerCode, time.Duration) {
	m.learnLocked(q)
	r := m.watched[q.peer]
	if r == nil || r.term != q.term || r.epoch != q.epoch || !slices.Contains(r.set, m.me) {
		return answerNo, 0
	}
	if r.voted == uint64(q.epoch)+1 {
		r.votedAt = now
		return answerYes, 0
	}
	if r.over {
		return answerNo, 0
	}
	m.excuseLocked(now)
	dead, _, wait := m.deadLocked(r, now)
	if !dead {
		return answerNot, wait
	}
	r.voted, r.votedAt = uint64(q.epoch)+1, now
	m.stats.votes.Add(1)
	return answerYes, 0
}

// learnLocked takes in a declaration that came from another watcher because the
// owner may not have lived to bring it. It is no less sure to vote on: a verdict
// takes the votes of all, and among them is that of one that the owner has told
// itself, and that has waited since.
func (m *Mesh) learnLocked(q query) {
	r := m.watched[q.peer]
	if r == nil || !slices.Contains(q.set, m.me) || q.term < r.term || q.term == r.term && q.epoch <= r.epoch {
		// Who does not watch the owner may have been told of a later set, that
		// it is not in, and the owner relies on it not to vote on this one.
		return
	}
	n := &watched{
		peer: q.peer, term: q.term, epoch: q.epoch, set: q.set,
		conn: r.conn, from: r.from, acked: r.acked, closedAt: r.closedAt, proof: r.proof,
	}
	if r.term == q.term {
		n.voted, n.votedAt = r.voted, r.votedAt
	}
	m.watched[q.peer] = n
	m.stats.learnt.Add(1)
	m.lookNow() // never blocks
}

// declaredLocked takes in a declaration that came over c, and returns what to
// answer.
func (m *Mesh) declaredLocked(c *incoming, d declaration, now time.Duration) accepted {
	r := m.watched[c.s.other]
	a := accepted{term: d.term, epoch: d.epoch}
	c.declared = true
	if r != nil && r.term == d.term {
		a.voted = r.voted
	}
	switch {
	case m.staleLocked(c):
		return accepted{}
	case r != nil && (c.number < r.from || d.term < r.term || d.term == r.term && d.epoch < r.epoch):
		// Of a connection before the present one.
		return accepted{term: r.term, epoch: r.epoch, voted: r.voted}
	case !slices.Contains(d.set, m.me):
		if r != nil {
			delete(m.watched, c.s.other)
		}
		c.mute = false
		return a
	case r != nil && r.term == d.term && r.epoch == d.epoch:
		r.conn, r.from, r.proof = c, c.number, false
		if r.voted <= uint64(d.epoch) {
			r.acked, r.over = now, false
		}
		return a
	case r == nil && len(m.watched) >= maxWatched:
		// Never acknowledged: the owner will look for another watcher.
		c.mute = true
		m.stats.refused.Add(1)
		return accepted{}
	}
	c.mute = false
	m.watched[c.s.other] = &watched{peer: c.s.other, term: d.term, epoch: d.epoch, set: d.set, conn: c, from: c.number, acked: now, voted: a.voted}
	m.lookNow() // never blocks
	return a
}

// staleLocked reports whether the owner has declared itself on a connection after
// c: what still comes over c is of before.
func (m *Mesh) staleLocked(c *incoming) bool {
	for o := range m.incoming {
		if o.declared && o.s.other == c.s.other && o.number > c.number {
			return true
		}
	}
	return false
}

// beatLocked tells how to answer a beat.
func (m *Mesh) beatLocked(c *incoming, now time.Duration) (answer bool, flag byte) {
	m.stats.beatsReceived.Add(1)
	if c.mute {
		return false, 0
	}
	r := m.watched[c.s.other]
	switch {
	case r == nil:
		return true, 0 // not watched: it only wants to know whether this is a way
	case r.conn != c:
		return false, 0 // the owner has another connection by now
	case r.voted == uint64(r.epoch)+1:
		return true, flagVoted
	}
	r.acked, r.over = now, false
	return true, 0
}

// closedLocked is told that c has ended.
func (m *Mesh) closedLocked(c *incoming, now time.Duration) {
	if r := m.watched[c.s.other]; r != nil && r.conn == c {
		r.conn, r.closedAt, r.proof = nil, now, false
		m.lookNow() // never blocks
	}
}
