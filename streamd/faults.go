package streamd

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/faults"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// The kinds of a [Fault].
const (
	// FaultThrottle refuses a request as coming too fast: with
	// ProvisionedThroughputExceededException what a shard or a table refuses
	// for its throughput, with LimitExceededException all others.
	FaultThrottle = faults.Throttle
	// FaultInternal answers 500 InternalFailure (of tables InternalServerError).
	// Nothing was done.
	FaultInternal = faults.Internal
	// FaultUnavailable answers 503 ServiceUnavailable. Nothing was done.
	FaultUnavailable = faults.Unavailable
	// FaultLatency delays a request by Latency, or by a time between it and
	// LatencyMax.
	FaultLatency = faults.Latency
	// FaultPartial has a Share of the records of PutRecords fail, with Shard
	// those of one shard.
	FaultPartial = faults.Partial
	// FaultReplyLost carries a request out, and cuts the connection in place of
	// the answer.
	FaultReplyLost = faults.ReplyLost
	// FaultCut cuts the connection, and does nothing.
	FaultCut = faults.Cut
	// FaultExpiredIterator has GetRecords answer ExpiredIteratorException.
	FaultExpiredIterator = faults.ExpiredIterator
	// FaultFanOutCut ends a subscription of SubscribeToShard after Events or a
	// Lifetime.
	FaultFanOutCut = faults.FanOutCut
	// FaultError answers with Code, Message and Status.
	FaultError = faults.Custom
)

// Fault is a rule by which requests fail. The rules of a server are tried in
// their order for each request that is well-formed. One that fits and whose turn
// it is fires: a latency is added to those before it, and the search goes on; any
// other kind ends it.
type Fault struct {
	ID   string // default "fault-1" and so on
	Kind string // [FaultThrottle] and so on

	// Which requests. Empty is all. In Operation, Stream and Consumer * stands
	// for any letters and ? for one.
	Service   string // "kinesis" or "dynamodb"
	Operation string // as PutRecords or Put*
	Stream    string // name of a stream or of a table
	Shard     string // id or number of the shard that a request names or, of PutRecord, goes to
	Consumer  string // name of a consumer of fan-out

	// When. All that is given must hold; the zero values are always.
	Probability float64       // (0, 1]; 0 is 1: leave the rule out for never
	Every       int           // each n-th of the requests that fit
	First       int           // only the first n that fit
	Max         int           // no more than n times
	After, For  time.Duration // only in this window, by the server's clock, from when the rule is added
	Seed        uint64        // of the rule's own generator; default made of ID

	// How, by kind.
	Latency    time.Duration // of FaultLatency: the delay, or the least
	LatencyMax time.Duration // the most, if it varies
	Share      float64       // of FaultPartial: how many of the records fail, in (0, 1]
	Code       string        // of FaultError, and of FaultPartial: there InternalFailure, or the default, ProvisionedThroughputExceededException
	Message    string        // of both
	Status     int           // of FaultError; default 400
	Events     int           // of FaultFanOutCut: how many events a subscription sends
	Lifetime   time.Duration // and how long it lives
	Reset      bool          // cuts it like a lost connection; default false ends it like its life's end
}

// FaultStatus is a rule of a server and its counts.
type FaultStatus struct {
	Fault
	Matched  int64 // requests that it fits, in its window
	Injected int64 // requests that it has had fail or wait
}

// ErrFaultsDisabled is returned where faults are asked for of a server without
// [Config.EnableFaults].
var ErrFaultsDisabled = errors.New("streamd: faults are disabled; start the server with --enable-faults (STREAMD_ENABLE_FAULTS=true)")

// ParseFaults reads rules in JSON: a list of objects, or one object. The members
// are the fields of [Fault] in lower case, without LatencyMax: latency may be
// "50ms..200ms". Times are written like "30s". The error joins one for each
// thing that is wrong.
func ParseFaults(b []byte) ([]Fault, error) {
	rules, err := faults.Parse(b)
	if err != nil {
		return nil, err
	}
	list := make([]Fault, len(rules))
	for i, r := range rules {
		list[i] = Fault(r)
	}
	return list, nil
}

