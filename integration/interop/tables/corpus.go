package tables

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// A Request is one request of a corpus.
type Request struct {
	Op   string `json:"op"`
	Body string `json:"body"`
	// All asks for all pages: the answer is the items of all of them.
	All bool `json:"all,omitempty"`
	// Sync says that the request is none of the corpus: see [Record].
	Sync bool `json:"sync,omitempty"`
	// Status and Code are those of the answer that a client took, if the request
	// is a client's. Code is empty if there was no error.
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
}

// seed is the seed of the corpora that the recordings are of.
const seed = 20261126

// Corpora returns the requests for the other servers. Of those made from a seed,
// dynalite gets all that it knows, and moto what dynalite lacks. Those of the KCLs
// are for dynalite too; KCL 3's, with an index that dynalite cannot add, also for
// moto.
func Corpora() (map[string][]Request, error) {
	kcl, err := Captured("*")
	twice, err2 := CapturedTwice("*")
	kcl3, err3 := Captured("kcl3-*")
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	return map[string][]Request{
		"dynalite":  Corpus(seed, 4000, func(op string) bool { return !onlyMoto[op] }),
		"moto":      Gentle(seed, 1500),
		"kcl":       kcl,
		"kcl-twice": twice,
		"kcl3-moto": kcl3,
	}, nil
}

// onlyMoto are the operations that dynalite lacks, and moto has.
var onlyMoto = map[string]bool{
	"TransactWriteItems": true, "TransactGetItems": true, "UpdateTimeToLive": true,
	"UpdateContinuousBackups": true, "DescribeContinuousBackups": true,
}

// Corpus returns the n requests that follow from a seed, of the operations that
// are wanted.
func Corpus(seed uint64, n int, wanted func(op string) bool) []Request {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	for _, t := range schemas {
		g.add("CreateTable", t.create)
	}
	for len(g.list) < n {
		g.step()
		g.list = slices.DeleteFunc(g.list, func(r Request) bool { return !wanted(r.Op) })
	}
	return g.list[:n]
}

// schema is a table of the corpus.
type schema struct {
	name    string
	keys    []string // names of attributes of the key
	kinds   []string // their types
	indexes []schema
	create  string
}

var schemas = []schema{
	{
		name: "leases", keys: []string{"k"}, kinds: []string{"S"},
		create: `{"TableName":"leases","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}`,
	},
	{
		name: "numbers", keys: []string{"k"}, kinds: []string{"N"},
		create: `{"TableName":"numbers","ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5},"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"N"}]}`,
	},
	{
		name: "events", keys: []string{"h", "r"}, kinds: []string{"S", "N"},
		indexes: []schema{
			{name: "byOwner", keys: []string{"o"}, kinds: []string{"S"}},
			{name: "byCount", keys: []string{"o", "n"}, kinds: []string{"S", "N"}},
			{name: "local", keys: []string{"h", "n"}, kinds: []string{"S", "N"}},
		},
		create: `{"TableName":"events","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],` +
			`"AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},{"AttributeName":"r","AttributeType":"N"},{"AttributeName":"o","AttributeType":"S"},{"AttributeName":"n","AttributeType":"N"}],` +
			`"GlobalSecondaryIndexes":[{"IndexName":"byOwner","KeySchema":[{"AttributeName":"o","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}},` +
			`{"IndexName":"byCount","KeySchema":[{"AttributeName":"o","KeyType":"HASH"},{"AttributeName":"n","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"}}],` +
			`"LocalSecondaryIndexes":[{"IndexName":"local","KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"n","KeyType":"RANGE"}],"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["o"]}}]}`,
	},
	{
		name: "blobs", keys: []string{"h", "b"}, kinds: []string{"B", "B"},
		create: `{"TableName":"blobs","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"b","KeyType":"RANGE"}],` +
			`"AttributeDefinitions":[{"AttributeName":"h","AttributeType":"B"},{"AttributeName":"b","AttributeType":"B"}]}`,
	},
	{
		name: "texts", keys: []string{"h", "r"}, kinds: []string{"S", "S"},
		create: `{"TableName":"texts","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],` +
			`"AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},{"AttributeName":"r","AttributeType":"S"}]}`,
	},
}

// generator makes requests.
type generator struct {
	*rand.Rand
	list []Request
	calm bool // no placeholder is wrong

	// Of the request that is being made.
	names  map[string]string
	values []string // JSON of values; :v0, :v1, …
}

func (g *generator) add(op, body string) { g.list = append(g.list, Request{Op: op, Body: body}) }

func (g *generator) one(of ...string) string { return of[g.IntN(len(of))] }

// chance is true p times of a hundred.
func (g *generator) chance(p int) bool { return g.IntN(100) < p }

