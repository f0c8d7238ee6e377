//go:build unix

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

// gate is a sink that takes everything, or refuses it.
type gate struct{ shut atomic.Bool }

func (g *gate) PutBatch(_ context.Context, recs []producer.UserRecord, done func(producer.BatchResult)) error {
	if g.shut.Load() {
		return errors.New("access denied")
	}
	done(producer.BatchResult{Records: len(recs)})
	return nil
}

func (g *gate) Flush(context.Context) error { return nil }
func (g *gate) Close(context.Context) error { return nil }

// gated runs an agent with a gate in a bubble. The agent reads the file log.
func gated(t *testing.T) (ag *agent.Agent, g *gate, log string) {
	t.Helper()
	dir := t.TempDir()
	g, log = &gate{}, filepath.Join(dir, "a.log")
	cfg := &agent.Config{
		Flows:          []agent.FlowConfig{{FilePattern: log, KinesisStream: "s", StartOfFile: true}},
		CheckpointFile: filepath.Join(dir, "checkpoints"), Logger: slog.New(slog.DiscardHandler),
		NewWatcher: func() (agent.Watcher, error) { return nil, errors.New("a real one stops the time of a bubble") },
	}
	ag, err := agent.New(cfg, func(agent.FlowConfig, int64) (agent.Sink, error) { return g, nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ag.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return ag, g, log
}

func settle(d time.Duration) {
	time.Sleep(d) // of a bubble
	synctest.Wait()
}

// An agent is healthy while it lives, and ready unless a stream has refused records for
// more than a minute.
func TestHealthAndReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ag, g, log := gated(t)
		h := (&app{}).handler(ag)
		check := func(when, path string, code int, text string) {
			t.Helper()
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			if got := rec.Body.String(); rec.Code != code || !strings.Contains(got, text) {
				t.Errorf("%s: %s answers %d %.200q, want %d with %q", when, path, rec.Code, got, code, text)
			}
		}
		appendTo(t, log, "one\n")
		settle(2 * time.Second)
		check("at the start", "/healthz", http.StatusOK, "ok\n")
		check("at the start", "/readyz", http.StatusOK, "ok\n")
		g.shut.Store(true)
		appendTo(t, log, "two\n")
		settle(50 * time.Second)
		check("blocked for less than a minute", "/readyz", http.StatusOK, "ok\n")
		settle(20 * time.Second)
		check("blocked", "/readyz", http.StatusServiceUnavailable, "is blocked for ")
		check("blocked", "/readyz", http.StatusServiceUnavailable, "access denied")
		check("blocked", "/healthz", http.StatusOK, "ok\n")
		g.shut.Store(false)
		settle(time.Minute)
		check("afterwards", "/readyz", http.StatusOK, "ok\n")

		check("not asked for", "/debug/pprof/", http.StatusNotFound, "")
		h = (&app{pprof: true}).handler(ag)
		check("asked for", "/debug/pprof/", http.StatusOK, "goroutine")
		check("asked for", "/debug/pprof/goroutine?debug=1", http.StatusOK, "streamkit/agent")
		check("asked for", "/debug/pprof/symbol", http.StatusOK, "num_symbols")
	})
}

// manager is a service manager in a bubble: what it was told since it was last asked.
type manager func() string

func newManager(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Cleanup(func() { _ = conn.Close() }) // nothing is written
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		var text strings.Builder
		buf := make([]byte, 4096)
		// A read that waits would stop the time of the bubble.
		err := raw.Read(func(fd uintptr) bool {
			for {
				n, _, err := syscall.Recvfrom(int(fd), buf, syscall.MSG_DONTWAIT)
				if err != nil {
					return true
				}
				text.Write(buf[:n])
				text.WriteString("\n\n")
			}
		})
		if err != nil {
			t.Error(err)
		}
		return text.String()
	}
}

// The service manager hears nothing of an agent whose state cannot be had, and so
// restarts it.
func TestWatchdogOfAHangingAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := newManager(t)
		t.Setenv("WATCHDOG_USEC", "20000000")
		n := newNotifier(slog.New(slog.DiscardHandler))
		defer n.close()
		var hangs atomic.Bool
		free := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.watchdog(ctx, func() {
				if hangs.Load() {
					<-free
				}
			})
		}()
		settle(35 * time.Second)
		if got := strings.Count(heard(), "WATCHDOG=1"); got != 4 {
			t.Errorf("%d signs of life in 35 s, want 4", got)
		}
		hangs.Store(true)
		settle(time.Minute)
		if got := heard(); got != "" {
			t.Errorf("while the look hangs: %q", got)
		}
		hangs.Store(false)
		close(free)
		settle(15 * time.Second)
		if got := strings.Count(heard(), "WATCHDOG=1"); got < 2 {
			t.Errorf("%d signs of life in the 15 s afterwards, want at least 2", got)
		}
		cancel()
		<-done
	})
}

// A reload that is refused ends as one that is taken does, or the service manager would
// wait for its end.
func TestReadyAfterARefusedReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := newManager(t)
		ag, _, _ := gated(t)
		n := newNotifier(slog.New(slog.DiscardHandler))
		defer n.close()
		config := filepath.Join(t.TempDir(), "agent.json")
		write(t, config, `{"flows": [`)
		settle(time.Second) // its flow has begun
		r := &reloader{app: &app{config: config}, agent: ag, log: slog.New(slog.DiscardHandler), notify: n}
		r.reload(t.Context())
		got := heard()
		if reloading, ready := strings.Index(got, "RELOADING=1\nMONOTONIC_USEC="), strings.Index(got, "READY=1\nSTATUS=1 flows"); reloading != 0 || ready < reloading {
			t.Errorf("told %q, want RELOADING and then READY", got)
		}
		if s := ag.Status(); !strings.Contains(s.ConfigError, "no JSON") || len(s.Flows) != 1 {
			t.Errorf("refused with %q, %d flows; want the reason and the one flow", s.ConfigError, len(s.Flows))
		}
	})
}
