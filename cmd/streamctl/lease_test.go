package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// command runs a command line against a server.
func command(t *testing.T, srv *streamdtest.Server, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := run(t.Context(), append(args, "--endpoint", srv.Endpoint()), strings.NewReader(""), &out, &errOut); code != 0 {
		t.Fatalf("streamctl %s: code %d: %s", strings.Join(args, " "), code, errOut.String())
	}
	return out.String()
}

func TestLeaseList(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "orders", 2)
	put, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
		StreamName: aws.String("orders"), PartitionKey: aws.String("k"), ExplicitHashKey: aws.String("0"), Data: []byte("x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	db := srv.DynamoDB()
	_, err = db.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:            aws.String("billing"),
		AttributeDefinitions: []dynamodbtypes.AttributeDefinition{{AttributeName: aws.String("leaseKey"), AttributeType: dynamodbtypes.ScalarAttributeTypeS}},
		KeySchema:            []dynamodbtypes.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: dynamodbtypes.KeyTypeHash}},
		BillingMode:          dynamodbtypes.BillingModePayPerRequest,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := command(t, srv, "lease", "list", "billing"); got != "" {
		t.Errorf("an empty table prints %q", got)
	}
	s := func(v string) dynamodbtypes.AttributeValue { return &dynamodbtypes.AttributeValueMemberS{Value: v} }
	n := func(v string) dynamodbtypes.AttributeValue { return &dynamodbtypes.AttributeValueMemberN{Value: v} }
	for _, item := range []map[string]dynamodbtypes.AttributeValue{
		{
			"leaseKey": s("shardId-000000000000"), "leaseOwner": s("worker-1"), "leaseCounter": n("42"),
			"checkpoint": s(*put.SequenceNumber), "checkpointSubSequenceNumber": n("3"),
			"parentShardIds": &dynamodbtypes.AttributeValueMemberSS{Value: []string{"shardId-000000000017"}},
		},
		{"leaseKey": s("shardId-000000000001"), "leaseCounter": n("0"), "checkpoint": s("TRIM_HORIZON")},
		{"leaseKey": s("shardId-000000000017"), "leaseCounter": n("9"), "checkpoint": s("SHARD_END")},
	} {
		if _, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("billing"), Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.ReplaceAll(`LEASE                 OWNER     COUNTER  CHECKPOINT                                                  PARENTS  LAG
shardId-000000000000  worker-1  42       NUMBER/3  17       0s
shardId-000000000001  -         0        TRIM_HORIZON                                                         0s
shardId-000000000017  -         9        SHARD_END                                                            -
`, "NUMBER", *put.SequenceNumber)
	if got := command(t, srv, "lease", "list", "billing", "--stream", "orders"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var rows []leaseRow
	if err := json.Unmarshal([]byte(command(t, srv, "lease", "list", "billing", "--json")), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3 || rows[0].Owner != "worker-1" || rows[0].Counter != 42 || rows[0].LagMillis != nil {
		t.Errorf("rows %+v", rows)
	}
}
