package dynamolease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
)

// The attributes of a worker's row.
//
// Source: amazon-kinesis-client 3.5, WorkerMetricStats.
const (
	attrUpdated        = "lut" // seconds since the epoch
	attrStats          = "sts"
	attrOperatingRange = "opr"
	attrProperties     = "properties"
	attrSupport        = "sup"
	attrSupportUpdated = "slu" // seconds since the epoch
)

// propWrite is, in the properties of a row of ours, the number of its last write; beside
// it is attrIncarnation.
const propWrite = "g_seq"

// workerTable returns where workers' rows are written, and the name of that
// table's key.
func (s *Store) workerTable() (table, keyAttr string) {
	if st := s.state.Load(); st == nil || st.SingleTable() {
		return s.table, attrKey
	}
	return s.cfg.WorkerMetricStatsTable, attrWorkerKey
}

// encodeWorker returns what is set in a row, without its key.
func encodeWorker(row consumer.WorkerRow) item {
	it := item{attrEntityType: text(entityWorker)}
	if !row.Updated.IsZero() {
		it[attrUpdated] = number(row.Updated.Unix())
	}
	if row.SupportCode != 0 {
		it[attrSupport] = number(row.SupportCode)
	}
	if !row.SupportUpdated.IsZero() {
		it[attrSupportUpdated] = number(row.SupportUpdated.Unix())
	}
	if row.Stats != nil {
		it[attrStats] = lists(row.Stats, fraction)
	}
	if row.OperatingRange != nil {
		it[attrOperatingRange] = lists(row.OperatingRange, number)
	}
	if row.Properties != nil {
		m := make(item, len(row.Properties))
		for name, value := range row.Properties {
			m[name] = text(value)
		}
		it[attrProperties] = &types.AttributeValueMemberM{Value: m}
	}
	return it
}

// lists returns a map of lists.
func lists[T any](m map[string][]T, value func(T) types.AttributeValue) types.AttributeValue {
	out := make(item, len(m))
	for name, values := range m {
		list := make([]types.AttributeValue, len(values))
		for i, v := range values {
			list[i] = value(v)
		}
		out[name] = &types.AttributeValueMemberL{Value: list}
	}
	return &types.AttributeValueMemberM{Value: out}
}

// decodeWorker reads a row whose key has the given name.
func decodeWorker(it item, keyAttr string) consumer.WorkerRow {
	d := decoder{it: it}
	row := consumer.WorkerRow{
		ID: d.text(keyAttr), Updated: d.seconds(attrUpdated),
		SupportCode: d.number(attrSupport), SupportUpdated: d.seconds(attrSupportUpdated),
	}
	row.Stats = decodeLists(&d, attrStats, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	row.OperatingRange = decodeLists(&d, attrOperatingRange, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	if v, ok := it[attrProperties]; ok {
		m, ok := v.(*types.AttributeValueMemberM)
		if !ok {
			d.fail(attrProperties, v)
		} else {
			row.Properties = make(map[string]string, len(m.Value))
			for name, v := range m.Value {
				// One that is no text is none of ours.
				if s, ok := v.(*types.AttributeValueMemberS); ok {
					row.Properties[name] = s.Value
				}
			}
		}
	}
	if d.err != nil {
		row.Invalid = fmt.Errorf("dynamolease: row of worker %q: %w; the worker writes it anew, or delete the item", row.ID, d.err)
	}
	return row
}

func (d *decoder) seconds(name string) time.Time {
	if s := d.number(name); s != 0 {
		return time.Unix(s, 0)
	}
	return time.Time{}
}

func decodeLists[T any](d *decoder, name string, value func(string) (T, error)) map[string][]T {
	v, ok := d.it[name]
	if _, null := v.(*types.AttributeValueMemberNULL); !ok || null {
		return nil
	}
	m, ok := v.(*types.AttributeValueMemberM)
	if !ok {
		d.fail(name, v)
		return nil
	}
	out := make(map[string][]T, len(m.Value))
	for metric, v := range m.Value {
		list, ok := v.(*types.AttributeValueMemberL)
		if !ok {
			d.fail(name, v)
			continue
		}
		values := make([]T, 0, len(list.Value))
		for _, v := range list.Value {
			n, ok := v.(*types.AttributeValueMemberN)
			if !ok {
				d.fail(name, v)
				continue
			}
			x, err := value(n.Value)
			if err != nil {
				d.fail(name, v)
			}
			values = append(values, x)
		}
		out[metric] = values
	}
	return out
}

// PutWorker implements [consumer.CoordinationStore].
func (s *Store) PutWorker(ctx context.Context, row consumer.WorkerRow) error {
	table, keyAttr := s.workerTable()
	it := encodeWorker(row)
	in := &dynamodb.UpdateItemInput{
		TableName: &table, Key: item{keyAttr: text(row.ID)},
		ExpressionAttributeNames: map[string]string{}, ExpressionAttributeValues: item{},
	}
	var sets []string
	for _, name := range slices.Sorted(maps.Keys(it)) {
		sets = append(sets, "#AMZN_MAPPED_"+name+" = :AMZN_MAPPED_"+name)
		in.ExpressionAttributeNames["#AMZN_MAPPED_"+name] = name
		in.ExpressionAttributeValues[":AMZN_MAPPED_"+name] = it[name]
	}
	in.UpdateExpression = aws.String("SET " + strings.Join(sets, ", "))
	if process, number := row.Write(); process != "" {
		// A request that is sent again finds its own write.
		in.ConditionExpression = aws.String("attribute_not_exists(#p.#i) OR #p.#i <> :i OR attribute_not_exists(#p.#n) OR #p.#n <= :n")
		maps.Copy(in.ExpressionAttributeNames, map[string]string{"#p": attrProperties, "#i": attrIncarnation, "#n": propWrite})
		maps.Copy(in.ExpressionAttributeValues, item{":i": text(process), ":n": text(number)})
	}
	_, err := s.api.UpdateItem(ctx, in)
	if _, late := errors.AsType[*types.ConditionalCheckFailedException](err); late {
		err = consumer.ErrLateRow
	}
	if err != nil {
		return fmt.Errorf("dynamolease: write row of worker %q to table %q: %w", row.ID, table, err)
	}
	return nil
}

// GetWorker implements [consumer.CoordinationStore].
func (s *Store) GetWorker(ctx context.Context, id string) (consumer.WorkerRow, bool, error) {
	var rows []consumer.WorkerRow
	look := func(table, keyAttr string) error {
		out, err := s.api.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: item{keyAttr: text(id)}, ConsistentRead: aws.Bool(true)})
		if err != nil {
			return fmt.Errorf("dynamolease: get row of worker %q of table %q: %w", id, table, err)
		}
		if isWorker(out.Item, keyAttr) {
			rows = append(rows, decodeWorker(out.Item, keyAttr))
		}
		return nil
	}
	err := look(s.table, attrKey)
	if err == nil && s.readsLegacy() {
		err = look(s.cfg.WorkerMetricStatsTable, attrWorkerKey)
	}
	if rows = latest(rows); err != nil || len(rows) == 0 {
		return consumer.WorkerRow{}, false, err
	}
	return rows[0], true, nil
}

