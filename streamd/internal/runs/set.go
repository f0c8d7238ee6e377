package runs

import (
	"cmp"
	"errors"
	"slices"
	"sync"
)

// Set is the runs of a store. The zero Set is empty and ready. It is safe for
// concurrent use.
type Set struct {
	mu   sync.Mutex
	runs []*Run // by their first sequence index; replaced, not changed
}

func (s *Set) list() []*Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs
}

// Live returns the runs, in order of their first sequence index.
func (s *Set) Live() []*Run { return slices.Clone(s.list()) }

// Bytes returns how many bytes the files take.
func (s *Set) Bytes() (bytes int64) {
	for _, r := range s.list() {
		bytes += r.Size()
	}
	return bytes
}

// Replace takes old out of the set, to be removed once nobody reads them, and
// puts fresh in, at once.
func (s *Set) Replace(old, fresh []*Run) error {
	s.mu.Lock()
	runs := slices.DeleteFunc(slices.Clone(s.runs), func(r *Run) bool { return slices.Contains(old, r) })
	runs = append(runs, fresh...)
	slices.SortFunc(runs, func(a, b *Run) int {
		return cmp.Or(cmp.Compare(a.id.First, b.id.First), cmp.Compare(a.id.Class, b.id.Class))
	})
	s.runs = runs
	s.mu.Unlock()
	var errs []error
	for _, r := range old {
		errs = append(errs, r.Remove())
	}
	return errors.Join(errs...)
}

// Close closes the files. The set is empty afterwards.
func (s *Set) Close() error {
	s.mu.Lock()
	runs := s.runs
	s.runs = nil
	s.mu.Unlock()
	var errs []error
	for _, r := range runs {
		errs = append(errs, r.release())
	}
	return errors.Join(errs...)
}

// Find returns the run with the first record of a shard that has the sequence
// index from or a greater one, nil if there is none. The caller releases it.
func (s *Set) Find(k Key, from uint64) (*Run, error) {
	for {
		var best *Run
		var first uint64
		changed, err := s.each(func(r *Run) (more bool, err error) {
			if best != nil && r.id.First >= first {
				return false, nil
			}
			if r.id.Last < from {
				return true, nil
			}
			e, ok, err := r.extent(k)
			if ok && e.Last >= from && (best == nil || e.First < first) {
				best, first = r, e.First
			}
			return true, err
		})
		if err != nil {
			return nil, err
		}
		if !changed && (best == nil || best.acquire()) {
			return best, nil
		}
	}
}

// SeekTime returns the sequence index of the first record of a shard that
// arrived at ms, milliseconds since the epoch, or later. ok is false if there is
// none.
func (s *Set) SeekTime(k Key, ms int64) (first uint64, ok bool, err error) {
	for {
		first, ok = 0, false
		changed, err := s.each(func(r *Run) (more bool, err error) {
			if ok && r.id.First >= first {
				return false, nil
			}
			if r.newest < ms {
				return true, nil
			}
			f, found, err := r.SeekTime(k, ms)
			if found && (!ok || f < first) {
				first, ok = f, true
			}
			return true, err
		})
		if err != nil || !changed {
			return first, ok, err
		}
	}
}

// each calls f with the runs in order, none of which goes meanwhile, until f
// returns false. changed says that one was gone, and f has not seen what took
// its place.
func (s *Set) each(f func(r *Run) (more bool, err error)) (changed bool, err error) {
	for _, r := range s.list() {
		if !r.acquire() {
			return true, nil
		}
		more, err := f(r)
		r.Release()
		if err != nil || !more {
			return false, err
		}
	}
	return false, nil
}

// Dead returns the runs of which nothing is left: expired is asked of each
// stream of a run, with the arrival of its newest record there.
func (s *Set) Dead(expired func(StreamPart) bool) []*Run {
	var dead []*Run
	for _, r := range s.list() {
		if !slices.ContainsFunc(r.streams, func(p StreamPart) bool { return !expired(p) }) {
			dead = append(dead, r)
		}
	}
	return dead
}

// Hold returns the runs, in order, none of which goes before the caller releases
// it.
func (s *Set) Hold() []*Run {
	for {
		var held []*Run
		changed, _ := s.each(func(r *Run) (bool, error) {
			if r.acquire() {
				held = append(held, r)
			}
			return true, nil
		})
		if !changed {
			return held
		}
		for _, r := range held {
			r.Release()
		}
	}
}
