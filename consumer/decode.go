package consumer

import (
	"slices"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/blockrec"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
)

// recordOverhead is charged for a record besides its data and key: what the
// SDK and this package keep for it.
const recordOverhead = 256

// aggregateKey is the partition key under which the official producer, and
// this project's, put aggregated records.
const aggregateKey = "a"

// framedAtOnce is how many records are looked at together for the frame of an
// aggregated record, so that their checksums can be computed together.
const framedAtOnce = 32

// decoder turns Kinesis records of one shard into user records. It belongs to
// the shard's reader.
type decoder struct {
	shard  *Shard
	rng    hashkey.Range
	policy RangePolicy
	stats  *decodeStats

	// last is the place of the last record that was let through, or the
	// checkpoint at the start. What does not lie behind it is dropped.
	last Checkpoint

	perRecord int // user records to a Kinesis record, of the last batch

	blocks *blockrec.Decoder
	hook   Decoder // nil for none

	// marks, unless nil, know the stamps of what came, up to the last record.
	// met and expanded tell of the last batch: the stamped records, and the
	// memory of what was compressed.
	marks    *aggregation.Marks
	met      []met
	expanded int64
	opened   bool // a block, in the present Kinesis record
	reader   *blockrec.Reader

	// For the walk over one aggregated record, so that it needs no closure.
	common  Record // what the user records of one Kinesis record share
	portion *portion
	records []Record
	sub     int64 // of the last user record met
	from    int64 // user records up to this index are dropped
	filter  bool  // drop what is out of range
	outside bool  // one was out of range

	// The last key that was hashed: many neighbours have the same.
	memoKey  string
	memoHash hashkey.Key

	yield func(blockrec.Index, aggregation.Record, *aggregation.Stamp) bool
}

// decodeStats is what decoders count.
type decodeStats struct {
	kinesisRecords, userRecords, bytes   atomic.Int64
	outOfRangeDropped, outOfRangeKept    atomic.Int64
	aggregatesDropped, corruptAggregates atomic.Int64
	repeated, duplicates, undecoded      atomic.Int64
}

func newDecoder(shard *Shard, start Checkpoint, policy RangePolicy, stats *decodeStats) *decoder {
	d := &decoder{shard: shard, rng: hashkey.All, policy: policy, stats: stats, perRecord: 1}
	if first, err := hashkey.Parse(shard.StartingHashKey); err == nil {
		if last, err := hashkey.Parse(shard.EndingHashKey); err == nil {
			d.rng = hashkey.Range{Start: first, End: last}
		}
	}
	if !start.IsSentinel() {
		d.last = start
	}
	d.yield = d.user
	return d
}

// batch decodes what one read has brought. next, unless it is "", is a number
// behind it and before all that follows: the place of the batch's end, which so
// moves on a shard that nothing is put into.
func (d *decoder) batch(in []types.Record, next string) *portion {
	p := new(portion)
	d.portion = p
	d.met, d.expanded = nil, 0
	if len(in) > 0 {
		// A little more than last time, so that the slice seldom grows.
		d.records = make([]Record, 0, len(in)*d.perRecord+len(in)/8)
	}
	var bytes, repeated int64
	var framed [framedAtOnce]bool
	for i := range in {
		r := &in[i]
		if i%framedAtOnce == 0 {
			var blobs [framedAtOnce][]byte
			n := min(framedAtOnce, len(in)-i)
			for j := range n {
				blobs[j] = in[i+j].Data
			}
			aggregation.Framed(framed[:n], blobs[:n])
		}
		seq := aws.ToString(r.SequenceNumber)
		d.from = -1
		if d.last.SequenceNumber != "" {
			switch c := seqno.Compare(seq, d.last.SequenceNumber); {
			case c < 0:
				repeated++
				continue
			case c == 0:
				// The checkpoint may lie inside this aggregated record.
				d.from = d.last.SubSequenceNumber
			}
		}
		bytes += int64(len(r.Data))
		d.one(r, seq, framed[i%framedAtOnce])
		d.last = Checkpoint{SequenceNumber: seq, SubSequenceNumber: max(d.sub, d.from)}
		if n := len(d.records); cap(d.records)-n < n/(i+1) {
			// More than last time: make room for the rest at once, not by doubling.
			rest := (n/(i+1) + 1) * (len(in) - i - 1)
			d.records = slices.Grow(d.records, rest+rest/8)
		}
	}
	if next != "" && (d.last.SequenceNumber == "" || seqno.Compare(next, d.last.SequenceNumber) > 0) {
		d.last = Checkpoint{SequenceNumber: next}
	}
	p.records, p.end = d.records, d.last
	if len(in) > 0 {
		d.perRecord = max(1, (len(d.records)+len(in)-1)/len(in))
	}
	d.records, d.portion = nil, nil
	d.stats.kinesisRecords.Add(int64(len(in)))
	d.stats.userRecords.Add(int64(len(p.records)))
	d.stats.bytes.Add(bytes)
	d.stats.repeated.Add(repeated)
	return p
}

