package streamd

import (
	"fmt"
	"strconv"
	"strings"

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
	Operations   float64 // multiplies AWS's rates of the operations on streams; AWS: 1

	// Quotas bounds what an account has in a region, as AWS does by default:
	// 500 open shards, 50 ON_DEMAND streams, 5 streams CREATING at once. It also
	// has UpdateShardCount refuse more than double or less than half.
	Quotas bool
}

// ParseLimits reads limits: "off", "aws", "aws:N", which is N times those of
// AWS, such as aws:0.1, or a list of rates a second of the form
//
//	write-records=100,write-bytes=65536,read-calls=5,read-bytes=131072,iterators=5,operations=1
//
// in which those left out have no limit. aws and aws:N set Quotas too.
func ParseLimits(s string) (Limits, error) {
	switch {
	case s == "" || s == "off":
		return Limits{}, nil
	case s == "aws":
		return awsLimits(1), nil
	}
	if factor, ok := strings.CutPrefix(s, "aws:"); ok {
		n, err := strconv.ParseFloat(factor, 64)
		if err != nil || !(n >= 0.001 && n <= 100) {
			return Limits{}, fmt.Errorf("limits %q: %q is not a factor from 0.001 to 100; write aws:0.1 for a tenth of what AWS allows", s, factor)
		}
		return awsLimits(n), nil
	}
	var l Limits
	for item := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(item, "=")
		field := l.field(strings.TrimSpace(name))
		if field == nil {
			return Limits{}, fmt.Errorf("limits %q: %q is none of off, aws, aws:N and rates such as write-records=100; see streamd --help", s, item)
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return Limits{}, fmt.Errorf("limits %q: %q is not a number a second; write %s=100", s, value, name)
		}
		*field = n
	}
	return l, l.rates().Check()
}

func (l *Limits) field(name string) *float64 {
	switch name {
	case "write-records":
		return &l.WriteRecords
	case "write-bytes":
		return &l.WriteBytes
	case "read-calls":
		return &l.ReadCalls
	case "read-bytes":
		return &l.ReadBytes
	case "iterators":
		return &l.Iterators
	case "operations":
		return &l.Operations
	}
	return nil
}

func awsLimits(factor float64) Limits {
	r := limits.AWS(factor)
	return Limits{
		WriteRecords: r.WriteRecords, WriteBytes: r.WriteBytes, ReadCalls: r.ReadCalls,
		ReadBytes: r.ReadBytes, Iterators: r.Iterators, Operations: r.Operations,
		Quotas: true,
	}
}

func (l Limits) rates() limits.Rates {
	return limits.Rates{
		WriteRecords: l.WriteRecords, WriteBytes: l.WriteBytes, ReadCalls: l.ReadCalls,
		ReadBytes: l.ReadBytes, Iterators: l.Iterators, Operations: l.Operations,
	}
}

// limit has the operations keep the limits. Without any it changes nothing, so
// that nothing is called for them.
func (s *Server) limit(cfg *api.Config) {
	l := s.set.Limits
	if l == (Limits{}) {
		return
	}
	if l.Quotas {
		cfg.Quotas = api.AWSQuotas()
	}
	limiter := limits.New(l.rates(), nil, s.clock.Now, nil)
	if l.WriteRecords != 0 || l.WriteBytes != 0 {
		cfg.Admit = limiter.Admit
	}
	if l.ReadCalls != 0 || l.ReadBytes != 0 {
		cfg.AdmitRead, cfg.Given = limiter.AdmitRead, limiter.Given
	}
	if l.Iterators != 0 {
		cfg.AdmitIterator = limiter.AdmitIterator
	}
	if l.Operations != 0 {
		cfg.Around = append(cfg.Around, limiter.Around)
	}
}
