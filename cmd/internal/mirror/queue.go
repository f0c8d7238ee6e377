package mirror

// A queue holds the items of one source shard in their order, from the first
// that is not stored on.
type queue struct {
	items []item
	head  int // index of the first; those before are gone
	bytes int64

	seen   map[uint64]struct{} // of pick, reused
	picked []int               // of pick, reused
}

// window is how many items from the first that waits on are looked at for a
// request: the most that can be stored while the first one is not, and so the
// most that is sent twice after a crash besides what the state file is behind.
const window = 2000

func (q *queue) len() int { return len(q.items) - q.head }

// push adds an item behind the others.
func (q *queue) push(it item) {
	q.items = append(q.items, it)
	q.bytes += it.cost()
}

// pick returns the places of items that may be sent in one request: no more
// than records, and than bytes unless it is one. With strict, no two of them
// share a partition key, and none shares one with an item before it that is
// left out: a request may fail in part, and the target may take its records in
// any order. The slice is good until the next call.
func (q *queue) pick(records, bytes int, strict bool) []int {
	if q.seen == nil {
		q.seen = make(map[uint64]struct{})
	}
	clear(q.seen)
	q.picked = q.picked[:0]
	size, waiting := 0, false
	for i := q.head; i < min(q.head+window, len(q.items)) && len(q.picked) < records; i++ {
		it := &q.items[i]
		if it.stored {
			continue
		}
		if it.barrier && strict {
			if !waiting {
				q.picked = append(q.picked, i)
			}
			break
		}
		waiting = true
		if strict && q.conflicts(it) {
			continue
		}
		if len(q.picked) > 0 && size+it.size() > bytes {
			break
		}
		size += it.size()
		q.picked = append(q.picked, i)
	}
	return q.picked
}

// conflicts reports whether an item that was seen shares a key with it, and
// has its keys seen.
func (q *queue) conflicts(it *item) bool {
	if it.sums == nil { // nearly always
		_, found := q.seen[it.sum]
		q.seen[it.sum] = struct{}{}
		return found
	}
	found := false
	for _, s := range it.sums {
		_, known := q.seen[s]
		found = found || known
		q.seen[s] = struct{}{}
	}
	return found
}

// pop removes the stored items that no other one waits before. It returns the
// last of them, if there is one, and what they took of the memory.
func (q *queue) pop() (last item, freed int64, ok bool) {
	for q.head < len(q.items) && q.items[q.head].stored {
		last, ok = q.items[q.head], true
		freed += last.cost()
		q.items[q.head] = item{}
		q.head++
	}
	q.bytes -= freed
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return last, freed, ok
}
