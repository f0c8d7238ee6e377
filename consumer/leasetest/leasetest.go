// Package leasetest checks that a [consumer.LeaseStore] keeps its contract.
// Every implementation should pass it.
package leasetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// Run runs the suite. newStore must return an empty store; it is called once
// for each subtest.
func Run(t *testing.T, newStore func(t *testing.T) consumer.LeaseStore) {
	t.Helper()
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, s consumer.LeaseStore)
	}{
		{"prepare twice", testPrepare},
		{"create and read back", testCreate},
		{"take", testTake},
		{"renew", testRenew},
		{"checkpoint", testCheckpoint},
		{"pending checkpoint", testPending},
		{"throughput", testThroughput},
		{"end", testEnd},
		{"release", testRelease},
		{"conflicts", testConflicts},
		{"delete", testDelete},
		{"several streams", testStreams},
		{"list many", testListMany},
		{"one of many takes", testRace},
		{"ended context", testContext},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			if err := s.Prepare(t.Context()); err != nil {
				t.Fatalf("Prepare: %v", err)
			}
			tt.run(t, s)
		})
	}
}

const shard = "shardId-000000000002"

func full() consumer.Lease {
	return consumer.Lease{
		Key: shard, Counter: 0, Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon},
		Parents:         []string{"shardId-000000000000", "shardId-000000000001"},
		StartingHashKey: "0", EndingHashKey: "340282366920938463463374607431768211455",
	}
}

func create(t *testing.T, s consumer.LeaseStore, l consumer.Lease) consumer.Lease {
	t.Helper()
	if ok, err := s.Create(t.Context(), l); err != nil || !ok {
		t.Fatalf("Create(%s) = %v, %v; want true", l.Key, ok, err)
	}
	return l
}

func take(t *testing.T, s consumer.LeaseStore, l consumer.Lease, owner string) consumer.Lease {
	t.Helper()
	l, err := s.Take(t.Context(), l, owner, "inc-"+owner)
	if err != nil {
		t.Fatalf("Take for %s: %v", owner, err)
	}
	return l
}

func write(t *testing.T, s consumer.LeaseStore, l consumer.Lease, w consumer.Write) consumer.Lease {
	t.Helper()
	got, err := s.Update(t.Context(), l, w)
	if err != nil {
		t.Fatalf("Update with %+v: %v", w, err)
	}
	return got
}

// same fails the test unless got, and what is stored under its key, is want.
func same(t *testing.T, s consumer.LeaseStore, got, want consumer.Lease) {
	t.Helper()
	stored, ok, err := s.Get(t.Context(), want.Key)
	if err != nil || !ok {
		t.Fatalf("Get(%s) = %v, %v", want.Key, ok, err)
	}
	for name, l := range map[string]consumer.Lease{"returned": got, "stored": stored} {
		if !equal(l, want) {
			t.Errorf("%s lease\n%+v, want\n%+v", name, l, want)
		}
	}
}

func equal(a, b consumer.Lease) bool {
	if !a.LatestSince.Equal(b.LatestSince) {
		return false
	}
	a.LatestSince, b.LatestSince = time.Time{}, time.Time{}
	for _, l := range []*consumer.Lease{&a, &b} {
		l.Parents = slices.Sorted(slices.Values(l.Parents))
		l.Children = slices.Sorted(slices.Values(l.Children))
	}
	return reflect.DeepEqual(a, b)
}

func testPrepare(t *testing.T, s consumer.LeaseStore) {
	create(t, s, full())
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatalf("second Prepare: %v", err)
	}
	if _, ok, err := s.Get(t.Context(), shard); err != nil || !ok {
		t.Errorf("after a second Prepare: Get = %v, %v", ok, err)
	}
}

