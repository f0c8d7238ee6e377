package tables

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/streamkit/streamkit/integration/interop/golden"
	"github.com/streamkit/streamkit/internal/capture"
)

// Captured returns what KCLs have asked of tables, of the captures whose names
// match a pattern, in the order in which they were answered; and behind each
// capture what its tables and their indexes hold then. The tables of a capture
// have its name in theirs.
func Captured(pattern string) ([]Request, error) {
	return captured(pattern, asTheyWere)
}

// CapturedTwice is as Captured, but for two things. Each write with a condition
// follows itself, as one does whose answer was lost: most of these fail, which
// none of the KCLs' own did. And tables have from the start the indexes that are
// added later, which is more than dynalite can do.
func CapturedTwice(pattern string) ([]Request, error) {
	return captured(pattern, func(lines []capture.Line, prefix string) []Request { return twice(lines, prefix+"twice-") })
}

func captured(pattern string, play func(lines []capture.Line, prefix string) []Request) ([]Request, error) {
	names, err := fs.Glob(golden.KCL, "testdata/calls/"+pattern+".ndjson.gz")
	if err != nil {
		return nil, err
	}
	var list []Request
	for _, name := range names {
		lines, err := readCapture(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, play(lines, strings.TrimSuffix(path.Base(name), ".ndjson.gz")+"-")...)
	}
	return list, nil
}

// readCapture returns the requests of a capture that are about tables.
func readCapture(name string) ([]capture.Line, error) {
	f, err := golden.KCL.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	var lines []capture.Line
	r := capture.NewReader(z)
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		if l.Service() == "dynamodb" {
			lines = append(lines, l)
		}
	}
}

// asTheyWere returns the requests of a capture on tables whose names begin with
// prefix, and the scans behind them.
func asTheyWere(lines []capture.Line, prefix string) []Request {
	var names capture.Mapping
	var scans []Request
	for _, l := range lines {
		names.Need(l)
		m := made(l.Body)
		if m.TableName == "" {
			continue
		}
		to := prefix + m.TableName
		names.Learn(named(m.TableName), named(to))
		if l.Operation() == "CreateTable" {
			scans = append(scans, scan(`"TableName":`+quote(to)))
		}
		for _, x := range m.indexes() {
			scans = append(scans, scan(`"TableName":`+quote(to)+`,"IndexName":`+quote(x.IndexName)))
		}
	}
	var list []Request
	for _, l := range lines {
		list = append(list, Request{Op: l.Operation(), Body: string(names.Rewrite(l)), Status: l.Status, Code: l.Code})
	}
	return append(list, scans...)
}

// named is an answer that names a table.
func named(table string) capture.Answer {
	return capture.Answer{Values: map[string]string{"TableName": table}}
}

func scan(members string) Request { return Request{Op: "Scan", Body: "{" + members + "}", All: true} }

// twice is as asTheyWere, but that writes with a condition are sent twice, and
// indexes are there from the start.
func twice(lines []capture.Line, prefix string) []Request {
	var list []Request
	created := map[string]int{} // where tables are made
	for _, r := range asTheyWere(lines, prefix) {
		m := made([]byte(r.Body))
		at, isNew := created[m.TableName]
		switch {
		case r.Op == "CreateTable":
			created[m.TableName] = len(list)
			list = append(list, r)
		case r.Op == "UpdateTable" && isNew && len(m.indexes()) > 0:
			list[at].Body = withIndexes(list[at].Body, m)
		case conditional(r.Body):
			list = append(list, r, Request{Op: r.Op, Body: r.Body})
			list = append(list, shown(r)...)
		default:
			list = append(list, r)
		}
	}
	return list
}

// shown returns a read of the item that the failure of a write tells of, if that
// was asked for.
func shown(r Request) []Request {
	var m struct {
		TableName, ReturnValuesOnConditionCheckFailure string
		Key                                            json.RawMessage
	}
	if json.Unmarshal([]byte(r.Body), &m) != nil || m.ReturnValuesOnConditionCheckFailure != "ALL_OLD" || m.Key == nil {
		return nil
	}
	return []Request{{Op: "GetItem", Body: `{"TableName":` + quote(m.TableName) + `,"Key":` + string(m.Key) + `,"ConsistentRead":true}`}}
}

// withIndexes returns the body of a CreateTable that makes the indexes of update.
func withIndexes(create string, update making) string {
	var m map[string]any
	if json.Unmarshal([]byte(create), &m) != nil {
		return create
	}
	m["AttributeDefinitions"] = update.AttributeDefinitions
	m["GlobalSecondaryIndexes"] = update.indexes()
	b, err := json.Marshal(m)
	if err != nil {
		return create
	}
	return string(b)
}

// conditional reports whether a request has a condition.
func conditional(body string) bool {
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &m) != nil {
		return false
	}
	return m["Expected"] != nil || m["ConditionExpression"] != nil
}

// making is what a request says of a table that it makes or changes.
type making struct {
	TableName                   string
	AttributeDefinitions        json.RawMessage
	GlobalSecondaryIndexes      []index
	GlobalSecondaryIndexUpdates []struct{ Create index }
}

type index struct {
	IndexName             string
	KeySchema, Projection json.RawMessage
}

func made(body []byte) (m making) {
	if json.Unmarshal(body, &m) != nil {
		return making{} // it says nothing that a server could read
	}
	return m
}

// indexes returns the new ones.
func (m making) indexes() []index {
	list := slices.Clone(m.GlobalSecondaryIndexes)
	for _, x := range m.GlobalSecondaryIndexUpdates {
		if x.Create.IndexName != "" {
			list = append(list, x.Create)
		}
	}
	return list
}
