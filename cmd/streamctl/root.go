package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/cmd/internal/endpoint"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/explain"
)

// app is what the commands share: the terminal, the global flags, and what is
// known for an error message.
type app struct {
	in       io.Reader
	out, err io.Writer

	opts  endpoint.Options
	about explain.About
}

// errFailed ends the program with code 1 without a further message.
var errFailed = errors.New("failed")

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut}
	root := a.newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errFailed) {
		fmt.Fprintf(errOut, "streamctl: %s\n", explain.Sentence(err, a.about))
	}
	return 1
}

func (a *app) newRoot() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "streamctl",
		Short: "Work with Kinesis streams, on AWS or on streamd",
		Long: `Streamctl creates, reads, writes and reshards Kinesis streams, and shows the
leases of their consumers.

It speaks to the endpoint that the AWS tools would use: --endpoint,
AWS_ENDPOINT_URL_KINESIS and AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL, or
endpoint_url of the profile; otherwise to AWS. An endpoint on this machine
needs neither region nor credentials.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: see \"%s --help\"", err, c.CommandPath())
	})
	f := cmd.PersistentFlags()
	f.StringVar(&a.opts.Endpoint, "endpoint", "", "URL of the server, such as "+endpoint.Local)
	f.StringVar(&a.opts.Region, "region", "", "AWS region")
	f.StringVar(&a.opts.Profile, "profile", "", "profile in the AWS config files")
	cmd.AddCommand(
		a.newStream(), a.newPut(), a.newTail(), a.newReplay(), a.newSpool(), a.newLease(), a.newMultilang(), a.newFaults(), a.newDemo(), a.newVersion(),
		a.newDemoWorker(), a.newDemoLogger(),
	)
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

// kinesis returns a client, and remembers for error messages where it leads.
func (a *app) kinesis(ctx context.Context) (*kinesis.Client, error) {
	cfg, err := endpoint.Load(ctx, a.opts)
	if err != nil {
		return nil, err
	}
	k, where, err := cfg.Kinesis()
	a.about.Where = where
	return k, err
}

// dynamodb is like kinesis.
func (a *app) dynamodb(ctx context.Context) (*dynamodb.Client, error) {
	cfg, err := endpoint.Load(ctx, a.opts)
	if err != nil {
		return nil, err
	}
	d, where, err := cfg.DynamoDB()
	a.about.Where = where
	return d, err
}

// exactArgs is like cobra.ExactArgs, with an error that names the arguments.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		usage := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing: write \"%s\"", strings.Join(names[len(args):], " and "), usage)
		case len(args) > len(names):
			return fmt.Errorf("%q is one argument too many: write \"%s\"", args[len(names)], usage)
		}
		return nil
	}
}

// group makes cmd a command that only holds others: a name it does not know is
// an error, no name shows the help.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%q is not a command of \"%s\": see \"%s --help\"", args[0], c.CommandPath(), c.CommandPath())
		}
		return c.Help()
	}
	return cmd
}

// printJSON writes v indented.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
