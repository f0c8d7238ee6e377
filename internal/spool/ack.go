package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/seglog"
	"github.com/streamkit/streamkit/internal/vfs"
)

const (
	// The types of records in the file of acknowledgements.
	ackSegment = 1
	ackEnded   = 2 // of a segment that is written no more

	// ackInterval is the time between two writes of acknowledgements. What is
	// acknowledged and not written is sent again after a crash.
	ackInterval = 200 * time.Millisecond

	// maxAckFile is the size at which that file is written anew.
	maxAckFile = 1 << 20
)

var ackKind = seglog.Kind{'P', 'S', 'P', 'A'}

// Ack says that records with these numbers need not be sent again.
func (s *Spool[C]) Ack(numbers iter.Seq[uint64]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	finished := false
	var g *segment
	for n := range numbers {
		if g == nil || n < g.first || n >= g.first+g.n {
			g = nil
			for _, o := range s.segs {
				if n >= o.first && n < o.first+o.n {
					g = o
					break
				}
			}
		}
		if g == nil {
			continue // its segment was dropped
		}
		if g.acks.set(n - g.first) {
			g.dirty = true
			finished = finished || g.finished()
		}
	}
	if finished {
		s.kickKeeper()
	} else {
		s.keep.tick()
	}
}

// WriteAcks writes what is acknowledged now, and not in a while: it survives the
// end of the process when WriteAcks returns. An error costs duplicates after a
// crash at most, is logged, and the writing is tried again.
func (s *Spool[C]) WriteAcks() error { return s.writeAcks() }

// keeper writes acknowledgements and removes what is finished. One goroutine,
// keeper.run, does it, and WriteAcks the former.
type keeper struct {
	mu   sync.Mutex // guards log; taken before Spool.mu
	log  *seglog.Log
	kick chan struct{} // holds one signal: look for finished segments
	dirt chan struct{} // holds one signal: there are acknowledgements to write
	stop chan struct{}
	wg   sync.WaitGroup
}

func (k *keeper) tick() {
	select {
	case k.dirt <- struct{}{}:
	default:
	}
}

func (s *Spool[C]) kickKeeper() {
	select {
	case s.keep.kick <- struct{}{}:
	default:
	}
}

func (s *Spool[C]) startKeeper() error {
	log, err := seglog.Open(s.fsys, filepath.Join(s.dir, acksName), seglog.Options{Kind: ackKind, NoLock: true})
	if err != nil {
		return err
	}
	s.keep.log = log
	s.keep.kick, s.keep.dirt, s.keep.stop = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
	s.keep.wg.Go(s.runKeeper)
	return nil
}

func (s *Spool[C]) runKeeper() {
	timer := time.NewTimer(ackInterval)
	timer.Stop()
	dirt := s.keep.dirt
	for {
		select {
		case <-s.keep.stop:
			return
		case <-s.keep.kick:
			s.removeFinished()
		case <-dirt:
			_ = s.writeAcks() // it has said so, and is called again
			dirt = nil        // for a while
			timer.Reset(ackInterval)
		case <-timer.C:
			dirt = s.keep.dirt
		}
	}
}

func (s *Spool[C]) stopKeeper() error {
	close(s.keep.stop)
	s.keep.wg.Wait()
	s.removeFinished()
	err := s.writeAcks()
	if err == nil && s.opt.Fsync {
		err = s.keep.log.Sync()
	}
	s.mu.Lock()
	empty := len(s.segs) == 0
	s.mu.Unlock()
	if empty {
		err = nil // nothing is left that an acknowledgement could be about
	}
	return errors.Join(err, s.keep.log.Close())
}

// removeFinished removes the files of which nothing is needed.
func (s *Spool[C]) removeFinished() {
	s.mu.Lock()
	var gone []*segment
	for _, g := range s.segs {
		if g.finished() && g != s.opened {
			gone = append(gone, g)
		}
	}
	s.mu.Unlock()
	for _, g := range gone {
		if err := s.fsys.Remove(g.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("finished segment of a spool cannot be removed", slog.String("segment", g.path), slog.Any("err", err))
			continue
		}
		s.mu.Lock()
		if i := slices.Index(s.segs, g); i >= 0 { // else it was dropped meanwhile
			s.segs = slices.Delete(s.segs, i, i+1)
			s.total -= g.size
			g.past = true
			if s.rseg == g {
				s.rseg = nil
			}
			s.roomLocked()
		}
		s.mu.Unlock()
	}
}

