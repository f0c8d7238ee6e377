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
	srv, err := New(Config{
		Listen: "127.0.0.1:0", Admin: AdminOff, Logger: slog.New(slog.DiscardHandler),
		Create: []StreamSpec{{Name: "s", Shards: 4}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = srv.Close() })
	return &caller{tb: tb, h: srv.handler(), a: answer{head: make(http.Header)}}
}

// request returns a function that sends the same request each time.
func (c *caller) request(op string, body []byte) func() {
	r, err := http.NewRequestWithContext(c.tb.Context(), http.MethodPost, "http://localhost/", nil)
	if err != nil {
		c.tb.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00")
	r.Header.Set("X-Amz-Date", "20261123T120000Z")
	r.ContentLength = int64(len(body))
	reader := bytes.NewReader(body)
	r.Body = io.NopCloser(reader)
	return func() {
		reader.Reset(body)
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
	few, many := c.request("PutRecords", putBody(1, 100)), c.request("PutRecords", putBody(500, 100))
	many() // warms the pools
	one := testing.AllocsPerRun(50, few)
	if all := testing.AllocsPerRun(50, many); all > one+60 {
		t.Errorf("PutRecords: %v allocations for 500 records, %v for one", all, one)
	}
	it := c.iterator(0)
	few = c.request("GetRecords", fmt.Appendf(nil, `{"ShardIterator":"%s","Limit":1}`, it))
	many = c.request("GetRecords", fmt.Appendf(nil, `{"ShardIterator":"%s","Limit":2000}`, it))
	one = testing.AllocsPerRun(20, few)
	if all := testing.AllocsPerRun(20, many); all > one+60 {
		t.Errorf("GetRecords: %v allocations for 2000 records, %v for one", all, one)
	}
}

func BenchmarkPutRecords(b *testing.B) {
	for _, bc := range []struct{ n, size int }{{500, 200}, {100, 1024}, {1, 1024}} {
		b.Run(fmt.Sprintf("%dx%d", bc.n, bc.size), func(b *testing.B) {
			send := newCaller(b).request("PutRecords", putBody(bc.n, bc.size))
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
			b.ReportMetric(float64(b.N*bc.n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func BenchmarkGetRecords(b *testing.B) {
	c := newCaller(b)
	put := c.request("PutRecords", putBody(500, 200))
	for range 40 {
		put()
	}
	send := c.request("GetRecords", fmt.Appendf(nil, `{"ShardIterator":"%s","Limit":5000}`, c.iterator(0)))
	c.a.body = new(bytes.Buffer)
	send()
	n := bytes.Count(c.a.body.Bytes(), []byte(`"Data":`))
	c.a.body = nil
	b.ReportAllocs()
	for b.Loop() {
		send()
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
}
