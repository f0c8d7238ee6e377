package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
)

// TestMeasurements runs each for a moment: it is about the way, not about the
// figures.
func TestMeasurements(t *testing.T) {
	for _, args := range []string{
		"journal -duration 5ms -callers 3 -batch 2 -size 10",
		"journal -duration 5ms -callers 3 -batch 2 -size 1000000", // two do not fit one frame
		"checkpoint -duration 1ms -callers 3 -batch 2 -size 10 -bytes 1000 -shards 2",
	} {
		dir := t.TempDir()
		var out strings.Builder
		if err := run(t.Context(), append(strings.Fields(args), "-dir", dir), &out, io.Discard); err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		var r result
		if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
			t.Fatalf("%s: printed %q: %v", args, &out, err)
		}
		size := int64(keySize + 10)
		if strings.Contains(args, "1000000") {
			size = keySize + 1_000_000
		}
		if r.Count == 0 || r.Count%2 > 0 || r.Bytes != r.Count*size || r.Elapsed <= 0 || r.P50 <= 0 || r.P99 < r.P50 {
			t.Errorf("%s: %+v", args, r)
		}
		if strings.HasPrefix(args, "checkpoint") {
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%s left %v, %v", args, left, err)
			}
		}
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range []string{"", "disk", "journal", "journal -dir x -callers 0", "journal -dir x -nosuch", "journal -dir /nosuch/dir"} {
		if err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
