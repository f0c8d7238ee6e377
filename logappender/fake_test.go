package logappender_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

var errRefused = errors.New("refused by the test")

// fate is what a fake putter does with a batch.
type fate int

const (
	store fate = iota
	storeLater
	failSome
	refuse
	hang       // accept, never answer
	block      // do not accept until ctx ends
	panicFirst // before anything
	panicLast  // after the answer
)

// fakePutter keeps what it stored. Its zero value stores everything at once.
type fakePutter struct {
	mu      sync.Mutex
	fate    func() fate // nil: store
	stored  []producer.UserRecord
	batches int
	flushes int
	held    []func(producer.BatchResult) // of batches that hang
	later   sync.WaitGroup
}

func (p *fakePutter) set(f fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fate = func() fate { return f }
}

func (p *fakePutter) keep(rs []producer.UserRecord) {
	for _, r := range rs {
		r.Data = bytes.Clone(r.Data)
		p.stored = append(p.stored, r)
	}
}

func (p *fakePutter) PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	p.mu.Lock()
	p.batches++
	f := store
	if p.fate != nil {
		f = p.fate()
	}
	n := len(rs)
	switch f {
	case store, storeLater, panicLast:
		p.keep(rs)
	case hang:
		p.held = append(p.held, done)
	case failSome, refuse, block, panicFirst:
	}
	p.mu.Unlock()

	switch f {
	case store:
		done(producer.BatchResult{Records: n})
	case storeLater:
		wait := time.Duration(97*p.batches%300) * time.Millisecond
		p.later.Go(func() {
			time.Sleep(wait)
			done(producer.BatchResult{Records: n})
			done(producer.BatchResult{Records: n}) // a putter that errs: must not count twice
		})
	case failSome:
		res := producer.BatchResult{Records: n}
		for i := 0; i < n; i += 3 {
			res.Failed = append(res.Failed, producer.FailedRecord{Index: i, Err: errRefused})
		}
		done(res)
	case refuse:
		return errRefused
	case block:
		<-ctx.Done()
		return ctx.Err()
	case panicFirst:
		panic("test")
	case panicLast:
		done(producer.BatchResult{Records: n})
		panic("test")
	case hang:
	}
	return nil
}

func (p *fakePutter) Flush(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushes++
	return nil
}

func (p *fakePutter) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, r := range p.stored {
		out = append(out, string(r.Data))
	}
	return out
}

func (p *fakePutter) keys() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, r := range p.stored {
		out = append(out, r.PartitionKey)
	}
	return out
}

// syncBuffer is a WriteSyncer that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *syncBuffer) Sync() error { return nil }
func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// quiet fills in what would write to standard error.
func quiet(cfg logappender.Config) logappender.Config {
	if cfg.Fallback == nil {
		cfg.Fallback = &syncBuffer{}
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	return cfg
}

// open returns an appender that is closed at the end of the test, when its
// accounts must be settled.
func open(t testing.TB, p logappender.Putter, cfg logappender.Config) *logappender.Appender {
	t.Helper()
	a, err := logappender.New(p, quiet(cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = a.Close(ctx) // a test that cares closes it itself
		checkAccounts(t, a)
		if s := a.Stats(); s.Pending.Total() != 0 {
			t.Errorf("%d entries pending after Close", s.Pending.Total())
		}
	})
	return a
}

// checkAccounts checks the accounting equation, level by level.
func checkAccounts(t testing.TB, a *logappender.Appender) {
	t.Helper()
	s := a.Stats()
	for i := range s.Accepted {
		sum := s.Delivered[i] + s.Lost[i] + s.Pending[i] + s.Spilled[i] + s.Sampled[i]
		for _, d := range s.Dropped {
			sum += d[i]
		}
		if s.Accepted[i] != sum {
			t.Errorf("level %d: accepted %d, accounted for %d: %+v", i, s.Accepted[i], sum, s)
		}
	}
	if n := s.DeliverySeconds.Count; n != s.Delivered.Total() {
		t.Errorf("%d entries are delivered, %d have a time", s.Delivered.Total(), n)
	}
}

func flush(t testing.TB, a *logappender.Appender) {
	t.Helper()
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// jsonEncoder is zap's production encoder.
func jsonEncoder() zapcore.Encoder {
	return zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", NameKey: "logger", CallerKey: "caller",
		MessageKey: "msg", StacktraceKey: "stacktrace",
		EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeTime: zapcore.EpochTimeEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder, EncodeCaller: zapcore.ShortCallerEncoder,
	})
}

func producerResult(n int) producer.BatchResult { return producer.BatchResult{Records: n} }

// gated accepts nothing until its gate is closed.
type gated struct {
	*fakePutter
	gate chan struct{}
}

func (g *gated) PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	select {
	case <-g.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	return g.fakePutter.PutBatch(ctx, rs, done)
}

// picky refuses batches with a record that says "bad".
type picky struct{ *fakePutter }

func (p *picky) PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	for _, r := range rs {
		if bytes.Contains(r.Data, []byte(`"bad"`)) {
			return producer.ErrTooLarge
		}
	}
	return p.fakePutter.PutBatch(ctx, rs, done)
}
