package table

import "strconv"

// A Response is the answer to a request. It stays valid whatever happens to
// the [Set] that gave it, and may be encoded without a lock.
type Response interface {
	// AppendJSON appends the body of the answer.
	AppendJSON(dst []byte) []byte
}

// body is an answer that is encoded already.
type body []byte

func (b body) AppendJSON(dst []byte) []byte { return append(dst, b...) }

// itemResponse is an answer with at most one item.
type itemResponse struct {
	member   string
	attrs    []attr
	has      bool
	capacity capacity
}

func (r *itemResponse) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if r.has {
		dst = append(appendString(dst, r.member), ':')
		dst = appendAttrs(dst, r.attrs)
	}
	return append(r.capacity.append(dst), '}')
}

// pageResponse is the answer to Scan and Query.
type pageResponse struct {
	items      [][]attr
	withItems  bool
	projection []path
	count      int
	scanned    int
	last       []attr // nil at the end
	capacity   capacity
}

func (r *pageResponse) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"Count":`...)
	dst = strconv.AppendInt(dst, int64(r.count), 10)
	if r.withItems {
		dst = append(dst, `,"Items":[`...)
		for i, item := range r.items {
			dst = appendAttrs(appendComma(dst, i), project(item, r.projection))
		}
		dst = append(dst, ']')
	}
	if r.last != nil {
		dst = appendAttrs(append(dst, `,"LastEvaluatedKey":`...), r.last)
	}
	dst = append(dst, `,"ScannedCount":`...)
	dst = strconv.AppendInt(dst, int64(r.scanned), 10)
	return append(r.capacity.append(dst), '}')
}

// capacity is ConsumedCapacity; without a table there is none.
type capacity struct {
	table   string
	units   float64
	indexes bool
}

// capacity returns what a request used, if it asks for that.
func (d *data) capacity(r *Request, units float64) capacity {
	if r.p.capacity == "" || r.p.capacity == "NONE" {
		return capacity{}
	}
	return capacity{d.name, units, r.p.capacity == "INDEXES"}
}

// readCapacity returns what reading bytes of items used: half a unit for each
// 4 KiB begun, twice that for consistent reads.
func (d *data) readCapacity(r *Request, bytes int) capacity {
	units := readUnits(bytes)
	if !r.p.consistent {
		units /= 2
	}
	return d.capacity(r, units)
}

func (c capacity) append(dst []byte) []byte {
	if c.table == "" {
		return dst
	}
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, `"ConsumedCapacity":{"CapacityUnits":`...)
	dst = strconv.AppendFloat(dst, c.units, 'f', -1, 64)
	if c.indexes {
		dst = append(dst, `,"Table":{"CapacityUnits":`...)
		dst = append(strconv.AppendFloat(dst, c.units, 'f', -1, 64), '}')
	}
	dst = appendString(append(dst, `,"TableName":`...), c.table)
	return append(dst, '}')
}
