package mirror

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
)

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		if err := b.take(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		var got []int
		order := make(chan int)
		for i, n := range []int64{8, 1, 2} {
			go func() {
				if err := b.take(t.Context(), n); err == nil {
					order <- i
				}
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { left <- b.take(ctx, 100) }()
		synctest.Wait()
		b.give(4) // 7 are free: too few for the first, and nobody passes it
		synctest.Wait()
		b.give(3)
		got = append(got, <-order, <-order) // 8 and 1
		b.give(2)
		got = append(got, <-order)
		slices.Sort(got[:2]) // granted at once
		if !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("served in the order %v", got)
		}
		cancel()
		if err := <-left; err == nil {
			t.Error("a claim beyond all there is was granted")
		}
		b.give(9)
		if b.free != 10 || len(b.queue) != 0 {
			t.Errorf("%d free, %d waiting", b.free, len(b.queue))
		}
	})
}
