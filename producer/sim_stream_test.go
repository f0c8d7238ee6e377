package producer_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"errors"
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

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/blockrec"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// simFaults is how often, of 1000, the service misbehaves.
type simFaults struct {
	refuse    int // a request before anything is stored
	lose      int // the answer of a request that was served: time out, or the connection breaks
	vanish    int // a request altogether: it times out and stores nothing
	late      int // a request times out, and what it asked for is stored afterwards
	mangle    int // an answer has an entry too few
	entry     int // an entry, with an internal failure
	throttle  int // an entry, as if somebody else wrote to the shard
	list      int // a list of shards: refused, or never answered
	stale     int // a list of shards is as of some time ago
	misnumber int // an entry gets a lower number than the one before it in its shard
}

// simService models Kinesis as a producer meets it: shards that split, merge
// and hold what they were given for ever, limits, entries stored one after
// another and in any order, answers that get lost, writes that land when nobody
// waits for them, and a stream that is deleted and created anew.
//
// It sees every call from its beginning to its end, and so complains at once
// of what a keyed producer must never do.
type simService struct {
	faults  simFaults
	unkept  bool          // the order of keys is not promised
	latency time.Duration // the longest of an ordinary request
	rate    int           // records a second and shard; 0 means no limit
	burst   int
	page    int // shards in a list; 0 means all

	mu               sync.Mutex // guards all below
	r                *rand.Rand
	history          *simHistory
	shards           []*simShard // of all incarnations, in the order of creation
	born             int         // index of the present incarnation's first shard
	gone             bool        // deleted
	auto             bool        // the record distribution strategy is AUTO
	aggregatesOnAuto bool        // aggregated records are sent all the same
	mute             bool        // DescribeStreamSummary is not allowed
	outage           string      // code that answers all requests; "silence" means no answer
	lists            []simList
	last             uint64 // sequence number
	pending          sync.WaitGroup
	calls            int
	lost             bool           // something may have been stored with the answer lost
	inflight         map[string]int // calls under way that carry a record of the key
	begin            time.Time
}

type simList struct {
	at     time.Time
	shards []types.Shard
}

type simShard struct {
	id      string
	keys    hashkey.Range
	closed  bool
	parents []*simShard
	born    int         // incarnation of the stream, by its first shard
	entries []*simEntry // by number
	tokens  float64
	filled  time.Time
}

// simEntry is a Kinesis record in a shard.
type simEntry struct {
	shard   *simShard
	num     uint64
	pk, ehk string
	data    []byte
	send    *simSend
}

func (e *simEntry) seq() string { return fmt.Sprintf("49%054d", e.num) }

// simSend is one entry of one request.
type simSend struct {
	call    int
	after   uint64 // the number that it must be stored above
	at      time.Duration
	sum     [md5.Size]byte
	records []string // what user records it carries
	alone   bool     // one user record, as it is
	told    simTold
	stored  *simEntry // nil if it was not stored
	inRange bool      // all of its records belong to the shard
}

// simTold is what the caller has learnt of an entry.
type simTold int

const (
	toldNothing simTold = iota // no answer came
	toldStored
	toldRefused
)

func newSimService(r *rand.Rand, shards int) *simService {
	s := &simService{r: r, history: newSimHistory(), latency: 40 * time.Millisecond, inflight: map[string]int{}, begin: time.Now()}
	s.createLocked(shards)
	return s
}

func (s *simService) createLocked(n int) {
	s.born, s.gone, s.lists = len(s.shards), false, nil
	for _, r := range hashkey.Uniform(n) {
		s.addLocked(r)
	}
	s.snapshotLocked()
}

func (s *simService) addLocked(r hashkey.Range, parents ...*simShard) {
	s.shards = append(s.shards, &simShard{parents: parents, born: s.born, id: fmt.Sprintf("shardId-%012d", len(s.shards)-s.born), keys: r, tokens: float64(s.burst), filled: time.Now()})
}

func (s *simService) snapshotLocked() {
	s.lists = append(s.lists, simList{time.Now(), s.listingLocked(false)})
}

