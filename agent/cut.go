package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/streamkit/streamkit/agent/internal/charset"
	"github.com/streamkit/streamkit/agent/internal/container"
	"github.com/streamkit/streamkit/agent/internal/transform"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/producer"
)

// What to do with a record that is larger than it may be.
const (
	OversizeTruncate = "truncate" // send its beginning
	OversizeSplit    = "split"    // send it in pieces
	OversizeSkip     = "skip"     // leave it out

	OversizeDeadLetter = "deadletter" // append it to the dead letter file
)

// What to do with a record that an option cannot convert.
const (
	ParseErrorDrop = "drop" // leave it out
	ParseErrorRaw  = "raw"  // send it as it is

	ParseErrorDeadLetter = "deadletter" // append it to the dead letter file
)

// A cutter makes records of the bytes of a flow's files. The flow's loop owns it;
// but for run, which is safe for concurrent use where it says so.
type cutter struct {
	raw    bool     // records are lines as they stand in the file
	start  *starter // nil: a record is a line
	footer *regexp.Regexp
	enc    charset.Encoding
	format container.Format
	run    *transform.Run // nil: there are no options
	keys   *keyer         // nil: the key is the file's
	dead   *deadLetters

	// An open record is closed when its file did not grow for so long. Zero: it waits.
	flushAfter time.Duration

	from transform.Record
	text []byte // a line or record as UTF-8

	// Of containers.
	slots  [2]slot // of stdout and stderr
	queue  []queued
	qtext  []byte // of queue
	parsed []byte // text of a line of a json-file
}

// fileCut is what the cutter remembers of a file.
type fileCut struct {
	enc    charset.Encoding
	known  bool              // enc is
	source *container.Source // nil: not asked for yet
}

func newCutter(cfg *FlowConfig, log *slog.Logger, fsys vfs.FS) cutter {
	enc, _ := charset.Parse(cfg.Encoding) // validated
	keys, _ := newKeyer(cfg.PartitionKey) // validated
	c := cutter{
		keys: keys, dead: &deadLetters{fs: fsys, path: cfg.DeadLetterFile},
		enc: enc, footer: cfg.FileFooter, format: containerFormats[cfg.Container], flushAfter: cfg.FlushPartial,
	}
	if cfg.MultiLineStart != nil {
		c.start = newStarter(cfg.MultiLineStart)
	}
	if c.start != nil || c.format != container.None {
		c.flushAfter = cfg.MultiLineFlush
	}
	if cfg.DataProcessing != nil && len(cfg.DataProcessing.Options) > 0 {
		c.run = transform.NewRun(cfg.DataProcessing, func(s transform.Sample) {
			// Not its text: what is in the records is nobody's business here.
			log.Warn("a record could not be converted", slog.String("option", s.Option), slog.String("result", s.Result),
				slog.String("path", s.Path), slog.Int64("offset", s.Offset))
		})
	}
	c.raw = enc == charset.Bytes && c.footer == nil && c.run == nil && keys == nil
	return c
}

// startOptions prepares the options that need it, and keeps those at work that work
// beside the records, until ctx ends.
func (fl *flow) startOptions(ctx context.Context, wait *sync.WaitGroup) {
	if fl.cfg.DataProcessing == nil {
		return
	}
	for _, o := range fl.cfg.DataProcessing.Options {
		if o, ok := o.(interface {
			Prepare(ctx context.Context, log *slog.Logger)
			Run(ctx context.Context, log *slog.Logger)
		}); ok {
			o.Prepare(ctx, fl.log)
			wait.Go(func() { o.Run(ctx, fl.log) })
		}
	}
}

// maxData is the most bytes of a record without its partition key.
func (fl *flow) maxData() int { return fl.cfg.MaxRecordBytes - keyReserve }

// maxKept is the most that is kept of a line. Dead letters may be longer than records.
func (fl *flow) maxKept() int {
	if fl.cfg.OnOversize == OversizeDeadLetter || fl.cfg.OnParseError == ParseErrorDeadLetter {
		return max(fl.maxData(), maxDeadLetter)
	}
	return fl.maxData()
}

// encoding returns how the characters of g are written.
func (fl *flow) encoding(g *file) charset.Encoding {
	if !fl.cutter.enc.Marked() {
		return fl.cutter.enc
	}
	if !g.content.known && g.f != nil {
		g.content.enc, g.content.known = fl.encodingOf(g.f, g.path), true
	}
	return g.content.enc
}

// encodingOf returns how the characters of a file are written, which may be for its
// first bytes to say.
func (fl *flow) encodingOf(f vfs.File, path string) charset.Encoding {
	enc, err := detect(f, fl.cutter.enc)
	if err != nil {
		fl.trouble(path, "cannot read", err)
	}
	return enc
}

