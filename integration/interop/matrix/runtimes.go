package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// probeLimit is for a command that says its version.
const probeLimit = 30 * time.Second

// missing returns why a row cannot run here, and whether that is a failure.
func (r *Runner) missing(ctx context.Context, needs []string) (reason string, fail bool) {
	var reasons []string
	for _, name := range needs {
		have, probed := r.probed[name]
		if !probed {
			have = r.probe(ctx, name)
			r.probed[name] = have
		}
		if have == "" {
			continue
		}
		reasons = append(reasons, have)
		fail = fail || slices.Contains(r.Require, name)
	}
	return strings.Join(reasons, "; "), fail
}

// probe returns why a runtime cannot be used, or nothing.
func (r *Runner) probe(ctx context.Context, name string) string {
	i := slices.IndexFunc(r.Matrix.Runtimes, func(rt Runtime) bool { return rt.Name == name })
	if i < 0 {
		return fmt.Sprintf("the matrix has no runtime %q", name)
	}
	rt := r.Matrix.Runtimes[i]
	out, err := r.command(ctx, probeLimit, r.expand(rt.Probe))
	if err == nil {
		return ""
	}
	said := strings.TrimSpace(lastBytes(out, 300))
	if said != "" {
		said = ", " + strings.ReplaceAll(said, "\n", " ")
	}
	return fmt.Sprintf("no %s (%s: %v%s); %s", name, strings.Join(rt.Probe, " "), err, said, rt.How)
}

// ParseRequire reads names of runtimes with commas between.
func (m Matrix) ParseRequire(list string) ([]string, error) {
	var names []string
	var errs []error
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !slices.ContainsFunc(m.Runtimes, func(rt Runtime) bool { return rt.Name == name }) {
			errs = append(errs, fmt.Errorf("%q is no runtime of the matrix", name))
		}
		names = append(names, name)
	}
	return names, errors.Join(errs...)
}
