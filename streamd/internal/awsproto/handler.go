package awsproto

import (
	"context"
	"errors"
	"hash/crc32"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/sigv4"
)

// Prefixes of X-Amz-Target.
const (
	kinesisTarget  = "Kinesis_20131202."
	dynamoDBTarget = "DynamoDB_20120810."
)

// Content types of requests.
const (
	typeJSON11 = "application/x-amz-json-1.1"
	typeJSON10 = "application/x-amz-json-1.0"
	typeCBOR   = "application/x-amz-cbor-1.1"
	typeJSON   = "application/json"
)

// The codecs of Kinesis.
var (
	json11 Codec = jsonCodec{typeJSON11}
	cbor11 Codec = cborCodec{}
)

// TableResponse is the answer of a DynamoDB operation.
type TableResponse interface {
	AppendJSON(dst []byte) []byte
}

// Config says what a [Handler] serves.
type Config struct {
	// Operations are the Kinesis operations by name.
	Operations map[string]*shape.Operation
	// Table answers a DynamoDB operation. It may keep body.
	Table func(ctx context.Context, scope arn.Scope, op string, body []byte) (TableResponse, error)

	Auth AuthMode
	// Verifier and Account are of AuthVerify: Account returns the account of a
	// key.
	Verifier *sigv4.Verifier
	Account  func(keyID string) string
	// Now is the time of the Date header, by which clients correct the clock
	// that they sign with. nil means the system's.
	Now func() time.Time
	// AnswerBytes bounds the bytes of answers that are held at once, see
	// [AdmitAnswer]. 0 means DefaultAnswerBytes.
	AnswerBytes int64
	// CORSOrigins are the origins whose pages may read answers; "*" is any. Nil
	// means none.
	CORSOrigins []string
	// HostAllowed checks the Host header; nil allows all.
	HostAllowed func(host string) bool

	// Observe is told of each request once it is answered.
	Observe func(Exchange)
	Logger  *slog.Logger
}

// Handler answers the requests of AWS clients.
type Handler struct {
	cfg     Config
	bodies  bodyBudget
	answers answerBudget
	ending  ending
}

// NewHandler returns a Handler. Of cfg all is required but what says otherwise.
func NewHandler(cfg Config) *Handler {
	h := &Handler{cfg: cfg, ending: newEnding()}
	if h.answers.max = cfg.AnswerBytes; h.answers.max == 0 {
		h.answers.max = DefaultAnswerBytes
	}
	return h
}

// BodyBytes returns how many bytes of request bodies are held, or have been
// promised room.
func (h *Handler) BodyBytes() int64 { return h.bodies.used.Load() }

// Labels of requests that name no operation, and of those without error.
const (
	unknown = "Unknown"
	// CodeOK is that of requests without error.
	CodeOK = "OK"
	// codeGone is that of requests whose client did not wait for the answer.
	codeGone = "ClientGone"
)

// Errors of operations that have the connection cut in place of an answer: in
// HTTP/1.1 it is closed, in HTTP/2 the stream is reset. Faults ask for it.
var (
	ErrCut       = errors.New("awsproto: connection cut")
	ErrReplyLost = errors.New("awsproto: reply lost")
)

// The codes that such requests are counted under.
const (
	codeCut       = "ConnectionCut"
	codeReplyLost = "ReplyLost"
)

// exchange is one request on its way to its answer.
type exchange struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	began   time.Time
	service string
	op      string
	cut     bool // no answer was written, and none may be

	events shape.EventStream // that the request has opened; nil if it has none
	encode Codec             // of events
	took   time.Duration     // until the head of events; 0 if there was none

	held int64 // of the budget of answers, by AdmitAnswer

	keyID   string // that the request is signed with, or says so
	subject shape.Subject
	status  int   // of the answer
	in, out int64 // bytes of the bodies
}

