package sigv4_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/sigv4"
)

const (
	keyID  = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var signedAt = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// verifier knows one key, and one of a session that ends.
func verifier(now time.Time) *sigv4.Verifier {
	keys := map[string]sigv4.Key{
		keyID:     {Secret: secret},
		"SESSION": {Secret: secret, Token: "token/+=", Expires: signedAt.Add(time.Hour)},
	}
	return sigv4.New(sigv4.Config{
		Key:     func(id string) (sigv4.Key, bool) { k, ok := keys[id]; return k, ok },
		MaxSkew: sigv4.DefaultSkew, Now: func() time.Time { return now },
	})
}

func verify(v *sigv4.Verifier, r *http.Request, body []byte) *awserr.Error {
	c, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	if c == nil {
		return awserr.New("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	if err := v.Open(c, r, "kinesis"); err != nil {
		return err
	}
	return v.Check(c, r, body)
}

func request(tb testing.TB, url string, body []byte) *http.Request {
	tb.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.DescribeStreamSummary")
	return r
}

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func sign(tb testing.TB, r *http.Request, body []byte, id, token string) {
	tb.Helper()
	creds := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}
	if err := signer.NewSigner().SignHTTP(context.Background(), creds, r, hash(body), "kinesis", "us-east-1", signedAt); err != nil {
		tb.Fatal(err)
	}
}

// TestVector has a request whose signature is known.
func TestVector(t *testing.T) {
	body := []byte(`{"StreamName":"s"}`)
	r := request(t, "https://kinesis.us-east-1.amazonaws.com/", body)
	r.Header.Set("X-Amz-Date", "20261123T120000Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/kinesis/aws4_request, "+
		"SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-target, Signature=8618ebf2f261bad6a471eeefd2398d4e2e544e4e04b987036acbb939d5cf756a")
	if err := verify(verifier(signedAt), r, body); err != nil {
		t.Error(err)
	}
}

// TestSDK verifies what the SDK's signer has signed, in all its forms.
func TestSDK(t *testing.T) {
	body := []byte(`{"StreamName":"s","Data":"é"}`)
	for _, url := range []string{
		"http://localhost:4567/", "http://localhost", "https://127.0.0.1/a/b%20c/", "http://localhost/y/z?q=1&b=%C3%A9&a=+&empty=&Q", "http://[::1]:1/",
	} {
		for _, token := range []string{"", "token/+="} {
			id := keyID
			if token != "" {
				id = "SESSION"
			}
			r := request(t, url, body)
			r.Header.Set("X-Blanks", "  a   b  ")
			sign(t, r, body, id, token)
			if err := verify(verifier(signedAt), r, body); err != nil {
				t.Errorf("header, %s, token %q: %v", url, token, err)
			}
			r = request(t, url, body)
			creds := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}
			signed, headers, err := signer.NewSigner().PresignHTTP(t.Context(), creds, r, hash(body), "kinesis", "us-east-1", signedAt)
			if err != nil {
				t.Fatal(err)
			}
			q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, signed, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			q.Header = headers.Clone()
			q.Header.Set("X-Amz-Target", r.Header.Get("X-Amz-Target"))
			if err := verify(verifier(signedAt), q, body); err != nil {
				t.Errorf("query, %s, token %q: %v", url, token, err)
			}
		}
	}
}

// TestPathsAreNormalized sends a path with dots and empty segments: what is
// signed is the path without them.
//
// Source: AWS General Reference, Create a canonical request.
func TestPathsAreNormalized(t *testing.T) {
	r := request(t, "http://localhost/y/z/", nil)
	sign(t, r, nil, keyID, "")
	r.URL.Path = "/x/../y//./z/"
	if err := verify(verifier(signedAt), r, nil); err != nil {
		t.Error(err)
	}
}

