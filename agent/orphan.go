package agent

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
)

// truncated ends the generation g, whose file has lost its content, and starts
// another one on the same file. What g had not read yet may be in a copy: until its
// window ends, g is an orphan that looks for one. size is how long it had been.
func (fl *flow) truncated(g *file, size int64, now time.Time) {
	g.size = size
	fl.log.Info("file truncated", slog.String("path", g.path), slog.Int64("read", g.read), slog.Int64("size", g.size))
	fl.stats.rotation("truncate")
	c := &candidate{f: g.f, path: g.path, id: g.id, birth: g.birth}
	g.f = nil
	if g.long != nil {
		g.long.chunk.Release()
		g.long = nil
	}
	fl.detach(g, lossTruncated, now)

	if fi, err := c.f.Stat(); err == nil {
		c.size = fi.Size()
	}
	if err := c.head.Read(c.f, c.size); err != nil {
		fl.trouble(c.path, "cannot read", err)
	}
	n := fl.newFile(c, now)
	n.nul, n.rotated, n.rotatedAt = true, g.rotated, g.rotatedAt
	fl.look(n, now)
	fl.scanSoon(scanAfter)
}

// detach makes an orphan of g: its file is no longer its own.
func (fl *flow) detach(g *file, reason lossReason, now time.Time) {
	delete(fl.byID, g.id)
	fl.mu.Lock()
	delete(fl.listed, g)
	fl.mu.Unlock()
	g.id, g.birth = tail.ID{}, 0
	g.window, g.reason = now.Add(fl.cfg.RotateWait), reason
	g.update(func(e *position.Entry) { e.ID, e.Birth = g.id, 0 })
	fl.orphan(g)
}

// adopt gives files to the orphans whose content they hold, first by inode, then
// by content, and returns the files that are left.
func (fl *flow) adopt(found []*candidate, now time.Time) []*candidate {
	if len(fl.orphans) == 0 {
		return found
	}
	left := found[:0]
	for _, c := range found {
		if o := fl.byInode(c); o != nil {
			fl.resume(o, c, now)
			continue
		}
		left = append(left, c)
	}
	// The newest file first: content that several files share is most likely
	// continued by it.
	slices.SortStableFunc(left, func(a, b *candidate) int { return int(min(max(b.mtime-a.mtime, -1), 1)) })
	found, left = left, nil
	for _, c := range found {
		if o := fl.byContent(c); o != nil {
			fl.resume(o, c, now)
			continue
		}
		left = append(left, c)
	}
	return left
}

// byInode returns the orphan that c is, as its inode and content say.
func (fl *flow) byInode(c *candidate) *file {
	for _, o := range fl.orphans {
		if o.id != c.id || o.birth != 0 && c.birth != 0 && o.birth != c.birth {
			continue
		}
		if c.size >= o.read && c.head.Has(o.prefix) && fl.marked(c, o) {
			return o
		}
		// The inode was given to another file, or the file has other content now.
		o.id, o.birth, o.reason = tail.ID{}, 0, lossTruncated
		o.update(func(e *position.Entry) { e.ID, e.Birth = o.id, 0 })
	}
	return nil
}

// byContent returns the orphan that c is a copy of, or the moved file. One that was
// read to its end and done with is only taken for the same file restored.
func (fl *flow) byContent(c *candidate) *file {
	var best *file
	for _, o := range fl.orphans {
		restored := o.ended && o.reason == lossMissing && !fl.scanned &&
			o.path == c.path && o.size == c.size && o.mtime == c.mtime
		// A few bytes say little, unless they are all there was and the names agree too.
		enough := o.prefix.Len >= tail.PrefixMin || o.read > 0 && int64(o.prefix.Len) >= o.read &&
			o.reason == lossTruncated && strings.HasPrefix(c.path, o.path)
		if o.window.IsZero() && !restored || !enough || c.size < o.read {
			continue
		}
		if c.head.Has(o.prefix) && fl.marked(c, o) && (best == nil || o.path == c.path) {
			best = o
		}
	}
	return best
}

