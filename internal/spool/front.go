package spool

// Front writes records that a later process is given before all that is in the
// spool: they were handed out, or never were here, and are older. One goroutine
// uses it, after Seal and Leave, and ends it before Close.
type Front[C any] struct {
	s     *Spool[C]
	buf   []byte // a block; its header is written last
	first uint64 // number of its first record
	count int
	time  int64
	safe  uint64 // records below this number are on disk
	err   error  // of a write
}

// Front begins to write.
func (s *Spool[C]) Front() *Front[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing || s.cur.count > 0 {
		s.cond.Wait()
	}
	s.sealSegmentLocked()
	return &Front[C]{s: s, safe: s.next}
}

// Add copies a record that was put at a time, in milliseconds since 1970, and
// returns its number. The error wraps [ErrFull] if MaxBytes would be exceeded;
// after any error the Front takes no more.
func (f *Front[C]) Add(e *Entry, put int64) (number uint64, err error) {
	size := e.size()
	if f.err == nil && f.count > 0 && len(f.buf)+size > f.s.opt.BlockBytes {
		f.flush()
	}
	if f.err != nil {
		return 0, f.err
	}
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total+int64(len(f.buf)+size+blockHeader+headerOffset) > s.opt.MaxBytes {
		return 0, ErrFull
	}
	if f.count == 0 {
		f.first = s.next
		f.buf = append(f.buf[:0], make([]byte, blockHeader)...)
		f.time = put
	}
	f.time = min(f.time, put)
	f.buf = appendEntry(f.buf, e)
	f.count++
	number = s.next
	s.next++
	return number, nil
}

func (f *Front[C]) flush() {
	s := f.s
	h := header{count: uint32(f.count), first: f.first, time: f.time, epoch: s.about.Epoch}
	h.put(f.buf)
	if s.out == nil {
		f.err = s.begin(f.first, frontExt)
	}
	if f.err == nil {
		f.err = s.out.Append(f.buf)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.err != nil {
		f.failLocked()
		return
	}
	f.growLocked(s.out.Size())
	s.last.n += uint64(f.count)
	s.last.read = s.last.n // as far as this process goes
	f.count = 0
	if !s.opt.Fsync {
		f.safe = s.last.first + s.last.n
	}
}

// growLocked notes the size of the segment.
func (f *Front[C]) growLocked(size int64) {
	f.s.total += size - f.s.last.size
	f.s.last.size = size
}

// failLocked ends the segment after a fault, with what is safe in it.
func (f *Front[C]) failLocked() {
	s := f.s
	s.stats.Failures++
	if s.out == nil {
		return
	}
	if s.opt.Fsync {
		s.last.n = 0
		f.growLocked(headerOffset)
	}
	s.abandonLocked(s.last.size)
}

// End returns how far the records are on disk, and with Options.Fsync durable:
// all whose numbers are below safe are, and no others are meant to be. A disk that
// fails may show them to a later process all the same.
func (f *Front[C]) End() (safe uint64, err error) {
	s := f.s
	if f.err == nil && f.count > 0 {
		f.flush()
	}
	if s.out == nil {
		return f.safe, f.err
	}
	if s.opt.Fsync {
		f.err = s.out.Sync()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.err != nil {
		f.failLocked()
		return f.safe, f.err
	}
	f.safe = s.last.first + s.last.n
	s.sealSegmentLocked()
	return f.safe, nil
}