// TestTampering changes each part of a signed request.
func TestTampering(t *testing.T) {
	body := []byte(`{"StreamName":"s"}`)
	for _, tt := range []struct {
		name   string
		change func(r *http.Request, body *[]byte)
	}{
		{"body", func(_ *http.Request, b *[]byte) { *b = []byte(`{"StreamName":"t"}`) }},
		{"no body", func(_ *http.Request, b *[]byte) { *b = nil }},
		{"method", func(r *http.Request, _ *[]byte) { r.Method = http.MethodPut }},
		{"path", func(r *http.Request, _ *[]byte) { r.URL.Path = "/x" }},
		{"query", func(r *http.Request, _ *[]byte) { r.URL.RawQuery = "a=b" }},
		{"host", func(r *http.Request, _ *[]byte) { r.Host = "other:4567" }},
		{"operation", func(r *http.Request, _ *[]byte) { r.Header.Set("X-Amz-Target", "Kinesis_20131202.DeleteStream") }},
		{"operation twice", func(r *http.Request, _ *[]byte) { r.Header.Add("X-Amz-Target", "Kinesis_20131202.DeleteStream") }},
		{"no operation", func(r *http.Request, _ *[]byte) { r.Header.Del("X-Amz-Target") }},
		{"content type", func(r *http.Request, _ *[]byte) { r.Header.Set("Content-Type", "application/x-amz-cbor-1.1") }},
		{"time", func(r *http.Request, _ *[]byte) { r.Header.Set("X-Amz-Date", "20261123T120001Z") }},
		{"signature", func(r *http.Request, _ *[]byte) { replace(r, "Signature=", "Signature=0") }},
		{"region", func(r *http.Request, _ *[]byte) { replace(r, "us-east-1", "eu-west-1") }},
		{"key", func(r *http.Request, _ *[]byte) { replace(r, keyID, "OTHER") }},
		{"service", func(r *http.Request, _ *[]byte) { replace(r, "/kinesis/", "/dynamodb/") }},
		{"terminator", func(r *http.Request, _ *[]byte) { replace(r, "aws4_request", "aws4") }},
		{"day", func(r *http.Request, _ *[]byte) { replace(r, "/20261123/", "/20261122/") }},
		{"algorithm", func(r *http.Request, _ *[]byte) { replace(r, "HMAC-SHA256", "HMAC-SHA1") }},
		{"operation not signed", func(r *http.Request, _ *[]byte) { replace(r, ";x-amz-target", "") }},
		{"host not signed", func(r *http.Request, _ *[]byte) { replace(r, "host;", "") }},
		{"time not signed", func(r *http.Request, _ *[]byte) { replace(r, "x-amz-date;", "") }},
		{"another header signed", func(r *http.Request, _ *[]byte) { replace(r, ";x-amz-target", ";x-amz-target;x-other") }},
		{"headers out of order", func(r *http.Request, _ *[]byte) { replace(r, "host;x-amz-date", "x-amz-date;host") }},
		{"hash of the body", func(r *http.Request, _ *[]byte) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }},
		{"token of nobody", func(r *http.Request, _ *[]byte) { r.Header.Set("X-Amz-Security-Token", "x") }},
	} {
		r := request(t, "http://localhost:4567/", body)
		sign(t, r, body, keyID, "")
		got := bytes.Clone(body)
		if err := verify(verifier(signedAt), r, got); err != nil {
			t.Fatal(err)
		}
		tt.change(r, &got)
		if err := verify(verifier(signedAt), r, got); err == nil {
			t.Errorf("%s: changed, and still taken", tt.name)
		}
	}
}

func replace(r *http.Request, old, with string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, with, 1))
}

