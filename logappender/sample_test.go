package logappender_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
)

// TestSampling floods each door with one message while the stream hangs: of the flood
// one in ten is kept, and all else.
func TestSampling(t *testing.T) {
	const (
		buffer = 1 << 20
		every  = 10
	)
	pad := strings.Repeat("x", 1000)
	for _, tt := range []struct {
		door string
		log  func(a *logappender.Appender) func(level zapcore.Level, msg string)
	}{
		{"core", func(a *logappender.Appender) func(zapcore.Level, string) {
			l := zap.New(a.Core(zap.DebugLevel, jsonEncoder()))
			return func(level zapcore.Level, msg string) { l.Log(level, msg, zap.String("pad", pad)) }
		}},
		{"handler", func(a *logappender.Appender) func(zapcore.Level, string) {
			l := slog.New(a.Handler(nil))
			return func(level zapcore.Level, msg string) {
				l.LogAttrs(t.Context(), slog.Level(4*level), msg, slog.String("pad", pad))
			}
		}},
		{"writer", func(a *logappender.Appender) func(zapcore.Level, string) {
			return func(level zapcore.Level, msg string) {
				if _, err := fmt.Fprintf(a.Writer(level), `{"msg":"%s%s"}`+"\n", msg, strings.Repeat(" ", 1000)); err != nil {
					t.Error(err)
				}
			}
		}},
	} {
		t.Run(tt.door, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p fakePutter
				gate := make(chan struct{})
				a := open(t, &gated{fakePutter: &p, gate: gate}, logappender.Config{BufferBytes: buffer, Sample: every, SampleAbove: 0.5})
				log := tt.log(a)
				for a.Stats().BufferBytes < buffer/2 {
					log(zap.InfoLevel, "before")
				}
				before := a.Stats().Accepted.Total()
				if n := a.Stats().Sampled.Total(); n != 0 {
					t.Errorf("%d entries are sampled below the mark", n)
				}
				for i := range 1000 {
					log(zap.InfoLevel, "flood")
					if i%100 == 0 {
						log(zap.InfoLevel, fmt.Sprintf("other %d", i))
						log(zap.WarnLevel, "warning")
					}
				}
				s := a.Stats()
				if s.Sampled.At(zap.InfoLevel) != 900 || s.Sampled.Total() != 900 || s.Accepted.Total() != before+1020 || s.DroppedTotal() != 0 {
					t.Errorf("%+v", s)
				}
				checkAccounts(t, a)
				close(gate)
				flush(t, a)
				log(zap.InfoLevel, "flood") // below the mark all are kept
				log(zap.InfoLevel, "flood")
				if err := a.Close(t.Context()); err != nil {
					t.Error(err)
				}

				count := make(map[string]int)
				told := 0
				for _, line := range p.lines() {
					var m struct {
						Msg, Logger string
						Sampled     int
						Dropped     *int
						Reason      any
						ByLevel     map[string]int `json:"by_level"`
					}
					if err := json.Unmarshal([]byte(line), &m); err != nil {
						t.Fatalf("%v in %q", err, line)
					}
					kind, _, _ := strings.Cut(strings.TrimSpace(m.Msg), " ")
					count[kind]++
					if m.Logger == "logappender" {
						told += m.Sampled
						if m.Msg != "log records sampled" || m.ByLevel["info"] != m.Sampled || m.Dropped != nil || m.Reason != nil {
							t.Errorf("gap record %s", line)
						}
					}
				}
				if count["flood"] != 100+2 || count["other"] != 10 || count["warning"] != 10 || count["log"] != 1 || told != 900 {
					t.Errorf("stored %v, of %d it is told that they are missing", count, told)
				}
			})
		})
	}
}

// Sampling does not displace the truth at the end: a flood that Close ends is told.
func TestSamplingIsToldAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakePutter{}
		slow := &slowPutter{fakePutter: p, perSecond: 100 << 10}
		a := open(t, slow, logappender.Config{BufferBytes: 256 << 10, Sample: 100})
		fill(zap.New(a.Core(zap.InfoLevel, zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}))), zap.InfoLevel, 200)
		w := a.Writer(zap.InfoLevel)
		for range 500 {
			if _, err := fmt.Fprintln(w, `{"msg":"flood"}`); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Close(t.Context()); err != nil {
			t.Error(err)
		}
		lines := p.lines()
		if n := a.Stats().Sampled.Total(); n < 400 || !strings.Contains(lines[len(lines)-1], fmt.Sprintf(`"sampled":%d,`, n)) {
			t.Errorf("%d entries are sampled, the last record is %s", n, lines[len(lines)-1])
		}
	})
}

// With a disk nothing is left out, unless it fails.
func TestSamplingWithASpill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, s := vfstest.NewDisk(), newSink(block)
		p := run(t, disk, s, logappender.Config{BufferBytes: 256 << 10, Linger: 10 * time.Millisecond, Sample: 1000, SampleAbove: 0.5})
		flood := func() {
			for range 1000 {
				p.log.Info("flood", zap.Int("i", 1))
				fill(p.log, zap.InfoLevel, 1)
				time.Sleep(time.Millisecond)
			}
		}
		flood()
		if st := p.Stats(); st.Sampled.Total() > 0 || st.DroppedTotal() > 0 || st.Spilled.Total() == 0 {
			t.Errorf("with a disk: %+v", st)
		}
		disk.SetHook(func(op vfstest.Op, _ string) error {
			if op == vfstest.Write {
				return syscall.ENOSPC
			}
			return nil
		})
		flood()
		if st := p.Stats(); st.Sampled.Total() == 0 {
			t.Errorf("on a full disk: %+v", st)
		}
		checkAccounts(t, p.Appender)
		disk.SetHook(nil)
		p.end(time.Second)
	})
}