// kinds of steps, by weight.
var steps = []struct {
	weight int
	do     func(*generator)
}{
	{16, (*generator).put},
	{26, (*generator).update},
	{10, (*generator).updateLegacy},
	{6, (*generator).remove},
	{12, (*generator).get},
	{12, (*generator).query},
	{8, (*generator).scan},
	{4, (*generator).batchGet},
	{5, (*generator).batchWrite},
	{6, (*generator).transactWrite},
	{3, (*generator).transactGet},
	{7, (*generator).settings},
	{6, (*generator).broken},
	{4, (*generator).tables},
}

func (g *generator) step() {
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := g.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			g.names, g.values = nil, nil
			s.do(g)
			return
		}
	}
}

func (g *generator) table() schema { return schemas[g.IntN(len(schemas))] }

// keyValue returns a value of a key, out of few.
func (g *generator) keyValue(kind string) string {
	switch kind {
	case "N":
		return `{"N":"` + g.one("1", "2", "3", "10", "-1", "0", "2.5", "1.0", "1e1") + `"}`
	case "B":
		return `{"B":"` + g.one("AA==", "AQ==", "AQI=", "/w==", "//8=") + `"}`
	}
	return `{"S":"` + g.one("a", "b", "ab", "abc", "é", "z") + `"}`
}

// key returns the members of a key; now and then it does not fit the schema.
func (g *generator) key(t schema) string {
	var parts []string
	wrong := g.IntN(40)
	for i, name := range t.keys {
		kind := t.kinds[i]
		switch {
		case wrong == 0:
			kind = g.one("S", "N", "B")
		case wrong == 1 && i == len(t.keys)-1:
			continue
		case wrong == 2:
			name += "x"
		case wrong == 3 && kind != "N":
			parts = append(parts, quote(name)+`:{"`+kind+`":""}`)
			continue
		}
		parts = append(parts, quote(name)+":"+g.keyValue(kind))
	}
	if wrong == 4 {
		parts = append(parts, `"extra":{"S":"x"}`)
	}
	return strings.Join(parts, ",")
}

var attributes = []string{"a", "b", "c", "m", "l", "ss", "ns", "n", "o", "t"}

// number returns the text of a number, in odd forms too.
func (g *generator) number() string {
	if g.chance(60) {
		return strconv.Itoa(g.IntN(20) - 5)
	}
	return g.one("1.50", "-0", "1e3", "00012.300", "1E-5", "0.1", "12345678901234567890123456789012345678", "-9.9e125", "1e-130", "1.", ".5", "100", "1e0", "1.0E-5")
}

// wrongValue returns a value that is refused.
func (g *generator) wrongValue() string {
	return g.one(`{"N":"1e126"}`, `{"N":"abc"}`, `{"N":"123456789012345678901234567890123456789"}`, `{"N":""}`, `{"SS":[]}`, `{"NS":["1","1.0"]}`,
		`{"SS":["a","a"]}`, `{}`, `{"S":"a","N":"1"}`, `{"NULL":false}`, `{"NS":["x"]}`, `{"BS":[]}`, `{"NS":[]}`, `{"N":"1e-131"}`, `{"SS":["a",""]}`, `{"BS":["AQ==","AQ=="]}`)
}

// value returns an attribute value.
func (g *generator) value(depth int) string {
	n := g.IntN(20)
	if depth > 2 && n < 6 {
		n += 6
	}
	switch {
	case n < 3:
		var parts []string
		for _, name := range attributes[:1+g.IntN(3)] {
			if g.chance(70) {
				parts = append(parts, quote(name)+":"+g.value(depth+1))
			}
		}
		return `{"M":{` + strings.Join(parts, ",") + `}}`
	case n < 6:
		var parts []string
		for range g.IntN(4) {
			parts = append(parts, g.value(depth+1))
		}
		return `{"L":[` + strings.Join(parts, ",") + `]}`
	case n < 11:
		return `{"N":"` + g.number() + `"}`
	case n < 15:
		return `{"S":` + quote(g.one("", "a", "ab", "abc", "é", "x y", "ünï", "\"q\"", "w1", "w2")) + `}`
	case n == 15:
		return `{"SS":[` + g.one(`"a"`, `"a","b"`, `"b","c","a"`) + `]}`
	case n == 16:
		return `{"NS":[` + g.one(`"1"`, `"1","2.0"`, `"3","1","10"`) + `]}`
	case n == 17:
		return g.one(`{"BOOL":true}`, `{"BOOL":false}`)
	case n == 18:
		return g.one(`{"NULL":true}`, `{"BS":["AQ==","Ag=="]}`)
	}
	return `{"B":"` + g.one("", "AA==", "AQID") + `"}`
}

