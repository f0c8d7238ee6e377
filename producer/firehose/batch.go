package firehose

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/streamkit/streamkit/producer"
)

// recordOverhead is what a buffered record costs beside its bytes, rounded up.
const recordOverhead = 80

// meta is what the producer knows of a buffered user record beside its bytes.
type meta struct {
	end   int // in packed.data
	index int // in the group
	group *group
	done  func(producer.Result)
	tag   any
}

// packed is a Firehose record on its way: user records and delimiters, as they
// will be stored.
type packed struct {
	data     []byte
	meta     []meta
	seq      uint64 // of the Producer's order
	born     int64  // when the first was put, in nanoseconds since the start
	attempts int    // requests that carried it
	lastErr  error  // of the last attempt
	// notBefore is when it may be sent again after a failure of its own.
	notBefore int64
}

// size returns what the user record i takes, delimiter included.
func (b *packed) size(i int) int {
	if i == 0 {
		return b.meta[0].end
	}
	return b.meta[i].end - b.meta[i-1].end
}

// cost returns what the user records take of the budget.
func (b *packed) cost() int64 { return int64(len(b.data) + len(b.meta)*recordOverhead) }

// add appends a user record and its delimiter.
func (b *packed) add(data []byte, delimiter string, m meta) {
	b.data = append(append(b.data, data...), delimiter...)
	m.end = len(b.data)
	b.meta = append(b.meta, m)
}

// pool recycles packed records with their memory.
var pool = sync.Pool{New: func() any { return new(packed) }}

func blank(born int64) *packed {
	b := pool.Get().(*packed)
	b.born = born
	return b
}

func recycle(b *packed) {
	clear(b.meta) // drops the references to what belongs to callers
	*b = packed{data: b.data[:0], meta: b.meta[:0]}
	pool.Put(b)
}

// halves moves the user records of b, which has several, into two.
func halves(b *packed) (first, second *packed) {
	first, second = blank(b.born), blank(b.born)
	n := len(b.meta) / 2
	for i, m := range b.meta {
		to := first
		if i >= n {
			to = second
		}
		to.add(b.data[m.end-b.size(i):m.end], "", m)
	}
	for _, h := range []*packed{first, second} {
		h.seq, h.attempts, h.lastErr = b.seq, b.attempts, b.lastErr
	}
	return first, second
}

// group gathers the fates of the records of one PutBatch.
type group struct {
	done    func(producer.BatchResult)
	n       int
	pending atomic.Int64

	mu     sync.Mutex // guards failed
	failed []producer.FailedRecord
}

func (g *group) fail(index int, err error) {
	g.mu.Lock()
	g.failed = append(g.failed, producer.FailedRecord{Index: index, Err: err})
	g.mu.Unlock()
}

// finish counts n records off. It reports whether they were the last: then the
// caller owes the callback.
func (g *group) finish(n int) bool { return g.pending.Add(int64(-n)) == 0 }

// result may be called once finish has reported the last.
func (g *group) result() producer.BatchResult {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.SortFunc(g.failed, func(a, b producer.FailedRecord) int { return cmp.Compare(a.Index, b.Index) })
	return producer.BatchResult{Records: g.n, Failed: g.failed}
}
