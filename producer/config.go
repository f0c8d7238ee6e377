package producer

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"
)

// Config holds the optional settings of a [Producer]. The zero Config is
// valid: a field left zero takes the default that its comment names. Where a
// setting has the name of one of the Kinesis Producer Library (KPL), it means
// the same.
type Config struct {
	// DisableAggregation puts every user record in a Kinesis record of its
	// own. The default, false, packs many into one aggregated record. (The KPL
	// calls the opposite AggregationEnabled.)
	DisableAggregation bool

	// AggregateOnAuto aggregates records also if the stream distributes them over
	// its shards itself (record distribution strategy AUTO). The KCL discards
	// aggregated records there; set it if all consumers take what they get: those
	// of this module, Firehose, Lambda functions.
	AggregateOnAuto bool

	// Order says in which order records are stored: [PerKey], the default,
	// [Unordered] or [Strict].
	Order Order

	// OnFailure says what becomes of later records of the key of one that
	// failed: [FailKeyed], the default, [SkipOne] or [StopKeyed].
	OnFailure FailurePolicy

	// AckInRange counts user records of an aggregated record that was stored on
	// another shard than predicted as stored, if they belong to that shard, and
	// sends only the others again. Consumers that discard whole aggregated
	// records, as the KCL does, lose the former. The default, false, sends all of
	// them again.
	AckInRange bool

	// ReorderGuard is how long a shard gets nothing after a request that may have
	// been served though it failed, so that what arrives late is not stored after
	// what follows. Default 0: no longer than before other retries; up to 10m.
	ReorderGuard time.Duration

	// AggregationMaxCount is the most user records in one aggregated record.
	// Default 4294967295, or what an int holds; from 1.
	AggregationMaxCount int

	// AggregationMaxSize is the most bytes of one aggregated record. A user
	// record that does not fit is sent alone. Default 0: 51200, which is two PUT
	// payload units, and up to 1024000, or a 32nd of MaxBufferedBytes, for a
	// shard whose records would wait otherwise (KPL: always 51200); from 64 to
	// 10485760, and no more than MaxUserRecordSize.
	AggregationMaxSize int

	// DuplicateStamps numbers the user records, in fields of the aggregated
	// record that other readers skip, so that a consumer that knows them can
	// drop the copies that timeouts and reshards make. It costs about 20 bytes
	// for each aggregated record. A single user record is then sent as an
	// aggregated record, too, so data and partition key may have 256 bytes
	// less than MaxUserRecordSize. A record that has failed may still be stored
	// and read. Default false; not with DisableAggregation or Unordered, and
	// without effect on a stream that distributes records itself.
	DuplicateStamps bool

	// Compression compresses the user records of an aggregated record together,
	// as one user record, if that makes it smaller. All sizes here but
	// MaxUserRecordSize and MaxBufferedBytes are then those of what is stored.
	// Only readers that know such blocks can read the records, as package
	// consumer does; others, the KCL among them, see one opaque user record.
	// Default CompressionNone; not with DisableAggregation, and without effect
	// where aggregation is.
	Compression Compression

	// CollectionMaxCount is the most Kinesis records that one PutRecords
	// request carries. Default 500; from 1 to 500.
	CollectionMaxCount int

	// CollectionMaxSize is the most bytes, partition keys included, that one
	// PutRecords request carries; a single larger record still goes, alone.
	// Default 5242880; from 52224 to 10485760.
	CollectionMaxSize int

	// RecordMaxBufferedTime is how long a user record waits for others to
	// share its Kinesis record or its request. Default 10ms (KPL: 100ms); negative means no
	// waiting.
	RecordMaxBufferedTime time.Duration

	// RecordTTL is the age at which a record that has not been stored fails
	// with [ErrExpired]. It is checked before each attempt and once a second.
	// Default 30s, or never with a Spool, which is for streams that are away
	// longer; at least 100ms; negative means never. The time on disk counts, that
	// of earlier processes too.
	RecordTTL time.Duration

	// FailIfThrottled fails a record with [ErrThrottled] when its shard is
	// throttled, instead of retrying it. Then refusals do not slow the producer
	// down.
	FailIfThrottled bool

	// FailIfPaused fails records with [ErrPaused], within a second, while the stream
	// refuses all requests for a reason that does not pass by itself: it is not there,
	// permission is missing, or its key is disabled. Some of the records put then are
	// still sent, to notice when that is over. Default false: records wait until
	// RecordTTL. Not with a Spool, which keeps them.
	FailIfPaused bool

	// RateLimit is the most that goes to one shard, in percent of the 1000
	// records and 1 MiB a second that a shard takes. Below it, the producer
	// adapts: it sends less when the shard refuses records, and slowly more
	// afterwards. Default 0: no limit until a shard refuses records, and 100
	// from then on, until it has refused none for a minute (KPL: 150, and no
	// adaption); at least 1.
	RateLimit int

	// MaxUserRecordSize is the most bytes of data and partition key together
	// of one user record. It must not exceed the stream's own limit, which is
	// 1 MiB unless the stream was set otherwise. Default 1048576; from 64 to
	// 10485760.
	MaxUserRecordSize int

	// MaxConnections is the most requests in flight. Default 24; from 1 to
	// 256.
	MaxConnections int

	// RequestTimeout bounds one request. What it interrupts may have been
	// stored and is sent again, so a low value makes duplicates. Default 6s;
	// from 100ms to 10m.
	RequestTimeout time.Duration

	// Encoding is how records are written into requests: EncodingJSON, the
	// default, EncodingAuto or EncodingCBOR. It is of effect with the SDK's own
	// *kinesis.Client, unless that was given a Protocol.
	Encoding Encoding

	// MaxBufferedBytes bounds the memory of records accepted and not yet
	// finished: partition keys, data and 80 bytes for each record, or 960 with
	// DisableAggregation. Put waits, and TryPut fails, while it is exhausted. A
	// eighth of it may be in flight. Default 16777216 (KPL: no bound); at least
	// twice MaxUserRecordSize.
	MaxBufferedBytes int64

	// Budget is memory that this producer shares with others. Each record
	// needs room in it, too, and MaxBufferedBytes bounds this producer's part:
	// its default then is the whole budget, and less keeps a stream that hangs
	// from taking all. Default nil: nothing is shared.
	Budget *Budget

	// ShardRefreshInterval is the time between two looks at the stream's
	// shards when nothing hints at a reshard; each is varied by a tenth.
	// Default 5m; at least 1s; negative means to look on evidence only.
	ShardRefreshInterval time.Duration

	// Encoder, if not nil, makes of each user record's data what is stored, before
	// records are packed: it compresses, encrypts, or adds the header of a schema
	// registry. MaxUserRecordSize bounds what it makes. Put returns its error.
	Encoder Encoder

	// AttemptHistory keeps start, duration and outcome of each request that
	// carried a record, for Result.History and PutError.History. It costs some
	// allocations for each request.
	AttemptHistory bool

	// Hooks are told what happens inside the producer, in their order.
	Hooks []Hook

	// Spool is a directory for records that the stream does not take, beyond
	// what memory holds and beyond the end of the process. The zero value means
	// none.
	Spool SpoolConfig

	// Logger receives what an operator should know; nil means slog.Default().
	Logger *slog.Logger

	// source is where chance comes from; nil means the global source. Tests
	// that repeat a history set it.
	source rand.Source

	// gathers, for tests, has aggregated records of any size wait for those of
	// other lanes.
	gathers bool
}

