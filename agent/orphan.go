package agent

import (
	"cmp"
	"io/fs"
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
	g.f, g.long, g.large = nil, nil, false
	fl.detach(g, lossTruncated)

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
func (fl *flow) detach(g *file, reason lossReason) {
	fl.delist(g)
	fl.unprotect(g) // its second name is the file's
	g.id, g.birth = tail.ID{}, 0
	// From now on: the process may have been stopped since its last look at the clock.
	g.window, g.reason, g.unsought = time.Now().Add(fl.cfg.RotateWait), reason, fl.cfg.SkipSiblings && reason == lossTruncated
	g.update(func(e *position.Entry) { e.ID, e.Birth = g.id, 0 })
	fl.orphan(g)
}

// orphan adds g to the orphans and forgets the oldest if they are too many. Not those that
// look for their content, and none while there are files that no scan could open yet:
// one of those may be theirs, and would be read again from its beginning.
func (fl *flow) orphan(g *file) {
	fl.addOrphan(g)
	if len(fl.orphans)-len(fl.seeking) <= maxOrphans || !fl.scannedAll {
		return
	}
	// Some at once, so that the search for them is seldom.
	var idle []*file
	for o := range fl.orphans {
		if _, ok := fl.seeking[o]; !ok {
			idle = append(idle, o)
		}
	}
	slices.SortFunc(idle, func(a, b *file) int { return cmp.Compare(a.orphaned, b.orphaned) })
	for _, old := range idle[:max(1, maxOrphans/8)] {
		fl.removeOrphan(old)
		delete(fl.uids, old.entry.UID)
		old.end(true)
	}
}

func (fl *flow) addOrphan(g *file) {
	fl.seq++
	g.orphaned = fl.seq
	fl.orphans[g] = struct{}{}
	if g.id != (tail.ID{}) {
		fl.orphanByID[g.id] = append(fl.orphanByID[g.id], g)
	}
	if !g.window.IsZero() {
		fl.seeking[g] = struct{}{}
	}
}

func (fl *flow) removeOrphan(o *file) {
	delete(fl.orphans, o)
	delete(fl.seeking, o)
	fl.forgetID(o)
}

// forgetID takes the inode from o's marks.
func (fl *flow) forgetID(o *file) {
	rest := slices.DeleteFunc(fl.orphanByID[o.id], func(g *file) bool { return g == o })
	if len(rest) == 0 {
		delete(fl.orphanByID, o.id)
	} else {
		fl.orphanByID[o.id] = rest
	}
}

// adopt gives files to the orphans whose content they hold, first by inode, then
// by content, and returns the files that are left.
func (fl *flow) adopt(s *sweep) []*candidate {
	if len(fl.orphans) == 0 {
		return fl.dropGzips(s.found)
	}
	var left []*candidate
	for _, c := range s.found {
		if o := fl.byInode(c); o != nil {
			if fl.measured(o, c, s) {
				fl.resume(o, c, s.now)
			}
			continue
		}
		left = append(left, c)
	}
	if len(left) == 0 {
		return nil
	}
	// The newest file first: content that several files share is most likely
	// continued by it.
	slices.SortStableFunc(left, func(a, b *candidate) int { return cmp.Compare(b.mtime, a.mtime) })
	index := fl.indexContent()
	rest := left[:0]
	for _, c := range left {
		if o := index.find(fl, c); o != nil {
			if fl.measured(o, c, s) {
				fl.resume(o, c, s.now)
			}
			continue
		}
		rest = append(rest, c)
	}
	return fl.dropGzips(rest)
}

// dropGzips lets go of the compressed files: they are read for orphans alone.
func (fl *flow) dropGzips(found []*candidate) []*candidate {
	return slices.DeleteFunc(found, func(c *candidate) bool {
		if c.gz != nil {
			fl.drop(c)
		}
		return c.gz != nil
	})
}

// measured finds out how long the content of a compressed file is. It reports
// whether the file can be read for o; one that is still being written will be.
func (fl *flow) measured(o *file, c *candidate, s *sweep) bool {
	if c.gz == nil {
		return true
	}
	size, err := c.gz.Measure()
	if err != nil || size < o.read {
		fl.drop(c)
		if err != nil && !o.window.IsZero() && o.packing(c, s.now) < 12*fl.cfg.RotateWait {
			o.window = s.now.Add(fl.cfg.RotateWait)
			s.again = true
		}
		return false
	}
	c.size = size
	return true
}

// packing returns for how long c, a compressed file with the content of g that is not
// whole, has not grown: one that is broken off never will.
func (g *file) packing(c *candidate, now time.Time) time.Duration {
	if c.id != g.packID || c.packed != g.packSize {
		g.packID, g.packSize, g.packGrew = c.id, c.packed, now
	}
	return now.Sub(g.packGrew)
}

// byInode returns the orphan that c is, as its inode and content say.
func (fl *flow) byInode(c *candidate) *file {
	var others []*file
	defer func() {
		for _, o := range others {
			// The inode was given to another file, or the file has other content now.
			fl.forgetID(o)
			o.id, o.birth, o.reason = tail.ID{}, 0, lossTruncated
			o.update(func(e *position.Entry) { e.ID, e.Birth = o.id, 0 })
		}
	}()
	for _, o := range fl.orphanByID[c.id] {
		if o.birth != 0 && c.birth != 0 && o.birth != c.birth {
			continue
		}
		if o.blank() {
			continue // there is nothing to tell it by, and nothing to go on from
		}
		if (c.gz != nil || c.size >= o.read) && c.head.Has(o.prefix) && fl.marked(c, o) {
			return o
		}
		others = append(others, o)
	}
	return nil
}

// A contentIndex finds orphans by how their files begin.
type contentIndex struct {
	lens     map[int]bool // of the prefixes
	byPrefix map[tail.Print][]*file
	restored map[string][]*file // by path
}

// indexContent returns the index of the orphans that look for their content. One
// that was read to its end and done with is only taken for the same file restored,
// at the start.
func (fl *flow) indexContent() *contentIndex {
	x := &contentIndex{lens: make(map[int]bool), byPrefix: make(map[tail.Print][]*file), restored: make(map[string][]*file)}
	for o := range fl.seeking {
		x.lens[o.prefix.Len] = true
		x.byPrefix[o.prefix] = append(x.byPrefix[o.prefix], o)
	}
	if fl.scanned {
		return x
	}
	for o := range fl.orphans {
		if o.ended && o.reason == lossMissing {
			x.restored[o.path] = append(x.restored[o.path], o)
		}
	}
	return x
}

// find returns the orphan that c is a copy of, or the moved file.
func (x *contentIndex) find(fl *flow, c *candidate) *file {
	var best *file
	better := func(o *file) bool {
		if best == nil || (o.path == c.path) != (best.path == c.path) {
			return best == nil || o.path == c.path
		}
		return o.orphaned < best.orphaned // an order, whatever the map's is
	}
	fits := func(o *file) bool {
		// A few bytes say little, unless they are all there was and the names agree too.
		all := o.read
		if all == 0 {
			all = max(o.size, 1) // of a line without an end
		}
		enough := o.prefix.Len >= tail.PrefixMin || int64(o.prefix.Len) >= all &&
			o.reason == lossTruncated && strings.HasPrefix(c.path, o.path)
		if c.gz != nil {
			// While it is being written it may not reach the place yet.
			return enough && (fl.marked(c, o) || !c.gz.Whole())
		}
		return enough && c.size >= o.read && fl.marked(c, o)
	}
	for n := range x.lens {
		p, ok := c.head.First(n)
		if !ok {
			continue
		}
		for _, o := range x.byPrefix[p] {
			if _, still := fl.seeking[o]; still && better(o) && fits(o) {
				best = o
			}
		}
	}
	for _, o := range x.restored[c.path] {
		if _, still := fl.orphans[o]; still && o.size == c.size && o.mtime == c.mtime && c.head.Has(o.prefix) && better(o) && fits(o) {
			best = o
		}
	}
	return best
}

// resume makes a live generation of the orphan o again, on the file c.
func (fl *flow) resume(o *file, c *candidate, now time.Time) {
	fl.removeOrphan(o)
	itself := o.id == c.id
	if !itself {
		fl.unprotect(o)
	}
	o.f, o.id, o.birth, o.listed, o.misses, o.idleSize = c.f, c.id, c.birth, !c.kept, 0, -1
	o.prevPath, o.deleted = "", false
	if start, ok := c.head.First(tail.PrefixMin); ok {
		o.start = start
	}
	if c.path != o.path && !c.kept {
		o.prevPath, o.path = o.path, c.path
	}
	o.readNow.Store(o.read)
	if b, err := tail.Before(c.f, o.read, &o.before); err == nil {
		o.nbefore = len(b)
	}
	o.remote = fl.remote(c.path)
	copied := o.reason == lossTruncated && !o.window.IsZero()
	o.window, o.grew, o.long, o.large = time.Time{}, now, nil, false
	if (copied || c.sibling) && !o.rotated {
		kind := "copy"
		switch {
		case c.gz != nil:
			kind = "compress"
		case c.kept, itself:
			kind = "move"
		}
		fl.rotate(o, now, kind)
	}
	o.rotatedAt = now
	if o.ended && c.size > o.read {
		o.reopen()
	}
	o.update(func(e *position.Entry) { e.ID, e.Birth, e.Path, e.Lost = o.id, o.birth, o.path, false })
	fl.enlist(o)
	if c.gz == nil {
		fl.protect(o)
	}
	if o.ended {
		o.size, o.mtime = c.size, c.mtime
		fl.closeFile(o)
		return
	}
	o.size = o.read // what the store knew may be more than the file now has
	fl.look(o, now)
}

// asLeft returns the orphan that the file at path is, without a look into it: nothing of
// it has changed since the store knew that all of it was delivered. nil: it is to be
// looked at.
func (fl *flow) asLeft(id tail.ID, path string, fi fs.FileInfo) *file {
	if fl.scanned || fl.remote(path) || tail.Compressed(path) {
		return nil
	}
	mtime := fi.ModTime()
	for _, o := range fl.orphanByID[id] {
		if o.path != path || o.size != fi.Size() || o.mtime != mtime.UnixNano() || o.read != o.size || o.blank() {
			continue
		}
		// Where times are whole seconds, a change within the one of the last look shows in none.
		fine := mtime.Nanosecond() != 0 || o.entry.Updated > mtime.Unix()+1
		if unlinked := fl.keeper != nil && fl.keeper.names[o] == "" && !o.ended; fine && !unlinked {
			return o
		}
	}
	return nil
}

// resumeClosed makes a live generation of the orphan o again, whose file is as it was.
// That can wait to be opened until those have been that are not.
func (fl *flow) resumeClosed(o *file, now time.Time) {
	fl.removeOrphan(o)
	o.listed, o.window, o.rotatedAt = true, time.Time{}, now
	if o.grew = time.Unix(0, o.mtime); o.grew.After(now) {
		o.grew = now
	}
	o.readNow.Store(o.read)
	fl.enlist(o)
	if !o.ended && !fl.once {
		fl.shut = append(fl.shut, o)
	}
}

// openShut opens some of the files that were as they were at the start, so that what
// happens to them later is seen.
func (fl *flow) openShut(now time.Time) {
	s := &sweep{now: now}
	n := min(len(fl.shut), 1+int(fl.cfg.PollInterval/openEvery))
	for _, g := range fl.shut[:n] {
		if g.f != nil || g.ended || fl.byID[g.id] != g || !g.listed || int(fl.stats.openFiles.Load()) >= fl.cfg.MaxOpenFiles {
			continue
		}
		if c := fl.wakeFile(g, g.path, s); c != nil {
			fl.drop(c)
			fl.scanSoon(0)
		}
	}
	if fl.shut = fl.shut[n:]; len(fl.shut) == 0 {
		fl.shut = nil
	}
}

// closeWindows ends the search for the orphans whose time is over and counts what
// they had not read. It reports whether others still wait, as all do while there are
// files that cannot be opened yet: what is sought may be in one of them. The search of an
// orphan whose directory cannot be looked at goes on until it can, with the usual scans.
func (fl *flow) closeWindows(now time.Time) (waiting bool) {
	for o := range fl.seeking {
		if fl.outOfSight(o) {
			o.window = now.Add(fl.cfg.RotateWait)
			continue
		}
		// Nor is it over before there was a scan: the clock jumps where a process is stopped.
		unsought := !fl.once && fl.lastScan.Before(o.window.Add(-fl.cfg.RotateWait))
		if now.Before(o.window) || !fl.scannedAll || unsought {
			waiting = true
			continue
		}
		fl.giveUp(o)
	}
	return waiting
}

// outOfSight reports whether what o looks for may be where the last scan could not look.
func (fl *flow) outOfSight(o *file) bool {
	if len(fl.hidden) == 0 {
		return false
	}
	for _, dir := range fl.cfg.RotatedDirs {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(filepath.Dir(o.path), dir)
		}
		if fl.hidden[filepath.Clean(dir)] {
			return true
		}
	}
	return within(fl.hidden, o.path)
}

