package consumer_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// simJava3 is what a worker of the official library's 3.x does besides: one that has
// the leader's lock gives leases to all whose rows are fresh, by what it has read, which
// may be stale, and whatever the counters are meanwhile. Owners learn of a hand-over from
// a renewal that is refused, and new owners of their leases from an index.
//
// Source: amazon-kinesis-client 3.5, LeaseAssignmentManager, LeaseDiscoverer,
// DynamoDBLeaseRenewer, LeaseGracefulShutdownHandler and DynamoDBLockBasedLeaderDecider.
type simJava3 struct {
	version  string    // of the lock while it is held
	beaten   time.Time // when the answer to its last write came
	versions int
	other    string // the version of another's lock, and when it was first seen
	since    time.Time
	looked   time.Time

	seen    map[string]simSeen
	handing map[string]simHanding
	rounds  int
	failed  int // in a row
	holes   int // likewise
	audited time.Time
}

// simHanding is a hand-over that a leader has seen under way.
type simHanding struct {
	from, to string
	since    time.Time
}

const (
	simLockLasts = 2 * time.Minute
	simLockBeat  = 30 * time.Second
	simReport    = 30 * time.Second
	simHandOver  = 30 * time.Second
	simAudit     = 2 * time.Minute
)

// work runs until the worker stops.
func (j *simJava3) work(w *simJava) {
	w.workers.Go(func() {
		if w.pause(2 * time.Second) {
			w.every(simReport, w.report)
		}
	})
	w.workers.Go(func() {
		due := time.Now()
		w.every(time.Second, func() {
			if leads := j.leads(w); time.Now().Before(due) {
				return
			} else if leads {
				j.round(w)
			} else {
				j.forget()
			}
			due = time.Now().Add(2 * w.f)
		})
		if j.version != "" {
			ctx, cancel := w.timed()
			defer cancel()
			_, _ = w.client.DeleteItem(ctx, w.golden.unlocking(w.id.name, j.version))
		}
	})
	w.every(w.f-simEpsilon, w.discover)
}

func (j *simJava3) forget() {
	j.seen, j.handing, j.rounds, j.failed, j.holes = nil, nil, 0, 0, 0
}

// index has the table have an index by owner, and reports whether it can be used.
func (*simJava3) index(w *simJava) bool {
	ctx, cancel := w.timed()
	defer cancel()
	out, err := w.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String("app")})
	if err != nil {
		return false
	}
	for _, g := range out.Table.GlobalSecondaryIndexes {
		if *g.IndexName == *w.golden.owned.IndexName {
			return g.IndexStatus == types.IndexStatusActive
		}
	}
	_, _ = w.client.UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName: aws.String("app"),
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: w.golden.owned.IndexName, KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String("leaseOwner"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeRange},
			},
		}}},
	})
	return false
}

// report writes the worker's row, which measures nothing.
func (w *simJava) report() {
	ctx, cancel := w.timed()
	defer cancel()
	_, _ = w.client.UpdateItem(ctx, w.golden.reporting(w.id.name, time.Now().Unix()))
}

// leads does what is due about the lock, and reports whether the worker believes to
// have it.
func (j *simJava3) leads(w *simJava) bool {
	now := time.Now()
	j.versions++
	next := fmt.Sprintf("%s-%d", w.who, j.versions)
	ctx, cancel := w.timed()
	defer cancel()
	if j.version != "" {
		if now.Sub(j.beaten) < simLockBeat {
			return true
		}
		_, err := w.client.UpdateItem(ctx, w.golden.beating(w.id.name, j.version, next))
		switch _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); {
		case err == nil:
			j.version, j.beaten = next, time.Now()
		case refused: // perhaps by an earlier try of its own
			j.version = ""
		case time.Since(j.beaten) > simLockLasts:
			j.version = ""
		}
		return j.version != ""
	}
	if !j.looked.IsZero() && now.Sub(j.looked) < simLockBeat {
		return false
	}
	j.looked = now
	out, err := w.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("app"), Key: simItem{"leaseKey": simText("Leader")}, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return false
	}
	seen := ""
	if out.Item != nil {
		seen = simTextIn(out.Item, "recordVersionNumber")
		lasts, err := strconv.Atoi(simTextIn(out.Item, "leaseDuration"))
		if err != nil {
			panic(err)
		}
		if seen != j.other {
			j.other, j.since = seen, time.Now()
		}
		if time.Since(j.since) <= time.Duration(lasts)*time.Millisecond {
			return false
		}
	}
	if _, err := w.client.PutItem(ctx, w.golden.locking(w.id.name, next, seen)); err != nil {
		return false // perhaps done, and nobody's until it has expired
	}
	j.version, j.beaten = next, time.Now()
	return true
}

