package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/consumer"
)

// whyRow is one line of "lease why".
type whyRow struct {
	Shard   string          `json:"shardId"`
	Key     string          `json:"leaseKey,omitempty"` // where the application reads several streams
	Reason  consumer.Reason `json:"reason"`
	Owner   string          `json:"owner,omitempty"`
	Waiting []string        `json:"waitingFor,omitempty"`
	Text    string          `json:"text"`
}

// name returns what the shard is called in the table.
func (w whyRow) name() string { return cmp.Or(w.Key, w.Shard) }

func (a *app) newLeaseWhy() *cobra.Command {
	var (
		asJSON bool
		stream string
		watch  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "why TABLE [SHARD]",
		Short: "Say why a shard is read, or is not",
		Long: `Say for each shard of a stream, or for one, why a worker reads it or none does: who
has the lease, that it waits for its parents, that it has no lease and should have
one, that what is stored is not understood.

Whether an owner is alive shows in that it writes to its lease, each few seconds, or
to a row of its own. So the table is looked at twice, --watch apart. Let that be
longer where the workers' failover time is.

Where the application reads several streams, those that have leases are looked at, or
the one that --stream names; SHARD is then the key of a lease as "lease list" shows it.`,
		Example: "  streamctl lease why billing --stream orders",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return nil
			}
			return exactArgs("TABLE", "SHARD")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if watch < 0 {
				return fmt.Errorf("--watch %v is negative: choose a duration such as 6s, or 0 to look once", watch)
			}
			t, err := a.openLeases(ctx, args[0])
			if err != nil {
				return err
			}
			streams, err := t.streams(ctx, stream)
			if err != nil {
				return err
			}
			if stream == "" && len(streams) == 0 {
				return errors.New("--stream is missing: name the stream whose shards are leased")
			}
			whys, err := a.why(ctx, t, stream, streams, watch)
			if err != nil {
				return err
			}
			if len(args) == 2 {
				i := slices.IndexFunc(whys, func(w whyRow) bool { return w.name() == args[1] })
				if i < 0 && stream == "" {
					return fmt.Errorf("table %s has no lease %q: see \"streamctl lease list %s\"", args[0], args[1], args[0])
				}
				if i < 0 {
					return fmt.Errorf("stream %s has no shard %q, and table %s no lease of one: see \"streamctl stream describe %s\"", stream, args[1], args[0], stream)
				}
				whys = whys[i : i+1]
			}
			if asJSON {
				return a.printJSON(whys)
			}
			table := newTable("SHARD", "REASON", "WHAT IS KNOWN")
			for _, w := range whys {
				table.row(w.name(), string(w.Reason), w.Text)
			}
			return table.write(a.out)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.StringVar(&stream, "stream", "", "stream whose shards are leased")
	f.DurationVar(&watch, "watch", 6*time.Second, "time between two looks, to see who renews; 0 looks once")
	return cmd
}

// streams returns the streams that have leases in the table of an application that
// reads several, or those of them that have a name; none if it reads one.
func (t *leaseTable) streams(ctx context.Context, name string) ([]consumer.StreamConfig, error) {
	all, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var list []consumer.StreamConfig
	for _, l := range all {
		stream, _ := consumer.SplitLeaseKey(l.Key)
		if stream == "" || seen[stream] {
			continue
		}
		seen[stream] = true
		id, err := consumer.ParseStreamID(stream)
		if err != nil {
			return nil, err
		}
		if name == "" || name == id.Name {
			list = append(list, consumer.StreamConfig{ID: id})
		}
	}
	return list, nil
}

// why asks a consumer that does not run, of one stream or of several.
func (a *app) why(ctx context.Context, t *leaseTable, stream string, streams []consumer.StreamConfig, watch time.Duration) ([]whyRow, error) {
	k, err := a.streamClient(ctx, stream)
	if err != nil {
		return nil, err
	}
	cfg := consumer.Config{
		WorkerID: "streamctl", FailoverTime: max(time.Second, watch*9/10), Logger: slog.New(slog.DiscardHandler),
		Mode: consumer.ModeKCL2, // what can be seen without taking part
	}
	var c *consumer.Consumer
	if len(streams) > 0 {
		c, err = consumer.NewMultiStream(k, t, t.name, func(context.Context) ([]consumer.StreamConfig, error) { return streams, nil }, noProcessor, cfg)
	} else {
		c, err = consumer.New(k, t, t.name, stream, noProcessor, cfg)
	}
	if err != nil {
		return nil, err
	}
	ask := func() ([]consumer.Why, error) {
		whys, err := c.WhyAll(ctx)
		return slices.DeleteFunc(whys, func(w consumer.Why) bool {
			id, _ := consumer.SplitLeaseKey(w.LeaseKey)
			return len(streams) > 0 && !slices.ContainsFunc(streams, func(s consumer.StreamConfig) bool { return s.ID.String() == id })
		}), err
	}
	whys, err := ask()
	if err == nil && watch > 0 && slices.ContainsFunc(whys, func(w consumer.Why) bool { return w.Reason == consumer.ReasonOther }) {
		timer := time.NewTimer(watch)
		defer timer.Stop()
		select {
		case <-timer.C:
			whys, err = ask()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	all, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	peers, err := t.peers(ctx, all)
	if err != nil {
		return nil, err
	}
	rows := make([]whyRow, len(whys))
	for i, w := range whys {
		rows[i] = whyRow{w.ShardID, "", w.Reason, w.Owner, w.Waiting, w.Text}
		if len(streams) > 0 {
			rows[i].Key = w.LeaseKey
		}
		switch w.Reason {
		case consumer.ReasonStopped: // it is not this program that should run
			rows[i].Reason = consumer.ReasonUnowned
			rows[i].Text = "nobody has the lease: if that stays so, no worker runs, or those that do have as many as they may"
		case consumer.ReasonExpired:
			if peers[w.Owner].fresh { // such workers need not renew each lease
				rows[i].Reason = consumer.ReasonOther
				rows[i].Text = fmt.Sprintf("worker %q has the lease, and its row in the table is up to date", w.Owner)
				break
			}
			rows[i].Text = fmt.Sprintf("worker %q has the lease, and has not renewed it for %v: it is gone if its failover time is not longer than twice that", w.Owner, w.Since.Truncate(time.Second))
		case consumer.ReasonOther:
			if watch > 0 {
				rows[i].Text += ", and renews it"
			}
		default:
		}
	}
	return rows, nil
}

func noProcessor(*consumer.Shard) (consumer.Processor, error) {
	return nil, errors.New("streamctl reads no shards")
}
