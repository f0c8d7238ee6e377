package streamd_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/logcheck"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// historian notes what the clients of a server put and read, whatever the test
// is about, and holds it in the end against what a stream promises. It sees each
// attempt of a request by itself.
//
// The records of a test need not differ from each other, so the value of one is
// its number and a sum of its content: a put without an answer gets that of a
// record with its content that nobody else has put.
type historian struct {
	srv   *streamdtest.Server
	began time.Time
	once  sync.Once // guards the check in the end

	mu        sync.Mutex // guards what follows
	advanced  time.Duration
	streams   map[string]*seen // by name
	iterators map[string]cursor
	remove    []func() // faults
}

// seen is what was seen of one stream.
type seen struct {
	puts    []logcheck.Put  // whose Value is complete if they were acknowledged
	keyless map[string]bool // values of records whose shard the server has chosen
	auto    bool            // it chooses that of all, whatever their keys
	reads   []logcheck.Read
}

// cursor is where an iterator stands.
type cursor struct {
	stream, shard, after string
	somewhere            bool
}

func newHistorian(srv *streamdtest.Server) *historian {
	return &historian{srv: srv, began: time.Now(), streams: make(map[string]*seen), iterators: make(map[string]cursor)}
}

// goOn returns a historian for a server that has the data of h's, which is gone.
func (h *historian) goOn(srv *streamdtest.Server) *historian {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &historian{srv: srv, began: h.began, advanced: h.advanced, streams: h.streams, iterators: h.iterators}
}

func (h *historian) now() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.began) + h.advanced
}

// advance is to be told how far the server's clock is moved, after that.
func (h *historian) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.advanced += d
}

// before has f called before the check.
func (h *historian) before(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove = append(h.remove, f)
}

type paramsKey struct{}

// watch adds the historian to a client.
func (h *historian) watch(o *kinesis.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		keep := middleware.InitializeMiddlewareFunc("keepParams", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			return next.HandleInitialize(middleware.WithStackValue(ctx, paramsKey{}, in.Parameters), in)
		})
		// Inside of the retries.
		note := middleware.DeserializeMiddlewareFunc("noteAttempt", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			start := h.now()
			out, meta, err := next.HandleDeserialize(ctx, in)
			h.note(middleware.GetStackValue(ctx, paramsKey{}), out.Result, err, start, h.now())
			return out, meta, err
		})
		return errors.Join(stack.Initialize.Add(keep, middleware.Before), stack.Deserialize.Add(note, middleware.Before))
	})
}

func (h *historian) note(in, out any, err error, start, end time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch in := in.(type) {
	case *kinesis.PutRecordInput:
		p := &puts{h: h, stream: streamName(in.StreamName, in.StreamARN), start: start, end: end}
		if o, ok := out.(*kinesis.PutRecordOutput); ok && err == nil {
			p.stored(in.PartitionKey, in.ExplicitHashKey, in.Data, o.ShardId, o.SequenceNumber)
		} else if !refused(err) {
			p.unknown(in.PartitionKey, in.ExplicitHashKey, in.Data)
		}
	case *kinesis.PutRecordsInput:
		p := &puts{h: h, stream: streamName(in.StreamName, in.StreamARN), start: start, end: end}
		o, answered := out.(*kinesis.PutRecordsOutput)
		for i, r := range in.Records {
			switch {
			case err == nil && answered && o.Records[i].ErrorCode == nil:
				p.stored(r.PartitionKey, r.ExplicitHashKey, r.Data, o.Records[i].ShardId, o.Records[i].SequenceNumber)
			case err == nil && answered && *o.Records[i].ErrorCode == "ProvisionedThroughputExceededException":
			case !refused(err):
				p.unknown(r.PartitionKey, r.ExplicitHashKey, r.Data)
			}
		}
	case *kinesis.GetShardIteratorInput:
		if o, ok := out.(*kinesis.GetShardIteratorOutput); ok && err == nil {
			h.iterators[aws.ToString(o.ShardIterator)] = cursorOf(in)
		}
	case *kinesis.GetRecordsInput:
		c, known := h.iterators[aws.ToString(in.ShardIterator)]
		if o, ok := out.(*kinesis.GetRecordsOutput); ok && err == nil && known {
			h.read(c, o, start, end)
		}
	case *kinesis.UpdateStreamRecordDistributionStrategyInput:
		if err == nil {
			h.stream(streamName(nil, in.StreamARN)).auto = in.RecordDistributionStrategy == types.RecordDistributionStrategyAuto
		}
	case *kinesis.DeleteStreamInput:
		// Another may get the name.
		delete(h.streams, streamName(in.StreamName, in.StreamARN))
	}
}

