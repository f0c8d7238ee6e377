package streamd_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"pgregory.net/rapid"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// rapid tells the same stories in each run; with -rapid.seed=0 it draws others.
var _ = flag.Set("rapid.seed", "1")

// modelRecord is a record that the server has acknowledged.
type modelRecord struct {
	data    string
	number  string
	arrival time.Time
}

// modelShard is a shard as its readers and writers must find it.
type modelShard struct {
	keys    hashkey.Range
	starts  string // StartingSequenceNumber
	ends    string // EndingSequenceNumber, empty while open
	parents []int
	opened  time.Time
	closed  time.Time // zero while open
	records []modelRecord

	// A reader walks each shard from its beginning, step by step between all
	// other changes.
	next string // iterator, empty before the first and after one that expired
	seen int    // records passed
	done bool   // the end was reached
}

// model drives a server at random, and knows what it must answer.
type model struct {
	*rig
	twin   *streamdtest.Server // nil, or another that does the same
	offset time.Duration       // of the server's clock
	began  time.Time
	shards []*modelShard
	count  int // records put
}

func (m *model) now() time.Time     { return time.Now().Add(m.offset) }
func (m *model) horizon() time.Time { return m.now().Add(-24 * time.Hour) }

func (m *model) expired(s *modelShard) bool {
	return s.ends != "" && s.closed.Before(m.horizon())
}

// readable returns the records of s from index i on that have not left it.
func (m *model) readable(s *modelShard, i int) []modelRecord {
	records := s.records[i:]
	for len(records) > 0 && !records[0].arrival.After(m.horizon()) {
		records = records[1:]
	}
	return records
}

// open returns the indexes of the open shards in order of their ranges.
func (m *model) open() []int {
	var open []int
	for i, s := range m.shards {
		if s.ends == "" {
			open = append(open, i)
		}
	}
	slices.SortFunc(open, func(a, b int) int { return m.shards[a].keys.Start.Compare(m.shards[b].keys.Start) })
	return open
}

func hashKeyOf(t *rapid.T, s *string) hashkey.Key {
	k, err := hashkey.Parse(*s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// indexOf returns the index of a shard id.
func indexOf(t *rapid.T, id string) int {
	i, err := strconv.Atoi(strings.TrimPrefix(id, "shardId-"))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// learn takes over what a reshard has made of the shards, and checks it.
func (m *model) learn(t *rapid.T) {
	for _, sh := range m.rig.shards(&kinesis.ListShardsInput{StreamName: &m.stream}) {
		i := indexOf(t, *sh.ShardId)
		for len(m.shards) <= i {
			m.shards = append(m.shards, &modelShard{opened: m.now()})
		}
		s := m.shards[i]
		s.keys = hashkey.Range{Start: hashKeyOf(t, sh.HashKeyRange.StartingHashKey), End: hashKeyOf(t, sh.HashKeyRange.EndingHashKey)}
		s.starts = *sh.SequenceNumberRange.StartingSequenceNumber
		if ending := sh.SequenceNumberRange.EndingSequenceNumber; ending != nil && s.ends == "" {
			s.ends, s.closed = *ending, m.now()
		}
		s.parents = nil
		for _, p := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
			if p != nil {
				s.parents = append(s.parents, indexOf(t, *p))
			}
		}
	}
	for i, s := range m.shards {
		for _, p := range s.parents {
			if ends := m.shards[p].ends; ends == "" || seqno.Compare(s.starts, ends) <= 0 {
				t.Fatalf("shard %d starts at %s, its parent %d ends at %q", i, s.starts, p, ends)
			}
		}
	}
}

// check asserts that what is open now, at a past instant and at the trim
// horizon covers the hash space exactly once.
func (m *model) check(t *rapid.T) {
	past := m.began.Add(time.Duration(rapid.Int64Range(0, int64(m.now().Sub(m.began))).Draw(t, "instant")))
	for _, f := range []types.ShardFilter{
		{Type: types.ShardFilterTypeAtLatest},
		{Type: types.ShardFilterTypeAtTrimHorizon},
		{Type: types.ShardFilterTypeAtTimestamp, Timestamp: &past},
	} {
		shards := m.rig.shards(&kinesis.ListShardsInput{StreamName: &m.stream, ShardFilter: &f})
		if !covers(m.t, shards) {
			t.Fatalf("%s %v does not cover the hash space: %v", f.Type, f.Timestamp, ids(shards))
		}
	}
}

// anyKey draws a hash key with a weight on the borders of shards.
func (m *model) anyKey(t *rapid.T) hashkey.Key {
	open := m.open()
	s := m.shards[open[rapid.IntRange(0, len(open)-1).Draw(t, "shard")]]
	switch rapid.IntRange(0, 3).Draw(t, "place") {
	case 0:
		return s.keys.Start
	case 1:
		return s.keys.End
	}
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "key"), 0))
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hashkey.FromBytes(b)
}

