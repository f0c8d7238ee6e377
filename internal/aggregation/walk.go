package aggregation

import (
	"crypto/md5"
	"errors"
	"fmt"
	"sync"
)

// ErrIndex is wrapped by the error of [Walk] when a user record names a key
// that the tables do not hold.
var ErrIndex = errors.New("aggregation: key index outside the table")

// errParse stays inside the package: a body that does not parse makes the
// record an ordinary one.
var errParse = errors.New("aggregation: not a protocol buffer of the format")

// IsAggregated reports whether data has the frame of an aggregated record: the
// magic, more than an MD5's length after it, and a fitting MD5. It does not
// parse the body. It allocates nothing.
func IsAggregated(data []byte) bool {
	// Exactly the frame and no body does not count, as in the KCL's
	// AggregatorUtil.
	if len(data) <= Overhead || string(data[:len(Magic)]) != Magic {
		return false
	}
	body, trailer := data[len(Magic):len(data)-md5.Size], data[len(data)-md5.Size:]
	return md5.Sum(body) == [md5.Size]byte(trailer)
}

// Walk calls yield for each user record of an aggregated record, in order,
// until it returns false. Keys and data alias blob, which must not change for
// as long as they are in use. Walk allocates nothing in steady state.
//
// ok is false, and yield is never called, if blob is no aggregated record:
// another magic, a wrong MD5, or a body that is no AggregatedRecord. Such a
// record belongs to the reader as it is.
//
// err wraps [ErrIndex] if the walk met a user record whose keys cannot be
// found. The calls made before it stand.
func Walk(blob []byte, yield func(i int, r Record) bool) (ok bool, err error) {
	return WalkStamped(blob, func(i int, r Record, _ *Stamp) bool { return yield(i, r) })
}

// WalkStamped is Walk with the stamp of each user record, nil if it has none.
// The Stamp holds for the call only.
func WalkStamped(blob []byte, yield func(i int, r Record, s *Stamp) bool) (ok bool, err error) {
	if !IsAggregated(blob) {
		return false, nil
	}
	return walk(blob[len(Magic):len(blob)-md5.Size], nil, yield)
}

// WalkBody is WalkStamped for an AggregatedRecord message without the frame, as
// AppendBody has written it. If s is not nil, it is the stamp of the first
// record, with the offset of that in what it is part of; a stamp in the message
// does not count.
func WalkBody(body []byte, s *Stamp, yield func(i int, r Record, s *Stamp) bool) (ok bool, err error) {
	if s == nil {
		s = &none
	}
	return walk(body, s, yield)
}

// none stands for no stamp, where nil stands for the one in the message.
var none Stamp

func walk(body []byte, first *Stamp, yield func(i int, r Record, s *Stamp) bool) (ok bool, err error) {
	t := tablesPool.Get().(*tables)
	defer func() {
		t.clear()
		tablesPool.Put(t)
	}()
	if t.collect(body) != nil {
		return false, nil
	}
	var stamp *Stamp
	switch {
	case first == nil && t.stamped.valid():
		t.stamp = t.stamped.Stamp
		stamp = &t.stamp
	case first != nil && first != &none:
		t.stamp = *first
		stamp = &t.stamp
	}
	start := t.stamp.Sequence - t.stamp.Offset
	for i := range t.messages {
		m := &t.messages[i]
		r := Record{Data: m.data}
		if m.pk >= uint64(len(t.pks)) {
			return true, fmt.Errorf("%w: user record %d, partition key %d of %d", ErrIndex, i, m.pk, len(t.pks))
		}
		r.PartitionKey = t.pks[m.pk]
		if m.hasEHK {
			if m.ehk >= uint64(len(t.ehks)) {
				return true, fmt.Errorf("%w: user record %d, explicit hash key %d of %d", ErrIndex, i, m.ehk, len(t.ehks))
			}
			r.ExplicitHashKey = t.ehks[m.ehk]
		}
		if stamp != nil {
			var over bool
			if t.stamp.Sequence, over = addGap(t.stamp.Sequence, m.gap); over {
				stamp = nil // nobody counts that far: not a stamp of ours
			}
			t.stamp.Offset = t.stamp.Sequence - start
		}
		if !yield(i, r, stamp) {
			return true, nil
		}
		t.stamp.Sequence++
	}
	return true, nil
}

