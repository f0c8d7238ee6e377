package limits

// rate is a token bucket's pace and room, as whole numbers so that no token is
// lost to rounding: a bucket's level is in billionths of a token, the pace in
// thousandths a second, time in microseconds, and a pace times a time is a
// level.
type rate struct {
	pace  int64 // thousandths of a token a second; 0 means no limit
	depth int64 // billionths of a token
	debt  int64 // how far below zero a level may go, billionths of a token
}

const (
	milli = 1_000
	nano  = 1_000_000_000
)

// bucket is how much of a rate has been used. The zero bucket has never been
// used, and is full.
type bucket struct {
	missing int64 // of the depth, billionths of a token; above the depth in debt
	at      int64 // when that was, microseconds
}

// refill counts the time since the last use. A clock that steps back gives
// nothing, and goes on from there.
func (b *bucket) refill(r rate, now int64) {
	if elapsed := now - b.at; elapsed > 0 && b.missing > 0 {
		if elapsed > b.missing/r.pace {
			b.missing = 0
		} else {
			b.missing -= elapsed * r.pace
		}
	}
	b.at = now
}

// has reports whether n tokens may be taken. More than the bucket can hold may
// be taken when it is full, or they never could.
func (b *bucket) has(r rate, n int64) bool {
	return b.missing+min(n*nano, r.depth) <= r.depth
}

func (b *bucket) take(n int64) { b.missing += n * nano }

// allow takes one token if there is one.
func (b *bucket) allow(r rate, now int64) bool {
	if r.pace == 0 {
		return true
	}
	b.refill(r, now)
	if !b.has(r, 1) {
		return false
	}
	b.take(1)
	return true
}

// full reports whether the bucket has nothing to remember.
func (b *bucket) full(r rate, now int64) bool {
	if r.pace > 0 {
		b.refill(r, now)
	}
	return b.missing == 0
}
