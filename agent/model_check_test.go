package agent_test

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/streamkit/streamkit/agent"
)

// What a program checks.

// closed notes what goes with the handles of a flow that has ended.
func (p *program) closed(s agent.FlowStatus) {
	for _, l := range p.handles {
		p.optional[l] = true
	}
	p.handles = nil
	p.lost += lostBytes(s)
}

// ended is closed for an agent.
func (p *program) ended() {
	p.closed(p.status())
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
	p.seenAgain()
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
	p.trouble.mu.Lock()
	p.trouble.fails = false
	p.trouble.mu.Unlock()
	p.trouble.stalled.open(nil)
	p.goOn(nil)
	if !p.running {
		p.begin()
		p.running = true
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
	p.verifyDrained()
	err := p.stop()
	if err != nil {
		p.t.Errorf("Run: %v", err)
	}
	p.running = false
	p.verifyDrained()
	p.ledger.stopped(p.contents(), err == nil)
	p.verifyAgain()
	if n := p.files.n.Load(); n != 0 {
		p.t.Errorf("%d files are open after the end", n)
	}
}

func (p *program) verifyModel() {
	want := make(map[string]int, len(p.want))
	for _, l := range p.want {
		want[l] = 0
	}
	for _, r := range p.sink.records() {
		if _, ok := want[string(r.Data)]; !ok {
			p.t.Errorf("arrived, but was never written: %.100q", r.Data)
		}
		want[string(r.Data)]++
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
	if counted := p.lost + lostBytes(p.status()); !p.inexact && (counted < gone || counted > gone && !p.over) {
		p.t.Errorf("%d bytes were lost, %d are counted", gone, counted)
	}
}

// verifyAgain checks that no more was sent again than may be.
func (p *program) verifyAgain() {
	limit := 0
	if p.few {
		limit = 5
	}
	again := slices.DeleteFunc(p.ledger.sentAgain(), func(line string) bool {
		n, err := strconv.Atoi(line[len("line "):len("line 000000")])
		p.check(err)
		return n <= p.unsure
	})
	if len(again) > limit {
		p.t.Errorf("%d lines were sent again, at most %d may be: %.30q", len(again), limit, again[:min(len(again), 5)])
	}
}

// delivery asks how far a file is delivered, an agent that runs or what it has stored.
func (p *program) delivery(name string) (agent.Delivery, error) {
	if p.broken.told != nil {
		return p.broken.told(p.path(name))
	}
	if p.running {
		return p.a.Delivery(p.path(name))
	}
	return agent.ReadDelivery(&p.cfg, p.path(name))
}

func (p *program) status() agent.FlowStatus {
	s := p.world.status()
	if p.broken.counts != nil {
		p.broken.counts(&s)
	}
	return s
}

// askDelivery checks of each file that what is not pending is acknowledged.
func (p *program) askDelivery() {
	if !p.started || !p.halted.IsZero() {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(p.at)) {
		c := p.at[name]
		d, err := p.delivery(name)
		switch {
		case errors.Is(err, fs.ErrPermission) && p.isHidden(): // nothing is known of it
		case errors.Is(err, agent.ErrNoFlow) && !p.wide: // nor of what no name leads to
		case err != nil:
			p.t.Errorf("delivery of %s: %v", name, err)
		case d.Size != int64(c.size()):
			p.t.Errorf("%s has %d bytes: %+v", name, c.size(), d)
		default:
			left := p.ledger.unacknowledged(c.first(d.Size - d.Pending))
			if len(left) > 0 || d.Drained() && c.part != "" {
				p.note("%s: %d bytes are pending", name, d.Pending)
				p.t.Errorf("%s: %d of %d bytes are pending, but of those before %d lines are not acknowledged, from %.30q, and the part is %.30q",
					name, d.Pending, d.Size, len(left), left[:min(len(left), 1)], c.part)
			}
		}
	}
}

// verifyDrained checks at rest that nothing is pending of any file.
func (p *program) verifyDrained() {
	p.askDelivery()
	for _, name := range slices.Sorted(maps.Keys(p.at)) {
		if d, err := p.delivery(name); err == nil && !d.Drained() {
			p.t.Errorf("at rest, running %v: %+v", p.running, d)
		}
	}
}

// verifyOrder checks that the records of each partition key arrived in order when
// they arrived first.
func (w *world) verifyOrder() {
	w.t.Helper()
	seen := make(map[string]bool)
	last := make(map[string]string)
	for _, r := range w.sink.records() {
		if seen[string(r.Data)] || !strings.HasPrefix(string(r.Data), "line ") {
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
