package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

// reloader is an agent whose configuration file a test rewrites.
type reloader struct {
	t     *testing.T
	dir   string
	sinks map[string]*stream // by stream
	opens []string
	fail  error // of the next sink
}

func newReloader(t *testing.T) *reloader {
	t.Helper()
	return &reloader{t: t, dir: t.TempDir(), sinks: make(map[string]*stream)}
}

// load writes a configuration and loads it. Each flow is its file and its stream.
func (r *reloader) load(top string, flows ...string) *agent.Config {
	r.t.Helper()
	var list []string
	for _, f := range flows {
		file, stream, _ := strings.Cut(f, ">")
		list = append(list, fmt.Sprintf(`{"filePattern": %q, "kinesisStream": %q, "initialPosition": "START_OF_FILE", "id": %q}`,
			filepath.Join(r.dir, file), stream, file))
	}
	cfg, err := r.loadText(fmt.Sprintf(`{"checkpointFile": %q, %s "flows": [%s]}`,
		filepath.Join(r.dir, "checkpoints"), top, strings.Join(list, ",")))
	if err != nil {
		r.t.Fatal(err)
	}
	return cfg
}

// loadText writes a configuration and loads it.
func (r *reloader) loadText(text string) (*agent.Config, error) {
	path := filepath.Join(r.dir, "agent.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cfg, _, err := agent.LoadConfig(path)
	if err != nil {
		return nil, err
	}
	cfg.Logger, cfg.FS = slog.New(slog.DiscardHandler), vfstest.Lazy{FS: vfs.OS}
	cfg.NewWatcher = func() (agent.Watcher, error) { return nil, errors.New("none") }
	return cfg, nil
}

func (r *reloader) open(f agent.FlowConfig, _ int64) (agent.Sink, error) {
	if err := r.fail; err != nil {
		r.fail = nil
		return nil, err
	}
	r.opens = append(r.opens, f.KinesisStream)
	if r.sinks[f.KinesisStream] == nil {
		r.sinks[f.KinesisStream] = &stream{}
	}
	return r.sinks[f.KinesisStream], nil
}

func (r *reloader) write(name, text string) {
	r.t.Helper()
	f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.WriteString(f, text); err != nil {
		r.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloader) expect(stream string, lines ...string) {
	r.t.Helper()
	var got []string
	if s := r.sinks[stream]; s != nil {
		for _, rec := range s.records() {
			got = append(got, strings.TrimSuffix(string(rec.Data), "\n"))
		}
	}
	if !reflect.DeepEqual(got, lines) {
		r.t.Errorf("stream %s has %q, want %q", stream, got, lines)
	}
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloader(t)
		for _, name := range []string{"same", "moved", "gone", "new"} {
			r.write(name, name+" 1\n")
		}
		a, err := agent.New(r.load("", "same>a", "moved>b", "gone>c"), r.open)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		time.Sleep(5 * time.Second)

		// A flow that stays, one whose stream is another, one that goes, one that comes.
		what, err := a.Reload(ctx, r.load("", "new>d", "same>a", "moved>e"), r.open)
		if err != nil {
			t.Fatal(err)
		}
		if want := (agent.Reloaded{Added: []string{"new"}, Removed: []string{"gone"}, Changed: []string{"moved"}, Kept: []string{"same"}}); !reflect.DeepEqual(what, want) {
			t.Errorf("reloaded %+v, want %+v", what, want)
		}
		for _, name := range []string{"same", "moved", "gone", "new"} {
			r.write(name, name+" 2\n")
		}
		time.Sleep(20 * time.Second)
		r.expect("a", "same 1", "same 2")
		r.expect("b", "moved 1")
		r.expect("e", "moved 2")
		r.expect("c", "gone 1")
		r.expect("d", "new 1", "new 2")
		if s := a.Status(); len(s.Flows) != 3 || s.Flows[0].ID != "new" {
			t.Errorf("flows %+v", s.Flows)
		}

		// What cannot be taken over changes nothing.
		r.fail = errors.New("no sink")
		if _, err := a.Reload(ctx, r.load("", "same>x", "other>y"), r.open); err == nil || !strings.Contains(err.Error(), "no sink") {
			t.Errorf("reload with a sink that fails: %v", err)
		}
		r.write("moved", "moved 3\n")
		time.Sleep(20 * time.Second)
		r.expect("e", "moved 2", "moved 3")

		// Another service concerns every flow; other settings wait for the next start.
		r.opens = nil
		what, err = a.Reload(ctx, r.load(`"kinesis.region": "eu-west-1", "maxMemoryBytes": 8388608, "cloudwatch.emitMetrics": true,`, "same>a", "moved>e"), r.open)
		if err != nil || !reflect.DeepEqual(what.Changed, []string{"same", "moved"}) || !reflect.DeepEqual(what.NeedRestart, []string{"maxMemoryBytes", "cloudwatch"}) {
			t.Errorf("reloaded %+v, %v", what, err)
		}
		r.write("same", "same 3\n")
		time.Sleep(20 * time.Second)
		r.expect("a", "same 1", "same 2", "same 3")

		// A flow that comes back goes on where it was.
		if _, err := a.Reload(ctx, r.load(`"kinesis.region": "eu-west-1",`, "gone>c"), r.open); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		r.expect("c", "gone 1", "gone 2")
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if _, err := a.Reload(t.Context(), r.load("", "same>a"), r.open); !errors.Is(err, agent.ErrNotRunning) {
			t.Errorf("Reload after Run: %v", err)
		}
	})
}

// A flow whose stream takes nothing is stopped all the same, and what it had read
// goes to the new stream.
func TestReloadBlockedFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloader(t)
		r.write("log", "1\n2\n")
		r.sinks["a"] = &stream{refuse: func() bool { return true }}
		a, err := agent.New(r.load("", "log>a"), r.open)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		time.Sleep(5 * time.Second)
		if _, err := a.Reload(ctx, r.load("", "log>b"), r.open); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		r.expect("b", "1", "2")
		a.ReloadFailed(errors.New("broken"))
		if s := a.Status(); s.ConfigError != "broken" {
			t.Errorf("status %+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// The memory is that of the start, so larger records than it allows for are refused,
// whatever the new configuration says of it, and everything goes on as it was.
func TestReloadOfLargeRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloader(t)
		r.write("log", "1\n")
		a, err := agent.New(r.load("", "log>a"), r.open)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		time.Sleep(5 * time.Second)
		next := r.load(`"maxMemoryBytes": 41943040,`, "log>a")
		next.Flows[0].MaxRecordBytes = 10 << 20
		if _, err := a.Reload(ctx, next, r.open); err == nil || !strings.Contains(err.Error(), "must be started anew") {
			t.Errorf("Reload: %v", err)
		}
		r.write("log", "2\n")
		time.Sleep(20 * time.Second)
		r.expect("a", "1", "2")
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
