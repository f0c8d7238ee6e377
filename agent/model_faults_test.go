package agent_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"regexp"
	"sync"

	"github.com/streamkit/streamkit/internal/vfs"
)

// What stops a program's agent, or its stream, for a time.

var (
	errKilled = errors.New("killed")
	errDown   = errors.New("the stream is down")
)

// addTroubles gives the programs of some seeds more that may happen, beside all else.
func (p *program) addTroubles(seed uint64) {
	switch seed % 19 {
	case 1, 2:
		p.addBursts()
	case 3, 5:
		p.more = append(p.more, op{3, p.fail}, op{2, p.stall})
	case 6, 7, 8:
		p.addHalts()
	case 9, 10, 13, 17:
		p.addBursts()
		p.addHalts()
		p.more = append(p.more, op{2, p.fail}, op{1, p.stall})
	}
	switch seed % 23 {
	case 1, 2, 5, 6, 7:
		p.more = append(p.more, op{6, p.rotateUnseen})
	}
}

func (p *program) addBursts() {
	p.cfg.Flows[0].MultiLineStart = regexp.MustCompile(`line \d`)
	p.more = append(p.more, op{10, p.burst})
}

func (p *program) addHalts() {
	p.cfg.FS = haltedFS{p.cfg.FS, &p.process}
	p.more = append(p.more, op{6, p.halt})
}

// faults are what stops the work of an agent.
type faults struct {
	process gate // closed: the process is stopped
	trouble struct {
		mu      sync.Mutex
		fails   bool // guarded by mu: each call fails
		stalled gate // closed: calls hang
	}
}

// call begins a call of a sink.
func (f *faults) call(ctx context.Context) error {
	if err := f.process.pass(context.Background()); err != nil {
		return err
	}
	if err := f.trouble.stalled.pass(ctx); err != nil {
		return err
	}
	f.trouble.mu.Lock()
	defer f.trouble.mu.Unlock()
	if f.trouble.fails {
		return errDown
	}
	return nil
}

// haltedFS is the file system of a process that may be stopped: whatever it begins to do
// then it does once it goes on. Nothing is done for one that was killed meanwhile.
type haltedFS struct {
	vfs.FS
	process *gate
}

func halted[T any](g *gate, f func() (T, error)) (out T, err error) {
	if err := g.pass(context.Background()); err != nil {
		return out, err
	}
	return f()
}

func (h haltedFS) do(f func() error) error {
	_, err := halted(h.process, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

func (h haltedFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	return halted(h.process, func() (vfs.File, error) {
		f, err := h.FS.OpenFile(name, flag, perm)
		if err != nil {
			return nil, err
		}
		return haltedFile{f, h.process}, nil
	})
}

func (h haltedFS) Stat(name string) (fs.FileInfo, error) {
	return halted(h.process, func() (fs.FileInfo, error) { return h.FS.Stat(name) })
}

func (h haltedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return halted(h.process, func() ([]fs.DirEntry, error) { return h.FS.ReadDir(name) })
}

func (h haltedFS) Lock(name string) (io.Closer, error) {
	return halted(h.process, func() (io.Closer, error) { return h.FS.Lock(name) })
}

func (h haltedFS) Rename(from, to string) error {
	return h.do(func() error { return h.FS.Rename(from, to) })
}

func (h haltedFS) Link(from, to string) error {
	return h.do(func() error { return h.FS.Link(from, to) })
}

func (h haltedFS) Remove(name string) error {
	return h.do(func() error { return h.FS.Remove(name) })
}

func (h haltedFS) SyncDir(name string) error {
	return h.do(func() error { return h.FS.SyncDir(name) })
}

type haltedFile struct {
	vfs.File
	process *gate
}

func (f haltedFile) Stat() (fs.FileInfo, error) { return halted(f.process, f.File.Stat) }

func (f haltedFile) ReadAt(b []byte, off int64) (int, error) {
	return halted(f.process, func() (int, error) { return f.File.ReadAt(b, off) })
}

func (f haltedFile) Write(b []byte) (int, error) {
	return halted(f.process, func() (int, error) { return f.File.Write(b) })
}

func (f haltedFile) WriteAt(b []byte, off int64) (int, error) {
	return halted(f.process, func() (int, error) { return f.File.WriteAt(b, off) })
}

func (f haltedFile) Sync() error {
	_, err := halted(f.process, func() (struct{}, error) { return struct{}{}, f.File.Sync() })
	return err
}
