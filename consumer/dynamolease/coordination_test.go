package dynamolease_test

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// tables notes the requests of coordination that pass through it.
type tables struct {
	dynamolease.API
	t     *testing.T
	calls []any
}

func (r *tables) note(op, table string, key map[string]types.AttributeValue, expr, cond *string, names map[string]string, values map[string]types.AttributeValue) {
	call := map[string]any{"Op": op, "Table": table}
	if key != nil {
		call["Item"] = wire(r.t, key)
	}
	for name, s := range map[string]*string{"Update": expr, "If": cond} {
		if s != nil {
			call[name] = *s
		}
	}
	if names != nil {
		call["Names"] = names
	}
	if values != nil {
		call["Values"] = wire(r.t, values)
	}
	r.calls = append(r.calls, call)
}

func (r *tables) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	r.note("PutItem", *in.TableName, in.Item, nil, in.ConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues)
	return r.API.PutItem(ctx, in, o...)
}

func (r *tables) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, o ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	r.note("UpdateItem", *in.TableName, in.Key, in.UpdateExpression, in.ConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues)
	return r.API.UpdateItem(ctx, in, o...)
}

func (r *tables) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, o ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	r.note("DeleteItem", *in.TableName, in.Key, nil, in.ConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues)
	return r.API.DeleteItem(ctx, in, o...)
}

func (r *tables) Query(ctx context.Context, in *dynamodb.QueryInput, o ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	r.note("Query "+*in.IndexName, *in.TableName, nil, nil, in.KeyConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues)
	return r.API.Query(ctx, in, o...)
}

func (r *tables) Scan(ctx context.Context, in *dynamodb.ScanInput, o ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	r.note("Scan", *in.TableName, nil, nil, in.FilterExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues)
	return r.API.Scan(ctx, in, o...)
}

func (r *tables) UpdateTable(ctx context.Context, in *dynamodb.UpdateTableInput, o ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error) {
	r.calls = append(r.calls, map[string]any{"Op": "UpdateTable", "Table": *in.TableName, "Definitions": in.AttributeDefinitions, "Index": in.GlobalSecondaryIndexUpdates})
	return r.API.UpdateTable(ctx, in, o...)
}

