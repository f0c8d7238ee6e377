package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
)

// shardInfo is a shard as the stream lists it.
type shardInfo struct {
	id         string // the key of its lease
	parents    []string
	start, end string // hash keys
	first      string // starting sequence number
	open       bool
}

func newShardInfo(src *source, s types.Shard) shardInfo {
	info := shardInfo{id: src.key(aws.ToString(s.ShardId))}
	for _, p := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
		if aws.ToString(p) != "" {
			info.parents = append(info.parents, src.key(*p))
		}
	}
	if r := s.HashKeyRange; r != nil {
		info.start, info.end = aws.ToString(r.StartingHashKey), aws.ToString(r.EndingHashKey)
	}
	if r := s.SequenceNumberRange; r != nil {
		info.first = aws.ToString(r.StartingSequenceNumber)
		info.open = r.EndingSequenceNumber == nil
	}
	return info
}

// lease returns a new lease for the shard, without owner.
func (s shardInfo) lease(at Checkpoint) Lease {
	return Lease{Key: s.id, Checkpoint: at, Parents: s.parents, StartingHashKey: s.start, EndingHashKey: s.end}
}

// firstLeases returns the leases of an application that has none: one for each
// of the given shards, which are those that were open at the initial position.
// The error says so if they do not cover all hash keys: the listing was made
// in the middle of a reshard.
func firstLeases(shards []shardInfo, initial Position) ([]Lease, error) {
	var ranges []hashkey.Range
	for _, s := range shards {
		r, err := parseRange(s.start, s.end)
		if err != nil {
			return nil, fmt.Errorf("shard %q: %w", s.id, err)
		}
		ranges = append(ranges, r)
	}
	if !covers(ranges) {
		return nil, errors.New("consumer: the listed shards do not cover all hash keys")
	}
	var leases []Lease
	for _, s := range inOrder(shards) {
		leases = append(leases, s.lease(initial.checkpoint()))
	}
	return leases, nil
}

// missingLeases returns the leases that must be added to those of an
// application that has some, so that every retained shard that it must read is
// read: from a lease of its own, or after an ancestor that has one.
//
// A shard is tracked if it or a retained ancestor has a lease. An open shard
// that is not tracked gets a lease itself if the initial position is the
// newest record, otherwise its oldest retained ancestors do. Above an open
// shard that is tracked, each parent that is not starts a branch of its own in
// the same way: the shard is a merge of a known and an unknown branch. All
// else gets its lease when its parent ends.
//
// Beyond what the official library does, a shard without lease gets one if all
// its retained parents have ended leases: its own was lost, and no parent will
// end again to make it.
//
// The leases come in the order in which they must be created, oldest shard
// first: if the creation is broken off, the rest is found missing again.
//
// Source: amazon-kinesis-client, HierarchicalShardSyncer.
func missingLeases(shards []shardInfo, leases []Lease, initial Position) []Lease {
	s := newSyncer(shards, leases, initial)
	for _, sh := range shards {
		if _, ok := s.leases[sh.id]; ok {
			continue
		}
		if s.parentsEnded(sh) {
			s.create[sh.id] = Checkpoint{SequenceNumber: TrimHorizon}
		} else if sh.open {
			s.cover(sh)
		}
	}
	return s.created(shards)
}

// ancestorLeases returns the leases that must be created before one for shard
// id, so that it waits for all its parents. A parent may have none yet although
// it must be read: the other side of a merge, whose own parent has not been
// read to its end. A missing lease would not block.
func ancestorLeases(shards []shardInfo, leases []Lease, id string, initial Position) []Lease {
	s := newSyncer(shards, leases, initial)
	s.complete(s.byID[id])
	return s.created(shards)
}

func newSyncer(shards []shardInfo, leases []Lease, initial Position) *syncer {
	s := &syncer{
		byID: make(map[string]shardInfo, len(shards)), leases: make(map[string]Lease, len(leases)),
		tracked: map[string]bool{}, walked: map[string]bool{},
		initial: initial, create: map[string]Checkpoint{},
	}
	for _, sh := range shards {
		s.byID[sh.id] = sh
	}
	for _, l := range leases {
		s.leases[l.Key] = l
	}
	return s
}

