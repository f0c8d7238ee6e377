package table

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// A Set is the tables of every scope.
//
// It is not safe for concurrent use, except that any number of calls of Read
// may run side by side. Clone counts as a write.
type Set struct {
	tables btree.Map[string, *data] // by tableKey
	tokens tokens
}

// NewSet returns a Set without tables.
func NewSet() *Set { return &Set{} }

// scopeKey is what the keys of a scope's tables begin with. A table's name
// follows; none of the parts has a slash.
func scopeKey(s arn.Scope) string { return s.Account + "/" + s.Region + "/" }

// Clone returns a copy of the Set in time that grows with the number of
// tables, not of items. Either may be changed without the other seeing it.
func (s *Set) Clone() *Set {
	c := NewSet()
	c.tokens = s.tokens.clone()
	s.tables.Scan(func(key string, d *data) bool {
		c.tables.Set(key, d.clone())
		return true
	})
	return c
}

// Apply answers a request that may change tables, at the given time. Requests
// must be applied in the order of the journal. The error is an
// [*awserr.Error]; nothing has changed then.
func (s *Set) Apply(at time.Time, scope arn.Scope, r *Request) (Response, error) {
	switch r.op {
	case opCreateTable:
		return s.create(at, scope, r)
	case opUpdateTable:
		return s.alter(at, scope, r)
	case opDeleteTable:
		return s.drop(scope, r)
	case opBatchWriteItem:
		return s.batchWrite(scope, r)
	case opTransactWriteItems:
		return s.transactWrite(at, scope, r)
	case opTagResource, opUntagResource:
		return s.applyTags(scope, r)
	case opPutItem, opUpdateItem, opDeleteItem, opUpdateTimeToLive, opUpdateContinuousBackups:
	default:
		return s.Read(at, scope, r)
	}
	d, err := s.find(scope, r)
	if err != nil {
		return nil, err
	}
	switch r.op {
	case opUpdateTimeToLive:
		return d.setTimeToLive(r)
	case opUpdateContinuousBackups:
		return d.setBackups(at, r), nil
	default:
		return d.write(r)
	}
}

// Read answers a request that changes nothing. The error is an
// [*awserr.Error].
func (s *Set) Read(at time.Time, scope arn.Scope, r *Request) (Response, error) {
	switch r.op {
	case opListTables:
		return s.list(scope, r), nil
	case opDescribeLimits:
		return body(accountLimits), nil
	case opBatchGetItem:
		return s.batchGet(scope, r)
	case opTransactGetItems:
		return s.transactGet(scope, r)
	case opListTagsOfResource:
		return s.listTags(scope, r)
	default: // is about one table
	}
	d, err := s.find(scope, r)
	if err != nil {
		return nil, err
	}
	switch r.op {
	case opDescribeTable:
		return body(append(d.appendDescription([]byte(`{"Table":`), "ACTIVE"), '}')), nil
	case opDescribeTimeToLive:
		return d.describeTimeToLive(), nil
	case opDescribeContinuousBackups:
		return d.describeBackups(at), nil
	case opGetItem:
		return d.getItem(r)
	case opScan:
		return d.scan(r)
	case opQuery:
		return d.query(r)
	default:
		return nil, awserr.Internal()
	}
}

// find returns the table that a request names.
func (s *Set) find(scope arn.Scope, r *Request) (*data, error) {
	name := r.p.tableName
	if strings.HasPrefix(name, "arn:") {
		name = name[strings.LastIndexByte(name, '/')+1:]
		if r.p.tableName != scope.Table(name) {
			name = ""
		}
	}
	if d, ok := s.tables.Get(scopeKey(scope) + name); ok && name != "" {
		return d, nil
	}
	if r.op&(opUpdateContinuousBackups|opDescribeContinuousBackups) != 0 {
		return nil, awserr.New("TableNotFoundException", "Table not found: %s", r.p.tableName)
	}
	if r.op&(opsOfTables|opsOfSettings) != 0 {
		return nil, awserr.New(codeNotFound, "Requested resource not found: Table: %s not found", r.p.tableName)
	}
	return nil, awserr.New(codeNotFound, "Requested resource not found")
}

func (s *Set) create(at time.Time, scope arn.Scope, r *Request) (Response, error) {
	t := r.p.table.own()
	name := strings.Clone(r.p.tableName)
	key := scopeKey(scope) + name
	if _, ok := s.tables.Get(key); ok {
		return nil, awserr.New(codeInUse, "Table already exists: %s", name)
	}
	d := &data{
		name: name, arn: scope.Table(name), id: tableID(key, at), created: at.UnixMilli(),
		definitions: t.definitions, schema: schemaOf(t.definitions, t.keys),
		protect: t.protect != nil && *t.protect, tags: t.tags,
	}
	d.setBilling(at, t)
	for i := range t.indexes {
		d.indexes = append(d.indexes, newIndex(&t.indexes[i], d.schema, d.definitions))
	}
	d.sortIndexes()
	s.tables.Set(key, d)
	return d.describe("TableDescription", "ACTIVE"), nil
}

