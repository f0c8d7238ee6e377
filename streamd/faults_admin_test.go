package streamd_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// adminCall asks the admin address of a server.
func adminCall(t *testing.T, srv *streamdtest.Server, method, path, body string, header http.Header) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+srv.AdminAddr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name := range header {
		req.Header.Set(name, header.Get(name))
	}
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func withAdmin(enable bool) streamdtest.Option {
	return streamdtest.Config(func(c *streamd.Config) { c.Admin, c.EnableFaults = "127.0.0.1:0", enable })
}

var isJSON = http.Header{"Content-Type": {"application/json; charset=utf-8"}}

func TestFaultsOfTheAdminPort(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen(), withAdmin(true))
	const unknown = `{
  "error": "there is no rule \"none\"; see those there are with GET /faults or streamctl faults list"
}
`
	for _, tt := range []struct {
		method, path, body string
		header             http.Header
		status             int
		want               string
	}{
		{"GET", "/faults", "", nil, 200, "[]\n"},
		{"POST", "/faults", `{"kind":"cut","operation":"ListStreams","every":2}`, isJSON, 201, `[{"id":"fault-1","kind":"cut","operation":"ListStreams","every":2}]`},
		{"POST", "/faults", `[{"kind":"internal","max":1},{"id":"x","kind":"throttle","shard":7}]`, isJSON, 201, `[{"id":"fault-2","kind":"internal","max":1},{"id":"x","kind":"throttle","shard":"7"}]`},
		{"POST", "/faults", `[{"kind":"cut"},{"id":"x","kind":"cut"}]`, isJSON, 400, `{"error":"faults: there is a rule with the id x; remove it first, or write another id"}`},
		{"POST", "/faults", `{"kind":"cat"}`, isJSON, 400, `{"error":"faults: rule 1: kind \"cat\" is unknown; write one of throttle, internal, unavailable, latency, partial, reply-lost, cut, expired-iterator, fan-out-cut, error"}`},
		{"GET", "/faults/x", "", nil, 200, `{"id":"x","kind":"throttle","shard":"7","matched":0,"injected":0}`},
		{"GET", "/faults/none", "", nil, 404, unknown},
		{"DELETE", "/faults/none", "", nil, 404, unknown},
		{"DELETE", "/faults/fault-2", "", nil, 200, `{"removed":1}`},
		{"GET", "/faults", "", nil, 200, `[{"id":"fault-1","kind":"cut","operation":"ListStreams","every":2,"matched":0,"injected":0},{"id":"x","kind":"throttle","shard":"7","matched":0,"injected":0}]`},
		// What a page of another site could have a browser send.
		{"POST", "/faults", `{"kind":"cut"}`, nil, 415, `{"error":"the rules must come as JSON; send Content-Type: application/json"}`},
		{"POST", "/faults", `{"kind":"cut"}`, http.Header{"Content-Type": {"text/plain"}}, 415, `{"error":"the rules must come as JSON; send Content-Type: application/json"}`},
		{"POST", "/faults", `{"kind":"cut"}`, http.Header{"Content-Type": {"application/json"}, "Origin": {"https://evil.example"}}, 403, `{"error":"pages of other origins may not use this; call it from a program, such as streamctl faults"}`},
		{"DELETE", "/faults", "", http.Header{"Origin": {"null"}}, 403, `{"error":"pages of other origins may not use this; call it from a program, such as streamctl faults"}`},
		{"GET", "/faults", "", http.Header{"Host": {"evil.example"}}, 403, `{"error":"the Host header names a host that this server is not known by; call it by 127.0.0.1, or start it with --allow-host"}`},
		{"GET", "/faults/x", "", http.Header{"Host": {"localhost:1"}, "Origin": {"http://localhost:1"}}, 200, `{"id":"x","kind":"throttle","shard":"7","matched":0,"injected":0}`},
		{"PUT", "/faults", "", nil, 405, `{"error":"PUT /faults is none of GET, POST and DELETE /faults, GET and DELETE /faults/ID"}`},
		{"POST", "/faults", strings.Repeat(" ", 1<<20+1), isJSON, 413, `{"error":"the rules have more than 1048576 bytes; send fewer at once"}`},
		{"DELETE", "/faults", "", nil, 200, `{"removed":2}`},
	} {
		status, got := adminCall(t, srv, tt.method, tt.path, tt.body, tt.header)
		if status != tt.status || compact(t, got) != compact(t, tt.want) {
			t.Errorf("%s %s %.40s: status %d, %s", tt.method, tt.path, tt.body, status, got)
		}
	}
}

func compact(t *testing.T, s string) string {
	t.Helper()
	var v json.RawMessage
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Errorf("%q: %v", s, err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestFaultsOfTheAdminPortAreDisabled(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen(), withAdmin(false))
	for _, method := range []string{"GET", "POST", "DELETE"} {
		status, got := adminCall(t, srv, method, "/faults", "{}", isJSON)
		if status != 404 || !strings.Contains(got, "faults are disabled; start the server with --enable-faults") {
			t.Errorf("%s: %d %s", method, status, got)
		}
	}
	if _, metrics := adminCall(t, srv, "GET", "/metrics", "", nil); strings.Contains(metrics, "streamd_faults") {
		t.Error("there is a metric of faults")
	}
}

func TestFaultsAreCountedInMetrics(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen(), withAdmin(true))
	client := srv.Kinesis(func(o *kinesis.Options) { o.RetryMaxAttempts = 1 })
	for _, f := range []streamdtest.Fault{
		{ID: "cuts", Kind: streamd.FaultCut, First: 1, Operation: "ListStreams"},
		{ID: "losses", Kind: streamd.FaultReplyLost, Operation: "ListStreams"},
	} {
		srv.Fault(t, f)
	}
	for range 3 {
		if _, err := client.ListStreams(t.Context(), &kinesis.ListStreamsInput{}); err == nil {
			t.Error("there was an answer")
		}
	}
	_, metrics := adminCall(t, srv, "GET", "/metrics", "", nil)
	for _, want := range []string{
		`streamd_faults_injected_total{kind="cut",rule="cuts"} 1`,
		`streamd_faults_injected_total{kind="reply-lost",rule="losses"} 2`,
		`streamd_requests_total{code="ConnectionCut",operation="ListStreams",service="kinesis"} 1`,
		`streamd_requests_total{code="ReplyLost",operation="ListStreams",service="kinesis"} 2`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}
