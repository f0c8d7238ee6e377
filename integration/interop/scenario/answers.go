package scenario

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/integration/interop/tables"
)

var (
	localJar    = regexp.MustCompile(`DynamoDBLocal-([0-9][0-9A-Za-z.-]*)\.jar`)
	javaVersion = regexp.MustCompile(`version "([^"]+)"`)
)

// answers plays what KCLs have asked of tables to DynamoDB Local and, beside it, to
// streamd: each answer is compared, and at the end each item.
func (p *play) answers(ctx context.Context) error {
	p.unsigned = true
	if err := p.serve(ctx); err != nil {
		return err
	}
	if err := p.tablesReady(ctx); err != nil {
		return err
	}
	path, err := os.ReadFile(filepath.Join(p.set.Java, "target", "tables.cp"))
	if err != nil {
		return err
	}
	said, err := exec.CommandContext(ctx, "java", "-version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("java -version: %w: %s", err, said)
	}
	local, runtime := localJar.FindSubmatch(path), javaVersion.FindSubmatch(said)
	if local == nil || runtime == nil {
		return fmt.Errorf("no version of DynamoDB Local in %s, or of Java in %s", path, said)
	}
	p.report.Client(Client{Client: "DynamoDB Local", Version: string(local[1]), Runtime: "java " + string(runtime[1])})
	corpora, err := tables.Corpora()
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second} // for servers that do not answer
	defer client.CloseIdleConnections()
	for _, c := range []struct{ corpus, what string }{
		{"kcl", "what KCL 1.15, 2.7 and 3.5 ask of tables is answered alike"},
		{"kcl-twice", "so it is where each write with a condition is sent twice"},
	} {
		list, theirs, ours, err := tables.Record(ctx, tables.Server{URL: p.elsewhere, Client: client}, tables.Server{URL: "http://" + p.addr, Client: client}, corpora[c.corpus])
		if err != nil {
			return err
		}
		decided, err := explained(tables.Compare("dynamodb-local", list, ours, theirs))
		p.report.Check(c.what, err, "%d requests; by decision differ %s", len(list), decided)
	}
	return nil
}

// explained says which decisions explain differences, and fails at the first that
// none explains.
func explained(differences []tables.Difference) (string, error) {
	count := map[string]int{}
	for _, d := range differences {
		if d.Decision == "" {
			return "", fmt.Errorf("no decision explains %v", d)
		}
		count[d.Decision]++
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(count)) {
		list = append(list, fmt.Sprintf("%d: %s", count[name], name))
	}
	return strings.Join(list, "; "), nil
}
