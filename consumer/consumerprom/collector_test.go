package consumerprom_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/consumerprom"
)

type fixed consumer.Stats

func (f fixed) Stats() consumer.Stats { return consumer.Stats(f) }

// TestEveryCountIsShown gives each count a value of its own and looks for it
// among the metrics.
func TestEveryCountIsShown(t *testing.T) {
	var s consumer.Stats
	want := map[float64]string{}
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		if v.Field(i).Type() == reflect.TypeFor[int64]() {
			n := int64(1000 + i)
			v.Field(i).SetInt(n)
			want[float64(n)] = v.Type().Field(i).Name
		}
	}
	s.ProcessorTime = 500 * time.Second
	s.Shards = []consumer.ShardStats{
		{ShardID: "shard-a", BehindLatest: 7 * time.Second, Unacked: 30, Failures: 3, Hung: true},
		{ShardID: "shard-b", BehindLatest: 9 * time.Second, Unacked: 40, Failures: 4},
		{ShardID: "shard-c", Failures: 5},
		{ShardID: "shard-d"},
	}
	maps.Copy(want, map[float64]string{
		500: "ProcessorTime", 4: "number of leases", 7: "BehindLatest of a shard", 30: "Unacked of a shard", 70: "Unacked of all",
		5: "Failures of a shard", 3: "shards that fail", 1: "shards that hang",
	})

	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(consumerprom.NewCollector("app", "orders", fixed(s), consumerprom.Config{PerShard: true}))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	nines := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "kinesis_consumer_") || f.GetHelp() == "" {
			t.Errorf("metric %s, help %q", f.GetName(), f.GetHelp())
		}
		for _, m := range f.GetMetric() {
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			delete(want, value)
			if value == 9 {
				nines++
			}
		}
	}
	for _, name := range want {
		t.Errorf("no metric shows %s", name)
	}
	if nines != 2 {
		t.Errorf("the greatest delay is shown %d times, want twice: as such and as its shard's", nines)
	}
}

func TestShardsOnlyOnRequest(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s := consumer.Stats{Shards: []consumer.ShardStats{{ShardID: "shard-a"}}}
	reg.MustRegister(consumerprom.NewCollector("app", "orders", fixed(s), consumerprom.Config{}))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "kinesis_consumer_behind_latest_seconds" {
			t.Error("the shards are shown without being asked for")
		}
	}
}

// TestStreamsByLabel: shards with one id are told apart by their streams, and so are a
// stream that was created again and the one before.
func TestStreamsByLabel(t *testing.T) {
	id := func(name string, epoch int64) consumer.StreamID {
		return consumer.StreamID{Account: "123456789012", Name: name, Epoch: epoch}
	}
	shard := func(id consumer.StreamID, unacked int) consumer.ShardStats {
		return consumer.ShardStats{ShardID: "shard-0", Stream: id.Name, LeaseKey: consumer.LeaseKey(id.String(), "shard-0"), Unacked: unacked}
	}
	s := consumer.Stats{
		Shards: []consumer.ShardStats{shard(id("orders", 7), 1), shard(id("orders", 5), 2), shard(id("returns", 6), 3)},
		Streams: []consumer.StreamStats{
			{Stream: "orders", StreamID: id("orders", 5), Records: 10},
			{Stream: "orders", StreamID: id("orders", 7), Listed: true, Records: 20},
			{Stream: "returns", StreamID: id("returns", 6), Listed: true, Records: 30},
			{Stream: "refunds", Listed: true, Missing: "it does not exist"},
		},
		StreamsDeleted: 4,
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(consumerprom.NewCollector("app", "", fixed(s), consumerprom.Config{PerShard: true}))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				if l.GetName() != "app" && l.GetValue() != "" {
					name += " " + l.GetValue()
				}
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"shard_unacked_records shard-0 orders":                1,
		"shard_unacked_records shard-0 123456789012:orders:5": 2,
		"shard_unacked_records shard-0 returns":               3,
		"unacked_records":                                     6,
		"stream_records_total 123456789012:orders:5":          10,
		"stream_records_total orders":                         20,
		"stream_records_total returns":                        30,
		"stream_listed 123456789012:orders:5":                 0,
		"stream_listed returns":                               1,
		"stream_missing refunds":                              1,
		"stream_missing returns":                              0,
		"streams_deleted_total":                               4,
	} {
		if n, ok := got["kinesis_consumer_"+name]; !ok || n != want {
			t.Errorf("%s is %v (there: %v), want %v", name, n, ok, want)
		}
	}
}
