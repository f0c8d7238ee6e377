package aggregation

import (
	"crypto/md5"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"unsafe"

	"github.com/streamkit/streamkit/internal/md5lanes"
)

const (
	// Magic begins every aggregated record.
	Magic = "\xf3\x89\x9a\xc2"

	// Overhead is the size of the magic and the trailing MD5.
	Overhead = len(Magic) + md5.Size
)

// Tag bytes of the fields: number<<3 | wire type.
const (
	tagPartitionKey    = 1<<3 | typeBytes // of AggregatedRecord
	tagExplicitHashKey = 2<<3 | typeBytes
	tagRecord          = 3<<3 | typeBytes
	tagPartitionIndex  = 1<<3 | typeVarint // of Record
	tagExplicitIndex   = 2<<3 | typeVarint
	tagData            = 3<<3 | typeBytes
	tagTags            = 4<<3 | typeBytes
	tagGap             = 15<<3 | typeVarint
	tagStamp           = 100<<3 | typeBytes // of AggregatedRecord
	tagTagKey          = 1<<3 | typeBytes   // of Tag
	typeVarint         = 0
	typeFixed64        = 1
	typeBytes          = 2
	typeStartGroup     = 3
	typeEndGroup       = 4
	typeFixed32        = 5
	maxFieldNumber     = 1<<29 - 1
	maxVarintLen       = binary.MaxVarintLen64
	maxGroupDepth      = 100
)

// Record is a user record inside an aggregated record.
type Record struct {
	PartitionKey    string
	ExplicitHashKey string // decimal text; "" means none
	Data            []byte

	// KeyHash may be what [KeyHash] returns for PartitionKey, if the caller knows
	// it already. It is not stored.
	KeyHash uint64
}

// keySeed is for all hashes of keys in this process. It is random, so that nobody
// can choose keys that collide.
var keySeed = maphash.MakeSeed()

// KeyHash returns the hash by which a [Builder] knows a key again. It is another
// one in each process.
func KeyHash(key string) uint64 { return maphash.String(keySeed, key) }

// Builder gathers user records into one aggregated record. It holds them in
// wire format, so sealing is two copies and an MD5. The zero Builder is ready;
// one that has been filled and Reset allocates nothing until it outgrows what
// it held before. A Builder is not safe for concurrent use.
type Builder struct {
	// What each record changes stands together: callers on several processors may
	// take turns.
	recs []byte // the Record fields, tags included
	n    int

	gaps      uint64 // sequences that were left out
	stampSize int
	pks       keyTable
	ehks      keyTable
	stamped   bool
	stamp     Stamp
}

// Len returns the number of user records.
func (b *Builder) Len() int { return b.n }

// Size returns the exact size of what Seal would append.
func (b *Builder) Size() int {
	return Overhead + b.BodySize() + b.stampSize
}

// BodySize returns the exact size of what AppendBody would append.
func (b *Builder) BodySize() int {
	return len(b.pks.buf) + len(b.ehks.buf) + len(b.recs)
}

// Stamp makes the Builder, which must be empty, stamp its records: the first
// one gets s.Sequence. It holds until Reset.
func (b *Builder) Stamp(s Stamp) {
	b.stamped, b.stamp, b.stampSize = true, s, s.size()
}

// next returns the sequence of the next record without a gap.
func (b *Builder) next() uint64 { return b.stamp.Sequence + uint64(b.n) + b.gaps }

// Stamped returns the stamp of the first record, if the records have one.
func (b *Builder) Stamped() (s Stamp, ok bool) { return b.stamp, b.stamped }

// Add adds a user record. It copies all of r.
func (b *Builder) Add(r Record) {
	var f fitting
	b.fit(&r, 0, &f)
	b.add(&r, &f)
}

// SizeWith returns the exact size of what Seal would append if r were added.
func (b *Builder) SizeWith(r Record) int {
	var f fitting
	b.fit(&r, 0, &f)
	return b.Size() + f.size
}

// TryAdd adds r as Add does, unless the sealed size would exceed limit. It
// reports whether it added r.
func (b *Builder) TryAdd(r *Record, limit int) bool {
	return b.tryAdd(r, 0, limit)
}

func (b *Builder) tryAdd(r *Record, gap uint64, limit int) bool {
	// Written and read where it stands: what has just been stored in words and is
	// copied at once, in larger pieces, makes the processor wait.
	var f fitting
	b.fit(r, gap, &f)
	if b.Size()+f.size > limit {
		return false
	}
	b.grow(f.size, limit)
	b.add(r, &f)
	return true
}

