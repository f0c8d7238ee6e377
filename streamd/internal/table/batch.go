package table

import (
	"slices"
	"strconv"

	"github.com/streamkit/streamkit/streamd/internal/arn"
)

var errSameKeys = invalid("Provided list of item keys contains duplicates")

// batchWrite does BatchWriteItem. Each write is one of its own on AWS; here
// they take effect together.
func (s *Set) batchWrite(scope arn.Scope, r *Request) (Response, error) {
	tables, err := s.findAll(scope, r)
	if err != nil {
		return nil, err
	}
	changes := make([]change, len(r.p.subs))
	seen := make(map[string]bool, len(r.p.subs))
	for i, q := range r.p.subs {
		if q.op == opPutItem && !tables[i].schema.fits(q.p.item) {
			return nil, errKeyMismatch // in other words than PutItem
		}
		c, err := tables[i].prepare(q)
		if err != nil {
			return nil, err
		}
		id := tables[i].name + "/" + c.place
		if seen[id] {
			return nil, errSameKeys
		}
		seen[id] = true
		changes[i] = c
	}
	var units consumed
	for i := range changes {
		d, c := tables[i], &changes[i]
		units.add(d, writeUnits(c.largest()))
		d.commit(c)
	}
	return units.response(r, []byte(`"UnprocessedItems":{}`)), nil
}

// batchGet does BatchGetItem.
func (s *Set) batchGet(scope arn.Scope, r *Request) (Response, error) {
	tables, err := s.findAll(scope, r)
	if err != nil {
		return nil, err
	}
	for i, q := range r.p.subs {
		seen := make(map[string]bool, len(q.p.batch))
		for _, key := range q.p.batch {
			if err := tables[i].schema.checkKey(key); err != nil {
				return nil, err
			}
			place, _ := tables[i].place(key)
			if seen[place] {
				return nil, errSameKeys
			}
			seen[place] = true
		}
	}
	res := &batchResponse{}
	size := 0
	for i, q := range r.p.subs {
		d, part := tables[i], batchPart{request: q}
		for k, key := range q.p.batch {
			place, _ := d.place(key)
			item, ok := d.items.Get(place)
			if ok && size+item.size > maxBatchSize {
				part.left = q.p.batch[k:]
				break
			}
			units := 1.0
			if ok {
				size += item.size
				units = readUnits(item.size)
				part.items = append(part.items, item.attrs)
			}
			if !q.p.consistent {
				units /= 2
			}
			res.units.add(d, units)
		}
		res.parts = append(res.parts, part)
	}
	res.units.wanted(r)
	return res, nil
}

// batchResponse is the answer to BatchGetItem.
type batchResponse struct {
	parts []batchPart
	units consumed
}

// batchPart is what BatchGetItem has of one table.
type batchPart struct {
	request *Request
	items   [][]attr
	left    [][]attr // keys that found no room in the answer
}

// AppendJSON implements [Response].
func (r *batchResponse) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"Responses":{`...)
	for i, p := range r.parts {
		dst = appendString(appendComma(dst, i), p.request.p.tableName)
		dst = append(dst, ":["...)
		for k, item := range p.items {
			dst = appendAttrs(appendComma(dst, k), project(item, p.request.projection))
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `},"UnprocessedKeys":{`...)
	n := 0
	for _, p := range r.parts {
		if len(p.left) > 0 {
			dst = p.appendLeft(appendComma(dst, n))
			n++
		}
	}
	return append(r.units.append(append(dst, '}')), '}')
}

// appendLeft appends the keys that are left, so that they can be sent again.
func (p batchPart) appendLeft(dst []byte) []byte {
	q := &p.request.p
	dst = append(appendString(dst, q.tableName), `:{"Keys":[`...)
	for i, key := range p.left {
		dst = appendAttrs(appendComma(dst, i), key)
	}
	dst = append(dst, ']')
	if q.consistent {
		dst = append(dst, `,"ConsistentRead":true`...)
	}
	if q.projectionExpr.given {
		dst = appendString(append(dst, `,"ProjectionExpression":`...), q.projectionExpr.text)
	}
	for i, name := range q.attributesGet {
		if i == 0 {
			dst = append(dst, `,"AttributesToGet":[`...)
		}
		dst = appendString(appendComma(dst, i), name)
	}
	if len(q.attributesGet) > 0 {
		dst = append(dst, ']')
	}
	for i, a := range q.ph.names {
		if i == 0 {
			dst = append(dst, `,"ExpressionAttributeNames":{`...)
		}
		dst = appendString(append(appendString(appendComma(dst, i), a.name), ':'), a.text)
	}
	if len(q.ph.names) > 0 {
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// consumed is the ConsumedCapacity of an operation on several tables.
type consumed struct {
	list    []capacity
	want    bool
	indexes bool
}

// add adds units to those of a table.
func (c *consumed) add(d *data, units float64) {
	i := slices.IndexFunc(c.list, func(x capacity) bool { return x.table == d.name })
	if i < 0 {
		i = len(c.list)
		c.list = append(c.list, capacity{table: d.name})
	}
	c.list[i].units += units
}

// wanted looks at whether the request asks for it.
func (c *consumed) wanted(r *Request) {
	c.want = r.p.capacity != "" && r.p.capacity != "NONE"
	c.indexes = r.p.capacity == "INDEXES"
}

// response returns an answer of the given members and the capacity.
func (c *consumed) response(r *Request, members []byte) Response {
	c.wanted(r)
	return body(append(c.append(append([]byte{'{'}, members...)), '}'))
}

func (c *consumed) append(dst []byte) []byte {
	if !c.want {
		return dst
	}
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, `"ConsumedCapacity":[`...)
	for i, x := range c.list {
		dst = append(appendComma(dst, i), `{"CapacityUnits":`...)
		dst = strconv.AppendFloat(dst, x.units, 'f', -1, 64)
		if c.indexes {
			dst = append(dst, `,"Table":{"CapacityUnits":`...)
			dst = append(strconv.AppendFloat(dst, x.units, 'f', -1, 64), '}')
		}
		dst = append(appendString(append(dst, `,"TableName":`...), x.table), '}')
	}
	return append(dst, ']')
}

// readUnits returns the capacity of a consistent read of bytes of items: a unit
// for each 4 KiB begun.
func readUnits(bytes int) float64 { return float64(max(1, (bytes+4095)/4096)) }

// writeUnits returns the capacity of a write: a unit for each KiB begun.
func writeUnits(bytes int) float64 { return float64(max(1, (bytes+1023)/1024)) }
