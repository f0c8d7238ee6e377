package streamd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/internal/capture"
	"github.com/streamkit/streamkit/internal/vfs"
)

// DefaultCaptureLimit is how large a capture grows if nothing else is said.
const DefaultCaptureLimit = 1 << 30

const (
	// captureQueue is how many requests wait to be written: enough for what
	// comes while the disk takes one.
	captureQueue = 1024
	// captureWaiting bounds the bytes of their bodies and answers.
	captureWaiting = 64 << 20
)

// captureTargets begin the targets of the requests that are kept.
var captureTargets = []string{"Kinesis_20131202.", "DynamoDB_20120810."}

// recorder writes what clients ask into a file, see package capture. Requests
// never wait for it: what it cannot keep up with is counted, and left out.
type recorder struct {
	file    vfs.File
	log     *slog.Logger
	began   time.Time
	limit   int64
	waiting atomic.Int64 // bytes in lines
	streams atomic.Int64 // of events that were opened

	lines chan captured // of capacity captureQueue
	stop  chan struct{} // closed by close: write what waits, and return
	done  chan struct{} // closed by write as it returns
	once  sync.Once     // guards the closing of stop

	written prometheus.Counter
	dropped prometheus.Counter

	size int64 // of the file; owned by write
	full bool  // the limit was reached, or the disk refused; owned by write
}

// captured is a request that has been answered. Bodies are copies.
type captured struct {
	at            time.Duration
	target, ctype string
	body          []byte
	status        int
	answerType    string
	answer        []byte
	events        *events // that the request has opened; nil if none
	kind          captureKind
}

// captureKind says what a captured is.
type captureKind uint8

const (
	captureRequest captureKind = iota
	captureEvent               // answer is a message of events
	captureEnd                 // of events
)

// events is a stream of events that is followed.
type events struct {
	number int64
	line   capture.Line         // that has opened it; owned by write, like seen
	seen   capture.Subscription // so far
}

func (c captured) bytes() int64 { return int64(len(c.body) + len(c.answer)) }

// openCapture begins a capture, behind what the file has.
func (s *Server) openCapture() error {
	name := s.set.Capture
	if name == "" {
		return nil
	}
	r := &recorder{
		log: s.log, began: time.Now(), limit: s.set.CaptureLimit,
		lines: make(chan captured, captureQueue), stop: make(chan struct{}), done: make(chan struct{}),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "streamd_capture_requests_total", Help: "Requests written to the capture.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "streamd_capture_dropped_total", Help: "Requests that the capture lacks: it was full, or slower than they came.",
		}),
	}
	var err error
	if r.file, err = vfs.OS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("cannot open the capture: %w; name a file that can be written with --capture", err)
	}
	if err := r.begin(); err != nil {
		_ = r.file.Close() // err says more
		return fmt.Errorf("cannot write the capture %s: %w; name another file with --capture", name, err)
	}
	s.metrics.registry.MustRegister(r.written, r.dropped)
	s.recorder = r
	go r.write()
	return nil
}

// begin writes the header of this run. The last line of a run that was killed
// may lack its end.
func (r *recorder) begin() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	r.size = info.Size()
	var head []byte
	if r.size > 0 {
		last := make([]byte, 1)
		if _, err := r.file.ReadAt(last, r.size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			head = append(head, '\n')
		}
	}
	head = capture.AppendHeader(head, r.began)
	r.size += int64(len(head))
	_, err = r.file.Write(head)
	return err
}

// write puts lines into the file until the recorder is closed. It flushes
// whenever nothing waits, so that a killed server loses little.
func (r *recorder) write() {
	defer close(r.done)
	w := bufio.NewWriterSize(r.file, 256<<10)
	var line []byte
	one := func(c captured) {
		line = r.writeLine(w, line[:0], c)
		r.waiting.Add(-c.bytes())
		if len(r.lines) == 0 {
			r.fail(w.Flush())
		}
	}
	for {
		select {
		case c := <-r.lines:
			one(c)
			continue
		case <-r.stop:
		}
		for len(r.lines) > 0 { // nobody else takes from it
			one(<-r.lines)
		}
		r.fail(r.file.Close())
		return
	}
}

