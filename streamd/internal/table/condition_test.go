package table_test

import (
	"strings"
	"testing"
)

const conditionItem = `{"k":{"S":"key"},"s":{"S":"hello"},"n":{"N":"10"},"b":{"B":"AQI="},
	"t":{"BOOL":true},"z":{"NULL":true},"ss":{"SS":["x","y"]},"ns":{"NS":["1","2.50"]},"bs":{"BS":["AQ=="]},
	"l":{"L":[{"S":"a"},{"N":"7"},{"M":{"deep":{"S":"down"}}}]},"m":{"M":{"a":{"M":{"c":{"N":"3"}}},"e":{"M":{}}}},
	"size":{"N":"1"},"with space":{"S":"w"}}`

const conditionValues = `{":s":{"S":"hello"},":he":{"S":"he"},":i":{"S":"i"},":n":{"N":"10.0"},":n5":{"N":"5"},":n20":{"N":"2e1"},
	":b":{"B":"AQI="},":b1":{"B":"AQ=="},":b9":{"B":"CQ=="},":t":{"BOOL":true},":f":{"BOOL":false},":z":{"NULL":true},
	":ss":{"SS":["y","x"]},":ns":{"NS":["2.5","1"]},":x":{"S":"x"},":n1":{"N":"1"},":n7":{"N":"7"},":a":{"S":"a"},
	":tS":{"S":"S"},":tM":{"S":"M"},":tN":{"S":"N"},":l":{"L":[{"S":"a"}]},":m":{"M":{"c":{"N":"3.0"}}},":n3":{"N":"3"},":n2":{"N":"2"},
	":down":{"S":"down"},":n0":{"N":"0"}}`

