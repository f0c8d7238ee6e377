package table_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestQuery queries a table whose range key is of each type.
func TestQuery(t *testing.T) {
	for _, tt := range []struct {
		typ    string
		stored []string // in order
		conds  map[string]string
	}{
		{"N", []string{"-100", "-2.5", "-1", "0", "0.5", "3", "20"}, map[string]string{
			"":                         "-100 -2.5 -1 0 0.5 3 20",
			" AND r = :a":              "-1",
			" AND r < :a":              "-100 -2.5",
			" AND r <= :a":             "-100 -2.5 -1",
			" AND r > :a":              "0 0.5 3 20",
			" AND r >= :a":             "-1 0 0.5 3 20",
			" AND :a < r":              "0 0.5 3 20",
			" AND :a >= r":             "-100 -2.5 -1",
			" AND r BETWEEN :a AND :b": "-1 0 0.5 3",
		}},
		{"S", []string{"a", "b", "ba", "bb", "c", "é"}, map[string]string{
			" AND r = :a":              "b",
			" AND r < :a":              "a",
			" AND r <= :a":             "a b",
			" AND r > :a":              "ba bb c é",
			" AND r >= :a":             "b ba bb c é",
			" AND begins_with(r, :a)":  "b ba bb",
			" AND r BETWEEN :a AND :b": "b ba bb",
		}},
		{"B", []string{"AA==", "AAA=", "AAE=", "AP8=", "AQ==", "//8="}, map[string]string{
			" AND r = :a":              "AA==",
			" AND r > :a":              "AAA= AAE= AP8= AQ== //8=",
			" AND begins_with(r, :a)":  "AA== AAA= AAE= AP8=",
			" AND r BETWEEN :a AND :b": "AA== AAA= AAE= AP8= AQ==",
			" AND r >= :b":             "AQ== //8=",
		}},
	} {
		bounds := map[string][2]string{"N": {"-1", "3"}, "S": {"b", "bb"}, "B": {"AA==", "AQ=="}}[tt.typ]
		r := newRig()
		r.rangeTable(t, tt.typ)
		for i := range tt.stored {
			v := tt.stored[(i*3+1)%len(tt.stored)]
			r.put(t, `{"h":{"S":"x"},"r":{"`+tt.typ+`":"`+v+`"}}`)
		}
		for _, v := range tt.stored {
			for _, h := range []string{"w", "x", "xx", "y"} {
				r.put(t, `{"h":{"S":"`+h+`"},"r":{"`+tt.typ+`":"`+v+`"}}`)
			}
		}
		for cond, want := range tt.conds {
			t.Run(tt.typ+cond, func(t *testing.T) {
				values := only(t, `{":h":{"S":"x"},":a":{"`+tt.typ+`":"`+bounds[0]+`"},":b":{"`+tt.typ+`":"`+bounds[1]+`"}}`, ":h"+cond)
				body := `{"TableName":"tab","KeyConditionExpression":` + quote("h = :h"+cond) + `,"ExpressionAttributeValues":` + values
				if got := r.page(t, "Query", body+"}").values("r"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				back := strings.Fields(r.page(t, "Query", body+`,"ScanIndexForward":false}`).values("r"))
				for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
					back[i], back[j] = back[j], back[i]
				}
				if got := strings.Join(back, " "); got != want {
					t.Errorf("backward: got %q, want %q reversed", got, want)
				}
				for _, forward := range []string{"true", "false"} {
					n, at := 0, ""
					for {
						p := r.page(t, "Query", body+`,"Limit":2,"ScanIndexForward":`+forward+at+`}`)
						n += p.Count
						if p.LastEvaluatedKey == nil {
							break
						}
						at = `,"ExclusiveStartKey":` + string(p.LastEvaluatedKey)
					}
					if n != len(strings.Fields(want)) {
						t.Errorf("forward %s: %d items in pages, want %d", forward, n, len(strings.Fields(want)))
					}
				}
			})
		}
	}
}

