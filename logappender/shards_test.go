package logappender_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/zap"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// through returns an appender over a producer over a server.
func through(t *testing.T, srv *streamdtest.Server, cfg logappender.Config, pcfg producer.Config) (a *logappender.Appender, end func()) {
	t.Helper()
	pcfg.Logger = slog.New(slog.DiscardHandler)
	p, err := producer.New(srv.Kinesis(), "logs", pcfg)
	if err != nil {
		t.Fatal(err)
	}
	a = open(t, p, cfg)
	return a, func() {
		t.Helper()
		if err := a.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestRandomKeysSpread counts what comes to each of 64 shards. The producer sends
// an entry to the less loaded one of two shards, so that what a shard gets
// depends on when answers come: chance is no measure of it, but a share is.
func TestRandomKeysSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shards, each = 64, 100
		srv := streamdtest.New(t)
		srv.CreateStream(t, "logs", shards)
		a, end := through(t, srv, logappender.Config{}, producer.Config{DisableAggregation: true})
		l := zap.New(a.Core(zap.InfoLevel, bareEncoder()))
		for i := range shards * each {
			l.Info(fmt.Sprint(i))
		}
		end()
		list, err := srv.Kinesis().ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("logs")})
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, sh := range list.Shards {
			it, err := srv.Kinesis().GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
				StreamName: aws.String("logs"), ShardId: sh.ShardId, ShardIteratorType: "TRIM_HORIZON",
			})
			if err != nil {
				t.Fatal(err)
			}
			out, err := srv.Kinesis().GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
			if err != nil {
				t.Fatal(err)
			}
			n := len(out.Records)
			total += n
			if n < each/2 || n > each*2 {
				t.Errorf("%s has %d entries, where a fair share is %d", *sh.ShardId, n, each)
			}
		}
		if total != shards*each || len(list.Shards) != shards {
			t.Errorf("%d entries on %d shards, want %d on %d", total, len(list.Shards), shards*each, shards)
		}
	})
}

// TestKeysKeepTheirOrderThroughReshards logs with a key from a field, by zap and by
// slog, while shards are split and merged.
func TestKeysKeepTheirOrderThroughReshards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, each = 10, 120
		srv := streamdtest.New(t)
		srv.CreateStream(t, "logs", 2)
		a, end := through(t, srv, logappender.Config{PartitionKey: logappender.FieldKey("k", ""), Linger: 10 * time.Millisecond}, producer.Config{DisableAggregation: true})
		zl := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		sl := slog.New(a.Handler(nil))
		stream := aws.String("logs")
		for n := range each {
			switch n {
			case each / 3:
				if _, err := srv.Kinesis().SplitShard(t.Context(), &kinesis.SplitShardInput{
					StreamName: stream, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("85070591730234615865843651857942052864"),
				}); err != nil {
					t.Fatal(err)
				}
			case each * 2 / 3:
				if _, err := srv.Kinesis().MergeShards(t.Context(), &kinesis.MergeShardsInput{
					StreamName: stream, ShardToMerge: aws.String("shardId-000000000003"), AdjacentShardToMerge: aws.String("shardId-000000000001"),
				}); err != nil {
					t.Fatal(err)
				}
			}
			for k := range keys {
				if (n+k)%2 == 0 {
					zl.Info("m", zap.Int("k", k), zap.Int("n", n))
				} else {
					sl.Info("m", "k", k, "n", n)
				}
			}
			time.Sleep(3 * time.Millisecond)
		}
		end()
		next := make([]int, keys)
		for _, r := range srv.Records(t, "logs") {
			var e struct{ K, N int }
			if err := json.Unmarshal(r.Data, &e); err != nil {
				t.Fatalf("%v in %q", err, r.Data)
			}
			if *r.PartitionKey != fmt.Sprint(e.K) || e.N != next[e.K] {
				t.Fatalf("key %s: entry %d of %d comes where %d belongs", *r.PartitionKey, e.N, e.K, next[e.K])
			}
			next[e.K]++
		}
		for k, n := range next {
			if n != each {
				t.Errorf("key %d: %d entries, want %d", k, n, each)
			}
		}
	})
}
