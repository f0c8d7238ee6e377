// Package dynamolease keeps the leases of package consumer in a table of
// DynamoDB, or of a server that speaks its API. The items are those of the
// Kinesis Client Library, which may share the table; see [consumer.ModeKCL2].
//
// The worker needs the permissions DescribeTable, GetItem, PutItem,
// UpdateItem, DeleteItem and Scan, and CreateTable unless the table exists.
// Where one worker assigns leases to all, it needs Query on the table's index
// as well, UpdateTable unless the index exists, and DescribeTable on the tables
// that Config.CoordinatorStateTable and WorkerMetricStatsTable name; if the
// official library has made them, all but the last two also on these.
package dynamolease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
)

// API is what a [Store] calls of DynamoDB. [dynamodb.Client] has it.
type API interface {
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	UpdateTable(context.Context, *dynamodb.UpdateTableInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error)
}

// Config holds the optional settings of a [Store]. The zero Config is valid.
type Config struct {
	// CreateTimeout bounds the wait for a table that is being created. Default
	// 10m; at least 1s.
	CreateTimeout time.Duration

	// LeaseTableDeletionProtectionEnabled protects a table that Prepare
	// creates from deletion. Default false.
	LeaseTableDeletionProtectionEnabled bool

	// CoordinatorStateTable and WorkerMetricStatsTable are where versions 3.0
	// to 3.4 of the official library keep what is beside leases. They are used
	// if they exist, and never made. Default the lease table's name with
	// "-CoordinatorState" or "-WorkerMetricStats" behind it, which are the
	// library's if the lease table has the application's name.
	CoordinatorStateTable, WorkerMetricStatsTable string
}

// Store is a [consumer.CoordinationStore] in one table, or in the three of
// versions 3.0 to 3.4 of the official library where these are in use. It is safe
// for concurrent use.
type Store struct {
	api   API
	table string
	cfg   Config
	state atomic.Pointer[consumer.Coordination] // as last seen; nil before
}

var _ consumer.CoordinationStore = (*Store)(nil)

// New returns a Store in the named table. The official library names the table
// like the application. New makes no request.
func New(client API, table string, cfg Config) (*Store, error) {
	cfg.CreateTimeout = cmp.Or(cfg.CreateTimeout, 10*time.Minute)
	cfg.CoordinatorStateTable = cmp.Or(cfg.CoordinatorStateTable, table+"-CoordinatorState")
	cfg.WorkerMetricStatsTable = cmp.Or(cfg.WorkerMetricStatsTable, table+"-WorkerMetricStats")
	var errs []error
	if client == nil {
		errs = append(errs, errors.New("client must not be nil"))
	}
	if table == "" {
		errs = append(errs, errors.New("table must have a name"))
	}
	if cfg.CreateTimeout < time.Second {
		errs = append(errs, fmt.Errorf("CreateTimeout %v is less than 1s", cfg.CreateTimeout))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("dynamolease: config: %w", err)
	}
	return &Store{api: client, table: table, cfg: cfg}, nil
}

// noRetries turns the SDK's retries off for conditional writes of an owner.
// The consumer retries them by itself, because it must know since when an
// attempt is unsettled.
func noRetries(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// Prepare creates the table, billed by request, if there is none, and waits
// until it can be used.
func (s *Store) Prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.CreateTimeout,
		fmt.Errorf("dynamolease: table %q is not ACTIVE after %v; look at its state, or raise CreateTimeout", s.table, s.cfg.CreateTimeout))
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		out, err := s.api.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.table})
		_, missing := errors.AsType[*types.ResourceNotFoundException](err)
		switch {
		case missing:
			if err := s.create(ctx); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("dynamolease: describe table %q: %w", s.table, err)
		case out.Table.TableStatus == types.TableStatusActive, out.Table.TableStatus == types.TableStatusUpdating:
			return s.checkKey(out.Table.KeySchema)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Store) create(ctx context.Context) error {
	_, err := s.api.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:                 &s.table,
		KeySchema:                 []types.KeySchemaElement{{AttributeName: aws.String(attrKey), KeyType: types.KeyTypeHash}},
		AttributeDefinitions:      []types.AttributeDefinition{{AttributeName: aws.String(attrKey), AttributeType: types.ScalarAttributeTypeS}},
		BillingMode:               types.BillingModePayPerRequest,
		DeletionProtectionEnabled: aws.Bool(s.cfg.LeaseTableDeletionProtectionEnabled),
	})
	if _, ok := errors.AsType[*types.ResourceInUseException](err); err != nil && !ok { // another worker was faster
		return fmt.Errorf("dynamolease: create table %q: %w", s.table, err)
	}
	return nil
}

