// Command enginebench measures parts of streamd's engine alone, without HTTP and
// without clients, and prints what it measured as JSON. `make bench` compares
// the server with it.
//
//	enginebench journal      durable frames of a journal, and nothing behind it
//	enginebench checkpoint   moving records from the journal to a run
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "enginebench: %v\n", err)
		os.Exit(1)
	}
}

// A result is what was measured, in the words of the load generator.
type result struct {
	Count   int64         `json:"count"` // records
	Bytes   int64         `json:"bytes"` // of their keys and data
	Elapsed time.Duration `json:"elapsed_ns"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
}

// settings are those of all measurements.
type settings struct {
	dir      string // has to exist, and be empty
	duration time.Duration
	callers  int
	batch    int // records of a call
	size     int // bytes of a record's data
	shards   int
	bytes    int64 // of a checkpoint, about
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	measurements := map[string]func(context.Context, settings) (result, error){
		"journal": measureJournal, "checkpoint": measureCheckpoints,
	}
	if len(args) == 0 || measurements[args[0]] == nil {
		return errors.New("the first argument is journal or checkpoint")
	}
	var s settings
	flags := flag.NewFlagSet("enginebench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.dir, "dir", "", "directory for the data, which is empty")
	flags.DurationVar(&s.duration, "duration", time.Second, "how long to measure, after a fourth of it to warm up")
	flags.IntVar(&s.callers, "callers", 8, "how many put at once")
	flags.IntVar(&s.batch, "batch", 500, "records of a call")
	flags.IntVar(&s.size, "size", 1000, "bytes of a record's data")
	flags.IntVar(&s.shards, "shards", 4, "shards of the stream of checkpoints")
	flags.Int64Var(&s.bytes, "bytes", 64<<20, "bytes that a checkpoint moves, about")
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if s.dir == "" || s.duration <= 0 || s.callers < 1 || s.batch < 1 || s.size < 0 || s.shards < 1 || s.bytes < 1 {
		return errors.New("-dir must be given, and the numbers be more than nothing")
	}
	r, err := measurements[args[0]](ctx, s)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(r)
}

// percentile returns the smallest of values that at least p percent do not
// exceed, and 0 of none. It sorts values.
func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[max((len(values)*p+99)/100, 1)-1]
}
