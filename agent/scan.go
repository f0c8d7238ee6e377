package agent

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
)

// A candidate is a file that a scan found and that no known generation holds.
type candidate struct {
	f       vfs.File
	path    string
	id      tail.ID
	birth   int64
	size    int64 // of a compressed file, 0 until it is measured
	mtime   int64
	head    tail.Head
	kept    bool       // path is a second name
	sibling bool       // its name is not the flow's, only like one of it
	gz      *tail.Gzip // what f is, if the file is compressed
	packed  int64      // its size then
}

// A suspect is a file that begins as a live one does: it may become the copy that
// copytruncate makes before it truncates, and would then be read twice.
type suspect struct {
	size        int64
	since, grew time.Time
}

// A sweep is what one scan has seen.
type sweep struct {
	now      time.Time
	byPath   map[string]tail.ID
	unseen   map[string]bool // paths and directories that could not be looked at
	unopened map[string]bool // paths of the flow's files for which too many are open
	found    []*candidate
	ids      map[tail.ID]bool // of found
	later    []sighting
	others   []string // paths of what is not the flow's and may be what orphans look for
	again    bool     // a question is left that another scan answers
	full     bool     // no more files can be opened
	taken    int      // files that were opened and are read

	// Of the live files, made when they are first asked for, since a look at all of them
	// for each of those that are found is too much.
	leftAt    map[string][]*file
	originals map[tail.Print][]*file // by start, or by prefix if no more is known
	prefixes  map[int]bool           // the lengths of those prefixes
	byName    map[string]*file       // by path
}

// A sighting is a file that must be opened, once all are known that need not be:
// some of those may have to be closed for it.
type sighting struct {
	path string
	fi   fs.FileInfo
	ours bool
	kept bool  // path is a second name
	g    *file // what it is if it was closed and has changed; nil if it is not known
}

// blind reports whether the sweep could not see what is at path.
func (s *sweep) blind(path string) bool { return within(s.unseen, path) }

// within reports whether path, or a directory that it is in, is one of paths.
func within(paths map[string]bool, path string) bool {
	if len(paths) == 0 {
		return false
	}
	for !paths[path] {
		up := filepath.Dir(path)
		if up == path {
			return false
		}
		path = up
	}
	return true
}

// restore makes orphans of what the store knows: the first scan looks for their
// files.
func (fl *flow) restore() {
	entries := fl.store.Flow(fl.cfg.ID)
	fl.fresh, fl.origin.at = len(entries) == 0, time.Now().UnixNano()
	window := time.Now().Add(fl.cfg.RotateWait)
	for _, e := range entries {
		fl.uids[e.UID] = struct{}{}
		if e.UID == startedUID {
			fl.origin = firstStartOf(e)
			continue
		}
		g := &file{
			flow: fl, entry: e, path: e.Path, id: e.ID, birth: e.Birth, read: e.Committed, size: e.Size, mtime: e.ModTime,
			prefix: e.Prefix, idleSize: -1, headerLeft: e.HeaderLeft, rotated: e.Rotated, ended: e.Done, reason: lossMissing,
		}
		if fl.cfg.PartitionKey == KeyFile {
			g.key = fileKey(e.UID)
		}
		if !e.Done {
			g.window = window
		}
		fl.addOrphan(g)
	}
	fl.keeper.found(fl)
}

// scan compares the directories with what is known. It is the truth; events only
// make it come sooner.
func (fl *flow) scan() {
	start := time.Now()
	again, taken := fl.sweep(start)
	fl.lastScan = time.Now()
	fl.scanCost = fl.lastScan.Sub(start)
	fl.stats.scans.Add(1)
	fl.stats.scanNanos.Add(int64(fl.scanCost))
	wait := fl.cfg.ScanInterval
	if fl.watcher == nil || fl.polled {
		wait = min(wait, max(fl.cfg.PollInterval, 20*fl.scanCost))
	}
	switch {
	case again && taken > 0 && !fl.scannedAll:
		wait = min(wait, max(rescan, fl.scanCost)) // there were more files than can be open
	case again:
		wait = min(wait, max(rescan, 20*fl.scanCost))
	}
	fl.scanAt = fl.lastScan.Add(wait)
}

