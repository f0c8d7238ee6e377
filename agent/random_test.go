package agent_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
)

var programs = flag.Uint64("programs", 100, "random programs that TestRandomPrograms runs")

// TestRandomPrograms writes, rotates, truncates, stops, kills and restarts at
// random, and checks that every line arrives, byte by byte, and in each file in
// order.
func TestRandomPrograms(t *testing.T) {
	for seed := range *programs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { runProgram(t, seed) })
		})
	}
}

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

type program struct {
	*world
	rng     *rand.Rand
	open    map[string]string // name: the part of a line that has no end yet
	running bool
	leaves  bool // rotated files leave the pattern: the agent must have seen them before
	trace   []string
}

func runProgram(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, agent.FlowConfig{PartitionKey: agent.KeyFile, FilePattern: "app-?.log*"})
	if seed%2 == 0 {
		w.watcher = &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
	}
	if seed%5 == 0 {
		w.cfg.Flows[0].FilePattern = w.path("app-?.log")
	}
	if seed%3 == 0 {
		w.cfg.MaxMemoryBytes = 4 << 20
	}
	kills, refuses := seed%4 >= 2, seed%7 == 0
	w.sink.early = seed%3 != 1
	w.sink.drop = seed%6 == 1
	chance := newChance(seed)
	w.sink.delay = func() time.Duration { return time.Duration(chance.below(int64(800 * time.Millisecond))) }
	if refuses {
		w.sink.refuse = func() bool { return chance.below(500) == 0 }
	}
	p := &program{world: w, rng: rng, open: make(map[string]string), leaves: seed%5 == 0}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d:\n%s", seed, strings.Join(p.trace, "\n"))
		}
	}()
	for range 40 {
		p.step(kills)
	}
	p.finish()
	w.sink.mu.Lock()
	w.sink.refuse = nil
	w.sink.mu.Unlock()
	if !p.running {
		w.start()
	}
	w.settle(2 * time.Minute)
	duplicates := 0
	if kills {
		duplicates = 40 * len(w.want)
	}
	w.verify(duplicates)
	if w.sink.early && !refuses {
		w.verifyOrder()
	}
	s := w.status()
	if s.BehindBytes != 0 || s.MemoryBytes > 1<<20 || s.State != "running" {
		for _, f := range s.Files {
			if f.Committed != f.Size {
				t.Errorf("at rest: %+v", f)
			}
		}
		s.Files = nil
		t.Errorf("at rest: %+v", s)
	}
	if err := w.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func (p *program) note(format string, args ...any) {
	p.trace = append(p.trace, time.Since(p.begin()).String()+" "+fmt.Sprintf(format, args...))
}

// begin is when every bubble begins.
func (p *program) begin() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func (p *program) step(kills bool) {
	name := fmt.Sprintf("app-%d.log", p.rng.IntN(2))
	switch op := p.rng.IntN(20); {
	case op < 6:
		n := 1 + p.rng.IntN(300)
		if p.rng.IntN(10) == 0 {
			n *= 20
		}
		p.note("%s: %d lines from %d", name, n, p.n+1)
		p.complete(name)
		p.lines(name, n)
	case op < 8:
		p.note("%s: part of a line", name)
		if p.open[name] == "" {
			p.partial(name)
		}
	case op < 10:
		p.rotate(name)
	case op < 11:
		p.copyTruncate(name)
	case op < 12:
		p.deleteOld(name)
	case op < 14:
		p.startOrStop(kills)
	default:
		d := time.Duration(p.rng.Int64N(int64(3 * time.Second)))
		p.note("wait %v", d)
		time.Sleep(d)
	}
}

// partial writes a line without its end.
func (p *program) partial(name string) {
	line := strings.TrimSuffix(p.line(), "\n")
	p.open[name] = line
	p.write(name, line)
}

// complete ends the line that partial began.
func (p *program) complete(name string) {
	if line := p.open[name]; line != "" {
		p.write(name, "\n")
		p.want = append(p.want, line+"\n")
		delete(p.open, name)
	}
}

func (p *program) exists(name string) bool {
	_, err := os.Stat(p.path(name))
	return err == nil
}

// rotate shifts name to name.1, name.1 to name.2 and so on. A line that has no end
// stays without one half of the times.
func (p *program) rotate(name string) {
	if !p.exists(name) {
		return
	}
	if p.leaves {
		if !p.running {
			return
		}
		p.settle(time.Second)
	}
	p.note("%s: rotate", name)
	if p.rng.IntN(2) == 0 {
		p.complete(name)
	} else if line := p.open[name]; line != "" {
		p.want = append(p.want, line)
		delete(p.open, name)
	}
	p.shift(name)
	p.rename(name, name+".1")
	p.lines(name, 1+p.rng.IntN(3))
}

func (p *program) shift(name string) {
	last := 1
	for p.exists(fmt.Sprintf("%s.%d", name, last)) {
		last++
	}
	for i := last; i > 1; i-- {
		p.rename(fmt.Sprintf("%s.%d", name, i-1), fmt.Sprintf("%s.%d", name, i))
	}
}

func (p *program) copyTruncate(name string) {
	fi, err := os.Stat(p.path(name))
	if err != nil || fi.Size() < 200 {
		return // too little content to recognise a copy by
	}
	if p.leaves {
		if !p.running {
			return
		}
		p.settle(time.Second)
	}
	p.note("%s: copy and truncate", name)
	p.complete(name)
	p.shift(name)
	p.copyFile(name, name+".1")
	p.truncate(name)
}

// deleteOld deletes the oldest rotated file if all is delivered.
func (p *program) deleteOld(name string) {
	if !p.running || p.status().BehindBytes != 0 {
		return
	}
	for i := 9; i > 0; i-- {
		old := fmt.Sprintf("%s.%d", name, i)
		if !p.exists(old) {
			continue
		}
		for _, f := range p.status().Files {
			fi, err := os.Stat(p.path(old))
			if err == nil && f.Path == p.path(old) && f.Committed == fi.Size() {
				p.note("%s: delete", old)
				p.remove(old)
				return
			}
		}
		return
	}
}

func (p *program) startOrStop(kills bool) {
	switch {
	case !p.running:
		p.note("start")
		p.start()
		// Between copy and truncation the first scan would take the copy for a file.
		p.settle(100 * time.Millisecond)
	case kills && p.rng.IntN(2) == 0:
		p.note("kill")
		p.kill()
	default:
		err := p.stop()
		p.note("stop: %v", err)
		if err != nil && !errors.Is(err, agent.ErrNotDrained) {
			p.t.Errorf("Run: %v", err)
		}
	}
	p.running = !p.running
}

func (p *program) finish() {
	for name := range p.open {
		p.complete(name)
	}
}

// verifyOrder checks that the records of each partition key arrived in order when
// they arrived first.
func (w *world) verifyOrder() {
	w.t.Helper()
	seen := make(map[string]bool)
	last := make(map[string]string)
	for _, r := range w.sink.records() {
		if seen[string(r.Data)] {
			continue
		}
		seen[string(r.Data)] = true
		if number := string(r.Data[:len("line 000000")]); number < last[r.PartitionKey] {
			w.t.Errorf("key %s: %q came after %q", r.PartitionKey, number, last[r.PartitionKey])
			return
		} else {
			last[r.PartitionKey] = number
		}
	}
}
