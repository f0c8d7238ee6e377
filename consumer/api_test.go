package consumer_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
)

var _ consumer.API = (*kinesis.Client)(nil)

func TestHTTPClientIsReady(t *testing.T) {
	a, b := consumer.HTTPClient(), consumer.HTTPClient()
	if a == nil || a.Transport == nil || a == b {
		t.Errorf("HTTPClient gave %v and %v, want two clients with transports of their own", a, b)
	}
}
