package faults

import (
	"slices"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// The services, as rules name them.
const (
	kinesis  = "kinesis"
	dynamodb = "dynamodb"
)

const putRecords = "PutRecords"

// Codes of errors.
const (
	throughputExceeded = "ProvisionedThroughputExceededException"
	limitExceeded      = "LimitExceededException"
	internalFailure    = "InternalFailure"
)

// kinesisOperations and tableOperations are the operations that rules can name.
//
// Source: the operations of aws-sdk-go-v2's Kinesis client; those of package
// table.
var (
	kinesisOperations = []string{
		"PutRecords", "PutRecord", "GetRecords", "GetShardIterator", "SubscribeToShard",
		"AddTagsToStream", "CreateChannel", "CreateStream", "DecreaseStreamRetentionPeriod",
		"DeleteChannel", "DeleteResourcePolicy", "DeleteStream", "DeregisterStreamConsumer",
		"DescribeAccountSettings", "DescribeChannel", "DescribeLimits", "DescribeStream",
		"DescribeStreamConsumer", "DescribeStreamSummary", "DisableEnhancedMonitoring",
		"EnableEnhancedMonitoring", "GetResourcePolicy", "IncreaseStreamRetentionPeriod",
		"ListChannels", "ListShards", "ListStreamConsumers", "ListStreams", "ListTagsForResource",
		"ListTagsForStream", "MergeShards", "PutResourcePolicy", "RegisterStreamConsumer",
		"RemoveTagsFromStream", "SplitShard", "StartStreamEncryption", "StopStreamEncryption",
		"TagResource", "UntagResource", "UpdateAccountSettings", "UpdateChannel",
		"UpdateMaxRecordSize", "UpdateShardCount", "UpdateStreamMode",
		"UpdateStreamRecordDistributionStrategy", "UpdateStreamWarmThroughput",
	}
	tableOperations = []string{
		"PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan",
		"BatchGetItem", "BatchWriteItem", "TransactGetItems", "TransactWriteItems",
		"CreateTable", "DeleteTable", "DescribeTable", "ListTables", "UpdateTable",
		"UpdateTimeToLive", "DescribeTimeToLive", "UpdateContinuousBackups", "DescribeContinuousBackups",
		"TagResource", "UntagResource", "ListTagsOfResource", "DescribeLimits",
	}
)

// throttled is the error of a request that comes too fast. What a shard or a
// table refuses for its throughput has one code, what the account does another.
//
// Source of the wording for tables: AWS's answers as users report them.
func throttled(t *target) *awserr.Error {
	if t.service == dynamodb {
		switch t.operation {
		case "PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan",
			"BatchGetItem", "BatchWriteItem", "TransactGetItems", "TransactWriteItems":
			return awserr.New(throughputExceeded, "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.")
		}
		return awserr.New(limitExceeded, "Subscriber limit exceeded: Only 500 tables can be created, updated, or deleted simultaneously.")
	}
	shard := state.ShardID(max(t.shard, 0)) // PutRecords names none, and there is a first
	switch {
	case t.operation == "GetRecords":
		return awserr.New(throughputExceeded, "Rate exceeded for Shard - %s/%s/%s", t.account, t.stream, shard)
	case slices.Contains([]string{"PutRecord", putRecords, "GetShardIterator"}, t.operation):
		return recordThrottled(t.account, t.stream, shard)
	case t.stream == "":
		return awserr.New(limitExceeded, "Rate exceeded for account %s.", t.account)
	}
	return awserr.New(limitExceeded, "Rate exceeded for stream %s under account %s.", t.stream, t.account)
}

func recordThrottled(account, stream, shard string) *awserr.Error {
	return awserr.New(throughputExceeded, "Rate exceeded for shard %s in stream %s under account %s.", shard, stream, account)
}

// failed is the error of a fault inside the service.
func failed(t *target) *awserr.Error {
	if t.service == dynamodb {
		return &awserr.Error{Code: "InternalServerError", Message: "Internal server error", Status: 500}
	}
	return awserr.Internal()
}
