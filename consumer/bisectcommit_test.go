package consumer_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// TestCommitOfAPart: a commit in the middle of a read that was cut after failures
// stores what has come to the processor, and not what is still to come.
func TestCommitOfAPart(t *testing.T) {
	for _, explicit := range []bool{true, false} {
		t.Run("explicit "+strconv.FormatBool(explicit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream, mem := newFakeStream(1, 1), memlease.New()
				for range 4 {
					stream.put("k", []byte("x"))
				}
				commits := 0
				w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, func(s *consumer.Shard) (consumer.Processor, error) {
					return consumer.ProcessorFunc(func(ctx context.Context, b *consumer.Batch) error {
						if len(b.Records) > 1 {
							return errors.New("too many")
						}
						if err := s.Commit(ctx); err != nil {
							return err
						}
						commits++
						if at := leases(t, mem)[s.ID].Checkpoint; at != b.Records[0].Checkpoint() {
							t.Errorf("%v is stored when %v was delivered last", at, b.Records[0].Checkpoint())
						}
						return nil
					}), nil
				}, consumer.Config{ExplicitCheckpoints: explicit, BisectAfter: 1})
				time.Sleep(2 * time.Minute)
				w.wait(t)
				if commits != 4 {
					t.Errorf("%d commits, want 4", commits)
				}
			})
		})
	}
}
