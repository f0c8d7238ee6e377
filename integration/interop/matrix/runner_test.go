//go:build unix

package matrix_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/integration/interop/matrix"
)

func fixed() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// run runs rows with programs that need no server.
func run(t *testing.T, m matrix.Matrix, require ...string) ([]matrix.Outcome, string) {
	t.Helper()
	var log bytes.Buffer
	r := &matrix.Runner{
		Matrix: m, Root: t.TempDir(), Work: t.TempDir(), Require: require,
		Pause: time.Millisecond, Now: fixed, Log: &log,
	}
	return r.Run(t.Context(), m.Rows), log.String()
}

// program prints lines, and ends with code.
func program(code int, lines ...string) []string {
	var script strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&script, "echo '%s'\n", line)
	}
	return []string{"sh", "-c", fmt.Sprintf("%sexit %d", script.String(), code)}
}

const (
	itself = `{"client":"c","version":"1.2","runtime":"sh"}`
	good   = `{"check":"puts","ok":true,"detail":"3 records"}`
	bad    = `{"check":"gets","ok":false,"detail":"nothing came"}`
)

func TestOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		row     matrix.Row
		require []string
		ok      bool
		skipped bool
		checks  int
		failed  string // part of it
	}{
		{name: "all is well", row: matrix.Row{Command: program(0, itself, "noise", "{noise", good)}, ok: true, checks: 1},
		{name: "a check has failed", row: matrix.Row{Command: program(0, itself, good, bad)}, checks: 2},
		{name: "the program has failed", row: matrix.Row{Command: program(3, itself, good)}, checks: 1, failed: "exit status 3"},
		{name: "it says nothing of itself", row: matrix.Row{Command: program(0, good)}, checks: 1, failed: "has not said which client"},
		{name: "it tries nothing", row: matrix.Row{Command: program(0, itself)}, failed: "has tried nothing"},
		{name: "it cannot be started", row: matrix.Row{Command: []string{"/nonexistent"}}, failed: "no such file"},
		{name: "it hangs", row: matrix.Row{Command: []string{"sh", "-c", "cat; cat /dev/zero > /dev/null"}, Limit: 50 * time.Millisecond}, failed: "had not ended after 50ms"},
		{name: "a runtime is there", row: matrix.Row{Needs: []string{"present"}, Command: program(0, itself, good)}, require: []string{"present"}, ok: true, checks: 1},
		{name: "a runtime is missing", row: matrix.Row{Needs: []string{"present", "absent"}}, require: []string{"present"}, skipped: true},
		{name: "a runtime is missing and required", row: matrix.Row{Needs: []string{"absent"}}, require: []string{"absent"}, failed: "required: no absent"},
		{name: "packages cannot be had", row: matrix.Row{Fetch: []string{"broken"}, Command: program(0, itself, good)}, failed: "fetch broken"},
		{name: "packages are there", row: matrix.Row{Fetch: []string{"whole"}, Command: []string{"sh", "-c", "cat {work}/brought"}}, ok: true, checks: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.row.Name, tt.row.Alone = "row", true
			got, log := run(t, matrix.Matrix{
				Runtimes: []matrix.Runtime{
					{Name: "present", Probe: []string{"true"}},
					{Name: "absent", Probe: []string{"sh", "-c", "echo too old; exit 1"}, How: "install it"},
				},
				Fetches: []matrix.Fetch{
					{Name: "broken", Steps: [][]string{{"sh", "-c", "echo tried >> {work}/tries; exit 1"}}},
					{Name: "whole", Steps: [][]string{{"sh", "-c", "echo '" + itself + good + "' | sed 's/}{/}\\n{/' > {work}/brought"}}},
				},
				Rows: []matrix.Row{tt.row},
			}, tt.require...)
			if len(got) != 1 {
				t.Fatalf("%d outcomes", len(got))
			}
			o := got[0]
			if o.OK() != tt.ok || (o.Skipped != "") != tt.skipped || len(o.Checks) != tt.checks {
				t.Errorf("outcome %+v", o)
			}
			if !strings.Contains(o.Failed, tt.failed) || (tt.failed == "") != (o.Failed == "") {
				t.Errorf("failed with %q, want %q", o.Failed, tt.failed)
			}
			if o.Row != "row" || o.Date != "2026-01-02" {
				t.Errorf("row %q, date %q", o.Row, o.Date)
			}
			if tt.skipped && !strings.Contains(log, "SKIP row") {
				t.Errorf("the skip is not printed: %s", log)
			}
			if tt.skipped && !strings.Contains(o.Skipped, "too old") {
				t.Errorf("the reason is not in it: %s", o.Skipped)
			}
		})
	}
}

