package awsproto_test

import (
	"strings"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/awsproto"
)

func TestParseAuthorization(t *testing.T) {
	for _, tt := range []struct{ name, header, credential, headers, signature string }{
		{"comma and blank", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x, Signature=ff", "a/b", "host;x", "ff"},
		{"comma", "AWS4-HMAC-SHA256 Credential=a,SignedHeaders=h,Signature=f", "a", "h", "f"},
		{"blank", "AWS4-HMAC-SHA256 Credential=a SignedHeaders=h Signature=f", "a", "h", "f"},
		{"missing", "AWS4-HMAC-SHA256 Signature=f", "", "", "f"},
		{"nothing", "AWS4-HMAC-SHA256", "", "", ""},
		{"no values", "AWS4-HMAC-SHA256 Credential, Signature=", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, h, s := awsproto.ParseAuthorization(tt.header)
			if c != tt.credential || h != tt.headers || s != tt.signature {
				t.Errorf("got %q %q %q", c, h, s)
			}
		})
	}
}

func TestScopeOf(t *testing.T) {
	for _, tt := range []struct{ credential, account, region, message string }{
		{"AKID/20261123/eu-west-1/kinesis/aws4_request", "000000000000", "eu-west-1", ""},
		{"123456789012/20261123/us-east-1/kinesis/aws4_request", "123456789012", "us-east-1", ""},
		{"AKID/20261123/us-east-1/kinesis", "", "", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKID/20261123/us-east-1/kinesis'"},
		{"a/b/c/d/e/f", "", "", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c/d/e/f'"},
		{"AKID/20261123//kinesis/aws4_request", "", "", "Credential should be scoped to a valid region."},
	} {
		account, region, err := awsproto.ScopeOf(tt.credential)
		if account != tt.account || region != tt.region {
			t.Errorf("%s: %q %q", tt.credential, account, region)
		}
		if (err == nil) != (tt.message == "") || err != nil && !strings.HasSuffix(err.Error(), tt.message) {
			t.Errorf("%s: %v", tt.credential, err)
		}
	}
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00")
	f.Add("AWS4- Credential=,,  =, Signature")
	f.Fuzz(func(t *testing.T, header string) {
		credential, headers, signature := awsproto.ParseAuthorization(header)
		for _, part := range []string{credential, headers, signature} {
			if strings.ContainsAny(part, ", ") || !strings.Contains(header, part) {
				t.Fatalf("part %q of %q", part, header)
			}
		}
		account, region, err := awsproto.ScopeOf(credential)
		if err == nil && (len(account) != 12 || region == "" || strings.Count(credential, "/") != 4) {
			t.Fatalf("%q gives account %q and region %q", credential, account, region)
		}
	})
}