// alter does UpdateTable.
func (s *Set) alter(at time.Time, scope arn.Scope, r *Request) (Response, error) {
	d, err := s.find(scope, r)
	if err != nil {
		return nil, err
	}
	t := r.p.table.own()
	// Everything is checked before anything is changed.
	definitions := slices.Clone(d.definitions)
	for _, a := range t.definitions {
		i := slices.IndexFunc(definitions, func(b definition) bool { return a.name == b.name })
		switch {
		case i < 0:
			definitions = append(definitions, a)
		case definitions[i].kind != a.kind:
			return nil, invalidParameter("Attribute %s is already defined with type %s", a.name, definitions[i].kind)
		}
	}
	for _, name := range t.drops {
		if x := d.index(name); x == nil || x.local {
			return nil, awserr.New(codeNotFound, "Requested resource not found")
		}
	}
	for i := range t.indexes {
		x := &t.indexes[i]
		all := tableParams{definitions: definitions}
		if err := all.checkIndex(x); err != nil {
			return nil, err
		}
		again := slices.ContainsFunc(t.indexes[:i], func(y indexParams) bool { return x.name == y.name })
		if again || d.index(x.name) != nil && !slices.Contains(t.drops, x.name) {
			return nil, invalid("Attempting to create an index which already exists")
		}
	}
	if t.billing == billingProvisioned && t.throughput == nil && d.onDemand {
		return nil, (*throughput)(nil).check()
	}
	if t.protect != nil {
		d.protect = *t.protect
	}
	if t.billing != "" || t.throughput != nil {
		d.setBilling(at, t)
	}
	d.indexes = slices.DeleteFunc(slices.Clone(d.indexes), func(x *index) bool { return slices.Contains(t.drops, x.name) })
	for i := range t.indexes {
		x := newIndex(&t.indexes[i], d.schema, definitions)
		x.fill(d)
		d.indexes = append(d.indexes, x)
	}
	d.sortIndexes()
	d.definitions = slices.DeleteFunc(definitions, func(a definition) bool {
		return !d.schema.has(a.name) && !slices.ContainsFunc(d.indexes, func(x *index) bool { return x.schema.has(a.name) })
	})
	return d.describe("TableDescription", "ACTIVE"), nil
}

func (d *data) sortIndexes() {
	slices.SortFunc(d.indexes, func(a, b *index) int { return strings.Compare(a.name, b.name) })
}

func (d *data) setBilling(at time.Time, t *tableParams) {
	onDemand := t.billing == billingOnDemand || t.billing == "" && d.onDemand
	if onDemand && !d.onDemand {
		d.since = at.UnixMilli()
	}
	d.onDemand, d.throughput = onDemand, throughput{}
	if t.throughput != nil && !onDemand {
		d.throughput = *t.throughput
	}
}

func (s *Set) drop(scope arn.Scope, r *Request) (Response, error) {
	d, err := s.find(scope, r)
	if err != nil {
		return nil, err
	}
	if d.protect {
		return nil, invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	}
	s.tables.Delete(scopeKey(scope) + d.name)
	return d.describe("TableDescription", "DELETING"), nil
}

// describe returns the answer with a description of the table as it is now.
func (d *data) describe(member, status string) Response {
	return body(append(d.appendDescription([]byte(`{"`+member+`":`), status), '}'))
}

const maxListTables = 100

func (s *Set) list(scope arn.Scope, r *Request) Response {
	limit := maxListTables
	if r.p.hasLimit {
		limit = int(min(r.p.limit, maxListTables))
	}
	prefix := scopeKey(scope)
	dst := []byte(`{"TableNames":[`)
	n, last, more := 0, "", false
	after := prefix + r.p.table.after
	s.tables.Ascend(after, func(key string, d *data) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		if key == after {
			return true
		}
		if n == limit {
			more = true
			return false
		}
		dst = appendString(appendComma(dst, n), d.name)
		n, last = n+1, d.name
		return true
	})
	dst = append(dst, ']')
	if more {
		dst = appendString(append(dst, `,"LastEvaluatedTableName":`...), last)
	}
	return body(append(dst, '}'))
}

// tableID returns a name that no other table has had: the same table at the
// same time only. It has the form of a random UUID.
func tableID(key string, at time.Time) string {
	h := sha256.Sum256([]byte(key + "@" + strconv.FormatInt(at.UnixMilli(), 10)))
	h[6] = h[6]&0x0F | 0x40
	h[8] = h[8]&0x3F | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
