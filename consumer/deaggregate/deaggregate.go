// Package deaggregate takes aggregated records apart: Kinesis records that
// hold many user records, as the Kinesis Producer Library and package producer
// write them. It is for programs that receive Kinesis records without package
// consumer, such as Lambda functions:
//
//	for user := range deaggregate.Records(record.PartitionKey, record.Data) {
//		handle(user.PartitionKey, user.Data)
//	}
package deaggregate

import (
	"fmt"
	"iter"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// Record is a user record. Its keys and data alias the Kinesis record's data.
type Record struct {
	PartitionKey    string
	ExplicitHashKey string // decimal; "" if none
	Data            []byte

	// SubSequenceNumber is the record's index in the aggregated record, 0 if
	// it was not aggregated.
	SubSequenceNumber int64

	// Aggregated tells that the record came in an aggregated record.
	Aggregated bool
}

// InRange reports whether the record belongs to the shard with the given range
// of hash keys, decimal and inclusive. A user record that was aggregated
// before a reshard may be read from a shard that it does not belong to; the
// producer that wrote it under the partition key "a" puts it again to the
// right one.
func (r Record) InRange(startingHashKey, endingHashKey string) (bool, error) {
	first, err := hashkey.Parse(startingHashKey)
	if err != nil {
		return false, fmt.Errorf("deaggregate: starting hash key: %w", err)
	}
	last, err := hashkey.Parse(endingHashKey)
	if err != nil {
		return false, fmt.Errorf("deaggregate: ending hash key: %w", err)
	}
	k := hashkey.Of(r.PartitionKey)
	if r.ExplicitHashKey != "" {
		if k, err = hashkey.Parse(r.ExplicitHashKey); err != nil {
			return false, fmt.Errorf("deaggregate: explicit hash key: %w", err)
		}
	}
	return hashkey.Range{Start: first, End: last}.Contains(k), nil
}

// IsAggregated reports whether data is an aggregated record by its frame. It
// allocates nothing.
func IsAggregated(data []byte) bool { return aggregation.IsAggregated(data) }

// Append appends the user records of one Kinesis record to dst: those inside
// it if it is aggregated, otherwise itself, under partitionKey. An aggregated
// record that cannot be taken apart is appended as it is. It allocates only to
// grow dst.
func Append(dst []Record, partitionKey string, data []byte) []Record {
	if !aggregation.IsAggregated(data) {
		return append(dst, Record{PartitionKey: partitionKey, Data: data})
	}
	return appendFramed(dst, partitionKey, data)
}

// KinesisRecord is what AppendAll takes of a Kinesis record.
type KinesisRecord struct {
	PartitionKey string
	Data         []byte
}

// AppendAll appends the user records of several Kinesis records to dst, as Append
// does those of one, and to ends, for each of them, the length of dst behind its
// user records. For aggregated records of more than a kilobyte it is the faster
// way: their checksums, which take most of the time, are computed four at once. It
// allocates only to grow dst and ends.
func AppendAll(dst []Record, ends []int, in []KinesisRecord) ([]Record, []int) {
	const atOnce = 32
	var (
		blobs  [atOnce][]byte
		framed [atOnce]bool
	)
	for len(in) > 0 {
		n := min(atOnce, len(in))
		for i := range n {
			blobs[i] = in[i].Data
		}
		aggregation.Framed(framed[:n], blobs[:n])
		for i := range n {
			if framed[i] {
				dst = appendFramed(dst, in[i].PartitionKey, in[i].Data)
			} else {
				dst = append(dst, Record{PartitionKey: in[i].PartitionKey, Data: in[i].Data})
			}
			ends = append(ends, len(dst))
		}
		in = in[n:]
	}
	return dst, ends
}

// appendFramed is Append for a record with the frame of an aggregated one.
func appendFramed(dst []Record, partitionKey string, data []byte) []Record {
	mark := len(dst)
	ok, err := aggregation.WalkFramed(data, func(i int, r aggregation.Record) bool {
		dst = append(dst, Record{r.PartitionKey, r.ExplicitHashKey, r.Data, int64(i), true})
		return true
	})
	if !ok || err != nil {
		return append(dst[:mark], Record{PartitionKey: partitionKey, Data: data})
	}
	return dst
}

// Records returns the user records of one Kinesis record, in order, as
// [Append] would append them.
func Records(partitionKey string, data []byte) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, r := range Append(nil, partitionKey, data) {
			if !yield(r) {
				return
			}
		}
	}
}
