package aggregation_test

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

var (
	modelSeeds = flag.Int("seeds", usualSeeds(), "histories that the tests of stamps and marks run")
	modelFrom  = flag.Uint64("from", 1, "seed of the first, and of what other tests draw")
)

// found are the seeds of histories that once went wrong. In both an aggregated
// record that leaves out many numbers is stored before the one that went before
// it.
var found = []uint64{1755100535937599549, 4511628896587922955}

func usualSeeds() int {
	if raceEnabled {
		return 50
	}
	return 500
}

// world is a model of a stream and of the producers that write to it, small
// enough to take every turn that the real ones can take. A producer of it has
// the rules of package producer: a lane for each shard that it knows, first in
// first out, one aggregated record of a lane under way; what is not known to
// be stored is sent again; one that was stored on another shard counts if all
// its keys lie there; a new map moves what waits, in order.
type world struct {
	r         *rand.Rand
	shards    []*modelShard // parents before children
	producers []*modelProducer
	late      [][]byte // attempts given up, which may yet be stored
	lateKey   []hashkey.Key
	clock     time.Time
	put       int
	fate      []fate // by record
	keyOf     []hashkey.Key
	misnumber bool // now and then a blob comes before the one that was stored before it
}

type fate int

const (
	waiting fate = iota
	acknowledged
	failed // expired, refused, or gone down with its producer
)

type modelShard struct {
	keys    hashkey.Range
	parents []*modelShard
	closed  bool
	blobs   [][]byte
	arrived []time.Time
}

type modelProducer struct {
	id    [8]byte
	lanes []*modelLane // a map of the hash space
	made  uint64       // lanes
}

type modelLane struct {
	number uint64
	shard  *modelShard // that it predicts
	next   uint64      // sequence
	queue  []*modelBatch
}

// modelBatch becomes one aggregated record.
type modelBatch struct {
	stamp   aggregation.Stamp // without a sequence
	records []modelRecord
}

type modelRecord struct {
	n        int // of all in the world
	sequence uint64
	key      hashkey.Key
	data     []byte
}

func newWorld(r *rand.Rand) *world {
	w := &world{r: r, clock: time.Unix(1_700_000_000, 0), misnumber: r.IntN(3) == 0}
	for _, k := range hashkey.Uniform(1 + r.IntN(4)) {
		w.shards = append(w.shards, &modelShard{keys: k})
	}
	for range 1 + r.IntN(2) {
		w.producers = append(w.producers, w.newProducer())
	}
	return w
}

func (w *world) newProducer() *modelProducer {
	p := &modelProducer{}
	binary.LittleEndian.PutUint64(p.id[:], w.r.Uint64())
	for _, s := range w.open() {
		p.lanes = append(p.lanes, p.newLane(s))
	}
	return p
}

func (p *modelProducer) newLane(s *modelShard) *modelLane {
	p.made++
	return &modelLane{number: p.made, shard: s}
}

func (w *world) open() (open []*modelShard) {
	for _, s := range w.shards {
		if !s.closed {
			open = append(open, s)
		}
	}
	slices.SortFunc(open, func(a, b *modelShard) int { return a.keys.Start.Compare(b.keys.Start) })
	return open
}

func (w *world) chance(percent int) bool { return w.r.IntN(100) < percent }

// step lets one thing happen.
func (w *world) step() {
	w.clock = w.clock.Add(time.Duration(w.r.IntN(2000)) * time.Millisecond)
	p := w.producers[w.r.IntN(len(w.producers))]
	l := p.lanes[w.r.IntN(len(p.lanes))]
	switch n := w.r.IntN(100); {
	case n < 40:
		w.add(p)
	case n < 75:
		w.send(l)
	case n < 80:
		w.reshard()
	case n < 88:
		w.refresh(p)
	case n < 92:
		w.storeLate()
	case n < 95:
		w.cut(l)
	case n < 99:
		w.bisect(l)
	default:
		w.restart(p)
	}
}

