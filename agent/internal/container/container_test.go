package container_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent/internal/container"
)

func TestParse(t *testing.T) {
	const stamp = "2016-10-06T00:17:09.669794202Z"
	for _, tt := range []struct {
		name, in string
		format   container.Format
		ok       bool
		want     container.Line
	}{
		{"CRI", stamp + " stdout F a  line ", container.CRI, true, container.Line{Text: []byte("a  line ")}},
		{"CRI, a part", stamp + " stderr P x", container.CRI, true, container.Line{Stderr: true, Partial: true, Text: []byte("x")}},
		{"CRI, more tags", stamp + " stderr P:TAG2 x", container.Auto, true, container.Line{Stderr: true, Partial: true, Text: []byte("x")}},
		{"CRI, empty", stamp + " stdout F ", container.CRI, true, container.Line{}},
		{"CRI, empty without its blank", stamp + " stdout F", container.CRI, true, container.Line{}},
		{"CRI, no time", "stdout F a line that is long enough", container.CRI, false, container.Line{}},
		{"CRI, no stream", stamp + " stdin F x", container.CRI, false, container.Line{}},
		{"CRI, no tag", stamp + " stdout X x", container.CRI, false, container.Line{}},
		{"CRI, nothing", "", container.Auto, false, container.Line{}},
		{
			"json-file", `{"log":"a \"line\"\u00e9\t\u001b[0m\n","stream":"stdout","time":"` + stamp + `"}`, container.Auto, true,
			container.Line{Text: []byte("a \"line\"é\t\x1b[0m")},
		},
		{
			"json-file, a part", `{"log":"x","stream":"stderr","attrs":{"a":"b"},"time":"` + stamp + `"}`, container.JSONFile, true,
			container.Line{Stderr: true, Partial: true, Text: []byte("x")},
		},
		{"json-file, empty", `{"log":"\n","stream":"stdout","time":"` + stamp + `"}`, container.JSONFile, true, container.Line{}},
		{"json-file, surrogates", `{"log":"\ud83d\ude00\n","stream":"stdout","time":"` + stamp + `"}`, container.JSONFile, true, container.Line{Text: []byte("😀")}},
		{"json-file, torn", `{"log":"x\n","stream":"stdo`, container.JSONFile, false, container.Line{}},
		{"json-file, no log", `{"stream":"stdout","time":"` + stamp + `"}`, container.JSONFile, false, container.Line{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got container.Line
			_, ok := tt.format.Parse([]byte(tt.in), nil, &got)
			if ok != tt.ok {
				t.Fatalf("%q: %t, want %t", tt.in, ok, tt.ok)
			}
			if ok && (string(got.Text) != string(tt.want.Text) || got.Partial != tt.want.Partial || got.Stderr != tt.want.Stderr || string(got.Time) != stamp) {
				t.Errorf("%q: %+v with the text %q, want %+v", tt.in, got, got.Text, tt.want)
			}
		})
	}
}

// FuzzParse checks that nothing makes the parser panic, and what it makes of a
// json-file line against encoding/json.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`2016-10-06T00:17:09.669794202Z stdout P:x text`))
	f.Add([]byte(`{"log":"a\u00e9\n","stream":"stderr","time":"2016-10-06T00:17:09Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l container.Line
		_, ok := container.Auto.Parse(b, nil, &l)
		if !ok || b[0] != '{' {
			return
		}
		var want struct{ Log, Stream string }
		if err := json.Unmarshal(b, &want); err != nil {
			return // encoding/json wants the two to be strings, and matches names in any case
		}
		text := string(l.Text)
		if !l.Partial {
			text += "\n"
		}
		if strings.ToValidUTF8(text, "") != strings.ReplaceAll(strings.ToValidUTF8(want.Log, ""), "\ufffd", "") && !strings.Contains(want.Log, "\ufffd") &&
			strings.Count(strings.ToLower(string(b)), "log") == 1 {
			t.Errorf("%s: %q, want %q", b, text, want.Log)
		}
	})
}

func TestWhen(t *testing.T) {
	for _, s := range []string{
		"2016-10-06T00:17:09.669794202Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5+02:30", "2026-12-31T23:59:59.000001-11:00", "1970-01-01T00:00:00.000000001Z",
	} {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := container.When([]byte(s)); got != at.UnixNano() {
			t.Errorf("%s is %d, want %d", s, got, at.UnixNano())
		}
	}
	for _, s := range []string{"", "x", "2016-10-06 00:17:09.669794202Z", "2016-1a-06T00:17:09.669794202Z"} {
		if got := container.When([]byte(s)); got != 0 {
			t.Errorf("%q is %d, want 0", s, got)
		}
	}
}

func TestFromPath(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for path, want := range map[string]container.Source{
		"/var/log/pods/kube-system_dns-7f_1234-5/coredns/0.log":       {Namespace: "kube-system", Pod: "dns-7f", PodUID: "1234-5", Container: "coredns"},
		"/var/log/pods/ns_web-0_u/nginx/3.log.20260102-030405":        {Namespace: "ns", Pod: "web-0", PodUID: "u", Container: "nginx"},
		"/var/log/containers/web-0_ns_side-car-" + id + ".log":        {Namespace: "ns", Pod: "web-0", Container: "side-car", ID: id},
		"/var/lib/docker/containers/" + id + "/" + id + "-json.log":   {ID: id},
		"/var/lib/docker/containers/" + id + "/" + id + "-json.log.1": {ID: id},
		"/var/log/app.log": {},
		"relative.log":     {},
		"":                 {},
	} {
		if got := container.FromPath(path); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	var l container.Line
	scratch := make([]byte, 0, 1000)
	for _, in := range []string{
		"2016-10-06T00:17:09.669794202Z stdout F text", `{"log":"a \"b\"\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}`,
	} {
		b, ok := []byte(in), false
		if n := testing.AllocsPerRun(10, func() { scratch, ok = container.Auto.Parse(b, scratch, &l) }); n != 0 || !ok {
			t.Errorf("%s: %v allocations, %t", in, n, ok)
		}
	}
}
