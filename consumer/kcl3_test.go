package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// TestKCL3Row: the row of a worker is there before its leases, is written at
// most every 30 s, says what the worker knows, and goes with the worker.
func TestKCL3Row(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memlease.New()
		start := time.Now()
		_, view, stop := startKCL3(t, newFakeStream(1, 1), mem, consumer.ProcessorFunc(ignore), consumer.Config{WorkerID: "w"})
		time.Sleep(10 * time.Minute)
		row, ok, err := mem.GetWorker(t.Context(), "w")
		if err != nil || !ok || row.SupportCode != 1 || time.Since(row.Updated) > 30*time.Second || !row.SupportUpdated.Equal(row.Updated) || row.Properties["g_inc"] == "" || row.Stats != nil {
			t.Errorf("row %+v, %v, %v", row, ok, err)
		}
		before := start
		for _, at := range view.rows {
			if at.Sub(before) > 30*time.Second {
				t.Errorf("row written %v after the one before", at.Sub(before))
			}
			before = at
		}
		if n := len(view.rows); n > 10*60/20+2 {
			t.Errorf("row written %d times in 10 minutes", n)
		}
		stop()
		if _, ok, err := mem.GetWorker(t.Context(), "w"); ok || err != nil {
			t.Errorf("after the stop the row is there: %v, %v", ok, err)
		}
		if l, ok, err := mem.GetLeader(t.Context()); ok || err != nil {
			t.Errorf("after the stop the lock is there: %+v, %v", l, err)
		}
	})
}

// TestKCL3Fleet: workers read everything; leases move to a newcomer without a
// record twice, and away from a worker that stops or dies.
func TestKCL3Fleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(8, 1)
		h := newHistory(stream)
		mem := memlease.New()
		h.store = mem
		n := 0
		feed := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				h.produce(n, 50)
				n++
			}
		}
		start := time.Now()
		a, viewA, stopA := startKCL3(t, stream, mem, consumer.ProcessorFunc(h.process), consumer.Config{WorkerID: "a"})
		time.Sleep(100 * time.Millisecond)
		if got := owners(t, mem); got["a"] != 8 {
			t.Errorf("%v after the start the leases are divided %v", time.Since(start), got)
		}
		feed(time.Minute)
		if !a.Stats().Leader {
			t.Error("the only worker does not lead")
		}
		b, _, stopB := startKCL3(t, stream, mem, consumer.ProcessorFunc(h.process), consumer.Config{WorkerID: "b"})
		feed(6 * time.Minute)
		if got := owners(t, mem); got["a"] < 3 || got["b"] < 3 {
			t.Errorf("six minutes later the leases are divided %v", got)
		}
		moved := a.Stats().HandOvers
		if s := b.Stats(); moved < 3 || s.LeasesAssigned < moved || len(s.Shards) < 3 {
			t.Errorf("%d leases handed over, to b %d assigned, %d held", moved, s.LeasesAssigned, len(s.Shards))
		}
		feed(5 * time.Minute)
		if again := a.Stats().HandOvers + b.Stats().HandOvers; again > moved+2 {
			t.Errorf("balanced leases go on moving: %d hand-overs, then %d", moved, again)
		}
		if h.duplicates() != 0 {
			t.Errorf("%d records twice by hand-overs", h.duplicates())
		}
		// The leader's stop: no record twice, and b leads at its next look.
		stopA()
		feed(15 * time.Second)
		time.Sleep(2 * time.Second)
		if got := owners(t, mem); got["b"] != 8 || !b.Stats().Leader {
			t.Errorf("after the stop of a the leases are divided %v; b leads: %v", got, b.Stats().Leader)
		}
		if h.missing() != 0 || h.duplicates() != 0 {
			t.Errorf("%d records missing, %d twice", h.missing(), h.duplicates())
		}
		for key, l := range leases(t, mem) {
			if l.ThroughputKBps <= 0 || l.ThroughputKBps > 1 {
				t.Errorf("lease %s tells of %v KiB/s", key, l.ThroughputKBps)
			}
		}
		viewA.mu.Lock()
		if viewA.takes > 0 {
			t.Errorf("%d leases taken without having been assigned", viewA.takes)
		}
		viewA.mu.Unlock()

		// A worker that is cut off loses its leases, and its lock.
		c, viewC, stopC := startKCL3(t, stream, mem, consumer.ProcessorFunc(h.process), consumer.Config{WorkerID: "c"})
		feed(5 * time.Minute)
		if got := owners(t, mem); got["c"] < 2 {
			t.Errorf("the leases are divided %v", got)
		}
		viewC.cut.Store(true)
		feed(2 * time.Minute)
		if got := owners(t, mem); got["b"] != 8 || len(c.Stats().Shards) != 0 {
			t.Errorf("after a cut the leases are divided %v, and c reads %d shards", got, len(c.Stats().Shards))
		}
		viewC.cut.Store(false)
		feed(time.Minute)
		stopB()
		feed(time.Minute)
		time.Sleep(2 * time.Second)
		stopC()
		if h.missing() != 0 {
			t.Errorf("%d records missing", h.missing())
		}
		for _, p := range h.problems {
			t.Error(p)
		}
	})
}