// ServeHTTP implements [http.Handler]. The order of its checks is that of AWS:
// clients and their tests depend on which error comes first.
//
// Source of the order: tests that others have run against AWS.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	if r.ProtoMajor == 1 {
		// That of the last answer on this connection, see send. Not every
		// connection has deadlines.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	}
	if h.cfg.Now != nil {
		w.Header()["Date"] = []string{h.cfg.Now().UTC().Format(http.TimeFormat)}
	}
	x := exchange{h: h, w: w, r: r, service: unknown, op: unknown, began: began}
	id := newRequestID()
	w.Header()[headerRequestID] = []string{id}
	code := x.serve()
	if x.took == 0 {
		x.took = time.Since(began)
	}
	h.cfg.Observe(Exchange{
		ID: id, Service: x.service, Operation: x.op, Code: code, Status: x.status, Subject: x.subject,
		KeyID: x.keyID, Took: x.took, In: x.in, Out: x.out, Request: r,
	})
	if x.cut {
		// Here, where nothing recovers it and all that was taken is given back.
		panic(http.ErrAbortHandler)
	}
}

// serve answers the request and returns the code of its error.
func (x *exchange) serve() (code string) {
	defer func() {
		// A panic ends one request, not the connections of all others; the
		// fault is in the log.
		if v := recover(); v != nil {
			x.h.cfg.Logger.Error("panic in a request", slog.String("operation", x.op), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			code = x.failEarly(awserr.Internal())
		}
	}()
	if allowed := x.h.cfg.HostAllowed; allowed != nil && !allowed(x.r.Host) {
		return x.failEarly(&awserr.Error{
			Code: "AccessDeniedException", Status: http.StatusForbidden,
			Message: "The Host header names a host that this server is not known by. Start it with --allow-host to add one.",
		})
	}
	if x.h.corsBegin(x.w, x.r) {
		x.status = http.StatusOK
		return CodeOK
	}
	x.w.Header()[headerID2] = []string{newID2()}
	if x.r.Method != http.MethodPost {
		return x.accessDeniedXML()
	}
	target := x.r.Header.Get("X-Amz-Target")
	if op, ok := strings.CutPrefix(target, dynamoDBTarget); ok {
		return x.dynamoDB(op)
	}
	op, ok := strings.CutPrefix(target, kinesisTarget)
	if !ok {
		op = ""
	}
	code = x.kinesis(op)
	if x.events != nil {
		code = x.sendEvents()
	}
	return code
}

// codec returns the encoding of a Kinesis request, which is that of its answer,
// and whether it is one that the API has.
func (x *exchange) codec() (c Codec, served bool) {
	switch x.contentType() {
	case typeJSON11:
		return json11, true
	case typeCBOR:
		return cbor11, true
	}
	return json11, false
}

// failEarly answers a request that was not looked at, in its encoding.
func (x *exchange) failEarly(e *awserr.Error) string {
	c, _ := x.codec()
	return x.fail(c, e)
}

// contentType returns the content type without its parameters.
func (x *exchange) contentType() string {
	t, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";")
	return strings.TrimSpace(t)
}

func (x *exchange) kinesis(name string) string {
	op := x.h.cfg.Operations[name]
	if op != nil {
		x.service, x.op = "kinesis", name
	}
	limit := int64(defaultMaxBody)
	if op == nil {
		op = new(shape.Operation) // reads any body, and is never done
	} else if op.MaxBody > 0 {
		limit = op.MaxBody
	}
	codec, served := x.codec()
	from, early := x.meet("kinesis")
	switch {
	case early:
		return x.fail(codec, from.err)
	case !served:
		return x.otherType(limit)
	}
	if refused := x.refuseEncoded(); refused != nil {
		return x.fail(codec, refused)
	}
	body := takeBuffer()
	defer giveBuffer(body)
	held, err := x.readBody(limit, body)
	defer x.h.bodies.give(held)
	if err != nil {
		return x.failWith(codec, err)
	}
	x.prove(&from, *body)
	if len(*body) == 0 {
		return x.fail(codec, x.emptyBody())
	}
	var in any
	if op.New != nil {
		in = op.New()
		defer op.Free(in)
	}
	conversion, ok := codec.Decode(*body, op.Input, in)
	switch {
	case !ok:
		return x.fail(codec, &awserr.Error{Code: codeSerialization})
	case op.Do == nil:
		return x.fail(codec, &awserr.Error{Code: "UnknownOperationException"})
	}
	refused := from.err
	ctx, scope := x.scope(&from)
	if refused == nil {
		refused = conversion
	}
	if refused == nil {
		refused = op.Check(scope, in)
	}
	if refused != nil {
		return x.fail(codec, refused)
	}
	if op.Large {
		ctx = context.WithValue(ctx, answerKey{}, x)
		defer func() { x.h.answers.used.Add(-x.held) }()
	}
	out, err := op.Do(ctx, scope, in)
	if op.Subject != nil {
		x.subject = op.Subject(scope, in)
	}
	if err != nil {
		return x.failWith(codec, err)
	}
	if events, ok := out.(shape.EventStream); ok {
		// Sent when what the request holds has been given back.
		x.events, x.encode = events, codec
		return CodeOK
	}
	return x.answer(codec, out)
}

