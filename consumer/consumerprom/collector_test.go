package consumerprom_test

import (
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
		if v.Field(i).Kind() == reflect.Int64 {
			n := int64(1000 + i)
			v.Field(i).SetInt(n)
			want[float64(n)] = v.Type().Field(i).Name
		}
	}
	s.Shards = []consumer.ShardStats{{ShardID: "shard-a", BehindLatest: 7 * time.Second}, {ShardID: "shard-b", BehindLatest: 9 * time.Second}}
	want[2], want[7] = "number of leases", "BehindLatest of a shard"

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
