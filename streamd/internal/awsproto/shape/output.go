package shape

import (
	"context"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// Encoder writes members of a structure in some encoding. Between Begin or
// BeginElem and End it writes those of the inner one; a list of scalars is
// written with an empty key.
type Encoder interface {
	Begin(key string)     // a structure
	BeginElem()           // a structure that is an element of a list
	End()                 // of a structure
	BeginList(key string) // a list
	EndList()
	String(key, value string)
	Int(key string, value int64)
	Bool(key string, value bool)
	Time(key string, value time.Time)
	Blob(key string, value []byte)
	// What streamd writes often has a method of its own, so that no text is
	// made on the way.
	ShardID(key string, index int)
	Sequence(key string, n seqno.Number)
	HashKey(key string, k hashkey.Key)
}

// Output is the answer of an operation. A nil Output has no members: its body
// is empty.
type Output interface {
	// Encode writes the members.
	Encode(e Encoder)
	// Size is about how many bytes the members take; 0 if it does not matter.
	Size() int
}

// EventStream is an Output that events follow on the same connection: it is the
// first message of their stream. Neither it nor an event may hold parts of the
// request's input.
type EventStream interface {
	Output
	// Events hands the events to send, which returns when one has been written,
	// or cannot be. It returns nil where the stream ends as it should. An error
	// that is an *awserr.Error is sent as the last message, another is a fault of
	// the server; one of send or of ctx is returned as it is.
	Events(ctx context.Context, send func(event string, out Output) error) error
}

// Check checks an input by the operation's rules.
func (op *Operation) Check(scope arn.Scope, in any) *awserr.Error {
	refused := Validate(op.Input, in)
	if refused == nil || op.Relaxed == nil {
		return refused
	}
	if rules := op.Relaxed(scope, in); rules != nil {
		return Validate(rules, in)
	}
	return refused
}

// Operation is one operation of an API.
type Operation struct {
	Name  string
	Input Struct
	// Relaxed, if not nil, is asked about an input that Input refuses: it returns
	// a table with the same members and other rules for it, or nil.
	Relaxed func(scope arn.Scope, in any) Struct
	// MaxBody is the largest request body in bytes; 0 means the server's
	// default.
	MaxBody int64
	// Large says that answers may be so large that Do asks for room for them. The
	// operation changes nothing.
	Large bool
	// New returns an empty input, Free takes it back once the answer has been
	// written.
	New  func() any
	Free func(in any)
	// Do carries the operation out. The error is an *awserr.Error, or a fault
	// of the server.
	Do func(ctx context.Context, scope arn.Scope, in any) (Output, error)
	// Subject returns what an input that Do was called with is about. What it
	// returns does not alias the request's body. nil if nothing is.
	Subject func(scope arn.Scope, in any) Subject
}

// Subject is the stream that a request is about.
type Subject struct {
	arn.Scope // of the stream
	Stream    string
	Exists    bool
}
