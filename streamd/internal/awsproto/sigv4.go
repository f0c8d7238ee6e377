package awsproto

import (
	"net/http"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// AuthMode says what a request must prove.
type AuthMode uint8

// The modes of authentication.
const (
	// AuthOpen takes unsigned requests. A signature that is there must be
	// well-formed.
	AuthOpen AuthMode = iota
	// AuthShape asks for a well-formed signature, and does not check it.
	AuthShape
)

// The scope of requests that do not name another.
const (
	DefaultAccount = "000000000000"
	DefaultRegion  = "us-east-1"
)

// A signature is what a request says about its signer, unchecked.
type signature struct {
	Credential    string
	SignedHeaders string
	Signature     string
}

// scheme begins the Authorization headers of AWS signatures.
const scheme = "AWS4-"

// parseAuthorization reads the parts of an Authorization header of the form
//
//	AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…
//
// whose separators may be commas, blanks or both. What is missing stays empty.
func parseAuthorization(header string) signature {
	var sig signature
	_, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	for rest != "" {
		end := strings.IndexAny(rest, ", ")
		part := rest
		if end >= 0 {
			part, rest = rest[:end], rest[end+1:]
		} else {
			rest = ""
		}
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "Credential":
			sig.Credential = value
		case "SignedHeaders":
			sig.SignedHeaders = value
		case "Signature":
			sig.Signature = value
		}
	}
	return sig
}

// authenticate checks the shape of a request's signature and returns whom it
// belongs to.
//
// Source of the wording and of the order: errors recorded from AWS.
func authenticate(mode AuthMode, r *http.Request) (arn.Scope, *awserr.Error) {
	header := r.Header.Get("Authorization")
	signed := strings.HasPrefix(strings.TrimSpace(header), scheme)
	if r.URL.RawQuery != "" {
		if query := r.URL.Query(); query.Has("X-Amz-Algorithm") {
			if header != "" {
				return arn.Scope{}, awserr.New("InvalidSignatureException", "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
			}
			var missing strings.Builder
			for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"} {
				if query.Get(name) == "" {
					missing.WriteString("AWS query-string parameters must include '" + name + "'. ")
				}
			}
			if missing.Len() > 0 {
				return arn.Scope{}, incompleteSignature(missing.String() + "Re-examine the query-string parameters.")
			}
			return scopeOf(query.Get("X-Amz-Credential"))
		}
	}
	if !signed {
		if mode == AuthOpen {
			return arn.Scope{Account: DefaultAccount, Region: DefaultRegion}, nil
		}
		return arn.Scope{}, awserr.New("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	sig := parseAuthorization(header)
	if dated := r.Header.Get("X-Amz-Date") != "" || r.Header.Get("Date") != ""; !dated || sig.Credential == "" || sig.Signature == "" || sig.SignedHeaders == "" {
		var missing strings.Builder
		for _, p := range []struct{ name, value string }{
			{"Credential", sig.Credential}, {"Signature", sig.Signature}, {"SignedHeaders", sig.SignedHeaders},
		} {
			if p.value == "" {
				missing.WriteString("Authorization header requires '" + p.name + "' parameter. ")
			}
		}
		if !dated {
			missing.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
		}
		return arn.Scope{}, incompleteSignature(missing.String() + "Authorization=" + header)
	}
	return scopeOf(sig.Credential)
}

func incompleteSignature(message string) *awserr.Error {
	return awserr.New("IncompleteSignatureException", "%s", message)
}

// scopeOf reads a credential: access key, date, region, service, terminator. An
// access key of twelve digits is an account, which is how emulators of AWS tell
// tenants apart.
func scopeOf(credential string) (arn.Scope, *awserr.Error) {
	var parts [5]string
	rest, whole := credential, true
	for i := range parts {
		var more bool
		parts[i], rest, more = strings.Cut(rest, "/")
		whole = whole && more == (i < len(parts)-1)
	}
	if !whole {
		return arn.Scope{}, incompleteSignature("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'")
	}
	scope := arn.Scope{Account: DefaultAccount, Region: parts[2]}
	if isAccount(parts[0]) {
		scope.Account = parts[0]
	}
	if !isRegion(scope.Region) {
		return arn.Scope{}, awserr.New("InvalidSignatureException", "Credential should be scoped to a valid region.")
	}
	return scope, nil
}

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// isRegion accepts what a region could be called: the names go into resource
// names, and emulators are used with invented ones.
func isRegion(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}
