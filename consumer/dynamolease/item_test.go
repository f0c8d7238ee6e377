package dynamolease_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

var updateGolden = flag.Bool("update", false, "write the golden files anew")

// wire writes an item as DynamoDB's JSON has it.
func wire(t *testing.T, it map[string]types.AttributeValue) map[string]any {
	t.Helper()
	out := map[string]any{}
	for name, v := range it {
		out[name] = wireValue(t, v)
	}
	return out
}

func wireValue(t *testing.T, v types.AttributeValue) any {
	t.Helper()
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return map[string]any{"S": v.Value}
	case *types.AttributeValueMemberN:
		return map[string]any{"N": v.Value}
	case *types.AttributeValueMemberSS:
		return map[string]any{"SS": v.Value}
	case *types.AttributeValueMemberB:
		return map[string]any{"B": v.Value}
	case *types.AttributeValueMemberM:
		return map[string]any{"M": wire(t, v.Value)}
	case *types.AttributeValueMemberL:
		list := []any{}
		for _, v := range v.Value {
			list = append(list, wireValue(t, v))
		}
		return map[string]any{"L": list}
	}
	t.Errorf("attribute of type %T", v)
	return nil
}

// recorder notes the writes that pass through it.
type recorder struct {
	dynamolease.API
	t     *testing.T
	calls []any
}

func (r *recorder) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	r.calls = append(r.calls, map[string]any{"PutItem": wire(r.t, in.Item), "If": *in.ConditionExpression})
	return r.API.PutItem(ctx, in, o...)
}

func (r *recorder) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, o ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	r.calls = append(r.calls, map[string]any{"UpdateItem": *in.UpdateExpression, "If": *in.ConditionExpression, "Values": wire(r.t, in.ExpressionAttributeValues)})
	out, err := r.API.UpdateItem(ctx, in, o...)
	if err == nil {
		r.calls = append(r.calls, map[string]any{"Stored": wire(r.t, out.Attributes)})
	}
	return out, err
}

// TestRequestsAreTheAgreedOnes compares each write of a lease's life with the
// golden file: other programs read and write the same items.
func TestRequestsAreTheAgreedOnes(t *testing.T) {
	ctx := t.Context()
	rec := &recorder{API: streamdtest.New(t).DynamoDB(), t: t}
	s := newStore(t, rec)
	must := func(l consumer.Lease, err error) consumer.Lease {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	l := consumer.Lease{
		Key: "shardId-000000000002", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon},
		Parents: []string{"shardId-000000000000", "shardId-000000000001"}, StartingHashKey: "0", EndingHashKey: "340282366920938463463374607431768211455",
	}
	if _, err := s.Create(ctx, l); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(ctx, consumer.Lease{Key: "shardId-000000000000", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.Latest}}); err != nil {
		t.Fatal(err)
	}
	l = must(s.Take(ctx, l, "worker-1", "INC1"))
	l = must(s.Take(ctx, l, "worker-2", "INC2"))
	l = must(s.Update(ctx, l, consumer.Write{}))
	l = must(s.Update(ctx, l, consumer.Write{LatestSince: time.UnixMilli(1_700_000_000_123)}))
	l = must(s.Update(ctx, l, consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "49590338271490256608559692538361571095921575989136588898", SubSequenceNumber: 3}}))
	must(s.Update(ctx, l, consumer.Write{
		Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}, Children: []string{"shardId-000000000003"}, Release: true,
	}))

	sameAs(t, "requests.json", rec.calls)
}

// TestRequestsOfSeveralStreams: the rows of a multi-stream application of the official
// library have the key of its MultiStreamLease, and name stream and shard besides;
// parents and children are shards.
func TestRequestsOfSeveralStreams(t *testing.T) {
	ctx := t.Context()
	rec := &recorder{API: streamdtest.New(t).DynamoDB(), t: t}
	s := newStore(t, rec)
	must := func(l consumer.Lease, err error) consumer.Lease {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	const stream = "123456789012:orders:1700000000:"
	l := consumer.Lease{
		Key: stream + "shardId-000000000002", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon},
		Parents: []string{stream + "shardId-000000000000", stream + "shardId-000000000001"}, StartingHashKey: "0", EndingHashKey: "340282366920938463463374607431768211455",
	}
	if _, err := s.Create(ctx, l); err != nil {
		t.Fatal(err)
	}
	l = must(s.Take(ctx, l, "worker-1", "INC1"))
	l = must(s.Update(ctx, l, consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "49590338271490256608559692538361571095921575989136588898"}}))
	must(s.Update(ctx, l, consumer.Write{
		Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}, Children: []string{stream + "shardId-000000000003"}, Release: true,
	}))
	sameAs(t, "requests-streams.json", rec.calls)
}

