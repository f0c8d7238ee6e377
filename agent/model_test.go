package agent_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

var (
	agentSeeds = flag.Uint64("agent-seeds", 300, "random programs that TestFilePrograms runs")
	agentFrom  = flag.Uint64("agent-from", 1, "the seed of the first of them")
	agentLog   = flag.Bool("agent-log", false, "show the logs of their agents")
)

// regressions are seeds that have found a fault, each of a kind of its own.
var regressions = []uint64{452, 676, 3172, 3396, 4381, 6457, 10652, 21432, 23382}

// TestFilePrograms does at random what happens to log files, to streams and to
// agents, and checks that
//   - nothing arrives that was not written, byte by byte,
//   - every line arrives that was to be read while the agent looked; of the others,
//     the counters of lost bytes say how many there are, to the byte,
//   - nothing arrives twice but after a kill,
//   - the records of a file arrive in order,
//   - memory stays within the budget, and every file is closed at the end.
func TestFilePrograms(t *testing.T) {
	run := func(seed uint64) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { runProgram(t, seed) })
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

// content is what a file holds.
type content struct {
	lines []string
	part  string // of a line without an end
	link  string // what a symbolic link points at
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
	rng   *rand.Rand
	kills bool
	wide  bool // rotated names match the pattern
	files openFiles

	running  bool
	held     bool                // the sink keeps its acknowledgements
	at       map[string]*content // by name
	refs     map[string]int      // line: how many files hold it
	optional map[string]bool     // lines that may be missing
	again    bool                // lines may arrive twice
	few      bool                // a few may: what was read of a file of less than 64 bytes, of which a copy was made unseen
	handles  []string            // lines that only an open handle has
	inexact  bool                // the agent may not have seen all that was lost
	lost     uint64              // counted by agents that have ended
	trace    []string
}

const modelRotateWait = time.Second

func runProgram(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := &program{
		world: newWorld(t, agent.FlowConfig{
			PartitionKey: agent.KeyFile, FilePattern: "app-?.log*", RotatedDirs: []string{"old"}, RotateWait: modelRotateWait,
		}),
		rng: rng, kills: seed%4 >= 2, wide: seed%5 != 0,
		at: make(map[string]*content), refs: make(map[string]int), optional: make(map[string]bool),
	}
	p.files = openFiles{FS: vfstest.Lazy{FS: vfs.OS}, dir: p.dir, n: &atomic.Int64{}, mu: &sync.Mutex{}, hidden: make(map[string]bool)}
	p.cfg.FS = p.files
	if *agentLog {
		p.cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
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
	refuses := seed%7 == 0
	p.sink.early = seed%3 != 1
	p.sink.drop = seed%6 == 1
	chance := newChance(seed)
	p.sink.delay = func() time.Duration { return time.Duration(chance.below(int64(400 * time.Millisecond))) }
	if refuses {
		p.sink.refuse = func() bool { return chance.below(500) == 0 }
	}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d:\n%s", seed, strings.Join(p.trace, "\n"))
		}
	}()
	for range 40 {
		p.step()
		if p.running {
			if used, limit := p.status().MemoryBytes, p.cfg.MaxMemoryBytes; limit > 0 && used > limit/8*3 {
				t.Errorf("%d bytes of memory are in use, %d may be", used, limit/8*3)
			}
		}
	}
	p.finish()
	if p.sink.early && !refuses {
		p.verifyOrder()
	}
}

func (p *program) note(format string, args ...any) {
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of every bubble
	p.trace = append(p.trace, time.Since(begin).String()+" "+fmt.Sprintf(format, args...))
}

