package consumer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// leaving notes when it is asked to finish, and how long it takes for that.
type leaving struct {
	mu      sync.Mutex // guards all below
	takes   time.Duration
	records int
	asked   int
	cause   error
}

func (p *leaving) ProcessRecords(_ context.Context, b *consumer.Batch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records += len(b.Records)
	return nil
}

func (p *leaving) ShutdownRequested(ctx context.Context) error {
	p.mu.Lock()
	p.asked++
	takes := p.takes
	p.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		p.mu.Lock()
		p.cause = context.Cause(ctx)
		p.mu.Unlock()
	}
	return nil
}

// TestKCL3HandsOver: a worker that sees that its lease is to go elsewhere renews
// it on, finishes, and lets it go in the write that stores the checkpoint.
func TestKCL3HandsOver(t *testing.T) {
	for name, tt := range map[string]struct {
		takes, grace time.Duration
		want         time.Duration // until the hand-over has ended, at most
		cause        error
	}{
		"at once":       {want: 5 * time.Second},
		"after a while": {takes: 20 * time.Second, want: 25 * time.Second},
		"not in time":   {takes: time.Hour, grace: 10 * time.Second, want: 15 * time.Second, cause: consumer.ErrHandoff},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				stream := newFakeStream(1, 1)
				mem := memlease.New()
				lock := consumer.LeaderLock{Owner: "java", Version: "1", Duration: time.Hour}
				if ok, err := mem.AcquireLeader(ctx, nil, lock); err != nil || !ok {
					t.Fatal(ok, err)
				}
				p := &leaving{takes: tt.takes}
				_, view, stop := startKCL3(t, stream, mem, p, consumer.Config{WorkerID: "w", ShutdownTimeout: tt.grace, CheckpointInterval: time.Hour})
				time.Sleep(time.Second)
				const key = "shardId-000000000000"
				if _, err := mem.Assign(ctx, leases(t, mem)[key], consumer.Assignment{Owner: "w"}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(12 * time.Second)
				_, seq := stream.put("k", []byte("data"))
				time.Sleep(1200 * time.Millisecond)

				began, err := mem.StartHandOver(ctx, leases(t, mem)[key], "java")
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				for leases(t, mem)[key].CheckpointOwner == "w" && time.Since(start) < time.Minute {
					time.Sleep(50 * time.Millisecond)
				}
				took := time.Since(start)
				if took > tt.want {
					t.Errorf("the hand-over took %v, want at most %v", took, tt.want)
				}
				l := leases(t, mem)[key]
				if l.Owner != "java" || l.CheckpointOwner != "" || l.Checkpoint.SequenceNumber != seq || l.OwnerSwitches != 1 {
					t.Errorf("after the hand-over: %+v; want the checkpoint %s", l, seq)
				}
				if renewals := l.Counter - began.Counter; took > 10*time.Second && renewals < int64(took/(5*time.Second)) {
					t.Errorf("only %d writes in the %v of a hand-over", renewals, took)
				}
				view.mu.Lock()
				last := len(view.writes) - 1
				if w := view.writes[last]; !w.EndHandOver || view.updated[last].CheckpointOwner != "w" || w.Release {
					t.Errorf("last write %+v of %+v", w, view.updated[last])
				}
				view.mu.Unlock()
				time.Sleep(30 * time.Second)
				if after := leases(t, mem)[key]; after.Counter != l.Counter {
					t.Errorf("the lease of another is written: %+v", after)
				}
				p.mu.Lock()
				if p.asked != 1 || p.records != 1 || !errors.Is(p.cause, tt.cause) {
					t.Errorf("asked %d times to finish, %d records, cause %v", p.asked, p.records, p.cause)
				}
				p.mu.Unlock()
				stop()
			})
		})
	}
}

// TestKCL3StopsDuringHandOver: a stop lets a lease that is being handed over go
// to its next owner.
func TestKCL3StopsDuringHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(1, 1)
		mem := memlease.New()
		_, _, stop := startKCL3(t, stream, mem, consumer.ProcessorFunc(ignore), consumer.Config{WorkerID: "w"})
		time.Sleep(time.Second)
		const key = "shardId-000000000000"
		if _, err := mem.StartHandOver(t.Context(), leases(t, mem)[key], "java"); err != nil {
			t.Fatal(err)
		}
		stop() // before it has learnt of it
		if l := leases(t, mem)[key]; l.Owner != "java" || l.CheckpointOwner != "" {
			t.Errorf("after the stop: %+v", l)
		}
	})
}
