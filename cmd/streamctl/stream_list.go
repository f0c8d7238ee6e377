package main

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/spf13/cobra"
)

// streamRow is one line of "stream list".
type streamRow struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Mode   string `json:"mode"`
	Shards int    `json:"openShards"`
	ARN    string `json:"arn"`
}

func (a *app) newStreamList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the streams",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			k, err := a.kinesis(ctx)
			if err != nil {
				return err
			}
			rows := []streamRow{}
			pages := kinesis.NewListStreamsPaginator(k, &kinesis.ListStreamsInput{})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return err
				}
				for _, name := range page.StreamNames {
					a.about.Stream = name
					out, err := k.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(name)})
					if err != nil {
						return err
					}
					sum := out.StreamDescriptionSummary
					row := streamRow{
						Name: name, Status: string(sum.StreamStatus), Mode: "PROVISIONED",
						Shards: int(aws.ToInt32(sum.OpenShardCount)), ARN: aws.ToString(sum.StreamARN),
					}
					if sum.StreamModeDetails != nil {
						row.Mode = string(sum.StreamModeDetails.StreamMode)
					}
					rows = append(rows, row)
				}
			}
			if asJSON {
				return a.printJSON(rows)
			}
			if len(rows) == 0 {
				_, err := fmt.Fprintf(a.err, "no streams at %s: create one with \"streamctl stream create NAME\"\n", a.about.Where)
				return err
			}
			t := newTable("STREAM", "STATUS", "SHARDS", "MODE")
			for _, r := range rows {
				t.row(r.Name, r.Status, fmt.Sprint(r.Shards), r.Mode)
			}
			return t.write(a.out)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
