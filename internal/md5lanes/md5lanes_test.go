package md5lanes_test

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/md5lanes"
)

func check(t *testing.T, messages ...[]byte) {
	t.Helper()
	sums := make([][md5.Size]byte, len(messages))
	md5lanes.Sum(sums, messages)
	for i, m := range messages {
		if want := md5.Sum(m); sums[i] != want {
			t.Errorf("message %d of %d, %d bytes: %x, want %x", i, len(messages), len(m), sums[i], want)
		}
	}
}

func TestSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 3000)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	piece := func() []byte {
		from := r.IntN(len(data))
		return data[from : from+r.IntN(len(data)-from+1)]
	}
	for n := range 10 {
		for size := range 200 {
			var same, mixed [][]byte
			for i := range n {
				same, mixed = append(same, data[i:i+size]), append(mixed, piece())
			}
			check(t, same...)
			check(t, mixed...)
		}
	}
	check(t, bytes.Repeat([]byte("x"), 1<<20), data, data[1:], nil, data[:64])
}

// TestShort sums one to four messages of every length that fits, several times
// in the same memory.
func TestShort(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", 8)
	var s md5lanes.Short
	for n := range md5lanes.Lanes + 1 {
		for size := range md5lanes.MaxShort + 1 {
			messages := make([]string, n)
			for i := range messages {
				messages[i] = data[i : i+(size+13*i)%(md5lanes.MaxShort+1)]
				s.Add(messages[i])
			}
			if s.Len() != n {
				t.Fatalf("%d messages, Len %d", n, s.Len())
			}
			sums := s.Sums()
			for i, m := range messages {
				if want := md5.Sum([]byte(m)); sums[i] != want {
					t.Fatalf("message %d of %d, %q: %x, want %x", i, n, m, sums[i], want)
				}
			}
		}
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte("abc"), bytes.Repeat([]byte("0123456789"), 50), []byte{}, make([]byte, 64))
	f.Fuzz(func(t *testing.T, a, b, c, d []byte) {
		check(t, a, b)
		check(t, a, b, c)
		check(t, a, b, c, d)
	})
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	messages := [][]byte{make([]byte, 1000), make([]byte, 2000), make([]byte, 3000)}
	if n := testing.AllocsPerRun(100, func() {
		var sums [3][md5.Size]byte
		md5lanes.Sum(sums[:], messages)
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSum(b *testing.B) {
	for _, size := range []int{1000, 51200, 500_000} {
		for n := 1; n <= md5lanes.Lanes; n++ {
			b.Run(fmt.Sprintf("%dB/%d", size, n), func(b *testing.B) {
				messages := make([][]byte, n)
				for i := range messages {
					messages[i] = make([]byte, size)
				}
				b.ReportAllocs()
				b.SetBytes(int64(n * size))
				for b.Loop() {
					var sums [md5lanes.Lanes][md5.Size]byte
					md5lanes.Sum(sums[:n], messages)
				}
			})
		}
	}
}
