package agent_test

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/agent/internal/transform"
)

func utf16le(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// Files in each encoding arrive as UTF-8, line by line, and over a stop in the
// middle of one and of a character.
func TestEncodings(t *testing.T) {
	latin := func(s string) string {
		var b []byte
		for _, r := range s {
			b = append(b, byte(r))
		}
		return string(b)
	}
	const one, two, three = "1 né\n", "2 Ċ𐐀\n", "3 ÿ\n" // Ċ is U+010A: one of its bytes is that of a newline
	for _, tt := range []struct {
		encoding, mark string
		encode         func(string) string
		lines          []string
	}{
		{"bytes", "", func(s string) string { return s }, []string{one, two, three, "\x00\xff\xfe\n"}},
		{"utf-8", "\xef\xbb\xbf", func(s string) string { return s }, []string{one, two, three}},
		{"auto", "\xff\xfe", utf16le, []string{one, two, three}},
		{"auto", "", func(s string) string { return s }, []string{one, two, three, "\xff\n"}},
		{"utf-16", "", utf16le, []string{one, two, three}},
		{"utf-16le", "\xff\xfe", utf16le, []string{one, two, three}},
		{"iso-8859-1", "", latin, []string{one, three}},
	} {
		t.Run(tt.encoding+fmt.Sprintf("%x", tt.mark), func(t *testing.T) {
			bubble(t, agent.FlowConfig{Encoding: tt.encoding}, func(w *world) {
				all := tt.mark
				for _, line := range tt.lines {
					all += tt.encode(line)
				}
				done := 0
				for _, cut := range []int{1, len(all) / 2, len(all)/2 + 1, len(all)} {
					w.write("app.log", all[done:cut])
					done = cut
					w.start()
					w.settle(3 * time.Second)
					w.stopped()
				}
				w.expect(tt.lines...)
				if s := w.status(); s.BehindBytes != 0 {
					t.Errorf("%d bytes behind", s.BehindBytes)
				}
			})
		})
	}
}

// The end of a file in UTF-16 is found where its last line ends, not where a byte
// looks like a newline.
func TestEndOfFileInUTF16(t *testing.T) {
	bubble(t, agent.FlowConfig{Encoding: "utf-16"}, func(w *world) {
		w.cfg.Flows[0].StartOfFile = false
		w.write("app.log", utf16le("\ufeffold\nnew ĊĊ"))
		w.start()
		w.settle(2 * time.Second)
		w.write("app.log", utf16le("!\n"))
		w.settle(2 * time.Second)
		w.expect("new ĊĊ!\n")
		w.stopped()
	})
}

func TestMultiLineInUTF16(t *testing.T) {
	bubble(t, agent.FlowConfig{Encoding: "auto", MultiLineStart: regexp.MustCompile(`É`)}, func(w *world) {
		w.write("app.log", utf16le("\ufeffÉ1\n a\nÉ2\n"))
		w.start()
		w.settle(5 * time.Second)
		w.expect("É1\n a\n", "É2\n")
		w.stopped()
	})
}

func TestBinaryDataArrivesAsItIs(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		var all []byte
		for i := range 100_000 {
			all = append(all, byte(i*i>>3))
		}
		w.write("app.log", "x"+string(all)+"\n")
		w.start()
		w.settle(2 * time.Second)
		if got := strings.Join(w.data(), ""); got != "x"+string(all)+"\n" {
			t.Errorf("%d bytes arrived, not those that were written", len(got))
		}
		w.stopped()
	})
}

func TestCarriageReturns(t *testing.T) {
	t.Run("raw", func(t *testing.T) {
		bubble(t, agent.FlowConfig{}, func(w *world) {
			w.write("app.log", "a\r\nb\rc\n")
			w.start()
			w.settle(time.Second)
			w.expect("a\r\n", "b\rc\n")
			w.stopped()
		})
	})
	t.Run("parsed", func(t *testing.T) {
		log, err := transform.NewLogToJSON("SYSLOG", "", nil, false)
		if err != nil {
			t.Fatal(err)
		}
		bubble(t, agent.FlowConfig{DataProcessing: &transform.Chain{Options: []transform.Option{log}}}, func(w *world) {
			w.write("app.log", "Mar 12 12:00:08 h p: m\r\n")
			w.start()
			w.settle(time.Second)
			w.expect(`{"timestamp":"Mar 12 12:00:08","hostname":"h","program":"p","processid":null,"message":"m"}` + "\n")
			w.stopped()
		})
	})
}

