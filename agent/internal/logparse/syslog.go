package logparse

// SyslogNames are the names of the fields of [Syslog] and [RFC3339Syslog].
var SyslogNames = []string{"timestamp", "hostname", "program", "processid", "message"}

// Syslog takes a line apart that begins with month, day and time, as a syslog
// daemon writes them by default. It reports whether the line is one.
func Syslog(b []byte, f *Fields) bool {
	i := some(b, name(b, 0, months[:]), blank)
	i = clock(b, some(b, monthDay(b, i), blank))
	return syslog(b, i, f)
}

// RFC3339Syslog is [Syslog] with the time of RFC 3339.
func RFC3339Syslog(b []byte, f *Fields) bool { return syslog(b, rfc3339(b), f) }

// rfc3339 returns the index behind a time of RFC 3339 at the start of b, or -1. It
// looks at the shape alone.
func rfc3339(b []byte) int {
	i := shape(b, 0, "0000-00-00T00:00:00")
	if i < 0 || i >= len(b) {
		return -1
	}
	if b[i] == '.' {
		if i = some(b, i+1, digit); i < 0 || i >= len(b) {
			return -1
		}
	}
	switch b[i] {
	case 'Z':
		return i + 1
	case '+', '-':
		return shape(b, i+1, "00:00")
	}
	return -1
}

// shape compares b[i:] with a pattern where 0 is any digit.
func shape(b []byte, i int, pattern string) int {
	if len(b)-i < len(pattern) {
		return -1
	}
	for k := range len(pattern) {
		if p, c := pattern[k], b[i+k]; p == '0' && classes[c]&digit == 0 || p != '0' && p != c {
			return -1
		}
	}
	return i + len(pattern)
}

// syslog parses what follows the time, which ends at i.
func syslog(b []byte, i int, f *Fields) bool {
	if i < 0 {
		return false
	}
	f[0] = b[:i]
	if i = lit(b, i, ' '); i < 0 {
		return false
	}
	if i < len(b) && b[i] == '<' {
		i = lit(b, facility(b, i+1), ' ')
	}
	start := i
	if i = user(b, start); i < 0 {
		return false
	}
	f[1] = b[start:i]
	start = lit(b, i, ' ')
	if i = some(b, start, prog); i < 0 {
		return false
	}
	f[2], f[3] = b[start:i], nil
	if start = lit(b, i, '['); start >= 0 {
		end := positive(b, start)
		if i = lit(b, end, ']'); i < 0 {
			return false
		}
		f[3] = b[start:end]
	}
	if i = lits(b, i, ": "); i < 0 {
		return false
	}
	f[4] = b[i:]
	return line(f[4])
}

// facility is two numbers with any one character between them, be it a digit, and
// the bracket that closes them.
func facility(b []byte, i int) int {
	first := some(b, i, digit)
	if first < 0 {
		return -1
	}
	if end := lit(b, first, '>'); end >= 0 && first-i >= 3 && lit(b, end, ' ') >= 0 {
		return end
	}
	return lit(b, some(b, dot(b, first), digit), '>')
}