// tables holds the key tables and the records of one body. They are gathered
// before the first record is handed out, because a protocol buffer may order its
// fields at will, and because all of it must parse.
type tables struct {
	pks, ehks []string
	messages  []message
	stamped   stampMessage // as it is in the body
	stamp     Stamp        // of the current record
}

var tablesPool = sync.Pool{New: func() any { return new(tables) }}

// maxKept is how many records' room is kept for the next body.
const maxKept = 4096

func (t *tables) clear() {
	if cap(t.messages) > maxKept {
		t.messages = nil
	}
	// All of it aliases a caller's blob; left here it would keep that alive.
	clear(t.messages)
	t.messages = t.messages[:0]
	clear(t.pks)
	clear(t.ehks)
	t.pks, t.ehks = t.pks[:0], t.ehks[:0]
	t.stamped, t.stamp = stampMessage{}, Stamp{}
}

// collect gathers the tables and checks that all of body parses.
func (t *tables) collect(body []byte) error {
	for len(body) > 0 {
		num, typ, n := consumeTag(body)
		if n < 0 {
			return errParse
		}
		body = body[n:]
		var field []byte
		switch num<<3 | typ {
		case tagPartitionKey, tagExplicitHashKey, tagRecord, tagStamp:
			if field, n = consumeBytes(body); n < 0 {
				return errParse
			}
		default:
			if n = skipField(body, num, typ, 0); n < 0 {
				return errParse
			}
		}
		body = body[n:]
		switch num<<3 | typ {
		case tagPartitionKey:
			t.pks = append(t.pks, aliasString(field))
		case tagExplicitHashKey:
			t.ehks = append(t.ehks, aliasString(field))
		case tagRecord:
			m, err := parseRecord(field)
			if err != nil {
				return err
			}
			t.messages = append(t.messages, m)
		case tagStamp:
			// One that does not parse is somebody else's unknown field.
			t.stamped.parse(field)
		}
	}
	return nil
}

// message is a decoded Record.
type message struct {
	pk, ehk uint64
	hasEHK  bool
	data    []byte
	gap     uint64
}

// parseRecord decodes a Record. Of a field that occurs twice the last one
// counts, as the protocol buffer specification has it.
func parseRecord(b []byte) (m message, err error) {
	// As most are written: an index below 128, and data to the end, shorter than
	// 16 KiB.
	if len(b) >= 4 && b[0] == tagPartitionIndex && b[1] < 0x80 && b[2] == tagData {
		n, at := int(b[3]), 4
		switch {
		case n < 0x80:
		case len(b) > 4 && b[4] < 0x80:
			n, at = n&0x7f|int(b[4])<<7, 5
		default:
			n = -1
		}
		if n == len(b)-at {
			return message{pk: uint64(b[1]), data: b[at:len(b):len(b)]}, nil
		}
	}
	var hasPK, hasData bool
	for len(b) > 0 {
		num, typ, n := consumeTag(b)
		if n < 0 {
			return m, errParse
		}
		b = b[n:]
		switch num<<3 | typ {
		case tagPartitionIndex:
			m.pk, n = consumeVarint(b)
			hasPK = true
		case tagExplicitIndex:
			m.ehk, n = consumeVarint(b)
			m.hasEHK = true
		case tagData:
			m.data, n = consumeBytes(b)
			hasData = true
		case tagGap:
			m.gap, n = consumeVarint(b)
		case tagTags:
			var tag []byte
			if tag, n = consumeBytes(b); n >= 0 && !validTag(tag) {
				return m, errParse
			}
		default:
			n = skipField(b, num, typ, 0)
		}
		if n < 0 {
			return m, errParse
		}
		b = b[n:]
	}
	if !hasPK || !hasData {
		return m, errParse
	}
	return m, nil
}

// validTag reports whether b parses as a Tag with its required key.
func validTag(b []byte) bool {
	hasKey := false
	for len(b) > 0 {
		num, typ, n := consumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if num<<3|typ == tagTagKey {
			hasKey = true
		}
		if n = skipField(b, num, typ, 0); n < 0 {
			return false
		}
		b = b[n:]
	}
	return hasKey
}
