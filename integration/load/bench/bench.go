// Package bench measures streamd in rows, each beside its cap: what the same
// client gets out of a server that does nothing. Rows about the disk have limits
// beside them as well: what a bare journal does, or the machine itself. All of a
// row are measured in turns, so that the drift of the machine touches all.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/streamkit/streamkit/integration/load/gen"
)

// Config says how to measure.
type Config struct {
	Rounds   int           // how often each row is measured; at least 1
	Duration time.Duration // of one measurement, without its warm-up; a row may take longer
	Bin      string        // directory of the binaries streamd, nullserver and enginebench
	Dir      string        // where servers keep data: its disk is what is measured
	// StreamdArgs are further arguments of streamd.
	StreamdArgs []string
	// Endpoint, if not empty, is a running server that is measured in place of
	// streamd. Rows that need to start it are left out.
	Endpoint string
	// Progress, if not nil, is called before each measurement.
	Progress func(row Row, round int, what string)
}

// An Outcome is a measured row.
type Outcome struct {
	Row
	Ours, Caps []gen.Result   // one for each round
	Yard       []gen.Result   // of the yardstick, one for each round if Target.At is set
	Beside     [][]gen.Result // of each limit, one for each round
	NotServed  bool           // the server does not know an operation that the row needs
	Err        error
}

// Run measures rows, each in all rounds before the next one. A row that fails
// has its error in its outcome; Run itself ends early only with ctx.
func Run(ctx context.Context, cfg Config, rows []Row) []Outcome {
	out := make([]Outcome, 0, len(rows))
	for _, row := range rows {
		if ctx.Err() != nil {
			break
		}
		o := Outcome{Row: row, Beside: make([][]gen.Result, len(row.Limits))}
		for round := range max(cfg.Rounds, 1) {
			if o.Err = cfg.round(ctx, &o, round); o.Err != nil {
				break
			}
		}
		if errors.Is(o.Err, gen.ErrNotServed) {
			o.NotServed, o.Err = true, nil
		}
		out = append(out, o)
	}
	return out
}

// round measures the cap and the yardstick, if there are, then ours, and then the
// limits.
func (cfg Config) round(ctx context.Context, o *Outcome, round int) error {
	if o.Cap != nil {
		cfg.progress(o.Row, round, "cap")
		r, err := cfg.measure(ctx, o.Load, *o.Cap, o.Least)
		if err != nil {
			return fmt.Errorf("cap: %w", err)
		}
		o.Caps = append(o.Caps, r)
	}
	if o.Target.At != nil {
		cfg.progress(o.Row, round, "yardstick")
		r, err := cfg.measure(ctx, yardstick, *null, 0)
		if err != nil {
			return fmt.Errorf("yardstick: %w", err)
		}
		o.Yard = append(o.Yard, r)
	}
	cfg.progress(o.Row, round, "ours")
	r, err := cfg.measure(ctx, o.Load, o.Server, o.Least)
	if err != nil {
		return err
	}
	o.Ours = append(o.Ours, r)
	for i, limit := range o.Limits {
		cfg.progress(o.Row, round, limit.Name)
		r, err := cfg.measure(ctx, limit.Load, o.Server, o.Least)
		if err != nil {
			return fmt.Errorf("%s: %w", limit.Name, err)
		}
		o.Beside[i] = append(o.Beside[i], r)
	}
	return nil
}

func (cfg Config) progress(row Row, round int, what string) {
	if cfg.Progress != nil {
		cfg.Progress(row, round, what)
	}
}

// measure runs one load on servers that it starts, and ends them.
func (cfg Config) measure(ctx context.Context, load gen.Load, what Server, least time.Duration) (r gen.Result, err error) {
	dir, err := os.MkdirTemp(cfg.Dir, "streamkit-bench-")
	if err != nil {
		return gen.Result{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var servers []*gen.Server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Stop(false))
		}
	}()
	env := &gen.Env{Duration: max(cfg.Duration, least), Shards: what.Shards, Dir: dir}
	env.Engine = func(ctx context.Context, args ...string) (gen.Result, error) {
		return engine(ctx, filepath.Join(cfg.Bin, "enginebench"), append(args, "-dir", dir)...)
	}
	env.Agent = func(ctx context.Context, args ...string) (gen.Result, error) {
		return engine(ctx, filepath.Join(cfg.Bin, "agentbench"), append(args, "-dir", dir)...)
	}
	env.Start = func(ctx context.Context, args ...string) (*gen.Server, error) {
		if cfg.Endpoint != "" && !what.Null {
			return &gen.Server{Endpoint: cfg.Endpoint, Launch: time.Now(), Stop: func(bool) error { return nil }}, nil
		}
		name, args := cfg.command(what, dir, args)
		s, err := launch(ctx, name, args...)
		if err == nil {
			servers = append(servers, s)
		}
		return s, err
	}
	return load.Run(ctx, env)
}

func (cfg Config) command(what Server, dir string, more []string) (name string, args []string) {
	if what.Null {
		return filepath.Join(cfg.Bin, "nullserver"), []string{"-shards", fmt.Sprint(what.Shards)}
	}
	args = []string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
	if what.Durable {
		args = append(args, "--data", dir)
	} else {
		args = append(args, "--memory")
	}
	return filepath.Join(cfg.Bin, "streamd"), slices.Concat(args, cfg.StreamdArgs, more)
}

// Build compiles the servers into dir, and what else is measured, from the module that
// root is in and from agent/benchmarks, which has what the agent is compared with.
func Build(ctx context.Context, root, dir string) error {
	for module, packages := range map[string][]string{
		".":                {"./cmd/streamd", "./integration/load/cmd/nullserver", "./integration/load/cmd/agentbench", "./streamd/internal/cmd/enginebench"},
		"agent/benchmarks": {"./tailbench"},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", dir + string(filepath.Separator)}, packages...)...)
		cmd.Dir = filepath.Join(root, filepath.FromSlash(module))
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the servers: %w\n%s", err, out)
		}
	}
	return nil
}
