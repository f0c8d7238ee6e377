package agent

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
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
	size    int64
	mtime   int64
	head    tail.Head
	sibling bool // its name is not the flow's, only like one of it
}

// A suspect is a file that begins as a live one does: it may become the copy that
// copytruncate makes before it truncates, and would then be read twice.
type suspect struct {
	size        int64
	since, grew time.Time
}

// restore makes orphans of what the store knows: the first scan looks for their
// files.
func (fl *flow) restore() {
	entries := fl.store.Flow(fl.cfg.ID)
	fl.fresh = len(entries) == 0
	window := time.Now().Add(fl.cfg.RotateWait)
	for _, e := range entries {
		g := &file{
			flow: fl, entry: e, path: e.Path, id: e.ID, birth: e.Birth, read: e.Committed, size: e.Size, mtime: e.ModTime,
			prefix: e.Prefix, idleSize: -1, headerLeft: e.HeaderLeft, rotated: e.Rotated, ended: e.Done, reason: lossMissing,
		}
		if fl.cfg.PartitionKey == KeyFile {
			g.key = fileKey(e.UID)
		}
		if !e.Done && !e.Lost {
			g.window = window
		}
		fl.orphans = append(fl.orphans, g)
	}
}

// scan compares the directory with what is known. It is the truth; events only
// make it come sooner.
func (fl *flow) scan() {
	start := time.Now()
	again := fl.scanDir(start)
	fl.lastScan = time.Now()
	fl.scanCost = fl.lastScan.Sub(start)
	wait := fl.cfg.ScanInterval
	if fl.watcher == nil {
		wait = min(wait, max(fl.cfg.PollInterval, 20*fl.scanCost))
	}
	if again {
		wait = min(wait, max(rescan, 20*fl.scanCost))
	}
	fl.scanAt = fl.lastScan.Add(wait)
}

// scanDir reports whether it left a question that another scan answers.
func (fl *flow) scanDir(now time.Time) (again bool) {
	if fl.watcher != nil && fl.directory() != fl.dirID {
		// The watch is on a directory that has another name now, or none.
		fl.log.Warn("the directory was replaced; polling it from now on", slog.String("dir", fl.dir))
		fl.stopWatching()
	}
	entries, err := fl.fs.ReadDir(fl.dir)
	if err != nil {
		// Nothing is concluded from what cannot be seen.
		fl.trouble(fl.dir, "cannot read the directory", err)
		return false
	}
	whole := true // every name that matters was looked at
	byPath := make(map[string]tail.ID, len(entries))
	for _, g := range fl.byID {
		g.listed = false
	}
	var found []*candidate
	sought := fl.sought()
	for _, e := range entries {
		ours := fl.cfg.matches(e.Name())
		if !ours && !sibling(e.Name(), sought) {
			continue
		}
		path := filepath.Join(fl.dir, e.Name())
		fi, err := fl.fs.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			whole = false
			fl.trouble(path, "cannot stat", err)
			continue
		case !fi.Mode().IsRegular():
			if ours {
				fl.trouble(path, "not a regular file", nil)
			}
			continue
		}
		id := tail.IDOf(path, fi)
		if g := fl.byID[id]; g != nil {
			if c := fl.present(g, path, fi, byPath, now); c != nil {
				found = append(found, c)
			}
			continue
		}
		c, err := fl.open(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			whole = false
			fl.trouble(path, "cannot open", err)
			continue
		}
		if g := fl.byID[c.id]; g != nil { // renamed to here in between
			fl.drop(c)
			if g.f != nil {
				fl.present(g, path, fi, byPath, now)
			} else {
				again = true
			}
			continue
		}
		c.sibling = !ours
		byPath[path] = c.id
		if twin(found, c) { // a hard link
			fl.drop(c)
			continue
		}
		found = append(found, c)
	}
	found = fl.adopt(found, now)
	for _, c := range found {
		if c.sibling {
			fl.drop(c)
			continue
		}
		if fl.suspicious(c, now) {
			fl.drop(c)
			again = true
			continue
		}
		fl.admit(c, now)
	}
	fl.fresh = false
	fl.scanned = true
	if whole && fl.vanished(byPath, now) {
		again = true
	}
	if fl.once {
		now = now.Add(fl.cfg.RotateWait + 1) // there is no later scan
	}
	if fl.closeWindows(now) {
		again = true
	}
	fl.limitOpen()
	return again
}

func twin(found []*candidate, c *candidate) bool {
	for _, o := range found {
		if o.id == c.id {
			return true
		}
	}
	return false
}

// sought returns the names of the orphans that look for their content.
func (fl *flow) sought() (names []string) {
	for _, o := range fl.orphans {
		if !o.window.IsZero() {
			names = append(names, filepath.Base(o.path))
		}
	}
	return names
}

