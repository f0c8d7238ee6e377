package table_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestParseErrors checks what is refused without looking at a table.
func TestParseErrors(t *testing.T) {
	const ser = "SerializationException"
	deep := func(open, end string, n int) string {
		return `{"TableName":"tab","Item":{"k":{"S":"x"},"d":` + strings.Repeat(open, n) + `{"S":"x"}` + strings.Repeat(end, n) + `}}`
	}
	for _, tt := range []struct {
		name, op, body, want string
	}{
		{"unknown operation", "ExecuteStatement", `{}`, "UnknownOperationException: The operation ExecuteStatement is not supported."},
		{"no body", "GetItem", ``, ser},
		{"no object", "GetItem", `[]`, ser},
		{"cut", "GetItem", `{"TableName":"tab`, ser},
		{"comma at the end", "GetItem", `{"TableName":"tab",}`, ser},
		{"no colon", "GetItem", `{"TableName" "tab"}`, ser},
		{"something behind", "GetItem", `{"TableName":"tab"} x`, ser},
		{"bad number", "Scan", `{"TableName":"tab","Limit":01}`, ser},
		{"bad escape", "Scan", `{"TableName":"\x"}`, ser},
		{"control character", "Scan", "{\"TableName\":\"a\nb\"}", ser},
		{"invalid UTF-8", "Scan", "{\"TableName\":\"a\xff\"}", ser},
		{"too deep", "Scan", `{"x":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, ser},
		{"number for string", "Scan", `{"TableName":5}`, ser + ": NUMBER_VALUE cannot be converted to String"},
		{"fraction for string", "Scan", `{"TableName":5.5}`, ser + ": DECIMAL_VALUE cannot be converted to String"},
		{"true for string", "Scan", `{"TableName":true}`, ser + ": TRUE_VALUE cannot be converted to String"},
		{"list for string", "Scan", `{"TableName":[]}`, ser + ": Unrecognized collection type class java.lang.String"},
		{"object for string", "Scan", `{"TableName":{}}`, ser + ": Start of structure or map found where not expected"},
		{"string for integer", "Scan", `{"TableName":"tab","Limit":"5"}`, ser + ": STRING_VALUE cannot be converted to Integer"},
		{"string for boolean", "GetItem", `{"ConsistentRead":"true"}`, ser + ": Unexpected token received from parser"},
		{"list for map", "GetItem", `{"Key":[]}`, ser + ": Start of list found where not expected"},
		{"string for map", "GetItem", `{"Key":"k"}`, ser + ": Unexpected field type"},
		{"base64 length", "GetItem", `{"Key":{"k":{"B":"AQI"}}}`, ser + ": Base64 encoded length is expected a multiple of 4 bytes but found: 3"},
		{"base64 character", "GetItem", `{"Key":{"k":{"B":"AQ$="}}}`, ser + ": Invalid Base64 character or padding"},

		{"no table", "GetItem", `{"Key":{}}`, validation + "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null"},
		{"no table and key", "GetItem", `{}`, validation + "2 validation errors detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null; Value null at 'key' failed to satisfy constraint: Member must not be null"},
		{"null is absent", "PutItem", `{"TableName":"tab","Item":null}`, validation + "1 validation error detected: Value null at 'item' failed to satisfy constraint: Member must not be null"},
		{"table name characters", "Scan", `{"TableName":"a b c"}`, validation + "1 validation error detected: Value 'a b c' at 'tableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"},
		{"table name short", "Scan", `{"TableName":"ab"}`, validation + "1 validation error detected: Value 'ab' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 3"},
		{"no table to describe", "DescribeTable", `{}`, validation + "The parameter 'TableName' is required but was not present in the request"},
		{"enum", "PutItem", `{"TableName":"tab","Item":{},"ReturnValues":"ALL"}`, validation + "1 validation error detected: Value 'ALL' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"},
		{"enum on failure", "PutItem", `{"TableName":"tab","Item":{},"ReturnValuesOnConditionCheckFailure":"ALL_NEW"}`, validation + "1 validation error detected: Value 'ALL_NEW' at 'returnValuesOnConditionCheckFailure' failed to satisfy constraint: Member must satisfy enum value set: [ALL_OLD, NONE]"},
		{"limit", "Scan", `{"TableName":"tab","Limit":0}`, validation + "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},

		{"empty value", "PutItem", `{"TableName":"tab","Item":{"k":{}}}`, validation + "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"},
		{"unknown type", "PutItem", `{"TableName":"tab","Item":{"k":{"X":"1"}}}`, validation + "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"},
		{"two types", "PutItem", `{"TableName":"tab","Item":{"k":{"S":"1","N":"1"}}}`, validation + "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"},
		{"false null", "PutItem", `{"TableName":"tab","Item":{"k":{"NULL":false}}}`, parameters + "Null attribute value types must have the value of true"},
		{"no number", "PutItem", `{"TableName":"tab","Item":{"k":{"N":"x1"}}}`, validation + "The parameter cannot be converted to a numeric value: x1"},
		{"empty number", "PutItem", `{"TableName":"tab","Item":{"k":{"N":""}}}`, validation + "The parameter cannot be converted to a numeric value"},
		{"large number", "PutItem", `{"TableName":"tab","Item":{"k":{"N":"1e126"}}}`, validation + "Number overflow. Attempting to store a number with magnitude larger than supported range"},
		{"small number", "PutItem", `{"TableName":"tab","Item":{"k":{"N":"-1e-131"}}}`, validation + "Number underflow. Attempting to store a number with magnitude smaller than supported range"},
		{"long number", "PutItem", `{"TableName":"tab","Item":{"k":{"N":"123456789012345678901234567890123456789"}}}`, validation + "Attempting to store more than 38 significant digits in a Number"},
		{"empty string set", "PutItem", `{"TableName":"tab","Item":{"k":{"SS":[]}}}`, parameters + "An string set  may not be empty"},
		{"empty number set", "PutItem", `{"TableName":"tab","Item":{"k":{"NS":[]}}}`, parameters + "An number set  may not be empty"},
		{"empty binary set", "PutItem", `{"TableName":"tab","Item":{"k":{"BS":[]}}}`, parameters + "Binary sets should not be empty"},
		{"empty string in set", "PutItem", `{"TableName":"tab","Item":{"k":{"SS":["a",""]}}}`, parameters + "An string set may not have a empty string as a member"},
		{"string twice", "PutItem", `{"TableName":"tab","Item":{"k":{"SS":["b","a","b"]}}}`, parameters + "Input collection [b, a, b] contains duplicates."},
		{"number twice", "PutItem", `{"TableName":"tab","Item":{"k":{"NS":["1","1.0"]}}}`, validation + "Input collection contains duplicates"},
		{"binary twice", "PutItem", `{"TableName":"tab","Item":{"k":{"BS":["AQ==","AQ=="]}}}`, parameters + "Input collection [AQ==, AQ==]of type BS contains duplicates."},
		{"wrong inside a map", "PutItem", `{"TableName":"tab","Item":{"k":{"M":{"x":{"L":[{"N":"?"}]}}}}}`, validation + "The parameter cannot be converted to a numeric value: ?"},
		{"33 lists", "PutItem", deep(`{"L":[`, `]}`, 33), validation + "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"},
		{"33 maps", "PutItem", deep(`{"M":{"m":`, `}}`, 33), validation + "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"},
		{"large item", "PutItem", `{"TableName":"tab","Item":{"k":{"S":"` + strings.Repeat("x", 400<<10) + `"}}}`, validation + "Item size has exceeded the maximum allowed size"},

		{"mixed", "UpdateItem", `{"TableName":"tab","Key":{},"UpdateExpression":"SET a = b","Expected":{}}`, validation + "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {Expected} Expression parameters: {UpdateExpression}"},
		{"mixed updates", "UpdateItem", `{"TableName":"tab","Key":{},"AttributeUpdates":{},"ConditionExpression":"a = b"}`, validation + "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {AttributeUpdates} Expression parameters: {ConditionExpression}"},
		{"mixed filters", "Scan", `{"TableName":"tab","FilterExpression":"a = b","ScanFilter":{}}`, validation + "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {ScanFilter} Expression parameters: {FilterExpression}"},
		{"mixed projections", "GetItem", `{"TableName":"tab","Key":{},"ProjectionExpression":"a","AttributesToGet":["a"]}`, validation + "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}"},
		{"names alone", "GetItem", `{"TableName":"tab","Key":{},"ExpressionAttributeNames":{"#a":"a"}}`, validation + "ExpressionAttributeNames can only be specified when using expressions"},
		{"values alone", "PutItem", `{"TableName":"tab","Item":{},"ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation + "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null"},
		{"values alone in update", "UpdateItem", `{"TableName":"tab","Key":{},"ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation + "ExpressionAttributeValues can only be specified when using expressions: UpdateExpression and ConditionExpression are null"},
		{"no names", "GetItem", `{"TableName":"tab","Key":{},"ProjectionExpression":"a","ExpressionAttributeNames":{}}`, validation + "ExpressionAttributeNames must not be empty"},
		{"no values", "PutItem", `{"TableName":"tab","Item":{},"ConditionExpression":"a = b","ExpressionAttributeValues":{}}`, validation + "ExpressionAttributeValues must not be empty"},
		{"bad name", "GetItem", `{"TableName":"tab","Key":{},"ProjectionExpression":"a","ExpressionAttributeNames":{"a":"a"}}`, validation + `ExpressionAttributeNames contains invalid key: Syntax error; key: "a"`},
		{"bad value name", "PutItem", `{"TableName":"tab","Item":{},"ConditionExpression":"a = b","ExpressionAttributeValues":{":a b":{"S":"a"}}}`, validation + `ExpressionAttributeValues contains invalid key: Syntax error; key: ":a b"`},
		{"bad value", "PutItem", `{"TableName":"tab","Item":{},"ConditionExpression":"a = :b","ExpressionAttributeValues":{":b":{"N":"?"}}}`, validation + "ExpressionAttributeValues contains invalid value: The parameter cannot be converted to a numeric value: ? for key :b"},
		{"unused names", "GetItem", `{"TableName":"tab","Key":{},"ProjectionExpression":"a","ExpressionAttributeNames":{"#b":"b","#a":"a"}}`, validation + "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a, #b}"},
		{"unused values", "PutItem", `{"TableName":"tab","Item":{},"ConditionExpression":"a = :b","ExpressionAttributeValues":{":b":{"N":"1"},":c":{"N":"1"}}}`, validation + "Value provided in ExpressionAttributeValues unused in expressions: keys: {:c}"},
		{"a name twice to get", "GetItem", `{"TableName":"tab","Key":{},"AttributesToGet":["a","b","a"]}`, parameters + "Duplicate value in attribute name: a"},

		{"operator alone", "DeleteItem", `{"TableName":"tab","Key":{},"ConditionalOperator":"OR"}`, validation + "ConditionalOperator cannot be used without Filter or Expected"},

		{"segment alone", "Scan", `{"TableName":"tab","Segment":0}`, validation + "The TotalSegments parameter is required but was not present in the request when Segment parameter is present"},
		{"segments alone", "Scan", `{"TableName":"tab","TotalSegments":2}`, validation + "The Segment parameter is required but was not present in the request when parameter TotalSegments is present"},
		{"segment too large", "Scan", `{"TableName":"tab","TotalSegments":2,"Segment":2}`, validation + "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 2 is not less than TotalSegments: 2"},
		{"no key condition", "Query", `{"TableName":"tab"}`, validation + "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."},
		{"bad start", "Scan", `{"TableName":"tab","ExclusiveStartKey":{"k":{}}}`, validation + "The provided starting key is invalid: Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig()
			r.hashTable(t, "S")
			r.refuse(t, tt.op, tt.body, tt.want)
		})
	}
}

// TestConditionErrors checks what is said of wrong condition expressions.
func TestConditionErrors(t *testing.T) {
	const values = `{":s":{"S":"x"},":n":{"N":"1"},":m":{"N":"2"},":t":{"BOOL":true},":l":{"L":[]},":u":{"S":"U"}}`
	many := "a IN (" + strings.TrimSuffix(strings.Repeat("b,", 101), ",") + ")"
	for _, tt := range []struct{ expr, want string }{
		{"", "The expression can not be empty;"},
		{"  ", "The expression can not be empty;"},
		{strings.Repeat("a", 4097), "Expression size has exceeded the maximum allowed size; expression size: 4097"},
		{"a", `Syntax error; token: "<EOF>", near: "a"`},
		{"a =", `Syntax error; token: "<EOF>", near: "="`},
		{"a b", `Syntax error; token: "b", near: "a b"`},
		{"a = b c", `Syntax error; token: "c", near: "b c"`},
		{"(a = b", `Syntax error; token: "<EOF>", near: "b"`},
		{"a = b)", `Syntax error; token: ")", near: "b)"`},
		{"a = ! b", `Syntax error; token: "!", near: "= ! b"`},
		{"a = #", `Syntax error; token: "#", near: "= #"`},
		{"a == b", `Syntax error; token: "=", near: "== b"`},
		{"AND a = b", `Syntax error; token: "AND", near: "AND a"`},
		{"a = b AND", `Syntax error; token: "<EOF>", near: "AND"`},
		{"a BETWEEN b", `Syntax error; token: "<EOF>", near: "b"`},
		{"a IN b", `Syntax error; token: "b", near: "IN b"`},
		{"a IN ()", `Syntax error; token: ")", near: "()"`},
		{"a[x] = b", `Syntax error; token: "x", near: "[x]"`},
		{"a. = b", `Syntax error; token: "=", near: ". = b"`},
		{"a.1 = b", `Syntax error; token: "1", near: ".1 ="`},
		{"1a = b", `Syntax error; token: "1", near: "1a"`},
		{"(a AND b) = c", `Syntax error; token: "AND", near: "a AND b"`},
		{"(a = b) = c", `Syntax error; token: "=", near: ") = c"`},
		{"((a = b))", "The expression has redundant parentheses;"},
		{"((a)) = b", "The expression has redundant parentheses;"},
		{"foo(a)", "Invalid function name; function: foo"},
		{"Attribute_exists(a)", "Invalid function name; function: Attribute_exists"},
		{"size(a)", "The function is not allowed to be used this way in an expression; function: size"},
		{"a = attribute_exists(b)", "The function is not allowed to be used this way in an expression; function: attribute_exists"},
		{"begins_with(a, contains(b, c))", "The function is not allowed to be used this way in an expression; function: contains"},
		{"status = a", "Attribute name is a reserved keyword; reserved keyword: status"},
		{"a.Name = b", "Attribute name is a reserved keyword; reserved keyword: Name"},
		{"#x = a", "An expression attribute name used in the document path is not defined; attribute name: #x"},
		{"a = :x", "An expression attribute value used in expression is not defined; attribute value: :x"},
		{"attribute_exists(a, b)", "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of operands: 2"},
		{"begins_with(a)", "Incorrect number of operands for operator or function; operator or function: begins_with, number of operands: 1"},
		{"contains(a, b, c)", "Incorrect number of operands for operator or function; operator or function: contains, number of operands: 3"},
		{"size(a, b) = c", "Incorrect number of operands for operator or function; operator or function: size, number of operands: 2"},
		{many, "The IN operator is provided with too many operands; number of operands: 101"},
		{"attribute_exists(:s)", "Operator or function requires a document path; operator or function: attribute_exists"},
		{"begins_with(a, :n)", "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N"},
		{"size(:n) = a", "Incorrect operand type for operator or function; operator or function: size, operand type: N"},
		{"a < :t", "Incorrect operand type for operator or function; operator: <, operand type: BOOL"},
		{"a BETWEEN :l AND b", "Incorrect operand type for operator or function; operator: BETWEEN, operand type: L"},
		{"attribute_type(a, :n)", "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: N"},
		{"attribute_type(a, b)", "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: {NS,SS,L,BS,N,M,B,BOOL,NULL,S}"},
		{"attribute_type(a, :u)", "Invalid attribute type name found; type: U, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}"},
		{"a.b[0] = a.b[0]", "The first operand must be distinct from the remaining operands for this operator or function; operator: =, first operand: [a, b, [0]]"},
		{"a BETWEEN :m AND :n", "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}"},
		{"a BETWEEN :n AND :s", "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: {N:1}, upper bound operand: AttributeValue: {S:x}"},
		{"a" + strings.Repeat(".a", 32) + " = b", "The document path has too many nesting elements; nesting levels: 33"},
		{strings.TrimSuffix(strings.Repeat("a<b OR ", 200), "OR "), "The expression contains too many operators; operator count: 399"},
		{strings.Repeat("(", 400) + "a = b" + strings.Repeat(")", 400), `Syntax error; token: "(", near: "((("`},
		{strings.Repeat("NOT ", 400) + "a = b", `Syntax error; token: "NOT", near: "NOT NOT NOT"`},
	} {
		t.Run(fmt.Sprintf("%.40s", tt.expr), func(t *testing.T) {
			body := `{"TableName":"tab","Key":{"k":{"S":"key"}},"ConditionExpression":` + quote(tt.expr)
			if v := only(t, values, tt.expr); v != "" {
				body += `,"ExpressionAttributeValues":` + v
			}
			newRig().refuse(t, "DeleteItem", body+"}", validation+"Invalid ConditionExpression: "+tt.want)
		})
	}
}

// TestUpdateErrors checks what is said of wrong update expressions.
func TestUpdateErrors(t *testing.T) {
	const values = `{":s":{"S":"x"},":n":{"N":"1"},":l":{"L":[]},":ss":{"SS":["a"]}}`
	for _, tt := range []struct{ expr, want string }{
		{"", "The expression can not be empty;"},
		{"SET", `Syntax error; token: "<EOF>", near: "SET"`},
		{"a = b", `Syntax error; token: "a", near: "a ="`},
		{"SET a", `Syntax error; token: "<EOF>", near: "a"`},
		{"SET a = :s,", `Syntax error; token: "<EOF>", near: ","`},
		{"SET a = :s b = :n", `Syntax error; token: "b", near: ":s b ="`},
		{"SET a = b + :n + :n", `Syntax error; token: "+", near: ":n + :n"`},
		{"SET a = b * :n", `Syntax error; token: "*", near: "b * :n"`},
		{"ADD a b", `Syntax error; token: "b", near: "a b"`},
		{"REMOVE", `Syntax error; token: "<EOF>", near: "REMOVE"`},
		{"SET a = :s SET b = :n", `The "SET" section can only be used once in an update expression;`},
		{"SET a = foo(b)", "Invalid function name; function: foo"},
		{"SET a = if_not_exists(b)", "Incorrect number of operands for operator or function; operator or function: if_not_exists, number of operands: 1"},
		{"SET a = if_not_exists(:s, :n)", "Operator or function requires a document path; operator or function: if_not_exists"},
		{"SET a = list_append(b, :s)", "Incorrect operand type for operator or function; operator or function: list_append, operand type: S"},
		{"SET a = b + :s", "Incorrect operand type for operator or function; operator or function: +, operand type: S"},
		{"SET a = :l - b", "Incorrect operand type for operator or function; operator or function: -, operand type: L"},
		{"ADD a :s", "Incorrect operand type for operator or function; operator: ADD, operand type: STRING"},
		{"DELETE a :n", "Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER"},
		{"SET a = :s, a = :n", "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a]"},
		{"SET a.b = :s REMOVE a", "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a]"},
		{"SET a.b = :s, a[0] = :n", "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a, [0]]"},
		{"SET count = :s", "Attribute name is a reserved keyword; reserved keyword: count"},
		{"SET #a = :s", "An expression attribute name used in the document path is not defined; attribute name: #a"},
		{"SET a = :none", "An expression attribute value used in expression is not defined; attribute value: :none"},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			body := `{"TableName":"tab","Key":{"k":{"S":"key"}},"UpdateExpression":` + quote(tt.expr)
			if v := only(t, values, tt.expr); v != "" {
				body += `,"ExpressionAttributeValues":` + v
			}
			newRig().refuse(t, "UpdateItem", body+"}", validation+"Invalid UpdateExpression: "+tt.want)
		})
	}
}

// TestKeyErrors checks what is said of keys that do not fit the table.
func TestKeyErrors(t *testing.T) {
	long := strings.Repeat("x", 2049)
	for _, tt := range []struct{ name, op, body, want string }{
		{"wrong name", "GetItem", `"Key":{"h":{"S":"a"},"x":{"N":"1"}}`, validation + "The provided key element does not match the schema"},
		{"wrong type", "GetItem", `"Key":{"h":{"S":"a"},"r":{"S":"1"}}`, validation + "The provided key element does not match the schema"},
		{"part missing", "GetItem", `"Key":{"h":{"S":"a"}}`, validation + "The provided key element does not match the schema"},
		{"part too many", "DeleteItem", `"Key":{"h":{"S":"a"},"r":{"N":"1"},"x":{"N":"1"}}`, validation + "The provided key element does not match the schema"},
		{"empty string", "UpdateItem", `"Key":{"h":{"S":""},"r":{"N":"1"}}`, validation + "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: h"},
		{"long hash key", "GetItem", `"Key":{"h":{"S":"` + long + `"},"r":{"N":"1"}}`, parameters + "Size of hashkey has exceeded the maximum size limit of2048 bytes"},
		{"item without", "PutItem", `"Item":{"h":{"S":"a"}}`, parameters + "Missing the key r in the item"},
		{"item with a wrong type", "PutItem", `"Item":{"h":{"S":"a"},"r":{"S":"1"}}`, parameters + "Type mismatch for key r expected: N actual: S"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig()
			r.rangeTable(t, "N")
			r.refuse(t, tt.op, `{"TableName":"tab",`+tt.body+`}`, tt.want)
		})
	}
}

// TestUpdateTooLarge grows an item to the limit and beyond.
func TestUpdateTooLarge(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	const most = 400<<10 - len("k"+"x"+"a")
	update := func(n int) string {
		return `{"TableName":"tab","Key":{"k":{"S":"x"}},"UpdateExpression":"SET a = :v","ExpressionAttributeValues":{":v":{"S":"` + strings.Repeat("v", n) + `"}}}`
	}
	r.want(t, "UpdateItem", update(most), `{}`)
	r.refuse(t, "UpdateItem", update(most+1), validation+"Item size to update has exceeded the maximum allowed size")
}

// TestValuesComeBack puts values of every type and gets them in their normal
// form.
func TestValuesComeBack(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	r.put(t, ` { "k" : {"S":"\u006bey"},
		"n":{"N":"1.0E-5"},"e":{"S":""},"eb":{"B":""},"u":{"S":"\ud83d\ude00 \"q\" \\ \n\t\u0001 é"},"lone":{"S":"\ud800x"},
		"b":{"B":"AAEC/w=="},"t":{"BOOL":true},"f":{"BOOL":false},"z":{"NULL":true},
		"ss":{"SS":["b","a"]},"ns":{"NS":["10","9","-1.50"]},"bs":{"BS":["Ag==","AQ=="]},
		"l":{"L":[]},"m":{"M":{}},"x":{"M":{"b":{"L":[{"NULL":true},{"N":"+007"}]},"a":{"S":"1"}}} } `)
	r.want(t, "GetItem", `{"TableName":"tab","Key":{"k":{"S":"key"}}}`, `{"Item":{"b":{"B":"AAEC/w=="},"bs":{"BS":["AQ==","Ag=="]},"e":{"S":""},"eb":{"B":""},"f":{"BOOL":false},"k":{"S":"key"},"l":{"L":[]},"lone":{"S":"`+"\ufffd"+`x"},"m":{"M":{}},"n":{"N":"0.00001"},"ns":{"NS":["-1.5","9","10"]},"ss":{"SS":["a","b"]},"t":{"BOOL":true},"u":{"S":"`+"😀"+` \"q\" \\ \n\t\u0001 é"},"x":{"M":{"a":{"S":"1"},"b":{"L":[{"NULL":true},{"N":"7"}]}}},"z":{"NULL":true}}}`)
}

// TestProjection gets parts of an item.
func TestProjection(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	r.put(t, conditionItem)
	for _, tt := range []struct{ expr, want string }{
		{"k, n", `{"Item":{"k":{"S":"key"},"n":{"N":"10"}}}`},
		{"absent", `{"Item":{}}`},
		{"m.a.c", `{"Item":{"m":{"M":{"a":{"M":{"c":{"N":"3"}}}}}}}`},
		{"l[2].deep, l[0]", `{"Item":{"l":{"L":[{"S":"a"},{"M":{"deep":{"S":"down"}}}]}}}`},
		{"l[9], m.x, s[0], n", `{"Item":{"n":{"N":"10"}}}`},
		{"a b", validation + `Invalid ProjectionExpression: Syntax error; token: "b", near: "a b"`},
		{"a,", validation + `Invalid ProjectionExpression: Syntax error; token: "<EOF>", near: ","`},
		{"a, a.b", validation + "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]"},
		{"", validation + "Invalid ProjectionExpression: The expression can not be empty;"},
	} {
		body := `{"TableName":"tab","Key":{"k":{"S":"key"}},"ProjectionExpression":` + quote(tt.expr) + `}`
		if strings.HasPrefix(tt.want, validation) {
			r.refuse(t, "GetItem", body, tt.want)
			continue
		}
		r.want(t, "GetItem", body, tt.want)
	}
	r.want(t, "GetItem", `{"TableName":"tab","Key":{"k":{"S":"none"}}}`, `{}`)
}
