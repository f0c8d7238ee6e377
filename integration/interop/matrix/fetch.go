package matrix

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	fetchTries = 3
	fetchPause = 5 * time.Second
	fetchLimit = 10 * time.Minute // of one step
)

// fetch brings what a row needs. Each is tried once a run.
func (r *Runner) fetch(ctx context.Context, names []string) error {
	for _, name := range names {
		err, tried := r.fetched[name]
		if !tried {
			err = r.fetchOne(ctx, name)
			r.fetched[name] = err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) fetchOne(ctx context.Context, name string) error {
	i := slices.IndexFunc(r.Matrix.Fetches, func(f Fetch) bool { return f.Name == name })
	if i < 0 {
		return fmt.Errorf("the matrix has no fetch %q", name)
	}
	f := r.Matrix.Fetches[i]
	stamp := filepath.Join(r.Work, "fetched", name)
	sum, err := r.sum(f)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(stamp); err == nil && string(have) == sum {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(stamp), 0o755); err != nil {
		return err
	}
	for _, step := range f.Steps {
		step = r.expand(step)
		r.say("fetch %s: %s", name, strings.Join(step, " "))
		for try := 1; ; try++ {
			out, err := r.command(ctx, fetchLimit, step)
			if err == nil {
				break
			}
			err = fmt.Errorf("fetch %s: %s: %w\n%s", name, strings.Join(step, " "), err, strings.TrimSpace(lastBytes(out, 2000)))
			if try == fetchTries || ctx.Err() != nil {
				return err
			}
			r.say("%v\nagain in %v", err, r.pause())
			timer := time.NewTimer(r.pause())
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
	}
	return os.WriteFile(stamp, []byte(sum), 0o644)
}

func (r *Runner) pause() time.Duration {
	if r.Pause > 0 {
		return r.Pause
	}
	return fetchPause
}

// sum is another one whenever what a fetch brings may be something else.
func (r *Runner) sum(f Fetch) (string, error) {
	h := sha256.New()
	for _, step := range f.Steps {
		_, _ = fmt.Fprintf(h, "%q\n", step) // a hash takes all
	}
	for _, input := range f.Inputs {
		if err := addTree(h, filepath.Join(r.Root, filepath.FromSlash(input))); err != nil {
			return "", fmt.Errorf("fetch %s: %w", f.Name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// addTree adds a file, or all in a directory but what Maven has built there.
func addTree(h io.Writer, root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "target":
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "%s %d\n%s\n", rel, len(b), b)
		return err
	})
}

func lastBytes(b []byte, n int) string { return string(b[max(0, len(b)-n):]) }
