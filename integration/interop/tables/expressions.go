package tables

import (
	"fmt"
	"strings"
)

// name returns a form of the name of an attribute: itself, or a placeholder.
func (g *generator) name() string {
	a := g.one(attributes...)
	if g.chance(30) {
		if g.names == nil {
			g.names = map[string]string{}
		}
		g.names["#"+a] = a
		return "#" + a
	}
	if g.chance(1) {
		return g.one("size", "name", "status", "#undefined", "COUNT")
	}
	return a
}

// path returns a document path.
func (g *generator) path() string {
	switch g.IntN(8) {
	case 0:
		return "m." + g.one("a", "b", "c", "b[0]", "b[1]", "a.a")
	case 1:
		return "l[" + g.one("0", "1", "2", "7") + "]"
	}
	return g.name()
}

// literal returns a placeholder for a value.
func (g *generator) literal(v string) string {
	if !g.calm && g.chance(1) {
		return ":undefined"
	}
	for i, w := range g.values {
		if w == v {
			return fmt.Sprintf(":v%d", i)
		}
	}
	g.values = append(g.values, v)
	return fmt.Sprintf(":v%d", len(g.values)-1)
}

// operand returns an operand of a condition.
func (g *generator) operand() string {
	switch n := g.IntN(12); {
	case n < 6:
		return g.literal(g.attribute(g.one(attributes...)))
	case n < 8:
		return "size(" + g.path() + ")"
	}
	return g.path()
}

// condition returns a condition expression.
func (g *generator) condition(t schema, depth int) string {
	n := g.IntN(20)
	if depth > 2 {
		n = 5 + g.IntN(15)
	}
	switch {
	case n < 2:
		return g.condition(t, depth+1) + g.one(" AND ", " and ") + g.condition(t, depth+1)
	case n == 2:
		return g.condition(t, depth+1) + " OR " + g.condition(t, depth+1)
	case n == 3:
		return g.one("NOT ", "not ") + g.condition(t, depth+1)
	case n == 4:
		return "(" + g.condition(t, depth+1) + ")"
	case n < 7:
		return g.one("attribute_exists(", "attribute_not_exists(") + g.one(g.path(), t.keys[0]) + ")"
	case n == 7:
		return "attribute_type(" + g.path() + ", " + g.literal(`{"S":"`+g.one("S", "N", "M", "L", "SS", "NULL", "X")+`"}`) + ")"
	case n == 8:
		return "begins_with(" + g.path() + ", " + g.literal(g.one(`{"S":"a"}`, `{"S":"w"}`, `{"B":"AQ=="}`, `{"N":"1"}`)) + ")"
	case n == 9:
		return "contains(" + g.path() + ", " + g.operand() + ")"
	case n == 10:
		return g.path() + " BETWEEN " + g.literal(`{"N":"`+g.one("0", "1", "5")+`"}`) + " AND " + g.literal(`{"N":"`+g.one("3", "8")+`"}`)
	case n == 11:
		return g.path() + " IN (" + g.literal(g.attribute("n")) + ", " + g.literal(g.attribute("o")) + ")" // dynalite hangs over others
	case n == 12 && g.chance(30):
		return g.one("a = ", "= :v0", "a AND", "unknown(a)", "a = b c", "(a = b", "a <> ", "size(a)", "a = a", "NOT", "", "a..b = c", "a[x] = b", "a == b", "contains(a)", "((a = b))", "attribute_exists(:v0)", "a.b.c[0][1].d = e", "begins_with(a, b, c)", "a IN ()", "%", "a BETWEEN b")
	}
	return g.path() + " " + g.one("=", "=", "=", "<>", "<", "<=", ">", ">=") + " " + g.operand()
}

// projection returns a projection expression.
func (g *generator) projection() string {
	if g.chance(8) {
		return g.one("a, a", "m.a, m", "a,", "", "a b", "l[0], l[0].x", ":v", "m[0], m.a", "a + b", "size(a)")
	}
	paths := []string{g.path()}
	for range g.IntN(3) {
		if p := g.path(); !strings.Contains(strings.Join(paths, ","), p) {
			paths = append(paths, p)
		}
	}
	return strings.Join(paths, ", ")
}

