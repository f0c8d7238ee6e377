package demo_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
)

// text is the content of a line, with its identity.
func text(file uint32, line uint64) []byte {
	return demo.AppendLine(nil, file, line, fmt.Appendf(nil, "text of line %d", line))
}

// ledger has the given number of lines in each file.
func ledger(lines ...uint64) *demo.Ledger {
	var l demo.Ledger
	for f, n := range lines {
		for i := range n {
			l.Add(uint32(f), demo.Hash(text(uint32(f), i+1)))
		}
	}
	return &l
}

// got is a delivery of a line as a worker reports it.
type got struct {
	seq  string
	sub  uint32
	file uint32
	line uint64
	text string // if other than written
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name    string
		lines   []uint64 // by file
		workers [][]got  // in order of time: first all of the first worker
		want    demo.Verdict
		last    string
		good    bool
	}{
		{
			name: "all there", lines: []uint64{0, 3},
			workers: [][]got{{{"1", 0, 1, 1, ""}, {"1", 1, 1, 2, ""}, {"2", 0, 1, 3, ""}}},
			want:    demo.Verdict{In: 3, Out: 3},
			last:    "verdict: 3 in, 3 out, 0 lost, 0 duplicated, order kept", good: true,
		},
		{
			name: "nothing written", lines: nil, workers: nil,
			want: demo.Verdict{}, last: "verdict: 0 in, 0 out, 0 lost, 0 duplicated, order kept", good: true,
		},
		{
			name: "lost in the middle and at the end", lines: []uint64{4, 1},
			workers: [][]got{{{"1", 0, 0, 1, ""}, {"3", 0, 0, 3, ""}}},
			want:    demo.Verdict{In: 5, Out: 2, Lost: 3, LostLines: []string{"0:2", "0:4", "1:1"}},
			last:    "verdict: 5 in, 2 out, 3 lost, 0 duplicated, order kept",
		},
		{
			name: "duplicates of both kinds", lines: []uint64{2},
			workers: [][]got{
				{{"1", 0, 0, 1, ""}, {"1", 1, 0, 2, ""}},
				{{"1", 1, 0, 2, ""}, {"9", 0, 0, 1, ""}, {"9", 1, 0, 2, ""}},
			},
			want: demo.Verdict{In: 2, Out: 2, Duplicated: 3, DeliveredTwice: 1, StoredTwice: 2},
			last: "verdict: 2 in, 2 out, 0 lost, 3 duplicated, order kept", good: true,
		},
		{
			name: "out of order in one file", lines: []uint64{3},
			workers: [][]got{{{"1", 0, 0, 1, ""}, {"2", 0, 0, 3, ""}, {"3", 0, 0, 2, ""}}},
			want:    demo.Verdict{In: 3, Out: 3, Disordered: 1, Disorder: "line 2 of file 0 came after line 3, from s, 3/0"},
			last:    "verdict: 3 in, 3 out, 0 lost, 0 duplicated, order broken",
		},
		{
			name: "out of order across workers", lines: []uint64{2},
			workers: [][]got{{{"2", 0, 0, 2, ""}}, {{"1", 0, 0, 1, ""}}},
			want:    demo.Verdict{In: 2, Out: 2, Disordered: 1, Disorder: "line 1 of file 0 came after line 2, from s, 1/0"},
			last:    "verdict: 2 in, 2 out, 0 lost, 0 duplicated, order broken",
		},
		{
			name: "files do not order each other", lines: []uint64{2, 2},
			workers: [][]got{{{"1", 0, 1, 1, ""}, {"2", 0, 0, 1, ""}, {"3", 0, 1, 2, ""}}, {{"4", 0, 0, 2, ""}}},
			want:    demo.Verdict{In: 4, Out: 4},
			last:    "verdict: 4 in, 4 out, 0 lost, 0 duplicated, order kept", good: true,
		},
		{
			name: "a repeat of an earlier line does not break the order", lines: []uint64{3},
			workers: [][]got{{{"1", 0, 0, 1, ""}, {"2", 0, 0, 2, ""}}, {{"1", 0, 0, 1, ""}, {"2", 0, 0, 2, ""}, {"3", 0, 0, 3, ""}}},
			want:    demo.Verdict{In: 3, Out: 3, Duplicated: 2, DeliveredTwice: 2},
			last:    "verdict: 3 in, 3 out, 0 lost, 2 duplicated, order kept", good: true,
		},
		{
			name: "corrupted", lines: []uint64{2},
			workers: [][]got{{{"1", 0, 0, 1, ""}, {"2", 0, 0, 2, "f0 2 text of lime 2"}}},
			want:    demo.Verdict{In: 2, Out: 1, Lost: 1, Corrupted: 1, LostLines: []string{"0:2"}},
			last:    "verdict: 2 in, 1 out, 1 lost, 0 duplicated, order kept",
		},
		{
			name: "corrupted and whole", lines: []uint64{1},
			workers: [][]got{{{"1", 0, 0, 1, "f0 1 other"}, {"2", 0, 0, 1, ""}}},
			want:    demo.Verdict{In: 1, Out: 1, Corrupted: 1},
			last:    "verdict: 1 in, 1 out, 0 lost, 0 duplicated, order kept",
		},
		{
			name: "foreign", lines: []uint64{1},
			workers: [][]got{{{"1", 0, 0, 1, ""}, {"2", 0, 0, 2, ""}, {"3", 0, 7, 1, "f7 1 x"}, {"4", 0, 0, 0, "no line at all"}}},
			want:    demo.Verdict{In: 1, Out: 1, Foreign: 3},
			last:    "verdict: 1 in, 1 out, 0 lost, 0 duplicated, order kept",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			var paths []string
			for i, records := range tt.workers {
				path := filepath.Join(dir, fmt.Sprint(i))
				frames(t, path, func(f *demo.Frame) {
					f.Reset("s")
					for _, g := range records {
						data := text(g.file, g.line)
						if g.text != "" {
							data = []byte(g.text)
						}
						d, _ := demo.ParseLine(append(data, '\n'))
						d.Sub = g.sub
						f.Add(g.seq, d)
					}
				})
				paths = append(paths, path)
			}
			slices.Reverse(paths) // the order comes from the time, not from the names
			v, err := demo.JudgeFiles(ledger(tt.lines...), paths)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(v) != tt.last {
				t.Errorf("last line %q, want %q", v, tt.last)
			}
			if v.Good() != tt.good {
				t.Errorf("Good() = %v, want %v", v.Good(), tt.good)
			}
			if got, want := fmt.Sprintf("%#v", v), fmt.Sprintf("%#v", tt.want); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestParseLine(t *testing.T) {
	for _, tt := range []struct {
		in   string
		file uint32
		line uint64
		ok   bool
	}{
		{in: "f0 1 text", file: 0, line: 1, ok: true},
		{in: "f12 345 ", file: 12, line: 345, ok: true},
		{in: "f12 345 a b\n", file: 12, line: 345, ok: true},
		{in: "f12 345"},
		{in: "f 1 x"},
		{in: "g1 1 x"},
		{in: "f1 0 x"},
		{in: "f-1 1 x"},
		{in: "f4294967295 1 x"},
		{in: "f1 99999999999999999999 x"},
		{in: ""},
		{in: "\n"},
	} {
		d, ok := demo.ParseLine([]byte(tt.in))
		if ok != tt.ok || (ok && (d.File != tt.file || d.Line != tt.line)) {
			t.Errorf("ParseLine(%q) = %+v, %v", tt.in, d, ok)
		}
		if !ok && d.File != demo.Unknown {
			t.Errorf("ParseLine(%q) has file %d without an identity", tt.in, d.File)
		}
	}
	with, _ := demo.ParseLine([]byte("f1 1 x\n"))
	without, _ := demo.ParseLine([]byte("f1 1 x"))
	if with.Hash != without.Hash || with.Hash != demo.Hash([]byte("f1 1 x")) {
		t.Error("the line end is part of the hash")
	}
}