// Nothing of a long record is lost when it is split, and each choice counts what
// it leaves out.
func TestOversize(t *testing.T) {
	limit := 1024 - 64
	for _, tt := range []struct {
		choice string
		lost   int
		want   []string
	}{
		{agent.OversizeTruncate, 1001 - (limit - 2), []string{strings.Repeat("a", limit-2) + "\n", "after\n"}},
		{agent.OversizeSplit, 0, []string{strings.Repeat("a", limit-1), "é" + strings.Repeat("b", 37) + "\n", "after\n"}},
		{agent.OversizeSkip, 1001, []string{"after\n"}},
	} {
		t.Run(tt.choice, func(t *testing.T) {
			// The two bytes of a character lie on either side of the limit.
			line := strings.Repeat("a", limit-1) + "é" + strings.Repeat("b", 37) + "\n"
			if tt.choice == agent.OversizeTruncate {
				line = strings.Repeat("a", limit-2) + "é" + strings.Repeat("b", 38) + "\n"
			}
			tt.lost += len(line) - 1001
			if tt.choice == agent.OversizeSplit {
				tt.lost = 0
			}
			bubble(t, agent.FlowConfig{OnOversize: tt.choice, MaxRecordBytes: 1024}, func(w *world) {
				w.write("app.log", line+"after\n")
				w.start()
				w.settle(time.Second)
				w.expect(tt.want...)
				if s := w.status(); s.OversizeRecords != 1 || s.LostBytes["oversize"] != uint64(tt.lost) || s.BehindBytes != 0 {
					t.Errorf("%d records oversize, %d bytes lost, %d behind; want 1, %d, 0", s.OversizeRecords, s.LostBytes["oversize"], s.BehindBytes, tt.lost)
				}
				w.stopped()
			})
		})
	}
	t.Run("split, longer than what is read at once", func(t *testing.T) {
		bubble(t, agent.FlowConfig{OnOversize: agent.OversizeSplit}, func(w *world) {
			line := strings.Repeat("é", 2<<20) + "\n"
			w.write("app.log", line+"after\n")
			w.start()
			w.settle(5 * time.Second)
			got := w.data()
			if strings.Join(got, "") != line+"after\n" || got[len(got)-1] != "after\n" {
				t.Errorf("%d records, not in all what was written", len(got))
			}
			for _, r := range got {
				if strings.ContainsRune(r, '\ufffd') {
					t.Error("cut within a character")
				}
			}
			w.stopped()
		})
	})
}

func TestParseErrors(t *testing.T) {
	const good, bad = "Mar 12 12:00:08 h p: m\n", "bad line\n"
	const json = `{"timestamp":"Mar 12 12:00:08","hostname":"h","program":"p","processid":null,"message":"m"}` + "\n"
	for _, tt := range []struct {
		choice string
		log    bool // LOGTOJSON skips; JSONFIELDS fails
		want   []string
		lost   int
	}{
		{"", true, []string{json, json}, len(bad)},
		{agent.ParseErrorDrop, true, []string{json, json}, len(bad)},
		{agent.ParseErrorRaw, true, []string{json, bad, json}, 0},
		{"", false, []string{`{"b":2}` + "\n", bad}, 0},
		{agent.ParseErrorDrop, false, []string{`{"b":2}` + "\n"}, len(bad)},
		{agent.ParseErrorRaw, false, []string{`{"b":2}` + "\n", bad}, 0},
	} {
		t.Run(fmt.Sprint(tt.choice, tt.log), func(t *testing.T) {
			text := `{"a":1,"b":2}` + "\n" + bad
			var o transform.Option = &transform.JSONFields{Drop: []string{"a"}}
			if tt.log {
				log, err := transform.NewLogToJSON("SYSLOG", "", nil, false)
				if err != nil {
					t.Fatal(err)
				}
				text, o = good+bad+good, log
			}
			flow := agent.FlowConfig{OnParseError: tt.choice, DataProcessing: &transform.Chain{Options: []transform.Option{o}}, PartitionKey: agent.KeyDeterministic}
			bubble(t, flow, func(w *world) {
				w.write("app.log", text)
				w.start()
				w.settle(3 * time.Second)
				w.expect(tt.want...)
				s := w.status()
				if s.UnparsedRecords != 1 || s.LostBytes["unparsed"] != uint64(tt.lost) || s.BehindBytes != 0 {
					t.Errorf("%d unparsed, %d bytes lost, %d behind; want 1, %d, 0", s.UnparsedRecords, s.LostBytes["unparsed"], s.BehindBytes, tt.lost)
				}
				if o := s.Options[0]; o.In != uint64(strings.Count(text, "\n")) || o.Skipped+o.Failed != 1 {
					t.Errorf("option %+v", o)
				}
				if len(s.Samples) != 1 || s.Samples[0].Text != bad || s.Samples[0].Offset != int64(strings.Index(text, bad)) {
					t.Errorf("samples %+v", s.Samples)
				}
				w.stopped()
			})
		})
	}
}

