package producer_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// fakeStream is a small model of a stream behind the API: shards that split
// and merge, latency, and faults that a test scripts or draws.
type fakeStream struct {
	mu       sync.Mutex
	shards   []*fakeShard // in the order of creation: parents before children
	next     int          // sequence number
	requests int
	listed   [][]types.Shard // lists to answer first, before the true one
	sizes    []int           // entries of each request

	latency func() time.Duration
	// onRequest may fail a request before it is served: the error is returned
	// and nothing is stored.
	onRequest func(in *kinesis.PutRecordsInput) error
	// onEntry may refuse an entry with a code.
	onEntry func(e *types.PutRecordsRequestEntry) string
	// afterStore may withhold the answer of a request that was served.
	afterStore func() fate
	onList     func() error
	pageSize   int // of ListShards; 0 means all
	noDryRun   bool
}

type fate int

const (
	answer  fate = iota
	timeout      // no answer comes
	reset        // the connection breaks
	short        // an answer with an entry too few
	blank        // an answer whose entries say nothing
)

type fakeShard struct {
	id      string
	keys    hashkey.Range
	closed  bool
	entries []stored
}

type stored struct {
	seq, pk, ehk string
	data         []byte
}

func newFake(n int) *fakeStream {
	f := &fakeStream{}
	for _, r := range hashkey.Uniform(n) {
		f.addLocked(r)
	}
	return f
}

func (f *fakeStream) addLocked(r hashkey.Range) *fakeShard {
	s := &fakeShard{id: fmt.Sprintf("shardId-%012d", len(f.shards)), keys: r}
	f.shards = append(f.shards, s)
	return s
}

func (f *fakeStream) openLocked() (open []*fakeShard) {
	for _, s := range f.shards {
		if !s.closed {
			open = append(open, s)
		}
	}
	slices.SortFunc(open, func(a, b *fakeShard) int { return a.keys.Start.Compare(b.keys.Start) })
	return open
}

func (f *fakeStream) ownerLocked(k hashkey.Key) *fakeShard {
	for _, s := range f.shards {
		if !s.closed && s.keys.Contains(k) {
			return s
		}
	}
	panic("the fake's shards do not cover the hash space")
}

// split divides the i-th open shard in the middle.
func (f *fakeStream) split(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.openLocked()
	f.splitLocked(open[i%len(open)])
}

func (f *fakeStream) splitLocked(s *fakeShard) {
	mid := s.keys.Start
	mid.Hi += (s.keys.End.Hi - s.keys.Start.Hi) / 2
	s.closed = true
	f.addLocked(hashkey.Range{Start: s.keys.Start, End: mid})
	f.addLocked(hashkey.Range{Start: mid.Add(1), End: s.keys.End})
}

// merge joins the i-th open shard and its right neighbour.
func (f *fakeStream) merge(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.openLocked()
	if len(open) < 2 {
		return
	}
	i %= len(open) - 1
	open[i].closed, open[i+1].closed = true, true
	f.addLocked(hashkey.Range{Start: open[i].keys.Start, End: open[i+1].keys.End})
}

// listing returns the answer of ListShards as of now.
func (f *fakeStream) listing() []types.Shard {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listingLocked()
}

func (f *fakeStream) listingLocked() (list []types.Shard) {
	for _, s := range f.openLocked() {
		list = append(list, types.Shard{
			ShardId:      aws.String(s.id),
			HashKeyRange: &types.HashKeyRange{StartingHashKey: aws.String(s.keys.Start.String()), EndingHashKey: aws.String(s.keys.End.String())},
			SequenceNumberRange: &types.SequenceNumberRange{
				StartingSequenceNumber: aws.String("1"),
			},
		})
	}
	return list
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeStream) delay() time.Duration {
	if f.latency == nil {
		return time.Millisecond
	}
	return f.latency()
}

func (f *fakeStream) ListShards(ctx context.Context, in *kinesis.ListShardsInput, _ ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	if err := pause(ctx, f.delay()); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onList != nil {
		if err := f.onList(); err != nil {
			return nil, err
		}
	}
	if in.NextToken != nil && (in.StreamName != nil || in.StreamARN != nil || in.ShardFilter != nil) {
		return nil, &smithy.GenericAPIError{Code: "InvalidArgumentException", Message: "NextToken stands alone"}
	}
	if in.NextToken == nil && (in.StreamName == nil) == (in.StreamARN == nil) {
		return nil, &smithy.GenericAPIError{Code: "InvalidArgumentException", Message: "one of name and ARN"}
	}
	list := f.listingLocked()
	if len(f.listed) > 0 {
		list = f.listed[0]
		f.listed = f.listed[1:]
	}
	out := &kinesis.ListShardsOutput{}
	start := 0
	if in.NextToken != nil {
		if _, err := fmt.Sscan(*in.NextToken, &start); err != nil {
			return nil, err
		}
	}
	start = min(start, len(list)) // a merge may have come between two pages
	end := len(list)
	if f.pageSize > 0 && start+f.pageSize < end {
		end = start + f.pageSize
		out.NextToken = aws.String(fmt.Sprint(end))
	}
	out.Shards = list[start:end]
	return out, nil
}

