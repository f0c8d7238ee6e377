// Package faults has requests fail by rule: a [Rule] says which, when and how.
// Tests of clients use it to see what they make of a bad day.
//
// The rules are tried in order. One whose request and trigger fit fires: a
// latency is added to those before it, and the search goes on; any other fault
// ends it. What fires depends on the rule, its seed and the requests it has
// seen, on nothing else: the same requests in the same order fail the same way.
package faults

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/state"
)

// maxRules bounds the rules of a set: each request is compared with all.
const maxRules = 1000

// entry is a rule at work.
type entry struct {
	rule  Rule
	shard int
	began time.Time // of its window
	rng   *rand.Rand

	matched, injected int64
}

// Status is a rule and how often it was at work.
type Status struct {
	Rule
	Matched  int64 // requests that it is for, in its window
	Injected int64 // of those, requests it has had fail; for a kind that delays, delayed
}

// Set holds the rules of a server. It is safe for concurrent use.
type Set struct {
	now func() time.Time

	mu    sync.Mutex // guards what follows
	rules []*entry
	named int // of the last rule that was given an id
}

// New returns a set without rules. now is the server's clock.
func New(now func() time.Time) *Set { return &Set{now: now} }

// Add puts rules behind those that are there, all or none, and returns their
// ids. Their windows begin now.
func (s *Set) Add(rules ...Rule) (ids []string, err error) {
	for i := range rules {
		if err := rules[i].Check(); err != nil {
			return nil, wrap(&rules[i], i, err)
		}
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rules)+len(rules) > maxRules {
		return nil, fmt.Errorf("faults: more than %d rules; remove some first", maxRules)
	}
	taken := make(map[string]bool)
	for _, e := range s.rules {
		taken[e.rule.ID] = true
	}
	for i := range rules {
		if id := rules[i].ID; id != "" && taken[id] {
			return nil, fmt.Errorf("faults: there is a rule with the id %s; remove it first, or write another id", id)
		} else if id != "" {
			taken[id] = true
		}
	}
	for _, r := range rules {
		for r.ID == "" {
			s.named++
			if id := fmt.Sprintf("fault-%d", s.named); !taken[id] {
				r.ID = id
			}
		}
		taken[r.ID] = true
		ids = append(ids, r.ID)
		s.rules = append(s.rules, newEntry(r, now))
	}
	return ids, nil
}

func newEntry(r Rule, now time.Time) *entry {
	seed := r.Seed
	if seed == 0 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(r.ID)) // never fails
		seed = h.Sum64()
	}
	shard, _ := parseShard(r.Shard)
	return &entry{rule: r, shard: shard, began: now.Add(r.After), rng: rand.New(rand.NewPCG(seed, 0))}
}

// wrap names the rule that an error is about. i is its index in the list.
func wrap(r *Rule, i int, err error) error {
	name := fmt.Sprint(i + 1)
	if r.ID != "" {
		name = r.ID
	}
	return fmt.Errorf("faults: rule %.80s: %w", name, err)
}

// Remove takes a rule away and reports whether it was there.
func (s *Set) Remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.rules)
	s.rules = slices.DeleteFunc(s.rules, func(e *entry) bool { return e.rule.ID == id })
	return len(s.rules) < before
}

// Clear takes all rules away and returns how many there were.
func (s *Set) Clear() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.rules)
	s.rules = nil
	return n
}

// List returns the rules in their order.
func (s *Set) List() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Status, len(s.rules))
	for i, e := range s.rules {
		list[i] = Status{Rule: e.rule, Matched: e.matched, Injected: e.injected}
	}
	return list
}

// target is what rules are compared with.
type target struct {
	service, operation string
	account, stream    string // stream is the table's name in DynamoDB
	shard              int    // [state.NoShard] if none
	consumer           string
}

// decision is what becomes of a request.
type decision struct {
	delay time.Duration
	rule  Rule   // of the fault that ends the search; its Kind is empty if none does
	draw  uint64 // decides what is left to decide
}

// decide lets the rules have their say.
func (s *Set) decide(t *target) decision {
	var d decision
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rules) == 0 {
		return d
	}
	now := s.now()
	for _, e := range s.rules {
		draw, ok := e.fires(t, now)
		switch {
		case !ok:
		case e.rule.Kind == Latency:
			d.delay += between(e.rule.Latency, e.rule.LatencyMax, draw)
		default:
			d.rule, d.draw = e.rule, draw
			return d
		}
	}
	return d
}

// fires reports whether a rule is for a request, and its turn has come. Of its
// generator each request that it is for uses the same number of draws.
func (e *entry) fires(t *target, now time.Time) (draw uint64, ok bool) {
	r := &e.rule
	if !e.fits(t) || now.Before(e.began) || r.For > 0 && !now.Before(e.began.Add(r.For)) {
		return 0, false
	}
	e.matched++
	chance, draw := e.rng.Float64(), e.rng.Uint64()
	switch {
	case r.First > 0 && e.matched > int64(r.First),
		r.Every > 0 && e.matched%int64(r.Every) != 0,
		r.Max > 0 && e.injected >= int64(r.Max),
		r.Probability > 0 && chance >= r.Probability:
		return 0, false
	}
	e.injected++
	return draw, true
}

func (e *entry) fits(t *target) bool {
	r := &e.rule
	if only := onlyOf[r.Kind]; only != "" && t.operation != only {
		return false
	}
	// A call of PutRecords is to many shards: its records are told apart when
	// they are admitted.
	byRecord := r.Kind == Partial
	return (r.Service == "" || r.Service == t.service) &&
		glob(r.Operation, t.operation) && glob(r.Stream, t.stream) &&
		(r.Consumer == "" || t.consumer != "" && glob(r.Consumer, t.consumer)) &&
		(e.shard == anyShard || byRecord || t.shard != state.NoShard && e.shard == t.shard)
}

// between returns a time from least to most, which is least if most is 0.
func between(least, most time.Duration, draw uint64) time.Duration {
	if most <= least {
		return least
	}
	return least + time.Duration(fraction(draw)*float64(most-least))
}

// fraction turns a draw into a number in [0, 1).
func fraction(draw uint64) float64 { return math.Ldexp(float64(draw>>11), -53) }
