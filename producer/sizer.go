package producer

const (
	// A PUT payload unit is what AWS charges for: each begun 25 KB of a Kinesis
	// record. Aggregated records end a little below a multiple, because it is
	// documented nowhere whether the partition key counts.
	//
	// Source: Amazon Kinesis Data Streams pricing.
	payloadUnit  = 25_600
	payloadSlack = 256

	firstUnits = 2  // of a lane's first aggregated record: the KPL's 51200 bytes
	mostUnits  = 40 // 1,024,000 bytes
)

// sizer says how large aggregated records get: as small as arrivals allow on a
// lane that keeps up, twice as large as the ones before on a lane that does not.
type sizer struct {
	fixed bool
	max   int
}

// newSizer returns the sizer of a checked configuration.
func newSizer(cfg *Config) sizer {
	// The stream's limit counts the outer partition key, too.
	most := cfg.MaxUserRecordSize - len(outerKey)
	if cfg.AggregationMaxSize > 0 {
		return sizer{fixed: true, max: min(cfg.AggregationMaxSize, most)}
	}
	// Several lanes must have room for one in flight and one that fills.
	most = min(most, max(firstUnits*payloadUnit, int(cfg.MaxBufferedBytes/32)), mostUnits*payloadUnit-payloadSlack)
	return sizer{fixed: cfg.DisableAggregation, max: most}
}

// bytes returns the most bytes of an aggregated record of so many units.
func (s *sizer) bytes(units int) int {
	if s.fixed {
		return s.max
	}
	return min(units*payloadUnit-payloadSlack, s.max)
}

// growLocked lets the lane's aggregated records become larger, because some
// wait already. A lane has one in flight, so its size is its throughput.
func (l *lane) growLocked(s *sizer) {
	if s.fixed || l.units == mostUnits {
		return
	}
	l.units = min(2*l.units, mostUnits)
	l.fitTargetLocked(s)
}

// shrinkLocked lets them become smaller, because one left that took no more
// than half of its size and nothing waits behind it.
func (l *lane) shrinkLocked(s *sizer, size int) {
	if l.units > firstUnits && size <= s.bytes(l.units)/2 {
		l.units = max(l.units/2, firstUnits)
	}
	l.fitTargetLocked(s)
}

// fitTargetLocked keeps the size to what the shard's limit allows.
func (l *lane) fitTargetLocked(s *sizer) {
	l.target = s.bytes(l.units)
	if chunk := l.limit.chunk(); chunk > 0 {
		l.target = min(l.target, max(chunk-len(outerKey), minChunk))
	}
	l.fill = fillOf(l.target, l.ratio)
}