func simTextIn(item simItem, name string) string {
	if v, ok := item[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

func simFloatIn(item simItem, name string) float64 {
	if v, ok := item[name].(*types.AttributeValueMemberN); ok {
		f, err := strconv.ParseFloat(v.Value, 64)
		if err != nil {
			panic(err)
		}
		return f
	}
	return 0
}

// round is one of assignments.
func (j *simJava3) round(w *simJava) {
	items, err := w.items()
	if err == nil {
		err = j.assign(w, items)
	}
	if err == nil {
		j.failed = 0
		j.rounds++
		return
	}
	if j.failed++; j.failed >= 3 && j.version != "" {
		ctx, cancel := w.timed()
		defer cancel()
		_, _ = w.client.DeleteItem(ctx, w.golden.unlocking(w.id.name, j.version))
		j.version = ""
	}
}

// simLoads are workers and what they have.
type simLoads map[string]float64

// least returns the one that has least.
func (l simLoads) least() string {
	return slices.MinFunc(slices.Sorted(maps.Keys(l)), func(a, b string) int { return cmp.Compare(l[a], l[b]) })
}

func (j *simJava3) assign(w *simJava, items []simItem) (failed error) {
	now := time.Now()
	rows := simLeasesIn(items)
	loads := simLoads{}
	for _, item := range items {
		if simTextIn(item, "entityType") == "WORKER_METRIC_STATS" && now.Sub(time.Unix(int64(simFloatIn(item, "lut")), 0)) < 2*simReport {
			loads[simKeyIn(item)] = 0
		}
	}
	j.audit(w, rows)
	seen, handing := map[string]simSeen{}, map[string]simHanding{}
	weights := map[string]float64{}
	var free, held []string
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		row := rows[key]
		s := simSeen{row, now}
		if old, ok := j.seen[key]; ok && row.counter <= old.row.counter {
			s.changed = old.changed
		}
		seen[key] = s
		late := false
		if row.checkpointOwner != "" {
			o, ok := j.handing[key]
			if !ok || o.from != row.checkpointOwner || o.to != row.owner {
				o = simHanding{row.checkpointOwner, row.owner, now}
			}
			handing[key] = o
			late = now.Sub(o.since) > simHandOver+w.f
		}
		if row.ended() {
			continue
		}
		if weights[key] = 1; !w.run.plan.byCount {
			weights[key] = max(simFloatIn(row.item, "throughputKBps"), 0.01)
		}
		if _, lives := loads[row.owner]; lives {
			loads[row.owner] += weights[key]
		}
		switch {
		case row.owner == "" && row.checkpointOwner == "", now.Sub(s.changed) > w.f, late:
			free = append(free, key)
		case row.checkpointOwner == "":
			held = append(held, key)
		}
	}
	j.seen, j.handing = seen, handing
	if len(loads) == 0 {
		return nil
	}
	do := func(in *dynamodb.UpdateItemInput) {
		ctx, cancel := w.timed()
		defer cancel()
		_, err := w.client.UpdateItem(ctx, in)
		if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); !refused && err != nil {
			failed = err
		}
	}
	for _, key := range free {
		to := loads.least()
		if _, lives := loads[rows[key].owner]; lives {
			loads[rows[key].owner] -= weights[key]
		}
		loads[to] += weights[key]
		do(w.golden.assigning(key, rows[key], to))
	}
	if j.rounds%3 == 2 {
		j.balance(w, rows, held, loads, weights, do)
	}
	return failed
}

// balance has workers that have more than the mean hand leases over.
func (j *simJava3) balance(w *simJava, rows map[string]*simLease, held []string, loads simLoads, weights map[string]float64, do func(*dynamodb.UpdateItemInput)) {
	mean := 0.0
	for _, v := range loads {
		mean += v / float64(len(loads))
	}
	for _, from := range slices.Sorted(maps.Keys(loads)) {
		if loads[from] <= mean*1.1 {
			continue
		}
		much := (loads[from] - mean) * 0.6
		var own, give []string
		for _, key := range held {
			if rows[key].owner == from {
				own = append(own, key)
			}
		}
		w.rng.Shuffle(len(own), func(a, b int) { own[a], own[b] = own[b], own[a] })
		for _, key := range own {
			if weights[key] <= much {
				give, much = append(give, key), much-weights[key]
			}
		}
		if len(give) == 0 && len(own) > 0 {
			give = []string{slices.MinFunc(own, func(a, b string) int { return cmp.Compare(weights[a], weights[b]) })}
		}
		for _, key := range give {
			to := loads.least()
			if to == from || loads[to]+weights[key] > mean*1.0001 {
				break
			}
			loads[from], loads[to] = loads[from]-weights[key], loads[to]+weights[key]
			do(w.golden.handing(key, rows[key], to))
		}
	}
}

