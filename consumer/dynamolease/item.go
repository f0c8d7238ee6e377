package dynamolease

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
)

// The attributes of a lease. An attribute without a value is absent: DynamoDB
// has no empty sets, and the official library knows no empty owner.
//
// Source: amazon-kinesis-client, DynamoDBLeaseSerializer and
// DynamoDBMultiStreamLeaseSerializer; those with g_ are ours, and
// attrParentsOld is what this package once took for the name of attrParents.
const (
	attrKey             = "leaseKey"
	attrOwner           = "leaseOwner"
	attrCounter         = "leaseCounter"
	attrSwitches        = "ownerSwitchesSinceCheckpoint"
	attrCheckpoint      = "checkpoint"
	attrSub             = "checkpointSubSequenceNumber"
	attrPending         = "pendingCheckpoint"
	attrPendingSub      = "pendingCheckpointSubSequenceNumber"
	attrPendingState    = "pendingCheckpointState"
	attrParents         = "parentShardId" // a set for all its name
	attrParentsOld      = "parentShardIds"
	attrChildren        = "childShardIds"
	attrStartingHashKey = "startingHashKey"
	attrEndingHashKey   = "endingHashKey"
	attrCheckpointOwner = "checkpointOwner"
	attrThroughput      = "throughputKBps"
	attrEntityType      = "entityType"
	attrStream          = "streamName" // the stream's identity for all its name; with several streams only
	attrShard           = "shardId"    // likewise
	attrIncarnation     = "g_inc"
	attrLatestSince     = "g_latest_since" // milliseconds since the epoch
	attrMarks           = "g_marks"
	attrBusy            = "g_busy"
)

type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// fraction keeps to digits and a point, which every reader of numbers
// understands.
func fraction(f float64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatFloat(f, 'f', -1, 64)}
}

func keyOf(key string) item { return item{attrKey: text(key)} }

// encode returns the whole item of a lease.
func encode(l consumer.Lease) item {
	it := item{
		attrKey:        text(l.Key),
		attrCounter:    number(l.Counter),
		attrSwitches:   number(l.OwnerSwitches),
		attrCheckpoint: text(l.Checkpoint.SequenceNumber),
		attrSub:        number(l.Checkpoint.SubSequenceNumber),
	}
	optional := func(name, value string) {
		if value != "" {
			it[name] = text(value)
		}
	}
	optional(attrOwner, l.Owner)
	optional(attrCheckpointOwner, l.CheckpointOwner)
	optional(attrIncarnation, l.Incarnation)
	if stream, shard := consumer.SplitLeaseKey(l.Key); stream != "" {
		it[attrStream], it[attrShard] = text(stream), text(shard)
	}
	if l.StartingHashKey != "" && l.EndingHashKey != "" {
		it[attrStartingHashKey], it[attrEndingHashKey] = text(l.StartingHashKey), text(l.EndingHashKey)
	}
	if len(l.Parents) > 0 {
		it[attrParents] = shards(l.Parents)
	}
	if len(l.Children) > 0 {
		it[attrChildren] = shards(l.Children)
	}
	if !l.LatestSince.IsZero() {
		it[attrLatestSince] = number(l.LatestSince.UnixMilli())
	}
	if l.ThroughputKBps != 0 {
		it[attrThroughput] = fraction(l.ThroughputKBps)
	}
	if l.Busy != 0 {
		it[attrBusy] = fraction(l.Busy)
	}
	if l.Pending != nil {
		it[attrPending], it[attrPendingSub] = text(l.Pending.Checkpoint.SequenceNumber), number(l.Pending.Checkpoint.SubSequenceNumber)
		if len(l.Pending.State) > 0 {
			it[attrPendingState] = &types.AttributeValueMemberB{Value: l.Pending.State}
		}
	}
	if len(l.Marks) > 0 {
		it[attrMarks] = &types.AttributeValueMemberB{Value: l.Marks}
	}
	return it
}

// shards returns the set of the shards of leases, of which the stream is that of
// the item.
func shards(keys []string) types.AttributeValue {
	ids := make([]string, len(keys))
	for i, key := range keys {
		_, ids[i] = consumer.SplitLeaseKey(key)
	}
	return &types.AttributeValueMemberSS{Value: ids}
}

