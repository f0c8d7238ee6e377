package tables

import (
	"fmt"
	"strings"
)

// batchGet makes a BatchGetItem.
func (g *generator) batchGet() {
	var parts []string
	for i := range 1 + g.IntN(2) {
		t := schemas[(g.IntN(len(schemas)-1)+i*2)%len(schemas)]
		var keys []string
		for range 1 + g.IntN(4) {
			k := g.key(t)
			if g.chance(95) && strings.Contains(strings.Join(keys, ";"), k) {
				continue
			}
			keys = append(keys, "{"+k+"}")
		}
		s := `"Keys":[` + strings.Join(keys, ",") + `]`
		g.names, g.values = nil, nil
		switch g.IntN(6) {
		case 0:
			s += `,"ProjectionExpression":` + quote(g.projection()) + g.placeholders()
		case 1:
			s += `,"AttributesToGet":["` + g.one(attributes...) + `"]`
		case 2:
			s += `,"ConsistentRead":true`
		}
		if p := quote(g.tableName(t)) + ":{" + s + "}"; !strings.Contains(strings.Join(parts, ""), quote(t.name)+":") {
			parts = append(parts, p)
		}
	}
	g.add("BatchGetItem", `{"RequestItems":{`+strings.Join(parts, ",")+`}`+g.capacity()+`}`)
}

// batchWrite makes a BatchWriteItem.
func (g *generator) batchWrite() {
	t := g.table()
	var parts []string
	n := 1 + g.IntN(4)
	if g.chance(3) {
		n = 26
	}
	for range n {
		if g.chance(60) {
			parts = append(parts, `{"PutRequest":{"Item":{`+g.item(t)+`}}}`)
		} else {
			parts = append(parts, `{"DeleteRequest":{"Key":{`+g.key(t)+`}}}`)
		}
	}
	if g.chance(3) {
		parts = append(parts, g.one(`{}`, `{"PutRequest":{}}`, `{"DeleteRequest":{}}`))
	}
	g.add("BatchWriteItem", `{"RequestItems":{"`+g.tableName(t)+`":[`+strings.Join(parts, ",")+`]}`+g.capacity()+`}`)
}

// transactWrite makes a TransactWriteItems.
func (g *generator) transactWrite() {
	var parts []string
	var keys []string
	for range 1 + g.IntN(3) {
		t := g.table()
		k := g.key(t)
		if g.chance(97) && strings.Contains(strings.Join(keys, ";"), t.name+k) {
			continue
		}
		keys = append(keys, t.name+k)
		g.names, g.values = nil, nil
		at := `"TableName":"` + g.tableName(t) + `",`
		var s string
		cond := func() string {
			if g.chance(50) {
				return `,"ConditionExpression":` + quote(g.condition(t, 1))
			}
			return ""
		}
		switch g.IntN(4) {
		case 0:
			s = `{"Put":{` + at + `"Item":{` + k + `,"put":` + g.attribute("a") + `}` + cond()
		case 1:
			s = `{"Update":{` + at + `"Key":{` + k + `},"UpdateExpression":` + quote(g.updateExpression(t)) + cond()
		case 2:
			s = `{"Delete":{` + at + `"Key":{` + k + `}` + cond()
		default:
			s = `{"ConditionCheck":{` + at + `"Key":{` + k + `},"ConditionExpression":` + quote(g.condition(t, 1))
		}
		s += g.placeholders()
		if g.chance(30) {
			s += `,"ReturnValuesOnConditionCheckFailure":"ALL_OLD"`
		}
		parts = append(parts, s+"}}")
	}
	token := ""
	if g.chance(30) {
		token = fmt.Sprintf(`,"ClientRequestToken":"token-%d"`, g.IntN(6))
	}
	body := `{"TransactItems":[` + strings.Join(parts, ",") + `]` + token + g.capacity() + `}`
	g.add("TransactWriteItems", body)
	if token != "" && g.chance(50) {
		g.add("TransactWriteItems", body)
	}
}

