package awsproto_test

import (
	"bytes"
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

// TestDecodeQuanta decodes texts of all lengths in place, and each with a byte of
// every value in every place: what is decoded is what the standard library makes
// of it, and what is not begins no earlier than the mistake.
func TestDecodeQuanta(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 60 {
		src := make([]byte, n)
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		text := []byte(base64.StdEncoding.EncodeToString(src))
		work := make([]byte, len(text))
		check := func(mistake int) {
			copy(work, text)
			quanta := awsproto.DecodeQuanta(work)
			if want := min(n/3, mistake/4) &^ 1; quanta != want {
				t.Fatalf("%q: %d quanta, want %d", text, quanta, want)
			}
			if !bytes.Equal(work[:3*quanta], src[:3*quanta]) || !bytes.Equal(work[4*quanta:], text[4*quanta:]) {
				t.Fatalf("%q becomes %q", text, work)
			}
		}
		check(len(text))
		for i := range text {
			was := text[i]
			for c := range 256 {
				if text[i] = byte(c); !bytes.ContainsRune([]byte(alphabet), rune(c)) || c > 127 {
					check(i)
				}
			}
			text[i] = was
		}
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

func BenchmarkDecodeBase64(b *testing.B) {
	text := base64.StdEncoding.AppendEncode(nil, make([]byte, 200))
	work := make([]byte, len(text))
	for name, decode := range map[string]func(b []byte){
		"ours":     func(b []byte) { awsproto.DecodeQuanta(b) },
		"standard": func(b []byte) { _, _ = base64.StdEncoding.Decode(b, b) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				copy(work, text)
				decode(work)
			}
		})
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
