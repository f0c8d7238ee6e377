package table

import (
	"slices"
	"strconv"
	"strings"
)

const (
	billingProvisioned = "PROVISIONED"
	billingOnDemand    = "PAY_PER_REQUEST"
)

const maxCapacityUnits = 1_000_000_000_000

// throughput is ProvisionedThroughput.
type throughput struct{ read, write int64 }

// definition is one of AttributeDefinitions.
type definition struct {
	name string
	kind kind
}

// keyElement is one element of a KeySchema as it was sent.
type keyElement struct{ name, keyType string }

// indexParams describe an index in CreateTable and UpdateTable.
type indexParams struct {
	name       string
	local      bool
	keys       []keyElement
	projection string
	include    []string // NonKeyAttributes
	throughput *throughput
}

// tag is one of Tags.
type tag struct{ key, value string }

// tableParams are the parameters of the operations on whole tables.
type tableParams struct {
	definitions []definition
	defined     bool // AttributeDefinitions were given
	keys        []keyElement
	indexes     []indexParams
	noIndexes   string   // the name of a list of indexes that is empty
	drops       []string // names of indexes to delete
	billing     string
	throughput  *throughput
	protect     *bool
	tags        []tag
	stream      bool
	after       string // ExclusiveStartTableName

	refused []string // members that [Accept] refuses

	resource    string // ResourceArn
	hasResource bool
	hasTags     bool // Tags or TagKeys were given
	tagKeys     []string
	ttl         timeToLive
	hasTTL      [3]bool // the specification, its attribute, its switch
	backups     *bool
	hasBackups  bool
}

// own returns a copy of t that keeps nothing of the request's body.
func (t *tableParams) own() *tableParams {
	c := *t
	c.definitions = slices.Clone(t.definitions)
	for i := range c.definitions {
		c.definitions[i].name = strings.Clone(c.definitions[i].name)
	}
	c.tags = slices.Clone(t.tags)
	for i, x := range c.tags {
		c.tags[i] = tag{strings.Clone(x.key), strings.Clone(x.value)}
	}
	c.indexes = slices.Clone(t.indexes)
	for i := range c.indexes {
		x := &c.indexes[i]
		x.name, x.projection, x.include = strings.Clone(x.name), strings.Clone(x.projection), slices.Clone(x.include)
		for k := range x.include {
			x.include[k] = strings.Clone(x.include[k])
		}
	}
	return &c
}

func (p *params) text(r *reader, dst *string) bool {
	s, ok := r.optString()
	*dst = s
	return ok
}

func readAttributeDefinitions(p *params, r *reader) {
	list := []definition{}
	p.table.defined = r.optArray(func() {
		at := "attributeDefinitions." + strconv.Itoa(len(list)+1) + ".member."
		var d definition
		var s string
		var name bool
		r.optObject(func(member string) {
			switch member {
			case "AttributeName":
				name = p.text(r, &d.name)
			case "AttributeType":
				p.enum(r, &s, at+"attributeType", "B", "N", "S")
				d.kind, _ = kindOf(s)
			default:
				r.skip()
			}
		})
		p.require(name, "null", at+"attributeName", "Member must not be null")
		p.require(s != "", "null", at+"attributeType", "Member must not be null")
		list = append(list, d)
	})
	p.table.definitions = list
}

func (p *params) keySchema(r *reader, where string) []keyElement {
	var keys []keyElement
	if given := r.optArray(func() {
		at := where + "." + strconv.Itoa(len(keys)+1) + ".member."
		var k keyElement
		var name bool
		r.optObject(func(member string) {
			switch member {
			case "AttributeName":
				name = p.text(r, &k.name)
			case "KeyType":
				p.enum(r, &k.keyType, at+"keyType", "HASH", "RANGE")
			default:
				r.skip()
			}
		})
		p.require(name, "null", at+"attributeName", "Member must not be null")
		p.require(k.keyType != "", "null", at+"keyType", "Member must not be null")
		keys = append(keys, k)
	}); given {
		if keys == nil {
			keys = []keyElement{}
		}
		p.require(len(keys) >= 1, "'[]'", where, "Member must have length greater than or equal to 1")
		p.require(len(keys) <= 2, "'[…]'", where, "Member must have length less than or equal to 2")
	}
	return keys
}

