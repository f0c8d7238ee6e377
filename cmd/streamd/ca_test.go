package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCA compares what ca prints for the authority in testdata with a file:
// what comes after the line of dashes goes to standard error.
func TestCA(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "ca.golden"))
	if err != nil {
		t.Fatal(err)
	}
	tlsDir := filepath.Join("testdata", "tls")
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
	}{
		{name: "directory", args: []string{"--tls-dir", tlsDir}},
		{name: "data", args: []string{"--data", "testdata"}},
		{name: "environment", env: map[string]string{"STREAMD_TLS_DIR": tlsDir, "STREAMD_DATA": "nowhere"}},
		{name: "data of the environment", env: map[string]string{"STREAMD_DATA": "testdata"}},
		{name: "flag before environment", env: map[string]string{"STREAMD_TLS_DIR": "nowhere"}, args: []string{"--data", "testdata"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), append([]string{"ca"}, tt.args...), envOf(tt.env), &out, &errs); code != 0 {
				t.Fatalf("exit code %d: %s", code, &errs)
			}
			if got := out.String() + "--------\n" + errs.String(); got != string(want) {
				t.Errorf("printed\n%s", got)
			}
		})
	}
}

func TestCAFailures(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"ca", "--data", t.TempDir()}, "start streamd once"},
		{[]string{"ca", "--data", "a", "--tls-dir", "b"}, "[data tls-dir]"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), tt.args, noEnv, &out, &errs)
		if code != 1 || !strings.Contains(errs.String(), tt.want) || strings.Count(errs.String(), "\n") != 1 || out.Len() != 0 {
			t.Errorf("%v: exit code %d, %s%s", tt.args, code, &out, &errs)
		}
	}
}

// TestHTTPS trusts what ca prints, as a user does.
func TestHTTPS(t *testing.T) {
	dir := t.TempDir()
	p := startCommand(t, noEnv, "--data", dir, "--listen", "127.0.0.1:0", "--admin", "off", "--san", "streamd.test")
	addr := p.wait(`https://(\S+)`)
	if !strings.Contains(p.stdout.String(), "streamd ca --data "+dir) {
		t.Errorf("the way to the certificate is not printed:\n%s", p.stdout)
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"ca", "--data", dir}, noEnv, &out, io.Discard); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(out.Bytes()) {
		t.Fatalf("ca printed %q", &out)
	}
	for _, name := range []string{"", "streamd.test"} { // that of the address, and another
		c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: name}}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		c.Close()
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.stderr)
	}
	if strings.Contains(p.stderr.String(), "PRIVATE") {
		t.Errorf("a key was logged:\n%s", p.stderr)
	}
}

func TestTLSFlags(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"memory", nil, "/ca.pem"},
		{"off", []string{"--tls", "off"}, ""},
		{"directory", []string{"--tls-dir", t.TempDir()}, "streamd ca --tls-dir "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := startCommand(t, noEnv, append([]string{"--memory", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, tt.args...)...)
			p.wait(`(metrics:)`)
			if out := p.stdout.String(); !strings.Contains(out, tt.want) || strings.Contains(out, "https://") == (tt.want == "") {
				t.Errorf("printed\n%s", out)
			}
			if code := p.end(); code != 0 {
				t.Errorf("exit code %d\n%s", code, p.stderr)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	code := run(t.Context(), []string{"--memory", "--listen", net.JoinHostPort("127.0.0.1", "0"), "--admin", "off", "--tls-cert", file, "--tls-key", file}, noEnv, io.Discard, &errs)
	if code != 1 || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), "cannot be used") {
		t.Errorf("exit code %d, %s", code, &errs)
	}
}
