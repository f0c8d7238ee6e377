package consumer

import (
	"errors"
	"fmt"
	"strconv"
)

// verdict is what a processor says is to become of what it failed on.
type verdict int

const (
	verdictRetry verdict = iota
	verdictSkip
	verdictDeadLetter
	verdictStop
)

// verdictError is what Retry, Skip, DeadLetter and Stop return.
type verdictError struct {
	verdict verdict
	rec     *Record // of Skip and DeadLetter
	err     error
}

func (e *verdictError) Error() string {
	var at Checkpoint
	if e.rec != nil {
		at = e.rec.Checkpoint()
	}
	switch e.verdict {
	case verdictSkip:
		return fmt.Sprintf("skip record %v: %v", at, e.err)
	case verdictDeadLetter:
		return fmt.Sprintf("dead letter %v: %v", at, e.err)
	case verdictStop:
		return fmt.Sprintf("stop: %v", e.err)
	case verdictRetry:
	}
	return fmt.Sprintf("retry: %v", e.err)
}

func (e *verdictError) Unwrap() error { return e.err }

// Retry returns an error for ProcessRecords to return, that says: the records are
// not at fault; call again with the same batch, after a wait. It differs from err
// alone in that the failure does not count for Config.BisectAfter. It is the
// answer to a database that is down.
func Retry(err error) error { return &verdictError{verdictRetry, nil, err} }

// Skip returns an error for ProcessRecords to return, that gives one record of
// the batch up: it is acknowledged, counted and logged. The call is repeated at
// once with what of the batch is not acknowledged by then, so a processor that
// has handled records before rec acknowledges them first, see [Record.Ack]. Several
// records are given up with [errors.Join].
func Skip(rec *Record, err error) error { return &verdictError{verdictSkip, rec, err} }

// DeadLetter returns an error for ProcessRecords to return, that gives one record
// of the batch to Config.DeadLetter, and then acknowledges it. Otherwise it is
// like [Skip]. Without a Config.DeadLetter it is an error like others: the same
// batch is tried again.
func DeadLetter(rec *Record, err error) error { return &verdictError{verdictDeadLetter, rec, err} }

// Stop returns an error for ProcessRecords to return, that stops the worker: the
// batch is not acknowledged, the worker stops as if the context of Run had ended,
// and Run returns an error that wraps err.
func Stop(err error) error { return &verdictError{verdictStop, nil, err} }

// DeadLetterRecord is a record that the processor could not handle.
type DeadLetterRecord struct {
	Record *Record

	// Key is stream/shard/sequence number/sub-sequence number, and for a record
	// of a compressed block its place in the block but for the first; the stream is
	// its identity where there are several. It is the
	// same each time that the record comes, as it may after a crash between the
	// hook's return and the next checkpoint; two records have different ones.
	Key string

	// App is the application's name.
	App string

	// Err is the processor's last error. A panic is an error that has the stack
	// in its text.
	Err error

	// Failures is how many calls in a row have failed on the record.
	Failures int
}

// deadLetterKey returns the Key of a DeadLetterRecord.
func deadLetterKey(r *Record) string {
	stream := r.Shard.Stream
	if r.Shard.StreamID != (StreamID{}) {
		stream = r.Shard.StreamID.String()
	}
	key := stream + "/" + r.Shard.ID + "/" + r.SequenceNumber + "/" + strconv.FormatInt(r.SubSequenceNumber, 10)
	if r.BlockIndex > 0 {
		key += "/" + strconv.Itoa(r.BlockIndex)
	}
	return key
}

// verdicts takes an error of ProcessRecords apart. blame tells that some of it
// says nothing but that the call failed.
func verdicts(err error) (list []*verdictError, blame bool) {
	switch e := err.(type) { //nolint:errorlint // this is the walk over what is wrapped
	case *verdictError:
		return []*verdictError{e}, false
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			l, b := verdicts(one)
			list, blame = append(list, l...), blame || b
		}
		return list, blame
	}
	if inner := errors.Unwrap(err); inner != nil {
		return verdicts(inner)
	}
	return nil, true
}
