package table_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// rapid tells the same stories in each run; with -rapid.seed=0 it draws others.
var _ = flag.Set("rapid.seed", "1")

// modelKey is the key of an item of the model.
type modelKey struct {
	h string
	r int
}

// modelItem is an item of the model: a counter, perhaps an owner.
type modelItem struct {
	n     int
	owner string
}

func (k modelKey) json() string { return fmt.Sprintf(`{"h":{"S":%s},"r":{"N":"%d"}}`, quote(k.h), k.r) }

func (k modelKey) item(m modelItem) string {
	owner := ""
	if m.owner != "" {
		owner = `,"owner_id":{"S":"` + m.owner + `"}`
	}
	return fmt.Sprintf(`{"h":{"S":%s},"n":{"N":"%d"}%s,"r":{"N":"%d"}}`, quote(k.h), m.n, owner, k.r)
}

func compareModelKeys(a, b modelKey) int {
	if c := strings.Compare(a.h, b.h); c != 0 {
		return c
	}
	return a.r - b.r
}

// machine drives a Set and a map with the same random requests.
type machine struct {
	rig   *rig
	model map[modelKey]modelItem
	log   []journaled // of the mutating requests
}

type journaled struct{ op, body, answer string }

func (m *machine) mutate(t *rapid.T, op, body string) (string, error) {
	out, err := m.rig.try(op, body)
	answer := out
	if err != nil {
		answer = err.Error()
	}
	m.log = append(m.log, journaled{op, body, answer})
	return out, err
}

func (m *machine) key(t *rapid.T) modelKey {
	return modelKey{
		rapid.SampledFrom([]string{"a", "b", "b\x00", "ba", "é"}).Draw(t, "h"),
		rapid.IntRange(-3, 12).Draw(t, "r"),
	}
}

func (m *machine) owner(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "w1", "w2"}).Draw(t, "owner")
}

// refused requires the condition of a request to have failed.
func refused(t *rapid.T, err error) {
	ae, ok := errors.AsType[*awserr.Error](err)
	if !ok || ae.Code != "ConditionalCheckFailedException" {
		t.Fatalf("error = %v, want a failed condition", err)
	}
}

func (m *machine) Put(t *rapid.T) {
	k, item := m.key(t), modelItem{rapid.IntRange(-5, 5).Draw(t, "n"), m.owner(t)}
	cond := rapid.SampledFrom([]string{"", "Expected", "Expression"}).Draw(t, "condition")
	body := `{"TableName":"tab","ReturnValues":"ALL_OLD","Item":` + k.item(item)
	switch cond {
	case "Expected":
		body += `,"Expected":{"h":{"Exists":false}}`
	case "Expression":
		body += `,"ConditionExpression":"attribute_not_exists(h)"`
	}
	old, had := m.model[k]
	out, err := m.mutate(t, "PutItem", body+"}")
	if had && cond != "" {
		refused(t, err)
		return
	}
	want := "{}"
	if had {
		want = `{"Attributes":` + k.item(old) + `}`
	}
	if err != nil || out != want {
		t.Fatalf("PutItem = %s, %v, want %s", out, err, want)
	}
	m.model[k] = item
}

func (m *machine) Renew(t *rapid.T) {
	k, n := m.key(t), rapid.IntRange(-5, 5).Draw(t, "n")
	old, had := m.model[k]
	var body string
	if rapid.Bool().Draw(t, "legacy") {
		body = fmt.Sprintf(`,"Expected":{"n":{"Value":{"N":"%d.0"}}},"AttributeUpdates":{"n":{"Action":"ADD","Value":{"N":"1"}}}`, n)
	} else {
		body = fmt.Sprintf(`,"ConditionExpression":"n = :n","UpdateExpression":"SET n = n + :one","ExpressionAttributeValues":{":n":{"N":"%d"},":one":{"N":"1"}}`, n)
	}
	out, err := m.mutate(t, "UpdateItem", `{"TableName":"tab","ReturnValues":"ALL_NEW","Key":`+k.json()+body+"}")
	if !had || old.n != n {
		refused(t, err)
		return
	}
	old.n++
	if want := `{"Attributes":` + k.item(old) + `}`; err != nil || out != want {
		t.Fatalf("UpdateItem = %s, %v, want %s", out, err, want)
	}
	m.model[k] = old
}

