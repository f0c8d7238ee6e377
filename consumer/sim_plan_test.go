package consumer_test

import (
	"math/rand/v2"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// simMode is a set of rules by which a fleet shares its leases.
type simMode struct {
	name   string
	mode   consumer.Mode
	steals bool  // leases of workers that live are taken without a word
	java   []int // versions of the official library that may take part

	// assigns: a leader gives leases to workers, who wait for the parents with them.
	assigns bool
	// leader: for how long there may be none after one has died.
	leader time.Duration

	// rows: that a worker lives is told by its row. It may believe in its leases for
	// trust of the failover time, and others wait for wait of it.
	rows        bool
	trust, wait float64
}

var simModes = []simMode{
	{name: "kcl2", mode: consumer.ModeKCL2, steals: true, java: []int{1, 2}, trust: 0.9, wait: 1},
	{name: "kcl3", mode: consumer.ModeKCL3, java: []int{3}, assigns: true, leader: 150 * time.Second, trust: 0.9, wait: 1},
	{name: "native", mode: consumer.ModeNative, rows: true, trust: 0.54, wait: 0.6},
}

func simModeOf(name string) simMode {
	for _, m := range simModes {
		if m.name == name {
			return m
		}
	}
	panic("no mode " + name)
}

// simFound are seeds that have found a bug. They are played before the others.
var simFound = []simFind{
	{mode: "kcl2", seed: 369, bug: "a worker of the official library begins at a checkpoint that is not the last one"},
	{mode: "kcl2", seed: 59, bug: "a detached batch without records was waited for"},
	{mode: "native", seed: 271, bug: "a worker whose first row had been written, and seemed not to be, did not see that it had lapsed"},
	{mode: "kcl2", seed: 1835, bug: "a commit passed records of a batch that was cut after a panic"},
	{mode: "kcl2", seed: 5854, bug: "the simulation went on to hide children when faults had ended, from a worker of the official library that waits for them"},
	{mode: "kcl3", seed: 41524, more: "rich", bug: "a stop with lanes worked off all that was read ahead, and ran out of time"},
	{mode: "kcl3", seed: 42642, more: "rich", bug: "the checker did not know that a worker may end the hand-over which its dead predecessor was asked for"},
	{mode: "native", seed: 103042, bug: "a beat of a dead process came late, and the leader took the leases of the one under its name"},
	{mode: "native", seed: 187, more: "wide", bug: "a processor that was made anew was given copies of what the one before had acknowledged"},
	{mode: "kcl3", seed: 200043, more: "wide", bug: "a lease that was given to a worker of the official library got an empty attribute"},
	{mode: "kcl2", seed: 202112, more: "wide", bug: "a lease that was to be given to a worker, which had just stolen it, was written once more"},
	{mode: "kcl2", seed: 103027, bug: "the checker did not know that a worker of the official library may miss the lease of a parent that has just been made"},
	{mode: "kcl2", seed: 105, more: "full", bug: "a lease that an administrator had released was taken for one that this worker had released, and written to"},
	{mode: "native", seed: 106, more: "full", bug: "a lease that was released as somebody had it handed over did not name the process that it went to, and was given to another"},
	{mode: "native", seed: 1004275, more: "full", bug: "a lease that somebody had handed over to a newcomer did not name its process, and was given to another"},
	{mode: "native", seed: 1012183, more: "full", bug: "the same, and back it went"},
	{mode: "native", seed: 1016181, more: "full", bug: "the same, after a checkpoint"},
	{mode: "native", seed: 1018162, more: "full", bug: "the same, at a stop"},
	{mode: "kcl3", seed: 1010377, more: "full", bug: "a hand-over that was called off was ended all the same, and left the lease as its owner's who had set it back"},
	{mode: "native", seed: 1016373, more: "full", bug: "the leader did not tell of a lease that was another's in between, and had come back"},
	{mode: "native", seed: 1002385, more: "full", bug: "the checker did not know that somebody may call a hand-over off"},
	{mode: "native", seed: 1014071, more: "full", bug: "the same, of one that had just ended"},
	{mode: "native", seed: 1014123, more: "full", bug: "the same, by force"},
	{mode: "kcl3", seed: 1016076, more: "full", bug: "the checker did not know that a reset is done if somebody has released the lease at that place"},
	{mode: "native", seed: 1010345, more: "full", bug: "a shard that had been read to its end a moment before was set back, and read beside its children"},
	{mode: "kcl2", seed: 1012316, more: "full", bug: "what somebody had asked for went on when the fleet was at rest, and a shard was set back at the stop"},
	{mode: "native", seed: 1014235, more: "full", bug: "the checker did not know that who has lost a lease, and does not know, may make a processor anew"},
	{mode: "native", seed: 1002056, more: "full", bug: "the checker did not know who was paused as a hand-over was cut short"},
}

// simFind is a seed and what it has found.
type simFind struct {
	mode string
	seed uint64
	more string // what the plan has besides: see simPlan.more
	bug  string
}

// simPlan is what a seed draws: the stream, the fleet and its misfortunes.
type simPlan struct {
	mode     simMode
	calm     bool // no faults at all
	cfg      consumer.Config
	drift    float64 // of clocks, at most
	shards   int
	keys     int
	span     time.Duration
	nap      time.Duration // between two things that happen, at most
	burst    int
	together int // user records of an aggregated record, at most
	fleet    int // workers, at most
	page     int // rows of an answer of a scan
	most     int // shards

	table, kinesis simFaults
	lag            time.Duration
	retention      time.Duration
	iteratorLife   time.Duration
	limit          int
	shardPage      int
	noChildren     int
	creating       time.Duration
	cuts           simCuts

	// of processors, in a thousand calls
	fails, restarts, detached int
	slow, ackAfter            time.Duration

	// how often, of a hundred things that happen
	launches, stops, crashes, pauses, splits, merges int

	java      int  // of a hundred workers
	javaFirst bool // the first one too, which comes to lead
	byCount   bool // leaders of the official library look at how many leases a worker has, not at what it reads

	holds  int // of a hundred moments: a shard is paused at a worker, for a while
	admin  int // of a hundred moments: a worker is told to give a shard up, or to another
	copies int // of a hundred blobs: it is stored again; they are stamped, and copies dropped, unless 0

	streams    int  // two where it is 2
	peers      bool // workers watch each other
	partitions int  // of a hundred things that happen: one of the network between them
	resets     int  // of a hundred moments: a worker is told to read a shard from elsewhere
	outside    int  // of a hundred moments: an administrator changes a lease, who is none of the workers

	broken *simBreak // what is done wrong on purpose
}

// more gives a plan what came later: plans without it stay as they were.
func (pl *simPlan) more(what string, seed uint64) {
	switch what {
	case "":
	case "rich":
		pl.enrich(seed)
	case "wide":
		pl.widen(seed)
	case "full":
		pl.fill(seed)
	default:
		panic("no plan has " + what)
	}
}

// enrich gives a plan lanes, and shards that are paused.
func (pl *simPlan) enrich(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 11))
	pl.holds = r.IntN(20)
	if !pl.cfg.ExplicitCheckpoints {
		pl.cfg.KeyConcurrency, pl.cfg.MaxBusyLanes = 2+r.IntN(7), 1+r.IntN(16)
	}
}

