package producer

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/smithy-go"
)

// Stats is a snapshot of a producer's counters since its start and of its
// present state. The numbers are read one after another while work goes on, so
// sums may be off by what happened in between.
type Stats struct {
	// User records.
	UserRecordsReceived uint64 // accepted by Put
	UserRecordsPut      uint64 // stored
	UserRecordsFailed   uint64 // given up; UserRecordsExpired are among them
	UserRecordsExpired  uint64 // reached RecordTTL
	UserRecordsPending  int64  // neither stored nor given up
	BufferedBytes       int64  // what these take of MaxBufferedBytes
	PutsBlocked         int64  // Puts that wait for memory, or for the disk, now
	PutWaits            uint64 // Puts that have waited so, or do

	// Kinesis records: aggregated records, and user records sent alone.
	KinesisRecordsPut     uint64 // stored
	KinesisRecordsDataPut uint64 // their bytes
	Retries               uint64 // sent and not stored, to be sent again

	// The spool. All are zero without one.
	Spooling      bool   // records go to the disk now
	SpoolRecords  int64  // on disk and not finished, those of earlier processes included
	SpoolBytes    int64  // of its files
	SpoolAppended uint64 // records put on disk
	SpoolReplayed uint64 // records of earlier processes that were read back
	SpoolDropped  uint64 // records that there was no room for, old and new
	SpoolLost     uint64 // records of this process that could not be read back
	SpoolMissing  uint64 // records of earlier processes that their files have lost, as far as that is known
	SpoolTorn     uint64 // ends of files that a crash has cut short
	SpoolDamaged  uint64 // files that could not be read to their end
	SpoolFailures uint64 // writes to the disk that failed

	// Requests.
	Requests         uint64
	RequestTime      time.Duration     // total
	RequestsInFlight int               // now
	ErrorsByCode     map[string]uint64 // of requests and of single Kinesis records
	Paused           bool              // the stream refuses all requests; one probes it
	PausedBy         string            // the code with which it does, among those of ErrorsByCode

	// Shards.
	Shards              int    // in the shard map; 0 until the first one is known
	Auto                bool   // the stream distributes records over its shards itself
	ShardsLimited       int    // that get less than there is, because they refused records, or by Config.RateLimit
	MapRefreshes        uint64 // shard lists received
	MapFailures         uint64 // shard lists that failed or did not cover the hash space
	WrongShard          uint64 // sets of Kinesis records stored elsewhere than predicted
	ReshardResent       uint64 // user records sent again for that reason
	UnexplainedShards   uint64 // aggregated records stored elsewhere although the map was right
	SequenceRegressions uint64 // acknowledgements out of order in one shard; 0 means order was kept
	CallbackPanics      uint64 // callbacks that panicked
}

// counters is what Stats is read from.
type counters struct {
	recordsPut, recordsFailed, expired               atomic.Uint64
	kinesisRecordsPut, kinesisBytesPut, retries      atomic.Uint64
	requests, requestNanos                           atomic.Uint64
	mapRefreshes, mapFailures, wrongShard, resent    atomic.Uint64
	unexplained, regressions, panics, receivedBefore atomic.Uint64
	unsentRecords, unsentBytes                       atomic.Int64

	mu    sync.Mutex // guards codes
	codes map[string]uint64
}

func (c *counters) countCode(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codes == nil {
		c.codes = make(map[string]uint64)
	}
	c.codes[code]++
}

// block counts a Put that begins to wait, unblock one that ends it. Nobody looks at the
// clock: where callers fill the memory, they would do it all the time.
func (p *Producer) block() {
	p.blocked.Add(1)
	p.waits.Add(1)
}

func (p *Producer) unblock() { p.blocked.Add(-1) }

func (c *counters) countError(err error) { c.countCode(errorCode(err)) }

// errorCode names what a request failed with.
func errorCode(err error) string {
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok {
		return apiErr.ErrorCode()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "Timeout"
	}
	return "Transport"
}

