package main

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestRunningWorkersHeedChanges gives, drains and resets leases of workers that run.
func TestRunningWorkersHeedChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		// Of five leases one worker has three: to give one away leaves a
		// balance, so nobody steals.
		srv.CreateStream(t, "orders", 5)
		store, err := dynamolease.New(srv.DynamoDB(), "billing", dynamolease.Config{})
		if err != nil {
			t.Fatal(err)
		}
		table := &leaseTable{store, "billing"}
		seen := make(chan string, 10)
		start := func(name string) (stop func()) {
			c, err := consumer.New(srv.Kinesis(), store, "billing", "orders", func(*consumer.Shard) (consumer.Processor, error) {
				return consumer.ProcessorFunc(func(_ context.Context, b *consumer.Batch) error {
					for _, r := range b.Records {
						seen <- name + " " + string(r.Data)
					}
					return nil
				}), nil
			}, consumer.Config{WorkerID: name, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				if err := c.Run(ctx); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}()
			return func() { cancel(); <-done }
		}
		owners := func() map[string]int {
			all, err := table.list(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n := map[string]int{}
			for _, l := range all {
				n[l.Owner]++
			}
			return n
		}
		stopA := start("a")
		time.Sleep(time.Minute)
		stopB := start("b")
		time.Sleep(time.Minute)
		from, to := "a", "b"
		if owners()["b"] == 3 {
			from, to = to, from
		}
		if got := owners(); !maps.Equal(got, map[string]int{from: 3, to: 2}) {
			t.Errorf("owners %v", got)
		}

		all, err := table.list(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var moved string
		for _, l := range all {
			if l.Owner == from {
				moved = l.Key
				peers, err := table.peers(t.Context(), all)
				if err != nil {
					t.Fatal(err)
				}
				if err := table.give(t.Context(), l, to, peers[to]); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		time.Sleep(3 * time.Second) // one look
		l, err := table.lease(t.Context(), moved)
		if err != nil || l.Owner != to {
			t.Fatalf("%+v, %v", l, err)
		}
		if _, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String("k"), ExplicitHashKey: aws.String(l.StartingHashKey), Data: []byte("x"),
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if len(seen) != 1 || <-seen != to+" x" {
			t.Error("the record was not read by the new owner alone")
		}
		stopA()
		stopB()

		// Set back by a time: the record comes again.
		r, err := parseReset("5m", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		resets, err := table.allToReset(t.Context(), r)
		if err != nil || len(resets) != 5 {
			t.Fatalf("%d to reset, %v", len(resets), err)
		}
		for _, l := range resets {
			if _, err := table.Update(t.Context(), l, r.write); err != nil {
				t.Fatal(err)
			}
		}
		stopC := start("c")
		time.Sleep(10 * time.Second)
		if len(seen) != 1 || <-seen != "c x" {
			t.Error("the record was not read again")
		}
		stopC()
	})
}

func TestDrainPlan(t *testing.T) {
	lease := func(key, owner, inc string) consumer.Lease {
		return consumer.Lease{Key: key, Owner: owner, Incarnation: inc, Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}}
	}
	ended := lease("6", "a", "ia")
	ended.Checkpoint.SequenceNumber = consumer.ShardEnd
	onItsWay := func(key, from, to string) consumer.Lease {
		l := lease(key, to, "i"+from)
		l.CheckpointOwner = from
		return l
	}
	all := []consumer.Lease{
		onItsWay("9", "a", "b"), onItsWay("A", "a", "java"), onItsWay("B", "c", "a"), onItsWay("C", "c", "b"),
		lease("0", "a", "ia"), lease("1", "a", "ia"), lease("2", "b", "ib"), lease("3", "b", "ib"),
		lease("4", "c", "ic"), lease("5", "java", ""), ended, lease("7", "a", "ia"), lease("8", "", "ia"),
	}
	got := map[string]string{}
	peers := map[string]peer{
		"a": {incarnation: "ia", told: true, fresh: true}, "b": {incarnation: "ib"}, "c": {incarnation: "ic", told: true, fresh: true},
		"java": {}, "gone": {incarnation: "ig", told: true},
	}
	for _, m := range drainPlan(all, peers, "a") {
		got[m.lease.Key] = m.to
	}
	want := map[string]string{"9": "b", "A": "c", "B": "c", "0": "c", "1": "b", "6": "", "7": "c"}
	if !maps.Equal(got, want) {
		t.Errorf("moves %v, want %v", got, want)
	}
	if moves := drainPlan(all, peers, "nobody"); len(moves) != 0 {
		t.Errorf("moves of nobody: %v", moves)
	}
}

// TestHandOver asks a worker with a row of its own to let a lease go. The test is
// that worker.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		store, err := dynamolease.New(srv.DynamoDB(), "billing", dynamolease.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		table := &leaseTable{store, "billing"}
		l := consumer.Lease{Key: "s", Owner: "a", Counter: 7, Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}}
		if _, err := store.Create(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Coordination(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, updated := range map[string]time.Time{"a": time.Now(), "b": time.Now(), "old": time.Now().Add(-time.Hour)} {
			if err := store.PutWorker(t.Context(), consumer.WorkerRow{ID: name, Updated: updated, Properties: map[string]string{"g_inc": "i-" + name}}); err != nil {
				t.Fatal(err)
			}
		}
		peers, err := table.peers(t.Context(), []consumer.Lease{l})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]peer{
			"a": {incarnation: "i-a", told: true, fresh: true}, "b": {incarnation: "i-b", told: true, fresh: true}, "old": {incarnation: "i-old", told: true},
		}
		if !maps.Equal(peers, want) {
			t.Errorf("peers %+v, want %+v", peers, want)
		}

		// It does not answer.
		if err := table.handOver(t.Context(), l, "b", 5*time.Second); err == nil || !strings.Contains(err.Error(), `worker "a" has not let the lease of shard s go within 5s`) {
			t.Errorf("handOver: %v", err)
		}
		// It does, after a while; the hand-over has begun already.
		begun, err := table.lease(t.Context(), "s")
		if err != nil || begun.Owner != "b" || begun.CheckpointOwner != "a" {
			t.Fatalf("%+v, %v", begun, err)
		}
		go func() {
			time.Sleep(3 * time.Second)
			if _, err := store.Update(t.Context(), begun, consumer.Write{EndHandOver: true}); err != nil {
				t.Error(err)
			}
		}()
		if err := table.handOver(t.Context(), begun, "b", time.Minute); err != nil {
			t.Error(err)
		}
		// By force.
		now, err := table.lease(t.Context(), "s")
		if err != nil {
			t.Fatal(err)
		}
		if err := table.give(t.Context(), now, "a", peers["a"]); err != nil {
			t.Fatal(err)
		}
		if now, err = table.lease(t.Context(), "s"); err != nil || now.Owner != "a" || now.Incarnation != "i-a" {
			t.Errorf("%+v, %v", now, err)
		}
	})
}

