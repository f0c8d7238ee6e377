package consumer_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// simDB is DynamoDB in memory: tables with conditional writes in one order, reads
// that lag behind if they are not consistent, and indexes that always do.
type simDB struct {
	mu      sync.Mutex // guards all below, and is held while a write is noted
	tables  map[string]*simTable
	onWrite func(w simWrite) // told of every write that was done
	late    sync.WaitGroup   // requests whose callers have given up
	maxLag  time.Duration
}

// simWrite is a write that was done.
type simWrite struct {
	who, table, key string
	before, after   simItem // nil if there is none
}

type simTable struct {
	key     string // attribute
	indexes map[string][2]string
	ready   map[string]time.Time // when an index becomes active
	rows    map[string]*simRow
	order   []string // keys, sorted
}

// simRow is a row and how it was a while ago.
type simRow struct {
	versions []simVersion // oldest first; the last one is the present
}

type simVersion struct {
	at   time.Time
	item simItem // nil if there was none
}

func newSimDB(maxLag time.Duration) *simDB {
	return &simDB{tables: map[string]*simTable{}, maxLag: maxLag, onWrite: func(simWrite) {}}
}

// asOf returns the row as it was at a time.
func (r *simRow) asOf(t time.Time) simItem {
	for _, v := range slices.Backward(r.versions) {
		if !v.at.After(t) {
			return v.item
		}
	}
	return nil
}

func (r *simRow) now() simItem {
	if r == nil {
		return nil
	}
	return r.versions[len(r.versions)-1].item
}

// setLocked replaces a row.
func (db *simDB) setLocked(who, table, key string, after simItem) {
	t := db.tables[table]
	r := t.rows[key]
	if r == nil {
		r = new(simRow)
		t.rows[key] = r
		i, _ := slices.BinarySearch(t.order, key)
		t.order = slices.Insert(t.order, i, key)
		r.versions = append(r.versions, simVersion{})
	}
	before, now := r.now(), time.Now()
	drop := 0
	for drop+1 < len(r.versions) && r.versions[drop+1].at.Before(now.Add(-db.maxLag)) {
		drop++
	}
	r.versions = append(r.versions[drop:len(r.versions):len(r.versions)], simVersion{now, after})
	db.onWrite(simWrite{who, table, key, before, after})
}

func (db *simDB) tableLocked(name *string) (*simTable, error) {
	t := db.tables[aws.ToString(name)]
	if t == nil {
		return nil, &types.ResourceNotFoundException{Message: aws.String("no table " + aws.ToString(name))}
	}
	return t, nil
}

func (t *simTable) keyOf(item simItem) string {
	return item[t.key].(*types.AttributeValueMemberS).Value
}

// simKeyIn returns the key that a row has, in whatever table.
func simKeyIn(item simItem) string {
	for _, name := range []string{"leaseKey", "key", "wid"} {
		if v, ok := item[name].(*types.AttributeValueMemberS); ok {
			return v.Value
		}
	}
	panic(fmt.Sprintf("no key in %v", item))
}

// simExpected says whether conditions in the old form hold.
func simExpected(item simItem, expected map[string]types.ExpectedAttributeValue) bool {
	for name, e := range expected {
		v, there := item[name]
		if e.Exists != nil && !*e.Exists {
			if there {
				return false
			}
			continue
		}
		c, ok := simCompare(v, e.Value)
		equal := there && ok && c == 0
		switch e.ComparisonOperator {
		case "", types.ComparisonOperatorEq:
			if !equal {
				return false
			}
		case types.ComparisonOperatorNe:
			if equal {
				return false
			}
		default:
			panic(e.ComparisonOperator)
		}
	}
	return true
}

func simRefused(before simItem, give types.ReturnValuesOnConditionCheckFailure, known bool) error {
	err := &types.ConditionalCheckFailedException{Message: aws.String("The conditional request failed")}
	if give == types.ReturnValuesOnConditionCheckFailureAllOld && known {
		err.Item = before
	}
	return err
}

func (c *simClient) CreateTable(ctx context.Context, in *dynamodb.CreateTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error) {
	return simCall(ctx, c, "table", func() (*dynamodb.CreateTableOutput, error) {
		if _, err := c.db.tableLocked(in.TableName); err == nil {
			return nil, &types.ResourceInUseException{Message: aws.String("there is one")}
		}
		t := &simTable{key: *in.KeySchema[0].AttributeName, indexes: map[string][2]string{}, ready: map[string]time.Time{}, rows: map[string]*simRow{}}
		for _, g := range in.GlobalSecondaryIndexes {
			t.addIndex(*g.IndexName, g.KeySchema, 0)
		}
		c.db.tables[*in.TableName] = t
		out := new(dynamodb.CreateTableOutput)
		return out, nil
	})
}

