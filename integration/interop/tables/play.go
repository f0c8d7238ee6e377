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
)

// An Answer is what a server said to a request, in a form in which the answers
// of two servers can be compared.
type Answer struct {
	Status  int             `json:"status"`
	Type    string          `json:"type,omitempty"` // of an error, without its namespace
	Message string          `json:"message,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"` // the rest, in one order
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

// maxPages ends the reading of pages that never ends.
const maxPages = 1000

func (s Server) play(ctx context.Context, r Request) (Answer, error) {
	status, m, err := s.send(ctx, r.Op, r.Body)
	if err != nil {
		return Answer{}, err
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
			m = map[string]any{"message": string(b)}
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
	v := tidy(m)
	if len(m) > 0 {
		var err error
		if a.Body, err = json.Marshal(v); err != nil { // sorts the members
			return Answer{}, err
		}
	}
	return a, nil
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
