package agent

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/producer"
)

const (
	activeFor    = 10 * time.Second       // a file that grew so lately is looked at in each poll
	idlePoll     = time.Second            // others this often
	rescan       = 100 * time.Millisecond // a scan that left a question is repeated
	scanAfter    = 50 * time.Millisecond  // at least between two scans
	openEvery    = 400 * time.Microsecond // so often a file that need not be read is opened after a start
	starvedFlush = 100 * time.Millisecond
)

// maxOrphans is how many orphans a flow remembers. It is a variable for tests.
var maxOrphans = 4096

// A flow moves the records of its files to its sink. Its loop, run, owns the
// files: it looks for them, reads them and cuts them into spans, and never waits
// for anything but its select. A second goroutine, sender, gives the spans to the
// sink and may wait there; a third, flusher, asks the sink to hurry.
type flow struct {
	cfg     FlowConfig
	log     *slog.Logger
	fs      vfs.FS
	store   *position.Store
	sink    Sink
	once    bool
	soon    chan struct{} // capacity 1: store the positions before their time
	network func(dir string) string

	// Owned by run.
	watcher  Watcher // nil: poll
	dirs     map[string]*directory
	denied   map[string]bool  // paths that the last scan could not open
	hidden   map[string]bool  // paths and directories that it could not look at, though they may be there
	missed   map[string]error // what it could not read, for Run to tell with Once
	polled   bool             // events do not come for each of dirs
	byID     map[tail.ID]*file
	uids     map[uint64]struct{} // of all generations that are known
	suspects map[tail.ID]*suspect
	ready    queue   // to be read, in turns
	shut     []*file // known from before, unchanged, and not opened yet

	orphans    map[*file]struct{}
	orphanByID map[tail.ID][]*file
	seeking    map[*file]struct{} // orphans whose window is open

	chunk      *chunk
	pending    *span // cut, waiting for room at the sender
	starved    bool  // no memory for a chunk
	hungry     time.Time
	fresh      bool // no position was known at the start, and no scan has been made
	origin     firstStart
	scanned    bool
	scannedAll bool // the last scan could open all that it wanted to
	scanAt     time.Time
	pollAt     time.Time
	lastScan   time.Time
	scanCost   time.Duration
	seq        uint64
	scratch    []byte // of skip
	cutter     cutter
	head       tail.Head
	notes      notes
	muted      time.Time // when the notes were last too many
	keeper     *keeper   // nil: nothing is protected

	resumer KeyResumer // nil if order is not asked for, or the sink has none

	pool  *tail.Pool[producer.UserRecord]
	wake  chan struct{} // capacity 1: memory came back or a span was completed
	sendC chan *span    // capacity 2: the sender has one at hand while it waits for the next
	flush chan struct{} // capacity 1: flush the sink

	mu        sync.Mutex // guards what follows
	dirty     []*file
	listed    map[*file]struct{} // for Status
	retry     []*span
	failures  int
	lastErr   error
	retryAt   time.Time
	blockedAt time.Time // of the first failure in a row
	logged    time.Time
	expireLog time.Time     // when records that were given up were last logged
	deadLog   time.Time     // when the last trouble with the dead letters was logged
	retryWake chan struct{} // capacity 1: retry changed

	storing        sync.Mutex    // one at a time puts positions into the store, or an older one might come last
	round, durable atomic.Uint64 // of storing positions: the last, and the last that succeeded

	outstanding atomic.Int64 // spans that are cut and not completed
	progress    atomic.Int64 // Unix nanoseconds of the last completed span
	stats       counters
}

