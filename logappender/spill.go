package logappender

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/producer"
)

// SpillMode says which entries go to the disk.
type SpillMode int

const (
	// SpillOnPressure keeps entries in memory while the stream takes them. While
	// it does not they go to the disk, and from there to the stream at
	// Config.ReplayBytesPerSecond beside what is logged then. Entries from the
	// disk have their order among each other, and none with those from memory.
	SpillOnPressure SpillMode = iota

	// SpillAlways puts every chunk on the disk first, and sends it from there,
	// in order and as fast as the stream takes it. What was logged longer than
	// Config.Linger ago survives the end of the process, however it ends, but
	// not that of the machine. Entries are handed to the producer in one batch
	// after another.
	SpillAlways
)

const (
	spillSegmentBytes = 8 << 20

	// The circuit opens after so many batches in a row of which nothing was stored,
	// or when the oldest entry has been pending for so long beyond Linger.
	circuitFailures = 5
	circuitAge      = 10 * time.Second

	// diskRetry is the time from a fault of the disk to the next attempt.
	diskRetry = 30 * time.Second
)

// spill is what an appender with a spill directory has beside its buffer. All
// but the first group is guarded by Appender.mu; store has locks of its own,
// under which it logs, so that none of its methods may be called under
// Appender.mu.
type spill struct {
	store     *spool.Spool[spilled]
	always    bool
	threshold int // memory in use at which the circuit opens
	mayHand   int // the most memory that the producer may have

	handed   int           // memory of what the producer has
	waits    bool          // the drainer waits for less of it
	open     bool          // the circuit: entries go to the disk
	failures int           // batches that failed in a row
	closedAt uint64        // chunks up to here do not open it for their age
	sick     bool          // the last write failed
	retry    time.Time     // when the disk is tried again if sick
	back     []*chunk      // live chunks for the drainer, which were with the producer or a dying goroutine
	writing  int           // chunks that somebody writes to the disk
	turns    uint64        // chunks that were to be written so far
	turn     uint64        // of these, the one whose turn it is
	turned   *sync.Cond    // turn has changed
	idle     chan struct{} // closed when there is none; nil if nobody waits
	stopPut  context.CancelFunc
	acks     []uint64      // numbers of copies whose entries are finished
	drained  chan struct{} // closed when nothing is spilled, or the circuit opens; nil if nobody waits
}

// spilled is what stays in memory of a chunk that is on disk.
type spilled struct {
	count LevelCounts
	copy  *copied       // nil unless the chunk is still live
	born  time.Duration // since Appender.begun: the clock of the machine may be set
}

// copied is what is known of the copy on disk of a live chunk, which a dying
// goroutine has made. Guarded by Appender.mu.
type copied struct {
	finished bool     // the entries themselves are finished
	lost     bool     // the copy had to make room
	numbers  []uint64 // those read from the disk so far
}

// openSpill opens the directory, if one is set.
func (a *Appender) openSpill(fsys vfs.FS) error {
	cfg := &a.cfg
	if cfg.SpillDir == "" {
		return nil
	}
	store, err := spool.Open[spilled](cfg.SpillDir, spool.Options{
		FS:           fsys,
		MaxBytes:     cfg.SpillMaxBytes,
		SegmentBytes: min(spillSegmentBytes, cfg.SpillMaxBytes/8),
		Logger:       slog.New(&spillLog{a: a}),
	})
	if err != nil {
		return fmt.Errorf("logappender: open the spill: %w", err)
	}
	// What the producer does not take and the disk has not taken yet needs room.
	// Ordinary entries never fill more than softLimit, and a chunk on its way to the
	// disk needs room beside the open one.
	a.spill = &spill{
		store:     store,
		always:    cfg.SpillMode == SpillAlways,
		threshold: min(cfg.BufferBytes/2, a.softLimit()-2*(cfg.ChunkBytes+chunkOverhead)),
		mayHand:   cfg.BufferBytes / 4,
		turned:    sync.NewCond(&a.mu),
	}
	return nil
}

func (s *spill) usableLocked() bool { return !s.sick || !time.Now().Before(s.retry) }

// openCircuitLocked opens the circuit. What it returns, if not nil, makes the
// drainer give up a PutBatch that blocks; it must be called without the lock.
func (a *Appender) openCircuitLocked(f *finished) {
	s := a.spill
	if s.open {
		return
	}
	s.open = true
	a.stats.CircuitOpened++
	f.stopPut, s.stopPut = s.stopPut, nil
	s.drainedLocked(a, f)
}

// closeCircuitLocked closes it: the stream has stored something.
func (a *Appender) closeCircuitLocked() {
	s := a.spill
	s.failures = 0
	if s.open {
		s.open = false
		s.closedAt = a.lastID
	}
}

// failedBatchLocked counts a batch that the stream has not taken.
func (a *Appender) failedBatchLocked(f *finished) {
	a.spill.failures++
	if a.spill.failures >= circuitFailures {
		a.openCircuitLocked(f)
	}
}

