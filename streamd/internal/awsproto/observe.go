package awsproto

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// Exchange is what can be told of a request that has been answered.
type Exchange struct {
	ID        string // that the client was told
	Service   string // kinesis, dynamodb or Unknown
	Operation string // Unknown if there is no such
	Code      string // of the error, OK if there was none
	Status    int    // of the answer; 0 if there was none

	// Subject is the stream that the request is about; zero if it is about
	// none, or was refused before that was looked at.
	Subject shape.Subject

	// KeyID is that of the access key that the request says it is signed with,
	// proven or not; empty if it is not signed, or not in a way that can be read.
	KeyID string

	Took time.Duration // from the headers of the request to the end of the answer
	In   int64         // bytes of the request's body that were read
	Out  int64         // bytes of the answer's body

	// Request has nothing left to read. It is valid during the call alone.
	Request *http.Request
}

// Attempt returns which attempt of its call the request is, by the SDK that
// sent it; 0 if it does not say.
func (e *Exchange) Attempt() int {
	for part := range strings.SplitSeq(e.Request.Header.Get("Amz-Sdk-Request"), ";") {
		if text, ok := strings.CutPrefix(strings.TrimSpace(part), "attempt="); ok {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return 0
			}
			return int(n)
		}
	}
	return 0
}
