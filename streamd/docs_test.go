package streamd_test

import (
	"bytes"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// TestOperationsPage compares docs/operations.md with the operations that are
// served. Each is marked for five other servers.
func TestOperationsPage(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	streams, tables, ok := bytes.Cut(page, []byte("\n## DynamoDB\n"))
	if !ok {
		t.Fatal("the page has no part for DynamoDB")
	}
	for _, part := range []struct {
		page   []byte
		row    string // what follows the state
		served []string
	}{
		{streams, `(?: (?:yes|no) \|){5}`, slices.Sorted(maps.Keys(api.New(noEngine{}, api.Config{}).Operations()))},
		{tables, "", table.Operations()},
	} {
		var listed []string
		for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z]\w+) \| (complete|stored only) \|`+part.row).FindAllSubmatch(part.page, -1) {
			listed = append(listed, string(m[1]))
		}
		slices.Sort(listed)
		if !slices.Equal(listed, part.served) {
			t.Errorf("the page lists %q\nserved are    %q", listed, part.served)
		}
	}
}
