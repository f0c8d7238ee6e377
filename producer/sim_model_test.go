package producer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// modelRules are the rules of a model producer. The zero value has the right
// ones; each field breaks one.
type modelRules struct {
	ackAnywhere bool // an aggregated record counts as stored wherever it landed
	ackInRange  bool // of one that landed elsewhere, the user records count that belong there
	twoInFlight bool // a lane has two in flight
	unfenced    bool // a lane goes on while it is open whether one of its records counts
	remade      bool // what is sent again is packed anew
	repeats     bool // a callback runs again if an attempt before was stored, too
	forgets     bool // records that wait when a shard closes get no callback
}

// modelProducer is a producer as small as can be: a lane for each shard, a
// goroutine that owns them all, no limits. It shows what the simulation finds
// if a rule is broken, and what the rule of the official producer does.
type modelProducer struct {
	api    producer.API
	rules  modelRules
	r      *rand.Rand
	events chan func()
	lanes  []*modelLane
	open   int // records not finished
	asking bool
	lists  int // that did not explain a landing
	known  []modelShard
	done   chan struct{}
	calls  sync.WaitGroup
}

type modelShard struct {
	id   string
	keys hashkey.Range
}

type modelLane struct {
	modelShard
	queue    []*modelRecord
	inflight int
	fenced   bool
	disputed []*modelBlob
}

type modelRecord struct {
	aggregation.Record
	hash  hashkey.Key
	tries int
	done  func(producer.Result)
}

type modelBlob struct {
	lane    *modelLane
	records []*modelRecord
	data    []byte
	unsure  bool // an attempt may have been stored
	shard   string
	seq     string
}

func newModel(api producer.API, rules modelRules, r *rand.Rand) *modelProducer {
	m := &modelProducer{api: api, rules: rules, r: r, events: make(chan func()), done: make(chan struct{})}
	m.lanes = []*modelLane{{modelShard: modelShard{keys: hashkey.All}, fenced: true}}
	go func() {
		defer close(m.done)
		for f := range m.events {
			f()
		}
	}()
	m.events <- m.ask
	return m
}

func (rules modelRules) start(api producer.API, r *rand.Rand) simPutter {
	return newModel(api, rules, r)
}

func (m *modelProducer) put(u producer.UserRecord, done func(producer.Result)) {
	rec := &modelRecord{Record: aggregation.Record{PartitionKey: u.PartitionKey, Data: u.Data}, hash: hashkey.Of(u.PartitionKey), done: done}
	m.events <- func() {
		m.open++
		l := m.lane(rec.hash)
		l.queue = append(l.queue, rec)
		m.after(10*time.Millisecond, func() { m.try(l) })
	}
}

// close waits until all records are finished, for a while, and ends the model.
func (m *modelProducer) close() (unfinished int) {
	for range 600 {
		left := make(chan int)
		m.events <- func() { left <- m.open }
		if unfinished = <-left; unfinished == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	m.calls.Wait()
	close(m.events)
	<-m.done
	return unfinished
}

// after runs f on the model's goroutine.
func (m *modelProducer) after(d time.Duration, f func()) {
	m.calls.Go(func() {
		time.Sleep(d)
		m.events <- f
	})
}

func (m *modelProducer) lane(k hashkey.Key) *modelLane {
	return m.lanes[slices.IndexFunc(m.lanes, func(l *modelLane) bool { return l.keys.Contains(k) })]
}

func (m *modelProducer) try(l *modelLane) {
	window := 1
	if m.rules.twoInFlight {
		window = 2
	}
	for !l.fenced && l.inflight < window && len(l.queue) > 0 {
		n := min(len(l.queue), 1+m.r.IntN(8))
		b := &modelBlob{lane: l, records: slices.Clone(l.queue[:n])}
		l.queue = l.queue[n:]
		l.inflight++
		m.send(b)
	}
}

func (m *modelProducer) send(b *modelBlob) {
	if b.data == nil {
		var builder aggregation.Builder
		for _, r := range b.records {
			builder.Add(r.Record)
		}
		b.data = builder.Seal(nil)
	}
	for _, r := range b.records {
		r.tries++
	}
	in := &kinesis.PutRecordsInput{StreamName: aws.String("stream"), Records: []types.PutRecordsRequestEntry{{
		Data: b.data, PartitionKey: aws.String("a"), ExplicitHashKey: aws.String(b.records[0].hash.String()),
	}}}
	m.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		out, err := m.api.PutRecords(ctx, in, func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
		m.events <- func() { m.answer(b, out, err) }
	})
}

