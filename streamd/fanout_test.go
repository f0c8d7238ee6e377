package streamd_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func (r *rig) register(name string) *types.Consumer {
	r.t.Helper()
	return must[*kinesis.RegisterStreamConsumerOutput](r.t)(r.client.RegisterStreamConsumer(r.t.Context(), &kinesis.RegisterStreamConsumerInput{
		StreamARN: r.summary().StreamARN, ConsumerName: &name,
	})).Consumer
}

// subscribed is an open subscription.
type subscribed struct {
	t      *testing.T
	stream *kinesis.SubscribeToShardEventStream
}

func startAt(kind types.ShardIteratorType, change ...func(*types.StartingPosition)) *types.StartingPosition {
	p := &types.StartingPosition{Type: kind}
	for _, f := range change {
		f(p)
	}
	return p
}

func fromNumber(n string) func(*types.StartingPosition) {
	return func(p *types.StartingPosition) { p.SequenceNumber = &n }
}

func (r *rig) trySubscribe(consumer *string, shard int, p *types.StartingPosition) (*kinesis.SubscribeToShardOutput, error) {
	// A client of its own: the SDK's event streams of one client share a decoder
	// that is not safe for concurrent use (smithy-go v1.28.9).
	o := r.client.Options()
	client := kinesis.New(kinesis.Options{Region: o.Region, Credentials: o.Credentials, BaseEndpoint: o.BaseEndpoint, HTTPClient: o.HTTPClient})
	return client.SubscribeToShard(r.t.Context(), &kinesis.SubscribeToShardInput{
		ConsumerARN: consumer, ShardId: aws.String(shardID(shard)), StartingPosition: p,
	}, func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
}

func (r *rig) subscribe(consumer *string, shard int, p *types.StartingPosition) *subscribed {
	r.t.Helper()
	s := &subscribed{r.t, must[*kinesis.SubscribeToShardOutput](r.t)(r.trySubscribe(consumer, shard, p)).GetStream()}
	r.t.Cleanup(func() { _ = s.stream.Close() })
	return s
}

// next returns the next event, nil at the end of the stream.
func (s *subscribed) next() *types.SubscribeToShardEvent {
	s.t.Helper()
	e, ok := <-s.stream.Events()
	if !ok {
		return nil
	}
	return &e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
}

func texts(e *types.SubscribeToShardEvent) string {
	if e == nil {
		return "end"
	}
	var all []string
	for _, rec := range e.Records {
		all = append(all, string(rec.Data))
	}
	return strings.Join(all, ",")
}

// expect fails the test unless the records of the next events are want, however
// they are divided.
func (s *subscribed) expect(what, want string) (last *types.SubscribeToShardEvent) {
	s.t.Helper()
	var got []string
	for strings.Join(got, ",") != want {
		if last = s.next(); last == nil {
			s.t.Fatalf("%s: got %q, then the end (%v); want %q", what, got, s.stream.Err(), want)
		}
		if len(last.Records) > 0 {
			got = append(got, texts(last))
		}
		if len(strings.Join(got, ",")) > len(want) {
			s.t.Fatalf("%s: got %q, want %q", what, got, want)
		}
	}
	return last
}

// expectEnd fails the test unless the stream is at its end. code is that of the
// error at the end, empty for none.
func (s *subscribed) expectEnd(what, code, message string) {
	s.t.Helper()
	for e := s.next(); e != nil; e = s.next() {
		if len(e.Records) > 0 {
			s.t.Fatalf("%s: got %s, want the end", what, texts(e))
		}
	}
	if err := s.stream.Err(); code != "" {
		wantError(s.t, err, code, message)
	} else if err != nil {
		s.t.Errorf("%s: ended with %v", what, err)
	}
}

func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c := r.register("c")
		first := r.put(0, "a")
		second := r.put(0, "b")
		stamp := time.Now()
		time.Sleep(time.Second)
		third := r.put(0, "c")
		_ = third
		for _, tt := range []struct {
			name, want string
			from       *types.StartingPosition
		}{
			{"oldest", "a,b,c", startAt(types.ShardIteratorTypeTrimHorizon)},
			{"at", "a,b,c", startAt(types.ShardIteratorTypeAtSequenceNumber, fromNumber(first))},
			{"after", "c", startAt(types.ShardIteratorTypeAfterSequenceNumber, fromNumber(second))},
			{"time", "c", startAt(types.ShardIteratorTypeAtTimestamp, func(p *types.StartingPosition) { p.Timestamp = aws.Time(stamp.Add(time.Millisecond)) })},
		} {
			s := r.subscribe(c.ConsumerARN, 0, tt.from)
			e := s.expect(tt.name, tt.want)
			if *e.MillisBehindLatest != 0 || e.ContinuationSequenceNumber == nil || e.ChildShards != nil {
				t.Errorf("%s: event %+v", tt.name, e)
			}
			_ = s.stream.Close()
			r.Advance(5 * time.Second)
		}
		s := r.subscribe(c.ConsumerARN, 0, startAt(types.ShardIteratorTypeLatest))
		for i := range 3 {
			want := fmt.Sprint("new", i)
			r.put(0, want)
			s.expect("latest", want)
		}
		s.stream.Close()
	})
}

func TestSubscriptionHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c := r.register("c")
		r.put(0, "old")
		s := r.subscribe(c.ConsumerARN, 0, startAt(types.ShardIteratorTypeLatest))
		began := time.Now()
		var numbers []string
		beat := began
		for {
			e := s.next()
			if e == nil {
				break
			}
			if len(e.Records) != 0 || *e.MillisBehindLatest != 0 || e.ChildShards != nil {
				t.Errorf("heartbeat %+v", e)
			}
			if gap := time.Since(beat); gap > 5*time.Second {
				t.Errorf("silence of %v", gap)
			}
			beat = time.Now()
			if n := len(numbers); n > 0 && numbers[n-1] >= *e.ContinuationSequenceNumber {
				t.Errorf("continuation %s after %s", *e.ContinuationSequenceNumber, numbers[n-1])
			}
			numbers = append(numbers, *e.ContinuationSequenceNumber)
		}
		s.expectEnd("life", "", "")
		if life := time.Since(began); life != 5*time.Minute {
			t.Errorf("lived %v, want 5m", life)
		}
		if len(numbers) < 60 {
			t.Errorf("%d heartbeats", len(numbers))
		}
		r.put(0, "new")
		for _, kind := range []types.ShardIteratorType{types.ShardIteratorTypeAtSequenceNumber, types.ShardIteratorTypeAfterSequenceNumber} {
			for _, n := range []string{numbers[0], numbers[len(numbers)-1]} {
				s := r.subscribe(c.ConsumerARN, 0, startAt(kind, fromNumber(n)))
				s.expect(string(kind), "new")
				_ = s.stream.Close()
				r.Advance(5 * time.Second)
			}
		}
	})
}

func TestSubscriptionToTheEndOfAShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c := r.register("c")
		s := r.subscribe(c.ConsumerARN, 0, startAt(types.ShardIteratorTypeTrimHorizon))
		r.put(0, "a")
		s.expect("open", "a")
		r.split(0)
		e := s.next()
		if e == nil || e.ContinuationSequenceNumber != nil || len(e.ChildShards) != 2 || *e.ChildShards[0].ShardId != shardID(1) || *e.ChildShards[0].HashKeyRange.StartingHashKey != "0" || e.ChildShards[0].ParentShards[0] != shardID(0) {
			t.Fatalf("last event %+v", e)
		}
		s.expectEnd("shard", "", "")
		r.Advance(5 * time.Second)
		s = r.subscribe(c.ConsumerARN, 0, startAt(types.ShardIteratorTypeTrimHorizon))
		if e := s.next(); texts(e) != "a" || len(e.ChildShards) != 2 || e.ContinuationSequenceNumber != nil {
			t.Errorf("of a closed shard %+v", e)
		}
		s.expectEnd("closed shard", "", "")
	})
}

func TestSubscriptionsMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c, d := r.register("c"), r.register("d")
		latest := startAt(types.ShardIteratorTypeLatest)
		const another = "Another active subscription exists for this consumer: 000000000000:stream:shardId-000000000000:c"
		s := r.subscribe(c.ConsumerARN, 0, latest)
		other := r.subscribe(d.ConsumerARN, 0, latest)
		_, err := r.trySubscribe(c.ConsumerARN, 0, latest)
		wantError(t, err, "ResourceInUseException", another)
		r.Advance(5*time.Second - time.Millisecond)
		_, err = r.trySubscribe(c.ConsumerARN, 0, latest)
		wantError(t, err, "ResourceInUseException", another)
		r.Advance(time.Millisecond)
		next := r.subscribe(c.ConsumerARN, 0, latest)
		s.expectEnd("taken", "ResourceInUseException", another)
		r.put(0, "x")
		next.expect("who took it", "x")
		other.expect("another consumer", "x")
		// A client that has gone keeps its place for the rest of the 5 seconds.
		_ = next.stream.Close()
		synctest.Wait()
		_, err = r.trySubscribe(c.ConsumerARN, 0, latest)
		wantError(t, err, "ResourceInUseException", another)
		r.Advance(5 * time.Second)
		r.subscribe(c.ConsumerARN, 0, latest)
	})
}

func TestSubscriptionsEndWithWhatTheyRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c, d := r.register("c"), r.register("d")
		latest := startAt(types.ShardIteratorTypeLatest)
		s, other := r.subscribe(c.ConsumerARN, 0, latest), r.subscribe(d.ConsumerARN, 0, latest)
		must[*kinesis.DeregisterStreamConsumerOutput](t)(r.client.DeregisterStreamConsumer(t.Context(), &kinesis.DeregisterStreamConsumerInput{ConsumerARN: c.ConsumerARN}))
		s.expectEnd("deregistered", "ResourceNotFoundException", "Consumer c, account 000000000000 not found.")
		_, err := r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: &r.stream})
		wantError(t, err, "ResourceInUseException", "DeleteStream can't delete 000000000000:stream because there are consumers associated with this data stream. To delete stream anyway, set the EnforceConsumerDeletion parameter to true to force the deletion of all the consumers that are associated with it.")
		must[*kinesis.DeleteStreamOutput](t)(r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: &r.stream, EnforceConsumerDeletion: aws.Bool(true)}))
		other.expectEnd("deleted", "ResourceNotFoundException", "Stream stream under account 000000000000 not found.")
	})
}

func TestSubscriptionsEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, streamdtest.Config(func(c *streamd.Config) { c.SubscriptionLife = time.Hour }))
		s := r.subscribe(r.register("c").ConsumerARN, 0, startAt(types.ShardIteratorTypeLatest))
		s.next()
		began := time.Now()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		s.expectEnd("server", "", "")
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("stopped after %v", took)
		}
	})
}

func (r *rig) split(shard int) {
	r.t.Helper()
	for _, sh := range r.shards(&kinesis.ListShardsInput{StreamName: &r.stream}) {
		if *sh.ShardId != shardID(shard) {
			continue
		}
		var lo, hi, two big.Int
		lo.SetString(*sh.HashKeyRange.StartingHashKey, 10)
		hi.SetString(*sh.HashKeyRange.EndingHashKey, 10)
		lo.Add(&lo, &hi).Quo(&lo, two.SetInt64(2))
		must[*kinesis.SplitShardOutput](r.t)(r.client.SplitShard(r.t.Context(), &kinesis.SplitShardInput{
			StreamName: &r.stream, ShardToSplit: sh.ShardId, NewStartingHashKey: aws.String(lo.String()),
		}))
	}
}
