package streamd_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// request is one raw HTTP request. What is empty is not sent.
type request struct {
	name   string
	method string // default POST
	query  string
	target string // operation of Kinesis; "-" sends no header, one with a dot is sent whole
	ctype  string // default JSON 1.1; "-" sends none
	header [][2]string
	body   string
	as     *aws.Credentials // that sign it
}

const signedWell = "AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00"

func (q request) send(t *testing.T, srv *streamdtest.Server) *http.Response {
	t.Helper()
	resp, err := srv.HTTPClient().Do(q.build(t, srv))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func (q request) build(t *testing.T, srv *streamdtest.Server) *http.Request {
	t.Helper()
	method := q.method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), method, srv.Endpoint()+"/"+q.query, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case q.target == "-":
	case strings.Contains(q.target, "."):
		req.Header.Set("X-Amz-Target", q.target)
	default:
		req.Header.Set("X-Amz-Target", "Kinesis_20131202."+q.target)
	}
	switch q.ctype {
	case "-":
	case "":
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	default:
		req.Header.Set("Content-Type", q.ctype)
	}
	for _, h := range q.header {
		if h[0] == "Host" {
			req.Host = h[1]
			continue
		}
		req.Header.Add(h[0], h[1])
	}
	q.sign(t, req, []byte(q.body))
	return req
}

// sign signs a request that is signed with credentials.
func (q request) sign(t *testing.T, req *http.Request, body []byte) {
	t.Helper()
	if q.as == nil {
		return
	}
	if err := v4.NewSigner().SignHTTP(t.Context(), *q.as, req, fmt.Sprintf("%x", sha256.Sum256(body)), "kinesis", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
}

// callJSON sends a request that is answered with success, and returns the answer.
func callJSON(t *testing.T, srv *streamdtest.Server, target, body string) (out map[string]any) {
	t.Helper()
	resp := request{target: target, body: body}.send(t, srv)
	defer func() { _ = resp.Body.Close() }() // it has been read
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s", target, body, resp.StatusCode, b)
	}
	return out
}

