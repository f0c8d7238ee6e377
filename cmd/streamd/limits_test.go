package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLimitsFlag(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "streamd.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct {
		name string
		args []string
		err  string
	}{
		{"no such profile", []string{"--limits", "gcp"}, `limits "gcp": "gcp" is none of off, aws, aws:N`},
		{"a factor of zero", []string{"--limits", "aws:0"}, "is not a factor from 0.001 to 100"},
		{"a rate that is none, in the file", []string{"--config", file("limits:\n  read-calls: many\n")}, `"many" is not a number a second; write read-calls=100`},
		{"a rate out of range, in the file", []string{"--config", file("limits: {read-calls: 5, write-bytes: -3}\n")}, "write-bytes -3 is outside"},
		{"a map for another flag", []string{"--config", file("listen:\n  a: b\n")}, "listen must be a value or a list"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append(tt.args, "--memory"), noEnv, &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("%s: code %d, %s", tt.name, code, &errs)
		}
	}
	p := startCommand(t, noEnv, "--memory", "--listen", "127.0.0.1:0", "--admin", "off", "--config", file("limits:\n  write-records: 10\n  read-calls: 0.5\n"))
	p.wait(`AWS_ENDPOINT_URL_KINESIS=(\S+)`)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
