package producer

import (
	"context"
	"fmt"
	"sync"
)

// An Encoder turns a user record's data into what is stored: it appends that to
// dst and returns the result. It must not keep dst or the record's data, and may
// be called at the same time from several goroutines.
type Encoder func(dst []byte, r UserRecord) ([]byte, error)

// scratch is where encoded data is until its lane has copied it.
type scratch struct {
	buf     []byte
	records []UserRecord
	ends    []int // in buf, of the records
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxPooledScratch keeps the memory of unusually large batches out of the pool.
const maxPooledScratch = 1 << 20

func (s *scratch) free() {
	clear(s.records)
	if cap(s.buf) <= maxPooledScratch {
		*s = scratch{buf: s.buf[:0], records: s.records[:0], ends: s.ends[:0]}
		scratches.Put(s)
	}
}

// encode appends the encoded data of r.
func (s *scratch) encode(enc Encoder, r *UserRecord) error {
	n := len(s.buf)
	buf, err := enc(s.buf, *r)
	if err != nil {
		return fmt.Errorf("producer: encode record: %w", err)
	}
	if len(buf) < n {
		return fmt.Errorf("producer: encode record: the Encoder gave back %d bytes of the %d that it was to append to", len(buf), n)
	}
	s.buf = buf
	return nil
}

// putExtra is put with hooks or an Encoder.
func (p *Producer) putExtra(ctx context.Context, r UserRecord, done func(Result), how putMode) error {
	told := p.onPut(ctx, &r)
	if told == nil {
		return p.putEncoded(ctx, r, done, how)
	}
	err := p.putEncoded(ctx, r, func(res Result) {
		told(res)
		if done != nil {
			done(res)
		}
	}, how)
	if err != nil {
		told(Result{Tag: r.Tag, Err: err})
	}
	return err
}

// putMode is which of the Puts takes a record. (A method value in its place would
// be an allocation for each record.)
type putMode int

const (
	putWaits   putMode = iota // for memory
	putTries                  // waits for nothing
	putHurries                // as putWaits, and does not linger
)

// putAs takes a record as it is.
func (p *Producer) putAs(ctx context.Context, r UserRecord, done func(Result), how putMode) error {
	if how == putTries {
		return p.tryPut(&r, done)
	}
	return p.put(ctx, &r, done, how == putHurries)
}

func (p *Producer) putEncoded(ctx context.Context, r UserRecord, done func(Result), how putMode) error {
	if p.cfg.Encoder == nil {
		return p.putAs(ctx, r, done, how)
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	if err := s.encode(p.cfg.Encoder, &r); err != nil {
		return err
	}
	r.Data = s.buf
	return p.putAs(ctx, r, done, how)
}

// putBatchExtra is putBatch with an Encoder or with hooks.
func (p *Producer) putBatchExtra(ctx context.Context, rs []UserRecord, done func(BatchResult)) error {
	var each []func(Result)
	if len(p.hooks.put) > 0 {
		each = make([]func(Result), len(rs))
		for i := range rs {
			each[i] = p.onPut(ctx, &rs[i])
		}
	}
	err := p.putBatchEncoded(ctx, rs, done, each)
	if err != nil {
		for i, f := range each {
			if f != nil {
				f(Result{Tag: rs[i].Tag, Err: err})
			}
		}
	}
	return err
}

func (p *Producer) putBatchEncoded(ctx context.Context, rs []UserRecord, done func(BatchResult), each []func(Result)) error {
	if p.cfg.Encoder == nil {
		return p.putBatch(ctx, rs, done, each)
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	for i := range rs {
		if err := s.encode(p.cfg.Encoder, &rs[i]); err != nil {
			return fmt.Errorf("record %d of the batch: %w", i, err)
		}
		s.ends = append(s.ends, len(s.buf))
	}
	begin := 0
	for i, end := range s.ends {
		r := rs[i]
		r.Data = s.buf[begin:end:end]
		s.records = append(s.records, r)
		begin = end
	}
	return p.putBatch(ctx, s.records, done, each)
}
