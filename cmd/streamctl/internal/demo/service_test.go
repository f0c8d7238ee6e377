package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
)

// jsonLog is a logger that writes JSON to a buffer.
func jsonLog(out *bytes.Buffer) *zap.Logger {
	enc := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	return zap.New(zapcore.NewCore(enc, zapcore.AddSync(out), zapcore.DebugLevel))
}

func TestServiceLogsItsInput(t *testing.T) {
	input := [][]byte{
		text(0, 1),
		demo.AppendLine(nil, 0, 2, []byte(`{"a":"<b>&\"c"} \ 	tab`)),
		demo.AppendLine(nil, 0, 3, []byte("äöü \u2028 \x01 \r")),
		demo.AppendLine(nil, 0, 4, []byte(strings.Repeat("long ", 20_000))),
		demo.AppendLine(nil, 0, 5, nil),
	}
	in := append(bytes.Join(input, []byte("\n")), "\nhalf a line"...)
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "stats.json")
	s := &demo.Service{In: bytes.NewReader(in), Log: jsonLog(&out), StatsPath: path, Stats: func() demo.ServiceStats {
		return demo.ServiceStats{Accepted: 5, Delivered: 4, Dropped: 1}
	}}
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	for line := range bytes.Lines(out.Bytes()) {
		d, ok := demo.ParseRecord(line)
		if !ok || d.Line != uint64(n+1) || d.Hash != demo.Hash(input[n]) {
			t.Errorf("entry %d is %+v, %v: %.100s", n, d, ok, line)
		}
		n++
	}
	if n != len(input) {
		t.Errorf("%d entries, want %d", n, len(input))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got demo.ServiceStats
	if err := json.Unmarshal(data, &got); err != nil || got != (demo.ServiceStats{Accepted: 5, Delivered: 4, Dropped: 1}) {
		t.Errorf("stats %s, %v", data, err)
	}
}

func TestServiceStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		var out bytes.Buffer
		s := &demo.Service{In: strings.NewReader("one\n"), Log: jsonLog(&out), Stay: true}
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "still here"); got != 3 {
			t.Errorf("%d signs of life in 3.5 seconds, want 3: %s", got, out.String())
		}
	})
}

func TestParseRecord(t *testing.T) {
	for in, ok := range map[string]bool{
		"f1 2 text": true, "f1 2 {}\n": true, `{"msg":"f0 1 x"}`: true,
		`{"msg":"dropped 3 records"}`: false, `{"message":"f0 1 x"}`: false, "{": false, "": false,
	} {
		if _, got := demo.ParseRecord([]byte(in)); got != ok {
			t.Errorf("ParseRecord(%q) = %v, want %v", in, got, ok)
		}
	}
}