// createLegacy makes the tables of versions 3.0 to 3.4.
func createLegacy(t *testing.T, db *dynamodb.Client, app string) {
	t.Helper()
	for table, key := range map[string]string{app + "-CoordinatorState": "key", app + "-WorkerMetricStats": "wid"} {
		_, err := db.CreateTable(t.Context(), &dynamodb.CreateTableInput{
			TableName: &table, BillingMode: types.BillingModePayPerRequest,
			KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// migration puts a row of the official library's migrations.
func migration(t *testing.T, db *dynamodb.Client, table, keyAttr, key, attr, value, modified string) {
	t.Helper()
	_, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: map[string]types.AttributeValue{
		keyAttr: &types.AttributeValueMemberS{Value: key}, attr: &types.AttributeValueMemberS{Value: value},
		"mts": &types.AttributeValueMemberN{Value: modified}, "mb": &types.AttributeValueMemberS{Value: "worker-0"},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCoordinationRequestsAreTheAgreedOnes compares what is asked of the tables
// with the golden files: official workers read and write the same rows.
func TestCoordinationRequestsAreTheAgreedOnes(t *testing.T) {
	for name, legacy := range map[string]bool{"coordination.json": false, "coordination-legacy.json": true} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			db := streamdtest.New(t).DynamoDB()
			if legacy {
				createLegacy(t, db, "app")
			}
			rec := &tables{API: db, t: t}
			s := newStore(t, rec)
			ok := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			ok(s.Prepare(ctx))
			ok(s.CreateIndex(ctx))
			_, err := s.Coordination(ctx)
			ok(err)
			l := consumer.Lease{Key: "shardId-000000000000", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}}
			_, err = s.Create(ctx, l)
			ok(err)
			l, err = s.Assign(ctx, l, consumer.Assignment{Owner: "worker-1", AnyCounter: true})
			ok(err)
			l, err = s.Assign(ctx, l, consumer.Assignment{Owner: "worker-0", Incarnation: "INC0"})
			ok(err)
			l, err = s.Update(ctx, l, consumer.Write{Incarnation: "INC0", ThroughputKBps: aws.Float64(2.033253)})
			ok(err)
			l, err = s.StartHandOver(ctx, l, "worker-1")
			ok(err)
			l, err = s.Update(ctx, l, consumer.Write{})
			ok(err)
			l, err = s.Update(ctx, l, consumer.Write{Pending: &consumer.PendingCheckpoint{Checkpoint: consumer.Checkpoint{SequenceNumber: "12", SubSequenceNumber: 1}, State: []byte("s")}})
			ok(err)
			l, err = s.Update(ctx, l, consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "12"}, EndHandOver: true})
			ok(err)
			_, err = s.Update(ctx, l, consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "13"}, NextOwner: "worker-2", Incarnation: "INC2"})
			ok(err)
			_, err = s.Owned(ctx, "worker-2")
			ok(err)

			at := time.Unix(1_700_000_000, 0)
			ok(s.PutWorker(ctx, consumer.WorkerRow{ID: "worker-0", Updated: at, SupportCode: 1, SupportUpdated: at}))
			row := consumer.WorkerRow{
				ID: "worker-1", Updated: at, Stats: map[string][]float64{"C": {17.5, -1}}, OperatingRange: map[string][]int64{"C": {100}},
				Properties: map[string]string{"g_inc": "INC1"}, SupportCode: 1, SupportUpdated: at,
			}
			ok(s.PutWorker(ctx, row))
			_, err = s.ListWorkers(ctx)
			ok(err)
			ok(s.DeleteWorker(ctx, row))

			a := consumer.LeaderLock{Owner: "worker-0", Version: "v1", Duration: 2 * time.Minute}
			b := consumer.LeaderLock{Owner: "worker-0", Version: "v2", Duration: 2 * time.Minute}
			released := b
			released.Released = true
			for _, f := range []func() (bool, error){
				func() (bool, error) { return s.AcquireLeader(ctx, nil, a) },
				func() (bool, error) { return s.RenewLeader(ctx, a, b) },
				func() (bool, error) { return s.AcquireLeader(ctx, &b, a) },
				func() (bool, error) { return s.ReleaseLeader(ctx, a) },
			} {
				done, err := f()
				if ok(err); !done {
					t.Fatal("refused")
				}
			}
			if done, err := s.AcquireLeader(ctx, &released, a); err != nil || done {
				t.Fatalf("acquired a released lock that is not there: %v, %v", done, err)
			}
			sameAs(t, name, rec.calls)
		})
	}
}

