package main

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/shard"
)

func (a *app) newStreamSplit() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "split STREAM SHARD",
		Short: "Split a shard into two",
		Long: `Split a shard into two. SHARD is an id, or its number. The new shards meet at
the hash key that --at names; without it each takes half of the keys.`,
		Example: "  streamctl stream split orders 0",
		Args:    exactArgs("STREAM", "SHARD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name, id := cmd.Context(), args[0], shard.ID(args[1])
			k, err := a.streamClient(ctx, name)
			if err != nil {
				return err
			}
			before, err := shard.List(ctx, k, name)
			if err != nil {
				return err
			}
			if at == "" {
				if at, err = middle(before, name, id); err != nil {
					return err
				}
			}
			_, err = k.SplitShard(ctx, &kinesis.SplitShardInput{
				StreamName: aws.String(name), ShardToSplit: aws.String(id), NewStartingHashKey: aws.String(at),
			})
			if err != nil {
				return err
			}
			if _, err := a.waitActive(ctx, k, name); err != nil {
				return err
			}
			return a.printChildren(cmd, k, name, before, "split "+id)
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "hash key at which the second new shard starts (default: the middle)")
	return cmd
}

// middle returns the hash key that halves a shard.
func middle(shards []types.Shard, stream, id string) (string, error) {
	i := slices.IndexFunc(shards, func(s types.Shard) bool { return aws.ToString(s.ShardId) == id })
	if i < 0 {
		return "", fmt.Errorf("stream %q has no shard %s: see \"streamctl stream describe %s\"", stream, id, stream)
	}
	if !shard.Open(shards[i]) {
		return "", fmt.Errorf("shard %s of stream %q is closed: choose an open one from \"streamctl stream describe %s\"", id, stream, stream)
	}
	at, err := shard.Middle(shards[i])
	if err != nil {
		return "", fmt.Errorf("shard %s of stream %q cannot be split: %w: choose another", id, stream, err)
	}
	return at, nil
}
