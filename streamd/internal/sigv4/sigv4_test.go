package sigv4_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/streamkit/streamkit/streamd/internal/sigv4"
)

// TestVectors verifies requests whose signatures others have published: the
// SDK's for Kinesis, AWS's own examples for the rest.
func TestVectors(t *testing.T) {
	const aws2015 = "20150830T123600Z"
	for _, tt := range []struct{ name, request, service, signed, signature string }{
		{
			"Kinesis", "POST / HTTP/1.1\r\nHost: kinesis.us-east-1.amazonaws.com\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 18\r\nX-Amz-Target: Kinesis_20131202.DescribeStreamSummary\r\nX-Amz-Date: 20261123T120000Z\r\n\r\n" + describeBody,
			"kinesis", "content-length;content-type;host;x-amz-date;x-amz-target", "8618ebf2f261bad6a471eeefd2398d4e2e544e4e04b987036acbb939d5cf756a",
		},
		{
			// By the signer of the SDK for JavaScript.
			"host as HTTP/2 has it", "POST / HTTP/1.1\r\nHost: 127.0.0.1:4567\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 18\r\nX-Amz-Target: Kinesis_20131202.DescribeStreamSummary\r\nAmz-Sdk-Request: attempt=1; max=1\r\nX-Amz-Date: 20261123T120000Z\r\nX-Amz-Content-Sha256: 9eba409c3e52eed03e0eb744b3961f83b7bbf6306ec8866d6380643056105246\r\n\r\n" + describeBody,
			"kinesis", ":authority;amz-sdk-request;content-length;content-type;x-amz-content-sha256;x-amz-date;x-amz-target", "02a063305ed5c26209590cdda0fbab4649df2f7f40fe6f256ddac899f46fdd16",
		},
		{
			"query and content type", "GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\r\nHost: iam.amazonaws.com\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\nX-Amz-Date: " + aws2015 + "\r\n\r\n",
			"iam", "content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
		},
		{
			"vanilla", "GET / HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: " + aws2015 + "\r\n\r\n",
			"service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		{
			"dots and empty segments", "GET //./ HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: " + aws2015 + "\r\n\r\n",
			"service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		{
			"back to the root", "GET /example1/example2/../.. HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: " + aws2015 + "\r\n\r\n",
			"service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		{
			"order of the query", "GET /?Param2=value2&Param1=value1 HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: " + aws2015 + "\r\n\r\n",
			"service", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
		},
		{
			"path of bytes beyond ASCII", "GET /\u1234 HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: " + aws2015 + "\r\n\r\n",
			"service", "host;x-amz-date", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
		},
		{
			"blanks in headers", "GET / HTTP/1.1\r\nHost: example.amazonaws.com\r\nMy-Header1:  value1\r\nMy-Header2:  \"a   b   c\"\r\nX-Amz-Date: " + aws2015 + "\r\n\r\n",
			"service", "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
		},
		{
			"form", "POST / HTTP/1.1\r\nHost: example.amazonaws.com\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 13\r\nX-Amz-Date: " + aws2015 + "\r\n\r\nParam1=value1",
			"service", "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(tt.request)))
			if err != nil {
				t.Fatal(err)
			}
			_, body, _ := strings.Cut(tt.request, "\r\n\r\n")
			at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/us-east-1/%s/aws4_request, SignedHeaders=%s, Signature=%s",
				exampleID, at.Format("20060102"), tt.service, tt.signed, tt.signature))
			if err := verify(verifier(at), r, body, tt.service); err != nil {
				t.Error(err)
			}
			r.Host += "x"
			if err := verify(verifier(at), r, body, tt.service); err == nil {
				t.Error("the signature does not cover the host")
			}
		})
	}
}

