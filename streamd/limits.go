package streamd

import (
	"errors"
	"fmt"
	"slices"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/limits"
)

// Limits are rates above which a server refuses requests, as AWS does. A rate
// that is zero has no limit; the zero Limits are off. Shards of ON_DEMAND
// streams have none.
type Limits struct {
	WriteRecords float64 // records a second into a shard; AWS: 1000
	WriteBytes   float64 // bytes a second into a shard, data and partition keys; AWS: 1 MiB
	ReadCalls    float64 // calls of GetRecords a second on a shard; AWS: 5
	ReadBytes    float64 // bytes of data a second out of a shard; AWS: 2 MiB
	Iterators    float64 // calls of GetShardIterator a second on a shard; AWS: 5
	Subscribe    float64 // calls of SubscribeToShard a second by a consumer on a shard; AWS: 1
	FanOutBytes  float64 // bytes of data a second to a consumer of a shard; AWS: 2 MiB
	Operations   float64 // multiplies AWS's rates of the operations on streams; AWS: 1

	// Streams are rates for the shards of some streams, in place of those above.
	// The first that is for a stream counts.
	Streams []StreamLimits

	// Quotas bounds what an account has in a region, as AWS does by default:
	// 20,000 open shards (1,000 outside us-east-1, us-west-2 and eu-west-1), 50
	// ON_DEMAND streams, 5 streams CREATING at once, and 20 consumers of a stream,
	// 5 of them CREATING. It also has
	// UpdateShardCount refuse more than double or less than half, and a stream
	// take 10 calls of UpdateShardCount, 2 changes of its mode and 25 of its
	// encryption in 24 hours.
	Quotas bool

	// Shards, OnDemandStreams and Creating are other numbers in place of those
	// of Quotas, and need no Quotas. 0 is the number of AWS with Quotas, and no
	// limit without.
	Shards          int // open ones, and those that streams get that are CREATING or UPDATING
	OnDemandStreams int
	Creating        int // streams that are CREATING at once
}

// StreamLimits are the rates of the shards of a stream, or of some. A rate that
// is zero has no limit, whatever the server's is.
type StreamLimits struct {
	// Stream is the name of a stream, or a pattern of names as in [path.Match],
	// such as orders-*, in any account and region.
	Stream string

	// As in [Limits].
	WriteRecords, WriteBytes, ReadCalls, ReadBytes, Iterators, Subscribe, FanOutBytes float64
}

func (l *Limits) off() bool {
	return l.rates() == limits.Rates{} && l.quotas() == api.Quotas{} && len(l.Streams) == 0
}

func (l *Limits) rates() limits.Rates {
	return limits.Rates{
		WriteRecords: l.WriteRecords, WriteBytes: l.WriteBytes, ReadCalls: l.ReadCalls,
		ReadBytes: l.ReadBytes, Iterators: l.Iterators, Operations: l.Operations,
		Subscribe: l.Subscribe, FanOutBytes: l.FanOutBytes,
	}
}

func (l *Limits) overrides() []limits.Override {
	var all []limits.Override
	for _, s := range l.Streams {
		all = append(all, limits.Override{Stream: s.Stream, Rates: limits.Rates{
			WriteRecords: s.WriteRecords, WriteBytes: s.WriteBytes,
			ReadCalls: s.ReadCalls, ReadBytes: s.ReadBytes, Iterators: s.Iterators,
			Subscribe: s.Subscribe, FanOutBytes: s.FanOutBytes,
		}})
	}
	return all
}

func (l *Limits) quotas() api.Quotas {
	var q api.Quotas
	if l.Quotas {
		q = api.AWSQuotas()
	}
	for _, f := range []struct{ number, quota *int }{
		{&l.Shards, &q.Shards}, {&l.OnDemandStreams, &q.OnDemandStreams}, {&l.Creating, &q.Creating},
	} {
		if *f.number != 0 {
			*f.quota = *f.number
		}
	}
	return q
}

// check returns an error that joins one for each limit that cannot be.
func (l *Limits) check() error {
	errs := []error{l.rates().Check()}
	for _, o := range l.overrides() {
		errs = append(errs, o.Check())
	}
	for _, f := range []struct {
		name   string
		number int
	}{{"shards", l.Shards}, {"on-demand-streams", l.OnDemandStreams}, {"creating", l.Creating}} {
		if f.number < 0 {
			errs = append(errs, fmt.Errorf("%s %d is negative; write %s=0 for no number of your own", f.name, f.number, f.name))
		}
	}
	return errors.Join(errs...)
}

// limit has the operations keep the limits. Without any it changes nothing, so
// that nothing is called for them.
func (s *Server) limit(cfg *api.Config) {
	l := &s.set.Limits
	if l.off() {
		return
	}
	cfg.Quotas = l.quotas()
	overrides := l.overrides()
	limiter := limits.New(l.rates(), overrides, s.clock.Now, s.metrics.stream.throttled)
	all := append(overrides, limits.Override{Rates: l.rates()})
	some := func(limited func(limits.Override) bool) bool { return slices.ContainsFunc(all, limited) }
	if some(func(o limits.Override) bool { return o.WriteRecords != 0 || o.WriteBytes != 0 }) {
		cfg.Admit = limiter.Admit
	}
	if some(func(o limits.Override) bool { return o.ReadCalls != 0 || o.ReadBytes != 0 }) {
		cfg.AdmitRead, cfg.Given = limiter.AdmitRead, limiter.Given
	}
	if some(func(o limits.Override) bool { return o.Iterators != 0 }) {
		cfg.AdmitIterator = limiter.AdmitIterator
	}
	if some(func(o limits.Override) bool { return o.Subscribe != 0 }) {
		cfg.AdmitSubscription = limiter.Subscribe
	}
	if some(func(o limits.Override) bool { return o.FanOutBytes != 0 }) {
		cfg.Pace = limiter.Pace
	}
	if l.Operations != 0 {
		cfg.Around = append(cfg.Around, limiter.Around)
	}
}
