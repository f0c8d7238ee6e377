package producer

import (
	"context"
	"sync"
)

// FirstErr keeps the first error among the results of many records. Give its Done
// to each Put, and ask Err after a Flush:
//
//	var first producer.FirstErr
//	for _, r := range records {
//		if err := p.Put(ctx, r, first.Done); err != nil {
//			return err
//		}
//	}
//	if err := p.Flush(ctx); err != nil {
//		return err
//	}
//	return first.Err()
//
// The zero FirstErr is ready. It is safe for concurrent use, and must not be copied
// after its first use.
type FirstErr struct {
	mu  sync.Mutex // guards all below
	err error
	n   int
}

// Done takes the result of a record.
func (f *FirstErr) Done(r Result) {
	if r.Err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if f.err == nil {
		f.err = r.Err
	}
}

// Err returns the first error so far, or nil.
func (f *FirstErr) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Failed returns how many results so far had an error.
func (f *FirstErr) Failed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// PutAll puts records and waits for the fate of all, cutting the waiting for fuller
// Kinesis records as a Flush does. The results are in the order of rs; the error is
// that of the first record that was not accepted or not stored. If ctx ends before
// all are finished, the results of the others have its error, and their records may
// yet be stored.
func (p *Producer) PutAll(ctx context.Context, rs []UserRecord) ([]Result, error) {
	type fate struct {
		i   int
		res Result
	}
	results := make([]Result, len(rs))
	waiting := make([]bool, len(rs))
	// Capacity for all: the caller may be gone when the results come.
	fates := make(chan fate, len(rs))
	pending := 0
	for i, r := range rs {
		err := p.Put(ctx, r, func(res Result) { fates <- fate{i, res} })
		if err != nil {
			results[i] = Result{Tag: r.Tag, Err: err}
			continue
		}
		waiting[i] = true
		pending++
	}
	p.flushing.Add(1)
	defer p.flushing.Add(-1)
	p.noteAll()
	for pending > 0 && ctx.Err() == nil {
		select {
		case f := <-fates:
			results[f.i], waiting[f.i] = f.res, false
			pending--
		case <-ctx.Done():
		}
	}
	var first error
	for i := range results {
		if waiting[i] {
			results[i] = Result{Tag: rs[i].Tag, Err: ctx.Err()}
		}
		if first == nil {
			first = results[i].Err
		}
	}
	return results, first
}
