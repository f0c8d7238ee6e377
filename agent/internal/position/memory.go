package position

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/streamkit/streamkit/internal/seglog"
	"github.com/streamkit/streamkit/internal/vfs"
)

// Memory returns a store without a file: what it knows is lost with it.
func Memory() *Store {
	return &Store{entries: make(map[key]Entry), dirty: make(map[key]struct{})}
}

// Read returns the entries of the store at path as it is on disk, also while
// another process has it. It changes nothing.
func Read(fsys vfs.FS, path string) ([]Entry, error) {
	r, err := seglog.OpenReader(fsys, path, seglog.Options{Kind: kind, Hint: hint})
	if err != nil {
		return nil, err
	}
	entries := make(map[key]Entry)
	for err == nil {
		var payload []byte
		if payload, err = r.Next(-1); err == nil {
			err = apply(entries, payload)
		}
	}
	if _, torn := errors.AsType[*seglog.TornError](err); torn || errors.Is(err, io.EOF) {
		err = nil // a tail is a write that is not finished, or was not
	}
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return sorted(entries), nil
}

// All returns the entries of all flows, by flow, path and the last updated first.
func (s *Store) All() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sorted(s.entries)
}

func sorted(entries map[key]Entry) []Entry {
	out := make([]Entry, 0, len(entries))
	for _, e := range entries {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Flow, b.Flow), cmp.Compare(a.Path, b.Path), cmp.Compare(b.Updated, a.Updated), cmp.Compare(a.UID, b.UID))
	})
	return out
}
