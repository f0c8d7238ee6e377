// Command loadbench measures streamd, row by row, beside a server that does
// nothing, its own journal alone and the disk. `make bench` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/streamkit/streamkit/integration/load/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "loadbench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("loadbench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rounds := flags.Int("rounds", 3, "how often each row is measured")
	seconds := flags.Float64("seconds", 3, "length of one measurement")
	rows := flags.String("rows", ".", "regular expression for the names of rows")
	long := flags.Bool("long", false, "measure the rows that take minutes too")
	caps := flags.Bool("caps", true, "measure the caps and the limits too; without them, shares are not known")
	list := flags.Bool("list", false, "print the names of the rows and end")
	dir := flags.String("dir", "", "where servers keep their data (default: the system's temporary directory)")
	root := flags.String("root", ".", "root of the module")
	file := flags.String("json", "", "file for all that was measured")
	more := flags.String("streamd", "", "further arguments of streamd, with blanks between them")
	endpoint := flags.String("endpoint", "", "a running server to measure in place of streamd, as http://host:port")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	name, err := regexp.Compile(*rows)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	if *rounds < 1 || *seconds <= 0 {
		return errors.New("-rounds and -seconds must be more than nothing")
	}
	var chosen []bench.Row
	for _, row := range bench.Rows {
		if name.MatchString(row.Name) && (*long || !row.Long) && (*endpoint == "" || !row.Starts()) {
			if !*caps {
				row.Cap, row.Limits = nil, nil
			}
			if *endpoint != "" {
				row.Limits = nil // of its machine and its disk nothing is known
			}
			chosen = append(chosen, row)
		}
	}
	if *list {
		for _, row := range chosen {
			fmt.Fprintf(stdout, "%-18s %s\n", row.Name, row.Title)
		}
		return nil
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no row has a name like %q; -list prints those that there are", *rows)
	}
	if *dir == "" {
		*dir = os.TempDir()
	}
	bin, err := os.MkdirTemp("", "streamkit-loadbench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	if err := bench.Build(ctx, *root, bin); err != nil {
		return err
	}
	machine, err := bench.Look(*dir)
	if err != nil {
		return err
	}
	cfg := bench.Config{
		Rounds: *rounds, Duration: time.Duration(*seconds * float64(time.Second)),
		Bin: bin, Dir: *dir, StreamdArgs: strings.Fields(*more), Endpoint: *endpoint,
		Progress: func(row bench.Row, round int, what string) {
			fmt.Fprintf(stderr, "%s, round %d, %s\n", row.Name, round+1, what)
		},
	}
	outcomes := bench.Run(ctx, cfg, chosen)
	machine.After = bench.LoadAverage()
	if err := bench.Print(stdout, cfg, machine, outcomes); err != nil {
		return err
	}
	if *file != "" {
		f, err := os.Create(*file)
		if err != nil {
			return err
		}
		if err := errors.Join(bench.WriteJSON(f, cfg, machine, outcomes), f.Close()); err != nil {
			return err
		}
	}
	// A missed target is a result; a row that could not be measured is not.
	for _, o := range outcomes {
		if o.Err != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", o.Name, o.Err))
		}
	}
	return errors.Join(err, ctx.Err())
}
