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
	// Stream is the number of the stream of events that the request has opened,
	// from 1 in each run; 0 if it has opened none.
	Stream int64
	// Ended is set on the line that ends Stream, which has no body.
	Ended *Subscription
	Answer
}

// Answer is what is kept of an answer's body.
type Answer struct {
	Code   string            // type of the error, empty if there was none
	Failed int               // entries of PutRecords that were refused
	Values map[string]string // what later requests may repeat, by its place
}

// Service returns the name of the service: kinesis or dynamodb.
func (l Line) Service() string {
	if strings.HasPrefix(l.Target, "DynamoDB_") {
		return "dynamodb"
	}
	return "kinesis"
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
	// DynamoDB writes Arn.
	return strings.HasSuffix(name, "SequenceNumber") || strings.HasSuffix(name, "ARN") || strings.HasSuffix(name, "Arn")
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
	Stream int64             `json:"stream,omitempty"`
	Ended  *wireEnd          `json:"ended,omitempty"`
}

// wireEnd is a Subscription in JSON. Its error and its number are in the line.
type wireEnd struct {
	Events  int  `json:"events"`
	Records int  `json:"records"`
	Last    bool `json:"last,omitempty"`
}

const continuation = "ContinuationSequenceNumber"

// End returns the line that ends a stream of events.
func (l Line) End(at time.Duration, s Subscription) Line {
	end := Line{At: at, Target: l.Target, ContentType: l.ContentType, Status: l.Status, Stream: l.Stream, Ended: &s}
	end.Code = s.Code
	if s.Next != "" {
		end.Values = map[string]string{continuation: s.Next}
	}
	return end
}

// wire returns the JSON form. A body that JSON would not keep as it is goes
// into base64.
func (l Line) wire() wireLine {
	w := wireLine{
		At: l.At.Microseconds(), Target: l.Target, Type: l.ContentType,
		Status: l.Status, Code: l.Code, Failed: l.Failed, Values: l.Values,
	}
	w.Stream = l.Stream
	if l.Ended != nil {
		w.Ended = &wireEnd{l.Ended.Events, l.Ended.Records, l.Ended.Last}
		return w
	}
	if isJSON(l.ContentType) && utf8.Valid(l.Body) && json.Valid(l.Body) {
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
	l.Stream = w.Stream
	if w.Ended != nil {
		l.Ended = &Subscription{w.Ended.Events, w.Ended.Records, w.Ended.Last, w.Code, w.Values[continuation]}
	}
	return l
}
