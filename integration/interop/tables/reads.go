package tables

import (
	"fmt"
	"strings"
)

// filter returns a filter, or none.
func (g *generator) filter(t schema, legacy string) string {
	switch n := g.IntN(10); {
	case n < 5:
		return ""
	case n < 8:
		return `,"FilterExpression":` + quote(g.condition(t, 1))
	default:
		s := `,"` + legacy + `":{"` + g.one(attributes...) + `":` + g.legacyCondition() + `}`
		if g.chance(10) {
			s += `,"ConditionalOperator":"OR"`
		}
		return s
	}
}

// reads returns parameters that Scan and Query have in common, and whether all
// pages should be read.
func (g *generator) reads() (s string, all bool) {
	if g.chance(25) {
		s += `,"Select":"` + g.one("COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "COUNT") + `"`
	}
	if g.chance(20) {
		s += `,"ConsistentRead":` + g.one("true", "false")
	}
	if g.chance(30) {
		return s + fmt.Sprintf(`,"Limit":%d`, 1+g.IntN(5)) + g.capacity(), true
	}
	return s + g.capacity(), false
}

// query makes a Query.
func (g *generator) query() {
	t := schemas[2+g.IntN(len(schemas)-2)]
	if g.chance(10) {
		t = g.table()
	}
	by := t
	body := `"TableName":"` + g.tableName(t) + `"`
	if len(t.indexes) > 0 && g.chance(50) {
		by = t.indexes[g.IntN(len(t.indexes))]
		body += `,"IndexName":"` + by.name + `"`
	} else if g.chance(2) {
		body += `,"IndexName":"nothere"`
	}
	hash, rng := g.indexValue(by, 0), ""
	if len(by.keys) > 1 {
		rng = g.indexValue(by, 1)
	}
	legacy := g.chance(25)
	switch {
	case legacy:
		body += `,"KeyConditions":{"` + by.keys[0] + `":{"ComparisonOperator":"` + g.one("EQ", "EQ", "EQ", "EQ", "EQ", "EQ", "LT") + `","AttributeValueList":[` + hash + `]}`
		if rng != "" && g.chance(50) {
			op := g.one("EQ", "LT", "LE", "GT", "GE", "BETWEEN", "BEGINS_WITH", "NE")
			list := rng
			if op == "BETWEEN" {
				list += "," + g.indexValue(by, 1)
			}
			body += `,"` + by.keys[1] + `":{"ComparisonOperator":"` + op + `","AttributeValueList":[` + list + `]}`
		}
		body += "}"
	default:
		e := by.keys[0] + " = " + g.literal(hash)
		if rng != "" && g.chance(60) {
			k := by.keys[1]
			switch g.IntN(5) {
			case 0:
				e += " AND " + k + " BETWEEN " + g.literal(rng) + " AND " + g.literal(g.indexValue(by, 1))
			case 1:
				e += " AND begins_with(" + k + ", " + g.literal(rng) + ")"
			default:
				e += " AND " + k + " " + g.one("=", "<", "<=", ">", ">=") + " " + g.literal(rng)
			}
		}
		if g.chance(4) {
			e = g.one(by.keys[0]+" > "+g.literal(hash), "a = "+g.literal(hash), by.keys[0]+" = "+g.literal(hash)+" OR a = "+g.literal(hash), "", by.keys[0], "attribute_exists("+by.keys[0]+")", by.keys[0]+" = "+g.literal(hash)+" AND "+by.keys[0]+" = "+g.literal(hash))
		}
		body += `,"KeyConditionExpression":` + quote(e)
	}
	if legacy {
		if g.chance(20) {
			body += `,"QueryFilter":{"` + g.one(attributes...) + `":` + g.legacyCondition() + `}`
		}
	} else if g.chance(40) {
		body += `,"FilterExpression":` + quote(g.condition(t, 1))
	}
	if !legacy && g.chance(25) {
		body += `,"ProjectionExpression":` + quote(g.projection())
	}
	if g.chance(40) {
		body += `,"ScanIndexForward":` + g.one("true", "false")
	}
	more, all := g.reads()
	if !legacy || len(g.values) > 0 {
		body += g.placeholders()
	}
	g.list = append(g.list, Request{Op: "Query", Body: "{" + body + more + "}", All: all})
}

// indexValue returns a value for a part of the key of a table or an index.
func (g *generator) indexValue(by schema, i int) string {
	switch by.keys[i] {
	case "o":
		return `{"S":"` + g.one("w1", "w2", "w3") + `"}`
	case "n":
		return `{"N":"` + g.one("0", "3", "7", "12") + `"}`
	}
	if g.chance(2) {
		return g.value(3)
	}
	return g.keyValue(by.kinds[i])
}

// scan makes a Scan.
func (g *generator) scan() {
	t := g.table()
	body := `"TableName":"` + g.tableName(t) + `"`
	if len(t.indexes) > 0 && g.chance(30) {
		body += `,"IndexName":"` + t.indexes[g.IntN(len(t.indexes))].name + `"`
	}
	f := g.filter(t, "ScanFilter")
	body += f
	if strings.Contains(f, "FilterExpression") || f == "" {
		if g.chance(25) {
			body += `,"ProjectionExpression":` + quote(g.projection())
		}
		body += g.placeholders()
	} else if g.chance(20) {
		body += `,"AttributesToGet":["` + g.one(attributes...) + `"]`
	}
	more, all := g.reads()
	if g.chance(3) {
		more += g.one(`,"Segment":0`, `,"TotalSegments":2`, `,"Segment":2,"TotalSegments":2`, `,"Segment":-1,"TotalSegments":2`, `,"Segment":0,"TotalSegments":1000001`)
	} else if g.chance(5) {
		more += `,"Segment":0,"TotalSegments":1`
	}
	if g.chance(2) {
		more += `,"ExclusiveStartKey":{` + g.key(t) + `,"more":{"S":"x"}}`
	}
	g.list = append(g.list, Request{Op: "Scan", Body: "{" + body + more + "}", All: all})
}
