package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
)

// A Checkpoint is up to where a file is delivered.
type Checkpoint struct {
	Flow    string    `json:"flow"` // id
	Path    string    `json:"path"` // last seen
	FileID  string    `json:"fileId"`
	Offset  int64     `json:"offset"` // every byte before it is delivered or accounted for
	Size    int64     `json:"size"`   // last seen
	State   string    `json:"state"`  // live, rotated, done, or lost
	Updated time.Time `json:"updated"`

	uid uint64
}

// fileID is the official agent's name of a file's identity: device and inode.
func fileID(id tail.ID) string { return fmt.Sprintf("(dev=%x,ino=%d)", id.Dev, id.Ino) }

// FileIDOf returns the identity of the file at path, as a [Checkpoint] has it.
func FileIDOf(fsys vfs.FS, path string) (string, error) {
	fi, err := fsys.Stat(path)
	if err != nil {
		return "", err
	}
	return fileID(tail.IDOf(path, fi)), nil
}

func checkpoints(entries []position.Entry) []Checkpoint {
	var out []Checkpoint
	for _, e := range entries {
		if e.UID == 0 {
			continue // it says of the flow, not of a file
		}
		c := Checkpoint{
			Flow: e.Flow, Path: e.Path, FileID: fileID(e.ID), Offset: e.Committed, Size: e.Size, State: "live",
			Updated: time.Unix(e.Updated, 0).UTC(), uid: e.UID,
		}
		switch {
		case e.Lost:
			c.State = "lost"
		case e.Done:
			c.State = "done"
		case e.Rotated:
			c.State = "rotated"
		}
		out = append(out, c)
	}
	return out
}

// Checkpoints returns up to where files are delivered.
func (a *Agent) Checkpoints() []Checkpoint { return checkpoints(a.store.All()) }

