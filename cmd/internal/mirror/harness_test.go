package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/internal/mirror"
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

var (
	_ mirror.Source = (*kinesis.Client)(nil)
	_ mirror.Target = (*kinesis.Client)(nil)
)

const name = "orders"

// pair is a source and a target, and a writer that knows what it has put.
type pair struct {
	t        *testing.T
	from, to *streamdtest.Server
	disk     vfs.FS
	log      *logs

	next map[string]int // by key: number of the next record
	sent int            // Kinesis records put
}

func newPair(t *testing.T, from, to []streamdtest.Option) *pair {
	t.Helper()
	return &pair{
		t: t, from: streamdtest.New(t, from...), to: streamdtest.New(t, to...),
		disk: vfstest.NewDisk(), log: &logs{}, next: map[string]int{},
	}
}

// logs keeps what is logged.
type logs struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// put writes n records for each of keys, which are all different: one of each in
// a request, which is made until all are stored.
func (p *pair) put(n int, keys ...string) {
	p.t.Helper()
	for range n {
		in := &kinesis.PutRecordsInput{StreamName: aws.String(name)}
		for _, key := range keys {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String(key), Data: fmt.Appendf(nil, "%s %d", key, p.number(key))})
		}
		p.sent += len(in.Records)
		for len(in.Records) > 0 {
			out, err := p.from.Kinesis().PutRecords(p.t.Context(), in)
			if err != nil {
				p.t.Fatal(err)
			}
			var refused []types.PutRecordsRequestEntry
			for i, r := range out.Records {
				if r.ErrorCode != nil {
					refused = append(refused, in.Records[i])
				}
			}
			if in.Records = refused; len(refused) > 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
}

func (p *pair) number(key string) int {
	n := p.next[key]
	p.next[key]++
	return n
}

// putAggregated writes an aggregated record with a record for each of keys,
// which must belong to the shard that hash does.
func (p *pair) putAggregated(hash string, keys ...string) {
	p.t.Helper()
	var b aggregation.Builder
	for _, key := range keys {
		b.Add(aggregation.Record{PartitionKey: key, Data: fmt.Appendf(nil, "%s %d", key, p.number(key))})
	}
	p.send("a", hash, b.Seal(nil))
}

func (p *pair) send(key, hash string, data []byte) {
	p.t.Helper()
	in := &kinesis.PutRecordInput{StreamName: aws.String(name), PartitionKey: aws.String(key), Data: data}
	if hash != "" {
		in.ExplicitHashKey = aws.String(hash)
	}
	for {
		_, err := p.from.Kinesis().PutRecord(p.t.Context(), in)
		if _, slow := errors.AsType[*types.ProvisionedThroughputExceededException](err); slow {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err != nil {
			p.t.Fatal(err)
		}
		p.sent++
		return
	}
}

// config is a configuration for p that keeps its state.
func (p *pair) config() mirror.Config {
	return mirror.Config{
		FromName: "source", ToName: "target", StateFile: "state", FS: p.disk,
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(p.log, p.t.Output()), nil)),
	}
}

