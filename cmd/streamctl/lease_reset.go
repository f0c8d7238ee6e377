package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/consumer"
)

func (a *app) newLeaseReset() *cobra.Command {
	var (
		yes, every bool
		to         string
	)
	cmd := &cobra.Command{
		Use:   "reset TABLE [SHARD]",
		Short: "Set where a shard is read on",
		Long: `Set the checkpoint of a shard's lease, or with --all those of all, to where reading
shall go on:

  trim_horizon  the oldest record
  latest        what is put from now on
  a time        such as 2026-11-26T10:00:00Z, or a duration before now, such as 15m
  a number      the record after this sequence number; 123/4 is after user record 4
                of an aggregated record

Only leases that nobody has are changed: stop the workers first. With --all, or for a
shard that was read to its end, nothing is changed if somebody has any. Shards that were
read to their ends stay so with --all --to latest; otherwise they are reset too, and read
again, parents before children.
Shards whose lease was deleted after their end are not read again.

A time is stored in an attribute that only workers of this project know. The Kinesis
Client Library would go on at the newest record.`,
		Example: `  streamctl lease reset billing shardId-000000000003 --to trim_horizon
  streamctl lease reset billing --all --to 2h`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case every && len(args) == 2:
				return errors.New("--all and a shard contradict each other: leave one out")
			case every:
				return exactArgs("TABLE")(cmd, args)
			case len(args) == 1:
				return errors.New("SHARD is missing: name one, or say --all")
			}
			return exactArgs("TABLE", "SHARD")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if to == "" {
				return errors.New("--to is missing: say trim_horizon, latest, a time, a duration or a sequence number")
			}
			r, err := parseReset(to, time.Now())
			if err != nil {
				return err
			}
			if every && !r.write.Checkpoint.IsSentinel() {
				return fmt.Errorf("--to %s is a place in one shard: name the shard instead of --all", to)
			}
			t, err := a.openLeases(ctx, args[0])
			if err != nil {
				return err
			}
			var resets []consumer.Lease
			if every {
				resets, err = t.allToReset(ctx, r)
			} else {
				resets, err = t.oneToReset(ctx, args[1], r)
			}
			if err != nil {
				return err
			}
			what := count(len(resets), "lease")
			if !every {
				what = "the lease of shard " + args[1]
			}
			if err := a.confirm(ctx, yes, fmt.Sprintf("Set the checkpoint of %s at %s to %s? Where it is now cannot be had back.", what, a.about.Where, to)); err != nil {
				return err
			}
			for i, l := range resets {
				if _, err := t.Update(ctx, l, r.write); err != nil {
					if i > 0 {
						return fmt.Errorf("%s of %d reset, then: %w", count(i, "lease"), len(resets), t.changed(err))
					}
					return t.changed(err)
				}
			}
			_, err = fmt.Fprintf(a.out, "reset %s to %s\n", what, to)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "where to read on")
	f.BoolVar(&every, "all", false, "reset all leases in the table")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// reset is where to read on.
type reset struct {
	write  consumer.Write
	time   bool // what is stored says nothing to other libraries
	latest bool
}

// parseReset reads the value of --to.
func parseReset(text string, now time.Time) (reset, error) {
	if at, ok := parsePlace(text); ok {
		return reset{write: consumer.Write{Checkpoint: at}}, nil
	}
	kind, at, err := parseFrom(text, now)
	if err != nil {
		return reset{}, fmt.Errorf("--to %q is none of trim_horizon, latest, a time like %s, a duration like 15m, a sequence number", text, now.UTC().Format(time.RFC3339))
	}
	if kind == types.ShardIteratorTypeTrimHorizon {
		return reset{write: consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}}}, nil
	}
	latest := kind == types.ShardIteratorTypeLatest
	if latest {
		at = now // not when a worker comes to read the shard
	}
	if at.After(now) {
		return reset{}, fmt.Errorf("--to %s is in the future: choose a time that has been", text)
	}
	return reset{
		write: consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.Latest}, LatestSince: at},
		time:  !latest, latest: latest,
	}, nil
}

// parsePlace reads a sequence number, with "/" and the index of a user record.
func parsePlace(text string) (consumer.Checkpoint, bool) {
	number, sub, aggregated := strings.Cut(text, "/")
	at := consumer.Checkpoint{SequenceNumber: number}
	if aggregated {
		n, err := strconv.ParseInt(sub, 10, 64)
		if err != nil {
			return at, false
		}
		at.SubSequenceNumber = n
	}
	return at, !at.IsSentinel() && at.Validate() == nil
}

// oneToReset returns the lease of a shard if it can be reset by r.
func (t *leaseTable) oneToReset(ctx context.Context, shard string, r reset) ([]consumer.Lease, error) {
	l, err := t.lease(ctx, shard)
	if err != nil {
		return nil, err
	}
	if l.Owner != "" {
		return nil, fmt.Errorf("worker %q has the lease of shard %s, and would go on where it is: stop it first, or if it is gone say \"streamctl lease release %s %s\"", l.Owner, l.Key, t.name, l.Key)
	}
	if l.Checkpoint.SequenceNumber == consumer.ShardEnd {
		all, err := t.list(ctx)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(o consumer.Lease) bool { return o.Owner != "" }); i >= 0 {
			return nil, fmt.Errorf("shard %s has been read to its end, and worker %q, which has the lease of shard %s, would read its children beside it: stop all workers first", l.Key, all[i].Owner, all[i].Key)
		}
	}
	return []consumer.Lease{l}, t.knowsTimes(l, r)
}

// allToReset returns the leases that are to be reset by r, parents and children
// in any order: nobody reads meanwhile.
func (t *leaseTable) allToReset(ctx context.Context, r reset) ([]consumer.Lease, error) {
	all, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	var resets []consumer.Lease
	for _, l := range all {
		switch {
		case l.Invalid != nil:
			return nil, l.Invalid
		case l.Owner != "":
			return nil, fmt.Errorf("worker %q has the lease of shard %s, so nothing was changed: stop all workers first", l.Owner, l.Key)
		case l.Checkpoint.SequenceNumber == consumer.ShardEnd && r.latest:
			continue
		}
		if err := t.knowsTimes(l, r); err != nil {
			return nil, err
		}
		resets = append(resets, l)
	}
	if len(resets) == 0 {
		return nil, fmt.Errorf("table %s has no lease to reset: see \"streamctl lease list %s\"", t.name, t.name)
	}
	return resets, nil
}

// knowsTimes returns an error if the lease was last held by a worker that would
// not heed a time.
func (t *leaseTable) knowsTimes(l consumer.Lease, r reset) error {
	if r.time && l.Counter > 0 && l.Incarnation == "" {
		return fmt.Errorf("the lease of shard %s was held by a worker of another library, which knows no time in a lease: choose trim_horizon, latest or a sequence number", l.Key)
	}
	return nil
}
