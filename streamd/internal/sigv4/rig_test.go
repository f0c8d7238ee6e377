package sigv4_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/sigv4"
)

// The key of AWS's examples.
const (
	exampleID     = "AKIDEXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var signedAt = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// verifier returns one that knows some keys, at a time.
func verifier(now time.Time) *sigv4.Verifier {
	keys := map[string]sigv4.Key{
		exampleID:   {Secret: exampleSecret},
		"ASIALASTS": {Secret: "session-secret", Token: "token"},
		"ASIAENDS":  {Secret: "session-secret", Token: "token", Expires: signedAt.Add(time.Minute)},
	}
	return sigv4.New(sigv4.Config{
		Key: func(id string) (sigv4.Key, bool) {
			k, ok := keys[id]
			return k, ok
		},
		MaxSkew: sigv4.DefaultSkew,
		Now:     func() time.Time { return now },
	})
}

// verify goes the whole way of a request.
func verify(v *sigv4.Verifier, r *http.Request, body, service string) *awserr.Error {
	c, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	if c == nil {
		return awserr.New("Unsigned", "")
	}
	if err := v.Open(c, r, service); err != nil {
		return err
	}
	return v.Check(c, r, []byte(body))
}

const describeBody = `{"StreamName":"s"}`

// newRequest returns a request as a server receives it.
func newRequest(t testing.TB, url, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.DescribeStreamSummary")
	return r
}

func hashOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// sign signs r with the SDK's signer.
func sign(t testing.TB, r *http.Request, creds aws.Credentials, body string, at time.Time) {
	t.Helper()
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hashOf(body), "kinesis", "us-east-1", at); err != nil {
		t.Fatal(err)
	}
}

// presign moves the signature of the SDK's signer into the URL of a new
// request, which has the headers that are signed.
func presign(t testing.TB, r *http.Request, creds aws.Credentials, body string, at time.Time) *http.Request {
	t.Helper()
	url, header, err := v4.NewSigner().PresignHTTP(context.Background(), creds, r, hashOf(body), "kinesis", "us-east-1", at)
	if err != nil {
		t.Fatal(err)
	}
	signed := httptest.NewRequestWithContext(t.Context(), r.Method, url, strings.NewReader(body))
	for name, values := range header {
		signed.Header[http.CanonicalHeaderKey(name)] = values
	}
	signed.Header.Set("X-Amz-Target", r.Header.Get("X-Amz-Target"))
	return signed
}

var example = aws.Credentials{AccessKeyID: exampleID, SecretAccessKey: exampleSecret}

// signAs signs r with a text in place of the hash of its body.
func signAs(t testing.TB, r *http.Request, hash string) {
	t.Helper()
	if err := v4.NewSigner().SignHTTP(context.Background(), example, r, hash, "kinesis", "us-east-1", signedAt); err != nil {
		t.Fatal(err)
	}
}
