package journal_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/streamkit/streamkit/streamd/internal/journal"
)

// inBubbles runs a test on every journal of this package, each in a bubble.
func inBubbles(t *testing.T, test func(t *testing.T, j journal.Journal)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, new(journal.Memory)) })
	})
	t.Run("local", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, open(t, newDisk(t), journal.LocalConfig{})) })
	})
}

// TestFollowBeforeAppendReturns shows that who has seen all is told of the next
// frame by its author, and that nobody who follows as well misses any.
func TestFollowBeforeAppendReturns(t *testing.T) {
	inBubbles(t, func(t *testing.T, j journal.Journal) {
		var first, second []uint64
		ctx, stop := context.WithCancel(t.Context())
		var following sync.WaitGroup
		for _, seen := range []*[]uint64{&first, &second} {
			following.Go(func() {
				err := j.Follow(ctx, 0, func(_ journal.LSN, f *journal.Frame) error {
					*seen = append(*seen, f.ID.N)
					return nil
				})
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
			synctest.Wait() // it has seen all, and waits
		}
		for n := 1; n <= 5; n++ {
			if _, err := j.Append(t.Context(), frame(n)); err != nil {
				t.Fatal(err)
			}
			if len(first) != n {
				t.Fatalf("after frame %d was appended %d were followed", n, len(first))
			}
			synctest.Wait()
		}
		if len(second) != 5 {
			t.Errorf("the second follower has seen %v", second)
		}
		stop()
		following.Wait()
		if _, err := j.Append(t.Context(), frame(6)); err != nil || len(first) != 5 {
			t.Errorf("frame 6: %v, followed %v", err, first)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFollowOutlastsItsFrames has Follow's context end, and another frame come,
// while a frame is being handed on.
func TestFollowOutlastsItsFrames(t *testing.T) {
	inBubbles(t, func(t *testing.T, j journal.Journal) {
		for _, end := range []bool{true, false} {
			head, err := j.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			seen, goOn, ended := 0, make(chan struct{}), make(chan error, 1)
			go func() {
				ended <- j.Follow(ctx, head, func(journal.LSN, *journal.Frame) error {
					if seen++; seen == 2 {
						return errEnough
					}
					<-goOn
					return nil
				})
			}()
			synctest.Wait()
			go func() {
				if _, err := j.Append(t.Context(), frame(1)); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
			if end {
				stop()
			} else if _, err := j.Append(t.Context(), frame(2)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			select {
			case err := <-ended:
				t.Fatalf("Follow has returned during a frame: %v", err)
			default:
			}
			close(goOn)
			want, frames := errEnough, 2
			if end {
				want, frames = context.Canceled, 1
			}
			if err := <-ended; !errors.Is(err, want) || seen != frames {
				t.Errorf("Follow: %v after %d frames, want %v after %d", err, seen, want, frames)
			}
			stop()
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}