// sweep reports whether it left a question that another scan answers, and how many
// files there are more to read.
func (fl *flow) sweep(now time.Time) (again bool, taken int) {
	s := &sweep{now: now, byPath: make(map[string]tail.ID), unseen: make(map[string]bool), ids: make(map[tail.ID]bool), unopened: make(map[string]bool)}
	before := len(fl.byID)
	for _, g := range fl.byID {
		g.listed = false
	}
	fl.denied, fl.hidden, fl.missed = make(map[string]bool), make(map[string]bool), make(map[string]error)
	fl.directories(s)
	for path, d := range fl.dirs {
		if len(d.globs) > 0 {
			fl.sweepDir(s, path, d.globs)
		}
	}
	for _, path := range fl.rotatedDirs() {
		fl.sweepDir(s, path, nil)
	}
	fl.sweepOthers(s)
	fl.sweepProtected(s)
	for _, at := range s.later {
		fl.sweepLater(s, at)
	}
	s.found = fl.adopt(s)
	// What a copy is made of comes before it.
	slices.SortStableFunc(s.found, func(a, b *candidate) int { return cmp.Compare(len(a.path), len(b.path)) })
	for _, c := range s.found {
		switch {
		case c.sibling:
			fl.drop(c)
		case fl.suspicious(c, s):
			fl.drop(c)
			s.again = true
		default:
			fl.admit(c, s)
		}
	}
	fl.started(s)
	fl.scanned, fl.scannedAll = true, !s.full
	if fl.vanished(s) {
		s.again = true
	}
	if fl.once && !s.full {
		now = time.Now().Add(fl.cfg.RotateWait + 1) // there is no later scan
	}
	if fl.closeWindows(now) {
		s.again = true
	}
	fl.tidyProtected()
	fl.limitOpen(0)
	return s.again, s.taken + len(fl.byID) - before
}

// sweepDir looks at the files of one directory: those that globs match. The others are
// noted if there are orphans that look for a file.
func (fl *flow) sweepDir(s *sweep, dir string, globs []*tail.Glob) {
	entries, err := fl.fs.ReadDir(dir)
	if err != nil {
		// Nothing is concluded from what cannot be seen.
		fl.unseen(s, dir, err)
		if globs != nil || !errors.Is(err, fs.ErrNotExist) {
			fl.miss(dir, "cannot read the directory", err)
		}
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		ours := slices.ContainsFunc(globs, func(g *tail.Glob) bool { return g.Match(e.Name()) }) && !fl.cfg.leftOut(path)
		switch {
		case ours:
			fl.sweepPath(s, path, true)
		case len(fl.seeking) > 0:
			s.others = append(s.others, path)
		}
	}
}

// unseen notes that a path or directory could not be looked at.
func (fl *flow) unseen(s *sweep, path string, err error) {
	s.unseen[path] = true
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		fl.hidden[path] = true
	}
}

// sweepOthers looks at the files with the names that orphans look for, once it is known
// which of these there are.
func (fl *flow) sweepOthers(s *sweep) {
	sought := fl.sought()
	for _, path := range s.others {
		if sought.like(filepath.Base(path)) {
			fl.sweepPath(s, path, false)
		}
	}
}

func (fl *flow) sweepPath(s *sweep, path string, ours bool) {
	fi, err := fl.fs.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		fl.denied[path] = true
		fl.unseen(s, path, err)
		fl.miss(path, "cannot stat", err)
	case !fi.Mode().IsRegular():
		if ours {
			fl.trouble(path, "not a regular file", nil)
		}
	default:
		fl.sweepFile(s, path, fi, ours)
	}
}

func (fl *flow) sweepFile(s *sweep, path string, fi fs.FileInfo, ours bool) {
	id := tail.IDOf(path, fi)
	if g := fl.byID[id]; g != nil {
		fl.present(g, path, fi, s)
		return
	}
	if s.ids[id] { // a hard link
		s.byPath[path] = id
		return
	}
	if o := fl.asLeft(id, path, fi); o != nil && ours {
		s.byPath[path] = id
		fl.resumeClosed(o, s.now)
		return
	}
	// At a first start at the ends of files an end must be known of each, for when it is
	// written to.
	if ours && fl.cfg.IgnoreOlder > 0 && s.now.Sub(fi.ModTime()) > fl.cfg.IgnoreOlder && (!fl.fresh || fl.cfg.StartOfFile) &&
		!within(fl.origin.unseen, path) && len(fl.seeking) == 0 && len(fl.orphanByID[id]) == 0 {
		return
	}
	s.later = append(s.later, sighting{path: path, fi: fi, ours: ours})
}

