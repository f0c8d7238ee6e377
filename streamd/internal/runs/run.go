package runs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/streamkit/streamkit/internal/vfs"
)

// Run is a file of records. It is safe for concurrent use.
type Run struct {
	fs    vfs.FS
	name  string
	cache *Cache
	id    ID

	trailer trailer
	shards  filter
	streams []StreamPart // in order
	newest  int64        // arrival

	opened *opened // guarded by the cache's mutex; nil while the file is not open

	users   atomic.Int64 // and one for the set that it is in
	removed atomic.Bool
}

// StreamPart is what a run holds of one stream.
type StreamPart struct {
	Stream     uint64
	Bytes      uint64 // of records
	MaxArrival int64  // of the newest, milliseconds since the epoch
}

// newRun describes a file whose extents are known.
func newRun(fsys vfs.FS, name string, cache *Cache, id ID, t trailer, extents []Extent) *Run {
	r := &Run{fs: fsys, name: name, cache: cache, id: id, trailer: t, shards: newFilter(len(extents))}
	for _, e := range extents {
		r.shards.add(e.Key)
		if n := len(r.streams); n == 0 || r.streams[n-1].Stream != e.Stream {
			r.streams = append(r.streams, StreamPart{Stream: e.Stream})
		}
		part := &r.streams[len(r.streams)-1]
		part.Bytes += e.Bytes
		part.MaxArrival = max(part.MaxArrival, e.MaxArrival)
		r.newest = max(r.newest, e.MaxArrival)
	}
	r.streams = slices.Clip(r.streams)
	r.users.Store(1)
	return r
}

// Open opens a run and checks its frame: header, footer and trailer.
func Open(fsys vfs.FS, name string, cache *Cache) (*Run, error) {
	r := &Run{fs: fsys, name: name, cache: cache}
	o, err := r.open()
	if err != nil {
		return nil, err
	}
	defer o.file.Close()
	return newRun(fsys, name, cache, r.id, r.trailer, o.extents), nil
}

