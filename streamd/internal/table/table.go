package table

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/tidwall/btree"
)

// stored is an item in a table. It is immutable.
type stored struct {
	attrs []attr
	size  int
	hash  uint32 // of the hash key: the segment of a parallel scan
}

// data is one table. What it points to is shared with its clones, except for
// the trees, which copy what they change.
type data struct {
	name, arn, id string
	created       int64 // ms
	schema        keySchema
	definitions   []definition
	onDemand      bool
	since         int64 // ms; when onDemand was set
	throughput    throughput
	protect       bool
	tags          []tag
	ttl           timeToLive
	backups       int64 // ms; since when points in time could be restored, 0 for not

	items   btree.Map[string, *stored] // by place
	bytes   int64
	indexes []*index // by name
}

// index is a secondary index. It is kept in step with its table, so reading it
// is as consistent as reading the table.
type index struct {
	name       string
	local      bool
	schema     keySchema
	projection string
	include    []string
	throughput throughput
	paths      []path // of what the index has of its items, nil for all

	// places maps the place of an item in the index, made unique by its place
	// in the table, to the latter. Items without the index's key are not in
	// it. So a write that leaves the key alone leaves the index alone.
	places btree.Map[string, string]
	bytes  int64
}

// clone returns a copy of d that shares its items.
func (d *data) clone() *data {
	c := *d
	c.items = *d.items.Copy()
	c.indexes = make([]*index, len(d.indexes))
	for i, x := range d.indexes {
		y := *x
		y.places = *x.places.Copy()
		c.indexes[i] = &y
	}
	return &c
}

// index returns the index of that name, nil if there is none.
func (d *data) index(name string) *index {
	i := slices.IndexFunc(d.indexes, func(x *index) bool { return x.name == name })
	if i < 0 {
		return nil
	}
	return d.indexes[i]
}

// place returns the place of an item in the table and the length of its part
// for the hash key.
func (d *data) place(item []attr) (key string, hash int) {
	var buf [128]byte
	b, hash := d.schema.appendKey(buf[:0], item)
	return string(b), hash
}

// hashKey returns the hash of the hash key, whose part of a place has the given
// length.
func hashKey(place string, length int) uint32 { return uint32(xxhash.Sum64String(place[:length])) }

// put stores item at its place, over old if that is not nil.
func (d *data) put(place string, hash int, old *stored, item []attr, size int) {
	s := &stored{item, size, hashKey(place, hash)}
	d.items.Set(place, s)
	d.bytes += int64(size)
	if old != nil {
		d.bytes -= int64(old.size)
	}
	for _, x := range d.indexes {
		x.replace(place, old, s)
	}
}

// remove deletes old, which is stored at place.
func (d *data) remove(place string, old *stored) {
	d.items.Delete(place)
	d.bytes -= int64(old.size)
	for _, x := range d.indexes {
		x.replace(place, old, nil)
	}
}