// ReadCheckpoints returns what a checkpoint file holds, also while an agent has it.
// It changes nothing.
func ReadCheckpoints(fsys vfs.FS, path string) ([]Checkpoint, error) {
	entries, err := position.Read(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("agent: there is no checkpoint file %s; an agent makes it when it first runs: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("agent: checkpoint file: %w", err)
	}
	return checkpoints(entries), nil
}

// ResetCheckpoints forgets the checkpoints that match accepts and returns how many.
// The agent then takes their files for new ones, and a flow that has no other left
// starts as for the first time. The agent must not run meanwhile.
func ResetCheckpoints(fsys vfs.FS, path string, match func(Checkpoint) bool) (int, error) {
	if _, err := fsys.Stat(path); err != nil {
		return 0, fmt.Errorf("agent: checkpoint file: %w; name the right one in the configuration", err)
	}
	store, err := openStore(fsys, path)
	if err != nil {
		return 0, err
	}
	n := 0
	touched, others := make(map[string]bool), make(map[string]bool) // flows
	for _, c := range checkpoints(store.All()) {
		if !match(c) {
			others[c.Flow] = true
			continue
		}
		store.Delete(c.Flow, c.uid)
		touched[c.Flow] = true
		n++
	}
	for flow := range touched {
		if !others[flow] {
			store.Delete(flow, startedUID)
		}
	}
	return n, store.Close()
}

func openStore(fsys vfs.FS, path string) (*position.Store, error) {
	store, err := position.Open(fsys, path)
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("agent: the checkpoint file %s is in use by an agent; stop it first: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("agent: checkpoint file: %w", err)
	}
	return store, nil
}

// An Import is a checkpoint of another agent: a row of the official agent's table
// FILE_CHECKPOINTS, or what [ExportCheckpoints] has made.
type Import struct {
	Flow         string `json:"flow"`   // the flow's id; the official agent's is kinesis:STREAM:PATTERN
	Path         string `json:"path"`   //
	FileID       string `json:"fileId"` // (dev=HEX,ino=NUMBER)
	LastModified int64  `json:"lastModifiedTime"`
	Size         int64  `json:"size"`
	Offset       int64  `json:"offset"`

	// Exported says that the row is this agent's, which has one of each file. Of the
	// official agent's files those without a row are taken as delivered.
	Exported bool `json:"exported,omitempty"`
}

// ExportCheckpoints returns what [ImportCheckpoints] makes the same checkpoints of.
// Those that are lost are left out.
func ExportCheckpoints(list []Checkpoint) []Import {
	var rows []Import
	for _, c := range list {
		if c.State != "lost" {
			rows = append(rows, Import{Flow: c.Flow, Path: c.Path, FileID: c.FileID, Size: c.Size, Offset: c.Offset, Exported: true})
		}
	}
	return rows
}

// Imported is what became of an [Import], or of a file that the official agent has
// no row of any more since it is done with it.
type Imported struct {
	Flow, Path string
	Offset     int64
	Refused    string // why it was not taken; empty if it was
}

// ImportCheckpoints takes over checkpoints of the official agent, or exported ones,
// into the checkpoint file of config, whose agent must not run. A row is taken if its file
// is there, under its name or another in its directory, is the same by device and
// inode, and not shorter than the offset; else the reason is in the result. Files
// of a flow that are older than the one that the official agent was reading, and
// that it kept no row of, are taken as delivered, as it would take them.
//
// Source: awslabs/amazon-kinesis-agent, SQLiteFileCheckpointStore,
// SourceFileTracker.
func ImportCheckpoints(config *Config, rows []Import) ([]Imported, error) {
	cfg := *config
	cfg.Flows = append([]FlowConfig(nil), config.Flows...)
	cfg.setDefaults()
	store, err := openStore(cfg.FS, cfg.CheckpointFile)
	if err != nil {
		return nil, err
	}
	var out []Imported
	newest := make(map[string]int64) // by flow, when its newest taken file was written
	for _, row := range rows {
		res := Imported{Flow: row.Flow, Path: row.Path, Offset: row.Offset}
		f := flowOf(cfg.Flows, row.Flow)
		switch {
		case f == nil:
			res.Refused = "no flow of the configuration has this id, or this stream and file pattern"
		case row.Offset < 0:
			res.Refused = "its offset is negative"
		default:
			e, why := importRow(cfg.FS, f, row)
			if res.Refused = why; why == "" {
				res.Refused = take(store, e)
				if !row.Exported {
					newest[f.ID] = max(newest[f.ID], e.ModTime)
				}
			}
		}
		out = append(out, res)
	}
	for i := range cfg.Flows {
		f := &cfg.Flows[i]
		if at, ok := newest[f.ID]; ok {
			out = append(out, older(cfg.FS, f, store, at)...)
		}
	}
	if err := store.Close(); err != nil {
		return nil, fmt.Errorf("agent: store the imported checkpoints: %w", err)
	}
	return out, nil
}

// flowOf returns the flow with the id, or that the official agent would call so;
// nil if there is none.
func flowOf(flows []FlowConfig, id string) *FlowConfig {
	for i := range flows {
		if flows[i].ID == id {
			return &flows[i]
		}
	}
	for i := range flows {
		if flows[i].flowID() == id {
			return &flows[i]
		}
	}
	return nil
}

// take puts e into the store unless its file has a checkpoint already.
func take(store *position.Store, e position.Entry) (refused string) {
	for _, other := range store.Flow(e.Flow) {
		if other.UID != 0 && other.ID == e.ID && !other.Lost {
			return "this file has a checkpoint already; reset it first to replace it"
		}
	}
	store.Put(e)
	return ""
}

// importRow finds the file of a row.
func importRow(fsys vfs.FS, f *FlowConfig, row Import) (position.Entry, string) {
	e, err := entryAt(fsys, f, row.Path, row.Offset)
	if err == nil && fileID(e.ID) == row.FileID {
		return e, tooShort(e, row.Offset)
	}
	dir := filepath.Dir(row.Path)
	names, dirErr := fsys.ReadDir(dir)
	if dirErr != nil {
		return position.Entry{}, fmt.Sprintf("cannot read its directory: %v", dirErr)
	}
	for _, d := range names {
		path := filepath.Join(dir, d.Name())
		fi, statErr := fsys.Stat(path)
		if statErr != nil || !fi.Mode().IsRegular() || fileID(tail.IDOf(path, fi)) != row.FileID {
			continue
		}
		if e, err = entryAt(fsys, f, path, row.Offset); err != nil {
			return e, err.Error()
		}
		return e, tooShort(e, row.Offset)
	}
	return e, "no file in its directory is the one that was read: " + row.FileID
}

func tooShort(e position.Entry, offset int64) string {
	if e.Size < offset {
		return fmt.Sprintf("the file has %d bytes, less than the offset: it was truncated", e.Size)
	}
	return ""
}

// entryAt returns what the store would know of the file at path if it were
// delivered up to offset, or up to its end if that is less.
func entryAt(fsys vfs.FS, f *FlowConfig, path string, offset int64) (e position.Entry, err error) {
	file, err := fsys.OpenFile(path, tail.OpenFlags, 0)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	fi, err := file.Stat()
	if err != nil {
		return e, err
	}
	var head tail.Head
	if err := head.Read(file, fi.Size()); err != nil {
		return e, err
	}
	var marker [tail.MarkerMax]byte
	before, err := tail.Before(file, min(offset, fi.Size()), &marker)
	if err != nil {
		return e, err
	}
	e = position.Entry{
		Flow: f.ID, ID: tail.IDOf(path, fi), Birth: tail.Birth(file), Path: path, Prefix: head.Print(),
		Committed: offset, Marker: tail.PrintOf(before), Size: fi.Size(), ModTime: fi.ModTime().UnixNano(), Updated: time.Now().Unix(),
	}
	e.UID = newUID(e.ID, e.Birth, 0)
	enc, err := f.encodingIn(file)
	if err != nil {
		return e, err
	}
	e.HeaderLeft, err = headerLeft(file, min(offset, e.Size), f.SkipHeaderLines, enc)
	return e, err
}

// older takes as delivered what the flow finds beside the newest file.
func older(fsys vfs.FS, f *FlowConfig, store *position.Store, newest int64) (out []Imported) {
	names, err := f.Files()
	if err != nil {
		return nil // its rows have said so
	}
	for _, path := range names {
		fi, err := fsys.Stat(path)
		if err != nil || fi.ModTime().UnixNano() >= newest {
			continue
		}
		e, err := entryAt(fsys, f, path, fi.Size())
		if err == nil && take(store, e) == "" {
			out = append(out, Imported{Flow: f.ID, Path: path, Offset: e.Committed})
		}
	}
	return out
}