// Stats returns a snapshot.
func (p *Producer) Stats() Stats {
	c := &p.stats
	s := Stats{
		UserRecordsPut:        c.recordsPut.Load(),
		UserRecordsFailed:     c.recordsFailed.Load(),
		UserRecordsExpired:    c.expired.Load(),
		BufferedBytes:         p.budget.used.Load(),
		PutsBlocked:           p.blocked.Load(),
		PutWaits:              p.waits.Load(),
		KinesisRecordsPut:     c.kinesisRecordsPut.Load(),
		KinesisRecordsDataPut: c.kinesisBytesPut.Load(),
		Retries:               c.retries.Load(),
		Requests:              c.requests.Load(),
		RequestTime:           time.Duration(c.requestNanos.Load()),
		MapRefreshes:          c.mapRefreshes.Load(),
		MapFailures:           c.mapFailures.Load(),
		WrongShard:            c.wrongShard.Load(),
		ReshardResent:         c.resent.Load(),
		UnexplainedShards:     c.unexplained.Load(),
		SequenceRegressions:   c.regressions.Load(),
		CallbackPanics:        c.panics.Load(),
	}
	s.RequestsInFlight, s.Paused, s.PausedBy = p.gate.state()
	c.mu.Lock()
	s.ErrorsByCode = maps.Clone(c.codes)
	c.mu.Unlock()
	s.UserRecordsReceived = c.receivedBefore.Load()
	if p.spool != nil {
		p.spool.stats(&s)
	}
	for _, l := range p.shards.Load().lanes {
		l.mu.Lock()
		s.UserRecordsReceived += l.received
		s.UserRecordsPending += l.records
		l.mu.Unlock()
		if l.shardID != "" {
			s.Shards++
			if l.limit.limited() > 0 {
				s.ShardsLimited++
			}
		}
		if l.auto && s.Shards == 0 {
			s.Auto = true
			s.Shards = int(p.autoShards.Load())
			if l.limit.limited() > 0 {
				s.ShardsLimited = s.Shards
			}
		}
	}
	return s
}

// troubles logs a fault that repeats once, and then its end with a count. One that
// becomes worse, so that somebody must act, is logged once more.
type troubles struct {
	what string

	active atomic.Bool // so that the ordinary case needs no lock
	mu     sync.Mutex  // guards all below
	count  int
	last   error // nil if the last request succeeded
	// refused: one of them was refused as all will be, until somebody acts.
	refused bool
}

func (t *troubles) begin(p *Producer, err error) {
	refuses := p.requestAction(err) == actPause
	t.mu.Lock()
	t.count++
	t.last = err
	first, worse := t.count == 1, refuses && !t.refused
	t.refused = t.refused || refuses
	t.active.Store(true)
	t.mu.Unlock()
	if !first && !worse {
		return
	}
	attrs := []any{slog.String("request", t.what), slog.String("stream", p.stream), slog.Any("err", err)}
	if refuses {
		p.log.Error("stream refuses all requests; records are kept until they expire, and it is probed now and then; check that the stream and its key exist, and the permissions kinesis:PutRecords and kinesis:ListShards", attrs...)
		p.onStreamError(StreamErrorInfo{Stream: p.stream, Operation: t.what, Err: err})
		return
	}
	p.log.Warn("requests fail and are retried", attrs...)
}

// cause returns the error of the last request, if it failed.
func (t *troubles) cause() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

func (t *troubles) end(p *Producer) {
	if !t.active.Load() {
		return
	}
	t.mu.Lock()
	count, refused := t.count, t.refused
	t.count, t.last, t.refused = 0, nil, false
	t.active.Store(false)
	t.mu.Unlock()
	if count > 0 {
		p.log.Info("requests succeed again", slog.String("request", t.what), slog.String("stream", p.stream), slog.Int("failed", count))
	}
	if refused {
		p.onStreamError(StreamErrorInfo{Stream: p.stream, Operation: t.what, Failed: count})
	}
}