// refused reports whether an error says that nothing was stored.
func refused(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && e.ErrorFault() == smithy.FaultClient
}

func streamName(name, arn *string) string {
	if name != nil {
		return *name
	}
	_, after, _ := strings.Cut(aws.ToString(arn), ":stream/")
	return after
}

func cursorOf(in *kinesis.GetShardIteratorInput) cursor {
	c := cursor{stream: streamName(in.StreamName, in.StreamARN), shard: *in.ShardId}
	switch in.ShardIteratorType {
	case types.ShardIteratorTypeTrimHorizon:
	case types.ShardIteratorTypeAfterSequenceNumber:
		c.after = *in.StartingSequenceNumber
	case types.ShardIteratorTypeAtSequenceNumber:
		n, ok := new(big.Int).SetString(*in.StartingSequenceNumber, 10)
		if c.somewhere = !ok; ok {
			c.after = n.Sub(n, big.NewInt(1)).String()
		}
	case types.ShardIteratorTypeLatest, types.ShardIteratorTypeAtTimestamp:
		c.somewhere = true
	}
	return c
}

func (h *historian) stream(name string) *seen {
	s := h.streams[name]
	if s == nil {
		s = &seen{keyless: make(map[string]bool)}
		h.streams[name] = s
	}
	return s
}

func (h *historian) read(c cursor, out *kinesis.GetRecordsOutput, start, end time.Duration) {
	s := h.stream(c.stream)
	s.reads = append(s.reads, logcheck.Read{
		Shard: c.shard, After: c.after, Somewhere: c.somewhere, Records: logRecords(out.Records),
		Tip: aws.ToInt64(out.MillisBehindLatest) == 0, Start: start, End: end,
	})
	if n := len(out.Records); n > 0 {
		c.after, c.somewhere = *out.Records[n-1].SequenceNumber, false
	}
	if out.NextShardIterator != nil {
		h.iterators[*out.NextShardIterator] = c
	}
}

// puts notes the records of one request.
type puts struct {
	h          *historian
	stream     string
	start, end time.Duration
}

func (p *puts) stored(key, explicit *string, data []byte, shard, seq *string) {
	put := p.put(key, explicit, data)
	put.Outcome, put.Shard, put.Seq = logcheck.Acked, *shard, *seq
	put.Value = valueOf(*seq, put.Value)
	s := p.h.stream(p.stream)
	s.puts = append(s.puts, put)
	s.keyless[put.Value] = s.auto || aws.ToString(key) == "" && explicit == nil
}

func (p *puts) unknown(key, explicit *string, data []byte) {
	s := p.h.stream(p.stream)
	s.puts = append(s.puts, p.put(key, explicit, data))
}

func (p *puts) put(key, explicit *string, data []byte) logcheck.Put {
	hash := hashkey.Of(aws.ToString(key))
	if explicit != nil {
		hash, _ = hashkey.Parse(*explicit) // else it is refused
	}
	return logcheck.Put{Value: sum(key, data), Hash: hash.Bytes(), Start: p.start, End: p.end}
}

func sum(key *string, data []byte) string {
	f := fnv.New64a()
	fmt.Fprintf(f, "%q", aws.ToString(key))
	_, _ = f.Write(data) // never fails
	return fmt.Sprintf("%x", f.Sum64())
}

func valueOf(seq, sum string) string { return seq + " " + sum }

func logRecords(records []types.Record) []logcheck.Record {
	var all []logcheck.Record
	for _, r := range records {
		all = append(all, logcheck.Record{
			Value: valueOf(*r.SequenceNumber, sum(r.PartitionKey, r.Data)), Seq: *r.SequenceNumber, Arrival: *r.ApproximateArrivalTimestamp,
		})
	}
	return all
}

// check reports what a server has broken of its promises. It reads all streams
// that were seen, so the server must still be there.
func (h *historian) check(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	streams, remove := maps.Clone(h.streams), h.remove
	h.mu.Unlock()
	for _, f := range remove {
		f()
	}
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		shards, final, err := h.all(name)
		if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
			continue
		}
		if err != nil {
			t.Errorf("cannot check the history of stream %s: %v", name, err)
			continue
		}
		h.mu.Lock()
		bad := streams[name].history(shards, final, time.Since(h.began)+h.advanced).Check()
		h.mu.Unlock()
		if len(bad) > 0 {
			t.Errorf("stream %s: %s", name, logcheck.Describe(bad))
		}
	}
}

