package dynamolease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
)

// The rows beside leases: their keys, kinds and attributes.
//
// Source: amazon-kinesis-client 3.5, EntityType, CoordinatorState,
// MigrationState, TableMigrationState.
const (
	indexName = "LeaseOwnerToLeaseKeyIndex"

	entityLease     = "LEASE"
	entityLeader    = "LEADER"
	entityWorker    = "WORKER_METRIC_STATS"
	entityMigration = "CLIENT_VERSION_MIGRATION"

	keyLeader         = "Leader"
	keyMigration      = "Migration3.0"
	keyTableMigration = "TableMigration3.5"

	attrClientVersion  = "cv"
	attrTableMigration = "tm"
	attrModified       = "mts" // milliseconds since the epoch
	attrModifiedBy     = "mb"
	attrHistory        = "h" // what was replaced, newest first, each with the three above
	historyEntries     = 10

	// The keys of the tables that versions 3.0 to 3.4 have beside the lease
	// table.
	attrCoordinatorKey = "key"
	attrWorkerKey      = "wid"
)

// readsLegacy reports whether rows may still be in the tables beside the lease
// table.
func (s *Store) readsLegacy() bool {
	st := s.state.Load()
	return st != nil && st.LegacyTables && st.TableMigration != consumer.TableMigrationComplete
}

// Assign implements [consumer.CoordinationStore].
func (s *Store) Assign(ctx context.Context, l consumer.Lease, a consumer.Assignment) (consumer.Lease, error) {
	var u update
	u.set(attrOwner, ":owner", text(a.Owner))
	if a.Incarnation != "" {
		u.set(attrIncarnation, ":inc", text(a.Incarnation))
	}
	u.remove(attrCheckpointOwner)
	if a.AnyCounter {
		u.addOne(attrCounter)
		u.conditions = append(u.conditions, "attribute_exists("+attrKey+")")
	} else {
		u.counterIs(l)
	}
	if a.Switches(l) {
		u.switched()
	}
	u.ownersAre(l)
	return s.update(ctx, l, &u)
}

// StartHandOver implements [consumer.CoordinationStore].
func (s *Store) StartHandOver(ctx context.Context, l consumer.Lease, to string) (consumer.Lease, error) {
	var u update
	u.set(attrOwner, ":owner", text(to))
	u.set(attrCheckpointOwner, ":me", text(l.Owner))
	u.conditions = append(u.conditions, "attribute_exists("+attrKey+")")
	l.CheckpointOwner = ""
	u.ownersAre(l)
	return s.update(ctx, l, &u)
}

