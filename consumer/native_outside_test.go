package consumer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// calledOff is a table in which somebody calls the first hand-over off, just before its
// old owner ends it.
type calledOff struct {
	*memlease.Store
	first, last consumer.Lease // as the hand-over was called off, and as it was then written
	write       consumer.Write
}

func (s *calledOff) Update(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	if w.EndHandOver && s.first.Key == "" {
		var err error
		if s.first, err = s.Assign(ctx, l, consumer.Assignment{Owner: l.CheckpointOwner, Incarnation: l.Incarnation}); err != nil {
			return l, err
		}
	}
	got, err := s.Store.Update(ctx, l, w)
	if s.first.Key != "" && s.last.Key == "" && err == nil {
		s.last, s.write = got, w
	}
	return got, err
}

// TestHandOverCalledOff: an owner that was to hand a lease over, and is its owner again
// when it has finished, releases it. It must not leave it as its own, which it does not
// read any more, nor put the name of a process on it that was to have it.
func TestHandOverCalledOff(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.ModeNative, consumer.ModeKCL3} {
		for _, what := range []string{"release", "reset"} {
			t.Run(mode.String()+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newNativeFleet(t, 1)
					f.mode = mode
					store := &calledOff{Store: f.table}
					a := f.startOn("a", consumer.Config{}, store)
					f.until(2*time.Minute, "one worker reads", f.shared(1))
					time.Sleep(5 * time.Second)
					f.stream.put("k", nil)
					time.Sleep(10 * time.Second)
					var l consumer.Lease
					for _, l = range leases(t, f.table) {
						if l.Checkpoint.IsSentinel() {
							t.Fatalf("nothing was stored: %+v", l)
						}
					}
					if err := f.table.PutWorker(t.Context(), consumer.WorkerRow{ID: "b", Updated: time.Now(), Properties: map[string]string{"g_inc": "inc-b", "g_seq": "1"}}); err != nil {
						t.Fatal(err)
					}
					if _, err := f.table.StartHandOver(t.Context(), l, "b"); err != nil {
						t.Fatal(err)
					}
					var err error
					trim := consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}
					if what == "release" {
						err = a.Release(t.Context(), l.Key)
					} else {
						err = a.ResetCheckpoint(t.Context(), l.Key, trim)
					}
					if err != nil {
						t.Error(err)
					}
					if store.first.Owner != "a" || store.last.Owner != "" || !store.write.Release || store.last.Incarnation != l.Incarnation {
						t.Errorf("called off: %+v\nwritten then: %+v by %+v\nwant it released", store.first, store.last, store.write)
					}
					if what == "reset" && store.last.Checkpoint != trim {
						t.Errorf("it is not set back: %+v", store.last)
					}
					a.stop()
					<-a.done
				})
			})
		}
	}
}
