package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// ledger notes every delivery, in order.
type ledger struct {
	mu    sync.Mutex // guards all
	all   []string
	delay time.Duration // of each record; set before the first
}

func (l *ledger) ProcessRecords(_ context.Context, b *consumer.Batch) error {
	time.Sleep(time.Duration(len(b.Records)) * l.delay)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range b.Records {
		l.all = append(l.all, string(r.Data))
	}
	return nil
}

func (l *ledger) got() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// fanOut is a server with a stream and the means to read it.
type fanOut struct {
	*streamdtest.Server
	t      *testing.T
	api    *kinesis.Client
	leases consumer.LeaseStore
	put    []string // what was put, in order
}

func newFanOut(t *testing.T, shards int, opts ...streamdtest.Option) *fanOut {
	t.Helper()
	srv := streamdtest.New(t, opts...)
	srv.CreateStream(t, "orders", shards)
	return &fanOut{Server: srv, t: t, api: srv.Kinesis(), leases: memlease.New()}
}

func (f *fanOut) record(key, data string) {
	f.t.Helper()
	if _, err := f.api.PutRecord(f.t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: &key, Data: []byte(data)}); err != nil {
		f.t.Fatal(err)
	}
	f.put = append(f.put, data)
}

func (f *fanOut) records(n int) {
	f.t.Helper()
	for range n {
		f.record("key", fmt.Sprintf("%05d", len(f.put)))
	}
}

func (f *fanOut) start(p consumer.Processor, cfg consumer.Config) (*consumer.Consumer, func()) {
	f.t.Helper()
	cfg.Logger = quiet()
	c, err := consumer.New(f.api, f.leases, "app", "orders", func(*consumer.Shard) (consumer.Processor, error) { return p, nil }, cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	return c, run(f.t, c)
}

func (f *fanOut) consumers() (names []string) {
	f.t.Helper()
	sum, err := f.api.DescribeStreamSummary(f.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := f.api.ListStreamConsumers(f.t.Context(), &kinesis.ListStreamConsumersInput{StreamARN: sum.StreamDescriptionSummary.StreamARN})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range out.Consumers {
		if c.ConsumerStatus != types.ConsumerStatusDeleting {
			names = append(names, *c.ConsumerName)
		}
	}
	return names
}

// once fails the test unless l has what was put, each record once; in the order
// in which it was put if it was put under one key.
func (f *fanOut) once(l *ledger) {
	f.t.Helper()
	if got := l.got(); !slices.Equal(got, f.put) {
		f.t.Errorf("%d records read, %d put:\n%s\n%s", len(got), len(f.put), strings.Join(got, ","), strings.Join(f.put, ","))
	}
}

// TestFanOut reads over subscriptions alone, through a split and a merge, for
// longer than a subscription lasts.
func TestFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOut(t, 1)
		f.records(50)
		var got ledger
		c, stop := f.start(&got, consumer.Config{RetrievalMode: consumer.RetrievalFanOut})
		time.Sleep(3 * time.Second)
		f.records(50)
		begun := time.Now()
		for len(got.got()) < 100 {
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(begun); d > 50*time.Millisecond {
			t.Errorf("records came after %v", d)
		}
		if _, err := f.api.SplitShard(t.Context(), &kinesis.SplitShardInput{
			StreamName: aws.String("orders"), ShardToSplit: aws.String("0"), NewStartingHashKey: aws.String("85070591730234615865843651857942052864"),
		}); err != nil {
			t.Fatal(err)
		}
		f.records(50)
		if _, err := f.api.MergeShards(t.Context(), &kinesis.MergeShardsInput{
			StreamName: aws.String("orders"), ShardToMerge: aws.String("1"), AdjacentShardToMerge: aws.String("2"),
		}); err != nil {
			t.Fatal(err)
		}
		f.records(50)
		time.Sleep(3 * time.Second)
		f.once(&got)
		shards := c.Stats().Shards
		if len(shards) != 1 || !shards[0].Subscribed || shards[0].ShardID != "shardId-000000000003" {
			t.Fatalf("shards held: %+v", shards)
		}
		// Nothing is put, and the place moves on all the same.
		place := shards[0].Checkpoint
		for range 12 {
			time.Sleep(time.Minute)
			now := c.Stats().Shards[0].Checkpoint
			if now.Compare(place) <= 0 {
				t.Errorf("the checkpoint of an idle shard stays at %v", now)
			}
			place = now
		}
		f.records(1)
		time.Sleep(time.Second)
		stop()
		f.once(&got)
		s := c.Stats()
		// Four shards, and the last one's subscription replaced twice: 12 minutes.
		if s.Subscriptions != 6 || s.SubscriptionsLost+s.SubscriptionsInUse+s.SubscriptionsSilent+s.Reads+s.ReadErrors != 0 || s.EmptyEvents < 100 {
			t.Errorf("%+v", s)
		}
		if names := f.consumers(); !slices.Equal(names, []string{"app"}) {
			t.Errorf("consumers %v", names)
		}
		if s.BufferedBytes != 0 {
			t.Errorf("%d bytes still charged", s.BufferedBytes)
		}
	})
}

