package transform_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/streamkit/streamkit/agent/internal/transform"
)

func csv(t *testing.T, o transform.CSVToJSON) transform.Option {
	t.Helper()
	if err := o.Init(); err != nil {
		t.Fatal(err)
	}
	return &o
}

func TestOptions(t *testing.T) {
	abc := []string{"a", "b", "c"}
	for _, tt := range []struct {
		name, in, want string
		option         transform.Option
	}{
		{"single line", "a  \n\tb\n", "ab\n", transform.SingleLine{}},
		{"single line of one line", " a b \n", "a b\n", transform.SingleLine{}},
		{"single line, empty pieces", "a\n\nb\n\n\n", "ab\n", transform.SingleLine{}},
		{"single line, no trim", "a \n b\n", "a  b\n", transform.SingleLine{NoTrim: true}},
		{"single line, escaped", "a\nb\n", `a\\nb` + "\n", transform.SingleLine{EscapeNewLine: true}},
		{"csv", "1,x y,\"q\"\n", `{"a":"1","b":"x y","c":"\"q\""}` + "\n", csv(t, transform.CSVToJSON{Fields: abc, Delimiter: ","})},
		{"csv, missing columns", "1\n", `{"a":"1","b":null,"c":null}` + "\n", csv(t, transform.CSVToJSON{Fields: abc, Delimiter: ","})},
		{"csv, surplus columns", "1,2,3,4\n", `{"a":"1","b":"2","c":"3"}` + "\n", csv(t, transform.CSVToJSON{Fields: abc, Delimiter: ","})},
		{"csv, inner and trailing empties", ",2,\n", `{"a":"","b":"2","c":null}` + "\n", csv(t, transform.CSVToJSON{Fields: abc, Delimiter: ","})},
		{"csv, all empty", ",,\n", `{"a":null,"b":null,"c":null}` + "\n", csv(t, transform.CSVToJSON{Fields: abc, Delimiter: ","})},
		{"csv, empty line", "\n", `{"a":"","b":null,"c":null}` + "\n", csv(t, transform.CSVToJSON{Fields: abc, Delimiter: ","})},
		{"csv, a bar is a regular expression", "xyz\n", `{"a":"x","b":"y","c":"z"}` + "\n", csv(t, transform.CSVToJSON{Fields: abc, Delimiter: "|"})},
		{"csv, tab", "1\t2\n", `{"a":"1","b":"2","c":null}` + "\n", csv(t, transform.CSVToJSON{Fields: abc, Delimiter: `\t`})},
		{"csv, blanks", "1   2 3  \n", `{"a":"1","b":"2","c":"3"}` + "\n", csv(t, transform.CSVToJSON{Fields: abc, Delimiter: ` +`})},
		{"csv, pretty", "1\n", "{\n  \"a\" : \"1\",\n  \"b\" : null\n}\n", csv(t, transform.CSVToJSON{Fields: abc[:2], Delimiter: ",", Pretty: true})},
		{"metadata", "a\tb\n", `{"metadata":{"k":[1]},"data":"a\tb"}` + "\n", transform.AddMetadata{Metadata: []byte(`{"k":[1]}`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, res := tt.option.Append([]byte("before"), []byte(tt.in))
			if string(got) != "before"+tt.want || res != transform.Converted {
				t.Errorf("%q becomes %q, %v, want %q", tt.in, got, res, "before"+tt.want)
			}
		})
	}
}

func TestTimestamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble's clock begins with the year 2000
		got, _ := transform.AddMetadata{Metadata: []byte("1"), Timestamp: true}.Append(nil, []byte("x\n"))
		if want := `{"ts":"2000-01-01T00:00:00.000Z","metadata":1,"data":"x"}` + "\n"; string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestChain(t *testing.T) {
	chain := &transform.Chain{Options: []transform.Option{
		transform.SingleLine{EscapeNewLine: true}, transform.AddMetadata{Metadata: []byte("{}")},
	}}
	got, _, res := chain.Append([]byte("x"), []byte("a\nb\n"), nil)
	if want := `x{"metadata":{},"data":"a\\\\nb"}` + "\n"; string(got) != want || res != transform.Converted {
		t.Errorf("got %s, %v, want %s", got, res, want)
	}
}

// FuzzAppendString checks the encoder against encoding/json.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a\"\\\n\x00\x1f\u2028<>&é", "\xff\xc3("} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := transform.AppendString(nil, b)
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("%q is written as %s: %v", b, got, err)
		}
		if utf8.Valid(b) && back != string(b) {
			t.Errorf("%q is written as %s and read as %q", b, got, back)
		}
	})
}
