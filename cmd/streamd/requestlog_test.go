package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRequestLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requests")
	for _, tt := range []struct {
		name, to string
		want     int // lines
	}{
		{"off", "off", 0}, {"stderr", "stderr", 1}, {"a file", file, 1}, {"the same file again", file, 2},
	} {
		p := startCommand(t, noEnv, "--memory", "--listen", "127.0.0.1:0", "--admin", "off", "--request-log", tt.to)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.wait(`AWS_ENDPOINT_URL_KINESIS=(\S+)`), strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "Kinesis_20131202.ListStreams")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		if code := p.end(); code != 0 {
			t.Fatalf("%s: exit code %d\n%s", tt.name, code, p.stderr)
		}
		log := p.stderr.String()
		if tt.to == file {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			log = string(b)
		}
		if n := strings.Count(log, `"msg":"request","id":"`); n != tt.want {
			t.Errorf("%s: %d lines, want %d:\n%s", tt.name, n, tt.want, log)
		}
	}
	p := startCommand(t, noEnv, "--memory", "--request-log", filepath.Join(file, "below"))
	if code := <-p.code; code == 0 || !strings.Contains(p.stderr.String(), "--request-log") {
		t.Errorf("a file that cannot be: exit code %d, %s", code, p.stderr)
	}
}
