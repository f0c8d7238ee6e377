//go:build !race

// Under the race detector sync.Pool forgets at random, and zap and slog
// allocate anew.

package logappender_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
)

func TestWriteAllocatesNothingOfItsOwn(t *testing.T) {
	a := open(t, nullPutter{}, logappender.Config{Linger: time.Hour, PartitionKey: logappender.FieldKey("attempt", "")})
	fields := fiveFields()
	ent := zapcore.Entry{Level: zap.InfoLevel, Time: time.Unix(1, 0), Message: "request served"}
	zaps := zapDiscard()
	ours := a.Core(zap.InfoLevel, jsonEncoder())
	measure := func(c zapcore.Core) float64 {
		return testing.AllocsPerRun(2000, func() { _ = c.Write(ent, fields) })
	}
	if z, o := measure(zaps), measure(ours); o > z {
		t.Errorf("%v allocations a Write, zap's core has %v", o, z)
	}
	for _, mode := range []logappender.SpillMode{logappender.SpillOnPressure, logappender.SpillAlways} {
		spill := open(t, nullPutter{}, logappender.Config{Linger: time.Hour, SpillDir: t.TempDir(), SpillMode: mode})
		c := spill.Core(zap.InfoLevel, jsonEncoder())
		if z, o := measure(zaps), measure(c); o > z {
			t.Errorf("mode %d: %v allocations a Write with a spill, zap's core has %v", mode, o, z)
		}
	}
	std := slog.New(slog.NewJSONHandler(io.Discard, nil))
	twin := slog.New(a.Handler(nil))
	s := testing.AllocsPerRun(2000, func() { slogFive(std) })
	if o := testing.AllocsPerRun(2000, func() { slogFive(twin) }); o > s {
		t.Errorf("%v allocations a slog record, the standard handler has %v", o, s)
	}
	full := open(t, &gated{fakePutter: &fakePutter{}, gate: make(chan struct{})}, logappender.Config{BufferBytes: 256 << 10})
	l := full.Core(zap.InfoLevel, jsonEncoder())
	fill(zap.New(l), zap.InfoLevel, 1000)
	if z, o := measure(zaps), measure(l); o > z {
		t.Errorf("%v allocations a dropped entry, zap's core has %v", o, z)
	}
	if full.Stats().DroppedTotal() < 2000 {
		t.Error("the buffer was not full")
	}
	thin := open(t, &gated{fakePutter: &fakePutter{}, gate: make(chan struct{})}, logappender.Config{BufferBytes: 256 << 10, Sample: 1e9})
	l = thin.Core(zap.InfoLevel, jsonEncoder())
	fill(zap.New(l), zap.InfoLevel, 300)
	if o := testing.AllocsPerRun(2000, func() { _ = l.Write(ent, fields) }); o > 0 {
		t.Errorf("%v allocations a sampled entry", o)
	}
	if thin.Stats().Sampled.Total() < 2000 {
		t.Error("nothing was sampled")
	}
}
