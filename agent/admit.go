package agent

import (
	"io"
	"time"

	"github.com/streamkit/streamkit/agent/internal/charset"
	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
)

// admit starts a new generation.
func (fl *flow) admit(c *candidate, s *sweep) {
	off, why := fl.startAt(c, s)
	if why == startLater {
		fl.drop(c)
		s.again = true
		return
	}
	g := fl.newFile(c, s.now)
	if why != startNew {
		g.read, g.headerLeft = off, fl.headerLeft(c, off)
		if b, err := tail.Before(c.f, off, &g.before); err == nil {
			g.nbefore = len(b)
		}
	}
	if s.originals != nil {
		s.original(g)
	}
	g.readNow.Store(g.read)
	g.update(func(e *position.Entry) {
		e.Committed, e.HeaderLeft = g.read, g.headerLeft
		e.Marker = tail.PrintOf(g.before[:g.nbefore])
	})
	fl.look(g, s.now)
	poke(fl.soon)
}

type startReason int

const (
	startNew    startReason = iota // at 0
	startEnd                       // there at the first start, seen or not: behind its last line
	startBehind                    // it has what another had: behind what was read of that
	startLater                     // as startBehind, once that is acknowledged
)

// startAt returns where a new generation begins. A file that took the name of
// another, with its content and perhaps more, as editors and rsync make it, is read
// from where the other was: what lies before is the same bytes.
func (fl *flow) startAt(c *candidate, s *sweep) (int64, startReason) {
	if fl.fresh && !fl.cfg.StartOfFile || fl.wasThere(c) {
		off, err := lastLine(c.f, c.size, fl.encodingOf(c.f, c.path))
		if err != nil {
			fl.trouble(c.path, "cannot read", err)
		}
		return off, startEnd
	}
	for _, g := range s.left(fl)[c.path] {
		if fl.byID[g.id] != g || g.listed || g.ended || s.blind(g.path) || g.read == 0 || g.prefix.Len < tail.PrefixMin ||
			c.size < g.read || !c.head.Has(g.prefix) || !fl.marked(c, g) {
			continue
		}
		g.mu.Lock()
		committed := len(g.spans) == 0 && g.entry.Committed == g.read
		g.mu.Unlock()
		if !committed {
			return 0, startLater
		}
		return g.read, startBehind
	}
	return 0, startNew
}

// headerLeft returns how many header lines of c do not lie before off: a file may be
// found before its header is whole.
func (fl *flow) headerLeft(c *candidate, off int64) int {
	left, err := headerLeft(c.f, off, fl.cfg.SkipHeaderLines, fl.encodingOf(c.f, c.path))
	if err != nil {
		fl.trouble(c.path, "cannot read", err)
	}
	return left
}

// headerLeft returns how many of n header lines do not end before off.
func headerLeft(f io.ReaderAt, off int64, n int, enc charset.Encoding) (int, error) {
	var buf [4 << 10]byte
	for at := int64(0); at < off && n > 0; {
		b := buf[:min(int64(len(buf)), off-at)]
		if _, err := f.ReadAt(b, at); err != nil {
			return 0, err
		}
		if end := enc.LineEnd(b, at&1 == 1); end > 0 {
			n, b = n-1, b[:end]
		}
		at += int64(len(b))
	}
	return n, nil
}

// left returns the live files, by path, that the sweep has not found where they were:
// other files may have taken their names.
func (s *sweep) left(fl *flow) map[string][]*file {
	if s.leftAt == nil {
		s.leftAt = make(map[string][]*file)
		for _, g := range fl.byID {
			if !g.listed {
				s.leftAt[g.path] = append(s.leftAt[g.path], g)
			}
		}
	}
	return s.leftAt
}

// newFile makes a live generation of c that begins at 0.
func (fl *flow) newFile(c *candidate, now time.Time) *file {
	uid := newUID(c.id, c.birth, 0)
	for attempt := uint64(1); fl.taken(uid); attempt++ {
		uid = newUID(c.id, c.birth, attempt)
	}
	fl.uids[uid] = struct{}{}
	g := &file{
		flow: fl, f: c.f, path: c.path, id: c.id, birth: c.birth, idleSize: -1,
		headerLeft: fl.cfg.SkipHeaderLines, grew: now, listed: true, remote: fl.remote(c.path),
	}
	g.setPrefix(&c.head)
	if fl.cfg.PartitionKey == KeyFile {
		g.key = fileKey(uid)
	}
	g.entry = position.Entry{
		Flow: fl.cfg.ID, UID: uid, ID: c.id, Birth: c.birth, Path: c.path, Prefix: g.prefix, HeaderLeft: g.headerLeft,
	}
	fl.enlist(g)
	fl.protect(g)
	fl.pollSoon(now)
	return g
}

// taken reports whether a generation, live or known from before, has the uid.
func (fl *flow) taken(uid uint64) bool {
	_, ok := fl.uids[uid]
	return ok || fl.store.Has(fl.cfg.ID, uid)
}

func (fl *flow) enlist(g *file) {
	fl.byID[g.id] = g
	fl.mu.Lock()
	fl.listed[g] = struct{}{}
	fl.mu.Unlock()
}

// lastLine returns the offset behind the last newline of the last 5 MiB, or size if
// there is none.
func lastLine(f vfs.File, size int64, enc charset.Encoding) (int64, error) {
	buf := make([]byte, 64<<10)
	end := size
	if enc.Wide() {
		end &^= 1 // so that no character lies across two reads
	}
	for end > max(0, size-5<<20) {
		n := min(end, int64(len(buf)))
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return size, err
		}
		if i := enc.LastLineEnd(buf[:n], (end-n)&1 == 1); i >= 0 {
			return end - n + int64(i), nil
		}
		if end -= n; end == 0 {
			return 0, nil // one line that is not finished
		}
	}
	return size, nil
}
