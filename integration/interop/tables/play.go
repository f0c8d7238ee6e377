package tables

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An Answer is what a server said to a request, in a form in which the answers
// of two servers can be compared.
type Answer struct {
	Status  int             `json:"status"`
	Type    string          `json:"type,omitempty"` // of an error, without its namespace
	Message string          `json:"message,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"` // the rest, in one order
}

func (a Answer) same(b Answer) bool {
	return a.Status == b.Status && a.Type == b.Type && a.Message == b.Message && bytes.Equal(a.Body, b.Body)
}

// String returns a as one line.
func (a Answer) String() string {
	return strings.TrimRight(fmt.Sprintf("%d %s %s %s", a.Status, a.Type, a.Message, a.Body), " ")
}

// A Server is where requests go.
type Server struct {
	URL    string
	Client *http.Client
}

// Play sends requests one after the other and returns the answers.
func Play(ctx context.Context, s Server, list []Request) ([]Answer, error) {
	answers := make([]Answer, len(list))
	for i, r := range list {
		a, err := s.play(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("request %d, %s: %w", i, r.Op, err)
		}
		answers[i] = a
	}
	return answers, nil
}

// Record plays requests to a server and, beside it, to streamd. Where a write
// was answered differently the two may hold different items from then on, and
// all that follows would differ for no reason of its own. So the items that the
// write was about are taken out of both, by requests that become a part of the
// list. The requests and the answers of both are returned.
func Record(ctx context.Context, theirs, ours Server, list []Request) (played []Request, a, b []Answer, err error) {
	both := func(r Request) error {
		x, err := theirs.play(ctx, r)
		if err != nil {
			return err
		}
		y, err := ours.play(ctx, r)
		played, a, b = append(played, r), append(a, x), append(b, y)
		return err
	}
	for i, r := range list {
		if err := both(r); err != nil {
			return nil, nil, nil, fmt.Errorf("request %d, %s: %w", i, r.Op, err)
		}
		if last := len(played) - 1; a[last].same(b[last]) || !writes[r.Op] {
			continue
		}
		for _, sync := range undo(r) {
			if err := both(sync); err != nil {
				return nil, nil, nil, fmt.Errorf("request %d, %s: %w", i, r.Op, err)
			}
		}
	}
	return played, a, b, nil
}

// writes are the operations that change what later requests are answered.
var writes = map[string]bool{
	"GetItem": true, // shows what the write before it left
	"PutItem": true, "UpdateItem": true, "DeleteItem": true, "BatchWriteItem": true, "TransactWriteItems": true,
	"CreateTable": true, "UpdateTable": true, "DeleteTable": true,
}

// undo returns requests after which it does not matter whether r was done.
func undo(r Request) (list []Request) {
	var m any
	if json.Unmarshal([]byte(r.Body), &m) != nil {
		return nil
	}
	if strings.HasSuffix(r.Op, "Table") {
		body, _ := m.(map[string]any)
		if name, _ := body["TableName"].(string); strings.HasPrefix(name, "extra") {
			return []Request{{Op: "DeleteTable", Body: `{"TableName":` + quote(name) + `}`, Sync: true}}
		}
		return nil
	}
	deletions(m, "", func(table string, item map[string]any) {
		i := slices.IndexFunc(schemas, func(s schema) bool { return s.name == table })
		if i < 0 {
			return
		}
		key := map[string]any{}
		for _, name := range schemas[i].keys {
			if item[name] == nil {
				return
			}
			key[name] = item[name]
		}
		body, err := json.Marshal(map[string]any{"TableName": table, "Key": key})
		if err == nil {
			list = append(list, Request{Op: "DeleteItem", Body: string(body), Sync: true})
		}
	})
	return list
}

// deletions calls f for each item or key inside of a body.
func deletions(v any, table string, f func(table string, item map[string]any)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			deletions(e, table, f)
		}
	case map[string]any:
		if name, ok := v["TableName"].(string); ok {
			table = name
		}
		for _, name := range []string{"Item", "Key"} {
			if item, ok := v[name].(map[string]any); ok {
				f(table, item)
				delete(v, name)
			}
		}
		for name, inside := range v {
			if _, ok := inside.([]any); ok && table == "" {
				deletions(inside, name, f) // RequestItems
				continue
			}
			deletions(inside, table, f)
		}
	}
}

// maxPages ends the reading of pages that never ends.
const maxPages = 1000

