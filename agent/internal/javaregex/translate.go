package javaregex

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	noLookaround = "lookaround does not exist here; let the pattern take the text itself"
	noAtomic     = "atomic groups do not exist here; write (?:…)"
	noPossessive = "possessive quantifiers do not exist here; leave the last plus sign away"
	noBackref    = "back-references do not exist here; write out what they stand for"
	noFlag       = "this flag does not exist here; of the flags there are i, m and s"
	noClass      = "classes within classes do not exist here; write the characters in one class"
	noProperty   = "this property does not exist here; name a general category as in \\p{Lu} or a script as in \\p{IsLatin}, or list the characters"
	noAnchor     = "this anchor does not exist here"
)

const (
	terminators = `\n\r\x{85}\x{2028}\x{2029}`
	verticals   = `\n\x0B\f\r\x{85}\x{2028}\x{2029}`
	horizontals = ` \t\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}`
)

// posix are the names of \p that POSIX gave, as Go spells them.
var posix = map[string]string{
	"Lower": "[:lower:]", "Upper": "[:upper:]", "ASCII": "[:ascii:]", "Alpha": "[:alpha:]", "Digit": "[:digit:]", "Alnum": "[:alnum:]",
	"Punct": "[:punct:]", "Graph": "[:graph:]", "Print": "[:print:]", "Blank": "[:blank:]", "Cntrl": "[:cntrl:]", "XDigit": "[:xdigit:]",
	"Space": "[:space:]",
}

// A translator writes one pattern anew.
type translator struct {
	src string
	pos int
	out []byte
	end string // what an unescaped dollar sign becomes

	dotAll, multi bool
	stack         []flags // of the groups that are open
}

type flags struct{ dotAll, multi bool }

func (t *translator) fail(from int, what string) error {
	return &Error{Pattern: t.src, Offset: from, Construct: t.src[from:t.pos], What: what}
}

func (t *translator) rest() string { return t.src[t.pos:] }

func (t *translator) emit(s string) { t.out = append(t.out, s...) }

func (t *translator) run() error {
	for t.pos < len(t.src) {
		if err := t.item(); err != nil {
			return err
		}
	}
	return nil
}

// item translates one character, escape, class, bracket or quantifier.
func (t *translator) item() error {
	from := t.pos
	c := t.src[t.pos]
	t.pos++
	switch c {
	case '\\':
		return t.escape(from)
	case '[':
		return t.class(from)
	case '(':
		return t.group(from)
	case ')':
		if n := len(t.stack); n > 0 {
			t.dotAll, t.multi = t.stack[n-1].dotAll, t.stack[n-1].multi
			t.stack = t.stack[:n-1]
		}
		t.emit(")")
	case '.':
		if t.dotAll {
			t.emit("(?s:.)")
		} else {
			t.emit("[^" + terminators + "]")
		}
	case '$':
		if t.multi {
			t.emit("(?m:$)")
		} else {
			t.emit(t.end)
		}
	case '^':
		if t.multi {
			t.emit("(?m:^)")
		} else {
			t.emit(`\A`)
		}
	case '*', '+', '?', '{':
		return t.quantifier(from)
	default:
		t.out = append(t.out, c)
	}
	return nil
}

func (t *translator) quantifier(from int) error {
	if t.src[from] == '{' {
		end := strings.IndexByte(t.rest(), '}')
		if end < 0 || strings.Trim(t.rest()[:end], "0123456789,") != "" || t.rest()[0] == ',' {
			return t.fail(from, `a brace that counts nothing; write \{`)
		}
		t.pos += end + 1
	}
	if strings.HasPrefix(t.rest(), "+") {
		t.pos++
		return t.fail(from, noPossessive)
	}
	if strings.HasPrefix(t.rest(), "?") {
		t.pos++
	}
	t.emit(t.src[from:t.pos])
	return nil
}

