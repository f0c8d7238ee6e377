package main

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/spf13/cobra"
)

func (a *app) newStreamDelete() *cobra.Command {
	var yes, noWait bool
	cmd := &cobra.Command{
		Use:   "delete STREAM",
		Short: "Delete a stream and its records",
		Args:  exactArgs("STREAM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name := cmd.Context(), args[0]
			k, err := a.streamClient(ctx, name)
			if err != nil {
				return err
			}
			// Asking about a stream that is not there would waste the answer.
			out, err := k.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(name)})
			if err != nil {
				return err
			}
			shards := count(int(aws.ToInt32(out.StreamDescriptionSummary.OpenShardCount)), "shard")
			if err := a.confirm(ctx, yes, fmt.Sprintf("Delete stream %q (%s) and all its records at %s?", name, shards, a.about.Where)); err != nil {
				return err
			}
			_, err = k.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String(name), EnforceConsumerDeletion: aws.Bool(true)})
			if err != nil {
				return err
			}
			if !noWait {
				if err := a.waitGone(ctx, k, name); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(a.out, "deleted stream %s at %s\n", name, a.about.Where)
			return err
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return at once")
	return cmd
}
