package consumer_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// errorLog keeps the errors that are logged.
type errorLog struct {
	slog.Handler
	mu   sync.Mutex // guards msgs
	msgs []string
}

func (l *errorLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (l *errorLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *errorLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.msgs = append(l.msgs, r.Message); len(l.msgs) > 1000 {
		panic("errors without end, of which the last is: " + r.Message)
	}
	return nil
}

func TestNativeForeign(t *testing.T) {
	put := func(row consumer.WorkerRow) func(*nativeFleet) {
		return func(f *nativeFleet) {
			row.Updated = time.Now()
			_ = f.table.PutWorker(f.t.Context(), row)
		}
	}
	taken := func(f *nativeFleet) {
		for _, l := range leases(f.t, f.table) {
			if l.Owner == "java" || l.Owner == "a" {
				_, _ = f.table.Take(f.t.Context(), l, "java", "")
				return
			}
		}
	}
	tests := []struct {
		name string
		act  func(*nativeFleet)
	}{
		{"a row of the official library", put(consumer.WorkerRow{ID: "java", SupportCode: 1})},
		{"leases taken", taken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newNativeFleet(t, 2)
				log := new(errorLog)
				a := f.start("a", consumer.Config{Logger: slog.New(log)})
				f.until(5*time.Second, "one worker reads all", f.shared(2))
				for range 10 {
					tt.act(f)
					time.Sleep(3 * time.Second)
				}
				if n := a.Stats().ForeignWorkers; n != 1 {
					t.Errorf("ForeignWorkers %d", n)
				}
				log.mu.Lock()
				if len(log.msgs) != 1 || !strings.Contains(log.msgs[0], "does not know the rules") {
					t.Errorf("logged: %q", log.msgs)
				}
				log.mu.Unlock()
				b := f.start("b", consumer.Config{Logger: slog.New(log)})
				for range 3 {
					tt.act(f)
					time.Sleep(3 * time.Second)
				}
				if o := f.owners(); o["b"] != 0 {
					t.Errorf("leases were given to a worker: %v", o)
				}
				if n := b.Stats().ForeignWorkers; n != 1 {
					t.Errorf("ForeignWorkers of another worker %d", n)
				}
				f.until(2*time.Minute, "two workers share when the other is gone", f.shared2("a", 1, "b", 1))
				f.until(3*time.Second, "both know that it is gone", func() bool { return a.Stats().ForeignWorkers+b.Stats().ForeignWorkers == 0 })
				a.wait()
				b.wait()
			})
		})
	}
}

// TestNativeSameName has a process begin under the name of one that runs.
func TestNativeSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 4)
		other := f.start("other", consumer.Config{})
		f.until(5*time.Second, "one worker reads all", f.shared(4))
		log := new(errorLog)
		a1 := f.start("a", consumer.Config{Logger: slog.New(log)})
		f.until(10*time.Second, "two workers share", f.shared(2, 2))
		a2 := f.start("a", consumer.Config{Logger: slog.New(log)})
		time.Sleep(3 * time.Minute)
		log.mu.Lock()
		if !slices.ContainsFunc(log.msgs, func(m string) bool { return strings.Contains(m, "name of its own") }) {
			t.Errorf("logged: %q", log.msgs)
		}
		log.mu.Unlock()
		a1.stop()
		a2.stop()
		<-a1.done
		<-a2.done
		f.until(30*time.Second, "the other reads all", func() bool { return f.owners()["other"] == 4 })
		other.wait()
	})
}
