package md5pair_test

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/streamkit/streamkit/internal/md5pair"
)

func check(t *testing.T, p, q []byte) {
	t.Helper()
	a, b := md5pair.Sum(p, q)
	if a != md5.Sum(p) || b != md5.Sum(q) {
		t.Errorf("lengths %d and %d: %x, %x, want %x, %x", len(p), len(q), a, b, md5.Sum(p), md5.Sum(q))
	}
}

func TestSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 2000)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for n := range 300 {
		check(t, data[:n], data[3:3+n])
		check(t, data[:n], data[n:n+r.IntN(1500)])
		check(t, data[n:n+r.IntN(1500)], data[:n])
	}
	check(t, nil, nil)
	check(t, bytes.Repeat([]byte("x"), 1<<20), data)
}

func FuzzSum(f *testing.F) {
	f.Add([]byte("abc"), bytes.Repeat([]byte("0123456789"), 50))
	f.Fuzz(check)
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	p, q := make([]byte, 1000), make([]byte, 2000)
	md5pair.Sum(p, q)
	if n := testing.AllocsPerRun(100, func() { md5pair.Sum(p, q) }); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSum(b *testing.B) {
	for _, size := range []int{1000, 51200} {
		p, q := make([]byte, size), make([]byte, size)
		b.Run(fmt.Sprintf("%dB/pair", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(2 * int64(size))
			for b.Loop() {
				md5pair.Sum(p, q)
			}
		})
		b.Run(fmt.Sprintf("%dB/one after the other", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(2 * int64(size))
			for b.Loop() {
				if md5.Sum(p) != md5.Sum(q) {
					b.Fatal("differ")
				}
			}
		})
	}
}
