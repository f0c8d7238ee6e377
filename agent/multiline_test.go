package agent

import (
	"regexp"
	"testing"
)

// FuzzStarter checks that the first bytes rule out no line that the expression
// takes, and let none pass that it does not.
func FuzzStarter(f *testing.F) {
	for _, line := range []string{"2026-01-02 x\n", "\tat x\n", "\n", "éa\n", "[x", "K\n", "\u212a\n", "k\n", "\xff"} {
		f.Add(line)
	}
	var starters []*starter
	var expressions []*regexp.Regexp
	for _, p := range []string{`\d{4}-\d\d`, `\[|(?:é|x)+`, `(?i)k`, `^\S`, `[^ \t]`, `\s*$`, `(?s).`, ``, `a{0,2}b`, `$^`, `\bx`} {
		starters = append(starters, newStarter(regexp.MustCompile(p)))
		expressions = append(expressions, regexp.MustCompile(p))
	}
	f.Fuzz(func(t *testing.T, line string) {
		for i, s := range starters {
			loc := expressions[i].FindStringIndex(line)
			// Of several matches, the first one may begin later than one at the start only if
			// there is none at the start.
			want := loc != nil && loc[0] == 0 && line != ""
			if got := s.starts([]byte(line)); got != want {
				t.Errorf("%s starts %q: %t, want %t", expressions[i], line, got, want)
			}
		}
	})
}
