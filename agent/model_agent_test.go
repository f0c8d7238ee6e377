package agent_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
)

// What a program does to the agent, to its stream, and to its right to look at files.

// chance is a random source for the goroutines of sinks, of which a killed agent
// leaves one behind.
type chance struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newChance(seed uint64) *chance { return &chance{rng: rand.New(rand.NewPCG(seed, 2))} }

func (c *chance) below(n int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Int64N(n)
}

// openFiles counts the files that are open, and hides some of them.
type openFiles struct {
	vfs.FS
	dir    string // whose files count
	n      *atomic.Int64
	mu     *sync.Mutex
	hidden map[string]bool // guarded by mu: nobody may open or look at them
}

func (o openFiles) denied(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.hidden[name] {
		return &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return nil
}

func (o openFiles) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := o.denied(name); err != nil {
		return nil, err
	}
	f, err := o.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.HasPrefix(name, o.dir) {
		return f, err
	}
	o.n.Add(1)
	return &countedFile{File: f, n: o.n}, nil
}

type countedFile struct {
	vfs.File
	n    *atomic.Int64
	once sync.Once
}

func (f *countedFile) Close() error {
	f.once.Do(func() { f.n.Add(-1) })
	return f.File.Close()
}

// hide takes the permission to look at a file away, or gives all back.
func (p *program) hide(name string) {
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	if len(p.files.hidden) > 0 {
		p.note("all files may be read again")
		p.seenAgain()
		for path := range p.files.hidden {
			p.tell(agent.WatchEvent{Written: []string{path}})
		}
		clear(p.files.hidden)
		return
	}
	p.note("%s: may not be read", name)
	p.files.hidden[p.path(name)] = true
	p.hiddenAt = time.Now()
}

// seenAgain notes what may have happened while a file could not be read: for so long the
// agent does not wait to see whether a file that it had closed was truncated.
func (p *program) seenAgain() {
	if len(p.files.hidden) > 0 && !p.allOpen() && time.Since(p.hiddenAt) >= 12*modelRotateWait {
		p.unsure, p.over = p.n, true
	}
}

// hang lets the sink keep its acknowledgements, or give those that it kept.
func (p *program) hang(string) {
	if p.held = !p.held; p.held {
		p.note("the sink hangs")
		p.sink.keep()
		return
	}
	p.note("the sink goes on")
	p.sink.release()
}

// fail makes the stream refuse all there is, or take it again.
func (p *program) fail(string) {
	p.trouble.mu.Lock()
	fails := !p.trouble.fails
	p.trouble.fails = fails
	p.trouble.mu.Unlock()
	p.note("the stream refuses all: %v", fails)
}

// stall makes the calls of the sink hang, or go on.
func (p *program) stall(string) {
	hangs := p.trouble.stalled.running()
	p.note("the calls of the sink hang: %v", hangs)
	if hangs {
		p.trouble.stalled.close()
	} else {
		p.trouble.stalled.open(nil)
	}
}

// halt stops the process of the agent where it is, as SIGSTOP does, or lets it go on.
func (p *program) halt(string) {
	switch {
	case !p.running:
	case p.halted.IsZero():
		p.note("the process is stopped")
		p.halted = time.Now()
		p.process.close()
	default:
		p.note("the process goes on")
		p.goOn(nil)
		p.settle(100 * time.Millisecond)
	}
}

// goOn ends the stop of a process, with an error that of all it does.
func (p *program) goOn(err error) {
	if !p.halted.IsZero() {
		p.ledger.slept(time.Since(p.halted))
		p.halted = time.Time{}
		p.process.open(err)
		p.late = time.Now().Add(modelScanInterval)
	}
}

// begin starts an agent.
func (p *program) begin() {
	if p.broken.before != nil && p.started {
		p.broken.before(p)
	}
	p.start()
	p.started = true
}

func (p *program) startOrStop(string) {
	switch {
	case !p.running:
		p.note("start")
		p.begin()
		// Between copy and truncation the first scan would take the copy for a file.
		p.settle(100 * time.Millisecond)
	case p.kills && p.rng.IntN(2) == 0:
		p.note("kill")
		if n := p.a.Status().CheckpointFailures; n > 0 {
			p.t.Errorf("the positions could not be stored %d times", n)
		}
		p.goOn(errKilled)
		p.kill()
		p.ledger.killed(p.contents())
		if p.power != nil {
			percent := []int{0, 50, 100}[p.rng.IntN(3)]
			p.note("power cut, %d%% of what is not synced are left", percent)
			p.power.cut(p.rng, percent)
		}
		p.held, p.over = false, true // another sink
		p.ended()
	default:
		p.terminate()
		return
	}
	p.running = !p.running
}

// terminate stops the agent.
func (p *program) terminate() {
	p.goOn(nil)
	err := p.stop()
	p.note("stop: %v", err)
	if err != nil && !errors.Is(err, agent.ErrNotDrained) {
		p.t.Errorf("Run: %v", err)
	}
	p.ledger.stopped(p.contents(), err == nil)
	p.over = p.over || err != nil
	p.ended()
	p.running = false
}

// reload gives the agent its configuration as if it were another: the flow is stopped,
// and goes on.
func (p *program) reload(string) {
	if !p.looks() {
		return
	}
	p.note("reload")
	before := p.a.FirstFlow()
	_, err := p.a.Reload(p.t.Context(), &p.cfg, p.opener())
	p.check(err)
	s, drained := before()
	p.ledger.ended(p.contents(), drained)
	p.over = p.over || !drained
	p.closed(s)
	p.settle(100 * time.Millisecond)
}