func (m *model) put(t *rapid.T) {
	var entries []types.PutRecordsRequestEntry
	var keys []hashkey.Key
	for range rapid.IntRange(1, 6).Draw(t, "records") {
		m.count++
		keys = append(keys, m.anyKey(t))
		entries = append(entries, types.PutRecordsRequestEntry{
			Data: []byte(strconv.Itoa(m.count)), PartitionKey: aws.String("k"), ExplicitHashKey: aws.String(keys[len(keys)-1].String()),
		})
	}
	out, err := m.client.PutRecords(m.t.Context(), &kinesis.PutRecordsInput{StreamName: &m.stream, Records: entries})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range out.Records {
		s := m.shards[indexOf(t, *r.ShardId)]
		if s.ends != "" || !s.keys.Contains(keys[i]) {
			t.Fatalf("hash key %v went to %s, %v, ended %q", keys[i], *r.ShardId, s.keys, s.ends)
		}
		last := s.starts
		if n := len(s.records); n > 0 {
			last = s.records[n-1].number
		}
		if seqno.Compare(*r.SequenceNumber, last) <= 0 {
			t.Fatalf("number %s in %s after %s", *r.SequenceNumber, *r.ShardId, last)
		}
		// The server keeps milliseconds.
		s.records = append(s.records, modelRecord{string(entries[i].Data), *r.SequenceNumber, m.now().Truncate(time.Millisecond)})
	}
}

func (m *model) split(t *rapid.T) {
	key := m.anyKey(t)
	for _, i := range m.open() {
		if !m.shards[i].keys.Contains(key) {
			continue
		}
		_, err := m.client.SplitShard(m.t.Context(), &kinesis.SplitShardInput{
			StreamName: &m.stream, ShardToSplit: aws.String(shardID(i)), NewStartingHashKey: aws.String(key.String()),
		})
		// A key on the border of its shard cannot divide it.
		if e, ok := errors.AsType[smithy.APIError](err); err != nil && (!ok || e.ErrorCode() != "InvalidArgumentException") {
			t.Fatal(err)
		}
	}
	m.learn(t)
}

