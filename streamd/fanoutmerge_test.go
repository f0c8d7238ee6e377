package streamd_test

import (
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

var mergeSeeds = flag.Uint64("merge-seeds", 4, "how many random histories with merges are read by subscriptions")

// lineage is a reader of all shards that begins a child only when each of its
// parents is read to the end.
type lineage struct {
	*rig
	consumer *string
	rnd      *rand.Rand
	open     map[int]*subscribed
	from     map[int]*types.StartingPosition // of the shards that may be read
	done     map[int]bool
	got      map[int][]string
}

func (l *lineage) drop(shard int) {
	if s := l.open[shard]; s != nil {
		_ = s.stream.Close()
		delete(l.open, shard)
		l.Advance(5 * time.Second)
	}
}

// read takes one event of a shard.
func (l *lineage) read(shard int) {
	l.t.Helper()
	s := l.open[shard]
	if s == nil {
		s = l.subscribe(l.consumer, shard, l.from[shard])
		l.open[shard] = s
	}
	e := s.next()
	if e == nil { // its time was over
		if err := s.stream.Err(); err != nil {
			l.t.Fatalf("shard %d ended: %v", shard, err)
		}
		l.drop(shard)
		return
	}
	for _, rec := range e.Records {
		l.got[shard] = append(l.got[shard], string(rec.Data))
	}
	if e.ContinuationSequenceNumber != nil {
		kind := []types.ShardIteratorType{types.ShardIteratorTypeAtSequenceNumber, types.ShardIteratorTypeAfterSequenceNumber}[l.rnd.IntN(2)]
		l.from[shard] = startAt(kind, fromNumber(*e.ContinuationSequenceNumber))
		return
	}
	l.drop(shard)
	delete(l.from, shard)
	l.done[shard] = true
	for _, child := range e.ChildShards {
		ready := len(child.ParentShards) > 0
		for _, parent := range child.ParentShards {
			ready = ready && l.done[index(l.t, parent)]
		}
		id := index(l.t, *child.ShardId)
		if l.from[id] != nil || l.done[id] {
			l.t.Fatalf("shard %d was begun before its parent %d ended", id, shard)
		}
		if ready {
			l.from[id] = startAt(types.ShardIteratorTypeTrimHorizon)
		}
	}
}

func index(t *testing.T, shard string) (i int) {
	t.Helper()
	if _, err := fmt.Sscanf(shard, "shardId-%d", &i); err != nil {
		t.Fatal(err)
	}
	return i
}

// TestSubscriptionsDeliverAllThroughMerges splits and merges at random, and
// reads each shard through subscriptions that are dropped and go on.
func TestSubscriptionsDeliverAllThroughMerges(t *testing.T) {
	for seed := range *mergeSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 2)
				rnd := rand.New(rand.NewPCG(seed, 2))
				l := &lineage{
					rig: r, consumer: r.register("c").ConsumerARN, rnd: rnd, open: map[int]*subscribed{}, from: map[int]*types.StartingPosition{},
					done: map[int]bool{}, got: map[int][]string{},
				}
				for i := range 2 {
					l.from[i] = startAt(types.ShardIteratorTypeTrimHorizon)
				}
				put := map[int][]string{}
				total, merges := 0, 0
				for step := range 120 {
					all := r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})
					var live []types.Shard
					for _, sh := range all {
						if sh.SequenceNumberRange.EndingSequenceNumber == nil {
							live = append(live, sh)
						}
					}
					one := index(t, *live[rnd.IntN(len(live))].ShardId)
					switch n := rnd.IntN(12); {
					case n < 5:
						text := fmt.Sprint(step)
						r.put(one, text)
						put[one] = append(put[one], text)
						total++
					case n == 5 && len(live) < 5:
						r.split(one)
					case n == 6 && len(live) > 1:
						low := live[0]
						for _, sh := range live { // the one that begins at zero has a neighbour above
							if *sh.HashKeyRange.StartingHashKey == "0" {
								low = sh
							}
						}
						for _, sh := range live {
							if adjacent(*low.HashKeyRange.EndingHashKey, *sh.HashKeyRange.StartingHashKey) {
								must[*kinesis.MergeShardsOutput](t)(r.client.MergeShards(t.Context(), &kinesis.MergeShardsInput{
									StreamName: &r.stream, ShardToMerge: low.ShardId, AdjacentShardToMerge: sh.ShardId,
								}))
								merges++
								break
							}
						}
					case n == 7:
						for shard := range l.from {
							l.drop(shard)
						}
					default:
						if ready := l.ready(); len(ready) > 0 {
							l.read(ready[rnd.IntN(len(ready))])
						}
					}
				}
				for left := 1; left > 0; {
					left = total
					for _, texts := range l.got {
						left -= len(texts)
					}
					if left > 0 {
						for _, shard := range l.ready() {
							l.read(shard)
						}
					}
				}
				for shard, want := range put {
					if !slices.Equal(l.got[shard], want) {
						t.Errorf("shard %d: got %q, want %q", shard, l.got[shard], want)
					}
				}
				if merges == 0 {
					t.Errorf("seed %d merged nothing", seed)
				}
				for shard := range l.from {
					l.drop(shard)
				}
				t.Logf("%d records, %d merges, %d shards read to the end", total, merges, len(l.done))
			})
		})
	}
}

func (l *lineage) ready() (all []int) {
	for shard := range l.from {
		all = append(all, shard)
	}
	slices.Sort(all)
	return all
}

func adjacent(end, start string) bool {
	var next big.Int
	next.SetString(end, 10)
	return next.Add(&next, big.NewInt(1)).String() == start
}
