package plainhttp

import (
	"net/http"
	"strings"
)

// ReadHead reads a head that ends with an empty line.
func ReadHead(text string) (host string, header http.Header, length int64, ok bool) {
	rest, found := strings.CutSuffix(text, "\r\n")
	if !found || endOf([]byte(text), 0) != len(text) {
		return "", nil, 0, false
	}
	var h head
	ok = h.read(rest)
	return h.host, h.header, h.length, ok
}
