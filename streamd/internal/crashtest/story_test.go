package crashtest_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

const dataDir = "/data"

// tiny are the sizes of a store that rolls, checkpoints and frees its files every
// few requests. What the store calls them is known here alone.
func tiny(r *rand.Rand) store.Options {
	return store.Options{
		RingFiles: 2 + r.IntN(3),
		RingBytes: 16<<10 + r.IntN(8)<<12,
	}
}

// config is what a story is told of.
type config struct {
	newDisk func() disk
	wrap    func(vfs.FS) vfs.FS // between the store and its disk; nil for nothing
	change  func(*store.Options)
	steps   int // of each life
	lives   int
	powered bool // the power stays on: processes are killed, and lose nothing
	free    bool // syncs do not wait for the driver, since something else would wait for them
}

// failure is what a story came to, if it did not end well.
type failure struct {
	seed uint64
	cuts int // until then
	text string
}

// story is one store's life under a random load, with cuts of the power on the
// way and a new life after each end. Use it inside a bubble.
//
// The driver is one goroutine, and the store's wait for it: whoever syncs a file
// or a directory is parked until the driver lets it go on, and the driver
// itself goes on when everything else has come to rest. So the driver decides
// what is written between two syncs, which of two syncs under way ends first,
// and whether the power goes before one of them; and all of it from the seed.
type story struct {
	t     *testing.T
	cfg   config
	opts  store.Options
	seed  uint64
	r     *rand.Rand // the driver's alone
	began time.Time
	every bool // cut at each sync, three times

	disk   disk
	st     *store.Store
	clk    *clock.Clock
	offset time.Duration // of the server's clock
	life   int
	budget func() bool // takes one cut of what there is to spend
	cuts   int
	values int // records made so far
	bad    *failure

	mu      sync.Mutex // guards what follows
	gating  bool
	inline  *inlineCuts
	parked  []*parked
	busy    int // requests under way
	tick    time.Duration
	streams []*stream
	items   []*item
}

// parked is a sync that waits for the driver.
type parked struct {
	op   vfstest.Op
	name string
	go_  chan struct{} // closed by the driver
}

// inlineCuts collects cuts while a store is opened, when there is no driver.
type inlineCuts struct {
	r    *rand.Rand
	disk disk
	most int
	cuts []disk
	seen int // syncs
}

// tell runs a story until it has an end, and returns what went wrong. budget is
// asked before each cut, and ends the story when it says no.
func tell(t *testing.T, cfg config, seed uint64, budget func() bool) (cuts int, bad *failure) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &story{
			t: t, cfg: cfg, seed: seed, budget: budget, began: time.Now(),
			r: rand.New(rand.NewPCG(seed, 1)),
		}
		s.opts = tiny(s.r)
		if cfg.change != nil {
			cfg.change(&s.opts)
		}
		s.every = s.r.IntN(3) == 0
		// A driver that waits for what waits for it would let the time of the
		// bubble run away.
		stuck := time.AfterFunc(2000*time.Hour, func() { panic(fmt.Sprintf("the story of seed %d does not get on", seed)) })
		defer stuck.Stop()
		s.disk = cfg.newDisk()
		if err := s.disk.MkdirAll(dataDir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := s.disk.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		for s.life = 0; s.life < cfg.lives && s.bad == nil; s.life++ {
			if !s.live() {
				break
			}
		}
		cuts, bad = s.cuts, s.bad
	})
	return cuts, bad
}

// fail notes what went wrong first.
func (s *story) fail(format string, args ...any) {
	if s.bad == nil {
		s.bad = &failure{s.seed, s.cuts, fmt.Sprintf("life %d: ", s.life) + fmt.Sprintf(format, args...)}
	}
}

// now is the time on the clock of the histories: that of the bubble, and so
// much more that no two calls return the same.
func (s *story) now() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick++
	return time.Since(s.began) + s.tick
}

// hook is called before each operation of the disk in use.
func (s *story) hook(op vfstest.Op, name string) error {
	if op != vfstest.Sync && op != vfstest.SyncDir {
		return nil
	}
	s.mu.Lock()
	if in := s.inline; in != nil {
		if in.seen++; len(in.cuts) < in.most && in.r.IntN(2) == 0 {
			in.cuts = append(in.cuts, in.disk.cut(in.r, s.share(in.r)))
		}
	}
	if !s.gating {
		s.mu.Unlock()
		return nil
	}
	p := &parked{op, name, make(chan struct{})}
	s.parked = append(s.parked, p)
	s.mu.Unlock()
	<-p.go_
	return nil
}

// gate says whether syncs are parked from now on. Those that are parked are let
// go if not.
func (s *story) gate(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gating = on
	if on {
		return
	}
	for _, p := range s.parked {
		close(p.go_)
	}
	s.parked = nil
}

// open opens the store on d.
func (s *story) open(d disk) (*store.Store, *clock.Clock, error) {
	opts := s.opts
	opts.Dir, opts.FS, opts.Clock, opts.Logger = dataDir, d, new(clock.Clock), slog.New(slog.DiscardHandler)
	if s.cfg.wrap != nil {
		opts.FS = s.cfg.wrap(d)
	}
	opts.Clock.Advance(s.offset)
	st, err := store.Open(opts)
	if err != nil {
		opts.Clock.Close()
		return nil, nil, err
	}
	return st, opts.Clock, nil
}

