package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs the command to its end.
func command(t *testing.T, stdin io.Reader, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	if stdin != nil {
		old := os.Stdin
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		os.Stdin = r
		defer func() { os.Stdin = old }()
		go func() {
			_, _ = io.Copy(w, stdin) // a reader that has seen enough
			_ = w.Close()
		}()
	}
	code = run(t.Context(), args, noEnv, &out, &errs)
	return out.String(), errs.String(), code
}

// api sends a request of the Kinesis API.
func api(t *testing.T, endpoint, op, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", op, resp.Status, b, err)
	}
	return string(b)
}

func startServer(t *testing.T, args ...string) (p *process, endpoint, admin string) {
	t.Helper()
	p = startCommand(t, noEnv, append([]string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--tls", "off"}, args...)...)
	return p, p.wait(`AWS_ENDPOINT_URL_KINESIS=(\S+)`), p.wait(`http://(\S+)/healthz`)
}

// TestRecovery takes a data directory through all that can happen to it.
func TestRecovery(t *testing.T) {
	tmp := t.TempDir()
	dir, copied := filepath.Join(tmp, "data"), filepath.Join(tmp, "copy")
	p, endpoint, admin := startServer(t, "--data", dir, "--create", "orders:2")
	const records = `{"StreamName":"orders","Records":[{"PartitionKey":"one","Data":"Zmlyc3Q="},{"PartitionKey":"two","Data":"c2Vjb25k"}]}`
	api(t, endpoint, "PutRecords", records)
	iterator := api(t, endpoint, "GetShardIterator", `{"StreamName":"orders","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)

	for _, args := range [][]string{{"check"}, {"repair", "--apply"}, {"dump", "records"}} {
		_, stderr, code := command(t, nil, append(args, "--data", dir)...)
		if code != 1 || !strings.Contains(stderr, "in use by a server") || !strings.Contains(stderr, "streamd snapshot") {
			t.Errorf("%v of a directory in use: %d %s", args, code, stderr)
		}
	}
	file, packed := filepath.Join(tmp, "s.tar"), filepath.Join(tmp, "s.tar.zst")
	for _, out := range []string{file, packed} {
		if _, stderr, code := command(t, nil, "snapshot", "--admin", admin, "--out", out); code != 0 {
			t.Fatalf("snapshot: %d %s", code, stderr)
		}
	}
	stream, _, code := command(t, nil, "snapshot", "--admin", admin, "--out", "-")
	if code != 0 || !strings.Contains(stream, "streamd-snapshot") {
		t.Errorf("snapshot to standard output: %d, %d bytes", code, len(stream))
	}
	api(t, endpoint, "PutRecords", records) // is not in the copy
	if code := p.end(); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}

	stdout, stderr, code := command(t, nil, "check", "--data", dir)
	if code != 0 || !strings.Contains(stdout, "1 streams with 2 open shards, 4 records") || !strings.HasSuffix(stdout, "\nclean\n") {
		t.Errorf("check: %d %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = command(t, nil, "dump", "records", "--stream", "orders", "--data", dir)
	if code != 0 || strings.Count(stdout, "\n") != 4 || !strings.Contains(stdout, `"data":"Zmlyc3Q="`) {
		t.Errorf("dump: %d %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = command(t, nil, "repair", "--data", dir)
	if code != 0 || stdout != "there is nothing to repair\n" {
		t.Errorf("repair: %d %s%s", code, stdout, stderr)
	}

	for i, in := range []string{file, packed, "-"} {
		to := filepath.Join(copied, string(rune('a'+i)))
		stdout, stderr, code = command(t, strings.NewReader(stream), "restore", "--in", in, "--data", to)
		if code != 0 || !strings.Contains(stdout, "2 records") {
			t.Fatalf("restore of %s: %d %s%s", in, code, stdout, stderr)
		}
	}
	if _, stderr, code := command(t, nil, "restore", "--in", file, "--data", dir); code != 1 || !strings.Contains(stderr, "is not empty") {
		t.Errorf("restore over a directory: %d %s", code, stderr)
	}
	p, endpoint, _ = startServer(t, "--data", filepath.Join(copied, "a"))
	if got := api(t, endpoint, "GetRecords", iterator); !strings.Contains(got, `"Records":[`) {
		t.Errorf("an iterator of the server before: %s", got)
	}
	if code := p.end(); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}

	// Damage: the server refuses with its own exit code, and the commands help.
	runs, err := filepath.Glob(filepath.Join(dir, "runs", "*.run"))
	if err != nil || len(runs) == 0 {
		t.Fatalf("runs: %v, %v", runs, err)
	}
	if err := os.Truncate(runs[0], 100); err != nil {
		t.Fatal(err)
	}
	p = startCommand(t, noEnv, "--data", dir, "--listen", "127.0.0.1:0", "--admin", "off")
	if code := <-p.code; code != exitCorrupt || !strings.Contains(p.stderr.String(), "streamd check") || !strings.Contains(p.stderr.String(), runs[0]) {
		t.Errorf("a server on a damaged directory: %d %s", code, p.stderr)
	}
	stdout, stderr, code = command(t, nil, "check", "--data", dir)
	if code != exitCorrupt || !strings.Contains(stdout, "damage "+runs[0]+" at byte ") || !strings.Contains(stderr, "streamd repair") {
		t.Errorf("check: %d %s%s", code, stdout, stderr)
	}
	stdout, _, code = command(t, nil, "check", "--json", "--data", dir)
	var report struct {
		Clean    bool
		Findings []struct{ File string }
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitCorrupt || report.Clean || len(report.Findings) == 0 || report.Findings[0].File != runs[0] {
		t.Errorf("check --json: %d %s %v", code, stdout, err)
	}
	if _, stderr, code = command(t, nil, "dump", "records", "--data", dir); code != 0 || !strings.Contains(stderr, runs[0]) {
		t.Errorf("dump: %d %s", code, stderr)
	}
	stdout, stderr, code = command(t, nil, "repair", "--data", dir)
	if code != 0 || !strings.Contains(stdout, "lost: ") || !strings.HasSuffix(stdout, "say --apply to do it\n") {
		t.Errorf("repair: %d %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = command(t, nil, "repair", "--apply", "--data", dir)
	if code != 0 || !strings.Contains(stdout, filepath.Join(dir, "lost")) {
		t.Errorf("repair --apply: %d %s%s", code, stdout, stderr)
	}
	if stdout, stderr, code = command(t, nil, "check", "--data", dir); code != 0 {
		t.Errorf("check after the repair: %d %s%s", code, stdout, stderr)
	}
	p, _, _ = startServer(t, "--data", dir)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// A disk that fails under a running server ends it, with a code of its own.
func TestFailedDiskHasItsExitCode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p, endpoint, admin := startServer(t, "--data", dir, "--create", "orders")
	api(t, endpoint, "PutRecord", `{"StreamName":"orders","PartitionKey":"one","Data":"Zmlyc3Q="}`)
	if err := os.RemoveAll(filepath.Join(dir, "runs")); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := command(t, nil, "snapshot", "--admin", admin, "--out", filepath.Join(t.TempDir(), "s.tar")); code != 1 || !strings.Contains(stderr, "no checkpoint can be written") {
		t.Errorf("snapshot: %d %s", code, stderr)
	}
	if code := <-p.code; code != exitFailed || !strings.Contains(p.stderr.String(), "once the disk is well") {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

func TestSnapshotRefuses(t *testing.T) {
	p, _, admin := startServer(t, "--memory")
	tmp := t.TempDir()
	out := filepath.Join(tmp, "s.tar")
	_, stderr, code := command(t, nil, "snapshot", "--admin", admin, "--out", out)
	if code != 1 || !strings.Contains(stderr, "keeps everything in memory") {
		t.Errorf("a server in memory: %d %s", code, stderr)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+admin+"/snapshot", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a web page's own name: %s", resp.Status)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if _, stderr, code = command(t, nil, "snapshot", "--admin", admin, "--out", out); code != 1 || !strings.Contains(stderr, "is streamd running") {
		t.Errorf("a stopped server: %d %s", code, stderr)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"snapshot"}, "--out FILE"},
		{[]string{"restore", "--data", filepath.Join(tmp, "d")}, "--in FILE"},
		{[]string{"restore", "--data", filepath.Join(tmp, "d"), "--in", filepath.Join(tmp, "none")}, "cannot read the snapshot"},
		{[]string{"dump", "--data", tmp}, "say what to dump"},
		{[]string{"dump", "journal", "--stream", "s", "--data", tmp}, "choose records"},
		{[]string{"check", "--data", tmp}, "no data directory of streamd"},
		{[]string{"repair", "--data", filepath.Join(tmp, "none")}, "there is no data directory"},
	} {
		if _, stderr, code := command(t, nil, tt.args...); code != 1 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: %d %s", tt.args, code, stderr)
		}
	}
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) != 0 {
		t.Errorf("something is left: %v %v", entries, err)
	}
}
