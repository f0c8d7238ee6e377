package backoff_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/backoff"
)

func TestBound(t *testing.T) {
	p := backoff.Policy{Base: 50 * time.Millisecond, Max: 2 * time.Second}
	for n, ms := range []int64{50, 100, 200, 400, 800, 1600, 2000, 2000} {
		if got := p.Bound(n); got.Milliseconds() != ms {
			t.Errorf("Bound(%d) = %v, want %d ms", n, got, ms)
		}
	}
	for _, n := range []int{64, 1 << 20} {
		if got := p.Bound(n); got != p.Max {
			t.Errorf("Bound(%d) = %v", n, got)
		}
	}
	odd := backoff.Policy{Base: 1, Max: 3}
	for n, want := range []time.Duration{1, 3, 3} {
		if got := odd.Bound(n); got != want {
			t.Errorf("%+v.Bound(%d) = %d, want %d", odd, n, got, want)
		}
	}
}

func TestWait(t *testing.T) {
	p := backoff.Policy{Base: 10, Max: 1000}
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 10 {
		low, high := p.Max, time.Duration(0)
		for range 5000 {
			d := p.Wait(n, r)
			low, high = min(low, d), max(high, d)
		}
		if bound := p.Bound(n); low < 1 || high > bound || high < bound*9/10 || low > max(1, bound/10) {
			t.Errorf("5000 waits before retry %d lie in [%d, %d], bound %d", n, low, high, bound)
		}
	}
	if d := p.Wait(3, nil); d < 1 || d > p.Bound(3) {
		t.Errorf("Wait with the global source = %v", d)
	}
}
