package agent_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// TestDocsNameEveryLoss checks that the guide has a row for each reason of lost bytes
// and each kind of rotation, and none besides, and that the package comment names all
// reasons.
func TestDocsNameEveryLoss(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "agent.md"))
	if err != nil {
		t.Fatal(err)
	}
	var s agent.FlowStatus
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.FlowConfig{})
		w.start()
		w.settle(time.Second)
		s = w.status()
		w.stopped()
	})
	for title, counted := range map[string]map[string]uint64{"### Bytes that are lost": s.LostBytes, "### Rotations": s.Rotations} {
		_, section, found := strings.Cut(string(page), "\n"+title+"\n")
		section, _, _ = strings.Cut(section, "\n##")
		if !found || len(counted) == 0 {
			t.Errorf("the guide has %q: %v; %d things are counted", title, found, len(counted))
		}
		var rows []string
		for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]").FindAllStringSubmatch(section, -1) {
			if m[1] != "reason" && m[1] != "kind" {
				rows = append(rows, m[1])
			}
		}
		slices.Sort(rows)
		if want := slices.Sorted(maps.Keys(counted)); !slices.Equal(rows, want) {
			t.Errorf("%q has rows for %q; the agent counts %q", title, rows, want)
		}
	}

	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(doc), "counted as lost under a reason:\n")
	list, _, _ = strings.Cut(list, ".\n")
	named := strings.Split(strings.Join(strings.Fields(strings.ReplaceAll(list, "//", "")), ""), ",")
	slices.Sort(named)
	if want := slices.Sorted(maps.Keys(s.LostBytes)); !slices.Equal(named, want) {
		t.Errorf("the package comment names the reasons %q; the agent counts %q", named, want)
	}
}
