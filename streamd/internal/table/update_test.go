package table_test

import (
	"strconv"
	"strings"
	"testing"
)

// TestUpdateExpression applies expressions to a fixed item.
func TestUpdateExpression(t *testing.T) {
	const item = `{"k":{"S":"key"},"n":{"N":"10"},"s":{"S":"x"},"l":{"L":[{"S":"a"},{"S":"b"},{"S":"c"}]},
		"m":{"M":{"x":{"N":"1"},"y":{"M":{}}}},"ss":{"SS":["p","q"]},"ns":{"NS":["1","2"]}}`
	const values = `{":one":{"N":"1"},":half":{"N":"0.5"},":v":{"S":"new"},":w":{"S":"w"},":list":{"L":[{"S":"z"}]},":ss":{"SS":["q","r"]},
		":all":{"SS":["p","q"]},":ns":{"NS":["2.0","3"]},":bs":{"BS":["AQ=="]},":big":{"N":"1E125"},":fine":{"N":"1E-38"}}`
	for _, tt := range []struct {
		expr string
		want string // changed attributes of the item by UPDATED_NEW, or an error
	}{
		{"SET a = :v", `{"Attributes":{"a":{"S":"new"}}}`},
		{"SET s = :v", `{"Attributes":{"s":{"S":"new"}}}`},
		{"set s = :v, a = s", `{"Attributes":{"a":{"S":"x"},"s":{"S":"new"}}}`},
		{"SET n = n + :one", `{"Attributes":{"n":{"N":"11"}}}`},
		{"SET n = n - :half", `{"Attributes":{"n":{"N":"9.5"}}}`},
		{"SET n = :one - n", `{"Attributes":{"n":{"N":"-9"}}}`},
		{"SET n = (n + :one)", `{"Attributes":{"n":{"N":"11"}}}`},
		{"SET n = (n) - (:one)", `{"Attributes":{"n":{"N":"9"}}}`},
		{"SET c = if_not_exists(c, :one)", `{"Attributes":{"c":{"N":"1"}}}`},
		{"SET n = if_not_exists(n, :one)", `{"Attributes":{"n":{"N":"10"}}}`},
		{"SET c = if_not_exists(c, n) + :one", `{"Attributes":{"c":{"N":"11"}}}`},
		{"SET c = if_not_exists(c, if_not_exists(d, :one))", `{"Attributes":{"c":{"N":"1"}}}`},
		{"SET l = list_append(l, :list)", `{"Attributes":{"l":{"L":[{"S":"a"},{"S":"b"},{"S":"c"},{"S":"z"}]}}}`},
		{"SET l = list_append(:list, l)", `{"Attributes":{"l":{"L":[{"S":"z"},{"S":"a"},{"S":"b"},{"S":"c"}]}}}`},
		{"SET e = list_append(if_not_exists(e, :list), :list)", `{"Attributes":{"e":{"L":[{"S":"z"},{"S":"z"}]}}}`},
		{"SET l[1] = :v", `{"Attributes":{"l":{"L":[{"S":"new"}]}}}`},
		{"SET l[7] = :w, l[5] = :v", `{"Attributes":{}}`}, // appended in the order of their indexes, which UPDATED_NEW cannot name
		{"SET m.z = :v", `{"Attributes":{"m":{"M":{"z":{"S":"new"}}}}}`},
		{"SET m.x = m.x + :one, m.y.q = :v", `{"Attributes":{"m":{"M":{"x":{"N":"2"},"y":{"M":{"q":{"S":"new"}}}}}}}`},
		{"REMOVE s", `{}`},
		{"REMOVE absent, m.x, m.nothing", `{}`},
		{"ADD n :one", `{"Attributes":{"n":{"N":"11"}}}`},
		{"ADD c :one", `{"Attributes":{"c":{"N":"1"}}}`},
		{"ADD ss :ss", `{"Attributes":{"ss":{"SS":["p","q","r"]}}}`},
		{"ADD t :ss", `{"Attributes":{"t":{"SS":["q","r"]}}}`},
		{"ADD ns :ns", `{"Attributes":{"ns":{"NS":["1","2","3"]}}}`},
		{"ADD m.x :one", `{"Attributes":{"m":{"M":{"x":{"N":"2"}}}}}`},
		{"DELETE ss :ss", `{"Attributes":{"ss":{"SS":["p"]}}}`},
		{"DELETE ss :all", `{}`},
		{"DELETE absent :ss", `{}`},
		{"DELETE ns :ns", `{"Attributes":{"ns":{"NS":["1"]}}}`},
		{"SET a = :v REMOVE s ADD n :one DELETE ss :ss", `{"Attributes":{"a":{"S":"new"},"n":{"N":"11"},"ss":{"SS":["p"]}}}`},

		{"SET k = :v", parameters + "Cannot update attribute k. This attribute is part of the key"},
		{"SET a = absent", validation + "The provided expression refers to an attribute that does not exist in the item"},
		{"SET a = absent + :one", validation + "The provided expression refers to an attribute that does not exist in the item"},
		{"SET a = s + :one", validation + "An operand in the update expression has an incorrect data type"},
		{"SET a = list_append(s, :list)", validation + "An operand in the update expression has an incorrect data type"},
		{"SET absent.x = :v", validation + "The document path provided in the update expression is invalid for update"},
		{"SET s.x = :v", validation + "The document path provided in the update expression is invalid for update"},
		{"SET m[0] = :v", validation + "The document path provided in the update expression is invalid for update"},
		{"REMOVE l.x", validation + "The document path provided in the update expression is invalid for update"},
		{"ADD s :one", validation + "An operand in the update expression has an incorrect data type"},
		{"ADD ss :ns", validation + "An operand in the update expression has an incorrect data type"},
		{"DELETE ss :bs", validation + "An operand in the update expression has an incorrect data type"},
		{"SET n = n + :big", validation + "Attempting to store more than 38 significant digits in a Number"},
		{"SET n = n + :fine", validation + "Attempting to store more than 38 significant digits in a Number"},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			r := newRig()
			r.hashTable(t, "S")
			r.put(t, item)
			body := `{"TableName":"tab","Key":{"k":{"S":"key"}},"ReturnValues":"UPDATED_NEW","UpdateExpression":` + quote(tt.expr)
			if v := only(t, values, tt.expr); v != "" {
				body += `,"ExpressionAttributeValues":` + v
			}
			before := string(r.set.AppendSnapshot(nil))
			switch {
			case strings.HasPrefix(tt.want, validation):
				r.refuse(t, "UpdateItem", body+"}", tt.want)
				if string(r.set.AppendSnapshot(nil)) != before {
					t.Error("a refused update changed the table")
				}
			case tt.want == `{"Attributes":{}}`:
				r.want(t, "UpdateItem", body+"}", "{}")
				r.want(t, "GetItem", `{"TableName":"tab","Key":{"k":{"S":"key"}},"AttributesToGet":["l"]}`,
					`{"Item":{"l":{"L":[{"S":"a"},{"S":"b"},{"S":"c"},{"S":"new"},{"S":"w"}]}}}`)
			default:
				r.want(t, "UpdateItem", body+"}", tt.want)
			}
		})
	}
}

