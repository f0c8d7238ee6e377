package streamd_test

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/streamd/internal/api"
)

// TestEveryOperationIsServed compares the operations with the methods of the
// SDK's client.
func TestEveryOperationIsServed(t *testing.T) {
	ops := api.New(noEngine{}, api.Config{}).Operations()
	client := reflect.TypeFor[*kinesis.Client]()
	for m := range client.Methods() {
		if m.Name != "Options" && ops[m.Name] == nil {
			t.Errorf("%s is not served", m.Name)
		}
		delete(ops, m.Name)
	}
	for name := range ops {
		t.Errorf("%s is served, but no operation", name)
	}
}

// TestWaiters shows that the first look of the SDK's waiters succeeds: the next
// would come after ten seconds.
func TestWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		began := time.Now()
		in := &kinesis.DescribeStreamInput{StreamName: aws.String("new")}
		must[*kinesis.CreateStreamOutput](t)(r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: in.StreamName}))
		if err := kinesis.NewStreamExistsWaiter(r.client).Wait(t.Context(), in, time.Minute); err != nil {
			t.Error(err)
		}
		must[*kinesis.DeleteStreamOutput](t)(r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: in.StreamName}))
		if err := kinesis.NewStreamNotExistsWaiter(r.client).Wait(t.Context(), in, time.Minute); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the waiters looked again after %v", took)
		}
	})
}