// A file that holds nothing an option wants is read to its end all the same: the
// official agent's position stays before records that are left out.
func TestPositionPassesRecordsThatAreLeftOut(t *testing.T) {
	grep := &transform.Grep{Include: []*regexp.Regexp{regexp.MustCompile("error")}}
	bubble(t, agent.FlowConfig{DataProcessing: &transform.Chain{Options: []transform.Option{grep}}}, func(w *world) {
		w.write("app.log", "a\nb\n")
		w.start()
		w.settle(3 * time.Second)
		w.expect()
		if s := w.status(); s.BehindBytes != 0 || s.FilteredRecords != 2 || s.UnparsedRecords != 0 || len(s.Samples) != 0 {
			t.Errorf("status %+v", s)
		}
		w.stopped()
	})
}

// The official agent's position stays before a record in brackets, and it sends it
// again after each start.
func TestBracketsAreSentOnce(t *testing.T) {
	chain := &transform.Chain{Options: []transform.Option{transform.AddBrackets{}}}
	bubble(t, agent.FlowConfig{DataProcessing: chain}, func(w *world) {
		w.write("app.log", "a\n")
		for range 2 {
			w.start()
			w.settle(3 * time.Second)
			w.stopped()
		}
		w.expect("{a\n}")
	})
}

func TestFooter(t *testing.T) {
	bubble(t, agent.FlowConfig{FileFooter: regexp.MustCompile(`^end$`)}, func(w *world) {
		w.write("app.log", "a\n  end \nb\n")
		w.start()
		w.settle(time.Second)
		w.expect("a\n", "b\n")
		if s := w.status(); s.FilteredRecords != 1 {
			t.Errorf("%d records left out, want 1", s.FilteredRecords)
		}
		w.stopped()
	})
}

func TestFlushPartial(t *testing.T) {
	bubble(t, agent.FlowConfig{FlushPartial: 2 * time.Second}, func(w *world) {
		w.write("app.log", "a\nb")
		w.start()
		w.settle(1900 * time.Millisecond)
		w.expect("a\n")
		w.settle(time.Second)
		w.expect("a\n", "b")
		w.write("app.log", "c\n")
		w.settle(time.Second)
		w.expect("a\n", "b", "c\n")
		w.stopped()
	})
}

func TestMultiLineLimit(t *testing.T) {
	bubble(t, agent.FlowConfig{MultiLineStart: regexp.MustCompile(`s`), MultiLineMaxBytes: 10}, func(w *world) {
		w.write("app.log", "s234\n2234\n3\ns\n")
		w.start()
		w.settle(3 * time.Second)
		w.expect("s234\n2234\n", "3\n", "s\n")
		w.stopped()
	})
}

// The last line of a file that nobody writes any more may have no end, and begin a record
// all the same, or be the one with which a record would be too long.
func TestMultiLineRest(t *testing.T) {
	flow := agent.FlowConfig{MultiLineStart: regexp.MustCompile(`s`), MultiLineMaxBytes: 10, MultiLineFlush: time.Hour}
	for text, want := range map[string][]string{
		"s1\n2\ns3":     {"s1\n2\n", "s3"},
		"s4\n5\n678901": {"s4\n5\n", "678901"},
		"s7\n8":         {"s7\n8"},
		"s":             {"s"},
	} {
		bubble(t, flow, func(w *world) {
			w.write("app.log", text)
			w.start()
			w.settle(time.Minute)
			w.expect()
			w.rename("app.log", "app.log.1")
			w.write("app.log", "s\n")
			w.settle(time.Minute)
			w.expect(want...)
			w.stopped()
		})
	}
}

// A trace that is written with a pause in it arrives as one record, while the file
// grows often enough; the official agent sends what is there at the end of the file.
func TestMultiLineWithPauses(t *testing.T) {
	bubble(t, agent.FlowConfig{MultiLineStart: regexp.MustCompile(`\S`), MultiLineFlush: 6 * time.Second}, func(w *world) {
		w.start()
		w.write("app.log", "error\n")
		for range 3 {
			w.settle(5 * time.Second)
			w.write("app.log", "\tat x\n")
		}
		w.settle(5 * time.Second)
		w.expect()
		w.settle(2 * time.Second)
		w.expect("error\n\tat x\n\tat x\n\tat x\n")
		w.stopped()
	})
}
