package tables_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/streamkit/streamkit/integration/interop/golden"
	"github.com/streamkit/streamkit/integration/interop/tables"
	"github.com/streamkit/streamkit/internal/capture"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestCapturedIsComplete counts the requests of each capture: nothing that a
// client asked of tables is left out, whether or not others know it.
func TestCapturedIsComplete(t *testing.T) {
	list := corpora(t)["kcl"]
	names, err := fs.Glob(golden.KCL, "testdata/calls/*.gz")
	if err != nil || len(names) < 5 {
		t.Fatalf("captures %v, %v", names, err)
	}
	for _, name := range names {
		prefix := strings.TrimSuffix(path.Base(name), ".ndjson.gz") + "-app"
		var want, got []string
		for _, l := range readLines(t, name) {
			if strings.HasPrefix(l.Target, "DynamoDB_20120810.") {
				want = append(want, strings.ReplaceAll(string(l.Body), `"TableName":"app`, `"TableName":"`+prefix))
			}
		}
		scans := 0
		for _, r := range list {
			switch {
			case !strings.Contains(r.Body, `"TableName":"`+prefix):
			case r.Status != 0:
				got = append(got, r.Body)
			case r.Op == "Scan":
				scans++
			}
		}
		if len(want) == 0 || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %d requests, want %d, or they differ", name, len(got), len(want))
		}
		if scans == 0 {
			t.Errorf("%s: nothing reads its table at the end", name)
		}
	}
}

func readLines(t *testing.T, name string) (lines []capture.Line) {
	t.Helper()
	text, err := golden.KCL.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r := capture.NewReader(z)
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
}

// TestWritesSentTwice looks for what makes the KCL's conditions: a write that
// follows itself fails, or changes nothing.
func TestWritesSentTwice(t *testing.T) {
	list := corpora(t)["kcl"]
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		answers, err := tables.Play(t.Context(), tables.Server{URL: srv.Endpoint(), Client: srv.HTTPClient()}, list)
		if err != nil {
			t.Fatal(err)
		}
		again, failed := 0, 0
		left := map[string]string{} // by the scan at the end
		for i, r := range list {
			switch {
			case r.Status != 0:
			case r.Op == "Scan" && strings.Contains(r.Body, "-twice-"):
				if want := left[strings.ReplaceAll(r.Body, "-twice-", "-")]; want != answers[i].String() {
					t.Errorf("%s leaves\n%v\nand if no write is sent twice\n%s", r.Body, answers[i], want)
				}
			case r.Op == "Scan":
				left[r.Body] = answers[i].String()
			default:
				again++
				if answers[i].Type == "ConditionalCheckFailedException" {
					failed++
				}
			}
		}
		// What is done anew are the children of a shard, one write for each capture.
		if again-failed != len(left)-indexes(left) || failed < 250 {
			t.Errorf("of %d writes that follow themselves %d fail", again, failed)
		}
	})
}

// indexes returns how many scans are of indexes.
func indexes(scans map[string]string) (n int) {
	for body := range scans {
		if strings.Contains(body, `"IndexName"`) {
			n++
		}
	}
	return n
}

// TestChangesOfItemsAreSeen changes each answer of the recording that has
// something in it, and wants all to be seen, and none explained.
func TestChangesOfItemsAreSeen(t *testing.T) {
	f, err := os.Open("testdata/kcl.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, theirs, err := tables.Read(f, corpora(t)["kcl"])
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	changed := make([]tables.Answer, len(theirs))
	for i, a := range theirs {
		if changed[i] = a; len(a.Body) > 0 {
			changed[i].Body = []byte(`{"changed":true}`)
			want++
		}
	}
	found := tables.Compare("kcl", list, theirs, changed)
	if len(found) != want || want < 300 {
		t.Errorf("%d changes, %d found", want, len(found))
	}
	for _, d := range found {
		if d.Decision != "" {
			t.Errorf("a change is explained: %v", d)
		}
	}
}