// TryAddAt is TryAdd in a Builder with a stamp, and gives r a sequence of its
// own. It also refuses a record that would not come after the one before it.
func (b *Builder) TryAddAt(r Record, sequence uint64, limit int) bool {
	if !b.stamped || sequence < b.next() {
		return false
	}
	return b.tryAdd(&r, sequence-b.next(), limit)
}

// grow makes room for n more bytes of records. It doubles the memory, and stops at
// the limit: append would take a fifth of it at a time, and a quarter more than it
// needs in the end.
func (b *Builder) grow(n, limit int) {
	need := len(b.recs) + n
	if need <= cap(b.recs) {
		return
	}
	b.recs = append(make([]byte, 0, max(need, min(2*cap(b.recs), limit))), b.recs...)
}

// fitting says how a record would be written.
type fitting struct {
	pk, ehk keyRef
	gap     uint64 // sequences left out before the record
	inner   int    // size of the Record message
	size    int    // bytes added to the blob
}

// fit sets f, which must be zero.
func (b *Builder) fit(r *Record, gap uint64, f *fitting) {
	f.pk = b.pks.find(r.PartitionKey, r.KeyHash)
	f.inner = 1 + sizeVarint(uint64(f.pk.index)) + 1 + sizeVarint(uint64(len(r.Data))) + len(r.Data)
	f.size = f.pk.size
	if r.ExplicitHashKey != "" {
		f.ehk = b.ehks.find(r.ExplicitHashKey, 0)
		f.inner += 1 + sizeVarint(uint64(f.ehk.index))
		f.size += f.ehk.size
	}
	if gap > 0 {
		f.gap = gap
		f.inner += 1 + sizeVarint(gap)
	}
	f.size += 1 + sizeVarint(uint64(f.inner)) + f.inner
}

func (b *Builder) add(r *Record, f *fitting) {
	if f.pk.size > 0 {
		b.pks.add(tagPartitionKey, r.PartitionKey, f.pk)
	}
	buf := append(b.recs, tagRecord)
	buf = binary.AppendUvarint(buf, uint64(f.inner))
	buf = append(buf, tagPartitionIndex)
	buf = binary.AppendUvarint(buf, uint64(f.pk.index))
	if r.ExplicitHashKey != "" {
		if f.ehk.size > 0 {
			b.ehks.add(tagExplicitHashKey, r.ExplicitHashKey, f.ehk)
		}
		buf = append(buf, tagExplicitIndex)
		buf = binary.AppendUvarint(buf, uint64(f.ehk.index))
	}
	buf = append(buf, tagData)
	buf = binary.AppendUvarint(buf, uint64(len(r.Data)))
	b.recs = append(buf, r.Data...)
	if f.gap > 0 {
		b.recs = binary.AppendUvarint(append(b.recs, tagGap), f.gap)
		b.gaps += f.gap
	}
	b.n++
}

// Seal appends the aggregated record to dst and returns the result. The
// Builder keeps its records; more may be added.
func (b *Builder) Seal(dst []byte) []byte {
	dst, body := b.appendSummed(dst)
	sum := md5.Sum(dst[body:])
	return append(dst, sum[:]...)
}

// SealAll appends to each of dst what Seal of its builder would, of as many builders
// as dst has. Several together take less time than one after the other, most of
// all as many as [md5lanes.Lanes] of about the same size.
func SealAll(builders []*Builder, dst [][]byte) {
	var (
		sums   [md5lanes.Lanes][md5.Size]byte
		bodies [md5lanes.Lanes][]byte
	)
	for len(builders) > 0 {
		n := min(md5lanes.Lanes, len(builders))
		for i, b := range builders[:n] {
			blob, body := b.appendSummed(dst[i])
			dst[i], bodies[i] = blob, blob[body:]
		}
		md5lanes.Sum(sums[:n], bodies[:n])
		for i := range n {
			dst[i] = append(dst[i], sums[i][:]...)
		}
		builders, dst = builders[n:], dst[n:]
	}
}

// appendSummed appends the magic and what the MD5 is of, from body on.
func (b *Builder) appendSummed(dst []byte) (_ []byte, body int) {
	dst = append(dst, Magic...)
	body = len(dst)
	dst = b.AppendBody(dst)
	if b.stamped {
		dst = b.stamp.append(dst)
	}
	return dst, body
}

// AppendBody appends the AggregatedRecord message without a stamp and without
// the frame around it. [WalkBody] reads it.
func (b *Builder) AppendBody(dst []byte) []byte {
	dst = append(dst, b.pks.buf...)
	dst = append(dst, b.ehks.buf...)
	return append(dst, b.recs...)
}

