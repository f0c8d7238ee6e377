// Package backoff computes how long to wait before a retry.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Policy is exponential backoff with full jitter: the wait before retry n,
// counted from 0, is random in (0, min(Max, Base·2^n)]. Full jitter spreads
// callers that failed together better than a fixed share does.
//
// Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
type Policy struct {
	Base time.Duration // bound of the first wait; must be positive
	Max  time.Duration // bound of any wait; at least Base
}

// Bound returns the longest wait before retry n.
func (p Policy) Bound(n int) time.Duration {
	d := p.Base
	for range n {
		if d >= p.Max/2 {
			return p.Max
		}
		d *= 2
	}
	return min(d, p.Max)
}

// Wait returns a random wait before retry n. It draws from r, or from the
// global source if r is nil.
func (p Policy) Wait(n int, r *rand.Rand) time.Duration {
	bound := int64(p.Bound(n))
	if r == nil {
		return time.Duration(1 + rand.Int64N(bound))
	}
	return time.Duration(1 + r.Int64N(bound))
}