// sweepLater opens a file that a sweep has come across.
func (fl *flow) sweepLater(s *sweep, at sighting) {
	path := at.path
	if at.g != nil {
		if at.g.f != nil {
			return
		}
		if c := fl.wakeFile(at.g, path, s); c != nil {
			s.ids[c.id] = true
			s.found = append(s.found, c)
		}
		return
	}
	if !fl.mayOpen(s) {
		if at.ours {
			s.unopened[path] = true
		}
		return
	}
	c, err := fl.open(path)
	if vfs.Passing(err) {
		s.again, s.full = true, true
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		fl.denied[path] = true
		for _, o := range fl.orphanByID[tail.IDOf(path, at.fi)] {
			if _, ok := fl.seeking[o]; ok {
				o.window = s.now.Add(2 * fl.cfg.RotateWait) // it is there; the last scan of Once looks one of them ahead
			}
		}
		fl.miss(path, "cannot open", err)
		return
	}
	if g := fl.byID[c.id]; g != nil { // renamed to here in between
		fl.drop(c)
		if g.f != nil {
			fl.present(g, path, at.fi, s)
		} else {
			s.again = true
		}
		return
	}
	c.sibling, c.kept = !at.ours, at.kept
	s.byPath[path] = c.id
	if s.ids[c.id] {
		fl.drop(c)
		return
	}
	s.ids[c.id] = true
	s.found = append(s.found, c)
}

// names are those that the orphans look for their content under.
type names struct {
	whole map[string]bool
	stems map[string]map[string]bool // of a name that ends in an extension: the extensions
	gzip  bool
}

// sought returns the names of the orphans that look for their content; nil if
// there is none.
func (fl *flow) sought() *names {
	if len(fl.seeking) == 0 {
		return nil
	}
	n := &names{whole: make(map[string]bool), stems: make(map[string]map[string]bool), gzip: !fl.cfg.SkipRotatedGzip}
	for o := range fl.seeking {
		if o.unsought {
			continue
		}
		base := strings.TrimSuffix(filepath.Base(o.path), ".gz")
		n.whole[base] = true
		if ext := filepath.Ext(base); ext != "" && len(ext) < len(base) {
			stem := strings.TrimSuffix(base, ext)
			if n.stems[stem] == nil {
				n.stems[stem] = make(map[string]bool)
			}
			n.stems[stem][ext] = true
		}
	}
	return n
}

// like reports whether a name may be where the content of one of the files sought
// went: rotation adds to a name, at its end or before its extension.
func (n *names) like(name string) bool {
	if n == nil {
		return false
	}
	gz := strings.HasSuffix(strings.ToLower(name), ".gz")
	if gz && !n.gzip || !gz && tail.Compressed(name) {
		return false
	}
	for i := 1; i <= len(name); i++ {
		if n.whole[name[:i]] {
			return true
		}
		if exts := n.stems[name[:i]]; exts != nil && extended(name[i:], exts) {
			return true
		}
	}
	return false
}

// extended reports whether one of the extensions is in the rest of a name. There may be
// as many of them as there are files.
func extended(rest string, exts map[string]bool) bool {
	for i := range len(rest) {
		if rest[i] != '.' {
			continue
		}
		for j := i + 1; j <= len(rest) && (j == i+1 || rest[j-1] != '.'); j++ {
			if exts[rest[i:j]] {
				return true
			}
		}
	}
	return false
}

