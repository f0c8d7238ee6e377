package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// note is an attribute that the official library does not know.
const note = "g_note"

// rows returns the rows of the table by their keys: leases, and others.
func (p *play) rows(ctx context.Context) (leases, others map[string]map[string]ddbtypes.AttributeValue, err error) {
	leases, others = make(map[string]map[string]ddbtypes.AttributeValue), make(map[string]map[string]ddbtypes.AttributeValue)
	pages := dynamodb.NewScanPaginator(p.dynamodb(), &dynamodb.ScanInput{TableName: aws.String(application)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, err
		}
		for _, item := range page.Items {
			to := others
			if _, ok := item["checkpoint"]; ok {
				to = leases
			}
			to[text(item["leaseKey"])] = item
		}
	}
	return leases, others, nil
}

// mark adds an attribute to each lease.
func mark(ctx context.Context, p *play, _ string) error {
	leases, _, err := p.rows(ctx)
	if err != nil {
		return err
	}
	for key := range leases {
		_, err := p.dynamodb().UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: aws.String(application), Key: map[string]ddbtypes.AttributeValue{"leaseKey": str(key)},
			UpdateExpression:          aws.String("SET " + note + " = :n"),
			ExpressionAttributeValues: map[string]ddbtypes.AttributeValue{":n": str("ours")},
		})
		if err != nil {
			return err
		}
		p.marked = append(p.marked, key)
	}
	return nil
}

// other is a worker that is none: it has a row, and nothing else.
const other = "worker-of-another-library"

// workerRow writes the least that a worker must say of itself to be given
// leases, and more.
func workerRow(ctx context.Context, p *play, _ string) error {
	now := &ddbtypes.AttributeValueMemberN{Value: strconv.FormatInt(time.Now().Unix(), 10)}
	_, err := p.dynamodb().PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(application),
		Item: map[string]ddbtypes.AttributeValue{
			"leaseKey": str(other), "entityType": str("WORKER_METRIC_STATS"), "lut": now,
			"sup": &ddbtypes.AttributeValueMemberN{Value: "1"}, "slu": now,
			note: str("ours"), "g_map": &ddbtypes.AttributeValueMemberM{Value: map[string]ddbtypes.AttributeValue{"a": now}},
		},
	})
	return err
}

// leaseOfOther waits until the leader has given the other worker a lease of the
// shards that a split makes, and removes its row, so that the lease comes back
// to those who read.
func leaseOfOther(ctx context.Context, p *play, stream string) error {
	if err := errors.Join(workerRow(ctx, p, stream), split(ctx, p, stream)); err != nil {
		return err
	}
	var has []string
	err := eventually(ctx, 60*time.Second, func() error {
		leases, _, err := p.rows(ctx)
		if err != nil {
			return err
		}
		for key, row := range leases {
			if text(row["leaseOwner"]) == other {
				has = append(has, key)
			}
		}
		if len(has) == 0 {
			return fmt.Errorf("%s has no lease", other)
		}
		return nil
	})
	p.report.Check("the leader gives leases to a worker whose row has attributes that it does not know", err, "%v", has)
	_, gone := p.dynamodb().DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: aws.String(application), Key: map[string]ddbtypes.AttributeValue{"leaseKey": str(other)},
	})
	return gone
}

// leases looks at the table that a consumer has left: a row for each open
// shard, and the end noted in those of closed ones, as long as there are such.
// What others have added to rows must still be there.
func (p *play) leases(ctx context.Context, shards []types.Shard) error {
	rows, others, err := p.rows(ctx)
	if err != nil {
		return err
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
	p.report.Check("the lease table fits the stream", errors.Join(errs...), "%d leases; other rows: %q",
		len(rows), slices.Sorted(maps.Keys(others)))
	if len(p.marked) == 0 {
		return nil
	}
	errs = nil
	for _, key := range p.marked {
		if text(rows[key][note]) != "ours" {
			errs = append(errs, fmt.Errorf("%s has lost it", key))
		}
	}
	p.report.Check("an attribute of others stays in a lease", errors.Join(errs...), "%d leases, through checkpoints, renewals and a shard's end", len(p.marked))
	return nil
}

func str(s string) ddbtypes.AttributeValue { return &ddbtypes.AttributeValueMemberS{Value: s} }

func text(v ddbtypes.AttributeValue) string {
	if s, ok := v.(*ddbtypes.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}
