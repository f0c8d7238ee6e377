package clock_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/clock"
)

func TestTimersFollowTheSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock.Clock
		defer c.Close()
		start := time.Now()
		var mu sync.Mutex
		var fired []time.Duration
		ring := func() {
			mu.Lock()
			defer mu.Unlock()
			fired = append(fired, time.Since(start))
		}
		c.At(start.Add(3*time.Second), ring)
		c.At(start.Add(time.Second), ring)
		c.At(start.Add(-time.Second), ring)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := []time.Duration{0, time.Second, 3 * time.Second}; !slices.Equal(fired, want) {
			t.Errorf("fired at %v, want %v", fired, want)
		}
	})
}

func TestAdvanceCallsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock.Clock
		defer c.Close()
		start := c.Now()
		var fired []time.Duration
		var every func()
		every = func() {
			fired = append(fired, c.Now().Sub(start))
			c.At(c.Now().Add(time.Hour), every)
		}
		c.At(start.Add(time.Hour), every)
		c.Advance(150 * time.Minute)
		if want := []time.Duration{time.Hour, 2 * time.Hour}; !slices.Equal(fired, want) {
			t.Errorf("fired at %v, want %v", fired, want)
		}
		if got := c.Now().Sub(start); got != 150*time.Minute {
			t.Errorf("advanced by %v", got)
		}
		// The rest of the third hour passes by itself.
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		if len(fired) != 3 {
			t.Errorf("fired at %v, want a third time", fired)
		}
	})
}

func TestCloseForgetsTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock.Clock
		var calls atomic.Int32
		c.At(c.Now().Add(time.Second), func() { calls.Add(1) })
		c.Close()
		c.At(c.Now(), func() { calls.Add(1) })
		time.Sleep(time.Minute)
		if n := calls.Load(); n != 0 {
			t.Errorf("%d calls after Close", n)
		}
	})
}