func newFlow(cfg FlowConfig, c *Config, store *position.Store, sink Sink, memory *tail.Budget[producer.UserRecord], soon chan struct{}) *flow {
	fl := &flow{
		cfg: cfg, fs: c.FS, store: store, sink: sink, once: c.Once, soon: soon,
		log:        c.Logger.With(slog.String("flow", cfg.ID)),
		network:    c.NetworkFS,
		dirs:       make(map[string]*directory),
		byID:       make(map[tail.ID]*file),
		uids:       make(map[uint64]struct{}),
		orphans:    make(map[*file]struct{}),
		orphanByID: make(map[tail.ID][]*file),
		seeking:    make(map[*file]struct{}),
		suspects:   make(map[tail.ID]*suspect),
		scratch:    make([]byte, 64<<10),
		wake:       make(chan struct{}, 1),
		sendC:      make(chan *span, 2),
		flush:      make(chan struct{}, 1),
		listed:     make(map[*file]struct{}),
		retryWake:  make(chan struct{}, 1),
	}
	if cfg.Ordering == OrderingFile {
		fl.resumer, _ = sink.(KeyResumer)
	}
	fl.keeper = newKeeper(c, &fl.cfg)
	fl.cutter = newCutter(&fl.cfg, fl.log, fl.fs)
	fl.pool = memory.Pool(fl.signal)
	fl.progress.Store(time.Now().UnixNano())
	return fl
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (fl *flow) signal() { poke(fl.wake) }

func (fl *flow) markDirty(g *file) {
	fl.mu.Lock()
	fl.dirty = append(fl.dirty, g)
	fl.mu.Unlock()
}

// checkpoint hands what changed to the store.
func (fl *flow) checkpoint() {
	fl.storing.Lock()
	defer fl.storing.Unlock()
	fl.mu.Lock()
	dirty := fl.dirty
	fl.dirty = nil
	fl.mu.Unlock()
	now, round := time.Now().Unix(), fl.round.Add(1)
	entries := make([]position.Entry, len(dirty))
	drops := make([]bool, len(dirty))
	for i, g := range dirty {
		entries[i], drops[i] = g.take(round)
	}
	// What the positions pass must be on the disk before they are.
	if err := fl.cutter.dead.store(); err != nil {
		fl.deadTrouble(err)
		for _, g := range dirty {
			g.update(func(*position.Entry) {})
		}
		return
	}
	for i, e := range entries {
		if drops[i] {
			fl.store.Delete(e.Flow, e.UID)
			continue
		}
		e.Updated = now
		fl.store.Put(e)
	}
}

// stored notes that everything is durable that checkpoint has handed to the store.
func (fl *flow) stored(round uint64) { fl.durable.Store(round) }

// run reads until ctx ends, or with once until all is read.
func (fl *flow) run(ctx context.Context) {
	fl.restore()
	defer fl.stopReading()
	events := fl.events()

	scan, poll := time.NewTimer(0), time.NewTimer(fl.cfg.PollInterval)
	defer scan.Stop()
	defer poll.Stop()
	fl.scanAt, fl.pollAt = time.Now(), time.Now().Add(fl.cfg.PollInterval)
	for {
		if ctx.Err() != nil || fl.once && fl.finished() {
			return
		}
		var send chan<- *span
		if fl.pending != nil {
			send = fl.sendC
		}
		if fl.pending == nil && !fl.starved && fl.ready.len() > 0 {
			select {
			case ev := <-events:
				fl.noticed(ev)
			case <-scan.C:
				fl.scan()
			case <-poll.C:
				fl.pollAt = time.Now().Add(fl.pollFiles())
			default:
				fl.step()
			}
		} else {
			held := fl.pending != nil || fl.starved
			began := time.Now()
			select {
			case send <- fl.pending:
				fl.pending = nil
			case ev := <-events:
				fl.noticed(ev)
			case <-scan.C:
				fl.scan()
			case <-poll.C:
				fl.pollAt = time.Now().Add(fl.pollFiles())
			case <-fl.wake:
				fl.starved = false
			case <-ctx.Done():
			}
			if held {
				fl.stats.heldNanos.Add(int64(time.Since(began)))
			}
		}
		scan.Reset(time.Until(fl.scanAt))
		poll.Reset(time.Until(fl.pollAt))
	}
}

// events returns the watcher's events; nil if there is none.
func (fl *flow) events() <-chan WatchEvent {
	if fl.watcher == nil {
		return nil
	}
	return fl.watcher.Events()
}

// noticed reacts to an event: a scan soon, or a look at a file that slept.
func (fl *flow) noticed(ev WatchEvent) {
	if ev.Lost {
		fl.stats.overflows.Add(1)
	}
	if ev.Names {
		fl.scanSoon(scanAfter)
	}
	if len(ev.Written) == 0 {
		return
	}
	now := time.Now()
	written := make(map[string]bool, len(ev.Written))
	for _, path := range ev.Written {
		written[path] = true
		if fl.denied[path] {
			fl.scanSoon(scanAfter) // it may be readable now
		}
	}
	for _, g := range fl.byID {
		// Those that are looked at in each poll need no event.
		if now.Sub(g.grew) <= activeFor && g.f != nil || !written[g.path] {
			continue
		}
		if g.f != nil {
			fl.look(g, now)
		} else {
			fl.scanSoon(scanAfter) // opens it
		}
	}
}

// scanSoon brings the next scan forward to at most d after the last.
func (fl *flow) scanSoon(d time.Duration) {
	if at := fl.lastScan.Add(d); at.Before(fl.scanAt) {
		fl.scanAt = at
	}
}

// pollSoon brings the next poll forward: a file grows, or is new, and events of it are
// heeded no more, while the poll was set for files at rest.
func (fl *flow) pollSoon(now time.Time) {
	if at := now.Add(fl.cfg.PollInterval); at.Before(fl.pollAt) {
		fl.pollAt = at
	}
}

// finished reports, with once, whether every file is read to its end.
func (fl *flow) finished() bool {
	if !fl.scanned || fl.pending != nil || fl.ready.len() > 0 || !fl.scannedAll {
		return false
	}
	for _, g := range fl.byID {
		if g.f != nil && g.read < g.size && g.failed == nil {
			g.final = true
			fl.enqueue(g)
		}
	}
	return fl.ready.len() == 0
}

// stopReading ends the loop's work: what was cut and not handed over is read
// again another time.
func (fl *flow) stopReading() {
	if fl.pending != nil {
		fl.discard(fl.pending)
		fl.pending = nil
	}
	fl.dropChunk()
	if fl.watcher != nil {
		if err := fl.watcher.Close(); err != nil {
			fl.log.Warn("cannot close the file watcher", slog.Any("err", err))
		}
		fl.watcher = nil
	}
	for _, g := range fl.byID {
		fl.closeFile(g)
	}
}

// A queue holds the files that wait for their turn.
type queue struct {
	files []*file
	first int
}

func (q *queue) len() int { return len(q.files) - q.first }

func (q *queue) push(g *file) {
	if q.first > len(q.files)/2 { // most of it is gone
		n := copy(q.files, q.files[q.first:])
		clear(q.files[n:])
		q.files, q.first = q.files[:n], 0
	}
	q.files = append(q.files, g)
}

// unpop puts g before the others.
func (q *queue) unpop(g *file) {
	if q.first == 0 {
		q.files = slices.Insert(q.files, 0, g)
		return
	}
	q.first--
	q.files[q.first] = g
}

func (q *queue) pop() *file {
	g := q.files[q.first]
	q.files[q.first] = nil
	q.first++
	return g
}

// discard gives up a span that was not sent. It stays in its file's list and holds
// the commit back there.
func (fl *flow) discard(s *span) {
	s.chunk.Release()
	fl.outstanding.Add(-1)
}

func (fl *flow) closeFile(g *file) {
	if g.f == nil {
		return
	}
	if err := g.f.Close(); err != nil {
		fl.log.Warn("cannot close a file", slog.String("path", g.path), slog.Any("err", err))
	}
	g.f = nil
	fl.stats.openFiles.Add(-1)
	g.long, g.large = nil, false
}