// TestFanOutResumesAtAnEmptyPlace: what an idle shard's checkpoint says is a
// place that both ways of reading start from.
func TestFanOutResumesAtAnEmptyPlace(t *testing.T) {
	for _, mode := range []consumer.RetrievalMode{consumer.RetrievalPolling, consumer.RetrievalFanOut, consumer.RetrievalMixed} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFanOut(t, 1)
				var got ledger
				f.records(3)
				_, stop := f.start(&got, consumer.Config{RetrievalMode: consumer.RetrievalFanOut})
				time.Sleep(30 * time.Second)
				stop()
				f.records(3)
				_, stop = f.start(&got, consumer.Config{RetrievalMode: mode})
				time.Sleep(10 * time.Second)
				stop()
				f.once(&got)
			})
		})
	}
}

// TestFanOutLatest: a subscription from the newest record notes when it began.
func TestFanOutLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOut(t, 1)
		f.records(3)
		f.put = nil
		var got ledger
		cfg := consumer.Config{RetrievalMode: consumer.RetrievalFanOut, InitialPosition: consumer.Position{Latest: true}}
		_, stop := f.start(&got, cfg)
		time.Sleep(2 * time.Second)
		stop()
		f.records(3)
		_, stop = f.start(&got, cfg)
		time.Sleep(10 * time.Second)
		stop()
		f.once(&got)
	})
}

// TestFanOutCuts: subscriptions that end before their time cost time alone.
func TestFanOutCuts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault streamd.Fault
	}{
		{"after events", streamd.Fault{Kind: streamd.FaultFanOutCut, Events: 3, Max: 5}},
		{"at once", streamd.Fault{Kind: streamd.FaultFanOutCut, Lifetime: time.Millisecond, Max: 5}},
		{"connection lost", streamd.Fault{Kind: streamd.FaultFanOutCut, Events: 2, Reset: true, Max: 5}},
		{"refused", streamd.Fault{Kind: streamd.FaultThrottle, Operation: "SubscribeToShard", Max: 5}},
		{"failing", streamd.Fault{Kind: streamd.FaultInternal, Operation: "SubscribeToShard", Max: 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFanOut(t, 1)
				f.Fault(t, tt.fault)
				var got ledger
				c, stop := f.start(&got, consumer.Config{RetrievalMode: consumer.RetrievalFanOut})
				for range 60 {
					f.records(2)
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute)
				stop()
				f.once(&got)
				if s := c.Stats(); s.SubscriptionsLost+s.ReadErrors+s.ThrottledReads != 5 || s.SubscriptionsInUse != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestFanOutAfterAnother: the subscription of a worker that had the shard is in
// the way for five seconds at most.
func TestFanOutAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOut(t, 1)
		var got ledger
		cfg := consumer.Config{RetrievalMode: consumer.RetrievalFanOut}
		_, stop := f.start(&got, cfg)
		time.Sleep(2 * time.Second)
		stop()
		f.records(3)
		// Nothing but the lease says that the shard is free.
		c, stop := f.start(&got, cfg)
		begun := time.Now()
		for len(got.got()) < 3 {
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(begun); d > 6*time.Second || c.Stats().SubscriptionsInUse == 0 {
			t.Errorf("read after %v: %+v", d, c.Stats())
		}
		stop()
		f.once(&got)
	})
}

// TestFanOutRegistersAgain: somebody deregisters the consumer.
func TestFanOutRegistersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOut(t, 1)
		var got ledger
		_, stop := f.start(&got, consumer.Config{RetrievalMode: consumer.RetrievalFanOut, ConsumerName: "mine"})
		f.records(3)
		time.Sleep(10 * time.Second)
		out, err := f.api.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.api.DeregisterStreamConsumer(t.Context(), &kinesis.DeregisterStreamConsumerInput{
			StreamARN: out.StreamDescriptionSummary.StreamARN, ConsumerName: aws.String("mine"),
		}); err != nil {
			t.Fatal(err)
		}
		f.records(3)
		time.Sleep(30 * time.Second)
		f.records(3)
		time.Sleep(10 * time.Second)
		stop()
		f.once(&got)
		if names := f.consumers(); !slices.Equal(names, []string{"mine"}) {
			t.Errorf("consumers %v", names)
		}
	})
}