// volatile are the parts of an answer that differ from run to run.
var volatile = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`), "<uuid>"},
	{regexp.MustCompile(`^[A-Za-z0-9+/]{96}$`), "<id2>"},
	{regexp.MustCompile(`^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$`), "<date>"},
}

// show writes an answer as the golden files have it: status, headers, body.
func show(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintln(&b, resp.StatusCode)
	var names []string
	for name := range resp.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := strings.Join(resp.Header[name], ", ")
		for _, v := range volatile {
			value = v.re.ReplaceAllString(value, v.with)
		}
		fmt.Fprintf(&b, "%s: %s\n", name, value)
	}
	if bytes.ContainsFunc(body, func(r rune) bool { return r == '\ufffd' || r < ' ' && r != '\n' }) {
		fmt.Fprintf(&b, "%q\n", body)
	} else {
		fmt.Fprintf(&b, "%s\n", body)
	}
	return b.String()
}

// golden compares the answers to requests with a file.
func golden(t *testing.T, srv *streamdtest.Server, name string, requests []request) {
	t.Helper()
	var got strings.Builder
	for _, q := range requests {
		resp := q.send(t, srv)
		answer := show(t, resp)
		_ = resp.Body.Close() // show has read it
		fmt.Fprintf(&got, "== %s\n%s", q.name, answer)
		if resp.StatusCode >= http.StatusBadRequest || strings.Contains(answer, `"ErrorCode"`) {
			if body := checkRefusal(t, srv, q, resp.StatusCode); body != nil {
				fmt.Fprintf(&got, "CBOR: %q\n", body)
			}
		}
		fmt.Fprintln(&got)
	}
	goldenText(t, name, got.String())
}

// goldenText compares answers with a file.
func goldenText(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what the server answers; see which with git diff after -update:\n%s", file, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "== "), strings.Split(want, "== ")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("got  %s\nwant %s", g[i], append(w, make([]string, len(g))...)[i])
		}
	}
	return "the file has more"
}

// TestOrderOfChecks pins which error comes first, and the whole answer. Each
// request is wrong in what it is named for and in everything that is checked
// later.
func TestOrderOfChecks(t *testing.T) {
	srv := streamdtest.New(t)
	const cbor, json10, json = "application/x-amz-cbor-1.1", "application/x-amz-json-1.0", "application/json"
	golden(t, srv, "order.golden", []request{
		{name: "foreign host", header: [][2]string{{"Host", "evil.example"}, {"Origin", "http://evil.example"}}, method: "GET"},
		{name: "no CORS unless configured", header: [][2]string{{"Origin", "http://a.example"}}, method: "OPTIONS", target: "-", ctype: "-"},
		{name: "GET", method: "GET", target: "ListStreams"},
		{name: "empty body, known operation", target: "ListStreams"},
		{name: "empty body, unknown operation", target: "Nope"},
		{name: "empty body, CBOR", target: "ListStreams", ctype: cbor},
		{name: "empty body, unknown content type", target: "Nope", ctype: "text/plain"},
		{name: "unknown content type, no operation", target: "-", ctype: "text/plain", body: "{"},
		{name: "unknown content type, operation", target: "ListStreams", ctype: "text/plain", body: "{"},
		{name: "DynamoDB's content type", target: "ListStreams", ctype: json10, body: "{"},
		{name: "plain JSON, bad body", target: "ListStreams", ctype: json, body: "{"},
		{name: "plain JSON, good body", target: "ListStreams", ctype: json, body: "{}"},
		{name: "CBOR", target: "ListStreams", ctype: cbor, body: "\xbf\xff"},
		{name: "CBOR, bad body", target: "ListStreams", ctype: cbor, body: "\xbf"},
		{name: "CBOR, unknown operation", target: "Nope", ctype: cbor, body: "\xa0"},
		{name: "CBOR, empty body, unknown operation", target: "Nope", ctype: cbor},
		{name: "CBOR, bad signature", target: "ListStreams", ctype: cbor, header: [][2]string{{"Authorization", "AWS4-x"}}, body: "\xa0"},
		{name: "CBOR, conversion", target: "ListStreams", ctype: cbor, body: "\xa1eLimitax"},
		{name: "CBOR, constraint", target: "ListStreams", ctype: cbor, body: "\xa1eLimit\x00"},
		{name: "CBOR, operation", target: "DescribeStream", ctype: cbor, body: "\xa1jStreamNamednope"},
		{name: "CBOR, body too large", target: "ListStreams", ctype: cbor, body: strings.Repeat("\xa0", 256<<10+1)},
		{name: "CBOR, foreign host", target: "ListStreams", ctype: cbor, header: [][2]string{{"Host", "evil.example"}}, body: "\xa0"},
		{name: "CBOR, no members in the answer", target: "CreateStream", ctype: cbor, body: "\xa2jStreamNameasjShardCount\x01"},
		{name: "bad body, unknown operation", target: "Nope", body: "{"},
		{name: "bad body", target: "ListStreams", body: `{"Limit":}`},
		{name: "body is a list", target: "ListStreams", body: `[]`},
		{name: "parameters of the content type", target: "ListStreams", ctype: "application/x-amz-json-1.1; charset=utf-8", body: `[]`},
		{name: "compressed body", target: "ListStreams", header: [][2]string{{"Content-Encoding", "gzip"}}, body: `[]`},
		{name: "unknown operation", target: "Nope", body: "{}"},
		{name: "no target", target: "-", body: "{}"},
		{name: "unknown version of the service", target: "Kinesis_20991231.ListStreams", body: "{}"},
		{name: "both signatures", target: "ListStreams", query: "?X-Amz-Algorithm=x", header: [][2]string{{"Authorization", "x"}}, body: `{"Limit":"x"}`},
		{name: "signature without parts", target: "ListStreams", header: [][2]string{{"Authorization", "AWS4-HMAC-SHA256 x"}}, body: `{"Limit":"x"}`},
		{name: "signature without a date", target: "ListStreams", header: [][2]string{{"Authorization", signedWell}}, body: `{"Limit":"x"}`},
		{name: "signature without headers", target: "ListStreams", header: [][2]string{{"Authorization", "AWS4-HMAC-SHA256 Credential=a, Signature=b"}, {"X-Amz-Date", "20261123T120000Z"}}, body: `{"Limit":"x"}`},
		{name: "signature with a short credential", target: "ListStreams", header: [][2]string{{"Authorization", "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=h, Signature=b"}, {"X-Amz-Date", "20261123T120000Z"}}, body: `{"Limit":"x"}`},
		{name: "signature in the query without parts", target: "ListStreams", query: "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=x", body: `{"Limit":"x"}`},
		{name: "conversion", target: "ListStreams", header: [][2]string{{"Authorization", signedWell}, {"X-Amz-Date", "20261123T120000Z"}}, body: `{"Limit":"x","ExclusiveStartStreamName":""}`},
		{name: "constraint", target: "ListStreams", body: `{"Limit":0,"ExclusiveStartStreamName":"a b"}`},
		{name: "operation", target: "DescribeStream", body: `{"StreamName":"nope"}`},
	})
}

func TestShapeMode(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Config(func(cfg *streamd.Config) {
		cfg.Auth = "shape"
		cfg.CORSOrigins = []string{"http://a.example"}
	}))
	golden(t, srv, "shape.golden", []request{
		{name: "unsigned", target: "ListStreams", body: `{}`},
		{name: "another scheme", target: "ListStreams", header: [][2]string{{"Authorization", "Bearer x"}}, body: `{}`},
		{name: "signed", target: "ListStreams", header: [][2]string{{"Authorization", signedWell}, {"X-Amz-Date", "20261123T120000Z"}}, body: `{}`},
		{name: "signed in the query", target: "ListStreams", body: `{}`, query: "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=x&X-Amz-Signature=0&X-Amz-SignedHeaders=host&X-Amz-Credential=A%2F20261123%2Fus-east-1%2Fkinesis%2Faws4_request"},
		{name: "DynamoDB unsigned", target: "DynamoDB_20120810.ListTables", ctype: "application/x-amz-json-1.0", body: `{}`},
		{name: "preflight", method: "OPTIONS", target: "-", ctype: "-", header: [][2]string{{"Origin", "http://a.example"}, {"Access-Control-Request-Headers", "x-amz-target"}, {"Access-Control-Request-Method", "POST"}}},
		{name: "preflight of another origin", method: "OPTIONS", target: "-", ctype: "-", header: [][2]string{{"Origin", "http://b.example"}}},
		{name: "request of an allowed page", target: "ListStreams", header: [][2]string{{"Origin", "http://a.example"}}, body: `{}`},
	})
}

// TestValidation pins the wording of constraint errors.
func TestValidation(t *testing.T) {
	srv := streamdtest.New(t)
	srv.CreateStream(t, "s", 1)
	long := strings.Repeat("a", 129)
	golden(t, srv, "validation.golden", []request{
		{name: "missing name", target: "CreateStream", body: `{}`},
		{name: "length and pattern", target: "CreateStream", body: `{"StreamName":"` + long + ` ","ShardCount":0}`},
		{name: "empty name", target: "CreateStream", body: `{"StreamName":""}`},
		{name: "nested enum", target: "CreateStream", body: `{"StreamName":"x","StreamModeDetails":{"StreamMode":"FAST"}}`},
		{name: "nested null", target: "CreateStream", body: `{"StreamName":"x","StreamModeDetails":{}}`},
		{name: "record size", target: "CreateStream", body: `{"StreamName":"x","MaxRecordSizeInKiB":10241}`},
		{name: "not served", target: "CreateStream", body: `{"StreamName":"x","WarmThroughputMiBps":1}`},
		{name: "iterator without anything", target: "GetShardIterator", body: `{}`},
		{name: "iterator type", target: "GetShardIterator", body: `{"StreamName":"s","ShardId":"0","ShardIteratorType":"OLDEST","StartingSequenceNumber":"01"}`},
		{name: "limit", target: "GetRecords", body: `{"ShardIterator":"x","Limit":10001}`},
		{name: "long iterator", target: "GetRecords", body: `{"ShardIterator":"` + strings.Repeat("a", 513) + `","Limit":0}`},
		{name: "put without anything", target: "PutRecord", body: `{"StreamName":"s"}`},
		{name: "put with a bad hash key", target: "PutRecord", body: `{"StreamName":"s","Data":"","PartitionKey":"","ExplicitHashKey":"00"}`},
		{name: "put with a hash key out of range", target: "PutRecord", body: `{"StreamName":"s","Data":"","PartitionKey":"a","ExplicitHashKey":"340282366920938463463374607431768211456"}`},
		{name: "put with a bad number for ordering", target: "PutRecord", body: `{"StreamName":"s","Data":"","PartitionKey":"a","SequenceNumberForOrdering":"7"}`},
		{name: "partition key of 256 characters", target: "PutRecord", body: `{"StreamName":"s","Data":"","PartitionKey":"` + strings.Repeat("é", 256) + `","DryRun":true}`},
		{name: "partition key of 257 characters", target: "PutRecord", body: `{"StreamName":"s","Data":"","PartitionKey":"` + strings.Repeat("é", 257) + `"}`},
		{name: "more than ten errors", target: "PutRecords", body: `{"StreamName":"s","Records":[{},{},{},{},{},{},{}]}`},
		{name: "elements", target: "PutRecords", body: `{"StreamName":"s","Records":[{"Data":"","PartitionKey":"a"},{"Data":"","PartitionKey":""},null]}`},
		{name: "no records", target: "PutRecords", body: `{"StreamName":"s","Records":[]}`},
		{name: "501 records", target: "PutRecords", body: `{"StreamName":"s","Records":[` + strings.Repeat(`{"Data":"","PartitionKey":"a"},`, 500) + `{"Data":"","PartitionKey":"a"}]}`},
		{name: "record above the stream's limit", target: "PutRecords", body: `{"StreamName":"s","Records":[{"Data":"","PartitionKey":"a"},{"Data":"` + strings.Repeat("AAAA", 349526) + `","PartitionKey":"a"}]}`},
		{name: "neither name nor ARN", target: "DescribeStream", body: `{}`},
		{name: "bad ARN", target: "DescribeStream", body: `{"StreamARN":"arn:x"}`},
		{name: "ARN and another name", target: "DescribeStream", body: `{"StreamName":"t","StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s"}`},
		{name: "ARN of another region", target: "DescribeStream", body: `{"StreamARN":"arn:aws:kinesis:eu-west-1:000000000000:stream/s"}`},
		{name: "shard count", target: "UpdateShardCount", body: `{"StreamName":"s","TargetShardCount":0,"ScalingType":"x"}`},
		{name: "filter", target: "ListShards", body: `{"StreamName":"s","ShardFilter":{"Type":"x"},"MaxResults":0}`},
	})
}

// TestConversions pins what is said of values of another kind than the member's,
// for each kind of member.
func TestConversions(t *testing.T) {
	srv := streamdtest.New(t)
	var requests []request
	for _, m := range []struct{ kind, target, body string }{
		{"integer", "ListStreams", `{"Limit":%s}`},
		{"string", "DescribeStream", `{"StreamName":%s}`},
		{"boolean", "DeleteStream", `{"EnforceConsumerDeletion":%s}`},
		{"timestamp", "ListShards", `{"StreamCreationTimestamp":%s}`},
		{"blob", "PutRecord", `{"Data":%s}`},
		{"list of strings", "UntagResource", `{"TagKeys":%s}`},
		{"element of strings", "UntagResource", `{"TagKeys":[%s]}`},
		{"list of structures", "PutRecords", `{"Records":%s}`},
		{"element of structures", "PutRecords", `{"Records":[%s]}`},
		{"map", "TagResource", `{"Tags":%s}`},
		{"value of a map", "TagResource", `{"Tags":{"k":%s}}`},
		{"structure", "CreateStream", `{"StreamModeDetails":%s}`},
	} {
		for _, v := range []string{`true`, `1`, `1.5`, `"a?c"`, `"abcde"`, `"AAB="`, `[]`, `{}`, `null`} {
			requests = append(requests, request{name: m.kind + " " + v, target: m.target, body: fmt.Sprintf(m.body, v)})
		}
	}
	golden(t, srv, "conversions.golden", requests)
}

func TestBodyLimits(t *testing.T) {
	srv := streamdtest.New(t)
	golden(t, srv, "limits.golden", []request{
		{name: "control operation above 256 KiB", target: "ListStreams", body: strings.Repeat(" ", 256<<10) + "{}"},
		{name: "put above 16 MiB", target: "PutRecords", body: strings.Repeat(" ", 16<<20) + "{}"},
		{name: "unknown content type, no operation", target: "-", ctype: "text/plain", body: strings.Repeat(" ", 256<<10+1)},
		{name: "unknown content type, operation", target: "PutRecords", ctype: "text/plain", body: strings.Repeat(" ", 16<<20+1)},
		{name: "plain JSON", target: "ListStreams", ctype: "application/json", body: strings.Repeat(" ", 256<<10+1)},
	})
	t.Run("chunked", func(t *testing.T) {
		body := io.MultiReader(strings.NewReader(strings.Repeat(" ", 1<<20)), strings.NewReader("{}")) // of unknown length
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.Endpoint(), body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "Kinesis_20131202.ListStreams")
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		resp, err := srv.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

// TestSlowBody shows that a request whose body does not come is not answered
// with success.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "s", 1)
		var got strings.Builder
		for _, ctype := range []string{inJSON, inCBOR} {
			body, end := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.Endpoint(), body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = 100
			req.Header.Set("X-Amz-Target", "Kinesis_20131202.DeleteStream")
			req.Header.Set("Content-Type", ctype)
			go func() { _, _ = end.Write([]byte(`{"StreamName":`)) }()
			began := time.Now()
			resp, err := srv.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); resp.StatusCode != http.StatusRequestTimeout || took != 10*time.Second {
				t.Errorf("%s: status %d after %v", ctype, resp.StatusCode, took)
			}
			fmt.Fprintf(&got, "== body that does not come\n%s\n", show(t, resp))
			_ = resp.Body.Close() // show has read it
			_ = end.Close()
		}
		goldenText(t, "slow.golden", got.String())
	})
}

func TestDynamoDBErrors(t *testing.T) {
	srv := streamdtest.New(t)
	const ctype = "application/x-amz-json-1.0"
	golden(t, srv, "dynamodb.golden", []request{
		{name: "no body", target: "DynamoDB_20120810.ListTables", ctype: ctype},
		{name: "unknown operation", target: "DynamoDB_20120810.Nope", ctype: ctype, body: "{}"},
		{name: "no tables", target: "DynamoDB_20120810.ListTables", ctype: ctype, body: "{}"},
		{name: "no such table", target: "DynamoDB_20120810.DescribeTable", ctype: ctype, body: `{"TableName":"nope"}`},
		{name: "bad signature", target: "DynamoDB_20120810.ListTables", ctype: ctype, header: [][2]string{{"Authorization", "AWS4-x"}}, body: "{}"},
		{name: "content type", target: "DynamoDB_20120810.ListTables", ctype: "text/plain", body: "{}"},
	})
}
