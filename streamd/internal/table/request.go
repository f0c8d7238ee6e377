package table

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// operations is a set of operations.
type operations uint32

const (
	opCreateTable operations = 1 << iota
	opUpdateTable
	opDeleteTable
	opDescribeTable
	opListTables
	opGetItem
	opPutItem
	opUpdateItem
	opDeleteItem
	opScan
	opQuery
	opBatchGetItem
	opBatchWriteItem
	opTransactGetItems
	opTransactWriteItems
	opTagResource
	opUntagResource
	opListTagsOfResource
	opUpdateTimeToLive
	opDescribeTimeToLive
	opUpdateContinuousBackups
	opDescribeContinuousBackups
	opDescribeLimits

	// The rest stand inside of others only: a check of an item, and marks of
	// the members that operations have there.
	opConditionCheck
	inBatchGet
	inBatchWrite
	inTransaction

	opsMutating = opCreateTable | opUpdateTable | opDeleteTable | opsWriting | opBatchWriteItem | opTransactWriteItems |
		opTagResource | opUntagResource | opUpdateTimeToLive | opUpdateContinuousBackups
	opsNamed    = opsOfTables&^opListTables | opsOfItems | opsOfSettings // have a TableName
	opsOfTables = opCreateTable | opUpdateTable | opDeleteTable | opDescribeTable | opListTables
	opsOfItems  = opGetItem | opsWriting | opsReadingMany
	opsWriting  = opPutItem | opUpdateItem | opDeleteItem

	opsReadingMany = opScan | opQuery
	opsComposite   = opBatchGetItem | opBatchWriteItem | opTransactGetItems | opTransactWriteItems
	opsTransacting = opTransactGetItems | opTransactWriteItems
	opsOfTags      = opTagResource | opUntagResource | opListTagsOfResource
	opsOfSettings  = opUpdateTimeToLive | opDescribeTimeToLive | opUpdateContinuousBackups | opDescribeContinuousBackups
)

var operationNames = map[string]operations{
	"CreateTable": opCreateTable, "UpdateTable": opUpdateTable, "DeleteTable": opDeleteTable,
	"DescribeTable": opDescribeTable, "ListTables": opListTables,
	"GetItem": opGetItem, "PutItem": opPutItem, "UpdateItem": opUpdateItem, "DeleteItem": opDeleteItem,
	"Scan": opScan, "Query": opQuery,
	"BatchGetItem": opBatchGetItem, "BatchWriteItem": opBatchWriteItem,
	"TransactGetItems": opTransactGetItems, "TransactWriteItems": opTransactWriteItems,
	"TagResource": opTagResource, "UntagResource": opUntagResource, "ListTagsOfResource": opListTagsOfResource,
	"UpdateTimeToLive": opUpdateTimeToLive, "DescribeTimeToLive": opDescribeTimeToLive,
	"UpdateContinuousBackups": opUpdateContinuousBackups, "DescribeContinuousBackups": opDescribeContinuousBackups,
	"DescribeLimits": opDescribeLimits,
}

// Operations returns the names of the operations that there are, sorted.
func Operations() []string { return slices.Sorted(maps.Keys(operationNames)) }

// A Request is one request, checked as far as that can be done without the
// tables. It is immutable.
type Request struct {
	op   operations
	name string
	body []byte
	in   reader // of body
	p    params

	condition  *condition
	update     *update
	filter     *condition
	keys       []keyCondition
	projection []path
}

// Mutates reports whether the request may change tables, and so must go
// through the journal to [Set.Apply].
func (r *Request) Mutates() bool { return r.op&opsMutating != 0 }

// Consistent reports whether the request asks for a strongly consistent read.
func (r *Request) Consistent() bool { return r.p.consistent }

// Op returns the name of the operation.
func (r *Request) Op() string { return r.name }