// TestLegacyQuery uses KeyConditions and QueryFilter.
func TestLegacyQuery(t *testing.T) {
	r := newRig()
	r.rangeTable(t, "N")
	for i := range 10 {
		r.put(t, fmt.Sprintf(`{"h":{"S":"x"},"r":{"N":"%d"},"odd":{"N":"%d"}}`, i, i%2))
	}
	p := r.page(t, "Query", `{"TableName":"tab","KeyConditions":{"h":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"x"}]},
		"r":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"2"},{"N":"8"}]}},
		"QueryFilter":{"odd":{"ComparisonOperator":"EQ","AttributeValueList":[{"N":"1"}]}},"AttributesToGet":["r"]}`)
	if p.Count != 3 || p.ScannedCount != 7 || p.values("r") != "3 5 7" || p.values("odd") != "" {
		t.Errorf("got %+v", p)
	}
	r.want(t, "Query", `{"TableName":"tab","Select":"COUNT","KeyConditions":{"h":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"x"}]}}}`,
		`{"Count":10,"ScannedCount":10}`)
	r.want(t, "Scan", `{"TableName":"tab","Select":"COUNT","ScanFilter":{"odd":{"ComparisonOperator":"EQ","AttributeValueList":[{"N":"1"}]}}}`,
		`{"Count":5,"ScannedCount":10}`)
}

// TestQueryErrors checks what is said of wrong conditions on the key.
func TestQueryErrors(t *testing.T) {
	const values = `{":h":{"S":"x"},":n":{"N":"1"},":s":{"S":"x"},":e":{"S":""}}`
	for _, tt := range []struct{ expr, rest, want string }{
		{"h = :h OR r = :n", "", "Invalid operator used in KeyConditionExpression: OR"},
		{"NOT h = :h", "", "Invalid operator used in KeyConditionExpression: NOT"},
		{"h <> :h", "", "Invalid operator used in KeyConditionExpression: <>"},
		{"h IN (:h)", "", "Invalid operator used in KeyConditionExpression: IN"},
		{"attribute_exists(h)", "", "Invalid operator used in KeyConditionExpression: attribute_exists"},
		{"contains(h, :h)", "", "Invalid operator used in KeyConditionExpression: contains"},
		{"h = :h AND size(r) = :n", "", "KeyConditionExpressions cannot contain nested operations"},
		{"h.x = :h", "", "KeyConditionExpressions cannot have conditions on nested attributes"},
		{"h = r", "", "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"},
		{":h = :n", "", "Invalid condition in KeyConditionExpression: No key attribute specified"},
		{"h = :h AND h = :h", "", "KeyConditionExpressions must only contain one condition per key"},
		{"h = :h AND :n BETWEEN r AND :n", "", "Invalid condition in KeyConditionExpression: BETWEEN operator must have the key attribute as its first operand"},
		{"r = :n", "", "Query condition missed key schema element: h"},
		{"h = :h AND x = :n", "", "Query condition missed key schema element: r"},
		{"h < :h", "", "Query key condition not supported"},
		{"h = :n", "", "One or more parameter values were invalid: Condition parameter type does not match schema type"},
		{"h = :h AND r = :s", "", "One or more parameter values were invalid: Condition parameter type does not match schema type"},
		{"h = :e", "", "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: h"},
		{"h = :h AND begins_with(r, :n)", "", "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N"},
		{"h = :h", `,"FilterExpression":"r = x"`, "Filter Expression can only contain non-primary key attributes: Primary key attribute: r"},
		{"h = :h", `,"ExclusiveStartKey":{"h":{"S":"x"}}`, "The provided starting key is invalid: The provided key element does not match the schema"},
		{"h = :h", `,"ExclusiveStartKey":{"h":{"S":"y"},"r":{"N":"1"}}`, "The provided starting key is outside query boundaries based on provided conditions"},
		{"h = :h", `,"Select":"SPECIFIC_ATTRIBUTES"`, "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"},
		{"h = :h", `,"Select":"COUNT","ProjectionExpression":"a"`, "Cannot specify the ProjectionExpression when choosing to get COUNT"},
	} {
		t.Run(tt.expr+tt.rest, func(t *testing.T) {
			r := newRig()
			r.rangeTable(t, "N")
			body := `{"TableName":"tab","KeyConditionExpression":` + quote(tt.expr) + tt.rest
			if v := only(t, values, tt.expr); v != "" {
				body += `,"ExpressionAttributeValues":` + v
			}
			r.refuse(t, "Query", body+"}", validation+tt.want)
		})
	}
}

