package producer

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
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

	codeInvalidArgument = "InvalidArgumentException"
)

var (
	// laneBackoff spaces the attempts of a lane whose batch was not stored.
	laneBackoff = backoff.Policy{Base: 50 * time.Millisecond, Max: 2 * time.Second}
	// These space the probes of a stream that refuses everything.
	pauseBackoff = backoff.Policy{Base: time.Second, Max: 30 * time.Second}
	slowBackoff  = backoff.Policy{Base: time.Second, Max: 4 * time.Second}
	renewBackoff = backoff.Policy{Base: 50 * time.Millisecond, Max: 5 * time.Second}
	// listBackoff spaces the questions for the shard map.
	listBackoff = backoff.Policy{Base: 100 * time.Millisecond, Max: 2 * time.Second}
)

// errEntryCount is the fault of an answer that cannot be matched with its
// request. Anything may have been stored.
var errEntryCount = errors.New("answer has another number of records than the request")

// errNoNumber is the fault of an entry of an answer that has neither an error nor a
// sequence number. It may have been stored.
var errNoNumber = errors.New("answer has neither an error nor a sequence number for a record")

// noSDKRetry turns the SDK's own retries off. They would reorder records,
// exceed RecordTTL and hide attempts from the results.
func noSDKRetry(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} }

// action is what to do about a fault.
type action int

const (
	// actRetry sends the same bytes again after a backoff of the lane.
	actRetry action = iota
	// actRenew is actPause until there are new credentials, which may be at once.
	actRenew
	// actThrottle sends it again when the shard's limit allows it.
	actThrottle
	// actSlow is actPause for a stream that is being created or changed, which
	// takes seconds.
	actSlow
	// actPause stops the whole stream but for a probe now and then: every
	// request would fail in the same way, until somebody acts.
	actPause
	// actHalve looks for the one record that makes the request invalid.
	actHalve
	// actFail gives the records up.
	actFail
)

// fault is what a code means.
type fault struct {
	action action
	// unclear: what was refused may have been stored all the same.
	unclear bool
}

// faults are the codes of requests and of single records. All others are
// retried, as something that may have been stored.
//
// Source: Amazon Kinesis API Reference, PutRecords and Common Errors; the codes
// of credentials also AWS General Reference, Signature Version 4.
var faults = map[string]fault{
	// The rate of a shard.
	codeThroughput: {action: actThrottle},

	// The rate of something else.
	"ThrottlingException":    {action: actRetry},
	"Throttling":             {action: actRetry},
	"RequestLimitExceeded":   {action: actRetry},
	"LimitExceededException": {action: actRetry},
	"KMSThrottlingException": {action: actRetry},

	// The service's own.
	"InternalFailure":          {action: actRetry, unclear: true},
	"InternalFailureException": {action: actRetry, unclear: true},
	"InternalServerError":      {action: actRetry, unclear: true},
	"ServiceUnavailable":       {action: actRetry, unclear: true},

	// Credentials that have run out, and clocks that differ: others come, and
	// the SDK learns the difference from the answer.
	"ExpiredToken":                {action: actRenew},
	"ExpiredTokenException":       {action: actRenew},
	"RequestExpired":              {action: actRenew},
	"RequestTimeTooSkewed":        {action: actRenew},
	"RequestInTheFuture":          {action: actRenew},
	"UnrecognizedClientException": {action: actRenew},
	"InvalidClientTokenId":        {action: actRenew},
	"InvalidSignatureException":   {action: actRenew},
	"SignatureDoesNotMatch":       {action: actRenew},
	"AuthFailure":                 {action: actRenew},

	// The stream is being created or changed.
	"ResourceInUseException": {action: actSlow},

	// Somebody must act.
	codeNotFound:               {action: actPause},
	"AccessDeniedException":    {action: actPause},
	"AccessDenied":             {action: actPause},
	"KMSDisabledException":     {action: actPause},
	"KMSNotFoundException":     {action: actPause},
	"KMSInvalidStateException": {action: actPause},
	"KMSAccessDeniedException": {action: actPause},
	"KMSOptInRequired":         {action: actPause},
	"OptInRequired":            {action: actPause},

	// The server cannot read any request, say in the encoding that was chosen.
	"SerializationException":        {action: actPause},
	"UnknownOperationException":     {action: actPause},
	"UnsupportedMediaTypeException": {action: actPause},

	// One of the records.
	"ValidationException":            {action: actHalve},
	codeInvalidArgument:              {action: actHalve},
	"RequestEntityTooLarge":          {action: actHalve},
	"RequestEntityTooLargeException": {action: actHalve},
}

