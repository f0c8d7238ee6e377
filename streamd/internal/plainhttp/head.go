package plainhttp

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

const (
	requestLine = "POST / HTTP/1.1\r\n"
	headEnd     = "\r\n\r\n"
)

// names are the headers of AWS clients, as they spell them and as [http.Header]
// does.
var names = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "Authorization", "Connection", "Content-Length",
		"Content-Type", "Date", "Host", "User-Agent", "X-Amz-Api-Version", "X-Amz-Content-Sha256", "X-Amz-Date",
		"X-Amz-Security-Token", "X-Amz-Target", "X-Amz-User-Agent",
	} {
		m[name], m[strings.ToLower(name)] = name, name
	}
	m["amz-sdk-invocation-id"], m["amz-sdk-request"] = "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request"
	m["X-Amz-Content-SHA256"] = "X-Amz-Content-Sha256"
	return m
}()

// special are the headers that ask the server for more than an answer, or say
// something about the body that its length does not.
var special = map[string]bool{
	"Expect": true, "Http2-Settings": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// head is the head of a plain request.
type head struct {
	host   string
	header http.Header
	length int64

	values []string // of header, one after the other
}

// begins reports whether b may be the beginning of a plain request.
func begins(b []byte) bool {
	n := min(len(b), len(requestLine))
	return string(b[:n]) == requestLine[:n]
}

// read reads a head, text, from the request line to the last line's end. It
// reports whether it is that of a plain request.
func (h *head) read(text string) bool {
	h.host, h.length = "", -1
	if h.header == nil {
		h.header = make(http.Header)
	}
	clear(h.header)
	h.values = h.values[:0]
	rest, ok := strings.CutPrefix(text, requestLine)
	if !ok {
		return false
	}
	for rest != "" {
		var line string
		if line, rest, ok = strings.Cut(rest, "\r\n"); !ok || !h.line(line) {
			return false
		}
	}
	return h.host != "" && h.length >= 0
}

// line reads one header.
func (h *head) line(line string) bool {
	colon := strings.IndexByte(line, ':')
	if colon <= 0 {
		return false
	}
	name, ok := names[line[:colon]]
	if !ok {
		if !isToken(line[:colon]) {
			return false
		}
		name = textproto.CanonicalMIMEHeaderKey(line[:colon])
	}
	value := strings.Trim(line[colon+1:], " \t")
	if special[name] || !isValue(value) {
		return false
	}
	switch name {
	case "Host":
		if h.host != "" || !isHost(value) {
			return false
		}
		h.host = value
		return true // net/http keeps it out of the map, too
	case "Content-Length":
		n, err := strconv.ParseUint(value, 10, 62)
		if h.length >= 0 || err != nil {
			return false
		}
		h.length = int64(n)
	case "Connection":
		if !strings.EqualFold(value, "keep-alive") {
			return false
		}
	}
	if all, ok := h.header[name]; ok {
		h.header[name] = append(all, value)
		return true
	}
	n := len(h.values)
	h.values = append(h.values, value)
	h.header[name] = h.values[n : n+1 : n+1]
	return true
}

// tokens are the characters of names (RFC 9110, 5.6.2).
var tokens = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()

func isToken(s string) bool {
	for i := range len(s) {
		if !tokens[s[i]] {
			return false
		}
	}
	return true
}

// isValue reports whether s has none of the characters that no value has (RFC
// 9110, 5.5).
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isHost reports whether s is a host as clients write it. There are others.
func isHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return s != ""
}

// endOf returns the length of the head that b begins with, 0 if it has no end
// yet. What was looked at before need not be looked at again.
func endOf(b []byte, before int) int {
	from := max(before-len(headEnd)+1, 0)
	i := bytes.Index(b[from:], []byte(headEnd))
	if i < 0 {
		return 0
	}
	return from + i + len(headEnd)
}
