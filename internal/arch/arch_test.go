package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// A pkg is what `go list -json` tells of a package.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	ImportMap  map[string]string
	Error      *struct{ Err string }
}

// TestImports checks the rules on the production imports of every package, for
// each system that we build for: a file with a build tag can break a rule too.
func TestImports(t *testing.T) {
	root := moduleRoot(t)
	for _, system := range []string{"linux", "darwin", "windows"} {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			for _, v := range check(rules, list(t, root, system)) {
				t.Error(v)
			}
		})
	}
}

// TestCheckFindsViolations proves that the checker can fail: a graph that
// breaks each kind of rule once.
func TestCheckFindsViolations(t *testing.T) {
	table := []rule{
		{pkg: "leaf", why: "leaf-why"},
		{pkg: "lib", may: []string{"leaf", "example.com/good/..."}, never: []string{"example.com/bad"}, why: "lib-why"},
		{pkg: "gone", why: "gone-why"},
		{pkg: "early", why: "early-why", future: true},
		{pkg: "tests/...", may: []string{"lib"}, why: "tests-why"},
	}
	ours := func(name string, imports ...string) pkg {
		return pkg{ImportPath: module + "/" + name, Imports: imports}
	}
	graph := map[string]pkg{}
	for _, p := range []pkg{
		ours("leaf", "fmt", "testing", "example.com/good/x"),
		ours("lib", module+"/leaf", "example.com/good/y", "example.com/other"),
		ours("early"),
		ours("stray"),
		ours("tests/deep", module+"/lib"),
		{ImportPath: "example.com/good/x"},
		{ImportPath: "example.com/good/y", Imports: []string{"example.com/inner"}},
		{ImportPath: "example.com/inner", Imports: []string{"example.com/bad"}},
		{ImportPath: "example.com/bad"},
		{ImportPath: "example.com/other"},
		{ImportPath: "fmt", Standard: true},
		{ImportPath: "testing", Standard: true},
	} {
		graph[p.ImportPath] = p
	}
	got := strings.Join(check(table, graph), "\n")
	for _, want := range []string{
		`leaf imports example.com/good/x, which its rule does not allow: leaf-why`,
		`leaf links testing`,
		`lib imports example.com/other, which its rule does not allow: lib-why`,
		`lib must never link example.com/bad (lib > example.com/good/y > example.com/inner > example.com/bad): lib-why`,
		`rule "gone" fits no package`,
		`rule "early" is marked future, but the package exists`,
		`stray has no rule`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("check did not report %q; it reported:\n%s", want, got)
		}
	}
	if strings.Contains(got, "tests/deep") {
		t.Errorf("check refused what its table allows:\n%s", got)
	}
}

// check returns one line for each broken rule.
func check(table []rule, graph map[string]pkg) []string {
	var bad []string
	used := map[string]bool{}
	for _, path := range slices.Sorted(keys(graph)) {
		name, ok := ours(path)
		if !ok {
			continue
		}
		r := ruleFor(table, name)
		if r == nil {
			bad = append(bad, fmt.Sprintf("%s has no rule: add one to internal/arch/rules_test.go that says what it may import, and why", name))
			continue
		}
		if !used[r.pkg] && r.future {
			bad = append(bad, fmt.Sprintf("rule %q is marked future, but the package exists: remove the mark", r.pkg))
		}
		used[r.pkg] = true
		bad = append(bad, checkPackage(*r, name, graph)...)
	}
	for _, r := range table {
		if !used[r.pkg] && !r.future {
			bad = append(bad, fmt.Sprintf("rule %q fits no package: it guards nothing; remove it or correct its path", r.pkg))
		}
	}
	return bad
}

// checkPackage holds the package's own imports against the rule's may list: the
// packages of ours among them answer for theirs by their own rules. Against
// never it holds everything that is linked in, however far away.
func checkPackage(r rule, name string, graph map[string]pkg) []string {
	var bad []string
	path := module + "/" + name
	for _, imp := range graph[path].Imports {
		if graph[imp].Standard || imp == "C" || imp == "unsafe" {
			continue
		}
		if !matchAny(r.may, imp) {
			bad = append(bad, fmt.Sprintf("%s imports %s, which its rule does not allow: %s", name, short(imp), r.why))
		}
	}
	// Breadth first, so that the way shown is a shortest one, and only the first
	// for each pattern: the rest of another module comes along with it.
	from, shown := map[string]string{path: ""}, map[string]bool{}
	queue := []string{path}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		for _, imp := range graph[p].Imports {
			if real, ok := graph[p].ImportMap[imp]; ok {
				imp = real // vendored inside the standard library
			}
			if _, seen := from[imp]; seen {
				continue
			}
			from[imp] = p
			queue = append(queue, imp)
			if pattern := firstMatch(r.never, imp); pattern != "" && !shown[pattern] {
				shown[pattern] = true
				bad = append(bad, fmt.Sprintf("%s must never link %s (%s): %s", name, short(imp), way(from, imp), r.why))
			}
			// A package of ours on the way answers for itself.
			if _, mine := ours(p); imp == "testing" && (p == path || !mine) && !matchAny(testHelpers, path) {
				bad = append(bad, fmt.Sprintf("%s links testing (%s): it adds its flags to every binary", name, way(from, imp)))
			}
		}
	}
	return bad
}

// ruleFor returns the rule with the most exact pattern that fits name.
func ruleFor(table []rule, name string) *rule {
	var best *rule
	for i := range table {
		r := &table[i]
		if !match(r.pkg, module+"/"+name) {
			continue
		}
		if best == nil || len(strings.TrimSuffix(r.pkg, "/...")) > len(strings.TrimSuffix(best.pkg, "/...")) {
			best = r
		}
	}
	return best
}

func matchAny(patterns []string, path string) bool { return firstMatch(patterns, path) != "" }

// firstMatch returns the first pattern that fits path, or "".
func firstMatch(patterns []string, path string) string {
	for _, p := range patterns {
		if match(p, path) {
			return p
		}
	}
	return ""
}

// match reports whether path is the package that pattern names, or lies below
// it if pattern ends in "/...". A pattern whose first element has no dot and
// is no standard package names a package of ours.
func match(pattern, path string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	if first, _, _ := strings.Cut(base, "/"); !strings.Contains(first, ".") && base != "testing" {
		base = module + "/" + base
	}
	return path == base || below && strings.HasPrefix(path, base+"/")
}

// ours returns the path of a package of this module below the module.
func ours(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

func short(path string) string {
	if name, ok := ours(path); ok {
		return name
	}
	return path
}

// way writes the chain of imports that leads to path.
func way(from map[string]string, path string) string {
	var chain []string
	for p := path; p != ""; p = from[p] {
		chain = append(chain, short(p))
	}
	slices.Reverse(chain)
	return strings.Join(chain, " > ")
}

func keys(graph map[string]pkg) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range graph {
			if !yield(k) {
				return
			}
		}
	}
}

// list returns every package that a build of this module for system links.
func list(t *testing.T, root, system string) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports,ImportMap,Error", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH=amd64")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	graph := map[string]pkg{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return graph
		} else if err != nil {
			t.Fatalf("output of go list: %v", err)
		}
		if p.Error != nil {
			t.Fatalf("go list: %s: %s", p.ImportPath, p.Error.Err)
		}
		graph[p.ImportPath] = p
	}
}

// moduleRoot returns the directory of go.mod. It looks into every directory of
// the module as well: the go command keeps the result of a test as long as the
// files that the test itself opened have not changed, and does not see those
// that `go list` reads.
func moduleRoot(t *testing.T) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("no caller information")
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}
