package awsproto_test

import (
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/awsproto"
)

func TestRoomOfAnswers(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		size int   // that an output says; 64 are added
		want int64 // counted
	}{
		{0, 64},
		{1000, 1064},
		{mib - 64, mib},
		{mib - 63, 2 * mib},
		{2*mib - 64, 2 * mib},
		{2*mib - 63, 4 * mib},
		{8*mib - 64, 8 * mib},
		{8*mib - 63, 16 * mib},
		{16*mib - 64, 16 * mib},
		{16*mib - 63, 16*mib + 1},
	} {
		n := awsproto.AnswerRoom(tt.size)
		if n != tt.want {
			t.Errorf("an answer of %d bytes counts as %d, want %d", tt.size, n, tt.want)
		}
		// Once new, and once from where the first went.
		for range 2 {
			buf := awsproto.TakeRoom(int(n))
			if len(*buf) != 0 || cap(*buf) < int(n) || cap(*buf) > max(int(n), mib) {
				t.Errorf("room for %d bytes: length %d, capacity %d", n, len(*buf), cap(*buf))
			}
			*buf = append(*buf, 1)
			awsproto.GiveRoom(buf)
		}
	}
}
