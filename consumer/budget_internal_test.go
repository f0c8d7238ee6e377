package consumer

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestBudgetOrder: who has nothing comes before who reads ahead, in each group the
// order is that of asking, and a quarter is not read ahead into.
func TestBudgetOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1 << 20)
		stuck, ahead, x, y, z := b.share(), b.share(), b.share(), b.share(), b.share()
		var mu sync.Mutex // guards order
		var order []string
		ask := func(name string, s *share, n int64) {
			go func() {
				if _, lean, err := s.acquire(t.Context(), n); err != nil || lean {
					t.Errorf("%s: lean %v, %v", name, lean, err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			}()
			synctest.Wait()
		}
		step := func(what string, do func(), want ...string) {
			t.Helper()
			do()
			synctest.Wait()
			if slices.Sort(order); !slices.Equal(order, want) {
				t.Errorf("%s: granted %v, want %v", what, order, want)
			}
			order = nil
		}
		step("nobody waits", func() {
			ask("ahead", ahead, 300<<10)
			ask("stuck", stuck, 300<<10)
		}, "ahead", "stuck")
		step("no room", func() {
			ask("ahead again", ahead, 300<<10) // 900 KiB are more than three quarters
			ask("x", x, 500<<10)
			ask("y", y, 300<<10)
			ask("z", z, 1) // behind them, though there is room
		})
		step("room for the first", func() { stuck.release(300 << 10) }, "x")
		step("room for the next two", func() { ahead.release(100 << 10) }, "y", "z")
		step("room, but less than a quarter would be left", func() { x.release(400 << 10) })
		step("room", func() { y.release(300 << 10) }, "ahead again")
	})
}

// TestBudgetLean: a shard that has nothing waits a second at most, and one that has
// something waits; one that leaves lets those behind it go on.
func TestBudgetLean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1 << 20)
		stuck, s := b.share(), b.share()
		if _, _, err := stuck.acquire(t.Context(), 1<<20); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for range 2 {
			n, lean, err := s.acquire(t.Context(), 10<<20)
			if d := time.Since(begun); n != minShare || !lean || err != nil || d != patience {
				t.Errorf("%d bytes, lean %v, %v, after %v", n, lean, err, d)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if n, _, err := s.acquire(ctx, 1); n != 0 || err == nil {
				t.Errorf("%d bytes more, %v", n, err)
			}
			cancel()
			s.release(minShare)
			begun = time.Now()
		}
		stuck.release(1 << 20)
		if n := b.inUse(); n != 0 || len(b.waiting) != 0 {
			t.Errorf("%d bytes in use, %d wait", n, len(b.waiting))
		}
	})
}
