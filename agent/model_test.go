package agent_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

var (
	agentSeeds = flag.Uint64("agent-seeds", 300, "random programs that TestFilePrograms runs")
	agentFrom  = flag.Uint64("agent-from", 1, "the seed of the first of them")
	agentLog   = flag.Bool("agent-log", false, "show the logs of the agent of a program that fails, once it is small")
)

// regressions are seeds that have found a fault, each of a kind of its own.
var regressions = []uint64{452, 644, 676, 3172, 3396, 4381, 6256, 6457, 10652, 21432, 23382, 700648, 702999}

// TestFilePrograms does at random what happens to log files, to streams and to
// agents, and checks that
//   - nothing arrives that was not written, byte by byte,
//   - every line arrives that was to be read while the agent looked; of the others,
//     the counters of lost bytes say how many there are, to the byte,
//   - nothing is sent twice but what a kill left unacknowledged, or acknowledged and not
//     yet stored as such,
//   - what is not pending of a file, as drained tells, is acknowledged, and at rest nothing
//     is pending of any,
//   - the records of a file arrive in order,
//   - memory stays within the budget, and every file is closed at the end.
func TestFilePrograms(t *testing.T) {
	run := func(seed uint64) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			if r := play(t, seed, nil); len(r.problems) > 0 {
				r.report(t)
			}
		})
	}
	if *agentFrom == 1 {
		for _, seed := range regressions {
			if seed >= *agentSeeds+1 {
				run(seed)
			}
		}
	}
	for seed := range *agentSeeds {
		run(*agentFrom + seed)
	}
}

// content is what a file holds.
type content struct {
	lines []string
	part  string // of a line without an end
}

// first returns the lines that are in the first n bytes.
func (c *content) first(n int64) []string {
	for i, l := range c.lines {
		if n -= int64(len(l)); n < 0 {
			return c.lines[:i]
		}
	}
	return c.lines
}

func (c *content) size() (n int) {
	for _, l := range c.lines {
		n += len(l)
	}
	return n + len(c.part)
}

// A program is one run of the model.
type program struct {
	*world
	src    *rand.PCG // of rng
	rng    *rand.Rand
	sorted bool // records arrive in order
	kills  bool
	power  *twoDisks // a kill is a power cut for the disk with the positions; nil: it is not
	wide   bool      // rotated names match the pattern
	more   []op
	links  int // targets that a symbolic link has had
	files  openFiles
	ledger ledger
	faults

	running  bool
	started  bool                // an agent has run
	hiddenAt time.Time           // when a file was last hidden
	halted   time.Time           // since when the process is stopped; zero: it is not
	late     time.Time           // until when the next scan may be late: the last took long since the process was stopped
	held     bool                // the sink keeps its acknowledgements
	at       map[string]*content // by name
	aside    []*content          // of files that were compressed or moved to another directory, and must be read
	refs     map[string]int      // line: how many files hold it
	optional map[string]bool     // lines that may be missing
	unsure   int                 // lines up to this number may be sent again: their file could not be read for long
	few      bool                // a few lines may be sent again: what was read of a file of less than 64 bytes, of which a copy was made unseen
	handles  []string            // lines that only an open handle has
	inexact  bool                // the agent may not have seen all that was lost
	over     bool                // more than was lost may be counted: it has arrived, but an agent ended before it knew
	lost     uint64              // counted by agents that have ended
	broken   brokenRule
	trace    []string
	steps    []step // that were drawn
}

// An op is something that a program does, how often in proportion to the others.
type op struct {
	weight int
	do     func(name string)
}

const (
	modelRotateWait   = time.Second
	modelScanInterval = 10 * time.Second
)

