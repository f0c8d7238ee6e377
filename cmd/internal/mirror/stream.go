package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// A stream copies one stream. A goroutine, run, owns its shards; each lane has
// one more.
type stream struct {
	m        *Mirror
	name, to string
	log      *slog.Logger

	began     time.Time // of this run, before its shards were listed
	beganAt   time.Time // the same by the clock of the source
	fresh     bool      // the state file did not know it
	free      bool      // the source spreads its records without regard to keys
	need      bool      // the target takes no record without a partition key
	retention atomic.Int64
	nodes     map[string]*node
	order     []string // of nodes, as they were found
	target    ranges

	counters
	splitOnce sync.Once

	mu    sync.Mutex // guards what follows
	st    *streamState
	dirty bool
	lanes map[string]*lane // being read
}

// node is a shard of the source.
type node struct {
	id       string
	parents  []string
	keys     hashkey.Range
	open     bool // when it was found
	started  bool
	finished bool // read to its end, or not to be read at all
}

func newStream(m *Mirror, s Stream) *stream {
	return &stream{
		m: m, name: s.From, to: s.To, nodes: map[string]*node{}, lanes: map[string]*lane{},
		log: m.log.With(slog.String("stream", s.From)),
	}
}

// firstContact is how long an endpoint may fail before anything was copied. A
// wrong address should be told soon.
const firstContact = 5 * time.Second

// prepare looks at the stream on both sides, and completes what the state file
// said of it, nil if nothing.
func (s *stream) prepare(ctx context.Context, known *streamState) error {
	source, err := s.describeSource(ctx, firstContact)
	if err != nil {
		return err
	}
	s.free = source.RecordDistributionStrategy == types.RecordDistributionStrategyAuto
	s.began = time.Now()
	if s.beganAt.IsZero() {
		s.beganAt = s.began
	}
	var shards []types.Shard
	err = s.m.retry(ctx, firstContact, func(ctx context.Context) (err error) {
		shards, err = listShards(ctx, s.m.from, s.name)
		return err
	})
	if err != nil {
		return fmt.Errorf("list the shards of the source: %w", err)
	}
	for _, sh := range shards {
		s.add(sh)
	}
	target, err := s.prepareTarget(ctx, source)
	if err != nil {
		return err
	}
	s.need = target.RecordDistributionStrategy != types.RecordDistributionStrategyAuto
	if !s.need && !s.free {
		s.log.Warn("the target spreads records without regard to their keys, so their order is lost there", slog.String("target", s.to))
	}
	if have, takes := aws.ToInt32(source.MaxRecordSizeInKiB), aws.ToInt32(target.MaxRecordSizeInKiB); have > takes && takes > 0 {
		s.log.Warn("the source may have records that are larger than the target takes; one would end the mirror: raise the limit of the target with UpdateMaxRecordSize",
			slog.Int("source_kib", int(have)), slog.Int("target_kib", int(takes)))
	}
	return s.resume(known, aws.ToTime(source.StreamCreationTimestamp), aws.ToTime(target.StreamCreationTimestamp))
}

func (s *stream) describeSource(ctx context.Context, limit time.Duration) (*types.StreamDescriptionSummary, error) {
	var out *kinesis.DescribeStreamSummaryOutput
	err := s.m.retry(ctx, limit, func(ctx context.Context) (err error) {
		out, err = s.m.from.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(s.name)}, once)
		return err
	})
	switch {
	case err != nil && classify(err) == gone:
		return nil, fmt.Errorf("it does not exist at %s: %w", s.m.cfg.FromName, err)
	case err != nil:
		return nil, fmt.Errorf("describe the source: %w", err)
	}
	d := out.StreamDescriptionSummary
	if at, ok := middleware.GetServerTime(out.ResultMetadata); ok && s.began.IsZero() {
		s.beganAt = at // in whole seconds: not after the answer
	}
	s.retention.Store(int64(time.Duration(aws.ToInt32(d.RetentionPeriodHours)) * time.Hour))
	return d, nil
}

