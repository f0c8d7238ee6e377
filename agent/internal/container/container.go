// Package container takes the lines apart that container runtimes write of what a
// process prints, as the kubelet of a Kubernetes node and the Docker daemon keep
// them.
//
//	CRI:        2016-10-06T00:17:09.669794202Z stdout F text of the line
//	json-file:  {"log":"text of the line\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}
//
// A long line comes in parts: with the tag P, or without a newline at the end of
// its log member, in all parts but the last.
//
// Source: kubernetes design proposal kubelet-cri-logging.md; moby,
// daemon/logger/jsonfilelog/jsonlog.
package container

import (
	"bytes"
	"path"
	"strings"
	"time"

	"github.com/streamkit/streamkit/agent/internal/jsontext"
)

// Format is how a runtime writes lines.
type Format int

const (
	// None is no container's log.
	None Format = iota
	// Auto is the one of the other two that each line looks like.
	Auto
	// CRI is the format of containerd and CRI-O.
	CRI
	// JSONFile is the format of Docker's json-file driver.
	JSONFile
)

// A Line is one line of a container's log.
type Line struct {
	Stderr  bool   // else stdout
	Partial bool   // more of it follows in the next line of the stream
	Time    []byte // as it stands, in the form of RFC 3339
	Text    []byte // without a newline at its end
}

// Parse takes a line without its newline apart. Text and Time alias b, or scratch,
// which may be nil and is returned for the next call. ok is false if b is not of the
// format; then b is no container's line.
func (f Format) Parse(b, scratch []byte, l *Line) (newScratch []byte, ok bool) {
	if f == JSONFile || f == Auto && len(b) > 0 && b[0] == '{' {
		return parseJSONFile(b, scratch, l)
	}
	return scratch, parseCRI(b, l)
}

func parseCRI(b []byte, l *Line) bool {
	i := bytes.IndexByte(b, ' ')
	if i < len("2006-01-02T15:04:05Z") || b[10] != 'T' {
		return false
	}
	l.Time = b[:i]
	rest := b[i+1:]
	switch {
	case bytes.HasPrefix(rest, []byte("stdout ")):
		l.Stderr = false
	case bytes.HasPrefix(rest, []byte("stderr ")):
		l.Stderr = true
	default:
		return false
	}
	// Tags come first to last with colons between them; the first says whether the
	// line is whole.
	rest = rest[len("stdout "):]
	tags := rest
	if i := bytes.IndexByte(rest, ' '); i >= 0 {
		tags, l.Text = rest[:i], rest[i+1:]
	} else {
		l.Text = rest[len(rest):] // an empty line, and the blank was left away
	}
	if len(tags) == 0 || tags[0] != 'F' && tags[0] != 'P' || len(tags) > 1 && tags[1] != ':' {
		return false
	}
	l.Partial = tags[0] == 'P'
	return true
}

func parseJSONFile(b, scratch []byte, l *Line) ([]byte, bool) {
	var text, stream, stamp []byte
	err := jsontext.Object(b, func(key, value []byte) bool {
		inside, ok := jsontext.IsString(value)
		if !ok {
			return true
		}
		switch {
		case string(key) == "log":
			text = inside
		case string(key) == "stream":
			stream = inside
		case string(key) == "time":
			stamp = inside
		}
		return true
	})
	if err != nil || text == nil {
		return scratch, false
	}
	scratch = jsontext.AppendUnescaped(scratch[:0], text)
	l.Text, l.Partial = bytes.CutSuffix(scratch, []byte("\n"))
	l.Partial = !l.Partial
	l.Stderr = string(stream) == "stderr"
	l.Time = stamp
	return scratch, true
}

// When returns a time of RFC 3339 in nanoseconds since 1970; zero if b is none.
func When(b []byte) int64 {
	const seconds = len("2006-01-02T15:04:05")
	if len(b) < seconds+1 || b[4] != '-' || b[10] != 'T' || b[13] != ':' {
		return 0
	}
	number := func(i, n int) int {
		v := 0
		for _, c := range b[i : i+n] {
			if c -= '0'; c > 9 {
				return -1
			}
			v = v*10 + int(c)
		}
		return v
	}
	year, month, day := number(0, 4), number(5, 2), number(8, 2)
	hour, minute, second := number(11, 2), number(14, 2), number(17, 2)
	if min(year, month, day, hour, minute, second) < 0 {
		return 0
	}
	i, nanos, unit := seconds, 0, 100_000_000
	if b[i] == '.' {
		for i++; i < len(b) && b[i]-'0' <= 9; i++ {
			nanos += int(b[i]-'0') * unit
			unit /= 10
		}
	}
	at := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC).UnixNano()
	if len(b) == i+len("+00:00") && (b[i] == '+' || b[i] == '-') {
		zone := time.Duration(number(i+1, 2))*time.Hour + time.Duration(number(i+4, 2))*time.Minute
		if b[i] == '+' {
			zone = -zone
		}
		at += int64(zone)
	}
	return at
}

// A Source is what the path of a container's log says; what it does not say is
// empty.
type Source struct{ Namespace, Pod, PodUID, Container, ID string }

// FromPath returns what the path of a log says:
//
//	/var/log/pods/NAMESPACE_POD_UID/CONTAINER/0.log
//	/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log
//	/var/lib/docker/containers/ID/ID-json.log
func FromPath(file string) Source {
	file = strings.ReplaceAll(file, `\`, "/")
	dir, name := path.Split(file)
	dir = strings.TrimSuffix(dir, "/")
	if pod := strings.Split(path.Base(path.Dir(dir)), "_"); len(pod) == 3 {
		return Source{Namespace: pod[0], Pod: pod[1], PodUID: pod[2], Container: path.Base(dir)}
	}
	if id, _, ok := strings.Cut(name, "-json.log"); ok && id == path.Base(dir) {
		return Source{ID: id}
	}
	base, _, ok := strings.Cut(name, ".log")
	if parts := strings.Split(base, "_"); ok && len(parts) == 3 {
		if i := strings.LastIndexByte(parts[2], '-'); i > 0 {
			return Source{Pod: parts[0], Namespace: parts[1], Container: parts[2][:i], ID: parts[2][i+1:]}
		}
	}
	return Source{}
}
