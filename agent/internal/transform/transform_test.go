package transform_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent/internal/transform"
)

func TestChain(t *testing.T) {
	run := transform.NewRun(&transform.Chain{Options: []transform.Option{
		transform.SingleLine{EscapeNewLine: true}, transform.AddMetadata{Metadata: []byte("{}")},
	}}, nil)
	for range 2 {
		got, res := run.Append([]byte("x"), []byte("a\nb\n"), &transform.Record{})
		if want := `x{"metadata":{},"data":"a\\\\nb"}` + "\n"; string(got) != want || res != transform.Converted {
			t.Errorf("got %s, %v, want %s", got, res, want)
		}
	}
}

// A record that an option makes nothing of leaves nothing behind, is counted, and
// the first ones of a minute are kept.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reported []transform.Sample
		run := transform.NewRun(&transform.Chain{Options: []transform.Option{
			transform.SingleLine{}, logs(t, "SYSLOG", "", false), &transform.JSONFields{Keep: []string{"message"}},
		}}, func(s transform.Sample) { reported = append(reported, s) })
		good, from := "Mar 12 12:00:08 h p: m\n", transform.Record{Path: "/p", Offset: 7}
		for range 5 {
			for _, text := range []string{good, "bad " + strings.Repeat("x", 300) + "\n"} {
				out, res := run.Append([]byte("x"), []byte(text), &from)
				switch {
				case text == good && (res != transform.Converted || string(out) != "x{\"message\":\"m\"}\n"):
					t.Errorf("%s, %v", out, res)
				case text != good && (res != transform.Skipped || string(out) != "x"):
					t.Errorf("%s, %v of a bad line", out, res)
				}
			}
		}
		options, samples := run.Status()
		if want := []transform.OptionStatus{
			{Option: "SINGLELINE", In: 10, Out: 10},
			{Option: "LOGTOJSON", In: 10, Out: 5, Skipped: 5},
			{Option: "JSONFIELDS", In: 5, Out: 5},
		}; !slices.Equal(options, want) {
			t.Errorf("status %+v, want %+v", options, want)
		}
		if len(samples) != 3 || !slices.Equal(samples, reported) {
			t.Fatalf("%d samples, %d reported, want 3", len(samples), len(reported))
		}
		if s := samples[0]; s.Option != "LOGTOJSON" || s.Result != "skipped" || s.Path != "/p" || s.Offset != 7 || len(s.Text) != 200 {
			t.Errorf("sample %+v", s)
		}
		time.Sleep(time.Minute)
		run.Append(nil, []byte("bad\n"), &from)
		if _, samples = run.Status(); len(samples) != 4 {
			t.Errorf("%d samples a minute later, want 4", len(samples))
		}
	})
}

// combined is the line of the benchmarks: 173 bytes.
const combined = `127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0 xx"` + "\n"

func TestOptionsDoNotAllocate(t *testing.T) {
	const object = `{"a":1,"b":"x\ty","c":[1,2]}` + "\n"
	for _, tt := range []struct {
		in     string
		option transform.Option
	}{
		{combined, logs(t, "COMBINEDAPACHELOG", "", false)},
		{combined, logs(t, "COMMONAPACHELOG", "", true)},
		{"Mar 12 12:00:08 h p[1]: m\n", logs(t, "SYSLOG", "", false)},
		{"a\n  b\n\tc\n", transform.SingleLine{}},
		{"1,2,3,4\n", csv(t, ",", false, "a", "b", "c")},
		{"line\n", transform.AddMetadata{Metadata: []byte(`{"k":"v"}`)}},
		{object, &transform.JSONFields{Drop: []string{"a"}, Rename: map[string]string{"b": "B"}}},
		{object, &transform.AddFileInfo{Host: "h"}},
		{"line\n", &transform.AddFileInfo{Host: "h"}},
	} {
		t.Run(tt.option.Name(), func(t *testing.T) {
			run := transform.NewRun(&transform.Chain{Options: []transform.Option{tt.option, transform.AddBrackets{}}}, nil)
			from := &transform.Record{Path: "/var/log/app.log"}
			dst, in := make([]byte, 0, 4096), []byte(tt.in)
			var res transform.Result
			if allocs := testing.AllocsPerRun(100, func() { dst, res = run.Append(dst[:0], in, from) }); allocs != 0 || res != transform.Converted {
				t.Errorf("%v allocations, %v", allocs, res)
			}
		})
	}
}

func benchmark(b *testing.B, text string, o transform.Option) {
	b.Helper()
	run := transform.NewRun(&transform.Chain{Options: []transform.Option{o}}, nil)
	from := &transform.Record{}
	dst, in := make([]byte, 0, 64<<10), []byte(text)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = run.Append(dst[:0], in, from)
	}
}

func BenchmarkCombinedToJSON(b *testing.B) {
	benchmark(b, combined, logs(b, "COMBINEDAPACHELOG", "", false))
}

func BenchmarkSingleLine(b *testing.B) {
	benchmark(b, "2026-01-02 error\n"+strings.Repeat("\tat com.example.Class.method(Class.java:123)\n", 30), transform.SingleLine{})
}

func BenchmarkCSVToJSON(b *testing.B) {
	benchmark(b, "2026-01-02,some text,17,more text,3.14\n", csv(b, ",", false, "a", "b", "c", "d", "e"))
}
