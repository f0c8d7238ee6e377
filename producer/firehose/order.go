package firehose

// order knows which packed records are not finished. They are numbered in the
// order in which they were begun.
type order struct {
	base uint64 // the first that is not finished
	// pieces are those of base and of each after it that are not finished: one,
	// or more if it was taken apart.
	pieces  []int32
	waiters []waiter
}

// waiter is a Flush.
type waiter struct {
	next uint64        // waits for all before it
	done chan struct{} // closed when they are finished
}

// begin returns the number of a new record.
func (o *order) begin() uint64 {
	o.pieces = append(o.pieces, 1)
	return o.next() - 1
}

// next returns the number that begin will return.
func (o *order) next() uint64 { return o.base + uint64(len(o.pieces)) }

func (o *order) empty() bool { return len(o.pieces) == 0 }

// split notes that a record has come to have one piece more.
func (o *order) split(seq uint64) { o.pieces[seq-o.base]++ }

// finish counts a record, or a piece of it, off.
func (o *order) finish(seq uint64) {
	o.pieces[seq-o.base]--
	if o.pieces[0] > 0 {
		return
	}
	for len(o.pieces) > 0 && o.pieces[0] == 0 {
		o.pieces = o.pieces[1:]
		o.base++
	}
	left := o.waiters[:0]
	for _, w := range o.waiters {
		if w.next <= o.base {
			close(w.done)
		} else {
			left = append(left, w)
		}
	}
	clear(o.waiters[len(left):])
	o.waiters = left
}

// wait returns a channel that is closed when all that was begun is finished.
func (o *order) wait() <-chan struct{} {
	w := waiter{next: o.next(), done: make(chan struct{})}
	if o.empty() {
		close(w.done)
	} else {
		o.waiters = append(o.waiters, w)
	}
	return w.done
}