// checkIndexes returns the error for an item that has a value of a wrong type
// where an index has its key.
func (d *data) checkIndexes(item []attr) error {
	for _, x := range d.indexes {
		for i, p := range x.schema {
			v := find(item, p.name)
			switch {
			case v == nil:
			case v.kind != p.kind:
				return invalidParameter("Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s", p.name, p.kind, v.kind, x.name)
			case v.text == "" && v.kind != kindN:
				what := "string"
				if v.kind == kindB {
					what = "binary"
				}
				return invalid("One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty %s value. IndexName: %s, IndexKey: %s", what, x.name, p.name)
			default:
				if err := checkKeyValue(p.name, v, i == 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// newIndex returns an empty index on a table with the given key.
func newIndex(p *indexParams, table keySchema, definitions []definition) *index {
	x := &index{name: p.name, local: p.local, projection: p.projection, include: p.include}
	x.schema = schemaOf(definitions, p.keys)
	if p.throughput != nil {
		x.throughput = *p.throughput
	}
	x.setPaths(table)
	return x
}

func (x *index) setPaths(table keySchema) {
	if x.projection == "ALL" {
		return
	}
	set := map[string]bool{}
	for _, p := range slices.Concat(table, x.schema) {
		set[p.name] = true
	}
	for _, n := range x.include {
		set[n] = true
	}
	for _, n := range sortedKeys(set) {
		x.paths = append(x.paths, attribute(n))
	}
}

// place returns the place in the index of an item whose place in the table is
// base; ok is false if the index does not have the item.
func (x *index) place(base string, item []attr) (place string, ok bool) {
	for _, p := range x.schema {
		if v := find(item, p.name); v == nil || v.kind != p.kind || v.text == "" {
			return "", false
		}
	}
	b, _ := x.schema.appendKey(nil, item)
	return string(append(b, base...)), true
}

// sizeOf returns the size of what the index has of an item.
func (x *index) sizeOf(s *stored) (n int64) {
	if x.paths == nil {
		return int64(s.size)
	}
	for _, p := range x.paths {
		if v := find(s.attrs, p[0].name); v != nil {
			n += int64(len(p[0].name) + v.size())
		}
	}
	return n
}

// replace keeps the index in step with a change of an item; nil stands for no
// item.
func (x *index) replace(base string, before, after *stored) {
	var from, to string
	var had, has bool
	if before != nil {
		if from, had = x.place(base, before.attrs); had {
			x.bytes -= x.sizeOf(before)
		}
	}
	if after != nil {
		if to, has = x.place(base, after.attrs); has {
			x.bytes += x.sizeOf(after)
		}
	}
	if had && (!has || from != to) {
		x.places.Delete(from)
	}
	if has && (!had || from != to) {
		x.places.Set(to, base)
	}
}

// fill puts all items of d into the index. An item with a value of a wrong
// type where the index has its key stays out.
func (x *index) fill(d *data) {
	d.items.Scan(func(place string, s *stored) bool {
		x.replace(place, nil, s)
		return true
	})
}

func sortedKeys(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

// appendDescription appends a TableDescription.
func (d *data) appendDescription(dst []byte, status string) []byte {
	dst = append(dst, `{"AttributeDefinitions":[`...)
	for i, a := range d.definitions {
		dst = appendComma(dst, i)
		dst = appendString(append(dst, `{"AttributeName":`...), a.name)
		dst = appendString(append(dst, `,"AttributeType":`...), a.kind.String())
		dst = append(dst, '}')
	}
	dst = append(dst, `],"CreationDateTime":`...)
	dst = appendSeconds(dst, d.created)
	dst = append(dst, `,"DeletionProtectionEnabled":`...)
	dst = strconv.AppendBool(dst, d.protect)
	dst = append(dst, `,"ItemCount":`...)
	dst = strconv.AppendInt(dst, int64(d.items.Len()), 10)
	dst = append(dst, `,"KeySchema":`...)
	dst = d.schema.append(dst)
	dst = append(dst, `,"ProvisionedThroughput":`...)
	dst = d.throughput.append(dst)
	dst = appendString(append(dst, `,"TableArn":`...), d.arn)
	dst = appendString(append(dst, `,"TableId":`...), d.id)
	dst = appendString(append(dst, `,"TableName":`...), d.name)
	dst = append(dst, `,"TableSizeBytes":`...)
	dst = strconv.AppendInt(dst, d.bytes, 10)
	dst = appendString(append(dst, `,"TableStatus":`...), status)
	if d.onDemand {
		dst = append(dst, `,"BillingModeSummary":{"BillingMode":"PAY_PER_REQUEST","LastUpdateToPayPerRequestDateTime":`...)
		dst = append(appendSeconds(dst, d.since), '}')
	}
	dst = d.appendIndexes(dst, `,"GlobalSecondaryIndexes":[`, false)
	dst = d.appendIndexes(dst, `,"LocalSecondaryIndexes":[`, true)
	return append(dst, '}')
}

func (d *data) appendIndexes(dst []byte, head string, local bool) []byte {
	n := 0
	for _, x := range d.indexes {
		if x.local != local {
			continue
		}
		if n == 0 {
			dst = append(dst, head...)
		}
		dst = appendComma(dst, n)
		n++
		dst = appendString(append(dst, `{"IndexName":`...), x.name)
		dst = appendString(append(dst, `,"IndexArn":`...), d.arn+"/index/"+x.name)
		dst = append(dst, `,"IndexSizeBytes":`...)
		dst = strconv.AppendInt(dst, x.bytes, 10)
		dst = append(dst, `,"ItemCount":`...)
		dst = strconv.AppendInt(dst, int64(x.places.Len()), 10)
		dst = append(dst, `,"KeySchema":`...)
		dst = x.schema.append(dst)
		dst = appendString(append(dst, `,"Projection":{"ProjectionType":`...), x.projection)
		if len(x.include) > 0 {
			dst = append(dst, `,"NonKeyAttributes":[`...)
			for i, s := range x.include {
				dst = appendString(appendComma(dst, i), s)
			}
			dst = append(dst, ']')
		}
		dst = append(dst, '}')
		if !local {
			dst = append(dst, `,"IndexStatus":"ACTIVE","ProvisionedThroughput":`...)
			dst = x.throughput.append(dst)
		}
		dst = append(dst, '}')
	}
	if n > 0 {
		dst = append(dst, ']')
	}
	return dst
}

func (s keySchema) append(dst []byte) []byte {
	dst = append(dst, '[')
	for i, p := range s {
		dst = appendString(append(appendComma(dst, i), `{"AttributeName":`...), p.name)
		dst = append(dst, `,"KeyType":"`...)
		dst = append(dst, [...]string{"HASH", "RANGE"}[i]...)
		dst = append(dst, `"}`...)
	}
	return append(dst, ']')
}

func (t throughput) append(dst []byte) []byte {
	dst = append(dst, `{"NumberOfDecreasesToday":0,"ReadCapacityUnits":`...)
	dst = strconv.AppendInt(dst, t.read, 10)
	dst = append(dst, `,"WriteCapacityUnits":`...)
	return append(strconv.AppendInt(dst, t.write, 10), '}')
}

// appendComma appends a comma before all but the first of some elements.
func appendComma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendSeconds appends a time as AWS's JSON has it: seconds with a fraction.
func appendSeconds(dst []byte, ms int64) []byte {
	s := strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64)
	return append(dst, strings.TrimSuffix(s, ".000")...)
}