// attribute returns a value for an attribute: those with a telling name mostly
// have the type that it tells.
func (g *generator) attribute(name string) string {
	if g.chance(1) {
		return g.wrongValue()
	}
	if g.chance(85) {
		switch name {
		case "n":
			return `{"N":"` + g.number() + `"}`
		case "o":
			return `{"S":"` + g.one("w1", "w2", "w3") + `"}`
		case "ss":
			return `{"SS":[` + g.one(`"a"`, `"a","b"`, `"b","c","a"`) + `]}`
		case "ns":
			return `{"NS":[` + g.one(`"1"`, `"1","2.0"`, `"3","1","10"`) + `]}`
		case "l":
			return `{"L":[` + g.value(1) + `,` + g.value(1) + `]}`
		case "m":
			return `{"M":{"a":` + g.value(1) + `,"b":{"L":[{"N":"1"},{"S":"x"}]}}}`
		case "t":
			return `{"S":"` + g.one("2026", "2027", "x") + `"}`
		}
	}
	return g.value(0)
}

// item returns the members of an item, its key included.
func (g *generator) item(t schema) string {
	parts := []string{}
	if k := g.key(t); k != "" {
		parts = append(parts, k)
	}
	for _, name := range attributes {
		if g.chance(40) && !strings.Contains(strings.Join(t.keys, " ")+" ", name+" ") {
			parts = append(parts, quote(name)+":"+g.attribute(name))
		}
	}
	return strings.Join(parts, ",")
}

// returns appends parameters that say what the answer has.
func (g *generator) returns(values ...string) string {
	s := ""
	if g.chance(50) {
		s += `,"ReturnValues":"` + g.one(values...) + `"`
	}
	if g.chance(30) {
		s += `,"ReturnValuesOnConditionCheckFailure":"` + g.one("ALL_OLD", "NONE") + `"`
	}
	return s + g.capacity()
}

func (g *generator) capacity() string {
	if g.chance(15) {
		return `,"ReturnConsumedCapacity":"` + g.one("TOTAL", "INDEXES", "NONE", "TOTAL") + `"`
	}
	return ""
}

func quote(s string) string { return strconv.Quote(s) }

// tableName returns the name of t, or now and then of a table that there is not.
func (g *generator) tableName(t schema) string {
	if g.chance(1) {
		return g.one("nothere", "no", "bad name")
	}
	return t.name
}

// placeholders returns the members for the names and values that expressions of
// the request use.
func (g *generator) placeholders() string {
	s := ""
	if !g.calm && g.chance(2) {
		g.values = append(g.values, `{"S":"unused"}`)
	}
	if len(g.names) > 0 {
		var parts []string
		for _, name := range attributes {
			if to, ok := g.names["#"+name]; ok {
				parts = append(parts, quote("#"+name)+":"+quote(to))
			}
		}
		s += `,"ExpressionAttributeNames":{` + strings.Join(parts, ",") + `}`
	}
	if len(g.values) > 0 {
		var parts []string
		for i, v := range g.values {
			parts = append(parts, fmt.Sprintf(`":v%d":%s`, i, v))
		}
		s += `,"ExpressionAttributeValues":{` + strings.Join(parts, ",") + `}`
	}
	return s
}

// put makes a PutItem.
func (g *generator) put() {
	t := g.table()
	body := `"TableName":"` + g.tableName(t) + `","Item":{` + g.item(t) + `}` + g.returns("NONE", "ALL_OLD", "ALL_OLD", "ALL_OLD", "ALL_NEW")
	body += g.guard(t)
	g.add("PutItem", "{"+body+"}")
}

// guard returns a condition, or none.
func (g *generator) guard(t schema) string {
	switch n := g.IntN(10); {
	case n < 4:
		return ""
	case n < 7:
		return `,"ConditionExpression":` + quote(g.condition(t, 0)) + g.placeholders()
	default:
		return g.expected(t)
	}
}

// remove makes a DeleteItem.
func (g *generator) remove() {
	t := g.table()
	g.add("DeleteItem", `{"TableName":"`+g.tableName(t)+`","Key":{`+g.key(t)+`}`+g.returns("NONE", "ALL_OLD", "ALL_OLD", "UPDATED_OLD")+g.guard(t)+"}")
}

// get makes a GetItem.
func (g *generator) get() {
	t := g.table()
	body := `"TableName":"` + g.tableName(t) + `","Key":{` + g.key(t) + `}`
	switch {
	case g.chance(40):
		body += `,"ProjectionExpression":` + quote(g.projection()) + g.placeholders()
	case g.chance(20):
		body += `,"AttributesToGet":["` + g.one(attributes...) + `","` + g.one(attributes...) + `"]`
	}
	if g.chance(50) {
		body += `,"ConsistentRead":` + g.one("true", "false")
	}
	g.add("GetItem", "{"+body+g.capacity()+"}")
}