// TestConditionExpression evaluates expressions on a fixed item.
func TestConditionExpression(t *testing.T) {
	for _, tt := range []struct {
		expr string
		want bool
	}{
		{"s = :s", true},
		{"s = :he", false},
		{"s = :n", false},
		{"n = :n", true},
		{":n = n", true},
		{"b = :b", true},
		{"t = :t", true},
		{"t = :f", false},
		{"z = :z", true},
		{"ss = :ss", true},
		{"ns = :ns", true},
		{"m.a = :m", true},
		{"l = :l", false},
		{"absent = :s", false},
		{"s <> :s", false},
		{"s <> :he", true},
		{"s <> :n", true},
		{"absent <> :s", true},
		{"n < :n20", true},
		{"n < :n", false},
		{"n < :s", false},
		{"absent < :n", false},
		{"n <= :n", true},
		{"n <= :n5", false},
		{"n > :n5", true},
		{"n > :n", false},
		{"n >= :n", true},
		{"n >= :n20", false},
		{"s > :he", true},
		{"b > :b1", true},
		{"b < :b9", true},
		{"n BETWEEN :n5 AND :n20", true},
		{"n BETWEEN :n AND :n", true},
		{"n between :n20 and :n20", false},
		{"s BETWEEN :he AND :i", true},
		{"s BETWEEN :n5 AND :n20", false},
		{":n5 BETWEEN :n5 AND n", true},
		{"n IN (:n5, :n)", true},
		{"n IN (:n5)", false},
		{"s in (:he, s)", true},
		{"absent IN (:n5)", false},
		{"attribute_exists(s)", true},
		{"attribute_exists(absent)", false},
		{"attribute_exists(m.a.c)", true},
		{"attribute_exists(m.a.x)", false},
		{"attribute_exists(m[0])", false},
		{"attribute_exists(l.a)", false},
		{"attribute_exists(l[2].deep)", true},
		{"attribute_exists(l[3])", false},
		{"attribute_not_exists(absent)", true},
		{"attribute_not_exists(s)", false},
		{"attribute_type(s, :tS)", true},
		{"attribute_type(m, :tM)", true},
		{"attribute_type(s, :tN)", false},
		{"attribute_type(absent, :tN)", false},
		{"begins_with(s, :he)", true},
		{"begins_with(s, :i)", false},
		{"begins_with(b, :b1)", true},
		{"begins_with(n, :b1)", false},
		{"begins_with(absent, :he)", false},
		{"contains(s, :he)", true},
		{"contains(s, :i)", false},
		{"contains(b, :b1)", true},
		{"contains(ss, :x)", true},
		{"contains(ss, :s)", false},
		{"contains(ss, :n1)", false},
		{"contains(ns, :n1)", true},
		{"contains(bs, :b1)", true},
		{"contains(l, :a)", true},
		{"contains(l, :n7)", true},
		{"contains(l, :s)", false},
		{"contains(n, :n1)", false},
		{"contains(absent, :x)", false},
		{"size(s) = :n5", true},
		{"size(b) = :n2", true},
		{"size(ss) = :n2", true},
		{"size(l) = :n3", true},
		{"size(m) = :n2", true},
		{"size(m.e) = :n0", true},
		{"size(n) > :n0", false},
		{"size(absent) >= :n0", false},
		{":n5 = size(s)", true},
		{"size(s) BETWEEN :n5 AND :n20", true},
		{"size(s) IN (:n5)", true},
		{"#size = :n1", true},
		{"#sp = :he", false},
		{"m.#a.c = :n3", true},
		{"m.a.c = :n3", true},
		{"l[1] = :n7", true},
		{"l[2].deep = :down", true},
		{"l [ 2 ] . deep = :down", true},
		{"s = :s AND n = :n", true},
		{"s = :he AND n = :n", false},
		{"s = :he OR n = :n", true},
		{"s = :he OR n = :n5", false},
		{"NOT s = :he", true},
		{"not not s = :s", true},
		{"NOT (s = :s OR n = :n)", false},
		{"s = :s OR n = :n5 AND n = :n20", true}, // AND binds first
		{"(s = :s OR n = :n5) AND n = :n20", false},
		{"NOT s = :he AND n = :n", true}, // NOT binds before AND
		{"NOT attribute_exists(absent) AND (n = :n)", true},
		{"(s) = (:s)", true},
		{"(n) BETWEEN (:n5) AND (:n20)", true},
		{"(size(s)) = :n5", true},
		{"((s = :s) AND (n = :n))", true},
		{"s=:s and\tn=:n\n", true},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			r := newRig()
			r.hashTable(t, "S")
			r.put(t, conditionItem)
			names := ""
			for name, attribute := range map[string]string{"#size": "size", "#sp": "with space", "#a": "a"} {
				if strings.Contains(tt.expr, name) {
					names = `"ExpressionAttributeNames":{` + quote(name) + ":" + quote(attribute) + "},"
				}
			}
			body := `{"TableName":"tab","Item":{"k":{"S":"key"}},` + names + `"ConditionExpression":` + quote(tt.expr)
			if v := only(t, conditionValues, tt.expr); v != "" {
				body += `,"ExpressionAttributeValues":` + v
			}
			if tt.want {
				r.want(t, "PutItem", body+"}", "{}")
				return
			}
			r.refuse(t, "PutItem", body+"}", failedText)
		})
	}
}

// TestConditionOnMissingItem evaluates conditions where there is no item.
func TestConditionOnMissingItem(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	for _, tt := range []struct {
		expr string
		want bool
	}{
		{"attribute_not_exists(k)", true},
		{"attribute_exists(k)", false},
		{"k <> k2", true},
		{"NOT attribute_exists(k)", true},
	} {
		body := `{"TableName":"tab","Key":{"k":{"S":"none"}},"ConditionExpression":` + quote(tt.expr) + `}`
		if tt.want {
			r.want(t, "DeleteItem", body, "{}")
			continue
		}
		members := r.members(t, "DeleteItem", strings.TrimSuffix(body, "}")+`,"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}`, failedText)
		if members != "" {
			t.Errorf("Members = %s without an item", members)
		}
	}
}

