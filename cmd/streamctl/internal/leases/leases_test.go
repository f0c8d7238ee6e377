package leases_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/leases"
)

var _ leases.Scanner = (*dynamodb.Client)(nil)

type item = map[string]types.AttributeValue

func s(v string) types.AttributeValue     { return &types.AttributeValueMemberS{Value: v} }
func n(v string) types.AttributeValue     { return &types.AttributeValueMemberN{Value: v} }
func ss(v ...string) types.AttributeValue { return &types.AttributeValueMemberSS{Value: v} }

type pages [][]item

func (p pages) Scan(_ context.Context, in *dynamodb.ScanInput, _ ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	i := 0
	if in.ExclusiveStartKey != nil {
		i = int(in.ExclusiveStartKey["leaseKey"].(*types.AttributeValueMemberS).Value[0] - '0')
	}
	out := &dynamodb.ScanOutput{Items: p[i]}
	if i+1 < len(p) {
		out.LastEvaluatedKey = item{"leaseKey": s(string(rune('0' + i + 1)))}
	}
	return out, nil
}

func TestRead(t *testing.T) {
	got, err := leases.Read(t.Context(), pages{
		{
			{"leaseKey": s("shardId-000000000002"), "checkpoint": s("TRIM_HORIZON"), "leaseCounter": n("0")},
			{"leaseKey": s("worker-1"), "entityType": s("WORKER_METRIC_STATS")},
			{"leaseKey": s("Leader"), "ownerName": s("worker-1")},
		},
		{}, // a page may be empty and not the last
		{
			{
				"leaseKey": s("shardId-000000000001"), "entityType": s("LEASE"), "leaseOwner": s("worker-1"), "leaseCounter": n("12"),
				"checkpoint": s("495"), "checkpointSubSequenceNumber": n("7"), "ownerSwitchesSinceCheckpoint": n("1"),
				"parentShardId": ss("shardId-000000000000"), "childShardIds": ss("b", "a"),
			},
		},
	}, "app")
	if err != nil {
		t.Fatal(err)
	}
	want := []leases.Lease{
		{
			Key: "shardId-000000000001", Owner: "worker-1", Counter: 12, Checkpoint: "495", SubCheckpoint: 7, Switches: 1,
			Parents: []string{"shardId-000000000000"}, Children: []string{"a", "b"},
		},
		{Key: "shardId-000000000002", Checkpoint: "TRIM_HORIZON"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