func (m *machine) Own(t *rapid.T) {
	k, owner := m.key(t), m.owner(t)
	body := `,"UpdateExpression":"SET n = if_not_exists(n, :zero), owner_id = :o","ExpressionAttributeValues":{":zero":{"N":"0"},":o":{"S":"` + owner + `"}}`
	if owner == "" {
		body = `,"UpdateExpression":"SET n = if_not_exists(n, :zero) REMOVE owner_id","ExpressionAttributeValues":{":zero":{"N":"0"}}`
	}
	out, err := m.mutate(t, "UpdateItem", `{"TableName":"tab","Key":`+k.json()+body+"}")
	if err != nil || out != "{}" {
		t.Fatalf("UpdateItem = %s, %v", out, err)
	}
	item := m.model[k]
	item.owner = owner
	m.model[k] = item
}

func (m *machine) Delete(t *rapid.T) {
	k := m.key(t)
	out, err := m.mutate(t, "DeleteItem", `{"TableName":"tab","ReturnValues":"ALL_OLD","Key":`+k.json()+`}`)
	want := "{}"
	if old, had := m.model[k]; had {
		want = `{"Attributes":` + k.item(old) + `}`
	}
	if err != nil || out != want {
		t.Fatalf("DeleteItem = %s, %v, want %s", out, err, want)
	}
	delete(m.model, k)
}

func (m *machine) Get(t *rapid.T) {
	k := m.key(t)
	want := "{}"
	if item, had := m.model[k]; had {
		want = `{"Item":` + k.item(item) + `}`
	}
	out, err := m.rig.try("GetItem", `{"TableName":"tab","Key":`+k.json()+`}`)
	if err != nil || out != want {
		t.Fatalf("GetItem = %s, %v, want %s", out, err, want)
	}
}

// pages reads all pages and returns the items in their order.
func (m *machine) pages(t *rapid.T, op, body string, limit int) []modelKey {
	var keys []modelKey
	at := ""
	for range 1000 {
		out, err := m.rig.try(op, body+`,"Limit":`+strconv.Itoa(limit)+at+`}`)
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
		var p struct {
			Items            []map[string]struct{ S, N string }
			ScannedCount     int
			LastEvaluatedKey json.RawMessage
		}
		if err := json.Unmarshal([]byte(out), &p); err != nil {
			t.Fatal(err)
		}
		if p.ScannedCount > limit {
			t.Fatalf("%d items looked at in a page of %d", p.ScannedCount, limit)
		}
		for _, item := range p.Items {
			n, _ := strconv.Atoi(item["r"].N)
			keys = append(keys, modelKey{item["h"].S, n})
		}
		if p.LastEvaluatedKey == nil {
			return keys
		}
		at = `,"ExclusiveStartKey":` + string(p.LastEvaluatedKey)
	}
	t.Fatalf("%s never ends", op)
	return nil
}

// sorted returns the keys of the model that keep holds for.
func (m *machine) sorted(keep func(modelKey, modelItem) bool) []modelKey {
	var keys []modelKey
	for k, v := range m.model {
		if keep(k, v) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compareModelKeys)
	return keys
}

func (m *machine) Scan(t *rapid.T) {
	total, limit := rapid.IntRange(1, 4).Draw(t, "total"), rapid.IntRange(1, 9).Draw(t, "limit")
	filter := rapid.Bool().Draw(t, "filter")
	var got []modelKey
	for segment := range total {
		body := fmt.Sprintf(`{"TableName":"tab","TotalSegments":%d,"Segment":%d`, total, segment)
		if filter {
			body += `,"FilterExpression":"n > :n","ExpressionAttributeValues":{":n":{"N":"0"}}`
		}
		got = append(got, m.pages(t, "Scan", body, limit)...)
	}
	slices.SortFunc(got, compareModelKeys)
	want := m.sorted(func(_ modelKey, v modelItem) bool { return !filter || v.n > 0 })
	if !slices.Equal(got, want) {
		t.Fatalf("Scan = %v, want %v", got, want)
	}
}

func (m *machine) Query(t *rapid.T) {
	k, limit := m.key(t), rapid.IntRange(1, 9).Draw(t, "limit")
	op := rapid.SampledFrom([]string{"=", "<", "<=", ">", ">="}).Draw(t, "op")
	forward := rapid.Bool().Draw(t, "forward")
	body := fmt.Sprintf(`{"TableName":"tab","ScanIndexForward":%t,"KeyConditionExpression":"h = :h AND r %s :r","ExpressionAttributeValues":{":h":{"S":%s},":r":{"N":"%d"}}`, forward, op, quote(k.h), k.r)
	want := m.sorted(func(c modelKey, _ modelItem) bool {
		return c.h == k.h && map[string]bool{"=": c.r == k.r, "<": c.r < k.r, "<=": c.r <= k.r, ">": c.r > k.r, ">=": c.r >= k.r}[op]
	})
	if !forward {
		slices.Reverse(want)
	}
	if got := m.pages(t, "Query", body, limit); !slices.Equal(got, want) {
		t.Fatalf("Query h = %q AND r %s %d = %v, want %v", k.h, op, k.r, got, want)
	}
}

