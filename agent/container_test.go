package agent_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/agent/internal/transform"
)

// runtime writes lines as a container runtime does.
type runtime struct {
	docker bool
	at     time.Time
	part   int // bytes of a line that go into one part
}

func (r *runtime) stamp() string {
	r.at = r.at.Add(time.Millisecond)
	return r.at.UTC().Format(time.RFC3339Nano)
}

// parts returns what the runtime writes of one line without its newline.
func (r *runtime) parts(stream, line string) []string {
	var out []string
	for {
		n := min(len(line), r.part)
		text, last := line[:n], n == len(line)
		line = line[n:]
		if !r.docker {
			out = append(out, fmt.Sprintf("%s %s %c %s\n", r.stamp(), stream, "PF"[btoi(last)], text))
		} else {
			if last {
				text += "\n"
			}
			b, _ := json.Marshal(struct { //nolint:errchkjson // a struct of strings
				Log    string `json:"log"`
				Stream string `json:"stream"`
				Time   string `json:"time"`
			}{text, stream, r.stamp()})
			out = append(out, string(b)+"\n")
		}
		if last {
			return out
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestContainerLogs(t *testing.T) {
	const cri, docker = "2026-01-02T03:04:05.000000001Z stdout ", `","stream":"stdout","time":"2026-01-02T03:04:05.000000001Z"}` + "\n"
	for _, tt := range []struct {
		name, format, text string
		want               []string
	}{
		{"CRI", agent.ContainerCRI, cri + "F a line\n" + cri + "F \n" + strings.Replace(cri, "out", "err", 1) + "F b\n", []string{"a line\n", "\n", "b\n"}},
		{"CRI parts", agent.ContainerAuto, cri + "P a l\n" + cri + "P ine\n" + cri + "F .\n" + cri + "F b\n", []string{"a line.\n", "b\n"}},
		{
			"parts of two streams", agent.ContainerAuto,
			cri + "P 1\n" + strings.Replace(cri, "out", "err", 1) + "P 2\n" + cri + "F 1\n" + strings.Replace(cri, "out", "err", 1) + "F 2\n" + cri + "F 3\n",
			[]string{"11\n", "22\n", "3\n"},
		},
		{"a line that is no container's", agent.ContainerCRI, cri + "F a\nodd\n" + cri + "F b\n", []string{"a\n", "odd\n", "b\n"}},
		{"json-file", agent.ContainerJSONFile, `{"log":"a \"q\"\u003c\n` + docker + `{"log":"b\n` + docker, []string{"a \"q\"<\n", "b\n"}},
		{"json-file parts", agent.ContainerAuto, `{"log":"a` + docker + `{"log":"b` + docker + `{"log":"\n` + docker + cri + "F c\n", []string{"ab\n", "c\n"}},
		{"a last part that never comes", agent.ContainerAuto, cri + "F a\n" + cri + "P b\n", []string{"a\n", "b\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, agent.FlowConfig{Container: tt.format}, func(w *world) {
				w.write("app.log", tt.text)
				w.start()
				w.settle(5 * time.Second)
				w.expect(tt.want...)
				if s := w.status(); s.BehindBytes != 0 {
					t.Errorf("%d bytes behind", s.BehindBytes)
				}
				w.stopped()
			})
		})
	}
}

// Lines of two streams, in parts that alternate, written and read in pieces and over
// stops, arrive whole, once, and in the order of each stream.
func TestContainerStreams(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, agent.FlowConfig{Container: agent.ContainerAuto, MultiLineFlush: time.Minute}, func(w *world) {
				rng := rand.New(rand.NewPCG(seed, 1))
				r := &runtime{docker: seed%2 == 1, at: time.Now(), part: 1 + rng.IntN(40)}
				var text strings.Builder
				want := map[string][]string{}
				var waiting [2][]string // parts that are not written yet
				for n := 0; n < 300 || len(waiting[0])+len(waiting[1]) > 0; n++ {
					i := rng.IntN(2)
					if len(waiting[i]) == 0 && n < 300 {
						stream := []string{"stdout", "stderr"}[i]
						line := fmt.Sprintf("%s %d %s", stream, n, strings.Repeat("é\t\"x", rng.IntN(20)))
						want[stream] = append(want[stream], line+"\n")
						waiting[i] = r.parts(stream, line)
					}
					if len(waiting[i]) > 0 {
						text.WriteString(waiting[i][0])
						waiting[i] = waiting[i][1:]
					}
				}
				all := text.String()
				for all != "" {
					w.start()
					for range 3 {
						n := min(len(all), 1+rng.IntN(8000))
						w.write("app.log", all[:n])
						all = all[n:]
						w.settle(3 * time.Second)
					}
					if all != "" {
						w.stopped()
					}
				}
				w.settle(5 * time.Minute)
				got := map[string][]string{}
				for _, line := range w.data() {
					stream := line[:min(len("stdout"), len(line))]
					got[stream] = append(got[stream], line)
				}
				for stream, lines := range want {
					// A part may be cut within a character; json-file then holds U+FFFD for it.
					if r.docker {
						for _, list := range [][]string{lines, got[stream]} {
							for i := range list {
								list[i] = strings.NewReplacer("\ufffd", "", "é", "").Replace(list[i])
							}
						}
					}
					if !slices.Equal(got[stream], lines) {
						t.Errorf("%s: %d lines arrived, want %d, the same in their order", stream, len(got[stream]), len(lines))
					}
				}
				w.stopped()
			})
		})
	}
}

