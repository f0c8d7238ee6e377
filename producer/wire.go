package producer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/streamkit/streamkit/internal/kinesiswire"
)

// wire makes PutRecords calls of the SDK's own client in which this package
// writes the request and reads the answer. Credentials, endpoint, signature,
// middleware and errors stay the SDK's.
//
// The SDK's serializer makes 5 to 10 bytes of garbage for each byte of data;
// here a request is written once, into memory that the next one uses again.
type wire struct {
	client *kinesis.Client
}

// jsonProtocol is the protocol that a client has unless its user chose another.
const jsonProtocol = "awsJson1_1"

// put makes one call, without retries.
func (w *wire) put(ctx context.Context, in *kinesis.PutRecordsInput, cbor bool) (*kinesis.PutRecordsOutput, error) {
	c := &wireCall{cbor: cbor}
	defer c.release()
	return w.client.PutRecords(ctx, in, noSDKRetry, c.configure)
}

// wireCall is the protocol of one call, and the middleware that knows the hash
// of what it wrote. The SDK serializes a call once, retries included.
type wireCall struct {
	smithyhttp.ClientProtocol // the client's: its name, its errors
	cbor                      bool
	body                      *wireBody
}

func (c *wireCall) configure(o *kinesis.Options) {
	if o.Protocol == nil || o.Protocol.ID().Name != jsonProtocol {
		return // the user's choice is to be kept
	}
	c.ClientProtocol = o.Protocol
	o.Protocol = c
	o.APIOptions = append(o.APIOptions, c.addHash)
}

// SerializeRequest implements [smithyhttp.ClientProtocol].
func (c *wireCall) SerializeRequest(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, req *smithyhttp.Request) error {
	put, ok := in.(*kinesis.PutRecordsInput)
	if !ok {
		return c.ClientProtocol.SerializeRequest(ctx, op, in, req)
	}
	stream := kinesiswire.Stream{Name: put.StreamName, ARN: put.StreamARN, ID: put.StreamId, DryRun: put.DryRun}
	entries := wireEntries(put.Records)
	contentType := kinesiswire.ContentTypeJSON
	var buf *wireBuffer
	if c.cbor {
		contentType = kinesiswire.ContentTypeCBOR
		buf = getBuffer(kinesiswire.CBORSize(stream, entries))
		buf.b = kinesiswire.AppendCBOR(buf.b[:0], stream, entries)
	} else {
		buf = getBuffer(kinesiswire.JSONSize(stream, entries))
		buf.b = kinesiswire.AppendJSON(buf.b[:0], stream, entries)
	}
	c.release() // of an earlier body, should the stack ever serialize twice
	c.body = &wireBody{buf: buf}

	req.Method = http.MethodPost
	if req.URL.Path == "" {
		req.URL.Path = "/"
	}
	req.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
	req.Header.Set("Content-Type", contentType)
	sent, err := req.SetStream(c.body)
	if err != nil {
		return fmt.Errorf("set stream: %w", err)
	}
	*req = *sent
	return nil
}

// DeserializeResponse implements [smithyhttp.ClientProtocol].
func (c *wireCall) DeserializeResponse(ctx context.Context, op *smithy.OperationSchema, registry *smithy.TypeRegistry, resp *smithyhttp.Response, out smithy.Deserializable) error {
	put, ok := out.(*kinesis.PutRecordsOutput)
	if !ok {
		return c.ClientProtocol.DeserializeResponse(ctx, op, registry, resp, out)
	}
	buf := getBuffer(int(max(resp.ContentLength, 0)) + 1)
	defer putBuffer(buf)
	var err error
	if buf.b, err = readAll(resp.Body, buf.b[:0]); err != nil {
		return &smithy.DeserializationError{Err: err}
	}
	failed := resp.StatusCode < 200 || resp.StatusCode >= 300
	if strings.HasPrefix(resp.Header.Get("Content-Type"), kinesiswire.ContentTypeCBOR) {
		if failed {
			buf.b = jsonFault(buf.b)
		} else if err := readOutput(put, buf.b, (*kinesiswire.Response).ParseCBOR); err != nil {
			return &smithy.DeserializationError{Err: err}
		} else {
			return nil
		}
	} else if !failed && readOutput(put, buf.b, (*kinesiswire.Response).ParseJSON) == nil {
		return nil
	}
	// Errors, which have types, and what only the SDK may understand.
	resp.Body = &replacedBody{left: buf.b, Closer: resp.Body}
	return c.ClientProtocol.DeserializeResponse(ctx, op, registry, resp, out)
}

// replacedBody is what was read of a body, to be read again.
type replacedBody struct {
	left []byte
	io.Closer
}

func (r *replacedBody) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// readAll appends all of r to b.
func readAll(r io.Reader, b []byte) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

