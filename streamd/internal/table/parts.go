package table

import (
	"slices"
	"strconv"
	"strings"
)

// Limits of operations on several items. Source: Amazon DynamoDB API Reference.
const (
	maxBatchGet    = 100
	maxBatchWrite  = 25
	maxTransaction = 100
	maxToken       = 36

	maxTransactionSize = 4 << 20
	maxBatchSize       = 16 << 20
)

// part returns a new part of the request, which is read by [params.readPart].
func (p *params) part(op operations, prefix string) *Request {
	return &Request{op: op, p: params{prefix: prefix, readPart: p.readPart}}
}

// readObject reads the members of a part; false for null.
func (p *params) readObject(q *Request, r *reader, place operations) bool {
	return r.optObject(func(name string) { p.readPart(q, r, name, place) })
}

// readRequestItems reads RequestItems, of BatchGetItem a map of keys by table,
// of BatchWriteItem a map of lists of writes.
func readRequestItems(p *params, r *reader) {
	p.subs = nil
	bad, n := false, 0
	p.hasSubs = r.optObject(func(table string) {
		n++
		// Of a name that stands twice in the JSON the last counts.
		p.subs = slices.DeleteFunc(p.subs, func(q *Request) bool { return q.p.tableName == table })
		bad = bad || !isTableName(tableOfARN(table)) || len(table) < minTableName
		if p.writes {
			p.readWrites(r, table)
			return
		}
		q := p.part(opGetItem, "requestItems."+table+".member.")
		q.p.tableName, q.p.hasTable = table, true
		if r.optObject(func(name string) {
			if name == "Keys" {
				q.readKeys(r)
				return
			}
			p.readPart(q, r, name, inBatchGet)
		}) {
			q.p.require(q.p.hasBatch, "null", "keys", "Member must not be null")
			q.p.hasBatch = true
			p.subs = append(p.subs, q)
		}
	})
	if !p.hasSubs {
		return
	}
	p.require(!bad, "'{…}'", "requestItems", "Map keys must satisfy constraint: [Member must have length less than or equal to 255, Member must have length greater than or equal to 3, Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+]")
	p.require(n > 0, "'{}'", "requestItems", "Member must have length greater than or equal to 1")
}

// tableOfARN returns the name in the ARN of a table, and other text as it is.
func tableOfARN(s string) string {
	if i := strings.LastIndexByte(s, '/'); i >= 0 && strings.HasPrefix(s, "arn:") {
		return s[i+1:]
	}
	return s
}

// readKeys reads the keys of one table in BatchGetItem.
func (r *Request) readKeys(in *reader) {
	r.p.batch = nil
	r.p.hasBatch = in.optArray(func() {
		if key := in.attrs(&r.p.keyInvalid); key != nil {
			r.p.batch = append(r.p.batch, key)
		}
	})
	if r.p.hasBatch {
		r.p.require(len(r.p.batch) > 0, "'[]'", "keys", "Member must have length greater than or equal to 1")
		r.p.require(len(r.p.batch) <= maxBatchGet, "'[…]'", "keys", "Member must have length less than or equal to 100")
	}
}

// readWrites reads the writes of one table in BatchWriteItem.
func (p *params) readWrites(r *reader, table string) {
	n := 0
	if !r.optArray(func() {
		n++
		prefix := "requestItems." + table + ".member." + strconv.Itoa(n) + ".member."
		given := 0
		r.optObject(func(name string) {
			op, at := opPutItem, "putRequest."
			switch name {
			case "PutRequest":
			case "DeleteRequest":
				op, at = opDeleteItem, "deleteRequest."
			default:
				r.skip()
				return
			}
			q := p.part(op, prefix+at)
			q.p.tableName, q.p.hasTable = table, true
			if p.readObject(q, r, inBatchWrite) {
				given++
				p.subs = append(p.subs, q)
			}
		})
		p.uneven = p.uneven || given != 1
	}) {
		return
	}
	p.require(n >= 1 && n <= maxBatchWrite, "'{…}'", "requestItems",
		"Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than or equal to 1]")
}

// transactParts are the members of an element of TransactItems.
var transactParts = map[string]struct {
	op, in operations
	at     string
}{
	"ConditionCheck": {opConditionCheck, opTransactWriteItems, "conditionCheck."},
	"Put":            {opPutItem, opTransactWriteItems, "put."},
	"Update":         {opUpdateItem, opTransactWriteItems, "update."},
	"Delete":         {opDeleteItem, opTransactWriteItems, "delete."},
	"Get":            {opGetItem, opTransactGetItems, "get."},
}

// readTransactItems reads TransactItems.
func readTransactItems(p *params, r *reader) {
	p.subs = nil
	whole := opTransactGetItems
	if p.writes {
		whole = opTransactWriteItems
	}
	n := 0
	p.hasSubs = r.optArray(func() {
		n++
		at := "transactItems." + strconv.Itoa(n) + ".member."
		given := 0
		r.optObject(func(name string) {
			t := transactParts[name]
			if t.in != whole {
				r.skip()
				return
			}
			q := p.part(t.op, at+t.at)
			if p.readObject(q, r, inTransaction) {
				given++
				p.subs = append(p.subs, q)
			}
		})
		if given == 0 && whole == opTransactGetItems {
			p.require(false, "null", at+"get", "Member must not be null")
		}
		p.uneven = p.uneven || given != 1
	})
	if p.hasSubs {
		p.require(n >= 1, "'[]'", "transactItems", "Member must have length greater than or equal to 1")
		p.require(n <= maxTransaction, "'[…]'", "transactItems", "Member must have length less than or equal to 100")
	}
}

func readToken(p *params, r *reader) {
	s, ok := r.optString()
	if !ok {
		return
	}
	p.token = s
	p.require(len(s) >= 1, quoted(s), "clientRequestToken", "Member must have length greater than or equal to 1")
	p.require(len(s) <= maxToken, quoted(s), "clientRequestToken", "Member must have length less than or equal to 36")
}

// checkParts checks and compiles the parts of an operation on several items.
func (r *Request) checkParts() error {
	p := &r.p
	count := 0
	for _, q := range p.subs {
		q.p.returnValues = ""
		count += max(1, len(q.p.batch))
		if q.op == opUpdateItem && !q.p.updateExpr.given {
			return invalid("1 validation error detected: Value null at '%supdateExpression' failed to satisfy constraint: Member must not be null", q.p.prefix)
		}
		if q.op == opConditionCheck && !q.p.conditionExpr.given {
			return invalid("1 validation error detected: Value null at '%sconditionExpression' failed to satisfy constraint: Member must not be null", q.p.prefix)
		}
	}
	switch {
	case p.uneven && r.op == opTransactWriteItems:
		return invalid("TransactItems can only contain one of Check, Put, Update or Delete")
	case p.uneven:
		return invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	case r.op == opBatchGetItem && count > maxBatchGet:
		return invalid("Too many items requested for the BatchGetItem call")
	case r.op == opBatchWriteItem && count > maxBatchWrite:
		return invalid("Too many items requested for the BatchWriteItem call")
	}
	size := 0
	for _, q := range p.subs {
		if err := q.checkItems(); err != nil {
			return err
		}
		size += sizeOf(q.p.item)
	}
	if r.op == opTransactWriteItems && size > maxTransactionSize {
		return invalid("The aggregate size of the items in a transaction cannot exceed 4 MB")
	}
	return nil
}
