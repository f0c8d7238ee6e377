package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Encoding is how the requests that carry records are written.
type Encoding int

const (
	// EncodingJSON is what every server understands. Data are in base64, a
	// third more bytes than they have.
	EncodingJSON Encoding = iota

	// EncodingAuto is CBOR where the server takes it and JSON where it does
	// not. The first request is the probe; the others are in JSON until it is
	// answered. If it is refused, and so not stored, its records go again at
	// once in JSON, and all others after them. An attempt that a later server
	// behind the same address refuses goes again in JSON likewise.
	EncodingAuto

	// EncodingCBOR is CBOR alone. Data are as they are, which halves the work
	// of a request. Kinesis takes it, as do streamd and the servers that are
	// tried with the SDKs for Java; a server that does not pauses the producer.
	EncodingCBOR
)

// String returns "json", "auto" or "cbor".
func (e Encoding) String() string {
	switch e {
	case EncodingJSON:
		return "json"
	case EncodingAuto:
		return "auto"
	case EncodingCBOR:
		return "cbor"
	}
	return fmt.Sprintf("Encoding(%d)", int(e))
}

// putter makes one PutRecords call, without retries but for those of an
// encoding that is refused.
type putter interface {
	putRecords(ctx context.Context, in *kinesis.PutRecordsInput) (*kinesis.PutRecordsOutput, error)
}

// newPutter returns the fastest putter for api: what is not the SDK's own
// client gets its plain calls.
func newPutter(api API, cfg *Config, stream string) putter {
	client, ok := api.(*kinesis.Client)
	if !ok {
		return plainPutter{api}
	}
	w := &wire{client: client}
	if cfg.Encoding == EncodingAuto {
		return &probingPutter{wire: w, log: cfg.Logger, stream: stream}
	}
	return fixedPutter{wire: w, cbor: cfg.Encoding == EncodingCBOR}
}

type plainPutter struct{ api API }

func (p plainPutter) putRecords(ctx context.Context, in *kinesis.PutRecordsInput) (*kinesis.PutRecordsOutput, error) {
	return p.api.PutRecords(ctx, in, noSDKRetry)
}

type fixedPutter struct {
	wire *wire
	cbor bool
}

func (p fixedPutter) putRecords(ctx context.Context, in *kinesis.PutRecordsInput) (*kinesis.PutRecordsOutput, error) {
	return p.wire.put(ctx, in, p.cbor)
}

// What a probingPutter knows of the server.
const (
	cborUnknown int32 = iota
	cborProbing       // one request is out to learn it
	cborTaken
	cborRefused // for good
)

// maxUnclear is how many probes in a row may end without an answer that says
// anything. A server that breaks over CBOR looks like one that is down.
const maxUnclear = 2

// probingPutter finds out whether the server takes CBOR.
//
// The probe is a request with records. One without, DryRun say, would be stored
// as a record by a server that does not know that parameter.
type probingPutter struct {
	wire    *wire
	log     *slog.Logger
	stream  string
	state   atomic.Int32
	unclear atomic.Int32
}

func (p *probingPutter) putRecords(ctx context.Context, in *kinesis.PutRecordsInput) (*kinesis.PutRecordsOutput, error) {
	probe := p.state.CompareAndSwap(cborUnknown, cborProbing)
	if !probe && p.state.Load() != cborTaken {
		return p.wire.put(ctx, in, false)
	}
	out, err := p.wire.put(ctx, in, true)
	if err == nil && len(out.Records) == len(in.Records) {
		if probe {
			p.unclear.Store(0)
			p.state.Store(cborTaken)
		}
		return out, nil
	}
	// A server that is known to understand refuses a request for what it holds.
	if kind := refusal(err); kind == refusedEncoding || kind == refusedRequest && probe {
		// Nothing of it was stored, so this makes no duplicates.
		jsonOut, jsonErr := p.wire.put(ctx, in, false)
		switch {
		case jsonErr == nil:
			p.refuse(err)
		case probe:
			// Refused in either encoding: for what it holds, or who sent it.
			p.state.Store(cborUnknown)
		}
		return jsonOut, jsonErr
	}
	if probe {
		p.state.Store(cborUnknown)
		if !refusedByStatus(err) && !errors.Is(ctx.Err(), context.Canceled) && p.unclear.Add(1) >= maxUnclear {
			p.refuse(err)
		}
	}
	return out, err
}

func (p *probingPutter) refuse(err error) {
	if p.state.Swap(cborRefused) == cborRefused {
		return
	}
	attrs := []slog.Attr{slog.String("stream", p.stream)}
	if err != nil {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	p.log.LogAttrs(context.Background(), slog.LevelInfo, "server refuses CBOR, records go in JSON", attrs...)
}

// What an error says about the encoding of the request.
type refusalKind int

const (
	notRefused      refusalKind = iota
	refusedRequest              // may have been refused for it
	refusedEncoding             // was refused for it
)

// encodingCodes are what servers call a body or a type that they cannot read.
var encodingCodes = map[string]bool{
	"SerializationException":        true,
	"UnknownOperationException":     true,
	"UnsupportedMediaTypeException": true,
	"UnsupportedMediaType":          true,
	"UnsupportedOperationException": true,
	"MalformedHttpRequestException": true,
	"InvalidAction":                 true,
}

// refusedByStatus reports whether a server said that it did not serve the
// request.
func refusedByStatus(err error) bool {
	resp, ok := errors.AsType[*smithyhttp.ResponseError](err)
	return ok && resp.HTTPStatusCode() >= 400 && resp.HTTPStatusCode() < 500
}

// refusal classifies an error of a call in CBOR. Only what says that the
// request was not served is a refusal.
func refusal(err error) refusalKind {
	if !refusedByStatus(err) {
		return notRefused
	}
	code := ""
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok {
		code = apiErr.ErrorCode()
	}
	resp, _ := errors.AsType[*smithyhttp.ResponseError](err)
	switch resp.HTTPStatusCode() {
	case http.StatusUnsupportedMediaType, http.StatusNotAcceptable:
		return refusedEncoding
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusRequestEntityTooLarge:
		return notRefused
	}
	if encodingCodes[code] {
		return refusedEncoding
	}
	// The codes that are known and not about what a request holds: a server must
	// have read it to say so, or would say so of any.
	if f, known := faults[code]; known && f.action != actHalve {
		return notRefused
	}
	return refusedRequest
}