// history puts together what was seen and what is there.
func (s *seen) history(shards []types.Shard, final map[string][]types.Record, now time.Duration) *logcheck.History {
	h := &logcheck.History{Puts: slices.Clone(s.puts), Reads: s.reads, Final: make(map[string][]logcheck.Record)}
	from := make(map[string]logcheck.Hash)
	for _, sh := range shards {
		d := logcheck.Shard{
			ID: *sh.ShardId, From: hashOf(sh.HashKeyRange.StartingHashKey), To: hashOf(sh.HashKeyRange.EndingHashKey),
			Starting: *sh.SequenceNumberRange.StartingSequenceNumber, Ending: aws.ToString(sh.SequenceNumberRange.EndingSequenceNumber),
			// No retention is shorter; the time of arrival lacks parts of a millisecond.
			Horizon: max(now-24*time.Hour+time.Millisecond, 0),
		}
		for _, p := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
			if p != nil {
				d.Parents = append(d.Parents, *p)
			}
		}
		from[d.ID] = d.From
		h.Shards = append(h.Shards, d)
		h.Final[d.ID] = logRecords(final[d.ID])
	}
	if now > 24*time.Hour {
		s.addExpired(h, from, now)
	}
	known := make(map[string]bool)
	for i := range h.Puts {
		p := &h.Puts[i]
		if p.Outcome == logcheck.Acked {
			known[p.Value] = true
			if s.keyless[p.Value] {
				p.Hash = from[p.Shard] // the server has chosen one
			}
		}
	}
	for _, records := range h.Final {
		for _, r := range records {
			_, content, _ := strings.Cut(r.Value, " ")
			i := slices.IndexFunc(h.Puts, func(p logcheck.Put) bool { return p.Outcome == logcheck.Unknown && p.Value == content })
			if !known[r.Value] && i >= 0 {
				h.Puts[i].Value = r.Value
			}
		}
	}
	return h
}

// addExpired adds the shards that were seen and are listed no more.
func (s *seen) addExpired(h *logcheck.History, listed map[string]logcheck.Hash, now time.Duration) {
	add := func(id string) {
		if _, ok := listed[id]; ok || id == "" {
			return
		}
		listed[id] = logcheck.Hash{}
		h.Shards = append(h.Shards, logcheck.Shard{ID: id, To: hashkey.Max.Bytes(), Horizon: now - 24*time.Hour + time.Millisecond})
	}
	for i := range s.puts {
		add(s.puts[i].Shard)
	}
	for i := range s.reads {
		add(s.reads[i].Shard)
	}
}

func hashOf(s *string) logcheck.Hash {
	k, err := hashkey.Parse(*s)
	if err != nil {
		panic(err)
	}
	return k.Bytes()
}

// all reads a stream. What is in its way, limits and faults, it waits out by the
// server's clock.
func (h *historian) all(stream string) (shards []types.Shard, final map[string][]types.Record, err error) {
	ctx := context.Background() // that of the test has ended
	client := h.srv.Kinesis(func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
	try := func(do func() error) error {
		for i := range 20 {
			if err = do(); err == nil {
				return nil
			}
			if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
				return err
			}
			wait := min(time.Second<<i, time.Hour)
			h.srv.Advance(wait)
			h.advance(wait)
		}
		return err
	}
	in := &kinesis.ListShardsInput{StreamName: &stream}
	for in != nil {
		var out *kinesis.ListShardsOutput
		if err := try(func() error { out, err = client.ListShards(ctx, in); return err }); err != nil {
			return nil, nil, err
		}
		shards = append(shards, out.Shards...)
		in = nil
		if out.NextToken != nil {
			in = &kinesis.ListShardsInput{NextToken: out.NextToken}
		}
	}
	final = make(map[string][]types.Record)
	for _, sh := range shards {
		var next *string
		err := try(func() error {
			out, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: sh.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
			if err == nil {
				next = out.ShardIterator
			}
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		for next != nil {
			var out *kinesis.GetRecordsOutput
			if err := try(func() error {
				out, err = client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
				return err
			}); err != nil {
				return nil, nil, err
			}
			final[*sh.ShardId] = append(final[*sh.ShardId], out.Records...)
			if next = out.NextShardIterator; aws.ToInt64(out.MillisBehindLatest) == 0 {
				break
			}
		}
	}
	return shards, final, nil
}