// TestKCL3LeavesOthersAlone: what a living worker of the official library has
// is never taken, nor what is being handed over among others; what the index says is
// looked up.
func TestKCL3LeavesOthersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		stream := newFakeStream(5, 1)
		mem := memlease.New()
		id := func(i int) string { return fmt.Sprintf("shardId-%012d", i) }
		rng := func(i int) (string, string) {
			return stream.shards[i].rng.Start.String(), stream.shards[i].rng.End.String()
		}
		for i, l := range []consumer.Lease{
			{Owner: "java"}, // alive
			{Owner: "w", CheckpointOwner: "java2"},
			{Owner: "java3", CheckpointOwner: "java2"},
			{Owner: "w"}, // assigned
			{Owner: "w", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}},
		} {
			l.Key = id(i)
			l.StartingHashKey, l.EndingHashKey = rng(i)
			if l.Checkpoint == (consumer.Checkpoint{}) {
				l.Checkpoint = consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}
			}
			if ok, err := mem.Create(ctx, l); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		// Another leads, and does nothing.
		lock := consumer.LeaderLock{Owner: "java", Version: "1", Duration: 2 * time.Minute}
		if ok, err := mem.AcquireLeader(ctx, nil, lock); err != nil || !ok {
			t.Fatal(ok, err)
		}
		_, stopJava := startOfficial(t, mem, "java")
		c, view, stop := startKCL3(t, stream, mem, consumer.ProcessorFunc(ignore), consumer.Config{WorkerID: "w"})
		view.set(func() { view.stale = []string{id(0), id(2), "none"} })
		held := func() string {
			var keys []string
			for _, s := range c.Stats().Shards {
				keys = append(keys, strings.TrimLeft(strings.TrimPrefix(s.ShardID, "shardId-"), "0"))
			}
			return strings.Join(keys, " ")
		}
		for range 60 {
			time.Sleep(time.Second)
			if got := held(); got != "3" {
				t.Fatalf("w reads the shards %q, want that of the lease that was assigned, 3", got)
			}
		}
		all := leases(t, mem)
		if l := all[id(0)]; l.Owner != "java" || l.OwnerSwitches != 0 || l.Counter < 15 {
			t.Errorf("the lease of a living worker: %+v", l)
		}
		for i := range 3 {
			if l := all[id(i)]; l.Incarnation != "" {
				t.Errorf("w has written to lease %d: %+v", i, l)
			}
		}
		// The hand-over to w ends: it begins at the checkpoint.
		l := all[id(1)]
		if _, err := mem.Update(ctx, l, consumer.Write{EndHandOver: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second)
		if got := held(); got != "1 3" {
			t.Errorf("after the end of a hand-over w reads %q", got)
		}
		view.set(func() {
			if view.takes != 0 {
				t.Errorf("%d leases taken", view.takes)
			}
		})
		stop()
		stopJava()
	})
}

