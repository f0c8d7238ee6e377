package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// RetrievalMode is how records are brought from the stream. The modes are those
// of the KCL's RetrievalConfig.
type RetrievalMode int

const (
	// RetrievalPolling asks for records with GetRecords. All readers of a shard
	// share its five calls and two mebibytes a second.
	RetrievalPolling RetrievalMode = iota

	// RetrievalFanOut has the service send records over subscriptions, with two
	// mebibytes a second for each shard and application, for which AWS asks a
	// price of its own. It needs a client with [FanOutAPI]. Nothing is read
	// before the application is registered as a consumer of the stream.
	RetrievalFanOut

	// RetrievalMixed subscribes where it can and polls where it cannot: until
	// the registration is active, and while the stream has as many consumers as
	// it may have, subscriptions are refused for their number, or permission is
	// missing.
	RetrievalMixed
)

// String returns the mode's name.
func (m RetrievalMode) String() string {
	switch m {
	case RetrievalPolling:
		return "polling"
	case RetrievalFanOut:
		return "fan-out"
	case RetrievalMixed:
		return "mixed"
	}
	return fmt.Sprintf("RetrievalMode(%d)", int(m))
}

// newFetcher returns what brings the records of a shard.
func (c *Consumer) newFetcher(h *holding, start Checkpoint) fetcher {
	at := &place{
		start: start, startTime: h.source.initial.Time, since: h.since(),
		onLatest: func(t time.Time) {
			h.latestSince.Store(&t)
			select {
			case h.poke <- struct{}{}:
			default: // the keeper is about to write
			}
		},
	}
	poll := &poller{
		api: c.api, ref: h.source.ref, shard: h.shardID(),
		limit: int32(c.cfg.MaxRecords), timeout: c.cfg.KinesisRequestTimeout,
		memory: h.memory, stats: &c.stats.fetch, place: at,
		pace:     newPace(c.cfg.IdleTimeBetweenReads),
		estimate: firstEstimate,
	}
	if c.cfg.RetrievalMode == RetrievalPolling {
		return poll
	}
	sub := &subscriber{
		open: c.subscribe, reg: h.source.registration, shard: h.shardID(), timeout: c.cfg.KinesisRequestTimeout,
		memory: h.memory, stats: &c.stats.fetch, place: at, subscribed: &h.subscribed,
	}
	if c.cfg.RetrievalMode == RetrievalFanOut {
		return sub
	}
	return &mixed{poll: poll, sub: sub, log: c.log.With(lease(h.key))}
}

// retryFanOut is for how long a shard is polled after a subscription to it was
// refused.
const retryFanOut = time.Minute

// mixed subscribes where it can, and polls otherwise.
type mixed struct {
	poll *poller
	sub  *subscriber
	log  *slog.Logger

	refusedUntil time.Time
	failures     streak
}

// fetch implements fetcher.
func (m *mixed) fetch(ctx context.Context) (page, error) {
	if m.sub.reg.current() == "" || time.Now().Before(m.refusedUntil) {
		return m.poll.fetch(ctx)
	}
	pg, err := m.sub.fetch(ctx)
	// The subscription has gone past the poller's iterator.
	m.poll.iterator = nil
	switch {
	case err == nil:
		if n := m.failures.ok(); n > 0 {
			m.log.Info("shard subscribed to", slog.Int("failed", n))
		}
	case refused(err) && ctx.Err() == nil:
		m.sub.close()
		m.sub.stats.fellBack.Add(1)
		m.refusedUntil = time.Now().Add(jitter(retryFanOut))
		if m.failures.fail() {
			m.log.Warn("subscription refused; the shard is polled instead", errAttr(err))
		}
		return page{}, &handledError{err}
	}
	return pg, err
}

// close implements fetcher.
func (m *mixed) close() { m.sub.close() }