// created returns the chosen leases, oldest shard first.
func (s *syncer) created(shards []shardInfo) []Lease {
	var leases []Lease
	for _, sh := range inOrder(shards) {
		if at, ok := s.create[sh.id]; ok {
			leases = append(leases, sh.lease(at))
		}
	}
	return leases
}

type syncer struct {
	byID    map[string]shardInfo
	leases  map[string]Lease
	tracked map[string]bool // memory of isTracked
	walked  map[string]bool // shards that cover has been at
	initial Position
	create  map[string]Checkpoint
}

// isTracked reports whether the shard or a retained ancestor has a lease.
func (s *syncer) isTracked(id string) bool {
	if t, ok := s.tracked[id]; ok {
		return t
	}
	_, t := s.leases[id]
	for _, p := range s.retainedParents(s.byID[id]) {
		t = t || s.isTracked(p.id)
	}
	s.tracked[id] = t
	return t
}

// cover sees to it that what ends in sh, which has no lease, is read from its
// beginning.
func (s *syncer) cover(sh shardInfo) {
	if s.walked[sh.id] {
		return
	}
	s.walked[sh.id] = true
	if !s.isTracked(sh.id) {
		if s.initial.Latest {
			s.create[sh.id] = s.initial.checkpoint()
			return
		}
		parents := s.retainedParents(sh)
		if len(parents) == 0 {
			s.create[sh.id] = s.initial.checkpoint()
		}
		for _, p := range parents {
			s.cover(p)
		}
		return
	}
	for _, p := range s.retainedParents(sh) {
		if _, ok := s.leases[p.id]; !ok {
			s.cover(p)
		}
	}
}

// complete chooses leases for the ancestors of sh that have none, up to those
// that have one.
func (s *syncer) complete(sh shardInfo) {
	for _, p := range s.retainedParents(sh) {
		if _, ok := s.leases[p.id]; ok || s.walked[p.id] {
			continue
		}
		s.walked[p.id] = true
		switch {
		case s.isTracked(p.id):
			s.create[p.id] = Checkpoint{SequenceNumber: TrimHorizon}
			s.complete(p)
		case s.initial.Latest:
			s.create[p.id] = s.initial.checkpoint()
		default:
			s.create[p.id] = s.initial.checkpoint()
			s.complete(p)
		}
	}
}

// parentsEnded reports whether the shard has retained parents, all of which
// have been read to their end.
func (s *syncer) parentsEnded(sh shardInfo) bool {
	parents := s.retainedParents(sh)
	for _, p := range parents {
		if l, ok := s.leases[p.id]; !ok || !l.ended() {
			return false
		}
	}
	return len(parents) > 0
}

func (s *syncer) retainedParents(sh shardInfo) []shardInfo {
	var parents []shardInfo
	for _, p := range sh.parents {
		if info, ok := s.byID[p]; ok {
			parents = append(parents, info)
		}
	}
	return parents
}

// inOrder sorts shards by age: starting sequence number, then id.
func inOrder(shards []shardInfo) []shardInfo {
	return slices.SortedFunc(slices.Values(shards), func(a, b shardInfo) int {
		return cmp.Or(seqno.Compare(a.first, b.first), cmp.Compare(a.id, b.id))
	})
}

// hasHole reports whether some hash key is in no lease that will still be
// read. Leases without a range may cover anything, so with one of them there
// is no telling, and no hole.
func hasHole(leases map[string]observed) bool {
	var ranges []hashkey.Range
	for _, l := range leases {
		if l.ended() {
			continue
		}
		r, err := parseRange(l.StartingHashKey, l.EndingHashKey)
		if err != nil {
			return false
		}
		ranges = append(ranges, r)
	}
	return !covers(ranges)
}

func parseRange(start, end string) (hashkey.Range, error) {
	first, err := hashkey.Parse(start)
	if err != nil {
		return hashkey.Range{}, err
	}
	last, err := hashkey.Parse(end)
	return hashkey.Range{Start: first, End: last}, err
}

// covers reports whether every hash key is in one of the ranges.
func covers(ranges []hashkey.Range) bool {
	slices.SortFunc(ranges, func(a, b hashkey.Range) int { return a.Start.Compare(b.Start) })
	var next hashkey.Key // the least key not known to be covered
	for _, r := range ranges {
		if next.Less(r.Start) {
			return false
		}
		if r.End == hashkey.Max {
			return true
		}
		if after := r.End.Add(1); next.Less(after) {
			next = after
		}
	}
	return false
}

