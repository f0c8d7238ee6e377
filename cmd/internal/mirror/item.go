package mirror

import (
	"hash/maphash"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// recordOverhead is charged for a record besides its data and key: what the
// SDK and this package keep for it.
const recordOverhead = 256

// maxInnerKeys is how many partition keys of one aggregated record are kept. One
// with more is sent with nothing beside it.
const maxInnerKeys = 4096

// An item is a record on its way from a source shard to the target.
type item struct {
	seq     string
	key     *string // partition key; nil where the source has none
	place   *string // explicit hash key; nil where the partition key decides
	data    []byte
	arrival time.Time

	// What orders it against others: a sum of its partition key, those of all
	// its user records if it is aggregated, or everything.
	sum     uint64
	sums    []uint64
	barrier bool

	aggregated bool
	inner      hashkey.Range // of the user records that readers of the source see

	stored bool // acknowledged by the target
}

// size is what the record counts in a request: data and partition key.
func (it *item) size() int { return len(it.data) + len(aws.ToString(it.key)) }

// cost is what the record takes of the memory.
func (it *item) cost() int64 { return int64(it.size() + recordOverhead + 8*len(it.sums)) }

// keys returns sums of all partition keys in the record.
func (it *item) keys() []uint64 {
	if it.sums != nil {
		return it.sums
	}
	return []uint64{it.sum}
}

// A placer makes items of the records of one source shard, and says where in
// the hash space of the target each belongs.
type placer struct {
	keys hashkey.Range // of the source shard
	// free says that the source spreads its records without regard to keys.
	// The target then places them by their keys alone.
	free bool
	// need says that the target takes no record without a partition key.
	need bool
}

// seed is that of the sums of keys. They are kept nowhere.
var seed = maphash.MakeSeed()

// item returns the item of a record.
func (p *placer) item(r *types.Record) item {
	it := item{
		seq: aws.ToString(r.SequenceNumber), key: r.PartitionKey, data: r.Data,
		arrival: aws.ToTime(r.ApproximateArrivalTimestamp),
	}
	if it.data == nil {
		it.data = []byte{} // the SDK takes no record without data
	}
	if it.key == nil && p.need {
		// The number is the record's own, and sums of such are spread evenly.
		it.key = r.SequenceNumber
	}
	it.sum = maphash.String(seed, aws.ToString(it.key))
	if aggregation.IsAggregated(it.data) && p.aggregate(&it) || p.free || it.key == nil {
		return it
	}
	if k := hashkey.Of(*it.key); !p.keys.Contains(k) {
		it.place = aws.String(Within(p.keys, k).String())
	}
	return it
}

// aggregate completes the item of an aggregated record. It reports false if the
// record cannot be read, and then leaves it as an ordinary one.
func (p *placer) aggregate(it *item) bool {
	var (
		first       *hashkey.Key
		seen        map[uint64]struct{}
		low, high   hashkey.Key
		sums, prior = []uint64(nil), ""
		many        bool
	)
	ok, err := aggregation.Walk(it.data, func(i int, r aggregation.Record) bool {
		if i == 0 || r.PartitionKey != prior { // neighbours often share it
			prior = r.PartitionKey
			sum := maphash.String(seed, r.PartitionKey)
			if _, known := seen[sum]; !known && !many {
				if seen == nil {
					seen = make(map[uint64]struct{})
				}
				seen[sum] = struct{}{}
				sums = append(sums, sum)
				many = len(sums) > maxInnerKeys
			}
		}
		k, err := hashkey.Key{}, error(nil)
		if r.ExplicitHashKey != "" {
			k, err = hashkey.Parse(r.ExplicitHashKey)
		}
		if r.ExplicitHashKey == "" || err != nil {
			k = hashkey.Of(r.PartitionKey)
		}
		if !p.keys.Contains(k) {
			return true // nobody who filters sees it in the source either
		}
		if first == nil {
			first, low, high = &k, k, k
		}
		if k.Less(low) {
			low = k
		}
		if high.Less(k) {
			high = k
		}
		return true
	})
	if !ok || err != nil {
		return false
	}
	it.sums, it.barrier = sums, many
	if many {
		it.sums = nil
	}
	switch {
	case p.free || it.key == nil:
	case first != nil:
		// Its own partition key says nothing about where its user records belong.
		it.aggregated, it.inner = true, hashkey.Range{Start: low, End: high}
		it.place = aws.String(first.String())
	default:
		if k := hashkey.Of(*it.key); !p.keys.Contains(k) {
			it.place = aws.String(Within(p.keys, k).String())
		}
	}
	return true
}

// Within returns a hash key in r that k alone decides: the keys of the whole
// space are spread evenly over r.
func Within(r hashkey.Range, k hashkey.Key) hashkey.Key {
	width := sub(r.End, r.Start) // of the range, less one
	at := mulHigh(width, k)
	return add(r.Start, at)
}