func newProgram(t testing.TB, seed uint64) *program {
	src := rand.NewPCG(seed, 1)
	p := &program{
		world: newWorld(t, agent.FlowConfig{
			PartitionKey: agent.KeyFile, FilePattern: "app-?.log*", RotatedDirs: []string{"old"}, RotateWait: modelRotateWait, ScanInterval: modelScanInterval,
		}),
		src: src, rng: rand.New(src), kills: seed%4 >= 2, wide: seed%5 != 0,
		at: make(map[string]*content), refs: make(map[string]int), optional: make(map[string]bool),
	}
	p.files = openFiles{FS: vfstest.Lazy{FS: vfs.OS}, dir: p.dir, n: &atomic.Int64{}, mu: &sync.Mutex{}, hidden: make(map[string]bool)}
	p.cfg.FS = p.files
	p.ledger = ledger{acked: make(map[string]bool), stored: make(map[string]time.Time)}
	p.wrap = func(s *stream) agent.Sink { return p.ledger.open(s, &p.faults) }
	p.check(os.Mkdir(p.path("old"), 0o700))
	flow := &p.cfg.Flows[0]
	if seed%2 == 0 {
		p.watcher = &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
	}
	if !p.wide {
		flow.FilePattern = p.path("app-?.log")
	}
	if seed%3 == 0 {
		p.cfg.MaxMemoryBytes = 4 << 20
	}
	if seed%11 == 0 {
		flow.MaxOpenFiles = 2
	}
	if seed%13 == 0 {
		p.cfg.NetworkFS = func(string) string { return "nfs" }
	}
	// What has come to the programs later is in those of some seeds alone: the others,
	// regressions among them, stay what they were.
	switch seed % 17 {
	case 0, 1:
		p.more = []op{{6, p.reload}}
	case 2, 3:
		p.more = []op{{6, p.swapLink}}
	case 4, 5:
		p.cfg.FS = p.files.FS
		d := positionsOnDisk(p.world)
		p.files.FS, p.power, p.kills = d, &d, true
		p.cfg.FS = p.files
	case 6, 7:
		p.more = []op{{6, p.copySlowly}}
	}
	refuses := seed%7 == 0
	p.sink.early = seed%3 != 1
	p.sink.drop = seed%6 == 1
	chance := newChance(seed)
	p.sink.delay = func() time.Duration { return time.Duration(chance.below(int64(400 * time.Millisecond))) }
	if refuses {
		p.sink.refuse = func() bool { return chance.below(500) == 0 }
	}
	p.sorted = p.sink.early && !refuses
	switch seed % 23 {
	case 6, 10, 16, 20:
		// The order of each file, though records of it are refused.
		flow.Ordering = agent.OrderingFile
		p.sink.early, p.sink.stopped = true, make(map[string]bool)
		p.sink.refuse = func() bool { return chance.below(100) == 0 }
		p.sorted = true
	}
	p.addTroubles(seed)
	return p
}

func (p *program) showLogs() {
	p.cfg.Logger = slog.New(slog.NewTextHandler(p.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A step is where the random source of a program stands when it begins: what is done, and
// how, follows from that alone, whatever was done before.
type step []byte

// run does the steps, or if they are nil those of the seed.
func (p *program) run(steps []step) {
	drawn := steps == nil
	for i := 0; i < len(steps) || drawn && i < 40; i++ {
		if drawn {
			state, err := p.src.MarshalBinary()
			p.check(err)
			p.steps = append(p.steps, state)
		} else {
			p.check(p.src.UnmarshalBinary(steps[i]))
		}
		p.step()
		p.askDelivery()
		if p.running {
			if used, limit := p.status().MemoryBytes, p.cfg.MaxMemoryBytes; limit > 0 && used > limit/8*3 {
				p.t.Errorf("%d bytes of memory are in use, %d may be", used, limit/8*3)
			}
		}
	}
	p.finish()
	if p.sorted {
		p.verifyOrder()
	}
}

func (p *program) note(format string, args ...any) {
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of every bubble
	p.trace = append(p.trace, time.Since(begin).String()+" "+fmt.Sprintf(format, args...))
}

func (p *program) step() {
	name := fmt.Sprintf("app-%d.log", p.rng.IntN(2))
	ops := append([]op{
		{12, p.append},
		{4, p.partial},
		{5, p.rotate},
		{3, p.copyTruncate},
		{2, p.truncateAway},
		{2, p.deleteOld},
		{2, p.deleteLive},
		{2, p.replace},
		{2, p.compress},
		{2, p.moveAway},
		{1, p.touch},
		{1, p.hardLink},
		{1, p.odd},
		{1, p.hide},
		{2, p.hang},
		{5, p.startOrStop},
		{12, p.pause},
	}, p.more...)
	total := 0
	for _, op := range ops {
		total += op.weight
	}
	n := p.rng.IntN(total)
	for _, op := range ops {
		if n -= op.weight; n < 0 {
			op.do(name)
			return
		}
	}
}
