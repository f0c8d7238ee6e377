package agent

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
)

const (
	maxDeadLetters = 4 << 20 // bytes of dead letters that wait for the disk, if more than one does
	maxDeadLetter  = 1 << 20 // bytes of a line that are kept of one, or what a record may have if that is more
)

// deadLetters are records that go to a file in place of the stream. They wait in
// memory until positions are stored, and are on the disk before those are: after a
// crash they are read again and written again.
type deadLetters struct {
	fs   vfs.FS
	path string

	mu      sync.Mutex // guards waiting
	waiting []byte
}

// add takes a record, and reports whether there is room for it. Without a path, as in a
// trial, it is forgotten.
func (d *deadLetters) add(rec []byte) bool {
	if d.path == "" {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) > 0 && len(d.waiting)+len(rec)+1 > maxDeadLetters {
		return false
	}
	d.waiting = append(d.waiting, rec...)
	if n := len(rec); n == 0 || rec[n-1] != '\n' {
		d.waiting = append(d.waiting, '\n')
	}
	return true
}

// store makes everything durable that was added before.
func (d *deadLetters) store() error {
	d.mu.Lock()
	text := d.waiting
	d.waiting = nil
	d.mu.Unlock()
	if len(text) == 0 {
		return nil
	}
	err := d.append(text)
	if err != nil {
		d.mu.Lock()
		d.waiting = append(text, d.waiting...)
		d.mu.Unlock()
	}
	return err
}

// append writes text to the end of the file. A file whose fsync failed is not
// trusted with the same bytes: they are written again, by another call, behind what
// there is then.
func (d *deadLetters) append(text []byte) error {
	_, statErr := d.fs.Stat(d.path)
	f, err := d.fs.OpenFile(d.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil && statErr != nil {
		err = d.fs.SyncDir(filepath.Dir(d.path)) // it is new
	}
	return err
}

// deadTrouble reports that dead letters cannot be written, once a minute.
func (fl *flow) deadTrouble(err error) {
	now := time.Now()
	fl.mu.Lock()
	report := now.Sub(fl.deadLog) >= time.Minute
	if report {
		fl.deadLog = now
	}
	fl.mu.Unlock()
	if report {
		fl.log.Error("cannot write dead letters; positions are not stored meanwhile, a crash now would repeat records",
			slog.String("path", fl.cfg.DeadLetterFile), slog.Any("err", err))
	}
}