// transactGet makes a TransactGetItems.
func (g *generator) transactGet() {
	var parts []string
	for range 1 + g.IntN(3) {
		t := g.table()
		s := `{"Get":{"TableName":"` + g.tableName(t) + `","Key":{` + g.key(t) + `}`
		g.names, g.values = nil, nil
		if g.chance(30) {
			s += `,"ProjectionExpression":` + quote(g.projection()) + g.placeholders()
		}
		parts = append(parts, s+"}}")
	}
	g.add("TransactGetItems", `{"TransactItems":[`+strings.Join(parts, ",")+`]`+g.capacity()+`}`)
}

// settings makes an operation on the settings of a table.
func (g *generator) settings() {
	t := g.table()
	name := `"TableName":"` + g.tableName(t) + `"`
	resource := `"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/` + g.tableName(t) + `"`
	if g.chance(8) {
		resource = g.one(`"ResourceArn":"x"`, `"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/no"`, `"Other":1`)
	}
	switch g.IntN(9) {
	case 0:
		g.add("UpdateTimeToLive", `{`+name+`,"TimeToLiveSpecification":{"AttributeName":"`+g.one("t", "t", "u")+`","Enabled":`+g.one("true", "false")+`}}`)
	case 1:
		g.add("DescribeTimeToLive", `{`+name+`}`)
	case 2:
		g.add("UpdateContinuousBackups", `{`+name+`,"PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":`+g.one("true", "false")+`}}`)
	case 3:
		g.add("DescribeContinuousBackups", `{`+name+`}`)
	case 4:
		g.add("TagResource", `{`+resource+`,"Tags":[{"Key":"`+g.one("a", "b")+`","Value":"`+g.one("1", "2", "")+`"}]}`)
	case 5:
		g.add("UntagResource", `{`+resource+`,"TagKeys":["`+g.one("a", "b", "c")+`"]}`)
	case 6:
		g.add("ListTagsOfResource", `{`+resource+`}`)
	default:
		g.add("DescribeTable", `{`+name+`}`)
	}
}

// Changes of indexes in UpdateTable.
const (
	addIndex  = `,"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"},{"AttributeName":"g","AttributeType":"S"}],"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"byG","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}}]`
	dropIndex = `,"GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"byG"}}]`
)

// tables makes and changes tables.
func (g *generator) tables() {
	name := g.one("extra1", "extra2")
	keys := `"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]`
	switch g.IntN(8) {
	case 0, 1:
		g.add("CreateTable", `{"TableName":"`+name+`",`+keys+g.one(`,"BillingMode":"PAY_PER_REQUEST"`, `,"ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":2}`)+`}`)
	case 2:
		g.add("DeleteTable", `{"TableName":"`+name+`"}`)
	case 3:
		g.add("DescribeTable", `{"TableName":"`+name+`"}`)
	case 4:
		g.add("ListTables", g.one(`{}`, `{"Limit":2}`, `{"Limit":0}`, `{"ExclusiveStartTableName":"leases"}`, `{"Limit":101}`))
	case 5:
		g.add("UpdateTable", `{"TableName":"`+name+`"`+g.one(`,"ProvisionedThroughput":{"ReadCapacityUnits":3,"WriteCapacityUnits":4}`, `,"BillingMode":"PAY_PER_REQUEST"`, ``, `,"BillingMode":"PROVISIONED"`, addIndex, addIndex, dropIndex,
			`,"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"byG","KeySchema":[{"AttributeName":"undefined","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}}]`)+`}`)
	default:
		g.add("CreateTable", `{"TableName":"wrong",`+g.one(
			`"BillingMode":"PAY_PER_REQUEST"`,
			keys,
			keys+`,"BillingMode":"PAY_PER_REQUEST","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":2}`,
			`"BillingMode":"PAY_PER_REQUEST","KeySchema":[],"AttributeDefinitions":[]`,
			`"BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"RANGE"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]`,
			`"BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"},{"AttributeName":"k","KeyType":"RANGE"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]`,
			`"BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"x","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]`,
			`"BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"},{"AttributeName":"l","AttributeType":"S"}]`,
			`"BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"X"}]`,
			keys+`,"ProvisionedThroughput":{"ReadCapacityUnits":0,"WriteCapacityUnits":2}`,
			keys+`,"BillingMode":"PAY_PER_REQUEST","GlobalSecondaryIndexes":[]`,
			keys+`,"BillingMode":"PAY_PER_REQUEST","GlobalSecondaryIndexes":[{"IndexName":"abc","KeySchema":[{"AttributeName":"z","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]`,
			keys+`,"BillingMode":"PAY_PER_REQUEST","LocalSecondaryIndexes":[{"IndexName":"abc","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]`,
		)+`}`)
	}
}