func (r *recorder) writeLine(w io.Writer, buf []byte, c captured) []byte {
	if r.full {
		if c.kind == captureRequest {
			r.dropped.Inc()
		}
		return buf
	}
	line := capture.Line{At: c.at, Target: c.target, ContentType: c.ctype, Body: c.body, Status: c.status}
	switch c.kind {
	case captureEvent:
		if e, err := capture.ReadEvent(c.answer); err == nil { // the server's own
			c.events.seen.Add(e)
		}
		return buf
	case captureEnd:
		line = c.events.line.End(c.at, c.events.seen)
	case captureRequest:
		line.Answer = capture.ReadAnswer(c.target, c.answerType, c.status, c.answer)
		if c.events != nil {
			line.Stream, c.events.line = c.events.number, line
			c.events.line.Stream = c.events.number
		}
	}
	buf, err := capture.AppendLine(buf, line)
	if err != nil {
		r.dropped.Inc()
		return buf
	}
	if r.size+int64(len(buf)) > r.limit {
		r.full = true
		r.dropped.Inc()
		r.log.Warn("the capture is full: what comes now is not in it", slog.Int64("limit", r.limit))
		return buf
	}
	r.size += int64(len(buf))
	if _, err := w.Write(buf); err != nil {
		r.dropped.Inc()
		r.fail(err)
		return buf
	}
	if c.kind == captureRequest {
		r.written.Inc()
	}
	return buf
}

// fail ends the capture if the disk has refused it. The server goes on.
func (r *recorder) fail(err error) {
	if err == nil || r.full {
		return
	}
	r.full = true
	r.log.Error("the capture cannot be written: what comes now is not in it", slog.Any("err", err))
}

// add hands over what is to be written, and reports whether it was taken. What
// comes after close is lost: nobody waits for it.
func (r *recorder) add(c captured) bool {
	n := c.bytes()
	taken := r.waiting.Add(n) <= captureWaiting
	if taken {
		select {
		case r.lines <- c:
			return true
		default:
		}
	}
	r.waiting.Add(-n)
	if c.kind == captureRequest {
		r.dropped.Inc()
	}
	return false
}

// close waits until all is written that was answered before.
func (r *recorder) close() {
	if r == nil {
		return
	}
	r.once.Do(func() { close(r.stop) })
	<-r.done
}

// wrap returns h with what it is asked noted. A nil recorder notes nothing.
func (r *recorder) wrap(h http.Handler) http.Handler {
	if r == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		target := req.Header.Get("X-Amz-Target")
		kept := func(prefix string) bool { return strings.HasPrefix(target, prefix) }
		if req.Method != http.MethodPost || !slices.ContainsFunc(captureTargets, kept) {
			h.ServeHTTP(w, req)
			return
		}
		body := &copiedBody{ReadCloser: req.Body}
		req.Body = body
		n := &noting{ResponseWriter: w, r: r, body: body, c: captured{
			at: time.Since(r.began), target: target, ctype: req.Header.Get("Content-Type"), status: http.StatusOK,
		}, length: req.ContentLength}
		defer n.end() // the handler may panic to cut the connection
		h.ServeHTTP(n, req)
	})
}

// copiedBody keeps what is read of a body.
type copiedBody struct {
	io.ReadCloser
	read []byte
	all  bool // the end was read
}

func (b *copiedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read = append(b.read, p[:n]...)
	b.all = b.all || errors.Is(err, io.EOF)
	return n, err
}

// noting notes an answer before its first byte is sent: what a client asks
// next, knowing it, comes later in the file.
type noting struct {
	http.ResponseWriter
	r      *recorder
	body   *copiedBody
	length int64 // of the request's body, -1 if it was not said
	c      captured
	noted  bool
	events *events // that are followed; nil if there are none
}

func (n *noting) WriteHeader(status int) {
	if status >= http.StatusOK {
		n.c.status = status
	}
	n.ResponseWriter.WriteHeader(status)
}

func (n *noting) Write(p []byte) (int, error) {
	if !n.noted {
		n.noted = true
		n.note(p)
	}
	written, err := n.ResponseWriter.Write(p)
	// Each write of a stream of events is one message. One that was not taken
	// makes the count worthless.
	if n.events != nil && err == nil &&
		!n.r.add(captured{kind: captureEvent, events: n.events, answer: bytes.Clone(p)}) {
		n.events = nil
	}
	return written, err
}

// end notes the end of the events.
func (n *noting) end() {
	if n.events != nil {
		n.r.add(captured{kind: captureEnd, at: time.Since(n.r.began), events: n.events})
	}
}

// Unwrap is for [http.ResponseController].
func (n *noting) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// Flush implements [http.Flusher].
func (n *noting) Flush() { _ = http.NewResponseController(n.ResponseWriter).Flush() }

func (n *noting) note(answer []byte) {
	if !n.body.all && n.length != int64(len(n.body.read)) {
		n.r.dropped.Inc() // refused before it was read: it cannot be sent again
		return
	}
	n.c.body = n.body.read
	n.c.answerType = n.Header().Get("Content-Type")
	switch {
	case strings.HasPrefix(n.c.answerType, "application/x-amz-"):
		n.c.answer = bytes.Clone(answer) // the handler uses it again
	case n.c.answerType == capture.TypeEvents:
		n.c.events = &events{number: n.r.streams.Add(1)}
	}
	if n.r.add(n.c) {
		n.events = n.c.events
	}
}