// TestFetchTries counts how often a step that fails is tried, for two rows that
// need it.
func TestFetchTries(t *testing.T) {
	for _, tt := range []struct {
		name  string
		step  string
		tries int
		ok    bool
	}{
		{"always", "exit 1", 3, false},
		{"once", "test $(wc -l < {work}/tries) -gt 1", 2, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows := []matrix.Row{{Name: "a"}, {Name: "b"}}
			for i := range rows {
				rows[i].Alone, rows[i].Fetch, rows[i].Command = true, []string{"f"}, program(0, itself, good)
			}
			r := &matrix.Runner{Matrix: matrix.Matrix{
				Fetches: []matrix.Fetch{{Name: "f", Inputs: []string{"list", "dir"}, Steps: [][]string{{"sh", "-c", "echo try >> {work}/tries; " + tt.step}}}},
				Rows:    rows,
			}, Root: t.TempDir(), Work: t.TempDir(), Pause: time.Millisecond}
			write(t, filepath.Join(r.Root, "list"), "a==1")
			write(t, filepath.Join(r.Root, "dir", "x", "a.java"), "class A")
			tries := func() int {
				b, err := os.ReadFile(filepath.Join(r.Work, "tries"))
				if err != nil {
					t.Fatal(err)
				}
				return bytes.Count(b, []byte("try"))
			}
			for _, o := range r.Run(t.Context(), rows) {
				if o.OK() != tt.ok {
					t.Errorf("%s", o.Line())
				}
			}
			if tries() != tt.tries {
				t.Errorf("%d tries", tries())
			}
			if !tt.ok {
				return
			}
			r.Run(t.Context(), rows)
			write(t, filepath.Join(r.Root, "dir", "target", "a.class"), "built")
			r.Run(t.Context(), rows)
			if tries() != tt.tries {
				t.Errorf("what is there was fetched again")
			}
			write(t, filepath.Join(r.Root, "dir", "x", "a.java"), "class B")
			r.Run(t.Context(), rows)
			if tries() != tt.tries+1 {
				t.Errorf("a change was not fetched: %d tries", tries())
			}
		})
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestParseRequire(t *testing.T) {
	m := matrix.Matrix{Runtimes: []matrix.Runtime{{Name: "java"}, {Name: "node"}}}
	for _, tt := range []struct {
		list string
		want string
		err  string
	}{
		{"", "[]", ""},
		{"java, node,", "[java node]", ""},
		{"java,nod,x", "", `"nod" is no runtime of the matrix` + "\n" + `"x" is no runtime of the matrix`},
	} {
		got, err := m.ParseRequire(tt.list)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%q: error %v", tt.list, err)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != tt.want {
			t.Errorf("%q: %v, %v", tt.list, got, err)
		}
	}
}

// TestMatrixIsWhole looks for names in rows that stand for nothing.
func TestMatrixIsWhole(t *testing.T) {
	m := matrix.All()
	runtimes, fetches, rows := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, r := range m.Runtimes {
		runtimes[r.Name] = true
		if r.How == "" || len(r.Probe) == 0 {
			t.Errorf("runtime %s does not say how to get it", r.Name)
		}
	}
	for _, f := range m.Fetches {
		fetches[f.Name] = true
		for _, input := range f.Inputs {
			if _, err := os.Stat(filepath.Join(root, input)); err != nil {
				t.Errorf("fetch %s: %v", f.Name, err)
			}
		}
	}
	for _, row := range m.Rows {
		if rows[row.Name] {
			t.Errorf("two rows are called %s", row.Name)
		}
		rows[row.Name] = true
		for _, n := range row.Needs {
			if !runtimes[n] {
				t.Errorf("row %s needs %s, which is no runtime", row.Name, n)
			}
		}
		for _, f := range row.Fetch {
			if !fetches[f] {
				t.Errorf("row %s fetches %s, which is not there", row.Name, f)
			}
		}
		for _, word := range row.Command {
			if strings.HasPrefix(word, "integration/") {
				if _, err := os.Stat(filepath.Join(root, word)); err != nil {
					t.Errorf("row %s: %v", row.Name, err)
				}
			}
		}
	}
}