func testCreate(t *testing.T, s consumer.LeaseStore) {
	if _, ok, err := s.Get(t.Context(), shard); ok || err != nil {
		t.Errorf("Get of a missing lease = %v, %v", ok, err)
	}
	l := create(t, s, full())
	same(t, s, l, l)
	other := full()
	other.Counter = 7
	if ok, err := s.Create(t.Context(), other); ok || err != nil {
		t.Errorf("second Create = %v, %v; want false", ok, err)
	}
	same(t, s, l, l)

	// All that is optional, present and absent.
	everything := consumer.Lease{
		Key: "all", Owner: "w", Counter: 1 << 40, Checkpoint: consumer.Checkpoint{SequenceNumber: "49590338271490256608559692538361571095921575989136588898", SubSequenceNumber: 12},
		OwnerSwitches: 3, Parents: []string{"p"}, Children: []string{"c", "d"}, StartingHashKey: "1", EndingHashKey: "2",
		CheckpointOwner: "v", Incarnation: "i", LatestSince: time.UnixMilli(1_700_000_000_123),
		Marks: []byte{0, 1, 0xff}, ThroughputKBps: 0.00001, Busy: 0.25,
		Pending: &consumer.PendingCheckpoint{Checkpoint: consumer.Checkpoint{SequenceNumber: "7", SubSequenceNumber: 1}, State: []byte{0xff, 0}},
	}
	create(t, s, everything)
	same(t, s, everything, everything)
	nothing := consumer.Lease{Key: "none", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.Latest}}
	create(t, s, nothing)
	same(t, s, nothing, nothing)
}

func testTake(t *testing.T, s consumer.LeaseStore) {
	l := create(t, s, full())
	got := take(t, s, l, "a")
	l.Owner, l.Incarnation, l.Counter = "a", "inc-a", 1
	same(t, s, got, l)
	// The same name again is no change of owner.
	got = take(t, s, got, "a")
	l.Counter = 2
	same(t, s, got, l)
	got = take(t, s, got, "b")
	l.Owner, l.Incarnation, l.Counter, l.OwnerSwitches = "b", "inc-b", 3, 1
	same(t, s, got, l)

	handed := full()
	handed.Key, handed.Owner, handed.CheckpointOwner = "handed", "b", "a"
	got = take(t, s, create(t, s, handed), "c")
	if got.CheckpointOwner != "" || got.Owner != "c" {
		t.Errorf("after Take: owner %q, checkpoint owner %q", got.Owner, got.CheckpointOwner)
	}
}

func testRenew(t *testing.T, s consumer.LeaseStore) {
	l := take(t, s, create(t, s, full()), "a")
	got := write(t, s, l, consumer.Write{})
	l.Counter++
	same(t, s, got, l)
}

func testCheckpoint(t *testing.T, s consumer.LeaseStore) {
	l := take(t, s, take(t, s, create(t, s, full()), "a"), "b")
	w := consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "123", SubSequenceNumber: 4}, LatestSince: time.UnixMilli(99), Marks: []byte("marks")}
	got := write(t, s, l, w)
	l.Counter, l.Checkpoint, l.OwnerSwitches, l.LatestSince, l.Marks = 3, w.Checkpoint, 0, w.LatestSince, w.Marks
	same(t, s, got, l)
	// A checkpoint without marks leaves those that are there.
	w.Checkpoint.SequenceNumber, w.Marks = "124", nil
	got = write(t, s, got, w)
	l.Counter, l.Checkpoint = 4, w.Checkpoint
	same(t, s, got, l)
	if !equal(w.Apply(take(t, s, create(t, s, consumer.Lease{Key: "x", Checkpoint: w.Checkpoint}), "b")),
		write(t, s, consumer.Lease{Key: "x", Owner: "b", Counter: 1}, w)) {
		t.Error("Update and Write.Apply differ")
	}
}

