package agent_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/streamkit/streamkit/agent"
)

var flowLabel = regexp.MustCompile(`flow="[^"]*",?`)

// metrics returns what the agent exports: values by name and labels, without that of
// the flow, and the names.
func (w *world) metrics() (values map[string]float64, names map[string]bool) {
	w.t.Helper()
	reg := prometheus.NewRegistry()
	w.check(reg.Register(agent.NewCollector(w.a)))
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "/", http.NoBody))
	values, names = make(map[string]float64), make(map[string]bool)
	for line := range strings.Lines(rec.Body.String()) {
		if kind, ok := strings.CutPrefix(line, "# TYPE streamagent_"); ok {
			name, _, _ := strings.Cut(kind, " ")
			names[name] = true
			continue
		}
		what, number, ok := strings.Cut(strings.TrimSuffix(flowLabel.ReplaceAllString(line, ""), "\n"), " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := strconv.ParseFloat(number, 64)
		w.check(err)
		values[strings.TrimPrefix(strings.TrimSuffix(what, "{}"), "streamagent_")] = v
	}
	return values, names
}

// What the agent exports, by name: users' dashboards and alarms have these names.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{})
		w.watcher = &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
		w.lines("app.log", 100)
		w.start()
		w.settle(2 * time.Second)
		values, names := w.metrics()
		want := []string{
			"acked_bytes_total", "backpressure_seconds_total", "behind_bytes", "behind_files", "blocked", "budget_used_bytes",
			"checkpoint_age_seconds", "checkpoint_failures_total", "checkpoint_persist_seconds", "checkpoint_success",
			"config_reload_success", "consecutive_errors", "deleted_files_total", "files_tracked", "flow_state", "last_progress_timestamp_seconds",
			"lost_bytes_total", "memory_stalls_total", "oldest_unacked_seconds", "open_files", "protected_files", "read_bytes_total",
			"read_to_ack_seconds", "record_failures_total", "records_total", "refused_batches_total", "rotations_total",
			"scan_seconds", "troubles_total", "unprotected_files_total", "watch_mode", "watch_overflows_total",
		}
		for _, name := range want {
			if !names[name] {
				t.Errorf("there is no streamagent_%s", name)
			}
			delete(names, name)
		}
		for name := range names {
			t.Errorf("streamagent_%s is not in this list", name)
		}
		for what, want := range map[string]float64{
			`records_total{result="sent"}`: 100, `watch_mode{mode="events"}`: 1, `watch_mode{mode="poll"}`: 0, `flow_state{state="running"}`: 1,
			`flow_state{state="stalled"}`: 0, "checkpoint_success": 1, "checkpoint_failures_total": 0,
		} {
			if got, ok := values[what]; !ok || got != want {
				t.Errorf("%s is %v, want %v", what, got, want)
			}
		}
		if values["checkpoint_persist_seconds_count"] == 0 || values["scan_seconds_count"] == 0 {
			t.Errorf("%v positions stored and %v scans, want some", values["checkpoint_persist_seconds_count"], values["scan_seconds_count"])
		}
		f := w.status().Files[0]
		if f.Mode != "events" || f.Behind != 0 || f.Committed != f.Size {
			t.Errorf("file %+v", f)
		}
		w.sink.hold = true
		w.lines("app.log", 1)
		w.settle(time.Second)
		if f := w.status().Files[0]; f.Behind == 0 || f.Behind != f.Size-f.Committed || f.Unacked == 0 {
			t.Errorf("with a line on its way: %+v", f)
		}
		w.sink.release()
		w.stopped()
	})
}
