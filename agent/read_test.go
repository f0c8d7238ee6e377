package agent_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/agent/internal/transform"
)

// data returns what arrived, in order.
func (w *world) data() []string {
	var out []string
	for _, r := range w.sink.records() {
		out = append(out, string(r.Data))
	}
	return out
}

func (w *world) expect(want ...string) {
	w.t.Helper()
	if got := w.data(); !slices.Equal(got, want) {
		w.t.Errorf("arrived %.300q, want %.300q", got, want)
	}
}

func (w *world) stopped() {
	w.t.Helper()
	if err := w.stop(); err != nil {
		w.t.Errorf("Run: %v", err)
	}
}

// A position must not pass a record that is not acknowledged, though all later
// ones are: after a kill nothing may be missing. (The official agent stores the
// end of the last buffer that succeeded, and loses the one before.)
func TestGapSafety(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		rng := rand.New(rand.NewPCG(7, 7))
		n := 0
		w.sink.drop = true
		w.sink.delay = func() time.Duration {
			if n++; n%3 == 1 {
				return time.Hour // never, as far as this process goes
			}
			return time.Duration(rng.Int64N(int64(time.Second)))
		}
		w.start()
		for range 30 {
			w.lines("app.log", 20)
			w.settle(time.Second)
		}
		s := w.status()
		if s.AckedRecords == 0 || s.AckedRecords == s.Records {
			t.Fatalf("%d of %d records acknowledged, want some", s.AckedRecords, s.Records)
		}
		w.settle(3 * time.Second)
		w.kill()
		w.sink.delay = nil
		w.start()
		w.settle(10 * time.Second)
		w.verify(len(w.want))
		w.stopped()
	})
}

func TestRefusedRecordsAreSentAgain(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		refuse := true
		w.sink.refuse = func() bool { return refuse }
		w.lines("app.log", 3000)
		w.start()
		w.settle(time.Minute)
		s := w.status()
		if s.State != "blocked" || s.LastError != errRefused.Error() || s.ConsecutiveErrors < 5 || s.Files[0].Committed != 0 {
			t.Errorf("while refused: %+v", s)
		}
		w.sink.mu.Lock()
		refuse = false
		w.sink.mu.Unlock()
		w.settle(15 * time.Second)
		w.verify(0)
		if s := w.status(); s.State != "running" || s.BehindBytes != 0 {
			t.Errorf("afterwards: %+v", s)
		}
		w.stopped()
	})
}

func TestPartlyRefusedBatch(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		n := 0
		w.sink.refuse = func() bool { n++; return n%10 == 0 }
		w.lines("app.log", 1000)
		w.start()
		w.settle(time.Minute)
		w.verify(0)
		w.stopped()
	})
}

// Whatever is in the files, no more memory than the budget is used, and reading
// goes on when the stream does.
func TestBudgetIsBackPressure(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.sink.hold = true
		w.lines("app.log", 60_000)
		w.lines("app.log.b", 60_000)
		w.start()
		w.settle(10 * time.Second)
		s := w.status()
		if s.MemoryBytes > 2<<20 || s.MemoryStalls == 0 {
			t.Errorf("held back: %d bytes in use, %d stalls", s.MemoryBytes, s.MemoryStalls)
		}
		w.sink.mu.Lock()
		flushes := w.sink.flushes
		w.sink.mu.Unlock()
		if flushes == 0 {
			t.Error("the sink was not asked to hurry")
		}
		w.sink.release()
		w.settle(10 * time.Second)
		w.verify(0)
		if s := w.status(); s.MemoryBytes > 512<<10 {
			t.Errorf("at rest %d bytes are in use", s.MemoryBytes)
		}
		w.stopped()
	})
}

func TestManySmallFilesShareChunks(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.cfg.MaxMemoryBytes = 4 << 20
		w.sink.hold = true
		for i := range 200 {
			w.lines(fmt.Sprint("app.log.", i), 3)
		}
		w.start()
		w.settle(10 * time.Second)
		if s := w.status(); s.Records != 600 || s.MemoryBytes > 1<<20 {
			t.Errorf("%d records read into %d bytes", s.Records, s.MemoryBytes)
		}
		w.sink.release()
		w.settle(time.Second)
		w.verify(0)
		w.stopped()
	})
}

