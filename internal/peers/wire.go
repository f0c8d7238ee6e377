package peers

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// A frame on a connection that has been authenticated:
//
//	0      1      2        4          8            8+n     16+n
//	┌──────┬──────┬────────┬──────────┬─────────────┬───────┐
//	│ type │ flag │ n      │ number   │ payload (n) │ tag   │
//	└──────┴──────┴────────┴──────────┴─────────────┴───────┘
//
// Numbers are big-endian. The tag is the first half of a quarter of
// HMAC-SHA256, 8 bytes, over the count of frames before this one in the same
// direction, 8 bytes that are not sent, and all of the frame before the tag.
// Each direction of each connection has a key of its own. A beat is a frame
// without payload: 16 bytes.
const (
	headSize   = 8
	tagSize    = 8
	minFrame   = headSize + tagSize
	maxPayload = 1024
	maxFrame   = minFrame + maxPayload
)

// Bounds of what is named in a frame.
const (
	maxID          = 128
	maxIncarnation = 64
)

type frameType byte

const (
	frameBeat    frameType = 1 + iota // owner to watcher: number counts beats
	frameAck                          // watcher to owner: number is the beat's; flagVoted if it is none
	frameDeclare                      // owner to watcher: who may vote on the owner
	frameAccept                       // watcher to owner: a declaration is known now
	frameLeave                        // watcher to owner: it will not vote any more; flagVoted if it has
	frameQuery                        // watcher to watcher: is it dead?
	frameAnswer                       // its answer
	frameHint                         // anyone to anyone
)

// flagVoted marks an ack of a watcher that has voted on the owner: it does not
// count. On a leave it says that the watcher has voted before.
const flagVoted = 1

var (
	errFrame = errors.New("peers: malformed frame")
	errTag   = errors.New("peers: frame of wrong authentication")
)

// frame is what was read; payload is valid until the next read.
type frame struct {
	typ     frameType
	flag    byte
	number  uint32
	payload []byte
}

// sealer writes the frames of one direction. It belongs to one goroutine at a
// time.
type sealer struct {
	mac   hash.Hash
	count uint64
	buf   [maxFrame]byte
	sum   [sha256.Size]byte
	head  [8]byte
}

func newSealer(key []byte) *sealer { return &sealer{mac: hmac.New(sha256.New, key)} }

// seal returns the frame's bytes, valid until the next call. The payload must
// fit: all payloads are built from bounded parts.
func (s *sealer) seal(typ frameType, flag byte, number uint32, payload []byte) []byte {
	b := s.buf[:headSize]
	b[0], b[1] = byte(typ), flag
	binary.BigEndian.PutUint16(b[2:], uint16(len(payload)))
	binary.BigEndian.PutUint32(b[4:], number)
	b = append(b, payload...)
	return append(b, s.tag(b)...)
}

func (s *sealer) tag(b []byte) []byte {
	binary.BigEndian.PutUint64(s.head[:], s.count)
	s.count++
	s.mac.Reset()
	s.mac.Write(s.head[:])
	s.mac.Write(b)
	return s.mac.Sum(s.sum[:0])[:tagSize]
}

// opener reads the frames of one direction. It belongs to one goroutine.
type opener struct {
	r io.Reader
	sealer
}

func newOpener(r io.Reader, key []byte) *opener {
	return &opener{r: r, sealer: sealer{mac: hmac.New(sha256.New, key)}}
}

// next reads one frame. After an error the stream is of no use.
func (o *opener) next() (frame, error) {
	if _, err := io.ReadFull(o.r, o.buf[:minFrame]); err != nil {
		return frame{}, err
	}
	n := int(binary.BigEndian.Uint16(o.buf[2:]))
	if n > maxPayload {
		return frame{}, fmt.Errorf("%w: payload of %d bytes", errFrame, n)
	}
	if _, err := io.ReadFull(o.r, o.buf[minFrame:minFrame+n]); err != nil {
		return frame{}, err
	}
	if subtle.ConstantTimeCompare(o.tag(o.buf[:headSize+n]), o.buf[headSize+n:minFrame+n]) == 0 {
		return frame{}, errTag
	}
	return frame{
		typ: frameType(o.buf[0]), flag: o.buf[1], number: binary.BigEndian.Uint32(o.buf[4:]),
		payload: o.buf[headSize : headSize+n],
	}, nil
}

