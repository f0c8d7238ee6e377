package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysFile(t *testing.T) {
	file := func(mode os.FileMode, text string) string {
		name := filepath.Join(t.TempDir(), "keys.yaml")
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct{ name, file, err string }{
		{"no file", "/none/keys.yaml", "of the form"},
		{"no YAML", file(0o600, "secret: s3cr3t: x"), "of the form"},
		{"nothing in it", file(0o600, "keys: []"), "of the form"},
		{"a word that is none", file(0o600, "keys: [{id: a, secret: s3cr3t, alow: []}]"), "of the form"},
		{"no rules", file(0o600, "keys: [{id: a, secret: s3cr3t, allow: []}]"), "the list allow of key a is empty"},
		{"no secret", file(0o600, "keys: [{id: a}]"), "key a has no secret"},
		{"an operation without service", file(0o600, "keys: [{id: a, secret: s3cr3t, allow: [{operations: [PutRecord]}]}]"), "write kinesis:PutRecord"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"--memory", "--listen", "127.0.0.1:0", "--admin", "off", "--auth", "verify", "--auth-keys", tt.file}, noEnv, &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("%s: code %d, %s", tt.name, code, &errs)
		}
		if strings.Contains(errs.String(), "s3cr3t") {
			t.Errorf("%s: the secret is shown: %s", tt.name, &errs)
		}
	}
	writable := file(0o600, "keys: [{id: a, secret: b}]")
	if err := os.Chmod(writable, 0o666); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--memory", "--auth", "verify", "--auth-keys", writable}, noEnv, &out, &errs); code == 0 || !strings.Contains(errs.String(), "chmod 600") {
		t.Errorf("a file that others may write: code %d, %s", code, &errs)
	}
	open := file(0o644, "keys: [{id: a, secret: b}]")
	if err := os.Chmod(open, 0o644); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	p := startCommand(t, noEnv, "--memory", "--listen", "127.0.0.1:0", "--admin", "off", "--auth", "verify", "--auth-keys", open)
	p.wait(`AWS_ENDPOINT_URL_KINESIS=(\S+)`)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if strings.Contains(p.stdout.String(), "AWS_ACCESS_KEY_ID=test") {
		t.Errorf("names credentials that it does not take: %s", p.stdout)
	}
	if !strings.Contains(p.stderr.String(), "chmod 600") {
		t.Errorf("no warning of a file that others may read: %s", p.stderr)
	}
}