// writeAcks notes what is acknowledged. A failure costs duplicates at most, and
// is tried again with a new file.
func (s *Spool[C]) writeAcks() error {
	s.keep.mu.Lock()
	defer s.keep.mu.Unlock()
	s.mu.Lock()
	var entries [][]byte
	whole := s.keep.log.Size() > maxAckFile
	for _, g := range s.segs {
		if g.noted() && (g.dirty || whole) {
			entries = append(entries, appendAck(nil, g))
			g.dirty = false
		}
	}
	s.mu.Unlock()
	if len(entries) == 0 {
		return nil
	}
	var err error
	if !whole {
		for _, b := range entries {
			if err = s.keep.log.Append(b); err != nil {
				break
			}
		}
	}
	if whole || err != nil {
		s.mu.Lock()
		entries = entries[:0]
		for _, g := range s.segs {
			if g.noted() {
				entries = append(entries, appendAck(nil, g))
			}
		}
		s.mu.Unlock()
		err = s.keep.log.Rewrite(func(add func([]byte) error) error {
			for _, b := range entries {
				if err := add(b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		s.mu.Lock()
		s.stats.Failures++
		for _, g := range s.segs {
			g.dirty = g.noted()
		}
		s.mu.Unlock()
		s.log.Warn("acknowledgements of a spool cannot be written; a crash now would have records sent again", slog.String("spool", s.dir), slog.Any("err", err))
		s.keep.tick()
	}
	return err
}

// Holds calls yield for each number with whether its record is still on disk, or
// was dropped. It must not be called for records that are acknowledged.
func (s *Spool[C]) Holds(numbers iter.Seq[uint64], dropped func(uint64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range numbers {
		if !slices.ContainsFunc(s.segs, func(g *segment) bool { return n >= g.first && n < g.first+g.n }) {
			dropped(n)
		}
	}
}

// noted reports whether there is something to say of a segment.
func (g *segment) noted() bool { return g.acks.done > 0 || g.ended > 0 }

// appendAck appends the record that says what is acknowledged of a segment, and how
// many records that has if it has ended.
func appendAck(dst []byte, g *segment) []byte {
	typ := byte(ackSegment)
	if g.ended > 0 {
		typ = ackEnded
	}
	dst = append(dst, typ)
	dst = binary.LittleEndian.AppendUint64(dst, g.salt)
	dst = binary.AppendUvarint(dst, g.first)
	if typ == ackEnded {
		dst = binary.AppendUvarint(dst, g.ended)
	}
	return g.acks.append(dst)
}

// ack is what is acknowledged of a segment.
type ack struct {
	salt  uint64
	first uint64
	ended uint64 // records of it; 0 if that is not known
	bitmap
}

var errAck = errors.New("no acknowledgement of a spool")

func parseAck(b []byte) (*ack, error) {
	if len(b) < 9 || b[0] != ackSegment && b[0] != ackEnded {
		return nil, fmt.Errorf("%w: type or length", errAck)
	}
	a := &ack{salt: binary.LittleEndian.Uint64(b[1:])}
	first, n := binary.Uvarint(b[9:])
	if n <= 0 || first > math.MaxInt64 {
		return nil, fmt.Errorf("%w: number", errAck)
	}
	a.first = first
	rest := b[9+n:]
	if b[0] == ackEnded {
		ended, n := binary.Uvarint(rest)
		if n <= 0 || ended == 0 || ended > math.MaxInt64-first {
			return nil, fmt.Errorf("%w: count", errAck)
		}
		a.ended, rest = ended, rest[n:]
	}
	return a, a.load(rest)
}

// readAcks returns the last acknowledgements of each segment, by the number of
// its first record. The error wraps [seglog.ErrCorrupt] if the file is damaged.
func readAcks(fsys vfs.FS, dir string) (map[uint64]*ack, error) {
	path := filepath.Join(dir, acksName)
	r, err := seglog.OpenReader(fsys, path, seglog.Options{Kind: ackKind})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read from
	acks := make(map[uint64]*ack)
	for {
		b, err := r.Next(-1)
		if torn, ok := errors.AsType[*seglog.TornError](err); errors.Is(err, io.EOF) || ok && torn != nil {
			return acks, nil
		}
		if err != nil {
			return nil, err
		}
		a, err := parseAck(b)
		if err != nil {
			return nil, &seglog.CorruptError{Path: path, Offset: r.Offset(), Reason: err.Error(), Hint: "remove the file; records that were sent are sent again"}
		}
		acks[a.first] = a
	}
}
