package consumer_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// simJava is a worker by the rules of the official library's 1.x and 2.x, and in part
// of 3.x. Its
// writes are conditional on the counter alone; it reads what may be stale; it
// believes in a lease from when the answer came, and in the loss of one whenever a
// condition fails, even if it was its own earlier try that it met; when it stops it
// leaves its leases as they are.
//
// Source: amazon-kinesis-client 2.7, DynamoDBLeaseTaker, DynamoDBLeaseRenewer,
// ShardConsumer and ShutdownTask.
type simJava struct {
	who     string
	id      simIdentity
	gate    *simGate
	run     *simRun
	client  *simClient
	api     *simAPI
	golden  *simGolden
	rng     *rand.Rand // of the taker, and only its
	f       time.Duration
	dead    chan struct{} // closed when the process is to end at once
	over    chan struct{}
	workers sync.WaitGroup

	stopping chan struct{}
	once     sync.Once          // stopping
	ending   sync.Once          // dead
	seen     map[string]simSeen // by the taker

	three simJava3 // what 3.x has more

	mu   sync.Mutex // guards held
	held map[string]*simHeld
}

// simSeen is what the taker has seen of a lease.
type simSeen struct {
	row     *simLease
	changed time.Time // zero: never renewed
}

// simHeld is a lease that the worker believes to have.
type simHeld struct {
	key     string
	turn    chan struct{} // capacity 1: taken by who writes
	renewed time.Time     // when the answer to the last write came
	row     *simLease     // changed with turn
	parents []string      // of the shard
	lost    chan struct{} // closed
	once    sync.Once

	// Of 3.x.
	asked atomic.Bool  // to hand it over
	bytes atomic.Int64 // delivered since the last renewal
	rate  float64      // throughput; owned by who renews
}

func (h *simHeld) lose() { h.once.Do(func() { close(h.lost) }) }

func (h *simHeld) isLost() bool {
	select {
	case <-h.lost:
		return true
	default:
		return false
	}
}

func (w *simJava) process() string       { return w.who }
func (w *simJava) identity() simIdentity { return w.id }
func (w *simJava) done() <-chan struct{} { return w.over }
func (w *simJava) way() *simGate         { return w.gate }
func (w *simJava) finished() string      { return "" }

func (w *simJava) stop() {
	if w.gate.isDead() {
		w.ending.Do(func() { close(w.dead) })
	}
	w.once.Do(func() { close(w.stopping) })
}

// launchJava starts a worker of a version.
func (x *simRun) launchJava(name string, version int) *simJava {
	x.processes++
	w := &simJava{
		who: fmt.Sprintf("%s.%d", name, x.processes), id: simIdentity{name: name, java: version, wait: x.plan.cfg.FailoverTime}, gate: new(simGate), run: x,
		golden: simGoldens()[version], rng: rand.New(rand.NewPCG(x.seed, 5000+uint64(x.processes))), f: x.plan.cfg.FailoverTime,
		dead: make(chan struct{}), over: make(chan struct{}), stopping: make(chan struct{}), seen: map[string]simSeen{}, held: map[string]*simHeld{},
	}
	w.client = &simClient{simCaller: x.caller(w.gate, &x.plan.table), db: x.db, who: w.who, page: x.plan.page}
	w.api = &simAPI{simCaller: x.caller(w.gate, &x.plan.kinesis), streams: x.streams}
	x.history.started(w.who, w.id)
	go w.work()
	return w
}

// epsilon is epsilonMillis.
const simEpsilon = 25 * time.Millisecond

func (w *simJava) work() {
	defer close(w.over)
	if w.begin() {
		w.workers.Go(func() { w.every(w.f/3-simEpsilon, w.renew) })
		if w.id.java == 3 {
			w.three.work(w)
		} else {
			w.every(2*(w.f+simEpsilon), w.take)
		}
	}
	// Stopped: consumers finish what they have begun; leases are dropped in memory.
	w.workers.Wait()
	if !w.gate.isDead() {
		w.run.history.note(simEvent{kind: simStopped, who: w.who})
	}
}

// every calls f with pauses between, until the worker stops.
func (w *simJava) every(pause time.Duration, f func()) {
	for {
		f()
		if !w.pause(pause) {
			return
		}
	}
}

