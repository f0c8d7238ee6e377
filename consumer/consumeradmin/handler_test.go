package consumeradmin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/consumeradmin"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// fake is a worker that tells what a test says.
type fake struct {
	health consumer.Health
	err    error
	limit  time.Duration // asked for
}

func (f *fake) WorkerID() string { return "w1" }

func (f *fake) Stats() consumer.Stats {
	return consumer.Stats{BufferedBytes: 7, Shards: []consumer.ShardStats{
		{ShardID: "s1", BehindLatest: 1500 * time.Millisecond, Checkpoint: consumer.Checkpoint{SequenceNumber: "12", SubSequenceNumber: 3}, Subscribed: true, Unacked: 5, Failures: 2, Hung: true},
		{ShardID: "s2", Checkpoint: consumer.Checkpoint{SequenceNumber: "TRIM_HORIZON"}},
	}}
}

func (f *fake) Lag() []consumer.ShardLag {
	return []consumer.ShardLag{{ShardID: "s1", Behind: 1500 * time.Millisecond, Age: 250 * time.Millisecond}}
}

func (f *fake) Health(limit time.Duration) consumer.Health { f.limit = limit; return f.health }

func (f *fake) Leases(context.Context) ([]consumer.Lease, error) {
	return []consumer.Lease{
		{Key: "s1", Owner: "w1", Counter: 4, Checkpoint: consumer.Checkpoint{SequenceNumber: "12", SubSequenceNumber: 3}, Parents: []string{"s0"}, EndingHashKey: "9"},
		{Key: "s2", Invalid: errors.New("broken <row>")},
	}, f.err
}

func (f *fake) Why(_ context.Context, shard string) (consumer.Why, error) {
	if shard == "s9" {
		return consumer.Why{}, &consumer.UnknownShardError{Stream: "orders", ShardID: shard}
	}
	return consumer.Why{ShardID: shard, Reason: consumer.ReasonParents, Waiting: []string{"s0"}, Since: 2 * time.Second, Text: "it waits"}, f.err
}

func (f *fake) WhyAll(context.Context) ([]consumer.Why, error) {
	return []consumer.Why{{ShardID: "s1", Reason: consumer.ReasonReading, Owner: "w1", Text: "this worker reads it"}}, f.err
}

