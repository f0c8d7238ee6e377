package journal_test

import (
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/journal"
)

// TestZerosAhead: frames of a file that was not made full of zeros change its
// size seldom, before and after the journal was opened again, and never make it
// larger than a file of the ring.
func TestZerosAhead(t *testing.T) {
	disk := newDisk(t)
	cfg := journal.LocalConfig{FileBytes: 4 << 20}
	size := func() int64 {
		info, err := disk.Stat(dir + "/00.ring")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	const frames = 250 // of a block each: just under a quarter of the file
	var grown int
	last := int64(0)
	j := open(t, disk, cfg)
	for n := range frames {
		if n == frames/2 {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = open(t, disk, cfg)
		}
		fill(t, j, n, n+1)
		now := size()
		if now != last {
			grown++
		}
		if used := int64(n+1) * 4096; now <= used-4096 || now > 2*used+64<<10 {
			t.Fatalf("after %d frames the file has %d bytes", n+1, now)
		}
		last = now
	}
	if grown > 6 {
		t.Errorf("%d of %d frames made the file larger, want few", grown, frames)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, disk, cfg)
	wantFrames(t, follow(t, j, 0), 0, frames)
	for n := range 3 * frames { // the rest of the file, and into the next
		fill(t, j, frames+n, frames+n+1)
	}
	if got := size(); got > 4<<20 {
		t.Errorf("the file has %d bytes, more than a file of the ring", got)
	}
}

// TestNoRoomForZeros: a disk that has room for frames and no more takes them.
func TestNoRoomForZeros(t *testing.T) {
	disk := newDisk(t)
	j := open(t, disk, journal.LocalConfig{FileBytes: 4 << 20})
	disk.SetRoom(disk.Used() + 30*4096)
	fill(t, j, 0, 29)
	wantFrames(t, follow(t, j, 0), 0, 29)
	if _, err := j.Append(t.Context(), frame(29)); err != nil {
		t.Fatal(err)
	}
}