func (m *modelProducer) answer(b *modelBlob, out *kinesis.PutRecordsOutput, err error) {
	l := b.lane
	if err != nil || len(out.Records) != 1 || out.Records[0].ErrorCode != nil {
		b.unsure = b.unsure || err != nil || len(out.Records) != 1
		m.after(50*time.Millisecond, func() {
			if m.rules.remade {
				l.queue = slices.Concat(b.records, l.queue)
				l.inflight--
				m.try(l)
				return
			}
			m.send(b)
		})
		return
	}
	b.shard, b.seq = *out.Records[0].ShardId, *out.Records[0].SequenceNumber
	l.inflight--
	if b.shard == l.id || m.rules.ackAnywhere {
		m.finish(b, b.records)
	} else {
		l.disputed = append(l.disputed, b)
		l.fenced = !m.rules.unfenced
	}
	if len(l.disputed) > 0 || b.shard != l.id {
		m.ask()
	}
	m.settle()
	m.try(l)
}

func (m *modelProducer) finish(b *modelBlob, records []*modelRecord) {
	for i, r := range b.records {
		if !slices.Contains(records, r) {
			continue
		}
		m.open--
		res := producer.Result{ShardID: b.shard, SequenceNumber: b.seq, SubSequenceNumber: i, Aggregated: true, Attempts: r.tries}
		r.done(res)
		if m.rules.repeats && b.unsure {
			r.done(res)
		}
	}
}

// ask asks for the shards.
func (m *modelProducer) ask() {
	if m.asking {
		return
	}
	m.asking = true
	m.calls.Go(func() {
		var shards []modelShard
		ok := false
		for !ok {
			shards, ok = m.list()
			if !ok {
				time.Sleep(100 * time.Millisecond)
			}
		}
		m.events <- func() {
			m.known = shards
			m.settle()
		}
	})
}

