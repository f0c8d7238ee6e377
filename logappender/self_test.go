package logappender_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// talker is a putter with a logger.
type talker struct {
	*fakePutter
	log *slog.Logger
}

func (c *talker) Logger() *slog.Logger { return c.log }

// lateHandler is set after it was given away.
type lateHandler struct{ slog.Handler }

// levelFilter asks its handler only from a level up.
type levelFilter struct {
	slog.Handler
	least slog.Level
}

func (f levelFilter) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= f.least && f.Handler.Enabled(ctx, l)
}

func TestNewRefusesAProducerThatLogsIntoItself(t *testing.T) {
	text := slog.NewTextHandler(io.Discard, nil)
	for _, tt := range []struct {
		name string
		wrap func(a *logappender.Appender) slog.Handler // nil: not this appender at all
		err  error
	}{
		{"directly", func(a *logappender.Appender) slog.Handler { return a.Handler(nil) }, logappender.ErrFeedsItself},
		{"with attributes in a group", func(a *logappender.Appender) slog.Handler {
			return slog.New(a.Handler(nil)).With("a", 1).WithGroup("g").Handler()
		}, logappender.ErrFeedsItself},
		{"second of two", func(a *logappender.Appender) slog.Handler {
			return slog.NewMultiHandler(text, a.Handler(nil))
		}, logappender.ErrFeedsItself},
		{"through a filter", func(a *logappender.Appender) slog.Handler {
			return levelFilter{a.Handler(nil), slog.LevelError}
		}, logappender.ErrFeedsItself},
		{"with a flush", func(a *logappender.Appender) slog.Handler {
			return a.FlushOnLevel(a.Handler(nil), slog.LevelError)
		}, logappender.ErrFeedsItself},
		{"elsewhere", func(*logappender.Appender) slog.Handler { return text }, nil},
		{"nowhere", func(*logappender.Appender) slog.Handler { return slog.DiscardHandler }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			late := new(lateHandler)
			p := &talker{fakePutter: &fakePutter{}, log: slog.New(late)}
			late.Handler = slog.DiscardHandler
			a := open(t, p, logappender.Config{})
			late.Handler = tt.wrap(a)
			b, err := logappender.New(p, quiet(logappender.Config{}))
			if !errors.Is(err, tt.err) {
				t.Errorf("New = %v, want %v", err, tt.err)
			}
			if err == nil {
				if err := b.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if n := a.Stats().Accepted.Total(); n != 0 {
				t.Errorf("%d entries were logged to find out", n)
			}
		})
	}
	t.Run("by way of another stream", func(t *testing.T) {
		late := &lateHandler{slog.DiscardHandler}
		one := &talker{fakePutter: &fakePutter{}, log: slog.New(late)}
		a := open(t, one, logappender.Config{})
		two := &talker{fakePutter: &fakePutter{}, log: slog.New(a.Handler(nil))}
		b := open(t, two, logappender.Config{}) // faults of the second go to the first stream
		late.Handler = b.Handler(nil)
		if _, err := logappender.New(one, quiet(logappender.Config{})); !errors.Is(err, logappender.ErrFeedsItself) {
			t.Errorf("New = %v", err)
		}
	})
	t.Run("one that panics", func(t *testing.T) {
		p := &talker{fakePutter: &fakePutter{}, log: slog.New(&lateHandler{})}
		open(t, p, logappender.Config{}) // it is no worse than before
	})
	t.Run("without a logger", func(t *testing.T) {
		open(t, &talker{fakePutter: &fakePutter{}}, logappender.Config{})
	})
}

// A producer without a logger of its own has the default, which would lead into the
// appender as soon as that is made the default.
func TestNewRefusesTheDefaultLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "logs", 1)
		for name, tt := range map[string]struct {
			logger *slog.Logger
			err    error
		}{
			"none":                    {nil, logappender.ErrFeedsItself},
			"default with attributes": {slog.Default().With("part", "log"), logappender.ErrFeedsItself},
			"text":                    {slog.New(slog.NewTextHandler(new(bytes.Buffer), nil)), nil},
			"discard":                 {slog.New(slog.DiscardHandler), nil},
		} {
			p, err := producer.New(srv.Kinesis(), "logs", producer.Config{Logger: tt.logger})
			if err != nil {
				t.Fatal(err)
			}
			a, err := logappender.New(p, quiet(logappender.Config{}))
			if !errors.Is(err, tt.err) {
				t.Errorf("%s: New = %v, want %v", name, err, tt.err)
			}
			if err == nil {
				err = a.Close(t.Context())
				if err != nil {
					t.Error(err)
				}
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
