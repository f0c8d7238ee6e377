package peers

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/streamkit/streamkit/internal/backoff"
)

// recent is how many beats back an acknowledgement may reach: more than trust
// lasts.
const recent = 16

var redialPolicy = backoff.Policy{Base: 50 * time.Millisecond, Max: 5 * time.Second}

// link is the worker's connection to one that watches it, or might. The Mesh's
// mutex guards all but to, m and changed.
type link struct {
	m       *Mesh
	to      Member
	changed chan struct{} // capacity 1: there is something new to tell
	cancel  context.CancelFunc

	up        bool
	upAt      time.Duration
	downAt    time.Duration // at first when the link was made
	heard     time.Duration // the last acknowledgement, of any kind, on this connection; negative before
	goodSince time.Duration // since when they come without a gap
	acked     time.Duration // when the last beat that was acknowledged was sent
	known     accepted      // what the watcher knows, of this connection
	refused   bool          // it has voted on the present set
	sent      [recent]time.Duration
	beat      uint32
	session   *session // nil if down
}

// tell has the link tell what there is to tell.
func (l *link) tell() {
	select {
	case l.changed <- struct{}{}:
	default: // it is about to
	}
}

// good reports whether the link can carry trust.
func (l *link) good(now time.Duration, t timing) bool {
	return l.up && l.heard >= 0 && now-l.heard < t.fresh
}

// bad reports whether another watcher should take this one's place.
func (l *link) bad(now time.Duration, t timing) bool {
	if !l.up {
		return now-l.downAt >= t.stale
	}
	return now-max(l.heard, l.upAt) >= t.stale
}

// linksLocked opens links to the best watchers, and closes others.
func (m *Mesh) linksLocked(ctx context.Context, now time.Duration) time.Duration {
	keep := map[peer]bool{}
	wait := never
	usable := 0
	for _, p := range m.ranked {
		if usable == watchers || len(keep) == maxLinks {
			break
		}
		l := m.links[p.peer()]
		if l == nil {
			l = m.openLocked(ctx, now, p)
		}
		l.to = p // the same process may have moved
		keep[p.peer()] = true
		if !l.bad(now, m.t) {
			usable++
			wait = min(wait, m.t.stale/4)
		}
	}
	for _, p := range m.own.active.set {
		keep[p] = true
	}
	if m.own.next != nil {
		for _, p := range m.own.next.set {
			keep[p] = true
		}
	}
	for p, l := range m.links {
		if !keep[p] {
			l.cancel()
			delete(m.links, p)
			continue
		}
		if l.session != nil && now-max(l.heard, l.upAt) > m.t.stale+m.t.beat {
			// Its writer may be stuck, and a new connection may find a way.
			_ = l.session.conn.Close()
			l.session = nil
			m.stats.stalledLinks.Add(1)
		}
	}
	return wait
}

func (m *Mesh) openLocked(ctx context.Context, now time.Duration, to Member) *link {
	ctx, cancel := context.WithCancel(ctx)
	l := &link{m: m, to: to, changed: make(chan struct{}, 1), cancel: cancel, downAt: now}
	m.links[to.peer()] = l
	m.wg.Go(func() {
		defer cancel()
		l.run(ctx)
	})
	return l
}