// detect returns enc, or what the first bytes of f say if that is for them to say.
func detect(f io.ReaderAt, enc charset.Encoding) (charset.Encoding, error) {
	if !enc.Marked() {
		return enc, nil
	}
	var head [4]byte // more than any mark has
	n, err := f.ReadAt(head[:], 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	enc, _ = enc.Detect(head[:n])
	return enc, err
}

// lineEnd returns the index behind the first newline in b, which stands at off in
// the file, or -1.
func (fl *flow) lineEnd(g *file, b []byte, off int64) int {
	return fl.encoding(g).LineEnd(b, off&1 == 1)
}

// cut cuts the whole records out of data, and with g.final at the end of the
// file the rest too. It returns how many bytes that took.
func (fl *flow) cut(g *file, c *chunk, data []byte, atEnd bool) (*span, int) {
	s := newSpan()
	start := len(c.Recs)
	var pos int
	if fl.cutter.format != container.None {
		c.Recs, pos = fl.cutContainer(s, c, g, data, atEnd)
	} else {
		c.Recs, pos = fl.cutRecords(s, c, g, data, atEnd)
	}
	s.recs = c.Recs[start:len(c.Recs):len(c.Recs)]
	s.chunk = c
	return s, pos
}

// cutRecords is cut for files whose lines are what was logged.
func (fl *flow) cutRecords(s *span, c *chunk, g *file, data []byte, atEnd bool) ([]producer.UserRecord, int) {
	recs := c.Recs
	pos := fl.head0(g, data)
	limit := fl.maxData()
	for pos < len(data) && len(recs) < cap(recs) {
		n := fl.boundary(g, data[pos:], g.read+int64(pos), atEnd)
		if n == 0 {
			break
		}
		rec := data[pos : pos+n]
		pos += n
		switch {
		case g.headerLeft > 0:
			g.headerLeft--
			fl.stats.filtered.Add(1)
		case fl.cutter.raw && n <= limit:
			recs = append(recs, producer.UserRecord{PartitionKey: g.key, Data: rec})
		default:
			recs = fl.emit(s, recs, g, piece{data: rec, off: g.read + int64(pos-n), inChunk: true})
		}
	}
	return recs, pos
}

// head0 returns how many bytes at the start of data are no text: a byte order mark,
// and the hole that a truncation left.
func (fl *flow) head0(g *file, data []byte) int {
	if g.read > 0 && !g.nul {
		return 0
	}
	pos := 0
	if g.read == 0 && fl.cutter.enc != charset.Bytes {
		// Less than a character now, and more later, is looked at again.
		g.content.enc, pos = fl.cutter.enc.Detect(data)
		g.content.known = true
		if pos > 0 {
			return pos
		}
	}
	if g.nul {
		pos = len(data) - len(bytes.TrimLeft(data, "\x00"))
		if fl.encoding(g).Wide() {
			pos &^= 1
		}
		g.nul = pos == len(data) && !g.final // it may be longer than what is read at once
		fl.lost(lossHole, int64(pos))
	}
	return pos
}

// boundary returns the length of the record at the start of data, which stands at
// off, or 0 if its end is not there yet.
func (fl *flow) boundary(g *file, data []byte, off int64, atEnd bool) int {
	if fl.cutter.start != nil && g.headerLeft == 0 {
		return fl.multiLine(g, data, off, atEnd)
	}
	if fl.cutter.enc == charset.Bytes {
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			return i + 1
		}
	} else if end := fl.lineEnd(g, data, off); end > 0 {
		return end
	}
	switch {
	case atEnd && (g.final || fl.overdue(g)):
		return len(data)
	case fl.cfg.OnOversize == OversizeSplit && len(data) >= fl.maxData():
		return fl.encoding(g).Boundary(data, fl.maxData())
	}
	return 0
}

// overdue reports whether what is open in g has waited long enough.
func (fl *flow) overdue(g *file) bool {
	return fl.cutter.flushAfter > 0 && time.Since(g.grew) >= fl.cutter.flushAfter
}

// multiLine is boundary where a record ends before the next line that starts one.
func (fl *flow) multiLine(g *file, data []byte, off int64, atEnd bool) int {
	limit := fl.cfg.MultiLineMaxBytes
	pos := 0
	for {
		n := fl.lineEnd(g, data[pos:], off+int64(pos))
		if n < 0 {
			break
		}
		if pos > 0 && (fl.startsRecord(g, data[pos:pos+n]) || pos+n > limit) {
			return pos // at the next start, or too long: at the last line that fits
		}
		pos += n
	}
	switch {
	case atEnd && g.final:
		if rest := data[pos:]; pos > 0 && (len(data) > limit || fl.startsRecord(g, rest)) {
			return pos // the last line has no end, but is not of this record
		}
		return len(data)
	case atEnd && fl.overdue(g):
		if pos == 0 && fl.cfg.FlushPartial > 0 && time.Since(g.grew) >= fl.cfg.FlushPartial {
			return len(data)
		}
		return pos
	case len(data) >= fl.maxData():
		if pos == 0 && fl.cfg.OnOversize == OversizeSplit {
			return fl.encoding(g).Boundary(data, fl.maxData())
		}
		return pos
	}
	return 0
}

