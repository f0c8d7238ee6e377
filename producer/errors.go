package producer

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned by Put and Flush once Close or Abort has been
	// called, and is the cause of the failure of a record that was given up
	// by them.
	ErrClosed = errors.New("producer: closed")

	// ErrBufferFull is returned by TryPut while MaxBufferedBytes are taken.
	ErrBufferFull = errors.New("producer: buffer full")

	// ErrTooLarge is wrapped by the error of a Put whose record exceeds
	// MaxUserRecordSize, or whose batch exceeds MaxBufferedBytes.
	ErrTooLarge = errors.New("producer: too large")

	// ErrInvalidKey is wrapped by the error of a Put whose partition key or
	// explicit hash key the API does not allow.
	ErrInvalidKey = errors.New("producer: invalid key")

	// ErrExpired is the cause of the failure of a record that reached
	// RecordTTL.
	ErrExpired = errors.New("producer: record expired")

	// ErrThrottled is wrapped by the cause of a failure under
	// FailIfThrottled.
	ErrThrottled = errors.New("producer: throttled")

	// ErrPaused is wrapped by the cause of a failure under FailIfPaused, beside the
	// stream's own error.
	ErrPaused = errors.New("producer: stream refuses all requests")

	// ErrEarlierFailed is the cause of the failure of a record because an earlier
	// one of its partition key failed, under FailKeyed or StopKeyed.
	ErrEarlierFailed = errors.New("producer: earlier record of the key failed")

	// ErrNoOrder is returned by Put, and is the cause of the failure of records,
	// if the stream distributes records over its shards itself, so that Strict
	// cannot be kept. Use another Order, or change the stream's record
	// distribution strategy.
	ErrNoOrder = errors.New("producer: stream distributes records itself and keeps no order, as Config.Order demands")

	// errOrdering stays inside: the service did not know the number to put a
	// record after.
	errOrdering = errors.New("sequence number for ordering is not valid")

	// ErrSpoolFull is wrapped by the error of a Put that the spool had no room
	// for, and is the cause of the failure of a record that made room for
	// another.
	ErrSpoolFull = errors.New("producer: spool full")

	// ErrSpooled is the cause in the result of a record that was not sent when
	// the producer was closed, and waits in the spool for the next one. It
	// wraps [ErrClosed].
	ErrSpooled = fmt.Errorf("%w: record stays in the spool", ErrClosed)

	// errMap stays inside: a list of shards that is no complete map.
	errMap = errors.New("producer: shards do not cover the hash space exactly once")
)

// PutError reports a user record that the stream did not take. The record may
// still have been stored if an attempt timed out after it was sent.
type PutError struct {
	Stream   string
	ShardID  string    // shard of the last attempt; empty if none was predicted
	Attempts int       // requests that carried the record
	History  []Attempt // these, if Config.AttemptHistory is set
	Err      error     // cause
}

func (e *PutError) Error() string {
	return fmt.Sprintf("producer: put to stream %q, shard %q, after %d attempts: %v",
		e.Stream, e.ShardID, e.Attempts, e.Err)
}

// Unwrap returns the cause.
func (e *PutError) Unwrap() error { return e.Err }

// EntryError is the answer of the stream to one Kinesis record of a PutRecords
// request that it refused.
type EntryError struct {
	Code    string // as in PutRecordsResultEntry, for example InternalFailure
	Message string
}

func (e *EntryError) Error() string { return e.Code + ": " + e.Message }

// Unwrap returns [ErrThrottled] if the shard's throughput was exceeded.
func (e *EntryError) Unwrap() error {
	if e.Code == codeThroughput {
		return ErrThrottled
	}
	return nil
}

// UnsentError is returned by Close and Abort if they gave up records, or left
// some in the spool. Each of these has had its own result.
type UnsentError struct {
	Records int64 // user records given up
	Bytes   int64 // their size, as MaxBufferedBytes counts it
	Spooled int64 // user records left in the spool, which are not given up
	Err     error // why the wait ended, or nil
}

func (e *UnsentError) Error() string {
	msg := fmt.Sprintf("producer: closed with %d records (%d bytes) unsent", e.Records, e.Bytes)
	if e.Spooled > 0 {
		msg += fmt.Sprintf(", and %d left in the spool", e.Spooled)
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

// Unwrap returns Err.
func (e *UnsentError) Unwrap() error { return e.Err }