// pause reports false if the worker stops.
func (w *simJava) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.stopping:
	case <-w.dead:
	}
	return false
}

// pauseAnyway waits, even if the worker is to stop.
func (w *simJava) pauseAnyway(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.dead:
	}
}

// timed bounds a call.
func (w *simJava) timed() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), w.f)
	go func() {
		select {
		case <-w.dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// begin makes the table and its first leases, unless they are there, and adopts
// what an earlier process of the name has left.
func (w *simJava) begin() bool {
	for {
		ctx, cancel := w.timed()
		_, err := w.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String("app")})
		if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
			_, err = w.client.CreateTable(ctx, &dynamodb.CreateTableInput{
				TableName: aws.String("app"), KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("leaseKey")}},
			})
		}
		cancel()
		if err == nil && (w.id.java < 3 || w.three.index(w)) {
			break
		}
		if !w.pause(time.Second) {
			return false
		}
	}
	for {
		rows, err := w.scan()
		if err == nil && len(rows) > 0 {
			for key, row := range rows {
				if row.owner == w.id.name && row.checkpointOwner == "" {
					w.hold(key, row) // and renewed soon, even if it has expired
				}
			}
			return true
		}
		if err == nil && (w.id.java < 3 || w.three.leads(w)) {
			w.createFirst(nil)
		}
		if !w.pause(time.Second) {
			return false
		}
	}
}

// createFirst creates leases of the oldest shards, but where a descendant has one.
func (w *simJava) createFirst(rows map[string]*simLease) {
	s := w.run.streams[0]
	s.mu.Lock()
	var read func(sh *simShard) bool
	read = func(sh *simShard) bool {
		return rows[sh.id] != nil || slices.ContainsFunc(sh.children, func(id string) bool { return read(s.byID[id]) })
	}
	var in []*dynamodb.PutItemInput
	for _, sh := range s.shards {
		if !sh.gone && s.listed(sh, &kinesistypes.ShardFilter{Type: kinesistypes.ShardFilterTypeAtTrimHorizon}) && !read(sh) {
			in = append(in, w.golden.lease(sh.id, "TRIM_HORIZON", sh.keys.Start.String(), sh.keys.End.String(), sh.parents))
		}
	}
	s.mu.Unlock()
	for _, put := range in {
		w.create(put)
	}
}

// create creates a lease, and reports whether there is one now.
func (w *simJava) create(in *dynamodb.PutItemInput) bool {
	ctx, cancel := w.timed()
	defer cancel()
	_, err := w.client.PutItem(ctx, in)
	_, there := errors.AsType[*types.ConditionalCheckFailedException](err)
	return err == nil || there
}

func (w *simJava) scan() (map[string]*simLease, error) {
	items, err := w.items()
	if err != nil {
		return nil, err
	}
	return simLeasesIn(items), nil
}

// items returns all that the table has.
func (w *simJava) items() (items []simItem, err error) {
	ctx, cancel := w.timed()
	defer cancel()
	in := &dynamodb.ScanInput{TableName: aws.String("app")}
	for {
		out, err := w.client.Scan(ctx, in)
		if err != nil {
			return nil, err
		}
		items = append(items, out.Items...)
		if out.LastEvaluatedKey == nil {
			return items, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

func simLeasesIn(items []simItem) map[string]*simLease {
	rows := map[string]*simLease{}
	for _, item := range items {
		if l := simLeaseOf(item); l != nil {
			rows[simKeyIn(item)] = l
		}
	}
	return rows
}

func (w *simJava) get(key string) (row *simLease, err error) {
	ctx, cancel := w.timed()
	defer cancel()
	out, err := w.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("app"), Key: simItem{"leaseKey": simText(key)}, ConsistentRead: aws.Bool(false)})
	if err != nil {
		return nil, err
	}
	return simLeaseOf(out.Item), nil
}

// hold notes that the worker has a lease, and consumes its shard.
func (w *simJava) hold(key string, row *simLease) {
	h := &simHeld{key: key, turn: make(chan struct{}, 1), renewed: time.Now(), row: row, parents: row.parents, lost: make(chan struct{})}
	w.mu.Lock()
	if old := w.held[key]; old != nil {
		old.lose()
	}
	w.held[key] = h
	w.mu.Unlock()
	w.workers.Go(func() { w.consume(h) })
}

func (w *simJava) drop(h *simHeld) {
	w.mu.Lock()
	if w.held[h.key] == h {
		delete(w.held, h.key)
	}
	w.mu.Unlock()
	h.lose()
}

func (w *simJava) holding() []*simHeld {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.held), func(a, b *simHeld) int { return cmp.Compare(a.key, b.key) })
}

