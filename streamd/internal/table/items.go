package table

import (
	"slices"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// getItem does GetItem.
func (d *data) getItem(r *Request) (Response, error) {
	if err := d.schema.checkKey(r.p.key); err != nil {
		return nil, err
	}
	place, _ := d.place(r.p.key)
	res := &itemResponse{member: "Item", capacity: d.readCapacity(r, 0)}
	if s, ok := d.items.Get(place); ok {
		res.attrs = project(s.attrs, r.projection)
		res.has = true
		res.capacity = d.readCapacity(r, s.size)
	}
	return res, nil
}

// change is a write of one item that was found right but is not done. place is
// empty if the key of the item was wrong.
type change struct {
	place string
	hash  int
	old   *stored
	item  []attr // nil for none afterwards
	size  int
	kept  bool // nothing changes
}

// largest returns the size that the capacity of a write is counted by.
func (c *change) largest() int {
	if c.old != nil {
		return max(c.size, c.old.size)
	}
	return c.size
}

// prepare finds out what a write, or a check of a condition, would do.
func (d *data) prepare(r *Request) (change, error) {
	switch r.op {
	case opPutItem:
		return d.preparePut(r)
	case opUpdateItem:
		return d.prepareUpdate(r)
	default:
		return d.prepareDelete(r)
	}
}

// commit does what was prepared.
func (d *data) commit(c *change) {
	switch {
	case c.kept:
	case c.item != nil:
		d.put(c.place, c.hash, c.old, c.item, c.size)
	case c.old != nil:
		d.remove(c.place, c.old)
	}
}

// write does PutItem, UpdateItem or DeleteItem.
func (d *data) write(r *Request) (Response, error) {
	c, err := d.prepare(r)
	if err != nil {
		return nil, err
	}
	d.commit(&c)
	return d.written(r, &c), nil
}

func (d *data) preparePut(r *Request) (change, error) {
	if err := d.schema.checkItem(r.p.item); err != nil {
		return change{}, err
	}
	if err := d.checkIndexes(r.p.item); err != nil {
		return change{}, err
	}
	c, err := d.current(r.p.item, r)
	if err == nil {
		c.item, c.size = own(r.p.item), sizeOf(r.p.item)
	}
	return c, err
}

// prepareDelete prepares DeleteItem, and a check of a condition.
func (d *data) prepareDelete(r *Request) (change, error) {
	if err := d.schema.checkKey(r.p.key); err != nil {
		return change{}, err
	}
	c, err := d.current(r.p.key, r)
	c.kept = r.op == opConditionCheck
	return c, err
}

func (d *data) prepareUpdate(r *Request) (change, error) {
	if err := d.schema.checkKey(r.p.key); err != nil {
		return change{}, err
	}
	if r.update != nil {
		for i := range r.update.actions {
			if name := r.update.actions[i].path[0].name; d.schema.has(name) {
				return change{}, invalidParameter("Cannot update attribute %s. This attribute is part of the key", name)
			}
		}
	}
	c, err := d.current(r.p.key, r)
	if err != nil {
		return c, err
	}
	var base []attr
	if c.old != nil {
		base = c.old.attrs
	} else {
		base = own(r.p.key)
	}
	item, err := r.update.apply(base)
	if err != nil {
		return c, err
	}
	if c.old == nil && !r.update.creates() {
		c.kept = true
		return c, nil
	}
	if tooDeep(item, maxNesting) {
		return c, invalid("Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit")
	}
	size := sizeOf(item)
	if size > maxItemSize {
		return c, errUpdateSize
	}
	if err := d.checkIndexes(item); err != nil {
		return c, err
	}
	c.item, c.size = item, size
	return c, nil
}

// tooDeep reports whether a value is inside more than limit lists and maps.
func tooDeep(attrs []attr, limit int) bool {
	return slices.ContainsFunc(attrs, func(a attr) bool {
		return (a.kind == kindL || a.kind == kindM) && (limit == 0 || tooDeep(a.kids, limit-1))
	})
}

// current returns a change of the item whose key is in the given attributes. The
// error is that of a condition that does not hold for what is there.
func (d *data) current(key []attr, r *Request) (change, error) {
	var c change
	c.place, c.hash = d.place(key)
	c.old, _ = d.items.Get(c.place)
	var attrs []attr
	if c.old != nil {
		attrs = c.old.attrs
	}
	if r.condition.holds(attrs) {
		return c, nil
	}
	err := awserr.New(codeCondition, "The conditional request failed")
	if c.old != nil && r.p.returnOnFail == "ALL_OLD" {
		err.Members = string(appendAttrs([]byte(`,"Item":`), attrs))
	}
	return c, err
}

// written returns the answer to a write that was done.
func (d *data) written(r *Request, c *change) Response {
	res := &itemResponse{member: "Attributes"}
	res.capacity = d.capacity(r, writeUnits(c.largest()))
	switch r.p.returnValues {
	case "ALL_OLD":
		if res.has = c.old != nil; res.has {
			res.attrs = c.old.attrs
		}
	case "UPDATED_OLD":
		if c.old != nil {
			res.attrs = project(c.old.attrs, r.update.paths())
			res.has = r.update != nil && len(res.attrs) > 0
		}
	case "ALL_NEW":
		res.attrs, res.has = c.item, c.item != nil
	case "UPDATED_NEW":
		if c.item != nil {
			res.attrs = project(c.item, r.update.paths())
			res.has = r.update != nil && len(res.attrs) > 0
		}
	}
	return res
}