func (p *program) step() {
	name := fmt.Sprintf("app-%d.log", p.rng.IntN(2))
	if c := p.at[name]; c != nil && c.link != "" {
		name = c.link
	}
	ops := []struct {
		weight int
		do     func(name string)
	}{
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
	}
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

func (p *program) pause(string) {
	d := time.Duration(p.rng.Int64N(int64(2 * time.Second)))
	p.note("wait %v", d)
	time.Sleep(d)
}

// seen lets a running agent notice what is there.
func (p *program) seen() {
	if p.running {
		p.settle(1200 * time.Millisecond)
	}
}

func (p *program) file(name string) *content {
	c := p.at[name]
	if c == nil {
		c = &content{}
		p.at[name] = c
	}
	return c
}

func (p *program) append(name string) {
	n := 1 + p.rng.IntN(200)
	if p.rng.IntN(10) == 0 {
		n *= 20
	}
	p.note("%s: %d lines from %d", name, n, p.n+1)
	p.add(name, n)
}

// add ends the line that is open and writes n others.
func (p *program) add(name string, n int) {
	p.complete(name)
	c := p.file(name)
	from := len(p.want)
	p.lines(name, n)
	for _, l := range p.want[from:] {
		c.lines = append(c.lines, l)
		p.refs[l]++
	}
}

func (p *program) partial(name string) {
	c := p.file(name)
	if c.part != "" {
		return
	}
	p.note("%s: part of line %d", name, p.n+1)
	c.part = strings.TrimSuffix(p.line(), "\n")
	p.write(name, c.part)
}

func (p *program) complete(name string) {
	if c := p.at[name]; c != nil && c.part != "" {
		p.write(name, "\n")
		p.keep(c, c.part+"\n")
	}
}

// keep makes a line of the part that c ends with.
func (p *program) keep(c *content, line string) {
	p.want = append(p.want, line)
	c.lines = append(c.lines, line)
	p.refs[line]++
	c.part = ""
}

// leave ends the writing to a file: half of the times the last line has no end.
func (p *program) leave(name string) {
	c := p.at[name]
	if c.part == "" {
		return
	}
	if p.rng.IntN(2) == 0 {
		p.complete(name)
	} else {
		p.keep(c, c.part)
	}
}

func (p *program) exists(name string) bool { return p.at[name] != nil }

func (p *program) move(from, to string) {
	p.check(os.MkdirAll(filepath.Dir(p.path(to)), 0o700))
	p.rename(from, to)
	p.at[to] = p.at[from]
	delete(p.at, from)
}

// gone notes that the lines of c are not in a file any more, but for copies. handle
// says that a running agent has them open.
func (p *program) gone(c *content, handle bool) {
	if c.part != "" {
		p.keep(c, c.part)
	}
	for _, l := range c.lines {
		if p.refs[l]--; p.refs[l] > 0 {
			continue
		}
		if handle {
			p.handles = append(p.handles, l)
		} else {
			p.optional[l] = true
		}
	}
}

// shift makes way for name.1.
func (p *program) shift(name string) {
	last := 1
	for p.exists(fmt.Sprintf("%s.%d", name, last)) {
		last++
	}
	for i := last; i > 1; i-- {
		p.move(fmt.Sprintf("%s.%d", name, i-1), fmt.Sprintf("%s.%d", name, i))
	}
}

// known says whether files may go where only one who has seen them finds them: the
// agent runs, and has.
func (p *program) known() bool {
	if p.wide {
		return true
	}
	if !p.running || p.isHidden() {
		return false
	}
	p.seen()
	return p.allOpen()
}

// allOpen reports whether the agent has all of the flow's files open.
func (p *program) allOpen() bool { return p.cfg.Flows[0].MaxOpenFiles == 0 && p.cfg.NetworkFS == nil }

func (p *program) isHidden() bool {
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	return len(p.files.hidden) > 0
}

func (p *program) rotate(name string) {
	if !p.exists(name) || !p.known() {
		return
	}
	p.note("%s: rotate", name)
	p.leave(name)
	p.shift(name)
	p.move(name, name+".1")
	p.add(name, 1+p.rng.IntN(3))
}

// copyTruncate copies name to name.1, at times to another directory or compressed,
// and truncates it.
func (p *program) copyTruncate(name string) {
	c := p.at[name]
	if c == nil || c.size() < 200 || p.isHidden() {
		return // too little content to recognise a copy by
	}
	p.seen() // a copy within the first look cannot be told from a file
	if !p.known() {
		return
	}
	p.note("%s: copy and truncate", name)
	p.few = p.few || !p.running
	p.complete(name)
	p.shift(name)
	to := name + ".1"
	p.copyFile(name, to)
	p.at[to] = &content{lines: c.lines}
	p.truncate(name)
	p.at[name] = &content{}
	if p.rng.IntN(3) == 0 {
		p.note("%s: refill", name)
		p.add(name, 1+p.rng.IntN(400))
	}
}

// truncateAway truncates a file of which there is no copy.
func (p *program) truncateAway(name string) {
	c := p.at[name]
	if c == nil || p.isHidden() {
		return
	}
	p.seen()
	if !p.running {
		p.inexact = true
	}
	p.note("%s: truncate", name)
	p.truncate(name)
	p.gone(c, false)
	p.at[name] = &content{}
	if p.rng.IntN(2) == 0 {
		p.note("%s: refill", name)
		p.add(name, 1+p.rng.IntN(400))
	}
}

func (p *program) old(name string) string {
	for i := 9; i > 0; i-- {
		if old := fmt.Sprintf("%s.%d", name, i); p.exists(old) {
			return old
		}
	}
	return ""
}

// deleteOld deletes the oldest rotated file.
func (p *program) deleteOld(name string) {
	if old := p.old(name); old != "" {
		p.erase(old)
	}
}

func (p *program) erase(name string) {
	if p.isHidden() {
		return
	}
	p.seen()
	open := p.running && p.allOpen()
	if !open {
		p.inexact = true
	}
	p.note("%s: delete", name)
	p.remove(name)
	p.gone(p.at[name], open)
	delete(p.at, name)
}

// deleteLive deletes a file, and makes another with its name, which may get its
// inode.
func (p *program) deleteLive(name string) {
	if !p.exists(name) {
		return
	}
	p.erase(name)
	if p.exists(name) {
		return
	}
	p.add(name, 1+p.rng.IntN(50))
}

// replace puts another file in the place of one.
func (p *program) replace(name string) {
	if !p.exists(name) || p.isHidden() {
		return
	}
	p.seen()
	open := p.running && p.allOpen()
	if !open {
		p.inexact = true
	}
	p.note("%s: replace", name)
	c := p.at[name]
	p.add("new", 1+p.rng.IntN(50))
	p.rename("new", name)
	p.gone(c, open)
	p.at[name] = p.at["new"]
	delete(p.at, "new")
}

// compress puts a rotated file into a compressed one.
func (p *program) compress(name string) {
	old := name + ".1"
	c := p.at[old]
	if c == nil || c.size() < 200 || p.isHidden() {
		return
	}
	p.seen()
	if !p.allOpen() {
		return
	}
	open := p.running
	p.note("%s: compress", old)
	b, err := os.ReadFile(p.path(old))
	p.check(err)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err = w.Write(b)
	p.check(errors.Join(err, w.Close()))
	if err := os.Remove(p.path(old + ".gz")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	half := z.Len() / 2
	p.write(old+".gz", z.String()[:half])
	time.Sleep(time.Duration(p.rng.Int64N(int64(300 * time.Millisecond))))
	p.write(old+".gz", z.String()[half:])
	p.remove(old)
	delete(p.at, old)
	if open {
		p.gone(c, true)
		return
	}
	// It is found if the agent knows it: it has run while it was there. The names of
	// compressed files are not shifted, so it may be overwritten by the next.
	p.gone(c, false)
	p.inexact = true
}

// moveAway moves a rotated file to the directory for them.
func (p *program) moveAway(name string) {
	old := name + ".1"
	if !p.exists(old) || p.isHidden() {
		return
	}
	p.seen()
	if !p.running || !p.allOpen() {
		return
	}
	p.note("%s: move away", old)
	c := p.at[old]
	p.rename(old, fmt.Sprintf("old/%s.%d", old, p.n))
	delete(p.at, old)
	p.gone(c, true)
}

// touch sets the time of a file to some other.
func (p *program) touch(name string) {
	if !p.exists(name) {
		return
	}
	p.note("%s: touch", name)
	at := time.Now().Add(time.Duration(p.rng.Int64N(int64(48*time.Hour))) - 24*time.Hour)
	p.check(os.Chtimes(p.path(name), at, at))
}

// hardLink gives a file a second name for a moment.
func (p *program) hardLink(name string) {
	if !p.exists(name) || p.isHidden() {
		return
	}
	p.note("%s: hard link", name)
	p.check(os.Link(p.path(name), p.path("app-9.log")))
	p.changed()
	time.Sleep(time.Duration(p.rng.Int64N(int64(300 * time.Millisecond))))
	p.remove("app-9.log")
}

// odd puts things that are no files where the pattern matches.
func (p *program) odd(string) {
	if _, err := os.Lstat(p.path("app-7.log")); err == nil {
		return
	}
	p.note("a directory and a dangling link")
	p.check(os.Mkdir(p.path("app-7.log"), 0o700))
	p.check(os.Symlink(p.path("nowhere"), p.path("app-8.log")))
	p.changed()
}

// hide takes the permission to look at a file away, or gives all back.
func (p *program) hide(name string) {
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	if len(p.files.hidden) > 0 {
		p.note("all files may be read again")
		for path := range p.files.hidden {
			p.tell(agent.WatchEvent{Written: []string{path}})
		}
		clear(p.files.hidden)
		return
	}
	p.note("%s: may not be read", name)
	p.files.hidden[p.path(name)] = true
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

func (p *program) startOrStop(string) {
	switch {
	case !p.running:
		p.note("start")
		p.start()
		// Between copy and truncation the first scan would take the copy for a file.
		p.settle(100 * time.Millisecond)
	case p.kills && p.rng.IntN(2) == 0:
		p.note("kill")
		p.kill()
		p.held, p.again = false, true // another sink
		p.ended()
	default:
		err := p.stop()
		p.note("stop: %v", err)
		if err != nil && !errors.Is(err, agent.ErrNotDrained) {
			p.t.Errorf("Run: %v", err)
		}
		p.again = p.again || err != nil
		p.ended()
	}
	p.running = !p.running
}

// ended notes what goes with the handles of an agent that has ended.
func (p *program) ended() {
	for _, l := range p.handles {
		p.optional[l] = true
	}
	p.handles = nil
	p.lost += lostBytes(p.status())
	if n := p.files.n.Load(); n != 0 {
		p.t.Errorf("%d files are open after the end", n)
	}
}

func lostBytes(s agent.FlowStatus) uint64 {
	return s.LostBytes["truncated"] + s.LostBytes["missing"] + s.LostBytes["deleted"]
}

// finish lets the agent read all there is, and checks what arrived.
func (p *program) finish() {
	p.files.mu.Lock()
	clear(p.files.hidden)
	p.files.mu.Unlock()
	for name, c := range p.at {
		if c.part != "" {
			p.complete(name)
		}
	}
	p.sink.mu.Lock()
	p.sink.refuse = nil
	p.sink.mu.Unlock()
	p.sink.release()
	if !p.running {
		p.start()
	}
	p.settle(30 * modelRotateWait)
	p.verifyModel()
	s := p.status()
	if s.BehindBytes != 0 || s.MemoryBytes > 1<<20 || s.State != "running" {
		for _, f := range s.Files {
			if f.Committed != f.Size {
				p.t.Errorf("at rest: %+v", f)
			}
		}
		s.Files = nil
		p.t.Errorf("at rest: %+v", s)
	}
	if err := p.stop(); err != nil {
		p.t.Errorf("Run: %v", err)
	}
	if n := p.files.n.Load(); n != 0 {
		p.t.Errorf("%d files are open after the end", n)
	}
}

func (p *program) verifyModel() {
	want := make(map[string]int, len(p.want))
	for _, l := range p.want {
		want[l] = 0
	}
	again, limit := 0, 0
	if p.few {
		limit = 5
	}
	for _, r := range p.sink.records() {
		n, ok := want[string(r.Data)]
		switch {
		case !ok:
			p.t.Errorf("arrived, but was never written: %.100q", r.Data)
		case n > 0 && !p.again:
			if again++; again > limit && again <= limit+3 {
				p.t.Errorf("arrived again: %.30q", r.Data)
			}
		}
		want[string(r.Data)] = n + 1
	}
	missing, gone := 0, uint64(0)
	for _, l := range p.want {
		switch {
		case want[l] > 0:
		case p.optional[l]:
			gone += uint64(len(l))
		default:
			if missing++; missing <= 5 {
				p.t.Errorf("never arrived: %.30q", l)
			}
		}
	}
	if missing > 0 {
		p.t.Errorf("%d of %d lines never arrived; status %+v", missing, len(p.want), p.status())
	}
	// What is not acknowledged when an agent ends may be counted though it has arrived.
	if counted := p.lost + lostBytes(p.status()); !p.inexact && (counted < gone || counted > gone && !p.again) {
		p.t.Errorf("%d bytes were lost, %d are counted", gone, counted)
	}
	if again > limit {
		p.t.Errorf("%d lines arrived again", again)
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
