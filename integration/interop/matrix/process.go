package matrix

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"
)

// killWait is how long a program's output may stay open once it was killed.
const killWait = 10 * time.Second

// expand puts the places of this run into words of the matrix.
func (r *Runner) expand(words []string) []string {
	places := strings.NewReplacer("{root}", r.Root, "{work}", r.Work)
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = places.Replace(w)
	}
	return out
}

// command runs words in the root of the checkout, and returns what they print.
func (r *Runner) command(ctx context.Context, limit time.Duration, words []string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTooLong)
	defer cancel()
	cmd := r.process(ctx, words)
	cmd.Env = cleanEnv()
	out, err := cmd.CombinedOutput()
	return out, because(ctx, err)
}

// errTooLong is the end of what takes longer than it may.
var errTooLong = errors.New("took too long")

// because returns why a process was ended, if it was.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// process prepares a command that ends with ctx, together with all that it has
// started.
func (r *Runner) process(ctx context.Context, words []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = r.Root
	cmd.WaitDelay = killWait
	group(cmd)
	return cmd
}

// cleanEnv is the environment without what would point a client somewhere else
// than the row says.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "AWS_") && !strings.HasPrefix(name, "STREAMD_") && name != "INITIALIZE_STREAMS" {
			env = append(env, kv)
		}
	}
	return env
}