// add puts a record under one of a few keys, so that keys repeat.
func (w *world) add(p *modelProducer) {
	k := hashkey.Key{Hi: uint64(w.r.IntN(40)) * (^uint64(0) / 40)}
	l := p.laneOf(k)
	rec := modelRecord{n: w.put, sequence: l.next, key: k, data: strconv.AppendInt(nil, int64(w.put), 10)}
	l.next++
	w.put++
	w.fate, w.keyOf = append(w.fate, waiting), append(w.keyOf, k)
	own := aggregation.Stamp{Producer: p.id, Lane: l.number, Keys: hashkey.All}
	if n := len(l.queue); n > 0 && l.queue[n-1].stamp == own && len(l.queue[n-1].records) < 4 {
		l.queue[n-1].records = append(l.queue[n-1].records, rec)
		return
	}
	l.queue = append(l.queue, &modelBatch{stamp: own, records: []modelRecord{rec}})
}

func (p *modelProducer) laneOf(k hashkey.Key) *modelLane {
	i := slices.IndexFunc(p.lanes, func(l *modelLane) bool { return l.shard.keys.Contains(k) })
	return p.lanes[i]
}

// seal builds the aggregated record with the code under test.
func (b *modelBatch) seal() []byte {
	var bl aggregation.Builder
	s := b.stamp
	s.Sequence = b.records[0].sequence
	bl.Stamp(s)
	for _, rec := range b.records {
		r := aggregation.Record{PartitionKey: "k", ExplicitHashKey: rec.key.String(), Data: rec.data}
		if !bl.TryAddAt(r, rec.sequence, 1<<20) {
			panic("the model's records are out of order")
		}
	}
	return bl.Seal(nil)
}

func (w *world) store(blob []byte, outer hashkey.Key) *modelShard {
	for _, s := range w.shards {
		if !s.closed && s.keys.Contains(outer) {
			s.blobs, s.arrived = append(s.blobs, blob), append(s.arrived, w.clock)
			if n := len(s.blobs); n > 1 && w.misnumber && w.chance(5) {
				s.blobs[n-1], s.blobs[n-2] = s.blobs[n-2], s.blobs[n-1]
			}
			return s
		}
	}
	panic("the model's shards do not cover the hash space")
}

// send makes one attempt for the oldest batch of a lane.
func (w *world) send(l *modelLane) {
	if len(l.queue) == 0 {
		return
	}
	b := l.queue[0]
	blob, outer := b.seal(), b.records[0].key
	if w.chance(15) { // no answer, not stored, perhaps later
		if w.chance(50) {
			w.late, w.lateKey = append(w.late, blob), append(w.lateKey, outer)
		}
		return
	}
	s := w.store(blob, outer)
	if w.chance(25) { // stored, no answer
		return
	}
	if s != l.shard && slices.ContainsFunc(b.records, func(r modelRecord) bool { return !s.keys.Contains(r.key) }) {
		return // a reader that filters whole records has discarded it
	}
	for _, rec := range b.records {
		w.fate[rec.n] = acknowledged
	}
	l.queue = l.queue[1:]
}

func (w *world) storeLate() {
	if len(w.late) == 0 {
		return
	}
	i := w.r.IntN(len(w.late))
	w.store(w.late[i], w.lateKey[i])
	w.late, w.lateKey = slices.Delete(w.late, i, i+1), slices.Delete(w.lateKey, i, i+1)
}

func (w *world) reshard() {
	open := w.open()
	i := w.r.IntN(len(open))
	s := open[i]
	if len(open) < 6 && w.chance(50) {
		at := hashkey.Key{Hi: s.keys.Start.Hi + 1 + w.r.Uint64N(s.keys.End.Hi-s.keys.Start.Hi)}
		s.closed = true
		w.shards = append(w.shards,
			&modelShard{keys: hashkey.Range{Start: s.keys.Start, End: at.Sub(1)}, parents: []*modelShard{s}},
			&modelShard{keys: hashkey.Range{Start: at, End: s.keys.End}, parents: []*modelShard{s}})
		return
	}
	if i+1 == len(open) {
		return
	}
	o := open[i+1]
	s.closed, o.closed = true, true
	w.shards = append(w.shards, &modelShard{keys: hashkey.Range{Start: s.keys.Start, End: o.keys.End}, parents: []*modelShard{s, o}})
}

