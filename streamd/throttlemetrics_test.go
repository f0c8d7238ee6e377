package streamd

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

// TestThrottlesOfShards has shards refuse records and reads, with what is counted
// of them switched on and off.
func TestThrottlesOfShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, Config{Create: []StreamSpec{{Name: "s", Shards: 2}}, Limits: Limits{WriteRecords: 1, ReadCalls: 1}})
		const (
			write = "kinesis_shard_write_provisioned_throughput_exceeded_total"
			read  = "kinesis_shard_read_provisioned_throughput_exceeded_total"
			low   = `{shard="shardId-000000000000",stream="s"}`
			high  = `{shard="shardId-000000000001",stream="s"}`
		)
		monitor := func(op, metrics string) {
			t.Helper()
			w.ok(op, `{"StreamName":"s","ShardLevelMetrics":[`+metrics+`]}`)
		}
		// throttle has the lower shard refuse two records and one read, the upper
		// one record.
		throttle := func() {
			t.Helper()
			record := func(hash string) string {
				return `{"Data":"aGk=","PartitionKey":"k","ExplicitHashKey":"` + hash + `"}`
			}
			const top = "340282366920938463463374607431768211455"
			w.ok("PutRecords", `{"StreamName":"s","Records":[`+strings.Join([]string{record("0"), record(top), record("0"), record(top), record("0")}, ",")+`]}`)
			body := w.getBody(0, "")
			w.ok("GetRecords", body)
			if a := w.call("GetRecords", body); a.Code != http.StatusBadRequest {
				t.Fatalf("%d %s", a.Code, a.Body)
			}
			w.srv.Advance(10 * time.Second)
		}
		throttle()
		w.expect("off", write+low, write+high, read+low, `kinesis_write_provisioned_throughput_exceeded_total{stream="s"} 3`)
		monitor("EnableEnhancedMonitoring", `"WriteProvisionedThroughputExceeded"`)
		throttle()
		w.expect("writes on", write+low+" 2", write+high+" 1", read+low)
		monitor("EnableEnhancedMonitoring", `"ReadProvisionedThroughputExceeded"`)
		throttle()
		w.expect("both on", write+low+" 4", write+high+" 2", read+low+" 1", read+high,
			`kinesis_write_provisioned_throughput_exceeded_total{stream="s"} 9`, `kinesis_read_provisioned_throughput_exceeded_total{stream="s"} 3`)
		monitor("DisableEnhancedMonitoring", `"WriteProvisionedThroughputExceeded"`)
		w.expect("writes off", write+low, write+high, read+low+" 1")
		monitor("DisableEnhancedMonitoring", `"ReadProvisionedThroughputExceeded"`)
		w.expect("off again", read+low)
		if n := w.srv.metrics.stream.shardLabels.Load(); n != 0 {
			t.Errorf("%d shards are named after all is switched off", n)
		}
	})
}
