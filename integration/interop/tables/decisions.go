package tables

import (
	"regexp"
	"strings"
)

// A Decision is a way in which streamd answers differently on purpose.
type Decision struct {
	Name string // what differs
	Why  string

	op, body     string // regular expressions for the request; empty fits any
	ours, theirs string // and for the two answers, as [Answer.String] has them
	only         string // a regular expression; without what fits it the two answers are the same
}

// explains reports whether the decision is the reason for a difference.
func (x Decision) explains(d Difference) bool {
	for _, m := range []struct{ pattern, text string }{
		{x.op, d.Request.Op}, {x.body, d.Request.Body}, {x.ours, d.Ours.String()}, {x.theirs, d.Theirs.String()},
	} {
		if m.pattern != "" && !regexp.MustCompile(m.pattern).MatchString(m.text) {
			return false
		}
	}
	if x.only != "" {
		re := regexp.MustCompile(x.only)
		if re.ReplaceAllString(d.Ours.String(), "") != re.ReplaceAllString(d.Theirs.String(), "") {
			return false
		}
	}
	return strings.TrimSpace(x.Why) != ""
}

const (
	validation = `^400 ValidationException `
	parameters = validation + `One or more parameter values were invalid: `
	failed     = `^400 ConditionalCheckFailedException The conditional request failed`

	// updateFault is what UpdateItem finds as it makes the new item.
	updateFault = `^400 (ConditionalCheckFailedException|ValidationException (The document path|The provided expression|An operand|Item size|Type mismatch|Number (over|under)flow|Attempting to store|One or more parameter values were invalid: (Type mismatch|Cannot update attribute)))`
)

// The description of a table of KCL 1.
const (
	kcl1Begin = `^200 +\{"Table(Description)?":\{"AttributeDefinitions":\[\{"AttributeName":"leaseKey","AttributeType":"S"\}\],`
	kcl1End   = `"CreationDateTime":"\*","KeySchema":\[\{"AttributeName":"leaseKey","KeyType":"HASH"\}\],` +
		`"ProvisionedThroughput":\{"ReadCapacityUnits":10,"WriteCapacityUnits":10\},"TableArn":"\*","TableId":"\*","TableName":"kcl1-[a-z-]+"\}\}$`
)

// What differs in more than one corpus.
var kcl1Tables = Decision{
	Name: "billing mode of tables with a throughput", Why: "AWS has BillingModeSummary in descriptions and no BillingMode; dynalite keeps what KCL 1 asked for.",
	op: `^(Create|Describe)Table$`, body: `"kcl1-`, ours: kcl1Begin + kcl1End, theirs: kcl1Begin + `"BillingMode":"PROVISIONED",` + kcl1End,
}

var capacityUnasked = Decision{
	Name: "capacity unasked for", Why: "ConsumedCapacity stands in an answer if the request asks for it; moto has it in every UpdateItem.",
	op: `^UpdateItem$`, ours: `^200`, theirs: `^200.*"ConsumedCapacity"`,
}

// addedLater are the tables to which KCL 3 adds an index.
const addedLater = `"TableName":"kcl3-(polling|fanout)-short-app"`