// refresh gives a producer the map of now, which may be several reshards
// ahead of its own.
func (w *world) refresh(p *modelProducer) {
	var lanes, closing []*modelLane
	for _, s := range w.open() {
		i := slices.IndexFunc(p.lanes, func(l *modelLane) bool { return l.shard == s })
		if i >= 0 {
			lanes = append(lanes, p.lanes[i])
			continue
		}
		lanes = append(lanes, p.newLane(s))
	}
	for _, l := range p.lanes {
		if !slices.Contains(lanes, l) {
			closing = append(closing, l)
		}
	}
	p.lanes = lanes
	for _, old := range closing {
		for _, b := range old.queue {
			for _, rec := range b.records {
				to := p.laneOf(rec.key)
				stamp := b.stamp
				stamp.Keys = aggregation.Narrow(stamp.Keys, old.shard.keys, to.shard.keys)
				if n := len(to.queue); n > 0 && to.queue[n-1].stamp == stamp && to.queue[n-1].records[len(to.queue[n-1].records)-1].sequence < rec.sequence && w.chance(80) {
					to.queue[n-1].records = append(to.queue[n-1].records, rec)
					continue
				}
				to.queue = append(to.queue, &modelBatch{stamp: stamp, records: []modelRecord{rec}})
			}
		}
	}
}

// cut lets records of a lane's oldest batch expire.
func (w *world) cut(l *modelLane) {
	if len(l.queue) == 0 {
		return
	}
	b := l.queue[0]
	b.records = slices.DeleteFunc(slices.Clone(b.records), func(rec modelRecord) bool {
		gone := w.chance(30)
		if gone {
			w.fate[rec.n] = failed
		}
		return gone
	})
	if len(b.records) == 0 {
		l.queue = l.queue[1:]
	}
}

// bisect makes two of a lane's oldest batch, which a refused request does.
func (w *world) bisect(l *modelLane) {
	if len(l.queue) == 0 || len(l.queue[0].records) < 2 {
		return
	}
	b := l.queue[0]
	half := len(b.records) / 2
	l.queue = append([]*modelBatch{{b.stamp, b.records[:half]}, {b.stamp, b.records[half:]}}, l.queue[1:]...)
}

func (w *world) restart(p *modelProducer) {
	for _, l := range p.lanes {
		for _, b := range l.queue {
			for _, rec := range b.records {
				w.fate[rec.n] = failed
			}
		}
	}
	w.producers[slices.Index(w.producers, p)] = w.newProducer()
}

// drain sends what waits until all of it is acknowledged.
func (w *world) drain() {
	for _, p := range w.producers {
		for pending := true; pending; {
			pending = false
			w.refresh(p)
			for _, l := range p.lanes {
				w.send(l)
				pending = pending || len(l.queue) > 0
			}
		}
	}
	for len(w.late) > 0 {
		w.storeLate()
	}
}

// modelReader reads the shards of a world, parents first. Its fields break
// rules, to see that the check would notice.
type modelReader struct {
	forgetParents bool
	ignoreKeys    bool // of stamps
	noMarks       bool
	wholeRange    bool // takes records without regard to the shard's range
}

// read returns the records delivered, in order, and how many copies were
// dropped. Now and then the reader crashes, and goes back to the position and the
// marks that it stored last.
func (mr modelReader) read(t *testing.T, w *world) (delivered []int, copies int) {
	t.Helper()
	done := map[*modelShard]*aggregation.Marks{}
	for _, s := range w.shards {
		var parents []*aggregation.Marks
		for _, p := range s.parents {
			if done[p] == nil {
				t.Fatal("a child is read before its parent")
			}
			parents = append(parents, done[p])
		}
		if mr.forgetParents {
			parents = nil
		}
		keys := s.keys
		if mr.wholeRange {
			keys = hashkey.All
		}
		m := aggregation.NewMarks(keys, parents...)
		at, kept, stored := 0, len(delivered), save(t, m)
		for i := 0; i < len(s.blobs); i++ {
			switch {
			case w.chance(10): // a checkpoint
				at, kept, stored = i, len(delivered), save(t, m)
			case w.chance(5): // a crash
				i, delivered = at, delivered[:kept]
				var err error
				if m, err = aggregation.ParseMarks(stored); err != nil {
					t.Fatal(err)
				}
			}
			var dropped int
			delivered, dropped = mr.open(t, m, s.blobs[i], s.arrived[i], delivered)
			copies += dropped
		}
		done[s] = m
	}
	return delivered, copies
}

