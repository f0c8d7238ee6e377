package consumer_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestKCL3AgainstServer has two workers share a table of the server by the
// rules of version 3, the second one by itself.
func TestKCL3AgainstServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 4)
		api := srv.Kinesis()
		var got collector
		start := func(id string, mode consumer.Mode) (*consumer.Consumer, *dynamolease.Store, func()) {
			store, err := dynamolease.New(srv.DynamoDB(), "orders-app", dynamolease.Config{})
			if err != nil {
				t.Fatal(err)
			}
			c, err := consumer.New(api, store, "orders-app", "orders", func(*consumer.Shard) (consumer.Processor, error) {
				return consumer.ProcessorFunc(got.process), nil
			}, consumer.Config{WorkerID: id, Mode: mode, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			return c, store, run(t, c)
		}
		n := 0
		put := func(count int) {
			t.Helper()
			for range count {
				if _, err := api.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String(fmt.Sprint("key-", n%10)), Data: fmt.Appendf(nil, "%05d", n)}); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		a, store, stopA := start("a", consumer.ModeKCL3)
		time.Sleep(time.Second)
		put(50)
		b, _, stopB := start("b", consumer.ModeAuto)
		for range 20 {
			put(5)
			time.Sleep(10 * time.Second)
		}
		if st, err := store.Coordination(t.Context()); err != nil || !st.IndexActive || st.LegacyTables {
			t.Errorf("Coordination = %+v, %v", st, err)
		}
		if sa, sb := len(a.Stats().Shards), len(b.Stats().Shards); sa < 1 || sb < 1 || sa+sb != 4 || got.count() != n {
			t.Errorf("a reads %d shards, b %d; %d of %d records", sa, sb, got.count(), n)
		}
		if !a.Stats().Leader || b.Stats().Leader {
			t.Error("not a alone leads")
		}
		stopA()
		put(50)
		time.Sleep(15 * time.Second)
		if sb := b.Stats(); len(sb.Shards) != 4 || !sb.Leader || got.count() != n {
			t.Errorf("after the stop of a, b reads %d shards, leads: %v; %d of %d records", len(sb.Shards), sb.Leader, got.count(), n)
		}
		stopB()
		leases, rows, err := store.ListAll(t.Context())
		if err != nil || len(rows) != 0 || len(leases) != 4 {
			t.Errorf("what is left: %d leases, rows %+v, %v", len(leases), rows, err)
		}
		for _, l := range leases {
			if l.Owner != "" || l.CheckpointOwner != "" || l.ThroughputKBps < 0 {
				t.Errorf("what is left: %+v", l)
			}
		}
		for key, seen := range got.seen {
			for i := 1; i < len(seen); i++ {
				if seen[i-1] >= seen[i] {
					t.Fatalf("key %s: %s came before %s", key, seen[i-1], seen[i])
				}
			}
		}
	})
}
