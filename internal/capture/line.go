package capture

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// A Line is a request and what was answered.
type Line struct {
	At          time.Duration // since the begin of the run
	Target      string
	ContentType string
	Body        []byte
	Status      int
	Answer
}

// Answer is what is kept of an answer's body.
type Answer struct {
	Code   string            // type of the error, empty if there was none
	Failed int               // entries of PutRecords that were refused
	Values map[string]string // what later requests may repeat, by its place
}

// Operation returns the name of the operation.
func (l Line) Operation() string { return operation(l.Target) }

func operation(target string) string {
	_, op, _ := strings.Cut(target, ".")
	return op
}

// ReadAnswer returns what is to be kept of the body of an answer. Of one that
// cannot be read it is nothing.
func ReadAnswer(target, ctype string, status int, body []byte) Answer {
	var a Answer
	reads := operation(target) == "GetRecords"
	err := visit(ctype, body, func(t text) {
		name := lastName(t.path)
		switch {
		case status >= 300:
			if t.path == "__type" {
				a.Code = t.value
				if i := strings.LastIndexByte(a.Code, '#'); i >= 0 {
					a.Code = a.Code[i+1:]
				}
			}
		case name == "ErrorCode":
			a.Failed++
		case !repeated(name):
		case reads && t.path != "NextShardIterator":
			// The numbers of records that were put in this run are in the
			// answers to that; those of others mean nothing elsewhere.
		default:
			if a.Values == nil {
				a.Values = make(map[string]string)
			}
			a.Values[t.path] = t.value
		}
	})
	if err != nil {
		return Answer{}
	}
	return a
}

func lastName(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// repeated reports whether a member holds what differs between runs, and comes
// back in requests.
func repeated(name string) bool {
	switch name {
	case "ShardIterator", "NextShardIterator", "NextToken":
		return true
	}
	return strings.HasSuffix(name, "SequenceNumber") || strings.HasSuffix(name, "ARN")
}

// wireLine is a Line in JSON.
type wireLine struct {
	At     int64             `json:"at_us"`
	Target string            `json:"target"`
	Type   string            `json:"type"`
	Body   json.RawMessage   `json:"body,omitempty"`
	Base64 []byte            `json:"base64,omitempty"`
	Status int               `json:"status"`
	Code   string            `json:"code,omitempty"`
	Failed int               `json:"failed,omitempty"`
	Values map[string]string `json:"values,omitempty"`
}

// wire returns the JSON form. A body that JSON would not keep as it is goes
// into base64.
func (l Line) wire() wireLine {
	w := wireLine{
		At: l.At.Microseconds(), Target: l.Target, Type: l.ContentType,
		Status: l.Status, Code: l.Code, Failed: l.Failed, Values: l.Values,
	}
	if mediaType(l.ContentType) == typeJSON && utf8.Valid(l.Body) && json.Valid(l.Body) {
		w.Body = l.Body
	} else {
		w.Base64 = l.Body
	}
	return w
}

func (w wireLine) line() Line {
	l := Line{
		At: time.Duration(w.At) * time.Microsecond, Target: w.Target, ContentType: w.Type, Body: w.Body,
		Status: w.Status, Answer: Answer{Code: w.Code, Failed: w.Failed, Values: w.Values},
	}
	if w.Base64 != nil {
		l.Body = w.Base64
	}
	return l
}
