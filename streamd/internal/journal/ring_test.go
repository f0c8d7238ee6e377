package journal_test

import (
	"errors"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/journal"
)

// The files are used again once what they hold is released, also after the
// journal was opened anew, and what they held before is not read as new.
func TestTheRingGoesRound(t *testing.T) {
	d := newDisk(t)
	cfg := journal.LocalConfig{Files: 3, FileBytes: small, TailBytes: 1}
	var lsns []journal.LSN
	lsn := func(n int) journal.LSN { // of frame n
		if n == 0 {
			return 0
		}
		return lsns[n-1]
	}
	released := 0
	for round := range 40 {
		cfg.From = lsn(released)
		j := open(t, d, cfg)
		wantFrames(t, follow(t, j, cfg.From), released+1, len(lsns)+1)
		lsns = append(lsns, fill(t, j, len(lsns)+1, len(lsns)+1+round%4)...)
		if round%3 > 0 {
			released = len(lsns) - round%2
			if err := j.Release(t.Context(), lsn(released)); err != nil {
				t.Fatal(err)
			}
		}
		wantFrames(t, follow(t, j, lsn(released)), released+1, len(lsns)+1)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(ring(t, d)); n > 3 {
			t.Fatalf("%d files after round %d, want at most 3", n, round)
		}
	}
	if len(lsns) < 50 {
		t.Fatalf("only %d frames", len(lsns))
	}
}

func TestFullRingRefuses(t *testing.T) {
	j := open(t, newDisk(t), journal.LocalConfig{Files: 3, FileBytes: small})
	lsns := fill(t, j, 1, 10)
	if room := j.Room(); room != 0 {
		t.Errorf("a full ring has room for %d bytes", room)
	}
	if _, err := j.Append(t.Context(), frame(10)); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("Append to a full ring: %v, want ErrFull", err)
	}
	if err := j.Release(t.Context(), lsns[3]); err != nil {
		t.Fatal(err)
	}
	if room := j.Room(); room != small {
		t.Errorf("a ring with a free file has room for %d bytes, want %d", room, small)
	}
	fill(t, j, 10, 13)
	wantFrames(t, follow(t, j, lsns[3]), 5, 13)
	if _, err := j.Append(t.Context(), frame(13)); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("Append to a full ring: %v, want ErrFull", err)
	}
}

// A ring takes the shape that it is opened with as its files become free.
func TestRingOfAnotherShape(t *testing.T) {
	d := newDisk(t)
	j := open(t, d, journal.LocalConfig{Files: 5, FileBytes: small})
	lsns := fill(t, j, 1, 15)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, d, journal.LocalConfig{Files: 2, FileBytes: 2 * small})
	wantFrames(t, follow(t, j, 0), 1, 15)
	if _, err := j.Append(t.Context(), frame(15)); err != nil && !errors.Is(err, journal.ErrFull) {
		t.Fatal(err)
	}
	if err := j.Release(t.Context(), lsns[len(lsns)-1]); err != nil {
		t.Fatal(err)
	}
	lsns = fill(t, j, 16, 24) // the last file has room for three, and one more for six
	if err := j.Release(t.Context(), lsns[len(lsns)-1]); err != nil {
		t.Fatal(err)
	}
	if n := len(ring(t, d)); n > 2 {
		t.Errorf("%d files are left, want at most 2", n)
	}
}
