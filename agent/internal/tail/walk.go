package tail

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/streamkit/streamkit/internal/vfs"
)

// maxDepth bounds how deep ** goes below its directory.
const maxDepth = 32

// Path is a pattern for the whole path of files: a glob for the name, and a glob or
// "**", any number of directories, for each directory.
type Path struct {
	Name *Glob  // of the file
	Root string // the leading directories without a wildcard

	steps []step // the directories below Root
}

type step struct {
	glob *Glob // nil: **
	lit  string
}

// Wild reports whether a part of a path holds a wildcard.
func Wild(part string) bool { return strings.ContainsAny(part, "*?[{") }

// ParsePath returns the pattern of a path.
func ParsePath(pattern string) (*Path, error) {
	dir, name := filepath.Split(pattern)
	p := &Path{}
	var err error
	if p.Name, err = ParseGlob(name); err != nil {
		return nil, err
	}
	dir = filepath.Clean(dir)
	root := filepath.VolumeName(dir)
	rest := strings.Split(filepath.ToSlash(dir[len(root):]), "/")
	fixed := 0
	for fixed < len(rest) && !Wild(rest[fixed]) {
		fixed++
	}
	p.Root = filepath.FromSlash(root + strings.Join(rest[:fixed], "/"))
	if p.Root == root && strings.HasPrefix(filepath.ToSlash(dir[len(root):]), "/") {
		p.Root = root + string(filepath.Separator)
	}
	if p.Root == "" {
		p.Root = "."
	}
	for _, part := range rest[fixed:] {
		switch {
		case part == "**":
			p.steps = append(p.steps, step{})
		case !Wild(part):
			p.steps = append(p.steps, step{lit: part})
		default:
			g, err := ParseGlob(part)
			if err != nil {
				return nil, fmt.Errorf("directory %q: %w", part, err)
			}
			p.steps = append(p.steps, step{glob: g})
		}
	}
	return p, nil
}

// Walk calls visit for each directory that the pattern names and that is there,
// and failed for each that cannot be listed on the way; what lies below that one is
// not known. watch is called for each directory whose content decides which there
// are. It follows no symbolic link for **.
func (p *Path) Walk(fsys vfs.FS, visit, watch func(dir string), failed func(dir string, err error)) {
	p.walk(fsys, p.Root, p.steps, 0, visit, watch, failed)
}

func (p *Path) walk(fsys vfs.FS, dir string, steps []step, depth int, visit, watch func(string), failed func(string, error)) {
	if len(steps) == 0 {
		visit(dir)
		return
	}
	s := steps[0]
	if s.glob == nil && s.lit != "" {
		next := filepath.Join(dir, s.lit)
		switch fi, err := fsys.Stat(next); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			failed(next, err)
		case fi.IsDir():
			p.walk(fsys, next, steps[1:], depth, visit, watch, failed)
		}
		return
	}
	watch(dir)
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		failed(dir, err)
		return
	}
	if s.glob == nil {
		p.walk(fsys, dir, steps[1:], depth, visit, watch, failed)
	}
	for _, e := range entries {
		if s.glob != nil && !s.glob.Match(e.Name()) {
			continue
		}
		next := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
		case e.Type()&fs.ModeSymlink != 0 && s.glob != nil:
			if fi, err := fsys.Stat(next); err != nil || !fi.IsDir() {
				continue
			}
		default:
			continue
		}
		if s.glob != nil {
			p.walk(fsys, next, steps[1:], depth, visit, watch, failed)
		} else if depth < maxDepth {
			p.walk(fsys, next, steps, depth+1, visit, watch, failed)
		}
	}
}

// Match reports whether a whole path fits the pattern.
func (p *Path) Match(path string) bool {
	dir, name := filepath.Split(path)
	if !p.Name.Match(name) {
		return false
	}
	dir = filepath.Clean(dir)
	rest, ok := strings.CutPrefix(dir, p.Root)
	if !ok || rest != "" && rest[0] != filepath.Separator && !strings.HasSuffix(p.Root, string(filepath.Separator)) {
		return false
	}
	var parts []string
	if rest = strings.Trim(filepath.ToSlash(rest), "/"); rest != "" {
		parts = strings.Split(rest, "/")
	}
	return matchSteps(p.steps, parts)
}

func matchSteps(steps []step, parts []string) bool {
	if len(steps) == 0 {
		return len(parts) == 0
	}
	s := steps[0]
	if s.glob == nil && s.lit == "" {
		return matchSteps(steps[1:], parts) || len(parts) > 0 && matchSteps(steps, parts[1:])
	}
	if len(parts) == 0 || s.lit != "" && s.lit != parts[0] || s.glob != nil && !s.glob.Match(parts[0]) {
		return false
	}
	return matchSteps(steps[1:], parts[1:])
}