// pressureLocked opens the circuit if memory runs short.
func (a *Appender) pressureLocked(f *finished) {
	if s := a.spill; !s.open && a.usedLocked() >= s.threshold && s.usableLocked() {
		a.openCircuitLocked(f)
	}
}

// agedLocked reports whether a chunk has been live for too long.
func (a *Appender) agedLocked() bool {
	c := a.live.head
	for c != nil && c.id <= a.spill.closedAt {
		c = c.next
	}
	return c != nil && time.Since(c.born) >= circuitAge+a.cfg.Linger
}

// tooMuchHandedLocked reports whether the producer has a quarter of the buffer
// already. What it has it keeps for as long as it tries, the disk cannot relieve memory
// of it, and the rest is what there is for a burst, or for a disk that stands still,
// until it has given up.
func (s *spill) tooMuchHandedLocked() bool { return !s.always && !s.open && s.handed >= s.mayHand }

// handedBackLocked notes that the producer is through with a chunk.
func (s *spill) handedBackLocked(d *delivery) {
	s.handed -= d.cost
	d.cost = 0
}

// putDeadlineLocked returns when a PutBatch that blocks should end: when the
// chunk would open the circuit, or the disk is to be tried again.
func (a *Appender) putDeadlineLocked(c *chunk) time.Time {
	soon := time.Now().Add(time.Second)
	at := c.born.Add(circuitAge + a.cfg.Linger)
	if a.spill.sick {
		at = a.spill.retry
	}
	if at.Before(soon) {
		return soon
	}
	return at
}

// drainedLocked tells who waits for the spill to be empty.
func (s *spill) drainedLocked(a *Appender, f *finished) {
	if s.drained != nil && (s.open || a.stats.Spilled.Total() == 0) {
		f.drained, s.drained = s.drained, nil
	}
}

// awaitReplay waits until nothing is on disk, the circuit opens, or ctx ends.
func (a *Appender) awaitReplay(ctx context.Context) {
	s := a.spill
	a.mu.Lock()
	if s.open || a.stats.Spilled.Total() == 0 {
		a.mu.Unlock()
		return
	}
	drained := make(chan struct{})
	s.drained = drained
	a.mu.Unlock()
	select {
	case <-drained:
	case <-ctx.Done():
	}
}

// fault says whose an entry's failure is.
type fault uint8

const (
	noFault fault = iota
	ownFault
	streamFault
)

// faultOf tells the failures that the same entry would meet again from those
// that pass.
func faultOf(err error) fault {
	switch {
	case err == nil:
		return noFault
	case errors.Is(err, producer.ErrTooLarge), errors.Is(err, producer.ErrInvalidKey):
		return ownFault
	default:
		return streamFault
	}
}

// loseSpilled counts what the spill has lost.
func (a *Appender) loseSpilled(l *spool.Loss[spilled]) {
	full := errors.Is(l.Err, spool.ErrFull)
	var f finished
	a.mu.Lock()
	for i := range l.Calls {
		c := &l.Calls[i]
		if c.copy != nil {
			c.copy.lost = true
			continue
		}
		a.loseSpilledLocked(&c.count, full)
	}
	if l.Old {
		what := fmt.Sprintf("%d entries of an earlier process are lost", l.Records)
		if l.Records < 0 {
			what = fmt.Sprintf("entries of an earlier process are lost, %d bytes", l.Bytes)
		}
		a.spillErr = &SpillError{Err: fmt.Errorf("%s: %w", what, l.Err)}
	}
	a.spill.drainedLocked(a, &f)
	a.mu.Unlock()
	f.notify()
	poke(a.report)
}

func (a *Appender) loseSpilledLocked(count *LevelCounts, full bool) {
	a.stats.Spilled.sub(count)
	if !full {
		a.stats.Lost.add(count)
		return
	}
	a.stats.Dropped[DropSpillFull].add(count)
	for i, n := range count {
		a.gap.addN(i, DropSpillFull, n, time.Now())
	}
}

// spillLog is the logger of the spool: it ends in Config.OnError.
type spillLog struct {
	a     *Appender
	attrs string
}

func (*spillLog) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (h *spillLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	var cause error
	r.Attrs(func(at slog.Attr) bool {
		if err, ok := at.Value.Any().(error); ok {
			cause = err
			return true
		}
		fmt.Fprintf(&b, ", %s %v", at.Key, at.Value)
		return true
	})
	err := errors.New(b.String())
	if cause != nil {
		err = fmt.Errorf("%s: %w", b.String(), cause)
	}
	h.a.mu.Lock()
	h.a.spillErr = &SpillError{Err: err}
	h.a.mu.Unlock()
	poke(h.a.report)
	return nil
}

func (h *spillLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, at := range attrs {
		c.attrs += fmt.Sprintf(", %s %v", at.Key, at.Value)
	}
	return &c
}

func (h *spillLog) WithGroup(string) slog.Handler { return h }
