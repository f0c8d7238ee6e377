package api

import (
	"context"
	"errors"
	"time"

	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

const (
	// readCount and readBytes bound one answer of GetRecords.
	readCount = 10000
	readBytes = 10 << 20

	// clockSkew is how far in the future a timestamp may lie: clients' clocks
	// are not the server's.
	clockSkew = 500 * time.Millisecond
)

// The kinds of positions, in the API's words.
const (
	atSequence    = "AT_SEQUENCE_NUMBER"
	afterSequence = "AFTER_SEQUENCE_NUMBER"
	trimHorizon   = "TRIM_HORIZON"
	latest        = "LATEST"
	atTimestamp   = "AT_TIMESTAMP"
)

type getIteratorInput struct {
	streamRef
	ShardID shape.String
	startInput
	DryRun shape.Bool
}

// startInput says where reading begins.
type startInput struct {
	Type      shape.String
	Sequence  shape.String
	Timestamp shape.Time
}

// startTypeRules are the constraint of its type.
var startTypeRules = shape.OneOf(afterSequence, latest, atTimestamp, atSequence, trimHorizon).Req()

var getIteratorShape = append(streamMembers(func(in *getIteratorInput) *streamRef { return &in.streamRef },
	shape.Of("ShardId", func(in *getIteratorInput) *shape.String { return &in.ShardID }, nameRules.Req()),
	shape.Of("ShardIteratorType", func(in *getIteratorInput) *shape.String { return &in.Type }, startTypeRules),
	shape.Of("StartingSequenceNumber", func(in *getIteratorInput) *shape.String { return &in.Sequence }, sequenceRules),
	shape.Of("Timestamp", func(in *getIteratorInput) *shape.Time { return &in.Timestamp }, shape.Rules{})),
	shape.Of("DryRun", func(in *getIteratorInput) *shape.Bool { return &in.DryRun }, shape.Rules{}))

func (a *API) getShardIterator(_ context.Context, scope arn.Scope, in *getIteratorInput) (shape.Output, error) {
	key, err := in.key(scope)
	if err != nil {
		return nil, err
	}
	shard, err := resolveShard(key, in.ShardID.V)
	if err != nil {
		return nil, err
	}
	now := a.engine.Now()
	s, ok := a.engine.Stream(key)
	if !ok || !usable(s) || shard >= len(s.Shards) || s.Expired(shard, a.engine.Aging()) {
		return nil, shardDoesNotExist(key, shard)
	}
	from, err := a.position("GetShardIterator", s, shard, &in.startInput)
	if err != nil {
		return nil, readError(err, key, shard)
	}
	if in.DryRun.V {
		return nil, dryRun()
	}
	if a.cfg.AdmitIterator != nil {
		if refused := a.cfg.AdmitIterator(s, shard); refused != nil {
			return nil, refused
		}
	}
	return &getIteratorOutput{a.sealIterator(iterator{Issued: now, Stream: s.ID, Shard: shard, From: from, Key: key})}, nil
}

// position returns where an iterator of the wanted type, or a subscription,
// begins. op is the name of the operation.
//
// Source of the wording: errors recorded from AWS.
func (a *API) position(op string, s *state.Stream, shard int, in *startInput) (state.Position, error) {
	const either = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified "
	kind := in.Type.V
	switch kind {
	case atSequence, afterSequence:
		if !in.Sequence.Set {
			return state.Position{}, invalidArgument("%s%s and no StartingSequenceNumber.", either, kind)
		}
		return a.sequencePosition(op, s, shard, kind, in.Sequence.V)
	case atTimestamp:
		if !in.Timestamp.Set {
			return state.Position{}, invalidArgument("Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.")
		}
		now := a.engine.Now()
		t := time.UnixMilli(int64(in.Timestamp.V))
		if t.After(now.Add(clockSkew)) {
			return state.Position{}, invalidArgument("The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: %d, currentTimestampInMillis: %d", in.Timestamp.V, now.UnixMilli())
		}
		return a.engine.Seek(s.ID, shard, t)
	}
	if in.Sequence.Set {
		return state.Position{}, invalidArgument("%s%s and also a StartingSequenceNumber.", either, kind)
	}
	if kind == latest {
		return a.engine.Tip(s.ID, shard)
	}
	// TRIM_HORIZON: before all, so that the read decides what is oldest then.
	return state.Position{}, nil
}

func (a *API) sequencePosition(op string, s *state.Stream, shard int, kind, text string) (state.Position, error) {
	n, err := seqno.Parse(text)
	if err != nil {
		return state.Position{}, invalidArgument("StartingSequenceNumber %s used in %s on shard %s in stream %s under account %s is invalid.",
			text, op, state.ShardID(shard), s.Key.Name, s.Key.Account)
	}
	sh := &s.Shards[shard]
	switch {
	case int(n.Shard) != shard:
		return state.Position{}, invalidArgument("Invalid StartingSequenceNumber. It encodes %s, while it was used in a call to a shard with %s",
			state.ShardID(int(n.Shard)), sh.ID())
	case n.Create != sh.CreateSecond:
		return state.Position{}, invalidArgument("StartingSequenceNumber %s used in %s on shard %s in stream %s under account %s is invalid because it did not come from this stream.",
			text, op, sh.ID(), s.Key.Name, s.Key.Account)
	case n.Index == seqno.MaxIndex:
		return state.Position{}, invalidArgument("Invalid SequenceNumber for ShardIteratorType %s, SequenceNumber has reached max possible value for the shard.", kind)
	case kind == afterSequence:
		return state.After(n), nil
	}
	return state.At(n), nil
}

// readError turns the engine's errors about a shard into the API's.
func readError(err error, key state.StreamKey, shard int) error {
	if errors.Is(err, store.ErrNoStream) || errors.Is(err, store.ErrNoShard) {
		return shardDoesNotExist(key, shard)
	}
	return apiError(err)
}

type getIteratorOutput struct{ iterator string }

func (o *getIteratorOutput) Size() int { return len(o.iterator) + 32 }

func (o *getIteratorOutput) Encode(e shape.Encoder) { e.String("ShardIterator", o.iterator) }

type getRecordsInput struct {
	Iterator  shape.String
	Limit     shape.Int
	StreamARN shape.String
	StreamID  shape.String
	DryRun    shape.Bool

	opened  bool // then at is what Iterator says, or invalid why it says nothing
	at      iterator
	invalid error
}

// open reads the iterator, once for all who ask.
func (in *getRecordsInput) open(a *API) error {
	if !in.opened {
		in.at, in.invalid = a.openIterator(in.Iterator.V)
		in.opened = true
	}
	return in.invalid
}

var getRecordsShape = shape.Struct{
	shape.Of("ShardIterator", func(in *getRecordsInput) *shape.String { return &in.Iterator }, shape.Length(1, 512).Req()),
	shape.Of("Limit", func(in *getRecordsInput) *shape.Int { return &in.Limit }, shape.Range(1, readCount)),
	shape.Of("StreamARN", func(in *getRecordsInput) *shape.String { return &in.StreamARN }, streamARNRules),
	shape.Of("StreamId", func(in *getRecordsInput) *shape.String { return &in.StreamID }, streamIDRules),
	shape.Of("DryRun", func(in *getRecordsInput) *shape.Bool { return &in.DryRun }, shape.Rules{}),
}

func (a *API) getRecords(ctx context.Context, _ arn.Scope, in *getRecordsInput) (shape.Output, error) {
	if err := in.open(a); err != nil {
		return nil, err
	}
	it := in.at
	s, ok := a.engine.StreamByID(it.Stream)
	if !ok || !usable(s) {
		return nil, shardDoesNotExist(it.Key, it.Shard)
	}
	if in.StreamARN.Set && in.StreamARN.V != s.Key.ARN() {
		return nil, invalidArgument("StreamARN %s is not that of the stream of the ShardIterator.", in.StreamARN.V)
	}
	if in.DryRun.V {
		return nil, dryRun()
	}
	if err := a.room(ctx, 0); err != nil {
		return nil, err
	}
	if a.cfg.AdmitRead != nil {
		if refused := a.cfg.AdmitRead(s, it.Shard); refused != nil {
			return nil, refused
		}
	}
	res, err := a.engine.Read(ctx, store.ReadRequest{
		StreamID: it.Stream, Shard: it.Shard, From: it.From,
		MaxRecords: int(in.Limit.Or(readCount)), MaxBytes: readBytes,
	})
	if err != nil {
		return nil, readError(err, s.Key, it.Shard)
	}
	out := &getRecordsOutput{stream: s, shard: it.Shard, res: res}
	if res.Ended {
		// The children came into being when the shard closed, maybe after s was
		// looked up.
		if out.stream, ok = a.engine.StreamByID(it.Stream); !ok {
			return nil, shardDoesNotExist(it.Key, it.Shard)
		}
	} else {
		it.Issued, it.From, it.Key = a.engine.Now(), res.Next, s.Key
		out.next = a.sealIterator(it)
	}
	for i := range res.Records {
		out.data += len(res.Records[i].Data)
	}
	if err := a.room(ctx, out.Size()); err != nil {
		return nil, err
	}
	a.cfg.Meter.Got(s, it.Shard, len(res.Records), out.data, res.BehindLatest)
	if a.cfg.Given != nil {
		a.cfg.Given(s, it.Shard, out.data)
	}
	return out, nil
}

// large returns op as one whose answers may be large.
func large(op *shape.Operation) *shape.Operation {
	op.Large = true
	return op
}

// room asks for room for an answer.
func (a *API) room(ctx context.Context, size int) error {
	if a.cfg.AdmitAnswer == nil {
		return nil
	}
	if refused := a.cfg.AdmitAnswer(ctx, size); refused != nil {
		return refused
	}
	return nil
}

type getRecordsOutput struct {
	stream *state.Stream
	shard  int
	res    store.ReadResult
	next   string // empty at the end of the shard
	data   int    // bytes
}

func (o *getRecordsOutput) Size() int {
	return 512 + len(o.next) + recordsSize(o.res.Records, o.data)
}

func (o *getRecordsOutput) Encode(e shape.Encoder) {
	encodeRecords(e, o.stream, o.shard, o.res.Records)
	if o.next != "" {
		e.String("NextShardIterator", o.next)
	}
	e.Int("MillisBehindLatest", o.res.BehindLatest.Milliseconds())
	if o.next == "" {
		encodeChildren(e, o.stream, o.shard)
	}
}

// encodeRecords writes records of a shard as GetRecords and SubscribeToShard
// show them.
func encodeRecords(e shape.Encoder, s *state.Stream, shard int, records []store.StoredRecord) {
	sh := &s.Shards[shard]
	e.BeginList("Records")
	for i := range records {
		r := &records[i]
		e.BeginElem()
		e.Sequence("SequenceNumber", sh.Number(r.Index, r.Arrival))
		e.Time("ApproximateArrivalTimestamp", r.Arrival)
		e.Blob("Data", r.Data)
		if r.PartitionKey != "" { // else it was put without one
			e.String("PartitionKey", r.PartitionKey)
		}
		encodeEncrypted(e, s.Encrypted(r.Index))
		e.End()
	}
	e.EndList()
}

// recordsSize is about how much encodeRecords writes of records with so many
// bytes of data.
func recordsSize(records []store.StoredRecord, data int) int {
	n := data/3*4 + 192*len(records)
	for i := range records {
		n += len(records[i].PartitionKey)
	}
	return n
}
