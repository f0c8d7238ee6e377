package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
)

func (a *app) newDemo() *cobra.Command {
	o := demo.Options{Size: demo.DefaultSize, Shard: demo.DefaultShards, StallLimit: demo.DefaultStall, Out: a.out}
	cmd := &cobra.Command{
		Use:   "demo [FILE...]",
		Short: "Run everything on real text, break things on the way, and compare",
		Long: `Run a server, a file agent, a logging service and two consumer workers on this
machine. Text is replayed into files that are rotated while they are written;
the agent tails them into a stream, the service logs into the same stream, and
the workers read it back. On the way a shard is split, two are merged, and a
worker and the server are killed and started again.

The verdict compares the file, the number and the content of each line that was
written with what the workers received.

The text is that of the files, or the history of the git repository in the
current directory.`,
		Example: "  streamctl demo\n  streamctl demo access.log --size 256MB --keep",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Files = args
			err := demo.Run(cmd.Context(), o)
			if errors.Is(err, demo.ErrVerdict) {
				return errFailed
			}
			return err
		},
	}
	f := cmd.Flags()
	f.Var((*byteSize)(&o.Size), "size", "how much to write at least, such as 256MB")
	f.BoolVar(&o.Keep, "keep", false, "leave everything running at the end")
	f.IntVar(&o.Shard, "shards", o.Shard, "shards at the start, 2 or more")
	f.DurationVar(&o.StallLimit, "stall", o.StallLimit, "fail when nothing moves for so long")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if o.Shard < 2 || o.Shard > 100 {
			return fmt.Errorf("--shards %d: choose a number from 2 to 100", o.Shard)
		}
		if o.StallLimit < time.Second {
			return fmt.Errorf("--stall %v: choose a second or more", o.StallLimit)
		}
		return nil
	}
	return cmd
}

// byteSize is a flag with a number of bytes.
type byteSize int64

var units = []struct {
	name  string
	bytes int64
}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1}, {"", 1}}

// Set implements pflag.Value.
func (s *byteSize) Set(text string) error {
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, u := range units {
		digits, ok := strings.CutSuffix(lower, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if bytes := n * float64(u.bytes); err != nil || !(bytes >= 1 && bytes <= 1<<50) { // not a number, too
			break
		}
		*s = byteSize(n * float64(u.bytes))
		return nil
	}
	return fmt.Errorf("%q is not a size: write it like 64MB", text)
}

func (s *byteSize) String() string {
	if s == nil {
		return ""
	}
	if *s%(1<<20) == 0 {
		return fmt.Sprintf("%dMiB", int64(*s)>>20)
	}
	return fmt.Sprintf("%dB", int64(*s))
}

// Type implements pflag.Value.
func (s *byteSize) Type() string { return "size" }
