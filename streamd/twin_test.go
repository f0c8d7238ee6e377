package streamd_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// twin sends each request in JSON to one server and in CBOR to another, which
// has seen the same requests, and compares the answers. It is the transport of
// an SDK client, and returns the answer in JSON.
type twin struct {
	json, cbor *streamdtest.Server
	tokens     map[string]string // of the second server, by those of the first
}

// opaque are the members whose text each server seals for itself.
var opaque = map[string]bool{"ShardIterator": true, "NextShardIterator": true, "NextToken": true}

func isTimestamp(member string) bool {
	return strings.HasSuffix(member, "Timestamp") || strings.HasSuffix(member, "At")
}

func (w *twin) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var in any
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	second, _, err := toCBOR(r, w.transcode("", in))
	if err != nil {
		return nil, err
	}
	inJSON, err := answerOf(w.json, r)
	if err != nil {
		return nil, err
	}
	inCBOR, err := answerOf(w.cbor, second)
	if err != nil {
		return nil, err
	}
	if err := w.compare(inJSON, inCBOR); err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Header.Get("X-Amz-Target"), body, err)
	}
	return &http.Response{
		StatusCode: inJSON.status, Header: inJSON.header, Request: r,
		Body: io.NopCloser(bytes.NewReader(inJSON.body)), ContentLength: int64(len(inJSON.body)),
	}, nil
}

// Do makes a twin the HTTP client of an SDK client.
func (w *twin) Do(r *http.Request) (*http.Response, error) { return w.RoundTrip(r) }

// toCBOR returns a request like r with another body.
func toCBOR(r *http.Request, in any) (second *http.Request, body []byte, err error) {
	body, err = cbor.Marshal(in)
	if err != nil {
		return nil, nil, err
	}
	second = r.Clone(r.Context())
	second.Body, second.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	second.Header.Set("Content-Type", "application/x-amz-cbor-1.1")
	return second, body, nil
}

// response is an answer that has been read.
type response struct {
	status int
	header http.Header
	body   []byte
}

func answerOf(srv *streamdtest.Server, r *http.Request) (response, error) {
	resp, err := srv.HTTPClient().Do(r)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, body}, err
}

// transcode turns what JSON holds into what CBOR holds.
func (w *twin) transcode(member string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any)
		for k, e := range v {
			out[k] = w.transcode(k, e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = w.transcode(member, e)
		}
		return out
	case float64:
		if isTimestamp(member) {
			return cbor.Tag{Number: 1, Content: int64(math.Round(v * 1000))}
		}
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case string:
		if sealed, ok := w.tokens[v]; ok && opaque[member] {
			return sealed
		}
		if b, err := base64.StdEncoding.Strict().DecodeString(v); err == nil && member == "Data" {
			return b
		}
	}
	return v
}

func (w *twin) compare(inJSON, inCBOR response) error {
	if inJSON.status != inCBOR.status {
		return fmt.Errorf("status %d in JSON, %d in CBOR", inJSON.status, inCBOR.status)
	}
	if got := inCBOR.header.Get("Content-Type"); got != "application/x-amz-cbor-1.1" {
		return fmt.Errorf("content type %q", got)
	}
	if len(inJSON.body) == 0 || len(inCBOR.body) == 0 {
		if len(inJSON.body) != len(inCBOR.body) {
			return errors.New("an empty body in one encoding alone")
		}
		return nil
	}
	var a, b any
	if err := json.Unmarshal(inJSON.body, &a); err != nil {
		return err
	}
	if err := cbor.Unmarshal(inCBOR.body, &b); err != nil {
		return err
	}
	if err := w.same("", a, b); err != nil {
		return fmt.Errorf("%w\n%s\n%x", err, inJSON.body, inCBOR.body)
	}
	return nil
}

// same compares a value of JSON with one of CBOR.
func (w *twin) same(member string, a, b any) error {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[any]any)
		if !ok || len(a) != len(b) {
			return fmt.Errorf("%s: %v, but %v", member, a, b)
		}
		for k, e := range a {
			if err := w.same(k, e, b[k]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return fmt.Errorf("%s: %v, but %v", member, a, b)
		}
		for i, e := range a {
			if err := w.same(member, e, b[i]); err != nil {
				return err
			}
		}
		return nil
	case string:
		switch b := b.(type) {
		case []byte:
			if a == base64.StdEncoding.EncodeToString(b) {
				return nil
			}
		case string:
			if opaque[member] {
				w.tokens[a] = b
				return nil
			}
			if a == b {
				return nil
			}
		}
	case float64:
		scale := 1.
		if isTimestamp(member) {
			scale = 1000
		}
		switch b := b.(type) {
		case time.Time: // milliseconds with the tag of seconds
			if isTimestamp(member) && math.Round(a*scale) == float64(b.Unix()) {
				return nil
			}
		case uint64:
			if math.Round(a*scale) == float64(b) {
				return nil
			}
		case int64:
			if math.Round(a*scale) == float64(b) {
				return nil
			}
		}
	case bool:
		if a == b {
			return nil
		}
	}
	return fmt.Errorf("%s: %v, but %v (%T)", member, a, b, b)
}

// checkRefusal sends a request that was refused in JSON again in CBOR, compares
// what is said and returns the body. What is not sent in JSON, or with a body that
// is none, cannot be sent so.
func checkRefusal(t *testing.T, srv *streamdtest.Server, q request, refused int) []byte {
	t.Helper()
	var in any
	if refused == http.StatusRequestEntityTooLarge || q.ctype != "" || q.target == "-" || strings.Contains(q.target, ".") || q.method != "" || json.Unmarshal([]byte(q.body), &in) != nil {
		return nil
	}
	w := &twin{json: srv, cbor: srv, tokens: make(map[string]string)}
	req := q.build(t, srv)
	second, body, err := toCBOR(req, w.transcode("", in))
	if err != nil {
		t.Fatal(err)
	}
	q.sign(t, second, body)
	inJSON, err := answerOf(srv, req)
	if err != nil {
		t.Fatal(err)
	}
	inCBOR, err := answerOf(srv, second)
	if err != nil {
		t.Fatal(err)
	}
	if inJSON.status != refused {
		t.Errorf("%s: status %d, and %d when asked again", q.name, refused, inJSON.status)
	}
	if err := w.compare(inJSON, inCBOR); err != nil {
		t.Errorf("%s: %v", q.name, err)
	}
	return inCBOR.body
}
