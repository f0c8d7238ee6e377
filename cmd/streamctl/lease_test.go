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

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
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
			"parentShardId": &dynamodbtypes.AttributeValueMemberSS{Value: []string{"shardId-000000000017"}},
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

// TestLeasesOfSeveralStreams: leases of an application that reads several streams are
// named by their keys.
func TestLeasesOfSeveralStreams(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	srv := streamdtest.New(t, streamdtest.Listen())
	store, err := dynamolease.New(srv.DynamoDB(), "billing", dynamolease.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, stream := range []string{"orders", "returns"} {
		srv.CreateStream(t, stream, 1)
		keys[stream] = "000000000000:" + stream + ":1700000000:shardId-000000000000"
		l := consumer.Lease{
			Key: keys[stream], Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon},
			StartingHashKey: "0", EndingHashKey: "340282366920938463463374607431768211455",
		}
		if stream == "orders" {
			l.Owner = "worker-1"
		}
		if _, err := store.Create(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	list := strings.Split(command(t, srv, "lease", "list", "billing", "--stream", "returns"), "\n")
	if len(list) != 4 || !strings.HasPrefix(list[1], keys["orders"]+" ") || !strings.HasSuffix(list[1], "-") || !strings.HasSuffix(list[2], "0s") {
		t.Errorf("lease list: %q", list)
	}
	whys := func(args ...string) (rows []whyRow) {
		t.Helper()
		args = append([]string{"lease", "why", "billing", "--watch", "0", "--json"}, args...)
		if err := json.Unmarshal([]byte(command(t, srv, args...)), &rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if rows := whys(); len(rows) != 2 || rows[0].Key != keys["orders"] || rows[0].Owner != "worker-1" || rows[1].Shard != "shardId-000000000000" {
		t.Errorf("lease why: %+v", rows)
	}
	if rows := whys("--stream", "returns"); len(rows) != 1 || rows[0].Key != keys["returns"] || rows[0].Reason != consumer.ReasonUnowned {
		t.Errorf("lease why of a stream: %+v", rows)
	}
	command(t, srv, "lease", "release", "billing", keys["orders"], "--yes")
	command(t, srv, "lease", "reset", "billing", keys["orders"], "--to", "latest", "--yes")
	if l, _, err := store.Get(t.Context(), keys["orders"]); err != nil || l.Owner != "" || l.Checkpoint.SequenceNumber != consumer.Latest {
		t.Errorf("after release and reset: %+v, %v", l, err)
	}
}
