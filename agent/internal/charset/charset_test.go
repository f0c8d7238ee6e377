package charset_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/streamkit/streamkit/agent/internal/charset"
)

func wide(s string, order binary.AppendByteOrder) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return b
}

func TestAppend(t *testing.T) {
	for _, tt := range []struct {
		name     string
		enc      charset.Encoding
		in, want string
	}{
		{"bytes", charset.Bytes, "\xff\x00\xef\xbb\xbf", "\xff\x00\xef\xbb\xbf"},
		{"UTF-8", charset.UTF8, "é😀\x00", "é😀\x00"},
		{"no UTF-8", charset.UTF8, "a\xff\xe2\x82b", "a\ufffd\ufffd\ufffdb"},
		{"UTF-16, little end first", charset.UTF16LE, "a\x00\xe9\x00\xac\x20\x3d\xd8\x00\xde", "aé€😀"},
		{"UTF-16, big end first", charset.UTF16BE, "\x00a\x00\xe9\x20\xac\xd8\x3d\xde\x00", "aé€😀"},
		{"halves of pairs", charset.UTF16LE, "\x3d\xd8a\x00\x00\xde\x3d\xd8", "\ufffda\ufffd\ufffd"},
		{"half a character", charset.UTF16LE, "a\x00b", "a\ufffd"},
		{"Latin-1", charset.Latin1, "a\xe9\x80\xff", "aé\u0080ÿ"},
		{"Windows", charset.Windows1252, "a\xe9\x80\x81\xff", "aé€\u0081ÿ"},
	} {
		if got := string(tt.enc.Append([]byte("x"), []byte(tt.in))); got != "x"+tt.want {
			t.Errorf("%s: %q is %q, want %q", tt.name, tt.in, got, "x"+tt.want)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		want       charset.Encoding
		mark       int
	}{
		{"auto", "\xff\xfea\x00", charset.UTF16LE, 2},
		{"auto", "\xfe\xff\x00a", charset.UTF16BE, 2},
		{"auto", "\xef\xbb\xbfa", charset.UTF8, 3},
		{"auto", "abcd", charset.Bytes, 0},
		{"auto", "", charset.Bytes, 0},
		{"UTF-16", "\xfe\xff", charset.UTF16BE, 2},
		{"utf-16", "a\x00", charset.UTF16LE, 0},
		{"utf-16be", "\xfe\xff", charset.UTF16BE, 2},
		{"utf-16be", "\xff\xfe", charset.UTF16BE, 0},
		{"utf-8", "\xef\xbb\xbfa", charset.UTF8, 3},
		{"Latin-1", "\xef\xbb\xbf", charset.Latin1, 0},
		{"windows-1252", "a", charset.Windows1252, 0},
		{"bytes", "\xef\xbb\xbf", charset.Bytes, 0},
	} {
		enc, err := charset.Parse(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if got, mark := enc.Detect([]byte(tt.head)); got != tt.want || mark != tt.mark {
			t.Errorf("%s, %q: %v with a mark of %d bytes, want %v, %d", tt.name, tt.head, got, mark, tt.want, tt.mark)
		}
	}
	if _, err := charset.Parse("big5"); err == nil || !strings.Contains(err.Error(), "none of bytes, utf-8, utf-16, utf-16le") {
		t.Errorf("error %v", err)
	}
}

func TestBoundary(t *testing.T) {
	for _, tt := range []struct {
		enc         charset.Encoding
		text        string
		limit, want int
	}{
		{charset.Bytes, "aé", 2, 1},
		{charset.Bytes, "aé", 3, 3},
		{charset.Bytes, "a😀b", 4, 1},
		{charset.Bytes, "a😀b", 5, 5},
		{charset.Bytes, "\xe9\x80\x80\x80\x80\x80\x80", 5, 5},
		{charset.Bytes, "abc", 9, 3},
		{charset.Bytes, "abc", 0, 0},
		{charset.UTF16LE, "a\x00\x3d\xd8\x00\xde", 5, 2},
		{charset.UTF16BE, "\x00a\x00b\x00c", 5, 4},
		{charset.Latin1, "\xe9\xe9", 1, 1},
	} {
		if got := tt.enc.Boundary([]byte(tt.text), tt.limit); got != tt.want {
			t.Errorf("%v: %q is cut at %d for %d, want %d", tt.enc, tt.text, got, tt.limit, tt.want)
		}
	}
}

// FuzzWide checks UTF-16 against the standard library, and that lines are found
// where the text has them.
func FuzzWide(f *testing.F) {
	f.Add([]byte("a\x00\n\x00\x00\n\x0a\x0ab\x00\n\x00"), false)
	f.Add([]byte("\x00a\x00\n\n\x00\xd8\x3d\xde\x00"), true)
	f.Fuzz(func(t *testing.T, b []byte, big bool) {
		enc, order := charset.UTF16LE, binary.ByteOrder(binary.LittleEndian)
		if big {
			enc, order = charset.UTF16BE, binary.BigEndian
		}
		var units []uint16
		for i := 0; i+1 < len(b); i += 2 {
			units = append(units, order.Uint16(b[i:]))
		}
		want := string(utf16.Decode(units))
		if len(b)%2 == 1 {
			want += "\ufffd"
		}
		if got := enc.Append(nil, b); string(got) != want {
			t.Errorf("%q is %q, want %q", b, got, want)
		}
		var lines []byte
		last := -1
		for i := 0; ; {
			n := enc.LineEnd(b[i:], i%2 == 1)
			if n < 0 {
				lines = enc.Append(lines, b[i:])
				break
			}
			line := enc.Append(nil, b[i:i+n])
			if bytes.IndexByte(line, '\n') != len(line)-1 {
				t.Fatalf("the line %q of %q has not one newline, at its end", line, b)
			}
			lines = append(lines, line...)
			i += n
			last = i
		}
		if string(lines) != want {
			t.Errorf("%q in lines is %q, want %q", b, lines, want)
		}
		if got := enc.LastLineEnd(b, false); got != last {
			t.Errorf("the last line of %q ends at %d, want %d", b, got, last)
		}
		// Found from the middle of a character too.
		if len(b) > 0 {
			all, rest := enc.LastLineEnd(b, false), enc.LastLineEnd(b[1:], true)
			if all > 2 && rest != all-1 {
				t.Errorf("the last line of %q without its first byte ends at %d, want %d", b, rest, all-1)
			}
		}
	})
}

func TestASCIIIsTheSameEverywhere(t *testing.T) {
	text := "2026-01-02 a line\n"
	for _, tt := range []struct {
		enc charset.Encoding
		in  []byte
	}{
		{charset.UTF8, []byte(text)},
		{charset.Latin1, []byte(text)},
		{charset.Windows1252, []byte(text)},
		{charset.UTF16LE, wide(text, binary.LittleEndian)},
		{charset.UTF16BE, wide(text, binary.BigEndian)},
	} {
		dst := make([]byte, 0, 100)
		if allocs := testing.AllocsPerRun(10, func() { dst = tt.enc.Append(dst[:0], tt.in) }); allocs != 0 || string(dst) != text {
			t.Errorf("%v: %q, %v allocations", tt.enc, dst, allocs)
		}
		if !utf8.Valid(dst) {
			t.Errorf("%v: no UTF-8", tt.enc)
		}
	}
}
