package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/streamkit/streamkit/cmd/internal/endpoint"
	"github.com/streamkit/streamkit/cmd/internal/mirror"
)

// mirrorFlags are the flags of "mirror".
type mirrorFlags struct {
	from, to               string
	fromRegion, toRegion   string
	fromProfile, toProfile string
	streams                []string
	all                    bool
	start                  string
	create, sameShards     bool
	looseOrder             bool
	follow                 bool
	state                  string
	giveUp                 time.Duration
}

func newMirror() *cobra.Command {
	var f mirrorFlags
	cmd := &cobra.Command{
		Use:   "mirror --from URL|aws --to URL|aws {--stream NAME[=NEWNAME]... | --all}",
		Short: "Copy streams from one Kinesis endpoint to another",
		Long: `Copy streams from one Kinesis endpoint to another, AWS included, in either
direction: once, to the end that they have when it begins, or with --follow until
it is stopped.

Records are copied byte for byte, in the order of each partition key, through
reshards of the source. How far each shard is stands in the state file; started
again, the mirror goes on behind it. What may be twice at the target is counted
and printed.

The exit code is 5 if all went on to the end and something is missing all the
same: records that had left the source by retention before they were read, or
aggregated records that consumers of the target do not see whole.`,
		Example: `  streamd mirror --from aws --from-region eu-west-1 --from-profile prod --to http://127.0.0.1:4567 --all --create
  streamd mirror --from http://127.0.0.1:4567 --to aws --to-region eu-west-1 --stream orders --stream clicks=clicks-v2 --follow
  streamd mirror --from http://a:4567 --to http://b:4567 --stream orders --create --same-shards`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runMirror(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", `where to read: the URL of a server, or "aws"`)
	fl.StringVar(&f.to, "to", "", `where to write: the URL of a server, or "aws"`)
	fl.StringVar(&f.fromRegion, "from-region", "", "AWS region of the source")
	fl.StringVar(&f.toRegion, "to-region", "", "AWS region of the target")
	fl.StringVar(&f.fromProfile, "from-profile", "", "profile in the AWS config files for the source")
	fl.StringVar(&f.toProfile, "to-profile", "", "profile in the AWS config files for the target")
	fl.StringSliceVar(&f.streams, "stream", nil, "stream to copy, as NAME or, if it has another name at the target, NAME=NEWNAME; may be given more than once")
	fl.BoolVar(&f.all, "all", false, "copy all streams that the source has when the mirror begins")
	fl.StringVar(&f.start, "start", "trim-horizon", "where to begin streams that the state file does not know: trim-horizon, latest, or a time: RFC 3339, or how long ago (15m)")
	fl.BoolVar(&f.create, "create", false, "create streams that the target does not have")
	fl.BoolVar(&f.sameShards, "same-shards", false, "split and merge shards of the target so that they have the hash keys of those of the source; needs --create")
	fl.BoolVar(&f.looseOrder, "loose-order", false, "send several records of one key in a request: faster, and out of order where the target refuses some of them")
	fl.BoolVar(&f.follow, "follow", false, "go on until stopped")
	fl.StringVar(&f.state, "state", "streamd-mirror.json", "file to keep the progress in")
	fl.DurationVar(&f.giveUp, "give-up", 0, "how long an endpoint may fail before the mirror ends (default 10m; with --follow for ever)")
	for _, name := range []string{"from", "to"} {
		_ = cmd.MarkFlagRequired(name) // fails only for flags that are not there
	}
	cmd.MarkFlagsMutuallyExclusive("stream", "all")
	cmd.MarkFlagsOneRequired("stream", "all")
	return cmd
}

// parseStart reads the value of --start.
func parseStart(text string, now time.Time) (mirror.Start, time.Time, error) {
	if s := mirror.Start(strings.ReplaceAll(strings.ToLower(text), "_", "-")); s == mirror.TrimHorizon || s == mirror.Latest {
		return s, time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if d, derr := time.ParseDuration(text); derr == nil && d >= 0 {
		t, err = now.Add(-d), nil
	}
	if err != nil || t.After(now) {
		return "", time.Time{}, fmt.Errorf("--start %q is none of trim-horizon, latest, a past time like %s and a duration like 15m", text, now.UTC().Format(time.RFC3339))
	}
	return mirror.Timestamp, t, nil
}

// parseStreams reads the values of --stream.
func parseStreams(texts []string) ([]mirror.Stream, error) {
	streams := make([]mirror.Stream, 0, len(texts))
	for _, text := range texts {
		from, to, renamed := strings.Cut(text, "=")
		if !renamed {
			to = from
		}
		if from == "" || to == "" {
			return nil, fmt.Errorf("--stream %q is neither NAME nor NAME=NEWNAME", text)
		}
		streams = append(streams, mirror.Stream{From: from, To: to})
	}
	return streams, nil
}

// side returns a client for the value of --from or --to, and its name.
func side(ctx context.Context, flag, url, region, profile string) (*kinesis.Client, string, error) {
	opts := endpoint.Options{Endpoint: strings.TrimRight(url, "/"), Region: region, Profile: profile}
	if strings.EqualFold(url, "aws") {
		opts.Endpoint, opts.AWS = "", true
	}
	cfg, err := endpoint.Load(ctx, opts)
	if err != nil {
		return nil, "", fmt.Errorf("--%s: %w", flag, err)
	}
	k, where, err := cfg.Kinesis()
	if errors.Is(err, endpoint.ErrNoRegion) {
		return nil, "", fmt.Errorf("--%s %s: name a region with --%s-region", flag, url, flag)
	}
	if err != nil {
		return nil, "", fmt.Errorf("--%s: %w", flag, err)
	}
	name := where.String()
	if where.URL != "" && where.Region != endpoint.DefaultRegion {
		name += ", region " + where.Region // servers keep the streams of regions apart
	}
	return k, name, nil
}

// listStreams returns the names of all streams.
func listStreams(ctx context.Context, k *kinesis.Client) ([]mirror.Stream, error) {
	var streams []mirror.Stream
	pages := kinesis.NewListStreamsPaginator(k, &kinesis.ListStreamsInput{})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range out.StreamNames {
			streams = append(streams, mirror.Stream{From: name, To: name})
		}
	}
	return streams, nil
}

func runMirror(ctx context.Context, f mirrorFlags, stdout, stderr io.Writer) error {
	cfg := mirror.Config{
		Follow: f.follow, Create: f.create, SameShards: f.sameShards, LooseOrder: f.looseOrder, StateFile: f.state, GiveUp: f.giveUp,
	}
	var err error
	if cfg.Start, cfg.Timestamp, err = parseStart(f.start, time.Now()); err != nil {
		return err
	}
	if f.sameShards && !f.create {
		return errors.New("--same-shards changes the target: say --create as well")
	}
	streams, err := parseStreams(f.streams)
	if err != nil {
		return err
	}
	from, fromName, err := side(ctx, "from", f.from, f.fromRegion, f.fromProfile)
	if err != nil {
		return err
	}
	to, toName, err := side(ctx, "to", f.to, f.toRegion, f.toProfile)
	if err != nil {
		return err
	}
	cfg.FromName, cfg.ToName = fromName, toName
	if endpoint.Loopback(aws.ToString(from.Options().BaseEndpoint)) {
		cfg.Poll = 200 * time.Millisecond // no limit of five reads a second here
	}
	if f.all {
		if streams, err = listStreams(ctx, from); err != nil {
			return fmt.Errorf("list the streams of %s: %w", fromName, err)
		}
		if len(streams) == 0 {
			return fmt.Errorf("there are no streams at %s", fromName)
		}
	}
	screen := newScreen(stderr)
	cfg.Logger = slog.New(slog.NewTextHandler(screen, nil))
	m, err := mirror.New(from, to, streams, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "mirror from %s to %s; progress is kept in %s\n", fromName, toName, f.state)
	began := time.Now()
	stop := screen.show(m.Stats)
	err = m.Run(ctx)
	stop()
	summary(stdout, m.Stats(), time.Since(began))
	return err
}

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