func (p *params) throughput(r *reader, where string) *throughput {
	var t throughput
	var read, write bool
	if !r.optObject(func(member string) {
		switch member {
		case "ReadCapacityUnits":
			t.read, read = r.optInt(true)
		case "WriteCapacityUnits":
			t.write, write = r.optInt(true)
		default:
			r.skip()
		}
	}) {
		return nil
	}
	for _, c := range []struct {
		name  string
		given bool
		n     int64
	}{{"writeCapacityUnits", write, t.write}, {"readCapacityUnits", read, t.read}} {
		at := where + "." + c.name
		p.require(c.given, "null", at, "Member must not be null")
		p.require(!c.given || c.n >= 1, quotedInt(c.n), at, "Member must have value greater than or equal to 1")
	}
	return &t
}

func (p *params) indexes(r *reader, where string, local bool) {
	n := 0
	if r.optArray(func() {
		n++
		p.table.indexes = append(p.table.indexes, p.readIndex(r, where+"."+strconv.Itoa(n)+".member", local))
	}) && n == 0 {
		p.table.noIndexes = upperFirst(where)
	}
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (p *params) readIndex(r *reader, where string, local bool) indexParams {
	x := indexParams{local: local}
	var name bool
	r.optObject(func(member string) {
		switch member {
		case "IndexName":
			name = p.text(r, &x.name)
		case "KeySchema":
			x.keys = p.keySchema(r, where+".keySchema")
		case "Projection":
			r.optObject(func(member string) {
				switch member {
				case "ProjectionType":
					p.enum(r, &x.projection, where+".projection.projectionType", "ALL", "INCLUDE", "KEYS_ONLY")
				case "NonKeyAttributes":
					r.optArray(func() {
						if s, ok := r.optString(); ok {
							x.include = append(x.include, s)
						}
					})
				default:
					r.skip()
				}
			})
		case "ProvisionedThroughput":
			x.throughput = p.throughput(r, where+".provisionedThroughput")
		default:
			r.skip()
		}
	})
	p.require(name, "null", where+".indexName", "Member must not be null")
	p.require(!name || isTableName(x.name), quoted(x.name), where+".indexName", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	p.require(!name || len(x.name) >= minTableName, quoted(x.name), where+".indexName", "Member must have length greater than or equal to 3")
	p.require(len(x.name) <= maxTableName, quoted(x.name), where+".indexName", "Member must have length less than or equal to 255")
	p.require(x.keys != nil, "null", where+".keySchema", "Member must not be null")
	return x
}

func readIndexUpdates(p *params, r *reader) {
	n := 0
	r.optArray(func() {
		n++
		where := "globalSecondaryIndexUpdates." + strconv.Itoa(n) + ".member."
		r.optObject(func(member string) {
			switch member {
			case "Create":
				if !r.null() {
					p.table.indexes = append(p.table.indexes, p.readIndex(r, where+"create", false))
				}
			case "Delete":
				r.optObject(func(member string) {
					var s string
					if member == "IndexName" && p.text(r, &s) {
						p.table.drops = append(p.table.drops, s)
						return
					}
					if member != "IndexName" {
						r.skip()
					}
				})
			default: // Update sets a throughput, which means nothing here
				r.skip()
			}
		})
	})
}

func readTags(p *params, r *reader) {
	p.table.tags = nil
	p.table.hasTags = r.optArray(func() {
		var t tag
		r.optObject(func(member string) {
			switch member {
			case "Key":
				p.text(r, &t.key)
			case "Value":
				p.text(r, &t.value)
			default:
				r.skip()
			}
		})
		p.table.tags = append(p.table.tags, t)
	})
}

func readStreamSpecification(p *params, r *reader) {
	r.optObject(func(member string) {
		if member == "StreamEnabled" {
			p.table.stream, _ = r.optBool()
			return
		}
		r.skip()
	})
}

func (t *tableParams) requireForCreate(p *params) {
	p.require(t.defined, "null", "attributeDefinitions", "Member must not be null")
	p.require(t.keys != nil, "null", "keySchema", "Member must not be null")
}

// checkCreate checks the parameters of CreateTable.
func (t *tableParams) checkCreate() error {
	if t.stream {
		return errNoStreams
	}
	if t.billing == billingOnDemand {
		if t.throughput != nil {
			return invalidParameter("Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
		}
	} else if err := t.throughput.check(); err != nil {
		return err
	}
	if err := t.checkKeys(t.keys); err != nil {
		return err
	}
	if t.noIndexes != "" {
		return invalidParameter("List of %s is empty", t.noIndexes)
	}
	seen := map[string]bool{}
	used := map[string]bool{}
	for _, k := range t.keys {
		used[k.name] = true
	}
	for i := range t.indexes {
		x := &t.indexes[i]
		if err := t.checkIndex(x); err != nil {
			return err
		}
		if x.local {
			switch {
			case len(t.keys) != 2:
				return invalidParameter("Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex")
			case len(x.keys) != 2:
				return invalidParameter("Index KeySchema does not have a range key for index: %s", x.name)
			case x.keys[0].name != t.keys[0].name:
				return invalidParameter("Index KeySchema does not have the same leading hash key as table KeySchema for index: %s. index hash key: %s, table hash key: %s",
					x.name, x.keys[0].name, t.keys[0].name)
			}
		}
		if seen[x.name] {
			return invalidParameter("Duplicate index name: %s", x.name)
		}
		seen[x.name] = true
		for _, k := range x.keys {
			used[k.name] = true
		}
	}
	if len(used) != len(t.definitions) {
		if len(t.indexes) == 0 {
			return invalidParameter("Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
		}
		return invalidParameter("Some AttributeDefinitions are not used. AttributeDefinitions: [%s], keys used: [%s]",
			strings.Join(names(t.definitions), ", "), strings.Join(sortedKeys(used), ", "))
	}
	return nil
}

// checkUpdate checks the parameters of UpdateTable.
func (t *tableParams) checkUpdate() error {
	if t.stream {
		return errNoStreams
	}
	if t.billing == "" && t.throughput == nil && t.protect == nil && len(t.indexes)+len(t.drops) == 0 {
		return invalid("At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required")
	}
	if t.throughput != nil {
		return t.throughput.check()
	}
	return nil
}

var errNoStreams = invalid("StreamSpecification is not supported: tables have no streams here")

func (t *throughput) check() error {
	if t == nil {
		return invalidParameter("ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	}
	if t.read > maxCapacityUnits {
		return invalid("Given value %d for ReadCapacityUnits is out of bounds", t.read)
	}
	if t.write > maxCapacityUnits {
		return invalid("Given value %d for WriteCapacityUnits is out of bounds", t.write)
	}
	return nil
}

// checkKeys checks a KeySchema against the definitions.
func (t *tableParams) checkKeys(keys []keyElement) error {
	kinds := map[string]kind{}
	for _, d := range t.definitions {
		if kinds[d.name] != 0 {
			return invalidParameter("Duplicate AttributeName in AttributeDefinitions: %s", d.name)
		}
		kinds[d.name] = d.kind
	}
	var list []string
	missing := false
	for _, k := range keys {
		list = append(list, k.name)
		missing = missing || kinds[k.name] == 0
	}
	switch {
	case len(keys) > len(t.definitions):
		return invalid("Invalid KeySchema: Some index key attribute have no definition")
	case keys[0].keyType != "HASH":
		return invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
	case len(keys) == 2 && keys[1].keyType != "RANGE":
		return invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
	case len(keys) == 2 && keys[0].name == keys[1].name:
		return invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
	case missing:
		return invalidParameter("Some index key attributes are not defined in AttributeDefinitions. Keys: [%s], AttributeDefinitions: [%s]",
			strings.Join(list, ", "), strings.Join(names(t.definitions), ", "))
	}
	return nil
}

func (t *tableParams) checkIndex(x *indexParams) error {
	if err := t.checkKeys(x.keys); err != nil {
		return err
	}
	switch {
	case x.projection == "":
		return invalidParameter("Unknown ProjectionType: null")
	case x.projection != "INCLUDE" && x.include != nil:
		return invalidParameter("ProjectionType is %s, but NonKeyAttributes is specified", x.projection)
	case t.billing == billingOnDemand && x.throughput != nil:
		return invalidParameter("ProvisionedThroughput should not be specified for index: %s when BillingMode is PAY_PER_REQUEST", x.name)
	}
	return nil
}

// schemaOf returns the key of the given elements, whose attributes are defined.
func schemaOf(definitions []definition, keys []keyElement) keySchema {
	s := make(keySchema, len(keys))
	for i, k := range keys {
		for _, d := range definitions {
			if d.name == k.name {
				s[i] = keyPart(d)
			}
		}
	}
	return s
}

func names(definitions []definition) []string {
	list := make([]string, len(definitions))
	for i, d := range definitions {
		list[i] = d.name
	}
	return list
}