func (m *machine) QueryIndex(t *rapid.T) {
	owner, limit := rapid.SampledFrom([]string{"w1", "w2", "w3"}).Draw(t, "owner"), rapid.IntRange(1, 9).Draw(t, "limit")
	body := `{"TableName":"tab","IndexName":"owners","KeyConditionExpression":"owner_id = :o","ExpressionAttributeValues":{":o":{"S":"` + owner + `"}}`
	want := m.sorted(func(_ modelKey, v modelItem) bool { return v.owner == owner })
	if got := m.pages(t, "Query", body, limit); !slices.Equal(got, want) {
		t.Fatalf("items of %s = %v, want %v", owner, got, want)
	}
}

// Snapshot goes on with the Set that the snapshot gives.
func (m *machine) Snapshot(t *rapid.T) {
	snap := m.rig.set.AppendSnapshot(nil)
	set, err := table.ReadSnapshot(snap)
	if err != nil {
		t.Fatal(err)
	}
	if string(set.AppendSnapshot(nil)) != string(snap) {
		t.Fatal("snapshot differs after it was read")
	}
	m.rig.set = set
}

// Clone goes on with a clone.
func (m *machine) Clone(*rapid.T) { m.rig.set = m.rig.set.Clone() }

// Check compares the counts of the description.
func (m *machine) Check(t *rapid.T) {
	out, err := m.rig.try("DescribeTable", `{"TableName":"tab"}`)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Table struct {
			ItemCount, TableSizeBytes int
			GlobalSecondaryIndexes    []struct{ ItemCount, IndexSizeBytes int }
		}
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	owned := m.sorted(func(_ modelKey, v modelItem) bool { return v.owner != "" })
	if d.Table.ItemCount != len(m.model) || d.Table.GlobalSecondaryIndexes[0].ItemCount != len(owned) {
		t.Fatalf("description %+v, want %d items, %d owned", d.Table, len(m.model), len(owned))
	}
	size := 0
	for k, v := range m.model {
		body := `{"TableName":"tab","Item":` + k.item(v) + `}`
		req, err := table.Parse("PutItem", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		size += table.ItemSize(req)
	}
	if d.Table.TableSizeBytes != size {
		t.Fatalf("size %d, want %d", d.Table.TableSizeBytes, size)
	}
	if len(owned) == 0 && d.Table.GlobalSecondaryIndexes[0].IndexSizeBytes != 0 {
		t.Fatalf("empty index has %d bytes", d.Table.GlobalSecondaryIndexes[0].IndexSizeBytes)
	}
}

const modelTable = `{"TableName":"tab","BillingMode":"PAY_PER_REQUEST",
	"KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],
	"AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},{"AttributeName":"r","AttributeType":"N"},{"AttributeName":"owner_id","AttributeType":"S"}],
	"GlobalSecondaryIndexes":[{"IndexName":"owners","KeySchema":[{"AttributeName":"owner_id","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}]}`

// TestAgainstModel runs random requests against a Set and a map. At the end it
// replays the mutating ones on a new Set, which must give the same answers and
// the same snapshot.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{rig: newRig(), model: maps.Clone(map[modelKey]modelItem{})}
		if _, err := m.mutate(t, "CreateTable", modelTable); err != nil {
			t.Fatal(err)
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": m.Put, "renew": m.Renew, "own": m.Own, "delete": m.Delete, "get": m.Get,
			"scan": m.Scan, "query": m.Query, "index": m.QueryIndex,
			"snapshot": m.Snapshot, "clone": m.Clone, "": m.Check,
		})
		replay := newRig()
		for _, e := range m.log {
			out, err := replay.try(e.op, e.body)
			if err != nil {
				out = err.Error()
			}
			if out != e.answer {
				t.Fatalf("replay of %s %s = %s, first %s", e.op, e.body, out, e.answer)
			}
		}
		if string(replay.set.AppendSnapshot(nil)) != string(m.rig.set.AppendSnapshot(nil)) {
			t.Fatal("replay gives another state")
		}
	})
}
