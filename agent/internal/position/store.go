package position

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/seglog"
	"github.com/streamkit/streamkit/internal/vfs"
)

// compactAt is the size from which on the file is rewritten, if it is also four
// times as large as its content needs.
const compactAt = 1 << 20

var kind = seglog.Kind{'A', 'P', 'O', 'S'}

const hint = "restore it from a backup, or move it away: the agent then reads as on its first start, by initialPosition"

type key struct {
	flow string
	uid  uint64
}

// Store keeps entries in memory, and on disk what [Store.Persist] took there. It
// is safe for concurrent use, but for Persist and Close: those have one caller.
type Store struct {
	log *seglog.Log // owned by the caller of Persist; nil without a file

	mu      sync.Mutex // guards what follows
	entries map[key]Entry
	dirty   map[key]struct{} // changed or deleted since the last Persist
	broken  bool             // the last Persist failed: rewrite the file
}

// Open reads the store at path; its directory is made if needed. An error wraps
// [vfs.ErrLocked] if another process has it, and [seglog.ErrCorrupt] if the file is
// damaged.
func Open(fsys vfs.FS, path string) (*Store, error) {
	if err := vfs.MakeDir(fsys, filepath.Dir(path)); err != nil {
		return nil, err
	}
	log, err := seglog.Open(fsys, path, seglog.Options{Kind: kind, Hint: hint})
	if err != nil {
		return nil, err
	}
	s := &Store{log: log, entries: make(map[key]Entry), dirty: make(map[key]struct{})}
	err = log.Replay(func(payload []byte) error {
		return apply(s.entries, payload)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), log.Close())
	}
	return s, nil
}

// apply carries out the operation of a payload.
func apply(entries map[key]Entry, payload []byte) error {
	op, e, err := decode(payload)
	if err != nil {
		return fmt.Errorf("record of a version that this program does not know: %w; "+
			"run the newer version again or move the file away", err)
	}
	if op == opDelete {
		delete(entries, key{e.Flow, e.UID})
	} else {
		entries[key{e.Flow, e.UID}] = e
	}
	return nil
}

// Torn returns how many bytes of a torn tail were cut when the store was opened.
func (s *Store) Torn() int64 {
	if s.log == nil {
		return 0
	}
	return s.log.Torn()
}

// Flow returns the entries of a flow, the last updated first.
func (s *Store) Flow(flow string) []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Entry
	for k, e := range s.entries {
		if k.flow == flow {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Updated, a.Updated), cmp.Compare(a.UID, b.UID))
	})
	return out
}

// Has reports whether the flow has an entry with the UID.
func (s *Store) Has(flow string, uid uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.entries[key{flow, uid}]
	return ok
}

// Put adds or replaces an entry.
func (s *Store) Put(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{e.Flow, e.UID}
	s.entries[k] = e
	s.dirty[k] = struct{}{}
}

// Delete removes an entry.
func (s *Store) Delete(flow string, uid uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{flow, uid}
	if _, ok := s.entries[k]; ok {
		delete(s.entries, k)
		s.dirty[k] = struct{}{}
	}
}

// Expire removes the entries of done or lost generations that nobody updated within
// the time to live. Those whose files are there, as far as there knows, are updated
// before that, so that they are kept.
func (s *Store) Expire(ttl time.Duration, there func(Entry) bool) {
	now := time.Now()
	renew, remove := now.Add(-ttl/2).Unix(), now.Add(-ttl).Unix()
	var old []Entry
	s.mu.Lock()
	for _, e := range s.entries {
		if (e.Done || e.Lost) && e.Updated < renew {
			old = append(old, e)
		}
	}
	s.mu.Unlock()
	for _, e := range old {
		found := there(e) // a look at the disk
		if !found && e.Updated >= remove {
			continue
		}
		k := key{e.Flow, e.UID}
		s.mu.Lock()
		if s.entries[k] == e { // nobody has changed it meanwhile
			if delete(s.entries, k); found {
				e.Updated = now.Unix()
				s.entries[k] = e
			}
			s.dirty[k] = struct{}{}
		}
		s.mu.Unlock()
	}
}

// Changed reports whether [Store.Persist] has something to write.
func (s *Store) Changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log != nil && (len(s.dirty) > 0 || s.broken)
}

// Persist makes all changes durable. After an error nothing is forgotten: the next
// call writes the whole content anew, to another file, since a file whose fsync
// failed cannot be trusted any more.
func (s *Store) Persist() error {
	if s.log == nil {
		return nil
	}
	payloads, whole := s.changes()
	if len(payloads) == 0 && !whole {
		return nil
	}
	err := s.write(payloads, whole)
	s.mu.Lock()
	s.broken = err != nil
	s.mu.Unlock()
	return err
}

// changes takes the encoded changes, or all entries if the file must be rewritten.
func (s *Store) changes() (payloads [][]byte, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const about = 160 // bytes of a frame
	size := s.log.Size()
	whole = s.broken || size > compactAt && size > 4*about*int64(len(s.entries))
	if whole {
		for _, e := range s.entries {
			payloads = append(payloads, appendPut(nil, &e))
		}
	} else {
		for k := range s.dirty {
			if e, ok := s.entries[k]; ok {
				payloads = append(payloads, appendPut(nil, &e))
			} else {
				payloads = append(payloads, appendDelete(nil, k.flow, k.uid))
			}
		}
	}
	clear(s.dirty)
	return payloads, whole
}

func (s *Store) write(payloads [][]byte, whole bool) error {
	if whole {
		return s.log.Rewrite(func(add func([]byte) error) error {
			for _, p := range payloads {
				if err := add(p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, p := range payloads {
		if err := s.log.Append(p); err != nil {
			return err
		}
	}
	return s.log.Sync()
}

// Close persists what changed and gives up the file.
func (s *Store) Close() error { return errors.Join(s.Persist(), s.Abandon()) }

// Abandon gives up the file without persisting, as a killed process does.
func (s *Store) Abandon() error {
	if s.log == nil {
		return nil
	}
	return s.log.Close()
}
