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
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// desk is a server with streams, a list of them that may change, and what was read.
type desk struct {
	t   *testing.T
	srv *streamdtest.Server
	api *kinesis.Client

	mu      sync.Mutex // guards all below
	streams []consumer.StreamConfig
	listErr error
	got     map[string][]string // data by stream, in order
	twice   int
}

func newDesk(t *testing.T, streams map[string]int) *desk {
	t.Helper()
	d := &desk{t: t, srv: streamdtest.New(t), got: map[string][]string{}}
	d.api = d.srv.Kinesis()
	for name, shards := range streams {
		d.srv.CreateStream(t, name, shards)
	}
	return d
}

func (d *desk) list(names ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams = nil
	for _, n := range names {
		d.streams = append(d.streams, consumer.StreamConfig{Stream: n})
	}
}

func (d *desk) track(context.Context) ([]consumer.StreamConfig, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.streams), d.listErr
}

func (d *desk) store() *dynamolease.Store {
	d.t.Helper()
	s, err := dynamolease.New(d.srv.DynamoDB(), "billing", dynamolease.Config{})
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (d *desk) process(_ context.Context, b *consumer.Batch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range b.Records {
		if slices.Contains(d.got[b.Shard.Stream], string(r.Data)) {
			d.twice++
			continue
		}
		d.got[b.Shard.Stream] = append(d.got[b.Shard.Stream], string(r.Data))
	}
	return nil
}

func (d *desk) count(stream string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.got[stream])
}

// start runs a worker until the returned function is called.
func (d *desk) start(store consumer.LeaseStore, cfg consumer.Config) (*consumer.Consumer, func()) {
	d.t.Helper()
	cfg.Logger = quiet()
	c, err := consumer.NewMultiStream(d.api, store, "billing", d.track, func(*consumer.Shard) (consumer.Processor, error) {
		return consumer.ProcessorFunc(d.process), nil
	}, cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	return c, run(d.t, c)
}

func (d *desk) put(stream string, from, n int) {
	d.t.Helper()
	for i := from; i < from+n; i++ {
		_, err := d.api.PutRecord(d.t.Context(), &kinesis.PutRecordInput{
			StreamName: &stream, PartitionKey: aws.String(fmt.Sprint("key-", i%7)), Data: fmt.Appendf(nil, "%s-%04d", stream, i),
		})
		if err != nil {
			d.t.Fatal(err)
		}
	}
}

// until waits, in virtual time, until ok.
func (d *desk) until(what string, limit time.Duration, ok func() bool) {
	d.t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > limit {
			d.t.Fatalf("%v have passed, and not yet: %s", limit, what)
		}
	}
}

// rows returns the lease rows of the table, by key.
func (d *desk) rows() map[string]map[string]dynamotypes.AttributeValue {
	d.t.Helper()
	out, err := d.srv.DynamoDB().Scan(d.t.Context(), &dynamodb.ScanInput{TableName: aws.String("billing")})
	if err != nil {
		d.t.Fatal(err)
	}
	rows := map[string]map[string]dynamotypes.AttributeValue{}
	for _, it := range out.Items {
		if it["checkpoint"] != nil {
			rows[textOf(it["leaseKey"])] = it
		}
	}
	return rows
}

