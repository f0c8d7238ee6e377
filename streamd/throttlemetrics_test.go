package streamd

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestThrottlesAreCounted compares the counters with what was refused.
func TestThrottlesAreCounted(t *testing.T) {
	srv, err := New(Config{
		Limits: Limits{WriteRecords: 0.001, ReadCalls: 0.001, Iterators: 0.001}, Listen: "127.0.0.1:0", Admin: AdminOff,
		Logger: slog.New(slog.DiscardHandler), Create: []StreamSpec{{Name: "s", Shards: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	c := &caller{tb: t, h: srv.handler(), a: answer{head: make(http.Header)}}
	c.request("PutRecords", putBody(4, 10))()
	it := c.iterator(0)
	get := func() {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/", strings.NewReader(`{"ShardIterator":"`+it+`"}`))
		r.Header.Set("X-Amz-Target", "Kinesis_20131202.GetRecords")
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		c.h.ServeHTTP(httptest.NewRecorder(), r)
	}
	for range 3 {
		get()
	}
	out := httptest.NewRecorder()
	srv.metrics.handler().ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`kinesis_write_provisioned_throughput_exceeded_total{stream="s"} 3`,
		`kinesis_read_provisioned_throughput_exceeded_total{stream="s"} 2`,
	} {
		if !strings.Contains(out.Body.String(), want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}
