package logappender_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
)

// beside returns a logger over the appender, and one that writes the same to
// buf through zap's own core. Both have the same clock.
func beside(a *logappender.Appender, lvl zapcore.LevelEnabler, opts ...zap.Option) (ours, zaps *zap.Logger, buf *bytes.Buffer) {
	buf = new(bytes.Buffer)
	clock := zap.WithClock(fixedClock{})
	opts = append([]zap.Option{clock}, opts...)
	ours = zap.New(a.Core(lvl, jsonEncoder()), opts...)
	zaps = zap.New(zapcore.NewCore(jsonEncoder(), zapcore.AddSync(buf), lvl), opts...)
	return ours, zaps, buf
}

type fixedClock struct{}

func (fixedClock) Now() time.Time                         { return time.Unix(1764115200, 123456789) }
func (fixedClock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

type object struct {
	name string
	n    int
}

func (o object) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("name", o.name)
	enc.AddInt("n", o.n)
	return enc.AddArray("list", zapcore.ArrayMarshalerFunc(func(a zapcore.ArrayEncoder) error {
		a.AppendInt(o.n)
		a.AppendString(o.name)
		return nil
	}))
}

type nilStringer struct{}

func (*nilStringer) String() string { panic("nil") }

func TestCoreWritesWhatZapWrites(t *testing.T) {
	var none *nilStringer
	for _, tt := range []struct {
		name string
		log  func(l *zap.Logger)
	}{
		{"message", func(l *zap.Logger) { l.Info("hello") }},
		{"empty message", func(l *zap.Logger) { l.Info("") }},
		{"line breaks in the message", func(l *zap.Logger) { l.Info("a\nb\n") }},
		{"invalid UTF-8", func(l *zap.Logger) { l.Info("a\xffb", zap.String("k\xff", "\xc3\x28")) }},
		{"scalars", func(l *zap.Logger) {
			l.Warn("m", zap.Int("i", -1), zap.Uint64("u", 1<<63), zap.Bool("b", true), zap.Float64("f", 1.5),
				zap.Duration("d", time.Second), zap.Time("t", time.Unix(1, 0)), zap.Complex128("c", 1+2i))
		}},
		{"binary", func(l *zap.Logger) { l.Info("m", zap.Binary("b", []byte{0, 1}), zap.ByteString("s", []byte("x"))) }},
		{"object, array", func(l *zap.Logger) {
			l.Info("m", zap.Object("o", object{"x", 1}), zap.Ints("is", []int{1, 2}), zap.Strings("none", nil))
		}},
		{"inline, dict", func(l *zap.Logger) { l.Info("m", zap.Inline(object{"x", 1}), zap.Dict("d", zap.Int("a", 1))) }},
		{"errors", func(l *zap.Logger) {
			l.Error("m", zap.Error(fmt.Errorf("a: %w", errors.New("b"))), zap.Errors("es", []error{errRefused}))
		}},
		{"nil values", func(l *zap.Logger) {
			l.Info("m", zap.Error(nil), zap.Any("a", nil), zap.Stringp("s", nil), zap.Stringer("n", none), zap.Skip())
		}},
		{"reflected", func(l *zap.Logger) { l.Info("m", zap.Any("a", map[string]any{"x": []int{1}})) }},
		{"namespace in the call", func(l *zap.Logger) { l.Info("m", zap.Namespace("n"), zap.Int("i", 1)) }},
		{"namespace in With", func(l *zap.Logger) {
			l.With(zap.Int("o", 0), zap.Namespace("n"), zap.Int("p", 1)).Info("m", zap.Int("q", 2))
		}},
		{"named", func(l *zap.Logger) { l.Named("a").Named("b").Info("m") }},
		{"lazy With", func(l *zap.Logger) { l.WithLazy(zap.Int("i", 1)).Info("m", zap.Int("j", 2)) }},
		{"below the level", func(l *zap.Logger) { l.Debug("m") }},
		{"raised level", func(l *zap.Logger) { l.WithOptions(zap.IncreaseLevel(zap.ErrorLevel)).Warn("m") }},
		{"siblings of With", func(l *zap.Logger) {
			p := l.With(zap.Int("p", 0))
			x, y := p.With(zap.Int("x", 1)), p.With(zap.Int("y", 2))
			y.Info("y")
			x.Info("x")
			p.Info("p")
		}},
		{"DPanic", func(l *zap.Logger) { l.DPanic("m") }},
		{"sugar", func(l *zap.Logger) { l.Sugar().Infow("m", "k", 1, "l", "x") }},
		{"large", func(l *zap.Logger) { l.Info(strings.Repeat("x", 100<<10)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p fakePutter
			a := open(t, &p, logappender.Config{KeepLineEnding: true})
			// Caller and stack are those of tt.log, which is the same function.
			ours, zaps, buf := beside(a, zap.InfoLevel, zap.AddCaller(), zap.AddStacktrace(zap.ErrorLevel))
			for _, l := range []*zap.Logger{ours, zaps} {
				tt.log(l)
			}
			flush(t, a)
			if got := strings.Join(p.lines(), ""); got != buf.String() {
				t.Errorf("got  %s\nwant %s", got, buf)
			}
		})
	}
}

func FuzzCoreWritesWhatZapWrites(f *testing.F) {
	f.Add("m", "k", "v", int64(1), 1.5, []byte("b"), true)
	f.Add("\n\xff", "", "\x00\"", int64(-1), 0.0, []byte{0xff}, false)
	var p fakePutter
	a := open(f, &p, logappender.Config{})
	f.Fuzz(func(t *testing.T, msg, k, v string, i int64, fl float64, b []byte, ns bool) {
		p.mu.Lock()
		p.stored = nil
		p.mu.Unlock()
		ours, zaps, buf := beside(a, zap.InfoLevel)
		for _, l := range []*zap.Logger{ours, zaps} {
			fields := []zap.Field{zap.String(k, v), zap.Int64(v, i), zap.Float64(k, fl), zap.ByteString("b", b), zap.Any("a", b)}
			if ns {
				fields = append(fields, zap.Namespace(k), zap.Binary("c", b))
			}
			l.With(fields[1]).Info(msg, fields...)
		}
		flush(t, a)
		want := strings.TrimSuffix(buf.String(), "\n")
		if got := p.lines(); len(got) != 1 || got[0] != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestCoreInCompany(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{})
	buf := new(bytes.Buffer)
	other := zapcore.NewCore(jsonEncoder(), zapcore.AddSync(buf), zap.DebugLevel)

	t.Run("LevelOf", func(t *testing.T) {
		if l := zapcore.LevelOf(a.Core(zap.WarnLevel, jsonEncoder()).With(nil)); l != zap.WarnLevel {
			t.Errorf("LevelOf = %v", l)
		}
	})
	t.Run("Tee", func(t *testing.T) {
		l := zap.New(zapcore.NewTee(other, a.Core(zap.WarnLevel, jsonEncoder())))
		l.Info("one")
		l.Warn("two")
		if err := l.Sync(); err != nil {
			t.Error(err)
		}
		if got := p.lines(); len(got) != 1 || !strings.Contains(got[0], `"two"`) {
			t.Errorf("stored %q", got)
		}
		if strings.Count(buf.String(), "\n") != 2 {
			t.Errorf("the other core wrote %q", buf)
		}
	})
	t.Run("sampler", func(t *testing.T) {
		before := len(p.lines())
		l := zap.New(zapcore.NewSamplerWithOptions(a.Core(zap.InfoLevel, jsonEncoder()), time.Hour, 2, 0))
		for range 10 {
			l.Info("same")
		}
		flush(t, a)
		if n := len(p.lines()) - before; n != 2 {
			t.Errorf("%d entries passed, want 2", n)
		}
	})
	t.Run("beside a sampler", func(t *testing.T) {
		before := len(p.lines())
		buf.Reset()
		sampled := zapcore.NewSamplerWithOptions(other, time.Hour, 2, 0)
		l := zap.New(zapcore.NewTee(sampled, a.Core(zap.InfoLevel, jsonEncoder())))
		for range 10 {
			l.Info("same")
		}
		flush(t, a)
		if n, o := len(p.lines())-before, strings.Count(buf.String(), "\n"); n != 10 || o != 2 {
			t.Errorf("%d entries passed beside the sampler, want 10; %d through it, want 2", n, o)
		}
	})
	t.Run("sampler around With", func(t *testing.T) {
		before := len(p.lines())
		l := zap.New(zapcore.NewSamplerWithOptions(a.Core(zap.InfoLevel, jsonEncoder()), time.Hour, 1, 5))
		for i := range 11 {
			l.With(zap.Int("i", i)).Info("again")
		}
		flush(t, a)
		var got []string
		for _, line := range p.lines()[before:] {
			got = append(got, line[strings.Index(line, `"i"`):])
		}
		if want := `"i":0},"i":5},"i":10}`; strings.Join(got, ",") != want {
			t.Errorf("passed %v, want %s", got, want)
		}
	})
	t.Run("Before", func(t *testing.T) {
		before := len(p.lines())
		l := zap.New(zapcore.NewTee(other, a.Core(zap.InfoLevel, jsonEncoder())))
		calls := 0
		ce := l.Check(zap.InfoLevel, "secret").Before(zapcore.Entry{}, func(ent zapcore.Entry, fields []zapcore.Field) (zapcore.Entry, []zapcore.Field) {
			calls++
			ent.Message = "changed"
			return ent, append(fields, zap.Int("added", 1))
		})
		buf.Reset()
		ce.Write(zap.Int("own", 2))
		flush(t, a)
		lines := p.lines()[before:]
		if calls != 1 || len(lines) != 1 || !strings.HasSuffix(lines[0], `"msg":"changed","own":2,"added":1}`) || lines[0]+"\n" != buf.String() {
			t.Errorf("%d calls, stored %q, beside it %q", calls, lines, buf)
		}
	})
	t.Run("lazy With from many goroutines", func(t *testing.T) {
		before := len(p.lines())
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder())).WithLazy(zap.Int("i", 1))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { l.Info("m") })
		}
		wg.Wait()
		flush(t, a)
		for _, line := range p.lines()[before:] {
			if !strings.Contains(line, `"i":1`) {
				t.Errorf("field missing in %s", line)
			}
		}
	})
}