// readBody reads the request's body and counts it.
func (x *exchange) readBody(limit int64, buf *[]byte) (held int64, err error) {
	held, err = x.h.readBody(x.w, x.r, limit, buf)
	x.in = int64(len(*buf))
	return held, err
}

// emptyBody is the error of a request without a body.
func (x *exchange) emptyBody() *awserr.Error {
	if x.op == unknown {
		return &awserr.Error{Code: "UnknownOperationException"}
	}
	return &awserr.Error{Code: codeSerialization}
}

// otherType answers a request in an encoding that the API does not have. AWS
// answers in CBOR where it has not looked at the encoding yet: to a request
// without a body, and so to one whose body cannot be read, which comes first.
func (x *exchange) otherType(limit int64) string {
	body := takeBuffer()
	defer giveBuffer(body)
	held, err := x.readBody(limit, body)
	defer x.h.bodies.give(held)
	switch {
	case err != nil:
		return x.failWith(cbor11, err)
	case len(*body) == 0:
		return x.fail(cbor11, x.emptyBody())
	case x.contentType() == typeJSON:
		// The plain media type is a protocol of its own, which no client speaks.
		const prefix, suffix = `{"Output":{"__type":"com.amazon.coral.service#`, `"},"Version":"1.0"}`
		if _, ok := json11.Decode(*body, nil, nil); !ok {
			return x.raw(http.StatusBadRequest, typeJSON, codeSerialization, prefix+codeSerialization+suffix)
		}
		return x.raw(http.StatusNotFound, typeJSON, "UnknownOperationException", prefix+"UnknownOperationException"+suffix)
	case x.op == unknown:
		return x.accessDeniedXML()
	}
	return x.raw(http.StatusNotFound, "", "UnknownOperationException", "<UnknownOperationException/>\n")
}

// refuseEncoded refuses compressed bodies: the API does not have them, and
// without them there is no body that grows as it is read.
func (x *exchange) refuseEncoded() *awserr.Error {
	if enc := x.r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return serialization("Content-Encoding is not supported.")
	}
	return nil
}

func (x *exchange) dynamoDB(op string) string {
	x.service = "dynamodb"
	ctype := x.contentType()
	codec := jsonCodec{typeJSON10}
	switch ctype {
	case typeJSON10:
	case typeJSON11:
		codec.contentType = typeJSON11
	default:
		return x.raw(http.StatusNotFound, "", "UnknownOperationException", "<UnknownOperationException/>\n")
	}
	if refused := x.refuseEncoded(); refused != nil {
		return x.fail(codec, qualified(refused))
	}
	from, early := x.meet("dynamodb")
	if early {
		return x.fail(codec, qualified(from.err))
	}
	body := new([]byte) // not from the pool: tables may keep parts of it
	held, err := x.readBody(maxTableBody, body)
	defer x.h.bodies.give(held)
	if err != nil {
		return x.failWith(codec, qualify(err))
	}
	if len(*body) == 0 {
		return x.fail(codec, qualified(&awserr.Error{Code: codeSerialization}))
	}
	if x.prove(&from, *body); from.err != nil {
		return x.fail(codec, qualified(from.err))
	}
	ctx, scope := x.scope(&from)
	resp, err := x.h.cfg.Table(ctx, scope, op, *body)
	if e, ok := errors.AsType[*awserr.Error](err); !ok || e.Code != "UnknownOperationException" {
		x.op = op // it exists
	}
	if err != nil {
		return x.failWith(codec, qualify(err))
	}
	out := takeBuffer()
	defer giveBuffer(out)
	*out = resp.AppendJSON((*out)[:0])
	counted := int64(len(*out))
	x.h.answers.used.Add(counted)
	defer x.h.answers.used.Add(-counted)
	x.checksum(*out)
	return x.send(http.StatusOK, codec.contentType, CodeOK, *out)
}

