package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/leases"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/shard"
	"github.com/streamkit/streamkit/consumer"
)

func (a *app) newLease() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "lease",
		Short: "Show and change the leases of a consumer's workers",
	})
	cmd.AddCommand(
		a.newLeaseList(), a.newLeaseWhy(), a.newLeaseRelease(), a.newLeaseTransfer(), a.newLeaseDrain(), a.newLeaseReset(),
	)
	return cmd
}

// leaseRow is one line of "lease list".
type leaseRow struct {
	leases.Lease
	LagMillis *int64 `json:"lagMillis,omitempty"`
}

func (a *app) newLeaseList() *cobra.Command {
	var (
		asJSON bool
		stream string
	)
	cmd := &cobra.Command{
		Use:   "list TABLE",
		Short: "Show who reads which shard, and how far",
		Long: `Show the leases in TABLE, which has the name of the consumer's application.
With --stream each lease of that stream also shows how far its checkpoint is behind
the end of the shard; that costs two calls a lease. Where the application reads
several streams, a lease is named account:stream:epoch:shard.`,
		Example: "  streamctl lease list billing --stream orders",
		Args:    exactArgs("TABLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			a.about.Table = args[0]
			db, err := a.dynamodb(ctx)
			if err != nil {
				return err
			}
			list, err := leases.Read(ctx, db, args[0])
			if err != nil {
				return err
			}
			rows := make([]leaseRow, len(list))
			for i, l := range list {
				rows[i].Lease = l
			}
			if stream != "" {
				k, err := a.streamClient(ctx, stream)
				if err != nil {
					return err
				}
				for i := range rows {
					if rows[i].LagMillis, err = lag(ctx, k, stream, rows[i].Lease); err != nil {
						return err
					}
				}
			}
			if asJSON {
				return a.printJSON(rows)
			}
			if len(rows) == 0 {
				_, err := fmt.Fprintf(a.err, "no leases in table %s at %s: its consumer has not seen a shard yet\n", args[0], a.about.Where)
				return err
			}
			return a.printLeases(rows, stream != "")
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&stream, "stream", "", "stream whose shards are leased, to show the lag")
	return cmd
}

func (a *app) printLeases(rows []leaseRow, withLag bool) error {
	header := []string{"LEASE", "OWNER", "COUNTER", "CHECKPOINT", "PARENTS"}
	if withLag {
		header = append(header, "LAG")
	}
	t := newTable(header...)
	for _, r := range rows {
		owner := r.Owner
		if owner == "" {
			owner = "-"
		}
		at := r.Checkpoint
		if r.SubCheckpoint > 0 {
			at += fmt.Sprintf("/%d", r.SubCheckpoint)
		}
		parents := make([]string, len(r.Parents))
		for i, p := range r.Parents {
			parents[i] = shard.Short(p)
		}
		cells := []string{r.Key, owner, fmt.Sprint(r.Counter), at, strings.Join(parents, ",")}
		if withLag {
			cells = append(cells, lagText(r.LagMillis))
		}
		t.row(cells...)
	}
	return t.write(a.out)
}

func lagText(ms *int64) string {
	if ms == nil {
		return "-"
	}
	return (time.Duration(*ms) * time.Millisecond).String()
}

// lag asks how far a checkpoint is behind the end of its shard. It is nil if
// the question has no answer: the shard is read to its end, or a sentinel says
// to start at the end.
func lag(ctx context.Context, k *kinesis.Client, stream string, l leases.Lease) (*int64, error) {
	of, shardID := consumer.SplitLeaseKey(l.Key)
	if of != "" {
		if id, err := consumer.ParseStreamID(of); err != nil || id.Name != stream {
			return nil, err // of another stream
		}
	}
	in := &kinesis.GetShardIteratorInput{StreamName: aws.String(stream), ShardId: aws.String(shardID)}
	switch l.Checkpoint {
	case leases.ShardEnd, "LATEST", "AT_TIMESTAMP":
		return nil, nil
	case "TRIM_HORIZON":
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	default:
		in.ShardIteratorType = types.ShardIteratorTypeAfterSequenceNumber
		in.StartingSequenceNumber = aws.String(l.Checkpoint)
	}
	it, err := k.GetShardIterator(ctx, in)
	if err != nil {
		return nil, err
	}
	out, err := k.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator, Limit: aws.Int32(1)})
	if err != nil {
		return nil, err
	}
	return out.MillisBehindLatest, nil
}
