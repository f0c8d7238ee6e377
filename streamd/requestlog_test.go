package streamd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// lines returns what was logged, and empties the log.
func lines(t *testing.T, log *bytes.Buffer) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, m)
	}
	log.Reset()
	return all
}

func TestRequestLog(t *testing.T) {
	var log bytes.Buffer
	w := newWatched(t, Config{
		Create:     []StreamSpec{{Name: "s", Shards: 1}},
		RequestLog: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	signed := []string{
		"Authorization", "AWS4-HMAC-SHA256 Credential=123456789012/20261123/eu-west-1/kinesis/aws4_request, SignedHeaders=host, Signature=5ec2e7",
		"X-Amz-Date", "20261123T120000Z", "X-Amz-Security-Token", "t0ken5ecret",
	}
	iterator := w.getBody(0, "")
	log.Reset()
	const put = `{"StreamName":"s","Data":"c2VjcmV0","PartitionKey":"key5ecret"}`
	for _, tt := range []struct {
		name, op, body string
		header         []string
		want           string // key=value of what is the same every time, in order
	}{
		{
			"unsigned", "PutRecord", put, nil,
			`account=000000000000 code=OK in=63 operation=PutRecord region=us-east-1 service=kinesis status=200 stream=s`,
		},
		{
			"an SDK", "ListStreams", `{}`, append([]string{"User-Agent", "aws-sdk-go-v2/1", "Amz-Sdk-Request", "attempt=2; max=3"}, signed...),
			`agent=aws-sdk-go-v2/1 attempt=2 code=OK in=2 key=123456789012 operation=ListStreams service=kinesis status=200`,
		},
		{
			"a stream that is not there", "PutRecord", strings.Replace(put, `"s"`, `"nope"`, 1), signed,
			`account=123456789012 code=ResourceNotFoundException in=66 key=123456789012 operation=PutRecord region=eu-west-1 service=kinesis status=400 stream=nope`,
		},
		{
			"a stream by its resource name", "DescribeStreamSummary", `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s"}`, signed,
			`account=000000000000 code=OK in=63 key=123456789012 operation=DescribeStreamSummary region=us-east-1 service=kinesis status=200 stream=s`,
		},
		{
			"a stream by an iterator", "GetRecords", iterator, nil,
			fmt.Sprintf(`account=000000000000 code=OK in=%d operation=GetRecords region=us-east-1 service=kinesis status=200 stream=s`, len(iterator)),
		},
		{
			"refused", "PutRecord", `{"StreamName":"` + strings.Repeat("s", 200) + `","Data":"","PartitionKey":"k"}`, nil,
			`code=ValidationException in=246 operation=PutRecord service=kinesis status=400`,
		},
		{
			"an operation that is not there", "Inv\"ented\n", `{}`, nil,
			`code=UnknownOperationException in=2 operation=Unknown service=Unknown status=400`,
		},
		{
			"a table", "ListTables", `{}`,
			[]string{"X-Amz-Target", "DynamoDB_20120810.ListTables", "Content-Type", "application/x-amz-json-1.0"},
			`code=OK in=2 operation=ListTables service=dynamodb status=200`,
		},
		{
			"a long agent", "ListStreams", `{}`,
			[]string{"User-Agent", strings.Repeat("a", 2000)},
			`agent=` + strings.Repeat("a", 512) + ` code=OK in=2 operation=ListStreams service=kinesis status=200`,
		},
		{
			"deleted", "DeleteStream", `{"StreamName":"s"}`, nil,
			`account=000000000000 code=OK in=18 operation=DeleteStream region=us-east-1 service=kinesis status=200 stream=s`,
		},
	} {
		a := w.call(tt.op, tt.body, tt.header...)
		if strings.Contains(log.String(), "5ec2e7") || strings.Contains(log.String(), "5ecret") || strings.Contains(log.String(), "c2VjcmV0") {
			t.Errorf("%s: a secret is logged: %s", tt.name, &log)
		}
		got := lines(t, &log)
		if len(got) != 1 {
			t.Fatalf("%s: %d lines", tt.name, len(got))
		}
		m := got[0]
		for key, want := range map[string]any{
			"level": "INFO", "msg": "request", "id": a.Header()[requestIDHeader][0],
			"out": float64(a.Body.Len()), "remote": "192.0.2.1:1234", "proto": "HTTP/1.1",
		} {
			if m[key] != want {
				t.Errorf("%s: %s is %v, want %v", tt.name, key, m[key], want)
			}
			delete(m, key)
		}
		if _, ok := m["time"].(string); !ok {
			t.Errorf("%s: time is %v", tt.name, m["time"])
		}
		if ms, ok := m["ms"].(float64); !ok || ms < 0 {
			t.Errorf("%s: ms is %v", tt.name, m["ms"])
		}
		delete(m, "time")
		delete(m, "ms")
		var rest []string
		for _, key := range slices.Sorted(maps.Keys(m)) {
			rest = append(rest, fmt.Sprintf("%s=%v", key, m[key]))
		}
		if s := strings.Join(rest, " "); s != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.name, s, tt.want)
		}
	}
}

// TestRequestLogOfSignedQuery has the signature where an address would be.
func TestRequestLogOfSignedQuery(t *testing.T) {
	var log bytes.Buffer
	w := newWatched(t, Config{RequestLog: slog.New(slog.NewJSONHandler(&log, nil))})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261123%2Fus-east-1%2Fkinesis%2Faws4_request&X-Amz-Signature=5ec2e7&X-Amz-SignedHeaders=host&X-Amz-Date=20261123T120000Z", strings.NewReader("{}"))
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.ListStreams")
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	w.h.ServeHTTP(httptest.NewRecorder(), r)
	if strings.Contains(log.String(), "5ec2e7") {
		t.Errorf("a signature is logged: %s", &log)
	}
	if got := lines(t, &log); len(got) != 1 || got[0]["key"] != "AKID" || got[0]["code"] != "OK" {
		t.Errorf("logged: %v", got)
	}
}

// TestRequestLogOfOtherRequests logs what is answered before it is looked at.
func TestRequestLogOfOtherRequests(t *testing.T) {
	var log bytes.Buffer
	w := newWatched(t, Config{RequestLog: slog.New(slog.NewJSONHandler(&log, nil)), CORSOrigins: []string{"*"}})
	for _, tt := range []struct {
		method, url, origin string
		status              int
		code                string
	}{
		{http.MethodGet, "http://localhost/", "", 403, "AccessDeniedException"},
		{http.MethodOptions, "http://localhost/", "http://page", 200, "OK"},
		{http.MethodPost, "http://elsewhere/", "", 403, "AccessDeniedException"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.url, nil)
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		a := httptest.NewRecorder()
		w.h.ServeHTTP(a, r)
		got := lines(t, &log)
		if len(got) != 1 || got[0]["status"] != float64(tt.status) || got[0]["code"] != tt.code || a.Code != tt.status || got[0]["operation"] != "Unknown" {
			t.Errorf("%s %s: %d, logged %v", tt.method, tt.url, a.Code, got)
		}
	}
	quiet := newWatched(t, Config{RequestLog: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	quiet.ok("ListStreams", `{}`)
	if log.Len() != 0 {
		t.Errorf("a handler that wants no such lines has %s", &log)
	}
}

// requestIDHeader is written as AWS does, not as net/http would.
var requestIDHeader = "x-amzn-RequestId"