// write makes a write to a lease that the worker has. A condition that fails is the
// loss of the lease, whatever has come of earlier tries.
func (w *simJava) write(h *simHeld, kind string, values simItem) bool {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	if h.isLost() {
		return false
	}
	if time.Since(h.renewed) > w.f { // expired, in its own eyes
		w.drop(h)
		return false
	}
	ctx, cancel := w.timed()
	defer cancel()
	_, err := w.client.UpdateItem(ctx, w.golden.update(kind, h.key, h.row.counter, values))
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		w.drop(h)
		return false
	}
	if err != nil {
		return false // perhaps done: the next one will find out, and take it for a loss
	}
	if kind != "children" {
		row := *h.row
		row.counter++
		h.row, h.renewed = &row, time.Now()
	}
	return true
}

func (w *simJava) renew() {
	var all sync.WaitGroup
	for _, h := range w.holding() {
		all.Go(func() {
			if w.id.java == 3 {
				w.renew3(h)
			} else {
				w.write(h, "renew", nil)
			}
		})
	}
	all.Wait()
}

// take takes leases, or steals some, by the rules of 2.x.
func (w *simJava) take() {
	rows, err := w.scan()
	if err != nil {
		return
	}
	now := time.Now()
	seen := map[string]simSeen{}
	for key, row := range rows {
		s := simSeen{row: row, changed: now}
		if old, ok := w.seen[key]; ok && old.row.counter == row.counter {
			s.changed = old.changed
		} else if !ok && row.owner == "" {
			s.changed = time.Time{}
		}
		seen[key] = s
	}
	w.seen = seen
	owned := map[string][]string{w.id.name: nil}
	var free, old []string
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		s := seen[key]
		if s.row.owner != "" && now.Sub(s.changed) <= w.f {
			owned[s.row.owner] = append(owned[s.row.owner], key)
			continue
		}
		if now.Sub(s.changed) > 3*w.f {
			old = append(old, key)
		} else {
			free = append(free, key)
		}
	}
	// Finished leases count as all others do.
	target := (len(seen) + len(owned) - 1) / len(owned)
	if len(owned) >= len(seen) {
		target = 1
	}
	takes := old
	need := target - len(owned[w.id.name]) - len(old)
	w.rng.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	switch {
	case need <= 0:
	case len(free)+len(old) > 0:
		takes = append(takes, free[:min(need, len(free))]...)
	default:
		takes = append(takes, w.victims(owned, target, need)...)
	}
	for _, key := range takes {
		w.takeOne(key, seen[key].row)
	}
}

// victims chooses a lease to steal.
func (w *simJava) victims(owned map[string][]string, target, need int) []string {
	victim := ""
	for _, name := range slices.Sorted(maps.Keys(owned)) {
		if name != w.id.name && (victim == "" || len(owned[name]) > len(owned[victim])) {
			victim = name
		}
	}
	if victim == "" {
		return nil
	}
	n := 0
	switch has := len(owned[victim]); {
	case has > target:
		n = min(need, has-target)
	case has == target && need > 1:
		n = 1
	}
	keys := slices.Clone(owned[victim])
	w.rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys[:min(n, 1)]
}

func (w *simJava) takeOne(key string, row *simLease) {
	in := w.golden.update("take", key, row.counter, simItem{"leaseOwner": simText(w.id.name)})
	if row.owner != "" && row.owner != w.id.name {
		in.AttributeUpdates["ownerSwitchesSinceCheckpoint"] = types.AttributeValueUpdate{Action: types.AttributeActionAdd, Value: simNumber(1)}
	}
	ctx, cancel := w.timed()
	defer cancel()
	if _, err := w.client.UpdateItem(ctx, in); err != nil {
		return
	}
	mine := *row
	mine.owner = w.id.name
	mine.counter++
	w.hold(key, &mine)
}
