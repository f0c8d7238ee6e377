package table_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// FuzzRequest parses bodies of all operations and applies what can be parsed.
// The same bytes must always give the same answer and the same tables, valid
// JSON, and a snapshot that can be read.
func FuzzRequest(f *testing.F) {
	ops := []string{
		"CreateTable", "UpdateTable", "DeleteTable", "DescribeTable", "ListTables", "GetItem", "PutItem", "UpdateItem", "DeleteItem", "Scan", "Query",
		"BatchGetItem", "BatchWriteItem", "TransactGetItems", "TransactWriteItems", "TagResource", "UntagResource", "UpdateTimeToLive", "UpdateContinuousBackups",
	}
	for i, body := range []string{
		modelTable,
		`{"TableName":"tab","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"owners"}}],"DeletionProtectionEnabled":true}`,
		`{"TableName":"tab"}`,
		`{"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/tab"}`,
		`{"Limit":1,"ExclusiveStartTableName":"a"}`,
		`{"TableName":"tab","Key":{"h":{"S":"a"},"r":{"N":"1"}},"ProjectionExpression":"a.b[0], #c","ExpressionAttributeNames":{"#c":"c"},"ConsistentRead":true}`,
		`{"TableName":"tab","Item":{"h":{"S":"b"},"r":{"N":"-1.5e3"},"x":{"M":{"a":{"L":[{"B":"AQ=="},{"BOOL":false},{"NULL":true}]}}},"s":{"NS":["1","2"]}},"Expected":{"h":{"Exists":false}},"ReturnValues":"ALL_OLD"}`,
		`{"TableName":"tab","Key":{"h":{"S":"a"},"r":{"N":"1"}},"UpdateExpression":"SET a.b[0] = if_not_exists(z, :o) + :o, l = list_append(l, :l) REMOVE q[1] ADD n :o DELETE ss :ss","ConditionExpression":"NOT (size(h) > :o OR r IN (:o, :o)) AND attribute_type(h, :t)","ExpressionAttributeValues":{":o":{"N":"1"},":l":{"L":[]},":ss":{"SS":["x"]},":t":{"S":"S"}},"ReturnValues":"UPDATED_NEW"}`,
		`{"TableName":"tab","Key":{"h":{"S":"a"},"r":{"N":"1"}},"Expected":{"n":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"1"},{"N":"2"}]}},"ConditionalOperator":"OR","ReturnValuesOnConditionCheckFailure":"ALL_OLD"}`,
		`{"TableName":"tab","Segment":0,"TotalSegments":2,"Limit":1,"ExclusiveStartKey":{"h":{"S":"a"},"r":{"N":"1"}},"FilterExpression":"contains(ss, :x) AND begins_with(h, :x)","ExpressionAttributeValues":{":x":{"S":"x"}},"ReturnConsumedCapacity":"INDEXES"}`,
		`{"TableName":"tab","IndexName":"owners","KeyConditions":{"owner_id":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"w"}]}},"ScanIndexForward":false,"Select":"COUNT"}`,
		`{"RequestItems":{"tab":{"Keys":[{"h":{"S":"a"},"r":{"N":"1"}}],"ProjectionExpression":"n"}},"ReturnConsumedCapacity":"TOTAL"}`,
		`{"RequestItems":{"tab":[{"PutRequest":{"Item":{"h":{"S":"a"},"r":{"N":"7"}}}},{"DeleteRequest":{"Key":{"h":{"S":"a"},"r":{"N":"1"}}}}]}}`,
		`{"TransactItems":[{"Get":{"TableName":"tab","Key":{"h":{"S":"a"},"r":{"N":"1"}},"ProjectionExpression":"n"}}]}`,
		`{"ClientRequestToken":"t","TransactItems":[{"Update":{"TableName":"tab","Key":{"h":{"S":"a"},"r":{"N":"1"}},"UpdateExpression":"ADD n :n","ExpressionAttributeValues":{":n":{"N":"1"}}}},{"ConditionCheck":{"TableName":"tab","Key":{"h":{"S":"a"},"r":{"N":"2"}},"ConditionExpression":"attribute_exists(h)"}},{"Put":{"TableName":"tab","Item":{"h":{"S":"b"},"r":{"N":"1"}}}}]}`,
		`{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/tab","Tags":[{"Key":"a","Value":"b"}]}`,
		`{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/tab","TagKeys":["a"]}`,
		`{"TableName":"tab","TimeToLiveSpecification":{"AttributeName":"t","Enabled":true}}`,
		`{"TableName":"tab","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`,
	} {
		f.Add(uint8(i), []byte(body))
	}
	base := newRig()
	base.do(f, "CreateTable", modelTable)
	base.put(f, `{"h":{"S":"a"},"r":{"N":"1"},"n":{"N":"2"},"owner_id":{"S":"w"},"a":{"M":{"b":{"L":[{"N":"1"}]}}},"l":{"L":[]},"q":{"L":[{"S":"0"},{"S":"1"}]},"ss":{"SS":["x","y"]}}`)
	base.put(f, `{"h":{"S":"a"},"r":{"N":"2"}}`)
	before := string(base.set.AppendSnapshot(nil))
	f.Fuzz(func(t *testing.T, n uint8, body []byte) {
		op := ops[int(n)%len(ops)]
		var answers, states [2]string
		for i := range answers {
			r := &rig{base.set.Clone()}
			out, err := r.try(op, string(body))
			answers[i], states[i] = out, string(r.reread(t).set.AppendSnapshot(nil))
			if err != nil {
				ae, ok := errors.AsType[*awserr.Error](err)
				if !ok {
					t.Fatalf("%s %s: error %v is not an *awserr.Error", op, body, err)
				}
				if ae.Status >= 500 {
					t.Fatalf("%s %s: %v", op, body, err)
				}
				if m := "{" + strings.TrimPrefix(ae.Members, ",") + "}"; !json.Valid([]byte(m)) {
					t.Fatalf("%s %s: invalid members %s", op, body, m)
				}
				if states[i] != before {
					t.Fatalf("%s %s: refused with %v, yet it changed the tables", op, body, err)
				}
				answers[i] = err.Error()
			}
		}
		if answers[0] != answers[1] || states[0] != states[1] {
			t.Fatalf("%s %s: two runs differ:\n%s\n%s", op, body, answers[0], answers[1])
		}
	})
}