// group translates what stands behind an opening bracket.
func (t *translator) group(from int) error {
	outer := flags{t.dotAll, t.multi}
	if !strings.HasPrefix(t.rest(), "?") {
		t.stack = append(t.stack, outer)
		t.emit("(")
		return nil
	}
	for _, bad := range []struct{ prefix, what string }{
		{"?=", noLookaround}, {"?!", noLookaround}, {"?<=", noLookaround}, {"?<!", noLookaround}, {"?>", noAtomic},
	} {
		if strings.HasPrefix(t.rest(), bad.prefix) {
			t.pos += len(bad.prefix)
			return t.fail(from, bad.what)
		}
	}
	if strings.HasPrefix(t.rest(), "?<") {
		end := strings.IndexByte(t.rest(), '>')
		if end < 0 {
			t.pos = len(t.src)
			return t.fail(from, "the name of the group has no end")
		}
		t.emit("(" + t.rest()[:end+1])
		t.pos += end + 1
		t.stack = append(t.stack, outer)
		return nil
	}
	end := strings.IndexAny(t.rest(), ":)")
	if end < 0 {
		t.pos = len(t.src)
		return t.fail(from, "the group has no end")
	}
	text := t.rest()[1:end]
	last := t.rest()[end]
	t.pos += end + 1
	on := true
	var ignoreCase string
	for _, f := range text {
		switch f {
		case '-':
			on = false
		case 'i':
			if ignoreCase = "i"; !on {
				ignoreCase = "-i"
			}
		case 's':
			t.dotAll = on
		case 'm':
			t.multi = on
		case 'u': // Go's way of ignoring case anyhow
		default:
			return t.fail(from, noFlag)
		}
	}
	// The other two are done by what is written for a dot and an anchor.
	switch {
	case last == ':':
		t.stack = append(t.stack, outer)
		t.emit("(?" + ignoreCase + ":")
	case ignoreCase != "":
		t.emit("(?" + ignoreCase + ")")
	}
	return nil
}

// escape translates an escape outside of a class.
func (t *translator) escape(from int) error {
	if t.pos == len(t.src) {
		return t.fail(from, "a backslash at the end escapes nothing")
	}
	c := t.src[t.pos]
	switch c {
	case 's':
		t.emit("[[:space:]]")
	case 'S':
		t.emit("[[:^space:]]")
	case 'h':
		t.emit("[" + horizontals + "]")
	case 'H':
		t.emit("[^" + horizontals + "]")
	case 'v':
		t.emit("[" + verticals + "]")
	case 'V':
		t.emit("[^" + verticals + "]")
	case 'R':
		t.emit(`(?:\r\n|[` + verticals + `])`)
	case 'Z':
		t.emit(t.end)
	case 'd', 'D', 'w', 'W', 'b', 'B', 'A', 'z':
		if c == 'b' && strings.HasPrefix(t.rest(), "b{") {
			t.pos += 2
			return t.fail(from, noAnchor)
		}
		t.emit(t.src[from : t.pos+1])
	case 'G', 'X', 'N':
		t.pos++
		return t.fail(from, noAnchor)
	case 'k', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		t.pos++
		return t.fail(from, noBackref)
	case 'Q':
		text := t.rest()[1:]
		t.pos = len(t.src)
		if end := strings.Index(text, `\E`); end >= 0 {
			t.pos = from + 2 + end + 2
			text = text[:end]
		}
		t.emit(regexp.QuoteMeta(text))
		return nil
	case 'E':
		t.pos++
		return t.fail(from, `there is no \Q before it`)
	case 'p', 'P':
		return t.property(from, false)
	default:
		r, err := t.char(from)
		if err != nil {
			return err
		}
		t.emit(quoted(r))
		return nil
	}
	t.pos++
	return nil
}

// char reads the rest of an escape that stands for one character.
func (t *translator) char(from int) (rune, error) {
	c := t.src[t.pos]
	hex := func(n int) (rune, error) {
		if len(t.rest()) < n {
			t.pos = len(t.src)
			return 0, t.fail(from, fmt.Sprintf("needs %d hexadecimal digits", n))
		}
		v, err := strconv.ParseUint(t.rest()[:n], 16, 32)
		t.pos += n
		if err != nil {
			return 0, t.fail(from, fmt.Sprintf("needs %d hexadecimal digits", n))
		}
		return rune(v), nil
	}
	switch c {
	case 't', 'n', 'r', 'f', 'a', 'e':
		t.pos++
		return map[byte]rune{'t': '\t', 'n': '\n', 'r': '\r', 'f': '\f', 'a': '\a', 'e': 0x1b}[c], nil
	case 'c':
		if t.pos += 2; t.pos > len(t.src) {
			t.pos = len(t.src)
			return 0, t.fail(from, "needs a letter")
		}
		return rune(t.src[t.pos-1] ^ 64), nil
	case '0':
		t.pos++
		n := 0
		var v rune
		for n < len(t.rest()) && n < 3 && t.rest()[n]-'0' < 8 && v*8 < 256 {
			v = v*8 + rune(t.rest()[n]-'0')
			n++
		}
		if t.pos += n; n == 0 {
			return 0, t.fail(from, "needs octal digits")
		}
		return v, nil
	case 'x':
		t.pos++
		if strings.HasPrefix(t.rest(), "{") {
			end := strings.IndexByte(t.rest(), '}')
			if end < 0 {
				t.pos = len(t.src)
				return 0, t.fail(from, "the brace is not closed")
			}
			v, err := strconv.ParseUint(t.rest()[1:end], 16, 32)
			if t.pos += end + 1; err != nil || v > utf8.MaxRune {
				return 0, t.fail(from, "no character has this number")
			}
			return rune(v), nil
		}
		return hex(2)
	case 'u':
		t.pos++
		r, err := hex(4)
		if err != nil || !utf16.IsSurrogate(r) {
			return r, err
		}
		if strings.HasPrefix(t.rest(), `\u`) {
			t.pos += 2
			low, err := hex(4)
			if pair := utf16.DecodeRune(r, low); err == nil && pair != utf8.RuneError {
				return pair, nil
			}
		}
		return 0, t.fail(from, "half a surrogate pair is no character")
	}
	r, n := utf8.DecodeRuneInString(t.rest())
	if t.pos += n; r < utf8.RuneSelf && (r|0x20 >= 'a' && r|0x20 <= 'z') {
		return 0, t.fail(from, "this escape does not exist")
	}
	return r, nil
}