func (s *simService) openLocked() (open []*simShard) {
	for _, sh := range s.shards[s.born:] {
		if !sh.closed {
			open = append(open, sh)
		}
	}
	slices.SortFunc(open, func(a, b *simShard) int { return a.keys.Start.Compare(b.keys.Start) })
	return open
}

// split divides an open shard somewhere, and perhaps its children, too.
func (s *simService) split() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return
	}
	open := s.openLocked()
	s.splitLocked(open[s.r.IntN(len(open))])
	if s.r.IntN(4) == 0 {
		s.splitLocked(s.shards[len(s.shards)-1-s.r.IntN(2)])
	}
	s.snapshotLocked()
}

func (s *simService) splitLocked(sh *simShard) {
	span := sh.keys.End.Hi - sh.keys.Start.Hi
	if span < 4 {
		return
	}
	mid := hashkey.Key{Hi: sh.keys.Start.Hi + span/4 + s.r.Uint64N(span/2), Lo: s.r.Uint64()}
	sh.closed = true
	s.addLocked(hashkey.Range{Start: sh.keys.Start, End: mid}, sh)
	s.addLocked(hashkey.Range{Start: mid.Add(1), End: sh.keys.End}, sh)
}

// merge joins two neighbours.
func (s *simService) merge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.openLocked()
	if s.gone || len(open) < 2 {
		return
	}
	i := s.r.IntN(len(open) - 1)
	open[i].closed, open[i+1].closed = true, true
	s.addLocked(hashkey.Range{Start: open[i].keys.Start, End: open[i+1].keys.End}, open[i], open[i+1])
	s.snapshotLocked()
}

// remove deletes the stream; recreate makes it anew, with other shards of the
// same names.
func (s *simService) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	for _, sh := range s.shards {
		sh.closed = true
	}
}

func (s *simService) recreate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.createLocked(1 + s.r.IntN(6))
}

func (s *simService) setOutage(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = code
}

// calm ends all faults.
func (s *simService) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.outage = simFaults{misnumber: s.faults.misnumber}, ""
}

func (s *simService) chance(perMille int) bool { return perMille > 0 && s.r.IntN(1000) < perMille }

// delay draws a latency, in odd nanoseconds: no two events fall on one moment,
// so that a seed tells one story.
func (s *simService) delay() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delayLocked()
}

func (s *simService) delayLocked() time.Duration {
	d := time.Duration(1 + s.r.Int64N(int64(s.latency)))
	if s.r.IntN(20) == 0 {
		d *= 10
	}
	return d
}

var errReset = errors.New("connection reset by peer")

func (s *simService) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	return s.serve(ctx, in, 0, opts)
}

