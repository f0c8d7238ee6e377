package table_test

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// direct is an HTTP client that answers from a Set, with no network between.
type direct struct {
	mu  sync.RWMutex
	set *table.Set
}

func (d *direct) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	_, op, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	status := http.StatusOK
	var answer string
	if res, err := d.answer(op, body); err == nil {
		answer = string(res.AppendJSON(nil))
	} else if ae, ok := errors.AsType[*awserr.Error](err); ok {
		status = ae.HTTPStatus()
		answer = `{"__type":"com.amazonaws.dynamodb.v20120810#` + ae.Code + `","message":` + quote(ae.Message) + ae.Members + `}`
	} else {
		return nil, err
	}
	h := http.Header{"Content-Type": {"application/x-amz-json-1.0"}}
	h.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(answer))), 10))
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(answer)), ContentLength: int64(len(answer)), Request: req}, nil
}

func (d *direct) answer(op string, body []byte) (table.Response, error) {
	r, err := table.Parse(op, body)
	if err != nil {
		return nil, err
	}
	if r.Mutates() {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.set.Apply(start, scope, r)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.set.Read(start, scope, r)
}

func newClient() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://localhost"), HTTPClient: &direct{set: table.NewSet()}, Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}),
	})
}

// TestSDK drives a Set with the Go SDK, many clients at once: each counts a
// lease up under a condition, and readers scan meanwhile.
func TestSDK(t *testing.T) {
	ctx := t.Context()
	c := newClient()
	_, err := c.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String("tab"), BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("k"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("k"), AttributeType: types.ScalarAttributeTypeS}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String("tab")})
	if err != nil || d.Table.TableStatus != types.TableStatusActive || !d.Table.CreationDateTime.Equal(start) || d.Table.BillingModeSummary == nil {
		t.Fatalf("DescribeTable = %+v, %v", d, err)
	}
	item := map[string]types.AttributeValue{
		"k": &types.AttributeValueMemberS{Value: "x"}, "n": &types.AttributeValueMemberN{Value: "0"},
		"b": &types.AttributeValueMemberB{Value: []byte{0, 1, 255}}, "ss": &types.AttributeValueMemberSS{Value: []string{"a", "b"}},
		"m": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"t": &types.AttributeValueMemberBOOL{Value: true}, "z": &types.AttributeValueMemberNULL{Value: true}}},
	}
	if _, err := c.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("tab"), Item: item, ConditionExpression: aws.String("attribute_not_exists(k)")}); err != nil {
		t.Fatal(err)
	}
	const clients, counts = 4, 25
	key := map[string]types.AttributeValue{"k": item["k"]}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			n := 0
			for done := 0; done < counts; {
				_, err := c.UpdateItem(ctx, &dynamodb.UpdateItemInput{
					TableName: aws.String("tab"), Key: key,
					ConditionExpression: aws.String("n = :n"), UpdateExpression: aws.String("SET n = n + :one"),
					ExpressionAttributeValues: map[string]types.AttributeValue{
						":n": &types.AttributeValueMemberN{Value: strconv.Itoa(n)}, ":one": &types.AttributeValueMemberN{Value: "1"},
					},
					ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
				})
				if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
					v, _ := failed.Item["n"].(*types.AttributeValueMemberN)
					n, _ = strconv.Atoi(v.Value)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				done++
				n++
			}
		})
		wg.Go(func() {
			for range counts {
				if out, err := c.Scan(ctx, &dynamodb.ScanInput{TableName: aws.String("tab")}); err != nil || out.Count != 1 {
					t.Errorf("Scan = %+v, %v", out, err)
					return
				}
			}
		})
	}
	wg.Wait()
	out, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("tab"), Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := out.Item["n"].(*types.AttributeValueMemberN); n == nil || n.Value != strconv.Itoa(clients*counts) {
		t.Errorf("counted to %+v, want %d", n, clients*counts)
	}
	_, err = c.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("none"), Key: key})
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
		t.Errorf("GetItem on no table: %v", err)
	}
}

// TestRequest looks at what the server asks of a request.
func TestRequest(t *testing.T) {
	for op, mutates := range map[string]bool{
		"CreateTable": true, "UpdateTable": true, "DeleteTable": true, "PutItem": true, "UpdateItem": true, "DeleteItem": true,
		"DescribeTable": false, "ListTables": false, "GetItem": false, "Scan": false, "Query": false,
	} {
		body := `{"TableName":"tab","Key":{"k":{"S":"x"}},"Item":{},"ConsistentRead":true,"DeletionProtectionEnabled":true,"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],
			"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST","KeyConditions":{"k":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"x"}]}}}`
		r, err := table.Parse(op, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", op, err)
			continue
		}
		reads := op == "GetItem" || op == "Scan" || op == "Query"
		if r.Op() != op || string(r.Body()) != body || r.Mutates() != mutates || r.Consistent() != reads {
			t.Errorf("%s: Op %s, Mutates %t, Consistent %t", op, r.Op(), r.Mutates(), r.Consistent())
		}
	}
}
