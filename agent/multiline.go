package agent

import (
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// A starter tells the lines that start a record of several lines.
type starter struct {
	re *regexp.Regexp
	// first are the bytes that a line may begin with to be one. Most lines that
	// continue a record begin with a blank, and need no more than this.
	first [256]bool
}

// newStarter returns a starter for lines that re matches at their start.
func newStarter(re *regexp.Regexp) *starter {
	s := &starter{re: regexp.MustCompile(`\A(?:` + re.String() + `)`)}
	tree, err := syntax.Parse(s.re.String(), syntax.Perl)
	if err == nil {
		var prog *syntax.Prog
		if prog, err = syntax.Compile(tree.Simplify()); err == nil {
			s.firstOf(prog, uint32(prog.Start), make(map[uint32]bool))
		}
	}
	if err != nil { // it was compiled before, so there is none
		for c := range s.first {
			s.first[c] = true
		}
	}
	return s
}

// firstOf marks the bytes that the program takes first from pc on.
func (s *starter) firstOf(prog *syntax.Prog, pc uint32, seen map[uint32]bool) {
	if seen[pc] {
		return
	}
	seen[pc] = true
	switch i := &prog.Inst[pc]; i.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		s.firstOf(prog, i.Out, seen)
		s.firstOf(prog, i.Arg, seen)
	case syntax.InstCapture, syntax.InstEmptyWidth, syntax.InstNop:
		s.firstOf(prog, i.Out, seen)
	case syntax.InstMatch: // nothing at all is enough
		for c := range s.first {
			s.first[c] = true
		}
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		for c := range s.first {
			// What begins beyond ASCII is left to the expression.
			s.first[c] = s.first[c] || c >= utf8.RuneSelf || i.MatchRune(rune(c))
		}
	case syntax.InstFail:
	}
}

// starts reports whether line, with its newline, starts a record.
func (s *starter) starts(line []byte) bool {
	return len(line) > 0 && s.first[line[0]] && s.re.Match(line)
}
