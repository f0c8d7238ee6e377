package logappender_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// process is an appender with a spill on a disk that it may leave to the next.
type process struct {
	*logappender.Appender
	t    *testing.T
	log  *zap.Logger
	sink *sink
	told []error // to OnError
	mu   sync.Mutex
}

// run starts a process. The test closes it, or kills it.
func run(t *testing.T, disk *vfstest.Disk, s *sink, cfg logappender.Config) *process {
	t.Helper()
	p := &process{t: t, sink: s}
	cfg.SpillDir = "spill"
	cfg.OnError = func(err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.told = append(p.told, err)
	}
	a, err := logappender.NewOn(disk, s, quiet(cfg))
	if err != nil {
		t.Fatal(err)
	}
	p.Appender = a
	p.log = zap.New(a.Core(zap.DebugLevel, bareEncoder()), zap.WithPanicHook(zapcore.WriteThenPanic))
	return p
}

// bareEncoder writes the message and no more.
func bareEncoder() zapcore.Encoder {
	return zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m", SkipLineEnding: true})
}

// end closes the process within d.
func (p *process) end(d time.Duration) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), d)
	defer cancel()
	_ = p.Close(ctx)
	checkAccounts(p.t, p.Appender)
	if n := p.Stats().Pending.Total(); n > 0 {
		p.t.Errorf("%d entries are pending after Close", n)
	}
}

// kill ends the process as a signal does, and returns the disk for the next.
func (p *process) kill(disk *vfstest.Disk) *vfstest.Disk {
	p.t.Helper()
	p.sink.freeze()
	next := disk.TakeOver()
	ctx, cancel := context.WithCancel(p.t.Context())
	cancel()
	_ = p.Close(ctx) // for its goroutines; the disk takes nothing any more
	return next
}

func (p *process) panics(msg string) {
	defer func() { _ = recover() }()
	p.log.Panic(msg)
}

// sink is a putter with faults that knows what it has stored by which batch.
type sink struct {
	mu      sync.Mutex
	fate    func() fate
	frozen  bool
	batches int
	stored  []string
	batch   map[string]int // of each stored record
	later   sync.WaitGroup
}

func newSink(f fate) *sink {
	s := &sink{batch: make(map[string]int)}
	s.set(f)
	return s
}

func (s *sink) set(f fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fate = func() fate { return f }
}

func (s *sink) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = true
}

func (s *sink) Flush(context.Context) error { return nil }

func (s *sink) PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	s.mu.Lock()
	f := s.fate()
	if s.frozen {
		f = block
	}
	for i := range rs {
		if f != block && bytes.Contains(rs[i].Data, []byte("poison")) {
			s.mu.Unlock()
			return producer.ErrTooLarge
		}
	}
	s.batches++
	res := producer.BatchResult{Records: len(rs)}
	for i := range rs {
		switch {
		case f == failSome && i%3 == 0:
			res.Failed = append(res.Failed, producer.FailedRecord{Index: i, Err: errRefused})
		case f == store || f == storeLater || f == failSome:
			text := string(rs[i].Data)
			s.stored = append(s.stored, text)
			s.batch[text] = s.batches
		}
	}
	s.mu.Unlock()
	switch f {
	case store, failSome:
		done(res)
	case storeLater:
		s.later.Go(func() {
			time.Sleep(50 * time.Millisecond)
			done(res)
		})
	case refuse:
		for i := range rs {
			res.Failed = append(res.Failed, producer.FailedRecord{Index: i, Err: errRefused})
		}
		done(res)
	case panicFirst:
		panic("test")
	case block:
		<-ctx.Done()
		return ctx.Err()
	case hang, panicLast:
	}
	return nil
}

// lines returns what was stored, without gap records.
func (s *sink) lines() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.stored {
		if !strings.Contains(l, `"logger":"logappender"`) {
			lines = append(lines, l)
		}
	}
	return lines
}

func numbered(from, to int) (lines []string) {
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf("entry %d", i))
	}
	return lines
}

func (p *process) logEach(lines []string, pause time.Duration) {
	for _, l := range lines {
		p.log.Info(l)
		time.Sleep(pause)
	}
}
