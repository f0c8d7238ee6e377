// Package store is the engine of streamd as its API sees it: put, read, change
// and look at streams and tables. Whatever changes goes through the journal;
// what can be seen is durable.
//
// Two goroutines do the work, and a change passes through them once:
//
//	caller ─ encodes an entry ─▶ queue ─▶ commit: one frame of all that waits ─▶ journal
//	caller ◀─ outcome ─ apply: in journal order, one pure function ◀─ frame ──────┘
//
// The commit loop waits for nothing but the journal: what arrives during one
// write shares the next. The apply loop follows the journal, from the last
// snapshot on at the start and then for ever; a frame of its own releases the
// callers whose entries it holds. Once it has caught up, the journal calls it from
// the goroutine that appends, before Append returns.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Errors of a store.
var (
	// ErrNoStream means that the stream does not exist (any more), or has no
	// shards yet.
	ErrNoStream = errors.New("store: no such stream")

	// ErrNoShard means that the shard does not exist or has expired.
	ErrNoShard = errors.New("store: no such shard")

	// ErrFull means that the store takes no more for now: the disk is full, or
	// more is waiting to be written than the store will hold. Nothing was
	// stored.
	ErrFull = errors.New("store: full")

	// ErrFailed means that the journal has failed: whether the change is stored
	// is not known before the process has started again.
	ErrFailed = errors.New("store: the journal has failed")

	// ErrClosed means that the store is closed.
	ErrClosed = errors.New("store: closed")
)

// Options say what a store is made of.
type Options struct {
	// Dir is the data directory; empty keeps everything in memory.
	Dir    string
	FS     vfs.FS        // default vfs.OS
	Fsync  journal.Fsync // default: before every acknowledgement
	Clock  *clock.Clock  // required; the caller closes it after the store
	Logger *slog.Logger  // default slog.Default()

	// RingFiles and RingBytes are the number and the size of the journal's
	// files. Default 3 of 16 MiB.
	RingFiles, RingBytes int

	// MaxBytes bounds what the data directory takes; beyond it records are
	// refused. 0 sets no bound.
	MaxBytes int64

	// Synced, if not nil, is told how long each fsync of the journal took.
	Synced func(took time.Duration)
}

// Limits of the commit loop.
const (
	maxQueueBytes = 64 << 20 // waiting to be written, beyond which callers get ErrFull
	maxFrameBytes = 4 << 20  // of one frame, unless a single entry is larger
	trimInterval  = time.Minute
	trimLag       = time.Minute // see trimTime
	maxStalls     = 3           // checkpoints that a frame waits for, if they free nothing for it
)

// Store is a server's streams and tables. It is safe for concurrent use.
type Store struct {
	opts   Options
	log    *slog.Logger
	clock  *clock.Clock
	meta   meta
	j      journal.Journal
	bodies journal.Reader
	unlock func() error

	session uint64

	ring    *journal.Local // the journal of a data directory
	runs    runs.Set
	footers *runs.Cache

	mu    sync.RWMutex // guards what follows; taken for writing by the apply loop, checkpoints and trimming alone
	state *state.State
	at    journal.LSN // position of the state

	queue     queue
	frames    frames // written by the commit loop, not applied yet
	watchers  watchers
	applied   atomic.Uint64 // position of the state
	caughtUp  chan struct{} // closed when the state has reached the journal's head at the start
	failed    chan struct{} // closed when the store can take no more writes
	failure   error         // what closed failed
	failOnce  sync.Once
	snapshots snapshots

	aging         aging
	checkpoints   checkpoints
	between       chan func()   // what the loop that writes checkpoints is to do between two of them
	noCheckpoints chan struct{} // closed when that loop has ended
	refused       int           // calls in a row, for want of room; the commit loop's alone
	stalled       atomic.Int64  // ns that commits have waited for checkpoints
	room          room

	stopCommit     context.CancelFunc
	stopApply      context.CancelFunc
	stopCheckpoint context.CancelFunc
	commits        sync.WaitGroup
	applies        sync.WaitGroup
	writes         sync.WaitGroup // of checkpoints
	closeOnce      sync.Once
	closed         atomic.Bool
	closeErr       error
}

