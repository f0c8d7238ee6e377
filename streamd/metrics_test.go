package streamd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// watched is a server that is called without a network, and its metrics.
type watched struct {
	t   *testing.T
	srv *Server
	h   http.Handler
}

func newWatched(t *testing.T, cfg Config) *watched {
	t.Helper()
	cfg.Listen, cfg.Admin = "127.0.0.1:0", AdminOff
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return &watched{t: t, srv: srv, h: srv.handler()}
}

// call sends a request in JSON and returns the answer.
func (w *watched) call(op, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://localhost/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a := httptest.NewRecorder()
	w.h.ServeHTTP(a, r)
	return a
}

// ok is call for a request that must succeed.
func (w *watched) ok(op, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	a := w.call(op, body, header...)
	if a.Code != http.StatusOK {
		w.t.Fatalf("%s: %d %s", op, a.Code, a.Body)
	}
	return a
}

// read reads a shard of stream s from its beginning.
func (w *watched) read(shard int) {
	w.t.Helper()
	w.ok("GetRecords", w.getBody(shard, ""))
}

func (w *watched) getBody(shard int, more string) string {
	w.t.Helper()
	var out struct{ ShardIterator string }
	a := w.ok("GetShardIterator", fmt.Sprintf(`{"StreamName":"s","ShardId":"shardId-%012d","ShardIteratorType":"TRIM_HORIZON"}`, shard))
	if err := json.Unmarshal(a.Body.Bytes(), &out); err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf(`{"ShardIterator":%q%s}`, out.ShardIterator, more)
}

// scrape returns the values of the metrics that are not of the process.
func (w *watched) scrape() map[string]string {
	w.t.Helper()
	a := httptest.NewRecorder()
	w.srv.metrics.handler().ServeHTTP(a, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "/metrics", nil))
	values := make(map[string]string)
	for lines := bufio.NewScanner(a.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if name += "}"; !ok {
			name, value, _ = strings.Cut(lines.Text(), " ")
		}
		if strings.HasPrefix(name, "kinesis_") || strings.HasPrefix(name, "streamd_") {
			values[name] = value
		}
	}
	return values
}

// expect compares metrics, given as name and value; no value means that the
// metric must not be there.
func (w *watched) expect(when string, want ...string) {
	w.t.Helper()
	got := w.scrape()
	for _, line := range want {
		name, value, _ := strings.Cut(line, " ")
		if got[name] != value {
			w.t.Errorf("%s: %s is %q, want %q", when, name, got[name], value)
		}
	}
}

func TestStreamMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, Config{Create: []StreamSpec{{Name: "s", Shards: 1}}, Limits: Limits{WriteRecords: 4}})
		w.expect("at the start", `kinesis_incoming_records_total{stream="s"}`, "streamd_streams 1", "streamd_open_shards 1")

		w.ok("PutRecord", `{"StreamName":"s","Data":"aGVsbG8=","PartitionKey":"k"}`)
		w.call("PutRecord", `{"StreamName":"s","Data":"aGVsbG8=","PartitionKey":"k","SequenceNumberForOrdering":"1"}`) // no number of a stream
		w.call("PutRecord", `{"StreamName":"nope","Data":"aGVsbG8=","PartitionKey":"k"}`)
		w.call("PutRecord", `{"StreamName":"s"}`) // refused before anything is looked up
		w.expect("after PutRecord",
			`kinesis_incoming_bytes_total{stream="s"} 5`,
			`kinesis_incoming_records_total{stream="s"} 1`,
			`kinesis_put_record_bytes_total{stream="s"} 5`,
			`kinesis_put_record_success_total{stream="s"} 1`,
			`kinesis_put_record_latency_seconds_count{stream="s"} 2`,
			`kinesis_put_records_latency_seconds_count{stream="s"}`,
			`kinesis_incoming_bytes_total{stream="nope"}`,
			`kinesis_put_record_latency_seconds_count{stream="nope"}`,
		)

		record := `{"Data":"aGk=","PartitionKey":"k"}`
		w.ok("PutRecords", `{"StreamName":"s","Records":[`+record+strings.Repeat(","+record, 4)+`]}`) // 3 of 5 are left of the second
		w.ok("PutRecords", `{"StreamName":"s","Records":[`+record+`]}`)                               // none
		w.expect("after PutRecords",
			`kinesis_incoming_bytes_total{stream="s"} 11`,
			`kinesis_incoming_records_total{stream="s"} 4`,
			`kinesis_put_records_bytes_total{stream="s"} 6`,
			`kinesis_put_records_success_total{stream="s"} 1`,
			`kinesis_put_records_total_records_total{stream="s"} 6`,
			`kinesis_put_records_successful_records_total{stream="s"} 3`,
			`kinesis_put_records_throttled_records_total{stream="s"} 3`,
			`kinesis_put_records_failed_records_total{stream="s"} 0`,
			`kinesis_write_provisioned_throughput_exceeded_total{stream="s"} 3`,
			`kinesis_read_provisioned_throughput_exceeded_total{stream="s"} 0`,
			`kinesis_put_records_latency_seconds_count{stream="s"} 2`,
			`kinesis_shard_incoming_records_total{shard="shardId-000000000000",stream="s"}`,
		)

		w.srv.Advance(3 * time.Second)
		const age = `kinesis_get_records_iterator_age_milliseconds{stream="s"}`
		w.expect("before a read", age)
		w.ok("GetRecords", w.getBody(0, `,"Limit":1`))
		w.expect("behind", age+" 3000")
		w.read(0)
		w.call("GetRecords", `{"ShardIterator":"AAAA"}`) // of no stream
		w.expect("after GetRecords", age+" 3000",
			`kinesis_get_records_bytes_total{stream="s"} 16`,
			`kinesis_get_records_records_total{stream="s"} 5`,
			`kinesis_get_records_success_total{stream="s"} 2`,
			`kinesis_get_records_latency_seconds_count{stream="s"} 2`,
		)
		time.Sleep(time.Minute)
		w.read(0)
		w.expect("a minute later", age+" 3000")
		time.Sleep(time.Minute)
		w.read(0)
		w.expect("at the tip", age+" 0")
		time.Sleep(2 * time.Minute)
		w.expect("without reads", age)

		w.ok("DeleteStream", `{"StreamName":"s"}`)
		for name := range w.scrape() {
			if strings.Contains(name, `stream="s"`) {
				t.Errorf("after DeleteStream: %s", name)
			}
		}
		w.expect("after DeleteStream", "streamd_streams 0", "streamd_open_shards 0")
	})
}

func TestShardMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, Config{Create: []StreamSpec{{Name: "s", Shards: 2}}})
		const (
			low  = `{shard="shardId-000000000000",stream="s"}`
			high = `{shard="shardId-000000000001",stream="s"}`
		)
		put := func() {
			t.Helper()
			w.ok("PutRecords", `{"StreamName":"s","Records":[{"Data":"aGVsbG8=","PartitionKey":"k","ExplicitHashKey":"0"},{"Data":"aGk=","PartitionKey":"k","ExplicitHashKey":"340282366920938463463374607431768211455"},{"Data":"aGk=","PartitionKey":"k","ExplicitHashKey":"1"}]}`)
			w.read(0)
		}
		monitor := func(op, metrics string) {
			t.Helper()
			w.ok(op, `{"StreamName":"s","ShardLevelMetrics":[`+metrics+`]}`)
		}
		put()
		w.expect("off", "kinesis_shard_incoming_records_total"+low, "kinesis_shard_incoming_bytes_total"+low)
		monitor("EnableEnhancedMonitoring", `"IncomingBytes"`)
		put()
		w.expect("one on",
			"kinesis_shard_incoming_bytes_total"+low+" 7", "kinesis_shard_incoming_bytes_total"+high+" 2",
			"kinesis_shard_incoming_records_total"+low, "kinesis_shard_outgoing_records_total"+low, "kinesis_shard_iterator_age_milliseconds"+low,
		)
		monitor("EnableEnhancedMonitoring", `"ALL"`)
		put()
		w.expect("all on",
			"kinesis_shard_incoming_bytes_total"+low+" 14", "kinesis_shard_incoming_records_total"+low+" 2",
			"kinesis_shard_incoming_records_total"+high+" 1", "kinesis_shard_iterator_age_milliseconds"+low+" 0",
			"kinesis_shard_outgoing_records_total"+low+" 6", "kinesis_shard_outgoing_bytes_total"+low+" 21",
			"kinesis_shard_outgoing_records_total"+high,
		)
		monitor("DisableEnhancedMonitoring", `"IncomingBytes","IteratorAgeMilliseconds"`)
		w.expect("two off",
			"kinesis_shard_incoming_bytes_total"+low, "kinesis_shard_iterator_age_milliseconds"+low, "kinesis_shard_incoming_records_total"+low+" 2")

		w.ok("MergeShards", `{"StreamName":"s","ShardToMerge":"shardId-000000000000","AdjacentShardToMerge":"shardId-000000000001"}`)
		w.expect("merged", "kinesis_shard_incoming_records_total"+low+" 2", "streamd_open_shards 1")
		w.srv.Advance(25 * time.Hour)
		w.expect("expired", "kinesis_shard_incoming_records_total"+low, "kinesis_shard_outgoing_records_total"+low)
		monitor("DisableEnhancedMonitoring", `"ALL"`)
		w.expect("all off")
		if n := w.srv.metrics.stream.shardLabels.Load(); n != 0 {
			t.Errorf("%d shards are named after all are switched off", n)
		}
	})
}

