package producer_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/producer/producerprom"
)

// TestMigrationPage: the code of docs/migration.md is that of the examples,
// and the settings and metrics that it names exist.
func TestMigrationPage(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(b), "\r\n", "\n")
	}
	page := read("../docs/migration.md")
	have := map[string]bool{}
	for line := range strings.Lines(read("migration_test.go") + strings.ReplaceAll(read("http.go"), "//", "")) {
		have[strings.TrimSpace(line)] = true
	}
	lines := 0
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(block[1]) {
			lines++
			if !have[strings.TrimSpace(line)] {
				t.Errorf("a line of code on the page is in no example: %q", line)
			}
		}
	}
	if lines < 20 {
		t.Errorf("%d lines of code on the page", lines)
	}

	_, settings, _ := strings.Cut(page, "### Settings")
	settings, _, _ = strings.Cut(settings, "### What behaves")
	cfg := reflect.TypeFor[producer.Config]()
	named := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\|[^|]*\\| `([A-Za-z]+)` \\|").FindAllStringSubmatch(settings, -1) {
		named[row[1]] = true
		if _, ok := cfg.FieldByName(row[1]); !ok {
			t.Errorf("Config has no %s", row[1])
		}
	}
	if len(named) < 10 {
		t.Errorf("%d settings on the page", len(named))
	}

	descs := make(chan *prometheus.Desc, 100) // more than there are
	producerprom.NewCollector("s", nil).Describe(descs)
	producerprom.NewHistograms("s").Describe(descs)
	close(descs)
	metrics := map[string]bool{}
	for d := range descs {
		if m := regexp.MustCompile(`fqName: "([a-z_]+)"`).FindStringSubmatch(d.String()); m != nil {
			metrics[m[1]] = true
		}
	}
	_, part, _ := strings.Cut(page, "### Metrics")
	part, _, _ = strings.Cut(part, "## From a8m")
	found := regexp.MustCompile("`(?:kinesis_producer)?_?([a-z_]+?_[a-z_]+)[`{!]").FindAllStringSubmatch(part, -1)
	for _, m := range found {
		if !metrics["kinesis_producer_"+m[1]] {
			t.Errorf("there is no metric kinesis_producer_%s", m[1])
		}
	}
	if len(found) < 15 {
		t.Errorf("%d metrics on the page", len(found))
	}
}