func (f *fakeStream) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	var o kinesis.Options
	for _, opt := range opts {
		opt(&o)
	}
	if o.Retryer == nil || o.Retryer.MaxAttempts() != 1 {
		panic("the SDK's own retries are on")
	}
	if err := pause(ctx, f.delay()/2); err != nil {
		return nil, err
	}
	out, fate, err := f.store(in)
	if err != nil {
		return nil, err
	}
	switch fate {
	case timeout:
		<-ctx.Done()
		return nil, ctx.Err()
	case reset:
		return nil, fmt.Errorf("connection reset")
	case short:
		out.Records = out.Records[1:]
	case blank:
		clear(out.Records)
	case answer:
	}
	if err := pause(ctx, f.delay()/2); err != nil {
		return nil, err
	}
	return out, nil
}

func (f *fakeStream) store(in *kinesis.PutRecordsInput) (*kinesis.PutRecordsOutput, fate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	f.sizes = append(f.sizes, len(in.Records))
	if (in.StreamName == nil) == (in.StreamARN == nil) || len(in.Records) < 1 || len(in.Records) > 500 {
		return nil, answer, &smithy.GenericAPIError{Code: "ValidationException", Message: "request"}
	}
	if f.onRequest != nil {
		if err := f.onRequest(in); err != nil {
			return nil, answer, err
		}
	}
	if aws.ToBool(in.DryRun) && !f.noDryRun {
		return nil, answer, &types.DryRunOperationException{Message: aws.String("would have succeeded")}
	}
	out := &kinesis.PutRecordsOutput{}
	for i := range in.Records {
		e := &in.Records[i]
		if f.onEntry != nil {
			if code := f.onEntry(e); code != "" {
				out.Records = append(out.Records, types.PutRecordsResultEntry{ErrorCode: &code, ErrorMessage: aws.String("refused")})
				continue
			}
		}
		k := hashkey.Of(aws.ToString(e.PartitionKey))
		if e.ExplicitHashKey != nil {
			var err error
			if k, err = hashkey.Parse(*e.ExplicitHashKey); err != nil {
				return nil, answer, err
			}
		}
		s := f.ownerLocked(k)
		f.next++
		seq := fmt.Sprintf("49%054d", f.next)
		s.entries = append(s.entries, stored{seq: seq, pk: aws.ToString(e.PartitionKey), ehk: k.String(), data: bytes.Clone(e.Data)})
		out.Records = append(out.Records, types.PutRecordsResultEntry{ShardId: aws.String(s.id), SequenceNumber: &seq})
	}
	if f.afterStore != nil {
		return out, f.afterStore(), nil
	}
	return out, answer, nil
}

// read is a user record as a consumer sees it.
type read struct {
	shard, seq string
	sub        int
	pk, ehk    string
	data       string
	blob       [md5.Size]byte // identifies the bytes of the Kinesis record
	discarded  bool           // by the whole-record rule of the KCL
}

// readAll reads the stream in the order of a consumer that finishes parents
// first.
func (f *fakeStream) readAll() (all []read) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.shards {
		for _, e := range s.entries {
			var rs []read
			discard := false
			ok, err := aggregation.Walk(e.data, func(i int, u aggregation.Record) bool {
				k := hashkey.Of(u.PartitionKey)
				if u.ExplicitHashKey != "" {
					k, _ = hashkey.Parse(u.ExplicitHashKey)
				}
				discard = discard || !s.keys.Contains(k)
				rs = append(rs, read{shard: s.id, seq: e.seq, sub: i, pk: u.PartitionKey, ehk: u.ExplicitHashKey, data: string(u.Data)})
				return true
			})
			if err != nil {
				panic(err)
			}
			if !ok {
				rs = []read{{shard: s.id, seq: e.seq, pk: e.pk, ehk: e.ehk, data: string(e.data)}}
			}
			sum := md5.Sum(e.data)
			for i := range rs {
				rs[i].blob, rs[i].discarded = sum, discard
			}
			all = append(all, rs...)
		}
	}
	return all
}

func apiError(code string) error {
	return &smithy.GenericAPIError{Code: code, Message: "scripted"}
}

func refuseAll(code string) func(*kinesis.PutRecordsInput) error {
	return func(*kinesis.PutRecordsInput) error { return apiError(code) }
}
