package tables

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Gentle returns n requests that follow from a seed: right ones, mostly, with
// transactions and settings. They are for servers that are no match for
// [Corpus], but know operations that the others lack.
func Gentle(seed uint64, n int) []Request {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 2)), calm: true}
	for _, t := range schemas[:2] {
		g.add("CreateTable", t.create)
	}
	for len(g.list) < n {
		g.names, g.values = nil, nil
		g.gentle()
	}
	return g.list[:n]
}

// gentle makes a request.
func (g *generator) gentle() {
	t := schemas[g.IntN(2)]
	// Numbers in one form: moto takes 10 and 1e1 for two keys.
	key := quote(t.keys[0]) + `:{"` + t.kinds[0] + `":"` + g.one("1", "2", "3", "4", "10", "-1", "2.5") + `"}`
	name := `"TableName":"` + t.name + `"`
	switch g.IntN(12) {
	case 0, 1:
		g.add("PutItem", `{`+name+`,"Item":{`+key+g.fields()+`}`+g.plainGuard()+`}`)
	case 2:
		g.add("UpdateItem", `{`+name+`,"Key":{`+key+`},"UpdateExpression":`+quote(g.plainUpdate())+g.plainGuard()+`,"ReturnValues":"ALL_NEW"}`)
	case 3:
		g.add("GetItem", `{`+name+`,"Key":{`+key+`}}`)
	case 4:
		g.add("Scan", `{`+name+`}`)
	case 5, 6, 7, 8:
		g.plainTransaction()
	case 9:
		g.plainReads()
	case 10:
		g.add("UpdateTimeToLive", `{`+name+`,"TimeToLiveSpecification":{"AttributeName":"t","Enabled":`+g.one("true", "false")+`}}`)
		g.add("DescribeTimeToLive", `{`+name+`}`)
	default:
		g.add("UpdateContinuousBackups", `{`+name+`,"PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":`+g.one("true", "false")+`}}`)
		g.add("DescribeContinuousBackups", `{`+name+`}`)
	}
}

// fields returns attributes of an item, each behind a comma.
func (g *generator) fields() string {
	return fmt.Sprintf(`,"n":{"N":"%d"},"o":{"S":"%s"}`, g.IntN(4), g.one("w1", "w2"))
}

// plainCondition returns a condition on the fields.
func (g *generator) plainCondition() string {
	switch g.IntN(5) {
	case 0:
		return "attribute_exists(n)"
	case 1:
		return "attribute_not_exists(n)"
	case 2:
		return "o = " + g.literal(`{"S":"`+g.one("w1", "w2")+`"}`)
	case 3:
		return "n < " + g.literal(`{"N":"2"}`)
	}
	return "n = " + g.literal(fmt.Sprintf(`{"N":"%d"}`, g.IntN(4)))
}

// plainGuard returns a condition, or none, and what the expressions need.
func (g *generator) plainGuard() string {
	if g.chance(50) {
		return g.placeholders()
	}
	return `,"ConditionExpression":` + quote(g.plainCondition()) + g.placeholders()
}

// plainUpdate returns an update expression on the fields that no item is too
// odd for. It is the first expression of its request.
func (g *generator) plainUpdate() string {
	switch g.IntN(4) {
	case 0:
		return "SET n = " + g.literal(`{"N":"7"}`)
	case 1:
		return "SET o = " + g.literal(`{"S":"w3"}`)
	case 2:
		return "SET n = if_not_exists(n, " + g.literal(`{"N":"0"}`) + ") + " + g.literal(`{"N":"1"}`)
	}
	return "ADD n " + g.literal(`{"N":"1"}`)
}

// plainTransaction makes a TransactWriteItems, sometimes the same twice.
func (g *generator) plainTransaction() {
	var parts, used []string
	for range 1 + g.IntN(4) {
		t := schemas[g.IntN(2)]
		value := g.one("1", "2", "3", "4")
		if i := t.name + value; strings.Contains(strings.Join(used, " "), i) {
			if !g.chance(5) {
				continue
			}
		} else {
			used = append(used, i)
		}
		at := `"TableName":"` + t.name + `",`
		key := quote(t.keys[0]) + `:{"` + t.kinds[0] + `":"` + value + `"}`
		g.names, g.values = nil, nil
		var s string
		switch g.IntN(4) {
		case 0:
			s = `{"Put":{` + at + `"Item":{` + key + g.fields() + `}` + g.plainGuard()
		case 1:
			s = `{"Update":{` + at + `"Key":{` + key + `},"UpdateExpression":` + quote(g.plainUpdate()) + g.plainGuard()
		case 2:
			s = `{"Delete":{` + at + `"Key":{` + key + `}` + g.plainGuard()
		default:
			s = `{"ConditionCheck":{` + at + `"Key":{` + key + `},"ConditionExpression":` + quote(g.plainCondition()) + g.placeholders()
		}
		if g.chance(40) {
			s += `,"ReturnValuesOnConditionCheckFailure":"ALL_OLD"`
		}
		parts = append(parts, s+"}}")
	}
	body := `{"TransactItems":[` + strings.Join(parts, ",") + `]}`
	g.add("TransactWriteItems", body)
	g.add("Scan", `{"TableName":"leases"}`)
	g.add("Scan", `{"TableName":"numbers"}`)
}

// plainReads makes a TransactGetItems.
func (g *generator) plainReads() {
	var parts []string
	for _, value := range []string{"1", "2", "3"}[:1+g.IntN(3)] {
		t := schemas[g.IntN(2)]
		s := `{"Get":{"TableName":"` + t.name + `","Key":{"k":{"` + t.kinds[0] + `":"` + value + `"}}`
		if g.chance(30) {
			s += `,"ProjectionExpression":"n, o"`
		}
		parts = append(parts, s+"}}")
	}
	g.add("TransactGetItems", `{"TransactItems":[`+strings.Join(parts, ",")+`]}`)
}