// Open opens the store in opts.Dir and makes it if it is not there. It returns
// when the state is complete. Its errors are for the operator.
func Open(opts Options) (_ *Store, err error) {
	if opts.FS == nil {
		opts.FS = vfs.OS
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	s := &Store{
		opts: opts, log: opts.Logger, clock: opts.Clock, state: state.New(),
		caughtUp: make(chan struct{}), failed: make(chan struct{}),
		between: make(chan func()), noCheckpoints: make(chan struct{}),
		unlock: func() error { return nil },
	}
	s.queue.init()
	from, err := s.openJournal()
	if err != nil {
		return nil, errors.Join(err, s.unlock())
	}
	head, err := s.j.Head(context.Background())
	if err != nil {
		return nil, errors.Join(err, s.j.Close(), s.unlock())
	}
	if head < from {
		err := fmt.Errorf("%w: the snapshot in %s is at journal position %d, but the journal ends at %d; %s", ErrDamaged, opts.Dir, from, head, advice)
		return nil, errors.Join(err, s.j.Close(), s.unlock())
	}
	s.aging.log = s.log
	s.session = uint64(head) + 1 // grows with every start that wrote anything
	s.applied.Store(uint64(from))
	s.at = from
	s.checkpoints.init(from, s.clock.Now())

	s.stopCheckpoint = run(&s.writes, s.checkpointLoop)
	s.stopApply = run(&s.applies, func(ctx context.Context) { s.apply(ctx, from, head) })
	select {
	case <-s.caughtUp:
	case <-s.failed:
		s.stopApply()
		s.applies.Wait()
		s.stopCheckpoint()
		s.writes.Wait()
		return nil, errors.Join(s.failure, s.runs.Close(), s.j.Close(), s.unlock())
	}
	s.aging.start(s.state.LastArrival(), s.clock.Now())
	s.stopCommit = run(&s.commits, s.commit)
	s.resumeTransitions()
	s.scheduleTrim()
	return s, nil
}

// run starts a loop that ends with its context.
func run(wg *sync.WaitGroup, loop func(ctx context.Context)) (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(context.Background())
	wg.Go(func() { loop(ctx) })
	return stop
}

// Close writes a checkpoint, so that the next start is quick, and frees
// everything. Calls under way end with ErrClosed. A second call returns the
// result of the first.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.closed.Store(true)
		s.stopCommit()
		s.commits.Wait()
		s.queue.fail(ErrClosed)
		s.drain()
		s.stopApply()
		s.applies.Wait()
		s.frames.fail(ErrClosed)
		s.stopCheckpoint()
		s.writes.Wait()
		if s.opts.Dir != "" && s.Err() == nil {
			if err := s.writeCheckpoint(s.state.Clone(), s.at); err != nil {
				s.log.Warn("cannot write a checkpoint; nothing is lost, but the next start reads more of the journal", slog.Any("err", err))
			}
		}
		s.closeErr = errors.Join(s.runs.Close(), s.j.Close(), s.unlock())
	})
	return s.closeErr
}

// drain waits until what was committed is applied.
func (s *Store) drain() {
	for {
		head, err := s.j.Head(context.Background())
		if err != nil || s.applied.Load() >= uint64(head) {
			return
		}
		if !s.frames.waitApplied(s.failed) {
			return
		}
	}
}

// Failed is closed when the store can take no more writes and the process must
// end; see Err.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err returns what made the store fail, or nil.
func (s *Store) Err() error {
	select {
	case <-s.failed:
		return s.failure
	default:
		return nil
	}
}

func (s *Store) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = err
		close(s.failed)
	})
	s.queue.fail(ErrFailed)
	s.frames.fail(ErrFailed)
}

// Waiting returns how long a change has waited that was handed to the journal: a
// disk that is well takes milliseconds.
func (s *Store) Waiting() time.Duration { return s.frames.oldest() }

// Now returns the server's time.
func (s *Store) Now() time.Time { return s.clock.Now() }

// Secret returns the key that iterators and tokens are made with. It stays with
// the data.
func (s *Store) Secret() [32]byte { return s.meta.Secret }
