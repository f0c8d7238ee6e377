package javaprops_test

import (
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/streamkit/streamkit/internal/javaprops"
)

func TestParse(t *testing.T) {
	type p = javaprops.Property
	for _, tt := range []struct {
		name, in string
		want     []p
		err      string
	}{
		{name: "nothing"},
		{name: "blank lines and comments", in: "\n  \t\n# one\n  ! two = 2\r\n\r#three\\\na=1", want: []p{{"a", "1", 7}}},
		{name: "separators", in: "a=1\nb:2\nc 3\nd = 4\ne\t:\t5\nf  6 = 7\ng==8\nh", want: []p{
			{"a", "1", 1}, {"b", "2", 2}, {"c", "3", 3}, {"d", "4", 4}, {"e", "5", 5}, {"f", "6 = 7", 6}, {"g", "=8", 7}, {"h", "", 8},
		}},
		{name: "the end of a value is kept", in: "a = x  \n", want: []p{{"a", "x  ", 1}}},
		{name: "empty key", in: "= x", want: []p{{"", "x", 1}}},
		{name: "continuation", in: "a = one,\\\n   two,\\\r\n\tthree\nb=\\\\\nc=\\\\\\\n  d\n", want: []p{
			{"a", "one,two,three", 1}, {"b", `\`, 4}, {"c", `\d`, 5},
		}},
		{name: "a comment does not continue one", in: "a=1\\\n#2\n", want: []p{{"a", "1#2", 1}}},
		{name: "continuation at the end", in: "a=1\\", want: []p{{"a", "1", 1}}},
		{name: "escapes", in: `a\ b\=c\:d = \t\n\r\f\q\"\\` + "\n", want: []p{{"a b=c:d", "\t\n\r\fq\"\\", 1}}},
		{name: "unicode escapes", in: `k = \u00e9\u20AC\ud83d\ude00`, want: []p{{"k", "é€😀", 1}}},
		{name: "latin 1", in: "k=\xe9", want: []p{{"k", "é", 1}}},
		{name: "twice", in: "a=1\na=2", want: []p{{"a", "1", 1}, {"a", "2", 2}}},
		{name: "continued by a blank line", in: "\\\n  \n#x\nc=d", want: []p{{"c", "d", 4}}},
		{name: "not hexadecimal", in: "a=1\nb=\\u00zz", err: "line 2: \\u is not followed"},
		{name: "several", in: "a=\\u\nb=1\nc=\\u+123", err: "line 3"},
		{name: "cut short", in: `b=\u00e`, err: "line 1"},
		{name: "cut short in a key", in: `\u`, err: "line 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := javaprops.Parse([]byte(tt.in))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("%v, want an error that names %s", err, tt.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

func TestRead(t *testing.T) {
	if got, err := javaprops.Read(iotest.OneByteReader(strings.NewReader("a=1"))); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := javaprops.Read(strings.NewReader(strings.Repeat("a=1\n", 1<<18+1))); err == nil {
		t.Error("no limit")
	}
	if _, err := javaprops.Read(iotest.ErrReader(iotest.ErrTimeout)); err == nil {
		t.Error("an error of the reader is lost")
	}
}

// FuzzParse: no input breaks it, and what was read can be written, and read to
// the same again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("# c\na = 1\\\n 2\nb:\\u0041\nc d"))
	f.Add([]byte("\\"))
	f.Add([]byte("a\\"))
	f.Add([]byte("\r\n\\\r\n=\xff\\uD800"))
	f.Fuzz(func(t *testing.T, data []byte) {
		props, err := javaprops.Parse(data)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, p := range props {
			b.WriteString(escape(p.Key) + "=" + escape(p.Value) + "\n")
		}
		again, err := javaprops.Parse([]byte(b.String()))
		if err != nil || len(again) != len(props) {
			t.Fatalf("%+v, %v", again, err)
		}
		for i, p := range props {
			if again[i].Key != p.Key || again[i].Value != p.Value {
				t.Errorf("%+v became %+v", p, again[i])
			}
		}
	})
}

// escape writes every character as an escape of its own.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 && r != 'u' && !strings.ContainsRune("tnrf\r\n", r) {
			b.WriteByte('\\')
			b.WriteRune(r)
			continue
		}
		const hex = "0123456789abcdef"
		units := []rune{r}
		if r > 0xffff {
			r -= 0x10000
			units = []rune{0xd800 + r>>10, 0xdc00 + r&0x3ff}
		}
		for _, u := range units {
			b.WriteString(`\u`)
			for shift := 12; shift >= 0; shift -= 4 {
				b.WriteByte(hex[u>>shift&0xf])
			}
		}
	}
	return b.String()
}