// TestMixed polls until the consumer is registered, and whenever subscriptions
// are refused.
func TestMixed(t *testing.T) {
	denied := streamd.Fault{Kind: streamd.FaultError, Code: "AccessDeniedException", Message: "no"}
	for _, tt := range []struct {
		name      string
		operation string // that is denied at first
		creating  time.Duration
		switched  time.Duration // at the latest
	}{
		{name: "while creating", creating: 20 * time.Second, switched: 25 * time.Second},
		{name: "registration denied", operation: "RegisterStreamConsumer", switched: 70 * time.Second},
		{name: "description denied", operation: "DescribeStreamSummary", switched: 70 * time.Second},
		{name: "subscription denied", operation: "SubscribeToShard", switched: 70 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFanOut(t, 1, streamdtest.Config(func(c *streamd.Config) { c.TransitionDelay = tt.creating }))
				time.Sleep(2 * tt.creating) // of the stream
				allow := func() {}
				if tt.operation != "" {
					fault := denied
					fault.Operation = tt.operation
					allow = f.Fault(t, fault)
				}
				var got ledger
				begun := time.Now()
				c, stop := f.start(&got, consumer.Config{RetrievalMode: consumer.RetrievalMixed})
				f.records(3)
				time.Sleep(3 * time.Second)
				f.once(&got)
				if s := c.Stats(); s.Reads == 0 || s.Shards[0].Subscribed {
					t.Errorf("not polled: %+v", s)
				}
				allow()
				for !c.Stats().Shards[0].Subscribed {
					f.records(1)
					if time.Sleep(time.Second); time.Since(begun) > 5*time.Minute {
						t.Fatal("not subscribed")
					}
				}
				if d := time.Since(begun); d > tt.switched {
					t.Errorf("subscribed after %v", d)
				}
				reads := c.Stats().Reads
				f.records(3)
				time.Sleep(3 * time.Second)
				if s := c.Stats(); s.Reads != reads {
					t.Errorf("%d reads beside the subscription", s.Reads-reads)
				}
				// Refused later, it goes back.
				fault := denied
				fault.Operation = "SubscribeToShard"
				f.Fault(t, fault)
				for c.Stats().Shards[0].Subscribed {
					f.records(1)
					if time.Sleep(time.Second); time.Since(begun) > 15*time.Minute {
						t.Fatal("still subscribed")
					}
				}
				f.records(3)
				time.Sleep(3 * time.Second)
				f.once(&got)
				if s := c.Stats(); s.Reads == reads || s.FanOutFallbacks == 0 {
					t.Errorf("not polled again: %+v", s)
				}
				stop()
			})
		})
	}
}

// TestMixedWithTooManyConsumers: a stream takes twenty.
func TestMixedWithTooManyConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOut(t, 1, streamdtest.Limits("aws"))
		f.WaitForStream(t.Context(), t, "orders", types.StreamStatusActive)
		sum, err := f.api.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if _, err := f.api.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{
				StreamARN: sum.StreamDescriptionSummary.StreamARN, ConsumerName: aws.String(fmt.Sprint("other-", i)),
			}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		var got ledger
		c, stop := f.start(&got, consumer.Config{RetrievalMode: consumer.RetrievalMixed})
		f.records(3)
		time.Sleep(5 * time.Second)
		f.once(&got)
		if _, err := f.api.DeregisterStreamConsumer(t.Context(), &kinesis.DeregisterStreamConsumerInput{
			StreamARN: sum.StreamDescriptionSummary.StreamARN, ConsumerName: aws.String("other-7"),
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if !c.Stats().Shards[0].Subscribed {
			t.Error("not subscribed though there is room")
		}
		stop()
	})
}

// TestOwnRegistration: only the last worker, and only if it has registered the
// consumer.
func TestOwnRegistration(t *testing.T) {
	for _, tt := range []struct {
		name  string
		order []int // in which two workers stop; the first has registered
		own   bool
		want  int
	}{
		{"last", []int{1, 0}, true, 0},
		{"not last", []int{0, 1}, true, 1},
		{"not asked for", []int{1, 0}, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFanOut(t, 2)
				var stops [2]func()
				for i := range stops {
					_, stops[i] = f.start(new(ledger), consumer.Config{
						WorkerID: fmt.Sprint(i), RetrievalMode: consumer.RetrievalFanOut, OwnRegistration: tt.own,
					})
					time.Sleep(10 * time.Second)
				}
				for _, i := range tt.order {
					stops[i]()
				}
				if names := f.consumers(); len(names) != tt.want {
					t.Errorf("consumers %v, want %d", names, tt.want)
				}
			})
		})
	}
}

