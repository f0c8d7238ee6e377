package transform_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/streamkit/streamkit/agent/internal/container"
	"github.com/streamkit/streamkit/agent/internal/transform"
)

var update = flag.Bool("update", false, "write the golden files anew")

func must[T any](t testing.TB) func(o T, err error) T {
	return func(o T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
}

func csv(t testing.TB, delimiter string, pretty bool, fields ...string) transform.Option {
	t.Helper()
	return must[*transform.CSVToJSON](t)(transform.NewCSVToJSON(fields, delimiter, pretty))
}

func logs(t testing.TB, format, pattern string, pretty bool, fields ...string) transform.Option {
	t.Helper()
	return must[*transform.LogToJSON](t)(transform.NewLogToJSON(format, pattern, fields, pretty))
}

// one runs a single option.
func one(o transform.Option, in string, from *transform.Record) (string, transform.Result) {
	out, res := o.Append([]byte("before"), []byte(in), from)
	return strings.TrimPrefix(string(out), "before"), res
}

func TestOptions(t *testing.T) {
	c := func(delimiter string) transform.Option { return csv(t, delimiter, false, "a", "b", "c") }
	for _, tt := range []struct {
		name, in, want string
		option         transform.Option
	}{
		{"single line", "a  \n\tb\n", "ab\n", transform.SingleLine{}},
		{"single line of one line", " a b \n", "a b\n", transform.SingleLine{}},
		{"single line, empty pieces", "a\n\nb\n\n\n", "ab\n", transform.SingleLine{}},
		{"single line, nothing", "\n", "\n", transform.SingleLine{}},
		{"single line, no newline", "a\n b", "ab\n", transform.SingleLine{}},
		{"single line, carriage returns", "a\r\nb\r\n", "ab\n", transform.SingleLine{}},
		{"single line, NUL is trimmed and a wide blank is not", "\x00a\u00a0\nb\n", "a\u00a0b\n", transform.SingleLine{}},
		{"single line, no UTF-8", "a\xff\n\xe9\n", "a\ufffd\ufffd\n", transform.SingleLine{}},
		{"single line, no trim", "a \n b\n", "a  b\n", transform.SingleLine{NoTrim: true}},
		{"single line, escaped with three characters", "a\nb\n", `a\\nb` + "\n", transform.SingleLine{EscapeNewLine: true}},
		{"csv", "1,x y,\"q\"\n", `{"a":"1","b":"x y","c":"\"q\""}` + "\n", c(",")},
		{"csv, nothing is trimmed", " 1 ,2\r\n", `{"a":" 1 ","b":"2\r","c":null}` + "\n", c(",")},
		{"csv, missing columns", "1\n", `{"a":"1","b":null,"c":null}` + "\n", c(",")},
		{"csv, surplus columns", "1,2,3,4\n", `{"a":"1","b":"2","c":"3"}` + "\n", c(",")},
		{"csv, inner and trailing empties", ",2,\n", `{"a":"","b":"2","c":null}` + "\n", c(",")},
		{"csv, all empty", ",,\n", `{"a":null,"b":null,"c":null}` + "\n", c(",")},
		{"csv, empty line", "\n", `{"a":"","b":null,"c":null}` + "\n", c(",")},
		{"csv, a bar is a regular expression", "xyz\n", `{"a":"x","b":"y","c":"z"}` + "\n", c("|")},
		{"csv, an escaped bar", "x|y\n", `{"a":"x","b":"y","c":null}` + "\n", c(`\|`)},
		{"csv, a dot is any character", "x.y\n", `{"a":null,"b":null,"c":null}` + "\n", c(".")},
		{"csv, tab", "1\t2\n", `{"a":"1","b":"2","c":null}` + "\n", c(`\t`)},
		{"csv, blanks", "1   2 3  \n", `{"a":"1","b":"2","c":"3"}` + "\n", c(` +`)},
		{"csv, delimiters that overlap", "1;;;\n", `{"a":"1","b":";","c":null}` + "\n", c(`;;`)},
		{"csv, an anchored delimiter splits once", ",,1,2\n", `{"a":"","b":",1,2","c":null}` + "\n", c(`^,`)},
		{"csv, regular expression and empties", ";1:\n", `{"a":"","b":"1","c":null}` + "\n", c(`[:;]`)},
		{"csv, pretty", "1\n", "{\n  \"a\" : \"1\",\n  \"b\" : null\n}\n", csv(t, ",", true, "a", "b")},
		{"csv, a name twice", "1,2,3\n", `{"a":"3","b":"2"}` + "\n", csv(t, ",", false, "a", "b", "a")},
		{"csv, names and values that need escapes", "<é>\"\x01\n", `{"k\"":"<é>\"\u0001"}` + "\n", csv(t, ",", false, `k"`)},
		{"metadata", "a\tb\n", `{"metadata":{"k":[1]},"data":"a\tb"}` + "\n", transform.AddMetadata{Metadata: []byte(`{"k":[1]}`)}},
		{
			"metadata, pretty", "x\n", "{\n  \"metadata\" : {\n    \"k\" : [ 1, true ]\n  },\n  \"data\" : \"x\"\n}\n",
			transform.AddMetadata{Metadata: []byte(`{"k":[1,true]}`), Pretty: true},
		},
		{"brackets", "\"a\":1\n", "{\"a\":1\n}", transform.AddBrackets{}},
		{
			"fields kept and renamed", `{"a": 1, "b":{"x" : [ ]},"c":null}` + "\n", `{"A":1,"b":{"x":[]}}` + "\n",
			&transform.JSONFields{Keep: []string{"a", "b"}, Rename: map[string]string{"a": "A"}},
		},
		{"fields dropped", `{"a":1,"\u0062":2}` + "\n", `{"a":1}` + "\n", &transform.JSONFields{Drop: []string{"b"}}},
		{"no field left", `{"a":1}` + "\n", "{}\n", &transform.JSONFields{Drop: []string{"a"}}},
		{"a line that is looked for", "an error\n", "an error\n", &transform.Grep{Include: []*regexp.Regexp{regexp.MustCompile("error")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, res := one(tt.option, tt.in, &transform.Record{})
			if got != tt.want || res != transform.Converted {
				t.Errorf("%q becomes %q, %v, want %q", tt.in, got, res, tt.want)
			}
		})
	}
}

func TestNotConverted(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		option   transform.Option
		want     transform.Result
	}{
		{"no log line", "hello\n", logs(t, "SYSLOG", "", false), transform.Skipped},
		{"a prefix only", "ab\n", logs(t, "", "(a)", false, "x"), transform.Skipped},
		{"not looked for", "x\n", &transform.Grep{Include: []*regexp.Regexp{regexp.MustCompile("y")}}, transform.Filtered},
		{"left out", "x y\n", &transform.Grep{Exclude: []*regexp.Regexp{regexp.MustCompile("y$")}}, transform.Filtered},
		{"no object", "[1]\n", &transform.JSONFields{}, transform.Failed},
		{"half an object", `{"a":1` + "\n", &transform.JSONFields{}, transform.Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, res := one(tt.option, tt.in, &transform.Record{})
			if got != "" && res != transform.Failed || res != tt.want {
				t.Errorf("%q becomes %q, %v, want %v", tt.in, got, res, tt.want)
			}
		})
	}
}

