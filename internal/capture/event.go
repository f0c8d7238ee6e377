package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// TypeEvents is the content type of an answer that is a stream of events.
const TypeEvents = "application/vnd.amazon.eventstream"

// MaxEvent is the longest message of a stream of events that is read: those of
// the API hold 2 MB of data, in base64, and their keys.
const MaxEvent = 16 << 20

// ErrEvent is wrapped by the errors of messages that cannot be read.
var ErrEvent = errors.New("capture: not a message of an event stream")

const (
	eventPrelude  = 12 // lengths of the message and of its headers, checksum of both
	eventChecksum = 4
	eventString   = 7 // type of a header's value
)

// An Event is what is kept of one message of an event stream.
type Event struct {
	Name    string // of the event; empty if the message is an error
	Code    string // type of the error, empty if there is none
	Records int
	Last    bool   // of a shard: it names the children
	Next    string // the number at which a later subscription goes on
}

// ReadMessage reads the next message into buf, which it grows, and returns it.
// The error is [io.EOF] where the stream ends between two messages.
func ReadMessage(r io.Reader, buf []byte) ([]byte, error) {
	buf = append(buf[:0], make([]byte, eventPrelude)...)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(buf)
	if n < eventPrelude+eventChecksum || n > MaxEvent || crc32.ChecksumIEEE(buf[:8]) != binary.BigEndian.Uint32(buf[8:]) {
		return nil, fmt.Errorf("%w: its length is damaged", ErrEvent)
	}
	buf = append(buf, make([]byte, int(n)-eventPrelude)...)
	if _, err := io.ReadFull(r, buf[eventPrelude:]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return buf, nil
}

// ReadEvent returns what is to be kept of a message.
func ReadEvent(message []byte) (Event, error) {
	end := len(message) - eventChecksum
	if end < eventPrelude || uint64(binary.BigEndian.Uint32(message)) != uint64(len(message)) ||
		crc32.ChecksumIEEE(message[:end]) != binary.BigEndian.Uint32(message[end:]) {
		return Event{}, fmt.Errorf("%w: its length or checksum is damaged", ErrEvent)
	}
	rest := message[eventPrelude:end]
	size := uint64(binary.BigEndian.Uint32(message[4:]))
	if size > uint64(len(rest)) {
		return Event{}, fmt.Errorf("%w: its headers are longer than itself", ErrEvent)
	}
	var e Event
	ctype := ""
	for head := rest[:size]; len(head) > 0; {
		name, value, after, ok := cutHeader(head)
		if !ok {
			return Event{}, fmt.Errorf("%w: a header is damaged, or no text", ErrEvent)
		}
		switch head = after; name {
		case ":event-type":
			e.Name = value
		case ":exception-type", ":error-code":
			e.Code = value
		case ":content-type":
			ctype = value
		}
	}
	err := visit(ctype, rest[size:], func(t text) {
		name := lastName(t.path)
		switch {
		case name == "SequenceNumber" && strings.HasPrefix(t.path, "Records."):
			e.Records++
		case t.path == "ContinuationSequenceNumber":
			e.Next = t.value
		case strings.HasPrefix(t.path, "ChildShards."):
			e.Last = true
		}
	})
	if err != nil {
		return Event{}, fmt.Errorf("%w: its payload is damaged", ErrEvent)
	}
	return e, nil
}

// cutHeader takes the first header off.
func cutHeader(b []byte) (name, value string, rest []byte, ok bool) {
	n := int(b[0])
	if len(b) < 1+n+3 || b[1+n] != eventString {
		return "", "", nil, false
	}
	name, b = string(b[1:1+n]), b[1+n+1:]
	n = int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return "", "", nil, false
	}
	return name, string(b[2 : 2+n]), b[2+n:], true
}

// Subscription is how a stream of events went. The zero value is one of which
// nothing has come.
type Subscription struct {
	Events  int    // those with records, or with the end of the shard
	Records int    // in them
	Last    bool   // the shard has ended
	Code    string // of the error that ended it, empty if none did
	Next    string // number of the last event, of those that are not counted too
}

// Add counts an event.
func (s *Subscription) Add(e Event) {
	if e.Records > 0 || e.Last {
		s.Events++
	}
	s.Records += e.Records
	s.Last = s.Last || e.Last
	if e.Code != "" {
		s.Code = e.Code
	}
	if e.Next != "" {
		s.Next = e.Next
	}
}