// qualify gives an error the namespace that DynamoDB puts before its names.
func qualify(err error) error {
	if e, ok := errors.AsType[*awserr.Error](err); ok {
		return qualified(e)
	}
	return err
}

func qualified(e *awserr.Error) *awserr.Error {
	q := *e
	switch e.Code {
	case codeSerialization, "UnknownOperationException", "MissingAuthenticationTokenException",
		"IncompleteSignatureException", "InvalidSignatureException", "UnrecognizedClientException",
		"ExpiredTokenException", "AccessDeniedException":
		q.Code = "com.amazon.coral.service#" + e.Code
	case "ValidationException":
		q.Code = "com.amazon.coral.validate#" + e.Code
	default:
		q.Code = "com.amazonaws.dynamodb.v20120810#" + e.Code
	}
	return &q
}

// checksum adds the header by which DynamoDB's clients check a body.
func (x *exchange) checksum(body []byte) {
	if x.service == "dynamodb" {
		x.w.Header()[headerCRC32] = []string{strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)}
	}
}

// answer sends the output of an operation.
func (x *exchange) answer(c Codec, out shape.Output) string {
	if out == nil {
		return x.send(http.StatusOK, c.ContentType(), CodeOK, nil)
	}
	buf, counted := x.h.answerBuffer(out.Size(), x.held)
	x.held = 0 // it is in counted
	defer x.h.freeAnswer(buf, counted)
	*buf = c.AppendOutput((*buf)[:0], out)
	return x.send(http.StatusOK, c.ContentType(), CodeOK, *buf)
}

// failWith answers with err: as it is if it is an API's error, hidden and
// logged if it is a fault of the server.
func (x *exchange) failWith(c Codec, err error) string {
	switch {
	case errors.Is(err, errGone):
		return x.gone()
	case errors.Is(err, ErrCut):
		x.cut = true
		return codeCut
	case errors.Is(err, ErrReplyLost):
		x.cut = true
		return codeReplyLost
	}
	if x.r.Context().Err() != nil {
		// What was asked may be done or not: no answer may say either, should
		// somebody still read it.
		x.fail(c, awserr.Internal())
		return codeGone
	}
	e, ok := errors.AsType[*awserr.Error](err)
	if !ok {
		x.h.cfg.Logger.Error("request failed", slog.String("operation", x.op), slog.Any("err", err))
		e = awserr.Internal()
	}
	return x.fail(c, e)
}

// gone ends a request whose body did not come. Without an answer of its own
// net/http would send a 200.
func (x *exchange) gone() string {
	x.w.Header().Set("Connection", "close")
	x.failEarly(&awserr.Error{
		Code: "RequestTimeoutException", Status: http.StatusRequestTimeout,
		Message: "The request body did not arrive in time.",
	})
	return codeGone
}

func (x *exchange) fail(c Codec, e *awserr.Error) string {
	body := c.AppendError(nil, e)
	x.checksum(body)
	_, code, qualified := strings.Cut(e.Code, "#")
	if !qualified {
		code = e.Code
	}
	return x.send(e.HTTPStatus(), c.ContentType(), code, body)
}

// accessDeniedXML is what AWS answers where it cannot tell what is asked.
func (x *exchange) accessDeniedXML() string {
	return x.raw(http.StatusForbidden, "", "AccessDeniedException", "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n</AccessDeniedException>\n")
}

func (x *exchange) raw(status int, ctype, code, body string) string {
	return x.send(status, ctype, code, []byte(body))
}

// send writes the answer and returns code.
func (x *exchange) send(status int, ctype, code string, body []byte) string {
	head := x.w.Header()
	if ctype == "" {
		head["Content-Type"] = nil // keeps net/http from guessing one
	} else {
		head["Content-Type"] = []string{ctype}
	}
	head["Content-Length"] = []string{strconv.Itoa(len(body))}
	// A client that does not read its answer must not hold it for ever. Over
	// HTTP/2 the deadline is of this answer alone; over HTTP/1.1 the end of a
	// small answer is written after this, and the next request lifts it.
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(bodyGrace + time.Duration(len(body)/bodyPace)*time.Second)) // not every connection has deadlines
	x.status = status
	x.w.WriteHeader(status)
	n, err := x.w.Write(body)
	if x.out = int64(n); err != nil {
		return codeGone
	}
	return code
}
