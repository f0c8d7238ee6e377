package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/streamkit/streamkit/streamd"
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
	for _, tt := range []struct{ name, text, err string }{
		{"streams that are no list", "streams: {a: 1}", "limits: streams must be a list; write - name: orders"},
		{"a stream that is no map", "streams: [orders]", `"orders" is not a map of limits; write write-records: 100`},
		{"a stream without a name", "streams: [{write-records: 1}]", "an item of streams has no name"},
		{"a stream without limits", "streams: [{name: orders}]", "stream orders has no limits; write profile: off"},
		{"a stream with two names", "streams: [{name: 'a;b', profile: off}]", `"a;b" is not the name of a stream`},
		{"a bad rate of a stream", "streams: [{name: orders, write-records: many}]", `orders: "many" is not a number a second`},
		{"a quota of a stream", "streams: [{name: orders, shards: 3}]", "orders: shards is of the whole account"},
		{"a list for a rate", "write-records: [1, 2]", "write-records must be a value; write write-records: 100"},
		{"a profile that is none", "profile: gcp", `"gcp" is none of off, aws, aws:N`},
		{"a bad number", "shards: many", `"many" is not a whole number; write shards=100`},
	} {
		var out, errs bytes.Buffer
		name := file("limits: {" + tt.text + "}\n")
		code := run(t.Context(), []string{"--config", name, "--memory"}, noEnv, &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("%s: code %d, %s", tt.name, code, &errs)
		}
	}
	p := startCommand(t, noEnv, "--memory", "--listen", "127.0.0.1:0", "--admin", "off", "--config", file("limits:\n  write-records: 10\n  read-calls: 0.5\n  profile: aws:2\n  shards: 10\n  streams:\n    - name: orders-*\n      write-records: 3\n    - {name: logs, profile: off}\n"))
	p.wait(`AWS_ENDPOINT_URL_KINESIS=(\S+)`)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// TestLimitsOfTheFile compares the file's form with the flag's.
func TestLimitsOfTheFile(t *testing.T) {
	var node yaml.Node
	text := "write-records: 10\nprofile: aws:2\nshards: 10\nstreams:\n- name: orders-*\n  write-records: 3\n  profile: aws\n- {name: logs, profile: off}\n"
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	got, err := limitsOf(node.Content[0])
	if want := "aws:2,write-records=10,shards=10;orders-*:aws,write-records=3;logs:off"; err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if _, err := streamd.ParseLimits(got); err != nil {
		t.Error(err)
	}
}
