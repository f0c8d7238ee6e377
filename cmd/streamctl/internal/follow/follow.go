// Package follow reads a whole stream, without leases: every shard, parents
// before their children, through splits and merges, with aggregated records
// taken apart.
package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/shard"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// API is what Stream calls; *kinesis.Client has it.
type API interface {
	shard.Lister
	GetShardIterator(context.Context, *kinesis.GetShardIteratorInput, ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error)
	GetRecords(context.Context, *kinesis.GetRecordsInput, ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error)
}

// Record is a user record with the place where it is stored.
type Record struct {
	ShardID           string
	SequenceNumber    string
	SubSequenceNumber int
	Aggregated        bool // stored inside an aggregated record
	PartitionKey      string
	ExplicitHashKey   string // known for aggregated records only
	// OutOfRange tells that the hash key of an aggregated user record is not in
	// the range of its shard: it was put across a reshard, or by a producer that
	// aggregates without regard to shards.
	OutOfRange bool
	Arrival    time.Time
	Data       []byte
}

// Config says where to start and when to end. The zero Config reads from the
// oldest record on, for ever.
type Config struct {
	// From is TRIM_HORIZON, LATEST or AT_TIMESTAMP. Empty means TRIM_HORIZON.
	From types.ShardIteratorType
	// Timestamp goes with AT_TIMESTAMP.
	Timestamp time.Time
	// UntilCaughtUp ends the reading once each open shard was read to its end.
	UntilCaughtUp bool
	// Poll is the pause after a read that found a shard empty. Default 1s.
	Poll time.Duration
	// GiveUp is how long a shard may fail before Stream returns the error.
	// Default 1m.
	GiveUp time.Duration
	// Warn is told when reading a shard begins to fail. May be nil.
	Warn func(shardID string, err error)
	// Raw hands out Kinesis records as they are stored.
	Raw bool
	// KeepAll hands out all user records of an aggregated record. The default,
	// false, does as consumers do: from the records of the KPL and of this
	// project's producer, which put user records that are out of range again,
	// these are left out.
	KeepAll bool
}

// ErrStop is returned by a deliver function to end [Stream] without an error.
var ErrStop = errors.New("follow: stop")

// node is a shard that Stream knows.
type node struct {
	id       string
	parents  []string
	keys     hashkey.Range
	from     types.ShardIteratorType
	started  bool
	done     bool // read to its end, or not to be read at all
	caughtUp bool
}

// event is what a reader found in one read.
type event struct {
	id       string
	records  []Record
	caughtUp bool
	ended    bool
	children []types.ChildShard
	err      error
}

type follower struct {
	api    API
	stream string
	cfg    Config
	nodes  map[string]*node
	order  []string // of nodes, as they were found
	events chan event
}

// Stream calls deliver with the records of each read, in one goroutine, until
// ctx ends, deliver returns an error, or the reading is over. Records of one
// shard come in their order, and after all records of its parents.
func Stream(ctx context.Context, api API, stream string, cfg Config, deliver func([]Record) error) error {
	if cfg.From == "" {
		cfg.From = types.ShardIteratorTypeTrimHorizon
	}
	if cfg.Poll <= 0 {
		cfg.Poll = time.Second
	}
	if cfg.GiveUp <= 0 {
		cfg.GiveUp = time.Minute
	}
	f := &follower{api: api, stream: stream, cfg: cfg, nodes: map[string]*node{}, events: make(chan event)}
	shards, err := shard.List(ctx, api, stream)
	if err != nil {
		return err
	}
	for _, s := range shards {
		n := f.add(aws.ToString(s.ShardId), shard.Parents(s), s.HashKeyRange)
		n.from = cfg.From
		n.done = cfg.From == types.ShardIteratorTypeLatest && !shard.Open(s)
	}

	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for {
		f.start(ctx, &readers)
		if f.over() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-f.events:
			if err := f.handle(ctx, e, deliver); err != nil {
				if errors.Is(err, ErrStop) {
					return nil
				}
				return err
			}
		}
	}
}

func (f *follower) add(id string, parents []string, keys *types.HashKeyRange) *node {
	n := &node{id: id, parents: parents, keys: hashkey.All}
	if keys != nil {
		first, err1 := hashkey.Parse(aws.ToString(keys.StartingHashKey))
		last, err2 := hashkey.Parse(aws.ToString(keys.EndingHashKey))
		if err1 == nil && err2 == nil {
			n.keys = hashkey.Range{Start: first, End: last}
		}
	}
	f.nodes[id] = n
	f.order = append(f.order, id)
	return n
}

// start begins to read each shard whose parents are all read. A parent that is
// not known has expired.
func (f *follower) start(ctx context.Context, readers *sync.WaitGroup) {
	for _, id := range f.order {
		n := f.nodes[id]
		if n.started || n.done || f.waits(n) {
			continue
		}
		n.started = true
		r := reader{f: f, id: n.id, keys: n.keys, from: n.from}
		readers.Go(func() { r.run(ctx) })
	}
}

func (f *follower) waits(n *node) bool {
	for _, p := range n.parents {
		if parent := f.nodes[p]; parent != nil && !parent.done {
			return true
		}
	}
	return false
}

// over reports whether there is nothing left to read, or nothing that
// UntilCaughtUp asks for.
func (f *follower) over() bool {
	for _, n := range f.nodes {
		if !n.done && (!f.cfg.UntilCaughtUp || !n.caughtUp) {
			return false
		}
	}
	return true
}

func (f *follower) handle(ctx context.Context, e event, deliver func([]Record) error) error {
	if e.err != nil {
		return e.err
	}
	if len(e.records) > 0 {
		if err := deliver(e.records); err != nil {
			return err
		}
	}
	n := f.nodes[e.id]
	n.caughtUp = n.caughtUp || e.caughtUp
	if !e.ended {
		return nil
	}
	n.done = true
	// A shard that is found later is read from its start, whatever the
	// beginning was: its parents were being read when it was made.
	from := f.cfg.From
	if from == types.ShardIteratorTypeLatest {
		from = types.ShardIteratorTypeTrimHorizon
	}
	for _, c := range e.children {
		if id := aws.ToString(c.ShardId); f.nodes[id] == nil {
			f.add(id, c.ParentShards, c.HashKeyRange).from = from
		}
	}
	if len(e.children) > 0 {
		return nil
	}
	// Some servers do not name the children with the last records.
	shards, err := shard.List(ctx, f.api, f.stream)
	if err != nil {
		return fmt.Errorf("find the children of %s: %w", e.id, err)
	}
	for _, s := range shards {
		if id := aws.ToString(s.ShardId); f.nodes[id] == nil {
			f.add(id, shard.Parents(s), s.HashKeyRange).from = from
		}
	}
	return nil
}