// isLease reports whether a row is a lease. The official library keeps rows of
// other kinds in the table from 3.5 on; they say so, or have no checkpoint.
func isLease(it item) bool {
	if kind, ok := it[attrEntityType].(*types.AttributeValueMemberS); ok && kind.Value != "LEASE" {
		return false
	}
	_, ok := it[attrCheckpoint]
	return ok
}

// decode reads a lease. Attributes that it does not know are left alone.
func decode(it item) consumer.Lease {
	d := decoder{it: it}
	l := consumer.Lease{
		Key:             d.text(attrKey),
		Owner:           d.text(attrOwner),
		Counter:         d.number(attrCounter),
		Checkpoint:      consumer.Checkpoint{SequenceNumber: d.text(attrCheckpoint), SubSequenceNumber: d.number(attrSub)},
		OwnerSwitches:   d.number(attrSwitches),
		Parents:         d.set(attrParents),
		Children:        d.set(attrChildren),
		StartingHashKey: d.text(attrStartingHashKey),
		EndingHashKey:   d.text(attrEndingHashKey),
		CheckpointOwner: d.text(attrCheckpointOwner),
		Incarnation:     d.text(attrIncarnation),
	}
	if l.Parents == nil {
		l.Parents = d.set(attrParentsOld)
	}
	if stream, _ := consumer.SplitLeaseKey(l.Key); stream != "" {
		for _, ids := range [][]string{l.Parents, l.Children} { // made by decoder.set
			for i, id := range ids {
				ids[i] = consumer.LeaseKey(stream, id)
			}
		}
	}
	// Nothing depends on them, so nothing is lost with one that is broken.
	for name, f := range map[string]*float64{attrThroughput: &l.ThroughputKBps, attrBusy: &l.Busy} {
		if v, ok := it[name].(*types.AttributeValueMemberN); ok {
			*f, _ = strconv.ParseFloat(v.Value, 64)
		}
	}
	if seq := d.text(attrPending); seq != "" {
		l.Pending = &consumer.PendingCheckpoint{Checkpoint: consumer.Checkpoint{SequenceNumber: seq, SubSequenceNumber: d.number(attrPendingSub)}}
		// The official library writes a number when it creates a lease with a
		// state, which is a fault of its own.
		if b, ok := it[attrPendingState].(*types.AttributeValueMemberB); ok && len(b.Value) > 0 {
			l.Pending.State = b.Value
		}
	}
	// Marks of another type are not ours, and nobody needs any.
	if b, ok := it[attrMarks].(*types.AttributeValueMemberB); ok && len(b.Value) > 0 {
		l.Marks = b.Value
	}
	if ms := d.number(attrLatestSince); ms != 0 {
		l.LatestSince = time.UnixMilli(ms)
	}
	if d.err == nil {
		d.err = l.Checkpoint.Validate()
	}
	if d.err != nil {
		l.Invalid = fmt.Errorf("dynamolease: lease %q: %w; correct or delete the item", l.Key, d.err)
	}
	return l
}

// decoder keeps the first error of reading an item.
type decoder struct {
	it  item
	err error
}

func (d *decoder) fail(name string, v types.AttributeValue) {
	if d.err == nil {
		d.err = fmt.Errorf("attribute %s has the wrong type or value (%T)", name, v)
	}
}

func (d *decoder) text(name string) string {
	switch v := d.it[name].(type) {
	case nil, *types.AttributeValueMemberNULL:
		return ""
	case *types.AttributeValueMemberS:
		return v.Value
	default:
		d.fail(name, v)
		return ""
	}
}

func (d *decoder) number(name string) int64 {
	switch v := d.it[name].(type) {
	case nil, *types.AttributeValueMemberNULL:
		return 0
	case *types.AttributeValueMemberN:
		n, err := strconv.ParseInt(v.Value, 10, 64)
		if err != nil {
			d.fail(name, v)
		}
		return n
	default:
		d.fail(name, v)
		return 0
	}
}

func (d *decoder) set(name string) []string {
	switch v := d.it[name].(type) {
	case nil, *types.AttributeValueMemberNULL:
		return nil
	case *types.AttributeValueMemberSS:
		return slices.Sorted(slices.Values(v.Value)) // sets have no order
	default:
		d.fail(name, v)
		return nil
	}
}