// run keeps a connection until ctx ends.
func (l *link) run(ctx context.Context) {
	m := l.m
	for try := 0; ; try++ {
		m.mu.Lock()
		to := l.to
		m.mu.Unlock()
		s, err := m.connect(ctx, to, m.t.call)
		if err == nil && s.other != to.peer() {
			_ = s.conn.Close()
			m.stats.strangers.Add(1)
		} else if err == nil {
			began := m.now()
			l.serve(ctx, s)
			if m.now()-began > m.t.fresh {
				try = -1 // the next call is made at once
			}
		} else if ctx.Err() == nil {
			m.stats.failedCalls.Add(1)
		}
		wait := time.Duration(0)
		if try >= 0 {
			wait = redialPolicy.Wait(try, nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// serve sends beats over s until it breaks or ctx ends.
func (l *link) serve(ctx context.Context, s *session) {
	m := l.m
	m.mu.Lock()
	now := m.now()
	l.up, l.upAt, l.heard, l.goodSince = true, now, -1, 0
	l.known, l.refused = accepted{}, false
	l.session = s
	m.mu.Unlock()
	m.stats.connects.Add(1)

	closed := make(chan struct{})
	m.wg.Go(func() {
		defer close(closed)
		l.read(s)
	})
	l.beats(ctx, s, closed)
	_ = s.conn.Close()
	<-closed

	m.mu.Lock()
	now = m.now()
	l.up, l.downAt, l.session = false, now, nil
	m.trustLocked(now)
	m.mu.Unlock()
	if ctx.Err() == nil {
		m.stats.disconnects.Add(1)
	}
	m.lookNow()
}

// beats is the writing side.
func (l *link) beats(ctx context.Context, s *session, closed <-chan struct{}) {
	m := l.m
	// Links that came up together do not stay in step.
	first := time.NewTimer(time.Duration(rand.Int64N(int64(m.t.beat))))
	defer first.Stop()
	ticker := time.NewTicker(m.t.beat)
	defer ticker.Stop()
	if l.sendDeclaration(s) != nil || l.sendBeat(s) != nil {
		return
	}
	for {
		var err error
		select {
		case <-closed:
			return
		case <-ctx.Done():
			// Watchers that are not told would suspect this worker.
			_ = s.conn.SetWriteDeadline(time.Now().Add(m.t.ask))
			if m.isClosing() {
				m.mu.Lock()
				d := declaration{term: m.term.Load(), epoch: m.own.epoch + 1}
				m.mu.Unlock()
				_ = s.write(frameDeclare, 0, 0, d.append(nil)) // the connection ends in any case
			} else {
				_ = l.sendDeclaration(s)
			}
			return
		case <-l.changed:
			err = l.sendDeclaration(s)
			if err == nil {
				err = l.sendBeat(s)
			}
		case <-first.C:
			ticker.Reset(m.t.beat)
			err = l.sendBeat(s)
		case <-ticker.C:
			err = l.sendBeat(s)
		}
		if err != nil {
			return
		}
	}
}

func (m *Mesh) isClosing() bool {
	select {
	case <-m.stop:
		return true
	default:
		return false
	}
}

func (l *link) sendBeat(s *session) error {
	m := l.m
	m.mu.Lock()
	l.beat++
	n := l.beat
	l.sent[n%recent] = m.now()
	m.mu.Unlock()
	m.stats.beatsSent.Add(1)
	return s.write(frameBeat, 0, n, nil)
}

func (l *link) sendDeclaration(s *session) error {
	m := l.m
	m.mu.Lock()
	t := m.tellLocked()
	d := declaration{term: m.term.Load(), epoch: t.epoch, set: t.set}
	m.mu.Unlock()
	return s.write(frameDeclare, 0, 0, d.append(nil))
}

// read is the reading side.
func (l *link) read(s *session) {
	m := l.m
	for {
		f, err := s.in.next()
		if err != nil {
			m.countBroken(err)
			return
		}
		switch f.typ {
		case frameAck:
			l.gotAck(f)
		case frameAccept:
			a, err := parseAccepted(f.payload)
			if err != nil {
				m.stats.malformed.Add(1)
				return
			}
			m.mu.Lock()
			l.known = a
			l.refused = a.term == m.term.Load() && a.voted > uint64(a.epoch)
			m.mu.Unlock()
			m.lookNow()
		case frameLeave:
			if f.flag&flagVoted != 0 {
				return // as if it had crashed
			}
			m.mu.Lock()
			// At once, not when the connection has ended: a look in between would
			// choose this watcher anew.
			now := m.now()
			l.up, l.downAt = false, now
			m.leftLocked(now, l.to.peer())
			m.mu.Unlock()
			return
		default:
			m.stats.malformed.Add(1)
			return
		}
	}
}

func (l *link) gotAck(f frame) {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if l.beat-f.number >= recent || f.number == 0 {
		m.stats.lateAcks.Add(1)
		return
	}
	if l.heard < 0 || now-l.heard > m.t.fresh {
		l.goodSince = now
		m.lookNow() // never blocks
	}
	l.heard = now
	if f.flag&flagVoted != 0 {
		if !l.refused {
			l.refused = true
			m.lookNow()
		}
		return
	}
	m.stats.acksReceived.Add(1)
	if m.expiredLocked(now) {
		return
	}
	l.acked = max(l.acked, l.sent[f.number%recent])
	m.trustLocked(now)
}
