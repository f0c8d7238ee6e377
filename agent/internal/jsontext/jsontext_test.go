package jsontext_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/streamkit/streamkit/agent/internal/jsontext"
)

func TestAppendString(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", `""`},
		{"plain", "abcdefgh ijklmnop", `"abcdefgh ijklmnop"`},
		{"quote in the ninth place", `12345678"x`, `"12345678\"x"`},
		{"backslash", `a\b`, `"a\\b"`},
		{"short escapes", "\b\t\n\f\r", `"\b\t\n\f\r"`},
		{"other controls, upper-case hex", "\x00\x1f\x0b", `"\u0000\u001F\u000B"`},
		{"delete is written raw", "\x7f", "\"\x7f\""},
		{"raw", "/<>&é\u2028\u2029😀", "\"/<>&é\u2028\u2029😀\""},
		{"no UTF-8", "a\xff\xc3(", "\"a\ufffd\ufffd(\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := jsontext.AppendString(nil, []byte(tt.in)); string(got) != tt.want {
				t.Errorf("%q is written %s, want %s", tt.in, got, tt.want)
			}
		})
	}
}

// FuzzAppendString checks the encoder against encoding/json.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a\"\\\n\x00\x1f\u2028<>&é", "\xff\xc3(", "12345678\x7f2345678\x80", "\\\\\\\\\\\\\\\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := jsontext.AppendString(nil, b)
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("%q is written as %s: %v", b, got, err)
		}
		if utf8.Valid(b) && back != string(b) {
			t.Errorf("%q is written as %s and read as %q", b, got, back)
		}
	})
}

func TestAppendValuePretty(t *testing.T) {
	const in = `{"a" : [1, {"b":"\u00e9\/"} ,[]],"c":{ },"d":{"e":null}}`
	for _, tt := range []struct {
		name, want string
		pretty     bool
	}{
		{"compact", `{"a":[1,{"b":"é/"},[]],"c":{},"d":{"e":null}}`, false},
		{"pretty", "{\n  \"a\" : [ 1, {\n    \"b\" : \"é/\"\n  }, [ ] ],\n  \"c\" : { },\n  \"d\" : {\n    \"e\" : null\n  }\n}", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := jsontext.AppendValue(nil, []byte(in), tt.pretty, 0, nil); string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// FuzzObject checks what counts as an object, its members and what is written of
// them against encoding/json.
func FuzzObject(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { "a" : 1 , "b":[true,false,null,-0.5e+3] } `, `{"a":{"b":[[]]}}`, `{"\u0061\n":"\ud83d\ude00\ud83d"}`,
		`[]`, `{"a":01}`, `{"a":1,}`, `{"a"}`, `{"a":1}x`, `{"a":tru}`, "{\"a\":\"\n\"}", `{"a":"\x"}`, `{"a":.5}`, `{"a":"\u12"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := []byte{'{'}
		err := jsontext.Object(b, func(key, value []byte) bool {
			if len(got) > 1 {
				got = append(got, ',')
			}
			got = jsontext.AppendString(got, jsontext.AppendUnescaped(nil, key))
			got = append(got, ':')
			got, _ = jsontext.AppendValue(got, value, false, 0, nil)
			return true
		})
		got = append(got, '}')
		if !utf8.Valid(b) {
			return // what encoding/json makes of it is another matter
		}
		want := json.Valid(b) && strings.HasPrefix(strings.TrimLeft(string(b), " \t\r\n"), "{")
		if want != (err == nil) {
			t.Fatalf("%q: error %v, for encoding/json an object: %t", b, err, want)
		}
		if err != nil {
			return
		}
		if !same(t, got, b) {
			t.Errorf("%s is written as %s", b, got)
		}
		pretty, _ := jsontext.AppendValue(nil, bytes.TrimSpace(b), true, 0, nil)
		if !same(t, pretty, b) {
			t.Errorf("%s is printed as %s", b, pretty)
		}
	})
}

// same reports whether two texts say the same; what is the same to encoding/json
// twice is compared as it prints it.
func same(t *testing.T, a, b []byte) bool {
	t.Helper()
	var texts [2]string
	for i, text := range [][]byte{a, b} {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(out)
	}
	return texts[0] == texts[1]
}

func TestNoAllocations(t *testing.T) {
	in := []byte(`{"log":"a \"line\" with text\n","stream":"stdout","time":"2026-01-02T03:04:05.678Z"}`)
	dst, n := make([]byte, 0, 1000), 0
	if allocs := testing.AllocsPerRun(100, func() {
		dst = dst[:0]
		_ = jsontext.Object(in, func(key, value []byte) bool {
			n++
			if inside, ok := jsontext.IsString(value); ok && jsontext.Key(key, "log") {
				dst = jsontext.AppendUnescaped(dst, inside)
			}
			dst = jsontext.AppendString(dst, value)
			return true
		})
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if n == 0 {
		t.Error("no member")
	}
}