// The first one is the vector of the AWS developer guide, Use the agent to
// pre-process data; the others follow from the patterns of the official agent.
func TestLogToJSON(t *testing.T) {
	golden := filepath.Join("testdata", "logtojson.golden")
	var b strings.Builder
	for _, tt := range []struct {
		option transform.Option
		name   string
		lines  []string
	}{
		{logs(t, "COMMONAPACHELOG", "", false), "COMMONAPACHELOG", []string{
			`64.242.88.10 - - [07/Mar/2004:16:10:02 -0800] "GET /mailman/listinfo/hsdivision HTTP/1.1" 200 6291`,
			`h - - [07/Mar/2004:16:10:02 -0800] "GET /" 200 - "combined" "agent" and more`,
			"h - - [07/Mar/2004:16:10:02 -0800] \"GET /\" 200 1\r",
			`2001:db8::1 - - [07/Mar/2004:16:10:02 -0800] "GET /" 200 1`,
			`h - - [07/Mar/2004:16:10:02 -0800] "" 200 1`,
		}},
		{logs(t, "COMBINEDAPACHELOG", "", false), "COMBINEDAPACHELOG", []string{
			`127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"`,
			`127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" - - "-" "-"`,
		}},
		{logs(t, "APACHEERRORLOG", "", false), "APACHEERRORLOG", []string{
			`[Wed Oct 11 14:32:52.123456 2000] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187:80] File does not exist: /favicon.ico`,
			`[Wed Oct 11 14:32:52 2000] [error] [pid 1] [client 72.15.99.187] -`,
		}},
		{logs(t, "SYSLOG", "", false), "SYSLOG", []string{
			`Mar 12 12:00:08 server2 rcd[308]: Loaded 12 packages`,
			`Mar  1 2:00:08.123 <13.2> - kernel: "-"`,
		}},
		{logs(t, "RFC3339SYSLOG", "", false), "RFC3339SYSLOG", []string{
			`2026-01-02T03:04:05.678+01:00 host app[77]: message`,
		}},
		{logs(t, "SYSLOG", "", true, "t", "h", "p", "pid", "m"), "SYSLOG with names, pretty", []string{`Mar 12 12:00:08 h p: m`}},
		{logs(t, "COMMONAPACHELOG", `(\S+)(?: (\S+))? ?(.*)`, false, "a", "b", "c"), "a pattern with the rule of Apache", []string{"-", "x - é", "- y - z"}},
		{logs(t, "", `(\S+)(?: (\S+))?`, false, "a", "b"), "a pattern", []string{"-", "x -", "x y\r", "x y z"}},
	} {
		b.WriteString("# " + tt.name + "\n")
		for _, line := range tt.lines {
			got, res := one(tt.option, line+"\n", &transform.Record{})
			if res != transform.Converted {
				got = "(skipped)\n"
			}
			b.WriteString("> " + strings.ReplaceAll(line, "\r", `\r`) + "\n" + got)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestBadLogToJSON(t *testing.T) {
	for _, tt := range []struct {
		format, pattern string
		fields          []string
		want            string
	}{
		{"", "", nil, "logFormat: missing; it is one of COMMONAPACHELOG"},
		{"SYSLOGS", "", nil, `logFormat: "SYSLOGS" is none of`},
		{"SYSLOG", "", []string{"a"}, "customFieldNames: 1 names for the 5 fields of SYSLOG (timestamp, hostname"},
		{"SYSLOG", "(a)", nil, "customFieldNames: missing"},
		{"SYSLOG", "(a)(b)", []string{"a"}, "customFieldNames: 1 names for 2 groups"},
		{"SYSLOG", "(?=a)", []string{}, "matchPattern: (?= at character 1 of the pattern: lookaround"},
	} {
		_, err := transform.NewLogToJSON(tt.format, tt.pattern, tt.fields, false)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s, %q: error %v, want %q", tt.format, tt.pattern, tt.fields, err, tt.want)
		}
	}
}

func TestTimestamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble's clock begins with the year 2000
		got, _ := one(transform.AddMetadata{Metadata: []byte("1"), Timestamp: true}, "x\n", &transform.Record{})
		if want := `{"ts":"2000-01-01T00:00:00.000Z","metadata":1,"data":"x"}` + "\n"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestAddFileInfo(t *testing.T) {
	o := &transform.AddFileInfo{Host: "h"}
	file := transform.Record{Path: `/var/log/a "b".log`, Offset: 12, Inode: 34}
	pod := transform.Record{
		Path: "/p", Container: &container.Source{Namespace: "ns", Pod: "web-1", Container: "nginx"}, Stream: "stderr",
		Time: []byte("2026-01-02T03:04:05.6Z"),
	}
	for _, tt := range []struct {
		name, in, want string
		from           transform.Record
	}{
		{"text", "a \"line\"\n", `{"file":{"path":"/var/log/a \"b\".log","offset":12,"inode":34,"host":"h"},"data":"a \"line\""}`, file},
		{"object", `{"x": 1,"file":2}` + "\n", `{"x":1,"file":{"path":"/var/log/a \"b\".log","offset":12,"inode":34,"host":"h"}}`, file},
		{
			"container", `{"x":1}` + "\n", `{"x":1,"file":{"path":"/p","offset":0,"inode":0,"host":"h"},` +
				`"kubernetes":{"namespace":"ns","pod":"web-1","container":"nginx","stream":"stderr","time":"2026-01-02T03:04:05.6Z"}}`, pod,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // memory that is used again must not shine through
				if got, res := one(o, tt.in, &tt.from); got != tt.want+"\n" || res != transform.Converted {
					t.Errorf("got %s, %v, want %s", got, res, tt.want)
				}
			}
		})
	}
}
