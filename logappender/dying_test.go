package logappender_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// childVar tells the test binary to be the program that dies, and how.
const childVar = "LOGAPPENDER_TEST_CHILD"

// children are the programs that it may be, other than die.
var children = map[string]func(args string){"crash": crash}

func TestMain(m *testing.M) {
	if how := os.Getenv(childVar); how != "" {
		name, args, _ := strings.Cut(how, " ")
		if child, ok := children[name]; ok {
			child(args)
		}
		die(how)
	}
	os.Exit(m.Run())
}

// announcer stores by printing, so that the parent sees it.
type announcer struct{ fakePutter }

func (p *announcer) PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	err := p.fakePutter.PutBatch(ctx, rs, func(r producer.BatchResult) {
		for _, rec := range rs {
			_, _ = fmt.Fprintf(os.Stdout, "stored %s\n", rec.Data)
		}
		done(r)
	})
	return err
}

// deadline is d for a sink that lets nothing end. For one that answers it is as good
// as none: a machine may be busy with something else for longer than d.
func deadline(sink string, d time.Duration) time.Duration {
	if sink == "ok" || sink == "slow" {
		return time.Minute
	}
	return d
}

// die logs and dies. Standard error is the fallback, as by default.
func die(how string) {
	var p announcer
	sink, end, _ := strings.Cut(how, " ")
	p.set(map[string]fate{"ok": store, "hang": hang, "block": block, "refuse": refuse}[sink])
	a, err := logappender.New(&p, logappender.Config{FatalTimeout: deadline(sink, 100*time.Millisecond), Linger: time.Hour})
	if err != nil {
		panic(err)
	}
	l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
	l.Info("before")
	switch end {
	case "fatal":
		l.Fatal("last word")
	case "panic":
		l.Panic("last word")
	case "many":
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { l.Fatal("last word") })
		}
		wg.Wait()
	case "deferred":
		func() {
			defer l.Fatal("last word")
			panic("on the way out")
		}()
	case "closing":
		go func() { _ = a.Close(context.Background()) }()
		l.Fatal("last word")
	case "full":
		fill(l, zap.ErrorLevel, 10000)
		l.Fatal("last word")
	}
	os.Exit(99)
}

func TestLastWordsOfAProcess(t *testing.T) {
	for _, how := range []string{
		"ok fatal", "hang fatal", "block fatal",
		"ok panic", "hang panic",
		"ok deferred", "hang deferred",
		"ok many", "hang many", "block many",
		"ok closing", "block closing",
		"hang full", "block full",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), childVar+"="+how)
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			ee, ok := errors.AsType[*exec.ExitError](err)
			want := 1
			if strings.HasSuffix(how, "panic") {
				want = 2
			}
			if !ok || ee.ExitCode() != want {
				t.Fatalf("ended with %v, want code %d: %.500s", err, want, stderr.String())
			}
			out := stderr.String()
			if strings.HasPrefix(how, "ok") {
				out = stdout.String()
				if strings.HasSuffix(how, "closing") {
					out += stderr.String() // the one or the other
				}
			}
			for _, word := range []string{`"before"`, `"last word"`} {
				if how == "ok closing" && word == `"before"` {
					continue // Close may be between acceptance and print
				}
				if !strings.Contains(out, word) {
					t.Errorf("%s is missing in %.500q", word, out)
				}
			}
		})
	}
}

func TestGoroutinesDieTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		p.set(hang)
		fallback := &syncBuffer{}
		a := open(t, &p, logappender.Config{Fallback: fallback})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()), zap.WithFatalHook(zapcore.WriteThenGoexit))
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				l.Fatal(fmt.Sprintf("goroutine %d.", i))
			})
		}
		wg.Wait()
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("all dead after %v, want 2s", d)
		}
		for i := range 20 {
			if n := strings.Count(fallback.String(), fmt.Sprintf("goroutine %d.", i)); n != 1 {
				t.Errorf("goroutine %d is %d times in the fallback", i, n)
			}
		}
		if s := a.Stats(); s.Saved != 20 || s.Pending.Total() != 20 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRecoveredPanicLeavesTheLoggerAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		p.set(hang)
		fallback := &syncBuffer{}
		a := open(t, &p, logappender.Config{Fallback: fallback})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			l.Panic("recovered")
		}()
		p.set(store)
		l.Info("after")
		for _, done := range p.held {
			done(producerResult(1))
		}
		flush(t, a)
		s := a.Stats()
		if !strings.Contains(fallback.String(), "recovered") || s.Delivered.Total() != 2 || s.FlushTimeouts != 1 {
			t.Errorf("fallback %q, %+v", fallback, s)
		}
	})
}

// stuckWriter is a pipe that nobody reads.
type stuckWriter struct{ until chan struct{} }

func (w stuckWriter) Write(p []byte) (int, error) { <-w.until; return len(p), nil }
func (w stuckWriter) Sync() error                 { return nil }

func TestStuckFallbackDoesNotStopDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		p.set(hang)
		w := stuckWriter{make(chan struct{})}
		a := open(t, &p, logappender.Config{Fallback: w})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()), zap.WithFatalHook(zapcore.WriteThenGoexit))
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { l.Fatal("m") })
		wg.Wait()
		if d := time.Since(start); d != 4*time.Second {
			t.Errorf("dead after %v, want 4s", d)
		}
		close(w.until)
	})
}

func TestLastWordsHaveRoomInAFullBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		gate := make(chan struct{})
		a := open(t, &gated{fakePutter: &p, gate: gate}, logappender.Config{BufferBytes: 256 << 10})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()), zap.WithFatalHook(zapcore.WriteThenGoexit))
		fill(l, zap.ErrorLevel, 1000)
		var wg sync.WaitGroup
		wg.Go(func() { l.Fatal("last word") })
		time.Sleep(time.Second)
		close(gate)
		wg.Wait()
		if !strings.Contains(strings.Join(p.lines(), ""), "last word") {
			t.Error("the last word was not delivered")
		}
	})
}

// Written ahead, entries keep their order when a dying goroutine writes beside the
// drainer.
func TestLastWordsKeepTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(store)
		p := run(t, vfstest.NewDisk(), s, logappender.Config{SpillMode: logappender.SpillAlways, ChunkBytes: 4 << 10})
		pad := strings.Repeat("x", 3000) // one to a chunk
		var want []string
		for round := range 200 {
			for i := range 10 {
				want = append(want, fmt.Sprintf("%d-%d %s", round, i, pad))
				p.log.Info(want[len(want)-1])
			}
			want = append(want, fmt.Sprintf("%d-last", round))
			p.panics(want[len(want)-1])
		}
		p.end(time.Minute)
		got := s.lines()
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("%.20q comes where %.20q belongs", got[i], want[i])
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d of %d entries are stored", len(got), len(want))
		}
	})
}
