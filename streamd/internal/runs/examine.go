package runs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/journal"
)

// An Examination says what a file of records is worth.
type Examination struct {
	ID      ID     // by the name of the file
	Size    int64  // of the file
	Records uint64 // in batches that are whole
	Bytes   uint64 // of those records
	Newest  int64  // arrival of the newest, milliseconds since the epoch; 0 without records
	Damage  []Damage
	Torn    bool   // some of the damage is among the records
	Lost    []Loss // what the damage has taken, as far as the footer says it
}

// Whole reports whether the file is as it was written.
func (x *Examination) Whole() bool { return len(x.Damage) == 0 }

// Damage is a part of a file that does not read as it was written.
type Damage struct {
	Offset, Length int64
	Reason         string
}

// Loss is records of one shard that are gone.
type Loss struct {
	Key
	First, Last uint64 // their sequence indexes lie between these
	Records     uint64
}

// ParseName returns the id in the name of a file.
func ParseName(name string) (id ID, ok bool) {
	base := filepath.Base(name)
	if _, err := fmt.Sscanf(base, "%x-%x-%d-%d.run", &id.First, &id.Last, &id.Class, &id.Merges); err != nil {
		return ID{}, false
	}
	return id, id.Name() == base
}

// Examine reads a file of records from end to end, whether it is damaged or
// not, and calls yield, if it is not nil, with each batch that is whole, in
// order. The bytes of a batch are valid until yield returns. The error is that of
// yield, or of reading.
func Examine(fsys vfs.FS, name string, yield func(Key, Batch) error) (*Examination, error) {
	if yield == nil {
		return Locate(fsys, name, nil)
	}
	return Locate(fsys, name, func(k Key, b Batch, _ int64) error { return yield(k, b) })
}

