package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/agent"
)

// Exit codes.
const (
	exitOK         = 0
	exitError      = 1 // usage, configuration, what prevents the start, or what "run --once" could not read
	exitPending    = 2 // drained: some bytes are not delivered
	exitNotDrained = 3 // stopped with records on their way; they are read again
)

// Where the configuration is without a flag.
const (
	packageConfig  = "/etc/streamagent/agent.yaml"
	officialConfig = "/etc/aws-kinesis/agent.json" // the official agent's
)

// firstThere returns the first of paths that exists, or else the last.
func firstThere(paths ...string) string {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return paths[len(paths)-1]
}

// noArgs refuses arguments, and says what there is instead.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasSubCommands():
		return fmt.Errorf("%q takes no arguments, and %q is one; \"%s --help\" shows how it is used", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q? ", near[0])
	}
	return fmt.Errorf("unknown command %q for %q; %s\"%s --help\" lists the commands", args[0], cmd.CommandPath(), hint, cmd.CommandPath())
}

// oneArg asks for the one argument that what names.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return fmt.Errorf("%q takes one argument, %s; \"%s --help\" shows how it is used", cmd.CommandPath(), what, cmd.CommandPath())
	}
}

// version is set by the linker in releases.
var version string

// app holds the flags and where output goes.
type app struct {
	out, errOut io.Writer

	config         string
	logLevel       string // empty: what the configuration says
	logFormat      string
	socket         string // empty: beside the checkpoints
	statusAddr     string
	pprof          bool
	once           bool
	strict         bool
	reloadInterval time.Duration

	level slog.LevelVar
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
		if errors.Is(err, errPending) {
			break // the files are named already
		}
		_, _ = fmt.Fprintln(errOut, "streamagent:", strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "agent: "))
	}
	switch {
	case errors.Is(err, agent.ErrNotDrained):
		return exitNotDrained
	case errors.Is(err, errPending):
		return exitPending
	}
	return exitError
}

func (a *app) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "streamagent",
		Short: "Tail files into Kinesis streams",
		Long: "Streamagent tails files into Kinesis streams. It reads the agent.json of the official\n" +
			"Kinesis Agent. Without a subcommand it does what \"streamagent run\" does.",
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          a.runAgent,
		PersistentPreRun: func(*cobra.Command, []string) {
			if a.config == "" {
				a.config = firstThere(packageConfig, officialConfig)
			}
		},
	}
	root.PersistentFlags().StringVarP(&a.config, "configuration", "c", "",
		"configuration file (default: "+packageConfig+" if there is one, else "+officialConfig+")")
	root.PersistentFlags().StringVar(&a.logLevel, "log-level", "", "least level that is logged: debug, info, warn or error (default: log.level of the configuration, or info)")
	root.PersistentFlags().StringVar(&a.logFormat, "log-format", "text", "form of the log: text or json")
	root.PersistentFlags().StringVar(&a.socket, "socket", "", "socket of the running agent, or \"none\" (default: streamagent.sock beside the checkpoint file)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; \"%s --help\" lists the flags", err, cmd.CommandPath())
	})
	a.runFlags(root)

	runCmd := &cobra.Command{
		Use:   "run",
		Short: "Tail files until a signal ends it (the default)",
		Args:  noArgs,
		RunE:  a.runAgent,
	}
	a.runFlags(runCmd)
	root.AddCommand(runCmd, a.newValidate(), a.newConvert(), a.newDryRun(), a.newStatus(), a.newDrained(), a.newCheckpoints(), a.newVersion())
	return root
}

func (a *app) runFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.once, "once", false, "read every file to its end, deliver it, and exit")
	cmd.Flags().StringVar(&a.statusAddr, "status-addr", "", "serve what the socket serves on this address too, as in 127.0.0.1:9400")
	cmd.Flags().BoolVar(&a.pprof, "pprof", false, "serve /debug/pprof too")
	cmd.Flags().BoolVar(&a.strict, "strict", false, "refuse a configuration with warnings")
	cmd.Flags().DurationVar(&a.reloadInterval, "reload-interval", 5*time.Second, "how often to look for changes of the configuration; 0 is only on SIGHUP")
}

func (a *app) newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
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

// logger returns the logger that the flags ask for, and the configuration if there
// is one.
func (a *app) logger(cfg *agent.Config) (*slog.Logger, error) {
	if a.logLevel != "" {
		var level slog.Level
		if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
			return nil, fmt.Errorf("--log-level %q is none of debug, info, warn, error", a.logLevel)
		}
		a.level.Set(level)
	} else if cfg != nil {
		a.setLevel(cfg)
	}
	opts := &slog.HandlerOptions{Level: &a.level}
	switch a.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(a.errOut, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.errOut, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q is none of text, json", a.logFormat)
}

// setLevel takes the level of the configuration.
func (a *app) setLevel(cfg *agent.Config) {
	level := slog.LevelInfo
	if cfg.LogLevel != "" && level.UnmarshalText([]byte(cfg.LogLevel)) != nil {
		level = slog.LevelInfo // the loader lets only names of levels through
	}
	a.level.Set(level)
}

// refuseWarnings makes an error of warnings with --strict.
func (a *app) refuseWarnings(warnings []agent.Warning) error {
	if !a.strict || len(warnings) == 0 {
		return nil
	}
	return fmt.Errorf("the configuration has %d warnings, and --strict lets none pass; remove what they name", len(warnings))
}