func (fl *flow) open(path string) (*candidate, error) {
	f, err := fl.fs.OpenFile(path, tail.OpenFlags, 0)
	if err != nil {
		return nil, err
	}
	c := &candidate{f: f, path: path}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist // replaced since it was listed
	}
	if err == nil {
		c.id, c.birth, c.size, c.mtime = tail.IDOf(path, fi), tail.Birth(f), fi.Size(), fi.ModTime().UnixNano()
		if tail.Compressed(path) {
			c.size, c.packed = 0, c.size
			if c.gz, err = tail.OpenGzip(f); err == nil {
				c.f = c.gz
				err = c.head.Read(c.f, tail.PrefixMax)
			}
		} else {
			err = c.head.Read(f, c.size)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	fl.stats.openFiles.Add(1)
	return c, nil
}

func (fl *flow) drop(c *candidate) {
	if err := c.f.Close(); err != nil {
		fl.log.Warn("cannot close a file", slog.String("path", c.path), slog.Any("err", err))
	}
	fl.stats.openFiles.Add(-1)
}

// present notes that a known file is there, perhaps under a new name.
func (fl *flow) present(g *file, path string, fi fs.FileInfo, s *sweep) {
	s.byPath[path] = g.id
	if g.listed { // a hard link: the first name counts, or the one it had
		if path == g.path {
			g.prevPath = ""
		}
		return
	}
	g.listed, g.unseen, g.misses = true, false, 0
	if tail.Compressed(path) {
		return
	}
	if g.f != nil {
		fl.renamed(g, path)
	}
	switch {
	case g.f == nil && fi.Size() < g.read:
		// Truncated: that is known even if it cannot be opened now.
		fl.detach(g, lossTruncated)
		s.later = append(s.later, sighting{path: path, fi: fi, ours: true})
	case g.f == nil && (path != g.path || fi.Size() != g.size || fi.ModTime().UnixNano() != g.mtime):
		g.unseen = true
		s.later = append(s.later, sighting{path: path, g: g})
	case g.f != nil && (fi.Size() != g.size || fi.ModTime().UnixNano() != g.mtime):
		fl.look(g, s.now) // before a copy of what it was is taken for a file of its own
	}
}

func (fl *flow) renamed(g *file, path string) {
	if path != g.path {
		g.prevPath, g.path = g.path, path
		g.update(func(e *position.Entry) { e.Path = path })
	}
}

// wakeFile opens a file again that was closed and has changed since. While it was
// closed, it may have been deleted and its inode given to another file, which is
// then returned.
func (fl *flow) wakeFile(g *file, path string, s *sweep) *candidate {
	if !fl.mayOpen(s) {
		return nil
	}
	c, err := fl.open(path)
	if err != nil {
		s.again = s.again || vfs.Passing(err)
		if !errors.Is(err, fs.ErrNotExist) {
			fl.miss(path, "cannot open", err)
		}
		return nil
	}
	if c.id != g.id {
		fl.drop(c) // another scan sorts it out
		return nil
	}
	same := g.birth == 0 || c.birth == 0 || g.birth == c.birth
	if g.blank() && (path != g.path || g.rotated) {
		same = false // it may be any file: what holds for the old one must not for this
	}
	if same && c.size >= g.read && c.head.Has(g.prefix) && fl.marked(c, g) {
		fl.renamed(g, path)
		g.f, g.unseen = c.f, false
		if start, ok := c.head.First(tail.PrefixMin); ok {
			g.start = start
		}
		s.taken++
		fl.look(g, s.now)
		return nil
	}
	fl.detach(g, lossTruncated)
	return c
}

func (fl *flow) marked(c *candidate, g *file) bool {
	ok, err := tail.Marked(c.f, g.read, g.marker())
	return err == nil && ok
}

// vanished deals with the files that the scan did not find. It reports whether
// one is missing for the first time: a rename during the listing hides a file once.
func (fl *flow) vanished(s *sweep) (again bool) {
	for _, g := range fl.byID {
		if g.listed {
			d := fl.dirs[filepath.Dir(g.path)]
			g.watched.Store(d != nil && d.watched)
			if !g.rotated && replacedBy(g, s.byPath) {
				fl.rotate(g, s.now, "rename")
			}
			if g.ended && g.rotated && fl.cfg.DeleteDelivered {
				fl.deleteDelivered(g, s.now)
			}
			if g.f == nil && g.rotated && !g.ended && s.now.Sub(g.rotatedAt) >= fl.cfg.RotateWait {
				fl.finishClosed(g, s)
			}
			continue
		}
		if s.blind(g.path) {
			continue
		}
		if g.misses++; g.misses < 2 {
			again = true
			continue
		}
		if g.f == nil {
			fl.forget(g, s.now)
			continue
		}
		if !g.rotated {
			// Whether it is deleted decides what its copies are, and a file at rest is not
			// looked at as often as directories are.
			if fl.look(g, s.now); fl.byID[g.id] == g && !g.rotated {
				fl.rotate(g, s.now, "move")
			}
		}
	}
	return again
}

// deleteDelivered deletes a rotated file if it is delivered and what is stored says
// so.
func (fl *flow) deleteDelivered(g *file, now time.Time) {
	g.mu.Lock()
	stored := g.entry.Done && !g.entry.Lost && !g.dirty && g.round > 0 && g.round <= fl.durable.Load()
	g.mu.Unlock()
	if !stored || g.f != nil || !fl.cfg.owns(g.path) {
		return
	}
	c, err := fl.open(g.path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			fl.trouble(g.path, "cannot open", err)
		}
		return
	}
	if c.id != g.id || c.size != g.read || !c.head.Has(g.prefix) || !fl.marked(c, g) {
		fl.drop(c) // it has grown, or is another; the next scan finds out
		return
	}
	if err := fl.fs.Remove(g.path); err != nil {
		fl.drop(c)
		fl.trouble(g.path, "cannot delete what is delivered", err)
		return
	}
	fl.stats.deletedDone.Add(1)
	fl.log.Debug("delivered file deleted", slog.String("path", g.path))
	if fi, err := c.f.Stat(); err == nil && fi.Size() > g.read {
		g.f = c.f // written to in this very moment
		fl.look(g, now)
		return
	}
	fl.drop(c)
	g.end(true)
}