// TestKCL3LeadsOfficialWorkers: a leader gives workers of the official library
// their share, takes nothing from them but by hand-overs, and cleans up.
func TestKCL3LeadsOfficialWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		stream := newFakeStream(6, 1)
		mem := memlease.New()
		now := time.Now()
		for _, row := range []consumer.WorkerRow{
			{ID: "long gone", Updated: now.Add(-25 * time.Hour)},
			{ID: "gone", Updated: now.Add(-61 * time.Second)},
			{ID: "failing", Updated: now.Add(time.Hour), Stats: map[string][]float64{"C": {5, -1}}, OperatingRange: map[string][]int64{"C": {100}}},
			{ID: "unlimited", Updated: now.Add(time.Hour), Stats: map[string][]float64{"C": {5}}},
		} {
			if err := mem.PutWorker(ctx, row); err != nil {
				t.Fatal(err)
			}
		}
		c, _, stop := startKCL3(t, stream, mem, consumer.ProcessorFunc(ignore), consumer.Config{WorkerID: "w"})
		time.Sleep(time.Minute)
		if got := owners(t, mem); got["w"] != 6 {
			t.Errorf("the leases are divided %v; workers without a good row must get none", got)
		}
		if _, ok, _ := mem.GetWorker(ctx, "long gone"); ok {
			t.Error("the row of a worker of long ago is there")
		}
		if _, ok, _ := mem.GetWorker(ctx, "gone"); !ok {
			t.Error("the row of a worker that was there a minute ago is gone")
		}
		java, stopJava := startOfficial(t, mem, "java")
		time.Sleep(8 * time.Minute)
		if got := owners(t, mem); got["java"] < 2 || got["java"] > 3 {
			t.Errorf("the leases are divided %v with an official worker", got)
		}
		// It stops renewing without a word: its leases come back after they have
		// expired.
		stopJava()
		time.Sleep(45 * time.Second)
		if got := owners(t, mem); got["java"] != 0 && len(java.passed) == 0 {
			// Its row is up to date for a minute, and it may be given leases.
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Minute)
		if got := owners(t, mem); got["w"] != 6 {
			t.Errorf("after the official worker has died the leases are divided %v", got)
		}
		// A lease that somebody has deleted is made anew.
		l := leases(t, mem)["shardId-000000000002"]
		if err := mem.Delete(ctx, l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if l, ok := leases(t, mem)["shardId-000000000002"]; !ok || l.Owner != "w" {
			t.Errorf("a lease that was deleted: %+v, %v", l, ok)
		}
		// A hand-over that nobody ends is ended by the leader.
		l = leases(t, mem)["shardId-000000000003"]
		l, err := mem.Assign(ctx, l, consumer.Assignment{Owner: "zombie"})
		if err == nil {
			_, err = mem.StartHandOver(ctx, l, "nobody")
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if l := leases(t, mem)["shardId-000000000003"]; l.Owner != "w" || l.CheckpointOwner != "" {
			t.Errorf("a hand-over that nobody has ended: %+v", l)
		}
		if s := c.Stats(); s.Assignments < 8 {
			t.Errorf("%d assignments counted", s.Assignments)
		}
		stop()
	})
}

// TestKCL3YieldsToMigration: while official workers are on the way to another
// way of sharing, one of them leads.
func TestKCL3YieldsToMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memlease.New()
		c, view, stop := startKCL3(t, newFakeStream(1, 1), mem, consumer.ProcessorFunc(ignore), consumer.Config{WorkerID: "w"})
		time.Sleep(time.Minute)
		leads := func(want bool, when string) {
			t.Helper()
			l, ok, err := mem.GetLeader(t.Context())
			if err != nil || c.Stats().Leader != want || ok != want {
				t.Errorf("%s: w leads: %v; the lock: %+v, %v", when, c.Stats().Leader, l, err)
			}
		}
		leads(true, "alone")
		view.set(func() { view.state.TableMigration = consumer.TableMigrationPending })
		time.Sleep(2 * time.Minute)
		leads(true, "in a migration without an official worker")
		java, stopJava := startOfficial(t, mem, "java")
		time.Sleep(2 * time.Minute)
		leads(false, "in a migration")
		view.set(func() { view.state.TableMigration = consumer.TableMigrationComplete })
		time.Sleep(2 * time.Minute)
		leads(true, "after the migration")
		view.set(func() { view.state.ClientVersion = consumer.ClientVersionUpgradeFrom2X })
		time.Sleep(2 * time.Minute)
		leads(false, "in an upgrade")
		view.set(func() {
			view.state.ClientVersion, view.state.TableMigration, view.state.LegacyTables = consumer.ClientVersion3X, "", true
		})
		time.Sleep(2 * time.Minute)
		leads(true, "with three tables, which an official worker of before 3.5 has")
		java.knows.Store(1)
		time.Sleep(2 * time.Minute)
		leads(false, "with three tables, and an official worker that would move to one")
		view.set(func() { view.state.ClientVersion, view.state.LegacyTables = consumer.ClientVersionUpgradeFrom2X, false })
		stopJava()
		time.Sleep(4 * time.Minute)
		leads(true, "in an upgrade whose official workers have gone")
		stop()
	})
}