// TestExpected evaluates the older conditions on a fixed item.
func TestExpected(t *testing.T) {
	for _, tt := range []struct {
		name, expected string
		or             bool
		want           string // "" holds, "failed" or a message
	}{
		{name: "value", expected: `"n":{"Value":{"N":"10.00"}}`},
		{name: "value differs", expected: `"n":{"Value":{"N":"11"}}`, want: "failed"},
		{name: "value of absent", expected: `"absent":{"Value":{"N":"11"}}`, want: "failed"},
		{name: "exists true", expected: `"n":{"Exists":true,"Value":{"N":"10"}}`},
		{name: "exists false", expected: `"absent":{"Exists":false}`},
		{name: "exists false of present", expected: `"n":{"Exists":false}`, want: "failed"},
		{name: "two hold", expected: `"n":{"Value":{"N":"10"}},"absent":{"Exists":false}`},
		{name: "one of two fails", expected: `"n":{"Value":{"N":"10"}},"s":{"Exists":false}`, want: "failed"},
		{name: "one of two fails, or", expected: `"n":{"Value":{"N":"10"}},"s":{"Exists":false}`, or: true},
		{name: "none of two, or", expected: `"n":{"Value":{"N":"1"}},"s":{"Exists":false}`, or: true, want: "failed"},
		{name: "EQ", expected: `"s":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"hello"}]}`},
		{name: "EQ with Value", expected: `"s":{"ComparisonOperator":"EQ","Value":{"S":"hello"}}`},
		{name: "EQ set", expected: `"ss":{"ComparisonOperator":"EQ","AttributeValueList":[{"SS":["y","x"]}]}`},
		{name: "NE", expected: `"s":{"ComparisonOperator":"NE","AttributeValueList":[{"S":"x"}]}`},
		{name: "NE of equal", expected: `"s":{"ComparisonOperator":"NE","AttributeValueList":[{"S":"hello"}]}`, want: "failed"},
		{name: "LE", expected: `"n":{"ComparisonOperator":"LE","AttributeValueList":[{"N":"10"}]}`},
		{name: "LT", expected: `"n":{"ComparisonOperator":"LT","AttributeValueList":[{"N":"10"}]}`, want: "failed"},
		{name: "GE", expected: `"n":{"ComparisonOperator":"GE","AttributeValueList":[{"N":"9.99"}]}`},
		{name: "GT", expected: `"n":{"ComparisonOperator":"GT","AttributeValueList":[{"N":"9"}]}`},
		{name: "GT of another type", expected: `"n":{"ComparisonOperator":"GT","AttributeValueList":[{"S":"9"}]}`, want: "failed"},
		{name: "NOT_NULL", expected: `"s":{"ComparisonOperator":"NOT_NULL"}`},
		{name: "NOT_NULL of absent", expected: `"absent":{"ComparisonOperator":"NOT_NULL"}`, want: "failed"},
		{name: "NULL", expected: `"absent":{"ComparisonOperator":"NULL"}`},
		{name: "NULL of a null value", expected: `"z":{"ComparisonOperator":"NULL"}`, want: "failed"},
		{name: "CONTAINS", expected: `"s":{"ComparisonOperator":"CONTAINS","AttributeValueList":[{"S":"ell"}]}`},
		{name: "CONTAINS in a set", expected: `"ss":{"ComparisonOperator":"CONTAINS","AttributeValueList":[{"S":"y"}]}`},
		{name: "NOT_CONTAINS", expected: `"s":{"ComparisonOperator":"NOT_CONTAINS","AttributeValueList":[{"S":"ell"}]}`, want: "failed"},
		{name: "NOT_CONTAINS of absent", expected: `"absent":{"ComparisonOperator":"NOT_CONTAINS","AttributeValueList":[{"S":"ell"}]}`},
		{name: "BEGINS_WITH", expected: `"s":{"ComparisonOperator":"BEGINS_WITH","AttributeValueList":[{"S":"he"}]}`},
		{name: "IN", expected: `"s":{"ComparisonOperator":"IN","AttributeValueList":[{"S":"x"},{"S":"hello"}]}`},
		{name: "IN without", expected: `"s":{"ComparisonOperator":"IN","AttributeValueList":[{"S":"x"}]}`, want: "failed"},
		{name: "BETWEEN", expected: `"n":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"1"},{"N":"100"}]}`},
		{name: "BETWEEN outside", expected: `"n":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"11"},{"N":"100"}]}`, want: "failed"},

		{name: "no value", expected: `"n":{}`, want: parameters + "Value must be provided when Exists is null for Attribute: n"},
		{name: "exists without value", expected: `"n":{"Exists":true}`, want: parameters + "Value must be provided when Exists is true for Attribute: n"},
		{name: "not exists with value", expected: `"n":{"Exists":false,"Value":{"N":"1"}}`, want: parameters + "Value cannot be used when Exists is false for Attribute: n"},
		{name: "list without operator", expected: `"n":{"AttributeValueList":[{"N":"1"}]}`, want: parameters + "AttributeValueList can only be used with a ComparisonOperator for Attribute: n"},
		{name: "value and list", expected: `"n":{"ComparisonOperator":"EQ","Value":{"N":"1"},"AttributeValueList":[{"N":"1"}]}`, want: parameters + "Value and AttributeValueList cannot be used together for Attribute: n"},
		{name: "exists and operator", expected: `"n":{"ComparisonOperator":"EQ","Exists":true,"Value":{"N":"1"}}`, want: parameters + "Exists and ComparisonOperator cannot be used together for Attribute: n"},
		{name: "operator without values", expected: `"n":{"ComparisonOperator":"EQ"}`, want: parameters + "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: n"},
		{name: "too many values", expected: `"n":{"ComparisonOperator":"EQ","AttributeValueList":[{"N":"1"},{"N":"2"}]}`, want: parameters + "Invalid number of argument(s) for the EQ ComparisonOperator"},
		{name: "NULL with value", expected: `"n":{"ComparisonOperator":"NULL","Value":{"N":"1"}}`, want: parameters + "Invalid number of argument(s) for the NULL ComparisonOperator"},
		{name: "mixed types", expected: `"n":{"ComparisonOperator":"IN","AttributeValueList":[{"N":"1"},{"S":"2"}]}`, want: parameters + "AttributeValues inside AttributeValueList must be of same type"},
		{name: "unordered type", expected: `"n":{"ComparisonOperator":"LT","AttributeValueList":[{"BOOL":true}]}`, want: parameters + "ComparisonOperator LT is not valid for BOOL AttributeValue type"},
		{name: "begins with number", expected: `"n":{"ComparisonOperator":"BEGINS_WITH","AttributeValueList":[{"N":"1"}]}`, want: parameters + "ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type"},
		{name: "bounds exchanged", expected: `"n":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"2"},{"N":"1"}]}`, want: validation + "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"},
		{name: "unknown operator", expected: `"n":{"ComparisonOperator":"LIKE"}`, want: validation + "1 validation error detected: Value 'LIKE' at 'expected.n.member.comparisonOperator' failed to satisfy constraint: Member must satisfy enum value set: [IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig()
			r.hashTable(t, "S")
			r.put(t, conditionItem)
			or := ""
			if tt.or {
				or = `,"ConditionalOperator":"OR"`
			}
			body := `{"TableName":"tab","Key":{"k":{"S":"key"}},"Expected":{` + tt.expected + `}` + or + `}`
			switch tt.want {
			case "":
				r.want(t, "DeleteItem", body, "{}")
			case "failed":
				r.refuse(t, "DeleteItem", body, failedText)
			default:
				r.refuse(t, "DeleteItem", body, tt.want)
			}
		})
	}
}
