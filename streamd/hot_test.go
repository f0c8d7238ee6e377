package streamd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/streamkit/streamkit/streamd/internal/api"
)

// answer is a ResponseWriter that keeps nothing but the status, and the body if
// asked to.
type answer struct {
	head   http.Header
	status int
	body   *bytes.Buffer
}

func (a *answer) Header() http.Header    { return a.head }
func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(b []byte) (int, error) {
	if a.body != nil {
		return a.body.Write(b)
	}
	return len(b), nil
}

// caller sends requests to a server's handler without a network.
type caller struct {
	tb testing.TB
	h  http.Handler
	a  answer
}

func newCaller(tb testing.TB) *caller {
	tb.Helper()
	return newLimitedCaller(tb, Limits{})
}

func newLimitedCaller(tb testing.TB, limits Limits) *caller {
	tb.Helper()
	srv, err := New(Config{
		Limits: limits,
		Listen: "127.0.0.1:0", Admin: AdminOff, Logger: slog.New(slog.DiscardHandler),
		Create: []StreamSpec{{Name: "s", Shards: 4}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = srv.Close() })
	return &caller{tb: tb, h: srv.handler(), a: answer{head: make(http.Header)}}
}

// request returns a function that sends the same request in JSON each time.
func (c *caller) request(op string, body []byte) func() {
	return c.requestAs("application/x-amz-json-1.1", op, body)
}

// inCBOR returns a function that sends the same request in CBOR each time.
func (c *caller) inCBOR(op string, in any) func() {
	body, err := cbor.Marshal(in)
	if err != nil {
		c.tb.Fatal(err)
	}
	return c.requestAs("application/x-amz-cbor-1.1", op, body)
}

func (c *caller) requestAs(ctype, op string, body []byte) func() {
	r, err := http.NewRequestWithContext(c.tb.Context(), http.MethodPost, "http://localhost/", nil)
	if err != nil {
		c.tb.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	r.Header.Set("Content-Type", ctype)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00")
	r.Header.Set("X-Amz-Date", "20261123T120000Z")
	r.ContentLength = int64(len(body))
	reader := bytes.NewReader(body)
	r.Body = io.NopCloser(reader)
	scratch := make([]byte, len(body)) // the server decodes in place
	return func() {
		copy(scratch, body)
		reader.Reset(scratch)
		c.h.ServeHTTP(&c.a, r)
		if c.a.status != http.StatusOK {
			c.tb.Fatalf("status %d", c.a.status)
		}
	}
}

// putBody is a PutRecords request as the SDK writes it.
func putBody(n, size int) []byte {
	data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("d"), size))
	var b strings.Builder
	b.WriteString(`{"Records":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Data":"%s","PartitionKey":"key-%d"}`, data, i)
	}
	b.WriteString(`],"StreamName":"s"}`)
	return []byte(b.String())
}

// putInput is the same request for an encoder of CBOR.
func putInput(n, size int) any {
	var records []any
	for i := range n {
		records = append(records, map[string]any{"Data": bytes.Repeat([]byte("d"), size), "PartitionKey": fmt.Sprintf("key-%d", i)})
	}
	return map[string]any{"Records": records, "StreamName": "s"}
}

// iterator returns one at the start of a shard.
func (c *caller) iterator(shard int) string {
	c.a.body = new(bytes.Buffer)
	defer func() { c.a.body = nil }()
	c.request("GetShardIterator", fmt.Appendf(nil, `{"StreamName":"s","ShardId":"%d","ShardIteratorType":"TRIM_HORIZON"}`, shard))()
	var out struct{ ShardIterator string }
	if err := json.Unmarshal(c.a.body.Bytes(), &out); err != nil {
		c.tb.Fatal(err)
	}
	return out.ShardIterator
}

