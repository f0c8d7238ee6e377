package dynamolease_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/consumer/leasetest"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

var _ dynamolease.API = (*dynamodb.Client)(nil)

func TestStore(t *testing.T) {
	leasetest.RunCoordination(t, func(t *testing.T) consumer.CoordinationStore {
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

// TestTakeForAnother: a worker of another library has no incarnation, and its lease
// none of the worker's before it, nor an empty one.
func TestTakeForAnother(t *testing.T) {
	db := streamdtest.New(t).DynamoDB()
	s := newStore(t, db)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := consumer.Lease{Key: "shardId-000000000000", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}}
	if ok, err := s.Create(t.Context(), l); err != nil || !ok {
		t.Fatalf("Create: %v, %v", ok, err)
	}
	for _, inc := range []string{"i", ""} {
		var err error
		if l, err = s.Take(t.Context(), l, "w", inc); err != nil {
			t.Fatal(err)
		}
	}
	out, err := db.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String("app"), Key: map[string]types.AttributeValue{"leaseKey": &types.AttributeValueMemberS{Value: l.Key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, there := out.Item["g_inc"]; there || out.Item["leaseOwner"] == nil {
		t.Errorf("g_inc is %v", v)
	}
}