func (s *Store) checkKey(schema []types.KeySchemaElement) error {
	if len(schema) == 1 && aws.ToString(schema[0].AttributeName) == attrKey && schema[0].KeyType == types.KeyTypeHash {
		return nil
	}
	return fmt.Errorf("dynamolease: table %q is no lease table: its key is not %s alone; name another table", s.table, attrKey)
}

// List implements [consumer.LeaseStore] with a consistent Scan.
func (s *Store) List(ctx context.Context) ([]consumer.Lease, error) {
	var leases []consumer.Lease
	err := s.scan(ctx, &dynamodb.ScanInput{TableName: &s.table}, func(it item) {
		if isLease(it) {
			leases = append(leases, decode(it))
		}
	})
	return leases, err
}

// scan calls f with every item that in asks for, in a consistent Scan.
func (s *Store) scan(ctx context.Context, in *dynamodb.ScanInput, f func(item)) error {
	in.ConsistentRead = aws.Bool(true)
	for {
		out, err := s.api.Scan(ctx, in)
		if err != nil {
			return fmt.Errorf("dynamolease: scan table %q: %w", *in.TableName, err)
		}
		for _, it := range out.Items {
			f(it)
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// Get implements [consumer.LeaseStore] with a consistent read.
func (s *Store) Get(ctx context.Context, key string) (consumer.Lease, bool, error) {
	out, err := s.api.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.table, Key: keyOf(key), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return consumer.Lease{}, false, fmt.Errorf("dynamolease: get lease %q: %w", key, err)
	}
	if !isLease(out.Item) {
		return consumer.Lease{}, false, nil
	}
	return decode(out.Item), true, nil
}

// Create implements [consumer.LeaseStore].
func (s *Store) Create(ctx context.Context, l consumer.Lease) (bool, error) {
	it := encode(l)
	if st := s.state.Load(); st != nil && st.SingleTable() {
		it[attrEntityType] = text(entityLease)
	}
	_, err := s.api.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.table, Item: it,
		ConditionExpression: aws.String("attribute_not_exists(" + attrKey + ")"),
	})
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("dynamolease: create lease %q: %w", l.Key, err)
	}
	return true, nil
}

// Take implements [consumer.LeaseStore].
func (s *Store) Take(ctx context.Context, l consumer.Lease, owner, incarnation string) (consumer.Lease, error) {
	var u update
	u.set(attrOwner, ":owner", text(owner))
	if incarnation != "" {
		u.set(attrIncarnation, ":inc", text(incarnation))
	} else { // a worker of another library
		u.remove(attrIncarnation)
	}
	u.remove(attrCheckpointOwner)
	if l.Owner != "" && l.Owner != owner {
		u.switched()
	}
	u.counterIs(l)
	return s.update(ctx, l, &u)
}

// Update implements [consumer.LeaseStore].
func (s *Store) Update(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	var u update
	if w.Checkpoint != (consumer.Checkpoint{}) {
		u.set(attrCheckpoint, ":checkpoint", text(w.Checkpoint.SequenceNumber))
		u.set(attrSub, ":sub", number(w.Checkpoint.SubSequenceNumber))
		switches := int64(0)
		if w.EndHandOver {
			switches = 1
		}
		u.set(attrSwitches, ":switches", number(switches))
		u.remove(attrPending, attrPendingSub, attrPendingState)
	}
	if p := w.Pending; p != nil {
		u.set(attrPending, ":pending", text(p.Checkpoint.SequenceNumber))
		u.set(attrPendingSub, ":pendingsub", number(p.Checkpoint.SubSequenceNumber))
		if len(p.State) > 0 {
			u.set(attrPendingState, ":state", &types.AttributeValueMemberB{Value: p.State})
		} else {
			u.remove(attrPendingState)
		}
	}
	if w.ThroughputKBps != nil {
		u.set(attrThroughput, ":throughput", fraction(*w.ThroughputKBps))
	}
	if w.Busy != nil {
		u.set(attrBusy, ":busy", fraction(*w.Busy))
	}
	if w.Incarnation != "" {
		u.set(attrIncarnation, ":inc", text(w.Incarnation))
	}
	if len(w.Children) > 0 {
		u.set(attrChildren, ":children", shards(w.Children))
	}
	if len(w.Marks) > 0 {
		u.set(attrMarks, ":marks", &types.AttributeValueMemberB{Value: w.Marks})
	}
	if !w.LatestSince.IsZero() {
		u.set(attrLatestSince, ":since", number(w.LatestSince.UnixMilli()))
	}
	switch {
	case w.Release:
		u.remove(attrOwner)
	case w.EndHandOver:
		u.remove(attrCheckpointOwner)
	case w.NextOwner != "":
		u.set(attrOwner, ":owner", text(w.NextOwner))
	}
	if w.Checkpoint == (consumer.Checkpoint{}) && (w.EndHandOver || w.NextOwner != "") {
		u.switched()
	}
	u.counterIs(l)
	u.ownersAre(l)
	return s.update(ctx, l, &u)
}