func (m *modelProducer) list() (shards []modelShard, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	in := &kinesis.ListShardsInput{StreamName: aws.String("stream")}
	for {
		out, err := m.api.ListShards(ctx, in)
		if err != nil {
			return nil, false
		}
		for _, s := range out.Shards {
			if s.SequenceNumberRange.EndingSequenceNumber == nil {
				shards = append(shards, modelShard{*s.ShardId, hashkey.Range{Start: hashOf("", *s.HashKeyRange.StartingHashKey), End: hashOf("", *s.HashKeyRange.EndingHashKey)}})
			}
		}
		if out.NextToken == nil {
			break
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
	slices.SortFunc(shards, func(a, b modelShard) int { return a.keys.Start.Compare(b.keys.Start) })
	next := hashkey.Key{}
	for i, s := range shards {
		if s.keys.Start != next || i > 0 && next == (hashkey.Key{}) {
			return nil, false
		}
		next = s.keys.End.Add(1)
	}
	return shards, len(shards) > 0 && shards[len(shards)-1].keys.End == hashkey.Max
}

// settle puts a list of shards in place, once nothing is in flight on a lane
// that is not in it.
func (m *modelProducer) settle() {
	if m.known == nil {
		return
	}
	byID := map[string]modelShard{}
	for _, s := range m.known {
		byID[s.id] = s
	}
	explained, still := true, true
	for _, l := range m.lanes {
		for _, b := range l.disputed {
			if _, ok := byID[b.shard]; !ok {
				explained = false
			}
		}
		if byID[l.id] != l.modelShard {
			l.fenced = l.fenced || !m.rules.unfenced
		}
		still = still && (l.inflight == 0 || !l.fenced && byID[l.id] == l.modelShard || m.rules.unfenced)
	}
	if m.lists++; !explained && m.lists < 5 {
		m.known, m.asking = nil, false
		m.after(100*time.Millisecond, m.ask)
		return
	}
	if !still {
		return // the next answer comes back here
	}
	m.replace(byID)
}

func (m *modelProducer) replace(byID map[string]modelShard) {
	old := m.lanes
	m.lanes = nil
	for _, s := range m.known {
		i := slices.IndexFunc(old, func(l *modelLane) bool { return l.modelShard == s })
		if i >= 0 {
			m.lanes = append(m.lanes, old[i])
		} else {
			m.lanes = append(m.lanes, &modelLane{modelShard: s})
		}
	}
	for _, l := range old {
		disputed, queue := l.disputed, l.queue
		l.disputed, l.queue, l.fenced = nil, nil, false
		var back []*modelRecord
		for _, b := range disputed {
			back = append(back, m.judge(b, byID)...)
		}
		if byID[l.id] != l.modelShard && m.rules.forgets && len(queue) > 0 {
			m.open -= len(queue)
			queue = nil
		}
		if m.rules.unfenced {
			back, queue = queue, back
		}
		for _, r := range slices.Concat(back, queue) {
			to := m.lane(r.hash)
			to.queue = append(to.queue, r)
		}
	}
	m.known, m.asking, m.lists = nil, false, 0
	for _, l := range m.lanes {
		m.try(l)
	}
}

// judge decides what counts of an aggregated record that landed elsewhere, and
// returns what does not.
func (m *modelProducer) judge(b *modelBlob, byID map[string]modelShard) (back []*modelRecord) {
	var in []*modelRecord
	s, ok := byID[b.shard]
	for _, r := range b.records {
		if ok && s.keys.Contains(r.hash) {
			in = append(in, r)
		} else {
			back = append(back, r)
		}
	}
	if !m.rules.ackInRange && len(back) > 0 {
		return b.records
	}
	m.finish(b, in)
	return back
}

// simPutter is a producer in the simplest of scenarios.
type simPutter interface {
	put(u producer.UserRecord, done func(producer.Result))
	close() (unfinished int)
}

// realPutter is a Producer as a simPutter.
type realPutter struct{ p *producer.Producer }

func (r realPutter) put(u producer.UserRecord, done func(producer.Result)) {
	if err := r.p.Put(context.Background(), u, done); err != nil {
		panic(err)
	}
}

func (r realPutter) close() (unfinished int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if ue, ok := errors.AsType[*producer.UnsentError](r.p.Close(ctx)); ok {
		return int(ue.Records)
	}
	return 0
}

// simulateReshards plays the history of a seed: two callers, four reshards, and
// some faults. What the producer is, start says.
func simulateReshards(seed uint64, start func(api producer.API, r *rand.Rand) simPutter) (*simService, []string) {
	r := rand.New(rand.NewPCG(seed, 100))
	s := newSimService(rand.New(rand.NewPCG(seed, 2)), 1+r.IntN(4))
	s.faults = simFaults{refuse: 10, lose: 20, vanish: 5, late: 10, mangle: 3, entry: 10, list: 50, stale: 30}
	s.history.oldShards = true
	m := start(s, rand.New(rand.NewPCG(seed, 101)))
	var world, callers sync.WaitGroup
	world.Go(func() {
		x := &simRun{service: s, plan: simPlan{reshards: 4}}
		x.operate(rand.New(rand.NewPCG(seed, 3)))
	})
	for c := range 2 {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(seed, 10+uint64(c)))
			next := map[string]int{}
			for range 120 {
				key := fmt.Sprintf("caller-%d-key-%d", c, r.IntN(6))
				next[key]++
				data := payload(key, next[key])
				s.history.accept(data, false)
				m.put(record(key, data), func(res producer.Result) { s.history.report(data, res) })
				if r.IntN(3) == 0 {
					time.Sleep(time.Duration(1 + r.Int64N(int64(60*time.Millisecond))))
				}
			}
		})
	}
	callers.Wait()
	world.Wait()
	s.calm()
	if n := m.close(); n > 0 {
		s.history.complain("%d records were not finished", n)
	}
	s.pending.Wait()
	return s, s.check(nil)
}