// TestScanSegments scans in parallel segments, in pages of two.
func TestScanSegments(t *testing.T) {
	r := newRig()
	r.rangeTable(t, "N")
	for i := range 200 {
		r.put(t, fmt.Sprintf(`{"h":{"S":"h%d"},"r":{"N":"%d"}}`, i%50, i))
	}
	seen := map[string]int{}
	home := map[string]int{}
	used := 0
	for segment := range 7 {
		at, n := "", 0
		for {
			p := r.page(t, "Scan", `{"TableName":"tab","TotalSegments":7,"Limit":2,"Segment":`+strconv.Itoa(segment)+at+`}`)
			for _, item := range p.Items {
				h, _ := item["h"]["S"].(string)
				id, _ := item["r"]["N"].(string)
				if s, ok := home[h]; ok && s != segment {
					t.Fatalf("items of %s are in segments %d and %d", h, s, segment)
				}
				home[h] = segment
				seen[id]++
				n++
			}
			if p.LastEvaluatedKey == nil {
				break
			}
			at = `,"ExclusiveStartKey":` + string(p.LastEvaluatedKey)
		}
		if n > 0 {
			used++
		}
	}
	if len(seen) != 200 || used < 5 {
		t.Errorf("%d of 200 items seen, in %d segments", len(seen), used)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("item %s seen %d times", id, n)
		}
	}
}

// TestPageSize ends pages at 1 MB of items, counting those that a filter drops.
func TestPageSize(t *testing.T) {
	r := newRig()
	r.hashTable(t, "N")
	for i := range 11 {
		r.put(t, fmt.Sprintf(`{"k":{"N":"%d"},"odd":{"N":"%d"},"v":{"S":"%s"}}`, i, i%2, strings.Repeat("v", 300<<10)))
	}
	var pages []string
	at := ""
	for {
		p := r.page(t, "Scan", `{"TableName":"tab","ProjectionExpression":"k","FilterExpression":"odd = :one","ExpressionAttributeValues":{":one":{"N":"1"}}`+at+`}`)
		pages = append(pages, fmt.Sprintf("%d: %s", p.ScannedCount, p.values("k")))
		if p.LastEvaluatedKey == nil {
			break
		}
		at = `,"ExclusiveStartKey":` + string(p.LastEvaluatedKey)
	}
	if got, want := strings.Join(pages, "; "), "3: 1; 3: 3 5; 3: 7; 2: 9"; got != want {
		t.Errorf("pages %s, want %s", got, want)
	}
}

// TestConsumedCapacity asks for the units that requests used.
func TestConsumedCapacity(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	item := `{"k":{"S":"x"},"v":{"S":"` + strings.Repeat("v", 5000) + `"}}`
	const ask = `,"ReturnConsumedCapacity":"TOTAL"`
	r.want(t, "PutItem", `{"TableName":"tab","Item":`+item+ask+`}`, `{"ConsumedCapacity":{"CapacityUnits":5,"TableName":"tab"}}`)
	r.want(t, "GetItem", `{"TableName":"tab","Key":{"k":{"S":"x"}},"ProjectionExpression":"k"`+ask+`}`, `{"Item":{"k":{"S":"x"}},"ConsumedCapacity":{"CapacityUnits":1,"TableName":"tab"}}`)
	r.want(t, "GetItem", `{"TableName":"tab","Key":{"k":{"S":"x"}},"ProjectionExpression":"k","ConsistentRead":true`+ask+`}`, `{"Item":{"k":{"S":"x"}},"ConsumedCapacity":{"CapacityUnits":2,"TableName":"tab"}}`)
	r.want(t, "Scan", `{"TableName":"tab","Select":"COUNT","ReturnConsumedCapacity":"INDEXES"}`, `{"Count":1,"ScannedCount":1,"ConsumedCapacity":{"CapacityUnits":1,"Table":{"CapacityUnits":1},"TableName":"tab"}}`)
}