// Delete implements [consumer.LeaseStore].
func (s *Store) Delete(ctx context.Context, l consumer.Lease) error {
	_, err := s.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &s.table, Key: keyOf(l.Key),
		ConditionExpression:                 aws.String("attribute_not_exists(" + attrKey + ") OR " + attrCounter + " = :n"),
		ExpressionAttributeValues:           item{":n": number(l.Counter)},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return s.conflict(ctx, l.Key, failed)
	}
	if err != nil {
		return fmt.Errorf("dynamolease: delete lease %q: %w", l.Key, err)
	}
	return nil
}

// update does one conditional write.
func (s *Store) update(ctx context.Context, l consumer.Lease, u *update) (consumer.Lease, error) {
	out, err := s.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.table, Key: keyOf(l.Key),
		UpdateExpression:                    aws.String(u.String()),
		ConditionExpression:                 aws.String(strings.Join(u.conditions, " AND ")),
		ExpressionAttributeValues:           u.values,
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, noRetries)
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return consumer.Lease{}, s.conflict(ctx, l.Key, failed)
	}
	if err != nil {
		return consumer.Lease{}, fmt.Errorf("dynamolease: write lease %q: %w", l.Key, err)
	}
	l = decode(out.Attributes)
	return l, l.Invalid
}

// conflict returns the error for a condition that failed: a ConflictError with
// the lease as it is stored, which a server that is not asked, or does not
// know how, leaves out.
func (s *Store) conflict(ctx context.Context, key string, failed *types.ConditionalCheckFailedException) error {
	if isLease(failed.Item) {
		l := decode(failed.Item)
		return &consumer.ConflictError{Key: key, Current: &l}
	}
	l, ok, err := s.Get(ctx, key)
	if err != nil {
		return err
	}
	if !ok {
		return &consumer.ConflictError{Key: key}
	}
	return &consumer.ConflictError{Key: key, Current: &l}
}

// update gathers the parts of a write. No attribute of a lease is a reserved
// word of DynamoDB, so none needs a placeholder.
type update struct {
	sets, removes, adds, conditions []string
	values                          item
}

func (u *update) value(placeholder string, v types.AttributeValue) {
	if u.values == nil {
		u.values = item{}
	}
	u.values[placeholder] = v
}

func (u *update) set(name, placeholder string, v types.AttributeValue) {
	u.sets = append(u.sets, name+" = "+placeholder)
	u.value(placeholder, v)
}

func (u *update) remove(names ...string) { u.removes = append(u.removes, names...) }

// addOne adds one to a number, or sets it to one.
func (u *update) addOne(name string) {
	u.adds = append(u.adds, name+" :one")
	u.value(":one", number(1))
}

// switched counts a change of owner.
func (u *update) switched() { u.addOne(attrSwitches) }

// counterIs makes the write conditional on l's counter, and moves it on.
func (u *update) counterIs(l consumer.Lease) {
	u.set(attrCounter, ":next", number(l.Counter+1))
	u.equal(attrCounter, ":n", number(l.Counter))
}

// ownersAre makes the write conditional on l's owner and checkpoint owner.
func (u *update) ownersAre(l consumer.Lease) {
	u.textIs(attrOwner, ":me", l.Owner)
	u.textIs(attrCheckpointOwner, ":from", l.CheckpointOwner)
}

func (u *update) equal(name, placeholder string, v types.AttributeValue) {
	u.conditions = append(u.conditions, name+" = "+placeholder)
	u.value(placeholder, v)
}

// textIs makes the write conditional on an attribute, which is absent if it has
// no text.
func (u *update) textIs(name, placeholder, value string) {
	if value == "" {
		u.conditions = append(u.conditions, "attribute_not_exists("+name+")")
		return
	}
	u.equal(name, placeholder, text(value))
}

func (u *update) String() string {
	var parts []string
	for _, c := range []struct {
		word  string
		parts []string
	}{{"SET", u.sets}, {"REMOVE", u.removes}, {"ADD", u.adds}} {
		if len(c.parts) > 0 {
			parts = append(parts, c.word+" "+strings.Join(c.parts, ", "))
		}
	}
	return strings.Join(parts, " ")
}
