package producer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

const (
	typeJSON = "application/x-amz-json-1.1"
	typeCBOR = "application/x-amz-cbor-1.1"
)

// front is an HTTP client before a server: it notes the content types of
// PutRecords, and may answer some itself.
type front struct {
	next   *http.Client
	refuse func(n int, contentType string) *http.Response // n counts PutRecords from 0

	mu    sync.Mutex
	types []string // guarded by mu
}

func (f *front) Do(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".PutRecords") {
		f.mu.Lock()
		n, ct := len(f.types), req.Header.Get("Content-Type")
		f.types = append(f.types, ct)
		f.mu.Unlock()
		if f.refuse != nil {
			if resp := f.refuse(n, ct); resp != nil {
				return resp, nil
			}
			if err := req.Context().Err(); err != nil {
				return nil, err
			}
		}
	}
	return f.next.Do(req)
}

func (f *front) seen() (cbor, json int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.types {
		switch t {
		case typeCBOR:
			cbor++
		case typeJSON:
			json++
		}
	}
	return cbor, json
}

func (f *front) client(srv *streamdtest.Server) *kinesis.Client {
	return srv.Kinesis(func(o *kinesis.Options) { o.HTTPClient = f })
}

func answerOfServer(status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {contentType}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// contents returns the data of all user records of a stream.
func contents(t *testing.T, srv *streamdtest.Server) (all []string) {
	t.Helper()
	for _, r := range srv.Records(t, "stream") {
		ok, err := aggregation.Walk(r.Data, func(_ int, u aggregation.Record) bool {
			all = append(all, string(u.Data))
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			all = append(all, string(r.Data))
		}
	}
	slices.Sort(all)
	return all
}

// TestEncodings puts in each encoding into a server that verifies signatures,
// so that the hash of the body is checked too.
func TestEncodings(t *testing.T) {
	for _, tt := range []struct {
		encoding   producer.Encoding
		cbor, json bool
	}{
		{producer.EncodingJSON, false, true},
		{producer.EncodingCBOR, true, false},
		{producer.EncodingAuto, true, false},
	} {
		t.Run(tt.encoding.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := streamdtest.New(t, streamdtest.Keys(streamd.Key{ID: "AKIDEXAMPLE", Secret: "secret"}))
				srv.CreateStream(t, "stream", 2)
				f := &front{next: srv.HTTPClient()}
				p := start(t, f.client(srv), producer.Config{Encoding: tt.encoding})
				var want []string
				for i := range 100 {
					// From a few bytes in one aggregated record to a raw one.
					data := fmt.Sprintf("%03d:", i) + strings.Repeat("é\"\\\x00", i*i*2)
					want = append(want, data)
					if err := p.Put(t.Context(), record(fmt.Sprintf("key-\"%d\\é", i%7), data), func(r producer.Result) {
						if r.Err != nil || r.SequenceNumber == "" || r.ShardID == "" || r.Attempts != 1 {
							t.Errorf("record %d: %+v", i, r)
						}
					}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Duration(i%3) * 10 * time.Millisecond)
				}
				closeNow(t, p)
				if got := contents(t, srv); !slices.Equal(got, want) {
					t.Errorf("%d records stored, want %d, or others", len(got), len(want))
				}
				if cbor, json := f.seen(); cbor > 0 != tt.cbor || json > 0 != tt.json {
					t.Errorf("%d requests in CBOR, %d in JSON", cbor, json)
				}
			})
		})
	}
}

// TestWrongSignature proves that the server of TestEncodings would notice.
func TestWrongSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t, streamdtest.Keys(streamd.Key{ID: "AKIDEXAMPLE", Secret: "secret"}))
		srv.CreateStream(t, "stream", 1)
		client := srv.Kinesis(func(o *kinesis.Options) { o.HTTPClient = spoiler{srv.HTTPClient()} })
		_, err := producer.PutOnWire(t.Context(), client, oneRecord, false)
		if err == nil || !strings.Contains(err.Error(), "InvalidSignatureException") {
			t.Errorf("error %v, want one about the signature", err)
		}
	})
}

// spoiler changes a letter of each body.
type spoiler struct{ next *http.Client }

