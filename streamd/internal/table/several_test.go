package table_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

const canceledText = "TransactionCanceledException: Transaction cancelled, please refer cancellation reasons for specific reasons "

// TestTransactWrite sends transactions to a table with the items a (n = 1) and
// b (n = 2), and looks at what is there afterwards.
func TestTransactWrite(t *testing.T) {
	const before = `{"Count":2,"Items":[{"k":{"S":"a"},"n":{"N":"1"}},{"k":{"S":"b"},"n":{"N":"2"}}],"ScannedCount":2}`
	put := func(k, more string) string {
		return `{"Put":{"TableName":"tab","Item":{"k":{"S":"` + k + `"}}` + more + `}}`
	}
	check := func(k, cond string) string {
		return `{"ConditionCheck":{"TableName":"tab","Key":{"k":{"S":"` + k + `"}},"ConditionExpression":"` + cond + `"}}`
	}
	remove := `{"Delete":{"TableName":"tab","Key":{"k":{"S":"b"}}}}`
	add := `{"Update":{"TableName":"tab","Key":{"k":{"S":"a"}},"UpdateExpression":"ADD n :v","ExpressionAttributeValues":{":v":{"N":"4"}}}}`
	for _, tt := range []struct {
		name, items, want, members, after string
	}{
		{"all four", put("c", "") + "," + add + "," + remove + "," + check("d", "attribute_not_exists(k)"), "{}", "", `{"Count":2,"Items":[{"k":{"S":"a"},"n":{"N":"5"}},{"k":{"S":"c"}}],"ScannedCount":2}`},
		{"a check fails", add + "," + check("b", "n > n") + "," + remove, validation + "Invalid ConditionExpression: The first operand must be distinct from the remaining operands for this operator or function; operator: >, first operand: [n]", "", before},
		{"one fails of three", put("c", "") + "," + check("a", "attribute_not_exists(n)") + "," + remove, canceledText + "[None, ConditionalCheckFailed, None]", `,"CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed","Message":"The conditional request failed"},{"Code":"None"}]`, before},
		{"with the item", put("b", `,"ConditionExpression":"attribute_not_exists(k)","ReturnValuesOnConditionCheckFailure":"ALL_OLD"`), canceledText + "[ConditionalCheckFailed]", `,"CancellationReasons":[{"Code":"ConditionalCheckFailed","Message":"The conditional request failed","Item":{"k":{"S":"b"},"n":{"N":"2"}}}]`, before},
		{"a wrong key", put("c", "") + `,{"Delete":{"TableName":"tab","Key":{"x":{"S":"b"}}}}`, canceledText + "[None, ValidationError]", `,"CancellationReasons":[{"Code":"None"},{"Code":"ValidationError","Message":"The provided key element does not match the schema"}]`, before},
		{"an update that cannot be", `{"Update":{"TableName":"tab","Key":{"k":{"S":"a"}},"UpdateExpression":"SET n.x = k"}}`, canceledText + "[ValidationError]", `,"CancellationReasons":[{"Code":"ValidationError","Message":"The document path provided in the update expression is invalid for update"}]`, before},
		{"one item twice", put("b", "") + "," + remove, validation + "Transaction request cannot include multiple operations on one item", "", before},
		{"no such table", put("c", "") + `,{"Delete":{"TableName":"none","Key":{"k":{"S":"b"}}}}`, "ResourceNotFoundException: Requested resource not found", "", before},
		{"two in one", `{"Put":{"TableName":"tab","Item":{"k":{"S":"c"}}},"Delete":{"TableName":"tab","Key":{"k":{"S":"b"}}}}`, validation + "TransactItems can only contain one of Check, Put, Update or Delete", "", before},
		{"none in one", `{}`, validation + "TransactItems can only contain one of Check, Put, Update or Delete", "", before},
		{"no items", ``, validation + "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: Member must have length greater than or equal to 1", "", before},
		{"101 items", strings.Repeat(remove+",", 100) + remove, validation + "1 validation error detected: Value '[…]' at 'transactItems' failed to satisfy constraint: Member must have length less than or equal to 100", "", before},
		{"no condition", `{"ConditionCheck":{"TableName":"tab","Key":{"k":{"S":"b"}}}}`, validation + "1 validation error detected: Value null at 'transactItems.1.member.conditionCheck.conditionExpression' failed to satisfy constraint: Member must not be null", "", before},
		{"no key", `{"Delete":{"TableName":"tab"}}`, validation + "1 validation error detected: Value null at 'transactItems.1.member.delete.key' failed to satisfy constraint: Member must not be null", "", before},
		{"older parameters are passed over", `{"Delete":{"TableName":"tab","Key":{"k":{"S":"b"}},"Expected":{"n":{"Exists":false}}}}`, "{}", "", `{"Count":1,"Items":[{"k":{"S":"a"},"n":{"N":"1"}}],"ScannedCount":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig()
			r.hashTable(t, "S")
			r.put(t, `{"k":{"S":"a"},"n":{"N":"1"}}`)
			r.put(t, `{"k":{"S":"b"},"n":{"N":"2"}}`)
			body := `{"TransactItems":[` + tt.items + `]}`
			if tt.want == "{}" {
				r.want(t, "TransactWriteItems", body, tt.want)
			} else if m := r.members(t, "TransactWriteItems", body, tt.want); m != tt.members {
				t.Errorf("members\n got %s\nwant %s", m, tt.members)
			}
			r.want(t, "Scan", `{"TableName":"tab"}`, tt.after)
		})
	}
}

// TestTransactionToken sends a transaction again under its token: at once,
// written in another order, through a snapshot, and when it has expired.
func TestTransactionToken(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	at := start
	send := func(scope arn.Scope, body string) string {
		t.Helper()
		req, err := table.Parse("TransactWriteItems", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := r.set.Apply(at, scope, req)
		if err != nil {
			return err.Error()
		}
		return string(res.AppendJSON(nil))
	}
	count := func() string {
		t.Helper()
		_, n, _ := strings.Cut(r.do(t, "GetItem", `{"TableName":"tab","Key":{"k":{"S":"a"}}}`), `"n":{"N":"`)
		n, _, _ = strings.Cut(n, `"`)
		return n
	}
	body := func(token string) string {
		return `{"ClientRequestToken":"` + token + `","TransactItems":[{"Update":{"TableName":"tab","Key":{"k":{"S":"a"}},"UpdateExpression":"ADD n :v, m :w","ExpressionAttributeValues":{":v":{"N":"1"},":w":{"N":"0"}}}}]}`
	}
	again := `{"TransactItems":[{"Update":{"ExpressionAttributeValues":{":w":{"N":"0.0"},":v":{"N":"1"}},"UpdateExpression":"ADD n :v, m :w","Key":{"k":{"S":"a"}},"TableName":"tab"}}],"ClientRequestToken":"t1","ReturnConsumedCapacity":"TOTAL"}`
	for _, step := range []struct {
		name       string
		do         func() string
		want, n    string
		tokenCount int
	}{
		{"first", func() string { return send(scope, body("t1")) }, "{}", "1", 1},
		{"again", func() string { return send(scope, body("t1")) }, "{}", "1", 1},
		{"in another order", func() string { return send(scope, again) }, `{"ConsumedCapacity":[{"CapacityUnits":2,"TableName":"tab"}]}`, "1", 1},
		{"another transaction", func() string { return send(scope, strings.Replace(body("t1"), `"1"`, `"2"`, 1)) }, "IdempotentParameterMismatchException", "1", 1},
		{"another token", func() string { at = at.Add(5 * time.Minute); return send(scope, body("t2")) }, "{}", "2", 2},
		{"through a snapshot", func() string { r = r.reread(t); return send(scope, body("t1")) }, "{}", "2", 2},
		{"in a clone", func() string { r.set = r.set.Clone(); return send(scope, body("t2")) }, "{}", "2", 2},
		{"just before the end", func() string { at = start.Add(10*time.Minute - time.Millisecond); return send(scope, body("t1")) }, "{}", "2", 2},
		{"expired", func() string { at = start.Add(10 * time.Minute); return send(scope, body("t1")) }, "{}", "3", 2},
		{"the other lives on", func() string { return send(scope, body("t2")) }, "{}", "3", 2},
	} {
		if got := step.do(); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
		if n := count(); n != step.n {
			t.Errorf("%s: counted %s times, want %s", step.name, n, step.n)
		}
		if n := table.Tokens(r.set); n != step.tokenCount {
			t.Errorf("%s: %d tokens, want %d", step.name, n, step.tokenCount)
		}
	}
	// What was cancelled is not remembered: it may be tried again.
	cancelled := `{"ClientRequestToken":"t3","TransactItems":[{"ConditionCheck":{"TableName":"tab","Key":{"k":{"S":"new"}},"ConditionExpression":"attribute_exists(k)"}}]}`
	if got := send(scope, cancelled); !strings.HasPrefix(got, canceledText) {
		t.Errorf("no such item: %s", got)
	}
	r.put(t, `{"k":{"S":"new"}}`)
	if got := send(scope, cancelled); got != "{}" {
		t.Errorf("tried again: %s", got)
	}
	// A token belongs to its account.
	if got := send(arn.Scope{Account: "111111111111", Region: scope.Region}, body("t3")); !strings.HasPrefix(got, "ResourceNotFoundException") {
		t.Errorf("of another account: %s", got)
	}
}

// TestSeveral sends the other operations on several items.
func TestSeveral(t *testing.T) {
	big := strings.Repeat("x", 390<<10)
	r := newRig()
	r.hashTable(t, "S")
	r.do(t, "CreateTable", `{"TableName":"other","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],
		"AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},{"AttributeName":"r","AttributeType":"N"}]}`)
	for _, tt := range []struct{ name, op, body, want string }{
		{
			"write to two tables", "BatchWriteItem",
			`{"RequestItems":{"tab":[{"PutRequest":{"Item":{"k":{"S":"a"},"n":{"N":"1"}}}},{"DeleteRequest":{"Key":{"k":{"S":"none"}}}}],"other":[{"PutRequest":{"Item":{"h":{"S":"x"},"r":{"N":"1"}}}}]},"ReturnConsumedCapacity":"TOTAL"}`,
			`{"UnprocessedItems":{},"ConsumedCapacity":[{"CapacityUnits":2,"TableName":"tab"},{"CapacityUnits":1,"TableName":"other"}]}`,
		},
		{"nothing of a wrong one", "BatchWriteItem", `{"RequestItems":{"tab":[{"PutRequest":{"Item":{"k":{"S":"b"}}}},{"PutRequest":{"Item":{"k":{"N":"1"}}}}]}}`, validation + "The provided key element does not match the schema"},
		{"the same twice", "BatchWriteItem", `{"RequestItems":{"tab":[{"PutRequest":{"Item":{"k":{"S":"b"}}}},{"DeleteRequest":{"Key":{"k":{"S":"b"}}}}]}}`, validation + "Provided list of item keys contains duplicates"},
		{"none of the two", "BatchWriteItem", `{"RequestItems":{"tab":[{}]}}`, validation + "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"},
		{"too many in all", "BatchWriteItem", `{"RequestItems":{"tab":[` + several(25, `{"DeleteRequest":{"Key":{"k":{"S":"%d"}}}}`) + `],"other":[{"DeleteRequest":{"Key":{"h":{"S":"x"},"r":{"N":"5"}}}}]}}`, validation + "Too many items requested for the BatchWriteItem call"},
		{"a table that is not there", "BatchWriteItem", `{"RequestItems":{"none":[{"DeleteRequest":{"Key":{"k":{"S":"b"}}}}]}}`, "ResourceNotFoundException: Requested resource not found"},
		{"too large", "BatchWriteItem", `{"RequestItems":{"tab":[{"PutRequest":{"Item":{"k":{"S":"b"},"x":{"S":"` + big + big + `"}}}}]}}`, validation + "Item size has exceeded the maximum allowed size"},
		{
			"read from two tables", "BatchGetItem",
			`{"RequestItems":{"tab":{"Keys":[{"k":{"S":"a"}},{"k":{"S":"b"}}],"ProjectionExpression":"#n","ExpressionAttributeNames":{"#n":"n"}},"other":{"Keys":[{"h":{"S":"x"},"r":{"N":"1.0"}}],"ConsistentRead":true}},"ReturnConsumedCapacity":"INDEXES"}`,
			`{"Responses":{"tab":[{"n":{"N":"1"}}],"other":[{"h":{"S":"x"},"r":{"N":"1"}}]},"UnprocessedKeys":{},"ConsumedCapacity":[{"CapacityUnits":1,"Table":{"CapacityUnits":1},"TableName":"tab"},{"CapacityUnits":1,"Table":{"CapacityUnits":1},"TableName":"other"}]}`,
		},
		{"read a wrong key", "BatchGetItem", `{"RequestItems":{"tab":{"Keys":[{"k":{"N":"1"}}]}}}`, validation + "The provided key element does not match the schema"},
		{"read a key twice", "BatchGetItem", `{"RequestItems":{"tab":{"Keys":[{"k":{"S":"1"}},{"k":{"S":"1"}}]}}}`, validation + "Provided list of item keys contains duplicates"},
		{"read too many", "BatchGetItem", `{"RequestItems":{"tab":{"Keys":[` + several(100, `{"k":{"S":"%d"}}`) + `]},"other":{"Keys":[{"h":{"S":"x"},"r":{"N":"5"}}]}}}`, validation + "Too many items requested for the BatchGetItem call"},
		{
			"a bad name of a table", "BatchGetItem", `{"RequestItems":{"a b":{"Keys":[{"k":{"S":"1"}}]}}}`,
			validation + "1 validation error detected: Value '{…}' at 'requestItems' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 255, Member must have length greater than or equal to 3, Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+]",
		},
		{
			"read in a transaction", "TransactGetItems",
			`{"TransactItems":[{"Get":{"TableName":"other","Key":{"h":{"S":"x"},"r":{"N":"1"}},"ProjectionExpression":"r"}},{"Get":{"TableName":"tab","Key":{"k":{"S":"none"}}}},{"Get":{"TableName":"tab","Key":{"k":{"S":"a"}}}}],"ReturnConsumedCapacity":"TOTAL"}`,
			`{"Responses":[{"Item":{"r":{"N":"1"}}},{},{"Item":{"k":{"S":"a"},"n":{"N":"1"}}}],"ConsumedCapacity":[{"CapacityUnits":2,"TableName":"other"},{"CapacityUnits":4,"TableName":"tab"}]}`,
		},
		{"read a wrong key in one", "TransactGetItems", `{"TransactItems":[{"Get":{"TableName":"tab","Key":{"k":{"S":"a"}}}},{"Get":{"TableName":"tab","Key":{"k":{"N":"1"}}}}]}`, canceledText + "[None, ValidationError]"},
		{"read the same twice in one", "TransactGetItems", `{"TransactItems":[{"Get":{"TableName":"tab","Key":{"k":{"S":"a"}}}},{"Get":{"TableName":"tab","Key":{"k":{"S":"a"}}}}]}`, validation + "Transaction request cannot include multiple operations on one item"},
		{"read nothing in one", "TransactGetItems", `{"TransactItems":[{}]}`, validation + "1 validation error detected: Value null at 'transactItems.1.member.get' failed to satisfy constraint: Member must not be null"},
	} {
		out, err := r.try(tt.op, tt.body)
		if err != nil {
			out = err.Error()
		}
		if out != tt.want {
			t.Errorf("%s:\n got %.500s\nwant %s", tt.name, out, tt.want)
		}
	}
}

// several returns n elements of a list.
func several(n int, format string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(list, ",")
}

// TestBatchGetPages reads more than an answer may hold, until nothing is left.
func TestBatchGetPages(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	const n = 100
	value := strings.Repeat("x", 300<<10)
	for i := range n {
		r.put(t, fmt.Sprintf(`{"k":{"S":"%d"},"x":{"S":"%s"}}`, i, value))
	}
	items := `{"tab":{"Keys":[` + several(n, `{"k":{"S":"%d"}}`) + `],"ConsistentRead":true,"ProjectionExpression":"#k","ExpressionAttributeNames":{"#k":"k"}}}`
	found, answers := 0, 0
	for items != "{}" {
		out := r.do(t, "BatchGetItem", `{"RequestItems":`+items+`}`)
		_, items, _ = strings.Cut(strings.TrimSuffix(out, "}"), `"UnprocessedKeys":`)
		head, _, _ := strings.Cut(out, "Unprocessed")
		found += strings.Count(head, `"k":`)
		if answers++; answers > n {
			t.Fatal("no end")
		}
	}
	if found != n || answers != 2 {
		t.Errorf("%d items in %d answers, want %d in 2", found, answers, n)
	}
}

// TestSettings changes what a table has besides items, and reads it back, the
// second time through a snapshot.
func TestSettings(t *testing.T) {
	const (
		resource = `"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/tab"`
		ttl      = `{"TableName":"tab","TimeToLiveSpecification":{"AttributeName":"t","Enabled":true}}`
		pitr     = `{"TableName":"tab","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`
	)
	r := newRig()
	r.hashTable(t, "S")
	for _, step := range []struct{ op, body, want string }{
		{"DescribeTimeToLive", `{"TableName":"tab"}`, `{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}`},
		{"UpdateTimeToLive", ttl, `{"TimeToLiveSpecification":{"AttributeName":"t","Enabled":true}}`},
		{"UpdateTimeToLive", ttl, validation + "TimeToLive is already enabled"},
		{"UpdateTimeToLive", strings.Replace(ttl, `"t"`, `"u"`, 1), validation + "TimeToLive is active on a different AttributeName: current AttributeName is t"},
		{"UpdateTimeToLive", `{"TableName":"tab"}`, validation + "1 validation error detected: Value null at 'timeToLiveSpecification' failed to satisfy constraint: Member must not be null"},
		{"UpdateTimeToLive", `{"TableName":"tab","TimeToLiveSpecification":{"AttributeName":""}}`, validation + "2 validation errors detected: Value '' at 'timeToLiveSpecification.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1; Value null at 'timeToLiveSpecification.enabled' failed to satisfy constraint: Member must not be null"},
		{"UpdateTimeToLive", strings.Replace(ttl, `"tab"`, `"none"`, 1), "ResourceNotFoundException: Requested resource not found: Table: none not found"},
		{"DescribeContinuousBackups", `{"TableName":"tab"}`, `{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{"PointInTimeRecoveryStatus":"DISABLED"}}}`},
		{"UpdateContinuousBackups", pitr, `{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{"EarliestRestorableDateTime":1700000000.123,"LatestRestorableDateTime":1700000000.123,"PointInTimeRecoveryStatus":"ENABLED","RecoveryPeriodInDays":35}}}`},
		{"UpdateContinuousBackups", `{"TableName":"none","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`, "TableNotFoundException: Table not found: none"},
		{"TagResource", `{` + resource + `,"Tags":[{"Key":"a","Value":"1"},{"Key":"b","Value":"2"}]}`, ""},
		{"TagResource", `{` + resource + `,"Tags":[{"Key":"a","Value":"3"}]}`, ""},
		{"UntagResource", `{` + resource + `,"TagKeys":["b","c"]}`, ""},
		{"TagResource", `{` + resource + `,"Tags":[` + several(50, `{"Key":"%d","Value":""}`) + `]}`, parameters + "Too many tags: a table can have 50"},
		{"TagResource", `{` + resource + `}`, validation + "1 validation error detected: Value null at 'tags' failed to satisfy constraint: Member must not be null"},
		{"TagResource", `{` + resource + `,"Tags":[]}`, validation + "Atleast one Tag needs to be provided as Input."},
		{"UntagResource", `{` + resource + `,"TagKeys":[]}`, validation + "Atleast one Tag Key needs to be provided as Input."},
		{"ListTagsOfResource", `{}`, validation + "Invalid TableArn"},
		{"ListTagsOfResource", `{"ResourceArn":"tab"}`, "AccessDeniedException: User is not authorized to perform: dynamodb:ListTagsOfResource on resource: tab"},
		{"ListTagsOfResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/none"}`, "ResourceNotFoundException: Requested resource not found: ResourcArn: arn:aws:dynamodb:us-east-1:000000000000:table/none not found"},
		{"DescribeLimits", `{}`, `{"AccountMaxReadCapacityUnits":80000,"AccountMaxWriteCapacityUnits":80000,"TableMaxReadCapacityUnits":40000,"TableMaxWriteCapacityUnits":40000}`},
	} {
		req, err := table.Parse(step.op, []byte(step.body))
		var res table.Response
		if err == nil {
			res, err = r.set.Apply(start, scope, req)
		}
		var out string
		if err != nil {
			out = err.Error()
		} else {
			out = string(res.AppendJSON(nil))
		}
		if out != step.want {
			t.Errorf("%s %.200s:\n got %s\nwant %s", step.op, step.body, out, step.want)
		}
	}
	for _, r := range []*rig{r, r.reread(t)} {
		r.want(t, "DescribeTimeToLive", `{"TableName":"tab"}`, `{"TimeToLiveDescription":{"AttributeName":"t","TimeToLiveStatus":"ENABLED"}}`)
		r.want(t, "ListTagsOfResource", `{`+resource+`}`, `{"Tags":[{"Key":"a","Value":"3"}]}`)
		r.want(t, "DescribeContinuousBackups", `{"TableName":"tab"}`, `{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{"EarliestRestorableDateTime":1700000000.123,"LatestRestorableDateTime":1700000000.123,"PointInTimeRecoveryStatus":"ENABLED","RecoveryPeriodInDays":35}}}`)
	}
}

// TestAccept sends what Parse takes from a journal and a client may not ask for.
func TestAccept(t *testing.T) {
	const keys = `"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],"BillingMode":"PAY_PER_REQUEST"`
	for _, tt := range []struct{ op, body, want string }{
		{"ExecuteStatement", `{"Statement":"SELECT * FROM tab"}`, "UnknownOperationException: The operation ExecuteStatement is not supported: tables have no PartiQL here."},
		{"CreateBackup", `{}`, "UnknownOperationException: The operation CreateBackup is not supported: tables have no backups here."},
		{"Invented", `{}`, "UnknownOperationException: The operation Invented is not supported."},
		{"UpdateTable", `{"TableName":"tab","BillingMode":"PROVISIONED"}`, parameters + "ProvisionedThroughput must be specified when BillingMode is PROVISIONED"},
		{"UpdateTable", `{"TableName":"tab","BillingMode":"PAY_PER_REQUEST","ReplicaUpdates":[{"Create":{"RegionName":"eu-west-1"}}]}`, validation + "ReplicaUpdates is not supported here: leave it out"},
		{"CreateTable", `{"TableName":"tab",` + keys + `,"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"KEYS_ONLY"}}`, validation + "StreamSpecification is not supported: tables have no streams here"},
		{"CreateTable", `{"TableName":"tab",` + keys + `,"ResourcePolicy":"{}"}`, validation + "ResourcePolicy is not supported here: leave it out"},
		{"CreateTable", `{"TableName":"tab",` + keys + `}`, ""},
	} {
		_, err := table.Accept(tt.op, []byte(tt.body))
		got := ""
		if ae, ok := errors.AsType[*awserr.Error](err); ok {
			got = ae.Error()
		}
		if got != tt.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tt.op, tt.body, got, tt.want)
		}
	}
}