func textOf(v dynamotypes.AttributeValue) string {
	if s, ok := v.(*dynamotypes.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// identityOf returns what the keys of a stream's leases begin with.
func (d *desk) identityOf(stream string) string {
	d.t.Helper()
	out, err := d.api.DescribeStreamSummary(d.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
	if err != nil {
		d.t.Fatal(err)
	}
	return fmt.Sprintf("000000000000:%s:%d", stream, out.StreamDescriptionSummary.StreamCreationTimestamp.Unix())
}

// TestMultiStream: two workers read two streams by the rules of each mode, through a
// split and a stop; the rows are those of the official library.
func TestMultiStream(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.ModeAuto, consumer.ModeKCL2, consumer.ModeKCL3, consumer.ModeNative} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, map[string]int{"orders": 2, "payments": 2})
				d.list("orders", "payments")
				a, stopA := d.start(d.store(), consumer.Config{Mode: mode, WorkerID: "a"})
				d.put("orders", 0, 50)
				d.put("payments", 0, 50)
				d.until("all is read", time.Minute, func() bool { return d.count("orders") == 50 && d.count("payments") == 50 })
				b, stopB := d.start(d.store(), consumer.Config{Mode: mode, WorkerID: "b"})
				d.until("the shards of both streams are divided", 5*time.Minute, func() bool {
					return len(a.Stats().Shards) == 2 && len(b.Stats().Shards) == 2
				})
				if _, err := d.api.SplitShard(t.Context(), &kinesis.SplitShardInput{
					StreamName: aws.String("payments"), ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("85070591730234615865843651857942052864"),
				}); err != nil {
					t.Fatal(err)
				}
				d.put("payments", 50, 50)
				d.put("orders", 50, 20)
				d.until("children are read", time.Minute, func() bool { return d.count("orders") == 70 && d.count("payments") == 100 })

				orders, payments := d.identityOf("orders"), d.identityOf("payments")
				rows := d.rows()
				for key, row := range rows {
					stream, shard := consumer.SplitLeaseKey(key)
					if stream == "" || textOf(row["streamName"]) != stream || textOf(row["shardId"]) != shard {
						t.Errorf("row %q has streamName %q and shardId %q", key, textOf(row["streamName"]), textOf(row["shardId"]))
					}
				}
				child := rows[payments+":shardId-000000000002"]
				if p, ok := child["parentShardId"].(*dynamotypes.AttributeValueMemberSS); !ok || !slices.Equal(p.Value, []string{"shardId-000000000000"}) {
					t.Errorf("the child has the parents %v", child["parentShardId"])
				}
				parent := rows[payments+":shardId-000000000000"]
				if p, ok := parent["childShardIds"].(*dynamotypes.AttributeValueMemberSS); !ok || len(p.Value) != 2 || p.Value[0] != "shardId-000000000002" {
					t.Errorf("the parent has the children %v", parent["childShardIds"])
				}
				if len(rows) != 6 || rows[orders+":shardId-000000000001"] == nil {
					t.Errorf("%d rows", len(rows))
				}

				stopA()
				d.put("orders", 70, 10)
				d.put("payments", 100, 10)
				d.until("the other worker reads all", 2*time.Minute, func() bool { return d.count("orders") == 80 && d.count("payments") == 110 })
				st := b.Stats()
				if len(st.Shards) != 5 || len(st.Streams) != 2 || st.Streams[0].Stream != "orders" || st.Streams[0].Shards != 2 || st.Streams[1].Shards != 3 || !st.Streams[1].Listed {
					t.Errorf("streams %+v of %d shards", st.Streams, len(st.Shards))
				}
				stopB()
			})
		})
	}
}

// TestStreamsComeAndGo: a stream is added while a worker runs, and taken away: it is
// read for a while, then let go and its leases deleted, and it begins anew if it is
// listed later.
func TestStreamsComeAndGo(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.ModeKCL2, consumer.ModeKCL3, consumer.ModeNative} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, map[string]int{"orders": 1, "payments": 1})
				d.list("orders")
				cfg := consumer.Config{Mode: mode, FormerStreamsWait: 5 * time.Minute}
				cfg.WorkerID = "a"
				a, stopA := d.start(d.store(), cfg)
				cfg.WorkerID = "b"
				b, stopB := d.start(d.store(), cfg)
				d.put("payments", 0, 10)
				d.put("orders", 0, 10)
				d.until("what is listed is read", time.Minute, func() bool { return d.count("orders") == 10 })
				if d.count("payments") > 0 {
					t.Error("a stream is read that is not listed")
				}
				d.list("orders", "payments")
				d.until("what has come is read", 2*time.Minute, func() bool { return d.count("payments") == 10 })

				d.list("orders")
				time.Sleep(3 * time.Minute)
				d.put("payments", 10, 10)
				d.until("what has gone is still read", 30*time.Second, func() bool { return d.count("payments") == 20 })
				payments := d.identityOf("payments") + ":shardId-000000000000"
				d.until("its lease is deleted", 10*time.Minute, func() bool { return d.rows()[payments] == nil })
				d.until("it is let go", 10*time.Second, func() bool { return len(a.Stats().Shards)+len(b.Stats().Shards) == 1 })
				d.until("it is known no more", time.Minute, func() bool { return len(a.Stats().Streams) == 1 || len(b.Stats().Streams) == 1 })
				d.until("the deletion is counted", time.Minute, func() bool { return a.Stats().StreamsDeleted+b.Stats().StreamsDeleted > 0 })
				d.put("payments", 20, 10)
				d.put("orders", 10, 10)
				time.Sleep(time.Minute)
				if d.count("payments") != 20 || d.count("orders") != 20 {
					t.Errorf("%d and %d records were read", d.count("payments"), d.count("orders"))
				}

				d.list("orders", "payments")
				d.until("it is read from its beginning", 15*time.Minute, func() bool { return d.count("payments") == 30 })
				if d.twice < 20 || d.twice > 20 && mode != consumer.ModeKCL2 { // there a lease may be stolen
					t.Errorf("%d records came again, of 20 of a stream that was forgotten", d.twice)
				}
				stopA()
				stopB()
			})
		})
	}
}

