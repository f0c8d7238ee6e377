package matrix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/consumer/deaggregate"
	"github.com/streamkit/streamkit/producer"
)

// readBack reads the stream and compares it with what the program says it put.
var readBack = Step{
	Check: "what was put is in the stream, byte for byte and in the order of each key",
	Do: func(ctx context.Context, s *Session) (string, error) {
		put, err := readRecords(s.Out)
		if err != nil {
			return "", err
		}
		if len(put) == 0 {
			return "", errors.New("the program put nothing")
		}
		have, err := s.readStream(ctx)
		if err != nil {
			return "", err
		}
		if err := sameByKey(put, have); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d records", len(put)), nil
	},
}

// putAggregated puts records with the producer of this project, which packs them
// together.
func putAggregated(ctx context.Context, s *Session, _ *Program) error {
	p, err := producer.New(s.Server.Kinesis(), s.Stream, producer.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var failed error
	for i := range s.records() {
		r := Record{Key: fmt.Sprintf("ours-%d", i%7), Data: fmt.Appendf(nil, "ours %d", i)}
		s.Put = append(s.Put, r)
		err := p.Put(ctx, producer.UserRecord{PartitionKey: r.Key, Data: r.Data}, func(r producer.Result) {
			failed = errors.Join(failed, r.Err) // one shard, so one at a time
		})
		if err != nil {
			return errors.Join(err, p.Close(ctx))
		}
	}
	return errors.Join(p.Close(ctx), failed)
}

// sameAsRead compares what the program has read with what this project reads.
var sameAsRead = Step{
	Check: "what it has read is what this project reads",
	Do: func(ctx context.Context, s *Session) (string, error) {
		theirs, err := readRecords(s.Out)
		if err != nil {
			return "", err
		}
		ours, err := s.readStream(ctx)
		if err != nil {
			return "", err
		}
		if err := sameByKey(ours, theirs); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d records", len(ours)), nil
	},
}

// allPut looks for what was put beside the program in what it has read.
var allPut = Step{
	Check: "it has read all that was put beside it, in the order of each key",
	Do: func(_ context.Context, s *Session) (string, error) {
		all, err := readRecords(s.Out)
		if err != nil {
			return "", err
		}
		put := make(map[string]bool)
		for _, r := range s.Put {
			put[r.Key] = true
		}
		all = slices.DeleteFunc(all, func(r Record) bool { return !put[r.Key] })
		if err := sameByKey(s.Put, all); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d records", len(all)), nil
	},
}

// readStream reads all shards to their ends, parents before children.
func (s *Session) readStream(ctx context.Context) ([]Record, error) {
	k := s.Server.Kinesis()
	var shards []types.Shard
	in := &kinesis.ListShardsInput{StreamName: aws.String(s.Stream)}
	for {
		page, err := k.ListShards(ctx, in)
		if err != nil {
			return nil, err
		}
		shards = append(shards, page.Shards...) // by number, and children have greater ones
		if page.NextToken == nil {
			break
		}
		in = &kinesis.ListShardsInput{NextToken: page.NextToken}
	}
	var all []Record
	for _, shard := range shards {
		var err error
		if all, err = s.readShard(ctx, k, shard, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *Session) readShard(ctx context.Context, k *kinesis.Client, shard types.Shard, all []Record) ([]Record, error) {
	start, err := k.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: aws.String(s.Stream), ShardId: shard.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return nil, err
	}
	for it := start.ShardIterator; it != nil; {
		page, err := k.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it})
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			for user := range deaggregate.Records(aws.ToString(r.PartitionKey), r.Data) {
				in, err := user.InRange(aws.ToString(shard.HashKeyRange.StartingHashKey), aws.ToString(shard.HashKeyRange.EndingHashKey))
				if err != nil {
					return nil, err
				}
				// Who put a record as it is may have named another hash key.
				if in || !user.Aggregated {
					all = append(all, Record{
						Shard: aws.ToString(shard.ShardId), Seq: aws.ToString(r.SequenceNumber), Sub: user.SubSequenceNumber,
						Key: user.PartitionKey, Data: user.Data,
					})
				}
			}
		}
		if len(page.Records) == 0 && aws.ToInt64(page.MillisBehindLatest) == 0 {
			break
		}
		it = page.NextShardIterator
	}
	return all, nil
}

// sameByKey returns an error unless both have the same data under each key, in
// the same order.
func sameByKey(want, have []Record) error {
	if len(want) != len(have) {
		return fmt.Errorf("%d records where %d are due", len(have), len(want))
	}
	byKey := make(map[string][]Record)
	for _, r := range have {
		byKey[r.Key] = append(byKey[r.Key], r)
	}
	for i, r := range want {
		rest := byKey[r.Key]
		if len(rest) == 0 {
			return fmt.Errorf("record %d, of key %q, is missing", i, r.Key)
		}
		if !bytes.Equal(rest[0].Data, r.Data) {
			return fmt.Errorf("record %d, of key %q, is %.60q where %.60q is due", i, r.Key, rest[0].Data, r.Data)
		}
		byKey[r.Key] = rest[1:]
	}
	return nil
}
