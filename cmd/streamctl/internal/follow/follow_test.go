package follow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/follow"
	"github.com/streamkit/streamkit/internal/aggregation"
)

var _ follow.API = (*kinesis.Client)(nil)

// fake is a stream whose shards are lists of records. A closed shard ends
// after its last record.
type fake struct {
	mu       sync.Mutex
	shards   []*fakeShard
	errs     map[string][]error // by shard: what the next reads answer
	pk       string             // partition key of all Kinesis records; default pk
	keys     *types.HashKeyRange
	quiet    bool     // do not name children with the last records
	iterated []string // kinds of iterators asked for, with shard
}

type fakeShard struct {
	id      string
	parents []string
	data    []string
	closed  bool
}

func (f *fake) shard(id string) *fakeShard {
	for _, s := range f.shards {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (f *fake) ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &kinesis.ListShardsOutput{}
	for _, s := range f.shards {
		ts := types.Shard{ShardId: aws.String(s.id), HashKeyRange: f.keys, SequenceNumberRange: &types.SequenceNumberRange{}}
		if s.closed {
			ts.SequenceNumberRange.EndingSequenceNumber = aws.String("9")
		}
		if len(s.parents) > 0 {
			ts.ParentShardId = aws.String(s.parents[0])
		}
		if len(s.parents) > 1 {
			ts.AdjacentParentShardId = aws.String(s.parents[1])
		}
		out.Shards = append(out.Shards, ts)
	}
	return out, nil
}

func (f *fake) GetShardIterator(_ context.Context, in *kinesis.GetShardIteratorInput, _ ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shard(*in.ShardId)
	f.iterated = append(f.iterated, string(in.ShardIteratorType)+" "+s.id)
	pos := 0
	if in.ShardIteratorType == types.ShardIteratorTypeLatest {
		pos = len(s.data)
	}
	if in.ShardIteratorType == types.ShardIteratorTypeAfterSequenceNumber {
		pos, _ = strconv.Atoi(*in.StartingSequenceNumber)
	}
	return &kinesis.GetShardIteratorOutput{ShardIterator: aws.String(fmt.Sprintf("%s %d", s.id, pos))}, nil
}

// key is the partition key of all Kinesis records.
func (f *fake) key() string {
	if f.pk == "" {
		return "pk"
	}
	return f.pk
}

// GetRecords returns one record; its sequence number is its place from 1 on.
func (f *fake) GetRecords(_ context.Context, in *kinesis.GetRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, at, _ := strings.Cut(*in.ShardIterator, " ")
	pos, _ := strconv.Atoi(at)
	if errs := f.errs[id]; len(errs) > 0 {
		err := errs[0]
		f.errs[id] = errs[1:]
		if err != nil {
			return nil, err
		}
	}
	s, out := f.shard(id), &kinesis.GetRecordsOutput{MillisBehindLatest: aws.Int64(0)}
	if pos < len(s.data) {
		out.Records = []types.Record{{
			SequenceNumber: aws.String(strconv.Itoa(pos + 1)), PartitionKey: aws.String(f.key()), Data: []byte(s.data[pos]),
		}}
		pos++
	}
	if pos < len(s.data) {
		out.MillisBehindLatest = aws.Int64(1)
	}
	if s.closed && pos == len(s.data) {
		if !f.quiet {
			for _, c := range f.shards {
				if slices.Contains(c.parents, id) {
					out.ChildShards = append(out.ChildShards, types.ChildShard{ShardId: aws.String(c.id), ParentShards: c.parents})
				}
			}
		}
		return out, nil
	}
	out.NextShardIterator = aws.String(fmt.Sprintf("%s %d", id, pos))
	return out, nil
}

// resharded has a split, of 0, and a merge, of 1 and 2.
func resharded() *fake {
	return &fake{errs: map[string][]error{}, shards: []*fakeShard{
		{id: "0", data: []string{"a", "b"}, closed: true},
		{id: "1", parents: []string{"0"}, data: []string{"c"}, closed: true},
		{id: "2", parents: []string{"0"}, data: []string{"d"}, closed: true},
		{id: "3", parents: []string{"1", "2"}, data: []string{"e", "f"}},
		{id: "4", parents: []string{"gone"}, data: []string{"x"}},
	}}
}

// collect reads until cfg ends it and returns data in order of delivery.
func collect(t *testing.T, f *fake, cfg follow.Config) (got []string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		err = follow.Stream(t.Context(), f, "s", cfg, func(rs []follow.Record) error {
			for _, r := range rs {
				got = append(got, string(r.Data))
			}
			return nil
		})
	})
	return got, err
}

