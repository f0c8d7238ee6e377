package streamd_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// goesOn returns the continuation number of an event, which must not be below
// the one before.
func goesOn(t *testing.T, before string, e *types.SubscribeToShardEvent) string {
	t.Helper()
	if e == nil || e.ContinuationSequenceNumber == nil || *e.ContinuationSequenceNumber < before {
		t.Fatalf("event %+v, after the number %s", e, before)
	}
	return *e.ContinuationSequenceNumber
}

// TestSlowSubscriber has one subscriber that reads nothing.
func TestSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, streamdtest.Config(func(c *streamd.Config) { c.SubscriptionLife = time.Hour }))
		slow, quick := r.register("slow"), r.register("quick")
		stuck := r.subscribeRaw(inJSON, *slow.ConsumerARN, "TRIM_HORIZON")
		s := r.subscribe(quick.ConsumerARN, 0, startAt(types.ShardIteratorTypeTrimHorizon))
		const n = 8
		for i := range n {
			began := time.Now()
			want := strings.Repeat(fmt.Sprint(i), 1<<20-3)
			r.put(0, want)
			for e := s.next(); ; e = s.next() {
				if e == nil {
					t.Fatal(s.stream.Err())
				}
				if len(e.Records) > 0 && texts(e) == want {
					break
				}
			}
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("record %d came after %v", i, took)
			}
		}
		time.Sleep(5*time.Minute + time.Second) // beyond the deadline of the write
		again := r.subscribe(slow.ConsumerARN, 0, startAt(types.ShardIteratorTypeTrimHorizon))
		for got := 0; got < n; {
			e := again.next()
			if e == nil {
				t.Fatalf("%d records: %v", got, again.stream.Err())
			}
			got += len(e.Records)
		}
		// What was on its way is what the connection holds, and no whole event.
		left, err := io.ReadAll(stuck.resp.Body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(left) > 128<<10 {
			t.Errorf("%d bytes were held, error %v", len(left), err)
		}
	})
}

// TestSubscriptionsAndRetention has records expire under a subscriber that
// waits, one that is behind, and one that comes back.
func TestSubscriptionsAndRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, streamdtest.Config(func(c *streamd.Config) { c.SubscriptionLife = 1000 * time.Hour }))
		c, d := r.register("c"), r.register("d")
		waits := r.subscribe(c.ConsumerARN, 0, startAt(types.ShardIteratorTypeTrimHorizon))
		r.put(0, "a")
		first := goesOn(t, "", waits.expect("waiting", "a"))
		r.Advance(25 * time.Hour)
		r.put(0, "b")
		second := goesOn(t, first, waits.expect("after expiry", "b"))

		// One that is behind has the event that was on its way, and then what
		// is still there.
		behind := r.subscribeRaw(inJSON, *d.ConsumerARN, "TRIM_HORIZON")
		for i := range 4 {
			r.put(0, strings.Repeat(fmt.Sprint(i), 1<<20-3))
		}
		synctest.Wait()
		r.Advance(25 * time.Hour)
		r.put(0, "new")
		seen, last := map[string]bool{}, ""
		var data []string
		for len(data) == 0 || data[len(data)-1] != "new" {
			m := behind.next()
			e, ok := m.payload.(*plainEvent)
			if !ok || e.ContinuationSequenceNumber < last {
				t.Fatalf("%+v after the number %s", m, last)
			}
			last = e.ContinuationSequenceNumber
			for _, rec := range e.Records {
				if seen[rec.SequenceNumber] {
					t.Errorf("%s twice", rec.SequenceNumber)
				}
				seen[rec.SequenceNumber] = true
				data = append(data, string(rec.Data[:min(3, len(rec.Data))]))
			}
		}
		if n := len(data); n > 3 { // b, what was on its way, new
			t.Errorf("read %q, of which all but the last have expired", data)
		}

		// A number from before goes on with the oldest record, once.
		_ = waits.stream.Close()
		r.Advance(5 * time.Second)
		back := r.subscribe(c.ConsumerARN, 0, startAt(types.ShardIteratorTypeAfterSequenceNumber, fromNumber(second)))
		goesOn(t, second, back.expect("come back", "new"))

		// A lowered retention is the same.
		hours := int32(48)
		must[*kinesis.IncreaseStreamRetentionPeriodOutput](t)(r.client.IncreaseStreamRetentionPeriod(t.Context(), &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: &r.stream, RetentionPeriodHours: &hours}))
		r.Advance(30 * time.Hour)
		hours = 24
		must[*kinesis.DecreaseStreamRetentionPeriodOutput](t)(r.client.DecreaseStreamRetentionPeriod(t.Context(), &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: &r.stream, RetentionPeriodHours: &hours}))
		r.put(0, "last")
		back.expect("lowered", "last")
		_ = back.stream.Close()
		r.Advance(5 * time.Second)
		r.subscribe(c.ConsumerARN, 0, startAt(types.ShardIteratorTypeTrimHorizon)).expect("lowered, from the oldest", "last")
	})
}

// TestSubscriptionToAShardThatExpires is behind in a closed shard until that is
// gone.
func TestSubscriptionToAShardThatExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, streamdtest.Config(func(c *streamd.Config) { c.SubscriptionLife = 1000 * time.Hour }))
		c := r.register("c")
		behind := r.subscribeRaw(inJSON, *c.ConsumerARN, "TRIM_HORIZON")
		for i := range 4 {
			r.put(0, strings.Repeat(fmt.Sprint(i), 1<<20-3))
		}
		r.split(0)
		synctest.Wait()
		r.Advance(25 * time.Hour)
		records := 0
		var last message
		for m := behind.next(); m.kind != ""; m = behind.next() {
			if e, ok := m.payload.(*plainEvent); ok {
				records += len(e.Records)
			}
			last = m
		}
		// What was on its way, and then what GetShardIterator says of the shard.
		want := map[string]any{"message": "Shard shardId-000000000000 in stream stream under account 000000000000 does not exist"}
		if records > 2 || last.kind != "exception" || last.name != "ResourceNotFoundException" || !reflect.DeepEqual(last.payload, want) {
			t.Errorf("%d records, then %s %s %+v", records, last.kind, last.name, last.payload)
		}
	})
}
