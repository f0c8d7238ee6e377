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

// putItem does PutItem.
func (d *data) putItem(r *Request) (Response, error) {
	if err := d.schema.checkItem(r.p.item); err != nil {
		return nil, err
	}
	if err := d.checkIndexes(r.p.item); err != nil {
		return nil, err
	}
	place, hash := d.place(r.p.item)
	old, err := d.current(place, r)
	if err != nil {
		return nil, err
	}
	size := sizeOf(r.p.item)
	d.put(place, hash, old, own(r.p.item), size)
	return d.written(r, old, nil, size), nil
}

// deleteItem does DeleteItem.
func (d *data) deleteItem(r *Request) (Response, error) {
	if err := d.schema.checkKey(r.p.key); err != nil {
		return nil, err
	}
	place, _ := d.place(r.p.key)
	old, err := d.current(place, r)
	if err != nil {
		return nil, err
	}
	if old != nil {
		d.remove(place, old)
	}
	return d.written(r, old, nil, 0), nil
}

// updateItem does UpdateItem.
func (d *data) updateItem(r *Request) (Response, error) {
	if err := d.schema.checkKey(r.p.key); err != nil {
		return nil, err
	}
	if r.update != nil {
		for i := range r.update.actions {
			if name := r.update.actions[i].path[0].name; d.schema.has(name) {
				return nil, invalidParameter("Cannot update attribute %s. This attribute is part of the key", name)
			}
		}
	}
	place, hash := d.place(r.p.key)
	old, err := d.current(place, r)
	if err != nil {
		return nil, err
	}
	var base []attr
	if old != nil {
		base = old.attrs
	} else {
		if !r.update.creates() {
			return d.written(r, nil, nil, 0), nil
		}
		base = own(r.p.key)
	}
	item, err := r.update.apply(base)
	if err != nil {
		return nil, err
	}
	if tooDeep(item, maxNesting) {
		return nil, invalid("Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit")
	}
	size := sizeOf(item)
	if size > maxItemSize {
		return nil, errUpdateSize
	}
	if err := d.checkIndexes(item); err != nil {
		return nil, err
	}
	d.put(place, hash, old, item, size)
	return d.written(r, old, item, size), nil
}

// tooDeep reports whether a value is inside more than limit lists and maps.
func tooDeep(attrs []attr, limit int) bool {
	return slices.ContainsFunc(attrs, func(a attr) bool {
		return (a.kind == kindL || a.kind == kindM) && (limit == 0 || tooDeep(a.kids, limit-1))
	})
}

// current returns the item at a place, nil if there is none, or the error for
// a condition that does not hold for it.
func (d *data) current(place string, r *Request) (*stored, error) {
	old, _ := d.items.Get(place)
	var attrs []attr
	if old != nil {
		attrs = old.attrs
	}
	if r.condition.holds(attrs) {
		return old, nil
	}
	err := awserr.New(codeCondition, "The conditional request failed")
	if old != nil && r.p.returnOnFail == "ALL_OLD" {
		err.Members = string(appendAttrs([]byte(`,"Item":`), attrs))
	}
	return nil, err
}

// written returns the answer to a write of an item of the given new size.
func (d *data) written(r *Request, old *stored, item []attr, size int) Response {
	res := &itemResponse{member: "Attributes"}
	if old != nil {
		size = max(size, old.size)
	}
	res.capacity = d.capacity(r, float64(max(1, (size+1023)/1024)))
	switch r.p.returnValues {
	case "ALL_OLD":
		if res.has = old != nil; res.has {
			res.attrs = old.attrs
		}
	case "UPDATED_OLD":
		if old != nil {
			res.attrs = project(old.attrs, r.update.paths())
			res.has = r.update != nil && len(res.attrs) > 0
		}
	case "ALL_NEW":
		res.attrs, res.has = item, item != nil
	case "UPDATED_NEW":
		if item != nil {
			res.attrs = project(item, r.update.paths())
			res.has = r.update != nil && len(res.attrs) > 0
		}
	}
	return res
}