// TestConsumerMetrics reports events as fan-out does.
func TestConsumerMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, Config{Create: []StreamSpec{{Name: "s", Shards: 1}}})
		w.ok("EnableEnhancedMonitoring", `{"StreamName":"s","ShardLevelMetrics":["OutgoingBytes"]}`)
		m := w.srv.metrics.stream
		s := m.catalogue()[0]
		const c = `{consumer="c",stream="s"}`
		m.Sent(s, "c", api.Event{Records: 2, Bytes: 10, Behind: 7 * time.Millisecond})
		m.Sent(s, "c", api.Event{})
		w.expect("sent",
			"kinesis_subscribe_to_shard_event_bytes_total"+c+" 10",
			"kinesis_subscribe_to_shard_event_records_total"+c+" 2",
			"kinesis_subscribe_to_shard_event_success_total"+c+" 2",
			"kinesis_subscribe_to_shard_event_millis_behind_latest"+c+" 7",
			`kinesis_shard_outgoing_bytes_total{shard="shardId-000000000000",stream="s"} 10`,
			`kinesis_incoming_records_total{stream="s"} 0`,
		)
		for i := range 30 {
			m.Sent(s, fmt.Sprint("more", i), api.Event{Records: 1})
		}
		w.expect("many", `kinesis_subscribe_to_shard_event_records_total{consumer="_other",stream="s"} 11`)
		time.Sleep(2 * time.Hour)
		w.expect("idle", "kinesis_subscribe_to_shard_event_bytes_total"+c)

		subscribe := func(code string) {
			status := http.StatusBadRequest
			if code == awsproto.CodeOK {
				status = http.StatusOK
			}
			m.observe(&awsproto.Exchange{Operation: "SubscribeToShard", Code: code, Status: status, Subject: shape.Subject{Stream: "s", Exists: true}})
		}
		subscribe(awsproto.CodeOK)
		subscribe("ResourceInUseException")
		subscribe("LimitExceededException")
		subscribe("ResourceNotFoundException")
		w.expect("subscribed",
			`kinesis_subscribe_to_shard_success_total{stream="s"} 1`,
			`kinesis_subscribe_to_shard_rate_exceeded_total{stream="s"} 2`,
		)
	})
}

func TestMetricLabelsAreBounded(t *testing.T) {
	w := newWatched(t, Config{})
	m := w.srv.metrics.stream
	var streams []*state.Stream
	for i := range maxStreamLabels + 2 {
		streams = append(streams, &state.Stream{Key: state.StreamKey{Name: fmt.Sprint("s", i)}, Metrics: state.ShardMetrics(), Shards: make([]state.Shard, maxShardLabels)})
	}
	m.catalogue = func() []*state.Stream { return streams }
	one := api.Put{Records: []store.Record{{Data: []byte("x")}}, Stored: []store.Stored{{}}}
	for _, s := range streams {
		m.Put(s, one)
		m.Sent(s, "c", api.Event{})
	}
	w.expect("full",
		`kinesis_incoming_records_total{stream="s0"} 1`, `kinesis_incoming_records_total{stream="s1000"}`,
		`kinesis_incoming_records_total{stream="_other"} 2`,
		`kinesis_subscribe_to_shard_event_success_total{consumer="_other",stream="_other"} 2`,
		`kinesis_shard_incoming_records_total{shard="shardId-000000000000",stream="_other"}`,
	)
	for i := range maxShardLabels {
		one.Stored[0].Shard = i
		m.Put(streams[0], one)
	}
	count := func() (n int) {
		for name := range w.scrape() {
			if strings.HasPrefix(name, "kinesis_shard_incoming_records_total") {
				n++
			}
		}
		return n
	}
	if n := count(); n != maxShardLabels {
		t.Errorf("%d shards are named", n)
	}
	one.Stored[0].Shard = 0
	streams = streams[1:] // s0 is deleted
	m.Put(streams[maxStreamLabels-1], one)
	w.expect("before a scrape", `kinesis_incoming_records_total{stream="s0"}`, `kinesis_incoming_records_total{stream="_other"} 3`)
	m.Put(streams[maxStreamLabels-1], one)
	w.expect("there is room", `kinesis_incoming_records_total{stream="s1000"} 1`)
	if n := count(); n != maxStreamLabels {
		t.Errorf("%d shards are named after a stream was deleted", n)
	}
}

