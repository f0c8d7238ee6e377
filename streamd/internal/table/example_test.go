package table_test

import (
	"fmt"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

func ExampleSet() {
	set := table.NewSet()
	scope := arn.Scope{Account: "000000000000", Region: "us-east-1"}
	for _, r := range []struct{ op, body string }{
		{"CreateTable", `{"TableName":"leases","BillingMode":"PAY_PER_REQUEST",
			"KeySchema":[{"AttributeName":"leaseKey","KeyType":"HASH"}],
			"AttributeDefinitions":[{"AttributeName":"leaseKey","AttributeType":"S"}]}`},
		{"PutItem", `{"TableName":"leases","Item":{"leaseKey":{"S":"shard-1"},"leaseCounter":{"N":"1"}},"Expected":{"leaseKey":{"Exists":false}}}`},
		{"UpdateItem", `{"TableName":"leases","Key":{"leaseKey":{"S":"shard-1"}},"ReturnValues":"ALL_NEW",
			"ConditionExpression":"leaseCounter = :n","UpdateExpression":"SET leaseCounter = :n + :one",
			"ExpressionAttributeValues":{":n":{"N":"1"},":one":{"N":"1"}}}`},
		{"DeleteItem", `{"TableName":"leases","Key":{"leaseKey":{"S":"shard-1"}},"ConditionExpression":"attribute_exists(leaseOwner)"}`},
	} {
		req, err := table.Parse(r.op, []byte(r.body))
		if err != nil {
			fmt.Println(err)
			continue
		}
		res, err := set.Apply(time.Now(), scope, req)
		if err != nil {
			fmt.Println(err)
			continue
		}
		if r.op != "CreateTable" {
			fmt.Println(string(res.AppendJSON(nil)))
		}
	}
	// Output:
	// {}
	// {"Attributes":{"leaseCounter":{"N":"2"},"leaseKey":{"S":"shard-1"}}}
	// ConditionalCheckFailedException: The conditional request failed
}