// audit makes first leases that are missing: an earlier worker was cut short.
func (j *simJava3) audit(w *simJava, rows map[string]*simLease) {
	if time.Since(j.audited) < simAudit {
		return
	}
	j.audited = time.Now()
	if simCovered(maps.Values(rows)) {
		j.holes = 0
		return
	}
	if j.holes++; j.holes >= 3 {
		w.createFirst(rows)
	}
}

// discover begins with leases that were given to the worker.
func (w *simJava) discover() {
	ctx, cancel := w.timed()
	out, err := w.client.Query(ctx, w.golden.ownedBy(w.id.name))
	cancel()
	if err != nil {
		return
	}
	for _, item := range out.Items {
		key := simKeyIn(item)
		w.mu.Lock()
		held := w.held[key] != nil
		w.mu.Unlock()
		if held {
			continue
		}
		if row, err := w.get(key); err == nil && row != nil && row.owner == w.id.name && row.checkpointOwner == "" && !row.ended() {
			w.hold(key, row)
		}
	}
}

// renew3 renews a lease. A hand-over that has begun is learnt from a refusal; another
// refusal may be by an earlier try of its own, which is seen unless a hand-over is on.
func (w *simJava) renew3(h *simHeld) {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	if h.isLost() {
		return
	}
	now := time.Now()
	if now.Sub(h.renewed) > w.f {
		w.drop(h)
		return
	}
	h.rate = (h.rate + float64(h.bytes.Swap(0))/1024/(w.f/3).Seconds()) / 2
	refused, err := w.tryRenew(h)
	if refused && h.row.checkpointOwner != "" {
		h.asked.Store(true)
		refused, err = w.tryRenew(h)
	}
	switch {
	case err == nil:
	case !refused:
		return // an error; the next try will find out
	default:
		row, err := w.get(h.key)
		if err != nil {
			return
		}
		if row == nil || row.owner != w.id.name || row.counter != h.row.counter+1 {
			w.drop(h)
			return
		}
	}
	row := *h.row
	row.counter++
	h.row, h.renewed = &row, time.Now()
}

// tryRenew tries once. refused tells that a condition did not hold; the owners that
// were found are noted.
func (w *simJava) tryRenew(h *simHeld) (refused bool, err error) {
	in := w.golden.update("renew", h.key, h.row.counter, nil)
	in.AttributeUpdates["throughputKBps"] = types.AttributeValueUpdate{Action: types.AttributeActionPut, Value: &types.AttributeValueMemberN{Value: strconv.FormatFloat(h.rate, 'f', 6, 64)}}
	if h.row.checkpointOwner != "" {
		delete(in.Expected, "checkpointOwner")
	}
	ctx, cancel := w.timed()
	defer cancel()
	_, err = w.client.UpdateItem(ctx, in)
	ccf, refused := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !refused {
		return false, err
	}
	found := simLeaseOf(ccf.Item)
	if found == nil {
		if found, _ = w.get(h.key); found == nil {
			return true, err
		}
	}
	if found.checkpointOwner != "" {
		row := *h.row
		row.owner, row.checkpointOwner = found.owner, found.checkpointOwner
		h.row = &row
	}
	return true, err
}

// handOver gives a lease to its next owner, for which the worker has made its last
// checkpoint.
func (w *simJava) handOver(h *simHeld) {
	for !h.isLost() {
		h.turn <- struct{}{}
		in := w.golden.assigning(h.key, h.row, h.row.owner)
		ctx, cancel := w.timed()
		_, err := w.client.UpdateItem(ctx, in)
		cancel()
		_, refused := errors.AsType[*types.ConditionalCheckFailedException](err)
		if err == nil || refused {
			w.drop(h)
		}
		<-h.turn
		if err != nil && !refused && !w.pause(2*time.Second) {
			return
		}
	}
}