// TestStreamCreatedAnew: a stream that is deleted is waited for, and one of its name is
// another stream.
func TestStreamCreatedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, map[string]int{"orders": 1, "payments": 1})
		d.list("orders", "payments", "refunds")
		c, stop := d.start(d.store(), consumer.Config{Mode: consumer.ModeNative, FormerStreamsWait: 2 * time.Minute})
		d.put("orders", 0, 10)
		d.put("payments", 0, 10)
		d.until("the streams that exist are read", time.Minute, func() bool { return d.count("orders") == 10 && d.count("payments") == 10 })
		problem := func(stream, text string) bool {
			return slices.ContainsFunc(c.Health(time.Minute).Problems, func(p consumer.Problem) bool { return p.Stream == stream && strings.Contains(p.Text, text) })
		}
		if !problem("refunds", "does not exist: create it") {
			t.Errorf("health: %+v", c.Health(time.Minute))
		}
		before := d.identityOf("payments")
		if _, err := d.api.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String("payments")}); err != nil {
			t.Fatal(err)
		}
		d.until("the end of the stream is noticed", 2*time.Minute, func() bool { return problem("payments", "does not exist") && len(c.Stats().Shards) == 1 })
		key := before + ":shardId-000000000000"
		why, err := c.Why(t.Context(), key)
		if err != nil || why.Reason != consumer.ReasonFormer || why.Stream != "payments" || why.LeaseKey != key || why.ShardID != "shardId-000000000000" {
			t.Errorf("Why = %+v, %v", why, err)
		}
		d.srv.CreateStream(t, "payments", 1)
		d.srv.CreateStream(t, "refunds", 1)
		d.put("payments", 100, 10)
		d.put("refunds", 0, 10)
		d.until("the new streams are read", 3*time.Minute, func() bool { return d.count("payments") == 20 && d.count("refunds") == 10 })
		if h := c.Health(time.Minute); !h.OK() {
			t.Errorf("health: %+v", h)
		}
		now := d.identityOf("payments")
		if now == before {
			t.Fatal("the server has made two streams of one moment")
		}
		d.until("leases of the old stream are deleted", 10*time.Minute, func() bool { return d.rows()[key] == nil })
		if d.rows()[now+":shardId-000000000000"] == nil || d.twice > 0 {
			t.Errorf("the new stream has no lease, or %d records came twice", d.twice)
		}
		stop()
	})
}

