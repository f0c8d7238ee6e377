package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/leases"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/shard"
)

// fault is something that happens once a share of the lines was read back.
type fault struct {
	at float64
	do func(context.Context) error
}

func (d *demo) faults() []fault {
	return []fault{
		{0.20, d.splitShard},
		{0.40, d.mergeShards},
		{0.60, d.killWorker},
		{0.75, d.killServer},
	}
}

// runFaults lets the faults happen, one after the other.
func (d *demo) runFaults(ctx context.Context) error {
	for _, f := range d.faults() {
		for d.fraction() < f.at {
			if !pause(ctx, 20*time.Millisecond) {
				return ctx.Err()
			}
		}
		if err := f.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openShards returns the shards that take records, in order of their ranges.
func (d *demo) openShards(ctx context.Context) ([]types.Shard, error) {
	all, err := shard.List(ctx, d.c.kinesis, Stream)
	if err != nil {
		return nil, err
	}
	var open []types.Shard
	for _, s := range all {
		if shard.Open(s) {
			open = append(open, s)
		}
	}
	sortByRange(open)
	return open, nil
}

func (d *demo) splitShard(ctx context.Context) error {
	open, err := d.openShards(ctx)
	if err != nil {
		return err
	}
	s := open[0]
	for _, o := range open[1:] {
		if width(o) > width(s) {
			s = o
		}
	}
	at, err := shard.Middle(s)
	if err != nil {
		return err
	}
	id := aws.ToString(s.ShardId)
	_, err = d.c.kinesis.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String(Stream), ShardToSplit: s.ShardId, NewStartingHashKey: aws.String(at)})
	if err != nil {
		return fmt.Errorf("split %s: %w", id, err)
	}
	children, err := d.children(ctx, id)
	if err != nil {
		return err
	}
	d.screen.Event("split shard %s into %s", shard.Short(id), children)
	return nil
}

func (d *demo) mergeShards(ctx context.Context) error {
	open, err := d.openShards(ctx)
	if err != nil {
		return err
	}
	i, ok := pair(open)
	if !ok {
		return errors.New("no two shards are adjacent, so there is nothing to merge")
	}
	a, b := open[i], open[i+1]
	id := aws.ToString(a.ShardId)
	_, err = d.c.kinesis.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: aws.String(Stream), ShardToMerge: a.ShardId, AdjacentShardToMerge: b.ShardId})
	if err != nil {
		return fmt.Errorf("merge %s and %s: %w", id, aws.ToString(b.ShardId), err)
	}
	children, err := d.children(ctx, id)
	if err != nil {
		return err
	}
	d.screen.Event("merged shards %s and %s into %s", shard.Short(id), shard.Short(aws.ToString(b.ShardId)), children)
	return nil
}

// pair chooses two adjacent shards, by the place of the first in open: not two
// that a split has just made, if there are others.
func pair(open []types.Shard) (int, bool) {
	best := -1
	for i := range len(open) - 1 {
		if !shard.Adjacent(open[i], open[i+1]) {
			continue
		}
		p, q := shard.Parents(open[i]), shard.Parents(open[i+1])
		if len(p) != 1 || len(q) != 1 || p[0] != q[0] {
			return i, true
		}
		if best < 0 {
			best = i
		}
	}
	return best, best >= 0
}

// children waits for a reshard to end and names what it made of a shard.
func (d *demo) children(ctx context.Context, parent string) (string, error) {
	if err := d.c.waitActive(ctx); err != nil {
		return "", err
	}
	all, err := shard.List(ctx, d.c.kinesis, Stream)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, s := range all {
		for _, p := range shard.Parents(s) {
			if p == parent {
				ids = append(ids, shard.Short(aws.ToString(s.ShardId)))
			}
		}
	}
	return strings.Join(ids, " and "), nil
}

// takeOverLimit is how long the demo waits for the leases of a dead worker to
// find a new owner, before it starts the worker again anyway.
const takeOverLimit = 30 * time.Second

// killWorker kills the worker that has more leases, waits until the other one
// has taken them over, and starts it again.
func (d *demo) killWorker(ctx context.Context) error {
	held, err := d.held(ctx)
	if err != nil {
		return err
	}
	i := 0
	if held[workerName(1)] > held[workerName(0)] {
		i = 1
	}
	name := workerName(i)
	d.c.mu.Lock()
	p := d.c.workers[i]
	d.c.mu.Unlock()
	p.Kill()
	killed := time.Now()
	d.screen.Event("killed %s (SIGKILL), which held %s", name, plural(held[name], "lease"))
	for {
		held, err := d.held(ctx)
		switch {
		case err != nil:
			return err
		case held[name] == 0:
			d.screen.Event("%s has all leases, %.1f s after the kill", workerName(1-i), time.Since(killed).Seconds())
		case time.Since(killed) > takeOverLimit:
			d.screen.Event("%s still has %s of the dead %s after %v", "nobody", plural(held[name], "lease"), name, takeOverLimit)
		default:
			if !pause(ctx, 100*time.Millisecond) {
				return ctx.Err()
			}
			continue
		}
		break
	}
	if err := d.c.startWorker(i); err != nil {
		return err
	}
	d.screen.Event("started %s again", name)
	return nil
}

// held counts the leases of each worker on shards that are not read to their
// end.
func (d *demo) held(ctx context.Context) (map[string]int, error) {
	all, err := leases.Read(ctx, d.c.dynamodb, App)
	if err != nil {
		return nil, err
	}
	held := map[string]int{}
	for _, l := range all {
		if l.Owner != "" && l.Checkpoint != leases.ShardEnd {
			held[l.Owner]++
		}
	}
	return held, nil
}

// killServer kills streamd in the middle of everything, and starts it again
// over the same data.
func (d *demo) killServer(ctx context.Context) error {
	d.c.mu.Lock()
	p := d.c.server
	d.c.mu.Unlock()
	p.Kill()
	killed := time.Now()
	d.screen.Event("killed streamd (SIGKILL)")
	if err := d.c.startServer(ctx); err != nil {
		return err
	}
	d.screen.Event("started streamd again over its data; it answers %.1f s after the kill", time.Since(killed).Seconds())
	return nil
}

// plural writes a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
