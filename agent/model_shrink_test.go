package agent_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

var agentShrink = flag.Int("agent-shrink", 300, "how often a program that fails is played to make it smaller")

// A problem is what a program has found.
type problem struct {
	kind string // its text without the figures
	text string
}

// recorder is the test of a program: it notes what fails, so that the program can be
// played again.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	problems []problem // guarded by mu
}

// errStopped is what a program panics with that cannot go on.
type errStopped struct{}

func (r *recorder) add(kind, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, problem{kind, text})
}

func (r *recorder) Errorf(format string, args ...any) { r.add(format, fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.add("fatal", fmt.Sprint(args...))
	panic(errStopped{})
}

func (r *recorder) found() []problem {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.problems)
}

// played is what came of a program.
type played struct {
	seed     uint64
	steps    []step
	problems []problem
	trace    []string
}

// play runs the program of a seed, or only the steps of it that are given.
func play(t *testing.T, seed uint64, steps []step, change ...func(*program)) (out played) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{TB: t}
		p := newProgram(r, seed)
		for _, f := range change {
			f(p)
		}
		defer func() {
			e := recover()
			if _, ok := e.(errStopped); e != nil && !ok {
				panic(e)
			}
			if p.cancel != nil {
				p.kill()
			}
			out = played{seed, p.steps, r.found(), p.trace}
			if steps != nil {
				out.steps = steps
			}
		}()
		p.run(steps)
	})
	return out
}

// report fails the test with what was found, and with a smaller program that fails, too.
func (r played) report(t *testing.T) {
	t.Helper()
	for _, p := range r.problems {
		t.Error(p.text)
	}
	t.Logf("seed %d:\n%s", r.seed, strings.Join(r.trace, "\n"))
	small := r.shrink(*agentShrink, func(steps []step) played { return play(t, r.seed, steps) })
	if len(small.steps) < len(r.steps) {
		if *agentLog {
			small = play(t, r.seed, small.steps, (*program).showLogs)
		}
		t.Logf("seed %d with %d steps of %d: %s\n%s", r.seed, len(small.steps), len(r.steps), small.like(r.problems[0]),
			strings.Join(small.trace, "\n"))
	}
}

// like returns the text of a problem that is like p; empty if there is none.
func (r played) like(p problem) string {
	for _, q := range r.problems {
		if q.kind == p.kind {
			return q.text
		}
	}
	return ""
}

// shrink leaves steps out as long as what is left has the first problem of the program,
// perhaps with other figures. It plays at most so many programs.
func (r played) shrink(most int, play func([]step) played) played {
	small := r
	fails := func(steps []step) bool {
		if most == 0 {
			return false
		}
		most--
		now := play(steps)
		ok := now.like(r.problems[0]) != ""
		if ok {
			small = now
		}
		return ok
	}
	for size := len(small.steps) / 2; size > 0; {
		before := len(small.steps)
		for from := len(small.steps); from > 0; from -= size {
			from = min(from, len(small.steps))
			fails(slices.Delete(slices.Clone(small.steps), max(0, from-size), from))
		}
		if len(small.steps) == before { // none of this size can go any more
			size /= 2
		}
	}
	return small
}

// A program that is played again from its steps is the same.
func TestProgramIsPlayedAgain(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4} {
		first := play(t, seed, nil)
		again := play(t, seed, first.steps)
		if len(first.steps) != 40 || !slices.Equal(first.trace, again.trace) {
			t.Errorf("seed %d, %d steps:\n%s\nand then\n%s", seed, len(first.steps), strings.Join(first.trace, "\n"), strings.Join(again.trace, "\n"))
		}
	}
}

// What makes a program fail is left of it, whatever it is.
func TestShrink(t *testing.T) {
	var whole []step
	for i := range 40 {
		whole = append(whole, step{byte(i)})
	}
	for _, need := range [][]byte{{}, {0}, {39}, {3, 4}, {0, 20, 39}, {5, 10, 15, 20, 25, 30, 35}} {
		plays := 0
		again := func(steps []step) played {
			plays++
			r := played{steps: steps, problems: []problem{{kind: "other"}}}
			for _, n := range need {
				if !slices.ContainsFunc(steps, func(s step) bool { return s[0] == n }) {
					return r
				}
			}
			r.problems = append(r.problems, problem{"lost", "lost"})
			return r
		}
		var want []step
		for _, n := range need {
			want = append(want, step{n})
		}
		first := played{steps: whole, problems: []problem{{"lost", "lost"}}}
		small := first.shrink(1000, again)
		if !slices.EqualFunc(small.steps, want, slices.Equal) || plays > 200 {
			t.Errorf("left are %v after %d plays, want %v", small.steps, plays, want)
		}
		plays = 0
		if first.shrink(7, again); plays > 7 {
			t.Errorf("%d plays, at most 7 may be", plays)
		}
	}
}

// A program that finds a broken rule is made small.
func TestBrokenRuleIsShrunk(t *testing.T) {
	i := slices.IndexFunc(brokenRules, func(b brokenRule) bool { return b.name == "never stores its positions" })
	rule := brokenRules[i]
	first := play(t, 1, nil, rule.give)
	if len(first.problems) == 0 {
		t.Fatal("the seed does not find it")
	}
	small := first.shrink(150, func(steps []step) played { return play(t, 1, steps, rule.give) })
	t.Logf("%s\n%s", small.like(first.problems[0]), strings.Join(small.trace, "\n"))
	if len(small.steps) > 5 || small.like(first.problems[0]) == "" {
		t.Errorf("%d steps are left, with %q", len(small.steps), small.problems)
	}
}
