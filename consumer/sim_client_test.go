package consumer_test

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// simGate stands between a worker and the world. What comes to a worker that is
// paused waits until it goes on; a dead one gets nothing and gives nothing.
type simGate struct {
	mu    sync.Mutex // guards all below
	until time.Time  // paused
	dead  bool
	waits int
}

// pass waits while the worker is paused. A paused process does not see that its
// time is over either, so the end of ctx is looked at afterwards.
func (g *simGate) pass(ctx context.Context) error {
	for {
		g.mu.Lock()
		wait, dead := time.Until(g.until), g.dead
		if wait > 0 {
			// One after the other: those that wake at one moment do so in any order.
			g.waits++
			wait += time.Duration(g.waits)
		}
		g.mu.Unlock()
		if dead {
			<-ctx.Done()
			return ctx.Err()
		}
		if wait <= 0 {
			return ctx.Err()
		}
		time.Sleep(wait)
	}
}

// passOr waits likewise, and reports false if the worker is dead, until done.
func (g *simGate) passOr(done <-chan struct{}) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-done:
			cancel()
		case <-stop:
		}
	}()
	return g.pass(ctx) == nil
}

func (g *simGate) pause(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Now().Add(d)
}

func (g *simGate) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = true
}

func (g *simGate) isDead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

// simFaults are what goes wrong with calls, each in a thousand.
type simFaults struct {
	throttle, lose, reply, late, twice int
	delay                              time.Duration // on each way, at most
	lateBy                             time.Duration // at most
}

// simCaller makes calls of one worker over a network.
//
// What befalls calls about one shard is drawn apart from what befalls others: of
// those that are made at one moment, chance decides which comes first, and the seed
// would tell another story.
type simCaller struct {
	gate   *simGate
	seed   uint64
	mu     sync.Mutex // guards draws
	draws  map[string]*rand.Rand
	faults *simFaults
	calm   func() bool // faults have stopped
	called func()      // told of each call, unless nil
}

// roll draws a number below n, for a call about the shard of a name.
func (c *simCaller) roll(about string, n int) int { return int(c.draw(about, int64(n))) }

func (c *simCaller) within(about string, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(c.draw(about, int64(d)))
}

func (c *simCaller) draw(about string, n int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.draws[about]
	if r == nil {
		h := fnv.New64a()
		h.Write([]byte(about))
		r = rand.New(rand.NewPCG(c.seed, h.Sum64()))
		if c.draws == nil {
			c.draws = map[string]*rand.Rand{}
		}
		c.draws[about] = r
	}
	return r.Int64N(n)
}

// simSleep waits for d or the end of ctx.
func simSleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errSimReset is a connection that is gone. What became of the request nobody
// knows.
var errSimReset error = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset")}

// simFate is what becomes of a call.
type simFate int

const (
	simArrives simFate = iota
	simThrottled
	simLost      // the request
	simReplyLost // the request arrives
	simLate      // the request arrives when nobody waits for it any more
	simTwice     // the request arrives twice, and the second answer is taken
)

func (c *simCaller) fate(about string) simFate {
	if c.calm() {
		return simArrives
	}
	r := c.roll(about, 1000)
	for i, share := range []int{c.faults.throttle, c.faults.lose, c.faults.reply, c.faults.late, c.faults.twice} {
		if r -= share; r < 0 {
			return simFate(i + 1)
		}
	}
	return simArrives
}

// simTravel takes a call there and back. do is what the server does; it is called
// under lock, perhaps after simTravel has returned, or twice.
func simTravel[T any](ctx context.Context, c *simCaller, about string, lock sync.Locker, late *sync.WaitGroup, throttled error, do func() (*T, error)) (*T, error) {
	if c.called != nil {
		c.called()
	}
	if err := c.gate.pass(ctx); err != nil {
		return nil, err
	}
	locked := func() (*T, error) {
		lock.Lock()
		defer lock.Unlock()
		return do()
	}
	delay := c.faults.delay
	if c.calm() {
		delay = min(delay, 2*time.Millisecond)
	}
	fate := c.fate(about)
	if err := simSleep(ctx, c.within(about, delay)); err != nil && fate != simLate {
		return nil, err
	}
	var out *T
	var err error
	switch fate {
	case simThrottled:
		err = throttled
	case simLost, simReplyLost:
		if fate == simReplyLost {
			_, _ = locked()
		}
		err = errSimReset
		if c.roll(about, 2) == 0 { // after a silence
			_ = simSleep(ctx, 10*time.Second)
		}
	case simLate:
		by := c.within(about, c.faults.lateBy)
		late.Go(func() {
			time.Sleep(by)
			_, _ = locked()
		})
		_ = simSleep(ctx, 10*time.Second)
		err = errSimReset
	case simTwice:
		_, _ = locked()
		_ = simSleep(ctx, c.within(about, delay))
		out, err = locked()
	case simArrives:
		out, err = locked()
	}
	if slept := simSleep(ctx, c.within(about, delay)); slept != nil {
		err = slept
	}
	if gate := c.gate.pass(ctx); gate != nil {
		err = gate
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// simClient is DynamoDB as one worker reaches it.
type simClient struct {
	*simCaller
	db   *simDB
	who  string
	page int // rows of an answer of Scan
}

func simCall[T any](ctx context.Context, c *simClient, about string, do func() (*T, error)) (*T, error) {
	return simTravel(ctx, c.simCaller, about, &c.db.mu, &c.db.late, error(&types.ProvisionedThroughputExceededException{Message: aws.String("slow down")}), do)
}

// asOf returns the time whose state a read sees.
func (c *simClient) asOf(about string, consistent *bool) time.Time {
	if aws.ToBool(consistent) {
		return time.Now()
	}
	return time.Now().Add(-c.within(about, c.db.maxLag))
}
