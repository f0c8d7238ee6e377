package awsproto

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// An event stream is the body of an answer that goes on: messages of
//
//	u32be  length of the whole message
//	u32be  length of the headers
//	u32be  CRC-32 of the eight bytes before
//	       headers: u8 length and name, u8 7 for a string, u16be length and value
//	       payload, in the encoding of the request
//	u32be  CRC-32 of all before
//
// Source: the format application/vnd.amazon.eventstream of Smithy.
const typeEventStream = "application/vnd.amazon.eventstream"

const (
	eventPrelude = 12
	stringHeader = 7

	// maxHeader is the most bytes that readers take as the value of a header.
	// Source: maxHeaderValueLen of aws-sdk-go-v2's eventstream.
	maxHeader = 1<<15 - 1

	// eventTimeout bounds how long a reader may take no byte of a message: as
	// long as a subscription lives. A reader that is busy so long is no fault; a
	// peer that has gone is found by the transport before.
	eventTimeout = 5 * time.Minute

	// lastTimeout bounds the last message at the end of the server.
	lastTimeout = time.Second
)

// modelled are the errors that the model has inside an event stream.
var modelled = map[string]bool{
	"ResourceNotFoundException": true, "ResourceInUseException": true,
	"KMSDisabledException": true, "KMSInvalidStateException": true, "KMSAccessDeniedException": true,
	"KMSNotFoundException": true, "KMSOptInRequired": true, "KMSThrottlingException": true,
	"InternalFailureException": true,
}

// ending tells the event streams of a handler that the server ends.
type ending struct {
	ctx  context.Context //nolint:containedctx // it is the handler's life, which no call has
	stop context.CancelFunc
}

func newEnding() ending {
	ctx, stop := context.WithCancel(context.Background())
	return ending{ctx, stop}
}

// EndEvents ends the event streams that are open, and those to come at once.
// Their clients see a stream that has come to its end.
func (h *Handler) EndEvents() { h.ending.stop() }

// eventWriter writes the messages of one event stream.
type eventWriter struct {
	h       *Handler
	w       http.ResponseWriter
	control *http.ResponseController
	codec   Codec
	ending  context.Context //nolint:containedctx // the server's end, which shortens the wait
	failed  error           // of the connection
	out     int64           // bytes written
}

// appendHeader adds a header with a string, cut if it is too long.
func appendHeader(dst []byte, name, value string) []byte {
	value = value[:min(len(value), maxHeader)]
	dst = append(dst, byte(len(name)))
	dst = append(dst, name...)
	dst = append(dst, stringHeader)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(value)))
	return append(dst, value...)
}

// appendMessage adds a message with the given headers, names and values in turn.
// payload may be nil.
func appendMessage(dst []byte, payload func(dst []byte) []byte, headers ...string) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, eventPrelude)...)
	for i := 0; i < len(headers); i += 2 {
		dst = appendHeader(dst, headers[i], headers[i+1])
	}
	size := len(dst) - start - eventPrelude
	if payload != nil {
		dst = payload(dst)
	}
	message := dst[start:]
	binary.BigEndian.PutUint32(message, uint32(len(message)+4))
	binary.BigEndian.PutUint32(message[4:], uint32(size))
	binary.BigEndian.PutUint32(message[8:], crc32.ChecksumIEEE(message[:8]))
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(message))
}

func appendEvent(dst []byte, c Codec, name string, out shape.Output) []byte {
	return appendMessage(dst, func(dst []byte) []byte { return c.AppendOutput(dst, out) },
		":message-type", "event", ":event-type", name, ":content-type", c.ContentType())
}

// appendFailure adds the message that ends a stream with an error.
func appendFailure(dst []byte, c Codec, e *awserr.Error) []byte {
	code := e.Code
	if code == "InternalFailure" {
		code = "InternalFailureException" // as it is called here
	}
	if !modelled[code] {
		return appendMessage(dst, nil, ":message-type", "error", ":error-code", code, ":error-message", e.Message)
	}
	return appendMessage(dst, func(dst []byte) []byte { return c.AppendOutput(dst, failure(e.Message)) },
		":message-type", "exception", ":exception-type", code, ":content-type", c.ContentType())
}

// failure is the payload of an exception.
type failure string

func (f failure) Encode(e shape.Encoder) { e.String("message", string(f)) }

func (f failure) Size() int { return len(f) + 16 }

// write sends one message. The buffer is held no longer than that: idle streams
// hold none.
func (e *eventWriter) write(size int, fill func(dst []byte) []byte) error {
	if e.failed != nil {
		return e.failed
	}
	const overhead = 256
	buf, counted := e.h.answerBuffer(size+overhead, 0)
	defer e.h.freeAnswer(buf, counted)
	*buf = fill((*buf)[:0])
	n, err := e.w.Write(*buf)
	e.out += int64(n)
	if e.failed = err; err == nil {
		e.failed = e.control.Flush()
	}
	return e.failed
}

func (e *eventWriter) send(event string, out shape.Output) error {
	// Not every connection has deadlines, and without them nothing else changes.
	_ = e.control.SetWriteDeadline(time.Now().Add(eventTimeout))
	if e.ending.Err() != nil { // and what told of it may have been too early
		_ = e.control.SetWriteDeadline(time.Now().Add(lastTimeout))
	}
	return e.write(out.Size(), func(dst []byte) []byte { return appendEvent(dst, e.codec, event, out) })
}

// sendEvents answers with the events of an event stream until it ends.
func (x *exchange) sendEvents() string {
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	e := &eventWriter{h: x.h, w: x.w, control: http.NewResponseController(x.w), codec: x.encode, ending: x.h.ending.ctx}
	ended := context.AfterFunc(x.h.ending.ctx, func() {
		cancel()
		_ = e.control.SetWriteDeadline(time.Now().Add(lastTimeout)) // for one that waits for its reader
	})
	defer ended()
	defer func() { x.out = e.out }()
	x.w.Header()["Content-Type"] = []string{typeEventStream}
	x.status = http.StatusOK
	x.w.WriteHeader(http.StatusOK)
	x.took = time.Since(x.began)
	err := e.send("initial-response", x.events)
	if err == nil {
		err = x.runEvents(ctx, e)
	}
	if errors.Is(err, ErrCut) {
		x.cut = true
		return codeCut
	}
	if err == nil || e.failed != nil || ctx.Err() != nil {
		return CodeOK // the server or the client has ended it, or the client has gone
	}
	fault, ok := errors.AsType[*awserr.Error](err)
	if !ok {
		x.h.cfg.Logger.Error("event stream failed", slog.String("operation", x.op), slog.Any("err", err))
		fault = awserr.Internal()
	}
	_ = e.write(len(fault.Message), func(dst []byte) []byte { return appendFailure(dst, e.codec, fault) }) // or the client has gone
	return fault.Code
}

// runEvents has the events sent. A panic is a fault like others: the head of the
// answer is out.
func (x *exchange) runEvents(ctx context.Context, e *eventWriter) (err error) {
	defer func() {
		if v := recover(); v != nil {
			x.h.cfg.Logger.Error("panic in an event stream", slog.String("operation", x.op), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			err = awserr.Internal()
		}
	}()
	return x.events.Events(ctx, e.send)
}