// TestReleaseOfWhatIsHandedOver: the row would have no owner, and an old one that nobody
// waits for.
func TestReleaseOfWhatIsHandedOver(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	srv := streamdtest.New(t, streamdtest.Listen())
	store, err := dynamolease.New(srv.DynamoDB(), "billing", dynamolease.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := consumer.Lease{Key: "s", Owner: "b", CheckpointOwner: "a", Counter: 7, Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}}
	if _, err := store.Create(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"release", "billing", "s"}, {"drain", "billing", "a"}, {"drain", "billing", "b"}} {
		var out, errOut bytes.Buffer
		code := run(t.Context(), append(append([]string{"lease"}, args...), "--yes", "--endpoint", srv.Endpoint()), strings.NewReader(""), &out, &errOut)
		if code == 0 || !strings.Contains(errOut.String(), `on its way from worker "a" to "b"`) || !strings.Contains(errOut.String(), "streamctl lease transfer billing s WORKER --force") {
			t.Errorf("%v: code %d, %q", args, code, errOut.String())
		}
		if now, _, err := store.Get(t.Context(), "s"); err != nil || now.Counter != l.Counter || now.Owner != "b" || now.CheckpointOwner != "a" {
			t.Errorf("%v: the lease is changed: %+v, %v", args, now, err)
		}
	}
}