// TestSimulationFindsBrokenRules: the simulation finds nothing in a model
// producer with the right rules, and finds each rule that is broken.
func TestSimulationFindsBrokenRules(t *testing.T) {
	singly(t)
	const seeds = 50
	for _, tt := range []struct {
		name  string
		rules modelRules
		want  string // what the complaints are about; empty means none
	}{
		{name: "right"},
		{name: "acknowledged on any shard", rules: modelRules{ackAnywhere: true}, want: "is lost"},
		{name: "acknowledged one by one", rules: modelRules{ackInRange: true}, want: "KCL: record"},
		{name: "two in flight", rules: modelRules{twoInFlight: true}, want: "in flight twice"},
		{name: "not fenced", rules: modelRules{unfenced: true}, want: "settled"},
		{name: "packed anew", rules: modelRules{remade: true}, want: "in other bytes"},
		{name: "callback twice", rules: modelRules{repeats: true}, want: "reported twice"},
		{name: "no callback", rules: modelRules{forgets: true}, want: "never reported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				var problems []string
				synctest.Test(t, func(*testing.T) { _, problems = simulateReshards(seed, tt.rules.start) })
				switch {
				case tt.want == "" && len(problems) > 0:
					t.Fatalf("seed %d:\n\t%s", seed, strings.Join(problems, "\n\t"))
				case tt.want != "" && strings.Contains(strings.Join(problems, "\n"), tt.want):
					t.Logf("found with seed %d: %s", seed, problems[0])
					return
				}
			}
			if tt.want != "" {
				t.Errorf("not found in %d histories", seeds)
			}
		})
	}
}

// TestOfficialRuleLoses plays the same reshards with the rule of the official
// producer and with ours.
//
// The KPL, from 0.15.11, takes the user records of an aggregated record that
// landed on another shard one by one: those that belong to that shard count as
// stored, the others are put again. The KCL discards an aggregated record of
// which one user record does not belong to the shard. So those that counted are
// delivered to nobody. docs/official-clients.md has the same of the official pair
// itself.
//
// Source: awslabs/amazon-kinesis-producer, retrier.cc; awslabs/amazon-kinesis-client,
// AggregatorUtil.java.
func TestOfficialRuleLoses(t *testing.T) {
	singly(t)
	ours := func(api producer.API, r *rand.Rand) simPutter {
		cfg := producer.Config{AggregationMaxSize: 400, RecordTTL: -1, RequestTimeout: time.Second, Logger: quiet()}
		p, err := producer.New(api, "stream", producer.Seeded(cfg, r.Uint64()))
		if err != nil {
			panic(err)
		}
		return realPutter{p}
	}
	for _, tt := range []struct {
		name  string
		start func(producer.API, *rand.Rand) simPutter
		loses bool
	}{
		{name: "rule of the KPL", start: modelRules{ackInRange: true}.start, loses: true},
		{name: "right rule, same model", start: modelRules{}.start},
		{name: "Producer", start: ours},
	} {
		t.Run(tt.name, func(t *testing.T) {
			acknowledged, misplaced := 0, 0
			lost := map[string]int{}
			for seed := range uint64(50) {
				synctest.Test(t, func(t *testing.T) {
					s, problems := simulateReshards(seed, tt.start)
					if len(problems) > 0 && !tt.loses {
						t.Errorf("seed %d:\n\t%s", seed, strings.Join(problems, "\n\t"))
					}
					acknowledged += len(s.history.fates)
					for _, r := range simReaders {
						lost[r.name] += s.lostBy(t, r)
					}
					for _, sh := range s.shards {
						for _, e := range sh.entries {
							if !e.send.inRange {
								misplaced++
							}
						}
					}
				})
			}
			t.Logf("%d records acknowledged, %d aggregated records stored where not all of them belongs; lost: %v", acknowledged, misplaced, lost)
			if misplaced == 0 || lost["record by record"] != 0 || lost["lenient"] != 0 || tt.loses != (lost["KCL"] > 0) {
				t.Errorf("%d aggregated records are misplaced, readers lose %v", misplaced, lost)
			}
		})
	}
}

// lostBy counts the records that were reported stored and that a reader does
// not get. Each must lie in an aggregated record that is stored where not all
// of it belongs.
func (s *simService) lostBy(t *testing.T, r simReader) (lost int) {
	t.Helper()
	got := map[string]bool{}
	for _, d := range s.readAll(r) {
		got[d.data] = true
	}
	for _, f := range s.history.fates {
		if f.reports == 0 || f.result.Err != nil || got[f.data] {
			continue
		}
		lost++
		if !slices.ContainsFunc(f.sends, func(send *simSend) bool { return send.stored != nil && !send.inRange }) {
			t.Errorf("record %q is lost, and not for where it was stored", f.data)
		}
	}
	return lost
}
