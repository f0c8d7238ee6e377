package agent

import (
	"bytes"
	"slices"

	"github.com/streamkit/streamkit/agent/internal/container"
	"github.com/streamkit/streamkit/producer"
)

// What the files of a flow hold, if they are the logs of containers.
const (
	ContainerCRI      = "cri"       // of containerd and CRI-O
	ContainerJSONFile = "json-file" // of Docker
	ContainerAuto     = "auto"      // of either, line by line
)

var containerFormats = map[string]container.Format{
	"": container.None, ContainerCRI: container.CRI, ContainerJSONFile: container.JSONFile, ContainerAuto: container.Auto,
}

// A slot holds what is open of one stream of a container: a record whose last line
// has not come, or a line of which parts have.
type slot struct {
	open    bool
	partial bool   // its last line is not whole
	text    []byte // of whole lines and parts
	line    int    // where in text the last line begins
	start   int    // where the first line begins in the data
	last    int    // where the last line begins there
	end     int    // where it ends
	when    int64  // time of the last line; 0 if it is not known
	stamp   []byte // time of the first line, as it stands
	next    []byte // time of the last line, as it stands
}

// queued is a record that is closed and waits for all before it to be closed.
type queued struct {
	from, to   int // in cutter.qtext
	stampFrom  int // and then its time
	start, end int // where its first line begins and its last one ends in the data
	stderr     bool
}

// cutContainer is cut for the logs of containers.
//
// Lines of the two streams alternate, and what is open of one spans lines of the
// other. The position in the file can only be where nothing is open, for there is
// nothing to remember what was: so closed records wait in a queue until all that
// began before their end are closed.
func (fl *flow) cutContainer(s *span, c *chunk, g *file, data []byte, atEnd bool) ([]producer.UserRecord, int) {
	k := containerCut{flow: fl, cutter: &fl.cutter, span: s, file: g, recs: c.Recs}
	if g.content.source == nil {
		src := container.FromPath(g.path)
		g.content.source = &src
	}
	fl.cutter.from.Container = g.content.source
	k.reset()
	room := func() bool { return len(k.recs)+len(k.cutter.queue)+len(k.cutter.slots) < cap(k.recs) }
	pos := 0
	for pos < len(data) && room() {
		n := bytes.IndexByte(data[pos:], '\n') + 1
		if n == 0 {
			if !atEnd || !g.final {
				break
			}
			n = len(data) - pos
		}
		k.line(data, pos, pos+n)
		pos += n
		k.settle(pos)
	}
	switch {
	case atEnd && (g.final || fl.overdue(g)):
		k.closeAll(pos)
	case k.clean == 0 && (len(data) >= fl.maxData() || len(c.Recs) == 0 && !room()):
		// The streams alternate so that there is no place where nothing is open.
		k.closeAll(pos)
	}
	fl.cutter.from.Container, fl.cutter.from.Stream, fl.cutter.from.Time = nil, "", nil
	return k.recs, k.clean
}

// A containerCut is one call of cutContainer.
type containerCut struct {
	flow   *flow
	cutter *cutter
	span   *span
	file   *file
	recs   []producer.UserRecord
	clean  int // up to where nothing is open and everything is emitted
}

func (k *containerCut) reset() {
	k.cutter.queue, k.cutter.qtext = k.cutter.queue[:0], k.cutter.qtext[:0]
	for i := range k.cutter.slots {
		k.cutter.slots[i].open = false
	}
}

