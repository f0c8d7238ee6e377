package api

import (
	"context"
	"strconv"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// filterKind says which shards of a stream a listing shows.
type filterKind byte

const (
	allShards filterKind = iota // that have not expired
	openAt                      // open at an instant
	liveFrom                    // open, or closed at an instant or later
)

// shardFilter picks shards. Whatever it picks with openAt covers the hash
// space without holes or overlaps: a shard is open from the exact instant at
// which its parents close.
type shardFilter struct {
	Kind filterKind
	At   time.Time
}

func (f shardFilter) shows(sh *state.Shard) bool {
	switch f.Kind {
	case openAt:
		return !sh.Opened.After(f.At) && (sh.IsOpen() || sh.Closed.After(f.At))
	case liveFrom:
		return sh.IsOpen() || !sh.Closed.Before(f.At)
	case allShards:
	}
	return true
}

// page returns the indexes of the shards behind index after that f shows, and
// whether there are more than limit.
func (a *API) page(s *state.Stream, f shardFilter, after, limit int) (shards []int, more bool) {
	aging := a.engine.Aging()
	for i := after + 1; i < len(s.Shards); i++ {
		if s.Expired(i, aging) || !f.shows(&s.Shards[i]) {
			continue
		}
		if len(shards) == limit {
			return shards, true
		}
		shards = append(shards, i)
	}
	return shards, false
}

// shardSize is about the length of a shard in an answer.
const shardSize = 320

func encodeShards(e shape.Encoder, s *state.Stream, shards []int) {
	e.BeginList("Shards")
	for _, i := range shards {
		sh := &s.Shards[i]
		e.BeginElem()
		e.ShardID("ShardId", i)
		encodeParent(e, "ParentShardId", sh.Parent)
		encodeParent(e, "AdjacentParentShardId", sh.AdjacentParent)
		encodeRange(e, sh)
		e.Begin("SequenceNumberRange")
		e.Sequence("StartingSequenceNumber", sh.StartingSequenceNumber())
		if !sh.IsOpen() {
			e.Sequence("EndingSequenceNumber", sh.EndingSequenceNumber())
		}
		e.End()
		e.End()
	}
	e.EndList()
}

func encodeParent(e shape.Encoder, key string, shard int) {
	if shard != state.NoShard {
		e.ShardID(key, shard)
	}
}

func encodeRange(e shape.Encoder, sh *state.Shard) {
	e.Begin("HashKeyRange")
	e.HashKey("StartingHashKey", sh.Range.Start)
	e.HashKey("EndingHashKey", sh.Range.End)
	e.End()
}

// encodeChildren writes the children of a shard as GetRecords and
// SubscribeToShard show them at its end.
func encodeChildren(e shape.Encoder, s *state.Stream, shard int) {
	e.BeginList("ChildShards")
	for _, c := range s.Children(shard) {
		sh := &s.Shards[c]
		e.BeginElem()
		e.ShardID("ShardId", c)
		e.BeginList("ParentShards")
		encodeParent(e, "", sh.Parent)
		encodeParent(e, "", sh.AdjacentParent)
		e.EndList()
		encodeRange(e, sh)
		e.End()
	}
	e.EndList()
}

type shardFilterInput struct {
	Type      shape.String
	ShardID   shape.String
	Timestamp shape.Time
}

type listShardsInput struct {
	streamRef
	NextToken  shape.String
	StartShard shape.String
	MaxResults shape.Int
	Created    shape.Time
	Filter     shape.Opt[shardFilterInput]
}

// The kinds of ShardFilter, in the API's words.
const (
	afterShardID      = "AFTER_SHARD_ID"
	atTrimHorizon     = "AT_TRIM_HORIZON"
	fromTrimHorizon   = "FROM_TRIM_HORIZON"
	atLatest          = "AT_LATEST"
	atTimestampFilter = "AT_TIMESTAMP"
	fromTimestamp     = "FROM_TIMESTAMP"
)

var listShardsShape = streamMembers(func(in *listShardsInput) *streamRef { return &in.streamRef },
	shape.Of("NextToken", func(in *listShardsInput) *shape.String { return &in.NextToken }, tokenRules),
	shape.Of("ExclusiveStartShardId", func(in *listShardsInput) *shape.String { return &in.StartShard }, nameRules),
	shape.Of("MaxResults", func(in *listShardsInput) *shape.Int { return &in.MaxResults }, pageRules),
	shape.Of("StreamCreationTimestamp", func(in *listShardsInput) *shape.Time { return &in.Created }, shape.Rules{}),
	shape.Of("ShardFilter", func(in *listShardsInput) *shape.Opt[shardFilterInput] { return &in.Filter }, shape.Rules{}).With(shape.Struct{
		shape.Of("Type", func(in *shardFilterInput) *shape.String { return &in.Type },
			shape.OneOf(afterShardID, atTrimHorizon, fromTrimHorizon, atLatest, atTimestampFilter, fromTimestamp).Req()),
		shape.Of("ShardId", func(in *shardFilterInput) *shape.String { return &in.ShardID }, nameRules),
		shape.Of("Timestamp", func(in *shardFilterInput) *shape.Time { return &in.Timestamp }, shape.Rules{}),
	}))

// defaultShardPage is how many shards a page of ListShards has.
const defaultShardPage = 1000

func (a *API) listShards(_ context.Context, scope arn.Scope, in *listShardsInput) (shape.Output, error) {
	limit := int(in.MaxResults.Or(defaultShardPage))
	s, filter, after, err := a.listing(scope, in)
	if err != nil {
		return nil, err
	}
	if !usable(s) {
		return nil, notActive(s)
	}
	out := &listShardsOutput{stream: s}
	var more bool
	if out.shards, more = a.page(s, filter, after, limit); more {
		out.next = a.sealPage(sealShards, pageToken{
			Issued: a.engine.Now(), Stream: s.ID, Filter: filter,
			After: strconv.Itoa(out.shards[limit-1]),
		})
	}
	return out, nil
}

// listing returns what is to be listed: given by the first page's parameters,
// or by a token alone.
func (a *API) listing(scope arn.Scope, in *listShardsInput) (s *state.Stream, f shardFilter, after int, err error) {
	if !in.NextToken.Set {
		return a.firstListing(scope, in)
	}
	for _, with := range []struct {
		name string
		set  bool
	}{
		{"StreamName", in.StreamName.Set},
		{"StreamARN", in.StreamARN.Set},
		{"ExclusiveStartShardId", in.StartShard.Set},
		{"StreamCreationTimestamp", in.Created.Set},
		{"ShardFilter", in.Filter.Set},
	} {
		if with.set {
			return nil, f, 0, invalidArgument("NextToken and %s cannot be provided together.", with.name)
		}
	}
	t, err := a.openPage(sealShards, in.NextToken.V)
	if err != nil {
		return nil, f, 0, err
	}
	s, ok := a.engine.StreamByID(t.Stream)
	after, err = strconv.Atoi(t.After)
	if !ok || err != nil {
		return nil, f, 0, invalidArgument("Invalid NextToken.") // the stream is gone, and the token with it
	}
	return s, t.Filter, after, nil
}

func (a *API) firstListing(scope arn.Scope, in *listShardsInput) (s *state.Stream, f shardFilter, after int, err error) {
	if !in.StreamName.Set && !in.StreamARN.Set {
		return nil, f, 0, invalidArgument("Either NextToken or StreamName should be provided.")
	}
	if s, err = a.find(scope, &in.streamRef); err != nil {
		return nil, f, 0, err
	}
	// Clients remember the creation in whole seconds.
	if in.Created.Set && int64(in.Created.V)/1000 != s.Created.Unix() {
		return nil, f, 0, streamNotFound(s.Key)
	}
	after = -1
	if in.StartShard.Set {
		if after, err = resolveShard(s.Key, in.StartShard.V); err != nil {
			return nil, f, 0, err
		}
	}
	if in.Filter.Set && usable(s) {
		var from int
		if f, from, err = a.filter(s, &in.Filter.V); err != nil {
			return nil, f, 0, err
		}
		after = max(after, from)
	}
	return s, f, after, nil
}

// filter reads a ShardFilter. Instants before the stream's first shard, or
// past retention, move to where its records begin.
func (a *API) filter(s *state.Stream, in *shardFilterInput) (f shardFilter, after int, err error) {
	kind := in.Type.V
	byShard, byTime := kind == afterShardID, kind == atTimestampFilter || kind == fromTimestamp
	switch {
	case byShard != in.ShardID.Set:
		return f, 0, invalidArgument("ShardId must be given in a ShardFilter of type AFTER_SHARD_ID, and in no other.")
	case byTime != in.Timestamp.Set:
		return f, 0, invalidArgument("Timestamp must be given in a ShardFilter of type AT_TIMESTAMP or FROM_TIMESTAMP, and in no other.")
	}
	now, aging := a.engine.Now(), a.engine.Aging()
	horizon := s.Horizon(aging)
	if first := s.Shards[0].Opened; first.After(horizon) {
		horizon = first
	}
	at := horizon
	if byTime {
		t := time.UnixMilli(int64(in.Timestamp.V))
		if t.After(now) {
			return f, 0, invalidArgument("The Timestamp of a ShardFilter cannot be later than now. Timestamp: %d, now: %d", in.Timestamp.V, now.UnixMilli())
		}
		if t.After(at) {
			at = t
		}
	}
	switch kind {
	case afterShardID:
		after, err = resolveShard(s.Key, in.ShardID.V)
		return f, after, err
	case atLatest:
		return shardFilter{Kind: openAt, At: now}, -1, nil
	case atTrimHorizon, atTimestampFilter:
		return shardFilter{Kind: openAt, At: at}, -1, nil
	case fromTimestamp:
		return shardFilter{Kind: liveFrom, At: at}, -1, nil
	}
	return f, -1, nil
}

type listShardsOutput struct {
	stream *state.Stream
	shards []int
	next   string // empty on the last page
}

func (o *listShardsOutput) Size() int { return 256 + len(o.shards)*shardSize }

func (o *listShardsOutput) Encode(e shape.Encoder) {
	encodeShards(e, o.stream, o.shards)
	if o.next != "" {
		e.String("NextToken", o.next)
	}
}
