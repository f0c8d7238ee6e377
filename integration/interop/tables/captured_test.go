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
// follows itself fails, telling what there is if that was asked for, or changes
// nothing.
func TestWritesSentTwice(t *testing.T) {
	all := corpora(t)
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		s := tables.Server{URL: srv.Endpoint(), Client: srv.HTTPClient()}
		left := map[string]string{} // by the scan at the end
		once, err := tables.Play(t.Context(), s, all["kcl"])
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range all["kcl"] {
			if r.Status == 0 {
				left[strings.Replace(r.Body, "-app", "-twice-app", 1)] = once[i].String()
			}
		}
		list := all["kcl-twice"]
		answers, err := tables.Play(t.Context(), s, list)
		if err != nil {
			t.Fatal(err)
		}
		scans, done, failed, told := 0, 0, 0, 0
		for i, r := range list {
			switch a := answers[i]; {
			case r.Status != 0:
			case r.Op == "Scan":
				if scans++; left[r.Body] != a.String() {
					t.Errorf("%s leaves\n%v\nand if no write is sent twice\n%s", r.Body, a, left[r.Body])
				}
			case r.Op == "GetItem":
				if told++; !bytes.Equal(answers[i-1].Body, a.Body) {
					t.Errorf("%s fails with\n%s\nwhere there is\n%s", list[i-1].Body, answers[i-1].Body, a.Body)
				}
			case a.Type == "ConditionalCheckFailedException":
				failed++
			default:
				done++
				if !strings.Contains(r.Body, `"childShardIds"`) {
					t.Errorf("%s is done anew: %v", r.Body, a)
				}
			}
		}
		t.Logf("of writes that follow themselves %d fail, %d of them with the item, and %d change nothing", failed, told, done)
		if scans != len(left) || failed < 250 || told < 50 || done < 5 {
			t.Errorf("%d scans, %d failures, %d with the item, %d done", scans, failed, told, done)
		}
	})
}

// TestChangesOfItemsAreSeen changes each answer of the recordings that has
// something in it, and wants all to be seen, and none explained.
func TestChangesOfItemsAreSeen(t *testing.T) {
	for _, name := range []string{"kcl", "kcl-twice", "kcl3-moto"} {
		f, err := os.Open("testdata/" + name + ".jsonl.gz")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		list, theirs, err := tables.Read(f, corpora(t)[name])
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
		found := tables.Compare(name, list, theirs, changed)
		if len(found) != want || want < 100 {
			t.Errorf("%s: %d changes, %d found", name, want, len(found))
		}
		for _, d := range found {
			if d.Decision != "" {
				t.Errorf("%s: a change is explained: %v", name, d)
			}
		}
	}
}
