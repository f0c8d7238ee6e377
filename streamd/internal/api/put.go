package api

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

const (
	// maxPutBytes is the most that one PutRecords request carries, data and
	// partition keys together.
	maxPutBytes = 10 << 20
	maxPutCount = 500
	maxPutBody  = 16 << 20
	maxDataSize = 10485760
)

// partitionKeyRules are the model's. A key is required where records are
// distributed by their keys: the tables of the two operations say so, and those
// behind Relaxed do not.
var (
	partitionKeyRules = shape.Length(1, 256)
	dataRules         = shape.Length(0, maxDataSize).Req()
)

type putRecordInput struct {
	streamRef
	Data            shape.Blob
	PartitionKey    shape.String
	ExplicitHashKey shape.String
	Ordering        shape.String
	DryRun          shape.Bool

	stored putResult // the answer, kept with the input to be reused with it
	rec    [1]store.Record
	places [1]store.Stored

	incoming [1]Incoming
}

var (
	putRecordShape        = putRecordMembers(partitionKeyRules.Req())
	putRecordRelaxedShape = putRecordMembers(partitionKeyRules)
)

func putRecordMembers(key shape.Rules) shape.Struct {
	return append(streamMembers(func(in *putRecordInput) *streamRef { return &in.streamRef },
		shape.Of("Data", func(in *putRecordInput) *shape.Blob { return &in.Data }, dataRules),
		shape.Of("PartitionKey", func(in *putRecordInput) *shape.String { return &in.PartitionKey }, key),
		shape.Of("ExplicitHashKey", func(in *putRecordInput) *shape.String { return &in.ExplicitHashKey }, hashKeyRules),
		shape.Of("SequenceNumberForOrdering", func(in *putRecordInput) *shape.String { return &in.Ordering }, sequenceRules)),
		shape.Of("DryRun", func(in *putRecordInput) *shape.Bool { return &in.DryRun }, shape.Rules{}))
}

func (a *API) putRecordOperation() *shape.Operation {
	pool := sync.Pool{New: func() any { return new(putRecordInput) }}
	op := operation("PutRecord", putRecordShape, a.putRecord)
	op.Relaxed = func(scope arn.Scope, in any) shape.Struct {
		return a.relaxed(scope, &in.(*putRecordInput).streamRef, putRecordRelaxedShape)
	}
	op.MaxBody = maxPutBody
	op.New = pool.Get
	op.Free = func(in any) {
		*in.(*putRecordInput) = putRecordInput{}
		pool.Put(in)
	}
	return op
}