// setValue returns what an attribute is set to.
func (g *generator) setValue(name string) string {
	switch n := g.IntN(12); {
	case n < 5:
		return g.literal(g.attribute(name))
	case n == 5:
		return g.one("n", "t", "o", "nothing") // dynalite makes a list a part of itself, and hangs
	case n < 8:
		return g.one("n", name, "m.a") + g.one(" + ", " - ") + g.literal(`{"N":"`+g.number()+`"}`)
	case n < 10:
		return "if_not_exists(" + g.path() + ", " + g.literal(g.attribute(name)) + ")"
	case n == 10:
		return "list_append(" + g.one("l", "m.b", g.literal(`{"L":[{"S":"new"}]}`)) + ", " + g.one("l", g.literal(`{"L":[{"N":"0"}]}`)) + ")"
	}
	return "if_not_exists(" + name + ", " + g.literal(`{"N":"0"}`) + ") + " + g.literal(`{"N":"1"}`)
}

// updateExpression returns an update expression.
func (g *generator) updateExpression(t schema) string {
	if g.chance(5) {
		return g.one("SET", "SET a", "SET a = ", "SET a = :v0 SET b = :v0", "REMOVE", "ADD a", "ADD a b", "DELETE a :v0, ", "PUT a = :v0", "SET a = b + c + d",
			"SET a = unknown(b)", "REMOVE a, a", "SET a = b, a.b = c", "", "SET a = if_not_exists(b)", "SET size = a", "SET a = list_append(b)", "SET a = (b)", "SET a = (b + c)", "remove zz", "SET a = if_not_exists(:v0, b)")
	}
	var s []string
	used := map[string]bool{}
	target := func() string {
		p := g.path()
		root := strings.TrimPrefix(strings.FieldsFunc(p, func(c rune) bool { return c == '.' || c == '[' })[0], "#")
		if used[root] && g.chance(95) {
			return ""
		}
		used[root] = true
		return p
	}
	list := func(word string, clause func(p string) string) {
		var clauses []string
		for range 1 + g.IntN(2) {
			if p := target(); p != "" {
				clauses = append(clauses, clause(p))
			}
		}
		if len(clauses) > 0 {
			s = append(s, word+" "+strings.Join(clauses, ", "))
		}
	}
	if g.chance(70) {
		list(g.one("SET", "set"), func(p string) string {
			if g.chance(2) {
				p = t.keys[0]
			}
			return p + " = " + g.setValue(strings.TrimPrefix(p, "#"))
		})
	}
	if g.chance(25) {
		list("REMOVE", func(p string) string { return p })
	}
	if g.chance(25) {
		list("ADD", func(p string) string {
			return p + " " + g.literal(g.one(`{"N":"1"}`, `{"N":"-2.5"}`, `{"SS":["a","z"]}`, `{"NS":["1","5"]}`, `{"N":"1"}`, `{"S":"no"}`))
		})
	}
	if g.chance(20) {
		list("DELETE", func(p string) string {
			return p + " " + g.literal(g.one(`{"SS":["a"]}`, `{"SS":["a","b","c","z"]}`, `{"NS":["1"]}`, `{"NS":["1","2"]}`, `{"N":"1"}`))
		})
	}
	if len(s) == 0 {
		return "REMOVE zz"
	}
	return strings.Join(s, " ")
}

// update makes an UpdateItem with expressions.
func (g *generator) update() {
	t := g.table()
	key := g.key(t)
	body := `"TableName":"` + g.tableName(t) + `","Key":{` + key + `}`
	if g.chance(97) {
		body += `,"UpdateExpression":` + quote(g.updateExpression(t))
	}
	if g.chance(40) {
		body += `,"ConditionExpression":` + quote(g.condition(t, 1))
	}
	body += g.placeholders()
	g.add("UpdateItem", "{"+body+g.returns("NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW", "ALL_NEW", "OTHER")+"}")
	g.look(t, key)
}