// TestPlacement has rows of workers and of the leader go where official workers
// look for them, at each stage of their move into one table.
func TestPlacement(t *testing.T) {
	for _, tt := range []struct {
		name       string
		legacy     bool
		rows       [][3]string   // table, status, modified
		official   time.Duration // age of an official worker's row in the lease table; 0: there is none
		ours       time.Duration // the same of a worker of this package
		state      string
		moved      bool // so is an official worker
		single     bool // workers' rows are written to the lease table
		lock       bool // so is the leader's lock
		readsOther bool
	}{
		{name: "new application", single: true, lock: true},
		{name: "moved, tables deleted", rows: [][3]string{{"app", consumer.TableMigrationComplete, "5"}}, state: consumer.TableMigrationComplete, single: true, lock: true},
		{name: "3.0 to 3.4", legacy: true, readsOther: true},
		{name: "init", legacy: true, rows: [][3]string{{"app-CoordinatorState", consumer.TableMigrationInit, "5"}}, state: consumer.TableMigrationInit, readsOther: true},
		{name: "deployed", legacy: true, rows: [][3]string{{"app-CoordinatorState", consumer.TableMigrationDeployed, "5"}}, state: consumer.TableMigrationDeployed, readsOther: true},
		{name: "deployed, an official worker has moved", legacy: true, rows: [][3]string{{"app-CoordinatorState", consumer.TableMigrationDeployed, "5"}}, official: time.Second, state: consumer.TableMigrationDeployed, moved: true, single: true, readsOther: true},
		{name: "deployed, and one that had moved is gone", legacy: true, rows: [][3]string{{"app-CoordinatorState", consumer.TableMigrationDeployed, "5"}}, official: time.Hour, state: consumer.TableMigrationDeployed, readsOther: true},
		{name: "deployed, and only another of this kind has moved", legacy: true, rows: [][3]string{{"app-CoordinatorState", consumer.TableMigrationDeployed, "5"}}, ours: time.Second, state: consumer.TableMigrationDeployed, readsOther: true},
		{name: "init, whatever an official worker does", legacy: true, rows: [][3]string{{"app-CoordinatorState", consumer.TableMigrationInit, "5"}}, official: time.Second, state: consumer.TableMigrationInit, readsOther: true},
		{name: "pending, in the table of before", legacy: true, rows: [][3]string{{"app-CoordinatorState", consumer.TableMigrationPending, "5"}}, state: consumer.TableMigrationPending, single: true, readsOther: true},
		{name: "pending", legacy: true, rows: [][3]string{{"app", consumer.TableMigrationPending, "5"}}, state: consumer.TableMigrationPending, single: true, readsOther: true},
		{name: "pending, and the row it was moved from", legacy: true, rows: [][3]string{{"app", consumer.TableMigrationPending, "5"}, {"app-CoordinatorState", consumer.TableMigrationDeployed, "4"}}, state: consumer.TableMigrationPending, single: true, readsOther: true},
		{name: "rolled back", legacy: true, rows: [][3]string{{"app", consumer.TableMigrationPending, "5"}, {"app-CoordinatorState", consumer.TableMigrationDeployed, "6"}}, state: consumer.TableMigrationDeployed, readsOther: true},
		{name: "complete", legacy: true, rows: [][3]string{{"app", consumer.TableMigrationComplete, "9"}}, state: consumer.TableMigrationComplete, single: true, lock: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			db := streamdtest.New(t).DynamoDB()
			s := newStore(t, db)
			if err := s.Prepare(ctx); err != nil {
				t.Fatal(err)
			}
			if tt.legacy {
				createLegacy(t, db, "app")
			}
			for _, r := range tt.rows {
				keyAttr := "leaseKey"
				if r[0] != "app" {
					keyAttr = "key"
				}
				migration(t, db, r[0], keyAttr, "TableMigration3.5", "tm", r[1], r[2])
				migration(t, db, r[0], keyAttr, "Migration3.0", "cv", consumer.ClientVersion3X, r[2])
			}
			others := map[string]time.Duration{"here": tt.official, "of ours": tt.ours}
			for id, age := range others {
				if age == 0 {
					delete(others, id)
					continue
				}
				it := map[string]types.AttributeValue{
					"leaseKey": &types.AttributeValueMemberS{Value: id}, "entityType": &types.AttributeValueMemberS{Value: "WORKER_METRIC_STATS"},
					"lut": &types.AttributeValueMemberN{Value: strconv.FormatInt(time.Now().Add(-age).Unix(), 10)},
				}
				if id == "of ours" {
					it["properties"] = &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"g_inc": &types.AttributeValueMemberS{Value: "1"}}}
				}
				if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("app"), Item: it}); err != nil {
					t.Fatal(err)
				}
			}
			st, err := s.Coordination(ctx)
			want := consumer.Coordination{TableMigration: tt.state, LegacyTables: tt.legacy, OfficialMoved: tt.moved}
			if len(tt.rows) > 0 {
				want.ClientVersion = consumer.ClientVersion3X
				newest := slices.MaxFunc(tt.rows, func(a, b [3]string) int { return cmp.Compare(a[2], b[2]) })
				ms, _ := strconv.ParseInt(newest[2], 10, 64) // of this table
				want.ClientVersionSet = time.UnixMilli(ms)
			}
			if err != nil || st != want || st.SingleTable() != tt.single {
				t.Fatalf("Coordination = %v, %v; single table %v", st, err, st.SingleTable())
			}

			at := time.Unix(1_700_000_000, 0)
			if err := s.PutWorker(ctx, consumer.WorkerRow{ID: "w", Updated: at}); err != nil {
				t.Fatal(err)
			}
			if ok, err := s.AcquireLeader(ctx, nil, consumer.LeaderLock{Owner: "w", Version: "1", Duration: time.Second}); err != nil || !ok {
				t.Fatal(ok, err)
			}
			for where, there := range map[[3]string]bool{
				{"app", "leaseKey", "w"}: tt.single, {"app-WorkerMetricStats", "wid", "w"}: !tt.single,
				{"app", "leaseKey", "Leader"}: tt.lock, {"app-CoordinatorState", "key", "Leader"}: !tt.lock,
			} {
				if where[0] != "app" && !tt.legacy {
					continue
				}
				out, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &where[0], Key: map[string]types.AttributeValue{where[1]: &types.AttributeValueMemberS{Value: where[2]}}})
				if err != nil || len(out.Item) > 0 != there {
					t.Errorf("row %q in table %q: %v, %v", where[2], where[0], out.Item, err)
				}
			}

			// A row of an official worker that writes to the other table.
			if tt.legacy {
				for id, lut := range map[string]string{"w": "1600000000", "java": "1700000001"} {
					_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("app-WorkerMetricStats"), Item: map[string]types.AttributeValue{
						"wid": &types.AttributeValueMemberS{Value: id}, "lut": &types.AttributeValueMemberN{Value: lut},
						"sts": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{}},
					}})
					if err != nil {
						t.Fatal(err)
					}
				}
				if !tt.single { // the one above was overwritten
					if err := s.PutWorker(ctx, consumer.WorkerRow{ID: "w", Updated: at}); err != nil {
						t.Fatal(err)
					}
				}
			}
			rows, err := s.ListWorkers(ctx)
			_, all, err2 := s.ListAll(ctx)
			if err != nil || err2 != nil || !reflect.DeepEqual(ids(rows), ids(all)) {
				t.Fatalf("ListWorkers %+v, %v; ListAll %+v, %v", rows, err, all, err2)
			}
			wantIDs := append(slices.Collect(maps.Keys(others)), "w")
			if tt.readsOther {
				wantIDs = append(wantIDs, "java")
			}
			slices.Sort(wantIDs)
			if got := ids(rows); !slices.Equal(got, wantIDs) {
				t.Errorf("workers %v, want %v", got, wantIDs)
			}
			if row, ok, err := s.GetWorker(ctx, "w"); err != nil || !ok || !row.Updated.Equal(at) {
				t.Errorf("GetWorker = %+v, %v, %v; want the later row", row, ok, err)
			}
			if _, ok, err := s.GetWorker(ctx, "java"); err != nil || ok != tt.readsOther {
				t.Errorf("GetWorker of the official worker = %v, %v", ok, err)
			}
		})
	}
}