// TestListThatFails: streams are read on, and nothing is deleted.
func TestListThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, map[string]int{"orders": 1})
		d.list("orders")
		c, stop := d.start(memlease.New(), consumer.Config{FormerStreamsWait: time.Second})
		d.put("orders", 0, 10)
		d.until("it is read", time.Minute, func() bool { return d.count("orders") == 10 })
		for _, fault := range []func(){
			func() { d.listErr = errors.New("no answer") },
			func() { d.listErr, d.streams = nil, []consumer.StreamConfig{{}} },
			func() {
				d.streams = []consumer.StreamConfig{{Stream: "orders"}, {Stream: "arn:aws:kinesis:us-east-1:000000000000:stream/orders"}}
			},
		} {
			d.mu.Lock()
			fault()
			d.mu.Unlock()
			time.Sleep(5 * time.Minute)
			n := d.count("orders")
			d.put("orders", n, 10)
			d.until("it is read on", 10*time.Second, func() bool { return d.count("orders") == n+10 })
			if h := c.Health(time.Minute); len(h.Problems) != 1 || !strings.Contains(h.Problems[0].Text, "could not be listed") {
				t.Errorf("health: %+v", h)
			}
		}
		stop()
	})
}

// TestFormsOfLeases: an application that reads one stream and one that reads several
// leave each other's leases alone.
func TestFormsOfLeases(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.ModeKCL2, consumer.ModeKCL3, consumer.ModeNative} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, map[string]int{"orders": 1})
				d.list("orders")
				store := d.store()
				for _, key := range []string{"shardId-000000000000", "000000000000:other:5:shardId-000000000000"} {
					if err := store.Prepare(t.Context()); err != nil {
						t.Fatal(err)
					}
					if _, err := store.Create(t.Context(), consumer.Lease{Key: key, Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}, StartingHashKey: "0", EndingHashKey: "340282366920938463463374607431768211455"}); err != nil {
						t.Fatal(err)
					}
				}
				d.put("orders", 0, 10)
				several, stop := d.start(d.store(), consumer.Config{Mode: mode, WorkerID: "several"})
				d.until("it is read", time.Minute, func() bool { return d.count("orders") == 10 })
				if l, _, err := store.Get(t.Context(), "shardId-000000000000"); err != nil || l.Counter != 0 {
					t.Errorf("the lease of the other application: %+v, %v", l, err)
				}
				d.until("a stream that does not exist is let go", 3*time.Minute, func() bool { return len(several.Stats().Shards) == 1 })
				stop()

				got := new(collector)
				c, err := consumer.New(d.api, d.store(), "billing", "orders", func(*consumer.Shard) (consumer.Processor, error) {
					return consumer.ProcessorFunc(got.process), nil
				}, consumer.Config{Mode: mode, WorkerID: "one", Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				before := d.rows()
				stop = run(t, c)
				d.until("it is read once more", time.Minute, func() bool { return got.count() == 10 })
				time.Sleep(2 * time.Minute)
				for key, row := range d.rows() {
					if stream, _ := consumer.SplitLeaseKey(key); stream != "" && fmt.Sprint(row["leaseCounter"]) == "" {
						t.Errorf("%v, before %v", row, before[key])
					} else if stream != "" && textOf(row["leaseOwner"]) == "one" {
						t.Errorf("a lease of several streams was taken: %s", key)
					}
				}
				stop()
			})
		})
	}
}

// TestMultiStreamFanOut: the application is registered with each stream.
func TestMultiStreamFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, map[string]int{"orders": 1, "payments": 1})
		d.list("orders")
		c, stop := d.start(d.store(), consumer.Config{RetrievalMode: consumer.RetrievalFanOut, OwnRegistration: true})
		d.put("orders", 0, 10)
		d.put("payments", 0, 10)
		d.until("it is read", time.Minute, func() bool { return d.count("orders") == 10 })
		d.list("orders", "payments")
		d.until("the other is read", 3*time.Minute, func() bool { return d.count("payments") == 10 })
		for _, s := range c.Stats().Shards {
			if !s.Subscribed {
				t.Errorf("shard %s is not subscribed to", s.LeaseKey)
			}
		}
		consumers := func(stream string) int {
			sum, err := d.api.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
			if err != nil {
				t.Fatal(err)
			}
			return int(aws.ToInt32(sum.StreamDescriptionSummary.ConsumerCount))
		}
		if consumers("orders") != 1 || consumers("payments") != 1 {
			t.Error("not registered with both streams")
		}
		stop()
		if consumers("orders") != 0 || consumers("payments") != 0 {
			t.Error("still registered with a stream")
		}
	})
}