// widen gives a plan what came later still.
func (pl *simPlan) widen(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 12))
	pl.admin = r.IntN(30)
	if r.IntN(2) == 0 {
		pl.copies = 1 + r.IntN(50)
		pl.cfg.DropDuplicates = true
		// Whoever does not keep marks, or has not read what a copy is of, cannot
		// tell the copy.
		pl.java, pl.javaFirst, pl.cfg.InitialPosition, pl.retention = 0, false, consumer.Position{}, 24*time.Hour
	}
	if r.IntN(3) == 0 {
		pl.enrich(seed)
	}
}

// fill gives a plan the last of what may happen.
func (pl *simPlan) fill(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 13))
	if r.IntN(3) == 0 {
		pl.widen(seed)
	}
	pl.java, pl.javaFirst = 0, false
	pl.streams = 1 + r.IntN(2)
	pl.outside = r.IntN(2) * r.IntN(15)
	if pl.peers = pl.mode.rows && r.IntN(4) > 0; pl.peers {
		pl.fleet = max(pl.fleet, 2+r.IntN(4))
		pl.launches += 5
		if !pl.calm {
			pl.partitions = r.IntN(25)
		}
	}
	if pl.resets = r.IntN(2) * r.IntN(12); pl.copies > 0 {
		pl.resets = 0 // the marks go with a reset, and copies of what was read before it are read
	}
	if pl.resets > 0 {
		pl.cfg.InitialPosition = consumer.Position{}
	}
}

func drawSimPlan(seed uint64) simPlan {
	return drawSimPlanOf(seed, simModes[rand.New(rand.NewPCG(seed, 9)).IntN(len(simModes))])
}

// drawSimPlanOf draws the plan of a seed under a mode.
func drawSimPlanOf(seed uint64, mode simMode) simPlan {
	pl := drawSimPlanIn(seed, mode)
	if mode.assigns && pl.java > 0 {
		// Leases are handed over after some rounds of assignment.
		r := rand.New(rand.NewPCG(seed, 10))
		pl.javaFirst, pl.byCount = r.IntN(3) > 0, r.IntN(2) == 0
		pl.cfg.FailoverTime = 2 * time.Second
		pl.table.lateBy = min(pl.table.lateBy, 5*time.Second)
		pl.span = 40*time.Second + pl.span/2
	}
	return pl
}

