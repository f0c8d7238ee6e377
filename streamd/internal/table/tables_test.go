package table_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

const (
	keyK  = `"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]`
	units = `"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":6}`
)

// TestTables goes through the life of a table.
func TestTables(t *testing.T) {
	r := newRig()
	const id = `"TableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/tab","TableId":"1b9e7929-b58c-4eb5-ba01-b8d8e6f5f0ab","TableName":"tab"`
	got := r.do(t, "CreateTable", `{"TableName":"tab",`+keyK+`,`+units+`,"DeletionProtectionEnabled":true,"Tags":[{"Key":"a","Value":"b"}]}`)
	tableID := got[strings.Index(got, `"TableId":"`)+11:][:36]
	want := func(member, status string, items, bytes int, protect bool) string {
		return fmt.Sprintf(`{"%s":{"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],"CreationDateTime":1700000000.123,"DeletionProtectionEnabled":%t,`+
			`"ItemCount":%d,"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":5,"WriteCapacityUnits":6},`+
			`%s,"TableSizeBytes":%d,"TableStatus":"%s"}}`, member, protect, items, strings.Replace(id, "1b9e7929-b58c-4eb5-ba01-b8d8e6f5f0ab", tableID, 1), bytes, status)
	}
	if got != want("TableDescription", "ACTIVE", 0, 0, true) {
		t.Errorf("CreateTable = %s", got)
	}
	r.refuse(t, "CreateTable", `{"TableName":"tab",`+keyK+`,`+units+`}`, "ResourceInUseException: Table already exists: tab")
	r.put(t, `{"k":{"S":"a"},"v":{"N":"12"}}`)
	r.put(t, `{"k":{"S":"b"}}`)
	r.put(t, `{"k":{"S":"a"}}`)
	r.want(t, "DescribeTable", `{"TableName":"tab"}`, want("Table", "ACTIVE", 2, 4, true))
	r.want(t, "DescribeTable", `{"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/tab"}`, want("Table", "ACTIVE", 2, 4, true))
	const foreign = "arn:aws:dynamodb:eu-west-1:000000000000:table/tab"
	r.refuse(t, "DescribeTable", `{"TableName":"`+foreign+`"}`, "ResourceNotFoundException: Requested resource not found: Table: "+foreign+" not found")
	r.refuse(t, "DeleteTable", `{"TableName":"tab"}`, validation+"Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	r.do(t, "UpdateTable", `{"TableName":"tab","DeletionProtectionEnabled":false}`)
	r.want(t, "DeleteTable", `{"TableName":"tab"}`, want("TableDescription", "DELETING", 2, 4, false))
	for _, op := range []string{"DescribeTable", "DeleteTable"} {
		r.refuse(t, op, `{"TableName":"tab"}`, "ResourceNotFoundException: Requested resource not found: Table: tab not found")
	}
	r.refuse(t, "GetItem", `{"TableName":"tab","Key":{"k":{"S":"a"}}}`, "ResourceNotFoundException: Requested resource not found")
	r.refuse(t, "Scan", `{"TableName":"tab"}`, "ResourceNotFoundException: Requested resource not found")
	r.refuse(t, "PutItem", `{"TableName":"tab","Item":{"k":{"S":"a"}}}`, "ResourceNotFoundException: Requested resource not found")
}

// TestBilling changes how a table is billed.
func TestBilling(t *testing.T) {
	r := newRig()
	has := func(body, part string) {
		t.Helper()
		if got := r.do(t, "UpdateTable", `{"TableName":"tab",`+body+`}`); !strings.Contains(got, part) {
			t.Errorf("UpdateTable %s = %s, want %s in it", body, got, part)
		}
	}
	r.do(t, "CreateTable", `{"TableName":"tab",`+keyK+`,`+units+`}`)
	has(`"BillingMode":"PAY_PER_REQUEST"`, `"ReadCapacityUnits":0,"WriteCapacityUnits":0}`)
	has(`"BillingMode":"PAY_PER_REQUEST"`, `"BillingModeSummary":{"BillingMode":"PAY_PER_REQUEST","LastUpdateToPayPerRequestDateTime":1700000000.123}`)
	r.refuse(t, "UpdateTable", `{"TableName":"tab","BillingMode":"PROVISIONED"}`, parameters+"ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	has(`"BillingMode":"PROVISIONED",`+units, `"ReadCapacityUnits":5,"WriteCapacityUnits":6}`)
}

// TestListTables lists in pages, within a scope.
func TestListTables(t *testing.T) {
	r := newRig()
	for _, name := range []string{"ccc", "aaa", "bbb", "bbb.x"} {
		r.do(t, "CreateTable", `{"TableName":"`+name+`",`+keyK+`,`+units+`}`)
	}
	other, err := table.Parse("CreateTable", []byte(`{"TableName":"aab",`+keyK+`,`+units+`}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []arn.Scope{{Account: "000000000001", Region: "us-east-1"}, {Account: "000000000000", Region: "us-east-2"}} {
		if _, err := r.set.Apply(start, s, other); err != nil {
			t.Fatal(err)
		}
	}
	r.want(t, "ListTables", `{}`, `{"TableNames":["aaa","bbb","bbb.x","ccc"]}`)
	r.want(t, "ListTables", `{"Limit":2}`, `{"TableNames":["aaa","bbb"],"LastEvaluatedTableName":"bbb"}`)
	r.want(t, "ListTables", `{"Limit":2,"ExclusiveStartTableName":"bbb"}`, `{"TableNames":["bbb.x","ccc"]}`)
	r.want(t, "ListTables", `{"ExclusiveStartTableName":"bbbb"}`, `{"TableNames":["ccc"]}`)
	r.reread(t)
}

// TestCreateTableErrors checks what is said of wrong definitions of tables.
func TestCreateTableErrors(t *testing.T) {
	const (
		defK   = `"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]`
		defKR  = `"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"},{"AttributeName":"r","AttributeType":"N"}]`
		one    = validation + "1 validation error detected: "
		gsi    = `"GlobalSecondaryIndexes":[{"IndexName":"idx","Projection":{"ProjectionType":"ALL"},"KeySchema":[{"AttributeName":"r","KeyType":"HASH"}]}]`
		hash   = `"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}]`
		hashes = `"KeySchema":[{"AttributeName":"k","KeyType":"HASH"},{"AttributeName":"r","KeyType":"HASH"}]`
		ranges = `"KeySchema":[{"AttributeName":"k","KeyType":"RANGE"}]`
		twice  = `"KeySchema":[{"AttributeName":"k","KeyType":"HASH"},{"AttributeName":"k","KeyType":"RANGE"}]`
	)
	for _, tt := range []struct{ name, body, want string }{
		{"no definitions", hash + "," + units, one + "Value null at 'attributeDefinitions' failed to satisfy constraint: Member must not be null"},
		{"no key", defK + "," + units, one + "Value null at 'keySchema' failed to satisfy constraint: Member must not be null"},
		{"empty key", defK + `,"KeySchema":[],` + units, validation + "1 validation error detected: Value '[]' at 'keySchema' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"no throughput", hash + "," + defK, parameters + "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"},
		{"throughput on demand", hash + "," + defK + "," + units + `,"BillingMode":"PAY_PER_REQUEST"`, parameters + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"},
		{"no units", hash + "," + defK + `,"ProvisionedThroughput":{"ReadCapacityUnits":0,"WriteCapacityUnits":1}`, one + "Value '0' at 'provisionedThroughput.readCapacityUnits' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"billing", hash + "," + defK + `,"BillingMode":"FREE"`, one + "Value 'FREE' at 'billingMode' failed to satisfy constraint: Member must satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]"},
		{"type", hash + `,"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"SS"}],` + units, one + "Value 'SS' at 'attributeDefinitions.1.member.attributeType' failed to satisfy constraint: Member must satisfy enum value set: [B, N, S]"},
		{"range first", ranges + "," + defK + "," + units, validation + "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"},
		{"hash second", hashes + "," + defKR + "," + units, validation + "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"},
		{"one name", twice + "," + defKR + "," + units, validation + "Both the Hash Key and the Range Key element in the KeySchema have the same name"},
		{"undefined", hash + `,"AttributeDefinitions":[{"AttributeName":"x","AttributeType":"S"}],` + units, parameters + "Some index key attributes are not defined in AttributeDefinitions. Keys: [k], AttributeDefinitions: [x]"},
		{"unused", hash + "," + defKR + "," + units, parameters + "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions"},
		{"index undefined", hash + "," + defK + "," + units + "," + gsi, parameters + "Some index key attributes are not defined in AttributeDefinitions. Keys: [r], AttributeDefinitions: [k]"},
		{"stream", hash + "," + defK + "," + units + `,"StreamSpecification":{"StreamEnabled":true}`, validation + "StreamSpecification is not supported: tables have no streams here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			newRig().refuse(t, "CreateTable", `{"TableName":"tab",`+tt.body+`}`, tt.want)
		})
	}
	newRig().refuse(t, "CreateTable", `{"TableName":"ab",`+keyK+`,`+units+`}`, validation+"TableName must be at least 3 characters long and at most 255 characters long")
	newRig().refuse(t, "CreateTable", `{"TableName":"arn:aws:x/tab",`+keyK+`,`+units+`}`, one+"Value 'arn:aws:x/tab' at 'tableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	r := newRig()
	r.do(t, "CreateTable", `{"TableName":"tab",`+hash+`,`+defKR+`,`+units+`,`+gsi+`}`)
	r.refuse(t, "UpdateTable", `{"TableName":"tab"}`, validation+"At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required")
	r.refuse(t, "UpdateTable", `{"TableName":"tab","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"none"}}]}`, "ResourceNotFoundException: Requested resource not found")
	r.refuse(t, "UpdateTable", `{"TableName":"tab","GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"idx","Projection":{"ProjectionType":"ALL"},"KeySchema":[{"AttributeName":"r","KeyType":"HASH"}]}}]}`, validation+"Attempting to create an index which already exists")
}

// TestLocalIndex queries by another range key, as one of the Go peers does.
func TestLocalIndex(t *testing.T) {
	r := newRig()
	r.do(t, "CreateTable", `{"TableName":"tab","BillingMode":"PAY_PER_REQUEST",
		"KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],
		"AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},{"AttributeName":"r","AttributeType":"S"},{"AttributeName":"u","AttributeType":"N"}],
		"LocalSecondaryIndexes":[{"IndexName":"byU","KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"u","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"}}]}`)
	for i, u := range []string{"30", "-1", "200", "30"} {
		r.put(t, fmt.Sprintf(`{"h":{"S":"x"},"r":{"S":"r%d"},"u":{"N":"%s"},"v":{"S":"v"}}`, i, u))
	}
	p := r.page(t, "Query", `{"TableName":"tab","IndexName":"byU","ConsistentRead":true,"KeyConditionExpression":"h = :h AND u >= :u",
		"ExpressionAttributeValues":{":h":{"S":"x"},":u":{"N":"0"}},"Limit":2}`)
	if p.values("r") != "r0 r3" || string(p.LastEvaluatedKey) != `{"h":{"S":"x"},"r":{"S":"r3"},"u":{"N":"30"}}` {
		t.Errorf("got %+v, then %s", p, p.LastEvaluatedKey)
	}
}

// TestClone changes a Set and its clone apart.
func TestClone(t *testing.T) {
	r := newRig()
	r.hashTable(t, "N")
	for i := range 500 {
		r.put(t, fmt.Sprintf(`{"k":{"N":"%d"}}`, i))
	}
	before := string(r.set.AppendSnapshot(nil))
	c := &rig{r.set.Clone()}
	for i := range 250 {
		r.put(t, fmt.Sprintf(`{"k":{"N":"%d"},"v":{"S":"changed"}}`, i*2))
		r.do(t, "DeleteItem", fmt.Sprintf(`{"TableName":"tab","Key":{"k":{"N":"%d"}}}`, i*2+1))
	}
	r.do(t, "UpdateTable", `{"TableName":"tab","DeletionProtectionEnabled":true}`)
	if got := string(c.set.AppendSnapshot(nil)); got != before {
		t.Error("a change of the Set shows in its clone")
	}
	after := string(r.set.AppendSnapshot(nil))
	c.do(t, "DeleteTable", `{"TableName":"tab"}`)
	if got := string(r.set.AppendSnapshot(nil)); got != after {
		t.Error("a change of the clone shows in the Set")
	}
	r.reread(t)
}

// TestSharedResponse encodes an answer after the item that it holds changed.
func TestSharedResponse(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	r.put(t, `{"k":{"S":"x"},"m":{"M":{"a":{"N":"1"}}},"l":{"L":[{"N":"1"}]},"ss":{"SS":["a"]}}`)
	req, err := table.Parse("GetItem", []byte(`{"TableName":"tab","Key":{"k":{"S":"x"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.set.Read(start, scope, req)
	if err != nil {
		t.Fatal(err)
	}
	want := string(res.AppendJSON(nil))
	r.do(t, "UpdateItem", `{"TableName":"tab","Key":{"k":{"S":"x"}},"UpdateExpression":"SET m.a = :n, m.b = :n, l[0] = :n, l[1] = :n ADD ss :ss",
		"ExpressionAttributeValues":{":n":{"N":"9"},":ss":{"SS":["b"]}}}`)
	if got := string(res.AppendJSON(nil)); got != want {
		t.Errorf("answer changed from %s to %s", want, got)
	}
}

// TestTableIDs differ between times and scopes.
func TestTableIDs(t *testing.T) {
	req, err := table.Parse("CreateTable", []byte(`{"TableName":"tab",`+keyK+`,`+units+`}`))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 2 {
		for _, at := range []time.Time{start, start.Add(time.Millisecond)} {
			for _, s := range []arn.Scope{scope, {Account: "000000000001", Region: "us-east-1"}} {
				res, err := table.NewSet().Apply(at, s, req)
				if err != nil {
					t.Fatal(err)
				}
				seen[string(res.AppendJSON(nil))] = true
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d different descriptions, want 4", len(seen))
	}
}