// resume sets the state: the known one, or that of a beginning.
func (s *stream) resume(known *streamState, created, targetCreated time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
	if known == nil {
		s.fresh = true
		s.st = &streamState{
			To: s.to, Created: created, TargetCreated: targetCreated, Start: string(s.m.cfg.Start),
			Began: s.beganAt, From: s.m.cfg.Timestamp, Shards: map[string]*shardState{},
		}
		for _, id := range s.order {
			n := s.nodes[id]
			n.finished = s.m.cfg.Start == Latest && !n.open
			s.st.Shards[id] = &shardState{Late: s.m.cfg.Start != TrimHorizon, Done: n.finished}
		}
		return nil
	}
	s.st = known.clone()
	const hint = "what the state file says of it is of no use: put the file away to begin anew, or name another"
	switch {
	case s.st.To != s.to:
		return fmt.Errorf("it was mirrored to %s so far and should now go to %s: %s", s.st.To, s.to, hint)
	case !s.st.Created.Equal(created):
		return fmt.Errorf("the source was deleted and created anew at %s: %s", created.UTC().Format(time.RFC3339), hint)
	case !s.st.TargetCreated.Equal(targetCreated):
		return fmt.Errorf("the target %s was deleted and created anew at %s: %s", s.to, targetCreated.UTC().Format(time.RFC3339), hint)
	}
	for id, sh := range s.st.Shards {
		n := s.nodes[id]
		switch {
		case n != nil:
			n.finished = sh.Done
		case sh.Done:
			delete(s.st.Shards, id)
		default:
			delete(s.st.Shards, id)
			s.gap(id, "the shard has left the source by retention before it was read to its end")
		}
	}
	for _, id := range s.order {
		if s.st.Shards[id] == nil {
			s.st.Shards[id] = &shardState{}
		}
	}
	s.log.Info("going on where the last run ended", slog.String("state", s.m.cfg.StateFile))
	return nil
}

// gap counts and tells that records of a shard may be lost at the source.
func (s *stream) gap(shard, what string, attrs ...any) {
	s.gaps.Add(1)
	s.log.Error("records are lost at the source", append([]any{slog.String("shard", shard), slog.String("why", what)}, attrs...)...)
}

func (s *stream) add(sh types.Shard) {
	id := aws.ToString(sh.ShardId)
	if id == "" || s.nodes[id] != nil {
		return
	}
	n := &node{id: id, keys: rangeOf(sh.HashKeyRange), open: sh.SequenceNumberRange == nil || sh.SequenceNumberRange.EndingSequenceNumber == nil}
	for _, p := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
		if aws.ToString(p) != "" {
			n.parents = append(n.parents, *p)
		}
	}
	s.nodes[id] = n
	s.order = append(s.order, id)
}

// rangeOf returns a range of hash keys, all of them if it is not known.
func rangeOf(r *types.HashKeyRange) hashkey.Range {
	if r == nil {
		return hashkey.All
	}
	start, err1 := hashkey.Parse(aws.ToString(r.StartingHashKey))
	end, err2 := hashkey.Parse(aws.ToString(r.EndingHashKey))
	if err1 != nil || err2 != nil {
		return hashkey.All
	}
	return hashkey.Range{Start: start, End: end}
}

// run copies until there is nothing to copy or ctx ends.
func (s *stream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	ends := make(chan laneEnd)
	running := 0
	err := func() error {
		for {
			n, err := s.start(ctx, func(l *lane) { wg.Go(func() { ends <- l.run(ctx) }) })
			running += n
			if err != nil || ctx.Err() != nil || running == 0 {
				return err
			}
			select {
			case e := <-ends:
				running--
				if err := s.ended(ctx, e); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
		}
	}()
	interrupted := ctx.Err() != nil
	cancel()
	for ; running > 0; running-- { // they end with what is under way
		e := <-ends
		s.left(e.id)
		if err == nil && e.err != nil {
			err = e.err
		}
		if e.ended {
			s.finish(e.id)
		}
	}
	wg.Wait()
	if interrupted && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// start begins each shard whose parents are stored to their ends. A parent that
// is not known has expired.
func (s *stream) start(ctx context.Context, begin func(*lane)) (started int, err error) {
	for _, id := range s.order {
		n := s.nodes[id]
		if n.started || n.finished || s.waits(n) {
			continue
		}
		if s.m.cfg.SameShards {
			if err := s.shape(ctx, n.keys); err != nil {
				return started, fmt.Errorf("give the target a shard like %s: %w", id, err)
			}
		}
		n.started = true
		l := newLane(s, n)
		s.mu.Lock()
		s.lanes[id] = l
		s.mu.Unlock()
		begin(l)
		started++
	}
	return started, nil
}

func (s *stream) waits(n *node) bool {
	for _, p := range n.parents {
		if parent := s.nodes[p]; parent != nil && !parent.finished {
			return true
		}
	}
	return false
}

// ended takes note of a lane that has ended by itself.
func (s *stream) ended(ctx context.Context, e laneEnd) error {
	s.left(e.id)
	n := s.nodes[e.id]
	switch {
	case e.gone:
		if _, err := s.describeSource(ctx, s.m.giveUp()); err != nil {
			return fmt.Errorf("the source can be read no more: %w", err)
		}
		s.gap(e.id, "the shard has left the source by retention before it was read to its end")
	case e.err != nil:
		return e.err
	case !e.ended:
		return nil // it is at its tip, or ctx has ended
	}
	n.finished = true
	s.finish(e.id)
	if !s.m.cfg.Follow {
		return nil // what is newer than the start is for the next time
	}
	orphans := len(e.children) == 0 // some servers do not name them
	for _, c := range e.children {
		sh := types.Shard{ShardId: c.ShardId, HashKeyRange: c.HashKeyRange}
		if len(c.ParentShards) > 0 {
			sh.ParentShardId = aws.String(c.ParentShards[0])
		}
		if len(c.ParentShards) > 1 {
			sh.AdjacentParentShardId = aws.String(c.ParentShards[1])
		}
		s.found(sh, e)
		orphans = orphans || !s.knows(c.ParentShards)
	}
	if !orphans {
		return nil
	}
	// A parent that is not known has expired, or it is a shard that was made and
	// closed while an older one is still being copied: only then must be waited
	// for it, and the list tells.
	var shards []types.Shard
	err := s.m.retry(ctx, s.m.giveUp(), func(ctx context.Context) (err error) {
		shards, err = listShards(ctx, s.m.from, s.name)
		return err
	})
	if err != nil {
		return fmt.Errorf("find the children of %s: %w", e.id, err)
	}
	for _, sh := range shards {
		s.found(sh, e)
	}
	return nil
}

func (s *stream) knows(ids []string) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return s.nodes[id] == nil })
}