// broken makes a request that is wrong in its form.
func (g *generator) broken() {
	op := g.one("PutItem", "GetItem", "UpdateItem", "DeleteItem", "Scan", "Query", "BatchGetItem", "BatchWriteItem", "CreateTable", "DescribeTable", "TransactWriteItems")
	body := g.one(
		`{}`, `{"TableName":"leases"}`, `{"TableName":5}`, `[]`, `{"TableName":"leases","Key":5}`, `{"TableName":"leases","Key":[]}`, `{"TableName":"leases","Key":{"k":5}}`,
		`{"TableName":"leases","Item":{"k":{"S":5}}}`, `{"TableName":"leases","Key":{"k":{"S":"a"}},"ConsistentRead":"x"}`, `{"TableName":"leases","Limit":"x"}`, `{"TableName":"leases","Limit":0}`,
		`{"TableName":"leases","Key":{"k":{"S":"a"}},"ReturnConsumedCapacity":"ALL"}`, `{"TableName":"leases","Key":{"k":{"S":"a"}},"ExpressionAttributeNames":{"#a":"a"}}`,
		`{"TableName":"leases","Key":{"k":{"S":"a"}},"UpdateExpression":"SET a = :v","ExpressionAttributeValues":{}}`,
		`{"TableName":"leases","Key":{"k":{"S":"a"}},"UpdateExpression":"SET a = :v","ExpressionAttributeValues":{"v":{"S":"x"}}}`,
		`{"TableName":"leases","Key":{"k":{"S":"a"}},"UpdateExpression":"SET #a = :v","ExpressionAttributeNames":{"a":"x"},"ExpressionAttributeValues":{":v":{"S":"x"}}}`,
		`{"TableName":"leases","Key":{"k":{"S":"a"}},"UpdateExpression":"SET a = :v","ExpressionAttributeValues":{":v":{"S":"x"},":w":{"S":"y"}}}`,
		`{"TableName":"leases","Key":{"k":{"S":"a"}},"UpdateExpression":"SET a = :v","AttributeUpdates":{},"ExpressionAttributeValues":{":v":{"S":"x"}}}`,
		`{"TableName":"leases","Item":{"k":{"S":"a"}},"Expected":{},"ConditionExpression":"attribute_exists(k)"}`,
		`{"TableName":"leases","Item":{"k":{"S":"a"}},"ExpressionAttributeValues":{":v":{"S":"x"}}}`,
		`{"TableName":"leases","Item":{"k":{"S":"a"}},"ConditionalOperator":"OR"}`,
		`{"RequestItems":{}}`, `{"RequestItems":{"leases":[]}}`, `{"RequestItems":{"leases":{}}}`, `{"RequestItems":{"leases":{"Keys":[]}}}`, `{"RequestItems":{"no":{"Keys":[{"k":{"S":"a"}}]}}}`,
		`{"TransactItems":[]}`, `{"TransactItems":[{}]}`, `{"TransactItems":[{"Put":{}}]}`, `{"TransactItems":[{"Update":{"TableName":"leases","Key":{"k":{"S":"a"}}}}]}`,
		`{"TransactItems":[{"ConditionCheck":{"TableName":"leases","Key":{"k":{"S":"a"}}}}]}`,
		`{"TransactItems":[{"Delete":{"TableName":"leases","Key":{"k":{"S":"a"}}},"Put":{"TableName":"leases","Item":{"k":{"S":"b"}}}}]}`,
		`{"TransactItems":[{"Delete":{"TableName":"leases","Key":{"k":{"S":"a"}}}}],"ClientRequestToken":""}`,
	)
	g.add(op, body)
}