// AddFault puts a rule behind those that are there and returns its id. Errors
// say what to write instead, or are [ErrFaultsDisabled].
func (s *Server) AddFault(f Fault) (id string, err error) {
	if s.faults == nil {
		return "", ErrFaultsDisabled
	}
	ids, err := s.faults.Add(faults.Rule(f))
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// RemoveFault takes a rule away, and reports whether it was there. Requests
// that it has begun to delay are not hurried.
func (s *Server) RemoveFault(id string) bool {
	return s.faults != nil && s.faults.Remove(id)
}

// Faults returns the rules in their order. It is empty if faults are disabled.
func (s *Server) Faults() []FaultStatus {
	if s.faults == nil {
		return nil
	}
	list := s.faults.List()
	out := make([]FaultStatus, len(list))
	for i, st := range list {
		out[i] = FaultStatus{Fault: Fault(st.Rule), Matched: st.Matched, Injected: st.Injected}
	}
	return out
}

// checkFaults is the part of [Config.check] about faults.
func (c Config) checkFaults() error {
	switch {
	case len(c.Faults) == 0:
		return nil
	case !c.EnableFaults:
		return errors.New("there are fault rules (--faults), but faults are disabled; say --enable-faults (STREAMD_ENABLE_FAULTS=true) as well, or remove the rules")
	}
	_, err := newFaults(c.Faults, time.Now)
	return err
}

func newFaults(list []Fault, now func() time.Time) (*faults.Set, error) {
	rules := make([]faults.Rule, len(list))
	for i, f := range list {
		rules[i] = faults.Rule(f)
	}
	set := faults.New(now)
	_, err := set.Add(rules...)
	return set, err
}

// openFaults makes the rules of the configuration, if faults are enabled.
func (s *Server) openFaults() (err error) {
	if !s.set.EnableFaults {
		return nil
	}
	if s.faults, err = newFaults(s.set.Faults, s.clock.Now); err != nil {
		return err
	}
	s.metrics.registry.MustRegister(faultCollector{s.faults})
	s.log.Warn("faults are enabled: requests may fail by rule")
	return nil
}

// inject has the operations fail by the rules, before any limit counts them.
// Without faults it changes nothing, so that nothing is called for them.
func (s *Server) inject(ops *api.Config) {
	if s.faults == nil {
		return
	}
	ops.Around = append([]api.Around{s.faults.Around}, ops.Around...)
	ops.CutSubscription = func(ctx context.Context) (cut api.SubscriptionCut) {
		if f, ok := faults.FanOutOf(ctx); ok {
			cut.Events, cut.Lifetime = f.Events, f.Lifetime
			if f.Reset {
				cut.Err = awsproto.ErrCut
			}
		}
		return cut
	}
	limit := ops.Admit
	ops.Admit = func(ctx context.Context, stream *state.Stream, records []api.Incoming) int {
		refused := s.faults.Admit(ctx, stream, records)
		if limit != nil {
			refused += limit(ctx, stream, records) // of the others
		}
		return refused
	}
}

// injectTables is like inject for DynamoDB's operations.
func (s *Server) injectTables(cfg *awsproto.Config) {
	if s.faults != nil {
		cfg.Table = s.faults.Table(cfg.Table)
	}
}

// faultCollector gives the counts of the rules that are there.
type faultCollector struct{ set *faults.Set }

var faultsInjected = prometheus.NewDesc("streamd_faults_injected_total",
	"Requests that a fault rule has had fail or wait. A rule that is removed takes its count with it.",
	[]string{"rule", "kind"}, nil)

// Describe implements [prometheus.Collector].
func (c faultCollector) Describe(ch chan<- *prometheus.Desc) { ch <- faultsInjected }

// Collect implements [prometheus.Collector].
func (c faultCollector) Collect(ch chan<- prometheus.Metric) {
	for _, st := range c.set.List() {
		ch <- prometheus.MustNewConstMetric(faultsInjected, prometheus.CounterValue, float64(st.Injected), st.ID, st.Kind)
	}
}