// jsonFault translates an error in CBOR. One that cannot be read has no code.
func jsonFault(body []byte) []byte {
	var r kinesiswire.Response
	fault, err := r.ParseCBORFault(body)
	if err != nil {
		return []byte("{}")
	}
	b, err := json.Marshal(map[string]string{"__type": string(fault.Code), "message": string(fault.Message)})
	if err != nil {
		return []byte("{}")
	}
	return b
}

var responses = sync.Pool{New: func() any { return new(kinesiswire.Response) }}

// readOutput parses an answer into out.
func readOutput(out *kinesis.PutRecordsOutput, body []byte, parse func(*kinesiswire.Response, []byte) error) error {
	r := responses.Get().(*kinesiswire.Response)
	defer responses.Put(r)
	if err := parse(r, body); err != nil {
		return err
	}
	if r.HasFailed {
		failed := r.Failed
		out.FailedRecordCount = &failed
	}
	out.EncryptionType = types.EncryptionType(r.EncryptionType)
	out.Records = nil
	if !r.HasRecords {
		return nil
	}
	out.Records = make([]types.PutRecordsResultEntry, len(r.Records))
	strs := make([]string, 0, 4*len(r.Records))
	for i := range r.Records {
		res, e := &r.Records[i], &out.Records[i]
		// What an entry has is kept, or not, together: one string.
		var room [128]byte
		joined := append(room[:0], res.SequenceNumber...)
		joined = append(joined, res.ShardID...)
		joined = append(joined, res.ErrorCode...)
		joined = append(joined, res.ErrorMessage...)
		rest := string(joined)
		for _, m := range [...]struct {
			from []byte
			to   **string
		}{
			{res.SequenceNumber, &e.SequenceNumber},
			{res.ShardID, &e.ShardId},
			{res.ErrorCode, &e.ErrorCode},
			{res.ErrorMessage, &e.ErrorMessage},
		} {
			if m.from == nil {
				continue
			}
			strs = append(strs, rest[:len(m.from)])
			rest = rest[len(m.from):]
			*m.to = &strs[len(strs)-1]
		}
	}
	return nil
}

// wireEntries are the records of an input.
type wireEntries []types.PutRecordsRequestEntry

// Len implements [kinesiswire.Entries].
func (es wireEntries) Len() int { return len(es) }

// Entry implements [kinesiswire.Entries].
func (es wireEntries) Entry(i int) kinesiswire.Entry {
	e := &es[i]
	return kinesiswire.Entry{Data: e.Data, PartitionKey: e.PartitionKey, ExplicitHashKey: e.ExplicitHashKey}
}

// addHash puts c before the middleware that would read the body in pieces, to
// compute the same.
func (c *wireCall) addHash(stack *middleware.Stack) error {
	if _, ok := stack.Finalize.Get("ResolveEndpointV2"); !ok {
		return nil // the SDK's own will do
	}
	return stack.Finalize.Insert((*hashStep)(c), "ResolveEndpointV2", middleware.After)
}

// hashStep tells the signer the hash of the body.
type hashStep wireCall

// ID implements [middleware.FinalizeMiddleware].
func (*hashStep) ID() string { return "StreamkitPayloadHash" }

// HandleFinalize implements [middleware.FinalizeMiddleware].
func (h *hashStep) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	// Some middleware of the user's may have put another body in place.
	if req, ok := in.Request.(*smithyhttp.Request); ok && h.body != nil && req.GetStream() == io.Reader(h.body) && v4.GetPayloadHash(ctx) == "" {
		sum := sha256.Sum256(h.body.buf.b)
		ctx = v4.SetPayloadHash(ctx, hex.EncodeToString(sum[:]))
	}
	return next.HandleFinalize(ctx, in)
}

func (c *wireCall) release() {
	if c.body != nil {
		c.body.release()
		c.body = nil
	}
}

// wireBody is the body of a request. The transport may read it, and hold it,
// for as long as it likes: after release it is empty. Reading copies, under the
// lock, so nobody outside ever has the memory itself.
type wireBody struct {
	mu  sync.Mutex // guards all below
	buf *wireBuffer
	off int
}

// Read implements [io.Reader].
func (b *wireBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil || b.off >= len(b.buf.b) {
		return 0, io.EOF
	}
	n := copy(p, b.buf.b[b.off:])
	b.off += n
	return n, nil
}

// Seek implements [io.Seeker]. The SDK goes back to the start before an
// attempt.
func (b *wireBody) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil {
		return 0, io.ErrClosedPipe
	}
	switch whence {
	case io.SeekCurrent:
		offset += int64(b.off)
	case io.SeekEnd:
		offset += int64(len(b.buf.b))
	}
	if offset < 0 || offset > int64(len(b.buf.b)) {
		return 0, fmt.Errorf("seek to %d of %d bytes", offset, len(b.buf.b))
	}
	b.off = int(offset)
	return offset, nil
}

func (b *wireBody) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf != nil {
		putBuffer(b.buf)
		b.buf = nil
	}
}
