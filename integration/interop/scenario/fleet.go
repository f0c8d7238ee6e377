package scenario

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fleet is an application whose workers are of the official library and of this
// module, on one lease table.
type fleet struct {
	p       *play
	stream  string
	load    *load
	members []*member
	watch   *tableWatch
	rules   rules
	lapse   time.Duration // after which a lease that is not renewed is another's
}

// kind is what a worker is, and how it is set up.
type kind struct {
	module, class string   // in Java; empty: of this module
	mode          string   // of this module
	env           []string // more of it
}

func java(module string, env ...string) kind {
	class := "Kcl"
	if module == "kcl1" {
		class = "Kcl1"
	}
	return kind{module: module, class: class, env: env}
}

func ours(mode string, env ...string) kind { return kind{mode: mode, env: env} }

// member is a worker.
type member struct {
	name string
	fate fate
	out  string
	proc *process

	events []event // that were read
	offset int64   // in out, behind them
}

// failover is that time where a row does not say otherwise.
const failover = 5 * time.Second

// lockTime is how long the leader of the official library has its lock.
const lockTime = 12 * time.Second

// recordsLimit is how long records may take to go on.
const recordsLimit = 180 * time.Second

// live has a fleet begin, live through what is given, and checks its history.
func (f *fleet) live(ctx context.Context, shards int32, put func(context.Context) (*load, error), life func(s script) error) error {
	if err := f.begin(ctx, shards, put); err != nil {
		return err
	}
	defer f.close()
	if err := life(script{ctx, f}); err != nil {
		return err
	}
	return f.end(ctx)
}

// begin starts a server, a stream and what puts records, and looks at the table from
// now on.
func (f *fleet) begin(ctx context.Context, shards int32, put func(context.Context) (*load, error)) (err error) {
	f.stream = "orders"
	if err := f.p.prepare(ctx, f.stream, shards); err != nil {
		return err
	}
	if f.load, err = put(ctx); err != nil {
		return err
	}
	f.watch = f.p.watch(ctx)
	return nil
}

// steadily puts records one by one.
func (f *fleet) steadily(ctx context.Context) (*load, error) {
	return f.p.startLoad(ctx, f.stream, 24, 200*time.Millisecond), nil
}

// packed puts records by the producer of this module.
func (f *fleet) packed(ctx context.Context) (*load, error) {
	return f.p.startProducer(ctx, f.stream, 100, 100*time.Millisecond)
}

// nothing puts no record: something else does.
func (f *fleet) nothing(context.Context) (*load, error) { return &load{stop: func() {}}, nil }

// prepare starts a server that can be made to refuse requests, with a stream.
func (p *play) prepare(ctx context.Context, stream string, shards int32) error {
	if err := p.serve(ctx, "--enable-faults"); err != nil {
		return err
	}
	return errors.Join(p.create(ctx, stream, shards), p.tablesReady(ctx))
}

// close ends what is still under way.
func (f *fleet) close() {
	f.load.end()
	_, _ = f.watch.end() // reported before
}

// join starts a worker.
func (f *fleet) join(ctx context.Context, name string, k kind) (*member, error) {
	m := &member{name: name, out: filepath.Join(f.p.dir, name+".jsonl"), fate: fate{official: k.module != ""}}
	env := []string{
		"STREAM=" + f.stream, "APP=" + application, "OUT=" + m.out, "WORKERS=1",
		"FAILOVER_MS=" + strconv.FormatInt(cmp.Or(f.lapse, failover).Milliseconds(), 10),
	}
	var err error
	if m.fate.official {
		// The program numbers its workers.
		m.name += "-0"
		env = append(env, "WORKER="+name, "RETRIEVAL=polling", "STOP_SECONDS=10", "CLEANUP_MS=4000", "LOCK_MS="+strconv.FormatInt(lockTime.Milliseconds(), 10))
		m.proc, err = f.p.java(ctx, k.module, k.class, append(env, k.env...)...)
	} else {
		env = append(env, "WORKER="+name, "MODE="+k.mode, "HALT_AT_SUB=-1")
		m.proc, err = f.p.worker(ctx, name, append(env, k.env...)...)
	}
	if err != nil {
		return nil, err
	}
	f.members = append(f.members, m)
	return m, nil
}

// worker starts a worker of this module: this program, called in another way.
func (p *play) worker(ctx context.Context, name string, env ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "worker")
	cmd.Env = append(os.Environ(), p.endpoints()...)
	cmd.Env = append(cmd.Env, env...)
	return p.start(ctx, name, cmd)
}

// kill ends a worker without a word.
func (f *fleet) kill(m *member) {
	m.fate.killed = true
	m.proc.kill()
}

// leave has a worker stop in order.
func (f *fleet) leave(ctx context.Context, m *member) error {
	if err := m.proc.stdin.Close(); err != nil {
		return err
	}
	return m.proc.wait(ctx, 60*time.Second)
}

// history reads on what the workers have seen.
func (f *fleet) history() (*history, error) {
	h := &history{fate: make(map[string]fate)}
	lists := make([][]event, len(f.members))
	for i, m := range f.members {
		if err := m.read(); err != nil {
			return nil, err
		}
		lists[i], h.fate[m.name] = m.events, m.fate
	}
	h.events = inOrder(lists...)
	return h, nil
}

// read reads on. A line that has no end yet is left for later.
func (m *member) read() error {
	file, err := os.Open(m.out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has not begun
	}
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	if _, err := file.Seek(m.offset, io.SeekStart); err != nil {
		return err
	}
	for r := bufio.NewReader(file); ; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("%s: %w", m.out, err)
		}
		m.events, m.offset = append(m.events, e), m.offset+int64(len(line))
	}
}

