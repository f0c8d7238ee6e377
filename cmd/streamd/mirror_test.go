package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/cmd/internal/mirror"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// hideAWS takes the AWS settings of the machine from the test, and has
// AWS_ENDPOINT_URL lead nowhere.
func hideAWS(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // restores it afterwards
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
}

func TestMirrorCommand(t *testing.T) {
	hideAWS(t)
	from, to := streamdtest.New(t, streamdtest.Listen()), streamdtest.New(t, streamdtest.Listen())
	for _, name := range []string{"a", "b"} {
		from.CreateStream(t, name, 2)
		for i := range 10 {
			_, err := from.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String(name), PartitionKey: aws.String(fmt.Sprint(i)), Data: []byte("x")})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	to.CreateStream(t, "new", 1)
	base := []string{"mirror", "--from", from.Endpoint(), "--to", to.Endpoint() + "/", "--state", filepath.Join(t.TempDir(), "state")}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string // parts of what is printed
	}{
		{"no target", []string{"--stream", "a"}, 1, []string{"the target a does not exist", "--create"}},
		{"renamed", []string{"--stream", "a=new"}, 0, []string{"a to new: 10 records, 20 B in ", "twice"}},
		{"again", []string{"--stream", "a=new"}, 0, []string{"a to new: 0 records"}},
		{"to another target with the same state", []string{"--stream", "a", "--create"}, 1, []string{"it was mirrored to new so far"}},
		{"all", []string{"--all", "--create", "--same-shards", "--state", filepath.Join(t.TempDir(), "all"), "--start", "1h"}, 0, []string{"a: 10 records", "b: 10 records"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			code := run(t.Context(), append(base, tt.args...), noEnv, &out, &out)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, w := range tt.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("%q is not in\n%s", w, &out)
				}
			}
		})
	}
	if n := len(to.Records(t, "b")); n != 10 {
		t.Errorf("%d records in b", n)
	}
}

// TestMirrorFollows checks that a mirror ends well when it is asked to.
func TestMirrorFollows(t *testing.T) {
	hideAWS(t)
	from, to := streamdtest.New(t, streamdtest.Listen()), streamdtest.New(t, streamdtest.Listen())
	from.CreateStream(t, "a", 1)
	state := filepath.Join(t.TempDir(), "state")
	p := startCommand(t, noEnv, "mirror", "--from", from.Endpoint(), "--to", to.Endpoint(), "--all", "--create", "--follow", "--state", state)
	p.wait(`(progress is kept in)`)
	if _, err := from.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("a"), PartitionKey: aws.String("k"), Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	to.WaitForStream(t.Context(), t, "a", "ACTIVE")
	to.WaitForRecords(t.Context(), t, "a", 1)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.stderr)
	}
	b, err := os.ReadFile(state)
	if err != nil || !strings.Contains(string(b), `"sequence":"4`) {
		t.Errorf("the state has no progress: %v\n%s", err, b)
	}
}

// TestMirrorIncomplete checks the exit code of a mirror that came to its end
// without everything.
func TestMirrorIncomplete(t *testing.T) {
	err := fmt.Errorf("stream a: %w", mirror.ErrIncomplete)
	if code := exitCode(err); code != exitIncomplete {
		t.Errorf("exit code %d", code)
	}
	for want, err := range map[int]error{1: context.Canceled, exitCorrupt: streamd.ErrCorrupt, exitFailed: streamd.ErrStoreFailed} {
		if code := exitCode(err); code != want {
			t.Errorf("%v: exit code %d, want %d", err, code, want)
		}
	}
}

func TestMirrorFlags(t *testing.T) {
	hideAWS(t)
	local := []string{"--from", "http://127.0.0.1:1", "--to", "http://127.0.0.1:2"}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no streams", local, "stream all"},
		{"streams and all", append(local, "--all", "--stream", "a"), "stream all"},
		{"no target", []string{"--from", "aws", "--all"}, `"to"`},
		{"no region", []string{"--from", "aws", "--to", "http://127.0.0.1:2", "--all"}, "--from-region"},
		{"no region of the target", []string{"--to", "AWS", "--from", "http://127.0.0.1:2", "--all"}, "--to-region"},
		{"no URL", []string{"--from", "localhost", "--to", "http://127.0.0.1:2", "--all"}, "--from: endpoint"},
		{"no name", append(local, "--stream", "=b"), "neither NAME nor NAME=NEWNAME"},
		{"start in the future", append(local, "--all", "--start", "2999-01-01T00:00:00Z"), "--start"},
		{"the same shards alone", append(local, "--all", "--same-shards"), "say --create as well"},
		{"to itself", []string{"--from", "http://127.0.0.1:1", "--to", "http://127.0.0.1:1/", "--stream", "a"}, "copied to itself"},
		{"nobody there", append(local, "--all"), "list the streams of http://127.0.0.1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			code := run(t.Context(), append([]string{"mirror"}, tt.args...), noEnv, &out, &out)
			if code != 1 || !strings.Contains(out.String(), tt.want) {
				t.Errorf("exit code %d, want %q in\n%s", code, tt.want, &out)
			}
		})
	}
}

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{w: &out, live: true}
	s.set("")
	s.set("one")
	if _, err := s.Write([]byte("told\n")); err != nil {
		t.Fatal(err)
	}
	s.set("two")
	s.set("")
	if _, err := s.Write([]byte("end\n")); err != nil {
		t.Fatal(err)
	}
	const want = clearLine + "one" + clearLine + "told\none" + clearLine + "two" + clearLine + "end\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	now := total([]mirror.Stats{{Records: 10, Bytes: 3 << 20, Shards: 2, Lag: time.Minute}, {Records: 5, ThrottledReads: 1, Lag: time.Second}})
	if line := progressLine(now, mirror.Stats{Records: 5}); line != "15 records, 3.0 MiB; 10 records/s, 3.0 MiB/s; 2 shards, lag 1m0s, throttled" {
		t.Errorf("progress: %s", line)
	}
}

// TestMirrorDocs checks that the page names no flag that does not exist, and
// leaves none out.
func TestMirrorDocs(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "mirror.md"))
	if err != nil {
		t.Fatal(err)
	}
	flags := newMirror().Flags()
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`--([a-z][a-z-]*)`).FindAllStringSubmatch(string(b), -1) {
		named[m[1]] = true
	}
	for name := range named {
		if flags.Lookup(name) == nil {
			t.Errorf("--%s is no flag of streamd mirror", name)
		}
	}
	for _, name := range []string{"from", "to", "from-region", "to-region", "from-profile", "to-profile", "stream", "all", "start", "create", "same-shards", "loose-order", "follow", "state", "give-up"} {
		if !named[name] {
			t.Errorf("--%s is not on the page", name)
		}
	}
}