func TestRequestMetrics(t *testing.T) {
	w := newWatched(t, Config{DataDir: t.TempDir()})
	w.ok("ListStreams", `{}`)
	w.ok("ListStreams", `{}`, "Amz-Sdk-Request", "attempt=1; max=3")
	w.ok("ListStreams", `{}`, "Amz-Sdk-Request", "ttl=20261123T120000Z; attempt=2; max=3")
	w.ok("ListStreams", `{}`, "Amz-Sdk-Request", "attempt=-2")
	w.ok("CreateStream", `{"StreamName":"s","ShardCount":1}`)
	got := w.scrape()
	for name, want := range map[string]string{
		`streamd_request_retries_total{operation="ListStreams",service="kinesis"}`:          "1",
		`streamd_requests_total{code="OK",operation="ListStreams",service="kinesis"}`:       "4",
		`streamd_request_duration_seconds_count{operation="ListStreams",service="kinesis"}`: "4",
		`streamd_request_body_bytes`: "0",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for _, name := range []string{"streamd_journal_sync_duration_seconds_count", "streamd_journal_bytes"} {
		if v := got[name]; v == "" || v == "0" {
			t.Errorf("%s is %q after a write", name, v)
		}
	}
	for _, change := range []struct {
		to   http.ConnState
		open string
	}{
		{http.StateNew, "1"}, {http.StateActive, "1"}, {http.StateNew, "2"}, {http.StateIdle, "2"}, {http.StateClosed, "1"}, {http.StateHijacked, "0"},
	} {
		w.srv.metrics.connection(nil, change.to)
		w.expect(change.to.String(), "streamd_connections "+change.open)
	}
	w.expect("after all", "streamd_connections_accepted_total 2")
}

// TestMetricNames pins what is served, and compares it with its page.
func TestMetricNames(t *testing.T) {
	w := newWatched(t, Config{DataDir: t.TempDir(), Version: "1.2.3", Create: []StreamSpec{{Name: "s", Shards: 1}}})
	w.ok("EnableEnhancedMonitoring", `{"StreamName":"s","ShardLevelMetrics":["ALL"]}`, "Amz-Sdk-Request", "attempt=2; max=3")
	w.ok("PutRecord", `{"StreamName":"s","Data":"aGVsbG8=","PartitionKey":"k"}`)
	w.ok("PutRecords", `{"StreamName":"s","Records":[{"Data":"aGVsbG8=","PartitionKey":"k"}]}`)
	w.read(0)
	m, s := w.srv.metrics.stream, w.srv.metrics.stream.catalogue()[0]
	m.Sent(s, "c", api.Event{})
	m.throttled(s, 0, true, 1)
	m.throttled(s, 0, false, 1)

	families, err := w.srv.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var golden bytes.Buffer
	served := make(map[string]bool)
	for _, f := range families {
		served[f.GetName()] = true
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		fmt.Fprintf(&golden, "%s %s{%s}\n\t%s\n", strings.ToLower(f.GetType().String()), f.GetName(), strings.Join(labels, ","), f.GetHelp())
	}
	compareGolden(t, "metrics.golden", golden.Bytes())

	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.Contains(p.Metric, "_milliseconds") || !strings.Contains(p.Text, "base unit") {
			t.Errorf("lint: %s: %s", p.Metric, p.Text)
		}
	}

	documented := make(map[string]string) // by metric: its name in CloudWatch
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && strings.Contains(cells[1], "_") {
			documented[strings.Trim(cells[1], " `")] = strings.Trim(cells[2], " `")
		}
	}
	if names := slices.Sorted(maps.Keys(documented)); !slices.Equal(names, slices.Sorted(maps.Keys(served))) {
		t.Errorf("docs/metrics.md has the metrics\n%q, served are\n%q", names, slices.Sorted(maps.Keys(served)))
	}
	for _, n := range slices.Concat(streamCounterNames[:], streamLatencyNames[:], consumerCounterNames[:], shardCounterNames[:],
		[]metricName{iteratorAgeName, eventBehindName, shardAgeName}) {
		if documented[n.name] != n.aws {
			t.Errorf("docs/metrics.md: %s is %q in CloudWatch, want %q", n.name, documented[n.name], n.aws)
		}
	}
	for _, name := range cloudWatchNames {
		if !bytes.Contains(page, []byte("`"+name+"`")) {
			t.Errorf("docs/metrics.md does not say where CloudWatch's %s is", name)
		}
	}
}