// Owned implements [consumer.CoordinationStore] with a Query of the index, or
// with List if there is none to be used.
func (s *Store) Owned(ctx context.Context, owner string) ([]string, error) {
	var keys []string
	if st := s.state.Load(); st == nil || !st.IndexActive {
		all, err := s.List(ctx)
		for _, l := range all {
			if l.Owner == owner {
				keys = append(keys, l.Key)
			}
		}
		return keys, err
	}
	in := &dynamodb.QueryInput{
		TableName: &s.table, IndexName: aws.String(indexName),
		KeyConditionExpression:    aws.String(attrOwner + " = :leaseOwner"),
		ExpressionAttributeValues: item{":leaseOwner": text(owner)},
	}
	for {
		out, err := s.api.Query(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("dynamolease: query index %s of table %q: %w", indexName, s.table, err)
		}
		for _, it := range out.Items {
			if v, ok := it[attrKey].(*types.AttributeValueMemberS); ok {
				keys = append(keys, v.Value)
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return keys, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// Coordination implements [consumer.CoordinationStore].
func (s *Store) Coordination(ctx context.Context) (consumer.Coordination, error) {
	var st consumer.Coordination
	table, err := s.describe(ctx, s.table)
	if err != nil {
		return st, err
	}
	if table == nil {
		return st, fmt.Errorf("dynamolease: there is no table %q; call Prepare first", s.table)
	}
	st.IndexActive = slices.ContainsFunc(table.GlobalSecondaryIndexes, func(i types.GlobalSecondaryIndexDescription) bool {
		return aws.ToString(i.IndexName) == indexName && i.IndexStatus == types.IndexStatusActive
	})
	legacy, err := s.describe(ctx, s.cfg.CoordinatorStateTable)
	if err != nil {
		return st, err
	}
	st.LegacyTables = legacy != nil
	version, err := s.migration(ctx, st.LegacyTables, keyMigration, attrClientVersion)
	if err != nil {
		return st, err
	}
	st.ClientVersion, st.ClientVersionSet = version.value, version.set()
	tables, err := s.migration(ctx, st.LegacyTables, keyTableMigration, attrTableMigration)
	if err != nil {
		return st, err
	}
	st.TableMigration = tables.value
	if st.LegacyTables && st.TableMigration == consumer.TableMigrationDeployed {
		rows, err := s.workersHere(ctx)
		if err != nil {
			return st, err
		}
		st.OfficialMoved = consumer.OfficialActive(rows, time.Now())
	}
	s.state.Store(&st)
	return st, nil
}

// describe returns what is known of a table, or nil if there is none.
func (s *Store) describe(ctx context.Context, table string) (*types.TableDescription, error) {
	out, err := s.api.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dynamolease: describe table %q: %w", table, err)
	}
	return out.Table, nil
}

// migrationRow is a row that says how far official workers are.
type migrationRow struct {
	table, keyAttr string // where it is
	it             item
	value          string // of the attribute that was asked for; empty if there is no such row
	modified       int64
}

// set returns when the row was written.
func (r migrationRow) set() time.Time {
	if r.modified <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(r.modified)
}

// migration returns a row of migration with one of its attributes: the row that was
// modified last, if it is in both tables.
func (s *Store) migration(ctx context.Context, legacy bool, key, attr string) (row migrationRow, err error) {
	row.modified = -1
	look := func(table, keyAttr string) error {
		out, err := s.api.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: item{keyAttr: text(key)}, ConsistentRead: aws.Bool(true)})
		if err != nil {
			return fmt.Errorf("dynamolease: get row %q of table %q: %w", key, table, err)
		}
		d := decoder{it: out.Item}
		if v, at := d.text(attr), d.number(attrModified); v != "" && at > row.modified {
			row = migrationRow{table: table, keyAttr: keyAttr, it: out.Item, value: v, modified: at}
		}
		if d.err != nil {
			return fmt.Errorf("dynamolease: row %q of table %q: %w", key, table, d.err)
		}
		return nil
	}
	err = look(s.table, attrKey)
	if err == nil && legacy {
		err = look(s.cfg.CoordinatorStateTable, attrCoordinatorKey)
	}
	return row, err
}

// SetClientVersion implements [consumer.CoordinationStore]. What the row has besides
// stays.
func (s *Store) SetClientVersion(ctx context.Context, seen consumer.Coordination, version, by string) (bool, error) {
	st := s.state.Load()
	row, err := s.migration(ctx, st != nil && st.LegacyTables, keyMigration, attrClientVersion)
	if err != nil || row.value != seen.ClientVersion || !row.set().Equal(seen.ClientVersionSet) {
		return false, err
	}
	after := seen.WithClientVersion(version, time.Now())
	now := item{attrClientVersion: text(after.ClientVersion), attrModifiedBy: text(by), attrModified: number(after.ClientVersionSet.UnixMilli())}
	if row.value == "" {
		row.table, row.keyAttr = s.leaderTable()
		now[row.keyAttr], now[attrEntityType] = text(keyMigration), text(entityMigration)
		_, err = s.api.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &row.table, Item: now,
			ConditionExpression: aws.String("attribute_not_exists(#pk)"), ExpressionAttributeNames: map[string]string{"#pk": row.keyAttr},
		}, noRetries)
	} else {
		var u update
		for _, name := range []string{attrClientVersion, attrModifiedBy, attrModified} {
			u.set(name, ":"+name, now[name])
		}
		history, bad := row.history()
		if bad != nil {
			return false, bad
		}
		u.set(attrHistory, ":"+attrHistory, history)
		u.equal(attrClientVersion, ":from", text(row.value))
		if at, ok := row.it[attrModified]; ok {
			u.equal(attrModified, ":at", at)
		} else {
			u.conditions = append(u.conditions, "attribute_not_exists("+attrModified+")")
		}
		_, err = s.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: &row.table, Key: item{row.keyAttr: text(keyMigration)},
			UpdateExpression: aws.String(u.String()), ConditionExpression: aws.String(strings.Join(u.conditions, " AND ")),
			ExpressionAttributeValues: u.values,
		}, noRetries)
	}
	if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); refused {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("dynamolease: write row %q of table %q: %w", keyMigration, row.table, err)
	}
	return true, nil
}

// history returns the history of the row with what it says now before the rest.
func (r migrationRow) history() (types.AttributeValue, error) {
	entry := item{}
	for _, name := range []string{attrClientVersion, attrModifiedBy, attrModified} {
		if v, ok := r.it[name]; ok {
			entry[name] = v
		}
	}
	all := []types.AttributeValue{&types.AttributeValueMemberM{Value: entry}}
	switch before := r.it[attrHistory].(type) {
	case nil:
	case *types.AttributeValueMemberL:
		all = append(all, before.Value...)
	default:
		return nil, fmt.Errorf("dynamolease: row %q of table %q: its attribute %s is no list; remove it", keyMigration, r.table, attrHistory)
	}
	return &types.AttributeValueMemberL{Value: all[:min(len(all), historyEntries)]}, nil
}

// CreateIndex implements [consumer.CoordinationStore].
func (s *Store) CreateIndex(ctx context.Context) error {
	table, err := s.describe(ctx, s.table)
	if err != nil || table == nil {
		return err
	}
	for _, i := range table.GlobalSecondaryIndexes {
		if aws.ToString(i.IndexName) == indexName {
			return nil
		}
	}
	create := &types.CreateGlobalSecondaryIndexAction{
		IndexName: aws.String(indexName),
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(attrOwner), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(attrKey), KeyType: types.KeyTypeRange},
		},
		Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
	}
	if b := table.BillingModeSummary; b == nil || b.BillingMode != types.BillingModePayPerRequest {
		if p := table.ProvisionedThroughput; p != nil {
			create.ProvisionedThroughput = &types.ProvisionedThroughput{ReadCapacityUnits: p.ReadCapacityUnits, WriteCapacityUnits: p.WriteCapacityUnits}
		}
	}
	_, err = s.api.UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName: &s.table,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(attrOwner), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(attrKey), AttributeType: types.ScalarAttributeTypeS},
		},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: create}},
	})
	_, busy := errors.AsType[*types.ResourceInUseException](err)
	_, many := errors.AsType[*types.LimitExceededException](err)
	if err != nil && !busy && !many { // another worker was faster
		return fmt.Errorf("dynamolease: create index %s of table %q: %w", indexName, s.table, err)
	}
	return nil
}

// leaderTable returns where the leader's lock is, and the name of that table's
// key.
func (s *Store) leaderTable() (table, keyAttr string) {
	if st := s.state.Load(); st == nil || st.LockMoved() {
		return s.table, attrKey
	}
	return s.cfg.CoordinatorStateTable, attrCoordinatorKey
}