func (s spoiler) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(bytes.Replace(body, []byte(`"k"`), []byte(`"l"`), 1)))
	return s.next.Do(req)
}

// TestRefusedEncoding has servers refuse CBOR in the ways in which they do:
// every record is stored, and once.
func TestRefusedEncoding(t *testing.T) {
	fault := func(code string) string { return `{"__type":"` + code + `","message":"no"}` }
	for _, tt := range []struct {
		name   string
		refuse func(n int) *http.Response // of the n-th request in CBOR
		cbor   int                        // requests in CBOR until it is given up
		kept   bool                       // CBOR is not given up
	}{
		{name: "415", refuse: func(int) *http.Response { return answerOfServer(415, "text/html", "<html>Unsupported</html>") }, cbor: 1},
		{name: "415 without a body", refuse: func(int) *http.Response { return answerOfServer(415, "", "") }, cbor: 1},
		{name: "SerializationException", refuse: func(int) *http.Response { return answerOfServer(400, typeJSON, fault("SerializationException")) }, cbor: 1},
		{name: "SerializationException in CBOR", refuse: func(int) *http.Response {
			return answerOfServer(400, typeCBOR, "\xbf\x66__type\x76SerializationException\xff")
		}, cbor: 1},
		{name: "400 without a code", refuse: func(int) *http.Response { return answerOfServer(400, "text/plain", "bad request") }, cbor: 1},
		{name: "validation", refuse: func(int) *http.Response { return answerOfServer(400, typeJSON, fault("ValidationException")) }, cbor: 1},
		{name: "404", refuse: func(int) *http.Response { return answerOfServer(404, "text/plain", "not found") }, cbor: 1},
		{name: "500", refuse: func(int) *http.Response { return answerOfServer(500, typeJSON, fault("InternalFailure")) }, cbor: 2},
		{name: "hangs", refuse: func(int) *http.Response {
			time.Sleep(7 * time.Second)
			return nil
		}, cbor: 2},
		{name: "throttled at first", refuse: func(n int) *http.Response {
			if n < 3 {
				return answerOfServer(400, typeJSON, fault("ProvisionedThroughputExceededException"))
			}
			return nil
		}, kept: true},
		{name: "down at first", refuse: func(n int) *http.Response {
			if n < 1 {
				return answerOfServer(503, "", "")
			}
			return nil
		}, kept: true},
		{name: "refuses later", refuse: func(n int) *http.Response {
			if n < 5 {
				return nil
			}
			return answerOfServer(415, "", "")
		}, cbor: 6},
		{name: "invalid later", refuse: func(n int) *http.Response {
			if n == 5 {
				return answerOfServer(400, typeJSON, fault("ProvisionedThroughputExceededException"))
			}
			return nil
		}, kept: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := streamdtest.New(t)
				srv.CreateStream(t, "stream", 1)
				f := &front{next: srv.HTTPClient()}
				cbors := 0
				f.refuse = func(_ int, contentType string) *http.Response {
					if contentType != typeCBOR {
						return nil
					}
					cbors++
					return tt.refuse(cbors - 1)
				}
				p := start(t, f.client(srv), producer.Config{Encoding: producer.EncodingAuto})
				var want []string
				for i := range 20 {
					data := fmt.Sprintf("%03d", i)
					want = append(want, data)
					if _, err := p.PutSync(t.Context(), record("k", data)); err != nil {
						t.Fatalf("record %d: %v", i, err)
					}
				}
				closeNow(t, p)
				if got := contents(t, srv); !slices.Equal(got, want) {
					t.Errorf("stored %v, want %v", got, want)
				}
				cbor, json := f.seen()
				if tt.kept != (json == 0) || !tt.kept && cbor != tt.cbor {
					t.Errorf("%d requests in CBOR, %d in JSON", cbor, json)
				}
			})
		})
	}
}

