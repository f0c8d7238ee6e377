package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// TestServerKilledDuringPuts kills streamd again and again while clients put
// and read, reshards in between, and then holds the whole history against what
// a stream promises.
func TestServerKilledDuringPuts(t *testing.T) {
	const (
		stream  = "crash"
		rounds  = 6
		writers = 4
		perLife = 1000 // records acknowledged before the next kill, about
	)
	needProcesses(t)
	s := startServer(t)
	s.createStream(stream, 3)

	h := newHistory()
	var stopping atomic.Bool
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() { writeUntil(t.Context(), s, stream, fmt.Sprintf("w%d", w), h, &stopping) })
	}
	readCtx, stopReading := context.WithCancel(t.Context())
	defer stopReading()
	var reading sync.WaitGroup
	reading.Go(func() { followShards(readCtx, s, stream, h) })

	for round := range rounds {
		target := h.acked() + perLife + rand.IntN(perLife)
		eventually(t, 60*time.Second, "records acknowledged", func() error {
			if n := h.acked(); n < target {
				return fmt.Errorf("%d of %d", n, target)
			}
			return nil
		})
		s.kill()
		s.start()
		switch round {
		case 1:
			if err := s.splitFirst(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
		case 3:
			if err := s.mergeFirst(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
		}
	}
	stopping.Store(true)
	work.Wait()
	stopReading()
	reading.Wait()

	// A last kill, so that what is read has been written to disk before.
	s.kill()
	s.start()
	var err error
	if h.shards, err = s.shards(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	h.final = map[string][]types.Record{}
	stored := 0
	for _, sh := range h.shards {
		records, err := s.readShard(t.Context(), stream, *sh.ShardId)
		if err != nil {
			t.Fatal(err)
		}
		h.final[*sh.ShardId] = records
		stored += len(records)
	}
	bad := h.check()
	t.Logf("%d kills, %d shards, %d records put, %d acknowledged, %d stored, %d reads", rounds+1, len(h.shards), len(h.puts), h.acked(), stored, len(h.reads))
	if len(h.shards) != 6 {
		t.Errorf("%d shards, want 3, 2 from the split and 1 from the merge", len(h.shards))
	}
	if len(h.reads) == 0 {
		t.Error("nothing was read on the way")
	}
	if len(bad) > 0 {
		t.Errorf("%d broken promises, the first of them:\n%s", len(bad), strings.Join(bad[:min(len(bad), 20)], "\n"))
	}
}

// writeUntil puts records of its own, one request after the other, until stop.
// A request without an answer is not tried again: its records may be stored.
func writeUntil(ctx context.Context, s *server, stream, name string, h *history, stop *atomic.Bool) {
	c := s.kinesis()
	for n := 0; !stop.Load() && ctx.Err() == nil; {
		in := &kinesis.PutRecordsInput{StreamName: &stream}
		var puts []put
		for range 1 + rand.IntN(40) {
			p := put{value: fmt.Sprintf("%s-%d", name, n), key: fmt.Sprintf("key-%d", rand.IntN(1000))}
			n++
			puts = append(puts, p)
			in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: []byte(p.value), PartitionKey: aws.String(p.key)})
		}
		began := h.now()
		out, err := c.PutRecords(ctx, in, noRetry)
		ended := h.now()
		for i := range puts {
			puts[i].start, puts[i].end = began, ended
			if err == nil && out.Records[i].ErrorCode == nil {
				puts[i].acked = true
				puts[i].shard = aws.ToString(out.Records[i].ShardId)
				puts[i].seq = aws.ToString(out.Records[i].SequenceNumber)
			}
		}
		h.addPuts(puts...)
		if err != nil {
			pause(ctx, 20*time.Millisecond)
		}
	}
}

// followShards reads every shard of the stream as it grows, and notes each
// answer.
func followShards(ctx context.Context, s *server, stream string, h *history) {
	c := s.kinesis()
	last := map[string]string{} // by shard
	next := map[string]*string{}
	for ctx.Err() == nil {
		list, err := c.ListShards(ctx, &kinesis.ListShardsInput{StreamName: &stream}, noRetry)
		if err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		for _, sh := range list.Shards {
			id := *sh.ShardId
			if next[id] == nil {
				in := &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: &id, ShardIteratorType: types.ShardIteratorTypeTrimHorizon}
				if last[id] != "" {
					in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, aws.String(last[id])
				}
				it, err := c.GetShardIterator(ctx, in, noRetry)
				if err != nil {
					continue
				}
				next[id] = it.ShardIterator
			}
			out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next[id], Limit: aws.Int32(700)}, noRetry)
			if err != nil {
				next[id] = nil
				continue
			}
			next[id] = out.NextShardIterator
			if len(out.Records) > 0 {
				h.addRead(read{shard: id, after: last[id], records: out.Records})
				last[id] = *out.Records[len(out.Records)-1].SequenceNumber
			}
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
