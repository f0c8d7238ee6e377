package integration_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/logcheck"
)

var crashRounds = flag.Int("crash-rounds", 6, "how often the crash tests kill or stop a server")

// TestServerKilledDuringPuts kills streamd again and again while clients put,
// read and count, reshards in between, and then holds the whole history against
// what a stream promises.
func TestServerKilledDuringPuts(t *testing.T) {
	needProcesses(t)
	underFire(t, func(s *server) {
		s.kill()
		s.start()
	})
}

// underFire runs clients against a server, has it attacked once a round, and
// checks in the end, after a last kill, what all of them saw.
func underFire(t *testing.T, attack func(s *server)) {
	t.Helper()
	const (
		stream   = "crash"
		writers  = 4
		perRound = 600 // records acknowledged before the next attack, about
	)
	s := startServer(t)
	s.createStream(stream, 3)
	c := startCounting(t, s)

	h := newHistory()
	var stopping atomic.Bool
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() { writeUntil(t.Context(), s, stream, fmt.Sprintf("w%d", w), chance(uint64(w)), h, &stopping) })
	}
	work.Go(func() { c.until(t.Context(), &stopping) })
	readCtx, stopReading := context.WithCancel(t.Context())
	defer stopReading()
	var reading sync.WaitGroup
	reading.Go(func() { followShards(readCtx, s, stream, h) })

	r := chance(writers)
	shards := 3
	for round := range *crashRounds {
		target := h.Acked() + perRound + r.IntN(perRound)
		eventually(t, 60*time.Second, "records acknowledged", func() error {
			if n := h.Acked(); n < target {
				return fmt.Errorf("%d of %d", n, target)
			}
			return nil
		})
		attack(s)
		var err error
		switch round % 4 {
		case 1:
			err = s.splitFirst(t.Context(), stream)
			shards += 2
		case 3:
			err = s.mergeFirst(t.Context(), stream)
			shards++
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stopping.Store(true)
	work.Wait()
	stopReading()
	reading.Wait()

	// A last kill, so that what is read has been written to disk before.
	s.kill()
	s.start()
	all, err := s.shards(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	final := map[string][]types.Record{}
	stored := 0
	for _, sh := range all {
		records, err := s.readShard(t.Context(), stream, *sh.ShardId)
		if err != nil {
			t.Fatal(err)
		}
		final[*sh.ShardId] = records
		stored += len(records)
	}
	slices.Sort(s.starts)
	t.Logf("%d attacks, %d shards, %d records acknowledged, %d stored, %d counted; ready after %v, at worst %v",
		*crashRounds, len(all), h.Acked(), stored, c.acked, s.starts[len(s.starts)/2], s.starts[len(s.starts)-1])
	if bad := h.check(all, final); len(bad) > 0 {
		t.Error(logcheck.Describe(bad))
	}
	c.check(t)
	if len(all) != shards {
		t.Errorf("%d shards, want %d", len(all), shards)
	}
	if n := len(h.History(nil, nil).Reads); n == 0 {
		t.Error("nothing was read on the way")
	}
}

// writeUntil puts records of its own, one request after the other, until stop.
// A request without an answer is not tried again: its records may be stored.
func writeUntil(ctx context.Context, s *server, stream, name string, r *rand.Rand, h *history, stop *atomic.Bool) {
	c := s.kinesis()
	for n := 0; !stop.Load() && ctx.Err() == nil; {
		in := &kinesis.PutRecordsInput{StreamName: &stream}
		var puts []logcheck.Put
		for range 1 + r.IntN(40) {
			key := fmt.Sprintf("key-%d", r.IntN(1000))
			p := logcheck.Put{Value: fmt.Sprintf("%s-%d", name, n), Hash: hashOf(key)}
			n++
			puts = append(puts, p)
			in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: []byte(p.Value), PartitionKey: &key})
		}
		began := h.Now()
		out, err := c.PutRecords(ctx, in, noRetry)
		ended := h.Now()
		for i := range puts {
			puts[i].Start, puts[i].End = began, ended
			if err == nil && out.Records[i].ErrorCode == nil {
				puts[i].Outcome = logcheck.Acked
				puts[i].Shard = aws.ToString(out.Records[i].ShardId)
				puts[i].Seq = aws.ToString(out.Records[i].SequenceNumber)
			}
		}
		h.Put(puts...)
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
			began := h.Now()
			out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next[id], Limit: aws.Int32(700)}, noRetry)
			if err != nil {
				next[id] = nil
				continue
			}
			next[id] = out.NextShardIterator
			h.Read(logcheck.Read{
				Shard: id, After: last[id], Records: logRecords(out.Records), Start: began, End: h.Now(),
				Tip: aws.ToInt64(out.MillisBehindLatest) == 0,
			})
			if len(out.Records) > 0 {
				last[id] = *out.Records[len(out.Records)-1].SequenceNumber
			}
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// counter counts an item of a table up, without trying anything twice.
type counter struct {
	s              *server
	acked, unknown int // requests with an answer, and without
}

const counterTable = "counters"

func startCounting(t *testing.T, s *server) *counter {
	t.Helper()
	_, err := s.dynamodb().CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String(counterTable), BillingMode: ddb.BillingModePayPerRequest,
		KeySchema:            []ddb.KeySchemaElement{{AttributeName: aws.String("k"), KeyType: ddb.KeyTypeHash}},
		AttributeDefinitions: []ddb.AttributeDefinition{{AttributeName: aws.String("k"), AttributeType: ddb.ScalarAttributeTypeS}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &counter{s: s}
}

func counterKey() map[string]ddb.AttributeValue {
	return map[string]ddb.AttributeValue{"k": &ddb.AttributeValueMemberS{Value: "one"}}
}

func (c *counter) until(ctx context.Context, stop *atomic.Bool) {
	db := c.s.dynamodb()
	for !stop.Load() && ctx.Err() == nil {
		_, err := db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: aws.String(counterTable), Key: counterKey(), UpdateExpression: aws.String("ADD n :one"),
			ExpressionAttributeValues: map[string]ddb.AttributeValue{":one": &ddb.AttributeValueMemberN{Value: "1"}},
		}, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
		if err == nil {
			c.acked++
			continue
		}
		c.unknown++
		pause(ctx, 20*time.Millisecond)
	}
}

// check fails the test unless each answered request has counted once, and each
// other at most once.
func (c *counter) check(t *testing.T) {
	t.Helper()
	out, err := c.s.dynamodb().GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String(counterTable), Key: counterKey(), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	number, ok := out.Item["n"].(*ddb.AttributeValueMemberN)
	if !ok {
		t.Fatalf("the counter is %v", out.Item)
	}
	n, err := strconv.Atoi(number.Value)
	if err != nil {
		t.Fatal(err)
	}
	if n < c.acked || n > c.acked+c.unknown {
		t.Errorf("the counter is at %d, %d were acknowledged and %d had no answer", n, c.acked, c.unknown)
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