// isWorker reports whether an item is a worker's row. In the table of their own
// they need not say so.
func isWorker(it item, keyAttr string) bool {
	if len(it) == 0 {
		return false
	}
	kind, ok := it[attrEntityType].(*types.AttributeValueMemberS)
	return keyAttr == attrWorkerKey || ok && kind.Value == entityWorker
}

// ListWorkers implements [consumer.CoordinationStore] with a consistent Scan.
func (s *Store) ListWorkers(ctx context.Context) ([]consumer.WorkerRow, error) {
	rows, err := s.workersHere(ctx)
	if err != nil {
		return nil, err
	}
	return s.withLegacy(ctx, rows)
}

// workersHere returns the rows of workers in the lease table.
func (s *Store) workersHere(ctx context.Context) (rows []consumer.WorkerRow, err error) {
	err = s.scan(ctx, &dynamodb.ScanInput{
		TableName: &s.table, FilterExpression: aws.String("#et = :etVal"),
		ExpressionAttributeNames: map[string]string{"#et": attrEntityType}, ExpressionAttributeValues: item{":etVal": text(entityWorker)},
	}, func(it item) { rows = append(rows, decodeWorker(it, attrKey)) })
	return rows, err
}

// ListAll implements [consumer.CoordinationStore] with a consistent Scan.
func (s *Store) ListAll(ctx context.Context) ([]consumer.Lease, []consumer.WorkerRow, error) {
	var leases []consumer.Lease
	var rows []consumer.WorkerRow
	err := s.scan(ctx, &dynamodb.ScanInput{TableName: &s.table}, func(it item) {
		if isLease(it) {
			leases = append(leases, decode(it))
		} else if isWorker(it, attrKey) {
			rows = append(rows, decodeWorker(it, attrKey))
		}
	})
	if err != nil {
		return nil, nil, err
	}
	rows, err = s.withLegacy(ctx, rows)
	return leases, rows, err
}

// withLegacy returns rows with those in the workers' own table, if it may still
// be in use.
func (s *Store) withLegacy(ctx context.Context, rows []consumer.WorkerRow) ([]consumer.WorkerRow, error) {
	if !s.readsLegacy() {
		return rows, nil
	}
	err := s.scan(ctx, &dynamodb.ScanInput{TableName: &s.cfg.WorkerMetricStatsTable}, func(it item) {
		rows = append(rows, decodeWorker(it, attrWorkerKey))
	})
	return latest(rows), err
}

// latest keeps of each worker the row that was written last.
func latest(rows []consumer.WorkerRow) []consumer.WorkerRow {
	byID := map[string]consumer.WorkerRow{}
	for _, row := range rows {
		if before, ok := byID[row.ID]; !ok || row.Updated.After(before.Updated) {
			byID[row.ID] = row
		}
	}
	return slices.Collect(maps.Values(byID))
}

// DeleteWorker implements [consumer.CoordinationStore].
func (s *Store) DeleteWorker(ctx context.Context, row consumer.WorkerRow) error {
	remove := func(table, keyAttr string) error {
		_, err := s.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &table, Key: item{keyAttr: text(row.ID)},
			ConditionExpression:       aws.String("#key = :value AND attribute_exists(" + keyAttr + ")"),
			ExpressionAttributeNames:  map[string]string{"#key": attrUpdated},
			ExpressionAttributeValues: item{":value": number(row.Updated.Unix())},
		})
		if _, changed := errors.AsType[*types.ConditionalCheckFailedException](err); err != nil && !changed {
			return fmt.Errorf("dynamolease: delete row of worker %q of table %q: %w", row.ID, table, err)
		}
		return nil
	}
	err := remove(s.table, attrKey)
	if err == nil && s.readsLegacy() {
		err = remove(s.cfg.WorkerMetricStatsTable, attrWorkerKey)
	}
	return err
}
