package logappender

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
)

// An Appender collects encoded log entries in a bounded buffer and hands them
// to a producer in chunks. Cores, handlers and writers made from it share it.
// It is safe for concurrent use.
//
// Three goroutines belong to it, and Close waits for them: the drainer hands
// chunks over, the flusher calls Putter.Flush, the reporter calls OnError. With a
// spill there is a fourth, the replayer, and the drainer writes to the disk. They
// are apart because each calls code that may block.
type Appender struct {
	cfg    Config
	putter Putter
	begun  time.Time
	static static

	sampleFrom int // memory in use at which sampling begins

	wake   chan struct{} // capacity 1: the drainer has something to look at
	flush  chan struct{} // capacity 1: all is handed over, ask for it to be sent
	report chan struct{} // capacity 1: there is something to report
	done   chan struct{} // closed when Close is through
	saving chan struct{} // capacity 1: held, by sending, while Fallback is written
	cancel context.CancelFunc
	wg     sync.WaitGroup

	spill    *spill        // nil without Config.SpillDir
	replay   *replayer     // likewise
	spilling chan struct{} // capacity 1: held, by sending, while last words go to the disk

	mu sync.Mutex // guards what follows; never held during a call outside or an encoding

	open      *chunk // takes entries; nil or not empty
	live      chunkList
	lastID    uint64   // of the live chunk made last
	committed int      // cost of the live chunks
	free      []*chunk // empty, of ChunkBytes each

	sleeping    bool // the drainer waits for wake
	flushWanted bool // hand over at once, then ask the flusher
	waiters     []*waiter
	space       chan struct{} // closed when room appears; nil if nobody waits under Block

	gap     gap // drops since the last gap record, to be told at the open end
	headGap gap // chunks dropped under DropOldest, to be told before the next chunk
	thinned gap // what sampling has left out since it was told last
	gapText []byte

	samples []uint32 // how often each kind of entry was met while sampling; nil without Sample

	stats    Stats
	told     Stats // as of the last report
	lastErr  error // of the producer since the last report
	spillErr error // of the disk since the last report
	dying    dying
	closed   bool // no more entries
	ended    bool // Close waits for wg

	closeErr error // written before done is closed
}

// maxFree bounds the memory kept for reuse beside the budget.
const maxFree = 16

// waiter waits for all live chunks up to id.
type waiter struct {
	id uint64
	ch chan struct{} // closed when they are finished
}

// New returns a running Appender over putter. The caller must Close it, before
// the producer. New makes no request: a stream that cannot be reached shows in
// Healthy and Stats.
//
// The producer must not log into the appender, or a fault would feed itself:
// give it slog.New(slog.DiscardHandler), or a logger that ends elsewhere. New returns
// an error that wraps [ErrFeedsItself] where it sees that: if the producer's logger
// is the first default of log/slog, which whoever makes the appender's handler the
// default would have lead here, or if it leads to an appender over the same
// producer, through whatever handlers of log/slog. It does not see through zap, nor a
// handler that is set later.
//
// With Config.SpillDir it opens that directory, and sends what an earlier process
// has left there. The error wraps [ErrSpillInUse] if another process uses it.
func New(putter Putter, cfg Config) (*Appender, error) {
	return newOn(vfs.OS, putter, cfg)
}

// newOn is New on a file system.
func newOn(fsys vfs.FS, putter Putter, cfg Config) (*Appender, error) {
	cfg, err := cfg.withDefaults()
	static, staticErr := newStatic(&cfg)
	err = errors.Join(err, staticErr)
	if putter == nil {
		err = errors.Join(errors.New("putter is nil: pass a producer"), err)
	}
	if err != nil {
		return nil, fmt.Errorf("logappender: config: %w", err)
	}
	if err := checkSelf(putter); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &Appender{
		cfg:    cfg,
		putter: putter,
		wake:   make(chan struct{}, 1),
		flush:  make(chan struct{}, 1),
		report: make(chan struct{}, 1),
		done:   make(chan struct{}),
		saving: make(chan struct{}, 1),
		cancel: cancel,

		spilling: make(chan struct{}, 1),
		begun:    time.Now(),
		static:   static,
	}
	if cfg.Sample > 1 {
		a.samples = make([]uint32, sampleSlots)
		a.sampleFrom = int(cfg.SampleAbove * float64(cfg.BufferBytes))
	}
	a.stats.HandoverBytes.bounds = &byteBounds
	a.stats.DeliverySeconds.bounds = &secondBounds
	a.stats.FlushSeconds.bounds = &secondBounds
	if err := a.openSpill(fsys); err != nil {
		cancel()
		return nil, err
	}
	if a.spill != nil {
		a.replay = newReplayer(a)
		a.wg.Go(func() { a.replay.run(ctx) })
	}
	a.wg.Go(func() { a.drain(ctx) })
	a.wg.Go(func() { a.flushLoop(ctx) })
	a.wg.Go(func() { a.reportLoop(ctx) })
	return a, nil
}

