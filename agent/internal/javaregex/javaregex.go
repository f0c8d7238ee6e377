// Package javaregex compiles the regular expressions of the official agent's
// configuration, which are Java's. It writes them anew for Go where the two differ
// only in spelling, and refuses, by name, what cannot be done without backtracking.
//
// What is written anew: a dot does not match line terminators, \s has the vertical
// tab, \h \v \R \Z \e \cX \0nn \uhhhh, quoted escapes of any character, the POSIX
// classes and scripts of \p, and a dollar sign before the last line terminator.
//
// What differs still: \w \d \b know ASCII only, as Java's do by default, but for
// \b; and a case that is ignored is ignored beyond ASCII too.
//
// Source: the documentation of java.util.regex.Pattern, Java SE 17.
package javaregex

import (
	"fmt"
	"regexp"
)

// An Error says what part of a pattern does not exist here.
type Error struct {
	Pattern   string
	Offset    int    // of the construct, in bytes
	Construct string // as it stands
	What      string // its name and what to do
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s at character %d of the pattern: %s", e.Construct, len([]rune(e.Pattern[:e.Offset]))+1, e.What)
}

// Whole compiles a pattern that must match a whole text, as Java's matches does.
func Whole(pattern string) (*regexp.Regexp, error) {
	return compile(pattern, `\z`, func(p string) string { return `\A(?:` + p + `)\z` })
}

// Prefix compiles a pattern that must match at the start of a text, as Java's
// lookingAt does. The text may end in a line terminator.
func Prefix(pattern string) (*regexp.Regexp, error) {
	return compile(pattern, lastEnd, func(p string) string { return `\A(?:` + p + `)` })
}

// Find compiles a pattern that is looked for anywhere in a text.
func Find(pattern string) (*regexp.Regexp, error) {
	return compile(pattern, lastEnd, func(p string) string { return p })
}

// lastEnd is Java's dollar sign: the end of the text or the place before a line
// terminator that ends it. It takes the terminator, which makes no difference to
// whether there is a match.
const lastEnd = `(?:(?:\r?\n)?\z)`

func compile(pattern, end string, wrap func(string) string) (*regexp.Regexp, error) {
	t := translator{src: pattern, end: end}
	if err := t.run(); err != nil {
		return nil, err
	}
	// Alone first, so that a bracket too many is not closed by ours.
	if _, err := regexp.Compile(string(t.out)); err != nil {
		return nil, err
	}
	return regexp.Compile(wrap(string(t.out)))
}

// Open reports whether a pattern that must match a whole text may be meant to match
// only its start: it has groups, and neither ends in something that takes the rest
// nor says where the end is.
func Open(pattern string) bool {
	for _, end := range []string{"$", `\z`, `\Z`, ".*", ".*)", ".*?)", ".+", ".+)", ".*$", ")$", `\s*`, `\S+)`, `\S*)`} {
		if len(pattern) >= len(end) && pattern[len(pattern)-len(end):] == end {
			return false
		}
	}
	return true
}