// TestInvalidRequestIsNoRefusal checks that a request that is invalid in either
// encoding says nothing about the encoding.
func TestInvalidRequestIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "stream", 1)
		f := &front{next: srv.HTTPClient()}
		f.refuse = func(n int, _ string) *http.Response {
			if n < 2 {
				return answerOfServer(400, typeJSON, `{"__type":"ValidationException","message":"too large"}`)
			}
			return nil
		}
		p := start(t, f.client(srv), producer.Config{Encoding: producer.EncodingAuto})
		if _, err := p.PutSync(t.Context(), record("k", "invalid")); err == nil {
			t.Error("the invalid record was stored")
		}
		if _, err := p.PutSync(t.Context(), record("k", "valid")); err != nil {
			t.Error(err)
		}
		closeNow(t, p)
		f.mu.Lock()
		defer f.mu.Unlock()
		if want := []string{typeCBOR, typeJSON, typeCBOR}; !slices.Equal(f.types, want) {
			t.Errorf("requests %v, want %v", f.types, want)
		}
	})
}

// TestCBORAlone checks that without a probe a server that refuses CBOR pauses the
// producer, which loses nothing and does not hammer it.
func TestCBORAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "stream", 1)
		f := &front{next: srv.HTTPClient()}
		var healed atomic.Bool
		f.refuse = func(int, string) *http.Response {
			if healed.Load() {
				return nil
			}
			return answerOfServer(400, typeJSON, `{"__type":"SerializationException"}`)
		}
		p := start(t, f.client(srv), producer.Config{Encoding: producer.EncodingCBOR, RecordTTL: -1})
		put(t, p, record("k", "d"), nil)
		time.Sleep(time.Minute)
		cbor, json := f.seen()
		if !p.Stats().Paused || cbor < 2 || cbor > 20 || json != 0 {
			t.Errorf("paused %v after %d requests in CBOR and %d in JSON", p.Stats().Paused, cbor, json)
		}
		healed.Store(true)
		closeNow(t, p)
		if got := contents(t, srv); !slices.Equal(got, []string{"d"}) {
			t.Errorf("stored %v", got)
		}
	})
}

// TestOneProbe checks that all requests but the probe go in JSON until it is
// answered.
func TestOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "stream", 8)
		f := &front{next: srv.HTTPClient()}
		f.refuse = func(n int, contentType string) *http.Response {
			if contentType == typeCBOR && n < 8 {
				time.Sleep(time.Second)
			}
			return nil
		}
		p := start(t, f.client(srv), producer.Config{Encoding: producer.EncodingAuto, RecordMaxBufferedTime: -1})
		for i := range 1000 {
			put(t, p, record(fmt.Sprint("key-", i), "x"), nil)
			time.Sleep(5 * time.Millisecond)
		}
		closeNow(t, p)
		cbor, json := f.seen()
		if cbor < 100 || json < 100 {
			t.Errorf("%d requests in CBOR, %d in JSON", cbor, json)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.types[0] != typeCBOR || slices.Contains(f.types[1:50], typeCBOR) {
			t.Errorf("more than one probe: %v", f.types[:50])
		}
	})
}

// decorated is a client of the user's own make.
type decorated struct {
	*kinesis.Client
	puts int
}

func (d *decorated) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	d.puts++
	return d.Client.PutRecords(ctx, in, opts...)
}

// TestDecoratedClientIsCalled checks that what is not the SDK's client itself
// gets plain calls.
func TestDecoratedClientIsCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "stream", 1)
		f := &front{next: srv.HTTPClient()}
		d := &decorated{Client: f.client(srv)}
		p := start(t, d, producer.Config{Encoding: producer.EncodingCBOR})
		if _, err := p.PutSync(t.Context(), record("k", "d")); err != nil {
			t.Error(err)
		}
		closeNow(t, p)
		if cbor, json := f.seen(); d.puts != 1 || cbor != 0 || json != 1 {
			t.Errorf("%d calls, %d in CBOR, %d in JSON", d.puts, cbor, json)
		}
	})
}

func TestUnknownEncoding(t *testing.T) {
	_, err := producer.New((&exchange{answer: []byte("{}")}).client(), "stream", producer.Config{Encoding: 3})
	if err == nil || !strings.Contains(err.Error(), "Encoding 3") {
		t.Errorf("New: %v", err)
	}
	for e, want := range map[producer.Encoding]string{producer.EncodingJSON: "json", producer.EncodingAuto: "auto", producer.EncodingCBOR: "cbor", 9: "Encoding(9)"} {
		if got := e.String(); got != want {
			t.Errorf("%d is %q, want %q", int(e), got, want)
		}
	}
}