// open opens the file and reads its footer. It fills in id and trailer if they
// are not known.
func (r *Run) open() (_ *opened, err error) {
	file, err := vfs.Open(r.fs, r.name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = file.Close() // the error that matters is err
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if size < headerSize+trailerSize {
		return nil, damaged(r.name, size, "it ends early")
	}
	head := make([]byte, headerSize+trailerSize)
	if err := readFull(file, head[:headerSize], 0); err != nil {
		return nil, r.failed(err, 0)
	}
	if err := readFull(file, head[headerSize:], size-trailerSize); err != nil {
		return nil, r.failed(err, size-trailerSize)
	}
	id, err := parseFileHeader(head)
	if err != nil {
		return nil, damaged(r.name, 0, err.Error())
	}
	t, ok := parseTrailer(head[headerSize:], size)
	if !ok || r.trailer != (trailer{}) && (r.trailer != t || r.id != id) {
		return nil, damaged(r.name, size-trailerSize, "the trailer is not valid")
	}
	b := make([]byte, t.length)
	if err := readFull(file, b, t.footer); err != nil {
		return nil, r.failed(err, t.footer)
	}
	extents, ok := parseFooter(b, t.footer)
	if !ok || checksum(b) != t.crc {
		return nil, damaged(r.name, t.footer, "the footer is not valid")
	}
	if r.trailer == (trailer{}) {
		r.id, r.trailer = id, t
	}
	o := &opened{run: r, file: file, extents: extents, bytes: 256 + len(extents)*int(unsafe.Sizeof(Extent{}))}
	for i := range extents {
		o.bytes += len(extents[i].marks) * int(unsafe.Sizeof(mark{}))
	}
	return o, nil
}

// readFull fills b from the given offset.
func readFull(f io.ReaderAt, b []byte, offset int64) error {
	n, err := f.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	return err
}

// failed says where reading has failed.
func (r *Run) failed(err error, offset int64) error {
	if errors.Is(err, io.EOF) {
		return damaged(r.name, offset, "it ends early")
	}
	return fmt.Errorf("runs: %s at byte %d: %w", r.name, offset, err)
}

// Name returns the path of the file.
func (r *Run) Name() string { return r.name }

// ID returns what the run is called by.
func (r *Run) ID() ID { return r.id }

// Size returns the size of the file in bytes.
func (r *Run) Size() int64 { return r.trailer.footer + int64(r.trailer.length) + trailerSize }

// Records returns how many records the run holds.
func (r *Run) Records() uint64 { return r.trailer.records }

// Streams returns what the run holds of each stream, in order. The caller must
// not change the slice.
func (r *Run) Streams() []StreamPart { return r.streams }

// Extents calls yield for each shard of the run, in order, until it returns
// false.
func (r *Run) Extents(yield func(Extent) bool) error {
	o, err := r.cache.take(r)
	if err != nil {
		return err
	}
	defer r.cache.give(o)
	for _, e := range o.extents {
		if !yield(e) {
			break
		}
	}
	return nil
}

// extent returns what the run holds of k. ok is false if that is nothing.
func (r *Run) extent(k Key) (e Extent, ok bool, err error) {
	if !r.shards.has(k) {
		return Extent{}, false, nil
	}
	o, err := r.cache.take(r)
	if err != nil {
		return Extent{}, false, err
	}
	defer r.cache.give(o)
	if p := find(o.extents, k); p != nil {
		return *p, true, nil
	}
	return Extent{}, false, nil
}

// Read returns batches of a shard, from the one on that holds the record with
// sequence index from, or is the first behind it: at least one unless there is
// none, and else about as many as have so many records or bytes of records.
// Their bytes share one buffer, which the caller may keep.
func (r *Run) Read(k Key, from uint64, maxRecords, maxBytes int) ([]Batch, error) {
	if !r.shards.has(k) {
		return nil, nil
	}
	o, err := r.cache.take(r)
	if err != nil {
		return nil, err
	}
	defer r.cache.give(o)
	e := find(o.extents, k)
	if e == nil || e.Last < from {
		return nil, nil
	}
	i, ok := slices.BinarySearchFunc(e.marks, from, func(m mark, at uint64) int {
		switch {
		case m.first < at:
			return -1
		case m.first > at:
			return 1
		}
		return 0
	})
	if !ok && i > 0 {
		i-- // the batch with from begins before the mark behind it
	}
	start := e.marks[i].offset
	if each := int(e.Bytes/e.Records) + 1; maxRecords < maxBytes/each {
		maxBytes = min(maxBytes, maxRecords*each*5/4+1024) // and a second read for what is larger than most
	}
	size := int64(maxBytes + 2*batchHeader)
	if i+1 < len(e.marks) {
		size += e.marks[i+1].offset - start // which may have to be passed over
	}
	for end := e.offset + e.length; ; {
		size = min(size, end-start)
		b := make([]byte, size)
		if err := readFull(o.file, b, start); err != nil {
			return nil, r.failed(err, start)
		}
		batches, need, err := r.parse(k, b, start, from, maxBytes)
		if err != nil || len(batches) > 0 || size == end-start {
			if err == nil && len(batches) == 0 {
				err = damaged(r.name, start, "a shard ends early")
			}
			return batches, err
		}
		size = max(need, 2*size)
	}
}

// parse reads batches out of b, which lies at the given offset. need is how much
// must be read from there for one batch, if none of interest is whole.
func (r *Run) parse(k Key, b []byte, offset int64, from uint64, maxBytes int) (batches []Batch, need int64, err error) {
	at, bytes := 0, 0
	for at < len(b) && bytes < maxBytes || len(batches) == 0 && at < len(b) {
		if len(b)-at < batchHeader {
			return batches, int64(at + batchHeader), nil
		}
		key, batch, size, ok := parseBatchHeader(b[at:])
		if !ok || key != k {
			return nil, 0, damaged(r.name, offset+int64(at), "no batch where one was written")
		}
		records := at + batchHeader
		if len(b)-records < size {
			return batches, int64(records + size), nil
		}
		if batch.Last() >= from {
			batch.Records = b[records : records+size : records+size]
			if checksum(batch.Records) != batch.CRC {
				return nil, 0, damaged(r.name, offset+int64(at), "records fail their checksum")
			}
			if len(batches) == 0 {
				batches = make([]Batch, 0, min(maxBytes/max(size, 1), 4096)+1)
			}
			batches = append(batches, batch)
			bytes += size
		}
		at = records + size
	}
	return batches, int64(at + batchHeader), nil
}

// SeekTime returns the sequence index of the first record of a shard that
// arrived at ms, milliseconds since the epoch, or later. ok is false if there is
// none.
func (r *Run) SeekTime(k Key, ms int64) (first uint64, ok bool, err error) {
	e, ok, err := r.extent(k)
	if err != nil || !ok || e.MaxArrival < ms {
		return 0, false, err
	}
	if e.MinArrival >= ms {
		return e.First, true, nil
	}
	i, _ := slices.BinarySearchFunc(e.marks, ms, func(m mark, at int64) int {
		if m.arrival < at {
			return -1
		}
		return 1
	})
	for from := e.marks[max(i-1, 0)].first; from <= e.Last; {
		batches, err := r.Read(k, from, math.MaxInt, markEvery)
		if err != nil {
			return 0, false, err
		}
		for _, b := range batches {
			if b.Arrival >= ms {
				return b.First, true, nil
			}
			from = b.Last() + 1
		}
	}
	return 0, false, damaged(r.name, e.offset, "a shard ends early")
}

// Check reads the whole run and reports what does not fit.
func (r *Run) Check() error {
	var extents []Extent
	if err := r.Extents(func(e Extent) bool { extents = append(extents, e); return true }); err != nil {
		return err
	}
	for _, e := range extents {
		var records, bytes uint64
		for from := e.First; ; {
			batches, err := r.Read(e.Key, from, math.MaxInt, writeSize)
			if err != nil {
				return err
			}
			for _, b := range batches {
				if b.First < from || b.Last() > e.Last || b.Arrival < e.MinArrival || b.Arrival > e.MaxArrival {
					return damaged(r.name, e.offset, "a batch is not where the footer has it")
				}
				records, bytes = records+uint64(b.Count), bytes+uint64(len(b.Records))
				from = b.Last() + 1
			}
			if from > e.Last {
				break
			}
		}
		if records != e.Records || bytes != e.Bytes {
			return damaged(r.name, e.offset, "a shard does not have the records that the footer has")
		}
	}
	return nil
}

// Release ends a use that [Set.Find] began.
func (r *Run) Release() { _ = r.release() }

// acquire begins a use, unless the run is gone.
func (r *Run) acquire() bool {
	for {
		n := r.users.Load()
		if n == 0 {
			return false
		}
		if r.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release ends a use. The last one closes the file, and removes it if that is
// asked for.
func (r *Run) release() error {
	if r.users.Add(-1) > 0 {
		return nil
	}
	r.cache.forget(r)
	if !r.removed.Load() {
		return nil
	}
	if err := r.fs.Remove(r.name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Remove removes the file, once nobody reads it any more. The run must not be in
// a set.
func (r *Run) Remove() error {
	r.removed.Store(true)
	return r.release()
}
