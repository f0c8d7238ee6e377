package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/agent"
)

// Exit codes.
const (
	exitOK         = 0
	exitError      = 1
	exitNotDrained = 3 // stopped with records on their way; they are read again
)

// version is set by the linker in releases.
var version string

// app holds the flags and where output goes.
type app struct {
	out, errOut io.Writer

	config     string
	logLevel   string
	statusAddr string
	once       bool
}

// run runs the command line and returns the exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	a := &app{out: out, errOut: errOut}
	root := a.newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	for line := range strings.Lines(err.Error()) {
		_, _ = fmt.Fprintln(errOut, "streamagent:", strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "agent: "))
	}
	if errors.Is(err, agent.ErrNotDrained) {
		return exitNotDrained
	}
	return exitError
}

func (a *app) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "streamagent",
		Short: "Tail files into Kinesis streams",
		Long: "Streamagent tails files into Kinesis streams. It reads the agent.json of the official\n" +
			"Kinesis Agent. Without a subcommand it does what \"streamagent run\" does.",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          a.runAgent,
	}
	root.PersistentFlags().StringVarP(&a.config, "configuration", "c", "/etc/aws-kinesis/agent.json", "configuration file")
	root.PersistentFlags().StringVar(&a.logLevel, "log-level", "info", "least level that is logged: debug, info, warn or error")
	a.runFlags(root)

	runCmd := &cobra.Command{
		Use:   "run",
		Short: "Tail files until a signal ends it (the default)",
		Args:  cobra.NoArgs,
		RunE:  a.runAgent,
	}
	a.runFlags(runCmd)
	root.AddCommand(runCmd, a.newValidate(), a.newVersion())
	return root
}

func (a *app) runFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.once, "once", false, "read every file to its end, deliver it, and exit")
	cmd.Flags().StringVar(&a.statusAddr, "status-addr", "", "serve /metrics, /status and /healthz on this address, as in 127.0.0.1:9400")
}

func (a *app) newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := version
			if info, ok := debug.ReadBuildInfo(); v == "" && ok {
				v = info.Main.Version
			}
			_, err := fmt.Fprintf(a.out, "streamagent %s (%s, %s/%s)\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// logger returns the logger that the flags ask for.
func (a *app) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q is none of debug, info, warn, error", a.logLevel)
	}
	return slog.New(slog.NewTextHandler(a.errOut, &slog.HandlerOptions{Level: level})), nil
}