// goesOn waits until records of all keys have come that are put from now on, and
// the ends of all shards that have ended.
func (f *fleet) goesOn(ctx context.Context, what string) error {
	at := time.Now()
	shards, err := f.p.shards(ctx, f.stream)
	if err != nil {
		return err
	}
	mark := make([]int64, len(f.load.put))
	for k := range mark {
		mark[k] = f.load.put[k].Load() + 1
	}
	err = eventually(ctx, recordsLimit, func() error {
		if err := f.alive(); err != nil {
			return err
		}
		h, err := f.history()
		if err != nil {
			return err
		}
		// Files are read one after another: a gap may be closed by the next look.
		s, err := follow(h.events)
		if err != nil {
			return err
		}
		for k := range mark {
			if s.next[k] < mark[k] {
				return fmt.Errorf("%s is at record %d of %d", keyName(k), s.next[k], mark[k])
			}
		}
		return s.lineage(shards)
	})
	if f.p.report.Check("records go on: "+what, err, "%d shards, %d of them closed; after %.1f s", len(shards), closed(shards), time.Since(at).Seconds()) {
		return nil
	}
	return errors.New("the fleet stands still")
}

// alive fails if a worker has ended that nobody has stopped.
func (f *fleet) alive() error {
	for _, m := range f.members {
		if m.proc.ended() && m.proc.err != nil && !m.fate.killed {
			return fmt.Errorf("%w: %s has ended: %w", errGiveUp, m.name, m.proc.err)
		}
	}
	return nil
}

// hold waits until each of the members has a lease, and nobody else has one.
func (f *fleet) hold(ctx context.Context, what string, members ...*member) error {
	at := time.Now()
	var has map[string][]string
	err := eventually(ctx, recordsLimit, func() error {
		if err := f.alive(); err != nil {
			return err
		}
		leases, _, err := f.p.rows(ctx)
		if err != nil {
			return err
		}
		has = holders(leases)
		for _, m := range members {
			if len(has[m.name]) == 0 {
				return fmt.Errorf("%s has none: %v", m.name, has)
			}
		}
		if len(has) != len(members) {
			return fmt.Errorf("others have leases, or nobody: %v", has)
		}
		return nil
	})
	var each []string
	for _, m := range members {
		each = append(each, fmt.Sprintf("%s %d", m.name, len(has[m.name])))
	}
	if f.p.report.Check(what, err, "%s; after %.1f s", strings.Join(each, ", "), time.Since(at).Seconds()) {
		return nil
	}
	return errors.New("the leases are not where they should be")
}

// throttled has a part of the reads and of the writes to tables refused for a
// while, and answers of others lost.
func (f *fleet) throttled(ctx context.Context) error {
	return f.p.faults(ctx, `[
		{"kind":"throttle","operation":"GetRecords","probability":0.3,"seed":1,"for":"12s"},
		{"kind":"throttle","service":"dynamodb","operation":"UpdateItem","probability":0.2,"seed":2,"for":"12s"},
		{"kind":"reply-lost","service":"dynamodb","operation":"UpdateItem","every":15,"max":6,"for":"12s"}]`)
}

// faults adds rules by which requests fail.
func (p *play) faults(ctx context.Context, rules string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.admin+"/faults", strings.NewReader(rules))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read whole
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("faults: %s: %s", resp.Status, bytes.TrimSpace(said))
	}
	return err
}

// reshard splits and merges while requests fail.
func (f *fleet) reshard(ctx context.Context) error {
	err := errors.Join(f.throttled(ctx), split(ctx, f.p, f.stream), merge(ctx, f.p, f.stream))
	if err != nil {
		return err
	}
	return f.goesOn(ctx, "split and merge while reads and writes to the table are refused")
}

// end stops the load and the workers that are left, and checks the history.
func (f *fleet) end(ctx context.Context) error {
	total := f.load.end()
	if err := f.load.err(); err != nil {
		return err
	}
	var h *history
	err := eventually(ctx, recordsLimit, func() error {
		var err error
		if h, err = f.history(); err != nil {
			return err
		}
		s, err := follow(h.events)
		if err != nil {
			return err
		}
		return s.complete(f.load)
	})
	f.p.report.Check("nothing is lost", err, "%d records of %d keys", total, len(f.load.put))
	for _, m := range slices.Backward(f.members) {
		if !m.proc.ended() {
			if err := f.leave(ctx, m); err != nil {
				return err
			}
		}
	}
	if h, err = f.history(); err != nil {
		return err
	}
	shards, err := f.p.shards(ctx, f.stream)
	if err != nil {
		return err
	}
	count, err := h.check(shards, f.rules)
	f.p.report.Check("order by key, parents first, none again without a reason", err, "%s; again: %v", h.who(), count)
	looks, err := f.watch.end()
	f.p.report.Check("counters grow, no checkpoint goes back, no rows of other kinds", err, "%d looks at the table", looks)
	return f.p.leases(ctx, shards)
}

// leads waits until a member has the leader's lock.
func (f *fleet) leads(ctx context.Context, what string, m *member) error {
	at := time.Now()
	err := eventually(ctx, recordsLimit, func() error {
		if err := f.alive(); err != nil {
			return err
		}
		owner, err := f.p.leader(ctx)
		if err == nil && owner != m.name {
			err = fmt.Errorf("the leader is %q", owner)
		}
		return err
	})
	if f.p.report.Check(what, err, "after %.1f s", time.Since(at).Seconds()) {
		return nil
	}
	return errors.New("another leads")
}
