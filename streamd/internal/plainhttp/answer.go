package plainhttp

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// together is the size of answers that are written with their heads, and
	// behind the handler's end: who counts answers has counted one that a client
	// has seen.
	together = 16 << 10

	// writeSlack is what a deadline of writes may be late: so it need not be set
	// for each answer.
	writeSlack = 5 * time.Second

	maxKeptAnswer = 64 << 10
)

// answer is the [http.ResponseWriter] of a connection, used for all its requests.
type answer struct {
	c        *conn
	header   http.Header
	keys     []string // scratch
	status   int      // 0 before WriteHeader
	out      []byte   // what is not written yet
	body     int      // how much of out is body, while its head is not there
	begun    bool     // the head is in out, or written
	last     bool     // the connection ends with it
	answered bool     // at least one request of this connection
	err      error

	second int64  // that date is of
	date   string // of the Date header
}

func (a *answer) start() {
	clear(a.header)
	if cap(a.out) > maxKeptAnswer {
		a.out = nil
	}
	a.status, a.out, a.body, a.begun, a.last, a.err = 0, a.out[:0], 0, false, false, nil
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK { // nobody here waits for others
		a.status = status
	}
}

// Write implements [http.ResponseWriter]. An answer that says how long it is goes
// out as it comes unless it is small.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.err != nil {
		return 0, a.err
	}
	if !a.begun && a.header["Content-Length"] != nil {
		a.writeHead()
	}
	if !a.begun || len(a.out)+len(p) <= together {
		a.out = append(a.out, p...)
		if !a.begun {
			a.body += len(p)
		}
		return len(p), nil
	}
	n, err := a.c.writeAll(a.out, p)
	a.out, a.err = a.out[:0], err
	return n, err
}

func (a *answer) flush() {
	if len(a.out) > 0 && a.err == nil {
		_, a.err = a.c.Conn.Write(a.out)
	}
	a.out = a.out[:0]
}

// finish writes what is left.
func (a *answer) finish() error {
	a.answered = true
	if !a.begun {
		a.WriteHeader(http.StatusOK)
		a.header["Content-Length"] = []string{strconv.Itoa(a.body)}
		body := slices.Clone(a.out)
		a.out = a.out[:0]
		a.writeHead()
		a.out = append(a.out, body...)
	}
	a.flush()
	return a.err
}

// writeHead puts the head into out.
func (a *answer) writeHead() {
	a.begun = true
	c := a.c
	switch {
	case c.body.left == 0:
	case c.body.here():
		c.begin += int(c.body.left)
		c.body.left = 0
	default:
		a.last = true
	}
	a.last = a.last || c.l.closing.Load() || slices.Contains(a.header["Connection"], "close")
	b := append(a.out, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(append(append(b, ' '), http.StatusText(a.status)...), "\r\n"...)
	a.keys = a.keys[:0]
	for name := range a.header {
		if name != "Connection" {
			a.keys = append(a.keys, name)
		}
	}
	slices.Sort(a.keys)
	for _, name := range a.keys {
		for _, v := range a.header[name] {
			b = appendHeader(b, name, v)
		}
	}
	if _, ok := a.header["Date"]; !ok {
		b = appendHeader(b, "Date", a.now())
	}
	if a.last {
		b = appendHeader(b, "Connection", "close")
	}
	a.out = append(b, "\r\n"...)
}

func appendHeader(b []byte, name, value string) []byte {
	if strings.ContainsAny(value, "\r\n") {
		value = strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
	}
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// now returns the value of the Date header.
func (a *answer) now() string {
	now := time.Now()
	if s := now.Unix(); s != a.second {
		a.second, a.date = s, now.UTC().Format(http.TimeFormat)
	}
	return a.date
}

// SetReadDeadline is for [http.ResponseController]. What has been received is
// not waited for.
func (a *answer) SetReadDeadline(t time.Time) error {
	if a.c.body.here() {
		return nil
	}
	a.c.readBy = t
	return a.c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is for [http.ResponseController]. A deadline that is set a
// little later stays.
func (a *answer) SetWriteDeadline(t time.Time) error {
	if t.IsZero() || !a.c.writeBy.Before(t) {
		return nil
	}
	a.c.writeBy = t.Add(writeSlack)
	return a.c.Conn.SetWriteDeadline(a.c.writeBy)
}
