package firehose

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/streamkit/streamkit/internal/backoff"
)

var (
	// retryBackoff spaces requests after one that failed or was throttled.
	retryBackoff = backoff.Policy{Base: 100 * time.Millisecond, Max: 5 * time.Second}
	// pauseBackoff spaces the probes of a delivery stream that refuses all.
	pauseBackoff = backoff.Policy{Base: time.Second, Max: 30 * time.Second}
)

// noSDKRetry turns the SDK's own retries off. They would exceed RecordTTL and hide
// attempts from the results.
func noSDKRetry(o *firehose.Options) { o.Retryer = aws.NopRetryer{} }

// action is what to do about a fault.
type action int

const (
	actRetry    action = iota // again, after a backoff
	actThrottle               // again, with fewer requests at once
	actPause                  // probe now and then until somebody acts
	actHalve                  // look for the one that makes the request invalid
)

// actions are those of the error codes of requests and of single records. All
// others are retried: InternalFailure, server faults, credentials that expired,
// which the SDK renews, and codes that do not exist yet.
//
// Source: Amazon Data Firehose API Reference, PutRecordBatch, and Common Errors.
var actions = map[string]action{
	// "Slow down": what is said of exceeded limits, too.
	"ServiceUnavailableException": actThrottle,
	"ServiceUnavailable":          actThrottle,
	"ThrottlingException":         actThrottle,
	"Throttling":                  actThrottle,
	"RequestLimitExceeded":        actThrottle,
	"LimitExceededException":      actThrottle,
	// Somebody must act.
	"ResourceNotFoundException":   actPause,
	"ResourceInUseException":      actPause,
	"AccessDeniedException":       actPause,
	"InvalidKMSResourceException": actPause,
	"InvalidSourceException":      actPause,
	"OptInRequired":               actPause,
	// The request is wrong, and what it holds can be the cause only.
	"InvalidArgumentException":       actHalve,
	"ValidationException":            actHalve,
	"RequestEntityTooLarge":          actHalve,
	"RequestEntityTooLargeException": actHalve,
}

// classify says what to do about a request that failed as a whole, and under which
// code it is counted.
func classify(err error) (action, string) {
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok {
		return actions[apiErr.ErrorCode()], apiErr.ErrorCode()
	}
	if respErr, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && respErr.HTTPStatusCode() == http.StatusRequestEntityTooLarge {
		return actHalve, "RequestEntityTooLarge"
	}
	// Timeout, reset, end of file, an answer that does not parse: the request may
	// have been served.
	if errors.Is(err, context.DeadlineExceeded) {
		return actRetry, "Timeout"
	}
	return actRetry, "Transport"
}

// Of flow.rate, in bytes a second.
const (
	minRate  = 32 << 10
	rateStep = 32 << 10 // added each second without throttling, or
	rateRise = 0.03     // this part of the rate, if that is more
	rateCut  = 0.7      // what is left of the rate after throttling
)

// flow says when the next request may go, and how large it may be. All times are in
// nanoseconds since the producer's start.
type flow struct {
	rate      float64 // bytes a second; 0: the delivery stream has throttled nothing yet
	next      int64   // when the rate allows the next request
	raised    int64   // when the rate was raised last
	failures  int     // in a row
	paused    bool    // the delivery stream refuses everything
	notBefore int64   // the next request
	cut       int64   // when the last failure was noted
	warned    int64   // when the last warning was logged; 0: never

	second       int64 // of the two counts, since the start
	stored, last int   // bytes stored in it, and in the one before
}

// admits reports whether a request may go beside those under way. If not, at is
// when to look again; 0 means when a request ends.
func (f *flow) admits(now int64, requests, limit int) (ok bool, at int64) {
	if requests >= limit || f.paused && requests > 0 {
		return false, 0
	}
	at = max(f.notBefore, f.next)
	return at <= now, at
}

// room returns how many bytes the next request may have: a quarter of what the
// rate allows in a second, so that little is sent in vain.
func (f *flow) room(most int) int {
	if f.rate == 0 {
		return most
	}
	return min(most, max(minRate, int(f.rate/4)))
}

// sent notes a request that begins.
func (f *flow) sent(now int64, bytes int) {
	if f.rate > 0 {
		f.next = max(f.next, now) + int64(float64(bytes)/f.rate*1e9)
	}
}

// answered notes what was stored of a request.
func (f *flow) answered(now int64, bytes int) {
	f.paused = false
	f.turn(now)
	f.stored += bytes
}

// turn makes the counts those of now.
func (f *flow) turn(now int64) {
	s := now / int64(time.Second)
	switch s - f.second {
	case 0:
		return
	case 1:
		f.last = f.stored
	default:
		f.last = 0
	}
	f.second, f.stored = s, 0
}

// succeeded notes a request of which nothing was refused.
func (f *flow) succeeded(now int64) {
	f.failures, f.notBefore = 0, 0
	if f.rate > 0 {
		// A long silence says nothing of what the stream bears.
		dt := min(time.Second, time.Duration(now-f.raised)).Seconds()
		f.rate += max(rateStep, rateRise*f.rate) * dt
	}
	f.raised = now
}

// failed notes a request that began at begin and was refused, or of which a part
// was. Of those under way together the first sets the wait, and lowers the rate.
func (f *flow) failed(act action, partly bool, begin, now int64) {
	if begin < f.cut {
		return
	}
	f.cut = now
	if partly || act == actPause && !f.paused {
		f.failures = 0
	}
	policy := retryBackoff
	switch act {
	case actPause:
		f.paused = true
		policy = pauseBackoff
	case actThrottle:
		f.turn(now)
		served := max(f.stored, f.last)
		if served == 0 {
			break // it is out of service: that says nothing of its rate
		}
		if f.rate == 0 {
			f.rate = float64(served)
		}
		f.rate = max(minRate, rateCut*f.rate)
		f.raised = now
	case actRetry, actHalve:
		if partly {
			return // only what was refused waits
		}
	}
	f.notBefore = now + int64(policy.Wait(f.failures, nil))
	f.failures++
}

// warn reports whether to log a warning: once a minute is enough.
func (f *flow) warn(now int64) bool {
	if f.warned != 0 && now-f.warned < int64(time.Minute) {
		return false
	}
	f.warned = max(1, now)
	return true
}