// giveUp ends the search of an orphan.
func (fl *flow) giveUp(o *file) {
	if o.window.IsZero() {
		return
	}
	o.window = time.Time{}
	delete(fl.seeking, o)
	lost := max(0, o.size-o.read)
	if lost > 0 {
		fl.lost(o.reason, lost)
		fl.log.Warn("bytes were gone before they were read",
			slog.String("path", o.path), slog.Int64("bytes", lost), slog.String("reason", o.reason.String()))
	}
	o.update(func(e *position.Entry) {
		if e.Lost = lost > 0; e.Lost && len(o.spans) > 0 {
			e.Size = o.read // the rest is not lost yet: if it is not delivered, the next start counts it
		}
	})
	o.end(false)
}

// suspicious reports whether c may be a copy in the making of a live file. It is
// then left alone until it is clear: the original is truncated and c adopted, or
// c stopped growing for RotateWait, the original shows that it was not truncated, and
// c is a file of its own.
func (fl *flow) suspicious(c *candidate, sw *sweep) bool {
	var g *file
	// At a first start at the ends of files, all are left where they are.
	if !fl.once && (!fl.fresh || fl.cfg.StartOfFile) && !fl.wasThere(c) {
		g = fl.originalOf(c, sw)
	}
	now := sw.now
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
	hidden := g.f == nil && (g.unseen || !g.listed && sw.blind(g.path))
	if (g.deleted || hidden || now.Sub(s.grew) < fl.cfg.RotateWait) && now.Sub(s.since) < 12*fl.cfg.RotateWait {
		return true
	}
	delete(fl.suspects, c.id)
	return false
}