// sameAs compares what was recorded with a golden file.
func sameAs(t *testing.T, name string, calls []any) {
	t.Helper()
	got, err := json.MarshalIndent(calls, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if *updateGolden {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(want)) != string(got) {
		t.Errorf("requests differ from %s:\n%s", file, got)
	}
}

// odd answers with what a test sets.
type odd struct {
	dynamolease.API
	pages    [][]map[string]types.AttributeValue
	scans    int
	statuses []types.TableStatus
	created  int
	hideItem bool
}

func (o *odd) Scan(_ context.Context, in *dynamodb.ScanInput, _ ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	if !aws.ToBool(in.ConsistentRead) || (in.ExclusiveStartKey == nil) != (o.scans == 0) {
		return nil, errors.New("wrong scan")
	}
	out := &dynamodb.ScanOutput{Items: o.pages[o.scans]}
	if o.scans++; o.scans < len(o.pages) {
		out.LastEvaluatedKey = map[string]types.AttributeValue{"leaseKey": &types.AttributeValueMemberS{Value: "x"}}
	}
	return out, nil
}

func (o *odd) DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	if o.created == 0 {
		return nil, &types.ResourceNotFoundException{}
	}
	st := o.statuses[0]
	o.statuses = o.statuses[min(1, len(o.statuses)-1):]
	return &dynamodb.DescribeTableOutput{Table: &types.TableDescription{
		TableStatus: st,
		KeySchema:   []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
	}}, nil
}

func (o *odd) CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error) {
	o.created++
	return nil, &types.ResourceInUseException{} // another worker was faster
}

func (o *odd) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, f ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	if o.hideItem {
		in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureNone
	}
	return o.API.UpdateItem(ctx, in, f...)
}

func leaseItem(key string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"leaseKey":                    &types.AttributeValueMemberS{Value: key},
		"leaseCounter":                &types.AttributeValueMemberN{Value: "5"},
		"checkpoint":                  &types.AttributeValueMemberS{Value: "LATEST"},
		"checkpointSubSequenceNumber": &types.AttributeValueMemberN{Value: "0"},
		"somethingNew":                &types.AttributeValueMemberBOOL{Value: true},
	}
}

func TestListReadsAllPagesAndLeasesOnly(t *testing.T) {
	worker := map[string]types.AttributeValue{
		"leaseKey": &types.AttributeValueMemberS{Value: "worker"}, "entityType": &types.AttributeValueMemberS{Value: "WORKER_METRIC_STATS"},
	}
	marked := leaseItem("b")
	marked["entityType"] = &types.AttributeValueMemberS{Value: "LEASE"}
	s := newStore(t, &odd{pages: [][]map[string]types.AttributeValue{{leaseItem("a"), worker}, {}, {marked}}})
	all, err := s.List(t.Context())
	if err != nil || len(all) != 2 || all[0].Key != "a" || all[1].Key != "b" || all[1].Counter != 5 {
		t.Errorf("List = %+v, %v", all, err)
	}
}

func TestBrokenItemIsNamed(t *testing.T) {
	for name, v := range map[string]types.AttributeValue{
		"leaseCounter":  &types.AttributeValueMemberS{Value: "5"},
		"checkpoint":    &types.AttributeValueMemberS{Value: "yesterday"},
		"parentShardId": &types.AttributeValueMemberS{Value: "x"},
		"childShardIds": &types.AttributeValueMemberN{Value: "1"},
	} {
		it := leaseItem("a")
		it[name] = v
		all, err := newStore(t, &odd{pages: [][]map[string]types.AttributeValue{{it, leaseItem("b")}}}).List(t.Context())
		if err != nil || len(all) != 2 || all[0].Key != "a" || all[1].Key != "b" || all[1].Invalid != nil {
			t.Errorf("%s: List = %+v, %v", name, all, err)
			continue
		}
		if err := all[0].Invalid; err == nil || !strings.Contains(err.Error(), `lease "a"`) || !strings.Contains(err.Error(), "correct or delete") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestPrepareWaitsUntilActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &odd{statuses: []types.TableStatus{types.TableStatusCreating, types.TableStatusCreating, types.TableStatusActive}}
		start := time.Now()
		if err := newStore(t, api).Prepare(t.Context()); err != nil || api.created != 1 {
			t.Errorf("Prepare: %v after %d creations", err, api.created)
		}
		if d := time.Since(start); d == 0 || d > 2*time.Second {
			t.Errorf("waited %v", d)
		}
		api = &odd{created: 1, statuses: []types.TableStatus{types.TableStatusCreating}}
		err := newStore(t, api).Prepare(t.Context())
		if err == nil || !strings.Contains(err.Error(), "raise CreateTimeout") {
			t.Errorf("Prepare of a table that is never ACTIVE: %v", err)
		}
	})
}

func TestPrepareRefusesAnotherKindOfTable(t *testing.T) {
	db := streamdtest.New(t).DynamoDB()
	_, err := db.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String("app"), BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := newStore(t, db).Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "no lease table") {
		t.Errorf("Prepare: %v", err)
	}
}

func TestConflictWithoutItemIsLookedUp(t *testing.T) {
	db := streamdtest.New(t).DynamoDB()
	if err := newStore(t, db).Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, &odd{API: db, hideItem: true})
	l := consumer.Lease{Key: "a", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.Latest}}
	if _, err := s.Create(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	now, err := s.Take(t.Context(), l, "w", "i")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Take(t.Context(), l, "v", "j")
	conflict, ok := errors.AsType[*consumer.ConflictError](err)
	if !ok || conflict.Current == nil || conflict.Current.Counter != now.Counter || conflict.Current.Owner != "w" {
		t.Errorf("Take with an old counter: %v", err)
	}
}

func TestConfig(t *testing.T) {
	_, err := dynamolease.New(nil, "", dynamolease.Config{CreateTimeout: time.Millisecond})
	for _, want := range []string{"client", "table", "CreateTimeout 1ms"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %s", err, want)
		}
	}
}
