package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// leases looks at the table that a consumer has left: a row for each open
// shard, and the end noted in those of closed ones, as long as there are such.
func (p *play) leases(ctx context.Context, table string, shards []types.Shard) error {
	rows := make(map[string]map[string]ddbtypes.AttributeValue)
	var other []string
	pages := dynamodb.NewScanPaginator(p.dynamodb(), &dynamodb.ScanInput{TableName: &table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			key := text(item["leaseKey"])
			if _, ok := item["checkpoint"]; ok {
				rows[key] = item
			} else {
				other = append(other, key)
			}
		}
	}
	var errs []error
	for _, s := range shards {
		id := *s.ShardId
		ended := s.SequenceNumberRange.EndingSequenceNumber != nil
		row, ok := rows[id]
		switch checkpoint := text(row["checkpoint"]); {
		case !ok && !ended:
			errs = append(errs, fmt.Errorf("%s has no lease", id))
		case ok && ended && checkpoint != "SHARD_END":
			errs = append(errs, fmt.Errorf("%s has ended, its checkpoint is %s", id, checkpoint))
		case ok && !ended && checkpoint == "SHARD_END":
			errs = append(errs, fmt.Errorf("%s is open, its checkpoint is %s", id, checkpoint))
		}
	}
	slices.Sort(other)
	p.report.Check("the lease table fits the stream", errors.Join(errs...), "%d leases; other rows: %q", len(rows), other)
	return nil
}

func text(v ddbtypes.AttributeValue) string {
	if s, ok := v.(*ddbtypes.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}
