package main

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"
)

func (a *app) newStreamCreate() *cobra.Command {
	var (
		shards   int32
		onDemand bool
		noWait   bool
	)
	cmd := &cobra.Command{
		Use:     "create STREAM",
		Short:   "Create a stream and wait until it is active",
		Example: "  streamctl stream create orders --shards 4",
		Args:    exactArgs("STREAM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name := cmd.Context(), args[0]
			k, err := a.streamClient(ctx, name)
			if err != nil {
				return err
			}
			in := &kinesis.CreateStreamInput{StreamName: aws.String(name)}
			if onDemand {
				in.StreamModeDetails = &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}
			} else {
				in.ShardCount = aws.Int32(shards)
			}
			if _, err := k.CreateStream(ctx, in); err != nil {
				return err
			}
			if noWait {
				_, err := fmt.Fprintf(a.out, "stream %s is being created at %s\n", name, a.about.Where)
				return err
			}
			sum, err := a.waitActive(ctx, k, name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "created stream %s with %s at %s\n", name, count(int(aws.ToInt32(sum.OpenShardCount)), "shard"), a.about.Where)
			return err
		},
	}
	cmd.Flags().Int32Var(&shards, "shards", 1, "number of shards")
	cmd.Flags().BoolVar(&onDemand, "on-demand", false, "let the service choose the number of shards")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return at once")
	cmd.MarkFlagsMutuallyExclusive("shards", "on-demand")
	return cmd
}
