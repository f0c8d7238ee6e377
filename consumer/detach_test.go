package consumer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// TestDetachOfABatchWithoutRecords: there is nothing to acknowledge in it, so what
// comes behind it is stored, and its shard can end.
func TestDetachOfABatchWithoutRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			b.Detach()
			for i := range b.Records {
				b.Ack(i)
			}
			return nil
		}, consumer.Config{CallProcessRecordsEvenForEmptyRecordList: true})
		time.Sleep(3 * time.Second)
		_, seq := stream.put("k", []byte("x"))
		time.Sleep(10 * time.Second)
		if at := leases(t, mem)["shardId-000000000000"].Checkpoint.SequenceNumber; at != seq {
			t.Errorf("the checkpoint is %s, want %s", at, seq)
		}
		stream.split(0)
		time.Sleep(10 * time.Second)
		if at := leases(t, mem)["shardId-000000000000"].Checkpoint.SequenceNumber; at != consumer.ShardEnd {
			t.Errorf("the checkpoint is %s after the end of the shard", at)
		}
		w.wait(t)
	})
}
