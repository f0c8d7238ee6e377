package transform_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/streamkit/streamkit/agent/internal/transform"
)

// FuzzCSVToJSON compares a delimiter that is plain text with the same one as a
// regular expression, and both with the rule of Java's String.split told plainly.
func FuzzCSVToJSON(f *testing.F) {
	for _, line := range []string{"", ",", "a,b,,", ",,a", "a;;b;;;", "é,\"\xff"} {
		f.Add(line)
	}
	names := []string{"0", "1", "2", "3"}
	f.Fuzz(func(t *testing.T, line string) {
		for _, d := range []string{",", ";;"} {
			columns := strings.Split(line, d)
			for len(columns) > 1 && columns[len(columns)-1] == "" {
				columns = columns[:len(columns)-1]
			}
			if strings.Contains(line, d) && len(columns) == 1 && columns[0] == "" {
				columns = nil
			}
			text, _ := one(csv(t, d, false, names...), line+"\n", &transform.Record{})
			expr, _ := one(csv(t, "(?:"+regexp.QuoteMeta(d)+"){1}?", false, names...), line+"\n", &transform.Record{})
			if text != expr {
				t.Fatalf("%q at %q: %s, and as a regular expression %s", line, d, text, expr)
			}
			var got map[string]*string
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("%q becomes %s: %v", line, text, err)
			}
			for i, name := range names {
				v := got[name]
				if (v == nil) != (i >= len(columns)) {
					t.Fatalf("%q at %q becomes %s, want the columns %q", line, d, text, columns)
				}
				if v != nil && utf8.ValidString(line) && *v != columns[i] {
					t.Fatalf("%q at %q: column %d is %q, want %q", line, d, i, *v, columns[i])
				}
			}
		}
	})
}

// FuzzSingleLine compares with the same in the words of the standard library.
func FuzzSingleLine(f *testing.F) {
	for _, text := range []string{"", "\n", " a \n\x00b\t\n\n", "é\n\u00a0x", "\xff\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // options_test.go has what becomes of it
		}
		pieces := strings.Split(text, "\n")
		for len(pieces) > 0 && pieces[len(pieces)-1] == "" {
			pieces = pieces[:len(pieces)-1]
		}
		trimmed := make([]string, len(pieces))
		for i, p := range pieces {
			trimmed[i] = strings.TrimFunc(p, func(r rune) bool { return r <= ' ' })
		}
		for _, tt := range []struct {
			option transform.SingleLine
			want   string
		}{
			{transform.SingleLine{}, strings.Join(trimmed, "")},
			{transform.SingleLine{NoTrim: true}, strings.Join(pieces, "")},
			{transform.SingleLine{EscapeNewLine: true}, strings.Join(trimmed, `\\n`)},
		} {
			if got, _ := one(tt.option, text, &transform.Record{}); got != tt.want+"\n" {
				t.Errorf("%+v: %q becomes %q, want %q", tt.option, text, got, tt.want+"\n")
			}
		}
	})
}
