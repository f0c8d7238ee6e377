package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// simStream is a stream in memory that keeps to what the service promises, and no
// more: iterators expire, records go when their time is over, and with the last of
// them a closed shard; LATEST is fixed when it is asked for; children are named at
// the end of a closed shard, or not.
type simStream struct {
	history *simHistory
	name    string
	id      string // begins the keys of leases where several streams are read, or ""
	created time.Time

	mu        sync.Mutex // guards all below
	late      sync.WaitGroup
	shards    []*simShard
	byID      map[string]*simShard
	seq       int64
	retention time.Duration

	iteratorLife time.Duration
	limit        int // Kinesis records of an answer
	noChildren   int // in a thousand answers that should name them, until faults end
	shardPage    int // shards of an answer of ListShards

	consumers map[string]*simConsumer // by ARN
	creating  time.Duration           // how long a registration takes
	cuts      simCuts
	copies    int               // of a hundred blobs: it is stored again, if not 0, and blobs are stamped
	stamped   map[string]uint64 // user records, by shard
}

type simShard struct {
	id       string
	key      string // of its lease
	parents  []string
	children []string
	keys     hashkey.Range
	first    int64
	last     int64 // 0 while open
	created  time.Time
	closed   time.Time
	records  []types.Record
	users    [][]int       // of each Kinesis record: its user records, as the history numbers them
	trimmed  int           // Kinesis records that are gone
	gone     bool          // the shard with them
	news     chan struct{} // closed when something comes, or the end
}

func newSimStream(h *simHistory, shards int) *simStream {
	return newSimStreamOf(h, "stream", "", shards)
}

// newSimStreamOf returns a stream of a name whose leases have keys that begin with id.
func newSimStreamOf(h *simHistory, name, id string, shards int) *simStream {
	s := &simStream{
		history: h, name: name, id: id, created: time.Now(), byID: map[string]*simShard{}, seq: 1000, retention: 24 * time.Hour, iteratorLife: 5 * time.Minute,
		limit: 10000, shardPage: 1000, consumers: map[string]*simConsumer{}, stamped: map[string]uint64{},
	}
	for _, r := range hashkey.Uniform(shards) {
		s.addLocked(r)
	}
	return s
}

func (s *simStream) addLocked(r hashkey.Range, parents ...*simShard) *simShard {
	s.seq++
	id := simShardID(len(s.shards))
	sh := &simShard{id: id, key: consumer.LeaseKey(s.id, id), keys: r, first: s.seq, created: time.Now(), news: make(chan struct{})}
	for _, p := range parents {
		sh.parents = append(sh.parents, p.id)
		p.children = append(p.children, sh.id)
	}
	s.shards = append(s.shards, sh)
	s.byID[sh.id] = sh
	s.history.addShard(sh, parents)
	return sh
}

func simShardID(n int) string { return fmt.Sprintf("shardId-%012d", n) }

// lease returns the key of the lease of the nth shard.
func (s *simStream) lease(n int) string { return consumer.LeaseKey(s.id, simShardID(n)) }

func (s *simStream) closeLocked(parents ...*simShard) {
	for _, p := range parents {
		s.seq++
		p.last, p.closed = s.seq, time.Now()
		close(p.news)
		p.news = make(chan struct{})
	}
}

// simUser is a user record to be put.
type simUser struct{ key, data string }

// put stores user records in one Kinesis record; more than one are aggregated, and
// must belong to one shard.
func (s *simStream) put(users ...simUser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.shards {
		if sh.last != 0 || !sh.keys.Contains(hashkey.Of(users[0].key)) {
			continue
		}
		s.seq++
		key, data := users[0].key, []byte(users[0].data)
		if len(users) > 1 || s.copies > 0 {
			var b aggregation.Builder
			if s.copies > 0 {
				b.Stamp(aggregation.Stamp{Producer: [8]byte{1}, Lane: uint64(slices.Index(s.shards, sh)), Sequence: s.stamped[sh.id], Keys: hashkey.All})
				s.stamped[sh.id] += uint64(len(users))
			}
			for _, u := range users {
				b.Add(aggregation.Record{PartitionKey: u.key, Data: []byte(u.data)})
			}
			key, data = "a", b.Seal(nil)
		}
		seq := strconv.FormatInt(s.seq, 10)
		var numbers []int
		for i, u := range users {
			numbers = append(numbers, s.history.put(sh.key, consumer.Checkpoint{SequenceNumber: seq, SubSequenceNumber: int64(i)}, u))
		}
		sh.storeLocked(key, data, seq, numbers)
		return
	}
	panic("no open shard for " + users[0].key)
}

