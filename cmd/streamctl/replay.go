package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/replay"
)

// replayOptions are the flags of "replay".
type replayOptions struct {
	speed         string
	wait          time.Duration
	withoutTables bool
	asJSON        bool
}

func (a *app) newReplay() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Send the requests again that a server has captured",
		Long: `Send the requests of a capture (streamd --capture) to any endpoint, one after
another in the order of the file, with your own credentials and region, and say
which are answered with another status or error than they were.

Shard iterators, tokens, sequence numbers and ARNs that the captured server has
given are replaced by those that this one gives. A subscription (SubscribeToShard)
is opened where it was, and read until as many records have come as came by its
end in the capture; --wait bounds the time without any. Requests to DynamoDB go to
its own endpoint, unless --without-tables leaves them out.

The requests do what they did: streams are created, changed and deleted. The exit
code is 1 if anything differs.`,
		Example: "  streamctl replay requests.ndjson --speed max\n  streamctl replay requests.ndjson --endpoint https://kinesis.eu-west-1.amazonaws.com --region eu-west-1",
		Args:    exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.replay(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.speed, "speed", "1", `how much faster than they came; "max" leaves the pauses out`)
	f.DurationVar(&o.wait, "wait", 10*time.Second, "how long a subscription may bring no records that it has brought")
	f.BoolVar(&o.withoutTables, "without-tables", false, "leave requests to DynamoDB out")
	f.BoolVar(&o.asJSON, "json", false, "print differences and the outcome as JSON")
	return cmd
}

// parseSpeed returns the factor that text names, 0 for "max".
func parseSpeed(text string) (float64, error) {
	if text == "max" {
		return 0, nil
	}
	speed, err := strconv.ParseFloat(text, 64)
	if err != nil || !(speed >= 1e-3 && speed <= 1e6) {
		return 0, fmt.Errorf("--speed %q is neither max nor a number from 0.001 to 1000000", text)
	}
	return speed, nil
}

// replayOutcome is the JSON form of what "replay" has done.
type replayOutcome struct {
	replay.Report
	Found []replay.Difference `json:"found"`
}

func (a *app) replay(ctx context.Context, name string, o replayOptions) error {
	speed, err := parseSpeed(o.speed)
	if err != nil {
		return err
	}
	if o.wait <= 0 {
		return fmt.Errorf("--wait %v is no time; write one such as 10s", o.wait)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read from
	k, err := a.kinesis(ctx)
	if err != nil {
		return err
	}
	where := a.about.Where // not that of the tables
	d, err := a.dynamodb(ctx)
	if err != nil {
		return err
	}
	a.about.Where = where
	to, err := replay.NewSigned(ctx, k, d)
	if err != nil {
		return err
	}
	found := []replay.Difference{}
	report, err := replay.Run(ctx, file, to, replay.Options{Speed: speed, Wait: o.wait, WithoutTables: o.withoutTables, Differ: func(d replay.Difference) {
		if o.asJSON {
			found = append(found, d)
			return
		}
		fmt.Fprintf(a.out, "line %d: %s was answered with %s, now with %s\n", d.Line, d.Operation, d.Captured, d.Replayed)
	}})
	if o.asJSON {
		if jsonErr := a.printJSON(replayOutcome{report, found}); err == nil {
			err = jsonErr
		}
	} else {
		a.sayReplay(name, report)
	}
	if err != nil {
		return fmt.Errorf("replay %s: %w", name, err)
	}
	if report.Differences > 0 {
		return errFailed
	}
	return nil
}

func (a *app) sayReplay(name string, r replay.Report) {
	fmt.Fprintf(a.out, "sent %s of %s to %s: %s\n", count(r.Sent, "request"), name, a.about.Where, count(r.Differences, "difference"))
	if r.Skipped > 0 {
		fmt.Fprintf(a.out, "left out %s\n", count(r.Skipped, "request"))
	}
	if r.Damaged > 0 {
		fmt.Fprintf(a.out, "%s could not be read, as the last one of a server that was killed\n", count(r.Damaged, "line"))
	}
}