func (t *simTable) addIndex(name string, schema []types.KeySchemaElement, after time.Duration) {
	var keys [2]string
	for i, k := range schema {
		keys[i] = *k.AttributeName
	}
	t.indexes[name], t.ready[name] = keys, time.Now().Add(after)
}

func (c *simClient) UpdateTable(ctx context.Context, in *dynamodb.UpdateTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error) {
	return simCall(ctx, c, "table", func() (*dynamodb.UpdateTableOutput, error) {
		t, err := c.db.tableLocked(in.TableName)
		if err != nil {
			return nil, err
		}
		for _, u := range in.GlobalSecondaryIndexUpdates {
			if _, ok := t.indexes[*u.Create.IndexName]; ok {
				return nil, &types.ResourceInUseException{Message: aws.String("there is one")}
			}
			t.addIndex(*u.Create.IndexName, u.Create.KeySchema, 5*time.Second)
		}
		out := new(dynamodb.UpdateTableOutput)
		return out, nil
	})
}

func (c *simClient) DescribeTable(ctx context.Context, in *dynamodb.DescribeTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	return simCall(ctx, c, "table", func() (*dynamodb.DescribeTableOutput, error) {
		t, err := c.db.tableLocked(in.TableName)
		if err != nil {
			return nil, err
		}
		d := &types.TableDescription{
			TableName: in.TableName, TableStatus: types.TableStatusActive, ItemCount: aws.Int64(int64(len(t.rows))), TableSizeBytes: aws.Int64(0),
			TableArn: aws.String("arn:aws:dynamodb:us-east-1:000000000000:table/" + *in.TableName), BillingModeSummary: &types.BillingModeSummary{BillingMode: types.BillingModePayPerRequest},
			KeySchema: []types.KeySchemaElement{{AttributeName: &t.key, KeyType: types.KeyTypeHash}},
		}
		for _, name := range slices.Sorted(maps.Keys(t.indexes)) {
			status := types.IndexStatusActive
			if time.Now().Before(t.ready[name]) {
				status = types.IndexStatusCreating
			}
			d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, types.GlobalSecondaryIndexDescription{IndexName: aws.String(name), IndexStatus: status})
		}
		out := &dynamodb.DescribeTableOutput{Table: d}
		return out, nil
	})
}

func (c *simClient) GetItem(ctx context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	return simCall(ctx, c, simKeyIn(in.Key), func() (*dynamodb.GetItemOutput, error) {
		t, err := c.db.tableLocked(in.TableName)
		if err != nil {
			return nil, err
		}
		out := new(dynamodb.GetItemOutput)
		if r := t.rows[t.keyOf(in.Key)]; r != nil {
			out.Item = r.asOf(c.asOf(simKeyIn(in.Key), in.ConsistentRead))
		}
		return out, nil
	})
}

func (c *simClient) PutItem(ctx context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	return simCall(ctx, c, simKeyIn(in.Item), func() (*dynamodb.PutItemOutput, error) {
		t, err := c.db.tableLocked(in.TableName)
		if err != nil {
			return nil, err
		}
		key := t.keyOf(in.Item)
		before := t.rows[key].now()
		if !simExpected(before, in.Expected) || !simCondition(in.ConditionExpression)(before, &simArgs{in.ExpressionAttributeNames, in.ExpressionAttributeValues}) {
			return nil, simRefused(before, in.ReturnValuesOnConditionCheckFailure, true)
		}
		c.db.setLocked(c.who, *in.TableName, key, simApply(nil, in.Item, func(_, _ simItem) {}))
		out := new(dynamodb.PutItemOutput)
		return out, nil
	})
}

