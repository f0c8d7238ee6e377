package consumer

// Author opens the rules by which a worker knows its own writes to tests.
type Author struct{ a author }

// NewAuthor returns the worker's.
func NewAuthor(worker, incarnation string) Author { return Author{author{worker, incarnation}} }

// Left reports whether now is what an earlier try of w has left of before.
func (a Author) Left(before Lease, now *Lease, w Write) bool { return a.a.left(before, now, w) }

// Took reports whether now is what an earlier try to take before has left.
func (a Author) Took(before Lease, now *Lease) bool { return a.a.took(before, now) }
