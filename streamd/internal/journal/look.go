package journal

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/streamkit/streamkit/internal/vfs"
)

// A Look is what the files of a ring hold, found without a change to them.
type Look struct {
	Store  [16]byte // that the frames are of
	Files  []string // of the ring
	Frames []Seen   // behind the position asked for, in order, to the last that is whole
	Head   LSN      // where they end

	// Damage says where a frame is missing that was on disk; nil if none is.
	Damage *CorruptError
	// Beyond is what lies behind Head: without Damage, at most a frame that was
	// never acknowledged, with it also the frames that were acknowledged after
	// the one that is missing.
	Beyond []Seen

	Foreign   []string // files that hold frames of another store
	Strays    []string // files that have the name of a ring's file, but not quite
	Temporary []string // of files that were being made
}

// Seen is a frame, or the header of one, in a file of a ring.
type Seen struct {
	File       string
	Offset     int64
	Start, End LSN
	Whole      bool // the body has its checksum
	ID         FrameID

	header header
}

// Size returns how many bytes the frame takes in its file.
func (s Seen) Size() int64 { return int64(s.End - s.Start) }

// Read returns the frame. It must be whole.
func (s Seen) Read(fsys vfs.FS) (*Frame, error) {
	file, err := vfs.Open(fsys, s.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	body := make([]byte, s.header.body)
	if _, err := file.ReadAt(body, s.Offset+headerSize); err != nil && len(body) > 0 {
		return nil, fmt.Errorf("journal: cannot read %s at byte %d: %w", s.File, s.Offset, err)
	}
	f := s.header.frame(body)
	if f == nil {
		return nil, &CorruptError{s.File, s.Offset, "the frame fails its checksum"}
	}
	return f, nil
}

// LookAt reads the ring in dir as [OpenLocal] does, for the frames of a store
// behind position from, and changes nothing. A store that is zero stands for that
// of the newest frame. No store may use the directory.
func LookAt(fsys vfs.FS, dir string, store [16]byte, from LSN) (*Look, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	look := &Look{Store: store, Head: from}
	var all []found
	var newest LSN
	var open []vfs.File
	defer func() {
		for _, file := range open {
			_ = file.Close() // it was only read
		}
	}()
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		digits, ok := strings.CutSuffix(e.Name(), ringSuffix)
		if !ok {
			if strings.HasSuffix(e.Name(), ringSuffix+".tmp") {
				look.Temporary = append(look.Temporary, name)
			}
			continue
		}
		if index, err := strconv.Atoi(digits); err != nil || index < 0 || ringName(dir, index) != name {
			look.Strays = append(look.Strays, name)
			continue
		}
		file, err := vfs.Open(fsys, name)
		if err != nil {
			return nil, err
		}
		open = append(open, file)
		headers, err := scanFile(&ringFile{name: name, file: file})
		if err != nil {
			return nil, fmt.Errorf("journal: cannot read %s: %w", name, err)
		}
		look.Files = append(look.Files, name)
		all = append(all, headers...)
		for _, h := range headers {
			if store == [16]byte{} && h.start >= newest {
				look.Store, newest = h.id.Gateway, h.start
			}
		}
	}
	for _, name := range look.Files {
		if slices.ContainsFunc(all, func(h found) bool { return h.file.name == name && h.id.Gateway != look.Store }) {
			look.Foreign = append(look.Foreign, name)
		}
	}
	look.Files = slices.DeleteFunc(look.Files, func(name string) bool { return slices.Contains(look.Foreign, name) })
	all = slices.DeleteFunc(all, func(h found) bool { return slices.Contains(look.Foreign, h.file.name) })
	frames, err := chain(all, from)
	if err != nil {
		return nil, err
	}
	for _, f := range frames {
		look.Frames = append(look.Frames, f.seen(true))
		look.Head = f.end()
	}
	look.Damage = missing(all, look.Head)
	for _, f := range all {
		if f.start < blockUp(look.Head) {
			continue
		}
		whole, err := f.check()
		if err != nil {
			return nil, fmt.Errorf("journal: cannot read %s: %w", f.file.name, err)
		}
		look.Beyond = append(look.Beyond, f.seen(whole))
	}
	slices.SortStableFunc(look.Beyond, func(a, b Seen) int { return cmp.Compare(a.Start, b.Start) })
	return look, nil
}

func (f found) seen(whole bool) Seen {
	return Seen{f.file.name, f.offset, f.start, f.end(), whole, f.id, f.header}
}

// Cut ends the ring that look was made of at look.Head, for good: it writes a
// frame with the given body there, and takes away the headers of what lies
// beyond. The caller has a copy of that. A cut that was cut off is either done or
// is still the damage that it was.
func (look *Look) Cut(fsys vfs.FS, dir string, body []byte) (LSN, error) {
	if len(body) > block-headerSize {
		return 0, fmt.Errorf("journal: a frame of %d bytes is too large to end a ring", len(body))
	}
	h := newHeader(NewFrame(FrameID{Gateway: look.Store, Session: uint64(look.Head) + 1, N: 1}, 0, body))
	h.start, h.durable = blockUp(look.Head), look.Head
	name, offset := ringName(dir, 0), int64(0)
	if n := len(look.Frames); n > 0 {
		last := look.Frames[n-1]
		h.chain = last.header.sum
		name, offset = last.File, last.Offset+int64(h.start-last.Start)
	} else if len(look.Beyond) > 0 && look.Beyond[0].Start == h.start {
		name, offset = look.Beyond[0].File, look.Beyond[0].Offset
	} else if len(look.Files) > 0 {
		name = look.Files[0]
	}
	// What lies beyond goes first to last, so that what is left of it by a crash
	// still says that it was on disk. The last of it goes with the frame that
	// ends the ring.
	for i := range look.Beyond {
		s := &look.Beyond[i]
		if s.File == name && s.Offset == offset {
			continue // is written over
		}
		if i == len(look.Beyond)-1 {
			break
		}
		if err := overwrite(fsys, s.File, s.Offset, make([]byte, headerSize)); err != nil {
			return 0, err
		}
	}
	if err := overwrite(fsys, name, offset, append(h.append(nil), body...)); err != nil {
		return 0, err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return 0, err
	}
	if n := len(look.Beyond); n > 0 {
		if s := look.Beyond[n-1]; s.File != name || s.Offset != offset {
			if err := overwrite(fsys, s.File, s.Offset, make([]byte, headerSize)); err != nil {
				return 0, err
			}
		}
	}
	return h.end(), nil
}

// overwrite replaces bytes of a file, durably.
func overwrite(fsys vfs.FS, name string, offset int64, b []byte) error {
	file, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(b, offset)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}
