package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
)

// What keeps files that are deleted while the agent does not run.
const (
	ProtectNone     = "none"
	ProtectHardlink = "hardlink" // a second name in a directory of the agent
)

// A keeper gives the files of a flow a second name until they are delivered. The
// flow's loop owns it.
type keeper struct {
	dir   string
	max   int64
	names map[*file]string
	made  bool // dir is there
}

// keptDir returns the directory for the second names of a flow.
func keptDir(cfg *Config, f *FlowConfig) string {
	dir := f.ProtectDirectory
	if dir == "" {
		dir = filepath.Join(filepath.Dir(cfg.CheckpointFile), "protected")
	}
	return filepath.Join(dir, fileKey(xxhash.Sum64String(f.ID)))
}

func newKeeper(cfg *Config, f *FlowConfig) *keeper {
	if f.Protect != ProtectHardlink {
		return nil
	}
	return &keeper{dir: keptDir(cfg, f), max: f.ProtectMaxBytes, names: make(map[*file]string)}
}

func (f *FlowConfig) validateProtect(errs []problem) []problem {
	if f.Protect != ProtectNone && f.Protect != ProtectHardlink {
		return append(errs, problem{"protect", fmt.Sprintf("%q is none of %s, %s", f.Protect, ProtectNone, ProtectHardlink)})
	}
	if f.Protect == ProtectHardlink && runtime.GOOS == "windows" {
		errs = append(errs, problem{"protect", "files have no inodes here to tell them by; remove it"})
	}
	errs = inRange(errs, "protectMaxBytes", f.ProtectMaxBytes, 1, 1<<50)
	if dir := f.ProtectDirectory; dir != "" && !filepath.IsAbs(dir) {
		errs = append(errs, problem{"protectDirectory", fmt.Sprintf("%q is no whole path", dir)})
	} else if dir != "" && f.owns(filepath.Join(dir, fileKey(0), fileKey(0))) {
		errs = append(errs, problem{"protectDirectory", fmt.Sprintf("what is in %q matches the flow's patterns; name another directory, or exclude it", dir)})
	}
	return errs
}

// found takes over the second names that an earlier process has made. Those of files
// that the positions do not know any more are removed.
func (k *keeper) found(fl *flow) {
	if k == nil {
		return
	}
	entries, err := fl.fs.ReadDir(k.dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			fl.trouble(k.dir, "cannot read the directory of protected files", err)
		}
		return
	}
	k.made = true
	byName := make(map[string]*file)
	for o := range fl.orphans {
		byName[fileKey(o.entry.UID)] = o
	}
	for _, e := range entries {
		name := filepath.Join(k.dir, e.Name())
		if o := byName[e.Name()]; o != nil {
			k.names[o] = name
		} else if _, err := strconv.ParseUint(e.Name(), 16, 64); err == nil && len(e.Name()) == len(fileKey(0)) {
			fl.unlink(name)
		}
	}
	fl.stats.protected.Store(int64(len(k.names)))
}

func (fl *flow) unlink(name string) {
	if err := fl.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fl.trouble(name, "cannot remove the second name of a protected file", err)
	}
}

var errSymlink = errors.New("its name is a symbolic link")

// protect gives a file its second name. What cannot have one is read as without.
func (fl *flow) protect(g *file) {
	k := fl.keeper
	if k == nil || k.names[g] != "" || g.f == nil {
		return
	}
	name := filepath.Join(k.dir, fileKey(g.entry.UID))
	err := k.link(fl.fs, g, name)
	if err == nil {
		k.names[g] = name
		fl.stats.protected.Store(int64(len(k.names)))
		return
	}
	fl.stats.unprotected.Add(1)
	if fl.first("protect", filepath.Dir(g.path), time.Now()) {
		fl.log.Warn("cannot protect files: those that are deleted while the agent does not run are lost; protectDirectory must be "+
			"on the file system, and in a service of systemd in the one entry of ReadWritePaths=, of the files, and the user must "+
			"own them or be allowed to write to them", slog.String("path", g.path), slog.String("dir", k.dir), slog.Any("err", err))
	}
}

func (k *keeper) link(fsys vfs.FS, g *file, name string) error {
	if !k.made {
		if err := vfs.MakeDir(fsys, k.dir); err != nil {
			return err
		}
		k.made = true
	}
	err := fsys.Link(g.path, name)
	if errors.Is(err, fs.ErrExist) { // of a file that is not known any more
		if err = fsys.Remove(name); err == nil {
			err = fsys.Link(g.path, name)
		}
	}
	if err != nil {
		return err
	}
	// The name may be another file's by now, or a link that was linked itself.
	fi, err := fsys.Stat(name)
	if err == nil && tail.IDOf(name, fi) != g.id {
		err = fs.ErrNotExist
	} else if err == nil && tail.Links(fi) < 2 {
		err = errSymlink
	}
	if err != nil {
		return errors.Join(err, fsys.Remove(name))
	}
	return nil
}

// unprotect takes the second name of a file away.
func (fl *flow) unprotect(g *file) {
	if fl.keeper == nil || fl.keeper.names[g] == "" {
		return
	}
	fl.unlink(fl.keeper.names[g])
	delete(fl.keeper.names, g)
	fl.stats.protected.Store(int64(len(fl.keeper.names)))
}

// alone reports whether a file has no name but the second.
func (fl *flow) alone(g *file, fi fs.FileInfo) bool {
	return fl.keeper != nil && fl.keeper.names[g] != "" && tail.Links(fi) == 1
}

// sweepProtected looks at the second names of the files that are sought.
func (fl *flow) sweepProtected(s *sweep) {
	if fl.keeper == nil {
		return
	}
	for o := range fl.seeking {
		name := fl.keeper.names[o]
		if name == "" {
			continue
		}
		fi, err := fl.fs.Stat(name)
		if err != nil {
			s.unseen[name] = !errors.Is(err, fs.ErrNotExist)
			continue
		}
		if fl.byID[tail.IDOf(name, fi)] == nil {
			s.later = append(s.later, sighting{path: name, fi: fi, kept: true})
		}
	}
}

// tidyProtected takes the second names from files that are delivered, and from the
// oldest deleted ones if those take too much of the disk.
func (fl *flow) tidyProtected() {
	if fl.keeper == nil {
		return
	}
	type held struct {
		g    *file
		size int64
		at   time.Time
	}
	var deleted []held
	total := int64(0)
	for g, name := range fl.keeper.names {
		if fl.settled(g) {
			fl.unprotect(g)
			continue
		}
		if g.listed {
			continue
		}
		if fi, err := fl.fs.Stat(name); err == nil && tail.Links(fi) == 1 {
			deleted = append(deleted, held{g, fi.Size(), fi.ModTime()})
			total += fi.Size()
		}
	}
	if total <= fl.keeper.max {
		return
	}
	slices.SortFunc(deleted, func(a, b held) int { return a.at.Compare(b.at) })
	for _, h := range deleted {
		if total <= fl.keeper.max {
			return
		}
		total -= h.size
		fl.stats.unprotected.Add(1)
		fl.log.Warn("a deleted file is protected no more: the deleted ones take more than protectMaxBytes",
			slog.String("path", h.g.path), slog.Int64("bytes", h.size))
		fl.unprotect(h.g)
	}
}

// settled reports whether nothing of a file will be read again, and the disk knows it.
func (fl *flow) settled(g *file) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	over := g.entry.Done || g.drop && g.gone && len(g.spans) == 0
	return over && !g.dirty && g.round > 0 && g.round <= fl.durable.Load()
}
