package b64_test

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/b64"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestAppendEncode(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 400 {
		src := random(r, n)
		// The source ends where its memory does, so that a read behind it shows.
		if got, want := string(b64.AppendEncode([]byte("x"), src[:n:n])), "x"+base64.StdEncoding.EncodeToString(src); got != want {
			t.Errorf("%x: %s, want %s", src, got, want)
		}
	}
	every := make([]byte, 3<<12)
	for i := range 1 << 12 {
		every[3*i], every[3*i+1], every[3*i+2] = byte(i>>4), byte(i<<4)|byte(i>>8), byte(i)
	}
	if got, want := string(b64.AppendEncode(nil, every)), base64.StdEncoding.EncodeToString(every); got != want {
		t.Error("all pairs of characters: not what the standard library writes")
	}
}

// TestAppendEncodeInPlace checks that nothing is written behind the text.
func TestAppendEncodeInPlace(t *testing.T) {
	for n := range 200 {
		src := bytes.Repeat([]byte{0xa5}, n)
		size := base64.StdEncoding.EncodedLen(n)
		mem := bytes.Repeat([]byte{'!'}, size+64)
		got := b64.AppendEncode(mem[:0:size], src)
		if len(got) != size || strings.Trim(string(mem[size:]), "!") != "" {
			t.Errorf("%d bytes: %d characters of %d, then %q", n, len(got), size, mem[size:])
		}
	}
}

// TestDecodeFront decodes texts of all lengths in place, and each with a byte of
// every value in every place: what is decoded is what the standard library makes
// of it, and what is not begins no earlier than the mistake.
func TestDecodeFront(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 110 {
		if n > 30 && n%7 > 1 {
			continue
		}
		src := random(r, n)
		text := []byte(base64.StdEncoding.EncodeToString(src))
		work := make([]byte, len(text))
		check := func(mistake int) {
			copy(work, text)
			quanta := b64.DecodeFront(work)
			if want := min(n/3, mistake/4) &^ 1; quanta != want {
				t.Fatalf("%q: %d quanta, want %d", text, quanta, want)
			}
			if size, ok := b64.DecodeEnd(bytes.Clone(work), quanta); ok != strict(text) || ok && size != base64.StdEncoding.DecodedLen(len(text))-bytes.Count(text, []byte("=")) {
				t.Fatalf("%q: DecodeEnd = %d, %t", text, size, ok)
			}
			if !bytes.Equal(work[:3*quanta], src[:3*quanta]) || !bytes.Equal(work[4*quanta:], text[4*quanta:]) {
				t.Fatalf("%q becomes %q", text, work)
			}
		}
		check(len(text))
		for i := range text {
			was := text[i]
			for c := range 256 {
				if text[i] = byte(c); strings.IndexByte(alphabet, byte(c)) < 0 {
					check(i)
				}
			}
			text[i] = was
		}
	}
}

// strict reports whether text is what an encoder writes.
func strict(text []byte) bool {
	_, err := base64.StdEncoding.Strict().DecodeString(string(text))
	return err == nil && !bytes.ContainsAny(text, "\r\n")
}

// FuzzDecodeFront holds both ways to the standard library.
func FuzzDecodeFront(f *testing.F) {
	f.Add([]byte(strings.Repeat("QUJD", 30) + "RA=="))
	f.Add([]byte(alphabet + alphabet[:63] + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		work := bytes.Clone(text)
		quanta := b64.DecodeFront(work)
		want, err := base64.StdEncoding.DecodeString(string(text[:4*quanta]))
		if err != nil || !bytes.Equal(want, work[:3*quanta]) || !bytes.Equal(work[4*quanta:], text[4*quanta:]) {
			t.Fatalf("%q: %d quanta, %q, %v", text, quanta, work, err)
		}
		n, ok := b64.DecodeEnd(work, quanta)
		whole, _ := base64.StdEncoding.DecodeString(string(text)) // strict says whether it can be
		if ok != strict(text) || ok && !bytes.Equal(work[:n], whole) {
			t.Fatalf("%q: DecodeEnd = %d, %t, %q; want %q", text, n, ok, work[:n], whole)
		}
		if !ok && !bytes.Equal(work[4*quanta:], text[4*quanta:]) {
			t.Fatalf("%q: DecodeEnd refuses it, and leaves %q", text, work)
		}
		end := bytes.IndexFunc(text, func(c rune) bool { return c > 127 || strings.IndexByte(alphabet, byte(c)) < 0 })
		if end < 0 {
			end = len(text)
		}
		if end-4*quanta > 7 {
			t.Fatalf("%q: stopped after %d of %d characters", text, 4*quanta, end)
		}
		if got, want := string(b64.AppendEncode(nil, text)), base64.StdEncoding.EncodeToString(text); got != want {
			t.Fatalf("%q: %q, want %q", text, got, want)
		}
	})
}

func Benchmark(b *testing.B) {
	for name, size := range map[string]int{"200B": 200, "50KB": 51200} {
		src := random(rand.New(rand.NewPCG(5, 6)), size)
		text := []byte(base64.StdEncoding.EncodeToString(src))
		work := make([]byte, len(text))
		for way, do := range map[string]func(){
			"encode/ours":     func() { b64.AppendEncode(work[:0], src) },
			"encode/standard": func() { base64.StdEncoding.AppendEncode(work[:0], src) },
			"decode/ours":     func() { copy(work, text); b64.DecodeFront(work) },
			"decode/standard": func() { copy(work, text); _, _ = base64.StdEncoding.Decode(work, work) },
		} {
			b.Run(way+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					do()
				}
			})
		}
	}
}
