package agent

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/agent/internal/position"
)

const (
	// bornBefore is by how much a time of a file must be before the first start for the
	// file to have been there: some file systems know whole seconds alone.
	bornBefore = time.Second

	// maxUnseen bounds what is stored of the paths that the first scan could not see.
	maxUnseen = 64
)

// A firstStart is what is known of the first start of a flow: when it was, and which
// paths and directories no scan has been able to look at since. What they hide may have
// been there then.
type firstStart struct {
	at     int64 // Unix nanoseconds
	unseen map[string]bool
}

// startedUID is that of the entry which says that a flow has looked for files
// before. It names no file.
const startedUID = 0

// startedEntry returns the entry that keeps f.
func startedEntry(flow string, f firstStart) position.Entry {
	return position.Entry{
		Flow: flow, UID: startedUID, Birth: f.at, Path: strings.Join(slices.Sorted(maps.Keys(f.unseen)), "\x00"), Updated: time.Now().Unix(),
	}
}

// firstStartOf is the reverse of startedEntry.
func firstStartOf(e position.Entry) firstStart {
	f := firstStart{at: e.Birth}
	if e.Path != "" {
		f.unseen = make(map[string]bool)
		for path := range strings.SplitSeq(e.Path, "\x00") {
			f.unseen[path] = true
		}
	}
	return f
}

// started notes what a scan could not see: from the first on that the flow has looked for
// files, even if there was none. Those that come later are read from their start,
// whatever happens in between.
func (fl *flow) started(s *sweep) {
	if !fl.fresh && len(fl.origin.unseen) == 0 {
		return
	}
	unseen := make(map[string]bool)
	for _, paths := range []map[string]bool{fl.hidden, fl.denied, s.unopened} {
		for path := range paths {
			if fl.fresh || within(fl.origin.unseen, path) {
				unseen[path] = true
			}
		}
	}
	for path := range fl.origin.unseen {
		if within(fl.hidden, path) {
			unseen[path] = true
		}
	}
	for len(unseen) > maxUnseen {
		up := make(map[string]bool)
		for path := range unseen {
			up[filepath.Dir(path)] = true
		}
		unseen = up
	}
	if !fl.fresh && maps.Equal(unseen, fl.origin.unseen) {
		return
	}
	fl.fresh, fl.origin.unseen = false, unseen
	fl.uids[startedUID] = struct{}{}
	fl.store.Put(startedEntry(fl.cfg.ID, fl.origin))
	poke(fl.soon)
}

// wasThere reports whether a file that is found now was there at the first start, and
// could not be seen. Where the time of its birth is not known, one that was written to
// since counts as new: its end would be lost, and not only its beginning repeated.
func (fl *flow) wasThere(c *candidate) bool {
	if fl.cfg.StartOfFile || !within(fl.origin.unseen, c.path) {
		return false
	}
	before := fl.origin.at - int64(bornBefore)
	if c.birth != 0 {
		return c.birth < before
	}
	return fl.origin.unseen[c.path] || c.mtime < before
}