func (a *API) putRecord(ctx context.Context, scope arn.Scope, in *putRecordInput) (shape.Output, error) {
	s, err := a.writable(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	if err := checkRecordSize(s, len(in.Data.V), len(in.PartitionKey.V), -1); err != nil {
		return nil, err
	}
	to := routeOf(s)
	hash, err := to.hash(&in.PartitionKey, &in.ExplicitHashKey, -1)
	if err != nil {
		return nil, err
	}
	if in.Ordering.Set {
		if !a.assigned(s, in.Ordering.V) {
			return nil, invalidArgument("ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s under account %s is invalid.", in.Ordering.V, s.Key.Name, s.Key.Account)
		}
	}
	if in.DryRun.V {
		return nil, dryRun()
	}
	if a.cfg.Admit != nil {
		in.incoming[0] = Incoming{Shard: s.Route(hash), Size: len(in.Data.V) + len(in.PartitionKey.V)}
		if a.cfg.Admit(ctx, s, in.incoming[:]) > 0 {
			return nil, in.incoming[0].Refused
		}
	}
	in.rec[0] = store.Record{PartitionKey: in.PartitionKey.V, Data: in.Data.V, HashKey: hash}
	stored, err := a.put(ctx, s, in.rec[:], in.places[:])
	if err != nil {
		return nil, err
	}
	a.cfg.Meter.Put(s, Put{Records: in.rec[:], Stored: stored})
	in.stored = putResult{Stored: stored[0], encrypted: s.KeyID != ""}
	return &in.stored, nil
}

// assigned reports whether a sequence number may have been given to a record of
// s by now. The numbers of a shard begin at its creation second, which lies in
// the future when a stream is resharded several times within a second.
func (a *API) assigned(s *state.Stream, number string) bool {
	n, err := seqno.Parse(number)
	if err != nil {
		return false
	}
	now := a.engine.Now().Unix()
	if int(n.Shard) < len(s.Shards) {
		now = max(now, s.Shards[n.Shard].CreateSecond)
	}
	return n.Time <= now
}

type putRecordsEntry struct {
	Data            shape.Blob
	ExplicitHashKey shape.String
	PartitionKey    shape.String
}

type putRecordsInput struct {
	streamRef
	Records shape.List[putRecordsEntry]
	DryRun  shape.Bool

	recs   []store.Record // reused with the input
	kept   []store.Record // what of recs is admitted, if not all is
	coming []Incoming     // for each of recs, if there are limits
	places []store.Stored // of the records that were admitted
	stored putResults
}

var (
	putRecordsShape        = putRecordsMembers(partitionKeyRules.Req())
	putRecordsRelaxedShape = putRecordsMembers(partitionKeyRules)
)

func putRecordsMembers(key shape.Rules) shape.Struct {
	return shape.Struct{
		shape.Of("Records", func(in *putRecordsInput) *shape.List[putRecordsEntry] { return &in.Records }, shape.Length(1, maxPutCount).Req()).With(shape.Struct{
			shape.Of("Data", func(in *putRecordsEntry) *shape.Blob { return &in.Data }, dataRules),
			shape.Of("ExplicitHashKey", func(in *putRecordsEntry) *shape.String { return &in.ExplicitHashKey }, hashKeyRules),
			shape.Of("PartitionKey", func(in *putRecordsEntry) *shape.String { return &in.PartitionKey }, key),
		}),
		shape.Of("StreamName", func(in *putRecordsInput) *shape.String { return &in.StreamName }, nameRules),
		shape.Of("StreamARN", func(in *putRecordsInput) *shape.String { return &in.StreamARN }, streamARNRules),
		shape.Of("StreamId", func(in *putRecordsInput) *shape.String { return &in.StreamID }, streamIDRules),
		shape.Of("DryRun", func(in *putRecordsInput) *shape.Bool { return &in.DryRun }, shape.Rules{}),
	}
}

func (a *API) putRecordsOperation() *shape.Operation {
	pool := sync.Pool{New: func() any { return new(putRecordsInput) }}
	op := operation("PutRecords", putRecordsShape, a.putRecords)
	op.Relaxed = func(scope arn.Scope, in any) shape.Struct {
		return a.relaxed(scope, &in.(*putRecordsInput).streamRef, putRecordsRelaxedShape)
	}
	op.MaxBody = maxPutBody
	op.New = pool.Get
	op.Free = func(in any) {
		p := in.(*putRecordsInput)
		clear(p.Records.Items) // nothing may keep a body alive
		clear(p.recs)
		clear(p.kept)
		*p = putRecordsInput{Records: shape.List[putRecordsEntry]{Items: p.Records.Items[:0]}, recs: p.recs[:0], kept: p.kept[:0], coming: p.coming[:0], places: p.places[:0]}
		pool.Put(p)
	}
	return op
}

func (a *API) putRecords(ctx context.Context, scope arn.Scope, in *putRecordsInput) (shape.Output, error) {
	s, err := a.writable(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	total := 0
	for i := range in.Records.Items {
		r := &in.Records.Items[i]
		if err := checkRecordSize(s, len(r.Data.V), len(r.PartitionKey.V), i); err != nil {
			return nil, err
		}
		total += len(r.Data.V) + len(r.PartitionKey.V)
	}
	if total > maxPutBytes {
		return nil, invalidArgument("Records size exceeds 10 MB limit")
	}
	to := routeOf(s)
	var hashes hashkey.Batch
	in.recs = slices.Grow(in.recs, len(in.Records.Items)) // they must not move while their hash keys come
	for i := range in.Records.Items {
		r := &in.Records.Items[i]
		hash, fixed, err := to.fixed(&r.PartitionKey, &r.ExplicitHashKey, i)
		if err != nil {
			return nil, err
		}
		in.recs = append(in.recs, store.Record{PartitionKey: r.PartitionKey.V, Data: r.Data.V, HashKey: hash})
		if !fixed {
			hashes.Add(r.PartitionKey.V, &in.recs[i].HashKey)
		}
	}
	hashes.Flush()
	if in.DryRun.V {
		return nil, dryRun()
	}
	admitted, coming := a.admit(ctx, s, in)
	in.stored = putResults{coming: coming, encrypted: s.KeyID != ""}
	if len(admitted) > 0 {
		if in.places, err = a.put(ctx, s, admitted, in.places); err != nil {
			return nil, err
		}
		in.stored.stored = in.places
	}
	a.cfg.Meter.Put(s, in.count(admitted))
	return &in.stored, nil
}

// admit returns the records of in that may be stored. coming says for each
// record whether it may; it is nil if all may.
func (a *API) admit(ctx context.Context, s *state.Stream, in *putRecordsInput) (admitted []store.Record, coming []Incoming) {
	if a.cfg.Admit == nil {
		return in.recs, nil
	}
	for i := range in.recs {
		r := &in.recs[i]
		in.coming = append(in.coming, Incoming{Shard: s.Route(r.HashKey), Size: len(r.Data) + len(r.PartitionKey)})
	}
	if a.cfg.Admit(ctx, s, in.coming) == 0 {
		return in.recs, nil
	}
	for i := range in.recs {
		if in.coming[i].Refused == nil {
			in.kept = append(in.kept, in.recs[i])
		}
	}
	return in.kept, in.coming
}

// writable returns the stream that ref names if records can be written to it.
// One that is CREATING or DELETING is as good as none.
func (a *API) writable(scope arn.Scope, ref *streamRef) (*state.Stream, error) {
	s, err := a.find(scope, ref)
	if err != nil {
		return nil, err
	}
	if !usable(s) {
		return nil, streamNotFound(s.Key)
	}
	return s, nil
}

func (a *API) put(ctx context.Context, s *state.Stream, recs []store.Record, into []store.Stored) ([]store.Stored, error) {
	stored, err := a.engine.PutInto(ctx, s.ID, recs, into)
	switch {
	case errors.Is(err, store.ErrNoStream):
		return nil, streamNotFound(s.Key)
	case err != nil:
		return nil, writeError(err)
	}
	return stored, nil
}

// recordPath names a member of a record for messages. i is the record's index in
// PutRecords, -1 in PutRecord.
func recordPath(i int, member string) string {
	if i < 0 {
		return member
	}
	return "records." + strconv.Itoa(i+1) + ".member." + member
}

// checkRecordSize compares a record with the limit of its stream. i is its
// index in PutRecords, -1 in PutRecord.
func checkRecordSize(s *state.Stream, data, key, i int) error {
	if data+key <= s.MaxRecordBytes {
		return nil
	}
	return shape.Violation(recordPath(i, "data"), "Member must have length less than or equal to "+strconv.Itoa(s.MaxRecordBytes))
}

// dryRun is the answer to a request that only asks whether it would succeed.
func dryRun() error {
	return awserr.New("DryRunOperationException", "The request would have succeeded, but the DryRun flag is set.")
}

// putResult is the answer of PutRecord.
type putResult struct {
	store.Stored
	encrypted bool
}

func (o *putResult) Size() int { return 128 }

func (o *putResult) Encode(e shape.Encoder) {
	e.ShardID("ShardId", o.Shard)
	e.Sequence("SequenceNumber", o.number())
	encodeEncrypted(e, o.encrypted)
}

func (o *putResult) number() seqno.Number {
	return seqno.Number{Create: o.Create, Shard: uint32(o.Shard), Index: o.Index, Time: o.Second}
}

// putResults is the answer of PutRecords.
type putResults struct {
	stored    []store.Stored // of the records that were admitted
	coming    []Incoming     // of all records; nil if all were admitted
	encrypted bool
}

func (o *putResults) Size() int { return 64 + 128*max(len(o.stored), len(o.coming)) }

func (o *putResults) Encode(e shape.Encoder) {
	if o.coming == nil {
		e.Int("FailedRecordCount", 0)
	} else {
		e.Int("FailedRecordCount", int64(len(o.coming)-len(o.stored)))
	}
	e.BeginList("Records")
	stored := o.stored
	for i := range max(len(o.stored), len(o.coming)) {
		e.BeginElem()
		if o.coming != nil && o.coming[i].Refused != nil {
			e.String("ErrorCode", o.coming[i].Refused.Code)
			e.String("ErrorMessage", o.coming[i].Refused.Message)
		} else {
			r := putResult{Stored: stored[0]}
			stored = stored[1:]
			e.Sequence("SequenceNumber", r.number())
			e.ShardID("ShardId", r.Shard)
		}
		e.End()
	}
	e.EndList()
	encodeEncrypted(e, o.encrypted)
}