// sibling reports whether a name may be where the content of one of the files
// sought went: rotation adds to a name.
func sibling(name string, sought []string) bool {
	return !tail.Compressed(name) && slices.ContainsFunc(sought, func(s string) bool { return strings.HasPrefix(name, s) })
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
		err = c.head.Read(f, c.size)
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

// present notes that a known file is there, perhaps under a new name. It returns a
// candidate if it is another file by now, which got the inode.
func (fl *flow) present(g *file, path string, fi fs.FileInfo, byPath map[string]tail.ID, now time.Time) *candidate {
	if g.listed { // a hard link: the first name counts, or the one it had
		if path == g.path {
			g.prevPath = ""
		}
		byPath[path] = g.id
		return nil
	}
	g.listed, g.misses = true, 0
	byPath[path] = g.id
	if g.f != nil {
		fl.renamed(g, path)
	}
	switch {
	case g.f == nil && (path != g.path || fi.Size() != g.size || fi.ModTime().UnixNano() != g.mtime):
		return fl.wakeFile(g, path, now)
	case g.f != nil && fi.Size() < g.size:
		fl.look(g, now) // before a copy of what it was is taken for a file of its own
	}
	return nil
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
func (fl *flow) wakeFile(g *file, path string, now time.Time) *candidate {
	c, err := fl.open(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			fl.trouble(path, "cannot open", err)
		}
		return nil
	}
	if c.id != g.id {
		fl.drop(c) // another scan sorts it out
		return nil
	}
	born := g.birth == 0 || c.birth == 0 || g.birth == c.birth
	if born && c.size >= g.read && c.head.Has(g.prefix) && fl.marked(c, g) {
		fl.renamed(g, path)
		g.f = c.f
		fl.look(g, now)
		return nil
	}
	fl.detach(g, lossTruncated, now)
	return c
}

func (fl *flow) marked(c *candidate, g *file) bool {
	ok, err := tail.Marked(c.f, g.read, g.marker())
	return err == nil && ok
}

// vanished deals with the files that the scan did not find. It reports whether
// one is missing for the first time: a rename during the listing hides a file once.
func (fl *flow) vanished(byPath map[string]tail.ID, now time.Time) (again bool) {
	for _, g := range fl.byID {
		if g.listed {
			if !g.rotated && replacedBy(g, byPath) {
				fl.rotate(g, now, "rename")
			}
			continue
		}
		if g.misses++; g.misses < 2 {
			again = true
			continue
		}
		if g.f == nil {
			fl.forget(g)
			continue
		}
		if !g.rotated {
			fl.rotate(g, now, "move")
		}
	}
	return again
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
func (fl *flow) forget(g *file) {
	delete(fl.byID, g.id)
	g.mu.Lock()
	deleted := g.drop
	g.mu.Unlock()
	fl.mu.Lock()
	delete(fl.listed, g)
	fl.mu.Unlock()
	if !deleted {
		fl.orphan(g)
	}
}

// orphan adds g to the orphans and forgets the oldest if they are too many.
func (fl *flow) orphan(g *file) {
	fl.orphans = append(fl.orphans, g)
	if len(fl.orphans) > maxOrphans {
		old := fl.orphans[0]
		fl.orphans = fl.orphans[1:]
		old.end(true)
	}
}

// admit starts a new generation.
func (fl *flow) admit(c *candidate, now time.Time) {
	g := fl.newFile(c, now)
	if fl.fresh && !fl.cfg.StartOfFile {
		off, err := lastLine(c.f, c.size)
		if err != nil {
			fl.trouble(c.path, "cannot read", err)
		}
		g.read, g.headerLeft = off, 0
		if b, err := tail.Before(c.f, off, &g.before); err == nil {
			g.nbefore = len(b)
		}
	}
	g.readNow.Store(g.read)
	g.update(func(e *position.Entry) {
		e.Committed, e.HeaderLeft = g.read, g.headerLeft
		e.Marker = tail.PrintOf(g.before[:g.nbefore])
	})
	fl.look(g, now)
	poke(fl.soon)
}

// newFile makes a live generation of c that begins at 0.
func (fl *flow) newFile(c *candidate, now time.Time) *file {
	uid := newUID(c.id, c.birth, 0)
	for attempt := uint64(1); fl.taken(uid); attempt++ {
		uid = newUID(c.id, c.birth, attempt)
	}
	g := &file{
		flow: fl, f: c.f, path: c.path, id: c.id, birth: c.birth, prefix: c.head.Print(), idleSize: -1,
		headerLeft: fl.cfg.SkipHeaderLines, grew: now, listed: true,
	}
	if fl.cfg.PartitionKey == KeyFile {
		g.key = fileKey(uid)
	}
	g.entry = position.Entry{
		Flow: fl.cfg.ID, UID: uid, ID: c.id, Birth: c.birth, Path: c.path, Prefix: g.prefix, HeaderLeft: g.headerLeft,
	}
	fl.enlist(g)
	return g
}

// taken reports whether a generation, live or known from before, has the uid.
func (fl *flow) taken(uid uint64) bool {
	if fl.store.Has(fl.cfg.ID, uid) {
		return true
	}
	for _, g := range fl.byID {
		if g.entry.UID == uid {
			return true
		}
	}
	for _, g := range fl.orphans {
		if g.entry.UID == uid {
			return true
		}
	}
	return false
}

func (fl *flow) enlist(g *file) {
	fl.byID[g.id] = g
	fl.mu.Lock()
	fl.listed[g] = struct{}{}
	fl.mu.Unlock()
}

// lastLine returns the offset behind the last newline of the last 5 MiB, or size if
// there is none.
func lastLine(f vfs.File, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > max(0, size-5<<20); {
		n := min(end, int64(len(buf)))
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return size, err
		}
		if i := strings.LastIndexByte(string(buf[:n]), '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		if end -= n; end == 0 {
			return 0, nil // one line that is not finished
		}
	}
	return size, nil
}

// limitOpen closes committed files that sleep, if too many are open.
func (fl *flow) limitOpen() {
	for _, g := range fl.byID {
		if int(fl.stats.openFiles.Load()) <= fl.cfg.MaxOpenFiles {
			return
		}
		if g.f != nil && g.listed && g.read == g.size && !g.queued && time.Since(g.grew) > activeFor {
			fl.closeFile(g)
		}
	}
}
