package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// TestSimulation runs fleets of workers through random faults: lost requests
// and answers, throttling, workers that die, or that are cut off and come back,
// planned stops, failing processors, late acknowledgements, splits and merges
// under load. Each seed is one history; it is checked while it happens.
func TestSimulation(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
		})
	}
}

func simulate(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	stream := newFakeStream(1+rng.IntN(4), seed)
	stream.limit = 1 + rng.IntN(40)
	stream.iteratorLife = 30 * time.Second
	stream.hideChildren = rng.IntN(4) == 0
	stream.failRate, stream.throttleRate = 0.03, 0.05
	mem := memlease.New()
	h := newHistory(stream)
	h.store = mem

	var workers []*worker
	name := 0
	launch := func() {
		name++
		s := &faultyStore{
			LeaseStore: mem, history: h, rng: rand.New(rand.NewPCG(seed, uint64(name))),
			lost: 0.05, reply: 0.05, delay: 200 * time.Millisecond,
		}
		p := &chaoticProcessor{h: h, rng: rand.New(rand.NewPCG(seed, uint64(1000+name)))}
		workers = append(workers, startWorker(t, stream, s, p.process, consumer.Config{
			WorkerID: fmt.Sprintf("w%d", name), MaxBufferedBytes: 1 << 20, ShutdownTimeout: 10 * time.Second,
		}))
	}
	var gone []*worker // stopped, or dead
	remove := func() *worker {
		i := rng.IntN(len(workers))
		w := workers[i]
		workers = append(workers[:i], workers[i+1:]...)
		gone = append(gone, w)
		return w
	}

	launch()
	records := 0
	end := time.Now().Add(2 * time.Minute)
	for time.Now().Before(end) {
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
		for range rng.IntN(6) {
			h.produce(records, 12)
			records++
		}
		switch rng.IntN(20) {
		case 0, 1:
			if len(workers) < 4 {
				launch()
			}
		case 2:
			if len(workers) > 1 {
				remove().stop()
			}
		case 3:
			if len(workers) > 1 {
				remove().store.cut.Store(true)
			}
		case 4: // a long pause, and back
			w := workers[rng.IntN(len(workers))]
			w.store.cut.Store(true)
			pause := time.Duration(5+rng.IntN(20)) * time.Second
			time.AfterFunc(pause, func() { w.store.cut.Store(false) })
		case 5, 6:
			if stream.count() < 30 {
				stream.split(rng.IntN(stream.count()))
			}
		case 7, 8:
			if stream.count() < 30 {
				stream.merge(rng.IntN(stream.count()))
			}
		}
	}
	launch() // one that certainly lives
	for deadline := time.Now().Add(5 * time.Minute); h.missing() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Second)
	}
	if n := h.missing(); n > 0 {
		for _, w := range append(gone, workers...) {
			t.Logf("%s %+v limit %d", w.WorkerID(), w.Stats(), stream.limit)
		}
		t.Errorf("%d of %d records never acknowledged; leases: %v", n, records, leases(t, mem))
	}
	for _, w := range workers {
		w.store.cut.Store(false)
		w.stop()
	}
	for _, w := range append(gone, workers...) {
		w.store.cut.Store(false)
		w.stop()
		<-w.done
		if w.err != nil && !errors.Is(w.err, consumer.ErrShutdown) {
			t.Errorf("%s: %v", w.WorkerID(), w.err)
		}
		if n := w.Stats().BufferedBytes; n != 0 {
			t.Errorf("%s: %d bytes still charged to the budget after the stop", w.WorkerID(), n)
		}
	}
	for _, p := range h.problems {
		t.Error(p)
	}
}

// chaoticProcessor is slow, fails, and acknowledges late and out of order.
type chaoticProcessor struct {
	h   *history
	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

func (p *chaoticProcessor) roll(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rng.IntN(n)
}

func (p *chaoticProcessor) process(ctx context.Context, b *consumer.Batch) error {
	for i := range b.Records {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.h.got(&b.Records[i])
		if p.roll(50) == 0 {
			return errors.New("chaos")
		}
	}
	select {
	case <-time.After(time.Duration(p.roll(300)) * time.Millisecond):
	case <-ctx.Done():
	}
	if p.roll(3) > 0 {
		for i := range b.Records {
			p.h.ack(&b.Records[i])
		}
		return nil
	}
	b.Detach()
	order := make([]int, len(b.Records))
	for i := range order {
		j := p.roll(i + 1)
		order[i], order[j] = order[j], i
	}
	for _, i := range order {
		time.AfterFunc(time.Duration(p.roll(2000))*time.Millisecond, func() {
			p.h.ack(&b.Records[i])
			b.Ack(i)
		})
	}
	return nil
}
