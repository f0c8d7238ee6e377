// Command streamd serves the API of Amazon Kinesis streams, and the part of
// the DynamoDB API that leases need, from one directory.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/streamkit/streamkit/cmd/internal/mirror"
	"github.com/streamkit/streamkit/streamd"
)

// version is set by the linker.
var version = "dev"

// Exit codes beside 0 and 1.
const (
	exitCorrupt    = 3 // the data directory is damaged
	exitFailed     = 4 // the disk refused a write
	exitIncomplete = 5 // a mirror came to its end, and something is missing
)

func main() {
	// The second signal kills: the first one may be waiting for a client.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process around it.
func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	cmd := newRoot(env)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	// The library's errors begin with the same name.
	fmt.Fprintf(stderr, "streamd: %s\n", strings.TrimPrefix(err.Error(), "streamd: "))
	return exitCode(err)
}

// exitCode returns the code that err, not nil, ends the program with.
func exitCode(err error) int {
	switch {
	case errors.Is(err, streamd.ErrCorrupt):
		return exitCorrupt
	case errors.Is(err, streamd.ErrStoreFailed):
		return exitFailed
	case errors.Is(err, mirror.ErrIncomplete):
		return exitIncomplete
	}
	return 1
}