// finished returns the leases that may be deleted: of shards that were read to
// their end, whose children are all being read, and whose own parents' leases
// are gone. The last keeps a chain of ancestors in order, so that no lease is
// found missing and made anew.
//
// Source: amazon-kinesis-client, LeaseCleanupManager.
func finished(all map[string]observed) []Lease {
	var done []Lease
	for _, key := range slices.Sorted(maps.Keys(all)) {
		l := all[key].Lease
		if !l.ended() || len(l.Children) == 0 {
			continue
		}
		ok := !slices.ContainsFunc(l.Parents, func(p string) bool { _, there := all[p]; return there })
		for _, c := range l.Children {
			child, there := all[c]
			ok = ok && there && child.Checkpoint.Compare(Checkpoint{SequenceNumber: Latest}) > 0
		}
		if ok {
			done = append(done, l)
		}
	}
	return done
}

// listShards returns a stream's retained shards, or those that filter names.
func (c *Consumer) listShards(ctx context.Context, src *source, filter *types.ShardFilter) ([]shardInfo, error) {
	var shards []shardInfo
	in := &kinesis.ListShardsInput{StreamName: src.ref.name, StreamARN: src.ref.arn, ShardFilter: filter}
	for {
		// The SDK's retries stay on: the call is rare, repeatable and not
		// counted.
		callCtx, cancel := context.WithTimeout(ctx, c.cfg.KinesisRequestTimeout)
		out, err := c.api.ListShards(callCtx, in)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, s := range out.Shards {
			shards = append(shards, newShardInfo(src, s))
		}
		if out.NextToken == nil {
			return shards, nil
		}
		// A token stands for the stream and the filter and excludes them.
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

// shardFilter returns the filter for the shards that were open at the initial
// position.
func shardFilter(initial Position) *types.ShardFilter {
	switch {
	case initial.Latest:
		return &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}
	case !initial.Time.IsZero():
		return &types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: &initial.Time}
	}
	return &types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}
}

// sync creates the leases that a stream's shards need and the store lacks.
func (c *Consumer) sync(ctx context.Context, src *source) error {
	leases, err := c.listLeases(ctx)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	return c.complete(ctx, src, leases)
}

// complete creates the leases that a stream's shards need and that are not among
// leases.
func (c *Consumer) complete(ctx context.Context, src *source, leases []Lease) error {
	id := src.id.String()
	var own []Lease
	for _, l := range leases {
		if stream, _ := SplitLeaseKey(l.Key); stream == id {
			own = append(own, l)
		}
	}
	var missing []Lease
	if len(own) == 0 {
		shards, err := c.listShards(ctx, src, shardFilter(src.initial))
		if err != nil {
			return fmt.Errorf("list shards: %w", err)
		}
		if missing, err = firstLeases(shards, src.initial); err != nil {
			return err
		}
	} else {
		shards, err := c.listShards(ctx, src, nil)
		if err != nil {
			return fmt.Errorf("list shards: %w", err)
		}
		missing = missingLeases(shards, own, src.initial)
	}
	return c.create(ctx, missing)
}

// syncAncestors creates the leases that must be there before that with a key.
func (c *Consumer) syncAncestors(ctx context.Context, src *source, key string) error {
	leases, err := c.listLeases(ctx)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	shards, err := c.listShards(ctx, src, nil)
	if err != nil {
		return fmt.Errorf("list shards: %w", err)
	}
	return c.create(ctx, ancestorLeases(shards, leases, key, src.initial))
}

// create creates leases one after the other, so that what a broken-off run
// leaves is found incomplete.
func (c *Consumer) create(ctx context.Context, leases []Lease) error {
	for _, l := range leases {
		callCtx, cancel := context.WithTimeout(ctx, c.cfg.attemptTimeout())
		created, err := c.store.Create(callCtx, l)
		cancel()
		if err != nil {
			return fmt.Errorf("create lease %q: %w", l.Key, err)
		}
		if created {
			c.stats.leasesCreated.Add(1)
			c.log.Debug("lease created", lease(l.Key))
		}
	}
	return nil
}