// TestSetClientVersion looks at the row as official workers will: in the table where they
// look, with what they have written besides, and a history of ten entries, newest first.
func TestSetClientVersion(t *testing.T) {
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	number := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	list := func(n int) types.AttributeValue {
		all := make([]types.AttributeValue, n)
		for i := range all {
			all[i] = &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"cv": text(consumer.ClientVersion2X), "mb": text(strconv.Itoa(i)), "mts": number("1")}}
		}
		return &types.AttributeValueMemberL{Value: all}
	}
	for _, tt := range []struct {
		name    string
		legacy  bool
		table   string // with the row; empty: there is none
		drop    string // an attribute that it has not
		history types.AttributeValue
		want    int // entries of the history
		in      string
		fails   string
	}{
		{name: "no row", in: "app"},
		{name: "no row, three tables", legacy: true, in: "app-CoordinatorState"},
		{name: "row", table: "app", in: "app", want: 1},
		{name: "row, three tables", legacy: true, table: "app-CoordinatorState", in: "app-CoordinatorState", want: 1},
		{name: "row that has moved", legacy: true, table: "app", in: "app", want: 1},
		{name: "history", table: "app", history: list(3), in: "app", want: 4},
		{name: "long history", table: "app", history: list(10), in: "app", want: 10},
		{name: "history that is none", table: "app", history: text("?"), in: "app", fails: "its attribute h is no list; remove it"},
		{name: "row without a time", table: "app", drop: "mts", in: "app", want: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			db := streamdtest.New(t).DynamoDB()
			s := newStore(t, db)
			if err := s.Prepare(ctx); err != nil {
				t.Fatal(err)
			}
			if tt.legacy {
				createLegacy(t, db, "app")
			}
			keyAttr := map[string]string{"app": "leaseKey", "app-CoordinatorState": "key"}
			if tt.table != "" {
				it := map[string]types.AttributeValue{
					keyAttr[tt.table]: text("Migration3.0"), "cv": text(consumer.ClientVersionUpgradeFrom2X), "mb": text("java"), "mts": number("1700000000000"),
					"entityType": text("CLIENT_VERSION_MIGRATION"), "x": text("theirs"),
				}
				if tt.history != nil {
					it["h"] = tt.history
				}
				delete(it, tt.drop)
				if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &tt.table, Item: it}); err != nil {
					t.Fatal(err)
				}
			}
			seen, err := s.Coordination(ctx)
			if err != nil {
				t.Fatal(err)
			}
			ok, err := s.SetClientVersion(ctx, seen, consumer.ClientVersion3XRollback, "w")
			if tt.fails != "" {
				if ok || err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Fatalf("SetClientVersion = %v, %v", ok, err)
				}
				return
			}
			if err != nil || !ok {
				t.Fatalf("SetClientVersion = %v, %v", ok, err)
			}
			out, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &tt.in, Key: map[string]types.AttributeValue{keyAttr[tt.in]: text("Migration3.0")}})
			if err != nil {
				t.Fatal(err)
			}
			now, err := s.Coordination(ctx)
			if err != nil || now.ClientVersion != consumer.ClientVersion3XRollback {
				t.Fatalf("Coordination = %v, %v", now, err)
			}
			want := map[string]types.AttributeValue{
				keyAttr[tt.in]: text("Migration3.0"), "cv": text(consumer.ClientVersion3XRollback), "mb": text("w"),
				"mts": number(strconv.FormatInt(now.ClientVersionSet.UnixMilli(), 10)), "entityType": text("CLIENT_VERSION_MIGRATION"),
			}
			if tt.table != "" {
				want["x"] = text("theirs")
				entry := map[string]types.AttributeValue{"cv": text(consumer.ClientVersionUpgradeFrom2X), "mb": text("java"), "mts": number("1700000000000")}
				delete(entry, tt.drop)
				h, _ := out.Item["h"].(*types.AttributeValueMemberL)
				if h == nil || len(h.Value) != tt.want || !reflect.DeepEqual(h.Value[0], types.AttributeValue(&types.AttributeValueMemberM{Value: entry})) {
					t.Fatalf("history %+v", out.Item["h"])
				}
				if before, ok := tt.history.(*types.AttributeValueMemberL); ok && !reflect.DeepEqual(h.Value[1:], before.Value[:tt.want-1]) {
					t.Errorf("history %+v", h.Value)
				}
				delete(out.Item, "h")
			}
			if !reflect.DeepEqual(out.Item, want) {
				t.Errorf("row %+v, want %+v", out.Item, want)
			}
		})
	}
}

