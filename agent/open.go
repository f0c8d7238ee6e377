package agent

import (
	"cmp"
	"slices"
)

// mayOpen reports whether a file may be opened now. If not, those that are open are
// not read to their end; they will be.
func (fl *flow) mayOpen(s *sweep) bool {
	if s.full = s.full || !fl.limitOpen(1); s.full {
		s.again = true
		fl.stats.waits.Add(1)
	}
	return !s.full
}

// limitOpen closes files that are read to their end until more can be opened, those
// first that have not grown for the longest time, and then those that only lack
// the end of a line. Files that are not trusted to stay what they are once opened
// are closed as soon as they are read. It reports whether there is room.
func (fl *flow) limitOpen(more int) bool {
	excess := int(fl.stats.openFiles.Load()) + more - fl.cfg.MaxOpenFiles
	if more == 0 {
		for _, g := range fl.byID {
			if g.remote && g.sleeps() && g.read == g.size {
				fl.closeFile(g)
				excess--
			}
		}
	}
	if excess <= 0 {
		return true
	}
	var sleeping []*file
	for _, g := range fl.byID {
		if g.sleeps() {
			sleeping = append(sleeping, g)
		}
	}
	slices.SortFunc(sleeping, func(a, b *file) int {
		return cmp.Or(cmp.Compare(b.read-b.size, a.read-a.size), a.grew.Compare(b.grew))
	})
	// Some in advance: a look at all files for each that is opened is too much.
	if more > 0 {
		excess += fl.cfg.MaxOpenFiles / 8
	}
	for _, g := range sleeping {
		if excess--; excess < 0 {
			break
		}
		fl.closeFile(g)
	}
	return int(fl.stats.openFiles.Load())+more <= fl.cfg.MaxOpenFiles
}

// sleeps reports whether a file has a name, by which it can be opened again, and
// nothing to read.
func (g *file) sleeps() bool {
	return g.f != nil && g.listed && !g.deleted && !g.queued && g.long == nil &&
		(g.read == g.size || g.idleSize == g.size && g.waited())
}

// waited reports whether what is open in the file was looked at when it had waited as long
// as it is to: nothing but growth makes a record of what is left.
func (g *file) waited() bool {
	wait := max(g.flow.cutter.flushAfter, g.flow.cfg.FlushPartial)
	return wait == 0 || g.polled.Sub(g.grew) >= wait
}
