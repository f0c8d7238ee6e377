package streamd_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func text(s string) types.AttributeValue   { return &types.AttributeValueMemberS{Value: s} }
func number(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

// TestTables passes a lease through its life with the SDK's client, which
// checks the checksum of every answer.
func TestTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		client := streamdtest.New(t).DynamoDB()
		table := aws.String("leases")
		must[*dynamodb.CreateTableOutput](t)(client.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName: table, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS}},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
		}))
		if err := dynamodb.NewTableExistsWaiter(client).Wait(ctx, &dynamodb.DescribeTableInput{TableName: table}, 1<<30); err != nil {
			t.Fatal(err)
		}
		lease := map[string]types.AttributeValue{"leaseKey": text("shard"), "leaseCounter": number("1"), "leaseOwner": text("a")}
		put := &dynamodb.PutItemInput{TableName: table, Item: lease, ConditionExpression: aws.String("attribute_not_exists(leaseKey)")}
		must[*dynamodb.PutItemOutput](t)(client.PutItem(ctx, put))
		_, err := client.PutItem(ctx, put)
		if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); !ok {
			t.Errorf("second put: %v", err)
		}
		renew := &dynamodb.UpdateItemInput{
			TableName: table, Key: map[string]types.AttributeValue{"leaseKey": text("shard")},
			UpdateExpression:          aws.String("SET leaseCounter = leaseCounter + :one"),
			ConditionExpression:       aws.String("leaseOwner = :me"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":one": number("1"), ":me": text("a")},
			ReturnValues:              types.ReturnValueAllNew,
		}
		out := must[*dynamodb.UpdateItemOutput](t)(client.UpdateItem(ctx, renew))
		if n, ok := out.Attributes["leaseCounter"].(*types.AttributeValueMemberN); !ok || n.Value != "2" {
			t.Errorf("after the renewal: %+v", out.Attributes)
		}
		renew.ExpressionAttributeValues[":me"] = text("b")
		renew.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
		_, err = client.UpdateItem(ctx, renew)
		if e, ok := errors.AsType[*types.ConditionalCheckFailedException](err); !ok || len(e.Item) != 3 {
			t.Errorf("renewal by another: %v", err)
		}
		scan := must[*dynamodb.ScanOutput](t)(client.Scan(ctx, &dynamodb.ScanInput{TableName: table}))
		if len(scan.Items) != 1 {
			t.Errorf("%d items", len(scan.Items))
		}
		_, err = client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("nope"), Key: renew.Key})
		if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
			t.Errorf("no such table: %v", err)
		}
	})
}

// TestSeveralItems writes and reads several items with the SDK's client, in
// batches and in transactions.
func TestSeveralItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		client := streamdtest.New(t).DynamoDB()
		table := aws.String("leases")
		must[*dynamodb.CreateTableOutput](t)(client.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName: table, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS}},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
		}))
		key := func(s string) map[string]types.AttributeValue {
			return map[string]types.AttributeValue{"leaseKey": text(s)}
		}
		must[*dynamodb.BatchWriteItemOutput](t)(client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
			RequestItems: map[string][]types.WriteRequest{"leases": {
				{PutRequest: &types.PutRequest{Item: key("a")}}, {PutRequest: &types.PutRequest{Item: key("b")}}, {DeleteRequest: &types.DeleteRequest{Key: key("c")}},
			}},
		}))
		move := &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Delete: &types.Delete{TableName: table, Key: key("a"), ConditionExpression: aws.String("attribute_exists(leaseKey)")}},
			{Put: &types.Put{TableName: table, Item: key("d")}},
		}}
		must[*dynamodb.TransactWriteItemsOutput](t)(client.TransactWriteItems(ctx, move))
		// The client has given it a token: it is the same, and was done.
		must[*dynamodb.TransactWriteItemsOutput](t)(client.TransactWriteItems(ctx, move))
		move.ClientRequestToken = nil
		_, err := client.TransactWriteItems(ctx, move)
		canceled, ok := errors.AsType[*types.TransactionCanceledException](err)
		if !ok || len(canceled.CancellationReasons) != 2 || aws.ToString(canceled.CancellationReasons[0].Code) != "ConditionalCheckFailed" ||
			aws.ToString(canceled.CancellationReasons[1].Code) != "None" || canceled.ErrorMessage() == "" {
			t.Errorf("second transaction: %+v", err)
		}
		got := must[*dynamodb.BatchGetItemOutput](t)(client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: map[string]types.KeysAndAttributes{"leases": {Keys: []map[string]types.AttributeValue{key("a"), key("b"), key("d")}}},
		}))
		if n := len(got.Responses["leases"]); n != 2 || len(got.UnprocessedKeys) != 0 {
			t.Errorf("%d items, %d left", n, len(got.UnprocessedKeys))
		}
		both := must[*dynamodb.TransactGetItemsOutput](t)(client.TransactGetItems(ctx, &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
			{Get: &types.Get{TableName: table, Key: key("d")}}, {Get: &types.Get{TableName: table, Key: key("a")}},
		}}))
		if len(both.Responses) != 2 || both.Responses[0].Item == nil || both.Responses[1].Item != nil {
			t.Errorf("read %+v", both.Responses)
		}
		must[*dynamodb.TagResourceOutput](t)(client.TagResource(ctx, &dynamodb.TagResourceInput{
			ResourceArn: aws.String("arn:aws:dynamodb:us-east-1:000000000000:table/leases"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}},
		}))
	})
}

// TestBodyBudget sends the greater part of bodies until the server holds as much
// as it will, and expects the next to be turned away, not to wait.
func TestBodyBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		post := func(body io.Reader) (status int) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.Endpoint(), body)
			if err != nil {
				t.Error(err)
				return 0
			}
			req.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
			req.Header.Set("Content-Type", "application/x-amz-json-1.1")
			resp, err := srv.HTTPClient().Do(req)
			if err != nil {
				t.Error(err)
				return 0
			}
			_ = resp.Body.Close() // the status says enough
			return resp.StatusCode
		}
		const all = 256 / 16 // MiB of the budget, MiB of a body
		var ends []*io.PipeWriter
		done := make(chan int)
		for range all {
			body, end := io.Pipe()
			ends = append(ends, end)
			go func() { done <- post(body) }()
			go func() { _, _ = end.Write(bytes.Repeat([]byte(" "), 9<<20)) }() // the test sees the answer
		}
		synctest.Wait()
		if status := post(io.MultiReader(strings.NewReader(`{}`))); status != http.StatusServiceUnavailable {
			t.Errorf("beyond the budget: %d", status)
		}
		golden(t, srv, "budget.golden", []request{{name: "more bodies than the server holds", target: "PutRecords", body: `{}`}})
		for _, end := range ends {
			_ = end.Close()
		}
		for range all {
			if status := <-done; status != http.StatusBadRequest {
				t.Errorf("within the budget: %d", status)
			}
		}
		if status := post(io.MultiReader(strings.NewReader(`{}`))); status != http.StatusBadRequest {
			t.Errorf("afterwards: %d", status)
		}
	})
}