// resume makes a live generation of the orphan o again, on the file c.
func (fl *flow) resume(o *file, c *candidate, now time.Time) {
	fl.orphans = slices.DeleteFunc(fl.orphans, func(g *file) bool { return g == o })
	o.f, o.id, o.birth, o.listed, o.misses, o.idleSize = c.f, c.id, c.birth, true, 0, -1
	o.prevPath = ""
	if c.path != o.path {
		o.prevPath, o.path = o.path, c.path
	}
	o.readNow.Store(o.read)
	if b, err := tail.Before(c.f, o.read, &o.before); err == nil {
		o.nbefore = len(b)
	}
	copied := o.reason == lossTruncated && !o.window.IsZero()
	o.window, o.grew, o.long = time.Time{}, now, nil
	if (copied || c.sibling) && !o.rotated {
		fl.rotate(o, now, "copy")
	}
	o.rotatedAt = now
	if o.ended && c.size > o.read {
		o.reopen()
	}
	o.update(func(e *position.Entry) { e.ID, e.Birth, e.Path, e.Lost = o.id, o.birth, o.path, false })
	fl.enlist(o)
	if o.ended {
		o.size, o.mtime = c.size, c.mtime
		fl.closeFile(o)
		return
	}
	o.size = o.read // what the store knew may be more than the file now has
	fl.look(o, now)
}

// closeWindows ends the search for the orphans whose time is over and counts what
// they had not read. It reports whether others still wait.
func (fl *flow) closeWindows(now time.Time) (waiting bool) {
	for _, o := range fl.orphans {
		if o.window.IsZero() {
			continue
		}
		if now.Before(o.window) {
			waiting = true
			continue
		}
		o.window = time.Time{}
		lost := max(0, o.size-o.read)
		if lost > 0 {
			fl.lost(o.reason, lost)
			fl.log.Warn("bytes were gone before they were read",
				slog.String("path", o.path), slog.Int64("bytes", lost), slog.String("reason", o.reason.String()))
		}
		o.update(func(e *position.Entry) { e.Lost = lost > 0 })
		o.end(false)
	}
	return waiting
}

// suspicious reports whether c may be a copy in the making of a live file. It is
// then left alone until it is clear: the original is truncated and c adopted, or
// c stopped growing for RotateWait and is a file of its own.
func (fl *flow) suspicious(c *candidate, now time.Time) bool {
	var g *file
	if !fl.once && fl.scanned {
		g = fl.originalOf(c)
	}
	if g == nil {
		delete(fl.suspects, c.id)
		return false
	}
	s := fl.suspects[c.id]
	if s == nil {
		s = &suspect{since: now, grew: now}
		fl.suspects[c.id] = s
	}
	if c.size != s.size {
		s.size, s.grew = c.size, now
	}
	if (g.deleted || now.Sub(s.grew) < fl.cfg.RotateWait) && now.Sub(s.since) < 12*fl.cfg.RotateWait {
		return true
	}
	delete(fl.suspects, c.id)
	return false
}

// originalOf returns the live file that c seems to be a copy of.
func (fl *flow) originalOf(c *candidate) *file {
	for _, g := range fl.byID {
		if g.f == nil || g.read == 0 || g.rotated && !g.deleted {
			continue
		}
		if !g.deleted && len(filepath.Base(g.path)) >= len(filepath.Base(c.path)) {
			continue // a copy has the longer name
		}
		// The hash tells even when the original has other content by now; the content
		// itself is needed while the copy is shorter than what the hash covers.
		same := g.prefix.Len >= tail.PrefixMin && c.head.Has(g.prefix)
		if !same && c.size < int64(g.prefix.Len) && fl.head.Read(g.f, g.size) == nil {
			var n int
			n, same = c.head.Shares(&fl.head)
			same = same && n >= tail.PrefixMin
		}
		if same && (c.size < g.read || fl.marked(c, g)) {
			return g
		}
	}
	return nil
}