// startsRecord reports whether a line of the file starts a record.
func (fl *flow) startsRecord(g *file, line []byte) bool {
	if fl.cutter.enc != charset.Bytes {
		fl.cutter.text = fl.encoding(g).Append(fl.cutter.text[:0], line)
		line = fl.cutter.text
	}
	return fl.cutter.start.starts(line)
}

// A piece is a record on its way from the file to the sink.
type piece struct {
	data    []byte
	off     int64 // where it begins in the file
	missing int   // bytes of the file that belong to it and are not in data
	inChunk bool  // data lies in the span's chunk, and stays there
}

// emit appends the record p, converted, cut and with its key.
func (fl *flow) emit(s *span, recs []producer.UserRecord, g *file, p piece) []producer.UserRecord {
	c := &fl.cutter
	rec := p.data
	if c.enc != charset.Bytes {
		c.text = fl.encoding(g).Append(c.text[:0], rec)
		rec, p.inChunk = c.text, false
	}
	if c.footer != nil && c.footer.Match(bytes.TrimSpace(rec)) {
		fl.stats.filtered.Add(1)
		return recs
	}
	start, text := len(s.arena), rec
	converted := false
	if c.run != nil {
		c.from.Path, c.from.Offset, c.from.Inode = g.path, p.off, g.id.Ino
		var res transform.Result
		s.arena, res = c.run.Append(s.arena, rec, &c.from)
		converted = res == transform.Converted
		if !converted && !fl.sendsAsItIs(res, rec, p.missing) {
			return recs
		}
	}
	if !converted && !p.inChunk {
		s.arena = append(s.arena, rec...)
	}
	if converted || !p.inChunk {
		rec = s.arena[start:len(s.arena):len(s.arena)]
	}
	return fl.fit(recs, g, rec, text, converted, p.missing)
}

// sendsAsItIs decides what becomes of a record that was not converted, and counts
// it. missing bytes of it are not in rec.
func (fl *flow) sendsAsItIs(res transform.Result, rec []byte, missing int) bool {
	if res == transform.Filtered {
		fl.stats.filtered.Add(1)
		return false
	}
	fl.stats.unparsed.Add(1)
	// Without a setting it is as in the official agent: a line that is not of the
	// format is left out, and what else goes wrong is sent.
	if fl.cfg.OnParseError == ParseErrorRaw || fl.cfg.OnParseError == "" && res == transform.Failed {
		return true
	}
	if fl.cfg.OnParseError == ParseErrorDeadLetter {
		if !fl.cutter.dead.add(rec) {
			return true // rather sent than lost
		}
		fl.stats.deadLetters.Add(1)
		fl.lost(lossOversize, int64(missing))
		return false
	}
	fl.lost(lossUnparsed, int64(len(rec)+missing))
	return false
}

// fit appends a record that is ready but for its size. rec stays where it is; text is what
// it was before the options, which have made something else of it if it is converted.
func (fl *flow) fit(recs []producer.UserRecord, g *file, rec, text []byte, converted bool, missing int) []producer.UserRecord {
	limit := fl.maxData()
	if len(rec) <= limit && missing == 0 {
		return fl.add(recs, g, rec)
	}
	fl.stats.oversize.Add(1)
	switch fl.cfg.OnOversize {
	case OversizeSkip:
		fl.lost(lossOversize, int64(len(rec)+missing))
		return recs
	case OversizeDeadLetter:
		if fl.cutter.dead.add(text) {
			fl.stats.deadLetters.Add(1)
			fl.lost(lossOversize, int64(missing))
			return recs
		}
	case OversizeSplit:
		for len(rec) > 0 {
			n := charset.Whole(rec, limit)
			recs = fl.add(recs, g, rec[:n:n])
			rec = rec[n:]
		}
		fl.lost(lossOversize, int64(missing))
		return recs
	}
	if converted && len(rec) <= limit {
		// What an option has made of the beginning of a line is whole in itself.
		fl.lost(lossOversize, int64(missing))
		return fl.add(recs, g, rec)
	}
	// A copy: the bytes of the chunk are still needed as they are in the file.
	term := fl.cfg.TruncatedRecordTerminator
	if fl.cfg.NoRecordTerminator {
		term = ""
	}
	keep := charset.Whole(rec, min(len(rec), limit-len(term)))
	fl.lost(lossOversize, int64(len(rec)-keep+missing))
	return fl.add(recs, g, append(bytes.Clone(rec[:keep]), term...))
}

// add appends a record with its key.
func (fl *flow) add(recs []producer.UserRecord, g *file, rec []byte) []producer.UserRecord {
	key := g.key
	if fl.cutter.keys != nil {
		key = fl.cutter.keys.key(rec)
	}
	return append(recs, producer.UserRecord{PartitionKey: key, Data: rec})
}
