package agent

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/streamkit/streamkit/agent/internal/tail"
)

// A directory is one that a flow's patterns name, or that decides which those are.
type directory struct {
	path    string
	globs   []*tail.Glob // for the names of the flow's files; nil if only directories matter
	found   bool         // by the scan that runs
	id      tail.ID      // of what is watched
	watched bool
	retry   time.Time // no watch before
	network string    // the kind of its file system if that is not to be trusted
}

// rewatch is the time between two tries to watch a directory.
const rewatch = 10 * time.Second

// directories brings fl.dirs up to date. What could not be looked at goes into s.
func (fl *flow) directories(s *sweep) {
	for _, d := range fl.dirs {
		d.found, d.globs = false, d.globs[:0]
	}
	at := func(path string) *directory {
		d := fl.dirs[path]
		if d == nil {
			d = &directory{path: path}
			fl.dirs[path] = d
		}
		d.found = true
		return d
	}
	for _, p := range fl.cfg.patterns {
		p.Walk(fl.fs,
			func(dir string) { d := at(dir); d.globs = append(d.globs, p.Name) },
			func(dir string) { at(dir) },
			func(dir string, err error) {
				fl.unseen(s, dir, err)
				fl.miss(dir, "cannot look for directories", err)
			})
	}
	polled := int64(0)
	for path, d := range fl.dirs {
		if !d.found && !s.blind(path) {
			fl.unwatch(d)
			delete(fl.dirs, path)
			continue
		}
		fl.watchDir(d, s.now)
		if !d.watched {
			polled++
		}
	}
	fl.polled = polled > 0
	fl.stats.polledDirs.Store(polled)
	fl.stats.watchedDirs.Store(int64(len(fl.dirs)) - polled)
}

// watchDir sees to it that events come for the directory as it is now. Without
// them it is polled, so no failure matters.
func (fl *flow) watchDir(d *directory, now time.Time) {
	fi, err := fl.fs.Stat(d.path)
	if err != nil {
		fl.unwatch(d)
		d.id = tail.ID{}
		return
	}
	if id := tail.IDOf(d.path, fi); id != d.id {
		// The watch is on a directory that has another name now, or none.
		fl.unwatch(d)
		d.id, d.retry = id, time.Time{}
		if d.network = fl.network(d.path); d.network != "" && fl.first("network", d.path, now) {
			fl.log.Info("polling a directory whose file system tells no events",
				slog.String("dir", d.path), slog.String("kind", d.network))
		}
	}
	if fl.watcher == nil || d.watched || d.network != "" || now.Before(d.retry) {
		return
	}
	d.retry = now.Add(rewatch)
	if err := fl.watcher.Add(d.path); err != nil {
		if fl.first("watch", d.path, now) {
			fl.log.Warn("no file events for a directory; polling it", slog.String("dir", d.path), slog.Any("err", err))
		}
		return
	}
	d.watched = true
}

func (fl *flow) unwatch(d *directory) {
	if d.watched && fl.watcher != nil {
		fl.watcher.Remove(d.path)
	}
	d.watched = false
}

// remote reports whether a path is on a file system whose inode numbers and open
// handles are not to be trusted.
func (fl *flow) remote(path string) bool {
	d := fl.dirs[filepath.Dir(path)]
	return d != nil && d.network != ""
}

// rotatedDirs returns the directories outside of the flow's that may have what the
// orphans look for.
func (fl *flow) rotatedDirs() []string {
	if len(fl.cfg.RotatedDirs) == 0 || len(fl.seeking) == 0 {
		return nil
	}
	seen := make(map[string]bool)
	var dirs []string
	add := func(dir string) {
		if d := fl.dirs[dir]; !seen[dir] && (d == nil || len(d.globs) == 0) {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range fl.cfg.RotatedDirs {
		if filepath.IsAbs(dir) {
			add(filepath.Clean(dir))
			continue
		}
		for o := range fl.seeking {
			add(filepath.Join(filepath.Dir(o.path), dir))
		}
	}
	return dirs
}
