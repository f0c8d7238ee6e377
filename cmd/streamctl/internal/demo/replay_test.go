package demo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
)

func noWait(context.Context, uint64) error { return nil }

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// receipts judges the lines of files, read whole, as if one worker had got
// them.
func receipts(t *testing.T, l *demo.Ledger, files ...[]byte) demo.Verdict {
	t.Helper()
	path := filepath.Join(t.TempDir(), "receipts")
	frames(t, path, func(f *demo.Frame) {
		f.Reset("s")
		seq := 0
		for _, data := range files {
			for line := range bytes.Lines(data) {
				d, _ := demo.ParseLine(line)
				seq++
				f.Add(fmt.Sprint(seq), d)
			}
		}
	})
	v, err := demo.JudgeFiles(l, []string{path})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestReplay(t *testing.T) {
	// CR, an invalid byte, an empty line, a line too long for one record, and no
	// line end at the end.
	content := "one\r\n\xff bytes\n\n" + strings.Repeat("long ", 40_000) + "\nlast"
	in, err := demo.FilesInput([]string{writeFile(t, "a", content), writeFile(t, "b", "second file\n")})
	if err != nil {
		t.Fatal(err)
	}
	var service bytes.Buffer
	dir := t.TempDir()
	r := &demo.Replayer{Input: in, Size: 4 << 20, Dir: dir, Files: 3, Rotate: 200 << 10, Service: &service, Wait: noWait}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Bytes() < 4<<20 || r.Rotations() < 6 {
		t.Errorf("%d bytes, %d rotations", r.Bytes(), r.Rotations())
	}
	paths, err := filepath.Glob(filepath.Join(dir, "app-*.log*"))
	// A file that was renamed just before the end has no successor.
	if err != nil || len(paths) < int(r.Rotations()) || len(paths) > 3+int(r.Rotations()) {
		t.Errorf("files %v, %v after %d rotations", paths, err, r.Rotations())
	}
	files := [][]byte{service.Bytes()}
	var size int64
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		size += int64(len(data))
		files = append(files, data)
	}
	if size += int64(service.Len()); size != r.Bytes() {
		t.Errorf("%d bytes in files and service, want %d", size, r.Bytes())
	}
	v := receipts(t, r.Ledger(), files...)
	if !v.Good() || v.Duplicated != 0 || v.In != r.Written() || v.In == 0 {
		t.Errorf("%+v of %d written", v, r.Written())
	}
	if service.Len() == 0 {
		t.Error("the service got no line")
	}
}

func TestReplayUsesTheInputOnceAtLeast(t *testing.T) {
	in, err := demo.FilesInput([]string{writeFile(t, "a", strings.Repeat("x\n", 1000)), writeFile(t, "b", "the end\n")})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &demo.Replayer{Input: in, Size: 1, Dir: dir, Files: 1, Rotate: 1 << 20, Wait: noWait}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "app-1.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(" the end\n")) {
		t.Error("the last line of the input was not written")
	}
}

func TestReplayStops(t *testing.T) {
	in, err := demo.FilesInput([]string{writeFile(t, "a", "x\n")})
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	r := &demo.Replayer{Input: in, Size: 1 << 20, Dir: t.TempDir(), Files: 1, Rotate: 1 << 20, Wait: func(_ context.Context, n uint64) error {
		if n >= 100 {
			return stop
		}
		return nil
	}}
	if err := r.Run(t.Context()); !errors.Is(err, stop) {
		t.Errorf("error = %v, want %v", err, stop)
	}
}

func TestInputErrors(t *testing.T) {
	for name, paths := range map[string][]string{
		"missing": {filepath.Join(t.TempDir(), "none")},
		"folder":  {t.TempDir()},
		"empty":   {writeFile(t, "empty", "")},
	} {
		if _, err := demo.FilesInput(paths); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestHistoryInput(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("GIT_CEILING_DIRECTORIES", "/")
	in, err := demo.HistoryInput(t.Context(), t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if in.Bytes == 0 || !strings.Contains(in.Name, "no git history") {
		t.Errorf("%+v, want the text of the program", in)
	}
	if got, err := demo.FilesInput(in.Paths); err != nil || got.Bytes != in.Bytes {
		t.Errorf("%+v, %v", got, err)
	}
}
