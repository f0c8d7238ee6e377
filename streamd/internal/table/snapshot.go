package table

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/arn"
)

// The form of a snapshot, version 2. Numbers are unsigned varints, texts are a
// length and bytes, lists are a count and elements.
//
//	snapshot   "SDT2"  list of table  list of token, by age
//	table      account region name id created since flags read write
//	           attribute of TTL  since when there are backups
//	           list of definition  list of key part  list of tag  list of index
//	           list of item, in the order of their places
//	definition name kind            key part   name kind
//	tag        key value
//	index      name flags projection read write  list of key part  list of text
//	item       list of attribute
//	attribute  name value
//	token      account region name  time  digest, 32 bytes
//	value      kind, and then      BOOL  0 or 1      NULL  nothing
//	           S N B  text         SS NS BS L  list of value
//	           M  list of attribute
//
// A table's ARN and the content of indexes follow from the rest. Version 1 has
// "SDT1", no tokens, and of tables no TTL and no backups.
const (
	snapshotMagic  = "SDT2"
	snapshotMagic1 = "SDT1"
)

const (
	flagProtect = 1 << iota
	flagOnDemand
	flagTimeToLive
)

var errSnapshot = errors.New("table: damaged snapshot; restore the data directory from a copy")

// AppendSnapshot appends the content of the Set. Equal Sets have equal
// snapshots.
func (s *Set) AppendSnapshot(dst []byte) []byte {
	dst = append(dst, snapshotMagic...)
	dst = binary.AppendUvarint(dst, uint64(s.tables.Len()))
	s.tables.Scan(func(key string, d *data) bool {
		dst = d.appendSnapshot(dst, key)
		return true
	})
	return s.tokens.appendSnapshot(dst)
}

func (d *data) appendSnapshot(dst []byte, key string) []byte {
	scope := key[:len(key)-len(d.name)-1]
	account, region := cutScope(scope)
	dst = appendText(dst, account)
	dst = appendText(dst, region)
	dst = appendText(dst, d.name)
	dst = appendText(dst, d.id)
	dst = binary.AppendUvarint(dst, uint64(d.created))
	dst = binary.AppendUvarint(dst, uint64(d.since))
	var flags byte
	if d.protect {
		flags |= flagProtect
	}
	if d.onDemand {
		flags |= flagOnDemand
	}
	if d.ttl.enabled {
		flags |= flagTimeToLive
	}
	dst = append(dst, flags)
	dst = d.throughput.appendSnapshot(dst)
	dst = appendText(dst, d.ttl.attribute)
	dst = binary.AppendUvarint(dst, uint64(d.backups))
	dst = binary.AppendUvarint(dst, uint64(len(d.definitions)))
	for _, a := range d.definitions {
		dst = append(appendText(dst, a.name), byte(a.kind))
	}
	dst = d.schema.appendSnapshot(dst)
	dst = binary.AppendUvarint(dst, uint64(len(d.tags)))
	for _, t := range d.tags {
		dst = appendText(appendText(dst, t.key), t.value)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.indexes)))
	for _, x := range d.indexes {
		local := byte(0)
		if x.local {
			local = 1
		}
		dst = append(appendText(dst, x.name), local)
		dst = appendText(dst, x.projection)
		dst = x.throughput.appendSnapshot(dst)
		dst = x.schema.appendSnapshot(dst)
		dst = binary.AppendUvarint(dst, uint64(len(x.include)))
		for _, n := range x.include {
			dst = appendText(dst, n)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(d.items.Len()))
	d.items.Scan(func(_ string, s *stored) bool {
		dst = appendSnapshotAttrs(dst, s.attrs, true)
		return true
	})
	return dst
}

func cutScope(s string) (account, region string) {
	for i := range len(s) {
		if s[i] == '/' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func (t throughput) appendSnapshot(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(t.read)), uint64(t.write))
}

func (s keySchema) appendSnapshot(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	for _, p := range s {
		dst = append(appendText(dst, p.name), byte(p.kind))
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendSnapshotAttrs(dst []byte, attrs []attr, named bool) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(attrs)))
	for i := range attrs {
		a := &attrs[i]
		if named {
			dst = appendText(dst, a.name)
		}
		dst = append(dst, byte(a.kind))
		switch a.kind {
		case kindS, kindN, kindB:
			dst = appendText(dst, a.text)
		case kindBOOL:
			yes := byte(0)
			if a.yes {
				yes = 1
			}
			dst = append(dst, yes)
		case kindNULL:
		default:
			dst = appendSnapshotAttrs(dst, a.kids, a.kind == kindM)
		}
	}
	return dst
}