func (c *simClient) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	known := c.roll(simKeyIn(in.Key), 20) > 0 // a server that does not return the row
	return simCall(ctx, c, simKeyIn(in.Key), func() (*dynamodb.UpdateItemOutput, error) {
		t, err := c.db.tableLocked(in.TableName)
		if err != nil {
			return nil, err
		}
		key := t.keyOf(in.Key)
		before := t.rows[key].now()
		args := &simArgs{in.ExpressionAttributeNames, in.ExpressionAttributeValues}
		if !simExpected(before, in.Expected) || !simCondition(in.ConditionExpression)(before, args) {
			return nil, simRefused(before, in.ReturnValuesOnConditionCheckFailure, known)
		}
		after := simApply(before, in.Key, func(before, after simItem) {
			if in.UpdateExpression != nil {
				simUpdate(in.UpdateExpression)(before, after, args)
			}
			for name, u := range in.AttributeUpdates {
				switch u.Action {
				case types.AttributeActionPut:
					after[name] = u.Value
				case types.AttributeActionAdd:
					after[name] = simAdd(before[name], u.Value, false)
				case types.AttributeActionDelete:
					delete(after, name)
				}
			}
		})
		c.db.setLocked(c.who, *in.TableName, key, after)
		out := new(dynamodb.UpdateItemOutput)
		switch in.ReturnValues {
		case types.ReturnValueAllNew:
			out.Attributes = after
		case types.ReturnValueAllOld:
			out.Attributes = before
		case "", types.ReturnValueNone:
		default:
			panic(in.ReturnValues)
		}
		return out, nil
	})
}

func (c *simClient) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	return simCall(ctx, c, simKeyIn(in.Key), func() (*dynamodb.DeleteItemOutput, error) {
		t, err := c.db.tableLocked(in.TableName)
		if err != nil {
			return nil, err
		}
		key := t.keyOf(in.Key)
		before := t.rows[key].now()
		if !simExpected(before, in.Expected) || !simCondition(in.ConditionExpression)(before, &simArgs{in.ExpressionAttributeNames, in.ExpressionAttributeValues}) {
			return nil, simRefused(before, in.ReturnValuesOnConditionCheckFailure, true)
		}
		if before != nil {
			c.db.setLocked(c.who, *in.TableName, key, nil)
		}
		out := new(dynamodb.DeleteItemOutput)
		return out, nil
	})
}

// Scan gives so many rows a call, so that a listing of many is no snapshot.
func (c *simClient) Scan(ctx context.Context, in *dynamodb.ScanInput, _ ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	return simCall(ctx, c, "scan", func() (*dynamodb.ScanOutput, error) {
		t, err := c.db.tableLocked(in.TableName)
		if err != nil {
			return nil, err
		}
		if in.TotalSegments != nil && *in.TotalSegments != 1 {
			panic("a scan in segments")
		}
		limit := c.page
		if in.Limit != nil {
			limit = min(limit, int(*in.Limit))
		}
		at := c.asOf("scan", in.ConsistentRead)
		out := new(dynamodb.ScanOutput)
		filter := simCondition(in.FilterExpression)
		from := 0
		if in.ExclusiveStartKey != nil {
			var there bool
			if from, there = slices.BinarySearch(t.order, t.keyOf(in.ExclusiveStartKey)); there {
				from++
			}
		}
		for i, key := range t.order[from:] {
			if i == limit {
				last := t.order[from+i-1]
				out.LastEvaluatedKey = simItem{t.key: &types.AttributeValueMemberS{Value: last}}
				break
			}
			if item := t.rows[key].asOf(at); item != nil {
				out.ScannedCount++
				if filter(item, &simArgs{in.ExpressionAttributeNames, in.ExpressionAttributeValues}) {
					out.Items = append(out.Items, item)
					out.Count++
				}
			}
		}
		return out, nil
	})
}

// Query reads an index, which lags behind.
func (c *simClient) Query(ctx context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	return simCall(ctx, c, "query", func() (*dynamodb.QueryOutput, error) {
		t, err := c.db.tableLocked(in.TableName)
		if err != nil {
			return nil, err
		}
		index, ok := t.indexes[aws.ToString(in.IndexName)]
		if !ok || time.Now().Before(t.ready[*in.IndexName]) {
			return nil, &types.ResourceNotFoundException{Message: aws.String("no such index, or not yet")}
		}
		at := c.asOf("query", nil)
		out := new(dynamodb.QueryOutput)
		match := simCondition(in.KeyConditionExpression)
		args := &simArgs{in.ExpressionAttributeNames, in.ExpressionAttributeValues}
		for _, key := range t.order {
			item := t.rows[key].asOf(at)
			if item == nil || item[index[0]] == nil || index[1] != "" && item[index[1]] == nil {
				continue
			}
			if match(item, args) {
				out.Items = append(out.Items, simItem{t.key: item[t.key], index[0]: item[index[0]]})
				out.Count++
			}
		}
		return out, nil
	})
}

// TransactWriteItems does all or nothing.
func (c *simClient) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	panic(fmt.Sprintf("%s: TransactWriteItems %v %v", c.who, ctx, in))
}
