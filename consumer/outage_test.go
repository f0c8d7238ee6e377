package consumer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// unreadyStore fails to get ready, for a while or for good.
type unreadyStore struct {
	consumer.LeaseStore
	until time.Time
	err   error
}

func (s *unreadyStore) Prepare(ctx context.Context) error {
	if time.Now().Before(s.until) {
		return s.err
	}
	return s.LeaseStore.Prepare(ctx)
}

// TestStoreOutageAtStart: a store that does not answer when a worker starts is
// waited for; one that refuses it is an error at once.
func TestStoreOutageAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(2, 1)
		stream.put("a", []byte("x"))
		fault := &smithy.GenericAPIError{Code: "InternalServerError", Fault: smithy.FaultServer}
		store := &unreadyStore{LeaseStore: memlease.New(), until: time.Now().Add(10 * time.Minute), err: fault}
		got := make(chan struct{}, 1)
		c, err := consumer.New(stream, store, "app", "orders", func(*consumer.Shard) (consumer.Processor, error) {
			return consumer.ProcessorFunc(func(context.Context, *consumer.Batch) error { got <- struct{}{}; return nil }), nil
		}, consumer.Config{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		select {
		case <-got:
		case err := <-done:
			t.Fatalf("Run: %v", err)
		case <-time.After(11 * time.Minute):
			t.Fatal("nothing read a minute after the outage")
		}
		if n := c.Stats().PrepareErrors; n < 10 {
			t.Errorf("%d failed tries counted in ten minutes", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}

		denied := &smithy.GenericAPIError{Code: "AccessDeniedException", Fault: smithy.FaultClient}
		store = &unreadyStore{LeaseStore: memlease.New(), until: time.Now().Add(time.Hour), err: denied}
		if c, err = consumer.New(stream, store, "app", "orders", nothing, consumer.Config{Logger: quiet()}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := c.Run(t.Context()); !errors.Is(err, denied) || time.Since(began) > time.Second {
			t.Errorf("Run: %v after %v", err, time.Since(began))
		}
	})
}

func nothing(*consumer.Shard) (consumer.Processor, error) {
	return consumer.ProcessorFunc(func(context.Context, *consumer.Batch) error { return nil }), nil
}

// TestForeignAndBrokenRows: rows of the table that are no leases, or leases that
// cannot be understood, keep no worker from reading the other shards; nobody
// touches them; and a lease that was repaired is taken.
func TestForeignAndBrokenRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 2)
		db := srv.DynamoDB()
		store, err := dynamolease.New(db, "app", dynamolease.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
		n := func(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }
		type row = map[string]types.AttributeValue
		put := func(r row) {
			t.Helper()
			if _, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("app"), Item: r}); err != nil {
				t.Fatal(err)
			}
		}
		get := func(key string) row {
			t.Helper()
			out, err := db.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("app"), Key: row{"leaseKey": s(key)}, ConsistentRead: aws.Bool(true)})
			if err != nil {
				t.Fatal(err)
			}
			return out.Item
		}
		broken := row{
			"leaseKey": s("shardId-000000000001"), "leaseCounter": s("many"), "checkpoint": s("TRIM_HORIZON"), "checkpointSubSequenceNumber": n("0"),
			"startingHashKey": s("170141183460469231731687303715884105728"), "endingHashKey": s("340282366920938463463374607431768211455"),
		}
		put(broken)
		put(row{"leaseKey": s("Leader"), "entityType": s("LEADER"), "ownerName": s("java"), "leaseDuration": s("120000")})
		put(row{"leaseKey": s("worker-7"), "entityType": s("WORKER_METRIC_STATS"), "lut": n("1")})
		put(row{"leaseKey": s("note"), "text": s("left by somebody")})

		c, err := consumer.New(srv.Kinesis(), store, "app", "orders", nothing, consumer.Config{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		held := func() (ids []string) {
			for _, sh := range c.Stats().Shards {
				ids = append(ids, sh.ShardID)
			}
			return ids
		}
		time.Sleep(2 * time.Minute) // of the bubble: time for looks, audits and the cleaning
		if ids := held(); len(ids) != 1 || ids[0] != "shardId-000000000000" {
			t.Errorf("reads %v, want the shard whose lease is sound", ids)
		}
		if n := c.Stats().InvalidLeases; n != 1 {
			t.Errorf("%d invalid leases counted, want 1", n)
		}
		if got := get("shardId-000000000001"); len(got) != len(broken) {
			t.Errorf("the broken row was changed to %v", got)
		}
		broken["leaseCounter"] = n("7")
		put(broken)
		time.Sleep(time.Minute)
		if ids := held(); len(ids) != 2 || c.Stats().InvalidLeases != 0 {
			t.Errorf("a minute after the repair it reads %v, %d invalid", ids, c.Stats().InvalidLeases)
		}
		for _, key := range []string{"Leader", "worker-7", "note"} {
			if get(key) == nil {
				t.Errorf("row %s is gone", key)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// twiceStore sends the first request to take a lease twice, as an SDK does that
// has lost the answer, and notes the counters that were expected.
type twiceStore struct {
	consumer.LeaseStore
	expected []int64
}

func (s *twiceStore) Take(ctx context.Context, l consumer.Lease, owner, incarnation string) (consumer.Lease, error) {
	s.expected = append(s.expected, l.Counter)
	if len(s.expected) == 1 {
		if _, err := s.LeaseStore.Take(ctx, l, owner, incarnation); err != nil {
			return consumer.Lease{}, err
		}
	}
	return s.LeaseStore.Take(ctx, l, owner, incarnation)
}

// TestTakeWithALostAnswer: a lease that shows an earlier try of ours is taken once
// more. How long ago that try was made, and so how long others have seen what it
// left, nobody knows.
func TestTakeWithALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &twiceStore{LeaseStore: memlease.New()}
		c, err := consumer.New(newFakeStream(1, 1), store, "app", "orders", nothing, consumer.Config{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(time.Second)
		if held := c.Stats().Shards; len(held) != 1 {
			t.Errorf("holds %v", held)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if len(store.expected) != 2 || store.expected[0] != 0 || store.expected[1] != 1 {
			t.Errorf("takes expected the counters %v, want 0 and 1", store.expected)
		}
	})
}