// one appends the user records of one Kinesis record and leaves the
// sub-sequence number of its last one in d.sub. framed tells that it has the frame
// of an aggregated record.
func (d *decoder) one(r *types.Record, seq string, framed bool) {
	d.common = Record{
		Data:           r.Data,
		PartitionKey:   aws.ToString(r.PartitionKey),
		SequenceNumber: seq,
		Shard:          d.shard,
		of:             d.portion,
		Encrypted:      r.EncryptionType == types.EncryptionTypeKms,
	}
	if r.ApproximateArrivalTimestamp != nil {
		d.common.ApproximateArrivalTime = *r.ApproximateArrivalTimestamp
	}
	d.sub, d.outside = 0, false
	d.filter = d.policy == RangeDropRecord || d.policy == RangeAuto && d.common.PartitionKey == aggregateKey
	mark := len(d.records)

	var ok bool
	var err error
	if framed {
		if d.reader == nil {
			d.reader = blockrec.NewReader(d.blocks)
		}
		ok, err = d.reader.WalkFramed(r.Data, d.yield)
	}
	if d.opened {
		// What was in the block belongs to the processor now.
		d.reader, d.opened = nil, false
	}
	switch {
	case err != nil:
		// The frame fits and the inside does not: whoever wrote it may know
		// what it is, so it is handed on as it is.
		d.stats.corruptAggregates.Add(1)
		d.records, d.sub = d.records[:mark], 0
		fallthrough
	case !ok:
		if d.from < 0 {
			d.open(d.next())
		}
	case d.outside && d.policy == RangeDropAggregate:
		d.stats.aggregatesDropped.Add(1)
		d.records = d.records[:mark]
	}
}

// user takes one user record of an aggregated record.
func (d *decoder) user(i blockrec.Index, u aggregation.Record, s *aggregation.Stamp) bool {
	d.sub = int64(i.User)
	if i.Block >= 0 {
		d.opened = true
		d.expanded += recordOverhead + int64(len(u.Data)+len(u.PartitionKey)+len(u.ExplicitHashKey))
	}
	// What is acknowledged leaves its mark all the same: marks stand at the
	// beginning of an aggregated record.
	inside, duplicate := d.admit(u, s)
	if d.sub <= d.from {
		return true
	}
	if duplicate {
		d.stats.duplicates.Add(1)
		return true
	}
	if !inside {
		d.outside = true
		if d.filter {
			d.stats.outOfRangeDropped.Add(1)
			return true
		}
		if d.policy != RangeDropAggregate {
			d.stats.outOfRangeKept.Add(1)
		}
	}
	r := d.next()
	r.Data, r.PartitionKey, r.ExplicitHashKey = u.Data, u.PartitionKey, u.ExplicitHashKey
	r.SubSequenceNumber, r.Aggregated, r.OutOfRange = d.sub, true, !inside
	r.BlockIndex = max(i.Block, 0)
	d.open(r)
	return true
}

// next appends a record to the portion, with what the user records of the Kinesis
// record share. It is filled in place, because a Record takes a while to copy.
func (d *decoder) next() *Record {
	d.records = append(d.records, d.common)
	r := &d.records[len(d.records)-1]
	r.index = int32(len(d.records) - 1)
	return r
}

// open has the hook decode a record, if there is one.
func (d *decoder) open(r *Record) {
	if d.hook == nil {
		return
	}
	data, err := d.hook.call(r)
	if err != nil {
		d.stats.undecoded.Add(1)
		r.DecodeErr = err
		return
	}
	r.Data = data
}

// admit reports whether a user record belongs to the shard, and if so whether it
// is a copy of one that came before.
func (d *decoder) admit(u aggregation.Record, s *aggregation.Stamp) (inside, duplicate bool) {
	stamped := d.marks != nil && s != nil
	if d.rng == hashkey.All && !stamped {
		return true, false
	}
	k, ok := d.hash(u)
	if !ok || !d.rng.Contains(k) {
		return false, false
	}
	if !stamped {
		return true, false
	}
	at := d.common.ApproximateArrivalTime
	d.met = append(d.met, met{d.common.SequenceNumber, *s, k, at})
	return true, d.marks.Admit(s, k, at) == aggregation.Duplicate
}

// hash returns the hash key of a user record, unless it has an explicit one that
// is none.
func (d *decoder) hash(u aggregation.Record) (k hashkey.Key, ok bool) {
	if u.ExplicitHashKey != "" {
		k, err := hashkey.Parse(u.ExplicitHashKey)
		return k, err == nil
	}
	if d.memoKey == "" || u.PartitionKey != d.memoKey {
		d.memoKey, d.memoHash = u.PartitionKey, hashkey.Of(u.PartitionKey)
	}
	return d.memoHash, true
}

// A Decoder turns what is stored into a user record's data. It may return a part
// of r.Data, or other memory; it must not change r, and may be called at the same
// time for several shards. A record that it returns an error for is delivered as
// it came, with the error in Record.DecodeErr: what becomes of it is for the
// processor to say.
type Decoder func(r *Record) ([]byte, error)

// call calls the hook. A panic is an error.
func (f Decoder) call(r *Record) (data []byte, err error) {
	err = guard(func() error {
		data, err = f(r)
		return err
	})
	return data, err
}