// mayBeCopied returns the live files that a copy may have been made of, by the print
// of their first bytes.
func (s *sweep) mayBeCopied(fl *flow) map[tail.Print][]*file {
	if s.originals == nil {
		s.originals, s.prefixes, s.byName = make(map[tail.Print][]*file), make(map[int]bool), make(map[string]*file)
		for _, g := range fl.byID {
			s.original(g)
		}
	}
	return s.originals
}

func (s *sweep) original(g *file) {
	if !g.rotated {
		s.byName[g.path] = g
	}
	begin := g.start
	if begin == (tail.Print{}) { // not opened yet, or short
		if begin = g.prefix; begin.Len < tail.PrefixMin {
			return
		}
		s.prefixes[begin.Len] = true
	}
	s.originals[begin] = append(s.originals[begin], g)
}

// originalOf returns the live file that c seems to be a copy of.
func (fl *flow) originalOf(c *candidate, s *sweep) *file {
	originals := s.mayBeCopied(fl)
	start, enough := c.head.First(tail.PrefixMin)
	var alike []*file
	if enough {
		alike = originals[start]
		for n := range s.prefixes {
			if begin, ok := c.head.First(n); ok && n > tail.PrefixMin {
				alike = append(slices.Clip(alike), originals[begin]...)
			}
		}
	}
	for _, g := range alike {
		if g.read == 0 || g.rotated && !g.deleted || fl.byID[g.id] != g {
			continue
		}
		name := len(filepath.Base(g.path))
		if g.prevPath != "" {
			name = min(name, len(filepath.Base(g.prevPath)))
		}
		if !g.deleted && name >= len(filepath.Base(c.path)) {
			continue // a copy has the longer name
		}
		// The hash tells even when the original has other content by now; the content
		// itself is needed while the copy is shorter than what the hash covers. Where that is
		// another within this scan, the next one tells.
		same := g.prefix.Len >= tail.PrefixMin && c.head.Has(g.prefix)
		if !same && c.size < int64(g.prefix.Len) && fl.headOf(g, s) {
			var n int
			n, same = c.head.Shares(&fl.head)
			same = same && n >= tail.PrefixMin || !fl.head.Has(g.prefix)
		}
		if same && (c.size < g.read || fl.marked(c, g)) {
			return g
		}
	}
	if enough && len(alike) == 0 && len(s.prefixes) == 0 {
		return nil
	}
	// A copy that has just been made is empty. One that was found by the same look as its
	// original has all to be read, as that has. And of a file that has not been opened the
	// copy may be shorter than what is known. Many files may begin alike, or not at all, so
	// the name must be one that rotation makes of the other's.
	ext := filepath.Ext(c.path)
	for n := len(c.path) - 1; c.path[n] != filepath.Separator; n-- {
		for _, name := range []string{c.path[:n], c.path[:n] + ext} {
			if g := s.byName[name]; g != nil && fl.byID[g.id] == g && g.id != c.id && fl.beginsAs(g, c, s) {
				return g
			}
		}
	}
	return nil
}

// headOf reads how g begins, which may be closed, into fl.head. It reports whether it
// could.
func (fl *flow) headOf(g *file, s *sweep) bool {
	if g.f != nil {
		return fl.head.Read(g.f, g.size) == nil
	}
	if !fl.mayOpen(s) {
		return false
	}
	c, err := fl.open(g.path)
	if err != nil {
		return false
	}
	defer fl.drop(c)
	fl.head = c.head
	return c.id == g.id
}

// beginsAs reports whether g begins with all that c has.
func (fl *flow) beginsAs(g *file, c *candidate, s *sweep) bool {
	if c.size > g.size || !fl.headOf(g, s) {
		return false
	}
	if !fl.head.Has(g.prefix) {
		return true // it lost its content within this scan, which c may have had of it
	}
	if _, begins := c.head.Shares(&fl.head); !begins || c.size <= tail.PrefixMax {
		return begins
	}
	var end [tail.MarkerMax]byte
	b, err := tail.Before(c.f, c.size, &end)
	if err != nil || g.f == nil {
		return false
	}
	same, err := tail.Marked(g.f, c.size, tail.PrintOf(b))
	return err == nil && same
}