// openWithCuts opens the store on d and returns the cuts that were made
// meanwhile, most at most.
func (s *story) openWithCuts(d disk, most int) (*store.Store, *clock.Clock, []disk, error) {
	in := &inlineCuts{r: rand.New(rand.NewPCG(s.seed, uint64(1000+s.cuts))), disk: d, most: most}
	s.mu.Lock()
	was := s.gating
	s.gating, s.inline = false, in
	s.mu.Unlock()
	d.SetHook(s.hook)
	st, clk, err := s.open(d)
	synctest.Wait() // what Open has begun may still sync
	s.mu.Lock()
	s.gating, s.inline = was, nil
	s.mu.Unlock()
	return st, clk, in.cuts, err
}

// live runs one life of the store, and reports whether there is to be another.
func (s *story) live() bool {
	if s.r.IntN(4) == 0 {
		// Another process may have another clock: what it takes must not show.
		s.offset = time.Duration(s.r.IntN(3)) * time.Minute
	}
	st, clk, cuts, err := s.openWithCuts(s.disk, 6)
	if err != nil {
		s.fail("the store does not open: %v", err)
		return false
	}
	s.st, s.clk = st, clk
	for _, d := range cuts {
		if !s.spend() {
			break
		}
		s.verify(d, "a cut while the store was opened", 0)
	}
	if s.life == 0 && s.bad == nil {
		s.setUp()
	}
	if s.bad == nil {
		s.resolve()
	}
	s.gate(!s.cfg.free)
	more := s.bad == nil
	for step := 0; step < s.cfg.steps && s.bad == nil; step++ {
		synctest.Wait()
		if !s.step() {
			more = false
			break
		}
	}
	synctest.Wait()
	s.end()
	return more
}

// spend takes one cut from the budget.
func (s *story) spend() bool {
	if s.bad != nil || !s.budget() {
		return false
	}
	s.cuts++
	return true
}

var percents = []int{0, 50, 100}

// step does one thing: lets a sync go on, begins a request, lets time pass, or
// cuts the power of a copy. It returns false when there are no cuts left.
func (s *story) step() bool {
	s.mu.Lock()
	parked, busy := len(s.parked), s.busy
	s.mu.Unlock()
	if parked > 0 && (busy >= 6 || s.r.IntN(3) == 0) {
		s.mu.Lock()
		i := s.r.IntN(parked)
		p := s.parked[i]
		s.mu.Unlock()
		if s.every {
			for _, percent := range percents {
				if s.cfg.powered && percent < 100 {
					continue
				}
				if !s.cut(percent, p) {
					return false
				}
			}
		} else if s.r.IntN(3) == 0 && !s.cut(s.percent(), p) {
			return false
		}
		if s.bad != nil {
			return true
		}
		s.mu.Lock()
		s.parked = append(s.parked[:i:i], s.parked[i+1:]...)
		s.mu.Unlock()
		close(p.go_)
		return true
	}
	switch n := s.r.IntN(24); {
	case n == 0:
		d := time.Duration(1+s.r.IntN(100)) * time.Millisecond
		if s.r.IntN(8) == 0 && parked == 0 { // no disk takes hours for a sync
			d = time.Duration(1+s.r.IntN(20)) * time.Hour
		}
		time.Sleep(d)
	case n == 1 && !s.every:
		return s.cut(s.percent(), nil)
	case busy < 8:
		s.request()
	}
	return true
}

// percent is one of 0, 50 and 100, or now and then any.
func (s *story) percent() int {
	if s.r.IntN(4) == 0 && !s.cfg.powered {
		return 1 + s.r.IntN(99)
	}
	return s.share(s.r)
}

// share is one of 0, 50 and 100, or 100 if the power stays on.
func (s *story) share(r *rand.Rand) int {
	if s.cfg.powered {
		return 100
	}
	return percents[r.IntN(len(percents))]
}

// cut verifies what a power cut at this moment leaves. p is the sync that is
// about to be done, or nil.
func (s *story) cut(percent int, p *parked) bool {
	if !s.spend() {
		return false
	}
	where := "at rest"
	if p != nil {
		where = fmt.Sprintf("before the %s of %s", p.op, p.name)
	}
	r := rand.New(rand.NewPCG(s.seed, uint64(s.cuts)))
	s.verify(s.disk.cut(r, percent), fmt.Sprintf("cut %d, %s, keeping %d%%", s.cuts, where, percent), 2)
	return true
}

// end ends a life, in one of the ways in which lives end, and leaves the disk
// for the next.
func (s *story) end() {
	s.mu.Lock()
	for _, str := range s.streams {
		if str.last != nil { // the next life may have a slower clock
			str.passed(s.clock(), str.last.Retention)
		}
	}
	s.mu.Unlock()
	switch how := s.r.IntN(4); {
	case s.bad != nil:
		s.disk.PowerOff()
	case how == 0: // in order
		s.gate(false)
		synctest.Wait()
		if err := s.st.Close(); err != nil {
			s.fail("Close: %v", err)
		}
		s.clk.Close()
		return
	case how == 1: // killed
		next := s.disk.takeOver()
		defer func() { s.disk = next }()
	default: // the power goes
		s.cuts++
		next := s.disk.cut(rand.New(rand.NewPCG(s.seed, uint64(s.cuts))), s.percent())
		s.disk.PowerOff()
		defer func() { s.disk = next }()
	}
	s.gate(false)
	synctest.Wait()
	_ = s.st.Close() // its disk is gone
	s.clk.Close()
	synctest.Wait()
}
