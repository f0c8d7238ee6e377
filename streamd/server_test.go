package streamd_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  streamd.Config
		want []string // all in one error
	}{
		{"everything", streamd.Config{Auth: "x", Fsync: "often", Listen: "here", TransitionDelay: -1, ShutdownTimeout: -1, Create: []streamd.StreamSpec{{Name: "a b", Shards: 1}, {Name: "a"}}}, []string{`auth "x"`, `fsync "often"`, `"here"`, "transition delay", "shutdown timeout", `"a b"`, "stream a: 0 shards"}},
		{"all addresses", streamd.Config{Listen: "0.0.0.0:4567"}, []string{"0.0.0.0:4567", "--insecure"}},
		{"no address", streamd.Config{Listen: ":4567"}, []string{"--insecure"}},
		{"admin", streamd.Config{Listen: "127.0.0.1:0", Admin: "192.0.2.1:1"}, []string{"admin address 192.0.2.1:1", "--insecure"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv, err := streamd.New(tt.cfg)
			if err == nil {
				_ = srv.Close()
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestParseStreams(t *testing.T) {
	got, err := streamd.ParseStreams("a:2, b,,c:3:eu-west-1")
	want := []streamd.StreamSpec{{Name: "a", Shards: 2}, {Name: "b", Shards: 1}, {Name: "c", Shards: 3, Region: "eu-west-1"}}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	for _, bad := range []string{"a:x", "a:1:b:c"} {
		if _, err := streamd.ParseStreams(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestPortInUse(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	addr := strings.TrimPrefix(srv.Endpoint(), "http://")
	_, port, _ := net.SplitHostPort(addr)
	_, err := streamd.New(streamd.Config{Listen: addr, Admin: streamd.AdminOff})
	if err == nil || !strings.Contains(err.Error(), "port "+port+" is in use") || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("error %v", err)
	}
}

// start runs a server that is not streamdtest's, and returns a function that
// stops it.
func start(t *testing.T, cfg streamd.Config) (*streamd.Server, func() error) {
	t.Helper()
	cfg.Listen, cfg.Logger = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	if cfg.Admin == "" {
		cfg.Admin = "127.0.0.1:0"
	}
	srv, err := streamd.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1) // its sender must not wait
	go func() { done <- srv.Run(ctx) }()
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return srv, stop
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAdmin(t *testing.T) {
	srv, stop := start(t, streamd.Config{Pprof: true, Create: []streamd.StreamSpec{{Name: "made", Shards: 2}}})
	base := "http://" + srv.AdminAddr()
	for _, path := range []string{"/healthz", "/healthcheck", "/readyz", "/debug/pprof/heap", "/debug/pprof/goroutine"} {
		if code, body := get(t, base+path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, _ := get(t, base+"/debug/pprof/nope"); code != http.StatusNotFound {
		t.Errorf("an unknown profile: %d", code)
	}

	post := func(url, op, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.Status + " " + string(b)
	}
	if got := post(base, "ListStreams", "{}"); !strings.HasPrefix(got, "400") || !strings.Contains(got, srv.Endpoint()) {
		t.Errorf("a request that strayed: %s", got)
	}
	post(srv.Endpoint(), "PutRecord", `{"StreamName":"made","Data":"aGVsbG8=","PartitionKey":"k"}`)
	post(srv.Endpoint(), "PutRecord", `{"StreamName":"nope","Data":"aGVsbG8=","PartitionKey":"k"}`)
	post(srv.Endpoint(), "Invented", `{}`)
	_, metrics := get(t, base+"/metrics")
	for _, want := range []string{
		`streamd_requests_total{code="OK",operation="PutRecord",service="kinesis"} 1`,
		`streamd_requests_total{code="ResourceNotFoundException",operation="PutRecord",service="kinesis"} 1`,
		`streamd_requests_total{code="UnknownOperationException",operation="Unknown",service="Unknown"} 1`,
		`streamd_request_duration_seconds_count{operation="PutRecord",service="kinesis"} 2`,
		`kinesis_incoming_records_total{stream="made"} 1`,
		`kinesis_incoming_bytes_total{stream="made"} 5`,
		`kinesis_put_record_latency_seconds_count{stream="made"} 1`,
		"streamd_connections ", "go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(metrics, "Invented") {
		t.Error("metrics have a label that a client invented")
	}
	http.DefaultClient.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestRestart shows that everything a client holds outlives the server:
// records, numbers, iterators, creation times.
func TestRestart(t *testing.T) {
	dir := streamdtest.Dir(t.TempDir())
	r := newRig(t, 2, dir)
	seq := r.put(1, "a")
	it := r.iterator(1, types.ShardIteratorTypeTrimHorizon)
	created := func(r *rig) time.Time {
		return *must[*kinesis.DescribeStreamSummaryOutput](t)(r.client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &r.stream})).StreamDescriptionSummary.StreamCreationTimestamp
	}
	before := created(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again := rigOn(t, streamdtest.New(t, dir), r.stream, r)
	if after := created(again); !after.Equal(before) {
		t.Errorf("created %v, then %v", before, after)
	}
	later := again.put(1, "b")
	if later <= seq {
		t.Errorf("number %s after %s", later, seq)
	}
	again.expect("an iterator from before", it, "a,b")
}

func TestDataDirErrors(t *testing.T) {
	dir := t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	srv := streamdtest.New(t, streamdtest.Dir(dir))
	_, err := streamd.New(streamd.Config{Listen: "127.0.0.1:0", Admin: streamd.AdminOff, DataDir: dir, Logger: quiet})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") || !strings.Contains(err.Error(), "--data") {
		t.Errorf("second server on %s: %v", dir, err)
	}
	srv.CreateStream(t, "s", 1)
	for range 3 {
		_, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("s"), Data: []byte("some data"), PartitionKey: aws.String("k")})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	// Without the snapshot of the clean stop the journal is read from its
	// start, and the damage is in front of good frames.
	if err := os.RemoveAll(filepath.Join(dir, "snap")); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "journal", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	b, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	b[strings.Index(string(b), "some data")] ^= 1
	if err := os.WriteFile(segments[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = streamd.New(streamd.Config{Listen: "127.0.0.1:0", Admin: streamd.AdminOff, DataDir: dir, Logger: quiet})
	if !errors.Is(err, streamd.ErrCorrupt) {
		t.Errorf("damaged journal: %v", err)
	}
}

// TestShutdownFinishesRequests stops a server while clients put: every call
// either succeeds or fails to connect, and what succeeded is stored.
func TestShutdownFinishesRequests(t *testing.T) {
	dir := t.TempDir()
	srv := streamdtest.New(t, streamdtest.Dir(dir), streamdtest.Listen())
	srv.CreateStream(t, "s", 2)
	acked := make(chan int)
	warm := make(chan struct{}, 4) // one for each client, so that none waits
	for range 4 {
		go func() {
			client := srv.Kinesis(func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
			n := 0
			for {
				_, err := client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("s"), Data: []byte("x"), PartitionKey: aws.String("k")})
				if err != nil {
					acked <- n
					return
				}
				if n++; n == 10 {
					warm <- struct{}{}
				}
			}
		}()
	}
	for range 4 {
		<-warm
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	want := 0
	for range 4 {
		want += <-acked
	}
	again := streamdtest.New(t, streamdtest.Dir(dir))
	if got := len(again.Records(t, "s")); got < want || got > want+4 || want == 0 {
		t.Errorf("%d records stored, %d acknowledged to 4 clients", got, want)
	}
}
