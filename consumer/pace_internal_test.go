package consumer

import (
	"testing"
	"time"
)

// near fails the test unless got is want, to the tenth by which pauses vary.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want*9/10 || got > want*11/10 {
		t.Errorf("%s: waits %v, want %v", what, got, want)
	}
}

func TestPaceOfAnUndisturbedReader(t *testing.T) {
	now := time.Now()
	p := newPace(time.Second)
	read := func(records int, behind time.Duration) time.Duration {
		p.read(now)
		took := 30 * time.Millisecond
		next := p.success(now.Add(took), records, behind)
		return next.Sub(now)
	}
	for range 100 {
		if wait := read(10, time.Second); wait != 30*time.Millisecond {
			t.Fatalf("behind: waits %v after the answer", wait-30*time.Millisecond)
		}
	}
	if wait := read(0, time.Minute); wait != 30*time.Millisecond {
		t.Errorf("behind, with nothing in the answer: waits %v after it", wait-30*time.Millisecond)
	}
	near(t, "records at the tip", read(1, 0), 200*time.Millisecond)
	for _, want := range []int{200, 300, 450, 675, 1000, 1000} {
		near(t, "idle", read(0, 0), time.Duration(want)*time.Millisecond)
	}
	near(t, "records again", read(1, 0), 200*time.Millisecond)
	near(t, "idle again", read(0, 0), 200*time.Millisecond)
}

func TestPaceAfterRefusals(t *testing.T) {
	now := time.Now()
	p := newPace(time.Second)
	refused := func() time.Duration {
		p.read(now)
		wait := p.throttled(now).Sub(now)
		now = now.Add(wait)
		return wait
	}
	near(t, "first refusal", refused(), 200*time.Millisecond)
	near(t, "second refusal", refused(), 400*time.Millisecond)
	for range 20 {
		refused()
	}
	near(t, "after many", refused(), 5*time.Second)

	// The rate grows by one read a second each second, while records wait.
	begun, reads, at := now, 0, map[int]int{}
	for now.Before(begun.Add(30 * time.Second)) {
		p.read(now)
		next := p.success(now, 100, time.Minute)
		if p.rate == 0 {
			break
		}
		reads++
		at[int(now.Sub(begun)/time.Second)]++
		now = next
	}
	if at[6] < 5 || at[6] > 8 || at[10] < 9 || at[10] > 12 {
		t.Errorf("reads by second %v, want one more in each", at)
	}
	if d := now.Sub(begun); d < 19*time.Second || d > 21*time.Second {
		t.Errorf("the bound was given up after %v and %d reads, want 20s", d, reads)
	}
	// The next refusal begins again at what the service allows.
	near(t, "refused later", refused(), 200*time.Millisecond)
}