func (sh *simShard) storeLocked(key string, data []byte, seq string, numbers []int) {
	sh.records = append(sh.records, types.Record{Data: data, PartitionKey: &key, SequenceNumber: &seq, ApproximateArrivalTimestamp: aws.Time(time.Now())})
	sh.users = append(sh.users, numbers)
	close(sh.news)
	sh.news = make(chan struct{})
}

// repeat stores once more one of the last blobs of a shard, as a request does that
// was given up and sent again: where its first hash key belongs by now. Copies are none
// of the history's records: nobody may be given one.
func (s *simStream) repeat(rng *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.shards[rng.IntN(len(s.shards))]
	if len(from.records) == 0 {
		return
	}
	r := from.records[max(0, len(from.records)-1-rng.IntN(20))]
	at := from.keys.Start
	if rng.IntN(2) == 0 {
		at = from.keys.End
	}
	for _, sh := range s.shards {
		if sh.last == 0 && sh.keys.Contains(at) {
			s.seq++
			sh.storeLocked(*r.PartitionKey, r.Data, strconv.FormatInt(s.seq, 10), nil)
		}
	}
}

// keyName begins the partition keys of a stream, of which no two have one.
func (s *simStream) keyName() string {
	if s.name == "stream" {
		return "key"
	}
	return s.name
}

// shardOf says which open shard a key belongs to.
func (s *simStream) shardOf(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.shards {
		if sh.last == 0 && sh.keys.Contains(hashkey.Of(key)) {
			return sh.id
		}
	}
	panic("no open shard for " + key)
}

// split splits an open shard in the middle, if it can.
func (s *simStream) split(rng *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.openLocked(rng)
	mid := hashkey.Key{Hi: sh.keys.Start.Hi + (sh.keys.End.Hi-sh.keys.Start.Hi)/2}
	if !sh.keys.Start.Less(mid) {
		return
	}
	s.closeLocked(sh)
	s.addLocked(hashkey.Range{Start: sh.keys.Start, End: mid.Sub(1)}, sh)
	s.addLocked(hashkey.Range{Start: mid, End: sh.keys.End}, sh)
}

// merge merges an open shard with the next one, if there is one.
func (s *simStream) merge(rng *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.openLocked(rng)
	for _, b := range s.shards {
		if b.last == 0 && a.keys.Precedes(b.keys) {
			s.closeLocked(a, b)
			s.addLocked(hashkey.Range{Start: a.keys.Start, End: b.keys.End}, a, b)
			return
		}
	}
}

func (s *simStream) openLocked(rng *rand.Rand) *simShard {
	var open []*simShard
	for _, sh := range s.shards {
		if sh.last == 0 {
			open = append(open, sh)
		}
	}
	return open[rng.IntN(len(open))]
}

func (s *simStream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.shards)
}

// trimLocked removes what is older than the retention.
func (s *simStream) trimLocked() {
	horizon := time.Now().Add(-s.retention)
	for _, sh := range s.shards {
		for sh.trimmed < len(sh.records) && sh.records[sh.trimmed].ApproximateArrivalTimestamp.Before(horizon) {
			s.history.trim(sh.users[sh.trimmed])
			sh.trimmed++
		}
		if !sh.gone && sh.last != 0 && sh.closed.Before(horizon) {
			sh.gone = true
			s.history.shardGone(sh.key)
		}
	}
}

// next returns where a reader that stands at record i goes on.
func (sh *simShard) next(i int) int { return max(i, sh.trimmed) }