// Tables returns the names of the tables that the request is about: one for
// most, none or several for some.
func (r *Request) Tables() []string {
	if r.op&opsComposite == 0 {
		if name := r.tableName(); name != "" {
			return []string{name}
		}
		return nil
	}
	var names []string
	for _, q := range r.p.subs {
		if name := q.tableName(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// tableName returns the name of the table that the request itself names.
func (r *Request) tableName() string {
	name := r.p.tableName
	if r.op&opsOfTags != 0 {
		name = r.p.table.resource
	}
	if i := strings.LastIndexByte(name, '/'); i >= 0 && strings.HasPrefix(name, "arn:") {
		return name[i+1:]
	}
	return name
}

// Body returns the body that was parsed.
func (r *Request) Body() []byte { return r.body }

// params are the members of a request's body, of all operations together.
type params struct {
	tableName  string
	hasTable   bool
	constraint []string // what DynamoDB calls "validation errors"
	given      []string // parameters that do not go with others, by name
	givenSpace [4]string

	key, item, startKey                      []attr
	keyInvalid, itemInvalid, startInvalid    error
	expected, keyConditions, filterCondition []legacyCondition
	attributeUpdates                         []legacyUpdate
	legacyInvalid                            error
	conditionalOperator                      string

	conditionExpr, updateExpr, filterExpr, keyExpr, projectionExpr optional

	ph             placeholders
	hasNames       bool
	hasValues      bool
	valuesInvalid  error
	attributesGet  []string
	returnValues   string
	returnOnFail   string
	capacity       string
	consistent     bool
	selects        string
	index          string
	limit          int64
	hasLimit       bool
	backward       bool
	segment, total int64
	hasSegment     bool
	hasTotal       bool

	table *tableParams // of the operations on whole tables

	subs     []*Request // what an operation on several items is made of
	readPart func(q *Request, in *reader, name string, place operations)
	hasSubs  bool
	writes   bool     // the parts are writes
	uneven   bool     // an element has none, or several, of what it must have one of
	batch    [][]attr // of a part of BatchGetItem: the keys
	hasBatch bool
	token    string // ClientRequestToken
	prefix   string // of a part: what the names of its members begin with
}

// Parse reads the body of a request of the given operation, such as "PutItem",
// and checks all that needs no table. body must not change as long as the
// Request is used.
//
// The error is an [*awserr.Error] in DynamoDB's words: UnknownOperationException
// for an operation that is not supported, SerializationException for a body
// that is not JSON of the right shape, ValidationException for the rest.
func Parse(op string, body []byte) (*Request, error) {
	r := &Request{name: op, body: body, op: operationNames[op]}
	if r.op == 0 {
		return nil, awserr.New(codeUnknown, "The operation %s is not supported.", printable(op))
	}
	if !utf8.Valid(body) {
		return nil, awserr.New(codeSerialization, "")
	}
	if r.op&(opsOfTables|opsOfTags|opsOfSettings) != 0 {
		r.p.table = &tableParams{}
	}
	r.p.readPart, r.p.writes = (*Request).read, r.Mutates()
	r.in = reader{s: unsafe.String(unsafe.SliceData(body), len(body))} // body does not change
	in := &r.in
	if in.peek() != tokenObject {
		return nil, awserr.New(codeSerialization, "")
	}
	in.object(func(name string) { r.read(in, name, 0) })
	if in.err == nil && in.peek() != tokenEnd {
		in.fail("")
	}
	if in.err != nil {
		return nil, in.err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// read reads a member of the request. place is what the request is a part of,
// 0 if it is none.
func (r *Request) read(in *reader, name string, place operations) {
	m, ok := members[name]
	if !ok || m.ops&r.op == 0 || m.ops&place != place {
		in.skip()
		return
	}
	m.read(&r.p, in)
}

// printable returns s as it may stand in a message.
func printable(s string) string {
	if len(s) > 64 || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "named"
	}
	return s
}

// require notes that a condition on a parameter is not met, in DynamoDB's form.
func (p *params) require(ok bool, value, at, constraint string) {
	if !ok && len(p.constraint) < 10 {
		p.constraint = append(p.constraint, fmt.Sprintf("Value %s at '%s%s' failed to satisfy constraint: %s", value, p.prefix, at, constraint))
	}
}

func quoted(s string) string { return "'" + s + "'" }

// check finds what is wrong with the request.
func (r *Request) check() error {
	p := &r.p
	if err := r.checkTableName(); err != nil {
		return err
	}
	r.requireMembers()
	for _, q := range p.subs {
		if r.op&opsTransacting != 0 { // of batches the names are keys of a map
			if err := q.checkTableName(); err != nil {
				return err
			}
		}
		q.requireMembers()
		p.constraint = append(p.constraint, q.p.constraint...)
	}
	if n := min(len(p.constraint), 10); n > 0 {
		s := ""
		if n > 1 {
			s = "s"
		}
		return invalid("%d validation error%s detected: %s", n, s, strings.Join(p.constraint[:n], "; "))
	}
	switch {
	case r.op&opsOfItems != 0:
		return r.checkItems()
	case r.op&opsComposite != 0:
		return r.checkParts()
	case r.op == opCreateTable:
		return p.table.checkCreate()
	case r.op == opUpdateTable:
		return p.table.checkUpdate()
	case r.op&opsOfTags != 0:
		return r.checkTags()
	}
	return nil
}

// requireMembers notes which members are missing.
func (r *Request) requireMembers() {
	p := &r.p
	if r.op&(opGetItem|opUpdateItem|opDeleteItem|opConditionCheck) != 0 && !p.hasBatch {
		p.require(p.key != nil, "null", "key", "Member must not be null")
	}
	switch r.op {
	case opPutItem:
		p.require(p.item != nil, "null", "item", "Member must not be null")
	case opCreateTable:
		p.table.requireForCreate(p)
	case opUpdateTimeToLive:
		p.table.requireTimeToLive(p)
	case opUpdateContinuousBackups:
		p.table.requireBackups(p)
	case opBatchGetItem, opBatchWriteItem:
		p.require(p.hasSubs, "null", "requestItems", "Member must not be null")
	case opTransactGetItems, opTransactWriteItems:
		p.require(p.hasSubs, "null", "transactItems", "Member must not be null")
	default: // the others need nothing, or look themselves
	}
}

// isTableName reports whether s has the characters of names of tables and
// indexes.
func isTableName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '.' && c != '-' {
			return false
		}
	}
	return s != ""
}

const (
	minTableName = 3
	maxTableName = 255
)

// checkTableName looks at TableName, which may be the ARN of a table except
// where one is created.
func (r *Request) checkTableName() error {
	p := &r.p
	if r.op&opsNamed == 0 {
		return nil
	}
	if !p.hasTable {
		if r.op&opsOfTables != 0 {
			return invalid("The parameter 'TableName' is required but was not present in the request")
		}
		p.require(false, "null", "tableName", "Member must not be null")
		return nil
	}
	if r.op != opCreateTable && strings.HasPrefix(p.tableName, "arn:") {
		return nil
	}
	if n := len(p.tableName); (n < minTableName || n > maxTableName) && r.op&opsOfTables != 0 {
		return invalid("TableName must be at least 3 characters long and at most 255 characters long")
	}
	named := isTableName(p.tableName)
	if n := len(p.tableName); named && n >= minTableName && n <= maxTableName {
		return nil
	}
	value := quoted(p.tableName)
	p.require(named, value, "tableName", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	p.require(len(p.tableName) >= minTableName, value, "tableName", "Member must have length greater than or equal to 3")
	p.require(len(p.tableName) <= maxTableName, value, "tableName", "Member must have length less than or equal to 255")
	return nil
}

// checkItems checks and compiles a request on items.
func (r *Request) checkItems() error {
	p := &r.p
	if err := r.checkMix(); err != nil {
		return err
	}
	if r.op&opsWriting != 0 && r.op != opUpdateItem && p.returnValues != "" && p.returnValues != "NONE" && p.returnValues != "ALL_OLD" {
		return invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	for _, err := range []error{p.keyInvalid, p.itemInvalid} {
		if err != nil {
			return err
		}
	}
	if p.startInvalid != nil {
		return invalid("The provided starting key is invalid: %s", message(p.startInvalid))
	}
	if r.op == opPutItem && sizeOf(p.item) > maxItemSize {
		return invalid("Item size has exceeded the maximum allowed size")
	}
	if r.op&opsReadingMany != 0 {
		if err := r.checkPaging(); err != nil {
			return err
		}
	}
	if err := r.compileLegacy(); err != nil {
		return err
	}
	if err := r.compileExpressions(); err != nil {
		return err
	}
	if r.op == opQuery && r.keys == nil {
		return invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	return nil
}

// checkMix refuses expressions beside the parameters that they replace, and
// placeholders without expressions.
func (r *Request) checkMix() error {
	p := &r.p
	var older, exprs []string
	for _, name := range p.given {
		if strings.HasSuffix(name, "Expression") {
			exprs = append(exprs, name)
		} else {
			older = append(older, name)
		}
	}
	if !p.keyExpr.given && p.keyConditions != nil {
		// KeyConditions alone may stand beside the other expressions.
		older = slices.DeleteFunc(older, func(s string) bool { return s == "KeyConditions" })
	}
	if len(older) > 0 && len(exprs) > 0 {
		return invalid("Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {%s} Expression parameters: {%s}",
			strings.Join(older, ", "), strings.Join(exprs, ", "))
	}
	if p.hasNames && len(exprs) == 0 {
		return invalid("ExpressionAttributeNames can only be specified when using expressions")
	}
	exprs = slices.DeleteFunc(exprs, func(s string) bool { return s == "ProjectionExpression" })
	if p.hasValues && len(exprs) == 0 {
		var possible string
		switch r.op {
		case opUpdateItem:
			possible = "UpdateExpression and ConditionExpression are null"
		case opScan:
			possible = "FilterExpression is null"
		case opQuery:
			possible = "FilterExpression and KeyConditionExpression are null"
		default:
			possible = "ConditionExpression is null"
		}
		return invalid("ExpressionAttributeValues can only be specified when using expressions: %s", possible)
	}
	return nil
}

// checkPaging checks the parameters of Scan and Query.
func (r *Request) checkPaging() error {
	p := &r.p
	switch {
	case p.hasSegment && !p.hasTotal:
		return invalid("The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
	case p.hasTotal && !p.hasSegment:
		return invalid("The Segment parameter is required but was not present in the request when parameter TotalSegments is present")
	case p.hasTotal && p.segment >= p.total:
		return invalid("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: %d is not less than TotalSegments: %d", p.segment, p.total)
	}
	projects := p.attributesGet != nil || p.projectionExpr.given
	switch {
	case p.selects == "SPECIFIC_ATTRIBUTES" && !projects:
		return invalid("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
	case p.selects != "" && p.selects != "SPECIFIC_ATTRIBUTES" && p.projectionExpr.given:
		return invalid("Cannot specify the ProjectionExpression when choosing to get %s", p.selects)
	case p.selects != "" && p.selects != "SPECIFIC_ATTRIBUTES" && p.attributesGet != nil:
		return invalid("Cannot specify the AttributesToGet when choosing to get %s", p.selects)
	case p.selects == "ALL_PROJECTED_ATTRIBUTES" && p.index == "":
		return invalidParameter("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
	}
	return nil
}

// compileExpressions parses the expressions and looks for placeholders that
// none of them uses.
func (r *Request) compileExpressions() error {
	p := &r.p
	ph := &p.ph
	if err := p.checkPlaceholders(); err != nil {
		return err
	}
	if p.updateExpr.given {
		var msg string
		if r.update, msg = parseUpdate(p.updateExpr.text, ph); msg != "" {
			return invalid("Invalid UpdateExpression: %s", msg)
		}
	}
	if p.conditionExpr.given {
		c, msg := parseCondition(p.conditionExpr.text, ph)
		if msg != "" {
			return invalid("Invalid ConditionExpression: %s", msg)
		}
		r.condition = c
	}
	var keys *condition
	if p.keyExpr.given {
		c, msg := parseCondition(p.keyExpr.text, ph)
		if msg != "" {
			return invalid("Invalid KeyConditionExpression: %s", msg)
		}
		keys = c
	}
	if p.filterExpr.given {
		c, msg := parseCondition(p.filterExpr.text, ph)
		if msg != "" {
			return invalid("Invalid FilterExpression: %s", msg)
		}
		r.filter = c
	}
	if p.projectionExpr.given {
		paths, msg := parseProjection(p.projectionExpr.text, ph)
		if msg != "" {
			return invalid("Invalid ProjectionExpression: %s", msg)
		}
		r.projection = paths
	}
	if list := unused(ph.names, ph.usedNames); list != "" {
		return invalid("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", list)
	}
	if list := unused(ph.values, ph.usedValues); list != "" {
		return invalid("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", list)
	}
	if keys != nil {
		var msg string
		if r.keys, msg = keyConditions(nil, keys); msg != "" {
			return invalid("%s", msg)
		}
	}
	return nil
}

// checkPlaceholders checks the keys of the two maps of placeholders.
func (p *params) checkPlaceholders() error {
	for _, m := range []struct {
		name  string
		given bool
		sign  byte
		attrs []attr
		used  *[]bool
		space []bool
	}{
		{"ExpressionAttributeNames", p.hasNames, '#', p.ph.names, &p.ph.usedNames, p.ph.usedSpace[0][:]},
		{"ExpressionAttributeValues", p.hasValues, ':', p.ph.values, &p.ph.usedValues, p.ph.usedSpace[1][:]},
	} {
		if !m.given {
			continue
		}
		if len(m.attrs) == 0 {
			return invalid("%s must not be empty", m.name)
		}
		for i := range m.attrs {
			if k := m.attrs[i].name; len(k) < 2 || k[0] != m.sign || wordEnd(k, 1) != len(k) {
				return invalid("%s contains invalid key: Syntax error; key: \"%s\"", m.name, k)
			}
		}
		if len(m.attrs) <= len(m.space) {
			*m.used = m.space[:len(m.attrs)]
		} else {
			*m.used = make([]bool, len(m.attrs))
		}
	}
	return p.valuesInvalid
}

func unused(attrs []attr, used []bool) string {
	var keys []string
	for i := range attrs {
		if !used[i] {
			keys = append(keys, attrs[i].name)
		}
	}
	return strings.Join(keys, ", ")
}