func TestAnswers(t *testing.T) {
	well := consumer.Health{Running: true}
	ill := consumer.Health{Running: true, Problems: []consumer.Problem{{Text: "no leases"}, {ShardID: "s2", Text: "nothing moved"}}}
	for _, tt := range []struct {
		name, method, target string
		health               consumer.Health
		err                  error
		status               int
		want                 string
	}{
		{name: "healthy", target: "/healthz", health: well, status: 200, want: "ok\n"},
		{name: "not running", target: "/healthz", status: 503, want: "the consumer does not run\n"},
		{name: "ill", target: "/healthz", health: ill, status: 503, want: "no leases\nshard s2: nothing moved\n"},
		{name: "shards", target: "/shards", health: ill, status: 200, want: `{
  "worker": "w1",
  "running": true,
  "healthy": false,
  "problems": [
    "no leases"
  ],
  "bufferedBytes": 7,
  "shards": [
    {
      "shardId": "s1",
      "healthy": true,
      "checkpoint": "12/3",
      "behindSeconds": 1.5,
      "behindAgeSeconds": 0.25,
      "subscribed": true,
      "unacknowledgedRecords": 5,
      "failures": 2,
      "hung": true
    },
    {
      "shardId": "s2",
      "healthy": false,
      "problem": "nothing moved",
      "checkpoint": "TRIM_HORIZON",
      "behindSeconds": 0,
      "behindAgeSeconds": 0,
      "subscribed": false,
      "unacknowledgedRecords": 0,
      "failures": 0,
      "hung": false
    }
  ]
}
`},
		{name: "leases", target: "/leases", status: 200, want: `{
  "leases": [
    {
      "leaseKey": "s1",
      "leaseOwner": "w1",
      "leaseCounter": 4,
      "checkpoint": "12",
      "checkpointSubSequenceNumber": 3,
      "ownerSwitchesSinceCheckpoint": 0,
      "parentShardIds": [
        "s0"
      ],
      "endingHashKey": "9"
    },
    {
      "leaseKey": "s2",
      "leaseCounter": 0,
      "checkpoint": "",
      "checkpointSubSequenceNumber": 0,
      "ownerSwitchesSinceCheckpoint": 0,
      "invalid": "broken <row>"
    }
  ],
  "worker": "w1"
}
`},
		{name: "why one", target: "/why?shard=s1", status: 200, want: `{
  "shardId": "s1",
  "reason": "parents",
  "text": "it waits",
  "waitingFor": [
    "s0"
  ],
  "unchangedSeconds": 2
}
`},
		{name: "why all", target: "/why", status: 200, want: `{
  "shards": [
    {
      "shardId": "s1",
      "reason": "reading",
      "text": "this worker reads it",
      "owner": "w1",
      "unchangedSeconds": 0
    }
  ],
  "worker": "w1"
}
`},
		{name: "unknown shard", target: "/why?shard=s9", status: 404, want: `{
  "error": "consumer: stream \"orders\" has no shard \"s9\", and there is no lease for one"
}
`},
		{name: "empty shard", target: "/why?shard=", status: 400, want: "is empty: name a shard"},
		{name: "shard twice", target: "/why?shard=a&shard=b", status: 400, want: "given 2 times"},
		{name: "wrong parameter", target: "/why?shards=s1", status: 400, want: `does not know the parameter \"shards\": it takes shard`},
		{name: "a parameter where none is", target: "/healthz?verbose=1", health: well, status: 400, want: `does not know the parameter \"verbose\": it takes none`},
		{name: "broken query", target: "/why?shard=%zz", status: 400, want: "cannot be read"},
		{name: "wrong path", target: "/why/s1", status: 404, want: "there is no /why/s1 here: ask for /shards, /healthz, /leases or /why"},
		{name: "root", target: "/", status: 404, want: "ask for"},
		{name: "wrong method", method: "POST", target: "/leases", status: 405, want: "/leases takes GET and HEAD, not POST"},
		{name: "the store does not answer", target: "/leases", err: errors.New("consumer: list leases: no answer"), status: 502, want: "list leases: no answer"},
		{name: "the stream does not answer", target: "/why", err: errors.New("x"), status: 502, want: `"error": "x"`},
		{name: "one of them", target: "/why?shard=s1", err: errors.New("x"), status: 502, want: `"error": "x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{health: tt.health, err: tt.err}
			h, err := consumeradmin.New(f, consumeradmin.Config{MaxNoProgress: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			method := tt.method
			if method == "" {
				method = http.MethodGet
			}
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, tt.target, nil))
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			if got := w.Body.String(); got != tt.want && (tt.status == 200 || !strings.Contains(got, tt.want)) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if f.limit != 0 && f.limit != time.Minute {
				t.Errorf("asked for %v", f.limit)
			}
			if tt.status == 405 && w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestConfig(t *testing.T) {
	_, err := consumeradmin.New(nil, consumeradmin.Config{MaxNoProgress: time.Second, RequestTimeout: time.Millisecond})
	want := "consumeradmin: config: source must not be nil\nMaxNoProgress 1s is less than 10s\nRequestTimeout 1ms is less than 1s"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestOfARunningWorker asks the handler of a consumer that reads a stream whose
// processor hangs at the first record.
func TestOfARunningWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 1)
		c, err := consumer.New(srv.Kinesis(), memlease.New(), "app", "orders", func(*consumer.Shard) (consumer.Processor, error) {
			return consumer.ProcessorFunc(func(ctx context.Context, _ *consumer.Batch) error { <-ctx.Done(); return nil }), nil
		}, consumer.Config{ShutdownTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		h, err := consumeradmin.New(c, consumeradmin.Config{})
		if err != nil {
			t.Fatal(err)
		}
		get := func(target string) (int, string) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
			return w.Code, w.Body.String()
		}
		if code, body := get("/healthz"); code != 503 || body != "the consumer does not run\n" {
			t.Errorf("before Run: %d %s", code, body)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.Run(ctx) // gives the record up
		}()
		time.Sleep(10 * time.Minute)
		if code, body := get("/healthz"); code != 200 {
			t.Errorf("without traffic: %d %s", code, body)
		}
		if _, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute)
		if code, body := get("/healthz"); code != 503 || !strings.Contains(body, "shard shardId-000000000000: nothing moved for 6m") {
			t.Errorf("with a record that waits: %d %s", code, body)
		}
		if code, body := get("/why"); code != 200 || !strings.Contains(body, `"reason": "reading"`) {
			t.Errorf("why: %d %s", code, body)
		}
		stop()
		<-done
	})
}

// streams is a worker that reads two streams whose shards have one id.
type streams struct{ fake }

func streamKey(stream string) string { return "123456789012:" + stream + ":5:s1" }

func (*streams) Stats() consumer.Stats {
	return consumer.Stats{Shards: []consumer.ShardStats{
		{ShardID: "s1", Stream: "orders", LeaseKey: streamKey("orders")}, {ShardID: "s1", Stream: "returns", LeaseKey: streamKey("returns")},
	}}
}

func (*streams) Lag() []consumer.ShardLag {
	return []consumer.ShardLag{{ShardID: "s1", Stream: "returns", LeaseKey: streamKey("returns"), Age: time.Second}}
}

func (*streams) Health(time.Duration) consumer.Health {
	return consumer.Health{Running: true, Problems: []consumer.Problem{
		{Stream: "refunds", Text: "there is none"}, {ShardID: "s1", Stream: "orders", LeaseKey: streamKey("orders"), Text: "nothing moved"},
	}}
}

func (*streams) Why(_ context.Context, key string) (consumer.Why, error) {
	stream, shard := consumer.SplitLeaseKey(key)
	return consumer.Why{ShardID: shard, Stream: stream, LeaseKey: key, Reason: consumer.ReasonReading}, nil
}

func TestStreams(t *testing.T) {
	h, err := consumeradmin.New(new(streams), consumeradmin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(target string) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
		return w.Body.String()
	}
	if got, want := get("/healthz"), "stream refunds: there is none\nstream orders: shard s1: nothing moved\n"; got != want {
		t.Errorf("/healthz: %q, want %q", got, want)
	}
	var all struct {
		Problems []string
		Shards   []struct {
			ShardID, Stream, LeaseKey, Problem string
			BehindAgeSeconds                   float64
		}
	}
	if err := json.Unmarshal([]byte(get("/shards")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Shards) != 2 || len(all.Problems) != 1 || all.Problems[0] != "stream refunds: there is none" {
		t.Fatalf("/shards: %+v", all)
	}
	for i, stream := range []string{"orders", "returns"} {
		s := all.Shards[i]
		if s.ShardID != "s1" || s.Stream != stream || s.LeaseKey != streamKey(stream) || (s.Problem != "") != (i == 0) || (s.BehindAgeSeconds != 0) != (i == 1) {
			t.Errorf("shard %+v", s)
		}
	}
	if got := get("/why?shard=" + streamKey("orders")); !strings.Contains(got, `"leaseKey": "`+streamKey("orders")+`"`) || !strings.Contains(got, `"shardId": "s1"`) {
		t.Errorf("/why: %s", got)
	}
}
