package producerprom_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/producer/producerprom"
)

var _ producerprom.Source = (*producer.Producer)(nil)

type fixed producer.Stats

func (f fixed) Stats() producer.Stats { return producer.Stats(f) }

// TestEveryCounterIsShown gives each field of Stats a value of its own and
// looks for it among the metrics.
func TestEveryCounterIsShown(t *testing.T) {
	s := producer.Stats{
		UserRecordsReceived: 100, UserRecordsPut: 60, UserRecordsFailed: 23, UserRecordsExpired: 11,
		UserRecordsPending: 17, BufferedBytes: 1700, PutsBlocked: 41, PutWaits: 42, KinesisRecordsPut: 6, KinesisRecordsDataPut: 600,
		Retries: 3, Requests: 8, RequestTime: 2500 * time.Millisecond, RequestsInFlight: 2,
		ErrorsByCode: map[string]uint64{"InternalFailure": 13}, Paused: true, PausedBy: "in the log", Shards: 4, ShardsLimited: 21, Auto: true,
		MapRefreshes: 5, MapFailures: 14, WrongShard: 15, ReshardResent: 16, UnexplainedShards: 18,
		SequenceRegressions: 19, CallbackPanics: 20,
		Spooling: true, SpoolRecords: 31, SpoolBytes: 32, SpoolAppended: 33, SpoolReplayed: 34, SpoolDropped: 35,
		SpoolLost: 36, SpoolMissing: 40, SpoolTorn: 37, SpoolDamaged: 38, SpoolFailures: 39,
	}
	for i := range reflect.TypeFor[producer.Stats]().NumField() {
		if reflect.ValueOf(s).Field(i).IsZero() {
			t.Fatalf("field %s is not tested: give it a metric and a value here", reflect.TypeFor[producer.Stats]().Field(i).Name)
		}
	}
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(producerprom.NewCollector("orders", fixed(s))); err != nil {
		t.Fatal(err)
	}
	if err := r.Register(producerprom.NewCollector("payments", fixed{})); err != nil {
		t.Fatalf("a second stream: %v", err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			stream, label := "", ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "stream" {
					stream = l.GetValue()
				} else {
					label = l.GetValue()
				}
			}
			if stream != "orders" {
				continue
			}
			name := strings.TrimPrefix(f.GetName(), "kinesis_producer_")
			if label != "" {
				name += "/" + label
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"received_total": 100, "records_total/ok": 60, "records_total/failed": 12, "records_total/expired": 11,
		"buffered_records": 17, "buffered_bytes": 1700, "blocked_puts": 41, "put_waits_total": 42, "kinesis_records_total": 6, "kinesis_record_bytes_total": 600,
		"retries_total": 3, "requests_total": 8, "request_seconds_total": 2.5, "inflight_requests": 2,
		"errors_total/InternalFailure": 13, "paused": 1, "shards": 4, "limited_shards": 21, "auto": 1,
		"shard_map_refresh_total/ok": 5, "shard_map_refresh_total/failed": 14, "wrong_shard_total": 15,
		"resend_reshard_total": 16, "unexplained_shard_total": 18, "sequence_regressions_total": 19, "callback_panics_total": 20,
		"spooling": 1, "spool_records": 31, "spool_bytes": 32, "spool_appended_total": 33, "spool_replayed_total": 34, "spool_dropped_total": 35,
		"spool_lost_total": 36, "spool_missing_total": 40, "spool_torn_total": 37, "spool_damaged_total": 38, "spool_failures_total": 39,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("metrics:\n%v\nwant:\n%v", got, want)
	}
}

// TestConventions holds names, types and help to those of Prometheus.
func TestConventions(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(producerprom.NewCollector("orders", fixed{ErrorsByCode: map[string]uint64{"InternalFailure": 1}}))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
