//go:build unix

package logappender_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

func init() { children["signal"] = signalled }

// asked is a sink that says when the appender has asked for it to be flushed.
type asked struct {
	crashSink
	flushed chan struct{} // capacity 1
}

func (s *asked) Flush(context.Context) error {
	select {
	case s.flushed <- struct{}{}:
	default:
	}
	return nil
}

func (s *asked) PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	if s.how == "hang" {
		return nil // and no answer
	}
	return s.crashSink.PutBatch(ctx, rs, done)
}

// signalled is the child: it logs, is told to end, and shuts down in order.
func signalled(how string) {
	f := strings.Fields(how) // sink, end, directory
	sink := &asked{crashSink: crashSink{how: f[0]}, flushed: make(chan struct{}, 1)}
	cfg := logappender.Config{Linger: time.Hour, FatalTimeout: deadline(f[0], 200*time.Millisecond), ErrorOutput: os.Stdout}
	if len(f) > 2 {
		cfg.SpillDir = f[2]
	}
	if f[1] == "twice" {
		cfg.FatalTimeout = time.Hour
	}
	a, err := logappender.New(sink, cfg)
	if err != nil {
		panic(err)
	}
	l := zap.New(a.Core(zap.InfoLevel, bareEncoder()))
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		panic(err)
	}
	other := make(chan os.Signal, 1)
	if f[1] == "once" {
		signal.Notify(other, syscall.SIGTERM)
	}
	ctx, stop := a.HandleSignals(context.Background())
	defer stop()
	l.Info("early entry")
	if err := self.Signal(syscall.SIGTERM); err != nil {
		panic(err)
	}
	if f[1] == "twice" {
		<-sink.flushed // the first one has come
		if err := self.Signal(syscall.SIGTERM); err != nil {
			panic(err)
		}
		select {}
	}
	<-ctx.Done()
	fmt.Fprintln(os.Stdout, "handler:", context.Cause(ctx), <-other)
	fmt.Fprintln(os.Stderr, "handler")
	if f[0] == "ok" {
		l.Info("late entry")
	}
	closing, cancel := context.WithTimeout(context.Background(), deadline(f[0], 200*time.Millisecond))
	defer cancel()
	_ = a.Close(closing)
	os.Exit(7)
}

// TestHandleSignals tells processes to end. What they have logged must be where it
// belongs before their own handler runs.
func TestHandleSignals(t *testing.T) {
	for _, tt := range []struct {
		name, sink, end string
		spill           bool
		code            int
	}{
		{"delivered", "ok", "once", false, 7},
		{"delivered late", "slow", "once", false, 7},
		{"on disk", "hang", "once", true, 7},
		{"in the fallback", "hang", "once", false, 7},
		{"a second signal", "hang", "twice", false, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := ""
			if tt.spill {
				dir = t.TempDir()
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), childVar+"=signal "+tt.sink+" "+tt.end+" "+dir)
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			ee, ok := errors.AsType[*exec.ExitError](err)
			if !ok || ee.ExitCode() != tt.code {
				t.Fatalf("ended with %v, want code %d: %.500s", err, tt.code, stderr.String())
			}
			if tt.end == "twice" {
				if ws, ok := ee.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGTERM {
					t.Errorf("ended with %v, want the signal", err)
				}
				return
			}
			out, late, ok := strings.Cut(stdout.String(), "handler: logappender: the process was sent terminated terminated\n")
			if !ok {
				t.Fatalf("the program's handler has not run: %q", out)
			}
			fallback, _, _ := strings.Cut(stderr.String(), "handler\n")
			switch {
			case tt.spill:
				found := false
				if _, err := spool.Inspect(vfs.OS, dir, func(r *spool.Record) error {
					found = found || !r.Acked && string(r.Data) == "early entry"
					return nil
				}); err != nil || !found {
					t.Errorf("the entry is not on disk: %v", err)
				}
			case tt.sink == "hang":
				if !strings.Contains(fallback, "early entry\n") {
					t.Errorf("fallback has %q", stderr.String())
				}
			default:
				if !strings.Contains(out, "stored early entry\n") {
					t.Errorf("before the handler %q, after it %q", out, late)
				}
				if tt.sink == "ok" && !strings.Contains(late, "stored late entry\n") {
					t.Errorf("after the handler %q", late)
				}
			}
		})
	}
}

func TestHandleSignalsEnds(t *testing.T) {
	a := open(t, &fakePutter{}, logappender.Config{})
	parent, cancel := context.WithCancel(t.Context())
	ctx, stop := a.HandleSignals(parent, syscall.SIGUSR1)
	if ctx.Err() != nil {
		t.Fatal("done before anything has come")
	}
	cancel()
	<-ctx.Done()
	stop()
	ctx, stop = a.HandleSignals(t.Context(), syscall.SIGUSR1)
	stop()
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		t.Errorf("cause %v", context.Cause(ctx))
	}
}
