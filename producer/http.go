package producer

import (
	"net/http"

	"github.com/streamkit/streamkit/internal/sdkhttp"
)

// HTTPClient returns an HTTP client with a connection pool of its own, to be
// given to the Kinesis client that a [Producer] uses:
//
//	client := kinesis.NewFromConfig(awsConfig, func(o *kinesis.Options) {
//		o.HTTPClient = producer.HTTPClient()
//	})
//
// The SDK's default client also works, but against a fast server it now and
// then loses a connection in the middle of an answer: the SDK closes a
// request's body when the answer's headers arrive, and net/http takes what it
// then reads from that body for a failed write. This client also prefers
// several HTTP/1.1 connections to one of HTTP/2, and keeps enough of them open
// for a producer's requests in flight. It has no timeout; the producer bounds
// each request by Config.RequestTimeout.
func HTTPClient() *http.Client {
	return sdkhttp.Client()
}