// globalSource is the random source of the process as a rand.Source.
type globalSource struct{}

func (globalSource) Uint64() uint64 { return rand.Uint64() }

// withDefaults returns c with defaults filled in, and an error that joins one
// error for each setting out of range.
func (c Config) withDefaults() (Config, error) {
	c.AggregationMaxCount = cmp.Or(c.AggregationMaxCount, min(math.MaxUint32, math.MaxInt))
	c.CollectionMaxCount = cmp.Or(c.CollectionMaxCount, 500)
	c.CollectionMaxSize = cmp.Or(c.CollectionMaxSize, 5<<20)
	c.RecordMaxBufferedTime = cmp.Or(c.RecordMaxBufferedTime, 10*time.Millisecond)
	if c.Spool.enabled() {
		c.RecordTTL = cmp.Or(c.RecordTTL, -1)
	}
	c.RecordTTL = cmp.Or(c.RecordTTL, 30*time.Second)
	c.MaxUserRecordSize = cmp.Or(c.MaxUserRecordSize, 1<<20)
	c.MaxConnections = cmp.Or(c.MaxConnections, 24)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 6*time.Second)
	if c.Budget != nil {
		c.MaxBufferedBytes = cmp.Or(c.MaxBufferedBytes, c.Budget.Size())
	}
	c.MaxBufferedBytes = cmp.Or(c.MaxBufferedBytes, max(16<<20, 2*int64(c.MaxUserRecordSize)))
	c.ShardRefreshInterval = cmp.Or(c.ShardRefreshInterval, 5*time.Minute)
	if c.source == nil {
		c.source = globalSource{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.RecordMaxBufferedTime < 0 {
		c.RecordMaxBufferedTime = 0
	}

	var errs []error
	within := func(name string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s %d is outside [%d, %d]", name, v, low, high))
		}
	}
	if c.AggregationMaxCount < 1 {
		errs = append(errs, fmt.Errorf("AggregationMaxCount %d is less than 1", c.AggregationMaxCount))
	}
	if c.AggregationMaxSize != 0 {
		within("AggregationMaxSize", c.AggregationMaxSize, 64, 10<<20)
	}
	within("CollectionMaxCount", c.CollectionMaxCount, 1, 500)
	within("CollectionMaxSize", c.CollectionMaxSize, 52224, 10<<20)
	within("MaxUserRecordSize", c.MaxUserRecordSize, 64, 10<<20)
	within("MaxConnections", c.MaxConnections, 1, 256)
	if e := c.Encoding; e < EncodingJSON || e > EncodingCBOR {
		errs = append(errs, fmt.Errorf("Encoding %d is none of EncodingJSON, EncodingAuto, EncodingCBOR", int(e)))
	}
	if c.Order < PerKey || c.Order > Strict {
		errs = append(errs, fmt.Errorf("Order %d is none of PerKey, Unordered, Strict", int(c.Order)))
	}
	if c.OnFailure < FailKeyed || c.OnFailure > StopKeyed {
		errs = append(errs, fmt.Errorf("OnFailure %d is none of FailKeyed, SkipOne, StopKeyed", int(c.OnFailure)))
	}
	if d := c.ReorderGuard; d < 0 || d > 10*time.Minute {
		errs = append(errs, fmt.Errorf("ReorderGuard %v is outside [0, 10m]", d))
	}
	if c.RateLimit < 0 {
		errs = append(errs, fmt.Errorf("RateLimit %d is less than 1; zero means to adapt to the shard", c.RateLimit))
	}
	if c.AggregationMaxSize > c.MaxUserRecordSize {
		errs = append(errs, fmt.Errorf("AggregationMaxSize %d is greater than MaxUserRecordSize %d", c.AggregationMaxSize, c.MaxUserRecordSize))
	}
	if c.DuplicateStamps && c.DisableAggregation {
		errs = append(errs, errors.New("DuplicateStamps needs aggregated records: unset it, or DisableAggregation"))
	}
	if c.Compression != CompressionNone && c.DisableAggregation {
		errs = append(errs, errors.New("Compression needs aggregated records: unset it, or DisableAggregation"))
	}
	if c.DuplicateStamps && c.Order == Unordered {
		errs = append(errs, errors.New("DuplicateStamps needs an order: unset it, or choose another Order than Unordered"))
	}
	if c.DuplicateStamps && c.MaxUserRecordSize < 2*stampRoom {
		errs = append(errs, fmt.Errorf("MaxUserRecordSize %d is less than %d, which DuplicateStamps needs", c.MaxUserRecordSize, 2*stampRoom))
	}
	if c.MaxBufferedBytes < 2*int64(c.MaxUserRecordSize) {
		errs = append(errs, fmt.Errorf("MaxBufferedBytes %d is less than twice MaxUserRecordSize %d", c.MaxBufferedBytes, c.MaxUserRecordSize))
	}
	if c.FailIfPaused && c.Spool.enabled() {
		errs = append(errs, errors.New("FailIfPaused fails what a Spool would keep: unset one of them"))
	}
	if c.Spool.enabled() {
		c.Spool.MaxBytes = cmp.Or(c.Spool.MaxBytes, 1<<30)
		errs = append(errs, c.Spool.check(c.MaxUserRecordSize))
	}
	if c.Budget != nil && c.MaxBufferedBytes > c.Budget.Size() {
		errs = append(errs, fmt.Errorf("MaxBufferedBytes %d is greater than the Budget's %d", c.MaxBufferedBytes, c.Budget.Size()))
	}
	if d := c.RecordTTL; d >= 0 && d < 100*time.Millisecond {
		errs = append(errs, fmt.Errorf("RecordTTL %v is less than 100ms; a negative value means no limit", d))
	}
	if d := c.RequestTimeout; d < 100*time.Millisecond || d > 10*time.Minute {
		errs = append(errs, fmt.Errorf("RequestTimeout %v is outside [100ms, 10m]", d))
	}
	if d := c.ShardRefreshInterval; d >= 0 && d < time.Second {
		errs = append(errs, fmt.Errorf("ShardRefreshInterval %v is less than 1s; a negative value means on evidence only", d))
	}
	return c, errors.Join(errs...)
}
