package producer

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// group gathers the fates of the records of one PutBatch.
type group struct {
	done    func(BatchResult)
	n       int
	pending atomic.Int64

	mu     sync.Mutex // guards failed
	failed []FailedRecord
}

// fail notes a failed record; finish must follow.
func (g *group) fail(index int, err error) {
	g.mu.Lock()
	g.failed = append(g.failed, FailedRecord{Index: index, Err: err})
	g.mu.Unlock()
}

// finish counts n records off. It reports whether they were the last: then the
// caller owes the callback.
func (g *group) finish(n int) bool {
	return g.pending.Add(int64(-n)) == 0
}

// result may be called once finish has reported the last.
func (g *group) result() BatchResult {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.SortFunc(g.failed, func(a, b FailedRecord) int { return cmp.Compare(a.Index, b.Index) })
	return BatchResult{Records: g.n, Failed: g.failed}
}

// both returns a callback for the i-th record of g, which may be nil, that calls
// told first.
func (p *Producer) both(told func(Result), g *group, i int) func(Result) {
	return func(res Result) {
		told(res)
		if g == nil {
			return
		}
		if res.Err != nil {
			g.fail(i, res.Err)
		}
		if g.finish(1) {
			g.done(g.result())
		}
	}
}
