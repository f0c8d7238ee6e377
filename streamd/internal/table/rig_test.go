package table_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

var (
	scope = arn.Scope{Account: "000000000000", Region: "us-east-1"}
	start = time.UnixMilli(1_700_000_000_123)
)

// rig is a Set and short ways to use it.
type rig struct {
	set *table.Set
}

func newRig() *rig { return &rig{table.NewSet()} }

// try sends a request and returns the body of the answer.
func (r *rig) try(op, body string) (string, error) {
	req, err := table.Parse(op, []byte(body))
	if err != nil {
		return "", err
	}
	send := r.set.Read
	if req.Mutates() {
		send = r.set.Apply
	}
	res, err := send(start, scope, req)
	if err != nil {
		return "", err
	}
	out := string(res.AppendJSON(nil))
	if out != "" && !json.Valid([]byte(out)) { // tags are answered by nothing
		return "", errors.New("invalid JSON: " + out)
	}
	return out, nil
}

// do sends a request that must succeed.
func (r *rig) do(t testing.TB, op, body string) string {
	t.Helper()
	out, err := r.try(op, body)
	if err != nil {
		t.Fatalf("%s %s: %v", op, body, err)
	}
	return out
}

// want sends a request that must succeed with an answer.
func (r *rig) want(t testing.TB, op, body, want string) {
	t.Helper()
	if got := r.do(t, op, body); got != want {
		t.Fatalf("%s %s:\n got %s\nwant %s", op, body, got, want)
	}
}

// refuse sends a request that must fail, with a code and a message.
func (r *rig) refuse(t testing.TB, op, body, want string) {
	t.Helper()
	r.members(t, op, body, want)
}

// members is refuse, and returns what the error holds besides.
func (r *rig) members(t testing.TB, op, body, want string) string {
	t.Helper()
	out, err := r.try(op, body)
	if err == nil {
		t.Fatalf("%s %s: got %s, want error %s", op, body, out, want)
	}
	ae, ok := errors.AsType[*awserr.Error](err)
	if !ok {
		t.Fatalf("%s %s: error %v is not an *awserr.Error", op, body, err)
	}
	if ae.Error() != want {
		t.Fatalf("%s %s:\n got %s\nwant %s", op, body, ae, want)
	}
	return ae.Members
}

// hashTable makes the table "tab" with the key "k" of the given type.
func (r *rig) hashTable(t testing.TB, typ string) {
	t.Helper()
	r.do(t, "CreateTable", `{"TableName":"tab","BillingMode":"PAY_PER_REQUEST",
		"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],
		"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"`+typ+`"}]}`)
}

// rangeTable makes the table "tab" with the hash key "h" S and the range key
// "r" of the given type.
func (r *rig) rangeTable(t testing.TB, typ string) {
	t.Helper()
	r.do(t, "CreateTable", `{"TableName":"tab","BillingMode":"PAY_PER_REQUEST",
		"KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],
		"AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},{"AttributeName":"r","AttributeType":"`+typ+`"}]}`)
}

func (r *rig) put(t testing.TB, item string) {
	t.Helper()
	r.do(t, "PutItem", `{"TableName":"tab","Item":`+item+`}`)
}

const (
	validation = "ValidationException: "
	parameters = validation + "One or more parameter values were invalid: "
	failedText = "ConditionalCheckFailedException: The conditional request failed"
)

// quote returns s as a JSON string.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// page is an answer of Scan or Query.
type page struct {
	Count, ScannedCount int
	Items               []map[string]map[string]any
	LastEvaluatedKey    json.RawMessage
}

func (r *rig) page(t testing.TB, op, body string) page {
	t.Helper()
	var p page
	if err := json.Unmarshal([]byte(r.do(t, op, body)), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// values returns one attribute of each item, without its type.
func (p page) values(name string) string {
	var list []string
	for _, item := range p.Items {
		for _, v := range item[name] {
			s, _ := v.(string)
			list = append(list, s)
		}
	}
	return strings.Join(list, " ")
}

// only returns the members of the JSON object all whose names stand in expr,
// "" if none does.
func only(t testing.TB, all, expr string) string {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(all), &m); err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(expr, func(c rune) bool { return strings.ContainsRune(" ()=<>,.+-\t\n", c) })
	maps.DeleteFunc(m, func(name string, _ json.RawMessage) bool { return !slices.Contains(words, name) })
	if len(m) == 0 {
		return ""
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// reread returns a rig whose Set went through a snapshot, which must be equal.
func (r *rig) reread(t testing.TB) *rig {
	t.Helper()
	snap := r.set.AppendSnapshot(nil)
	set, err := table.ReadSnapshot(snap)
	if err != nil {
		t.Fatal(err)
	}
	if again := set.AppendSnapshot(nil); string(again) != string(snap) {
		t.Fatalf("snapshot differs after it was read:\n%q\n%q", snap, again)
	}
	return &rig{set}
}
