package dynamolease_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/consumer/leasetest"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

var _ dynamolease.API = (*dynamodb.Client)(nil)

func TestStore(t *testing.T) {
	leasetest.Run(t, func(t *testing.T) consumer.LeaseStore {
		return newStore(t, streamdtest.New(t).DynamoDB())
	})
}

func newStore(t *testing.T, api dynamolease.API) *dynamolease.Store {
	t.Helper()
	s, err := dynamolease.New(api, "app", dynamolease.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