func testPending(t *testing.T, s consumer.LeaseStore) {
	l := take(t, s, create(t, s, full()), "a")
	for i, p := range []*consumer.PendingCheckpoint{
		{Checkpoint: consumer.Checkpoint{SequenceNumber: "12", SubSequenceNumber: 3}, State: []byte("state")},
		{Checkpoint: consumer.Checkpoint{SequenceNumber: "13"}}, // the state of the one before goes
	} {
		got := write(t, s, l, consumer.Write{Pending: p})
		l.Counter, l.Pending = int64(i+2), p
		same(t, s, got, l)
		l = got
	}
	got := write(t, s, l, consumer.Write{})
	l.Counter++
	same(t, s, got, l)
	w := consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "13"}}
	got = write(t, s, got, w)
	l.Counter, l.Checkpoint, l.Pending = l.Counter+1, w.Checkpoint, nil
	same(t, s, got, l)
}

func testThroughput(t *testing.T, s consumer.LeaseStore) {
	l := take(t, s, create(t, s, full()), "a")
	for _, rate := range []float64{2.033253, 0.00001, 123456.5, 0} {
		busy := rate / 1000
		got := write(t, s, l, consumer.Write{ThroughputKBps: &rate, Busy: &busy})
		l.Counter, l.ThroughputKBps, l.Busy = l.Counter+1, rate, busy
		same(t, s, got, l)
		if l = write(t, s, got, consumer.Write{}); l.ThroughputKBps != rate || l.Busy != busy {
			t.Errorf("a renewal has changed the load to %v and %v", l.ThroughputKBps, l.Busy)
		}
	}
}

func testEnd(t *testing.T, s consumer.LeaseStore) {
	l := take(t, s, create(t, s, full()), "a")
	w := consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}, Children: []string{"d", "c"}, Release: true}
	got := write(t, s, l, w)
	l.Counter, l.Checkpoint, l.Children, l.Owner = 2, w.Checkpoint, w.Children, ""
	same(t, s, got, l)
}

func testRelease(t *testing.T, s consumer.LeaseStore) {
	l := take(t, s, create(t, s, full()), "a")
	got := write(t, s, l, consumer.Write{Release: true})
	l.Counter, l.Owner = 2, ""
	same(t, s, got, l)
	got = take(t, s, got, "b")
	if got.OwnerSwitches != 0 {
		t.Errorf("taking a lease without owner counts as a switch")
	}
}

func testConflicts(t *testing.T, s consumer.LeaseStore) {
	old := take(t, s, create(t, s, full()), "a")
	now := take(t, s, old, "b")
	stale := now
	stale.Owner = "a" // right counter, wrong owner
	handed := now
	handed.CheckpointOwner = "a" // as if it was being handed over
	for name, f := range map[string]func() error{
		"take":        func() error { _, err := s.Take(t.Context(), old, "c", "i"); return err },
		"renew":       func() error { _, err := s.Update(t.Context(), old, consumer.Write{}); return err },
		"wrong owner": func() error { _, err := s.Update(t.Context(), stale, consumer.Write{}); return err },
		"handed over": func() error { _, err := s.Update(t.Context(), handed, consumer.Write{}); return err },
		"checkpoint": func() error {
			_, err := s.Update(t.Context(), old, consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "9"}})
			return err
		},
		"release": func() error { _, err := s.Update(t.Context(), old, consumer.Write{Release: true}); return err },
		"delete":  func() error { return s.Delete(t.Context(), old) },
	} {
		conflict, ok := errors.AsType[*consumer.ConflictError](f())
		if !ok || conflict.Current == nil || !equal(*conflict.Current, now) {
			t.Errorf("%s with an old lease: %v, want a ConflictError with the stored lease", name, conflict)
		}
		same(t, s, now, now)
	}
	missing := consumer.Lease{Key: "missing", Owner: "a"}
	_, takeErr := s.Take(t.Context(), missing, "a", "i")
	_, updateErr := s.Update(t.Context(), missing, consumer.Write{})
	for name, err := range map[string]error{"take": takeErr, "update": updateErr} {
		if conflict, ok := errors.AsType[*consumer.ConflictError](err); !ok || conflict.Current != nil {
			t.Errorf("%s of a missing lease: %v, want a ConflictError without lease", name, err)
		}
	}
	if _, ok, err := s.Get(t.Context(), "missing"); ok || err != nil {
		t.Errorf("a refused write has made a lease: %v, %v", ok, err)
	}
}