func TestCoreKeepsNothingOfTheCall(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{})
	l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
	b := []byte("old")
	m := map[string]int{"v": 1}
	o := &object{name: "old", n: 1}
	list := []*object{{name: "old", n: 2}}
	fields := []zap.Field{
		zap.ByteString("b", b), zap.Object("o", o), zap.Objects("l", list), zap.Inline(o), zap.Reflect("r", o), zap.Any("m", m), zap.Int("i", 1),
	}
	l.With(fields[:2]...).Info("m", fields...)
	l.WithLazy(zap.Object("w", o)).Info("lazy") // encoded by the first call
	copy(b, "new")
	o.name, list[0].name = "new", "new"
	m["v"] = 2
	fields[6] = zap.Int("i", 2)
	flush(t, a)
	got := strings.Join(p.lines(), "")
	if strings.Contains(got, "new") || strings.Count(got, `"name":"old"`) != 5 || !strings.Contains(got, `"m":{"v":1},"i":1}`) {
		t.Errorf("stored %s", got)
	}
}

func TestCoreSurvivesItsFields(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{})
	l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
	l.Info("bad", zap.Inline(zapcore.ObjectMarshalerFunc(func(zapcore.ObjectEncoder) error { panic("field") })))
	l.Info("good")
	flush(t, a)
	s := a.Stats()
	if n := s.Dropped[logappender.DropEncode].At(zap.InfoLevel); n != 1 {
		t.Errorf("%d entries dropped for the encoder, want 1", n)
	}
	lines := p.lines()
	if len(lines) != 2 || !strings.Contains(lines[0], `"dropped":1`) || !strings.Contains(lines[1], `"good"`) {
		t.Errorf("stored %q", lines)
	}
}

