// Command scenario plays what happens to a stream around the official clients
// in Java, and writes what it finds, an object of JSON in each line.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/streamkit/streamkit/integration/interop/scenario"
)

func main() { os.Exit(run()) }

func run() int {
	if len(os.Args) == 2 && os.Args[1] == "worker" { // one of a scenario's own
		if err := scenario.Work(context.Background(), os.Getenv, os.Stdin, os.Stderr, os.Exit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	var set scenario.Setup
	flag.StringVar(&set.Streamd, "streamd", "bin/interop/streamd", "binary of the server")
	flag.StringVar(&set.Java, "java", "integration/interop/java", "directory of the programs in Java, built with Maven")
	flag.StringVar(&set.Work, "work", "", "directory for data and logs (default: one that is removed at the end)")
	flag.BoolVar(&set.Capture, "capture", false, "have the server note its requests in the work directory")
	atMost := flag.Duration("timeout", 10*time.Minute, "how long a scenario may take")
	list := flag.Bool("list", false, "say which scenarios there are")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: scenario [flags] NAME")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *list {
		for _, s := range scenario.All() {
			fmt.Printf("%-20s %s\n", s.Name, s.What)
		}
		return 0
	}
	if flag.NArg() != 1 {
		flag.Usage()
		return 2
	}
	s, err := scenario.Find(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if set.Work == "" {
		dir, err := os.MkdirTemp("", "streamkit-interop-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
		set.Work = dir
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *atMost)
	defer cancel()
	report := scenario.NewReport(os.Stdout)
	err = s.Run(ctx, set, report, os.Stderr)
	if err != nil {
		report.Check("the scenario is played to its end", err, "")
	}
	if report.Failed() > 0 {
		return 1
	}
	return 0
}