func TestRefusals(t *testing.T) {
	const (
		mismatch = "InvalidSignatureException: The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
		invalid  = "UnrecognizedClientException: The security token included in the request is invalid."
	)
	body := []byte("{}")
	for _, tt := range []struct {
		name, id, token string
		now             time.Time
		change          func(*http.Request)
		want            string
	}{
		{name: "wrong secret", id: keyID, change: func(r *http.Request) { replace(r, "Signature=", "Signature=f") }, want: mismatch},
		{name: "unknown key", id: "NOBODY", want: invalid},
		{name: "token missing", id: "SESSION", want: invalid},
		{name: "token wrong", id: "SESSION", token: "other", want: invalid},
		{name: "session over", id: "SESSION", token: "token/+=", now: signedAt.Add(time.Hour - time.Nanosecond).Add(time.Nanosecond), want: "InvalidSignatureException: Signature expired: 20261123T120000Z is now earlier than 20261123T124500Z (20261123T130000Z - 15 min.)"},
		{name: "late", id: keyID, now: signedAt.Add(15*time.Minute + time.Second), want: "InvalidSignatureException: Signature expired: 20261123T120000Z is now earlier than 20261123T120001Z (20261123T121501Z - 15 min.)"},
		{name: "just in time", id: keyID, now: signedAt.Add(15 * time.Minute)},
		{name: "early", id: keyID, now: signedAt.Add(-16 * time.Minute), want: "InvalidSignatureException: Signature not yet current: 20261123T120000Z is still later than 20261123T115900Z (20261123T114400Z + 15 min.)"},
		{name: "service", id: keyID, change: func(r *http.Request) { replace(r, "/kinesis/", "/s3/") }, want: "InvalidSignatureException: Credential should be scoped to correct service: 'kinesis'. "},
		{name: "no date", id: keyID, change: func(r *http.Request) { r.Header.Set("X-Amz-Date", "now") }, want: "IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got 'now'. See http://en.wikipedia.org/wiki/ISO_8601"},
	} {
		r := request(t, "http://localhost:4567/", body)
		sign(t, r, body, tt.id, tt.token)
		if tt.change != nil {
			tt.change(r)
		}
		if tt.now.IsZero() {
			tt.now = signedAt
		}
		got := ""
		if err := verify(verifier(tt.now), r, body); err != nil {
			got = err.Code + ": " + err.Message
		}
		if got != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

// TestSessionEnds has a session that ends while its signature is still good.
func TestSessionEnds(t *testing.T) {
	keys := map[string]sigv4.Key{keyID: {Secret: secret, Token: "t", Expires: signedAt.Add(time.Minute)}}
	now := signedAt
	v := sigv4.New(sigv4.Config{
		Key:     func(id string) (sigv4.Key, bool) { k, ok := keys[id]; return k, ok },
		MaxSkew: sigv4.DefaultSkew, Now: func() time.Time { return now },
	})
	r := request(t, "http://localhost/", nil)
	sign(t, r, nil, keyID, "t")
	if err := verify(v, r, nil); err != nil {
		t.Error(err)
	}
	now = signedAt.Add(time.Minute)
	if err := verify(v, r, nil); err == nil || err.Code != "ExpiredTokenException" {
		t.Error(err)
	}
}

// TestKeyTakenAway has a key whose secret is replaced: what was derived from
// the old one must not count any more.
func TestKeyTakenAway(t *testing.T) {
	keys := map[string]sigv4.Key{keyID: {Secret: secret}}
	v := sigv4.New(sigv4.Config{
		Key:     func(id string) (sigv4.Key, bool) { k, ok := keys[id]; return k, ok },
		MaxSkew: sigv4.DefaultSkew, Now: func() time.Time { return signedAt },
	})
	r := request(t, "http://localhost/", nil)
	sign(t, r, nil, keyID, "")
	for range 2 { // derived, and from the cache
		if err := verify(v, r, nil); err != nil {
			t.Error(err)
		}
	}
	keys[keyID] = sigv4.Key{Secret: "another"}
	if err := verify(v, r, nil); err == nil {
		t.Error("signed with the old secret, and taken")
	}
	delete(keys, keyID)
	if err := verify(v, r, nil); err == nil {
		t.Error("signed with a key that is gone, and taken")
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, header, credential, headers, signature string }{
		{"comma and blank", "AWS4-HMAC-SHA256 Credential=k/d/r/s/t, SignedHeaders=host;x, Signature=ff", "k", "host;x", "ff"},
		{"comma", "AWS4-HMAC-SHA256 Credential=k/d/r/s/t,SignedHeaders=h,Signature=f", "k", "h", "f"},
		{"blank", "AWS4-HMAC-SHA256 Credential=k/d/r/s/t SignedHeaders=h Signature=f", "k", "h", "f"},
	} {
		r := request(t, "http://localhost/", nil)
		r.Header.Set("X-Amz-Date", "d")
		r.Header.Set("Authorization", tt.header)
		c, err := sigv4.Parse(r)
		if err != nil || c.KeyID != tt.credential || c.SignedHeaders != tt.headers || c.Signature != tt.signature || c.Region != "r" {
			t.Errorf("%s: %+v, %v", tt.name, c, err)
		}
	}
	r := request(t, "http://localhost/", nil)
	r.Header.Set("Authorization", "Bearer x")
	if c, err := sigv4.Parse(r); c != nil || err != nil {
		t.Errorf("another scheme: %+v, %v", c, err)
	}
}

// FuzzSigV4 reads any header and query. What verifies must be what was signed:
// the signature in it cannot have been made without the secret.
func FuzzSigV4(f *testing.F) {
	body := []byte(`{"StreamName":"s"}`)
	good := request(f, "http://localhost:4567/", body)
	sign(f, good, body, keyID, "")
	authorization, date := good.Header.Get("Authorization"), good.Header.Get("X-Amz-Date")
	f.Add(authorization, date, "", "Kinesis_20131202.DescribeStreamSummary", body)
	f.Add("AWS4- Credential=,,  =, Signature", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2fb%2fc%2fd%2fe&X-Amz-Date=20261123T120000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=0&X-Amz-Expires=1", "", body)
	f.Add("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/kinesis/aws4_request SignedHeaders=host Signature=00", date, "a=%zz&&=&%", "x", []byte{})
	v := verifier(signedAt)
	f.Fuzz(func(t *testing.T, header, when, query, target string, sent []byte) {
		r := request(t, "http://localhost:4567/", sent)
		r.URL.RawQuery = query
		r.Header["Authorization"], r.Header["X-Amz-Date"], r.Header["X-Amz-Target"] = []string{header}, []string{when}, []string{target}
		if err := verify(v, r, sent); err != nil {
			return
		}
		if when != date || query != "" || target != good.Header.Get("X-Amz-Target") || !bytes.Equal(sent, body) || !strings.Contains(header, authorization[len(authorization)-64:]) {
			t.Fatalf("%q %q %q %q %q was taken", header, when, query, target, sent)
		}
	})
}
