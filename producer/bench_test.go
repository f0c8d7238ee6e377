package producer_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// stub acknowledges everything at once, where it was predicted.
type stub struct {
	ends   []hashkey.Key
	ids    []*string
	shards []types.Shard
}

func newStub(n int) *stub {
	s := &stub{}
	for i, r := range hashkey.Uniform(n) {
		id := aws.String(fmt.Sprintf("shardId-%012d", i))
		s.ends = append(s.ends, r.End)
		s.ids = append(s.ids, id)
		s.shards = append(s.shards, types.Shard{ShardId: id, HashKeyRange: &types.HashKeyRange{
			StartingHashKey: aws.String(r.Start.String()), EndingHashKey: aws.String(r.End.String()),
		}})
	}
	return s
}

func (s *stub) ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	return &kinesis.ListShardsOutput{Shards: s.shards}, nil
}

var stubSeq = aws.String("49000000000000000000000000000000000000000000000000000001")

func (s *stub) PutRecords(_ context.Context, in *kinesis.PutRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	out := &kinesis.PutRecordsOutput{Records: make([]types.PutRecordsResultEntry, len(in.Records))}
	for i := range in.Records {
		k, err := hashkey.Parse(*in.Records[i].ExplicitHashKey)
		if err != nil {
			return nil, err
		}
		j := 0
		for s.ends[j].Less(k) {
			j++
		}
		out.Records[i] = types.PutRecordsResultEntry{ShardId: s.ids[j], SequenceNumber: stubSeq}
	}
	return out, nil
}

func startStub(tb testing.TB, shards int) *producer.Producer {
	tb.Helper()
	p, err := producer.New(newStub(shards), "stream", producer.Config{Logger: quiet()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return p
}

func keys(n int) []string {
	ks := make([]string, n)
	for i := range ks {
		ks[i] = fmt.Sprintf("customer-%06d", i)
	}
	return ks
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{100, 1000} {
		data := bytes.Repeat([]byte("x"), size)
		ks := keys(1000)
		ctx := context.Background()
		name := fmt.Sprintf("%dB", size)
		b.Run(name+"/keyed", func(b *testing.B) {
			p := startStub(b, 4)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			i := 0
			for b.Loop() {
				if err := p.Put(ctx, producer.UserRecord{PartitionKey: ks[i%len(ks)], Data: data}, nil); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(name+"/keyless", func(b *testing.B) {
			p := startStub(b, 4)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if err := p.Put(ctx, producer.UserRecord{Data: data}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/callback", func(b *testing.B) {
			p := startStub(b, 4)
			done := func(r producer.Result) {
				if r.Err != nil {
					b.Error(r.Err)
				}
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			i := 0
			for b.Loop() {
				if err := p.Put(ctx, producer.UserRecord{PartitionKey: ks[i%len(ks)], Data: data}, done); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(name+"/batch100", func(b *testing.B) {
			p := startStub(b, 4)
			batch := make([]producer.UserRecord, 100)
			done := func(r producer.BatchResult) {
				if err := r.Err(); err != nil {
					b.Error(err)
				}
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			i := 0
			for b.Loop() {
				batch[i%100] = producer.UserRecord{PartitionKey: ks[i%len(ks)], Data: data}
				if i++; i%100 == 0 {
					if err := p.PutBatch(ctx, batch, done); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
