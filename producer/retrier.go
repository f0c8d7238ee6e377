package producer

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/streamkit/streamkit/internal/backoff"
)

const (
	codeThroughput = "ProvisionedThroughputExceededException"
	codeNotFound   = "ResourceNotFoundException"
)

var (
	// laneBackoff spaces the attempts of a lane whose batch was not stored.
	laneBackoff = backoff.Policy{Base: 50 * time.Millisecond, Max: 2 * time.Second}
	// pauseBackoff spaces the probes of a stream that refuses everything.
	pauseBackoff = backoff.Policy{Base: time.Second, Max: 30 * time.Second}
	// listBackoff spaces the questions for the shard map.
	listBackoff = backoff.Policy{Base: 100 * time.Millisecond, Max: 2 * time.Second}
)

// errEntryCount is the fault of an answer that cannot be matched with its
// request. Anything may have been stored.
var errEntryCount = errors.New("answer has another number of records than the request")

// noSDKRetry turns the SDK's own retries off. They would reorder records,
// exceed RecordTTL and hide attempts from the results.
func noSDKRetry(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} }

// action is what to do about a fault.
type action int

const (
	// actRetry sends the same bytes again after a backoff of the lane.
	actRetry action = iota
	// actThrottle sends it again when the shard's limit allows it.
	actThrottle
	// actSlow is actRetry for a stream that is being changed: try in a second.
	actSlow
	// actPause stops the whole stream but for a probe now and then: every
	// request would fail in the same way, until somebody acts.
	actPause
	// actHalve looks for the one record that makes the request invalid.
	actHalve
	// actFail gives the records up.
	actFail
)

// requestAction decides about a request that failed as a whole.
func (p *Producer) requestAction(err error) action {
	apiErr, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		if respErr, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && respErr.HTTPStatusCode() == http.StatusRequestEntityTooLarge {
			return actHalve
		}
		// Timeout, reset, end of file, an answer that does not parse: the
		// request may have been served.
		return actRetry
	}
	switch apiErr.ErrorCode() {
	case codeThroughput:
		if p.cfg.FailIfThrottled {
			return actFail
		}
		return actThrottle
	case "ResourceInUseException":
		// The stream is being created or changed.
		return actSlow
	case codeNotFound,
		"AccessDeniedException",
		"KMSDisabledException",
		"KMSNotFoundException",
		"KMSInvalidStateException",
		"KMSAccessDeniedException",
		"KMSOptInRequired":
		return actPause
	case "ValidationException",
		"InvalidArgumentException",
		"RequestEntityTooLarge",
		"RequestEntityTooLargeException":
		return actHalve
	}
	// Throttling, KMSThrottlingException, LimitExceededException, server
	// faults; credentials that expired, which the SDK renews; unknown codes.
	return actRetry
}

// isNotFound reports whether the stream is not there.
func isNotFound(err error) bool {
	apiErr, ok := errors.AsType[smithy.APIError](err)
	return ok && apiErr.ErrorCode() == codeNotFound
}

// entryAction decides about one Kinesis record that was refused in a request
// that succeeded.
func (p *Producer) entryAction(code string) action {
	if code == codeThroughput {
		if p.cfg.FailIfThrottled {
			return actFail
		}
		return actThrottle
	}
	// InternalFailure, ServiceUnavailable, KMSThrottlingException and unknown
	// codes.
	return actRetry
}

// gate admits requests: no more than there are connections, and while the
// stream is paused one at a time, as a probe.
type gate struct {
	mu          sync.Mutex // guards all below
	inflight    int
	pauses      int   // probes in a row that failed
	pausedUntil int64 // nanoseconds since the producer's start
}

// enter takes a place. If there is none it returns when to try again; 0 means
// after the next leave.
func (g *gate) enter(now int64, limit int) (ok bool, at int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.inflight >= limit || g.pauses > 0 && g.inflight > 0:
		return false, 0
	case now < g.pausedUntil:
		return false, g.pausedUntil
	}
	g.inflight++
	return true, 0
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inflight--
}

// pause stops the stream for a while. Of several requests that fail together
// only the first counts.
func (g *gate) pause(now int64, r *rand.Rand) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now < g.pausedUntil {
		return
	}
	g.pausedUntil = now + int64(pauseBackoff.Wait(g.pauses, r))
	g.pauses++
}

// resume ends a pause.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pauses, g.pausedUntil = 0, 0
}

func (g *gate) load() (inflight int, paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inflight, g.pauses > 0
}
