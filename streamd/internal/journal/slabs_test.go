package journal_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/streamkit/streamkit/streamd/internal/journal"
)

// inSlab returns frame n of these tests, of so many bytes, in the journal's memory.
func inSlab(j *journal.Local, n, size int) *journal.Frame {
	f := j.Frame(size)
	f.Body = append(f.Body, content(n, size)...)
	return f.Seal(journal.FrameID{Gateway: store, Session: 7, N: uint64(n)}, 0)
}

func content(n, size int) []byte { return bytes.Repeat([]byte{byte(n)}, size) }

// sizes are of frames that share their memory with others, and of one that does not.
var sizes = []int{30 << 10, 300 << 10, 1200 << 10}

func openSlabs(t *testing.T) *journal.Local {
	t.Helper()
	return open(t, newDisk(t), journal.LocalConfig{Files: 100, FileBytes: 4 << 20, TailBytes: 1})
}

func TestMemoryOfFramesIsUsedAgain(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			j := openSlabs(t)
			places := make(map[*byte]int)
			most := 3 * (2<<20/size + 1) // frames in three slabs
			for n := range 2 * most {
				f := inSlab(j, n, size)
				places[unsafe.SliceData(f.Body)]++
				if _, err := j.Append(t.Context(), f); err != nil {
					t.Fatal(err)
				}
			}
			if len(places) > most {
				t.Errorf("%d frames lay in %d places, want no more than %d", 2*most, len(places), most)
			}
		})
	}
}

func TestWhatWasReadStays(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			j := openSlabs(t)
			for n := range 3 * (2<<20/size + 1) {
				f := inSlab(j, n, size)
				lsn, err := j.Append(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				if n%4 != 1 {
					continue
				}
				kept, err := j.ReadAt(lsn-10, 10)
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if !bytes.Equal(kept, content(n, 10)) {
						t.Errorf("what was read of frame %d became % x", n, kept)
					}
				}()
				copied := make([]byte, 20)
				if err := j.ReadInto(copied, lsn-20); err != nil || !bytes.Equal(copied, content(n, 20)) {
					t.Errorf("ReadInto of frame %d = % x, %v", n, copied, err)
				}
			}
		})
	}
}

func TestReadIntoReadsTheFiles(t *testing.T) {
	j := openSlabs(t)
	first, err := j.Append(t.Context(), inSlab(j, 1, 5000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), inSlab(j, 2, 5000)); err != nil { // and the first leaves the tail
		t.Fatal(err)
	}
	got := make([]byte, 5000)
	if err := j.ReadInto(got, first-5000); err != nil || !bytes.Equal(got, content(1, 5000)) {
		t.Errorf("ReadInto = % x..., %v", got[:8], err)
	}
}

// What is handed on has not left, however far others have come meanwhile.
func TestFrameStaysWhileItIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openSlabs(t)
		const size = 700 << 10
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var others, changed bool
		go func() {
			_ = j.Follow(ctx, 0, func(_ journal.LSN, f *journal.Frame) error {
				if f.ID.N != 2 {
					return nil
				}
				for n := 3; n < 30; n++ {
					if _, err := j.Append(ctx, inSlab(j, n, size)); err != nil {
						t.Error(err)
					}
				}
				others, changed = true, !bytes.Equal(f.Body, content(2, size))
				return nil
			})
		}()
		for n := 1; n <= 2; n++ {
			if _, err := j.Append(t.Context(), inSlab(j, n, size)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the follower has parked
		}
		if !others || changed {
			t.Errorf("others have appended: %t; the frame that was handed on has changed: %t", others, changed)
		}
	})
}