// poke sends on a channel of capacity 1 that means "look again".
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Flush hands over what is buffered, asks the producer to send it, and returns
// when every entry written before the call is finished: delivered, on disk in
// Config.SpillDir, or dropped.
// Later entries do not extend the wait. If ctx ends first it returns a
// [*PendingError], and the entries stay on their way.
func (a *Appender) Flush(ctx context.Context) error {
	start := time.Now()
	a.mu.Lock()
	if !a.ended { // or else nobody would hand it over
		a.closeGapLocked(0)
		a.closeOpenLocked(true)
	}
	if a.live.head == nil {
		a.stats.FlushSeconds.add(0, 1)
		a.mu.Unlock()
		return nil
	}
	w := &waiter{id: a.lastID, ch: make(chan struct{})}
	a.waiters = append(a.waiters, w)
	a.flushWanted = true
	a.sleeping = false
	a.mu.Unlock()
	poke(a.wake)

	finished := false
	select {
	case <-w.ch:
		finished = true
	case <-ctx.Done():
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.FlushSeconds.add(time.Since(start).Seconds(), 1)
	if finished {
		return nil
	}
	for i, o := range a.waiters {
		if o == w {
			a.waiters = append(a.waiters[:i], a.waiters[i+1:]...)
			break
		}
	}
	e := &PendingError{Err: ctx.Err()}
	for c := a.live.head; c != nil && c.id <= w.id; c = c.next {
		e.add(c)
	}
	if e.Records == 0 {
		return nil // the last of them was finished just now
	}
	a.stats.FlushTimeouts++
	return e
}

func (e *PendingError) add(c *chunk) {
	e.Records += int(c.count.Total())
	e.Bytes += c.bytes
}

// Close refuses new entries, which then count as dropped, delivers those that
// were accepted, and frees everything. If ctx ends first, the rest is lost to
// the stream as far as the appender knows: it is counted, written to
// Config.Fallback, and Close returns a [*PendingError]. No goroutine of the
// appender is left when Close returns. It may be called more than once; later
// calls wait for the first.
func (a *Appender) Close(ctx context.Context) error {
	a.mu.Lock()
	first := !a.closed
	a.closed = true
	space := a.space
	a.space = nil
	a.mu.Unlock()
	if !first {
		select {
		case <-a.done:
			return a.closeErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if space != nil {
		close(space)
	}

	if a.Flush(ctx) == nil && a.gapLeft() {
		_ = a.Flush(ctx) // the record of the gap had no room before
	}
	// What is not finished is counted below.
	if a.spill != nil && a.spill.always {
		a.awaitReplay(ctx)
	}
	a.cancel()
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.wg.Wait()

	if a.spill != nil {
		a.spillRest()
		if err := a.replay.end(); err != nil {
			a.mu.Lock()
			a.spillErr = &SpillError{Err: err}
			a.mu.Unlock()
		}
	}
	pe := &PendingError{Err: ctx.Err()}
	tail := a.loseAll(pe)
	if pe.Records > 0 {
		a.closeErr = pe
		a.fallback(func() { a.save(tail) })
	}
	a.tell()
	close(a.done)
	return a.closeErr
}

// loseAll gives up all live chunks and returns those that Fallback has not got
// yet. An open chunk has nothing but a gap record at this time.
func (a *Appender) loseAll(pe *PendingError) (tail []*chunk) {
	a.mu.Lock()
	a.open = nil
	var f finished
	for c := a.live.head; c != nil; c = a.live.head {
		pe.add(c)
		c.copied = nil
		a.stats.Pending.sub(&c.count)
		a.stats.Lost.add(&c.count)
		if c.delivery != nil {
			c.delivery.chunk = nil // its answer comes too late
		}
		if !c.saved {
			c.saved = true
			tail = append(tail, c)
		}
		a.releaseLocked(c, &f)
	}
	a.mu.Unlock()
	f.notify()
	return tail
}

func (a *Appender) flushLoop(ctx context.Context) {
	for {
		select {
		case <-a.flush:
			a.callFlush(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// callFlush drops the error: what it means for entries comes with their batch.
func (a *Appender) callFlush(ctx context.Context) {
	defer func() { _ = recover() }()
	_ = a.putter.Flush(ctx)
}

func (a *Appender) reportLoop(ctx context.Context) {
	pause := time.NewTimer(reportEvery)
	pause.Stop()
	for {
		select {
		case <-a.report:
		case <-ctx.Done():
			return
		}
		a.tell()
		pause.Reset(reportEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

// tell reports what was dropped and lost since the last report, and faults of
// the disk.
func (a *Appender) tell() {
	a.mu.Lock()
	e := &DropError{Dropped: map[DropReason]LevelCounts{}, Lost: a.stats.Lost, Err: a.lastErr}
	for r := range numReasons {
		c := a.stats.Dropped[r]
		c.sub(&a.told.Dropped[r])
		if r != DropSelf && r != DropClosed && c.Total() > 0 {
			e.Dropped[r] = c
		}
	}
	e.Lost.sub(&a.told.Lost)
	a.told = a.stats
	spillErr := a.spillErr
	a.lastErr, a.spillErr = nil, nil
	a.mu.Unlock()

	if spillErr != nil {
		a.tellOne(spillErr)
	}
	if len(e.Dropped) == 0 && e.Lost.Total() == 0 {
		return
	}
	a.tellOne(e)
}

func (a *Appender) tellOne(err error) {
	defer func() { _ = recover() }() // the application's code
	if a.cfg.OnError != nil {
		a.cfg.OnError(err)
		return
	}
	_, _ = fmt.Fprintln(a.cfg.ErrorOutput, err)
}
