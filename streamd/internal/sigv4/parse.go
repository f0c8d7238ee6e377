package sigv4

import (
	"net/http"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"

	// scheme begins the Authorization headers of AWS's signatures, those of
	// other algorithms too.
	scheme = "AWS4-"
)

// Names of headers and of parameters in the query.
const (
	nameDate    = "X-Amz-Date"
	nameToken   = "X-Amz-Security-Token"
	nameTarget  = "X-Amz-Target"
	nameContent = "X-Amz-Content-Sha256"
	nameExpires = "X-Amz-Expires"
)

// The host in lists of signed headers: HTTP/2 has it in a field of its own, and
// some clients sign it under that name.
const (
	nameHost      = "host"
	nameAuthority = ":authority"
)

// A Claim is what a request says of its signer. Nothing of it is proven.
type Claim struct {
	// The five parts of the credential.
	KeyID, Date, Region, Service, Terminator string

	Algorithm     string
	SignedHeaders string // names, separated by semicolons
	Signature     string // hexadecimal

	time    string // of signing, as it is written
	token   string // of the session, empty if there is none
	expires string // how long a query is valid, empty if it does not say
	header  string // that of the time; empty if the query has it
	query   query
}

// Parse returns what a request says of its signer, nil if it says nothing. The
// error is that of AWS for signatures that are not well-formed.
func Parse(r *http.Request) (*Claim, *awserr.Error) {
	c := &Claim{query: parseQuery(r.URL.RawQuery)}
	header := r.Header.Get("Authorization")
	var credential string
	switch {
	case c.query.has("X-Amz-Algorithm"):
		if header != "" {
			return nil, awserr.New(codeInvalid, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
		}
		var missing strings.Builder
		for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", nameDate} {
			if c.query.get(name) == "" {
				missing.WriteString("AWS query-string parameters must include '" + name + "'. ")
			}
		}
		if missing.Len() > 0 {
			return nil, incomplete(missing.String() + "Re-examine the query-string parameters.")
		}
		credential = c.query.get("X-Amz-Credential")
		c.Algorithm, c.Signature, c.SignedHeaders = c.query.get("X-Amz-Algorithm"), c.query.get("X-Amz-Signature"), c.query.get("X-Amz-SignedHeaders")
		c.time, c.token, c.expires = c.query.get(nameDate), c.query.get(nameToken), c.query.get(nameExpires)
	case strings.HasPrefix(strings.TrimSpace(header), scheme):
		c.header = nameDate
		if c.time = r.Header.Get(nameDate); c.time == "" {
			c.header, c.time = "Date", r.Header.Get("Date")
		}
		c.token = r.Header.Get(nameToken)
		credential = c.parseHeader(header)
		if err := c.complete(header, credential); err != nil {
			return nil, err
		}
	default:
		return nil, nil
	}
	return c, c.parseCredential(credential)
}

// parseHeader reads the parts of an Authorization header of the form
//
//	AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…
//
// whose separators may be commas, blanks or both, and returns the credential.
// What is missing stays empty.
func (c *Claim) parseHeader(header string) (credential string) {
	var rest string
	c.Algorithm, rest, _ = strings.Cut(strings.TrimSpace(header), " ")
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
			credential = value
		case "SignedHeaders":
			c.SignedHeaders = value
		case "Signature":
			c.Signature = value
		}
	}
	return credential
}

// complete returns the error for the parts that a header does not have.
func (c *Claim) complete(header, credential string) *awserr.Error {
	var missing strings.Builder
	for _, p := range []struct{ name, value string }{
		{"Credential", credential}, {"Signature", c.Signature}, {"SignedHeaders", c.SignedHeaders},
	} {
		if p.value == "" {
			missing.WriteString("Authorization header requires '" + p.name + "' parameter. ")
		}
	}
	if c.time == "" {
		missing.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	if missing.Len() == 0 {
		return nil
	}
	return incomplete(missing.String() + "Authorization=" + header)
}

// parseCredential reads access key, date, region, service and terminator.
func (c *Claim) parseCredential(credential string) *awserr.Error {
	rest, whole := credential, true
	parts := []*string{&c.KeyID, &c.Date, &c.Region, &c.Service, &c.Terminator}
	for i, part := range parts {
		var more bool
		*part, rest, more = strings.Cut(rest, "/")
		whole = whole && more == (i < len(parts)-1)
	}
	if !whole {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'")
	}
	if !isRegion(c.Region) {
		return awserr.New(codeInvalid, "Credential should be scoped to a valid region.")
	}
	return nil
}

// isRegion accepts what a region could be called: the names go into resource
// names, and emulators are used with invented ones.
func isRegion(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// The codes of errors.
const (
	codeInvalid      = "InvalidSignatureException"
	codeIncomplete   = "IncompleteSignatureException"
	codeUnrecognized = "UnrecognizedClientException"
)

func incomplete(message string) *awserr.Error {
	return &awserr.Error{Code: codeIncomplete, Message: message, Status: http.StatusBadRequest}
}

// query is a query in the order in which it was sent.
type query struct {
	params []param
	broken bool // a part of it does not decode
}

type param struct{ name, value string }

func parseQuery(raw string) query {
	var q query
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		p := param{}
		var ok, okToo bool
		p.name, ok = unescape(name)
		p.value, okToo = unescape(value)
		if !ok || !okToo {
			q.broken = true
			continue
		}
		q.params = append(q.params, p)
	}
	return q
}

func (q *query) has(name string) bool {
	for i := range q.params {
		if q.params[i].name == name {
			return true
		}
	}
	return false
}

// get returns the value of the first parameter of that name.
func (q *query) get(name string) string {
	for i := range q.params {
		if q.params[i].name == name {
			return q.params[i].value
		}
	}
	return ""
}

// unescape decodes a part of a query.
func unescape(s string) (string, bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b = append(b, ' ')
		case c != '%':
			b = append(b, c)
		case i+2 >= len(s):
			return "", false
		default:
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 0 || lo < 0 {
				return "", false
			}
			b = append(b, byte(hi<<4|lo))
			i += 2
		}
	}
	return string(b), true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