// TestHotPathsDoNotAllocatePerRecord compares requests of one and of many
// records: what the difference allocates is the records' own.
func TestHotPathsDoNotAllocatePerRecord(t *testing.T) {
	c := newCaller(t)
	it := c.iterator(0)
	get := func(limit int) map[string]any { return map[string]any{"ShardIterator": it, "Limit": limit} }
	inJSON := func(limit int) []byte {
		b, _ := json.Marshal(get(limit)) // of strings and numbers
		return b
	}
	for _, tt := range []struct {
		name      string
		few, many func()
	}{
		{"PutRecords in JSON", c.request("PutRecords", putBody(1, 100)), c.request("PutRecords", putBody(500, 100))},
		{"PutRecords in CBOR", c.inCBOR("PutRecords", putInput(1, 100)), c.inCBOR("PutRecords", putInput(500, 100))},
		{"GetRecords in JSON", c.request("GetRecords", inJSON(1)), c.request("GetRecords", inJSON(2000))},
		{"GetRecords in CBOR", c.inCBOR("GetRecords", get(1)), c.inCBOR("GetRecords", get(2000))},
	} {
		tt.many() // warms the pools
		one := testing.AllocsPerRun(50, tt.few)
		if all := testing.AllocsPerRun(50, tt.many); all > one+60 {
			t.Errorf("%s: %v allocations for many records, %v for one", tt.name, all, one)
		}
	}
}

// TestLimitsDoNotAllocate compares servers with and without limits.
func TestLimitsDoNotAllocate(t *testing.T) {
	const plenty = 1 << 28
	allocs := func(l Limits) float64 {
		put := newLimitedCaller(t, l).request("PutRecords", putBody(500, 100))
		put() // warms the pools
		return testing.AllocsPerRun(50, put)
	}
	off, on := allocs(Limits{}), allocs(Limits{WriteRecords: plenty, WriteBytes: plenty})
	if on > off+30 {
		t.Errorf("%v allocations for 500 records with limits, %v without", on, off)
	}
	srv, err := New(Config{Listen: "127.0.0.1:0", Admin: AdminOff, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	var cfg api.Config
	if srv.limit(&cfg); cfg.Admit != nil || cfg.AdmitRead != nil || cfg.AdmitIterator != nil || cfg.Given != nil || cfg.Around != nil {
		t.Error("limits that are off are called")
	}
}

func BenchmarkPutRecordsLimited(b *testing.B) {
	const plenty = 1 << 28
	send := newLimitedCaller(b, Limits{WriteRecords: plenty, WriteBytes: plenty}).request("PutRecords", putBody(500, 200))
	b.ReportAllocs()
	for b.Loop() {
		send()
	}
	b.ReportMetric(float64(b.N*500)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkPutRecords(b *testing.B) {
	for _, bc := range []struct{ n, size int }{{500, 200}, {100, 1024}, {1, 1024}} {
		b.Run(fmt.Sprintf("%dx%d", bc.n, bc.size), func(b *testing.B) {
			c := newCaller(b)
			for _, enc := range []struct {
				name string
				send func()
			}{
				{"json", c.request("PutRecords", putBody(bc.n, bc.size))},
				{"cbor", c.inCBOR("PutRecords", putInput(bc.n, bc.size))},
			} {
				b.Run(enc.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						enc.send()
					}
					b.ReportMetric(float64(b.N*bc.n)/b.Elapsed().Seconds(), "records/s")
				})
			}
		})
	}
}

func BenchmarkGetRecords(b *testing.B) {
	for _, bc := range []struct{ puts, n, size, limit int }{
		{40, 500, 200, 1000}, {40, 500, 200, 5000}, {44, 100, 10 << 10, 10000}, // answers of less and more than 1 MiB, and of the most
	} {
		c := newCaller(b)
		put := c.request("PutRecords", putBody(bc.n, bc.size))
		for range bc.puts {
			put()
		}
		it := c.iterator(0)
		send := c.request("GetRecords", fmt.Appendf(nil, `{"ShardIterator":"%s","Limit":%d}`, it, bc.limit))
		c.a.body = new(bytes.Buffer)
		send()
		n, size := bytes.Count(c.a.body.Bytes(), []byte(`"Data":`)), c.a.body.Len()
		c.a.body = nil
		for _, enc := range []struct {
			name string
			send func()
		}{
			{"json", send},
			{"cbor", c.inCBOR("GetRecords", map[string]any{"ShardIterator": it, "Limit": bc.limit})},
		} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, enc.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					enc.send()
				}
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}