// codeFault returns what a code means to this producer.
func (p *Producer) codeFault(code string) fault {
	f, ok := faults[code]
	switch {
	case !ok:
		return fault{action: actRetry, unclear: true}
	case f.action == actThrottle && p.cfg.FailIfThrottled:
		f.action = actFail
	}
	return f
}

// requestFault decides about a request that failed as a whole.
func (p *Producer) requestFault(err error) fault {
	if errors.Is(err, errOrdering) {
		return fault{action: actRetry}
	}
	apiErr, ok := errors.AsType[smithy.APIError](err)
	if ok {
		return p.codeFault(apiErr.ErrorCode())
	}
	if respErr, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && respErr.HTTPStatusCode() == http.StatusRequestEntityTooLarge {
		return fault{action: actHalve}
	}
	// Timeout, reset, end of file, an answer that does not parse: the request may
	// have been served.
	return fault{action: actRetry, unclear: true}
}

// requestAction is what to do about a request that failed as a whole.
func (p *Producer) requestAction(err error) action { return p.requestFault(err).action }

// renew makes the client ask for credentials again. The cache of the SDK keeps
// those that the service has refused until they were to end.
func (p *Producer) renew() {
	client, ok := p.api.(interface{ Options() kinesis.Options })
	if !ok {
		return
	}
	if c, ok := client.Options().Credentials.(interface{ Invalidate() }); ok {
		c.Invalidate()
	}
}

// isNotFound reports whether the stream is not there.
func isNotFound(err error) bool {
	apiErr, ok := errors.AsType[smithy.APIError](err)
	return ok && apiErr.ErrorCode() == codeNotFound
}

// inflightPart is the part of MaxBufferedBytes that may be in flight: the bytes
// of an aggregated record in flight, and of its request, are there twice.
const inflightPart = 8

// gate admits requests: no more than there are connections and memory, and while
// the stream is paused one at a time, as a probe.
type gate struct {
	maxConnections int
	maxBytes       int64

	mu          sync.Mutex // guards all below
	inflight    int
	bytes       int64 // in flight
	pauses      int   // probes in a row that failed
	pausedUntil int64 // nanoseconds since the producer's start
	cause       string

	halted atomic.Bool // pauses > 0, to be read without the lock
}

// enter takes a place. If there is none it returns when to try again; 0 means
// after the next leave.
func (g *gate) enter(now int64) (ok bool, at int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.inflight > 0 && (g.inflight >= g.maxConnections || g.pauses > 0 || g.bytes >= g.maxBytes):
		return false, 0
	case now < g.pausedUntil:
		return false, g.pausedUntil
	}
	g.inflight++
	return true, 0
}

// shut reports whether the stream is paused and no probe is due yet.
func (g *gate) shut(now int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pauses > 0 && now < g.pausedUntil
}

func (g *gate) leave(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inflight--
	g.bytes -= bytes
}

// room returns how many more bytes may be in flight, and whether none are: then
// one of any size may.
func (g *gate) room() (bytes int, alone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int(max(0, g.maxBytes-g.bytes)), g.bytes == 0
}

// load counts what is in the request that was admitted last.
func (g *gate) load(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes += bytes
}

// pause stops the stream for a while. Of several requests that fail together
// only the first counts.
func (g *gate) pause(now int64, err error, policy backoff.Policy, r *rand.Rand) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cause = errorCode(err)
	if now < g.pausedUntil {
		return
	}
	g.pausedUntil = now + int64(policy.Wait(g.pauses, r))
	g.pauses++
	g.halted.Store(true)
}

// resume ends a pause.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pauses, g.pausedUntil, g.cause = 0, 0, ""
	g.halted.Store(false)
}

func (g *gate) state() (inflight int, paused bool, cause string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inflight, g.pauses > 0, g.cause
}