func ids(rows []consumer.WorkerRow) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.ID)
	}
	slices.Sort(out)
	return out
}

// TestOfficialItems reads items as official workers write them.
//
// Source: requests of amazon-kinesis-client 1.15.3, 2.7.2 and 3.5.1.
func TestOfficialItems(t *testing.T) {
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	number := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	lease := leaseItem("shardId-000000000002")
	lease["parentShardId"] = &types.AttributeValueMemberSS{Value: []string{"shardId-000000000001", "shardId-000000000000"}}
	lease["entityType"] = text("LEASE")
	lease["throughputKBps"] = number("1.0E-5")
	lease["checkpointOwner"] = text("worker-0")
	lease["pendingCheckpoint"], lease["pendingCheckpointSubSequenceNumber"] = text("17"), number("3")
	lease["pendingCheckpointState"] = number("3") // a fault of the library's
	before := leaseItem("before")
	before["parentShardIds"] = &types.AttributeValueMemberSS{Value: []string{"p"}}
	rows := []map[string]types.AttributeValue{
		lease, before,
		{
			"leaseKey": text("worker-0"), "entityType": text("WORKER_METRIC_STATS"), "lut": number("1795696101"), "slu": number("1795696100"), "sup": number("1"),
			"opr": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"C": &types.AttributeValueMemberL{Value: []types.AttributeValue{number("100")}}}},
			"sts": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"C": &types.AttributeValueMemberL{Value: []types.AttributeValue{number("-1"), number("1.7E1")}}}},
		},
		{"leaseKey": text("broken"), "entityType": text("WORKER_METRIC_STATS"), "lut": text("now")},
		{"leaseKey": text("Leader"), "entityType": text("LEADER"), "ownerName": text("worker-0"), "leaseDuration": text("120000"), "recordVersionNumber": text("r")},
		{"leaseKey": text("Migration3.0"), "entityType": text("CLIENT_VERSION_MIGRATION"), "cv": text("CLIENT_VERSION_3X"), "mts": number("1")},
		{"leaseKey": text("000000000000:s:1"), "entityType": text("STREAM"), "streamId": text("x")},
	}
	leases, workers, err := newStore(t, &odd{pages: [][]map[string]types.AttributeValue{rows}}).ListAll(t.Context())
	if err != nil || len(leases) != 2 || len(workers) != 2 {
		t.Fatalf("ListAll = %+v, %+v, %v", leases, workers, err)
	}
	want := consumer.Lease{
		Key: "shardId-000000000002", Counter: 5, Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.Latest},
		Parents: []string{"shardId-000000000000", "shardId-000000000001"}, ThroughputKBps: 0.00001, CheckpointOwner: "worker-0",
		Pending: &consumer.PendingCheckpoint{Checkpoint: consumer.Checkpoint{SequenceNumber: "17", SubSequenceNumber: 3}},
	}
	if !reflect.DeepEqual(leases[0], want) {
		t.Errorf("lease %+v, want %+v", leases[0], want)
	}
	if !slices.Equal(leases[1].Parents, []string{"p"}) {
		t.Errorf("parents of an earlier development version: %v", leases[1].Parents)
	}
	row := consumer.WorkerRow{
		ID: "worker-0", Updated: time.Unix(1795696101, 0), SupportCode: 1, SupportUpdated: time.Unix(1795696100, 0),
		Stats: map[string][]float64{"C": {-1, 17}}, OperatingRange: map[string][]int64{"C": {100}},
	}
	if !reflect.DeepEqual(workers[0], row) {
		t.Errorf("row %+v, want %+v", workers[0], row)
	}
	if workers[1].ID != "broken" || workers[1].Invalid == nil {
		t.Errorf("broken row %+v", workers[1])
	}
}
