package table

import (
	"slices"
	"strconv"
	"strings"
)

// member reads one member of a request's body. A member that an operation does
// not have is passed over, as AWS does.
type member struct {
	ops  operations
	read func(p *params, r *reader)
}

// members are the members of all operations by name.
var members = map[string]member{
	"TableName": {opsNamed | opConditionCheck | inTransaction, func(p *params, r *reader) { p.tableName, p.hasTable = r.optString() }},

	"Key":               {opGetItem | opUpdateItem | opDeleteItem | opConditionCheck | inBatchWrite | inTransaction, func(p *params, r *reader) { p.key = r.attrs(&p.keyInvalid) }},
	"Item":              {opPutItem | inBatchWrite | inTransaction, func(p *params, r *reader) { p.item = r.attrs(&p.itemInvalid) }},
	"ExclusiveStartKey": {opsReadingMany, func(p *params, r *reader) { p.startKey = r.attrs(&p.startInvalid) }},

	"Expected":            {opsWriting, func(p *params, r *reader) { p.legacy(r, "Expected", &p.expected) }},
	"ScanFilter":          {opScan, func(p *params, r *reader) { p.legacy(r, "ScanFilter", &p.filterCondition) }},
	"QueryFilter":         {opQuery, func(p *params, r *reader) { p.legacy(r, "QueryFilter", &p.filterCondition) }},
	"KeyConditions":       {opQuery, func(p *params, r *reader) { p.legacy(r, "KeyConditions", &p.keyConditions) }},
	"AttributeUpdates":    {opUpdateItem, readAttributeUpdates},
	"AttributesToGet":     {opGetItem | opsReadingMany | inBatchGet, readAttributesToGet},
	"ConditionalOperator": {opsWriting | opsReadingMany, readConditionalOperator},

	"ConditionExpression":       {opsWriting | opConditionCheck | inTransaction, func(p *params, r *reader) { p.expression(r, "ConditionExpression", &p.conditionExpr) }},
	"UpdateExpression":          {opUpdateItem | inTransaction, func(p *params, r *reader) { p.expression(r, "UpdateExpression", &p.updateExpr) }},
	"FilterExpression":          {opsReadingMany, func(p *params, r *reader) { p.expression(r, "FilterExpression", &p.filterExpr) }},
	"KeyConditionExpression":    {opQuery, func(p *params, r *reader) { p.expression(r, "KeyConditionExpression", &p.keyExpr) }},
	"ProjectionExpression":      {opGetItem | opsReadingMany | inBatchGet | inTransaction, func(p *params, r *reader) { p.expression(r, "ProjectionExpression", &p.projectionExpr) }},
	"ExpressionAttributeNames":  {opsOfItems | opConditionCheck | inBatchGet | inTransaction, readNames},
	"ExpressionAttributeValues": {opsWriting | opsReadingMany | opConditionCheck | inTransaction, readValues},

	"ReturnValues": {opsWriting, func(p *params, r *reader) {
		p.enum(r, &p.returnValues, "returnValues", "ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
	}},
	"ReturnValuesOnConditionCheckFailure": {opsWriting | opConditionCheck | inTransaction, func(p *params, r *reader) {
		p.enum(r, &p.returnOnFail, "returnValuesOnConditionCheckFailure", "ALL_OLD", "NONE")
	}},
	"ReturnConsumedCapacity": {opsOfItems | opsComposite, func(p *params, r *reader) {
		p.enum(r, &p.capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	}},
	"ReturnItemCollectionMetrics": {opsWriting | opBatchWriteItem | opTransactWriteItems, func(p *params, r *reader) {
		var ignored string
		p.enum(r, &ignored, "returnItemCollectionMetrics", "SIZE", "NONE")
	}},
	"Select": {opsReadingMany, func(p *params, r *reader) {
		p.enum(r, &p.selects, "select", "SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")
	}},
	"ConsistentRead":   {opGetItem | opsReadingMany | inBatchGet, func(p *params, r *reader) { p.consistent, _ = r.optBool() }},
	"IndexName":        {opsReadingMany, func(p *params, r *reader) { p.index, _ = r.optString() }},
	"ScanIndexForward": {opQuery, func(p *params, r *reader) { v, ok := r.optBool(); p.backward = ok && !v }},
	"Limit": {opsReadingMany | opListTables, func(p *params, r *reader) {
		if p.limit, p.hasLimit = r.optInt(false); p.hasLimit {
			p.require(p.limit >= 1, quotedInt(p.limit), "limit", "Member must have value greater than or equal to 1")
			p.require(p.table == nil || p.limit <= maxListTables, quotedInt(p.limit), "limit", "Member must have value less than or equal to 100")
		}
	}},
	"Segment": {opScan, func(p *params, r *reader) {
		if p.segment, p.hasSegment = r.optInt(false); p.hasSegment {
			p.require(p.segment >= 0, quotedInt(p.segment), "segment", "Member must have value greater than or equal to 0")
			p.require(p.segment < maxSegments, quotedInt(p.segment), "segment", "Member must have value less than or equal to 999999")
		}
	}},
	"TotalSegments": {opScan, func(p *params, r *reader) {
		if p.total, p.hasTotal = r.optInt(false); p.hasTotal {
			p.require(p.total >= 1, quotedInt(p.total), "totalSegments", "Member must have value greater than or equal to 1")
			p.require(p.total <= maxSegments, quotedInt(p.total), "totalSegments", "Member must have value less than or equal to 1000000")
		}
	}},

	"AttributeDefinitions":        {opCreateTable | opUpdateTable, readAttributeDefinitions},
	"KeySchema":                   {opCreateTable, func(p *params, r *reader) { p.table.keys = p.keySchema(r, "keySchema") }},
	"GlobalSecondaryIndexes":      {opCreateTable, func(p *params, r *reader) { p.indexes(r, "globalSecondaryIndexes", false) }},
	"LocalSecondaryIndexes":       {opCreateTable, func(p *params, r *reader) { p.indexes(r, "localSecondaryIndexes", true) }},
	"GlobalSecondaryIndexUpdates": {opUpdateTable, readIndexUpdates},
	"BillingMode": {opCreateTable | opUpdateTable, func(p *params, r *reader) {
		p.enum(r, &p.table.billing, "billingMode", billingProvisioned, billingOnDemand)
	}},
	"ProvisionedThroughput": {opCreateTable | opUpdateTable, func(p *params, r *reader) {
		p.table.throughput = p.throughput(r, "provisionedThroughput")
	}},
	"DeletionProtectionEnabled": {opCreateTable | opUpdateTable, func(p *params, r *reader) {
		if v, ok := r.optBool(); ok {
			p.table.protect = &v
		}
	}},
	"RequestItems":       {opBatchGetItem | opBatchWriteItem, readRequestItems},
	"TransactItems":      {opsTransacting, readTransactItems},
	"ClientRequestToken": {opTransactWriteItems, readToken},

	"ResourceArn":                      {opsOfTags, func(p *params, r *reader) { p.table.resource, p.table.hasResource = r.optString() }},
	"Tags":                             {opCreateTable | opTagResource, readTags},
	"TagKeys":                          {opUntagResource, readTagKeys},
	"TimeToLiveSpecification":          {opUpdateTimeToLive, readTimeToLive},
	"PointInTimeRecoverySpecification": {opUpdateContinuousBackups, readBackups},
	"ReplicaUpdates":                   {opUpdateTable, refuse("ReplicaUpdates")},
	"GlobalTableWitnessUpdates":        {opUpdateTable, refuse("GlobalTableWitnessUpdates")},
	"MultiRegionConsistency":           {opUpdateTable, refuse("MultiRegionConsistency")},
	"ResourcePolicy":                   {opCreateTable, refuse("ResourcePolicy")},
	"StreamSpecification":              {opCreateTable | opUpdateTable, readStreamSpecification},
	"ExclusiveStartTableName":          {opListTables, func(p *params, r *reader) { p.table.after, _ = r.optString() }},
}

const (
	maxSegments        = 1_000_000
	maxAttributesToGet = 255
)

func quotedInt(n int64) string { return quoted(strconv.FormatInt(n, 10)) }

// mark remembers that a parameter was given that does not go with others.
func (p *params) mark(name string) {
	if p.given == nil {
		p.given = p.givenSpace[:0]
	}
	if !slices.Contains(p.given, name) {
		p.given = append(p.given, name)
	}
}

// optional is a string that may be absent.
type optional struct {
	text  string
	given bool
}

func (p *params) expression(r *reader, name string, dst *optional) {
	if dst.text, dst.given = r.optString(); dst.given {
		p.mark(name)
	}
}

// enum reads a string that must be one of the given.
func (p *params) enum(r *reader, dst *string, at string, allowed ...string) {
	s, ok := r.optString()
	if !ok {
		return
	}
	*dst = s
	if !slices.Contains(allowed, s) {
		p.require(false, quoted(s), at, "Member must satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
	}
}

func readConditionalOperator(p *params, r *reader) {
	p.enum(r, &p.conditionalOperator, "conditionalOperator", "OR", "AND")
	if p.conditionalOperator != "" {
		p.mark("ConditionalOperator")
	}
}

func readNames(p *params, r *reader) {
	var names []attr
	p.hasNames = r.optObject(func(key string) {
		if s, ok := r.optString(); ok {
			names = append(names, attr{key, value{kind: kindS, text: s}})
		}
	})
	p.ph.names = sortAttrs(names)
}

func readValues(p *params, r *reader) {
	p.valuesInvalid = nil
	var buf [16]attr
	values := buf[:0]
	p.hasValues = r.optObject(func(key string) {
		var wrong error
		if v, ok := r.value(&wrong, 0); ok {
			values = append(values, attr{key, v})
		}
		if wrong != nil && p.valuesInvalid == nil {
			p.valuesInvalid = invalid("ExpressionAttributeValues contains invalid value: %s for key %s", message(wrong), key)
		}
	})
	p.ph.values = sortAttrs(append(make([]attr, 0, len(values)), values...))
}

func readAttributesToGet(p *params, r *reader) {
	var names []string
	if !r.optArray(func() {
		if s, ok := r.optString(); ok {
			names = append(names, s)
		}
	}) {
		return
	}
	p.mark("AttributesToGet")
	p.require(len(names) <= maxAttributesToGet, "'[…]'", "attributesToGet", "Member must have length less than or equal to 255")
	p.require(len(names) > 0, "'[]'", "attributesToGet", "Member must have length greater than or equal to 1")
	p.attributesGet = names
}
