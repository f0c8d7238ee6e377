package firehose

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/streamkit/streamkit/producer"
)

// Limits of PutRecordBatch.
//
// Source: Amazon Data Firehose API Reference, PutRecordBatch.
const (
	maxRecord  = 1000 << 10 // bytes of a record, before base64
	maxEntries = 500
	maxRequest = 4 << 20 // bytes of all records of a request, before base64
)

// Config holds the optional settings of a [Producer]. The zero Config is valid:
// a field left zero takes the default that its comment names. The names are those
// of package producer where the meaning is the same.
type Config struct {
	// Delimiter follows each user record that does not end in it already.
	// Default "\n"; at most 64 bytes.
	Delimiter string

	// DisableDelimiter adds nothing to user records. What reads the delivered
	// files must then find their ends by itself.
	DisableDelimiter bool

	// DisableAggregation puts every user record in a Firehose record of its own.
	// The default, false, packs many into one. See the package's comment for
	// destinations that need this.
	DisableAggregation bool

	// AggregationMaxCount is the most user records in one Firehose record.
	// Default 0: no bound but the size.
	AggregationMaxCount int

	// AggregationMaxSize is the most bytes of one Firehose record that holds
	// several user records, delimiters included; a larger user record goes
	// alone. Default 1024000; from 64 to 1024000.
	AggregationMaxSize int

	// CollectionMaxCount is the most Firehose records in one request. Default
	// 500; from 1 to 500.
	CollectionMaxCount int

	// CollectionMaxSize is the most bytes of one request. Default 4194304; from
	// 1024000 to 4194304.
	CollectionMaxSize int

	// RecordMaxBufferedTime is how long a user record waits for others to share
	// its Firehose record. Default 100ms, which is little beside the seconds that
	// Firehose itself buffers, and fills records; negative means no waiting.
	RecordMaxBufferedTime time.Duration

	// RecordTTL is the age at which a record that has not been stored fails with
	// [producer.ErrExpired]; user records that share a Firehose record do so
	// together, with the oldest. Default 30s; at least 100ms and more than
	// RecordMaxBufferedTime; negative means never.
	RecordTTL time.Duration

	// FailIfThrottled fails a record with [producer.ErrThrottled] when the
	// delivery stream is throttled, instead of retrying it.
	FailIfThrottled bool

	// MaxConnections is the most requests in flight. Default 8; from 1 to 256.
	MaxConnections int

	// RequestTimeout bounds one request. What it interrupts may have been stored
	// and is sent again, so a low value makes duplicates. Default 10s; from 100ms
	// to 10m.
	RequestTimeout time.Duration

	// MaxBufferedBytes bounds the memory of records accepted and not yet
	// finished: data, delimiters and 80 bytes for each record. Put waits, and
	// TryPut fails, while it is exhausted. Default 16777216, or all of Budget if
	// that is set; at least 2048000.
	MaxBufferedBytes int64

	// Budget is memory that this producer shares with others, also those of
	// package producer. Default nil: nothing is shared.
	Budget *producer.Budget

	// Logger receives what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

// withDefaults returns c with defaults filled in, and an error that joins one
// error for each setting out of range.
func (c Config) withDefaults() (Config, error) {
	c.Delimiter = cmp.Or(c.Delimiter, "\n")
	if c.DisableDelimiter {
		c.Delimiter = ""
	}
	c.AggregationMaxSize = cmp.Or(c.AggregationMaxSize, maxRecord)
	c.CollectionMaxCount = cmp.Or(c.CollectionMaxCount, maxEntries)
	c.CollectionMaxSize = cmp.Or(c.CollectionMaxSize, maxRequest)
	c.RecordMaxBufferedTime = max(0, cmp.Or(c.RecordMaxBufferedTime, 100*time.Millisecond))
	c.RecordTTL = cmp.Or(c.RecordTTL, 30*time.Second)
	c.MaxConnections = cmp.Or(c.MaxConnections, 8)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 10*time.Second)
	if c.Budget != nil {
		c.MaxBufferedBytes = cmp.Or(c.MaxBufferedBytes, c.Budget.Size())
	}
	c.MaxBufferedBytes = cmp.Or(c.MaxBufferedBytes, 16<<20)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}

	var errs []error
	for _, r := range []struct {
		name         string
		v, low, high int
	}{
		{"len(Delimiter)", len(c.Delimiter), 0, 64},
		{"AggregationMaxCount", c.AggregationMaxCount, 0, int(^uint(0) >> 1)},
		{"AggregationMaxSize", c.AggregationMaxSize, 64, maxRecord},
		{"CollectionMaxCount", c.CollectionMaxCount, 1, maxEntries},
		{"CollectionMaxSize", c.CollectionMaxSize, maxRecord, maxRequest},
		{"MaxConnections", c.MaxConnections, 1, 256},
	} {
		if r.v < r.low || r.v > r.high {
			errs = append(errs, fmt.Errorf("%s %d is outside [%d, %d]", r.name, r.v, r.low, r.high))
		}
	}
	if c.MaxBufferedBytes < 2*maxRecord {
		errs = append(errs, fmt.Errorf("MaxBufferedBytes %d is less than %d", c.MaxBufferedBytes, 2*maxRecord))
	}
	if c.Budget != nil && c.MaxBufferedBytes > c.Budget.Size() {
		errs = append(errs, fmt.Errorf("MaxBufferedBytes %d is greater than the Budget's %d", c.MaxBufferedBytes, c.Budget.Size()))
	}
	if d := c.RecordTTL; d >= 0 && (d < 100*time.Millisecond || d <= c.RecordMaxBufferedTime) {
		errs = append(errs, fmt.Errorf("RecordTTL %v is less than 100ms or not more than RecordMaxBufferedTime %v; a negative value means no limit", d, c.RecordMaxBufferedTime))
	}
	if d := c.RequestTimeout; d < 100*time.Millisecond || d > 10*time.Minute {
		errs = append(errs, fmt.Errorf("RequestTimeout %v is outside [100ms, 10m]", d))
	}
	if c.DisableAggregation {
		c.AggregationMaxCount = 1
	}
	if c.AggregationMaxCount == 0 {
		c.AggregationMaxCount = int(^uint(0) >> 1)
	}
	return c, errors.Join(errs...)
}
