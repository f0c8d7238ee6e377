package matrix_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/integration/interop/matrix"
)

const root = "../../.." // of the checkout

func TestMerge(t *testing.T) {
	m := matrix.Matrix{Rows: []matrix.Row{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}}
	known := []matrix.Outcome{{Row: "b", Date: "old"}, {Row: "a", Date: "old"}, {Row: "c", Date: "old"}, {Row: "gone", Date: "old"}}
	ran := []matrix.Outcome{{Row: "a", Date: "new"}, {Row: "b", Date: "new", Skipped: "no java"}, {Row: "c", Date: "new", Failed: "it broke"}}
	var got []string
	for _, o := range m.Merge(known, ran) {
		got = append(got, o.Row+" "+o.Date)
	}
	if s := strings.Join(got, ", "); s != "a new, b old, c new" {
		t.Errorf("merged: %s", s)
	}
}

func TestPage(t *testing.T) {
	m := matrix.Matrix{
		Rows:   []matrix.Row{{Name: "boto3"}, {Name: "js"}, {Name: "kpl"}},
		Absent: []matrix.Absent{{Client: "php", Tried: "composer require", Error: "no | net", Date: "2026-01-01", Cover: "php"}},
	}
	got := string(m.Page([]matrix.Outcome{
		{
			Row: "boto3", Identity: matrix.Identity{Client: "boto3", Version: "1.44.8", Runtime: "python 3.11.7"}, Date: "2026-01-02",
			Checks: []matrix.Check{{Check: "puts", OK: true, Detail: "3 records"}, {Check: "gets", Detail: "a|b\nc"}},
		},
		{Row: "js", Date: "2026-01-03", Failed: "fetch node: no\nmore"},
	}))
	for _, want := range []string{
		"| [boto3](#boto3-1448-boto3) | 1.44.8 | python 3.11.7 | 2 | 1 | 2026-01-02 |\n",
		"| [js](#js-js) |  |  | 0 | 0, then failed | 2026-01-03 |\n",
		"| kpl | | | 0 | not run yet | |\n",
		"| php | `composer require` | no \\| net | 2026-01-01 | php |\n",
		"## boto3 1.44.8 (boto3)\n",
		"| puts | ok | 3 records |\n| gets | **failed** | a\\|b c |\n",
		"Failed: fetch node: no\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
}

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		o    matrix.Outcome
		want string
	}{
		{matrix.Outcome{Row: "a", Skipped: "no java"}, "SKIP a              no java"},
		{
			matrix.Outcome{Row: "a", Seconds: 1.25, Identity: matrix.Identity{Client: "c", Version: "1"}, Checks: []matrix.Check{{Check: "x", OK: true}}},
			"ok   a                1 checks    1.2s  c 1",
		},
		{
			matrix.Outcome{Row: "a", Failed: "two\nlines", Checks: []matrix.Check{{Check: "x", OK: true}, {Check: "y", Detail: "why"}}},
			"FAIL a              1 of 2 checks 0.0s   \n     y: why\n     two\n     lines",
		},
	} {
		if got := tt.o.Line(); got != tt.want {
			t.Errorf("line %q, want %q", got, tt.want)
		}
	}
}

func TestPublish(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{matrix.ResultsFile, matrix.PageFile} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := matrix.Matrix{Rows: []matrix.Row{{Name: "a"}, {Name: "b"}}}
	good := func(row, detail string) matrix.Outcome {
		return matrix.Outcome{Row: row, Identity: matrix.Identity{Client: row, Version: "1"}, Date: "2026-01-02", Checks: []matrix.Check{{Check: "x", OK: true, Detail: detail}}}
	}
	for _, ran := range [][]matrix.Outcome{{good("a", "<first>")}, {good("b", "second")}} {
		if err := matrix.Publish(dir, m, ran); err != nil {
			t.Fatal(err)
		}
	}
	known, err := matrix.ReadOutcomes(filepath.Join(dir, matrix.ResultsFile))
	if err != nil || len(known) != 2 || known[0].Checks[0].Detail != "<first>" {
		t.Fatalf("known: %+v, %v", known, err)
	}
	page, err := os.ReadFile(filepath.Join(dir, matrix.PageFile))
	if err != nil || !bytes.Equal(page, m.Page(known)) {
		t.Errorf("the page is not of what is known: %v", err)
	}
}

// TestPageIsOfResults holds the page of this project against what it is made of.
func TestPageIsOfResults(t *testing.T) {
	known, err := matrix.ReadOutcomes(filepath.Join(root, matrix.ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	m := matrix.All()
	page, err := os.ReadFile(filepath.Join(root, matrix.PageFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page, m.Page(m.Merge(known, nil))) {
		t.Errorf("%s is not what %s says; run make interop ARGS=-render", matrix.PageFile, matrix.ResultsFile)
	}
	for _, o := range known {
		if o.Skipped != "" || o.Date == "" {
			t.Errorf("row %s is in the results without having run", o.Row)
		}
	}
}