func TestOverlongLines(t *testing.T) {
	const limit = 1<<20 - 64
	for _, n := range []int{limit, limit + 1, 1 << 20, 3 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, agent.FlowConfig{}, func(w *world) {
				long := strings.Repeat("l", n-1) + "\n"
				want, lost := long, uint64(0)
				if n > limit {
					want = strings.Repeat("l", limit-1) + "\n"
					lost = uint64(n - (limit - 1))
				}
				w.write("app.log", "before\n"+long[:n/2])
				w.start()
				w.settle(time.Second)
				w.write("app.log", long[n/2:]+"after\n")
				w.settle(time.Second)
				w.expect("before\n", want, "after\n")
				if got := w.status().LostBytes["oversize"]; got != lost {
					t.Errorf("lost bytes %d, want %d", got, lost)
				}
				if s := w.status(); s.BehindBytes != 0 {
					t.Errorf("at rest: %+v", s)
				}
				w.stopped()
			})
		})
	}
	t.Run("small limit", func(t *testing.T) {
		bubble(t, agent.FlowConfig{MaxRecordBytes: 1024, TruncatedRecordTerminator: "[cut]\n"}, func(w *world) {
			w.write("app.log", strings.Repeat("a", 2000)+"\n"+strings.Repeat("b", 959)+"\n")
			w.start()
			w.settle(time.Second)
			w.expect(strings.Repeat("a", 954)+"[cut]\n", strings.Repeat("b", 959)+"\n")
			w.stopped()
		})
	})
	t.Run("nothing at the end", func(t *testing.T) {
		bubble(t, agent.FlowConfig{MaxRecordBytes: 1024, NoRecordTerminator: true}, func(w *world) {
			w.write("app.log", strings.Repeat("a", 2000)+"\n")
			w.start()
			w.settle(time.Second)
			w.expect(strings.Repeat("a", 960))
			w.stopped()
		})
	})
	t.Run("unfinished when rotated", func(t *testing.T) {
		bubble(t, agent.FlowConfig{}, func(w *world) {
			w.write("app.log", strings.Repeat("l", 2<<20))
			w.start()
			w.settle(time.Second)
			w.expect()
			w.rename("app.log", "app.log.1")
			w.write("app.log", "next\n")
			w.settle(time.Minute)
			w.expect("next\n", strings.Repeat("l", limit-1)+"\n")
			w.stopped()
		})
	})
}

func TestMultiLine(t *testing.T) {
	flow := agent.FlowConfig{MultiLineStart: regexp.MustCompile(`\[`)}
	bubble(t, flow, func(w *world) {
		w.write("app.log", "no start\n[1] a\n  b [not a start]\n  c\n[2]")
		w.start()
		w.settle(500 * time.Millisecond)
		w.expect("no start\n") // the next line is not known to start a record yet
		w.write("app.log", " d\n")
		w.settle(600 * time.Millisecond) // a pause in the middle of a record
		w.write("app.log", "  e\n")
		w.settle(500 * time.Millisecond)
		w.expect("no start\n", "[1] a\n  b [not a start]\n  c\n")
		w.settle(3 * time.Second)
		w.expect("no start\n", "[1] a\n  b [not a start]\n  c\n", "[2] d\n  e\n")
		w.write("app.log", "[3] x\n  unfinished")
		w.settle(time.Second)
		w.rename("app.log", "app.log.1")
		w.write("app.log", "[4]\n")
		w.settle(time.Minute)
		got := w.data()[3:]
		slices.Sort(got)
		if all := strings.Join(got, ""); !strings.Contains(all, "[3] x\n") || !strings.Contains(all, "  unfinished") || !slices.Contains(got, "[4]\n") {
			t.Errorf("after the rotation %q", got)
		}
		w.stopped()
	})
}

func TestSkipHeaderLines(t *testing.T) {
	bubble(t, agent.FlowConfig{SkipHeaderLines: 2}, func(w *world) {
		w.write("app.log", "head 1\n")
		w.start()
		w.settle(3 * time.Second)
		w.stopped() // between two lines of the header
		w.write("app.log", "head 2\nrow 1\n")
		w.start()
		w.settle(3 * time.Second)
		w.stopped()
		w.write("app.log", "row 2\n")
		w.start()
		w.settle(3 * time.Second)
		w.expect("row 1\n", "row 2\n")
		w.rename("app.log", "app.log.1")
		w.write("app.log", "head 1\nhead 2\nrow 3\n")
		w.settle(20 * time.Second)
		w.expect("row 1\n", "row 2\n", "row 3\n")
		w.stopped()
	})
}