func (mr modelReader) open(t *testing.T, m *aggregation.Marks, blob []byte, at time.Time, delivered []int) (_ []int, copies int) {
	ok, err := aggregation.WalkStamped(blob, func(_ int, r aggregation.Record, s *aggregation.Stamp) bool {
		k, err := hashkey.Parse(r.ExplicitHashKey)
		if err != nil || s == nil {
			t.Fatalf("record %s: stamp %v, %v", r.Data, s, err)
		}
		if mr.ignoreKeys {
			s.Keys = hashkey.All
		}
		if mr.noMarks {
			s = nil
		}
		switch m.Admit(s, k, at) {
		case aggregation.Live:
			n, err := strconv.Atoi(string(r.Data))
			if err != nil {
				t.Fatal(err)
			}
			delivered = append(delivered, n)
		case aggregation.Duplicate:
			copies++
		case aggregation.Foreign:
		}
		return true
	})
	if !ok || err != nil {
		t.Fatalf("WalkStamped = %v, %v", ok, err)
	}
	return delivered, copies
}

func save(t *testing.T, m *aggregation.Marks) []byte {
	t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// faults counts what is wrong with what a reader got.
type faults struct{ lost, twice, disorder int }

func (w *world) judge(delivered []int) (f faults) {
	times := make([]int, w.put)
	last := map[hashkey.Key]int{}
	for _, n := range delivered {
		times[n]++
		if times[n] == 2 {
			f.twice++
		}
		if w.fate[n] != acknowledged || times[n] > 1 {
			continue
		}
		k := w.keyOf[n]
		// Two producers put the same keys; there is no order between them, so
		// it is counted only for one.
		if prev, ok := last[k]; ok && prev > n && len(w.producers) == 1 && !w.misnumber {
			f.disorder++
		}
		last[k] = n
	}
	for n, fate := range w.fate {
		if fate == acknowledged && times[n] == 0 {
			f.lost++
		}
	}
	return f
}

func history(seed uint64) *world {
	w := newWorld(rand.New(rand.NewPCG(seed, 7)))
	for range 300 + w.r.IntN(700) {
		w.step()
	}
	w.drain()
	return w
}

// TestMarksInHistories: whatever becomes of requests, shards and producers,
// each record that was acknowledged comes to the reader once, and none twice.
func TestMarksInHistories(t *testing.T) {
	records, copies := 0, 0
	for i := range *modelSeeds + len(found) {
		seed := *modelFrom + uint64(max(i-len(found), 0))
		if i < len(found) {
			seed = found[i]
		}
		w := history(seed)
		got, dropped := modelReader{}.read(t, w)
		if f := w.judge(got); f != (faults{}) {
			t.Fatalf("seed %d: %+v", seed, f)
		}
		records += len(got)
		copies += dropped
	}
	t.Logf("%d records, %d copies dropped", records, copies)
	if copies == 0 {
		t.Error("no history has a copy")
	}
}

// TestHistoriesCatch breaks one rule of the reader at a time: the check must
// see it, or it proves nothing.
func TestHistoriesCatch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reader modelReader
		want   func(f faults) bool
	}{
		{"no marks", modelReader{noMarks: true}, func(f faults) bool { return f.twice > 0 }},
		{"children start afresh", modelReader{forgetParents: true}, func(f faults) bool { return f.twice > 0 }},
		{"no range of the stamp", modelReader{ignoreKeys: true}, func(f faults) bool { return f.lost > 0 }},
		{"records of other shards leave marks", modelReader{wholeRange: true}, func(f faults) bool { return f.disorder > 0 || f.lost > 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(3000) {
				w := history(seed)
				got, _ := tt.reader.read(t, w)
				if tt.want(w.judge(got)) {
					return
				}
			}
			t.Error("no history shows it")
		})
	}
}
