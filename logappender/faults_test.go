package logappender_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
)

// brokenEncoder fails for some messages.
type brokenEncoder struct{ zapcore.Encoder }

func (e brokenEncoder) Clone() zapcore.Encoder { return brokenEncoder{e.Encoder.Clone()} }

func (e brokenEncoder) EncodeEntry(ent zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	switch ent.Message {
	case "fails":
		return nil, errRefused
	case "panics":
		panic("encoder")
	}
	return e.Encoder.EncodeEntry(ent, fields)
}

// An encoder that fails or panics costs its entry and no more, that of a Fatal too.
func TestBrokenEncoder(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{DisableGapRecords: true})
	l := zap.New(a.Core(zap.InfoLevel, brokenEncoder{bareEncoder()}), zap.WithPanicHook(zapcore.WriteThenPanic))
	for _, msg := range []string{"one", "fails", "panics", "two"} {
		l.Info(msg)
	}
	func() {
		defer func() {
			if recover() != "fails" {
				t.Error("the logger's own panic is lost")
			}
		}()
		l.Panic("fails")
	}()
	flush(t, a)
	if got := strings.Join(p.lines(), ","); got != "one,two" {
		t.Errorf("stored %s", got)
	}
	if d := a.Stats().Dropped[logappender.DropEncode]; d.At(zap.InfoLevel) != 2 || d.At(zap.PanicLevel) != 1 {
		t.Errorf("dropped %v", d)
	}
}

// Where the directory cannot be used, New says so, and nothing is left running.
func TestSpillDirThatCannotBeUsed(t *testing.T) {
	for _, op := range []vfstest.Op{vfstest.OpenFile, vfstest.Write} {
		synctest.Test(t, func(t *testing.T) {
			disk := vfstest.NewDisk()
			disk.SetHook(func(o vfstest.Op, _ string) error {
				if o == op {
					return fs.ErrPermission
				}
				return nil
			})
			_, err := logappender.NewOn(disk, &fakePutter{}, quiet(logappender.Config{SpillDir: "spill"}))
			if !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(err.Error(), "logappender: ") {
				t.Errorf("%v: New = %v", op, err)
			}
		})
	}
}

// countingFS counts files and locks that are open.
type countingFS struct {
	vfs.FS
	open atomic.Int64
}

type countedFile struct {
	vfs.File
	open *atomic.Int64
}

func (f *countingFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	f.open.Add(1)
	return &countedFile{file, &f.open}, nil
}

func (f *countedFile) Close() error { f.open.Add(-1); return f.File.Close() }

// TestSpillLeavesNothingOpen opens and closes appenders whose stream works, hangs
// and fails.
func TestSpillLeavesNothingOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		fsys := &countingFS{FS: vfstest.NewDisk()}
		left := 0
		for i := range 300 {
			s := newSink([]fate{store, hang, refuse}[i%3])
			a, err := logappender.NewOn(fsys, s, quiet(logappender.Config{SpillDir: "spill", SpillMode: logappender.SpillMode(i % 2)}))
			if err != nil {
				t.Fatal(err)
			}
			zap.New(a.Core(zap.InfoLevel, jsonEncoder())).Info("m")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := a.Close(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			left = max(left, int(a.Stats().Spilled.Total()))
			if n := fsys.open.Load(); n != 0 {
				t.Fatalf("%d files are open after Close", n)
			}
		}
		if left == 0 {
			t.Error("nothing was ever left on disk")
		}
	})
}

func FuzzHandlerWritesWhatJSONHandlerWrites(f *testing.F) {
	f.Add("m", "k", "v", "g", int64(1), 1.5, []byte("b"), uint8(0))
	f.Add("\n\xff", "", "\x00\"<&>", "", int64(-1), 0.0, []byte{0xff}, uint8(255))
	f.Add("m", "msg", "level", "time", int64(1)<<62, 1e300, []byte(nil), uint8(0b101010))
	var p fakePutter
	a := open(f, &p, logappender.Config{})
	f.Fuzz(func(t *testing.T, msg, k, v, g string, i int64, fl float64, b []byte, bits uint8) {
		p.mu.Lock()
		p.stored = nil
		p.mu.Unlock()
		attrs := []slog.Attr{
			slog.String(k, v), slog.Int64(v, i), slog.Float64(k, fl), slog.Any("b", b), slog.Duration(g, time.Duration(i)),
			slog.Time("t", time.Unix(i%1e10, i%1e9).UTC()), slog.Group(g, slog.String(k, v)), slog.Any(k, fmt.Errorf("%s", v)),
		}
		opts := &slog.HandlerOptions{AddSource: bits&64 != 0, Level: slog.LevelDebug}
		var buf bytes.Buffer
		for _, h := range []slog.Handler{a.Handler(opts), slog.NewJSONHandler(&buf, opts)} {
			for n, at := range attrs {
				switch {
				case bits>>(n%8)&1 == 0:
				case n%3 == 2:
					h = slog.New(h).WithGroup(g).Handler() // which is none for ""
				default:
					h = h.WithAttrs([]slog.Attr{at})
				}
			}
			r := slog.NewRecord(time.Unix(1764115200, 5), slog.Level(i%16), msg, 0)
			r.AddAttrs(attrs...)
			if err := h.Handle(t.Context(), r); err != nil {
				t.Error(err)
			}
		}
		flush(t, a)
		want := strings.TrimSuffix(buf.String(), "\n")
		if got := p.lines(); len(got) != 1 || got[0] != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// A record that is kept, and handled again by others after the call, is whole.
func TestHandlerLeavesTheRecordAlone(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{MaxRecordBytes: 1024})
	var buf bytes.Buffer
	h := slog.NewMultiHandler(a.Handler(nil), slog.NewJSONHandler(&buf, nil))
	var kept []slog.Record
	for _, msg := range []string{"short", strings.Repeat("long", 500)} {
		r := slog.NewRecord(time.Unix(1764115200, 5), slog.LevelInfo, msg, 0)
		for i := range 8 { // five are inside the record
			r.AddAttrs(slog.Int(fmt.Sprint("k", i), i))
		}
		kept = append(kept, r.Clone())
		if err := h.Handle(t.Context(), r); err != nil {
			t.Error(err)
		}
		kept = append(kept, r)
	}
	for i := 0; i < len(kept); i += 2 {
		if kept[i].Message != kept[i+1].Message || kept[i].NumAttrs() != kept[i+1].NumAttrs() {
			t.Errorf("record %d has changed: %v", i, kept[i+1])
		}
	}
	flush(t, a)
	if first, _, _ := strings.Cut(buf.String(), "\n"); len(p.lines()) != 2 || p.lines()[0] != first {
		t.Errorf("stored %q, beside it %q", p.lines(), buf.String())
	}
}
