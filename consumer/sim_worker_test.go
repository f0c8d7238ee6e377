package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
)

// simWorker is one process of a run: a Consumer, or an actor by the official
// library's rules.
type simWorker interface {
	process() string
	identity() simIdentity
	stop()
	done() <-chan struct{}
	way() *simGate
	finished() string // what is wrong with how it ended
}

// simGo is a Consumer with a processor, in a process of its own.
type simGo struct {
	*consumer.Consumer
	who    string
	id     simIdentity
	gate   *simGate
	run    *simRun
	cancel context.CancelFunc
	over   chan struct{} // closed when Run has returned
	err    error
	rng    *simCaller // for the processor
	known  bool       // it has written its row; guarded by the run's mutex

	mu   sync.Mutex           // guards held
	held map[string]time.Time // shards that are paused, and since when
}

// hold pauses a shard, and goOn resumes it.
func (w *simGo) hold(shard string) {
	if b := w.run.plan.broken; b == nil || !b.deaf {
		w.Pause(shard)
	}
	if w.run.plan.cfg.KeyConcurrency > 1 {
		// If it is let go like this, the lanes are not equally far.
		w.run.history.note(simEvent{kind: simGaveUp, who: w.who, shard: shard})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[shard] = time.Now()
}

func (w *simGo) goOn(shard string) {
	w.mu.Lock()
	delete(w.held, shard)
	w.mu.Unlock()
	w.Resume(shard)
}

// called looks whether a call of a processor may begin.
func (w *simGo) called(shard string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if since, ok := w.held[shard]; ok && time.Since(since) > 0 {
		w.run.complain("%s is given records of %s, which has been paused for %v", w.who, shard, time.Since(since))
	}
}

func (w *simGo) process() string       { return w.who }
func (w *simGo) identity() simIdentity { return w.id }
func (w *simGo) done() <-chan struct{} { return w.over }
func (w *simGo) way() *simGate         { return w.gate }

// stop implements simWorker. What takes longer than a stop may is given up.
func (w *simGo) stop() {
	time.AfterFunc(w.run.plan.cfg.ShutdownTimeout, func() {
		select {
		case <-w.over:
		default:
			w.run.history.note(simEvent{kind: simGaveUp, who: w.who})
		}
	})
	w.cancel()
}

// finished implements simWorker.
func (w *simGo) finished() string {
	if w.err != nil && !errors.Is(w.err, consumer.ErrShutdown) && !w.gate.isDead() {
		return fmt.Sprintf("%s: Run: %v", w.who, w.err)
	}
	if n := w.Stats().BufferedBytes; n != 0 {
		return fmt.Sprintf("%s: %d bytes still charged to the budget after the stop", w.who, n)
	}
	return ""
}

// caller returns a way of a process to a service.
func (x *simRun) caller(gate *simGate, faults *simFaults) *simCaller {
	x.callers++
	return &simCaller{gate: gate, seed: x.seed<<32 + x.callers, faults: faults, calm: x.calm.Load, called: x.called}
}

// launch starts a Consumer under a name.
func (x *simRun) launch(name string) *simGo {
	pl := &x.plan
	x.processes++
	w := &simGo{who: fmt.Sprintf("%s.%d", name, x.processes), gate: new(simGate), run: x, over: make(chan struct{}), held: map[string]time.Time{}}
	cfg := pl.cfg
	cfg.WorkerID = name
	if pl.drift > 0 {
		// A clock that runs faster or slower is one by which all times that
		// leases have to do with are longer or shorter.
		cfg.FailoverTime += time.Duration((x.rng.Float64()*2 - 1) * pl.drift * float64(cfg.FailoverTime))
	}
	f := float64(cfg.FailoverTime)
	w.id = simIdentity{name: name, trust: time.Duration(f * pl.mode.trust), wait: time.Duration(f * pl.mode.wait)}
	x.history.started(w.who, w.id)
	client := &simClient{simCaller: x.caller(w.gate, &pl.table), db: x.db, who: w.who, page: pl.page}
	store, err := dynamolease.New(client, "app", dynamolease.Config{})
	if err != nil {
		panic(err)
	}
	api := &simAPI{simCaller: x.caller(w.gate, &pl.kinesis), streams: x.streams}
	w.rng = x.caller(w.gate, &pl.kinesis)
	var leases consumer.LeaseStore = store
	if b := pl.broken; b != nil {
		leases = &simBrokenStore{CoordinationStore: store, b: b, worker: name}
		if b.cfg != nil {
			b.cfg(&cfg)
		}
	}
	if x.net != nil {
		cfg.PeerAddr = w.who
	}
	if len(x.streams) > 1 {
		w.Consumer, err = consumer.NewMultiStream(api, leases, "app", consumer.Streams("stream", "other"), w.newProcessor, cfg)
	} else {
		w.Consumer, err = consumer.New(api, leases, "app", "stream", w.newProcessor, cfg)
	}
	if err != nil {
		panic(err)
	}
	x.plug(w)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() {
		defer close(w.over)
		w.err = w.Run(ctx)
		if !w.gate.isDead() {
			x.history.note(simEvent{kind: simStopped, who: w.who})
		}
	}()
	return w
}

// simProcessor notes what it is given, and does as the plan says: it is slow, it
// fails, it acknowledges late and out of order, or not before it commits.
type simProcessor struct {
	w       *simGo
	shard   *consumer.Shard
	key     string // of its lease
	session int
	known   atomic.Bool // lanes call at the same time
}

func (w *simGo) newProcessor(s *consumer.Shard) (consumer.Processor, error) {
	key := consumer.LeaseKey(s.StreamID.String(), s.ID)
	if w.rng.roll(key, 1000) < w.run.plan.fails {
		return nil, errors.New("no processor")
	}
	p := &simProcessor{w: w, shard: s, key: key, session: w.run.history.begin(w.who, key, s.Token().Counter)}
	if w.run.plan.cfg.ExplicitCheckpoints {
		return &simCommitter{simProcessor: p, turn: make(chan struct{}, 1)}, nil
	}
	return p, nil
}

// pass waits while the process is paused. A process that goes on looks at the clock
// before anything else, and so knows that its peers have not heard it.
func (p *simProcessor) pass(ctx context.Context) error {
	for {
		was := time.Now()
		if err := p.w.gate.pass(ctx); err != nil || p.w.run.net == nil || time.Since(was) == 0 {
			return err
		}
		if err := simSleep(ctx, time.Microsecond); err != nil {
			return err
		}
	}
}

// take notes a batch, or as much of it as is handled before a failure.
func (p *simProcessor) take(ctx context.Context, b *consumer.Batch) ([]int, error) {
	w, h := p.w, p.w.run.history
	if !p.known.Swap(true) {
		context.AfterFunc(ctx, func() {
			if cause := context.Cause(ctx); errors.Is(cause, consumer.ErrHandoff) || errors.Is(cause, consumer.ErrReleased) { // it took too long
				h.note(simEvent{kind: simGaveUp, who: w.who, shard: p.key})
			}
			h.note(simEvent{kind: simOver, who: w.who, shard: p.key, session: p.session})
		})
	}
	if err := p.pass(ctx); err != nil {
		return nil, err
	}
	var numbers []int
	for i := range b.Records {
		r := &b.Records[i]
		n := simNumberOf(r.Data)
		want, ok := h.record(n)
		if !ok {
			w.run.complain("%s is given %q", w.who, r.Data)
			continue
		}
		shard := consumer.LeaseKey(r.Shard.StreamID.String(), r.Shard.ID)
		if want.shard != shard || want.at != r.Checkpoint() || want.user.key != r.PartitionKey {
			w.run.complain("%s is given record %d from %s at %v with key %q, put to %s at %v with key %q",
				w.who, n, shard, r.Checkpoint(), r.PartitionKey, want.shard, want.at, want.user.key)
		}
		numbers = append(numbers, n)
	}
	failing := len(numbers) > 0 && w.rng.roll(p.key, 1000) < w.run.plan.fails
	if failing {
		numbers = numbers[:1+w.rng.roll(p.key, len(numbers))]
	}
	h.delivered(w.who, p.session, p.key, numbers...)
	_ = simSleep(ctx, w.rng.within(p.key, w.run.plan.slow))
	if err := w.gate.pass(ctx); err != nil {
		return nil, err
	}
	if failing {
		if w.rng.roll(p.key, 3) == 0 {
			panic("chaos")
		}
		return nil, errors.New("chaos")
	}
	return numbers, nil
}

// ProcessRecords implements [consumer.Processor].
func (p *simProcessor) ProcessRecords(ctx context.Context, b *consumer.Batch) error {
	w, h := p.w, p.w.run.history
	w.called(p.key)
	numbers, err := p.take(ctx, b)
	if err != nil {
		return err
	}
	if broken := w.run.plan.broken; broken != nil && broken.unacked {
		return nil
	}
	if w.rng.roll(p.key, 1000) < w.run.plan.restarts {
		p.shard.Restart(errors.New("for a change"))
		if w.rng.roll(p.key, 2) == 0 {
			return errors.New("not handled")
		}
		h.ack(w.who, p.session, p.key, numbers...) // as nil says
		return nil
	}
	if w.rng.roll(p.key, 1000) >= w.run.plan.detached {
		h.ack(w.who, p.session, p.key, numbers...)
		return nil
	}
	b.Detach()
	order := make([]int, len(numbers))
	for i := range order {
		j := w.rng.roll(p.key, i+1)
		order[i], order[j] = order[j], i
	}
	for _, i := range order {
		time.AfterFunc(w.rng.within(p.key, w.run.plan.ackAfter), func() {
			if w.gate.passOr(w.run.ended) {
				h.ack(w.who, p.session, p.key, numbers[i])
				b.Ack(i)
			}
		})
	}
	return nil
}

// simCommitter says by itself what is acknowledged: now and then, and after a while
// in which nothing came.
type simCommitter struct {
	*simProcessor
	turn chan struct{} // capacity 1: taken by who works with open
	open []int         // delivered and not committed
}

// ProcessRecords implements [consumer.Processor].
func (p *simCommitter) ProcessRecords(ctx context.Context, b *consumer.Batch) error {
	p.w.called(p.key)
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if !p.known.Load() {
		go p.tick(ctx)
	}
	numbers, err := p.take(ctx, b)
	if err != nil {
		return err
	}
	p.open = append(p.open, numbers...)
	if p.w.rng.roll(p.key, 3) > 0 || len(p.open) == 0 {
		return nil
	}
	if p.w.rng.roll(p.key, 2) == 0 {
		_ = p.commit(ctx, false) // stored, or soon to be
		return nil
	}
	k := p.w.rng.roll(p.key, len(p.open))
	rec, _ := p.w.run.history.record(p.open[k])
	p.w.run.history.ack(p.w.who, p.session, p.key, p.open[:k+1]...)
	if err := p.shard.CommitTo(ctx, rec.at); err == nil {
		p.open = p.open[k+1:]
	}
	return nil
}

// tick commits what is left.
func (p *simCommitter) tick(ctx context.Context) {
	for simSleep(ctx, 3*time.Second) == nil {
		_ = p.later(ctx, true)
	}
}

func (p *simCommitter) later(ctx context.Context, only bool) error {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	return p.commit(ctx, only)
}

// commit commits what was handled; unless only that, everything that was delivered,
// which is to be the same.
func (p *simCommitter) commit(ctx context.Context, only bool) error {
	if err := p.w.gate.pass(ctx); err != nil || only && len(p.open) == 0 {
		return err
	}
	p.w.run.history.ack(p.w.who, p.session, p.key, p.open...)
	at := consumer.Checkpoint{}
	if only {
		rec, _ := p.w.run.history.record(p.open[len(p.open)-1])
		at = rec.at
	}
	err := p.shard.CommitTo(ctx, at)
	if err == nil {
		p.open = nil
	}
	return err
}

// ShardEnded implements [consumer.ShardEnder].
func (p *simCommitter) ShardEnded(ctx context.Context) error { return p.later(ctx, false) }

// ShutdownRequested implements [consumer.ShutdownRequester]. A batch that failed was
// delivered too.
func (p *simCommitter) ShutdownRequested(ctx context.Context) error { return p.later(ctx, true) }
