package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/streamkit/streamkit/internal/vfs"
)

// recover finds the segments, checks the last one and leaves the journal ready
// to append.
func (l *Local) recover() error {
	bases, err := l.list()
	if err != nil {
		return err
	}
	if len(bases) == 0 {
		s, f, err := l.create(0, nil)
		if err != nil {
			return err
		}
		l.segments, l.file = []segment{s}, f
		return nil
	}
	for i, s := range bases {
		if s.file, err = vfs.Open(l.cfg.FS, s.name); err != nil {
			return err
		}
		l.segments = append(l.segments, s)
		if err := l.checkHeader(s); err != nil {
			return err
		}
		if i == len(bases)-1 {
			break
		}
		// A segment that is not the last was synced whole before the next one
		// was made, so it must reach to it.
		info, err := s.file.Stat()
		if err != nil {
			return err
		}
		if have, want := info.Size(), segmentHeader+int64(bases[i+1].base-s.base); have < want {
			return &CorruptError{s.name, have, fmt.Sprintf("it ends early, %d bytes are missing", want-have)}
		}
	}
	return l.recoverLast()
}

// list returns the segments by name, and removes what a crash left of one that
// was being made.
func (l *Local) list() ([]segment, error) {
	entries, err := l.cfg.FS.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var segments []segment
	for _, e := range entries { // in order of name, hence of position
		name := filepath.Join(l.dir, e.Name())
		if strings.HasSuffix(e.Name(), segmentSuffix+".tmp") {
			if err := l.cfg.FS.Remove(name); err != nil {
				return nil, err
			}
			continue
		}
		digits, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok {
			continue
		}
		base, err := strconv.ParseUint(digits, 16, 64)
		if err != nil || len(digits) != 16 {
			return nil, fmt.Errorf("journal: %s is not a segment of this format; move it away", name)
		}
		segments = append(segments, segment{base: LSN(base), name: name})
	}
	return segments, nil
}

func (l *Local) checkHeader(s segment) error {
	b := make([]byte, segmentHeader)
	n, _ := s.file.ReadAt(b, 0) // a short read fails the check below
	base, store, ok := parseSegmentHeader(b[:n])
	switch {
	case !ok && n == segmentHeader && string(b[:7]) == segmentMagic[:7] && b[7] != segmentMagic[7]:
		return fmt.Errorf("journal: %s has format version %d, this program reads version %d; run the version that wrote it", s.name, b[7], segmentMagic[7])
	case !ok || base != s.base:
		return &CorruptError{s.name, 0, "the segment header is not valid"}
	case store != l.cfg.Store:
		return fmt.Errorf("journal: %s belongs to another store; move it away", s.name)
	}
	return nil
}

// recoverLast reads the last segment, cuts its torn tail and writes what is
// left anew unless it is known to be on disk.
func (l *Local) recoverLast() error {
	s := &l.segments[len(l.segments)-1]
	content, err := vfs.ReadFile(l.cfg.FS, s.name)
	if err != nil {
		return err
	}
	frames := content[segmentHeader:]
	pos, behind := scan(frames, s.base)
	l.head = s.base + LSN(pos)
	if behind > 0 {
		return &CorruptError{s.name, int64(segmentHeader + pos), fmt.Sprintf("a frame that is whole follows at byte %d", segmentHeader+behind)}
	}
	if torn := len(frames) - pos; torn > 0 {
		l.log.Info("journal: cut a torn tail that was never acknowledged", slog.String("file", s.name), slog.Int("bytes", torn))
	} else if l.head <= l.cfg.Checked {
		l.file, err = l.cfg.FS.OpenFile(s.name, os.O_RDWR, 0)
		return err
	}
	fresh, f, err := l.create(s.base, frames[:pos])
	if errors.Is(err, syscall.ENOSPC) {
		l.log.Warn("the disk is full; the last segment of the journal is used as it is", slog.String("file", s.name))
		return l.reuseLast(int64(segmentHeader + pos))
	}
	if err != nil {
		return err
	}
	old := s.file
	*s, l.file = fresh, f
	return old.Close()
}

// reuseLast makes the last segment end at the given size, without the room for
// a second copy. It is what a server needs to start on a full disk, so that
// what is stored can be read and expire.
func (l *Local) reuseLast(size int64) (err error) {
	if l.file, err = l.cfg.FS.OpenFile(l.segments[len(l.segments)-1].name, os.O_RDWR, 0); err != nil {
		return err
	}
	if err := l.file.Truncate(size); err != nil {
		return err
	}
	return l.file.Sync()
}

// scan returns how many bytes of b, which begins at position base, are whole
// frames. behind is where a frame that was synced follows what is not, 0 if
// there is none.
func scan(b []byte, base LSN) (valid, behind int) {
	for valid < len(b) {
		_, end, ok := parseFrame(b[valid:], base+LSN(valid))
		if !ok {
			break
		}
		valid = int(end - base)
	}
	if at, found := findFrame(b[valid:], base+LSN(valid)); found {
		behind = valid + at
	}
	return valid, behind
}

// findFrame looks in b, whose first byte is at position start, for a whole
// frame that was synced.
func findFrame(b []byte, start LSN) (int, bool) {
	for i := 1; i+headerSize <= len(b); i++ {
		var place [8]byte
		binary.LittleEndian.PutUint64(place[:], uint64(start)+uint64(i))
		if !bytes.Equal(b[i+8:i+16], place[:]) {
			continue
		}
		if h, ok := parseHeader(b[i:], start+LSN(i)); !ok || h.loose {
			continue
		}
		if _, _, ok := parseFrame(b[i:], start+LSN(i)); ok {
			return i, true
		}
	}
	return 0, false
}