// TestFanOutMemory has a processor that stands still.
func TestFanOutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOut(t, 2)
		got := ledger{delay: 2 * time.Second}
		c, stop := f.start(&got, consumer.Config{RetrievalMode: consumer.RetrievalFanOut, MaxBufferedBytes: 1 << 20})
		for i := range 40 {
			f.record(fmt.Sprint(i), strings.Repeat(fmt.Sprint(i%10), 300<<10))
		}
		var most int64
		for range 120 {
			time.Sleep(time.Second)
			most = max(most, c.Stats().BufferedBytes)
		}
		stop()
		// One event is a mebibyte at most, and is never cut.
		if most > 2<<20+64<<10 || most < 512<<10 {
			t.Errorf("%d bytes buffered", most)
		}
		if n := len(got.got()); n != 40 {
			t.Errorf("%d records read", n)
		}
		if s := c.Stats(); s.BufferedBytes != 0 || s.SubscriptionsSilent != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// silentSubscriber is a client whose first subscriptions send nothing.
type silentSubscriber struct {
	*kinesis.Client
	mu     sync.Mutex // guards below
	silent int
	asked  []time.Time
}

// Subscribe implements consumer.Subscriber.
func (s *silentSubscriber) Subscribe(ctx context.Context, in *kinesis.SubscribeToShardInput) (*kinesis.SubscribeToShardEventStream, error) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	silent := len(s.asked) <= s.silent
	s.mu.Unlock()
	if silent {
		return kinesis.NewSubscribeToShardEventStream(func(e *kinesis.SubscribeToShardEventStream) { e.Reader = silentReader{} }), nil
	}
	out, err := kinesis.New(s.Options()).SubscribeToShard(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.GetStream(), nil
}

type silentReader struct{}

func (silentReader) Events() <-chan types.SubscribeToShardEventStream { return nil }
func (silentReader) Close() error                                     { return nil }
func (silentReader) Err() error                                       { return nil }

// TestSilentSubscription is given up after 35 s, and the one after it as well.
func TestSilentSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOut(t, 1)
		api := &silentSubscriber{Client: f.api, silent: 3}
		f.records(3)
		var got ledger
		c, err := consumer.New(api, f.leases, "app", "orders", func(*consumer.Shard) (consumer.Processor, error) { return &got, nil },
			consumer.Config{RetrievalMode: consumer.RetrievalFanOut, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, c)
		time.Sleep(3 * time.Minute)
		stop()
		f.once(&got)
		if s := c.Stats(); s.SubscriptionsSilent != 3 || s.SubscriptionsLost != 0 {
			t.Errorf("%+v", s)
		}
		for i := 1; i < len(api.asked); i++ {
			if d := api.asked[i].Sub(api.asked[i-1]); d < 35*time.Second || d > 40*time.Second {
				t.Errorf("call %d after %v", i, d)
			}
		}
	})
}

func TestFanOutConfig(t *testing.T) {
	srv := streamdtest.New(t)
	for _, tt := range []struct {
		name string
		api  consumer.API
		cfg  consumer.Config
		want string
	}{
		{"no such client", newFakeStream(1, 1), consumer.Config{RetrievalMode: consumer.RetrievalFanOut}, "RetrievalMode fan-out needs a client that implements FanOutAPI, as *kinesis.Client does; *consumer_test.fakeStream does not"},
		{"polling needs none", newFakeStream(1, 1), consumer.Config{}, ""},
		{"a client", srv.Kinesis(), consumer.Config{RetrievalMode: consumer.RetrievalMixed, OwnRegistration: true}, ""},
		{"unknown", srv.Kinesis(), consumer.Config{RetrievalMode: 7}, "RetrievalMode 7 is unknown"},
		{"two names", srv.Kinesis(), consumer.Config{RetrievalMode: consumer.RetrievalFanOut, ConsumerName: "a", ConsumerARN: "b"}, "leave ConsumerName and OwnRegistration out"},
		{"polling", srv.Kinesis(), consumer.Config{ConsumerName: "a"}, "no meaning under RetrievalPolling"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := consumer.New(tt.api, memlease.New(), "app", "orders", func(*consumer.Shard) (consumer.Processor, error) {
				return nil, errors.New("not called")
			}, tt.cfg)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("New: %v, want %q", err, tt.want)
			}
		})
	}
}
