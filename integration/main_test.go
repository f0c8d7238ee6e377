package integration_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildDir holds the binaries of one run of the tests. TestMain removes it.
var buildDir string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if buildDir, err = os.MkdirTemp("", "streamkit-integration-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := os.RemoveAll(buildDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

var seed = flag.Uint64("seed", 1, "of what tests draw: keys, and when a process is killed")

// chance returns a source of its own for each n.
func chance(n uint64) *rand.Rand { return rand.New(rand.NewPCG(*seed, n)) }

// needProcesses skips t under -short. Everything that starts a process calls it
// first.
func needProcesses(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped by -short: starts real processes")
	}
}

// binDir returns the directory of our binaries and of the programs in internal,
// built from the tree as it is now, once for all tests.
func binDir(t *testing.T) string {
	t.Helper()
	needProcesses(t)
	dir, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func bin(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(binDir(t), name+exeSuffix)
}

var exeSuffix = map[bool]string{true: ".exe"}[runtime.GOOS == "windows"]

var buildOnce = sync.OnceValues(func() (string, error) {
	if err := touchSources(); err != nil {
		return "", err
	}
	// go build writes all of them in one call into a directory that exists.
	out, err := goCommand("build", "-o", buildDir+string(filepath.Separator),
		"./cmd/streamd", "./cmd/streamagent", "./cmd/streamctl", "./integration/internal/worker", "./integration/internal/spooler", "./integration/internal/applogger")
	if err != nil {
		return "", fmt.Errorf("build binaries: %w\n%s", err, out)
	}
	return buildDir, nil
})

// touchSources looks into the directories that the binaries are built from. The
// go command keeps a test's result as long as the files that the test itself
// opened have not changed; what `go build` reads it does not see.
func touchSources() error {
	out, err := goCommand("list", "-deps", "-f", "{{if not .Standard}}{{.Dir}}{{end}}",
		"./cmd/...", "./integration/...")
	if err != nil {
		return fmt.Errorf("list sources: %w\n%s", err, out)
	}
	for dir := range strings.FieldsSeq(string(out)) {
		if _, err := os.ReadDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// goCommand runs the go command at the module's root.
func goCommand(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = moduleRoot()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
}

func moduleRoot() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(file))
}
