package awsproto

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strings"
)

// Names of headers, spelled as AWS spells them: net/http writes a key of the
// map as it is.
const (
	headerRequestID = "x-amzn-RequestId"
	headerID2       = "x-amz-id-2"
	headerCRC32     = "x-amz-crc32"
)

// randomBytes fills b. The ids of requests need to differ, not to be secret.
func randomBytes(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, rand.Uint64())
	}
}

// newRequestID returns a random UUID.
func newRequestID() string {
	var id [16]byte
	randomBytes(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[:], id[:4])
	hex.Encode(text[9:], id[4:6])
	hex.Encode(text[14:], id[6:8])
	hex.Encode(text[19:], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// newID2 returns the second id of a request, 72 random bytes in base64.
func newID2() string {
	var id [72]byte
	randomBytes(id[:])
	return base64.StdEncoding.EncodeToString(id[:])
}

// corsBegin sets the headers that let a page of an allowed origin read the
// answer. done is true if the request was a preflight, and is answered.
func (h *Handler) corsBegin(w http.ResponseWriter, r *http.Request) (done bool) {
	origin := r.Header.Get("Origin")
	if origin == "" || !h.originAllowed(origin) {
		return false
	}
	head := w.Header()
	head.Set("Access-Control-Allow-Origin", origin)
	head.Add("Vary", "Origin")
	if r.Method == http.MethodOptions {
		if v := r.Header.Get("Access-Control-Request-Headers"); v != "" {
			head.Set("Access-Control-Allow-Headers", v)
		}
		if v := r.Header.Get("Access-Control-Request-Method"); v != "" {
			head.Set("Access-Control-Allow-Methods", v)
		}
		head.Set("Access-Control-Max-Age", "172800")
		head["Content-Type"] = nil // net/http adds none
		head.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return true
	}
	head.Set("Access-Control-Expose-Headers", "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date")
	return false
}

func (h *Handler) originAllowed(origin string) bool {
	for _, o := range h.cfg.CORSOrigins {
		if o == "*" || strings.EqualFold(o, origin) {
			return true
		}
	}
	return false
}
