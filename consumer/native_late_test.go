package consumer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// TestNativeLateBeat has a beat of a dead process come late, over the row of the one
// that runs under its name by now. That one lives, and nobody may take its leases.
func TestNativeLateBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 4)
		a := f.start("a", consumer.Config{})
		f.until(3*time.Second, "one worker reads all", f.shared(4))
		dead := f.start("b", consumer.Config{})
		f.until(10*time.Second, "two workers share", f.shared(2, 2))
		row := func() consumer.WorkerRow {
			r, ok, err := f.table.GetWorker(t.Context(), "b")
			if err != nil || !ok {
				t.Fatalf("no row: %v", err)
			}
			return r
		}
		late := row()
		dead.kill()
		b := f.start("b", consumer.Config{})
		f.until(30*time.Second, "two workers share again", func() bool { return len(b.Stats().Shards) == 2 && f.shared(2, 2)() })
		stop := f.feed(100 * time.Millisecond)
		time.Sleep(10 * time.Second)
		f.longest()
		for range 5 {
			for before := row(); row().Properties["g_seq"] == before.Properties["g_seq"]; {
				time.Sleep(10 * time.Millisecond)
			}
			if err := f.table.PutWorker(t.Context(), late); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if st := b.Stats(); st.LeasesLost != 0 || len(st.Shards) != 2 {
			t.Errorf("the living worker has lost %d leases, and reads %d shards of 2", st.LeasesLost, len(st.Shards))
		}
		if gap := f.longest(); gap > time.Second {
			t.Errorf("a shard was not read for %v", gap)
		}
		stop()
		time.Sleep(2 * time.Second)
		for _, w := range []*nativeWorker{dead, b, a} {
			w.stop()
			<-w.done
		}
		f.check(true)
	})
}

// TestTransferOvertaken: a lease that was to be given to a worker, and that this one has
// stolen just before, is no more ours to write than any other that was stolen.
func TestTransferOvertaken(t *testing.T) {
	me := consumer.NewAuthor("a", "inc-a")
	before := consumer.Lease{Key: "s", Owner: "a", Incarnation: "inc-a", Counter: 1, Checkpoint: at("1", 0)}
	give := consumer.Write{Checkpoint: at("5", 0), NextOwner: "b", Incarnation: "inc-b"}
	now := consumer.Lease{Key: "s", Owner: "b", Incarnation: "inc-b", Counter: 2, Checkpoint: at("1", 0)}
	if me.Left(before, &now, give) {
		t.Error("a stolen lease is taken for one that was given")
	}
	now.Checkpoint = at("5", 0)
	if !me.Left(before, &now, give) {
		t.Error("a lease that was given is not known")
	}
}
