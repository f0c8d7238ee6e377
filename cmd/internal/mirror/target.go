package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// A batch is one request to the target.
type batch struct {
	at      []int // places in the queue of the lane
	entries []types.PutRecordsRequestEntry
	inner   []*hashkey.Range // of aggregated records: where their user records belong
}

// putResult is the answer to a batch.
type putResult struct {
	at    []int
	codes []string // empty for what was stored
	split int64    // aggregated records that no shard of the target holds whole
	err   error    // of the whole request
}

// put sends a batch. It goes on for a moment when ctx ends: what is not
// answered is sent again by the next run.
func (s *stream) put(ctx context.Context, b batch) putResult {
	p := putResult{at: b.at}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.m.cfg.RequestTimeout)
	defer cancel()
	var late *time.Timer
	var mu sync.Mutex // guards late
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		late = time.AfterFunc(grace, cancel)
	})
	out, err := s.m.to.PutRecords(sending, &kinesis.PutRecordsInput{StreamName: aws.String(s.to), Records: b.entries}, once)
	stop()
	mu.Lock()
	if late != nil {
		late.Stop()
	}
	mu.Unlock()
	if err == nil && len(out.Records) != len(b.entries) {
		err = fmt.Errorf("the target answers for %d records and was sent %d", len(out.Records), len(b.entries))
	}
	if err != nil {
		p.err = err
		return p
	}
	p.codes = make([]string, len(b.entries))
	for i := range out.Records {
		r := &out.Records[i]
		p.codes[i] = aws.ToString(r.ErrorCode)
		if p.codes[i] == "" && b.inner[i] != nil {
			if have, ok := s.target.of(ctx, s, aws.ToString(r.ShardId)); ok && !(have.Contains(b.inner[i].Start) && have.Contains(b.inner[i].End)) {
				p.split++
			}
		}
	}
	return p
}

// tellSplit counts aggregated records that are not whole for consumers.
func (s *stream) tellSplit(n int64) {
	s.split.Add(n)
	s.splitOnce.Do(func() {
		s.log.Warn("an aggregated record has user records of more than one shard of the target; consumers leave such out; --create --same-shards gives a new target the shards of the source",
			slog.String("target", s.to))
	})
}

// ranges are the hash keys of the target's shards.
type ranges struct {
	mu sync.Mutex // guards by
	by map[string]hashkey.Range
}

// of returns the hash keys of a shard of the target. It asks for the shards if
// it does not know this one.
func (r *ranges) of(ctx context.Context, s *stream, id string) (hashkey.Range, bool) {
	r.mu.Lock()
	have, ok := r.by[id]
	r.mu.Unlock()
	if ok {
		return have, true
	}
	var shards []types.Shard
	err := s.m.call(ctx, func(ctx context.Context) (err error) {
		shards, err = listShards(ctx, s.m.to, s.to)
		return err
	})
	if err != nil {
		s.log.Warn("the shards of the target cannot be listed, so that some aggregated records are not checked", slog.Any("err", err))
		return hashkey.Range{}, false
	}
	by := map[string]hashkey.Range{}
	for _, sh := range shards {
		by[aws.ToString(sh.ShardId)] = rangeOf(sh.HashKeyRange)
	}
	r.mu.Lock()
	r.by = by
	r.mu.Unlock()
	have, ok = by[id]
	return have, ok
}

// changeLimit is how long a change of the target may take.
const changeLimit = 10 * time.Minute

// prepareTarget looks at the target, and creates it if it may.
func (s *stream) prepareTarget(ctx context.Context, source *types.StreamDescriptionSummary) (*types.StreamDescriptionSummary, error) {
	d, err := s.describeTarget(ctx, firstContact)
	switch {
	case err == nil && d.StreamStatus != types.StreamStatusCreating && d.StreamStatus != types.StreamStatusDeleting:
		return d, nil
	case err == nil:
		return s.targetReady(ctx)
	case classify(err) != gone:
		return nil, fmt.Errorf("describe the target %s: %w", s.to, err)
	case !s.m.cfg.Create:
		return nil, fmt.Errorf("the target %s does not exist at %s; create it, or say --create: %w", s.to, s.m.cfg.ToName, err)
	}
	in := s.creation(source)
	err = s.m.retry(ctx, changeLimit, func(ctx context.Context) error {
		_, err := s.m.to.CreateStream(ctx, in, once)
		if _, there := errors.AsType[*types.ResourceInUseException](err); there {
			return nil // an earlier try was carried out
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create the target %s: %w", s.to, err)
	}
	if d, err = s.targetReady(ctx); err != nil {
		return nil, err
	}
	s.log.Info("created the target", slog.String("target", s.to), slog.Int("shards", int(aws.ToInt32(d.OpenShardCount))))
	if hours := aws.ToInt32(source.RetentionPeriodHours); hours > aws.ToInt32(d.RetentionPeriodHours) {
		err := s.m.retry(ctx, changeLimit, func(ctx context.Context) error {
			_, err := s.m.to.IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: aws.String(s.to), RetentionPeriodHours: aws.Int32(hours)}, once)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("raise the retention of %s to %d hours: %w", s.to, hours, err)
		}
		return s.targetReady(ctx)
	}
	return d, nil
}

// creation describes a target that is like the source.
func (s *stream) creation(source *types.StreamDescriptionSummary) *kinesis.CreateStreamInput {
	in := &kinesis.CreateStreamInput{StreamName: aws.String(s.to)}
	if k := aws.ToInt32(source.MaxRecordSizeInKiB); k > 1024 {
		in.MaxRecordSizeInKiB = aws.Int32(k)
	}
	onDemand := source.StreamModeDetails != nil && source.StreamModeDetails.StreamMode == types.StreamModeOnDemand
	if onDemand && !s.m.cfg.SameShards { // shards of an on-demand stream are not for users to split
		in.StreamModeDetails = &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}
		if s.free {
			in.RecordDistributionStrategy = types.RecordDistributionStrategyAuto
		}
		return in
	}
	n := int32(0)
	for _, node := range s.nodes {
		first := !slices.ContainsFunc(node.parents, func(p string) bool { return s.nodes[p] != nil })
		if s.m.cfg.SameShards && s.m.cfg.Start == TrimHorizon && first || !(s.m.cfg.SameShards && s.m.cfg.Start == TrimHorizon) && node.open {
			n++
		}
	}
	in.ShardCount = aws.Int32(max(1, n))
	return in
}

