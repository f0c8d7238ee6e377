package integration_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// TestMirrorKilled copies a stream that is written and resharded meanwhile, and
// kills the mirror, the target and both again and again. All must arrive, each
// key in its order.
func TestMirrorKilled(t *testing.T) {
	const (
		stream = "mirrored"
		keys   = 40
		rounds = 6
	)
	needProcesses(t)
	from, to := startServer(t), startServer(t)
	from.createStream(stream, 2)
	to.createStream(stream, 3)

	args := []string{
		"mirror", "--from", from.url(), "--to", to.url(), "--stream", stream,
		"--state", filepath.Join(t.TempDir(), "state"),
	}
	// The environment leads elsewhere: only the flags count.
	env := []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_REGION=us-east-1"}
	follow := func() *process {
		m := start(t, "streamd", env, append(args, "--follow")...)
		eventually(t, time.Minute, "the mirror has begun", func() error {
			if !strings.Contains(m.out.String(), "progress is kept in") {
				return fmt.Errorf("it printed %q", m.out.String())
			}
			return nil
		})
		return m
	}

	var written atomic.Int64 // for each key
	var stopping atomic.Bool
	var work sync.WaitGroup
	work.Go(func() {
		for n := int64(0); !stopping.Load() && t.Context().Err() == nil; n++ {
			in := &kinesis.PutRecordsInput{StreamName: aws.String(stream)}
			for k := range keys {
				in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprintf("key-%d", k)), Data: fmt.Appendf(nil, "%d", n)})
			}
			if out, err := from.kinesis().PutRecords(t.Context(), in); err != nil || *out.FailedRecordCount > 0 {
				t.Errorf("put: %v", err)
				return
			}
			written.Store(n + 1)
			pause(t.Context(), 10*time.Millisecond)
		}
	})

	m := follow()
	for round := range rounds {
		before, atTarget := written.Load(), to.count(stream)
		eventually(t, 60*time.Second, "the mirror goes on", func() error {
			if n := to.count(stream); n < atTarget+10*keys || written.Load() < before+20 {
				return fmt.Errorf("%d records more at the target", n-atTarget)
			}
			return nil
		})
		if round%3 != 1 {
			m.kill()
		}
		if round%3 != 0 {
			to.kill()
			to.start()
		}
		switch round {
		case 1:
			if err := from.splitFirst(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
		case 3:
			if err := from.mergeFirst(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
		}
		if round%3 != 1 {
			m = follow()
		}
	}
	stopping.Store(true)
	work.Wait()
	if err := m.stop(); err != nil {
		t.Errorf("a mirror that is asked to stop: %v", err)
	}
	for range 2 { // the second begins shards that the first one only met
		out, code := runToEnd(t, append([]string{"streamd"}, args...), env, "")
		if code != 0 {
			t.Fatalf("exit code %d\n%s", code, out)
		}
	}
	twice := to.checkMirror(t, stream, keys, int(written.Load()))
	t.Logf("%d records, %d more are there twice", keys*written.Load(), twice)
}

// count returns how many records a stream has now, 0 if they cannot be read.
func (s *server) count(stream string) int {
	n := 0
	shards, _ := s.shards(s.t.Context(), stream)
	for _, sh := range shards {
		records, _ := s.readShard(context.WithoutCancel(s.t.Context()), stream, *sh.ShardId)
		n += len(records)
	}
	return n
}

// checkMirror fails the test unless all keys have all numbers, each for the
// first time behind all before it. It returns how many are there more than once.
func (s *server) checkMirror(t *testing.T, stream string, keys, each int) (twice int) {
	t.Helper()
	shards, err := s.shards(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	for _, sh := range shards {
		records, err := s.readShard(t.Context(), stream, *sh.ShardId)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			n, err := strconv.Atoi(strings.TrimSpace(string(r.Data)))
			switch {
			case err != nil:
				t.Fatalf("record %q", r.Data)
			case n == next[*r.PartitionKey]:
				next[*r.PartitionKey]++
			case n > next[*r.PartitionKey]:
				t.Fatalf("%s: %d comes before %d", *r.PartitionKey, n, next[*r.PartitionKey])
			default:
				twice++
			}
		}
	}
	for k := range keys {
		if key := fmt.Sprintf("key-%d", k); next[key] != each {
			t.Errorf("%s: %d records, want %d", key, next[key], each)
		}
	}
	return twice
}