// mirror returns a mirror of the stream, through a target that watches over the
// order of its requests.
func (p *pair) mirror(cfg mirror.Config) *mirror.Mirror {
	p.t.Helper()
	var to mirror.Target = &watched{Target: p.to.Kinesis(), t: p.t, flying: map[string]bool{}}
	if cfg.LooseOrder {
		to = p.to.Kinesis()
	}
	m, err := mirror.New(p.from.Kinesis(), to, []mirror.Stream{{From: name, To: name}}, cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// copy runs a mirror to its end.
func (p *pair) copy(cfg mirror.Config) mirror.Stats {
	p.t.Helper()
	m := p.mirror(cfg)
	if err := m.Run(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return m.Stats()[0]
}

// follow runs a mirror until the returned function is called, which returns how
// it ended.
func (p *pair) follow(cfg mirror.Config) (*mirror.Mirror, func() error) {
	p.t.Helper()
	cfg.Follow = true
	m := p.mirror(cfg)
	ctx, cancel := context.WithCancel(p.t.Context())
	end := make(chan error, 1)
	go func() { end <- m.Run(ctx) }()
	return m, sync.OnceValue(func() error { cancel(); return <-end })
}

// watched fails the test if two records of one partition key are under way at
// once, inside aggregated records as well.
type watched struct {
	mirror.Target
	t      *testing.T
	mu     sync.Mutex // guards flying
	flying map[string]bool
}

func (w *watched) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	var keys []string
	w.mu.Lock()
	for _, r := range in.Records {
		var own []string
		for _, u := range expand(r.PartitionKey, r.Data) {
			if !slices.Contains(own, u.PartitionKey) {
				own = append(own, u.PartitionKey)
			}
		}
		for _, key := range own {
			if w.flying[key] {
				w.t.Errorf("two records of key %s are under way at once", key)
			}
			w.flying[key] = true
		}
		keys = append(keys, own...)
	}
	w.mu.Unlock()
	out, err := w.Target.PutRecords(ctx, in, opts...)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		delete(w.flying, key)
	}
	return out, err
}

// expand returns the user records of a record.
func expand(key *string, data []byte) []aggregation.Record {
	var rs []aggregation.Record
	ok, err := aggregation.Walk(data, func(_ int, r aggregation.Record) bool {
		rs = append(rs, r)
		return true
	})
	if !ok || err != nil {
		return []aggregation.Record{{PartitionKey: aws.ToString(key), Data: data}}
	}
	return rs
}

// check fails the test unless the target has all that was put, each key in its
// order. It returns how many records are there twice. With rewound, a key may go
// back once to what it had already, as after a crash.
func (p *pair) check(rewound bool) (twice int) {
	p.t.Helper()
	seen := map[string]int{} // by key: number that comes next
	last := map[string]int{}
	for _, r := range p.to.Records(p.t, name) {
		for _, u := range expand(r.PartitionKey, r.Data) {
			key, text, _ := strings.Cut(string(u.Data), " ")
			n, err := strconv.Atoi(text)
			if err != nil || key != u.PartitionKey {
				p.t.Fatalf("record %q of key %q", u.Data, u.PartitionKey)
			}
			switch {
			case n == seen[key]:
				seen[key]++
			case n > seen[key]:
				p.t.Fatalf("key %s: %d comes where %d was to come", key, n, seen[key])
			default:
				twice++
				if n != last[key] && !rewound {
					p.t.Errorf("key %s: %d comes again behind %d", key, n, last[key])
				}
			}
			last[key] = n
		}
	}
	for key, want := range p.next {
		if seen[key] != want {
			p.t.Errorf("key %s: %d records, want %d", key, seen[key], want)
		}
	}
	return twice
}

// arrived waits until the target has all, or fails the test after limit.
func (p *pair) arrived(m *mirror.Mirror, limit time.Duration) {
	p.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(time.Second) {
		st := m.Stats()[0]
		if st.Records >= int64(p.sent) {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("after %v: %+v, of %d records", limit, st, p.sent)
		}
	}
}

func keys(n int) []string {
	ks := make([]string, n)
	for i := range ks {
		ks[i] = fmt.Sprintf("key-%d", i)
	}
	return ks
}

// in returns those of keys whose hash keys are in r.
func in(r hashkey.Range, keys []string) []string {
	var own []string
	for _, k := range keys {
		if r.Contains(hashkey.Of(k)) {
			own = append(own, k)
		}
	}
	return own
}

// open returns the open shards of a stream in the order of their hash keys.
func open(t *testing.T, srv *streamdtest.Server) (ids []string, rs []hashkey.Range) {
	t.Helper()
	out, err := srv.Kinesis().ListShards(t.Context(), &kinesis.ListShardsInput{
		StreamName: aws.String(name), ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest},
	})
	if err != nil {
		t.Fatal(err)
	}
	parse := func(s *string) hashkey.Key {
		k, err := hashkey.Parse(*s)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	shards := out.Shards
	slices.SortFunc(shards, func(a, b types.Shard) int {
		return parse(a.HashKeyRange.StartingHashKey).Compare(parse(b.HashKeyRange.StartingHashKey))
	})
	for _, s := range shards {
		ids = append(ids, *s.ShardId)
		rs = append(rs, hashkey.Range{Start: parse(s.HashKeyRange.StartingHashKey), End: parse(s.HashKeyRange.EndingHashKey)})
	}
	return ids, rs
}

// split halves the i-th open shard of the source, unevenly.
func (p *pair) split(i int) {
	p.t.Helper()
	ids, rs := open(p.t, p.from)
	at := mirror.Within(rs[i], hashkey.Key{Hi: 5 << 60})
	_, err := p.from.Kinesis().SplitShard(p.t.Context(), &kinesis.SplitShardInput{
		StreamName: aws.String(name), ShardToSplit: aws.String(ids[i]), NewStartingHashKey: aws.String(at.String()),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.from.WaitForStream(p.t.Context(), p.t, name, types.StreamStatusActive)
}

// merge merges the i-th open shard of the source with the next.
func (p *pair) merge(i int) {
	p.t.Helper()
	ids, _ := open(p.t, p.from)
	_, err := p.from.Kinesis().MergeShards(p.t.Context(), &kinesis.MergeShardsInput{
		StreamName: aws.String(name), ShardToMerge: aws.String(ids[i]), AdjacentShardToMerge: aws.String(ids[i+1]),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.from.WaitForStream(p.t.Context(), p.t, name, types.StreamStatusActive)
}

// putMixed writes n rounds of everything: plain records, aggregated ones that
// fit their shard, and ones that were placed by hand.
func (p *pair) putMixed(n int, ks []string) {
	p.t.Helper()
	_, rs := open(p.t, p.from)
	for i := range n {
		p.put(1, ks...)
		for j, r := range rs {
			if own := in(r, ks); len(own) > 0 {
				p.putAggregated(r.Start.String(), own...)
			}
			if i%4 == 0 {
				key := fmt.Sprintf("placed-%d-%v", j, r.Start)
				p.send(key, r.End.String(), fmt.Appendf(nil, "%s %d", key, p.number(key)))
			}
		}
	}
}
