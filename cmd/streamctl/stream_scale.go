package main

import (
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"
)

func (a *app) newStreamScale() *cobra.Command {
	var yes, noWait bool
	cmd := &cobra.Command{
		Use:     "scale STREAM SHARDS",
		Short:   "Change the number of open shards",
		Example: "  streamctl stream scale orders 8",
		Args:    exactArgs("STREAM", "SHARDS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name := cmd.Context(), args[0]
			target, err := strconv.ParseInt(args[1], 10, 32)
			if err != nil || target < 1 {
				return fmt.Errorf("%q is not a number of shards: write a whole number from 1", args[1])
			}
			k, err := a.streamClient(ctx, name)
			if err != nil {
				return err
			}
			out, err := k.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(name)})
			if err != nil {
				return err
			}
			now := int(aws.ToInt32(out.StreamDescriptionSummary.OpenShardCount))
			if err := a.confirm(ctx, yes, fmt.Sprintf("Scale stream %q from %s to %d at %s?", name, count(now, "shard"), target, a.about.Where)); err != nil {
				return err
			}
			_, err = k.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{
				StreamName: aws.String(name), TargetShardCount: aws.Int32(int32(target)), ScalingType: types.ScalingTypeUniformScaling,
			})
			if err != nil {
				return err
			}
			if noWait {
				_, err := fmt.Fprintf(a.out, "stream %s is being scaled to %s at %s\n", name, count(int(target), "shard"), a.about.Where)
				return err
			}
			sum, err := a.waitActive(ctx, k, name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "scaled stream %s from %d to %s at %s\n", name, now, count(int(aws.ToInt32(sum.OpenShardCount)), "open shard"), a.about.Where)
			return err
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return at once")
	return cmd
}
