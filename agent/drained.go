package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
)

// ErrNoFlow is returned by the functions about the delivery of a file that no flow
// reads.
var ErrNoFlow = errors.New("agent: no flow reads this file")

// Delivery is how far a file is delivered.
type Delivery struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`    // now
	Pending int64  `json:"pending"` // bytes that some flow has not delivered
	Flow    string `json:"flow"`    // the one that is farthest behind
}

// Drained reports whether every byte is delivered.
func (d Delivery) Drained() bool { return d.Pending == 0 }

// Delivery returns how far the file at path is delivered, by the positions that
// were last made ready for the checkpoint file: it never says more than is stored
// within a second. Bytes behind the last newline of a file count as pending until
// the file is rotated.
func (a *Agent) Delivery(path string) (Delivery, error) {
	cfg := a.config()
	return delivery(cfg.FS, cfg.Flows, a.store.Flow, path)
}

// ReadDelivery is [Agent.Delivery] by the checkpoint file of a configuration whose
// agent does not run.
func ReadDelivery(config *Config, path string) (Delivery, error) {
	cfg := *config
	cfg.Flows = append([]FlowConfig(nil), config.Flows...)
	cfg.setDefaults()
	entries, err := position.Read(cfg.FS, cfg.CheckpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Delivery{}, fmt.Errorf("agent: no agent answers, and none has run yet: there is no checkpoint file %s; start it", cfg.CheckpointFile)
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("agent: checkpoint file: %w", err)
	}
	return delivery(cfg.FS, cfg.Flows, func(flow string) (out []position.Entry) {
		for _, e := range entries {
			if e.Flow == flow {
				out = append(out, e)
			}
		}
		return out
	}, path)
}

func delivery(fsys vfs.FS, flows []FlowConfig, entries func(flow string) []position.Entry, path string) (d Delivery, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return d, err
	}
	f, err := fsys.OpenFile(path, tail.OpenFlags, 0)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return d, err
	}
	if !fi.Mode().IsRegular() {
		return d, fmt.Errorf("%s is not a regular file", path)
	}
	var head tail.Head
	if err := head.Read(f, fi.Size()); err != nil {
		return d, err
	}
	d = Delivery{Path: path, Size: fi.Size()}
	id := tail.IDOf(path, fi)
	read := false
	for i := range flows {
		known, delivered := int64(-1), false
		for _, e := range entries(flows[i].ID) {
			// An inode number is given again, and a path too: only the content tells.
			if e.UID == 0 || e.ID != id && e.Path != path || e.Committed > d.Size || !head.Has(e.Prefix) {
				continue
			}
			if same, err := tail.Marked(f, e.Committed, e.Marker); err != nil || !same {
				continue
			}
			known, delivered = max(known, e.Committed), true
		}
		if !delivered && !flows[i].reads(path) {
			continue
		}
		if pending := d.Size - max(known, 0); !read || pending > d.Pending {
			d.Pending, d.Flow = pending, flows[i].ID
		}
		read = true
	}
	if !read {
		return d, fmt.Errorf("%w; name one that a filePattern matches", ErrNoFlow)
	}
	return d, nil
}

// reads reports whether path is one of the files that the flow finds now.
func (f *FlowConfig) reads(path string) bool {
	names, err := f.Files()
	if err != nil {
		return false
	}
	for _, name := range names {
		if filepath.Clean(name) == path {
			return true
		}
	}
	return false
}