// serve is PutRecords; what it stores gets a number above after.
func (s *simService) serve(ctx context.Context, in *kinesis.PutRecordsInput, after uint64, opts []func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	var o kinesis.Options
	for _, opt := range opts {
		opt(&o)
	}
	if o.Retryer == nil || o.Retryer.MaxAttempts() != 1 {
		panic("the SDK's own retries are on")
	}
	sends := s.arrive(in)
	sends[0].after = after
	defer s.leave(sends)
	entries := slices.Clone(in.Records)
	for i := range entries {
		// The caller may use its memory again as soon as it has an answer.
		e := &entries[i]
		e.Data = bytes.Clone(e.Data)
		e.PartitionKey, e.ExplicitHashKey = aws.String(aws.ToString(e.PartitionKey)), aws.String(aws.ToString(e.ExplicitHashKey))
	}
	if err := pause(ctx, s.delay()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	code := s.refusalLocked(entries)
	if code == "" && after > 0 && (s.auto || after > s.last) {
		code = "InvalidArgumentException"
	}
	lose, late, mangle := s.chance(s.faults.lose), s.chance(s.faults.late), s.chance(s.faults.mangle)
	vanish := s.outage == "silence" || s.chance(s.faults.vanish)
	broken := s.r.IntN(2) == 0
	wait := time.Duration(s.r.Int64N(int64(4 * time.Second)))
	s.mu.Unlock()
	switch {
	case vanish:
		return nil, silence(ctx)
	case code == "reset":
		return nil, errReset
	case code != "":
		return nil, apiError(code)
	case late:
		s.pending.Go(func() {
			<-ctx.Done()
			time.Sleep(wait)
			s.store(context.WithoutCancel(ctx), entries, sends)
		})
		return nil, silence(ctx)
	}
	// What was begun is finished, whether or not somebody waits.
	out := s.store(context.WithoutCancel(ctx), entries, sends)
	if lose {
		if broken {
			return nil, errReset
		}
		return nil, silence(ctx)
	}
	if err := pause(ctx, s.delay()); err != nil {
		return nil, err
	}
	if mangle {
		out.Records = out.Records[1:]
		return out, nil
	}
	s.tell(out, sends)
	return out, nil
}

func silence(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// refusalLocked returns the code with which a whole request is refused.
func (s *simService) refusalLocked(entries []types.PutRecordsRequestEntry) string {
	switch {
	case s.gone:
		return "ResourceNotFoundException"
	case s.outage != "" && s.outage != "silence":
		return s.outage
	case s.chance(s.faults.refuse):
		codes := []string{"ThrottlingException", "KMSThrottlingException", "InternalFailure", "ServiceUnavailable", "LimitExceededException", "ExpiredTokenException", "reset"}
		return codes[s.r.IntN(len(codes))]
	}
	for i := range entries {
		if bytes.Contains(entries[i].Data, []byte("|poison")) {
			return "ValidationException"
		}
	}
	return ""
}

// store stores the entries of a request, one after another, in any order.
func (s *simService) store(ctx context.Context, entries []types.PutRecordsRequestEntry, sends []*simSend) *kinesis.PutRecordsOutput {
	s.mu.Lock()
	order := s.r.Perm(len(entries))
	s.mu.Unlock()
	out := &kinesis.PutRecordsOutput{Records: make([]types.PutRecordsResultEntry, len(entries))}
	for n, i := range order {
		if n > 0 {
			// Other requests, and reshards, come between.
			if err := pause(ctx, time.Duration(n+i)*time.Microsecond); err != nil {
				panic(err)
			}
		}
		s.mu.Lock()
		out.Records[i] = s.storeLocked(&entries[i], sends[i])
		s.mu.Unlock()
	}
	return out
}

func refusedEntry(code string) types.PutRecordsResultEntry {
	return types.PutRecordsResultEntry{ErrorCode: &code, ErrorMessage: aws.String("refused")}
}

func (s *simService) storeLocked(e *types.PutRecordsRequestEntry, send *simSend) types.PutRecordsResultEntry {
	switch {
	case s.gone:
		return refusedEntry("InternalFailure")
	case s.chance(s.faults.entry):
		return refusedEntry("InternalFailure")
	case s.chance(s.faults.throttle):
		return refusedEntry("ProvisionedThroughputExceededException")
	}
	k := hashOf(*e.PartitionKey, *e.ExplicitHashKey)
	i := slices.IndexFunc(s.shards, func(sh *simShard) bool { return !sh.closed && sh.keys.Contains(k) })
	sh := s.shards[i]
	if s.auto {
		// The service puts records where it likes.
		open := s.openLocked()
		sh = open[s.r.IntN(len(open))]
	}
	if s.rate > 0 {
		now := time.Now()
		sh.tokens = min(float64(s.burst), sh.tokens+now.Sub(sh.filled).Seconds()*float64(s.rate))
		sh.filled = now
		if sh.tokens < 1 {
			return refusedEntry("ProvisionedThroughputExceededException")
		}
		sh.tokens--
	}
	s.last += 1000
	entry := &simEntry{shard: sh, num: s.last, pk: aws.ToString(e.PartitionKey), ehk: k.String(), data: e.Data, send: send}
	if n := len(sh.entries); n > 0 && send.after == 0 && s.chance(s.faults.misnumber) {
		entry.num = sh.entries[n-1].num - 1 - uint64(s.r.IntN(100))
	}
	sh.entries = append(sh.entries, entry)
	slices.SortFunc(sh.entries, func(a, b *simEntry) int { return cmp.Compare(a.num, b.num) })
	send.stored = entry
	send.inRange = send.alone || entry.within(sh.keys)
	seq := entry.seq()
	return types.PutRecordsResultEntry{ShardId: aws.String(sh.id), SequenceNumber: &seq}
}

// within reports whether all user records of an aggregated record belong to r.
func (e *simEntry) within(r hashkey.Range) bool {
	in := true
	for _, u := range unpack(e.data, e.pk, e.ehk) {
		in = in && r.Contains(u.hash)
	}
	return in
}

// simRecord is a user record as it is stored.
type simRecord struct {
	pk, ehk string
	data    string
	hash    hashkey.Key
	sub     int
}

func unpack(data []byte, pk, ehk string) (us []simRecord) {
	ok, err := blockrec.NewReader(simDecoder).Walk(data, func(i blockrec.Index, r aggregation.Record, _ *aggregation.Stamp) bool {
		u := simRecord{pk: strings.Clone(r.PartitionKey), ehk: strings.Clone(r.ExplicitHashKey), data: string(r.Data), sub: i.User}
		u.hash = hashOf(u.pk, u.ehk)
		us = append(us, u)
		return true
	})
	if err != nil {
		panic(err)
	}
	if !ok {
		return []simRecord{{pk: pk, ehk: ehk, data: string(data), hash: hashOf(pk, ehk)}}
	}
	return us
}

func hashOf(pk, ehk string) hashkey.Key {
	if ehk == "" {
		return hashkey.Of(pk)
	}
	k, err := hashkey.Parse(ehk)
	if err != nil {
		panic(err)
	}
	return k
}

// arrive notes the sends of a call that begins, and checks that they keep the
// order of keys.
func (s *simService) arrive(in *kinesis.PutRecordsInput) []*simSend {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if n := len(in.Records); n < 1 || n > 500 || (in.StreamName == nil) == (in.StreamARN == nil) {
		s.history.complain("request of %d entries", n)
	}
	sends := make([]*simSend, len(in.Records))
	for i := range in.Records {
		e := &in.Records[i]
		us := unpack(e.Data, aws.ToString(e.PartitionKey), aws.ToString(e.ExplicitHashKey))
		send := &simSend{call: s.calls, at: time.Since(s.begin), sum: md5.Sum(e.Data), alone: !aggregation.IsAggregated(e.Data)}
		keys := map[string]bool{}
		for _, u := range us {
			send.records = append(send.records, u.data)
			if key, _ := parsePayload(u.data); ordered(key) {
				keys[key] = true
			}
		}
		for key := range keys {
			if s.inflight[key]++; s.inflight[key] > 1 && !s.unkept {
				s.history.complain("records of key %s are in flight twice", key)
			}
		}
		sends[i] = send
		s.history.sent(send, s.unkept)
	}
	return sends
}

func (s *simService) leave(sends []*simSend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, send := range sends {
		s.lost = s.lost || send.told == toldNothing
		keys := map[string]bool{}
		for _, data := range send.records {
			if key, _ := parsePayload(data); ordered(key) {
				keys[key] = true
			}
		}
		for key := range keys {
			s.inflight[key]--
		}
	}
}

// tell notes that the caller gets an answer.
func (s *simService) tell(out *kinesis.PutRecordsOutput, sends []*simSend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, send := range sends {
		send.told = toldStored
		if out.Records[i].ErrorCode != nil {
			send.told = toldRefused
		}
		s.history.answered(send)
	}
}

func (s *simService) listingLocked(all bool) (list []types.Shard) {
	shards := s.openLocked()
	if all {
		shards = s.shards[s.born:]
	}
	for _, sh := range shards {
		r := &types.SequenceNumberRange{StartingSequenceNumber: aws.String("1")}
		if sh.closed {
			r.EndingSequenceNumber = aws.String("2")
		}
		list = append(list, types.Shard{
			ShardId:             aws.String(sh.id),
			HashKeyRange:        &types.HashKeyRange{StartingHashKey: aws.String(sh.keys.Start.String()), EndingHashKey: aws.String(sh.keys.End.String())},
			SequenceNumberRange: r,
		})
	}
	return list
}

func (s *simService) ListShards(ctx context.Context, in *kinesis.ListShardsInput, _ ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	if err := pause(ctx, s.delay()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	lost := s.outage == "silence" || s.chance(s.faults.list)
	refused := s.chance(s.faults.list)
	code := s.outage
	if s.gone {
		code = "ResourceNotFoundException"
	}
	list := s.listingLocked(s.r.IntN(10) == 0)
	if s.chance(s.faults.stale) {
		// Of up to three seconds ago.
		var old []simList
		for i, l := range s.lists {
			if i+1 == len(s.lists) || time.Since(s.lists[i+1].at) < 3*time.Second {
				old = append(old, l)
			}
		}
		list = old[s.r.IntN(len(old))].shards
	}
	s.mu.Unlock()
	switch {
	case lost:
		return nil, silence(ctx)
	case code != "":
		return nil, apiError(code)
	case refused:
		return nil, apiError("LimitExceededException")
	}
	start := 0
	if in.NextToken != nil {
		start, _ = strconv.Atoi(*in.NextToken)
	}
	// Pages are of the moment each: a reshard may come between.
	start = min(start, len(list))
	out := &kinesis.ListShardsOutput{Shards: list[start:]}
	if s.page > 0 && len(out.Shards) > s.page {
		out.Shards = out.Shards[:s.page]
		out.NextToken = aws.String(strconv.Itoa(start + s.page))
	}
	return out, pause(ctx, s.delay())
}

// PutRecord is PutRecords of one record, and takes a number that it must be
// stored above.
func (s *simService) PutRecord(ctx context.Context, in *kinesis.PutRecordInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordOutput, error) {
	var after uint64
	if in.SequenceNumberForOrdering != nil {
		var err error
		if after, err = strconv.ParseUint(strings.TrimLeft((*in.SequenceNumberForOrdering)[2:], "0"), 10, 64); err != nil {
			return nil, apiError("InvalidArgumentException")
		}
	}
	out, err := s.serve(ctx, &kinesis.PutRecordsInput{
		StreamName: in.StreamName, StreamARN: in.StreamARN,
		Records: []types.PutRecordsRequestEntry{{Data: in.Data, PartitionKey: in.PartitionKey, ExplicitHashKey: in.ExplicitHashKey}},
	}, after, opts)
	switch {
	case err != nil:
		return nil, err
	case len(out.Records) == 0:
		return nil, errReset // an answer with an entry too few
	case out.Records[0].ErrorCode != nil:
		return nil, apiError(*out.Records[0].ErrorCode)
	}
	return &kinesis.PutRecordOutput{ShardId: out.Records[0].ShardId, SequenceNumber: out.Records[0].SequenceNumber}, nil
}

// DescribeStreamSummary says how the stream distributes records.
func (s *simService) DescribeStreamSummary(ctx context.Context, _ *kinesis.DescribeStreamSummaryInput, _ ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error) {
	if err := pause(ctx, s.delay()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
		return nil, apiError("ResourceNotFoundException")
	case s.mute:
		return nil, apiError("AccessDeniedException")
	case s.chance(s.faults.list):
		return nil, apiError("LimitExceededException")
	}
	d := &types.StreamDescriptionSummary{OpenShardCount: aws.Int32(int32(len(s.openLocked()))), RecordDistributionStrategy: types.RecordDistributionStrategyUserPartitionKey}
	if s.auto {
		d.RecordDistributionStrategy = types.RecordDistributionStrategyAuto
	}
	return &kinesis.DescribeStreamSummaryOutput{StreamDescriptionSummary: d}, nil
}

// ordered says whether the order of a key's records is promised.
func ordered(key string) bool { return !strings.HasPrefix(key, "keyless") }

var _ producer.API = (*simService)(nil)
