package consumer_test

import (
	"flag"
	"fmt"
	"testing"
)

// The clocks of ModeNative, explored exhaustively: one lease, a worker that beats and
// may be late with everything, and a leader that reads its row, lists the lease, takes it,
// and gives it back. Requests land late or never, answers get lost. More workers and more
// leases, without clocks, are in TestNativeFleetProtocol.

const (
	npTrust = 2 // ticks for which the worker trusts, from before a beat was sent
	npDead  = 3 // ticks for which the leader has to see the row unchanged
)

var npFull = flag.Bool("native-protocol", false, "explore the rules of ModeNative with one more beat, with a counter of up to 6, and with one more fault, and those of hand-overs beside the official library with one more write, for minutes")

// npBreak breaks one rule.
type npBreak struct {
	noConfirm  bool // the leader does not look at the row after it has listed the lease
	noWrite    bool // a worker whose trust has ended begins without a write
	fromAnswer bool // trust counts from when the answer to a beat came
	noParted   bool // a listing from before the lease left begins it again
	noVoid     bool // what was asked for before the trust ended counts after it
	shortDead  bool // the leader waits no longer than the worker trusts
	maxSeq     int8
	maxCounter int8
}

type npState struct {
	// The table.
	row     int8 // sequence number
	leader  bool // owns the lease
	counter int8

	// The worker.
	active  bool
	known   int8 // counter of the lease as it was last known
	trust   int8 // ticks since the last beat known to be done was sent
	lapsed  bool
	seq     int8
	beat    int8 // 0 none, 1 on its way, 2 done and the answer on its way
	beatAge int8
	stray   int8 // a beat that was given up, and may land; 0 none
	seen    int8 // counter in a listing that shows the worker as owner, -1 none
	parted  int8 // counter of the lease when it left, -1 if it has not
	adopt   int8 // a write to begin with: as beat
	adoptOf int8
	void    bool // the trust ended since it was sent
	give    int8 // a hand-over to the leader: as beat
	giveOf  int8

	// The leader.
	lSeen   int8
	lAge    int8
	listed  int8 // counter, -1 none
	take    bool
	takeOf  int8
	lActive bool
	lGive   bool // a hand-over to the worker on its way
}

func (b *npBreak) next(s npState, yield func(name string, n npState)) {
	add := func(name string, f func(*npState)) {
		n := s
		f(&n)
		if n.seq <= b.maxSeq && n.counter <= b.maxCounter {
			yield(name, n)
		}
	}
	dead := int8(npDead)
	if b.shortDead {
		dead = npTrust - 1
	}
	add("tick", func(n *npState) {
		n.trust, n.beatAge, n.lAge = min(n.trust+1, npTrust+1), min(n.beatAge+1, npDead+1), min(n.lAge+1, npDead+1)
		if n.trust >= npTrust && n.active { // the deadline
			n.active, n.parted = false, n.known
		}
	})
	if s.beat == 0 {
		add("beat sent", func(n *npState) { n.seq, n.beat, n.beatAge = n.seq+1, 1, 0 })
	} else {
		if s.beat == 1 {
			add("beat lands", func(n *npState) { n.row, n.beat = n.seq, 2 })
		}
		if s.beat == 2 {
			add("beat answered", func(n *npState) {
				if n.trust >= npTrust {
					n.lapsed = true
					if !b.noVoid {
						n.seen, n.void = -1, n.adopt != 0
					}
				}
				n.trust, n.beat = n.beatAge, 0
				if b.fromAnswer {
					n.trust = 0
				}
			})
		}
		add("beat given up", func(n *npState) {
			if n.beat == 1 && n.stray == 0 {
				n.stray = n.seq
			}
			n.beat = 0
		})
	}
	if s.stray != 0 {
		add("stray beat lands", func(n *npState) { n.row, n.stray = n.stray, 0 })
	}
	if s.seen < 0 && !s.leader {
		add("worker lists", func(n *npState) { n.seen = n.counter })
	}
	if s.seen >= 0 {
		if !s.active && s.adopt == 0 && s.give == 0 && s.trust < npTrust {
			if (!s.lapsed || b.noWrite) && (s.seen > s.parted || b.noParted) {
				add("worker begins", func(n *npState) { n.active, n.known, n.seen = true, n.seen, -1 })
			} else {
				add("worker writes to begin", func(n *npState) { n.adopt, n.adoptOf, n.void, n.seen = 1, n.seen, false, -1 })
			}
		}
		add("listing forgotten", func(n *npState) { n.seen = -1 })
	}
	if s.adopt != 0 {
		if s.adopt == 1 {
			add("write to begin lands", func(n *npState) {
				if n.adopt = 0; n.counter == n.adoptOf {
					n.counter, n.leader, n.adopt = n.counter+1, false, 2
				}
			})
		}
		if s.adopt == 2 {
			add("write to begin answered", func(n *npState) {
				n.active, n.known, n.adopt = n.trust < npTrust && !n.void, n.adoptOf+1, 0
			})
		}
		add("write to begin given up", func(n *npState) { n.adopt = 0 })
	}
	if s.active {
		add("commit", func(n *npState) {
			switch {
			case n.counter == n.known:
				n.counter, n.known = n.counter+1, n.known+1
			default:
				n.active, n.parted = false, n.known
			}
		})
		add("worker finishes", func(n *npState) { n.active, n.give, n.giveOf, n.parted = false, 1, n.known, n.known })
	}
	if s.give == 1 {
		add("hand-over lands", func(n *npState) {
			n.give = 0
			if n.counter == n.giveOf {
				n.counter, n.leader, n.lActive, n.parted = n.counter+1, true, true, n.giveOf+1
			}
		})
		add("hand-over given up", func(n *npState) { n.give = 0 })
	}

	if s.lSeen != s.row {
		add("leader sees a beat", func(n *npState) { n.lSeen, n.lAge = n.row, 0 })
	}
	if !s.leader && s.listed < 0 {
		add("leader lists", func(n *npState) { n.listed = n.counter })
	}
	if s.listed >= 0 {
		if s.lAge >= dead && !s.take && (s.row == s.lSeen || b.noConfirm) {
			add("leader takes", func(n *npState) { n.take, n.takeOf, n.listed = true, n.listed, -1 })
		}
		add("leader forgets", func(n *npState) { n.listed = -1 })
	}
	if s.take {
		add("take lands", func(n *npState) {
			if n.take = false; n.counter == n.takeOf {
				n.counter, n.leader, n.lActive = n.counter+1, true, true
			}
		})
	}
	if s.lActive {
		add("leader finishes", func(n *npState) { n.lActive, n.lGive = false, true })
	}
	if s.lGive {
		add("leader's hand-over lands", func(n *npState) { n.lGive, n.leader, n.counter = false, false, n.counter+1 })
	}
}

