package rescue

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// source is a run to be read by shard: one that is whole through its footer, a
// damaged one through a list of where what is whole lies.
type source struct {
	name    string
	run     *runs.Run // nil if it is damaged
	extents map[runs.Key][2]uint64

	file    vfs.File // of a damaged one
	batches map[runs.Key][]located
}

// located is a batch without its records, which are in the file.
type located struct {
	runs.Batch
	offset int64
	size   int
}

// sources returns the runs that have records worth to be read: those that the
// base names, and those that nothing names as well if something is damaged.
// The caller closes them.
func (d *directory) sources() (all []*source, err error) {
	var names []string
	damaged := len(d.bad) > 0
	for _, r := range d.named {
		if r.missing {
			damaged = true
			continue
		}
		names = append(names, r.name)
	}
	if damaged {
		names = append(names, d.unnamed...)
	}
	defer func() {
		if err != nil {
			closeAll(all)
		}
	}()
	cache := runs.NewCache(0)
	for _, name := range names {
		s := &source{name: name, extents: make(map[runs.Key][2]uint64)}
		all = append(all, s)
		if err := s.open(d.fs, cache); err != nil {
			return all, err
		}
	}
	return all, nil
}

func closeAll(sources []*source) {
	for _, s := range sources {
		if s.file != nil {
			_ = s.file.Close() // it was only read
		}
	}
}

func (s *source) open(fsys vfs.FS, cache *runs.Cache) error {
	x, err := runs.Examine(fsys, s.name, nil)
	if err != nil {
		return err
	}
	if x.Whole() {
		if s.run, err = runs.Open(fsys, s.name, cache); err != nil {
			return err
		}
		return s.run.Extents(func(e runs.Extent) bool {
			s.extents[e.Key] = [2]uint64{e.First, e.Last}
			return true
		})
	}
	s.batches = make(map[runs.Key][]located)
	_, err = runs.Locate(fsys, s.name, func(k runs.Key, b runs.Batch, offset int64) error {
		size := len(b.Records)
		b.Records = nil
		s.batches[k] = append(s.batches[k], located{b, offset, size})
		span, ok := s.extents[k]
		if !ok {
			span[0] = b.First
		}
		s.extents[k] = [2]uint64{span[0], b.Last()}
		return nil
	})
	if err != nil {
		return err
	}
	s.file, err = vfs.Open(fsys, s.name)
	return err
}

// next returns the first batch of a shard at or behind sequence index from that a
// run has.
func next(sources []*source, k runs.Key, from uint64) (first runs.Batch, ok bool, err error) {
	for _, s := range sources {
		if span, has := s.extents[k]; !has || span[1] < from || ok && span[0] >= first.First {
			continue
		}
		b, has, err := s.next(k, from)
		if err != nil {
			return first, false, err
		}
		if has && (!ok || b.First < first.First) {
			first, ok = b, true
		}
	}
	return first, ok, nil
}

func (s *source) next(k runs.Key, from uint64) (b runs.Batch, ok bool, err error) {
	if s.run == nil {
		return s.nextWhole(k, from)
	}
	batches, err := s.run.Read(k, from, math.MaxInt, 1)
	if err != nil {
		return b, false, err
	}
	i := slices.IndexFunc(batches, func(b runs.Batch) bool { return b.First >= from })
	if i < 0 {
		return b, false, nil
	}
	return batches[i], true, nil
}

// nextWhole is next of a damaged run.
func (s *source) nextWhole(k runs.Key, from uint64) (b runs.Batch, ok bool, err error) {
	batches := s.batches[k]
	i, _ := slices.BinarySearchFunc(batches, from, func(l located, from uint64) int { return cmp.Compare(l.First, from) })
	if i == len(batches) {
		return b, false, nil
	}
	l := batches[i]
	b = l.Batch
	b.Records = make([]byte, l.size)
	if n, err := s.file.ReadAt(b.Records, l.offset); n < l.size {
		return b, false, fmt.Errorf("cannot read %s: %w", s.name, err)
	}
	return b, true, nil
}

// dumpUnknown writes the records of streams that the state does not know.
func (d *directory) dumpUnknown(l *lines, sources []*source, known map[uint64]bool) error {
	if d.hasBase && len(d.bad) == 0 {
		return nil // they are of streams that were deleted
	}
	keys := make(map[runs.Key]bool)
	for _, s := range sources {
		for k := range s.extents {
			if !known[k.Stream] {
				keys[k] = true
			}
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(keys), runs.Key.Compare) {
		for from := uint64(0); ; {
			b, ok, err := next(sources, k, from)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if err := l.batch(nil, int(k.Shard), b); err != nil {
				return err
			}
			from = b.Last() + 1
		}
	}
	return nil
}

// readRef reads records out of the journal.
func (d *directory) readRef(ref state.Ref) ([]byte, error) {
	i, ok := slices.BinarySearchFunc(d.journal.Frames, ref.Pos, func(s journal.Seen, pos uint64) int {
		switch {
		case uint64(s.End) <= pos:
			return -1
		case uint64(s.Start) > pos:
			return 1
		}
		return 0
	})
	if !ok {
		return nil, fmt.Errorf("there is no frame at journal position %d", ref.Pos)
	}
	s := d.journal.Frames[i]
	file, err := vfs.Open(d.fs, s.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := make([]byte, ref.Size)
	if n, err := file.ReadAt(b, s.Offset+int64(ref.Pos-uint64(s.Start))); n < len(b) {
		return nil, fmt.Errorf("cannot read %s: %w", s.File, err)
	}
	return b, nil
}

// tally says what the frames hold that are behind the damage and whole.
func (d *directory) tally() []string {
	records := make(map[runs.Key]int)
	others := make(map[string]int)
	for _, f := range d.journal.Beyond {
		if !f.Whole {
			continue
		}
		frame, err := f.Read(d.fs)
		if err != nil {
			continue // it was whole a moment ago, and is saved as it is
		}
		_, entries, _ := state.Entries(frame.Body)
		for _, e := range entries {
			switch {
			case e.Records != nil:
				records[runs.Key{Stream: e.Records.Stream, Shard: uint32(e.Records.Shard)}] += e.Records.Count
			case e.Command != nil:
				others["changes of streams by "+e.Command.Name]++
			case e.Table != nil:
				others["changes of tables by "+e.Table.Operation]++
			}
		}
	}
	var all []string
	for _, k := range slices.SortedFunc(maps.Keys(records), runs.Key.Compare) {
		all = append(all, fmt.Sprintf("%d records of %s, which are behind the damage and go to the folder lost", records[k], d.shard(k)))
	}
	for _, what := range slices.SortedFunc(maps.Keys(others), cmp.Compare) {
		all = append(all, fmt.Sprintf("%d %s, which are behind the damage and go to the folder lost", others[what], what))
	}
	return all
}

// shard names a shard for people.
func (d *directory) shard(k runs.Key) string {
	s, ok := d.state.StreamByID(k.Stream)
	if !ok {
		return fmt.Sprintf("%s of a stream that is deleted", state.ShardID(int(k.Shard)))
	}
	return fmt.Sprintf("%s of stream %s", state.ShardID(int(k.Shard)), s.Key.Name)
}