// TestUpdateMultiplies tries to make much of a large attribute.
func TestUpdateMultiplies(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	list := strings.Repeat(`{"NULL":true},`, 150_000)
	r.put(t, `{"k":{"S":"key"},"l":{"L":[`+list[:len(list)-1]+`]}}`)
	const body = `{"TableName":"tab","Key":{"k":{"S":"key"}},"UpdateExpression":`
	var copies, nested []string
	for i := range 150 {
		copies = append(copies, "c"+strconv.Itoa(i)+" = l")
	}
	for range 100 {
		nested = append(nested, "list_append(l, ")
	}
	r.refuse(t, "UpdateItem", body+quote("SET "+strings.Join(copies, ", "))+"}", validation+"Item size to update has exceeded the maximum allowed size")
	r.refuse(t, "UpdateItem", body+quote("SET l = "+strings.Join(nested, "")+"l"+strings.Repeat(")", 100))+"}", validation+"Item size to update has exceeded the maximum allowed size")
}

// TestRemoveFromList removes by the indexes that the list had before.
func TestRemoveFromList(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	r.put(t, `{"k":{"S":"key"},"l":{"L":[{"N":"0"},{"N":"1"},{"N":"2"},{"N":"3"},{"N":"4"}]}}`)
	r.want(t, "UpdateItem", `{"TableName":"tab","Key":{"k":{"S":"key"}},"ReturnValues":"ALL_NEW",
		"UpdateExpression":"REMOVE l[0], l[3], l[1], l[9] SET l[4] = :v","ExpressionAttributeValues":{":v":{"S":"end"}}}`,
		`{"Attributes":{"k":{"S":"key"},"l":{"L":[{"N":"2"},{"S":"end"}]}}}`)
}