// line takes the line data[start:end] in.
func (k *containerCut) line(data []byte, start, end int) {
	c := k.cutter
	raw := bytes.TrimSuffix(data[start:end], []byte("\n"))
	var l container.Line
	var ok bool
	if c.parsed, ok = c.format.Parse(raw, c.parsed, &l); !ok {
		// Whatever it is, it goes on as it stands.
		k.flow.stats.unparsed.Add(1)
		l = container.Line{Text: raw}
	}
	s, other := &c.slots[btoi(l.Stderr)], &c.slots[btoi(!l.Stderr)]
	if c.start == nil && !l.Partial && !s.open && !other.open && len(c.queue) == 0 {
		k.whole(data, start, end, &l)
		return
	}
	when := int64(0)
	if other.open || c.start != nil {
		when = container.When(l.Time)
	}
	if other.open && other.when > 0 && when-other.when >= int64(k.flow.cfg.MultiLineFlush) {
		k.close(other) // nothing more came for it, though its file grew
	}
	if !s.open {
		s.open, s.partial = true, false
		s.text, s.line, s.start, s.last = s.text[:0], 0, start, start
		s.stamp = append(s.stamp[:0], l.Time...)
		s.next = append(s.next[:0], l.Time...)
	} else if !s.partial {
		s.line, s.last = len(s.text), start
		s.next = append(s.next[:0], l.Time...)
	}
	s.text = append(s.text, l.Text...)
	s.partial = l.Partial
	s.when = when
	before := s.end
	s.end = end
	if l.Partial {
		return
	}
	s.text = append(s.text, '\n')
	switch {
	case c.start == nil:
		k.close(s)
	case s.line > 0 && (c.start.starts(s.text[s.line:]) || len(s.text) > k.flow.cfg.MultiLineMaxBytes):
		// What came before this line is a record; the line begins the next one.
		s.end = before
		k.enqueue(s, s.line)
		s.text = append(s.text[:0], s.text[s.line:]...)
		s.line, s.start, s.end = 0, s.last, end
		s.stamp = append(s.stamp[:0], s.next...)
	}
}

// whole emits a line that is a record, with nothing else open.
func (k *containerCut) whole(data []byte, start, end int, l *container.Line) {
	p := piece{data: l.Text, off: k.file.read + int64(start)}
	if n := len(l.Text); data[end-1] == '\n' && (n == 0 || &l.Text[n-1] == &data[end-2]) {
		// It lies in the chunk, and its newline behind it.
		p.data, p.inChunk = data[end-1-n:end], true
	} else {
		c := k.cutter
		c.qtext = append(append(c.qtext[:0], l.Text...), '\n')
		p.data = c.qtext
	}
	k.emit(p, l.Stderr, l.Time)
}

func (k *containerCut) emit(p piece, stderr bool, stamp []byte) {
	from := &k.cutter.from
	if from.Stream, from.Time = "stdout", stamp; stderr {
		from.Stream = "stderr"
	}
	k.recs = k.flow.emit(k.span, k.recs, k.file, p)
}

// close ends what is open in s.
func (k *containerCut) close(s *slot) {
	if s.partial {
		s.text = append(s.text, '\n')
	}
	k.enqueue(s, len(s.text))
	s.open, s.partial = false, false
}

// enqueue puts the first n bytes of the text of s into the queue.
func (k *containerCut) enqueue(s *slot, n int) {
	c := k.cutter
	q := queued{from: len(c.qtext), start: s.start, end: s.end, stderr: s == &c.slots[1]}
	c.qtext = append(c.qtext, s.text[:n]...)
	q.stampFrom = len(c.qtext)
	c.qtext = append(c.qtext, s.stamp...)
	q.to = len(c.qtext)
	c.queue = append(c.queue, q)
}

// settle emits the queue if nothing that is open began before an end in it. pos is
// behind the last line.
func (k *containerCut) settle(pos int) {
	c := k.cutter
	clean := pos
	for i := range c.slots {
		if s := &c.slots[i]; s.open {
			clean = min(clean, s.start)
		}
	}
	for _, q := range c.queue {
		if q.end > clean {
			return
		}
	}
	k.flush()
	k.clean = max(k.clean, clean)
}

func (k *containerCut) flush() {
	c := k.cutter
	// In the order in which they began.
	slices.SortStableFunc(c.queue, func(a, b queued) int { return a.start - b.start })
	for _, q := range c.queue {
		text, stamp := c.qtext[q.from:q.stampFrom], c.qtext[q.stampFrom:q.to]
		k.emit(piece{data: text, off: k.file.read + int64(q.start)}, q.stderr, stamp)
	}
	c.queue, c.qtext = c.queue[:0], c.qtext[:0]
}

// closeAll ends everything that is open and emits it.
func (k *containerCut) closeAll(pos int) {
	for i := range k.cutter.slots {
		if s := &k.cutter.slots[i]; s.open {
			k.close(s)
		}
	}
	k.flush()
	k.clean = pos
}