// Walk calls yield for each user record in order, until it returns false. The
// record's strings and data alias the Builder's memory: they hold until Reset.
func (b *Builder) Walk(yield func(i int, r Record) bool) {
	b.WalkStamped(func(i int, r Record, _ uint64) bool { return yield(i, r) })
}

// WalkStamped is Walk with the sequence of each record, which means nothing
// if the Builder has no stamp.
func (b *Builder) WalkStamped(yield func(i int, r Record, sequence uint64) bool) {
	rest := b.recs
	next := b.stamp.Sequence
	for i := range b.n {
		inner, n := consumeBytes(rest[1:])
		rest = rest[1+n:]
		m, _ := parseRecord(inner)
		r := Record{PartitionKey: b.pks.key(int(m.pk)), Data: m.data}
		if m.hasEHK {
			r.ExplicitHashKey = b.ehks.key(int(m.ehk))
		}
		if !yield(i, r, next+m.gap) {
			return
		}
		next += m.gap + 1
	}
}

// Compact gives up memory that is kept for records to come, if it is more than an
// eighth of what the records take.
func (b *Builder) Compact() {
	if n := len(b.recs); cap(b.recs) > n+n/8 {
		b.recs = append(make([]byte, 0, n), b.recs...)
	}
}

// Reset empties the Builder and keeps its memory.
func (b *Builder) Reset() {
	b.pks.reset()
	b.ehks.reset()
	b.recs = b.recs[:0]
	b.n = 0
	b.stamped, b.stamp, b.stampSize, b.gaps = false, Stamp{}, 0, 0
}

// keyTable is one of the two key tables: the fields in wire format, and an
// index over them by open addressing.
type keyTable struct {
	buf   []byte
	spans []span
	last  int // index found or added last: runs of one key without a known hash skip it

	slots []slot // power of two; at most half full
	gen   uint32 // slots of another generation are empty, so reset is O(1)
}

type span struct{ off, len uint32 } // of the key's text in buf

type slot struct{ gen, hash, index uint32 }

// keyRef is the outcome of a search. If size is not zero, the key is new:
// index is the one it will get, and size the bytes it will add.
type keyRef struct {
	index int
	size  int
	hash  uint32
}

// key returns the i-th key, aliasing buf.
func (t *keyTable) key(i int) string {
	s := t.spans[i]
	return aliasString(t.buf[s.off : s.off+s.len])
}

// find searches for a key, whose hash is known unless it is 0.
func (t *keyTable) find(key string, hash uint64) keyRef {
	n := len(t.spans)
	known := hash != 0
	if !known {
		if n > 0 && t.key(t.last) == key {
			return keyRef{index: t.last}
		}
		hash = KeyHash(key)
	}
	if len(t.slots) == 0 {
		t.slots = make([]slot, 16)
		t.gen = 1
	}
	h := uint32(hash)
	mask := uint32(len(t.slots) - 1)
	for i := h & mask; t.slots[i].gen == t.gen; i = (i + 1) & mask {
		if s := &t.slots[i]; s.hash == h && t.key(int(s.index)) == key {
			if !known {
				t.last = int(s.index)
			}
			return keyRef{index: int(s.index)}
		}
	}
	return keyRef{index: n, size: 1 + sizeVarint(uint64(len(key))) + len(key), hash: h}
}

// add adds a key that find did not find; nothing was added in between.
func (t *keyTable) add(tag byte, key string, ref keyRef) {
	t.buf = append(t.buf, tag)
	t.buf = binary.AppendUvarint(t.buf, uint64(len(key)))
	t.spans = append(t.spans, span{off: uint32(len(t.buf)), len: uint32(len(key))})
	t.buf = append(t.buf, key...)
	t.last = ref.index
	if 2*len(t.spans) > len(t.slots) {
		t.grow()
	}
	t.insert(slot{gen: t.gen, hash: ref.hash, index: uint32(ref.index)})
}

func (t *keyTable) insert(s slot) {
	mask := uint32(len(t.slots) - 1)
	i := s.hash & mask
	for t.slots[i].gen == t.gen {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

func (t *keyTable) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	for _, s := range old {
		if s.gen == t.gen {
			t.insert(s)
		}
	}
}

func (t *keyTable) reset() {
	t.buf = t.buf[:0]
	t.spans = t.spans[:0]
	t.last = 0
	t.gen++
	if t.gen == 0 { // wrapped round: slots of the first generations would revive
		clear(t.slots)
		t.gen = 1
	}
}

func sizeVarint(v uint64) int {
	return (bits.Len64(v|1) + 6) / 7
}

func aliasString(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}