// find returns the first record that stands at a position or behind it.
func (sh *simShard) find(kind types.ShardIteratorType, number *string, at *time.Time) int {
	first := func(ok func(r *types.Record) bool) int {
		for i := sh.trimmed; i < len(sh.records); i++ {
			if ok(&sh.records[i]) {
				return i
			}
		}
		return len(sh.records)
	}
	num := func(s *string) int64 { n, _ := strconv.ParseInt(*s, 10, 64); return n }
	switch kind {
	case types.ShardIteratorTypeTrimHorizon:
	case types.ShardIteratorTypeLatest:
		return len(sh.records)
	case types.ShardIteratorTypeAtSequenceNumber:
		return first(func(r *types.Record) bool { return num(r.SequenceNumber) >= num(number) })
	case types.ShardIteratorTypeAfterSequenceNumber:
		return first(func(r *types.Record) bool { return num(r.SequenceNumber) > num(number) })
	case types.ShardIteratorTypeAtTimestamp:
		return first(func(r *types.Record) bool { return !r.ApproximateArrivalTimestamp.Before(*at) })
	}
	return sh.trimmed
}

func (sh *simShard) describe() types.Shard {
	out := types.Shard{
		ShardId: &sh.id, HashKeyRange: sh.hashKeys(),
		SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String(strconv.FormatInt(sh.first, 10))},
	}
	if sh.last != 0 {
		out.SequenceNumberRange.EndingSequenceNumber = aws.String(strconv.FormatInt(sh.last, 10))
	}
	if len(sh.parents) > 0 {
		out.ParentShardId = &sh.parents[0]
	}
	if len(sh.parents) > 1 {
		out.AdjacentParentShardId = &sh.parents[1]
	}
	return out
}

func (sh *simShard) hashKeys() *types.HashKeyRange {
	return &types.HashKeyRange{StartingHashKey: aws.String(sh.keys.Start.String()), EndingHashKey: aws.String(sh.keys.End.String())}
}

// childrenOf returns the children that the end of a shard names.
func (s *simStream) childrenOf(sh *simShard) (children []types.ChildShard) {
	for _, id := range sh.children {
		c := s.byID[id]
		children = append(children, types.ChildShard{ShardId: &c.id, ParentShards: c.parents, HashKeyRange: c.hashKeys()})
	}
	return children
}

// simAPI is Kinesis as one worker reaches it.
type simAPI struct {
	*simCaller
	streams []*simStream
}

// of returns the stream that is meant: the first one where there is only one.
func (a *simAPI) of(name, arn *string) *simStream {
	for _, s := range a.streams {
		if len(a.streams) == 1 || aws.ToString(name) == s.name || strings.HasSuffix(aws.ToString(arn), "/"+s.name) {
			return s
		}
	}
	panic(fmt.Sprintf("no stream %q, ARN %q", aws.ToString(name), aws.ToString(arn)))
}

// holding returns the stream of a shard by the key of its lease, or by the ARN of a
// consumer, which both name the stream.
func (a *simAPI) holding(stream string) *simStream {
	for _, s := range a.streams {
		if len(a.streams) == 1 || s.id == stream {
			return s
		}
	}
	panic("no stream " + stream)
}

// simRead makes a call about a shard, by the key of its lease, or about the stream: "".
func simRead[T any](ctx context.Context, a *simAPI, s *simStream, about string, do func(s *simStream) (*T, error)) (*T, error) {
	if about == "" {
		about = s.id // that of one alone is "", too
	}
	throttled := error(&types.ProvisionedThroughputExceededException{Message: aws.String("Rate exceeded")})
	return simTravel(ctx, a.simCaller, about, &s.mu, &s.late, throttled, func() (*T, error) {
		s.trimLocked()
		return do(s)
	})
}

func (a *simAPI) ListShards(ctx context.Context, in *kinesis.ListShardsInput, _ ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	name := in.StreamName
	if in.NextToken != nil { // "index|kind|time|stream"
		name = &strings.Split(*in.NextToken, "|")[3]
	}
	return simRead(ctx, a, a.of(name, in.StreamARN), "", func(s *simStream) (*kinesis.ListShardsOutput, error) {
		filter := in.ShardFilter
		from := 0
		if in.NextToken != nil {
			parts := strings.Split(*in.NextToken, "|")
			from, _ = strconv.Atoi(parts[0])
			if parts[1] != "" {
				ns, _ := strconv.ParseInt(parts[2], 10, 64)
				filter = &types.ShardFilter{Type: types.ShardFilterType(parts[1]), Timestamp: aws.Time(time.Unix(0, ns))}
			}
		}
		out := new(kinesis.ListShardsOutput)
		for i, sh := range s.shards[from:] {
			if len(out.Shards) == s.shardPage {
				token := fmt.Sprintf("%d|||%s", from+i, s.name)
				if filter != nil {
					token = fmt.Sprintf("%d|%s|%d|%s", from+i, filter.Type, aws.ToTime(filter.Timestamp).UnixNano(), s.name)
				}
				out.NextToken = &token
				break
			}
			if !sh.gone && s.listed(sh, filter) {
				out.Shards = append(out.Shards, sh.describe())
			}
		}
		return out, nil
	})
}

