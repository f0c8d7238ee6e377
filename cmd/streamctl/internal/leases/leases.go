// Package leases reads the lease table of a consumer's application, whichever
// library of the family wrote it.
//
// Source of the attributes: amazon-kinesis-client, DynamoDBLeaseSerializer.
package leases

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Lease is one row: a worker's right to read a shard.
type Lease struct {
	Key           string   `json:"leaseKey"`
	Owner         string   `json:"leaseOwner,omitempty"`
	Counter       int64    `json:"leaseCounter"`
	Checkpoint    string   `json:"checkpoint"`
	SubCheckpoint int64    `json:"checkpointSubSequenceNumber"`
	Parents       []string `json:"parentShardIds,omitempty"`
	Children      []string `json:"childShardIds,omitempty"`
	Switches      int64    `json:"ownerSwitchesSinceCheckpoint"`
}

// ShardEnd is the checkpoint of a shard that was read to its end.
const ShardEnd = "SHARD_END"

// Scanner is the call that Read makes.
type Scanner interface {
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
}

// Read returns the leases in a table, in order of their keys. Rows that are no
// leases, such as those of workers and of the leader, are left out.
func Read(ctx context.Context, api Scanner, table string) ([]Lease, error) {
	var all []Lease
	in := &dynamodb.ScanInput{TableName: aws.String(table), ConsistentRead: aws.Bool(true)}
	for {
		out, err := api.Scan(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, item := range out.Items {
			if l, ok := decode(item); ok {
				all = append(all, l)
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			break
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
	slices.SortFunc(all, func(a, b Lease) int { return cmp.Compare(a.Key, b.Key) })
	return all, nil
}

func decode(item map[string]types.AttributeValue) (Lease, bool) {
	// A lease has a checkpoint from its creation on; rows of other kinds say so
	// in entityType, or have none.
	kind, checkpoint := text(item["entityType"]), text(item["checkpoint"])
	if (kind != "" && kind != "LEASE") || checkpoint == "" {
		return Lease{}, false
	}
	parents := set(item["parentShardId"])
	if parents == nil {
		parents = set(item["parentShardIds"]) // as earlier versions of package dynamolease had it
	}
	return Lease{
		Key: text(item["leaseKey"]), Owner: text(item["leaseOwner"]), Counter: number(item["leaseCounter"]),
		Checkpoint: checkpoint, SubCheckpoint: number(item["checkpointSubSequenceNumber"]),
		Parents: parents, Children: set(item["childShardIds"]),
		Switches: number(item["ownerSwitchesSinceCheckpoint"]),
	}, true
}

func text(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func number(v types.AttributeValue) int64 {
	if n, ok := v.(*types.AttributeValueMemberN); ok {
		i, _ := strconv.ParseInt(n.Value, 10, 64)
		return i
	}
	return 0
}

func set(v types.AttributeValue) []string {
	if ss, ok := v.(*types.AttributeValueMemberSS); ok {
		slices.Sort(ss.Value)
		return ss.Value
	}
	return nil
}
