package consumer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// counts notes how often each record was delivered.
type counts struct {
	mu sync.Mutex // guards n
	n  map[string]int
}

func (c *counts) ProcessRecords(_ context.Context, b *consumer.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	for _, r := range b.Records {
		c.n[string(r.Data)]++
	}
	return nil
}

// check fails the test unless each of n records came once.
func (c *counts) check(t *testing.T, n int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var wrong []string
	for i := range n {
		if got := c.n[fmt.Sprintf("%06d", i)]; got != 1 {
			wrong = append(wrong, fmt.Sprintf("%06d: %d times", i, got))
		}
	}
	if len(wrong) > 0 || len(c.n) != n {
		t.Errorf("%d records delivered of %d; %d not once: %s", len(c.n), n, len(wrong), strings.Join(wrong[:min(len(wrong), 10)], ", "))
	}
}

// TestEachRecordOnce: a producer that loses answers, and stamps what it sends;
// shards that split and merge; a worker that dies. Without stamps, or without
// DropDuplicates, records come more than once.
func TestEachRecordOnce(t *testing.T) {
	for _, tt := range []struct {
		name        string
		compression producer.Compression
		mode        consumer.RetrievalMode
	}{
		{"polling", producer.CompressionNone, consumer.RetrievalPolling},
		{"polling, compressed", producer.CompressionZstd, consumer.RetrievalPolling},
		{"fan-out", producer.CompressionNone, consumer.RetrievalFanOut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := streamdtest.New(t)
				srv.CreateStream(t, "orders", 2)
				api := srv.Kinesis()
				p, err := producer.New(api, "orders", producer.Config{
					DuplicateStamps: true, Compression: tt.compression, RequestTimeout: 2 * time.Second, Logger: quiet(),
				})
				if err != nil {
					t.Fatal(err)
				}
				store, err := dynamolease.New(srv.DynamoDB(), "app", dynamolease.Config{})
				if err != nil {
					t.Fatal(err)
				}
				var got counts
				var workers [3]*consumer.Consumer
				start := func(i int, s consumer.LeaseStore) func() {
					c, err := consumer.New(api, s, "app", "orders", func(*consumer.Shard) (consumer.Processor, error) { return &got, nil }, consumer.Config{
						WorkerID: fmt.Sprint("worker-", i), DropDuplicates: true, RetrievalMode: tt.mode, Logger: quiet(),
					})
					if err != nil {
						t.Fatal(err)
					}
					workers[i] = c
					return run(t, c)
				}
				cut := &tableView{CoordinationStore: store}
				stopA, stopB := start(0, cut), start(1, store)
				time.Sleep(10 * time.Second) // until they share the shards

				n := 0
				put := func(count int) {
					for range count {
						r := producer.UserRecord{PartitionKey: fmt.Sprint("key-", n%97), Data: fmt.Appendf(nil, "%06d", n)}
						if err := p.Put(t.Context(), r, nil); err != nil {
							t.Fatal(err)
						}
						if n++; n%50 == 0 {
							time.Sleep(50 * time.Millisecond)
						}
					}
				}
				lost := srv.Fault(t, streamd.Fault{Kind: streamd.FaultReplyLost, Operation: "PutRecords", Probability: 0.2})
				put(2000)
				split(t, api, "0", "85070591730234615865843651857942052864")
				put(1000)
				split(t, api, "1", "255211775190703847597530955573826158592")
				put(1000)
				merge(t, api, "3", "4")
				put(2000)
				lost()
				time.Sleep(30 * time.Second) // all is read, and stored as read
				got.check(t, n)

				// The worker that dies has stored all that it has read. What comes
				// after that to its shards, again, is known to the next owner.
				cut.cut.Store(true)
				time.Sleep(15 * time.Second)
				stopC := start(2, store)
				time.Sleep(15 * time.Second)
				copies := putAgain(t, srv)
				put(1000)
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(30 * time.Second)
				cut.cut.Store(false)
				stopA()
				stopB()
				stopC()
				got.check(t, n)
				dropped := int64(0)
				for _, c := range workers {
					dropped += c.Stats().DuplicatesDropped
				}
				if dropped < int64(copies) || p.Stats().UserRecordsFailed != 0 {
					t.Errorf("%d copies dropped, %d put at the end", dropped, copies)
				}
			})
		})
	}
}

func split(t *testing.T, api *kinesis.Client, shard, at string) {
	t.Helper()
	if _, err := api.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: aws.String("orders"), ShardToSplit: &shard, NewStartingHashKey: &at}); err != nil {
		t.Fatal(err)
	}
}

func merge(t *testing.T, api *kinesis.Client, a, b string) {
	t.Helper()
	if _, err := api.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: aws.String("orders"), ShardToMerge: &a, AdjacentShardToMerge: &b}); err != nil {
		t.Fatal(err)
	}
}