// TestTablesOfRequest looks at which tables a request is about.
func TestTablesOfRequest(t *testing.T) {
	for _, tt := range []struct{ op, body, want string }{
		{"GetItem", `{"TableName":"tab","Key":{}}`, "[tab]"},
		{"GetItem", `{"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/tab","Key":{}}`, "[tab]"},
		{"ListTables", `{}`, "[]"},
		{"ListTagsOfResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/tab"}`, "[tab]"},
		{"BatchGetItem", `{"RequestItems":{"one":{"Keys":[{}]},"two":{"Keys":[{}]}}}`, "[one two]"},
		{"TransactWriteItems", `{"TransactItems":[{"Delete":{"TableName":"one","Key":{}}},{"Delete":{"TableName":"two","Key":{}}},{"Delete":{"TableName":"one","Key":{}}}]}`, "[one two]"},
	} {
		r, err := table.Parse(tt.op, []byte(tt.body))
		if err != nil {
			t.Errorf("%s %s: %v", tt.op, tt.body, err)
			continue
		}
		if got := fmt.Sprint(r.Tables()); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.op, tt.body, got, tt.want)
		}
	}
}

// firstSnapshot is a snapshot of the first version: the table "tab" with the
// key k S, one tag and the item {"k":"a"}.
const firstSnapshot = "SDT1\x01\x0c000000000000\x09us-east-1\x03tab\x02id\x01\x00\x00\x05\x06\x01\x01k\x01\x01\x01k\x01\x01\x01t\x01v\x00\x01\x01\x01k\x01\x01a"

// secondSnapshot is the same in the second version.
const secondSnapshot = "SDT2\x01\x0c000000000000\x09us-east-1\x03tab\x02id\x01\x00\x00\x05\x06\x00\x00\x01\x01k\x01\x01\x01k\x01\x01\x01t\x01v\x00\x01\x01\x01k\x01\x01a\x00"

// TestFirstSnapshot reads a snapshot of before there were tokens and settings.
func TestFirstSnapshot(t *testing.T) {
	set, err := table.ReadSnapshot([]byte(firstSnapshot))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(set.AppendSnapshot(nil)); got != secondSnapshot {
		t.Errorf("written as %q\nwant       %q", got, secondSnapshot)
	}
	r := (&rig{set}).reread(t)
	r.want(t, "Scan", `{"TableName":"tab"}`, `{"Count":1,"Items":[{"k":{"S":"a"}}],"ScannedCount":1}`)
	r.want(t, "DescribeTimeToLive", `{"TableName":"tab"}`, `{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}`)
	r.want(t, "ListTagsOfResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/tab"}`, `{"Tags":[{"Key":"t","Value":"v"}]}`)
}
