package main

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/shard"
)

func (a *app) newStreamMerge() *cobra.Command {
	return &cobra.Command{
		Use:   "merge STREAM SHARD ADJACENT-SHARD",
		Short: "Merge two adjacent shards into one",
		Long: `Merge two shards into one. Each is an id, or its number. Their hash key ranges
must touch, as "stream describe" shows.`,
		Example: "  streamctl stream merge orders 2 3",
		Args:    exactArgs("STREAM", "SHARD", "ADJACENT-SHARD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name, first, second := cmd.Context(), args[0], shard.ID(args[1]), shard.ID(args[2])
			k, err := a.streamClient(ctx, name)
			if err != nil {
				return err
			}
			before, err := shard.List(ctx, k, name)
			if err != nil {
				return err
			}
			_, err = k.MergeShards(ctx, &kinesis.MergeShardsInput{
				StreamName: aws.String(name), ShardToMerge: aws.String(first), AdjacentShardToMerge: aws.String(second),
			})
			if err != nil {
				return err
			}
			if _, err := a.waitActive(ctx, k, name); err != nil {
				return err
			}
			return a.printChildren(cmd, k, name, before, "merged "+first+" and "+second)
		},
	}
}

// printChildren names the shards that a reshard has made.
func (a *app) printChildren(cmd *cobra.Command, k *kinesis.Client, stream string, before []types.Shard, done string) error {
	after, err := shard.List(cmd.Context(), k, stream)
	if err != nil {
		return err
	}
	old := make(map[string]bool, len(before))
	for _, s := range before {
		old[aws.ToString(s.ShardId)] = true
	}
	var made []string
	for _, s := range after {
		if id := aws.ToString(s.ShardId); !old[id] {
			made = append(made, id)
		}
	}
	_, err = fmt.Fprintf(a.out, "%s into %s at %s\n", done, strings.Join(made, " and "), a.about.Where)
	return err
}
