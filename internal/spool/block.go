package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// A block is what one write puts into a segment: records with numbers in a row.
// See the drawing in the package's comment.
const (
	blockRecords = 1 // the type of a block
	blockHeader  = 32

	flagHash      = 1 << 0 // the hash key of the partition key follows
	flagExplicit  = 1 << 1 // an explicit hash key follows
	flagExtension = 1 << 7 // a list of fields follows that may be passed over
	flagsKnown    = flagHash | flagExplicit | flagExtension

	hashSize = 16
)

// Entry is a record as the spool holds it.
type Entry struct {
	// PartitionKey may be empty: the record goes to any shard.
	PartitionKey string

	// Hash is the explicit hash key if Explicit is set, and else that of
	// PartitionKey. It means nothing if there is neither.
	Hash     hashkey.Key
	Explicit bool

	Data []byte

	// Extension is what the writer has to say of the record beyond that: fields,
	// each a byte that names it, a uvarint length, and so many bytes. Who does not
	// know a field passes it over. Nil if there is nothing.
	Extension []byte
}

// keyless reports whether the record has no place of its own.
func (e *Entry) keyless() bool { return e.PartitionKey == "" && !e.Explicit }

// bodySize returns the length of what appendEntry adds behind the length.
func (e *Entry) bodySize() int {
	n := 1 + sizeUvarint(uint64(len(e.PartitionKey))) + len(e.PartitionKey) + len(e.Data)
	if !e.keyless() {
		n += hashSize
	}
	if len(e.Extension) > 0 {
		n += sizeUvarint(uint64(len(e.Extension))) + len(e.Extension)
	}
	return n
}

// size returns the bytes that the record takes in a block.
func (e *Entry) size() int {
	n := e.bodySize()
	return sizeUvarint(uint64(n)) + n
}

func sizeUvarint(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func appendEntry(dst []byte, e *Entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(e.bodySize()))
	var flags byte
	switch {
	case e.keyless():
	case e.Explicit:
		flags = flagExplicit
	default:
		flags = flagHash
	}
	if len(e.Extension) > 0 {
		flags |= flagExtension
	}
	dst = append(dst, flags)
	if !e.keyless() {
		dst = binary.BigEndian.AppendUint64(dst, e.Hash.Hi)
		dst = binary.BigEndian.AppendUint64(dst, e.Hash.Lo)
	}
	if len(e.Extension) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(e.Extension)))
		dst = append(dst, e.Extension...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.PartitionKey)))
	dst = append(dst, e.PartitionKey...)
	return append(dst, e.Data...)
}

// header is the head of a block.
type header struct {
	count uint32 // records
	first uint64 // number of the first
	time  int64  // when they were put, in milliseconds since 1970
	epoch uint64 // which opening of the spool has written it
}

// put writes h over the first blockHeader bytes of b.
func (h *header) put(b []byte) {
	binary.LittleEndian.PutUint32(b, blockRecords)
	binary.LittleEndian.PutUint32(b[4:], h.count)
	binary.LittleEndian.PutUint64(b[8:], h.first)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.time))
	binary.LittleEndian.PutUint64(b[24:], h.epoch)
}

var errBlock = errors.New("no block of a spool")

func parseHeader(b []byte) (h header, body []byte, err error) {
	if len(b) < blockHeader {
		return h, nil, fmt.Errorf("%w: %d bytes", errBlock, len(b))
	}
	if typ := binary.LittleEndian.Uint32(b); typ != blockRecords {
		return h, nil, fmt.Errorf("%w: type %d, this program knows %d", errBlock, typ, blockRecords)
	}
	h = header{
		count: binary.LittleEndian.Uint32(b[4:]),
		first: binary.LittleEndian.Uint64(b[8:]),
		time:  int64(binary.LittleEndian.Uint64(b[16:])),
		epoch: binary.LittleEndian.Uint64(b[24:]),
	}
	if h.count == 0 || int(h.count) > len(b) || h.first > math.MaxInt64 {
		return h, nil, fmt.Errorf("%w: %d records from number %d on", errBlock, h.count, h.first)
	}
	return h, b[blockHeader:], nil
}

// parseEntry returns the first record of b, which aliases b, and the rest.
func parseEntry(b []byte) (e Entry, rest []byte, err error) {
	body, rest, ok := cut(b)
	if !ok || len(body) == 0 {
		return e, nil, fmt.Errorf("%w: the length of a record", errBlock)
	}
	flags := body[0]
	body = body[1:]
	if flags&^flagsKnown != 0 || flags&flagHash != 0 && flags&flagExplicit != 0 {
		return e, nil, fmt.Errorf("%w: a record with flags %#x", errBlock, flags)
	}
	if flags&(flagHash|flagExplicit) != 0 {
		if len(body) < hashSize {
			return e, nil, fmt.Errorf("%w: a hash key", errBlock)
		}
		e.Hash = hashkey.FromBytes([hashSize]byte(body))
		e.Explicit = flags&flagExplicit != 0
		body = body[hashSize:]
	}
	if flags&flagExtension != 0 {
		if e.Extension, body, ok = cut(body); !ok {
			return e, nil, fmt.Errorf("%w: an extension", errBlock)
		}
	}
	key, data, ok := cut(body)
	if !ok || (len(key) > 0 && flags&(flagHash|flagExplicit) == 0) || (len(key) == 0 && flags&flagHash != 0) {
		return e, nil, fmt.Errorf("%w: a partition key", errBlock)
	}
	e.PartitionKey = unsafe.String(unsafe.SliceData(key), len(key))
	e.Data = data
	return e, rest, nil
}

// cut returns a field with its length before it, and what is behind.
func cut(b []byte) (field, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
}

// check walks a whole block and returns the first fault. What it accepts can be
// read without an error.
func check(b []byte) (header, error) {
	h, body, err := parseHeader(b)
	if err != nil {
		return h, err
	}
	for range h.count {
		if _, body, err = parseEntry(body); err != nil {
			return h, err
		}
	}
	if len(body) > 0 {
		return h, fmt.Errorf("%w: %d bytes too many", errBlock, len(body))
	}
	return h, nil
}