func drawSimPlanIn(seed uint64, mode simMode) simPlan {
	r := rand.New(rand.NewPCG(seed, 0))
	some := func(n int) int { // often nothing
		if r.IntN(3) == 0 {
			return 0
		}
		return r.IntN(n + 1)
	}
	upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
	pl := simPlan{
		mode: mode, calm: r.IntN(5) == 0,
		shards: 1 + r.IntN(4), keys: 1 + r.IntN(12), fleet: 1 + r.IntN(4), page: 1 + r.IntN(20), most: 4 + r.IntN(14),
		span: 15*time.Second + upTo(45*time.Second), nap: 200*time.Millisecond + upTo(time.Second), burst: 1 + r.IntN(8), together: 1 + r.IntN(6),
		lag: upTo(2 * time.Second), retention: 24 * time.Hour, iteratorLife: 5 * time.Minute, limit: 1 + r.IntN(40), shardPage: 1 + r.IntN(20),
		noChildren: some(1) * r.IntN(1000), creating: upTo(10 * time.Second),
		detached: some(500), slow: upTo(300 * time.Millisecond), ackAfter: time.Millisecond + upTo(2*time.Second),
		launches: 1 + r.IntN(12), stops: r.IntN(8), splits: r.IntN(10), merges: r.IntN(10),
	}
	pl.cfg = consumer.Config{
		Mode: pl.mode.mode, FailoverTime: []time.Duration{2 * time.Second, 4 * time.Second, 10 * time.Second}[r.IntN(3)],
		RetrievalMode:       []consumer.RetrievalMode{consumer.RetrievalPolling, consumer.RetrievalPolling, consumer.RetrievalFanOut, consumer.RetrievalMixed}[r.IntN(4)],
		CheckpointInterval:  50*time.Millisecond + upTo(5*time.Second),
		ExplicitCheckpoints: r.IntN(4) == 0,
		ShutdownTimeout:     5*time.Second + upTo(10*time.Second),
		MaxBufferedBytes:    1 << 20,
		Logger:              quiet(),
	}
	pl.cfg.CallProcessRecordsEvenForEmptyRecordList = r.IntN(8) == 0
	pl.cfg.DisableCleanupLeasesUponShardCompletion = r.IntN(4) == 0
	if r.IntN(4) == 0 {
		pl.cfg.MaxLeasesToStealAtOneTime = 1
	}
	if pl.calm {
		pl.quieten()
		pl.table.delay, pl.kinesis.delay = upTo(20*time.Millisecond), upTo(20*time.Millisecond)
		if pl.mode.assigns && r.IntN(2) == 0 {
			pl.java = 50 // leases are handed over between workers of the two kinds
		}
		return pl
	}
	level := 1 + r.IntN(4)
	pl.table = simFaults{
		throttle: some(20 * level), lose: some(10 * level), reply: some(15 * level), late: some(4 * level), twice: some(10 * level),
		delay: upTo(150 * time.Millisecond), lateBy: time.Second + upTo(2*pl.cfg.FailoverTime),
	}
	pl.kinesis = simFaults{throttle: some(20 * level), lose: some(10 * level), reply: some(10 * level), delay: upTo(150 * time.Millisecond)}
	pl.cuts = simCuts{end: some(30), fail: some(30), silent: some(4)}
	pl.drift = []float64{0, 0.045}[r.IntN(2)]
	pl.fails, pl.restarts = some(40), some(20)
	pl.crashes, pl.pauses = some(6), some(8)
	if r.IntN(3) == 0 {
		pl.iteratorLife = time.Second + upTo(20*time.Second)
	}
	if r.IntN(6) == 0 {
		pl.retention = 20*time.Second + upTo(time.Minute)
	}
	if r.IntN(8) == 0 {
		pl.cfg.InitialPosition.Latest = true
		pl.table.late = 0 // a lease that comes late may be that of a parent whose child is read already
	} else if len(pl.mode.java) > 0 && r.IntN(3) == 0 {
		pl.java = 20 + r.IntN(60)
	}
	return pl
}

// leader is for how long there may be no leader after one has died. One of the official
// library looks at the lock less often.
func (pl *simPlan) leader() time.Duration {
	if pl.mode.assigns && pl.java > 0 {
		return pl.mode.leader + time.Minute
	}
	return pl.mode.leader
}

// audit is how long a leader of the official library takes to see that first leases
// are missing.
func (pl *simPlan) audit() time.Duration {
	if pl.mode.assigns && pl.java > 0 {
		return 8 * time.Minute
	}
	return 0
}

// quieten takes the faults from a plan: what is left are planned stops, newcomers and
// reshards.
func (pl *simPlan) quieten() {
	pl.calm, pl.java, pl.drift, pl.lag, pl.noChildren = true, 0, 0, 0, 0
	pl.table, pl.kinesis, pl.cuts = simFaults{delay: 10 * time.Millisecond}, simFaults{delay: 10 * time.Millisecond}, simCuts{}
	pl.fails, pl.restarts, pl.crashes, pl.pauses = 0, 0, 0, 0
	pl.iteratorLife, pl.retention = 5*time.Minute, 24*time.Hour
	pl.cfg.InitialPosition = consumer.Position{}
}
