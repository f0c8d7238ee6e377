package matrix

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
		fmt.Fprintf(h, "%q\n", step)
	}
	for _, input := range f.Inputs {
		b, err := os.ReadFile(filepath.Join(r.Root, input))
		if err != nil {
			return "", fmt.Errorf("fetch %s: %w", f.Name, err)
		}
		fmt.Fprintf(h, "%s %d\n%s\n", input, len(b), b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func lastBytes(b []byte, n int) string { return string(b[max(0, len(b)-n):]) }
