package streamdtest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func put(t *testing.T, srv *streamdtest.Server, stream, key, data string) {
	t.Helper()
	_, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
		StreamName: &stream, PartitionKey: &key, Data: []byte(data),
	})
	if err != nil {
		t.Error(err)
	}
}

// watched is a test that notes how it failed, and goes on.
type watched struct {
	testing.TB
	failure string
}

func (w *watched) Helper() {}

func (w *watched) Fatalf(format string, args ...any) {
	w.failure = fmt.Sprintf(format, args...)
	panic(w)
}

// failing returns the message with which f fails its test.
func failing(t *testing.T, f func(t testing.TB)) (message string) {
	t.Helper()
	w := &watched{TB: t}
	defer func() {
		if v := recover(); v != nil && v != any(w) {
			panic(v)
		}
		if message = w.failure; message == "" {
			t.Error("the wait did not fail its test")
		}
	}()
	f(w)
	return ""
}

func TestWaitForStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t, streamdtest.TransitionDelay(3*time.Second))
		ctx := t.Context()
		began := time.Now()
		srv.CreateStream(t, "s", 1)
		srv.WaitForStream(ctx, t, "s", types.StreamStatusCreating)
		srv.WaitForStream(ctx, t, "s", types.StreamStatusActive)
		if took := time.Since(began); took < 3*time.Second || took > 3*time.Second+100*time.Millisecond {
			t.Errorf("ACTIVE after %v, want 3s", took)
		}
		if _, err := srv.Kinesis().DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String("s")}); err != nil {
			t.Fatal(err)
		}
		srv.Advance(3 * time.Second)
		began = time.Now()
		srv.WaitForStream(ctx, t, "s", streamdtest.StreamGone)
		if took := time.Since(began); took != 0 {
			t.Errorf("waited %v for what is there", took)
		}
	})
}

func TestWaitForRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		ctx := t.Context()
		var putting sync.WaitGroup
		putting.Go(func() {
			time.Sleep(time.Second)
			srv.CreateStream(t, "s", 1)
			put(t, srv, "s", "a", "before")
			if _, err := srv.Kinesis().SplitShard(ctx, &kinesis.SplitShardInput{
				StreamName: aws.String("s"), ShardToSplit: aws.String("shardId-000000000000"),
				NewStartingHashKey: aws.String("170141183460469231731687303715884105728"),
			}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			srv.Advance(6 * time.Minute) // the iterators of the wait expire
			for i := range 3 {
				put(t, srv, "s", fmt.Sprint(i), "after")
				time.Sleep(time.Second)
			}
		})
		records := srv.WaitForRecords(ctx, t, "s", 4)
		putting.Wait()
		if len(records) != 4 || string(records[0].Data) != "before" {
			t.Errorf("%d records, the first %q", len(records), records[0].Data)
		}
		if n := len(srv.WaitForRecords(ctx, t, "s", 0)); n != 4 {
			t.Errorf("%d records, want all 4", n)
		}
	})
}

// TestWaitWithLimits has more reads than the limits allow.
func TestWaitWithLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t, streamdtest.Limits("read-calls=1"))
		srv.CreateStream(t, "s", 1)
		time.AfterFunc(3*time.Second, func() { put(t, srv, "s", "k", "late") })
		if n := len(srv.WaitForRecords(t.Context(), t, "s", 1)); n != 1 {
			t.Errorf("%d records", n)
		}
	})
}

func TestWaitFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		wait func(ctx context.Context, t testing.TB, srv *streamdtest.Server)
		took time.Duration
		want []string
	}{
		{
			name: "status", took: 10 * time.Second,
			wait: func(ctx context.Context, t testing.TB, srv *streamdtest.Server) {
				srv.WaitForStream(ctx, t, "s", types.StreamStatusUpdating)
			},
			want: []string{"stream s to be UPDATING", "it is ACTIVE", "after 10s", "deadline exceeded"},
		},
		{
			name: "records", took: 10 * time.Second,
			wait: func(ctx context.Context, t testing.TB, srv *streamdtest.Server) {
				srv.WaitForRecords(ctx, t, "s", 5)
			},
			want: []string{"5 records of stream s", "it has 1 (0 in shardId-000000000000, 1 in shardId-000000000001)", "after 10s"},
		},
		{
			name: "context", took: 2 * time.Second,
			wait: func(ctx context.Context, t testing.TB, srv *streamdtest.Server) {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				srv.WaitForRecords(ctx, t, "none", 1)
			},
			want: []string{"no shard was read", "after 2s", "ResourceNotFoundException"},
		},
		{
			name: "what waiting does not mend",
			wait: func(ctx context.Context, t testing.TB, srv *streamdtest.Server) {
				srv.WaitForStream(ctx, t, "not a name", types.StreamStatusActive)
			},
			want: []string{"its status is not known", "ValidationException"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := streamdtest.New(t)
				srv.CreateStream(t, "s", 2)
				put(t, srv, "s", "k", "one")
				began := time.Now()
				message := failing(t, func(w testing.TB) { tt.wait(t.Context(), w, srv) })
				if took := time.Since(began).Round(time.Second); took != tt.took {
					t.Errorf("failed after %v, want %v", took, tt.took)
				}
				for _, want := range tt.want {
					if !strings.Contains(message, want) {
						t.Errorf("%q lacks %q", message, want)
					}
				}
			})
		})
	}
}
