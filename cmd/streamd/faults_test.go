package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFaultsFlag(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "faults.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const good = "- kind: throttle\n  operation: Put*\n  probability: 0.2\n  shard: 1\n- {kind: latency, latency: 10ms..20ms, for: 1m30s, seed: 18446744073709551615}\n"
	for _, tt := range []struct {
		name string
		args []string
		err  string
	}{
		{"not enabled", []string{"--faults", file(good)}, "faults are disabled; say --enable-faults (STREAMD_ENABLE_FAULTS=true) as well, or remove the rules"},
		{"no such file", []string{"--enable-faults", "--faults", "none.yaml"}, "cannot read the file of --faults: open none.yaml"},
		{"no YAML", []string{"--enable-faults", "--faults", file("- kind: [")}, "is not YAML"},
		{"a key that is none", []string{"--enable-faults", "--faults", file("- {1: 2}")}, "is no list of rules"},
		{"no list", []string{"--enable-faults", "--faults", file("cut")}, "the rules are no list; write one such as"},
		{"no such kind", []string{"--enable-faults", "--faults", file("- kind: cut\n- kind: crash\n")}, `faults.yaml: faults: rule 2: kind "crash" is unknown; write one of`},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append(tt.args, "--memory"), noEnv, &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("%s: code %d, %s", tt.name, code, &errs)
		}
	}
	config := filepath.Join(t.TempDir(), "streamd.yaml")
	if err := os.WriteFile(config, []byte("enable-faults: true\nfaults: "+file("# none\n"+good)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startCommand(t, noEnv, "--memory", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config", config)
	metrics := p.wait(`metrics: (http://\S+/metrics)`)
	resp, err := http.Get(metrics) //nolint:noctx // of a test that ends
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if want := `streamd_faults_injected_total{kind="throttle",rule="fault-1"} 0`; err != nil || !strings.Contains(string(body), want) {
		t.Errorf("no %s in the metrics, %v", want, err)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if readFile, err := readFaults(file("# nothing\n")); err != nil || readFile != nil {
		t.Errorf("a file without rules: %v, %v", readFile, err)
	}
}
