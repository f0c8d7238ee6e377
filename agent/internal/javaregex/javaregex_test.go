package javaregex_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/agent/internal/javaregex"
)

// What Java's matches says, from the documentation of java.util.regex.Pattern.
func TestWhole(t *testing.T) {
	for _, tt := range []struct {
		name, pattern string
		yes, no       []string
	}{
		{"the whole text", `a|ab`, []string{"a", "ab"}, []string{"abc", "xa", ""}},
		{"dot", `a.c`, []string{"abc", "aéc", "a\tc"}, []string{"a\nc", "a\rc", "a\u0085c", "a\u2028c", "a\u2029c"}},
		{"dot, all", `(?s)a.c`, []string{"a\nc", "a\rc"}, nil},
		{"dot, all in a group", `(?s:.)b.`, []string{"\nbx"}, []string{"xb\n"}},
		{"flags end with their group", `((?s).)b.`, []string{"\nbx"}, []string{"xb\n"}},
		{"flag off", `(?s)a(?-s).`, []string{"ab"}, []string{"a\n"}},
		{"ignore case", `(?i)AbC`, []string{"aBc"}, []string{"ab"}},
		{"ignore case in a group, Unicode", `(?iu:é)x`, []string{"Éx"}, []string{"ÉX"}},
		{"dollar", `a$`, []string{"a"}, []string{"a\n"}},
		{"space", `\s`, []string{" ", "\t", "\n", "\v", "\f", "\r"}, []string{"\u00a0", "x"}},
		{"no space", `\S+`, []string{"x\u00a0"}, []string{"\v"}},
		{"space in a class", `[\sx]+`, []string{" \vx"}, []string{"y"}},
		{"no space in a class", `[\S ]+`, []string{"x y"}, []string{"\t"}},
		{"horizontal", `\h+`, []string{" \t\u00a0\u3000"}, []string{"\n"}},
		{"vertical", `[\v]+`, []string{"\n\v\f\r\u0085\u2028"}, []string{" "}},
		{"line break", `\R`, []string{"\r\n", "\n", "\u0085"}, []string{"\n\n"}},
		{"quoted", `\Qa.b*\E+`, []string{"a.b*", "a.b**"}, []string{"axb*"}},
		{"quoted to the end", `\Q(`, []string{"("}, nil},
		{"escaped characters", `\-\/\"\ \_\<\é`, []string{`-/" _<é`}, nil},
		{"numbered characters", `\x41\u0042\x{43}\0104\t\e\cA`, []string{"ABCD\t\x1b\x01"}, nil},
		{"surrogates", `\uD83D\uDE00`, []string{"😀"}, nil},
		{"bracket that comes first", `[]a]+`, []string{"]a"}, []string{"b"}},
		{"class of odd characters", `[a\-z.$&~^]+`, []string{"a-z.$&~^"}, []string{"b"}},
		{"POSIX", `\p{Upper}\P{Digit}[\p{Alpha}_]`, []string{"Ax_"}, []string{"ax_", "A1_"}},
		{"category", `\p{Lu}\pL\p{IsL}`, []string{"ÉéÉ"}, []string{"ééé"}},
		{"script", `\p{IsGreek}\p{script=Latin}`, []string{"αa"}, []string{"aα"}},
		{"named group", `(?<first>a)(?<Second2>b)`, []string{"ab"}, nil},
		{"lazy", `a*?b{1,2}?c??`, []string{"aabb", "bc"}, []string{"bbb"}},
		{"a plus behind a bracket", `(a)+`, []string{"aa"}, nil},
		{"multi-line anchors", `(?m)a$\n^b`, []string{"a\nb"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			re, err := javaregex.Whole(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range tt.yes {
				if !re.MatchString(s) {
					t.Errorf("%s, as %s, does not match %q", tt.pattern, re, s)
				}
			}
			for _, s := range tt.no {
				if re.MatchString(s) {
					t.Errorf("%s, as %s, matches %q", tt.pattern, re, s)
				}
			}
		})
	}
}

func TestPrefix(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{`\[`, "[x\n", true},
		{`\[`, " [x\n", false},
		{`a|b`, "xb", false},
		{`^\d+$`, "12\n", true},
		{`^\d+$`, "12\r\n", true},
		{`^\d+\Z`, "12", true},
		{`^\d+$`, "12\nx\n", false},
		{`^\s*$`, "\n", true},
		{`^\S`, "\tat x\n", false},
	} {
		re, err := javaregex.Prefix(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := re.MatchString(tt.text); got != tt.want {
			t.Errorf("%s at the start of %q: %t, want %t", tt.pattern, tt.text, got, tt.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ pattern, construct, what string }{
		{`a(?=b)`, `(?=`, "lookaround"},
		{`a(?!b)`, `(?!`, "lookaround"},
		{`(?<=a)b`, `(?<=`, "lookaround"},
		{`(?<!a)b`, `(?<!`, "lookaround"},
		{`(?>a)`, `(?>`, "atomic"},
		{`a++b`, `++`, "possessive"},
		{`[^"]*+`, `*+`, "possessive"},
		{`a?+`, `?+`, "possessive"},
		{`a{1,2}+`, `{1,2}+`, "possessive"},
		{`(a)\1`, `\1`, "back-references"},
		{`(?<n>a)\k<n>`, `\k`, "back-references"},
		{`(?x)a b`, `(?x)`, "flag"},
		{`(?U)a`, `(?U)`, "flag"},
		{`[a-z&&[^b]]`, `&&`, "classes within classes"},
		{`[a[bc]]`, `[`, "classes within classes"},
		{`\p{javaLowerCase}`, `\p{javaLowerCase}`, "property"},
		{`\p{InGreek}`, `\p{InGreek}`, "property"},
		{`a\G`, `\G`, "anchor"},
		{`a\X`, `\X`, "anchor"},
		{`\y`, `\y`, "escape"},
		{`a{b`, `{`, `\{`},
		{`a{,2}`, `{`, `\{`},
		{`\ud800x`, `\ud800`, "surrogate"},
		{`a\`, `\`, "escapes nothing"},
		{`[a`, `[a`, "no end"},
	} {
		_, err := javaregex.Whole(tt.pattern)
		je, ok := errors.AsType[*javaregex.Error](err)
		if !ok || je.Construct != tt.construct || !strings.Contains(err.Error(), tt.what) {
			t.Errorf("%s: error %v, want one that names %s and says %q", tt.pattern, err, tt.construct, tt.what)
		}
	}
	for _, pattern := range []string{`a)`, `(a`, `a)(b`, `*a`, `[b-a]`, `a{2000}`} {
		if re, err := javaregex.Whole(pattern); err == nil {
			t.Errorf("%s is taken, as %s", pattern, re)
		}
	}
}

func TestOpen(t *testing.T) {
	for pattern, want := range map[string]bool{
		`^(\d+) (\w+)`: true, `^(\d+) (\w+) .*`: false, `(\d+)$`: false, `^([\d.]+) "(.*)"`: true, `(\w+) (.*)`: false, `(\S+)`: false,
	} {
		if got := javaregex.Open(pattern); got != want {
			t.Errorf("Open(%s) = %t, want %t", pattern, got, want)
		}
	}
}

// FuzzTranslate checks that no pattern makes the translator panic, and that what it
// lets pass is a regular expression.
func FuzzTranslate(f *testing.F) {
	for _, s := range []string{
		`^\[(\d{4}-\d\d)\] (?<x>[^\s"]+?) \Q*\E$`, `\u00e9\x{1F600}\0101\cZ[\p{Lu}\h]`, `(?is-m:a|(?m)^$)`, `a++(?>b)\1`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		for _, compile := range []func(string) error{
			func(p string) error { _, err := javaregex.Whole(p); return err },
			func(p string) error { _, err := javaregex.Prefix(p); return err },
		} {
			if err := compile(pattern); err != nil && err.Error() == "" {
				t.Error("an error without words")
			}
		}
	})
}