// look reads what a write has left.
func (g *generator) look(t schema, key string) {
	g.add("GetItem", `{"TableName":"`+t.name+`","Key":{`+key+`},"ConsistentRead":true}`)
}

// updateLegacy makes an UpdateItem with AttributeUpdates.
func (g *generator) updateLegacy() {
	t := g.table()
	var parts []string
	for _, name := range attributes {
		if !g.chance(20) {
			continue
		}
		var u string
		switch g.IntN(5) {
		case 0:
			u = `"Action":"DELETE"`
		case 1:
			u = `"Action":"ADD","Value":` + g.one(`{"N":"1"}`, `{"NS":["7"]}`, `{"SS":["q"]}`, `{"L":[{"S":"x"}]}`, `{"S":"x"}`)
		case 2:
			u = `"Action":"DELETE","Value":` + g.one(`{"SS":["a"]}`, `{"NS":["1"]}`, `{"S":"x"}`)
		default:
			u = g.one(`"Action":"PUT",`, "") + `"Value":` + g.attribute(name)
		}
		parts = append(parts, quote(name)+":{"+u+"}")
	}
	key := g.key(t)
	body := `"TableName":"` + g.tableName(t) + `","Key":{` + key + `},"AttributeUpdates":{` + strings.Join(parts, ",") + `}`
	if g.chance(60) {
		body += g.expected(t)
	}
	g.add("UpdateItem", "{"+body+g.returns("NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW")+"}")
	g.look(t, key)
}

// legacyCondition returns one entry of a map of conditions.
func (g *generator) legacyCondition() string {
	op := g.one("EQ", "NE", "LT", "LE", "GT", "GE", "NULL", "NOT_NULL", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH", "IN", "BETWEEN")
	var list string
	switch op {
	case "NULL", "NOT_NULL":
		return `{"ComparisonOperator":"` + op + `"}`
	case "BETWEEN":
		list = `{"N":"0"},{"N":"5"}`
	case "IN":
		list = `{"N":"0"},{"N":"1"},{"N":"2"}`
	case "BEGINS_WITH":
		list = g.one(`{"S":"a"}`, `{"S":"w"}`, `{"N":"1"}`)
	case "CONTAINS", "NOT_CONTAINS":
		list = g.one(`{"S":"a"}`, `{"N":"1"}`, `{"SS":["a"]}`)
	default:
		list = g.attribute(g.one("n", "o", "t", "a"))
	}
	if g.chance(5) {
		list += `,{"S":"more"}`
	}
	return `{"ComparisonOperator":"` + op + `","AttributeValueList":[` + list + `]}`
}

// expected returns Expected.
func (g *generator) expected(t schema) string {
	var parts []string
	for range 1 + g.IntN(2) {
		name := g.one(g.one(attributes...), t.keys[0], "n", "o")
		c := g.one(`{"Exists":false}`, `{"Exists":false}`, `{"Value":`+g.attribute(name)+`}`, `{"Value":`+g.attribute(name)+`,"Exists":true}`, g.legacyCondition(), g.legacyCondition())
		if g.chance(4) {
			c = g.one(`{"Exists":true}`, `{}`, `{"Exists":false,"Value":{"S":"x"}}`, `{"ComparisonOperator":"EQ"}`, `{"ComparisonOperator":"ODD","AttributeValueList":[]}`, `{"Value":{"S":"x"},"AttributeValueList":[{"S":"x"}]}`)
		}
		if !strings.Contains(strings.Join(parts, ","), quote(name)+":") {
			parts = append(parts, quote(name)+":"+c)
		}
	}
	s := `,"Expected":{` + strings.Join(parts, ",") + `}`
	if g.chance(20) {
		s += `,"ConditionalOperator":"` + g.one("AND", "OR") + `"`
	}
	return s
}