func TestCoreDropsItsOwn(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{})
	l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
	for _, name := range []string{"logappender", "logappender.x"} {
		l.Named(name).Error("m")
	}
	l.Named("logappenders").Error("m")
	flush(t, a)
	s := a.Stats()
	if n := s.Dropped[logappender.DropSelf].Total(); n != 2 {
		t.Errorf("%d dropped, want 2", n)
	}
	if got := p.lines(); len(got) != 1 {
		t.Errorf("stored %q", got)
	}
}

func TestFailingStreamDoesNotAmplify(t *testing.T) {
	var p fakePutter
	p.set(refuse)
	var l *zap.Logger
	// The worst application logs the appender's errors into the appender, by
	// the reserved name.
	a := open(t, &p, logappender.Config{Linger: -1, OnError: func(err error) { l.Named("logappender").Error(err.Error()) }})
	l = zap.New(a.Core(zap.DebugLevel, jsonEncoder()))
	for range 50 {
		l.Info("m")
		flush(t, a)
	}
	p.mu.Lock()
	batches := p.batches
	p.mu.Unlock()
	if batches > 51 {
		t.Errorf("%d batches for 50 entries", batches)
	}
}

func TestTruncation(t *testing.T) {
	const limit = 2048
	long := strings.Repeat("é\"\n\xff", 3000)
	for _, tt := range []struct {
		name string
		log  func(l *zap.Logger)
		keep string
	}{
		{"message", func(l *zap.Logger) { l.Info(long, zap.Int("keep", 1)) }, `"keep":1`},
		{"field", func(l *zap.Logger) { l.Info("keep", zap.String("f", long)) }, `"msg":"keep"`},
		{"With", func(l *zap.Logger) { l.With(zap.String("f", long)).Info("keep") }, `"msg":"keep"`},
		{"all", func(l *zap.Logger) { l.Named(long).With(zap.String("f", long)).Info(long, zap.String("g", long)) }, `"level":"info"`},
		{"namespace", func(l *zap.Logger) { l.Info(long, zap.Namespace("n"), zap.Int("keep", 1)) }, `"truncated":true,"n":{"keep":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p fakePutter
			a := open(t, &p, logappender.Config{MaxRecordBytes: limit})
			tt.log(zap.New(a.Core(zap.InfoLevel, jsonEncoder())))
			flush(t, a)
			lines := p.lines()
			if len(lines) != 1 {
				t.Fatalf("stored %q", lines)
			}
			var v map[string]any
			if err := json.Unmarshal([]byte(lines[0]), &v); err != nil {
				t.Fatalf("%v in %q", err, lines[0])
			}
			if v["truncated"] != true || len(lines[0]) > limit || !strings.Contains(lines[0], tt.keep) {
				t.Errorf("stored %d bytes %q", len(lines[0]), lines[0])
			}
			if s := a.Stats(); s.Truncated != 1 {
				t.Errorf("Truncated = %d", s.Truncated)
			}
		})
	}
	t.Run("drop instead", func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, logappender.Config{MaxRecordBytes: limit, DropOversize: true})
		zap.New(a.Core(zap.InfoLevel, jsonEncoder())).Info(long)
		s := a.Stats()
		if s.Dropped[logappender.DropOversize].Total() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func FuzzTruncationIsJSON(f *testing.F) {
	f.Add("m", "f", 900, 900, 900)
	f.Add("\"", "\xff", 0, 2000, 0)
	var p fakePutter
	a := open(f, &p, logappender.Config{MaxRecordBytes: 1024})
	f.Fuzz(func(t *testing.T, m, v string, n1, n2, n3 int) {
		p.mu.Lock()
		p.stored = nil
		p.mu.Unlock()
		rep := func(s string, n int) string { return strings.Repeat(s, min(max(n, 0)&4095, 1+8192/(len(s)+1))) }
		zap.New(a.Core(zap.InfoLevel, jsonEncoder())).With(zap.String("w", rep(v, n1))).
			Info(rep(m, n2), zap.String(v, rep(m, n3)))
		flush(t, a)
		for _, line := range p.lines() {
			if !json.Valid([]byte(line)) || len(line) > 1024 {
				t.Errorf("%d bytes %q", len(line), line)
			}
		}
	})
}

func TestPartitionKeys(t *testing.T) {
	long := strings.Repeat("é", 300)
	for _, tt := range []struct {
		name string
		key  logappender.PartitionKey
		log  func(l *zap.Logger)
		want string
	}{
		{"random", logappender.RandomKey(), func(l *zap.Logger) { l.Info("m") }, ""},
		{"fixed", logappender.FixedKey("f"), func(l *zap.Logger) { l.Info("m") }, "f"},
		{"logger name", logappender.LoggerNameKey(), func(l *zap.Logger) { l.Named("n").Info("m") }, "n"},
		{"func", logappender.KeyFunc(func(e zapcore.Entry, _ []zapcore.Field) string { return e.Message }), func(l *zap.Logger) { l.Info("m") }, "m"},
		{"func panics", logappender.KeyFunc(func(zapcore.Entry, []zapcore.Field) string { panic("x") }), func(l *zap.Logger) { l.Info("m") }, ""},
		{"field of the call", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.With(zap.String("k", "w")).Info("m", zap.String("k", "c")) }, "c"},
		{"field of With", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.With(zap.Int("k", -7)).With(zap.Int("j", 1)).Info("m") }, "-7"},
		{"last field", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.Int("k", 1), zap.Uint("k", 2)) }, "2"},
		{"empty field", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.String("k", "")) }, "b"},
		{"missing field", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m") }, "b"},
		{"other type", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.Ints("k", []int{1})) }, "b"},
		{"bool", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.Bool("k", true)) }, "true"},
		{"byte string", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.ByteString("k", []byte("x"))) }, "x"},
		{"stringer", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.Stringer("k", time.Second)) }, "1s"},
		{"stringer panics", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.Stringer("k", (*nilStringer)(nil))) }, "b"},
		{"in a namespace", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.Namespace("n"), zap.String("k", "c")) }, "c"},
		{"too long", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.String("k", long)) }, strings.Repeat("é", 256)},
		{"no UTF-8", logappender.FieldKey("k", "b"), func(l *zap.Logger) { l.Info("m", zap.String("k", "a\xff")) }, "a\uFFFD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p fakePutter
			a := open(t, &p, logappender.Config{PartitionKey: tt.key})
			tt.log(zap.New(a.Core(zap.InfoLevel, jsonEncoder())))
			flush(t, a)
			if got := p.keys(); len(got) != 1 || got[0] != tt.want {
				t.Errorf("keys %q, want %q", got, tt.want)
			}
		})
	}
}
