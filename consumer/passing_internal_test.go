package consumer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func TestPassing(t *testing.T) {
	status := func(code int, err error) error {
		return &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: code}}, Err: err}
	}
	api := func(code string, fault smithy.ErrorFault) error {
		return &smithy.GenericAPIError{Code: code, Fault: fault}
	}
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"fault of the service", api("InternalServerError", smithy.FaultServer), true},
		{"fault without a type", status(500, api("InternalFailure", smithy.FaultUnknown)), true},
		{"no AWS answer", status(503, errors.New("html")), true},
		{"throttled", status(400, api("ThrottlingException", smithy.FaultClient)), true},
		{"throttled reads", api("ProvisionedThroughputExceededException", smithy.FaultClient), true},
		{"not sent", &smithyhttp.RequestSendError{Err: errors.New("connection refused")}, true},
		{"network", &net.OpError{Op: "read", Err: errors.New("reset")}, true},
		{"too late", fmt.Errorf("describe: %w", context.DeadlineExceeded), true},
		{"not allowed", status(400, api("AccessDeniedException", smithy.FaultClient)), false},
		{"no credentials", errors.New("no EC2 role found"), false},
		{"another table", errors.New("is no lease table"), false},
	} {
		if got := passing(tt.err); got != tt.want {
			t.Errorf("%s: passing(%v) = %v", tt.name, tt.err, got)
		}
		if wrapped := fmt.Errorf("prepare: %w", tt.err); passing(wrapped) != tt.want {
			t.Errorf("%s, wrapped: passing = %v", tt.name, !tt.want)
		}
	}
}
