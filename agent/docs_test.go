package agent_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/agent"
)

// TestDocsNameEveryKey checks that the pages name each key of the configuration,
// and none that is unknown, and that their links lead somewhere.
func TestDocsNameEveryKey(t *testing.T) {
	docs := filepath.Join("..", "docs")
	var text string
	for _, name := range []string{"agent.md", "agent-formats.md"} {
		b, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
		for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(string(b), -1) {
			if _, err := os.Stat(filepath.Join(docs, m[1])); !strings.Contains(m[1], "://") && err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, m[1])
			}
		}
	}
	keys := agent.Keys()
	for _, key := range keys {
		if !strings.Contains(text, "`"+key+"`") && !strings.HasPrefix(key, "userDefinedCredentialsProvider.") {
			t.Errorf("no page names the key %s", key)
		}
	}
	// In the tables of keys, the first column holds nothing else.
	page, err := os.ReadFile(filepath.Join(docs, "agent.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(string(page), "### Keys of the agent")
	tables, _, _ = strings.Cut(tables, "### Credentials")
	rows := regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(tables, -1)
	if len(rows) < 30 {
		t.Errorf("%d rows of keys", len(rows))
	}
	for _, row := range rows {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			if !slices.Contains(keys, m[1]) {
				t.Errorf("%s is no key", m[1])
			}
		}
	}
}