// putAgain puts the last records of each open shard once more, as a late attempt
// would, and returns how many.
func putAgain(t *testing.T, srv *streamdtest.Server) (n int) {
	t.Helper()
	api := srv.Kinesis()
	shards, err := api.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	for _, sh := range shards.Shards {
		if sh.SequenceNumberRange.EndingSequenceNumber != nil {
			continue
		}
		it, err := api.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: aws.String("orders"), ShardId: sh.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := api.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Records[max(0, len(out.Records)-5):] {
			if _, err := api.PutRecord(t.Context(), &kinesis.PutRecordInput{
				StreamName: aws.String("orders"), PartitionKey: r.PartitionKey, ExplicitHashKey: sh.HashKeyRange.StartingHashKey, Data: r.Data,
			}); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if n == 0 {
		t.Fatal("nothing to put again")
	}
	return n
}

// TestDecoder: a header is cut off; what cannot be decoded is delivered, and
// says so.
func TestDecoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOut(t, 1)
		header := []byte("schema:7 ")
		for _, data := range []string{"schema:7 good", "bad", "panic"} {
			f.record("key", data)
		}
		got := map[string]string{}
		c, stop := f.start(consumer.ProcessorFunc(func(_ context.Context, b *consumer.Batch) error {
			for _, r := range b.Records {
				got[string(r.Data)] = fmt.Sprint(r.DecodeErr)
			}
			return nil
		}), consumer.Config{Decoder: func(r *consumer.Record) ([]byte, error) {
			if string(r.Data) == "panic" {
				panic("of the hook")
			}
			data, ok := bytes.CutPrefix(r.Data, header)
			if !ok {
				return nil, errors.New("no header")
			}
			return data, nil
		}})
		time.Sleep(2 * time.Second)
		stop()
		got["panic"], _, _ = strings.Cut(got["panic"], "\n") // the stack follows
		want := map[string]string{"good": "<nil>", "bad": "no header", "panic": "consumer: panic: of the hook"}
		if !maps.Equal(got, want) || c.Stats().DecodeErrors != 2 {
			t.Errorf("delivered %v, want %v; %d errors counted", got, want, c.Stats().DecodeErrors)
		}
	})
}

// TestBlocks: a compressed block is delivered record by record, and a place
// inside it is not stored.
func TestBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOut(t, 2)
		p, err := producer.New(f.api, "orders", producer.Config{Compression: producer.CompressionZstd, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		const n = 500
		for i := range n {
			if err := p.Put(t.Context(), producer.UserRecord{PartitionKey: fmt.Sprint("key-", i%7), Data: fmt.Appendf(nil, "%06d", i)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if stored := len(f.Records(t, "orders")); stored > 10 {
			t.Fatalf("%d records stored", stored)
		}
		// The first worker acknowledges the first half of each batch and stops:
		// the second must have all that was not, and may have some of what was.
		first := &halfAcker{}
		_, stop := f.start(first, consumer.Config{})
		time.Sleep(10 * time.Second)
		stop()
		var second counts
		_, stop = f.start(&second, consumer.Config{})
		time.Sleep(10 * time.Second)
		stop()
		if first.delivered != n || first.inBlocks == 0 || len(first.acked) == 0 || len(first.acked) >= n {
			t.Errorf("%d records delivered, of %d, %d of them in blocks, %d acknowledged", first.delivered, n, first.inBlocks, len(first.acked))
		}
		for i := range n {
			if data := fmt.Sprintf("%06d", i); !first.acked[data] && second.n[data] != 1 {
				t.Errorf("record %s was not acknowledged, and came %d times after that", data, second.n[data])
			}
		}
	})
}

// halfAcker acknowledges the first half of each batch.
type halfAcker struct {
	mu                  sync.Mutex // guards what follows
	acked               map[string]bool
	delivered, inBlocks int
}

func (h *halfAcker) ProcessRecords(_ context.Context, b *consumer.Batch) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b.Detach()
	if h.acked == nil {
		h.acked = map[string]bool{}
	}
	for i := range b.Records {
		if i < len(b.Records)/2 {
			b.Ack(i)
			h.acked[string(b.Records[i].Data)] = true
		}
		if h.delivered++; b.Records[i].BlockIndex > 0 {
			h.inBlocks++
		}
	}
	return nil
}

func (h *halfAcker) ShutdownRequested(context.Context) error { return nil }

// TestRestartKnowsCopies: the next processor of a shard is not given copies of what
// the one before has acknowledged, be it stored or not.
func TestRestartKnowsCopies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stored bool // a checkpoint, before the first record
	}{
		{"nothing is stored", false},
		{"less is stored", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream := newFakeStream(1, 1)
				put := func(n int) {
					var b aggregation.Builder
					b.Stamp(aggregation.Stamp{Producer: [8]byte{1}, Lane: 1, Sequence: uint64(n), Keys: hashkey.All})
					b.Add(aggregation.Record{PartitionKey: "key", Data: fmt.Appendf(nil, "%06d", n)})
					stream.put("a", b.Seal(nil))
				}
				var got counts
				var restart atomic.Bool
				w := startFactory(t, stream, &faultyStore{LeaseStore: memlease.New()}, func(s *consumer.Shard) (consumer.Processor, error) {
					return consumer.ProcessorFunc(func(ctx context.Context, b *consumer.Batch) error {
						if restart.Swap(false) {
							s.Restart(errFake)
						}
						return got.ProcessRecords(ctx, b)
					}), nil
				}, consumer.Config{DropDuplicates: true, CheckpointInterval: time.Minute})
				time.Sleep(time.Second)
				n := 0
				if tt.stored {
					put(n)
					n++
					time.Sleep(2 * time.Minute)
				}
				put(n)
				time.Sleep(2 * time.Second)
				restart.Store(true)
				put(n + 1)
				time.Sleep(10 * time.Second)
				for i := range n + 2 {
					put(i)
				}
				put(n + 2)
				time.Sleep(10 * time.Second)
				w.wait(t)
				got.check(t, n+3)
				if st := w.Stats(); st.ProcessorRestarts != 1 {
					t.Errorf("%d restarts", st.ProcessorRestarts)
				}
			})
		})
	}
}
