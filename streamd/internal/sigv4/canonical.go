package sigv4

import (
	"cmp"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// appendCanonical adds the canonical form of a request, which is what a
// signature is made of. ok is false if the request can have none: its list of
// headers is not in order, or its query does not decode.
func (c *Claim) appendCanonical(dst []byte, r *http.Request, bodyHash string) (_ []byte, ok bool) {
	dst = append(append(dst, r.Method...), '\n')
	dst = append(appendPath(dst, wirePath(r)), '\n')
	if dst, ok = c.appendQuery(dst); !ok {
		return dst, false
	}
	dst = append(dst, '\n')
	last := ""
	for name := range strings.SplitSeq(c.SignedHeaders, ";") {
		if name <= last || name != strings.ToLower(name) {
			return dst, false
		}
		last = name
		dst = append(append(dst, name...), ':')
		dst = append(appendHeader(dst, r, name), '\n')
	}
	dst = append(dst, '\n')
	dst = append(append(dst, c.SignedHeaders...), '\n')
	return append(dst, bodyHash...), true
}

// wirePath returns the path as it was sent.
func wirePath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

// appendPath adds the path without dots and empty segments, encoded once more
// than it was sent: all services but S3 have that.
func appendPath(dst []byte, path string) []byte {
	var segments []string
	for s := range strings.SplitSeq(path, "/") {
		switch s {
		case "", ".":
		case "..":
			segments = segments[:max(len(segments)-1, 0)]
		default:
			segments = append(segments, s)
		}
	}
	for _, s := range segments {
		dst = appendEscaped(append(dst, '/'), s)
	}
	if len(segments) == 0 || strings.HasSuffix(path, "/") || strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..") {
		dst = append(dst, '/')
	}
	return dst
}

// appendQuery adds the query in order of names, then of values, without the
// signature itself. Of what the query says of the signer nothing may be said
// twice.
func (c *Claim) appendQuery(dst []byte) (_ []byte, ok bool) {
	if c.query.broken {
		return dst, false
	}
	params := make([]param, 0, len(c.query.params))
	for _, p := range c.query.params {
		if c.header != "" || p.name != "X-Amz-Signature" {
			params = append(params, param{string(appendEscaped(nil, p.name)), string(appendEscaped(nil, p.value))})
		}
	}
	if c.header == "" && len(params) != len(c.query.params)-1 {
		return dst, false
	}
	slices.SortFunc(params, func(a, b param) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	for i, p := range params {
		if i > 0 {
			dst = append(dst, '&')
			if c.header == "" && p.name == params[i-1].name && strings.HasPrefix(p.name, "X-Amz-") {
				return dst, false
			}
		}
		dst = append(append(append(dst, p.name...), '='), p.value...)
	}
	return dst, true
}

// appendHeader adds the values of a header: trimmed, runs of blanks as one.
func appendHeader(dst []byte, r *http.Request, name string) []byte {
	var values []string
	if name == nameHost || name == nameAuthority {
		values = []string{r.Host} // net/http takes it out of the headers
	} else if values = r.Header[textproto.CanonicalMIMEHeaderKey(name)]; values == nil && name == "content-length" && r.ContentLength >= 0 {
		values = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		v = strings.Trim(v, " \t")
		blank := false
		for j := range len(v) {
			if v[j] == ' ' && blank {
				continue
			}
			blank = v[j] == ' '
			dst = append(dst, v[j])
		}
	}
	return dst
}

// appendEscaped adds s with all bytes encoded but those that never are.
func appendEscaped(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}