// Decisions are the differences of each corpus.
var Decisions = map[string][]Decision{
	"dynalite": {
		{
			Name: "the item of a failed condition", Why: "dynalite does not know ReturnValuesOnConditionCheckFailure, by which the KCL recovers from lost answers.",
			body: `"ReturnValuesOnConditionCheckFailure":"ALL_OLD"`, ours: failed + ` \{"Item"`, theirs: failed + `$`,
		},
		{
			Name: "ReturnValues of PutItem and DeleteItem", Why: "AWS documents NONE and ALL_OLD only; dynalite checks it for PutItem, and after other things.",
			op: `^(Put|Delete)Item$`, ours: validation + `ReturnValues can only be ALL_OLD or NONE$`,
		},
		{
			Name: "Select", Why: "AWS documents which values go with projections and with indexes; dynalite takes all.",
			op: `^(Scan|Query)$`, ours: validation + `(Cannot specify the \w+ when choosing to get|Must specify the AttributesToGet or ProjectionExpression|One or more parameter values were invalid: ALL_PROJECTED_ATTRIBUTES)`,
		},
		{
			Name: "empty key values", Why: "AWS says \"are not valid\" since keys may be empty neither as string nor as binary, while other attributes may; dynalite has the words of before.",
			ours: `One or more parameter values are not valid\. The AttributeValue for a key attribute cannot contain an empty`,
		},
		{
			Name: "operand types", Why: "Only strings, numbers and binaries have an order: AWS refuses a literal of another type beside <, <=, >, >= and BETWEEN; dynalite compares.",
			ours: validation + `Invalid \w+Expression: Incorrect operand type for operator or function; operator: (<|<=|>|>=|BETWEEN), operand type: `,
		},
		{
			Name: "operand types of the older conditions", Why: "AWS documents the types that each ComparisonOperator takes; dynalite checks them for Query and Scan only.",
			ours: parameters + `ComparisonOperator \w+ is not valid for \w+ AttributeValue type`,
		},
		{
			Name: "syntax errors", Why: "The words of AWS, which name the token and what is around it; dynalite lists what its own grammar would take.",
			ours: validation + `Invalid \w+Expression: (Syntax error; token|The expression has redundant)`, theirs: validation + `Invalid \w+Expression: Syntax error; Expected`,
		},
		{
			Name: "NOT NOT", Why: "The documented grammar lets NOT stand before any condition; dynalite's takes one.",
			body: `(?i)not not|NOT \(`, theirs: validation + `Invalid \w+Expression: Syntax error; Expected`,
		},
		{
			Name: "comparisons with missing attributes", Why: "A comparison with an attribute that is not there is false, and <> is true; to dynalite two missing attributes are equal.",
			body: `(Condition|Filter)Expression":"[^"]*(=|<|>)`,
			ours: `^(200|400 ConditionalCheckFailedException|400 ValidationException (The document path|The provided expression|An operand))`, theirs: `^(200|400 ConditionalCheckFailedException|400 ValidationException (The document path|The provided expression|An operand|One or more parameter values were invalid: Type mismatch for Index))`,
		},
		{
			Name: "updates that only take away", Why: "AWS makes no item where an update has only REMOVE and DELETE; dynalite makes one with nothing but a key.",
			op: `^(UpdateItem|GetItem)$`, ours: `^200( +\{"ConsumedCapacity":[^{]*(\{[^{}]*\}[^{}]*)?\})?$`, theirs: `^200 +\{("Attributes"|"Item"):`,
		},
		{
			Name: "nothing to return", Why: "Attributes are left out where there are none; dynalite writes an empty map.",
			op: `^UpdateItem$`, body: `"ReturnValues":"UPDATED_(OLD|NEW)"`, theirs: `"Attributes":\{\}`,
		},
		{
			Name: "capacity of nothing", Why: "AWS's least charge for a read is half a unit; dynalite counts 0 for a page without items.",
			op: `^(Scan|Query)$`, ours: `"CapacityUnits":(0\.5|1)\b`, theirs: `"CapacityUnits":0[,}]`,
		},
		{
			Name: "capacity of consistent scans", Why: "A consistent read costs twice an eventually consistent one, of Scan too; dynalite counts all scans as eventually consistent.",
			op: `^Scan$`, body: `"ConsistentRead":true`, ours: `"CapacityUnits":1\b`, theirs: `"CapacityUnits":0\.5\b`,
		},
		{
			Name: "sets with an empty string", Why: "A value that no attribute can have is refused wherever it stands; dynalite lets it pass in Expected.",
			ours: parameters + `An string set may not have a empty string as a member`,
		},
		{
			Name: "older filters on lists and maps", Why: "AWS documents EQ and NE for all types, lists and maps included.",
			op: `^(Scan|Query)$`, ours: `^200`, theirs: parameters + `ComparisonOperator (EQ|NE) is not valid for \w+ AttributeValue type`,
		},
		{
			Name: "which index is named", Why: "Of several indexes that an attribute does not fit, the first by name is named, for which there is a reason to rely on neither.",
			ours: parameters + `Type mismatch for Index Key`, theirs: parameters + `Type mismatch for Index Key`,
		},
		{
			Name: "older updates of an index's key", Why: "What matters is what the item holds afterwards. dynalite looks at the operand of a DELETE, which is no value of the attribute.",
			op: `^UpdateItem$`, body: `"AttributeUpdates"`, theirs: parameters + `Type mismatch for Index Key`,
		},
		{
			Name: "order of checks", Why: "Of two faults of one update the other is named: neither request does anything.",
			op: `^UpdateItem$`, ours: updateFault, theirs: updateFault,
		},
		{
			Name: "consistent scans of global indexes", Why: "AWS refuses them, as it does queries.",
			op: `^Scan$`, ours: validation + `Consistent reads are not supported on global secondary indexes`,
		},
		{
			Name: "segments", Why: "AWS refuses Segment without TotalSegments; to dynalite segment 0 is no segment.",
			op: `^Scan$`, ours: validation + `The TotalSegments parameter is required`,
		},
		{
			Name: "Expected with Exists and a value", Why: "An expected value that the attribute does not have is a failed condition; dynalite does not compare it where Exists is true.",
			body: `"Expected":.*,"Exists":true\}`, ours: failed, theirs: `^200`,
		},
		{
			Name: "throughput of new indexes", Why: "AWS asks for it where the table has a throughput of its own, and not by the model; dynalite is of the time before tables on demand.",
			op: `^UpdateTable$`, theirs: validation + `.*create\.provisionedThroughput' failed`,
		},
		{
			Name: "deleting an index that is not there", Why: "There is nothing to delete, and AWS says so; dynalite does not look.",
			op: `^UpdateTable$`, ours: `^400 ResourceNotFoundException Requested resource not found$`, theirs: `^200`,
		},
		{
			Name: "name of the caller", Why: "dynalite calls the caller dynalite.",
			ours: `^400 AccessDeniedException User is not authorized`,
		},
		{
			Name: "tables that exist", Why: "AWS says which table; dynalite says nothing.",
			ours: `^400 ResourceInUseException Table already exists`, theirs: `^400 ResourceInUseException$`,
		},
		{
			Name: "bodies of another type", Why: "A body that is no object is none of the API's; dynalite takes a list for an object without members.",
			body: `^\[\]$`, ours: `^400 SerializationException$`,
		},
		{
			Name: "values of another type", Why: "What does not fit the model is a SerializationException in both; the words name Java classes of the server, which no client can depend on.",
			ours: `^400 SerializationException`, theirs: `^400 SerializationException`,
		},
		{
			Name: "keys of batches", Why: "A key that does not fit the schema is named before a key that stands twice; dynalite compares keys by their values alone, before it knows the schema.",
			op: `^BatchGetItem$`, ours: validation + `The provided key element does not match the schema$`, theirs: validation + `Provided list of item keys contains duplicates$`,
		},
		{
			Name: "Query on conditions that are none", Why: "Of two faults of KeyConditions the operator is named first.",
			op: `^Query$`, ours: validation + `Attempted conditional constraint is not an indexable operation`, theirs: validation + `Query key condition not supported`,
		},
		{
			Name: "order of checks of expressions", Why: "Of two faults of one expression the other is named.",
			ours: validation + `Invalid \w+Expression: `, theirs: validation + `Invalid \w+Expression: `,
		},
	},
	"moto": {
		{
			Name: "projections of transactions", Why: "A projection returns what it names; moto adds the key.",
			op: `^TransactGetItems$`, body: `"ProjectionExpression"`, ours: `^200`, theirs: `^200.*"k":`,
		},
		capacityUnasked,
		{
			Name: "attribute of a TTL that is off", Why: "Where TTL is off no attribute is shown; moto shows the last.",
			op: `^DescribeTimeToLive$`, ours: `"DISABLED"`, theirs: `"AttributeName":"t","TimeToLiveStatus":"DISABLED"`,
		},
		{
			Name: "empty lists of indexes", Why: "A table without indexes shows no lists of them, and every table has an id.",
			op: `^CreateTable$`, theirs: `"GlobalSecondaryIndexes":\[\]`,
		},
		{
			Name: "no change of TTL", Why: "AWS refuses to switch on what is on and off what is off; moto does not look.",
			op: `^UpdateTimeToLive$`, ours: validation + `TimeToLive is already (en|dis)abled$`, theirs: `^200`,
		},
	},
	"kcl": {
		kcl1Tables,
		{
			Name: "indexes of UpdateTable", Why: "KCL 3 adds an index to its table, which is on demand. dynalite wants a throughput for it, and would add none with it either.",
			op: `^UpdateTable$`, body: addedLater, ours: `^200`, theirs: validation + `.*create\.provisionedThroughput' failed`,
		},
		{
			Name: "tables without the index of UpdateTable", Why: "What dynalite did not add it does not describe. Where the index is there from the start the descriptions are the same.",
			op: `^DescribeTable$`, body: addedLater, ours: `^200.*,"GlobalSecondaryIndexes":`, theirs: `^200.*"CreationDateTime":"\*","KeySchema":`,
		},
		{
			Name: "reads of the index of UpdateTable", Why: "What dynalite did not add it does not read. Where the index is there from the start the items are the same.",
			op: `^(Query|Scan)$`, body: addedLater + `,"IndexName":"LeaseOwnerToLeaseKeyIndex"`, ours: `^200`, theirs: validation + `The table does not have the specified index`,
		},
	},
	"kcl-twice": {
		{
			Name: "the item of a failed condition", Why: "dynalite does not know ReturnValuesOnConditionCheckFailure, by which KCL 3 sees that its lost write was done.",
			op: `^UpdateItem$`, body: `"ReturnValuesOnConditionCheckFailure":"ALL_OLD"`, ours: failed + ` \{"Item"`, theirs: failed + `$`,
		},
		kcl1Tables,
	},
	"dynamodb-local": {
		{
			Name: "words about a table that is not there", Why: "AWS says which table; DynamoDB Local says it in words that AWS has for no other operation.",
			op: `^DescribeTable$`, ours: `^400 ResourceNotFoundException Requested resource not found: Table: [^ ]+ not found$`, theirs: `^400 ResourceNotFoundException Cannot do operations on a non-existent table$`,
		},
		{
			Name: "descriptions", Why: "AWS documents an id of every table, which DynamoDB Local leaves out; and it shows limits of an index that nobody has set, and whether an index is being filled that is not.",
			op: `^(Create|Update|Describe)Table$`, only: `"TableId":"\*",|"OnDemandThroughput":\{"MaxReadRequestUnits":-1,"MaxWriteRequestUnits":-1\},|"Backfilling":false,`,
		},
	},
	"kcl3-moto": {
		{
			Name: "descriptions", Why: "Every table and index has a name by ARN, tables have an id, and lists without members are left out; moto differs in all of it.",
			op: `^(Create|Update|Describe)Table$`, ours: `^200`, theirs: `^200.*"LocalSecondaryIndexes":\[\]`,
		},
		capacityUnasked,
	},
}