// FuzzExpression parses texts as each kind of expression.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{
		"a = :v AND NOT (b.c[0] <> #n OR size(d) BETWEEN :a AND :b)", "a IN (b, c)", "attribute_exists(a) and contains(a, b)",
		"SET a = b + c, d = if_not_exists(e, list_append(f, g)) REMOVE h[1] ADD i :n DELETE j :s", "a, b.c, d[2]", "((((", "a[999999999999]", "#",
	} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) { table.ParseExpressions(s) })
}

// FuzzNumber reads numbers and compares their values with math/big.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-1.50", "1.0E-5", "1e125", ".5", "1.", "+7", "1e-130", "00012", "1e+", "9e99999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := table.Canonical(s)
		if err != nil {
			return
		}
		if again, err := table.Canonical(n); err != nil || again != n {
			t.Fatalf("Canonical(%q) = %q, then %q, %v", s, n, again, err)
		}
		if len(s) > 200 || n == "0" {
			return // math/big takes its time over large exponents
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("math/big does not read %q", s)
		}
		if got := rat(t, n); got.Cmp(want) != 0 {
			t.Fatalf("Canonical(%q) = %q", s, n)
		}
		if !strings.ContainsAny(strings.Trim(n, "-0."), "123456789") {
			t.Fatalf("Canonical(%q) = %q", s, n)
		}
	})
}

// FuzzSnapshot reads damaged snapshots. What can be read must be the same when
// it is written and read again.
func FuzzSnapshot(f *testing.F) {
	r := newRig()
	r.do(f, "CreateTable", modelTable)
	f.Add(r.set.AppendSnapshot(nil))
	r.put(f, `{"h":{"S":"a"},"r":{"N":"1"},"owner_id":{"S":"w"},"x":{"M":{"a":{"L":[{"B":"AQ=="},{"BOOL":true},{"NULL":true}]}}},"s":{"NS":["1","2"]}}`)
	f.Add(r.set.AppendSnapshot(nil))
	f.Add([]byte("SDT1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := table.ReadSnapshot(b)
		if err != nil {
			return
		}
		snap := set.AppendSnapshot(nil)
		again, err := table.ReadSnapshot(snap)
		if err != nil {
			t.Fatalf("a written snapshot cannot be read: %v", err)
		}
		if string(again.AppendSnapshot(nil)) != string(snap) {
			t.Fatal("a snapshot changes when it is read and written")
		}
	})
}
