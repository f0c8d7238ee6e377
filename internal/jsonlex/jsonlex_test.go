package jsonlex_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/jsonlex"
)

func TestEscape(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want rune
		n    int // 0: none
	}{
		{`\"`, '"', 2},
		{`\\`, '\\', 2},
		{`\/x`, '/', 2},
		{`\b`, '\b', 2},
		{`\f`, '\f', 2},
		{`\n`, '\n', 2},
		{`\r`, '\r', 2},
		{`\t`, '\t', 2},
		{`\u00e9`, 'é', 6},
		{`\u00E9x`, 'é', 6},
		{`\u0000`, 0, 6},
		{`\uffff`, 0xffff, 6},
		{`\uFfFd`, 0xfffd, 6},
		{`\ud83d\ude00`, '😀', 12},
		{`\uD83D\uDE00`, '😀', 12},
		{`\ud83d`, 0xfffd, 6},
		{`\ud83dx`, 0xfffd, 6},
		{`\ud83d\n`, 0xfffd, 6},
		{`\ud83d\u`, 0xfffd, 6},
		{`\ud83d\ude0`, 0xfffd, 6},
		{`\ud83d\u0041`, 0xfffd, 6},
		{`\ud83d\ud83d`, 0xfffd, 6},
		{`\ude00\ud83d`, 0xfffd, 6},
		{in: ``},
		{in: `\`},
		{in: `x`},
		{in: `\x`},
		{in: `\'`},
		{in: "\\\n"},
		{in: `\U0041`},
		{in: `\u`},
		{in: `\u004`},
		{in: `\u004g`},
		{in: `\u00:1`},
		{in: `\u00@1`},
		{in: "\\u00\x001"},
		{in: `\u+041`},
	} {
		r, n, ok := jsonlex.Escape(tt.in)
		if r != tt.want || n != tt.n || ok != (tt.n > 0) {
			t.Errorf("Escape(%q) = %q, %d, %v, want %q, %d", tt.in, r, n, ok, tt.want, tt.n)
		}
		if br, bn, bok := jsonlex.Escape([]byte(tt.in)); br != r || bn != n || bok != ok {
			t.Errorf("Escape(%q) of bytes = %q, %d, %v", tt.in, br, bn, bok)
		}
	}
}

// TestPlain has every byte in every place of texts of all lengths.
func TestPlain(t *testing.T) {
	for n := range 35 {
		text := []byte(strings.Repeat(" ~!#[]09azAZ", 3))[:n]
		if got := jsonlex.Plain(text); got != n {
			t.Fatalf("Plain(%q) = %d", text, got)
		}
		for i := range text {
			was := text[i]
			for c := range 256 {
				text[i] = byte(c)
				want := i
				if c >= ' ' && c < 128 && c != '"' && c != '\\' {
					want = n
				}
				if got := jsonlex.Plain(text); got != want || jsonlex.Plain(string(text)) != want {
					t.Fatalf("Plain(%q) = %d, want %d", text, got, want)
				}
			}
			text[i] = was
		}
	}
	// What is none twice in eight bytes, next to each other.
	for a := range 256 {
		for b := range 256 {
			s := []byte{'x', byte(a), byte(b), 'x', 'x', 'x', 'x', 'x', 'x'}
			got, want := jsonlex.Plain(s), 0
			for want < len(s) && jsonlex.Plain(s[want:want+1]) == 1 {
				want++
			}
			if got != want {
				t.Fatalf("Plain(%q) = %d, want %d", s, got, want)
			}
		}
	}
}

func TestNumber(t *testing.T) {
	for _, tt := range []struct {
		in string
		n  int
	}{
		{"0", 1},
		{"-0", 2},
		{"7", 1},
		{"10", 2},
		{"-12,", 3},
		{"01", 1},
		{"-01", 2},
		{"0.5", 3},
		{"1.25e10", 7},
		{"1E+2", 4},
		{"1e-07]", 5},
		{"-0.0E0", 6},
		{"1.2.3", 3},
		{"1 2", 1},
		{"", 0},
		{"-", 0},
		{"+1", 0},
		{".5", 0},
		{"1.", 0},
		{"1.e2", 0},
		{"1e", 0},
		{"1e+", 0},
		{"-.5", 0},
		{"x", 0},
		{"Infinity", 0},
		{"--1", 0},
		{"1.x", 0},
		{"1e/", 0},
		{":", 0},
	} {
		if n := jsonlex.Number(tt.in); n != tt.n {
			t.Errorf("Number(%q) = %d, want %d", tt.in, n, tt.n)
		}
		if n := jsonlex.Number([]byte(tt.in)); n != tt.n {
			t.Errorf("Number(%q) of bytes = %d, want %d", tt.in, n, tt.n)
		}
	}
}

// FuzzEscape and FuzzNumber hold what was read to the standard library.
func FuzzEscape(f *testing.F) {
	f.Add(`\n`)
	f.Add(`\ud83d\ude00`)
	f.Add(`\ud83d\u0041`)
	f.Fuzz(func(t *testing.T, s string) {
		r, n, ok := jsonlex.Escape(s)
		if !ok {
			if strings.HasPrefix(s, `\`) && len(s) >= 2 {
				// No text that goes on so is a string.
				if end := 2; json.Valid(fmt.Appendf(nil, `"%s"`, s[:end])) || len(s) >= 6 && json.Valid(fmt.Appendf(nil, `"%s"`, s[:6])) {
					t.Fatalf("%q: no escape", s)
				}
			}
			return
		}
		var want string
		if err := json.Unmarshal(fmt.Appendf(nil, `"%s"`, s[:n]), &want); err != nil || want != string(r) {
			t.Fatalf("%q: %q of %d bytes, want %q, %v", s, r, n, want, err)
		}
	})
}

func FuzzNumber(f *testing.F) {
	f.Add("-12.5e+7,")
	f.Add("01")
	f.Fuzz(func(t *testing.T, s string) {
		n := jsonlex.Number(s)
		if n > 0 && !json.Valid([]byte(s[:n])) {
			t.Fatalf("%q: %q is no number", s, s[:n])
		}
		// No longer front of it is one.
		for end := n + 1; end <= len(s) && end < n+8; end++ {
			if c := s[0]; (c == '-' || c >= '0' && c <= '9') && strings.TrimSpace(s[:end]) == s[:end] && json.Valid([]byte(s[:end])) && !strings.HasPrefix(s[n:], ".") && n > 0 {
				t.Fatalf("%q: %d bytes, but %q is a number", s, n, s[:end])
			}
		}
	})
}