// A header that is not whole at a first start at the ends of files is none of what
// follows all the same.
func TestSkipHeaderLinesAtEnd(t *testing.T) {
	const header = "head 1\nhead 2\n"
	for _, there := range []string{"", "hea", "head 1\n", "head 1\nhea", header, header + "row 0\n"} {
		t.Run(fmt.Sprintf("%q", there), func(t *testing.T) {
			bubble(t, agent.FlowConfig{SkipHeaderLines: 2}, func(w *world) {
				w.cfg.Flows[0].StartOfFile = false
				w.write("app.log", there)
				w.start()
				w.settle(3 * time.Second)
				w.write("app.log", strings.TrimPrefix(header, there[:min(len(there), len(header))])+"row 1\n")
				w.settle(3 * time.Second)
				w.expect("row 1\n")
				w.stopped()
			})
		})
	}
}

// Keys hash the bytes of a record and nothing else. (The official agent hashes
// the whole buffer that the record lies in.)
func TestDeterministicKey(t *testing.T) {
	bubble(t, agent.FlowConfig{PartitionKey: agent.KeyDeterministic}, func(w *world) {
		w.write("app.log", "one\ntwo\none\n")
		w.start()
		w.settle(time.Second)
		for _, r := range w.sink.records() {
			sum := md5.Sum(r.Data)
			if want := hex.EncodeToString(sum[:]); r.PartitionKey != want {
				t.Errorf("key of %q is %q, want %q", r.Data, r.PartitionKey, want)
			}
		}
		w.expect("one\n", "two\n", "one\n")
		w.stopped()
	})
}

// The key of a file is the same after a restart, even one before the first
// checkpoint, and after a rename; another file has another.
func TestFileKey(t *testing.T) {
	bubble(t, agent.FlowConfig{PartitionKey: agent.KeyFile}, func(w *world) {
		w.write("app.log", "1\n")
		w.start()
		w.settle(10 * time.Millisecond)
		w.kill()
		w.write("app.log", "2\n")
		w.start()
		w.settle(3 * time.Second)
		w.rename("app.log", "app.log.1")
		w.write("app.log.1", "3\n")
		w.write("app.log", "other\n")
		w.settle(3 * time.Second)
		keys := make(map[string]string)
		for _, r := range w.sink.records() {
			keys[string(r.Data)] = r.PartitionKey
		}
		if keys["1\n"] == "" || keys["1\n"] != keys["2\n"] || keys["2\n"] != keys["3\n"] || keys["other\n"] == keys["3\n"] {
			t.Errorf("keys %v, want one for the numbers and another", keys)
		}
		w.stopped()
	})
}

func TestConvertedRecords(t *testing.T) {
	chain := &transform.Chain{Options: []transform.Option{transform.AddMetadata{Metadata: []byte(`"m"`)}}}
	bubble(t, agent.FlowConfig{DataProcessing: chain}, func(w *world) {
		w.write("app.log", "a\nb\n")
		w.start()
		w.settle(time.Second)
		w.expect(`{"metadata":"m","data":"a"}`+"\n", `{"metadata":"m","data":"b"}`+"\n")
		w.stopped()
	})
}

func TestOnce(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.cfg.Once = true
		w.sink.delay = func() time.Duration { return time.Minute } // longer than a shutdown may take
		w.lines("app.log", 50_000)
		w.lines("app.log.1", 10)
		w.write("app.log.2", "no newline")
		w.want = append(w.want, "no newline")
		w.start()
		if err := <-w.done; err != nil {
			t.Fatal(err)
		}
		w.verify(0)
		w.start()
		if err := <-w.done; err != nil {
			t.Fatal(err)
		}
		w.verify(0) // nothing twice
	})
}

func TestStopWithoutTheStream(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.sink.hold = true
		w.lines("app.log", 10)
		w.start()
		w.settle(3 * time.Second)
		start := time.Now()
		if err := w.stop(); err == nil || !strings.Contains(err.Error(), agent.ErrNotDrained.Error()) {
			t.Errorf("Run: %v, want ErrNotDrained", err)
		}
		if d := time.Since(start); d > 12*time.Second {
			t.Errorf("the stop took %v, ShutdownTimeout is 10s", d)
		}
		w.sink.hold = false
		w.start()
		w.settle(3 * time.Second)
		w.verify(10)
		w.stopped()
	})
}
