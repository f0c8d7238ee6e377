package producerprom_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/producer/producerprom"
)

// slow is a stream of one shard that takes 200ms for a request, and refuses all of the
// first one.
type slow struct{ requests int }

func (s *slow) ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	return &kinesis.ListShardsOutput{Shards: []types.Shard{{
		ShardId:             aws.String("shardId-000000000000"),
		HashKeyRange:        &types.HashKeyRange{StartingHashKey: aws.String("0"), EndingHashKey: aws.String(hashkey.Max.String())},
		SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String("1")},
	}}}, nil
}

func (s *slow) PutRecords(_ context.Context, in *kinesis.PutRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	time.Sleep(200 * time.Millisecond)
	out := &kinesis.PutRecordsOutput{}
	for range in.Records {
		s.requests++
		e := types.PutRecordsResultEntry{ShardId: aws.String("shardId-000000000000"), SequenceNumber: aws.String(fmt.Sprint(49, 1000+s.requests))}
		if s.requests == 1 {
			e = types.PutRecordsResultEntry{ErrorCode: aws.String("InternalFailure")}
		}
		out.Records = append(out.Records, e)
	}
	return out, nil
}

// TestHistograms puts one record, which is refused once, and ten that share a Kinesis
// record.
func TestHistograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := producerprom.NewHistograms("orders")
		p, err := producer.New(&slow{}, "orders", producer.Config{
			Hooks: []producer.Hook{h}, RecordMaxBufferedTime: 2 * time.Second, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.PutSync(t.Context(), producer.UserRecord{PartitionKey: "k", Data: []byte("alone")}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := p.Put(t.Context(), producer.UserRecord{PartitionKey: "k", Data: []byte("twenty bytes of data")}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(h, producerprom.NewCollector("orders", p), producerprom.NewHistograms("payments"))
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		type sample struct {
			n        uint64
			low, top float64 // of the sum
		}
		got := map[string]sample{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if m.GetHistogram() == nil || m.GetLabel()[0].GetValue() != "orders" {
					continue
				}
				name := strings.TrimPrefix(f.GetName(), "kinesis_producer_")
				got[name] = sample{n: m.GetHistogram().GetSampleCount(), low: m.GetHistogram().GetSampleSum()}
				if len(m.GetHistogram().GetBucket()) < 7 || m.GetHistogram().GetSchema() == 0 {
					t.Errorf("%s has %d buckets, and native ones of schema %d", name, len(m.GetHistogram().GetBucket()), m.GetHistogram().GetSchema())
				}
			}
		}
		// Three requests: the first record's two, and that of the ten.
		for name, want := range map[string]sample{
			"request_duration_seconds":    {3, 0.6, 0.6},
			"request_kinesis_records":     {3, 3, 3},
			"request_user_records":        {3, 12, 12},
			"buffering_seconds":           {3, 2, 2.06}, // nothing, a backoff of 50 ms at most, the linger
			"record_latency_seconds":      {2, 2.6, 2.66},
			"kinesis_record_user_records": {2, 11, 11},
			"kinesis_record_size_bytes":   {2, 5 + 10*(20+6) + 20 + 3, 5 + 10*(20+6) + 20 + 3},
		} {
			g := got[name]
			if g.n != want.n || g.low < want.low-1e-9 || g.low > want.top+1e-9 {
				t.Errorf("%s: %d values, %v in sum, want %d, from %v to %v", name, g.n, g.low, want.n, want.low, want.top)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("not tested: %v", got)
		}
		for _, f := range families {
			if f.GetName() == "kinesis_producer_record_bytes_total" && f.GetMetric()[0].GetCounter().GetValue() != 205 {
				t.Errorf("record_bytes_total is %v, want 205", f.GetMetric()[0].GetCounter().GetValue())
			}
		}
		problems, err := promlint.NewWithMetricFamilies(families).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	})
}