// TestSDKSigner verifies what the SDK's signer signs.
func TestSDKSigner(t *testing.T) {
	session := aws.Credentials{AccessKeyID: "ASIALASTS", SecretAccessKey: "session-secret", SessionToken: "token"}
	for _, tt := range []struct {
		name, url string
		creds     aws.Credentials
		change    func(r *http.Request)
	}{
		{"plain", "http://127.0.0.1:4567/", example, nil},
		{"no path", "http://kinesis.us-east-1.amazonaws.com", example, nil},
		{"path and query", "http://h/a%20b/c%2Fd~e?z=1&a=%20%2B&a=&a=1%25&x", example, nil},
		{"session", "http://h/", session, nil},
		{"hash of the body", "http://h/", example, func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hashOf(describeBody)) }},
		{"two values", "http://h/", example, func(r *http.Request) { r.Header["X-Test"] = []string{" a  b", "c "} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, tt.url, describeBody)
			if tt.change != nil {
				tt.change(r)
			}
			presigned := presign(t, r.Clone(t.Context()), tt.creds, describeBody, signedAt)
			sign(t, r, tt.creds, describeBody, signedAt)
			v := verifier(signedAt)
			for range 2 { // the second time with the derived key from the cache
				if err := verify(v, r, describeBody, "kinesis"); err != nil {
					t.Error("header:", err)
				}
				if err := verify(v, presigned, describeBody, "kinesis"); err != nil {
					t.Error("query:", err)
				}
			}
		})
	}
}

// TestTampering changes every signed part of a request.
func TestTampering(t *testing.T) {
	flip := func(s string) string { return s[:len(s)-1] + string(s[len(s)-1]^1) }
	header := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, flip(r.Header.Get(name))) }
	}
	replace := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			text := r.Header.Get("Authorization")
			if !strings.Contains(text, from) {
				panic(from)
			}
			r.Header.Set("Authorization", strings.Replace(text, from, to, 1))
		}
	}
	query := func(change func(url.Values)) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			change(q)
			r.URL.RawQuery = q.Encode()
		}
	}
	type change struct {
		name   string
		change func(*http.Request)
	}
	both := []change{
		{"host", func(r *http.Request) { r.Host += "x" }},
		{"method", func(r *http.Request) { r.Method = http.MethodPut }},
		{"path", func(r *http.Request) { r.RequestURI = "/x" + r.RequestURI }},
		{"target", header("X-Amz-Target")},
		{"content type", header("Content-Type")},
		{"a second target", func(r *http.Request) { r.Header.Add("X-Amz-Target", "Kinesis_20131202.DeleteStream") }},
		{"query", query(func(q url.Values) { q.Set("a", "2") })},
		{"more query", query(func(q url.Values) { q.Set("b", "") })},
		{"query that does not decode", func(r *http.Request) { r.URL.RawQuery += "&%zz" }},
	}
	tests := map[string][]change{
		"header": append([]change{
			{"date", header("X-Amz-Date")},
			{"day", replace("/20261123/", "/20261122/")},
			{"region", replace("/us-east-1/", "/us-east-2/")},
			{"service", replace("/kinesis/", "/dynamodb/")},
			{"terminator", replace("/aws4_request", "/aws4_reques")},
			{"key", replace(exampleID, "ASIALASTS")},
			{"fewer headers", replace(";x-amz-target", "")},
			{"more headers", replace(";x-amz-target", ";x-amz-target;y")},
			{"order of headers", replace("content-type;host", "host;content-type")},
			{"header twice", replace("content-type;host", "content-type;host;host")},
			{"capital header", replace(";host;", ";Host;")},
			{"no host", replace(";host;", ";")},
			{"signature", header("Authorization")},
			{"capital signature", func(r *http.Request) {
				text := r.Header.Get("Authorization")
				i := strings.Index(text, "Signature=") + len("Signature=")
				r.Header.Set("Authorization", text[:i]+strings.ToUpper(text[i:]))
			}},
			{"half a signature", func(r *http.Request) {
				text := r.Header.Get("Authorization")
				r.Header.Set("Authorization", text[:len(text)-32])
			}},
			{"token", func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "token") }},
			{"hash of another body", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hashOf("")) }},
			{"unsigned payload", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }},
			{"algorithm", replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512")},
		}, both...),
		"query": append([]change{
			{"date", query(func(q url.Values) { q.Set("X-Amz-Date", "20261123T120001Z") })},
			{"credential", query(func(q url.Values) { q.Set("X-Amz-Credential", exampleID+"/20261123/us-east-2/kinesis/aws4_request") })},
			{"headers", query(func(q url.Values) { q.Set("X-Amz-SignedHeaders", "host") })},
			{"signature", query(func(q url.Values) { q.Set("X-Amz-Signature", flip(q.Get("X-Amz-Signature"))) })},
			{"second signature", query(func(q url.Values) { q.Add("X-Amz-Signature", "0") })},
			{"second date", query(func(q url.Values) { q.Add("X-Amz-Date", "20261124T120000Z") })},
			{"life", query(func(q url.Values) { q.Set("X-Amz-Expires", "3600") })},
			{"token", query(func(q url.Values) { q.Set("X-Amz-Security-Token", "token") })},
			{"target in the query", query(func(q url.Values) { q.Set("X-Amz-Target", "Kinesis_20131202.DeleteStream") })},
			{"both forms", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256") }},
		}, both...),
	}
	for form, changes := range tests {
		for _, tt := range changes {
			t.Run(form+" "+tt.name, func(t *testing.T) {
				v := verifier(signedAt)
				make := func() *http.Request {
					r := newRequest(t, "http://127.0.0.1:4567/?a=1", describeBody)
					if form == "query" {
						return presign(t, r, example, describeBody, signedAt)
					}
					sign(t, r, example, describeBody, signedAt)
					return r
				}
				r := make()
				if err := verify(v, r, describeBody, "kinesis"); err != nil {
					t.Fatal("unchanged:", err)
				}
				if err := verify(v, r, describeBody+" ", "kinesis"); err == nil {
					t.Error("another body is taken")
				}
				tt.change(r)
				if err := verify(v, r, describeBody, "kinesis"); err == nil {
					t.Error("the change is taken")
				}
				if err := verify(v, make(), describeBody, "kinesis"); err != nil {
					t.Error("unchanged, afterwards:", err)
				}
			})
		}
	}
}