// ReadSnapshot returns the Set whose snapshot b is. It keeps nothing of b.
func ReadSnapshot(b []byte) (*Set, error) {
	r := &snapshotReader{s: string(b)}
	var known bool
	if r.s, known = strings.CutPrefix(r.s, snapshotMagic); !known {
		if r.s, r.first = strings.CutPrefix(r.s, snapshotMagic1); !r.first {
			return nil, errSnapshot
		}
	}
	s := NewSet()
	for range r.count() {
		scope := arn.Scope{Account: r.text(), Region: r.text()}
		d := r.table()
		if r.bad {
			return nil, errSnapshot
		}
		d.arn = scope.Table(d.name)
		s.tables.Set(scopeKey(scope)+d.name, d)
	}
	if !r.first {
		r.tokens(&s.tokens)
	}
	if r.bad || len(r.s) > 0 {
		return nil, errSnapshot
	}
	return s, nil
}

// snapshotReader reads a snapshot. Once something was wrong it returns
// nothing but zeros.
type snapshotReader struct {
	s     string
	bad   bool
	first bool // of version 1
}

func (r *snapshotReader) fail() {
	r.bad = true
	r.s = ""
}

func (r *snapshotReader) number() uint64 {
	// A varint has at most ten bytes, so no more need to be copied.
	var buf [binary.MaxVarintLen64]byte
	v, n := binary.Uvarint(buf[:copy(buf[:], r.s)])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.s = r.s[n:]
	return v
}

// count reads the number of elements of a list, each of which takes at least a
// byte.
func (r *snapshotReader) count() int {
	n := r.number()
	if n > uint64(len(r.s)) {
		r.fail()
		return 0
	}
	return int(n)
}

// text reads a text that does not keep the snapshot in memory.
func (r *snapshotReader) text() string { return strings.Clone(r.part()) }

// part reads a text that is a part of the snapshot.
func (r *snapshotReader) part() string {
	n := r.count()
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *snapshotReader) byte() byte {
	if r.s == "" {
		r.fail()
		return 0
	}
	b := r.s[0]
	r.s = r.s[1:]
	return b
}

func (r *snapshotReader) table() *data {
	d := &data{name: r.text(), id: r.text(), created: int64(r.number()), since: int64(r.number())}
	flags := r.byte()
	d.protect, d.onDemand = flags&flagProtect != 0, flags&flagOnDemand != 0
	d.throughput = r.throughput()
	if !r.first {
		d.ttl = timeToLive{r.text(), flags&flagTimeToLive != 0}
		d.backups = int64(r.number())
	}
	for range r.count() {
		d.definitions = append(d.definitions, definition{r.text(), kind(r.byte())})
	}
	d.schema = r.schema()
	for range r.count() {
		d.tags = append(d.tags, tag{r.text(), r.text()})
	}
	for range r.count() {
		x := &index{name: r.text(), local: r.byte() == 1, projection: r.text(), throughput: r.throughput(), schema: r.schema()}
		for range r.count() {
			x.include = append(x.include, r.text())
		}
		x.setPaths(d.schema)
		d.indexes = append(d.indexes, x)
	}
	for range r.count() {
		item := own(r.attrs(true, 0))
		if r.bad || d.schema.checkItem(item) != nil {
			r.fail()
			break
		}
		place, hash := d.place(item)
		d.put(place, hash, nil, item, sizeOf(item))
	}
	return d
}

func (r *snapshotReader) throughput() throughput {
	return throughput{int64(r.number()), int64(r.number())}
}

func (r *snapshotReader) schema() keySchema {
	var s keySchema
	for range r.count() {
		s = append(s, keyPart{r.text(), kind(r.byte())})
	}
	if n := len(s); n < 1 || n > 2 {
		r.fail()
	}
	for _, p := range s {
		if !p.kind.isOrdered() {
			r.fail()
		}
	}
	return s
}

func (r *snapshotReader) attrs(named bool, level int) []attr {
	n := r.count()
	if level > maxNesting+1 {
		r.fail()
	}
	if r.bad {
		return nil
	}
	attrs := make([]attr, 0, min(n, 64))
	for range n {
		var a attr
		if named {
			a.name = r.part()
		}
		a.kind = kind(r.byte())
		switch a.kind {
		case kindS, kindB:
			a.text = r.part()
		case kindN:
			a.text = r.part()
			if c, err := canonical(a.text); err != nil || c != a.text {
				r.fail()
			}
		case kindBOOL:
			a.yes = r.byte() == 1
		case kindNULL:
		case kindSS, kindNS, kindBS, kindL, kindM:
			a.kids = r.attrs(a.kind == kindM, level+1)
		default:
			r.fail()
		}
		if r.bad {
			return nil
		}
		attrs = append(attrs, a)
	}
	return attrs
}