// cloudWatchNames are the metrics of AWS/Kinesis, but those of channels.
//
// Source: the chapter on monitoring of Amazon's developer guide.
var cloudWatchNames = []string{
	"IncomingBytes", "IncomingRecords", "PutRecord.Bytes", "PutRecord.Latency", "PutRecord.Success",
	"PutRecords.Bytes", "PutRecords.Latency", "PutRecords.Records", "PutRecords.Success", "PutRecords.TotalRecords",
	"PutRecords.SuccessfulRecords", "PutRecords.FailedRecords", "PutRecords.ThrottledRecords",
	"GetRecords.Bytes", "GetRecords.IteratorAge", "GetRecords.IteratorAgeMilliseconds", "GetRecords.Latency",
	"GetRecords.Records", "GetRecords.Success", "SubscribeToShard.RateExceeded", "SubscribeToShard.Success",
	"SubscribeToShardEvent.Bytes", "SubscribeToShardEvent.MillisBehindLatest", "SubscribeToShardEvent.Records",
	"SubscribeToShardEvent.Success", "WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded",
	"IteratorAgeMilliseconds", "OutgoingBytes", "OutgoingRecords",
}

// compareGolden compares got with a file of testdata, or writes it under
// -update.
func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(name, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and look at the difference. Got:\n%s", name, got)
	}
}

// TestMetricsAreCheap counts what counting allocates.
func TestMetricsAreCheap(t *testing.T) {
	w := newWatched(t, Config{Create: []StreamSpec{{Name: "s", Shards: 4}}})
	w.ok("EnableEnhancedMonitoring", `{"StreamName":"s","ShardLevelMetrics":["ALL"]}`)
	m := w.srv.metrics
	s := m.stream.catalogue()[0]
	put := api.Put{Batch: true, Records: make([]store.Record, 500), Stored: make([]store.Stored, 500)}
	for i := range put.Stored {
		put.Stored[i].Shard = i % 4
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	r.Header.Set("Amz-Sdk-Request", "attempt=2; max=3")
	e := awsproto.Exchange{Service: "kinesis", Operation: "PutRecords", Code: awsproto.CodeOK, Request: r, Subject: shape.Subject{Stream: "s", Exists: true}}
	for _, tt := range []struct {
		name string
		do   func()
	}{
		{"Put", func() { m.stream.Put(s, put) }},
		{"Got", func() { m.stream.Got(s, 1, 100, 1000, time.Second) }},
		{"Sent", func() { m.stream.Sent(s, "c", api.Event{Records: 1}) }},
		{"throttled", func() { m.stream.throttled(s, 1, true, 3) }},
		{"observe, without a log", func() { w.srv.observe(e) }},
	} {
		tt.do() // makes the labels
		if n := testing.AllocsPerRun(100, tt.do); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// TestFanOutMetrics subscribes as a client does.
func TestFanOutMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWatched(t, Config{Create: []StreamSpec{{Name: "s", Shards: 1}}, RequestLog: slog.New(slog.NewJSONHandler(&log, nil))})
		w.ok("PutRecord", `{"StreamName":"s","Data":"aGVsbG8=","PartitionKey":"k"}`)
		var out struct{ Consumer struct{ ConsumerARN string } }
		a := w.ok("RegisterStreamConsumer", `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s","ConsumerName":"c"}`)
		if err := json.Unmarshal(a.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		subscribe := func(wait time.Duration) int {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/", strings.NewReader(
				fmt.Sprintf(`{"ConsumerARN":%q,"ShardId":"shardId-000000000000","StartingPosition":{"Type":"TRIM_HORIZON"}}`, out.Consumer.ConsumerARN)))
			r.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
			r.Header.Set("Content-Type", "application/x-amz-json-1.1")
			a := httptest.NewRecorder()
			w.h.ServeHTTP(a, r)
			return a.Body.Len()
		}
		log.Reset()
		n := subscribe(time.Second)
		w.expect("after a subscription",
			`kinesis_subscribe_to_shard_success_total{stream="s"} 1`,
			`kinesis_subscribe_to_shard_event_bytes_total{consumer="c",stream="s"} 5`,
			`kinesis_subscribe_to_shard_event_records_total{consumer="c",stream="s"} 1`,
			`kinesis_subscribe_to_shard_event_millis_behind_latest{consumer="c",stream="s"} 0`,
			`kinesis_get_records_records_total{stream="s"} 0`,
		)
		if got := lines(t, &log); len(got) != 1 || got[0]["stream"] != "s" || got[0]["status"] != 200.0 || got[0]["out"] != float64(n) {
			t.Errorf("%d bytes were sent, logged is %v", n, got)
		}
	})
}