// bothActive reports whether two workers are.
func (s npState) bothActive() bool { return s.active && s.lActive }

// rash reports whether the leader may call a worker dead that still trusts its row.
func (s npState) rash() bool { return s.lAge >= npDead && s.row == s.lSeen && s.trust < npTrust }

// explore returns the shortest way to a state of which wrong is true, and the number of
// states.
func (b *npBreak) explore(wrong func(npState) bool) (way []string, states int) {
	var e explorer[npState]
	e.step = func(w *npState, visit func(*npState, exStep)) {
		b.next(*w, func(name string, n npState) {
			if wrong(n) {
				e.fail("that is wrong")
			}
			visit(&n, exStep{who: exNobody, what: name})
		})
	}
	way = e.explore(npState{row: 1, seq: 1, active: true, parted: -1, seen: -1, lSeen: 1, listed: -1})
	return way, e.count
}

func TestNativeProtocol(t *testing.T) {
	tests := []struct {
		name   string
		broken npBreak
		found  bool
	}{
		{"as it is", npBreak{}, false},
		{"no look after the listing", npBreak{noConfirm: true}, true},
		{"no write after a lapse", npBreak{noWrite: true}, true},
		{"trust from the answer", npBreak{fromAnswer: true}, true},
		{"old listings begin again", npBreak{noParted: true}, true},
		{"what was asked before a lapse counts", npBreak{noVoid: true}, true},
		{"too short a wait", npBreak{shortDead: true}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bounds := [][2]int8{{2, 3}}
			if *npFull && !tt.found {
				bounds = [][2]int8{{3, 3}, {2, 6}}
			}
			for _, most := range bounds {
				tt.broken.maxSeq, tt.broken.maxCounter = most[0], most[1]
				way, states := tt.broken.explore(npState.bothActive)
				t.Logf("%d beats, counter up to %d: %d states, %d steps: %v", most[0], most[1], states, len(way), way)
				if (way != nil) != tt.found {
					t.Error(fmt.Sprint("two are active: ", way != nil, ", want ", tt.found))
				}
			}
		})
	}
}

// TestNativeProtocolJudgement is what TestNativeFleetProtocol builds on: a leader that has
// seen a row unchanged for long enough is right that the worker's trust is over.
func TestNativeProtocolJudgement(t *testing.T) {
	for _, tt := range []struct {
		broken npBreak
		found  bool
	}{
		{npBreak{maxSeq: 3, maxCounter: 1}, false},
		{npBreak{maxSeq: 3, maxCounter: 1, fromAnswer: true}, true},
	} {
		way, states := tt.broken.explore(npState.rash)
		t.Logf("%d states, %d steps: %v", states, len(way), way)
		if (way != nil) != tt.found {
			t.Errorf("a worker is called dead too early: %v, want %v", way != nil, tt.found)
		}
	}
}
