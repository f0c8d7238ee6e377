package peers

import (
	"context"
	"time"
)

// courier brings hints to one member, over a connection that it keeps for a
// while.
type courier struct {
	queue chan Hint // capacity maxQueue: what does not fit is dropped
}

// postLocked gives what is to be sent to couriers.
func (m *Mesh) postLocked(ctx context.Context) {
	for _, p := range m.outbox {
		c := m.couriers[p.to]
		if c == nil {
			to, ok := m.byID[p.to]
			if !ok || len(m.couriers) >= maxCouriers {
				m.stats.hintsDropped.Add(1)
				continue
			}
			c = &courier{queue: make(chan Hint, maxQueue)}
			m.couriers[p.to] = c
			m.wg.Go(func() { m.carry(ctx, c, to) })
		}
		select {
		case c.queue <- p.hint:
		default: // full
			m.stats.hintsDropped.Add(1)
		}
	}
	m.outbox = m.outbox[:0]
}

// carry is a courier's work. It ends when there is nothing to do.
func (m *Mesh) carry(ctx context.Context, c *courier, to Member) {
	s, err := m.connect(ctx, to, m.t.call)
	if err == nil && s.other.id != to.ID {
		_ = s.conn.Close()
		err = errHello
	}
	if err == nil {
		defer s.conn.Close()
	}
	idle := time.NewTimer(m.t.linger)
	defer idle.Stop()
	for err == nil && ctx.Err() == nil {
		select {
		case h := <-c.queue:
			_ = s.conn.SetWriteDeadline(time.Now().Add(m.t.call))
			if err = s.write(frameHint, 0, 0, h.append(nil)); err != nil {
				m.stats.hintsDropped.Add(1)
				continue
			}
			m.stats.hintsSent.Add(1)
			idle.Reset(m.t.linger)
			continue
		case <-ctx.Done():
			continue
		case <-idle.C:
		}
		m.mu.Lock()
		last := len(c.queue) == 0 // nobody adds to it without the mutex
		if last {
			delete(m.couriers, to.ID)
		}
		m.mu.Unlock()
		if last {
			return
		}
		idle.Reset(m.t.linger)
	}
	m.mu.Lock()
	delete(m.couriers, to.ID)
	lost := len(c.queue)
	m.mu.Unlock()
	m.stats.hintsDropped.Add(int64(lost))
}
