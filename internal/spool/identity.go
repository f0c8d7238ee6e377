package spool

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/streamkit/streamkit/internal/vfs"
)

const (
	identityName = "SPOOL"
	format       = 1
)

// Identity is what the file SPOOL of a directory says.
type Identity struct {
	// ID is a random number of the directory's own.
	ID [8]byte

	// Epoch counts the openings of the directory, from 1 on. Together with ID
	// and the number of a record it names the record for ever: numbers alone
	// may come again after the machine has ended, which may take records back
	// that were not synced.
	Epoch uint64

	// Stream is the name or ARN of the stream that the records are for; empty
	// if any.
	Stream string
}

// identityFile is the JSON form.
type identityFile struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	Epoch  uint64 `json:"epoch"`
	Stream string `json:"stream"`
}

// ReadIdentity returns what a directory says of itself. The error wraps
// [fs.ErrNotExist] if it is no spool.
func ReadIdentity(fsys vfs.FS, dir string) (Identity, error) {
	path := filepath.Join(dir, identityName)
	b, err := vfs.ReadFile(fsys, path)
	if err != nil {
		return Identity{}, err
	}
	var f identityFile
	id := Identity{}
	if err := json.Unmarshal(b, &f); err != nil {
		return id, fmt.Errorf("%s is damaged: %w; if the directory is that of a spool, remove the file: it is made anew", path, err)
	}
	if f.Format != format {
		return id, fmt.Errorf("%s has format %d, this program knows %d: use the version that has written it", path, f.Format, format)
	}
	if n, err := hex.Decode(id.ID[:], []byte(f.ID)[:min(len(f.ID), 2*len(id.ID))]); err != nil || n != len(id.ID) || len(f.ID) != 2*n {
		return id, fmt.Errorf("%s is damaged: its id is no %d bytes; if the directory is that of a spool, remove the file: it is made anew", path, len(id.ID))
	}
	id.Epoch, id.Stream = f.Epoch, f.Stream
	return id, nil
}

// open counts an opening of the directory.
func open(fsys vfs.FS, dir, stream string) (Identity, error) {
	id, err := ReadIdentity(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, _ = rand.Read(id.ID[:]) // it never fails
		id.Stream = stream
	case err != nil:
		return id, err
	case id.Stream == "":
		id.Stream = stream
	case !sameStream(id.Stream, stream):
		return id, fmt.Errorf("spool %s is for stream %q, not %q: give every stream a directory of its own", dir, id.Stream, stream)
	}
	id.Epoch++
	b, err := json.Marshal(identityFile{Format: format, ID: hex.EncodeToString(id.ID[:]), Epoch: id.Epoch, Stream: id.Stream})
	if err != nil {
		return id, err
	}
	return id, vfs.WriteFile(fsys, filepath.Join(dir, identityName), append(b, '\n'), 0o600)
}

// sameStream reports whether two names or ARNs may mean one stream. A name and
// an ARN that ends in it may.
func sameStream(a, b string) bool {
	if a == "" || b == "" || a == b {
		return true
	}
	isARN := func(s string) bool { return strings.HasPrefix(s, "arn:") }
	if isARN(a) == isARN(b) {
		return false
	}
	name := func(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
	return name(a) == name(b)
}
