package logappenderprom_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/logappender/logappenderprom"
	"github.com/streamkit/streamkit/producer"
)

type source struct{}

func (source) Healthy() bool { return true }
func (source) Stats() logappender.Stats {
	s := logappender.Stats{Accepted: logappender.LevelCounts{0, 9}, Delivered: logappender.LevelCounts{0, 4}, Pending: logappender.LevelCounts{0, 3}, Spilled: logappender.LevelCounts{0, 5}, Sampled: logappender.LevelCounts{6}, SpillHealthy: true, SpillBytes: 77, SpillMissing: 78, SpillTorn: 79, SpillDamaged: 80}
	s.Dropped[logappender.DropFull] = logappender.LevelCounts{0, 2}
	return s
}

func TestCollector(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(logappenderprom.NewCollector("main", source{}))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				if l.GetName() != "appender" {
					name += " " + l.GetValue()
				}
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"logappender_entries_total info accepted":  9,
		"logappender_entries_total info delivered": 4,
		"logappender_entries_total info dropped":   2,
		"logappender_entries_total debug sampled":  6,
		"logappender_dropped_total full":           2,
		"logappender_pending_entries info":         3,
		"logappender_healthy":                      1,
		"logappender_spilled_entries info":         5,
		"logappender_spill_healthy":                1,
		"logappender_circuit_open":                 0,
		"logappender_spill_bytes":                  77,
		"logappender_spill_missing_total":          78,
		"logappender_spill_torn_total":             79,
		"logappender_spill_damaged_total":          80,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

// putter stores everything nowhere.
type putter struct{}

func (putter) Flush(context.Context) error { return nil }

func (putter) PutBatch(_ context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	done(producer.BatchResult{Records: len(rs)})
	return nil
}

func TestCollectorOfAnAppender(t *testing.T) {
	a, err := logappender.New(putter{}, logappender.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Writer(0).Write([]byte("one\ntwo\n")); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(logappenderprom.NewCollector("main", a))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]uint64)
	sum := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil {
				count[f.GetName()], sum[f.GetName()] = h.GetSampleCount(), h.GetSampleSum()
				if n := h.GetBucket()[len(h.GetBucket())-1].GetCumulativeCount(); n != h.GetSampleCount() {
					t.Errorf("%s: %d values of %d are in buckets", f.GetName(), n, h.GetSampleCount())
				}
			}
		}
	}
	if count["logappender_handover_chunk_bytes"] != 1 || sum["logappender_handover_chunk_bytes"] != 2*(8+3) ||
		count["logappender_delivery_seconds"] != 2 || count["logappender_flush_seconds"] == 0 {
		t.Errorf("counts %v, sums %v", count, sum)
	}
}

// The page for operators has every metric that there is, with its type, and no other.
func TestPageOfMetrics(t *testing.T) {
	page, err := os.ReadFile("../../docs/logappender.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]string)
	for _, m := range regexp.MustCompile("(?m)^\\| `(logappender_[a-z_]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(string(page), -1) {
		told[m[1]] = m[2]
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(logappenderprom.NewCollector("main", source{}))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if typ := strings.ToLower(f.GetType().String()); told[f.GetName()] != typ {
			t.Errorf("%s is a %s, the page has %q", f.GetName(), typ, told[f.GetName()])
		}
		delete(told, f.GetName())
	}
	for name := range told {
		t.Errorf("%s is on the page, and does not exist", name)
	}
}
