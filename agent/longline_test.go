package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/agent/internal/transform"
)

// Lines whose ends have not come hold no memory, whatever there is of them, and the
// least that a flow may have is enough for those that have come.
func TestUnfinishedLongLinesHoldNoMemory(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.cfg.MaxMemoryBytes = 4 << 20
		const files = 6
		for i := range files {
			w.write(fmt.Sprint("app.log.", i), strings.Repeat("l", 3<<20))
		}
		w.start()
		w.settle(2 * time.Second)
		if s := w.status(); s.MemoryBytes > 512<<10 { // a chunk is at hand
			t.Errorf("%d bytes are in use for lines without an end", s.MemoryBytes)
		}
		w.lines("app.log", 1000)
		w.settle(2 * time.Second)
		w.verify(0)
		for i := range files {
			w.write(fmt.Sprint("app.log.", i), "end\n")
		}
		w.settle(5 * time.Second)
		long := 0
		for _, r := range w.sink.records() {
			if len(r.Data) == 1<<20-64 && r.Data[0] == 'l' {
				long++
			}
		}
		s := w.status()
		if want := uint64(files * (3<<20 + len("end\n") - (1<<20 - 64 - 1))); long != files || s.LostBytes["oversize"] != want || s.BehindBytes != 0 {
			t.Errorf("%d long records arrived, want %d; lost %d, want %d; status %+v", long, files, s.LostBytes["oversize"], want, s)
		}
		w.stopped()
	})
}

// A line that needs all of the memory gets it, though another file has something to
// say all the time and the stream is slow.
func TestLongLineBesideABusyFile(t *testing.T) {
	for _, start := range []bool{false, true} {
		flow := agent.FlowConfig{OnOversize: agent.OversizeTruncate}
		if start {
			flow.OnOversize = agent.OversizeSplit // its pieces may end anywhere, so it is read as a whole
		}
		bubble(t, flow, func(w *world) {
			w.cfg.MaxMemoryBytes = 4 << 20
			w.sink.delay = func() time.Duration { return 200 * time.Millisecond }
			w.start()
			w.lines("app.log", 20_000)
			w.settle(time.Second)
			long := strings.Repeat("l", 1<<20-65) + "\n"
			w.want = append(w.want, long)
			w.write("app.log.long", long)
			for range 30 {
				w.lines("app.log", 4000)
				w.settle(100 * time.Millisecond)
			}
			w.settle(30 * time.Second)
			w.verify(0)
			if s := w.status(); s.BehindBytes != 0 || lostBytes(s) != 0 {
				t.Errorf("at rest: %+v", s)
			}
			w.stopped()
		})
	}
}

// Records of up to 10 MiB are read if the memory is large enough; the others wait
// for nothing meanwhile.
func TestTenMebibytes(t *testing.T) {
	const limit = 10 << 20
	bubble(t, agent.FlowConfig{MaxRecordBytes: limit}, func(w *world) {
		w.cfg.MaxMemoryBytes = 40 << 20
		fits, larger := strings.Repeat("f", limit-65)+"\n", strings.Repeat("g", limit-64)+"\n"
		w.write("app.log", "before\n"+fits+larger+"after\n")
		w.start()
		w.settle(5 * time.Second)
		w.expect("before\n", fits, larger[:limit-65]+"\n", "after\n")
		if s := w.status(); s.LostBytes["oversize"] != 2 || s.MemoryBytes > 1<<20 {
			t.Errorf("lost %v, %d bytes in use", s.LostBytes, s.MemoryBytes)
		}
		w.stopped()
	})
}

// A span for which the sink has no room at once is put in parts: those that fail are
// sent again, and a record that never fits is counted and left out.
func TestSinkWithoutRoomForASpan(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.sink.room = 1000
		n := 0
		w.sink.refuse = func() bool { n++; return n%7 == 0 }
		w.sink.delay = func() time.Duration { return time.Duration(n%5) * 10 * time.Millisecond }
		w.lines("app.log", 300)
		never := strings.Repeat("n", 1000) + "\n"
		w.write("app.log", never)
		w.lines("app.log", 300)
		w.start()
		w.settle(time.Minute)
		w.verify(0)
		s := w.status()
		if s.LostBytes["oversize"] != uint64(len(never)) || s.OversizeRecords != 1 || s.AckedRecords != 600 || s.BehindBytes != 0 || s.MemoryBytes > 512<<10 {
			t.Errorf("status %+v", s)
		}
		w.stopped()
	})
}

// The hole that copytruncate leaves in front of a writer that does not append may be
// of any length.
func TestLongHole(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.lines("app.log", 100)
		w.start()
		w.settle(2 * time.Second)
		w.truncate("app.log")
		w.settle(2 * time.Second)
		const hole = 3 << 20
		w.write("app.log", strings.Repeat("\x00", hole))
		w.settle(time.Second)
		w.lines("app.log", 3)
		w.settle(5 * time.Second)
		w.verify(0)
		if got := w.status().LostBytes["hole"]; got != hole {
			t.Errorf("%d bytes are counted as a hole, want %d", got, hole)
		}
		w.stopped()
	})
}

// A line of which only the beginning is read may become a record that is shorter than
// what would end a cut one: it is sent as it is. (It had the agent panic.)
func TestLongLineThatAnOptionShortens(t *testing.T) {
	csv, err := transform.NewCSVToJSON([]string{"a"}, ",", false)
	if err != nil {
		t.Fatal(err)
	}
	flow := agent.FlowConfig{
		DataProcessing: &transform.Chain{Options: []transform.Option{csv}}, TruncatedRecordTerminator: "...[this record was cut]\n",
	}
	bubble(t, flow, func(w *world) {
		const length = 3 << 20
		w.write("app.log", "x,"+strings.Repeat("y", length-3)+"\nz\n")
		w.start()
		w.settle(3 * time.Second)
		w.expect("{\"a\":\"x\"}\n", "{\"a\":\"z\"}\n")
		if got, want := w.status().LostBytes["oversize"], uint64(length-(1<<20-64)); got != want {
			t.Errorf("%d bytes are counted as cut off, want %d", got, want)
		}
		w.stopped()
	})
}