// finishClosed ends a rotated file that was closed for others before its time.
func (fl *flow) finishClosed(g *file, s *sweep) {
	if g.read == g.size {
		g.end(false)
		return
	}
	if c := fl.wakeFile(g, g.path, s); c != nil {
		fl.drop(c) // another file by now; the next scan finds it
		s.again = true
	}
}

// replacedBy reports whether another file has the name that g had: the one that it
// was seen under before, or the one that its own is made of.
func replacedBy(g *file, byPath map[string]tail.ID) bool {
	for _, name := range []string{g.prevPath, unrotated(g.path)} {
		if id, taken := byPath[name]; name != "" && taken && id != g.id {
			return true
		}
	}
	return false
}

// unrotated returns a path without the number or date that rotation puts behind a
// name, as in app.log.1 or app.log-20260101; empty if it has none.
func unrotated(path string) string {
	base := strings.TrimRight(path, "0123456789.-_:T")
	suffix := path[len(base):]
	if suffix == "" || strings.HasSuffix(base, string(filepath.Separator)) || strings.IndexByte(".-_", suffix[0]) < 0 {
		return ""
	}
	return base
}

// rotate marks a file that has lost its name. It is read to its end, and once it
// has not grown for RotateWait its unterminated rest too.
func (fl *flow) rotate(g *file, now time.Time, kind string) {
	g.rotated, g.rotatedAt = true, now
	g.update(func(e *position.Entry) { e.Rotated = true })
	fl.stats.rotation(kind)
	fl.log.Debug("file rotated", slog.String("path", g.path), slog.String("kind", kind))
}

// forget takes a file out of the live ones and keeps what is known in case that it
// comes back.
func (fl *flow) forget(g *file, now time.Time) {
	fl.delist(g)
	g.mu.Lock()
	deleted := g.drop
	g.mu.Unlock()
	if deleted {
		return
	}
	if !g.ended && (g.read < g.size || len(fl.suspects) > 0) {
		// Closed for others, it went before its rest was read, or to where a suspect is.
		g.window, g.reason = now.Add(fl.cfg.RotateWait), lossMissing
	}
	fl.orphan(g)
}

func (fl *flow) delist(g *file) {
	delete(fl.byID, g.id)
	fl.mu.Lock()
	delete(fl.listed, g)
	fl.mu.Unlock()
}
