package consumer_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// TestStuckShardsLeaveMemory: processors that fail for ever, and whose records fill
// what memory there is, do not keep other shards from being read; and the bound is
// exceeded by little.
func TestStuckShardsLeaveMemory(t *testing.T) {
	const (
		bound  = 1 << 20
		shards = 8
		stuck  = 5
		large  = 100 << 10
		page   = 5  // records of a read
		each   = 20 // records of a stuck shard
		others = 60 // records of another
	)
	ranges := hashkey.Uniform(shards)
	for _, mode := range []consumer.RetrievalMode{consumer.RetrievalPolling, consumer.RetrievalFanOut} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFanOut(t, shards)
				put := func(i, n, size int) {
					for range n {
						if _, err := f.api.PutRecord(t.Context(), &kinesis.PutRecordInput{
							StreamName: aws.String("orders"), PartitionKey: aws.String("k"), ExplicitHashKey: aws.String(ranges[i].Start.String()),
							Data: []byte(strings.Repeat("x", size)),
						}); err != nil {
							t.Fatal(err)
						}
					}
				}
				var healed atomic.Bool
				var well, ill atomic.Int64
				c, stop := f.start(consumer.ProcessorFunc(func(_ context.Context, b *consumer.Batch) error {
					n := int64(len(b.Records))
					switch {
					case b.Shard.ID >= fmt.Sprintf("shardId-%012d", stuck):
						well.Add(n)
					case !healed.Load():
						return errFake
					default:
						ill.Add(n)
					}
					return nil
				}), consumer.Config{MaxBufferedBytes: bound, MaxRecords: page, RetrievalMode: mode})
				for i := range stuck {
					put(i, each, large)
				}
				time.Sleep(time.Minute)
				for i := stuck; i < shards; i++ {
					put(i, others, 10<<10)
				}
				var most int64
				for range 60 {
					time.Sleep(time.Second)
					most = max(most, c.Stats().BufferedBytes)
				}
				if n := well.Load(); n != (shards-stuck)*others {
					t.Errorf("%d of %d records of shards that are well were handled", n, (shards-stuck)*others)
				}
				// What comes is never cut, be it a read or an event, of a mebibyte at most.
				if limit := map[consumer.RetrievalMode]int64{
					consumer.RetrievalPolling: bound + shards*page*(large+1000), consumer.RetrievalFanOut: bound + shards<<20,
				}[mode]; most > limit || most < bound/2 {
					t.Errorf("%d bytes buffered, limit %d", most, limit)
				}
				healed.Store(true)
				time.Sleep(5 * time.Minute)
				if n := ill.Load(); n != stuck*each {
					t.Errorf("%d of %d records of shards that were ill were handled", n, stuck*each)
				}
				stop()
				if n := c.Stats().BufferedBytes; n != 0 {
					t.Errorf("%d bytes left behind", n)
				}
			})
		})
	}
}
