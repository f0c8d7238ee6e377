package agent

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/streamkit/streamkit/agent/internal/charset"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
)

// LastLine is the offset for [SetCheckpoint] behind the last whole line of a file.
const LastLine = -1

// SetCheckpoint makes offset the position of the file at path in the flow with the
// id flow, or in every flow that reads it if that is empty. The bytes before it are
// not read again, those behind it are. It must be the start of a line. The agent
// must not run meanwhile. SetCheckpoint returns the checkpoints that are stored.
func SetCheckpoint(config *Config, flow, path string, offset int64) ([]Checkpoint, error) {
	cfg := *config
	cfg.Flows = append([]FlowConfig(nil), config.Flows...)
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	var flows []*FlowConfig
	for i := range cfg.Flows {
		f := &cfg.Flows[i]
		if flow == f.ID || flow == "" && f.reads(path) {
			flows = append(flows, f)
		}
	}
	switch {
	case len(flows) == 0 && flow != "":
		return nil, fmt.Errorf("agent: no flow of the configuration has the id %q; \"validate\" lists them", flow)
	case len(flows) == 0:
		return nil, fmt.Errorf("%w: %s; name one that a filePattern matches, or the flow", ErrNoFlow, path)
	}
	if offset, err = wholeLineAt(cfg.FS, flows, path, offset); err != nil {
		return nil, err
	}
	store, err := openStore(cfg.FS, cfg.CheckpointFile)
	if err != nil {
		return nil, err
	}
	var out []Checkpoint
	for _, f := range flows {
		e, err := entryAt(cfg.FS, f, path, offset)
		if err != nil {
			return nil, errors.Join(err, store.Abandon())
		}
		for _, other := range store.Flow(f.ID) {
			if other.UID != 0 && other.ID == e.ID && !other.Lost {
				store.Delete(f.ID, other.UID)
			}
		}
		store.Put(e)
		for _, c := range checkpoints(store.Flow(f.ID)) {
			if c.uid == e.UID {
				out = append(out, c)
			}
		}
	}
	if err := store.Close(); err != nil {
		return nil, fmt.Errorf("agent: store the checkpoint: %w", err)
	}
	return out, nil
}

// wholeLineAt returns offset, or that behind the last line, if a line begins there.
func wholeLineAt(fsys vfs.FS, flows []*FlowConfig, path string, offset int64) (_ int64, err error) {
	f, err := fsys.OpenFile(path, tail.OpenFlags, 0)
	if err != nil {
		return 0, fmt.Errorf("agent: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("agent: %w", err)
	}
	enc, err := flows[0].encodingIn(f)
	if err != nil {
		return 0, fmt.Errorf("agent: %w", err)
	}
	switch {
	case offset == LastLine:
		return lastLine(f, fi.Size(), enc)
	case offset < 0:
		return 0, fmt.Errorf("agent: offset %d is negative; 0 is the beginning of the file", offset)
	case offset > fi.Size():
		return 0, fmt.Errorf("agent: offset %d is behind the end of %s, which has %d bytes", offset, path, fi.Size())
	case offset == 0:
		return 0, nil
	}
	begin, err := lastLine(f, offset, enc)
	if err != nil {
		return 0, fmt.Errorf("agent: %w", err)
	}
	if begin != offset {
		return 0, fmt.Errorf("agent: no line of %s begins at %d; the one with this byte begins at %d", path, offset, begin)
	}
	return offset, nil
}

// encodingIn returns how the characters of a file of the flow are written.
func (f *FlowConfig) encodingIn(file io.ReaderAt) (charset.Encoding, error) {
	enc, err := charset.Parse(f.Encoding)
	if err != nil {
		return enc, err
	}
	return detect(file, enc)
}
