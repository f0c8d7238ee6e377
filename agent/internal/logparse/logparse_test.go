package logparse_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/agent/internal/logparse"
)

// The formats as regular expressions, with Java's meaning of a dot.
const (
	integer  = `(?:[+-]?[0-9]+)`
	host     = `(?:[\w-]+(?:\.[\w-]+)*\.?|[\d.]+)`
	user     = `[a-zA-Z0-9._-]+`
	any1     = `[^\n\r\x{85}\x{2028}\x{2029}]`
	blank    = `[ \t\n\x0B\f\r]`
	monthDay = `(?:0[1-9]|[12][0-9]|3[01]|[1-9])`
	month    = `(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:tember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)`
	day      = `(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)`
	clock    = `(?:2[0-3]|[01]?[0-9]):[0-5][0-9]:(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?`
	year     = `[1-9]\d*`
	common   = `(` + host + `) (` + user + `) (` + user + `) \[(` + monthDay + `/` + month + `/` + year + `:` + clock + blank + integer +
		`)\] "([^"]+)" (` + integer + `|-) (` + integer + `|-)`
	prog       = `(?:<[0-9]+` + any1 + `[0-9]+> )?(` + user + `) ([\w./%-]+)(?:\[([1-9][0-9]*)\])?: (` + any1 + `*)`
	syslogTime = month + blank + `+` + monthDay + blank + `+` + clock
)

var formats = []struct {
	name  string
	parse func([]byte, *logparse.Fields) bool
	names []string
	re    *regexp.Regexp
}{
	{"COMMONAPACHELOG", logparse.Common, logparse.CommonNames, regexp.MustCompile(`\A` + common + any1 + `*\z`)},
	{"COMBINEDAPACHELOG", logparse.Combined, logparse.CombinedNames, regexp.MustCompile(`\A` + common + ` "([^"]+)" "([^"]+)"` + any1 + `*\z`)},
	{
		"APACHEERRORLOG", logparse.Error, logparse.ErrorNames,
		regexp.MustCompile(`\A\[(` + day + blank + `+` + month + blank + `+` + monthDay + blank + `+` + clock + blank + `+` + year +
			`)\] \[(?:(\w+):)?(\w+)\] \[pid (\d+)(?::tid (\d+))?\] \[client (` + host + `(?::[1-9][0-9]*)?)\] (` + any1 + `*)\z`),
	},
	{"SYSLOG", logparse.Syslog, logparse.SyslogNames, regexp.MustCompile(`\A(` + syslogTime + `) ` + prog + `\z`)},
	{
		"RFC3339SYSLOG", logparse.RFC3339Syslog, logparse.SyslogNames,
		regexp.MustCompile(`\A(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[-+]\d{2}:\d{2})) ` + prog + `\z`),
	},
}

// lines are what random lines are made from: the first ones of real logs, others
// with each odd thing that a format allows or does not.
var lines = []string{
	`64.242.88.10 - - [07/Mar/2004:16:10:02 -0800] "GET /mailman/listinfo/hsdivision HTTP/1.1" 200 6291`,
	`www.example.com. user.name a_b-c [1/January/2026:0:59:60,123 +0] "GET / \" x" - -`,
	`127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"`,
	`...1 - - [31/May/1:23:00:6 0] "x" +1 -5rest "a" "b" and "more"`,
	`1.. a b [1/May/99:9:09:9 +1] "-" - -5 "-" "-"after`,
	"a..b - - [31/Dec/2004:16:10:02\t-0800] \"\" 200 -",
	`2001:db8::1 - - [07/Mar/2004:16:10:02 -0800] "GET / HTTP/1.1" 200 6291`,
	"h - - [07/Mar/2004:16:10:02 -0800] \"two\nlines\" 200 1 \"r\ru\" \"a\u2028\"\u0085",
	`[Wed Oct 11 14:32:52.123456 2000] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187:80] File does not exist: /favicon.ico`,
	`[Tuesday  August 01 4:32:05 2026] [error] [pid 0] [client host-1.example.] `,
	"[Fri Jun\x0b9 14:32:52:1 2000] [_1:e] [pid 1:tid 2] [client 1.2.3.4:0] m",
	`Mar 12 12:00:08 server2 rcd[308]: Loaded 12 packages in 'ximian-red-carpet|351' (0.01878 seconds)`,
	`December  1 2:00:60.5 <34> a.b-c_d kernel/x%1: `,
	"Jan 31 23:59:59 <1>2> host p[1]: a\tb",
	`2026-01-02T03:04:05.678+01:00 <123> host app.x[77]: message: text`,
	"9999-99-99T99:99:99Z <1\u00e92> h p[0]: m\r",
	`2026-01-02T03:04:05-00:00 h p: `,
}

func compare(t *testing.T, text string) {
	t.Helper()
	for _, f := range formats {
		var got logparse.Fields
		ok := f.parse([]byte(text), &got)
		want := f.re.FindStringSubmatchIndex(text)
		if ok != (want != nil) {
			t.Errorf("%s: %q is one: %t, by the regular expression: %t", f.name, text, ok, want != nil)
			continue
		}
		if !ok {
			continue
		}
		for i, name := range f.names {
			start, end := want[2*i+2], want[2*i+3]
			switch {
			case start < 0 && got[i] != nil:
				t.Errorf("%s: %q: %s is %q, want none", f.name, text, name, got[i])
			case start >= 0 && (got[i] == nil || string(got[i]) != text[start:end]):
				t.Errorf("%s: %q: %s is %q, want %q", f.name, text, name, got[i], text[start:end])
			}
		}
	}
}

// Each line, and lines that differ from one in a few places, are taken apart as the
// regular expressions do it.
func TestAgainstRegularExpressions(t *testing.T) {
	matched := make(map[string]int)
	for _, text := range lines {
		compare(t, text)
		for _, f := range formats {
			if f.re.MatchString(text) {
				matched[f.name]++
			}
		}
	}
	for _, f := range formats {
		if matched[f.name] < 2 {
			t.Errorf("%d lines are %s, too few to say much", matched[f.name], f.name)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"", " ", "0", "1", "6", "60", "31", "32", "-", ".", ":", "\"", "[", "]", "<1>", "a", "Mar", "May", "/", "\r", "\n", "\u0085", "\u2029", "\xff", "\x0b", "%"}
	for range 40_000 {
		b := []byte(lines[rng.IntN(len(lines))])
		for range 1 + rng.IntN(2) {
			i := rng.IntN(len(b) + 1)
			j := min(len(b), i+rng.IntN(3))
			b = append(b[:i:i], pieces[rng.IntN(len(pieces))]+string(b[j:])...)
		}
		compare(t, string(b))
		if t.Failed() {
			return
		}
	}
}

// FuzzFormats is the same for any text.
func FuzzFormats(f *testing.F) {
	for _, text := range lines {
		f.Add(text)
	}
	f.Fuzz(compare)
}

func TestNoAllocations(t *testing.T) {
	for _, f := range formats {
		var fields logparse.Fields
		var all [][]byte
		for _, text := range lines {
			all = append(all, []byte(text))
		}
		if allocs := testing.AllocsPerRun(100, func() {
			for _, b := range all {
				f.parse(b, &fields)
			}
		}); allocs != 0 {
			t.Errorf("%s: %v allocations", f.name, allocs)
		}
	}
}

func BenchmarkCombined(b *testing.B) {
	text := []byte(lines[2] + strings.Repeat("x", 40))
	var f logparse.Fields
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if !logparse.Combined(text, &f) {
			b.Fatal("no match")
		}
	}
}