// Locate is [Examine] for those who read a batch again later: yield is told at
// which byte of the file its records begin.
func Locate(fsys vfs.FS, name string, yield func(k Key, b Batch, offset int64) error) (*Examination, error) {
	file, err := vfs.Open(fsys, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	e := examiner{Examination: Examination{Size: info.Size()}, file: file, name: name, yield: yield}
	if err := e.frame(); err != nil {
		return nil, err
	}
	if err := e.batches(); err != nil {
		return nil, err
	}
	e.compare()
	return &e.Examination, nil
}

// examiner reads a file.
type examiner struct {
	Examination
	file  vfs.File
	name  string
	yield func(Key, Batch, int64) error

	buf   []byte // the bytes at offset at
	at    int64
	limit int64 // where the extents end

	extents []Extent // by the footer; nil if it is damaged
	seen    []tally  // of each extent
	current int      // extent of the last batch
	hurt    bool     // there is damage behind the last batch
	key     Key      // of the last batch
	last    uint64   // its last index; 0 before the first
}

// tally is what was found of an extent.
type tally struct {
	records, bytes uint64
	next           uint64 // behind the last record found
	first, last    uint64 // what is missing lies between these; last is 0 if nothing is known to be
}

// miss takes down that records may be missing between two sequence indexes.
func (t *tally) miss(first, last uint64) {
	if first > last {
		return
	}
	if t.last == 0 {
		t.first = first
	}
	t.last = max(t.last, last)
}

func (e *examiner) damaged(offset, length int64, reason string) {
	if n := len(e.Damage); n > 0 {
		if d := &e.Damage[n-1]; d.Offset+d.Length == offset && offset > 0 {
			d.Length += length // it goes on
			return
		}
	}
	e.Damage = append(e.Damage, Damage{offset, length, reason})
}

// bytes returns n bytes at an offset, fewer at the end of the file. They are
// valid until the next call.
func (e *examiner) bytes(offset int64, n int) ([]byte, error) {
	if n = int(min(int64(n), e.Size-offset)); n <= 0 {
		return nil, nil
	}
	if offset < e.at || offset+int64(n) > e.at+int64(len(e.buf)) {
		size := int(min(int64(max(n, writeSize)), e.Size-offset))
		if cap(e.buf) < size {
			e.buf = make([]byte, size)
		}
		e.buf, e.at = e.buf[:size], offset
		if got, err := e.file.ReadAt(e.buf, offset); err != nil && (!errors.Is(err, io.EOF) || got < size) {
			e.buf = e.buf[:0]
			return nil, fmt.Errorf("runs: %s at byte %d: %w", e.name, offset, err)
		}
	}
	from := int(offset - e.at)
	return e.buf[from : from+n : from+n], nil
}

// frame reads header, trailer and footer.
func (e *examiner) frame() error {
	id, ok := ParseName(e.name)
	if !ok {
		return fmt.Errorf("runs: %s is not the name of a file of records", e.name)
	}
	e.ID, e.limit = id, e.Size
	head, err := e.bytes(0, headerSize)
	if err != nil {
		return err
	}
	var version *journal.VersionError
	switch id, err := parseFileHeader(head); {
	case errors.As(err, &version):
		return fmt.Errorf("runs: %s: %w", e.name, err)
	case err != nil:
		e.damaged(0, headerSize, err.Error())
	case id != e.ID:
		e.damaged(0, headerSize, "the header is that of another file")
	}
	if e.Size < headerSize+trailerSize {
		e.damaged(e.Size, 0, "it ends early")
		return nil
	}
	tail, err := e.bytes(e.Size-trailerSize, trailerSize)
	if err != nil {
		return err
	}
	t, ok := parseTrailer(tail, e.Size)
	if !ok {
		e.damaged(e.Size-trailerSize, trailerSize, "the trailer is not valid")
		return nil
	}
	e.limit = t.footer
	footer, err := e.bytes(t.footer, int(t.length))
	if err != nil {
		return err
	}
	extents, ok := parseFooter(footer, t.footer)
	if !ok || checksum(footer) != t.crc {
		e.damaged(t.footer, int64(t.length), "the footer is not valid")
		return nil
	}
	e.extents, e.seen = extents, make([]tally, len(extents))
	return nil
}

// batches goes through the extents.
func (e *examiner) batches() error {
	for offset := int64(headerSize); offset < e.limit; {
		key, b, size, whole, err := e.batch(offset)
		switch {
		case err != nil:
			return err
		case whole:
			if err := e.take(key, b, offset+batchHeader); err != nil {
				return err
			}
			offset += size
		case size > 0:
			e.damaged(offset, size, "records fail their checksum")
			e.Torn = true
			if t := e.tally(key); t != nil {
				t.miss(b.First, b.Last())
			}
			offset += size
		default:
			next, err := e.next(offset + 1)
			if err != nil {
				return err
			}
			e.damaged(offset, next-offset, "no batch where one was written")
			e.hurt, e.Torn = true, true
			offset = next
		}
	}
	return nil
}

// batch reads the batch at an offset. size is 0 if there is none, and that of
// the batch in the file otherwise.
func (e *examiner) batch(offset int64) (k Key, b Batch, size int64, whole bool, err error) {
	head, err := e.bytes(offset, batchHeader)
	if err != nil {
		return k, b, 0, false, err
	}
	k, b, n, ok := parseBatchHeader(head)
	if !ok || !e.follows(k, b) || offset+batchHeader+int64(n) > e.limit {
		return k, b, 0, false, nil
	}
	size = batchHeader + int64(n)
	all, err := e.bytes(offset, int(size))
	if err != nil {
		return k, b, 0, false, err
	}
	b.Records = all[batchHeader:]
	return k, b, size, checksum(b.Records) == b.CRC, nil
}

// follows reports whether a batch can come behind the last one: what records
// hold may look like a batch, too.
func (e *examiner) follows(k Key, b Batch) bool {
	if b.First < e.ID.First || b.Last() > e.ID.Last || b.Last() < b.First {
		return false
	}
	if e.last > 0 && (e.key.Compare(k) > 0 || e.key == k && b.First <= e.last) {
		return false
	}
	if e.extents == nil {
		return true
	}
	x := find(e.extents, k)
	return x != nil && b.First >= x.First && b.Last() <= x.Last
}

// next returns the offset of the next batch, or where the extents end.
func (e *examiner) next(offset int64) (int64, error) {
	for ; offset+batchHeader <= e.limit; offset++ {
		head, err := e.bytes(offset, batchHeader)
		if err != nil {
			return 0, err
		}
		if k, b, n, ok := parseBatchHeader(head); ok && e.follows(k, b) && offset+batchHeader+int64(n) <= e.limit {
			return offset, nil
		}
	}
	return e.limit, nil
}

// take counts a batch and hands it on.
func (e *examiner) take(k Key, b Batch, offset int64) error {
	e.Records, e.Bytes = e.Records+uint64(b.Count), e.Bytes+uint64(len(b.Records))
	e.key, e.last, e.Newest = k, b.Last(), max(e.Newest, b.Arrival)
	if t := e.tally(k); t != nil {
		if e.hurt {
			t.miss(max(t.next, e.extents[e.current].First), b.First-1)
		}
		t.records, t.bytes, t.next = t.records+uint64(b.Count), t.bytes+uint64(len(b.Records)), b.Last()+1
	}
	e.hurt = false
	if e.yield == nil {
		return nil
	}
	return e.yield(k, b, offset)
}

// tally returns that of the extent of a shard, which is the current one from now
// on; nil if the footer is damaged.
func (e *examiner) tally(k Key) *tally {
	for e.current < len(e.extents) && e.extents[e.current].Key != k {
		e.current++
	}
	if e.current == len(e.extents) {
		return nil
	}
	return &e.seen[e.current]
}

// compare says what is not there although the footer has it.
func (e *examiner) compare() {
	for i, x := range e.extents {
		t := &e.seen[i]
		if t.records == x.Records && t.bytes == x.Bytes {
			continue
		}
		if e.Whole() {
			e.damaged(x.offset, x.length, "a shard does not have the records that the footer has")
		}
		if from := max(t.next, t.last+1, x.First); from <= x.Last { // which is that of a record
			t.miss(from, x.Last)
		}
		if t.records < x.Records {
			e.Lost = append(e.Lost, Loss{x.Key, t.first, t.last, x.Records - t.records})
		}
	}
}

// Rewrite writes what is whole in a file of records, and asked for by keep, into
// another of the given id, which it returns; nil if that is nothing.
func Rewrite(fsys vfs.FS, name string, id ID, keep func(Key, Batch) bool) (_ *Run, err error) {
	w, err := Create(fsys, filepath.Dir(name), id, NewCache(0))
	if err != nil {
		return nil, err
	}
	kept := 0
	_, err = Examine(fsys, name, func(k Key, b Batch) error {
		if keep != nil && !keep(k, b) {
			return nil
		}
		kept++
		return w.Add(k, b)
	})
	if err != nil || kept == 0 {
		return nil, errors.Join(err, w.Abort())
	}
	run, err := w.Finish()
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return run, nil
}
