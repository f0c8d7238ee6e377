package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocsNameWhatExists checks that the pages about other emulators and CI, and
// the files for containers, name no variable, flag or subcommand of streamd that
// does not exist.
func TestDocsNameWhatExists(t *testing.T) {
	root := filepath.Join("..", "..")
	files, err := filepath.Glob(filepath.Join(root, "docs", "migrating", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 6 {
		t.Errorf("%d pages, want 6: %v", len(files), files)
	}
	for _, name := range []string{"docs/ci.md", "Dockerfile", "compose.yaml"} {
		files = append(files, filepath.Join(root, filepath.FromSlash(name)))
	}
	cmd := newRoot(noEnv)
	var commands []string
	for _, c := range cmd.Commands() {
		commands = append(commands, c.Name())
	}
	// Flags of others, on the left side of the tables.
	theirs := regexp.MustCompile(`^(port|path|ssl|createStreamMs|deleteStreamMs|updateStreamMs|shardLimit|create-stream-ms|shard-limit|account-id|region|retention-check-interval-secs|build|wait|interval|timeout|start-period|from|chown|endpoint)$`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, m := range regexp.MustCompile(`STREAMD_[A-Z_]+`).FindAllString(text, -1) {
			if !slices.ContainsFunc(settingNames, func(s string) bool { return envName(s) == m }) {
				t.Errorf("%s: %s is no variable of streamd", file, m)
			}
		}
		for _, m := range regexp.MustCompile(`--([a-zA-Z][a-zA-Z-]*)`).FindAllStringSubmatch(text, -1) {
			if cmd.Flags().Lookup(m[1]) == nil && !theirs.MatchString(m[1]) {
				t.Errorf("%s: --%s is no flag of streamd", file, m[1])
			}
		}
		for _, m := range regexp.MustCompile("`streamd ([a-z]+)`|\"/streamd\", \"([a-z]+)\"").FindAllStringSubmatch(text, -1) {
			if c := m[1] + m[2]; !slices.Contains(commands, c) {
				t.Errorf("%s: streamd %s is no command", file, c)
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", file, m[1])
			}
		}
	}
}
