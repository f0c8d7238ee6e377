package logparse

// CommonNames are the names of the fields of [Common].
var CommonNames = []string{"host", "ident", "authuser", "datetime", "request", "response", "bytes"}

// CombinedNames are the names of the fields of [Combined].
var CombinedNames = []string{"host", "ident", "authuser", "datetime", "request", "response", "bytes", "referer", "agent"}

// ErrorNames are the names of the fields of [Error].
var ErrorNames = []string{"timestamp", "module", "severity", "processid", "threadid", "client", "message"}

// Common takes a line of the common log format of Apache apart. Whatever follows
// the number of bytes is ignored, so it takes lines of the combined format too. It
// reports whether the line is one.
func Common(b []byte, f *Fields) bool {
	i := common(b, f)
	return i >= 0 && line(b[i:])
}

// Combined is [Common] with the referer and the user agent.
func Combined(b []byte, f *Fields) bool {
	i := lit(b, common(b, f), ' ')
	start, end, i := quoted(b, i)
	if i < 0 {
		return false
	}
	f[7] = b[start:end]
	if start, end, i = quoted(b, lit(b, i, ' ')); i < 0 {
		return false
	}
	f[8] = b[start:end]
	return line(b[i:])
}

// common parses up to the number of bytes and returns the index behind it, or -1.
func common(b []byte, f *Fields) int {
	i := hostname(b, 0)
	if i < 0 {
		return -1
	}
	f[0] = b[:i]
	for n := 1; n <= 2; n++ {
		start := lit(b, i, ' ')
		if i = user(b, start); i < 0 {
			return -1
		}
		f[n] = b[start:i]
	}
	start := lits(b, i, " [")
	if i = httpDate(b, start); i < 0 {
		return -1
	}
	f[3] = b[start:i]
	start, end, i := quoted(b, lits(b, i, "] "))
	if i < 0 {
		return -1
	}
	f[4] = b[start:end]
	for n := 5; n <= 6; n++ {
		start = lit(b, i, ' ')
		if i = count(b, start); i < 0 {
			return -1
		}
		f[n] = b[start:i]
	}
	return i
}

// httpDate is day/month/year:time and a zone behind one blank.
func httpDate(b []byte, i int) int {
	i = lit(b, monthDay(b, i), '/')
	i = lit(b, name(b, i, months[:]), '/')
	i = clock(b, lit(b, positive(b, i), ':'))
	if i < 0 || i >= len(b) || classes[b[i]]&blank == 0 {
		return -1
	}
	return integer(b, i+1)
}

// Error takes a line of Apache's error log apart. It reports whether the line is
// one.
func Error(b []byte, f *Fields) bool {
	start := lit(b, 0, '[')
	i := some(b, name(b, start, days[:]), blank)
	i = some(b, name(b, i, months[:]), blank)
	i = some(b, monthDay(b, i), blank)
	i = positive(b, some(b, clock(b, i), blank))
	if i < 0 {
		return false
	}
	f[0] = b[start:i]

	start = lits(b, i, "] [")
	if i = some(b, start, word); i < 0 {
		return false
	}
	f[1], f[2] = nil, b[start:i]
	if next := some(b, lit(b, i, ':'), word); next >= 0 {
		f[1], f[2] = b[start:i], b[i+1:next]
		i = next
	}

	start = lits(b, i, "] [pid ")
	if i = some(b, start, digit); i < 0 {
		return false
	}
	f[3], f[4] = b[start:i], nil
	if start = lits(b, i, ":tid "); start >= 0 {
		if i = some(b, start, digit); i < 0 {
			return false
		}
		f[4] = b[start:i]
	}

	start = lits(b, i, "] [client ")
	if i = hostname(b, start); i < 0 {
		return false
	}
	if port := positive(b, lit(b, i, ':')); port >= 0 {
		i = port
	}
	f[5] = b[start:i]
	if i = lits(b, i, "] "); i < 0 {
		return false
	}
	f[6] = b[i:]
	return line(f[6])
}
