package table

import (
	"slices"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// reason is one of CancellationReasons; the zero reason is that of a part that
// was all right.
type reason struct {
	code, message string
	members       string // JSON of further members
}

// because returns the reason that an error of a part is.
func because(err error) reason {
	ae, ok := err.(*awserr.Error) //nolint:errorlint // the package returns no other, and wraps none
	if !ok {
		return reason{code: "InternalServerError"}
	}
	switch ae.Code {
	case codeCondition:
		return reason{"ConditionalCheckFailed", ae.Message, ae.Members}
	case codeValidation:
		return reason{"ValidationError", ae.Message, ""}
	}
	return reason{ae.Code, ae.Message, ""}
}

// canceled returns the error of a transaction with the reasons of its parts, nil
// if none has any.
func canceled(reasons []reason) error {
	failed := slices.ContainsFunc(reasons, func(r reason) bool { return r.code != "" })
	if !failed {
		return nil
	}
	msg := []byte("Transaction cancelled, please refer cancellation reasons for specific reasons [")
	list := []byte(`,"CancellationReasons":[`)
	for i, r := range reasons {
		code := r.code
		if code == "" {
			code = "None"
		}
		if i > 0 {
			msg = append(msg, ", "...)
		}
		msg = append(msg, code...)
		list = appendString(append(appendComma(list, i), `{"Code":`...), code)
		if r.message != "" {
			list = appendString(append(list, `,"Message":`...), r.message)
		}
		list = append(append(list, r.members...), '}')
	}
	return &awserr.Error{
		Code: "TransactionCanceledException", Message: string(append(msg, ']')), Status: 400,
		Members: string(append(list, ']')),
	}
}

// transactWrite does TransactWriteItems.
func (s *Set) transactWrite(at time.Time, scope arn.Scope, r *Request) (Response, error) {
	done, err := s.tokens.find(at, scope, r)
	if err != nil {
		return nil, err
	}
	tables, err := s.findAll(scope, r)
	if err != nil {
		return nil, err
	}
	var units consumed
	if done {
		// The same was done before. What it would have read is what it costs.
		for i, q := range r.p.subs {
			units.add(tables[i], 2*readUnits(tables[i].sizeAt(q.keyOrItem())))
		}
		return units.response(r, nil), nil
	}
	changes := make([]change, len(r.p.subs))
	reasons := make([]reason, len(r.p.subs))
	seen := make(map[string]bool, len(r.p.subs))
	for i, q := range r.p.subs {
		c, err := tables[i].prepare(q)
		if err != nil {
			reasons[i] = because(err)
		}
		if c.place != "" {
			id := tables[i].name + "/" + c.place
			if seen[id] {
				return nil, invalid("Transaction request cannot include multiple operations on one item")
			}
			seen[id] = true
		}
		changes[i] = c
	}
	if err := canceled(reasons); err != nil {
		return nil, err
	}
	for i := range changes {
		d, c := tables[i], &changes[i]
		units.add(d, 2*writeUnits(c.largest()))
		d.commit(c)
	}
	s.tokens.add(at, scope, r)
	return units.response(r, nil), nil
}

// keyOrItem returns attributes that contain the key of the item that a part is
// about.
func (r *Request) keyOrItem() []attr {
	if r.op == opPutItem {
		return r.p.item
	}
	return r.p.key
}

// sizeAt returns the size of the item with the given key, 0 if there is none.
func (d *data) sizeAt(key []attr) int {
	if d.schema.checkItem(key) != nil {
		return 0
	}
	place, _ := d.place(key)
	if old, ok := d.items.Get(place); ok {
		return old.size
	}
	return 0
}

// transactGet does TransactGetItems.
func (s *Set) transactGet(scope arn.Scope, r *Request) (Response, error) {
	tables, err := s.findAll(scope, r)
	if err != nil {
		return nil, err
	}
	reasons := make([]reason, len(r.p.subs))
	seen := make(map[string]bool, len(r.p.subs))
	size := 0
	var units consumed
	dst := []byte(`"Responses":[`)
	for i, q := range r.p.subs {
		d := tables[i]
		if err := d.schema.checkKey(q.p.key); err != nil {
			reasons[i] = because(err)
			continue
		}
		place, _ := d.place(q.p.key)
		if id := d.name + "/" + place; seen[id] {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		} else {
			seen[id] = true
		}
		dst = append(appendComma(dst, i), '{')
		item, ok := d.items.Get(place)
		if ok {
			size += item.size
			dst = appendAttrs(append(dst, `"Item":`...), project(item.attrs, q.projection))
			units.add(d, 2*readUnits(item.size))
		} else {
			units.add(d, 2)
		}
		dst = append(dst, '}')
	}
	if err := canceled(reasons); err != nil {
		return nil, err
	}
	if size > maxTransactionSize {
		return nil, invalid("The aggregate size of the items in a transaction cannot exceed 4 MB")
	}
	return units.response(r, append(dst, ']')), nil
}

// findAll returns the table of each part.
func (s *Set) findAll(scope arn.Scope, r *Request) ([]*data, error) {
	tables := make([]*data, len(r.p.subs))
	for i, q := range r.p.subs {
		d, err := s.find(scope, q)
		if err != nil {
			return nil, err
		}
		tables[i] = d
	}
	return tables, nil
}