// peer names one process.
type peer struct{ id, incarnation string }

// declaration is what an owner tells its watchers: the set of those that may
// vote on it, all of whom must agree. An empty set asks not to be watched.
type declaration struct {
	term  uint64
	epoch uint32
	set   []peer
}

func (d declaration) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, d.term)
	b = binary.BigEndian.AppendUint32(b, d.epoch)
	b = append(b, byte(len(d.set)))
	for _, p := range d.set {
		b = p.append(b)
	}
	return b
}

func (p peer) append(b []byte) []byte {
	return appendString(appendString(b, p.id), p.incarnation)
}

func appendString(b []byte, s string) []byte {
	return append(append(b, byte(len(s))), s...)
}

// accepted answers a declaration.
type accepted struct {
	term  uint64
	epoch uint32
	voted uint64 // one more than the last epoch of the term in which it has voted; 0 if in none
}

func (a accepted) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, a.term)
	b = binary.BigEndian.AppendUint32(b, a.epoch)
	return binary.BigEndian.AppendUint64(b, a.voted)
}

// query asks whether an owner is dead, as it was declared. The declaration goes
// with it: the owner may have died before it could tell all.
type query struct {
	peer peer
	declaration
}

func (q query) append(b []byte) []byte { return q.declaration.append(q.peer.append(b)) }

type answerCode byte

const (
	answerNo  answerCode = iota // not in this term and epoch: it knows nothing, or newer
	answerYes                   // dead; the watcher acknowledges nothing any more in this epoch
	answerNot                   // not yet: ask again after number milliseconds
)

// decoder reads a payload part by part; bad stays true after the first part
// that is not there.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || len(d.b) < n {
		d.bad = true
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if p := d.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if p := d.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// string reads a text of at least low and at most high bytes.
func (d *decoder) string(low, high int) string {
	n := int(d.byte())
	if n < low || n > high {
		d.bad = true
	}
	return string(d.take(n))
}

func (d *decoder) peer() peer {
	return peer{d.string(1, maxID), d.string(1, maxIncarnation)}
}

// end returns an error unless everything was there and nothing else.
func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return errFrame
	}
	return nil
}

func (d *decoder) declaration() declaration {
	decl := declaration{term: d.uint64(), epoch: d.uint32()}
	n := int(d.byte())
	d.bad = d.bad || n > watchers
	for i := 0; i < n && !d.bad; i++ {
		decl.set = append(decl.set, d.peer())
	}
	return decl
}

func parseDeclaration(b []byte) (declaration, error) {
	d := decoder{b: b}
	decl := d.declaration()
	return decl, d.end()
}

func parseAccepted(b []byte) (accepted, error) {
	d := decoder{b: b}
	a := accepted{d.uint64(), d.uint32(), d.uint64()}
	return a, d.end()
}

func parseQuery(b []byte) (query, error) {
	d := decoder{b: b}
	q := query{d.peer(), d.declaration()}
	return q, d.end()
}

func (h Hint) append(b []byte) []byte {
	b = append(b, byte(h.Kind))
	if h.Kind == HintDead {
		v := h.Verdict
		b = peer{v.ID, v.Incarnation}.append(b)
		b = binary.BigEndian.AppendUint64(b, v.Term)
		b = append(b, boolByte(v.Silent))
	}
	return b
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// valid reports whether h fits a frame and means something.
func (h Hint) valid() bool {
	switch h.Kind {
	case HintLook, HintReleased:
		return true
	case HintDead:
		v := h.Verdict
		return v.ID != "" && len(v.ID) <= maxID && v.Incarnation != "" && len(v.Incarnation) <= maxIncarnation
	}
	return false
}

func parseHint(b []byte) (Hint, error) {
	d := decoder{b: b}
	h := Hint{Kind: HintKind(d.byte())}
	if h.Kind == HintDead {
		p := d.peer()
		h.Verdict = Verdict{ID: p.id, Incarnation: p.incarnation, Term: d.uint64()}
		silent := d.byte()
		h.Verdict.Silent = silent == 1
		d.bad = d.bad || silent > 1
	}
	if !h.valid() {
		return Hint{}, errFrame
	}
	return h, d.end()
}