func (s Server) play(ctx context.Context, r Request) (Answer, error) {
	status, m, err := s.send(ctx, r.Op, r.Body)
	if err != nil {
		return Answer{}, err
	}
	if status == http.StatusOK && strings.HasSuffix(r.Op, "Table") && r.Op != "DescribeTable" {
		if err := s.settle(ctx, r.Body); err != nil {
			return Answer{}, err
		}
	}
	for range maxPages {
		last, more := m["LastEvaluatedKey"]
		if !r.All || !more || status != http.StatusOK {
			return normal(r, status, m)
		}
		key, err := json.Marshal(last)
		if err != nil {
			return Answer{}, err
		}
		body := strings.TrimSuffix(r.Body, "}") + `,"ExclusiveStartKey":` + string(key) + "}"
		var next map[string]any
		if status, next, err = s.send(ctx, r.Op, body); err != nil {
			return Answer{}, err
		}
		join(m, next)
	}
	return Answer{}, fmt.Errorf("no end after %d pages", maxPages)
}

// settle waits until a table and its indexes have been made, changed or removed.
func (s Server) settle(ctx context.Context, body string) error {
	var in struct{ TableName string }
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		return err
	}
	for range maxPages {
		_, m, err := s.send(ctx, "DescribeTable", `{"TableName":`+quote(in.TableName)+`}`)
		if err != nil {
			return err
		}
		t, there := m["Table"].(map[string]any)
		if !there || active(t) {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("table %s does not become active", in.TableName)
}

// active reports whether a table and all its indexes are ready.
func active(table map[string]any) bool {
	indexes, _ := table["GlobalSecondaryIndexes"].([]any)
	return table["TableStatus"] == "ACTIVE" && !slices.ContainsFunc(indexes, func(x any) bool {
		index, _ := x.(map[string]any)
		status, said := index["IndexStatus"]
		return said && status != "ACTIVE"
	})
}

// join adds a page to those before it.
func join(m, next map[string]any) {
	for _, name := range []string{"Count", "ScannedCount"} {
		a, _ := m[name].(json.Number)
		b, _ := next[name].(json.Number)
		x, _ := a.Int64()
		y, _ := b.Int64()
		m[name] = json.Number(fmt.Sprint(x + y))
	}
	before, _ := m["Items"].([]any)
	after, has := next["Items"].([]any)
	if has {
		m["Items"] = append(before, after...)
	}
	for _, name := range []string{"LastEvaluatedKey", "__type", "message", "Message"} {
		delete(m, name)
		if v, ok := next[name]; ok {
			m[name] = v
		}
	}
	delete(m, "ConsumedCapacity") // of one page, so it says nothing of all
}

// noJSON is the member for a body that is no object.
const noJSON = "(body)"

// noAnswer is the message where no answer came, or the connection broke.
const noAnswer = "no answer"

// authorization is a signature in form only: these servers look no closer.
const authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261126/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000"

func (s Server) send(ctx context.Context, op, body string) (status int, m map[string]any, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
	req.Header.Set("X-Amz-Date", "20261126T000000Z")
	req.Header.Set("Authorization", authorization)
	resp, err := s.Client.Do(req)
	if err != nil && ctx.Err() == nil {
		return 0, map[string]any{"message": noAnswer}, nil // some fail inside and leave the client waiting
	}
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	m = map[string]any{}
	if len(b) > 0 {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			m = map[string]any{noJSON: string(b)}
		}
	}
	return resp.StatusCode, m, nil
}

// normal returns the answer without what differs from one run to the next, and
// in one order where the API leaves the order open.
func normal(r Request, status int, m map[string]any) (Answer, error) {
	a := Answer{Status: status}
	text := func(name string) string {
		s, _ := m[name].(string)
		delete(m, name)
		return s
	}
	a.Type = text("__type")
	a.Type = a.Type[strings.LastIndexByte(a.Type, '#')+1:]
	a.Message = text("message")
	if upper := text("Message"); a.Message == "" {
		a.Message = upper
	}
	a.Message = plain(a.Message)
	for _, at := range sortedLists[r.Op] {
		sortAt(m, strings.Split(at, "."))
	}
	for _, name := range []string{"Table", "TableDescription"} {
		if t, ok := m[name].(map[string]any); ok {
			steady(t)
		}
	}
	if r.Op == "TagResource" || r.Op == "UntagResource" {
		delete(m, noJSON) // nothing, or an empty text
	}
	for _, name := range []string{"ConsumedCapacity", "ItemCollectionMetrics"} {
		switch v := m[name].(type) { // some say at length that there is nothing
		case []any:
			if len(v) == 0 {
				delete(m, name)
			}
		case map[string]any:
			if len(v) == 0 {
				delete(m, name)
			}
		}
	}
	v := tidy(m)
	if len(m) > 0 {
		var err error
		if a.Body, err = json.Marshal(v); err != nil { // sorts the members
			return Answer{}, err
		}
	}
	return a, nil
}

