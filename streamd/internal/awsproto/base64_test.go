package awsproto_test

import (
	"encoding/base64"
	"math/rand/v2"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/awsproto"
)

func TestAppendBase64(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 100 {
		src := make([]byte, n)
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		if got, want := string(awsproto.AppendBase64([]byte("x"), src)), "x"+base64.StdEncoding.EncodeToString(src); got != want {
			t.Errorf("%x: %s, want %s", src, got, want)
		}
	}
}

func BenchmarkBase64(b *testing.B) {
	src, dst := make([]byte, 200), make([]byte, 0, 300)
	for name, encode := range map[string]func(dst, src []byte) []byte{
		"ours": awsproto.AppendBase64, "standard": base64.StdEncoding.AppendEncode,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				dst = encode(dst[:0], src)
			}
		})
	}
}