// TestAttributeUpdates applies the older form of updates.
func TestAttributeUpdates(t *testing.T) {
	const item = `{"k":{"S":"key"},"n":{"N":"10"},"s":{"S":"x"},"ss":{"SS":["p","q"]}}`
	for _, tt := range []struct {
		name, updates, want string // want is ALL_NEW without k, or an error
	}{
		{"put", `"a":{"Action":"PUT","Value":{"S":"v"}}`, `"a":{"S":"v"},"n":{"N":"10"},"s":{"S":"x"},"ss":{"SS":["p","q"]}`},
		{"put by default", `"s":{"Value":{"S":"v"}}`, `"n":{"N":"10"},"s":{"S":"v"},"ss":{"SS":["p","q"]}`},
		{"add", `"n":{"Action":"ADD","Value":{"N":"-1"}}`, `"n":{"N":"9"},"s":{"S":"x"},"ss":{"SS":["p","q"]}`},
		{"add to nothing", `"c":{"Action":"ADD","Value":{"N":"3"}}`, `"c":{"N":"3"},"n":{"N":"10"},"s":{"S":"x"},"ss":{"SS":["p","q"]}`},
		{"add to a set", `"ss":{"Action":"ADD","Value":{"SS":["r","p"]}}`, `"n":{"N":"10"},"s":{"S":"x"},"ss":{"SS":["p","q","r"]}`},
		{"delete", `"s":{"Action":"DELETE"}`, `"n":{"N":"10"},"ss":{"SS":["p","q"]}`},
		{"delete nothing", `"absent":{"Action":"DELETE"}`, `"n":{"N":"10"},"s":{"S":"x"},"ss":{"SS":["p","q"]}`},
		{"delete from a set", `"ss":{"Action":"DELETE","Value":{"SS":["q"]}}`, `"n":{"N":"10"},"s":{"S":"x"},"ss":{"SS":["p"]}`},
		{"a name with dots is one name", `"a.b":{"Value":{"S":"v"}}`, `"a.b":{"S":"v"},"n":{"N":"10"},"s":{"S":"x"},"ss":{"SS":["p","q"]}`},
		{"the last of two", `"s":{"Action":"DELETE"},"s":{"Value":{"S":"v"}}`, `"n":{"N":"10"},"s":{"S":"v"},"ss":{"SS":["p","q"]}`},
		{"none", ``, `"n":{"N":"10"},"s":{"S":"x"},"ss":{"SS":["p","q"]}`},

		{"key", `"k":{"Value":{"S":"v"}}`, parameters + "Cannot update attribute k. This attribute is part of the key"},
		{"put without value", `"s":{"Action":"PUT"}`, parameters + "Only DELETE action is allowed when no attribute value is specified"},
		{"delete of a scalar", `"s":{"Action":"DELETE","Value":{"S":"x"}}`, parameters + "DELETE action with value is not supported for the type S"},
		{"add of a string", `"s":{"Action":"ADD","Value":{"S":"x"}}`, parameters + "ADD action is not supported for the type S"},
		{"add of a wrong type", `"s":{"Action":"ADD","Value":{"N":"1"}}`, validation + "Type mismatch for attribute to update"},
		{"unknown action", `"s":{"Action":"INC","Value":{"N":"1"}}`, validation + "1 validation error detected: Value 'INC' at 'attributeUpdates.s.member.action' failed to satisfy constraint: Member must satisfy enum value set: [ADD, DELETE, PUT]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig()
			r.hashTable(t, "S")
			r.put(t, item)
			body := `{"TableName":"tab","Key":{"k":{"S":"key"}},"ReturnValues":"ALL_NEW","AttributeUpdates":{` + tt.updates + `}}`
			if strings.HasPrefix(tt.want, validation) {
				r.refuse(t, "UpdateItem", body, tt.want)
				return
			}
			got := r.do(t, "UpdateItem", body)
			if got = strings.Replace(got, `"k":{"S":"key"},`, "", 1); got != `{"Attributes":{`+tt.want+`}}` {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestUpdateOfMissingItem says which updates make an item where there is none.
func TestUpdateOfMissingItem(t *testing.T) {
	const key = `{"TableName":"tab","Key":{"k":{"S":"key"}},"ReturnValues":"ALL_NEW"`
	for _, tt := range []struct {
		name, update, want string
	}{
		{"nothing", ``, `{"Attributes":{"k":{"S":"key"}}}`},
		{"put", `,"AttributeUpdates":{"a":{"Value":{"S":"v"}}}`, `{"Attributes":{"a":{"S":"v"},"k":{"S":"key"}}}`},
		{"add", `,"AttributeUpdates":{"a":{"Action":"ADD","Value":{"N":"2"}}}`, `{"Attributes":{"a":{"N":"2"},"k":{"S":"key"}}}`},
		{"delete", `,"AttributeUpdates":{"a":{"Action":"DELETE"}}`, `{}`},
		{"SET", `,"UpdateExpression":"SET a = k"`, `{"Attributes":{"a":{"S":"key"},"k":{"S":"key"}}}`},
		{"REMOVE", `,"UpdateExpression":"REMOVE a"`, `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig()
			r.hashTable(t, "S")
			r.want(t, "UpdateItem", key+tt.update+"}", tt.want)
			stored := `{"Item":` + strings.TrimSuffix(strings.TrimPrefix(tt.want, `{"Attributes":`), "}") + `}`
			if tt.want == "{}" {
				stored = "{}"
			}
			r.want(t, "GetItem", `{"TableName":"tab","Key":{"k":{"S":"key"}}}`, stored)
		})
	}
}

// TestReturnValues goes through what the writes can return.
func TestReturnValues(t *testing.T) {
	const old = `{"k":{"S":"key"},"m":{"M":{"x":{"N":"1"},"y":{"N":"2"}}},"s":{"S":"x"}}`
	const update = `"UpdateExpression":"SET m.x = :v, a = :v REMOVE s","ExpressionAttributeValues":{":v":{"N":"5"}}`
	for _, tt := range []struct {
		op, rest, returns, want string
	}{
		{"UpdateItem", update, "NONE", `{}`},
		{"UpdateItem", update, "ALL_OLD", `{"Attributes":` + old + `}`},
		{"UpdateItem", update, "ALL_NEW", `{"Attributes":{"a":{"N":"5"},"k":{"S":"key"},"m":{"M":{"x":{"N":"5"},"y":{"N":"2"}}}}}`},
		{"UpdateItem", update, "UPDATED_OLD", `{"Attributes":{"m":{"M":{"x":{"N":"1"}}},"s":{"S":"x"}}}`},
		{"UpdateItem", update, "UPDATED_NEW", `{"Attributes":{"a":{"N":"5"},"m":{"M":{"x":{"N":"5"}}}}}`},
		{"DeleteItem", "", "NONE", `{}`},
		{"DeleteItem", "", "ALL_OLD", `{"Attributes":` + old + `}`},
		{"PutItem", "", "NONE", `{}`},
		{"PutItem", "", "ALL_OLD", `{"Attributes":` + old + `}`},
	} {
		t.Run(tt.op+" "+tt.returns, func(t *testing.T) {
			r := newRig()
			r.hashTable(t, "S")
			r.put(t, old)
			where := "Key"
			if tt.op == "PutItem" {
				where = "Item"
			}
			body := `{"TableName":"tab","ReturnValues":"` + tt.returns + `","` + where + `":{"k":{"S":"key"}}`
			if tt.rest != "" {
				body += "," + tt.rest
			}
			r.want(t, tt.op, body+"}", tt.want)
		})
	}
	r := newRig()
	r.hashTable(t, "S")
	r.want(t, "PutItem", `{"TableName":"tab","Item":{"k":{"S":"new"}},"ReturnValues":"ALL_OLD"}`, `{}`)
	r.want(t, "DeleteItem", `{"TableName":"tab","Key":{"k":{"S":"none"}},"ReturnValues":"ALL_OLD"}`, `{}`)
	r.refuse(t, "PutItem", `{"TableName":"tab","Item":{"k":{"S":"new"}},"ReturnValues":"ALL_NEW"}`, validation+"ReturnValues can only be ALL_OLD or NONE")
	r.refuse(t, "DeleteItem", `{"TableName":"tab","Key":{"k":{"S":"new"}},"ReturnValues":"UPDATED_OLD"}`, validation+"ReturnValues can only be ALL_OLD or NONE")
}