func (s *simStream) listed(sh *simShard, filter *types.ShardFilter) bool {
	if filter == nil {
		return true
	}
	open := func(at time.Time) bool { return !sh.created.After(at) && (sh.last == 0 || sh.closed.After(at)) }
	switch filter.Type {
	case types.ShardFilterTypeAfterShardId, types.ShardFilterTypeFromTrimHorizon, types.ShardFilterTypeFromTimestamp:
	case types.ShardFilterTypeAtLatest:
		return sh.last == 0
	case types.ShardFilterTypeAtTrimHorizon:
		for _, p := range sh.parents {
			if !s.byID[p].gone {
				return false
			}
		}
		return true
	case types.ShardFilterTypeAtTimestamp:
		return open(*filter.Timestamp)
	}
	panic(filter.Type)
}

func (s *simStream) shardLocked(id *string) (*simShard, error) {
	sh := s.byID[aws.ToString(id)]
	if sh == nil || sh.gone {
		return nil, &types.ResourceNotFoundException{Message: aws.String("no shard " + aws.ToString(id))}
	}
	return sh, nil
}

func (a *simAPI) GetShardIterator(ctx context.Context, in *kinesis.GetShardIteratorInput, _ ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error) {
	s := a.of(in.StreamName, in.StreamARN)
	return simRead(ctx, a, s, consumer.LeaseKey(s.id, aws.ToString(in.ShardId)), func(s *simStream) (*kinesis.GetShardIteratorOutput, error) {
		sh, err := s.shardLocked(in.ShardId)
		if err != nil {
			return nil, err
		}
		next := sh.find(in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp)
		return &kinesis.GetShardIteratorOutput{ShardIterator: iterator(sh.key, next)}, nil
	})
}

func (a *simAPI) GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error) {
	parts := strings.Split(*in.ShardIterator, "|")
	stream, id := consumer.SplitLeaseKey(parts[0])
	return simRead(ctx, a, a.holding(stream), parts[0], func(s *simStream) (*kinesis.GetRecordsOutput, error) {
		next, _ := strconv.Atoi(parts[1])
		issued, _ := strconv.ParseInt(parts[2], 10, 64)
		if time.Since(time.Unix(0, issued)) > s.iteratorLife {
			return nil, &types.ExpiredIteratorException{Message: aws.String("Iterator expired")}
		}
		sh, err := s.shardLocked(&id)
		if err != nil {
			return nil, err
		}
		next = sh.next(next)
		end := min(next+min(s.limit, int(aws.ToInt32(in.Limit))), len(sh.records))
		out := &kinesis.GetRecordsOutput{MillisBehindLatest: aws.Int64(sh.behind(end)), Records: sh.records[next:end:end]}
		if sh.last == 0 || end < len(sh.records) {
			out.NextShardIterator = iterator(sh.key, end)
		} else if a.names(s, sh) {
			out.ChildShards = s.childrenOf(sh)
		}
		return out, nil
	})
}

// names reports whether an answer at the end of a shard names its children. Once
// faults have ended it does: the official library takes an answer that does not for
// one, and reads on until it is given another.
func (a *simAPI) names(s *simStream, sh *simShard) bool {
	return a.calm() || a.roll(sh.key, 1000) >= s.noChildren
}

// behind returns how many milliseconds a reader that has read up to record i is
// behind.
func (sh *simShard) behind(i int) int64 {
	if i >= len(sh.records) {
		return 0
	}
	return time.Since(*sh.records[i].ApproximateArrivalTimestamp).Milliseconds() + 1
}
