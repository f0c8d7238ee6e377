package streamd_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/api"
)

// TestOperationsPage compares docs/operations.md with the operations that are
// served. Each is marked for five other servers.
func TestOperationsPage(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z]\w+) \| (complete|stored only) \|(?: (?:yes|no) \|){5}`).FindAllSubmatch(page, -1) {
		listed = append(listed, string(m[1]))
	}
	slices.Sort(listed)
	served := slices.Sorted(maps.Keys(api.New(noEngine{}, api.Config{}).Operations()))
	if !slices.Equal(listed, served) {
		t.Errorf("the page lists %q\nserved are    %q", listed, served)
	}
}