func (m *model) merge(t *rapid.T) {
	open := m.open()
	if len(open) < 2 {
		return
	}
	i := rapid.IntRange(0, len(open)-2).Draw(t, "left")
	_, err := m.client.MergeShards(m.t.Context(), &kinesis.MergeShardsInput{
		StreamName: &m.stream, ShardToMerge: aws.String(shardID(open[i])), AdjacentShardToMerge: aws.String(shardID(open[i+1])),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.learn(t)
}

func (m *model) scale(t *rapid.T) {
	target := rapid.IntRange(1, 7).Draw(t, "target")
	_, err := m.client.UpdateShardCount(m.t.Context(), &kinesis.UpdateShardCountInput{
		StreamName: &m.stream, TargetShardCount: aws.Int32(int32(target)), ScalingType: types.ScalingTypeUniformScaling,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.learn(t)
	want := hashkey.Uniform(target)
	open := m.open()
	if len(open) != target {
		t.Fatalf("UpdateShardCount to %d made %d shards", target, len(open))
	}
	for i, k := range open {
		// A shard cannot be split next to its border: there the old one stays.
		got := m.shards[k].keys.Start
		if w := want[i].Start; got != w && got != w.Add(1) && w != got.Add(1) {
			t.Fatalf("UpdateShardCount to %d: shard %d starts at %v, want %v", target, i, got, w)
		}
	}
}

func (m *model) pass(t *rapid.T) {
	d := time.Duration(rapid.SampledFrom([]int{1, 7, 999, 1000, 1001, 60_000, 301_000, 10 * 3600_000}).Draw(t, "ms")) * time.Millisecond
	if d <= time.Second {
		time.Sleep(d) // of the bubble
		return
	}
	m.Advance(d)
	if m.twin != nil {
		m.twin.Advance(d)
	}
	m.offset += d
}

// read reads one page and compares it with the model: of the records in want,
// the first ones. It returns how many.
func (m *model) read(t *rapid.T, what, iterator string, s *modelShard, want []modelRecord) (n int, next string) {
	limit := rapid.IntRange(1, 9).Draw(t, "limit")
	out, err := m.client.GetRecords(m.t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator, Limit: aws.Int32(int32(limit))})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if n = len(out.Records); n != min(limit, len(want)) {
		t.Fatalf("%s: %d records, want %d", what, n, min(limit, len(want)))
	}
	for i, r := range out.Records {
		if string(r.Data) != want[i].data || *r.SequenceNumber != want[i].number || !r.ApproximateArrivalTimestamp.Equal(want[i].arrival) {
			t.Fatalf("%s: record %d is %s %s %v, want %+v", what, i, r.Data, *r.SequenceNumber, r.ApproximateArrivalTimestamp, want[i])
		}
	}
	if atEnd := s.ends != "" && n == len(want); atEnd != (out.NextShardIterator == nil) || atEnd != (len(out.ChildShards) > 0) {
		t.Fatalf("%s: at the end %v, but next iterator %v and %d children", what, atEnd, aws.ToString(out.NextShardIterator), len(out.ChildShards))
	}
	for _, c := range out.ChildShards {
		if got := m.shards[indexOf(t, *c.ShardId)].parents; len(got) != len(c.ParentShards) {
			t.Fatalf("%s: child %s has parents %v, want %v", what, *c.ShardId, c.ParentShards, got)
		}
	}
	if behind := aws.ToInt64(out.MillisBehindLatest); (behind == 0) != (n == len(want)) {
		t.Fatalf("%s: %d ms behind with %d of %d records", what, behind, n, len(want))
	}
	return n, aws.ToString(out.NextShardIterator)
}

// walk moves the reader of one shard on.
func (m *model) walk(t *rapid.T) {
	m.walkOver(t, rapid.IntRange(0, len(m.shards)-1).Draw(t, "walked"))
}

func (m *model) walkOver(t *rapid.T, i int) {
	s := m.shards[i]
	if s.done || m.expired(s) {
		return
	}
	if s.next == "" {
		if s.seen == 0 {
			s.next = m.iterator(i, types.ShardIteratorTypeTrimHorizon)
		} else {
			s.next = m.iterator(i, types.ShardIteratorTypeAfterSequenceNumber, from(s.records[s.seen-1].number))
		}
	}
	want := m.readable(s, s.seen)
	// The same iterator gives the same records twice.
	_, err := m.client.GetRecords(m.t.Context(), &kinesis.GetRecordsInput{ShardIterator: &s.next, Limit: aws.Int32(1)})
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorCode() == "ExpiredIteratorException" {
		s.next = ""
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	n, next := m.read(t, fmt.Sprintf("walk over shard %d from %d", i, s.seen), s.next, s, want)
	s.seen = len(s.records) - len(want) + n
	s.next, s.done = next, next == ""
}

// jump reads from an iterator of any kind, at any record.
func (m *model) jump(t *rapid.T) {
	i := rapid.IntRange(0, len(m.shards)-1).Draw(t, "jumped")
	s := m.shards[i]
	if m.expired(s) {
		return
	}
	kind := rapid.SampledFrom(types.ShardIteratorType("").Values()).Draw(t, "kind")
	var change []func(*kinesis.GetShardIteratorInput)
	begin := 0
	switch kind {
	case types.ShardIteratorTypeLatest:
		begin = len(s.records)
	case types.ShardIteratorTypeTrimHorizon:
	default:
		if len(s.records) == 0 {
			return
		}
		begin = rapid.IntRange(0, len(s.records)-1).Draw(t, "record")
		r := s.records[begin]
		switch {
		case kind == types.ShardIteratorTypeAfterSequenceNumber:
			begin++
			change = append(change, from(r.number))
		case kind == types.ShardIteratorTypeAtSequenceNumber:
			change = append(change, from(r.number))
		default: // AT_TIMESTAMP
			when := r.arrival.Add(time.Duration(rapid.IntRange(-2, 2).Draw(t, "off")) * time.Millisecond)
			if when.After(m.now()) {
				return
			}
			change = append(change, at(when))
			begin = slices.IndexFunc(s.records, func(r modelRecord) bool { return !r.arrival.Before(when) })
			if begin < 0 {
				begin = len(s.records)
			}
		}
	}
	iterator := m.iterator(i, kind, change...)
	if kind == types.ShardIteratorTypeLatest && s.ends == "" && rapid.Bool().Draw(t, "put first") {
		m.put(t) // what comes after the iterator, but before the read, is read
	}
	m.read(t, fmt.Sprintf("%s on shard %d from %d", kind, i, begin), iterator, s, m.readable(s, begin))
}

// TestStreamModel puts, reshards, reads and lets time pass at random, and
// compares each answer with a model.
func TestStreamModel(t *testing.T) {
	checkModel(t, func(t *testing.T) *model { return &model{rig: newRig(t, 1)} })
}

// TestStreamModelInBothEncodings does so with two servers, one spoken to in
// JSON and one in CBOR.
func TestStreamModelInBothEncodings(t *testing.T) {
	checkModel(t, func(t *testing.T) *model {
		m := &model{rig: newRig(t, 1), twin: streamdtest.New(t)}
		m.twin.CreateStream(t, m.stream, 1)
		m.client = m.Kinesis(func(o *kinesis.Options) {
			o.HTTPClient = &twin{json: m.Server, cbor: m.twin, tokens: make(map[string]string)}
			o.Retryer = aws.NopRetryer{}
		})
		return m
	})
}

func checkModel(t *testing.T, start func(*testing.T) *model) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// A bubble's test has no deadline to ask for.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			m := start(t)
			m.began = time.Now()
			defer func() {
				err := m.Close()
				if m.twin != nil {
					err = errors.Join(err, m.twin.Close())
				}
				if err != nil {
					rt.Error(err)
				}
			}()
			m.learn(rt)
			rt.Repeat(map[string]func(*rapid.T){
				"put":   m.put,
				"put2":  m.put,
				"split": m.split,
				"merge": m.merge,
				"scale": m.scale,
				"pass":  m.pass,
				"walk":  m.walk,
				"walk2": m.walk,
				"jump":  m.jump,
				"check": m.check,
			})
			m.check(rt)
			// In the end each reader has seen all that is there.
			for i, s := range m.shards {
				for step := 0; !m.expired(s) && !s.done && (s.seen < len(s.records) || s.ends != ""); step++ {
					if step > 1000 {
						rt.Fatalf("the reader of shard %d does not get on: %d of %d", i, s.seen, len(s.records))
					}
					m.walkOver(rt, i)
				}
			}
		})
	})
}
