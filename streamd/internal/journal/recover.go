package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const chunk = 1 << 20 // bytes that recovery reads at once

// found is a header on a block of a file.
type found struct {
	file   *ringFile
	offset int64
	header
}

// recover reads the files of the ring, follows the frames behind the last
// snapshot and leaves the journal ready to append.
func (l *Local) recover() error {
	files, err := l.openFiles()
	if err != nil {
		return err
	}
	l.free = files // so that they are closed, whatever comes
	var all []found
	for _, f := range files {
		headers, err := scanFile(f)
		if err != nil {
			return fmt.Errorf("journal: cannot read %s: %w", f.name, err)
		}
		for _, h := range headers {
			if h.id.Gateway != l.cfg.Store {
				return &CorruptError{f.name, h.offset, "it belongs to another store"}
			}
		}
		all = append(all, headers...)
	}
	frames, err := follow(all, l.cfg.From)
	if err != nil {
		return err
	}
	l.head = l.cfg.From
	for _, f := range frames {
		l.head, l.chain = f.end(), f.sum
		if n := len(l.live); n == 0 || l.live[n-1] != f.file {
			l.live = append(l.live, f.file)
		}
	}
	l.durable = l.head
	l.free = slices.DeleteFunc(l.free, func(f *ringFile) bool { return slices.Contains(l.live, f) })
	if err := l.dropSurplus(); err != nil {
		return err
	}
	if len(l.live) == 0 {
		return l.roll(blockUp(l.head))
	}
	return l.rewrite(l.live[len(l.live)-1], frames)
}

// openFiles opens the files of the ring, and removes what a crash left of one
// that was being made.
func (l *Local) openFiles() ([]*ringFile, error) {
	entries, err := l.cfg.FS.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var files []*ringFile
	for _, e := range entries {
		name := filepath.Join(l.dir, e.Name())
		if strings.HasSuffix(e.Name(), ringSuffix+".tmp") {
			if err := l.cfg.FS.Remove(name); err != nil {
				return files, err
			}
			continue
		}
		digits, ok := strings.CutSuffix(e.Name(), ringSuffix)
		if !ok {
			continue
		}
		index, err := strconv.Atoi(digits)
		if err != nil || index < 0 || ringName(l.dir, index) != name {
			return files, &CorruptError{name, 0, "it is not a file of a ring"}
		}
		f, err := l.cfg.FS.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return files, err
		}
		l.indexes[index] = true
		files = append(files, &ringFile{index: index, name: name, file: f})
	}
	return files, nil
}

// scanFile returns the frame headers on the blocks of a file. It sets the base
// of the file, which the frames of its last turn have in common: those of
// earlier turns have lower ones. It sets its size as well.
func scanFile(f *ringFile) ([]found, error) {
	var headers []found
	info, err := f.file.Stat()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, min(chunk, info.Size()+1))
	for offset := int64(0); ; {
		n, err := f.file.ReadAt(buf, offset)
		for i := 0; i+headerSize <= n; i += block {
			h, ok := parseHeader(buf[i:n])
			if at := offset + int64(i); ok && h.start >= LSN(at) {
				f.base = max(f.base, h.start-LSN(at))
				headers = append(headers, found{f, at, h})
			}
		}
		offset += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			f.size = offset
			return headers, nil
		case err != nil:
			return nil, err
		}
	}
}

// follow returns the frames behind position from, in order. An error means that
// one is missing that was on disk.
func follow(all []found, from LSN) ([]found, error) {
	frames, err := chain(all, from)
	if err != nil {
		return nil, err
	}
	head := from
	if len(frames) > 0 {
		head = frames[len(frames)-1].end()
	}
	if damage := missing(all, head); damage != nil {
		return nil, damage
	}
	return frames, nil
}

// chain returns the frames behind position from, in order, to the last that is
// whole.
func chain(all []found, from LSN) ([]found, error) {
	byStart := make(map[LSN][]found, len(all))
	for _, f := range all {
		if f.start-LSN(f.offset) == f.file.base { // of its file's last turn
			byStart[f.start] = append(byStart[f.start], f)
		}
	}
	var frames []found
	for next := blockUp(from); ; {
		// A frame that a crash has torn stays where it is if what was written in its
		// place fitted another file: then there are two for one position.
		i := -1
		for n, f := range byStart[next] {
			if len(frames) > 0 && f.chain != frames[len(frames)-1].sum {
				continue
			}
			whole, err := f.check()
			if err != nil {
				return nil, fmt.Errorf("journal: cannot read %s: %w", f.file.name, err)
			}
			if whole {
				i = n
				break
			}
		}
		if i < 0 {
			return frames, nil
		}
		frames = append(frames, byStart[next][i])
		next = blockUp(byStart[next][i].end())
	}
}

// missing returns what is wrong with frames that end at head although one of all
// says that more was on disk; nil if none does.
func missing(all []found, head LSN) *CorruptError {
	for _, f := range all {
		if f.durable > head {
			return lost(all, blockUp(head), f)
		}
	}
	return nil
}

// lost says where the frame at position next should be, which witness says was
// on disk.
func lost(all []found, next LSN, witness found) *CorruptError {
	where := witness // in this file, unless one is known that the position lies in
	for _, f := range all {
		if f.file.base <= next && (where.file.base > next || f.file.base > where.file.base) {
			where = f
		}
	}
	return &CorruptError{where.file.name, max(int64(next)-int64(where.file.base), 0), fmt.Sprintf(
		"the frame at position %d is not whole, though %s says at byte %d that it was on disk", next, witness.file.name, witness.offset)}
}

// check reports whether the body of the frame is whole.
func (f found) check() (bool, error) {
	buf := make([]byte, min(chunk, int(f.body)))
	sum := uint32(0)
	for offset, rest := f.offset+headerSize, int(f.body); rest > 0; {
		n, err := f.file.file.ReadAt(buf[:min(rest, len(buf))], offset)
		if err != nil && !(errors.Is(err, io.EOF) && n > 0) {
			if errors.Is(err, io.EOF) {
				return false, nil // it ends early
			}
			return false, err
		}
		sum = crc32.Update(sum, castagnoli, buf[:n])
		offset, rest = offset+int64(n), rest-n
	}
	return sum == f.crc, nil
}

// rewrite writes the frames of the last file once more, and syncs them.
func (l *Local) rewrite(file *ringFile, frames []found) error {
	first := slices.IndexFunc(frames, func(f found) bool { return f.file == file })
	end := int64(l.head - file.base)
	buf := make([]byte, min(chunk, end-frames[first].offset))
	for at := frames[first].offset; at < end; {
		n, err := file.file.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if err != nil && n == 0 {
			return fmt.Errorf("journal: cannot read %s: %w", file.name, err)
		}
		if _, err := file.file.WriteAt(buf[:n], at); errors.Is(err, syscall.ENOSPC) {
			l.log.Warn("the disk is full; the last file of the journal is used as it is", slog.String("file", file.name))
			break
		} else if err != nil {
			return fmt.Errorf("journal: cannot write %s: %w", file.name, err)
		}
		at += int64(n)
	}
	if err := file.file.Sync(); err != nil {
		return fmt.Errorf("journal: cannot sync %s: %w", file.name, err)
	}
	return nil
}