func (s *stream) describeTarget(ctx context.Context, limit time.Duration) (*types.StreamDescriptionSummary, error) {
	var out *kinesis.DescribeStreamSummaryOutput
	err := s.m.retry(ctx, limit, func(ctx context.Context) (err error) {
		out, err = s.m.to.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(s.to)}, once)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out.StreamDescriptionSummary, nil
}

// targetReady waits until the target is ACTIVE.
func (s *stream) targetReady(ctx context.Context) (*types.StreamDescriptionSummary, error) {
	began := time.Now()
	for {
		d, err := s.describeTarget(ctx, changeLimit)
		if err != nil && classify(err) != gone {
			return nil, fmt.Errorf("describe the target %s: %w", s.to, err)
		}
		if err == nil && d.StreamStatus == types.StreamStatusActive {
			return d, nil
		}
		if time.Since(began) > changeLimit {
			return nil, fmt.Errorf("the target %s is not ACTIVE after %v", s.to, changeLimit)
		}
		if !sleep(ctx, min(s.m.cfg.Poll, time.Second)) {
			return nil, ctx.Err()
		}
	}
}

// shape splits and merges shards of the target until one has exactly the hash
// keys of want. Those of other shards that are being copied stay as they are:
// shards without a descendant among each other do not overlap.
func (s *stream) shape(ctx context.Context, want hashkey.Range) error {
	for {
		var open []openShard
		err := s.m.retry(ctx, changeLimit, func(ctx context.Context) error {
			shards, err := listShards(ctx, s.m.to, s.to)
			open = openShards(shards)
			return err
		})
		if err != nil {
			return err
		}
		change := changeFor(open, want)
		if change == nil {
			return nil
		}
		if _, err := s.targetReady(ctx); err != nil {
			return err
		}
		// A change that was carried out without an answer makes its repetition
		// fail; the list tells.
		err = s.m.call(ctx, func(ctx context.Context) error { return change.do(ctx, s) })
		if err != nil && (classify(err) == gone || classify(err) == final) {
			if again := changeFor(openNow(ctx, s), want); again != nil && *again == *change {
				return err
			}
		}
		if err != nil && !sleep(ctx, min(s.m.cfg.Poll, time.Second)) {
			return ctx.Err()
		}
		if _, err := s.targetReady(ctx); err != nil {
			return err
		}
	}
}

func openNow(ctx context.Context, s *stream) []openShard {
	var shards []types.Shard
	_ = s.m.call(ctx, func(ctx context.Context) (err error) { // an empty list is told from all others
		shards, err = listShards(ctx, s.m.to, s.to)
		return err
	})
	return openShards(shards)
}

type openShard struct {
	id   string
	keys hashkey.Range
}

// openShards returns the open ones in the order of their hash keys.
func openShards(shards []types.Shard) []openShard {
	by := map[hashkey.Key]openShard{}
	for _, sh := range shards {
		if sh.SequenceNumberRange == nil || sh.SequenceNumberRange.EndingSequenceNumber == nil {
			o := openShard{aws.ToString(sh.ShardId), rangeOf(sh.HashKeyRange)}
			by[o.keys.Start] = o
		}
	}
	open := slices.Collect(maps.Values(by))
	slices.SortFunc(open, func(a, b openShard) int { return a.keys.Start.Compare(b.keys.Start) })
	return open
}

// change is a split of shard at a hash key, or a merge of shard with another.
type change struct {
	shard string
	at    hashkey.Key
	with  string
}

// changeFor returns the next change on the way to a shard with the keys want,
// nil if there is one.
func changeFor(open []openShard, want hashkey.Range) *change {
	var inside []openShard
	for _, o := range open {
		switch {
		case o.keys == want:
			return nil
		case o.keys.Start.Less(want.Start) && o.keys.Contains(want.Start):
			return &change{shard: o.id, at: want.Start}
		case o.keys.Contains(want.End) && want.End.Less(o.keys.End):
			return &change{shard: o.id, at: want.End.Add(1)}
		case want.Contains(o.keys.Start) && want.Contains(o.keys.End):
			inside = append(inside, o)
		}
	}
	if len(inside) < 2 {
		return &change{}
	}
	return &change{shard: inside[0].id, with: inside[1].id}
}

func (c *change) do(ctx context.Context, s *stream) error {
	switch {
	case c.with != "":
		s.log.Info("merging shards of the target", slog.String("shard", c.shard), slog.String("with", c.with))
		_, err := s.m.to.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: aws.String(s.to), ShardToMerge: aws.String(c.shard), AdjacentShardToMerge: aws.String(c.with)}, once)
		return err
	case c.shard != "":
		s.log.Info("splitting a shard of the target", slog.String("shard", c.shard), slog.String("at", c.at.String()))
		_, err := s.m.to.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String(s.to), ShardToSplit: aws.String(c.shard), NewStartingHashKey: aws.String(c.at.String())}, once)
		return err
	}
	return errors.New("the open shards of the target do not cover its hash keys") // the next list may be whole
}
