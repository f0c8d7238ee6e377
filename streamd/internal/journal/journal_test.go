package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/journal"
)

func TestFollowFromAnywhere(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		lsns := fill(t, j, 1, 100)
		wantFrames(t, follow(t, j, 0), 1, 100)
		for i, lsn := range lsns {
			wantFrames(t, follow(t, j, lsn), i+2, 100)
		}
	})
}

func TestReadAtReturnsBodies(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		lsns := fill(t, j, 1, 100)
		for i, lsn := range lsns {
			body := frame(i + 1).Body
			got, err := j.(journal.Reader).ReadAt(lsn-journal.LSN(len(body))+5, 10)
			if err != nil || !bytes.Equal(got, body[5:15]) {
				t.Fatalf("frame %d: ReadAt = %v, %v", i+1, got, err)
			}
		}
	})
}

// Two who follow while frames come see the same frames in the same order.
func TestFollowWhileAppending(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		const frames = 200
		var followers sync.WaitGroup
		for range 2 {
			followers.Go(func() {
				next := 1
				err := j.Follow(t.Context(), 0, func(_ journal.LSN, f *journal.Frame) error {
					if int(f.ID.N) != next {
						return fmt.Errorf("frame %d after %d", f.ID.N, next-1)
					}
					if next++; next > frames {
						return errEnough
					}
					return nil
				})
				if !errors.Is(err, errEnough) {
					t.Error(err)
				}
			})
		}
		fill(t, j, 1, frames+1)
		followers.Wait()
	})
}

func TestFollowEnds(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := j.Follow(ctx, 0, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Follow with an ended context: %v", err)
		}
		done := make(chan error)
		go func() { done <- j.Follow(t.Context(), 0, nil) }()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, journal.ErrClosed) {
			t.Errorf("Follow of a closed journal: %v", err)
		}
		if _, err := j.Append(t.Context(), frame(1)); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("Append to a closed journal: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestRelease(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		lsns := fill(t, j, 1, 100)
		if err := j.Release(t.Context(), lsns[49]); err != nil {
			t.Fatal(err)
		}
		wantFrames(t, follow(t, j, lsns[49]), 51, 100)
		if err := j.Follow(t.Context(), 0, func(journal.LSN, *journal.Frame) error { return errEnough }); !errors.Is(err, journal.ErrTrimmed) {
			t.Errorf("Follow from what was released: %v, want ErrTrimmed", err)
		}
		if _, err := j.(journal.Reader).ReadAt(lsns[0]-5, 5); !errors.Is(err, journal.ErrTrimmed) {
			t.Errorf("ReadAt of what was released: %v, want ErrTrimmed", err)
		}
	})
}

func TestReopen(t *testing.T) {
	d := newDisk(t)
	cfg := journal.LocalConfig{Files: 50, FileBytes: small}
	next := 1
	for range 5 {
		j := open(t, d, cfg)
		wantFrames(t, follow(t, j, 0), 1, next)
		fill(t, j, next, next+17)
		next += 17
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