// before fails the test unless all of first come before all of then.
func before(t *testing.T, got []string, first, then string) {
	t.Helper()
	for a := range strings.SplitSeq(first, "") {
		for b := range strings.SplitSeq(then, "") {
			if i, j := slices.Index(got, a), slices.Index(got, b); i < 0 || j < 0 || i > j {
				t.Errorf("%v: %s is not before %s", got, a, b)
			}
		}
	}
}

func TestParentsComeBeforeChildren(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		f := resharded()
		f.quiet = quiet
		got, err := collect(t, f, follow.Config{UntilCaughtUp: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 7 {
			t.Errorf("got %v, want seven records", got)
		}
		before(t, got, "a", "b")
		before(t, got, "ab", "cd")
		before(t, got, "cd", "ef")
	}
}

func TestChildrenMadeWhileReading(t *testing.T) {
	f := &fake{shards: []*fakeShard{{id: "0", data: []string{"old"}}}}
	synctest.Test(t, func(t *testing.T) {
		var got []string
		go func() {
			time.Sleep(10 * time.Second)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.shards[0].data = append(f.shards[0].data, "new")
			f.shards[0].closed = true
			f.shards = append(f.shards, &fakeShard{id: "1", parents: []string{"0"}, data: []string{"child"}})
		}()
		err := follow.Stream(t.Context(), f, "s", follow.Config{From: types.ShardIteratorTypeLatest}, func(rs []follow.Record) error {
			got = append(got, string(rs[0].Data))
			if len(got) == 2 {
				return follow.ErrStop
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"new", "child"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if want := []string{"LATEST 0", "TRIM_HORIZON 1"}; !slices.Equal(f.iterated, want) {
			t.Errorf("iterators %v, want %v", f.iterated, want)
		}
	})
}

func TestLatestSkipsClosedShards(t *testing.T) {
	f := resharded()
	got, err := collect(t, f, follow.Config{From: types.ShardIteratorTypeLatest, UntilCaughtUp: true})
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v; want nothing", got, err)
	}
	slices.Sort(f.iterated)
	if want := []string{"LATEST 3", "LATEST 4"}; !slices.Equal(f.iterated, want) {
		t.Errorf("iterators %v, want %v", f.iterated, want)
	}
}

func TestFailingReads(t *testing.T) {
	down := errors.New("connection refused")
	expired := &types.ExpiredIteratorException{}
	slow := &types.ProvisionedThroughputExceededException{}
	f := resharded()
	f.errs = map[string][]error{"0": {nil, expired, slow}, "3": {down, down, nil, down}}
	var warned []string
	got, err := collect(t, f, follow.Config{UntilCaughtUp: true, Warn: func(id string, err error) { warned = append(warned, id+" "+err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := strings.Split("abcdefx", ""); !slices.Equal(got, want) {
		t.Errorf("got %v, want each record once: %v", got, want)
	}
	if len(warned) != 3 {
		t.Errorf("warnings %v, want one for each of three troubles", warned)
	}
}

func TestGivesUp(t *testing.T) {
	down := errors.New("connection refused")
	for _, tt := range []struct {
		name string
		err  error
		wait time.Duration // until Stream returns, at least
	}{
		{name: "after a minute of trouble", err: down, wait: time.Minute},
		{name: "at once when refused", err: &types.ResourceNotFoundException{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := resharded()
			for range 1000 {
				f.errs["4"] = append(f.errs["4"], tt.err)
			}
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				err := follow.Stream(t.Context(), f, "s", follow.Config{}, func([]follow.Record) error { return nil })
				if !errors.Is(err, tt.err) {
					t.Errorf("error = %v, want %v", err, tt.err)
				}
				if took := time.Since(start); took < tt.wait || took > tt.wait+10*time.Second {
					t.Errorf("gave up after %v, want about %v", took, tt.wait)
				}
			})
		})
	}
}

func TestTakesAggregatesApart(t *testing.T) {
	var b aggregation.Builder
	b.Add(aggregation.Record{PartitionKey: "k1", Data: []byte("one")})
	b.Add(aggregation.Record{PartitionKey: "k2", ExplicitHashKey: "7", Data: []byte("two")})
	blob := string(b.Seal(nil))
	broken := blob[:len(blob)-1] + "!"
	for _, tt := range []struct {
		name string
		data string
		raw  bool
		want []follow.Record
	}{
		{name: "plain", data: "x", want: []follow.Record{{PartitionKey: "pk", Data: []byte("x")}}},
		{name: "aggregate", data: blob, want: []follow.Record{
			{Aggregated: true, PartitionKey: "k1", Data: []byte("one")},
			{Aggregated: true, SubSequenceNumber: 1, PartitionKey: "k2", ExplicitHashKey: "7", Data: []byte("two")},
		}},
		{name: "aggregate, raw", data: blob, raw: true, want: []follow.Record{{PartitionKey: "pk", Data: []byte(blob)}}},
		{name: "damaged aggregate", data: broken, want: []follow.Record{{PartitionKey: "pk", Data: []byte(broken)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{shards: []*fakeShard{{id: "0", data: []string{tt.data}}}}
			synctest.Test(t, func(t *testing.T) {
				var got []follow.Record
				err := follow.Stream(t.Context(), f, "s", follow.Config{UntilCaughtUp: true, Raw: tt.raw}, func(rs []follow.Record) error {
					got = append(got, rs...)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				for i := range tt.want {
					tt.want[i].ShardID, tt.want[i].SequenceNumber = "0", "1"
				}
				if fmt.Sprint(got) != fmt.Sprint(tt.want) {
					t.Errorf("got  %v\nwant %v", got, tt.want)
				}
			})
		})
	}
}

// TestOutOfRange reads a shard with the lower half of the hash keys.
func TestOutOfRange(t *testing.T) {
	const half = "170141183460469231731687303715884105728"
	var b aggregation.Builder
	b.Add(aggregation.Record{PartitionKey: "x", ExplicitHashKey: "5", Data: []byte("in")})
	b.Add(aggregation.Record{PartitionKey: "x", ExplicitHashKey: half, Data: []byte("out")})
	b.Add(aggregation.Record{PartitionKey: "k1", Data: []byte("out, for its MD5 starts with b6")})
	b.Add(aggregation.Record{PartitionKey: "a", Data: []byte("in, for its MD5 starts with 0c")})
	for _, tt := range []struct {
		name, pk string
		keepAll  bool
		want     string
	}{
		{name: "of a producer that puts them again", pk: "a", want: "0 3"},
		{name: "of another", pk: "other", want: "0 1! 2! 3"},
		{name: "all", pk: "a", keepAll: true, want: "0 1! 2! 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{
				pk: tt.pk, keys: &types.HashKeyRange{StartingHashKey: aws.String("0"), EndingHashKey: aws.String("170141183460469231731687303715884105727")},
				shards: []*fakeShard{{id: "0", data: []string{string(b.Seal(nil))}}},
			}
			synctest.Test(t, func(t *testing.T) {
				var got []string
				err := follow.Stream(t.Context(), f, "s", follow.Config{UntilCaughtUp: true, KeepAll: tt.keepAll}, func(rs []follow.Record) error {
					for _, r := range rs {
						mark := ""
						if r.OutOfRange {
							mark = "!"
						}
						got = append(got, fmt.Sprint(r.SubSequenceNumber, mark))
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if s := strings.Join(got, " "); s != tt.want {
					t.Errorf("got %s, want %s", s, tt.want)
				}
			})
		})
	}
}
