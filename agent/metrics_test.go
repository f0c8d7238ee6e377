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

// What the status has of a file.
func TestFileStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{})
		w.watcher = &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
		w.lines("app.log", 100)
		w.start()
		w.settle(2 * time.Second)
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
