package consumer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// ErrLeaseLost is the cause with which the context of a [Processor] ends when
// another worker has the lease, or may have it by now.
var ErrLeaseLost = errors.New("consumer: lease lost")

// ErrShutdown is the cause with which the context of a [Processor] ends when
// the consumer stops and Config.ShutdownTimeout is over.
var ErrShutdown = errors.New("consumer: shutting down")

// ErrHandoff is the cause with which the context of a [Processor] ends when its
// lease is to go to another worker, and Config.ShutdownTimeout is over without
// what it had begun being finished.
var ErrHandoff = errors.New("consumer: lease handed over")

// ErrFormerStream is the cause with which the context of a [Processor] ends when its
// stream is not listed any more, or does not exist, and Config.ShutdownTimeout is over
// without what it had begun being finished; see [NewMultiStream].
var ErrFormerStream = errors.New("consumer: stream not to be read any more")

// ErrRestart is the cause with which the context of a [Processor] ends after
// [Shard.Restart].
var ErrRestart = errors.New("consumer: processor to be restarted")

// restartError carries the reason of a restart.
type restartError struct{ reason error }

func (e *restartError) Error() string        { return fmt.Sprintf("%v: %v", ErrRestart, e.reason) }
func (e *restartError) Unwrap() error        { return e.reason }
func (e *restartError) Is(target error) bool { return target == ErrRestart }

// CommitRangeError reports a commit of a place where it cannot be.
type CommitRangeError struct {
	At        Checkpoint
	Low, High Checkpoint // what was acknowledged before, and what was delivered; inclusive
}

func (e *CommitRangeError) Error() string {
	return fmt.Sprintf("consumer: checkpoint %q is not between %q, which was acknowledged before, and %q, the last one delivered", e.At, e.Low, e.High)
}

// ErrRunning is returned by Run if the consumer runs, or has run, already.
var ErrRunning = errors.New("consumer: Run was called before; make a new Consumer for another run")

// panicError is a panic of the user's code, or under it.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string {
	return fmt.Sprintf("consumer: panic: %v\n%s", e.value, e.stack)
}

// guard calls f and turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}

// fault is what a failed call to Kinesis means for the reader of a shard.
type fault int

const (
	faultTransient fault = iota // try the same again, later
	faultThrottled              // too fast: slow down, then the same again
	faultExpired                // the iterator is of no use any more: get another
	faultInvalid                // an argument, perhaps the iterator, is refused
	faultNotFound               // no such stream or shard
)

func classify(err error) fault {
	if _, ok := errors.AsType[*types.ExpiredIteratorException](err); ok {
		return faultExpired
	}
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
		return faultNotFound
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch api.ErrorCode() {
		case "ProvisionedThroughputExceededException", // the shard's reads or bytes a second
			"LimitExceededException",   // the account's calls a second
			"KMSThrottlingException",   // decryption's calls a second
			"ThrottlingException",      // the service's front door
			"RequestLimitExceeded",     // the same, by its older name
			"TooManyRequestsException": // the same again
			return faultThrottled
		case "InvalidArgumentException":
			// Perhaps an iterator that the service does not know, as after
			// it was restored.
			return faultInvalid
		}
	}
	// Everything else may heal: network, service faults, credentials that are
	// being renewed, permissions that someone must grant.
	return faultTransient
}

// passing reports whether a call to the lease store that failed may succeed
// later without anybody's help: it did not get through, or the service had a
// fault of its own, or too much to do.
func passing(err error) bool {
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.HTTPStatusCode() >= http.StatusInternalServerError {
		return true
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorFault() == smithy.FaultServer || classify(err) == faultThrottled
	}
	if _, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return true
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, context.DeadlineExceeded)
}

// stopped reports whether a call failed only because its context ended.
func stopped(ctx context.Context) bool { return ctx.Err() != nil }
