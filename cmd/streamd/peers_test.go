package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestInitialStreams(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"none", nil, ""},
		{"all given", map[string]string{"INITIALIZE_STREAMS": "a:1:eu-west-1,b:2:us-west-2", "AWS_REGION": "us-east-2"}, "a:1:eu-west-1,b:2:us-west-2"},
		{"defaults", map[string]string{"INITIALIZE_STREAMS": "a, b:2 ,c::us-west-2,"}, "a:4,b:2,c:4:us-west-2"},
		{"region", map[string]string{"INITIALIZE_STREAMS": "a,b:2,c::us-west-2", "AWS_REGION": "eu-west-1"}, "a:4:eu-west-1,b:2:eu-west-1,c:4:us-west-2"},
		{"of LocalStack", map[string]string{"KINESIS_INITIALIZE_STREAMS": "a:2"}, "a:2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := initialStreams(envOf(tt.env)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestFillPeers(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want string // data, memory, log level
	}{
		{name: "none", want: `"" false info`},
		{name: "kept", env: map[string]string{"SHOULD_PERSIST_DATA": "true", "PERSIST_PATH": "/d"}, want: `"/d" false info`},
		{name: "not kept", env: map[string]string{"SHOULD_PERSIST_DATA": "false", "PERSIST_PATH": "/d"}, want: `"" true info`},
		{name: "path alone", env: map[string]string{"PERSIST_PATH": "/d"}, want: `"" false info`},
		{name: "flag wins", env: map[string]string{"SHOULD_PERSIST_DATA": "true", "PERSIST_PATH": "/d"}, args: []string{"--memory"}, want: `"" true info`},
		{name: "our variable wins", env: map[string]string{"SHOULD_PERSIST_DATA": "false", "STREAMD_DATA": "/ours", "LOG_LEVEL": "ERROR", "STREAMD_LOG_LEVEL": "warn"}, want: `"/ours" false warn`},
		{name: "level", env: map[string]string{"LOG_LEVEL": "TRACE"}, want: `"" false debug`},
		{name: "level of something else", env: map[string]string{"LOG_LEVEL": "verbose"}, want: `"" false info`},
		{name: "not a boolean", env: map[string]string{"SHOULD_PERSIST_DATA": "perhaps"}, want: `"" false info`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := newRoot(envOf(tt.env))
			if err := cmd.ParseFlags(tt.args); err != nil {
				t.Fatal(err)
			}
			if err := fillFlags(cmd, "", envOf(tt.env)); err != nil {
				t.Fatal(err)
			}
			fillPeers(cmd, envOf(tt.env))
			f := cmd.Flags()
			got := fmt.Sprintf("%q %v %v", f.Lookup("data").Value, f.Lookup("memory").Value, f.Lookup("log-level").Value)
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestWarnPeers(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	warnPeers(log, envOf(map[string]string{"INITIALIZE_STREAMS": "a"}))
	if out.Len() > 0 {
		t.Errorf("warned of what is obeyed: %s", &out)
	}
	warnPeers(log, envOf(map[string]string{"SHARD_LIMIT": "50", "KINESIS_MOCK_PLAIN_PORT": "4568", "KINESIS_LATENCY": "5"}))
	for _, want := range []string{"SHARD_LIMIT", "instead.KINESIS_MOCK_PLAIN_PORT=", "--listen", "KINESIS_LATENCY=--faults"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s lacks %s", &out, want)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want one", n)
	}
}
