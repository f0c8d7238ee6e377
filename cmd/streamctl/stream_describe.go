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

// streamDescription is the JSON form of "stream describe".
type streamDescription struct {
	Name           string             `json:"name"`
	ARN            string             `json:"arn"`
	Status         string             `json:"status"`
	Mode           string             `json:"mode"`
	RetentionHours int                `json:"retentionHours"`
	Shards         []shardDescription `json:"shards"`
}

type shardDescription struct {
	ShardID         string   `json:"shardId"`
	Open            bool     `json:"open"`
	Parents         []string `json:"parents,omitempty"`
	StartingHashKey string   `json:"startingHashKey"`
	EndingHashKey   string   `json:"endingHashKey"`
	StartingNumber  string   `json:"startingSequenceNumber"`
	EndingNumber    string   `json:"endingSequenceNumber,omitempty"`

	percent float64 // of the hash space
}

func (a *app) newStreamDescribe() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "describe STREAM",
		Short: "Show a stream and its shards",
		Args:  exactArgs("STREAM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name := cmd.Context(), args[0]
			k, err := a.streamClient(ctx, name)
			if err != nil {
				return err
			}
			out, err := k.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(name)})
			if err != nil {
				return err
			}
			shards, err := shard.List(ctx, k, name)
			if err != nil {
				return err
			}
			d := describe(out.StreamDescriptionSummary, shards)
			if asJSON {
				return a.printJSON(d)
			}
			return a.printDescription(d)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func describe(sum *types.StreamDescriptionSummary, shards []types.Shard) streamDescription {
	d := streamDescription{
		Name: aws.ToString(sum.StreamName), ARN: aws.ToString(sum.StreamARN),
		Status: string(sum.StreamStatus), Mode: "PROVISIONED",
		RetentionHours: int(aws.ToInt32(sum.RetentionPeriodHours)),
		Shards:         []shardDescription{},
	}
	if sum.StreamModeDetails != nil {
		d.Mode = string(sum.StreamModeDetails.StreamMode)
	}
	for _, s := range shards {
		sd := shardDescription{ShardID: aws.ToString(s.ShardId), Open: shard.Open(s), Parents: shard.Parents(s)}
		if r := s.HashKeyRange; r != nil {
			sd.StartingHashKey, sd.EndingHashKey = aws.ToString(r.StartingHashKey), aws.ToString(r.EndingHashKey)
		}
		if from, to, err := shard.Percent(s); err == nil {
			sd.percent = to - from
		}
		if r := s.SequenceNumberRange; r != nil {
			sd.StartingNumber, sd.EndingNumber = aws.ToString(r.StartingSequenceNumber), aws.ToString(r.EndingSequenceNumber)
		}
		d.Shards = append(d.Shards, sd)
	}
	return d
}

func (a *app) printDescription(d streamDescription) error {
	open := 0
	for _, s := range d.Shards {
		if s.Open {
			open++
		}
	}
	shards := fmt.Sprintf("%d open", open)
	if closed := len(d.Shards) - open; closed > 0 {
		shards += fmt.Sprintf(", %d closed", closed)
	}
	head := &table{}
	head.row("stream", d.Name)
	head.row("at", a.about.Where.String())
	head.row("arn", d.ARN)
	head.row("status", d.Status)
	head.row("mode", d.Mode)
	head.row("retention", count(d.RetentionHours, "hour"))
	head.row("shards", shards)
	if err := head.write(a.out); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	t := newTable("SHARD", "STATE", "SHARE", "PARENTS", "FROM HASH KEY", "TO HASH KEY")
	for _, s := range d.Shards {
		state := "open"
		if !s.Open {
			state = "closed"
		}
		parents := make([]string, len(s.Parents))
		for i, p := range s.Parents {
			parents[i] = shard.Short(p)
		}
		t.row(s.ShardID, state, fmt.Sprintf("%.1f%%", s.percent), strings.Join(parents, ","), s.StartingHashKey, s.EndingHashKey)
	}
	return t.write(a.out)
}