// found adds a shard that may be new. If it continues the one that has ended, all
// before a time is known to be in that.
func (s *stream) found(sh types.Shard, e laneEnd) {
	s.add(sh)
	n := s.nodes[aws.ToString(sh.ShardId)]
	if n == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.st.Shards[n.id]
	if st == nil {
		st = &shardState{}
		s.st.Shards[n.id] = st
		s.dirty = true
	}
	if slices.Contains(n.parents, e.id) && !n.started {
		st.Covered = later(st.Covered, e.covered)
	}
}

// left removes a lane from the statistics.
func (s *stream) left(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lanes, id)
}

// finish notes that a shard is stored to its end.
func (s *stream) finish(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.Shards[id].Done = true
	s.dirty = true
}

// coveredStep is how far the time that a shard is read to must have gone for a
// new state file on its own account: an idle mirror writes seldom.
const coveredStep = time.Minute

// progress notes how far a shard is stored. Empty values leave what is there.
func (s *stream) progress(id, seq string, covered time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.st.Shards[id]
	if seq != "" && seq != sh.Sequence {
		sh.Sequence = seq
		s.dirty = true
	}
	if s.dirty && covered.After(sh.Covered) || covered.Sub(sh.Covered) >= coveredStep {
		sh.Covered = covered
		s.dirty = true
	}
}

// shard returns a copy of the state of a shard.
func (s *stream) shard(id string) (sh shardState, st streamState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.st.Shards[id], *s.st
}

// news returns the state if it changed since the last call, or always.
func (s *stream) news(always bool) *streamState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty && !always {
		return nil
	}
	s.dirty = false
	return s.st.clone()
}

func (s *stream) stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Stream:  Stream{From: s.name, To: s.to},
		Records: s.records.Load(), Bytes: s.bytes.Load(), Duplicates: s.duplicates.Load(), Resent: s.resent.Load(), Reordered: s.reordered.Load(),
		ThrottledReads: s.throttledReads.Load(), ThrottledWrites: s.throttledWrites.Load(), Gaps: s.gaps.Load(), Split: s.split.Load(),
		Shards: len(s.lanes),
	}
	for _, l := range s.lanes {
		st.Lag = max(st.Lag, time.Duration(l.lag.Load()))
	}
	return st
}

// incomplete returns an error that says what of the stream is not at the target
// for good, or not to be seen there by all.
func (s *stream) incomplete() error {
	var errs []error
	if n := s.gaps.Load(); n > 0 {
		errs = append(errs, fmt.Errorf("%w: stream %s: records of %d shards, or of several times, left the source by retention before they were read; see above", ErrIncomplete, s.name, n))
	}
	if n := s.split.Load(); n > 0 {
		errs = append(errs, fmt.Errorf("%w: stream %s: %d aggregated records hold user records of several shards of the target, which consumers leave out; copy it with --create --same-shards to a stream of its own", ErrIncomplete, s.name, n))
	}
	return errors.Join(errs...)
}