// TestKCL3Reshard: children are read as soon as their parent has ended, by
// whoever read it, and wait for the other parent of a merge.
func TestKCL3Reshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(2, 1)
		h := newHistory(stream)
		mem := memlease.New()
		h.store = mem
		a, _, stopA := startKCL3(t, stream, mem, consumer.ProcessorFunc(h.process), consumer.Config{WorkerID: "a"})
		b, _, stopB := startKCL3(t, stream, mem, consumer.ProcessorFunc(h.process), consumer.Config{WorkerID: "b"})
		time.Sleep(2 * time.Minute)
		for i := range 50 {
			h.produce(i, 50)
		}
		stream.split(0)
		for i := range 50 {
			h.produce(50+i, 50)
		}
		time.Sleep(2 * time.Second)
		if n := h.missing(); n != 0 {
			t.Errorf("%d records not read two seconds after a split", n)
		}
		time.Sleep(3 * time.Minute)
		if !mergeShards(stream, 2) {
			t.Fatal("not merged")
		}
		for i := range 50 {
			h.produce(100+i, 50)
		}
		time.Sleep(3 * time.Second)
		if n := h.missing(); n != 0 {
			t.Errorf("%d records not read three seconds after a merge", n)
		}
		time.Sleep(3 * time.Minute)
		if n := len(leases(t, mem)); n > 4 {
			t.Errorf("%d leases, want those of finished shards to be deleted", n)
		}
		if n := a.Stats().ShardsEnded + b.Stats().ShardsEnded; n != 3 {
			t.Errorf("%d shards read to their ends, want 3", n)
		}
		stopA()
		stopB()
		if h.missing() != 0 || h.duplicates() != 0 {
			t.Errorf("%d records missing, %d twice", h.missing(), h.duplicates())
		}
		for _, p := range h.problems {
			t.Error(p)
		}
	})
}

// TestKCL3WaitsForParents: a lease whose shard waits for its parent is renewed.
func TestKCL3WaitsForParents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		stream := newFakeStream(1, 1)
		stream.split(0)
		mem := memlease.New()
		parent := consumer.Lease{Key: "shardId-000000000000", Owner: "java", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}, StartingHashKey: "0", EndingHashKey: "340282366920938463463374607431768211455"}
		child := consumer.Lease{
			Key: "shardId-000000000001", Owner: "w", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}, Parents: []string{parent.Key},
			StartingHashKey: stream.shards[1].rng.Start.String(), EndingHashKey: stream.shards[1].rng.End.String(),
		}
		for _, l := range []consumer.Lease{parent, child} {
			if _, err := mem.Create(ctx, l); err != nil {
				t.Fatal(err)
			}
		}
		if ok, err := mem.AcquireLeader(ctx, nil, consumer.LeaderLock{Owner: "java", Version: "1", Duration: time.Hour}); err != nil || !ok {
			t.Fatal(ok, err)
		}
		c, _, stop := startKCL3(t, stream, mem, consumer.ProcessorFunc(ignore), consumer.Config{WorkerID: "w"})
		counter, last := int64(-1), time.Now()
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			if l := leases(t, mem)[child.Key]; l.Counter != counter {
				counter, last = l.Counter, time.Now()
			}
			if d := time.Since(last); d > 6*time.Second {
				t.Fatalf("a waiting lease is not renewed for %v", d)
			}
		}
		if len(c.Stats().Shards) != 0 {
			t.Error("a child is read before its parent's end")
		}
		w := consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}, Children: []string{"shardId-000000000001", "shardId-000000000002"}}
		if _, err := mem.Update(ctx, leases(t, mem)[parent.Key], w); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1200 * time.Millisecond)
		if len(c.Stats().Shards) != 1 {
			t.Error("a child is not read a second after its parent's end")
		}
		// And one that is to go elsewhere is let go though it was never begun.
		stop()
	})
}
