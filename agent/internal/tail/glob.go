package tail

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Glob matches file names as java.nio.file.PathMatcher does with "glob:":
// * and ? match within a name, [a-z] and [!a-z] one character, {a,b} one of
// several, and a backslash takes the next character as it is. A leading dot is a
// character like others.
type Glob struct {
	text string
	re   *regexp.Regexp
}

// ParseGlob returns the matcher of a file name pattern.
func ParseGlob(pattern string) (*Glob, error) {
	var b strings.Builder
	b.WriteString(`\A`)
	group := false
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; r {
		case '*':
			b.WriteString(`[^/]*`)
		case '?':
			b.WriteString(`[^/]`)
		case '\\':
			if i++; i == len(runes) {
				return nil, errors.New("a backslash ends the pattern")
			}
			b.WriteString(regexp.QuoteMeta(string(runes[i])))
		case '[':
			end, err := class(&b, runes[i+1:])
			if err != nil {
				return nil, err
			}
			i += end
		case '{':
			if group {
				return nil, errors.New("braces do not nest")
			}
			group = true
			b.WriteString(`(?:`)
		case '}':
			if !group {
				b.WriteString(`\}`)
				continue
			}
			group = false
			b.WriteByte(')')
		case ',':
			if group {
				b.WriteByte('|')
			} else {
				b.WriteByte(',')
			}
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	if group {
		return nil, errors.New("a brace is not closed")
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(`(?s)` + b.String())
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return &Glob{text: pattern, re: re}, nil
}

// class writes the bracket expression that follows "[" and returns how many runes
// it has, the closing bracket included.
func class(b *strings.Builder, rest []rune) (int, error) {
	b.WriteByte('[')
	i := 0
	if len(rest) > 0 && (rest[0] == '!' || rest[0] == '^') {
		if rest[0] == '!' {
			b.WriteByte('^')
		} else {
			b.WriteString(`\^`)
		}
		i++
	}
	for first := i; i < len(rest); i++ {
		switch r := rest[i]; {
		case r == ']' && i > first:
			b.WriteByte(']')
			return i + 1, nil
		case r == '-' && i > first && i+1 < len(rest) && rest[i+1] != ']':
			b.WriteByte('-')
		case r == '/':
			return 0, errors.New("a bracket expression holds a slash")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
			if r == '-' {
				// QuoteMeta leaves it, and at the edge of a class it stands for itself.
				continue
			}
		}
	}
	return 0, errors.New("a bracket is not closed")
}

// Match reports whether a whole file name matches.
func (g *Glob) Match(name string) bool { return g.re.MatchString(name) }

// String returns the pattern.
func (g *Glob) String() string { return g.text }

// Compressed reports whether a name ends in .gz, .bz2 or .zip, in any case: such
// files are never read.
func Compressed(name string) bool {
	for _, suffix := range []string{".gz", ".bz2", ".zip"} {
		if len(name) >= len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix) {
			return true
		}
	}
	return false
}
