package gen

import (
	"bytes"
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// Gets stores records of 200 bytes, and then reads the stream from its
// beginning to its end, over and over, with a caller for each shard.
type Gets struct {
	Client  Client // SDK or Raw
	Records int    // to store before
}

// Run implements [Load].
func (g Gets) Run(ctx context.Context, env *Env) (Result, error) {
	srv, err := env.Start(ctx)
	if err != nil {
		return Result{}, err
	}
	if _, err := createStream(ctx, srv.Endpoint, env.Shards); err != nil {
		return Result{}, err
	}
	if err := fill(ctx, srv.Endpoint, g.Records); err != nil {
		return Result{}, err
	}
	client := kinesisClient(srv.Endpoint)
	list, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String(streamName)})
	if err != nil {
		return Result{}, err
	}
	var calls []call
	for _, shard := range list.Shards {
		begin := func(ctx context.Context) (*string, error) {
			out, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
				StreamName: aws.String(streamName), ShardId: shard.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
			})
			if err != nil {
				return nil, err
			}
			return out.ShardIterator, nil
		}
		if g.Client == SDK {
			calls = append(calls, sdkGet(client, begin))
			continue
		}
		c, err := dial(ctx, srv.Endpoint)
		if err != nil {
			return Result{}, err
		}
		defer c.close()
		calls = append(calls, rawGet(c, begin))
	}
	r, err := drive(ctx, env, srv, calls)
	r.Bytes = r.Count * (filled + KeySize)
	return r, err
}

// sdkGet reads a page, from the beginning again if there was none.
func sdkGet(client *kinesis.Client, begin func(context.Context) (*string, error)) call {
	var next *string
	return func(ctx context.Context) (int, error) {
		if next == nil {
			var err error
			if next, err = begin(ctx); err != nil {
				return 0, err
			}
		}
		page, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			return 0, err
		}
		if next = page.NextShardIterator; len(page.Records) == 0 {
			next = nil
		}
		return len(page.Records), nil
	}
}

// rawGet looks for the iterator and counts the records, and decodes neither.
func rawGet(c *conn, begin func(context.Context) (*string, error)) call {
	var next *string
	return func(ctx context.Context) (int, error) {
		if next == nil {
			var err error
			if next, err = begin(ctx); err != nil {
				return 0, err
			}
		}
		answer, err := c.do(c.request(typeJSON, kinesisTarget+"GetRecords", []byte(`{"ShardIterator":"`+*next+`"}`)))
		if err != nil {
			return 0, err
		}
		n := bytes.Count(answer, []byte(`"SequenceNumber":`))
		if n == 0 {
			next = nil
			return 0, nil
		}
		const key = `"NextShardIterator":"`
		_, rest, ok := bytes.Cut(answer, []byte(key))
		value, _, closed := bytes.Cut(rest, []byte(`"`))
		if !ok || !closed {
			return 0, fmt.Errorf("no next iterator in %.300q", answer)
		}
		next = aws.String(string(value))
		return n, nil
	}
}
