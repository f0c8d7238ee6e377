package demo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/leases"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/shard"
)

// observed is what the server last said about shards and leases.
type observed struct {
	mu     sync.Mutex // guards all
	shards []types.Shard
	leases map[string]leases.Lease // by shard id
	acked  uint64                  // lines that the stream has acknowledged to agent and service
	down   bool
}

func (o *observed) acknowledged() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.acked
}

// observe asks again and again until ctx ends. A server that is down is part
// of the show.
func (d *demo) observe(ctx context.Context) {
	for {
		shards, err := shard.List(ctx, d.c.kinesis, Stream)
		var table []leases.Lease
		if err == nil {
			// The table is made by the first worker.
			table, _ = leases.Read(ctx, d.c.dynamodb, App)
		}
		acked := d.c.acknowledged(ctx)
		d.seen.mu.Lock()
		d.seen.acked = max(d.seen.acked, acked)
		if d.seen.down = err != nil; err == nil {
			d.seen.shards = shards
			d.seen.leases = make(map[string]leases.Lease, len(table))
			for _, l := range table {
				d.seen.leases[l.Key] = l
			}
		}
		d.seen.mu.Unlock()
		if !pause(ctx, 500*time.Millisecond) {
			return
		}
	}
}

func width(s types.Shard) float64 {
	from, to, err := shard.Percent(s)
	if err != nil {
		return 0
	}
	return to - from
}

func sortByRange(shards []types.Shard) {
	slices.SortStableFunc(shards, func(a, b types.Shard) int {
		x, _, _ := shard.Percent(a)
		y, _, _ := shard.Percent(b)
		return cmp.Compare(x, y)
	})
}

// figures are the numbers of one moment.
type figures struct {
	elapsed  time.Duration
	written  uint64 // lines
	bytes    int64
	acked    uint64 // lines acknowledged, as of a moment ago
	stored   uint64 // lines that can be read in the stream
	records  uint64 // Kinesis records that hold them
	read     uint64 // different lines that came back
	repeats  uint64
	fraction float64
	rate     float64 // lines read a second, lately
}

func (f figures) lag() uint64 { return f.written - min(f.read, f.written) }

// line is the plain form, for output that is no terminal.
func (f figures) line() string {
	return fmt.Sprintf("%6.1fs  %3.0f%%  written %s lines (%s)  acknowledged %s  read back %s (%s repeats)  lag %s",
		f.elapsed.Seconds(), 100*f.fraction, number(f.written), megabytes(f.bytes), number(f.acked), number(f.read), number(f.repeats), number(f.lag()))
}

// block is the live form.
func (d *demo) block(f figures) []string {
	lines := []string{
		"",
		fmt.Sprintf("  %s %3.0f%%  %s lines/s", bar(f.fraction, 40), 100*f.fraction, number(uint64(f.rate))),
		"",
		fmt.Sprintf("  written       %12s lines  %s in %d files, rotated %d times", number(f.written), megabytes(f.bytes), d.replay.Files, d.replay.Rotations()),
		fmt.Sprintf("  acknowledged  %12s lines", number(f.acked)),
		fmt.Sprintf("  in the stream %12s lines  in %s Kinesis records", number(f.stored), number(f.records)),
		fmt.Sprintf("  read back     %12s lines  %s repeats", number(f.read), number(f.repeats)),
		fmt.Sprintf("  lag           %12s lines", number(f.lag())),
		"",
	}
	return append(lines, d.seen.table()...)
}

// table draws the shards, where they lie in the hash space, and their leases.
func (o *observed) table() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return []string{"  streamd is down"}
	}
	var open []types.Shard
	closed := 0
	for _, s := range o.shards {
		// A closed shard matters until it is read to its end.
		if !shard.Open(s) && o.finishedLocked(aws.ToString(s.ShardId)) {
			closed++
		} else {
			open = append(open, s)
		}
	}
	sortByRange(open)
	lines := []string{fmt.Sprintf("  %-6s %-32s %-15s %-9s %s", "shard", "hash keys", "", "state", "lease")}
	for _, s := range open {
		from, to, err := shard.Percent(s)
		if err != nil {
			continue
		}
		id, state := aws.ToString(s.ShardId), "open"
		if !shard.Open(s) {
			state = "closed"
		}
		owner := o.leases[id].Owner
		if owner == "" {
			owner = "-"
		}
		lines = append(lines, fmt.Sprintf("  %-6s %s %5.1f – %5.1f %% %-9s %s", shard.Short(id), strip(from, to, 32), from, to, state, owner))
	}
	if closed > 0 {
		lines = append(lines, fmt.Sprintf("  and %s closed and read to the end", plural(closed, "shard")))
	}
	return lines
}

// finishedLocked reports whether a closed shard was read to its end: its lease
// says so, or is gone while a child has one.
func (o *observed) finishedLocked(id string) bool {
	if l, ok := o.leases[id]; ok {
		return l.Checkpoint == leases.ShardEnd
	}
	for _, l := range o.leases {
		if slices.Contains(l.Parents, id) {
			return true
		}
	}
	return false
}

// strip marks a part of the hash space.
func strip(from, to float64, width int) string {
	lo := int(from/100*float64(width) + 0.5)
	hi := max(lo+1, int(to/100*float64(width)+0.5))
	return strings.Repeat("·", lo) + strings.Repeat("█", hi-lo) + strings.Repeat("·", max(0, width-hi))
}
