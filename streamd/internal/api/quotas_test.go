package api_test

import (
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

func TestCheckConsumers(t *testing.T) {
	key := state.StreamKey{Scope: arn.Scope{Account: "111122223333", Region: "us-east-1"}, Name: "s"}
	for _, tt := range []struct {
		name                 string
		quotas               api.Quotas
		registered, creating int
		want                 string
	}{
		{"below", api.AWSQuotas(), 19, 4, ""},
		{"without quotas", api.Quotas{}, 1000, 1000, ""},
		{"registered", api.AWSQuotas(), 20, 0, "LimitExceededException: This request would exceed the limit on the number of consumers registered with the stream s under account 111122223333. Limit: 20."},
		{"creating", api.AWSQuotas(), 5, 5, "LimitExceededException: This request would exceed the limit on the number of consumers in CREATING state for the stream s under account 111122223333. Limit: 5."},
	} {
		got := ""
		if err := tt.quotas.CheckConsumers(key, tt.registered, tt.creating); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
