package logappenderprom_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/logappender/logappenderprom"
)

type source struct{}

func (source) Healthy() bool { return true }
func (source) Stats() logappender.Stats {
	s := logappender.Stats{Accepted: logappender.LevelCounts{0, 9}, Delivered: logappender.LevelCounts{0, 4}, Pending: logappender.LevelCounts{0, 3}, Spilled: logappender.LevelCounts{0, 5}, SpillHealthy: true, SpillBytes: 77}
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
		"logappender_dropped_total full":           2,
		"logappender_pending_entries info":         3,
		"logappender_healthy":                      1,
		"logappender_spilled_entries info":         5,
		"logappender_spill_healthy":                1,
		"logappender_circuit_open":                 0,
		"logappender_spill_bytes":                  77,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}
