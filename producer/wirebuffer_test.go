package producer_test

import (
	"testing"

	"github.com/streamkit/streamkit/producer"
)

func TestBufferSizes(t *testing.T) {
	for _, tt := range []struct{ n, want int }{
		{n: 1, want: 4 << 10},
		{n: 4 << 10, want: 4 << 10},
		{n: 4<<10 + 1, want: 5 << 10},
		{n: 8 << 10, want: 8 << 10},
		{n: 256 << 10, want: 256 << 10},
		{n: 256<<10 + 1, want: 320 << 10},
		{n: 16 << 20, want: 16 << 20},
	} {
		if size, again := producer.BufferFor(tt.n); size != tt.want || !again {
			t.Errorf("%d bytes get a buffer of %d that is used again (%v), want %d", tt.n, size, again, tt.want)
		}
	}
	for n := 1; n <= 16<<20; n += 1 + n/7 {
		if size, again := producer.BufferFor(n); size < n || n > 4<<10 && size > n+n/4+1 || !again {
			t.Fatalf("%d bytes get a buffer of %d that is used again (%v)", n, size, again)
		}
	}
}
