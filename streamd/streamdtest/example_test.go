package streamdtest_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func ExampleNew() {
	// In a test file:
	_ = func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 2)
		_, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String("customer-1"), Data: []byte("one book"),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range srv.Records(t, "orders") {
			t.Logf("%s", r.Data)
		}
	}
	// Output:
}
