package streamd_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/capture"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// captured reads a capture. Damaged lines are counted.
func captured(t *testing.T, file string) (lines []capture.Line, damaged int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := capture.NewReader(bytes.NewReader(b))
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, damaged
		}
		if _, ok := errors.AsType[*capture.DamagedError](err); ok {
			damaged++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
}

func TestCapture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "requests.ndjson")
		srv := streamdtest.New(t, streamdtest.Config(func(c *streamd.Config) { c.Capture = file }))
		time.Sleep(3 * time.Second)
		srv.CreateStream(t, "s", 1)
		_, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: aws.String("none"), PartitionKey: aws.String("k"), Data: []byte("data"),
		})
		if err == nil {
			t.Fatal("a record was put where no stream is")
		}
		if _, err := srv.DynamoDB().ListTables(t.Context(), &dynamodb.ListTablesInput{}); err != nil {
			t.Fatal(err)
		}
		// This one is no request to the APIs.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.Endpoint(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := srv.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		// A server that is killed leaves what was answered a moment ago.
		synctest.Wait()
		lines, _ := captured(t, file)
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
		if len(lines) != 3 {
			t.Fatalf("%d lines, want 3", len(lines))
		}
		created, refused, tables := lines[0], lines[1], lines[2]
		if tables.Operation() != "ListTables" || tables.Service() != "dynamodb" || tables.Status != 200 || string(tables.Body) != "{}" {
			t.Errorf("%+v", tables)
		}
		if created.Operation() != "CreateStream" || created.Status != 200 || created.At != 3*time.Second || created.ContentType != "application/x-amz-json-1.1" {
			t.Errorf("%+v", created)
		}
		if refused.Operation() != "PutRecord" || refused.Status != 400 || refused.Code != "ResourceNotFoundException" || !bytes.Contains(refused.Body, []byte(`"Data":"ZGF0YQ=="`)) {
			t.Errorf("%+v", refused)
		}
	})
}

// TestCaptureOfSubscriptions follows three: one that its client leaves, one that
// a fault cuts, and one that another takes the place of.
func TestCaptureOfSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "requests.ndjson")
		r := newRig(t, 1, streamdtest.Config(func(c *streamd.Config) { c.Capture = file }))
		consumer := *r.register("app").ConsumerARN
		put := func(data string) {
			t.Helper()
			if _, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &r.stream, PartitionKey: aws.String("k"), Data: []byte(data)}); err != nil {
				t.Fatal(err)
			}
		}
		put("1")
		put("2")
		left := r.subscribeRaw(inCBOR, consumer, "TRIM_HORIZON")
		if e := left.next(); len(e.payload.(*plainEvent).Records) != 2 {
			t.Fatalf("%+v", e)
		}
		put("3")
		if e := left.next(); len(e.payload.(*plainEvent).Records) != 1 {
			t.Fatalf("%+v", e)
		}
		continued := left.next().payload.(*plainEvent).ContinuationSequenceNumber // a sign of life
		_ = left.resp.Body.Close()
		time.Sleep(10 * time.Second)

		remove := r.Fault(t, streamdtest.Fault{Kind: streamd.FaultFanOutCut, Events: 1, Reset: true})
		cut := r.subscribeRaw(inJSON, consumer, "TRIM_HORIZON")
		_, _ = io.Copy(io.Discard, cut.resp.Body) // until it is cut
		remove()
		time.Sleep(10 * time.Second)

		taken := r.subscribeRaw(inJSON, consumer, "LATEST")
		time.Sleep(5 * time.Second)
		last := r.subscribeRaw(inJSON, consumer, "LATEST")
		for m := taken.next(); m.name != "ResourceInUseException"; m = taken.next() {
			if m.kind != "event" {
				t.Fatalf("%+v", m)
			}
		}
		_ = last.resp.Body.Close()
		synctest.Wait()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		lines, _ := captured(t, file)
		opened := make(map[int64]bool)
		ended := make(map[int64]capture.Subscription)
		for _, l := range lines {
			switch {
			case l.Stream == 0:
			case l.Ended == nil:
				opened[l.Stream] = l.Status == 200 && len(l.Body) > 0 && !opened[l.Stream]
			case !opened[l.Stream] || len(l.Body) > 0:
				t.Errorf("ended, but not opened: %+v", l)
			default:
				ended[l.Stream] = *l.Ended
			}
		}
		if len(opened) != 4 || len(ended) != 4 {
			t.Fatalf("%d opened, ended %v", len(opened), ended)
		}
		if got, want := ended[1], (capture.Subscription{Events: 2, Records: 3, Next: continued}); got != want {
			t.Errorf("the one that was left: %+v, want %+v", got, want)
		}
		if got := ended[2]; got.Events != 1 || got.Records != 3 || got.Code != "" {
			t.Errorf("the one that was cut: %+v", got)
		}
		if got := ended[3]; got.Records != 0 || got.Code != "ResourceInUseException" {
			t.Errorf("the one whose place was taken: %+v", got)
		}
	})
}

func TestCaptureGoesOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requests.ndjson")
	run := func() {
		srv := streamdtest.New(t, streamdtest.Config(func(c *streamd.Config) { c.Capture = file }))
		srv.CreateStream(t, "s", 1)
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
	}
	run()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)-9], 0o600); err != nil { // as a kill may leave it
		t.Fatal(err)
	}
	run()
	run()
	if lines, damaged := captured(t, file); len(lines) != 2 || damaged != 1 {
		t.Errorf("%d lines and %d damaged, want 2 and 1", len(lines), damaged)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("others may read the capture: %v", mode)
	}
}

func TestCaptureIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requests.ndjson")
	var log bytes.Buffer
	const limit = 2000
	srv := streamdtest.New(t, streamdtest.Config(func(c *streamd.Config) {
		c.Capture, c.CaptureLimit, c.Admin = file, limit, "127.0.0.1:0"
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}), streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	for range 20 {
		_, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: make([]byte, 300),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(srv.Records(t, "s")); n != 20 {
		t.Errorf("%d records: a full capture has stopped the server", n)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	lines, damaged := captured(t, file)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) < 2 || len(lines) > 6 || damaged > 0 || info.Size() > limit {
		t.Errorf("%d lines, %d damaged, %d bytes", len(lines), damaged, info.Size())
	}
	if n := strings.Count(log.String(), "the capture is full"); n != 1 {
		t.Errorf("said %d times that it is full, want once:\n%s", n, &log)
	}
}

func TestCaptureCannotBeOpened(t *testing.T) {
	_, err := streamd.New(streamd.Config{
		Listen: "127.0.0.1:0", Admin: streamd.AdminOff, TLS: streamd.TLSOff,
		Capture: filepath.Join(t.TempDir(), "none", "requests.ndjson"), Logger: slog.New(slog.DiscardHandler),
	})
	if err == nil || !strings.Contains(err.Error(), "--capture") {
		t.Errorf("error %v", err)
	}
	_, err = streamd.New(streamd.Config{CaptureLimit: -1})
	if err == nil || !strings.Contains(err.Error(), "capture limit -1 is negative") {
		t.Errorf("error %v", err)
	}
}

func TestCaptureMetrics(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int64
		want  string
	}{
		{"written", 0, "streamd_capture_requests_total 3\n"},
		{"dropped", 1, "streamd_capture_dropped_total 3\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv, _ := start(t, streamd.Config{Capture: filepath.Join(t.TempDir(), "c"), CaptureLimit: tt.limit})
			for range 3 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.Endpoint(), strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-Amz-Target", "Kinesis_20131202.ListStreams")
				req.Header.Set("Content-Type", "application/x-amz-json-1.1")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close() // the answer does not matter
			}
			var metrics string
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
				if _, metrics = get(t, "http://"+srv.AdminAddr()+"/metrics"); strings.Contains(metrics, tt.want) {
					return
				}
			}
			t.Errorf("metrics lack %q:\n%s", tt.want, metrics)
		})
	}
}