// TestUnsignedPayload signs what the SDK can be made to sign in place of the
// body.
func TestUnsignedPayload(t *testing.T) {
	r := newRequest(t, "http://h/", describeBody)
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	signAs(t, r, "UNSIGNED-PAYLOAD")
	if err := verify(verifier(signedAt), r, describeBody, "kinesis"); err == nil || err.Code != "InvalidSignatureException" {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	const mismatch = "InvalidSignatureException: The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	const invalidToken = "UnrecognizedClientException: The security token included in the request is invalid."
	none := func(*http.Request) {}
	after := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	replace := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), from, to))
		}
	}
	creds := func(id, secret, token string) aws.Credentials {
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}
	}
	for _, tt := range []struct {
		name    string
		creds   aws.Credentials
		after   time.Duration // the server's time
		service string
		change  func(*http.Request)
		want    string
	}{
		{"unknown key", creds("AKIDNONE", exampleSecret, ""), 0, "kinesis", none, invalidToken},
		{"wrong secret", creds(exampleID, "x", ""), 0, "kinesis", none, mismatch},
		{"token of another", creds("ASIALASTS", "session-secret", "tokem"), 0, "kinesis", none, invalidToken},
		{"token missing", creds("ASIALASTS", "session-secret", ""), 0, "kinesis", none, invalidToken},
		{"token of a key without one", creds(exampleID, exampleSecret, "token"), 0, "kinesis", none, invalidToken},
		{"session before its end", creds("ASIAENDS", "session-secret", "token"), time.Minute - 1, "kinesis", none, ""},
		{"session at its end", creds("ASIAENDS", "session-secret", "token"), time.Minute, "kinesis", none, "ExpiredTokenException: The security token included in the request is expired"},
		{"just old enough", example, 15 * time.Minute, "kinesis", none, ""},
		{"too old", example, 15*time.Minute + time.Second, "kinesis", none, "InvalidSignatureException: Signature expired: 20261123T120000Z is now earlier than 20261123T120001Z (20261123T121501Z - 15 min.)"},
		{"just early enough", example, -15 * time.Minute, "kinesis", none, ""},
		{"too early", example, -15*time.Minute - time.Second, "kinesis", none, "InvalidSignatureException: Signature not yet current: 20261123T120000Z is still later than 20261123T115959Z (20261123T114459Z + 15 min.)"},
		{"service", example, 0, "dynamodb", none, "InvalidSignatureException: Credential should be scoped to correct service: 'dynamodb'. "},
		{"terminator", example, 0, "kinesis", replace("aws4_request", "aws5_request"), "InvalidSignatureException: Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."},
		{"day", example, 0, "kinesis", replace("20261123", "20261124"), "InvalidSignatureException: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261124' != '20261123', from '20261123T120000Z'."},
		{"date", example, 0, "kinesis", after("X-Amz-Date", "2026-11-23"), "IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got '2026-11-23'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"host not signed", example, 0, "kinesis", replace("host;", ""), "InvalidSignatureException: 'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"target not signed", example, 0, "kinesis", replace(";x-amz-target", ""), "InvalidSignatureException: 'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
		{"date not signed", example, 0, "kinesis", replace("x-amz-date;", ""), "InvalidSignatureException: 'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization."},
		{"algorithm", example, 0, "kinesis", replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "IncompleteSignatureException: Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."},
		{"another scheme", example, 0, "kinesis", after("Authorization", "Basic dTpw"), "Unsigned"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, "http://h/", describeBody)
			sign(t, r, tt.creds, describeBody, signedAt)
			tt.change(r)
			got := ""
			if err := verify(verifier(signedAt.Add(tt.after)), r, describeBody, tt.service); err != nil {
				got = err.Error()
				if err.HTTPStatus() != http.StatusBadRequest {
					t.Errorf("status %d", err.HTTPStatus())
				}
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestLifeOfAQuery checks what X-Amz-Expires does.
func TestLifeOfAQuery(t *testing.T) {
	for _, tt := range []struct {
		expires string
		after   time.Duration
		want    string
	}{
		{"", 15 * time.Minute, ""},
		{"", 15*time.Minute + 1, "Signature expired"},
		{"60", time.Minute, ""},
		{"60", time.Minute + time.Second, "Signature expired: 20261123T120000Z is now earlier than 20261123T120001Z (20261123T120101Z - 1 min.)"},
		{"90", 91 * time.Second, "- 90 sec.)"},
		{"604800", 7 * 24 * time.Hour, ""},
		{"3600", -16 * time.Minute, "Signature not yet current"},
		{"604801", 0, "X-Amz-Expires must be a number of seconds between 1 and 604800. Got '604801'."},
		{"0", 0, "X-Amz-Expires must be"},
		{"-1", 0, "X-Amz-Expires must be"},
		{"99999999999999999999", 0, "X-Amz-Expires must be"},
	} {
		url := "http://h/"
		if tt.expires != "" {
			url += "?X-Amz-Expires=" + tt.expires
		}
		r := presign(t, newRequest(t, url, describeBody), example, describeBody, signedAt)
		got := ""
		if err := verify(verifier(signedAt.Add(tt.after)), r, describeBody, "kinesis"); err != nil {
			got = err.Error()
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%q after %v: %s", tt.expires, tt.after, got)
		}
	}
}

// TestKeyIsReplaced checks that a derived key that is kept does not outlive the
// secret that it comes from.
func TestKeyIsReplaced(t *testing.T) {
	var mu sync.Mutex
	secret := exampleSecret
	v := sigv4.New(sigv4.Config{
		Key: func(string) (sigv4.Key, bool) {
			mu.Lock()
			defer mu.Unlock()
			return sigv4.Key{Secret: secret}, secret != ""
		},
		MaxSkew: sigv4.DefaultSkew, Now: func() time.Time { return signedAt },
	})
	r := newRequest(t, "http://h/", describeBody)
	sign(t, r, example, describeBody, signedAt)
	for _, step := range []struct{ secret, want string }{
		{exampleSecret, ""}, {"another", "InvalidSignatureException"}, {"", "UnrecognizedClientException"}, {exampleSecret, ""},
	} {
		mu.Lock()
		secret = step.secret
		mu.Unlock()
		got := ""
		if err := verify(v, r, describeBody, "kinesis"); err != nil {
			got = err.Code
		}
		if got != step.want {
			t.Errorf("secret %q: %q, want %q", step.secret, got, step.want)
		}
	}
}