// TestGivenIdentities: leases are named as another library has named them, without a
// request, and a stream may have a position of its own.
func TestGivenIdentities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, map[string]int{"orders": 1, "payments": 1})
		d.put("orders", 0, 10)
		d.put("payments", 0, 10)
		time.Sleep(time.Second)
		d.streams = []consumer.StreamConfig{
			{ID: consumer.StreamID{Account: "111122223333", Name: "orders", Epoch: 1}},
			{Stream: "payments", ID: consumer.StreamID{Account: "000000000000", Name: "payments", Epoch: 2}, InitialPosition: &consumer.Position{Latest: true}},
		}
		c, stop := d.start(d.store(), consumer.Config{})
		time.Sleep(30 * time.Second)
		d.put("payments", 10, 5)
		d.until("it is read", time.Minute, func() bool { return d.count("orders") == 10 && d.count("payments") == 5 })
		rows := d.rows()
		if len(rows) != 2 || rows["111122223333:orders:1:shardId-000000000000"] == nil || rows["000000000000:payments:2:shardId-000000000000"] == nil {
			t.Errorf("rows %v", rows)
		}
		whys, err := c.WhyAll(t.Context())
		if err != nil || len(whys) != 2 || whys[0].Stream != "payments" || whys[1].Reason != consumer.ReasonReading {
			t.Errorf("WhyAll = %+v, %v", whys, err)
		}
		if _, err := c.Why(t.Context(), "shardId-000000000000"); err == nil || !strings.Contains(err.Error(), "account:stream:epoch:shardId") {
			t.Errorf("Why of a shard's id: %v", err)
		}
		if err := c.Release(t.Context(), "111122223333:orders:1:shardId-000000000000"); err != nil {
			t.Errorf("Release: %v", err)
		}
		stop()
	})
}

func TestMultiStreamConfig(t *testing.T) {
	api := kinesis.New(kinesis.Options{Region: "us-east-1"})
	none := func(*consumer.Shard) (consumer.Processor, error) { return nil, nil }
	for _, tt := range []struct {
		name    string
		api     consumer.MultiStreamAPI
		tracker consumer.StreamTracker
		cfg     consumer.Config
		want    string
	}{
		{"no tracker", api, nil, consumer.Config{}, "tracker must not be nil"},
		{"no client", nil, consumer.Streams("a"), consumer.Config{}, "client, lease store"},
		{"a consumer for all", api, consumer.Streams("a"), consumer.Config{RetrievalMode: consumer.RetrievalFanOut, ConsumerARN: "arn"}, "give it in StreamConfig"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := consumer.NewMultiStream(tt.api, memlease.New(), "app", tt.tracker, none, tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewMultiStream: %v, want %q", err, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		name   string
		stream consumer.StreamConfig
		want   string
	}{
		{"nothing", consumer.StreamConfig{}, "neither Stream nor ID"},
		{"an ID without epoch", consumer.StreamConfig{ID: consumer.StreamID{Account: "1", Name: "a"}}, "an epoch above 0"},
		{"an ID of another stream", consumer.StreamConfig{Stream: "b", ID: consumer.StreamID{Account: "1", Name: "a", Epoch: 1}}, "of another name"},
		{"two positions", consumer.StreamConfig{Stream: "a", InitialPosition: &consumer.Position{Latest: true, Time: time.Unix(1, 0)}}, "both Latest and Time"},
		{"a consumer for polling", consumer.StreamConfig{Stream: "a", ConsumerARN: "arn"}, "no meaning under RetrievalPolling"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := consumer.NewMultiStream(api, memlease.New(), "app", func(context.Context) ([]consumer.StreamConfig, error) {
				return []consumer.StreamConfig{tt.stream}, nil
			}, none, consumer.Config{Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run: %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := consumer.New(api, memlease.New(), "app", "a", none, consumer.Config{FormerStreamsWait: time.Hour}); err == nil || !strings.Contains(err.Error(), "FormerStreamsWait") {
		t.Errorf("New with FormerStreamsWait: %v", err)
	}
}