func testDelete(t *testing.T, s consumer.LeaseStore) {
	l := create(t, s, full())
	for range 2 {
		if err := s.Delete(t.Context(), l); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		if _, ok, err := s.Get(t.Context(), shard); ok || err != nil {
			t.Fatalf("after Delete: Get = %v, %v", ok, err)
		}
	}
}

// testStreams: the keys of leases of several streams have another form, as have those
// of parents and children; the same shard of two streams is two.
func testStreams(t *testing.T, s consumer.LeaseStore) {
	key := func(stream, shard string) string {
		return consumer.LeaseKey("123456789012:"+stream+":1700000000", shard)
	}
	var want []consumer.Lease
	for _, stream := range []string{"orders", "payments"} {
		l := full()
		l.Key = key(stream, shard)
		for i := range l.Parents {
			l.Parents[i] = key(stream, l.Parents[i])
		}
		l = take(t, s, create(t, s, l), "a")
		same(t, s, l, l)
		if !slices.Contains(l.Parents, key(stream, "shardId-000000000001")) {
			t.Errorf("after Take the parents are %q", l.Parents)
		}
		w := consumer.Write{
			Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}, Release: true,
			Children: []string{key(stream, "shardId-000000000003"), key(stream, "shardId-000000000004")},
		}
		got := write(t, s, l, w)
		same(t, s, got, w.Apply(l))
		_, err := s.Update(t.Context(), l, consumer.Write{})
		if conflict, ok := errors.AsType[*consumer.ConflictError](err); !ok || conflict.Current == nil || !equal(*conflict.Current, got) {
			t.Errorf("a renewal with an old lease: %v, want a ConflictError with the stored lease", err)
		}
		want = append(want, got)
	}
	all, err := s.List(t.Context())
	if err != nil || len(all) != len(want) {
		t.Fatalf("List = %d leases, %v", len(all), err)
	}
	for _, l := range want {
		if !slices.ContainsFunc(all, func(o consumer.Lease) bool { return equal(l, o) }) {
			t.Errorf("%+v is not listed", l)
		}
	}
}

func testListMany(t *testing.T, s consumer.LeaseStore) {
	want := map[string]bool{}
	for i := range 300 {
		l := full()
		l.Key = fmt.Sprintf("shardId-%012d", i)
		create(t, s, l)
		want[l.Key] = true
	}
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if !want[l.Key] {
			t.Errorf("List gave %q, which is not there or was given before", l.Key)
		}
		delete(want, l.Key)
	}
	if len(want) > 0 {
		t.Errorf("List left out %d leases", len(want))
	}
}

func testRace(t *testing.T, s consumer.LeaseStore) {
	l := create(t, s, full())
	var wg sync.WaitGroup
	var mu sync.Mutex // guards winners
	winners := 0
	for i := range 8 {
		wg.Go(func() {
			if _, err := s.Take(t.Context(), l, fmt.Sprint("w", i), "i"); err == nil {
				mu.Lock()
				winners++
				mu.Unlock()
			} else if _, ok := errors.AsType[*consumer.ConflictError](err); !ok {
				t.Errorf("Take: %v", err)
			}
		})
	}
	wg.Wait()
	if winners != 1 {
		t.Errorf("%d of 8 concurrent takes succeeded, want 1", winners)
	}
}

func testContext(t *testing.T, s consumer.LeaseStore) {
	l := create(t, s, full())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.List(ctx); err == nil {
		t.Error("List under an ended context gave no error")
	}
	if _, err := s.Take(ctx, l, "a", "i"); err == nil {
		t.Error("Take under an ended context gave no error")
	}
	same(t, s, l, l)
}