// A trace on one stream with lines of the other in between is one record; and a
// record does not wait for ever while its file grows by the other stream.
func TestContainerMultiLine(t *testing.T) {
	flow := agent.FlowConfig{Container: agent.ContainerCRI, MultiLineStart: regexp.MustCompile(`\S`)}
	bubble(t, flow, func(w *world) {
		r := &runtime{at: time.Now(), part: 1000}
		put := func(stream, line string) { w.write("app.log", r.parts(stream, line)[0]) }
		w.start()
		put("stderr", "error")
		put("stdout", "one")
		put("stderr", "\tat x")
		put("stdout", "two")
		put("stderr", "\tat y")
		w.settle(200 * time.Millisecond)
		w.expect()
		for i := range 30 {
			r.at = r.at.Add(200 * time.Millisecond)
			put("stdout", fmt.Sprint("line ", i))
			w.settle(200 * time.Millisecond)
		}
		got := w.data()
		if len(got) < 25 || got[0] != "error\n\tat x\n\tat y\n" || got[1] != "one\n" || got[2] != "two\n" || got[3] != "line 0\n" {
			t.Errorf("arrived %.200q", got)
		}
		w.settle(5 * time.Second)
		if got = w.data(); len(got) != 33 || got[32] != "line 29\n" {
			t.Errorf("%d records arrived, want 33", len(got))
		}
		w.stopped()
	})
}

// Both streams busy with records of several lines: there is never a place where
// nothing is open, and everything arrives all the same.
func TestContainerStreamsWithoutAPause(t *testing.T) {
	flow := agent.FlowConfig{Container: agent.ContainerCRI, MultiLineStart: regexp.MustCompile(`s`), MaxRecordBytes: 4096}
	bubble(t, flow, func(w *world) {
		r := &runtime{at: time.Now(), part: 1000}
		var text strings.Builder
		for i := range 20_000 {
			text.WriteString(r.parts("stdout", fmt.Sprint("s out ", i))[0])
			text.WriteString(r.parts("stderr", fmt.Sprint("s err ", i))[0])
		}
		w.write("app.log", text.String())
		w.start()
		w.settle(10 * time.Second)
		got := strings.Join(w.data(), "")
		if n := strings.Count(got, "\n"); n != 40_000 {
			t.Errorf("%d lines arrived, want 40000", n)
		}
		if s := w.status(); s.BehindBytes != 0 {
			t.Errorf("%d bytes behind", s.BehindBytes)
		}
		w.stopped()
	})
}

// Where a line comes from is in its path and its runtime's words.
func TestContainerInfo(t *testing.T) {
	chain := &transform.Chain{Options: []transform.Option{&transform.AddFileInfo{Host: "h"}}}
	flow := agent.FlowConfig{Container: agent.ContainerCRI, DataProcessing: chain, FilePattern: "ns_web-0_1234/nginx/*.log"}
	bubble(t, flow, func(w *world) {
		w.check(os.MkdirAll(w.path("ns_web-0_1234/nginx"), 0o700))
		w.write("ns_web-0_1234/nginx/0.log", "2026-01-02T03:04:05.6Z stderr P a\n2026-01-02T03:04:05.7Z stderr F b\n2026-01-02T03:04:05.8Z stdout F {\"x\":1}\n")
		w.start()
		w.settle(3 * time.Second)
		var got []map[string]any
		for _, line := range w.data() {
			var v map[string]any
			w.check(json.Unmarshal([]byte(line), &v))
			file, _ := v["file"].(map[string]any)
			if file["path"] != filepath.Join(w.dir, "ns_web-0_1234/nginx/0.log") || file["inode"] == 0.0 {
				t.Errorf("%s: file %v", line, file)
			}
			delete(v, "file")
			got = append(got, v)
		}
		want := `[{"data":"ab","kubernetes":{"container":"nginx","namespace":"ns","pod":"web-0","podUid":"1234","stream":"stderr","time":"2026-01-02T03:04:05.6Z"}},` +
			`{"kubernetes":{"container":"nginx","namespace":"ns","pod":"web-0","podUid":"1234","stream":"stdout","time":"2026-01-02T03:04:05.8Z"},"x":1}]`
		if b, err := json.Marshal(got); err != nil || string(b) != want {
			t.Errorf("%s, %v, want %s", b, err, want)
		}
		w.stopped()
	})
}