// steady takes out of a description of a table in which state the table is, and
// what only one of the servers has.
func steady(t map[string]any) {
	for _, name := range []string{
		"TableStatus", "DeletionProtectionEnabled", "TableThroughputModeSummary", "ItemCount", "TableSizeBytes",
		"WarmThroughput", "TableClassSummary",
	} {
		delete(t, name)
	}
	if m, ok := t["BillingModeSummary"].(map[string]any); ok {
		delete(m, "LastUpdateToPayPerRequestDateTime")
		if m["BillingMode"] == "PROVISIONED" { // which is said of some tables, and of others not
			delete(t, "BillingModeSummary")
		}
	}
	if m, ok := t["ProvisionedThroughput"].(map[string]any); ok {
		for _, name := range []string{"LastDecreaseDateTime", "LastIncreaseDateTime", "NumberOfDecreasesToday"} {
			delete(m, name)
		}
	}
	for _, kind := range []string{"GlobalSecondaryIndexes", "LocalSecondaryIndexes"} {
		list, _ := t[kind].([]any)
		for _, x := range list {
			x, _ := x.(map[string]any)
			for _, name := range []string{"IndexStatus", "ItemCount", "IndexSizeBytes", "ProvisionedThroughput"} {
				delete(x, name)
			}
		}
	}
}

// sortedLists are the lists whose order the API leaves open, by operation; *
// stands for any member.
var sortedLists = map[string][]string{
	"Scan":               {"Items"},
	"BatchGetItem":       {"Responses.*", "ConsumedCapacity"},
	"BatchWriteItem":     {"ConsumedCapacity"},
	"TransactWriteItems": {"ConsumedCapacity"},
	"TransactGetItems":   {"ConsumedCapacity"},
	"ListTagsOfResource": {"Tags"},
	"DescribeTable":      tableLists("Table"),
	"CreateTable":        tableLists("TableDescription"),
	"UpdateTable":        tableLists("TableDescription"),
	"DeleteTable":        tableLists("TableDescription"),
}

func tableLists(at string) []string {
	return []string{at + ".AttributeDefinitions", at + ".GlobalSecondaryIndexes", at + ".LocalSecondaryIndexes"}
}

// sortAt sorts the list at a path by the JSON of its elements.
func sortAt(v any, path []string) {
	if list, ok := v.([]any); ok && len(path) == 0 {
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(text(a), text(b)) })
		return
	}
	m, ok := v.(map[string]any)
	if !ok || len(path) == 0 {
		return
	}
	for name := range m {
		if path[0] == "*" || path[0] == name {
			sortAt(m[name], path[1:])
		}
	}
}

// text returns v as JSON, its sets sorted.
func text(v any) string {
	b, err := json.Marshal(tidy(v))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// volatile are members that differ from run to run.
var volatile = map[string]bool{
	"CreationDateTime": true, "TableId": true, "LastUpdateToPayPerRequestDateTime": true, "TableArn": true, "IndexArn": true,
	"LastIncreaseDateTime": true, "LastDecreaseDateTime": true, "EarliestRestorableDateTime": true, "LatestRestorableDateTime": true,
}

// tidy sorts the sets inside of v and takes out what is volatile.
func tidy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inside := range v {
			if volatile[name] {
				v[name] = "*"
				continue
			}
			if list, ok := inside.([]any); ok && (name == "SS" || name == "NS" || name == "BS") {
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
				continue
			}
			v[name] = tidy(inside)
		}
	case []any:
		for i := range v {
			v[i] = tidy(v[i])
		}
	}
	return v
}

var (
	// Values in the messages about constraints are written as Java writes
	// structures, cut short, or not at all.
	constraintValue = regexp.MustCompile(`Value (null|'[^']*'|'.*?') at '`)
	braces          = regexp.MustCompile(`\{[^{}]*\}`)
)

// plain returns a message without what servers order or print as they like.
func plain(s string) string {
	s = constraintValue.ReplaceAllStringFunc(s, func(m string) string {
		if strings.HasPrefix(m, "Value null") {
			return m
		}
		return "Value '…' at '"
	})
	if head, list, ok := strings.Cut(s, " detected: "); ok && strings.Contains(head, "validation error") {
		parts := strings.Split(list, "; ")
		slices.Sort(parts)
		s = head + " detected: " + strings.Join(parts, "; ")
	}
	return braces.ReplaceAllStringFunc(s, func(m string) string { // sets of names have no order
		parts := strings.Split(strings.Trim(m, "{}"), ", ")
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	})
}