// quoted writes a character that stands for itself, in a class or not.
func quoted(r rune) string {
	switch {
	case r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029:
		return fmt.Sprintf(`\x{%X}`, r)
	case r < utf8.RuneSelf && strings.ContainsRune(`\.+*?()|[]{}^$-&~`, r):
		return `\` + string(r)
	}
	return string(r)
}

// property translates \p and \P.
func (t *translator) property(from int, inClass bool) error {
	negative := t.src[t.pos] == 'P'
	t.pos++
	var name string
	if strings.HasPrefix(t.rest(), "{") {
		end := strings.IndexByte(t.rest(), '}')
		if end < 0 {
			t.pos = len(t.src)
			return t.fail(from, "the brace is not closed")
		}
		name = t.rest()[1:end]
		t.pos += end + 1
	} else if t.rest() != "" {
		name = t.rest()[:1]
		t.pos++
	}
	if class, ok := posix[name]; ok {
		if negative {
			class = "[:^" + class[2:]
		}
		if !inClass {
			class = "[" + class + "]"
		}
		t.emit(class)
		return nil
	}
	for _, prefix := range []string{"Is", "script=", "sc=", "general_category=", "gc="} {
		name = strings.TrimPrefix(name, prefix)
	}
	spelt := fmt.Sprintf(`\%c{%s}`, t.src[from+1], name)
	if _, err := regexp.Compile(spelt); err != nil || name == "Any" {
		return t.fail(from, noProperty)
	}
	t.emit(spelt)
	return nil
}

// class translates a character class.
func (t *translator) class(from int) error {
	t.emit("[")
	if strings.HasPrefix(t.rest(), "^") {
		t.pos++
		t.emit("^")
	}
	for first := true; ; first = false {
		if t.pos == len(t.src) {
			return t.fail(from, "the class has no end")
		}
		at := t.pos
		c := t.src[t.pos]
		t.pos++
		switch {
		case c == ']' && !first:
			t.emit("]")
			return nil
		case c == '[':
			return t.fail(at, noClass)
		case c == '&' && strings.HasPrefix(t.rest(), "&"):
			t.pos++
			return t.fail(at, noClass)
		case c == '\\':
			if err := t.classEscape(at); err != nil {
				return err
			}
		case c == ']' || c == '^' || c == '&' || c == '~':
			t.out = append(t.out, '\\', c)
		default:
			t.out = append(t.out, c)
		}
	}
}

func (t *translator) classEscape(from int) error {
	if t.pos == len(t.src) {
		return t.fail(from, "a backslash at the end escapes nothing")
	}
	switch c := t.src[t.pos]; c {
	case 's':
		t.emit("[:space:]")
	case 'S':
		t.emit("[:^space:]")
	case 'h':
		t.emit(horizontals)
	case 'v':
		t.emit(verticals)
	case 'H', 'V', 'Q', 'E', 'R':
		t.pos++
		return t.fail(from, noClass)
	case 'd', 'D', 'w', 'W':
		t.emit(t.src[from : t.pos+1])
	case 'p', 'P':
		return t.property(from, true)
	default:
		r, err := t.char(from)
		if err != nil {
			return err
		}
		t.emit(quoted(r))
		return nil
	}
	t.pos++
	return nil
}
