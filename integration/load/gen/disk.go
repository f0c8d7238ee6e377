package gen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
)

// What follows starts no server: it is what the machine, or a part of streamd
// alone, gives to those who want nothing more of it.

// Overwrite overwrites a file from end to end, again and again, and makes each
// write durable before the next. The file was written before, so that nothing
// but its bytes has to reach the disk.
type Overwrite struct {
	Size    int // bytes of a write; records of one take as much of the disk with it
	Records int // that a write stands for
	// Twice has the same bytes written to new files besides, durable by the
	// megabyte, as a journal's are that is copied to where they stay: the file
	// that is overwritten holds what the copy is behind, and no more.
	Twice bool
}

// overwritten is the size of the file, that of a journal at its defaults.
const overwritten = 48 << 20

// copied is the size of the files that it is copied to.
const copied = 16 << 20

// Run implements [Load].
func (o Overwrite) Run(ctx context.Context, env *Env) (_ Result, err error) {
	f, err := create(env, overwritten)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return Result{}, err
	}
	behind := func(int) error { return nil }
	if o.Twice {
		var end func() error
		behind, end = copies(env)
		defer func() { err = errors.Join(err, end()) }()
	}
	b := make([]byte, o.Size)
	const block = 4096
	step := int64(o.Size+block-1) / block * block
	at := int64(0)
	return repeat(ctx, env, func() (Result, error) {
		if at+step > overwritten {
			at = 0
		}
		b[0]++
		began := time.Now()
		if _, err := f.WriteAt(b, at); err != nil {
			return Result{}, err
		}
		if err := f.Sync(); err != nil {
			return Result{}, err
		}
		at += step
		if err := behind(o.Size); err != nil {
			return Result{}, err
		}
		return Result{Count: int64(o.Records), Bytes: int64(o.Size), Elapsed: time.Since(began)}, nil
	})
}

// copies writes new files besides. The first function it returns tells it how many
// bytes there are to be copied, and waits while the copies are behind by more than
// is overwritten; the second ends it.
func copies(env *Env) (add func(bytes int) error, end func() error) {
	pieces := make(chan struct{}, overwritten/piece) // what is to be copied
	failed := make(chan error, 1)                    // why the copying has ended
	go func() {
		failed <- func() (err error) {
			b := make([]byte, piece)
			for {
				f, err := vfs.OS.OpenFile(filepath.Join(env.Dir, "copy"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
				if err != nil {
					return err
				}
				for at := 0; at < copied && err == nil; at += piece {
					if _, ok := <-pieces; !ok {
						return errors.Join(f.Close(), vfs.OS.Remove(f.Name()))
					}
					if _, err = f.Write(b); err == nil {
						err = f.Sync()
					}
				}
				if err = errors.Join(err, f.Close(), vfs.OS.Remove(f.Name())); err != nil {
					return err
				}
			}
		}()
	}()
	bytes := 0
	add = func(n int) error {
		for bytes += n; bytes >= piece; bytes -= piece {
			select {
			case pieces <- struct{}{}:
			case err := <-failed:
				failed <- err // end says it again
				return err
			}
		}
		return nil
	}
	end = func() error {
		close(pieces)
		return <-failed
	}
	return add, end
}

// WriteFiles writes files from their begin to their end, and makes each durable.
type WriteFiles struct {
	Bytes int64 // of each
}

// Run implements [Load].
func (w WriteFiles) Run(ctx context.Context, env *Env) (Result, error) {
	return repeat(ctx, env, func() (_ Result, err error) {
		began := time.Now()
		f, err := create(env, w.Bytes)
		if err != nil {
			return Result{}, err
		}
		defer func() { err = errors.Join(err, f.Close(), vfs.OS.Remove(f.Name())) }()
		err = f.Sync()
		return Result{Bytes: w.Bytes, Elapsed: time.Since(began)}, err
	})
}

// ReadFile reads a file from its begin to its end, over and over. It is in the
// system's memory by then, as what a server has stored shortly before is.
type ReadFile struct {
	Bytes int64
}

// Run implements [Load].
func (r ReadFile) Run(ctx context.Context, env *Env) (_ Result, err error) {
	f, err := create(env, r.Bytes)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, piece)
	return repeat(ctx, env, func() (Result, error) {
		began := time.Now()
		for at := int64(0); at < r.Bytes; {
			n, err := f.ReadAt(b, at)
			if at += int64(n); err != nil && !errors.Is(err, io.EOF) {
				return Result{}, err
			}
			if n == 0 {
				return Result{}, fmt.Errorf("%s ends at byte %d", f.Name(), at)
			}
		}
		return Result{Bytes: r.Bytes, Elapsed: time.Since(began)}, nil
	})
}

// piece is how much is written and read at once where only the whole counts.
const piece = 1 << 20

// create makes a file of so many bytes. They are not durable yet.
func create(env *Env, bytes int64) (f vfs.File, err error) {
	f, err = vfs.OS.OpenFile(filepath.Join(env.Dir, "disk"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	b := make([]byte, piece)
	for at := int64(0); at < bytes; at += piece {
		if _, err := f.WriteAt(b[:min(piece, bytes-at)], at); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// repeat does something over and over: for a fourth of the duration to warm up,
// and then until as much time as the duration was measured.
func repeat(ctx context.Context, env *Env, do func() (Result, error)) (total Result, err error) {
	var times []time.Duration
	for warm := time.Now(); time.Since(warm) < env.Duration/4 && ctx.Err() == nil; {
		if _, err := do(); err != nil {
			return Result{}, err
		}
	}
	for total.Elapsed < env.Duration || len(times) == 0 {
		if ctx.Err() != nil {
			return Result{}, context.Cause(ctx)
		}
		r, err := do()
		if err != nil {
			return Result{}, err
		}
		times = append(times, r.Elapsed)
		total.Count, total.Bytes, total.Elapsed = total.Count+r.Count, total.Bytes+r.Bytes, total.Elapsed+r.Elapsed
	}
	total.P50, total.P99 = Percentile(times, 50), Percentile(times, 99)
	return total, nil
}

// BareJournal puts records like [Puts], with as many callers, into streamd's
// journal and nothing else: no HTTP, no requests, no state, no readers.
type BareJournal struct {
	Callers, Batch, Size int
}

// Run implements [Load].
func (b BareJournal) Run(ctx context.Context, env *Env) (Result, error) {
	return env.Engine(ctx, "journal", "-duration", env.Duration.String(), "-callers", strconv.Itoa(b.Callers),
		"-batch", strconv.Itoa(b.Batch), "-size", strconv.Itoa(b.Size))
}

// Checkpoints has streamd's engine, alone, move what it has stored from the
// journal to where it stays.
type Checkpoints struct {
	Bytes int64 // that each moves, about
	Size  int   // of a record's data
}

// Run implements [Load].
func (c Checkpoints) Run(ctx context.Context, env *Env) (Result, error) {
	return env.Engine(ctx, "checkpoint", "-duration", env.Duration.String(), "-size", strconv.Itoa(c.Size),
		"-shards", strconv.Itoa(env.Shards), "-bytes", strconv.FormatInt(c.Bytes, 10))
}
