package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/agent"
)

// TestCorpus reads configurations of the shapes that users of the official agent have
// and ask about. What it takes is read as it is, with a warning for each key without
// effect; what is wrong is an error that names the key or the place. Lines are those of
// the file.
func TestCorpus(t *testing.T) {
	const dir = "testdata/agentjson"
	tests := map[string]struct {
		flows    int
		warnings []string // how each begins, behind the file's name
		errors   []string
	}{
		"installed":   {flows: 2},
		"apache":      {flows: 3},
		"syslog":      {flows: 2},
		"own-pattern": {flows: 1},
		"multiline":   {flows: 2},
		"role":        {flows: 1},
		"ec2":         {flows: 1},
		"bare-hosts":  {flows: 2, warnings: []string{"2: cloudwatch.endpoint: no effect"}},
		"comments":    {flows: 1, warnings: []string{"9: log.file: no effect: the log goes to the standard error output"}},
		"prefix-pattern": {flows: 1, warnings: []string{
			"7: flows[0].dataProcessingOptions[0].matchPattern: must match the whole line",
		}},
		"csv":            {flows: 3, warnings: []string{`24: flows[2].dataProcessingOptions[0].delimiter: "|" is a regular expression`}},
		"firehose-lines": {flows: 1, warnings: []string{"8: flows[0].partitionKeyOption: no effect: deliveryStream"}},
		"nulls": {flows: 1, warnings: []string{
			"2: kinesis.endpoint: null has no effect", "4: flows[0].multiLineStartPattern: null has no effect",
		}},
		"tuned": {flows: 1, warnings: []string{
			"4: checkpoints.queryTimeoutSeconds: no effect", "5: checkpoints.connectionTimeoutSeconds: no effect",
			"8: sendingThreadsKeepAliveMillis: no effect", "9: sendingThreadsMaxQueueSize: no effect",
			"12: connectionTTLMillis: no effect", "13: useTcpKeepAlive: no effect", "14: useHttpGzip: no effect",
			"16: cloudwatch.metricsQueueSize: no effect", "17: log.emitMetrics: no effect", "18: log.emitInternalMetrics: no effect",
			"30: flows[0].publishQueueCapacity: no effect", "31: flows[0].waitOnFullPublishQueueMillis: no effect",
			"32: flows[0].waitOnEmptyPublishQueueMillis: no effect", "33: flows[0].log.emitInternalMetrics: no effect",
			"1: checkpointFile: /var/run/ is lost with a reboot",
		}},
		"misplaced": {flows: 2, warnings: []string{
			"3: initialPosition: no effect here; it belongs into a flow", "8: flows[0].log.level: no effect here; it belongs to the top level",
			"9: flows[0].optionName: no effect here; it belongs into an entry of dataProcessingOptions",
			"10: flows[0].customFieldNames: no effect here", "11: flows[0].delimiter: no effect here",
			`12: flows[0].initialPostion: unknown key, without effect; did you mean "initialPosition"?`,
			"18: flows[1].dataProcessingOptions[0].maxBufferAgeMillis: no effect here; it belongs into the flow",
			"18: flows[1].dataProcessingOptions[0].initialPosition: no effect here; it belongs into the flow",
		}},

		"bad-object-for-list": {errors: []string{"6: flows[0].dataProcessingOptions: must be a list; put the object into brackets"}},
		"bad-missing-comma":   {errors: []string{"6:7: no JSON: a comma is missing before this line's key or value"}},
		"bad-trailing-comma":  {errors: []string{"3:64: no JSON: a comma stands before a closing brace or bracket; remove it"}},
		"bad-escape":          {errors: []string{`7:89: no JSON: "\\S" is none of the escapes of JSON; write \\ for a backslash`}},
		"bad-quotes":          {errors: []string{`2:3: no JSON: a typographic quotation mark; texts stand in straight ones, "`}},
		"bad-open-quote":      {errors: []string{"4:25: no JSON: this text goes on to the end of the line; its closing quote is missing"}},
		"bad-no-stream": {errors: []string{"3: flows[0].kinesisStream: missing; name the stream that the records go to"}, warnings: []string{
			"3: flows[0].streamName: unknown key, without effect",
		}},
		"bad-no-flows": {errors: []string{`1: no flows; add "flows"`}, warnings: []string{
			"3: filePattern: no effect here; it belongs into a flow", "4: kinesisStream: no effect here; it belongs into a flow",
		}},
		"bad-values": {errors: []string{
			"2: cloudwatch.emitMetrics: must be true or false", "3: maxConnections: must be a whole number",
			`8: flows[0].partitionKeyOption: "random" is none of RANDOM, DETERMINISTIC`,
			`9: flows[0].initialPosition: "START" is none of START_OF_FILE, END_OF_FILE`,
			"11: flows[0].maxBufferAgeMillis: must be a whole number", "12: flows[0].skipHeaderLines: must be a whole number",
			`6: flows[0].filePattern: "/var/log/a/" names a directory`, "10: flows[0].maxBufferSizeRecords: 501 is outside [1, 500]",
		}},
		"bad-java": {errors: []string{
			"2: userDefinedCredentialsProvider.classname: Java classes cannot be loaded; put credential_process",
			"3: userDefinedCredentialsProvider.location: Java classes cannot be loaded",
			"8: flows[0].dataProcessingOptions[0].optionName: USINGPLUGGIN: Java classes cannot be loaded; remove the option",
			"13: flows[1].multiLineStartPattern: (?<= at character 1 of the pattern: lookaround does not exist here",
		}, warnings: []string{"8: flows[0].dataProcessingOptions[0].className: no effect here"}},
		"bad-options": {errors: []string{
			`7: flows[0].dataProcessingOptions[0].logFormat: "NGINX" is none of`,
			"8: flows[0].dataProcessingOptions[1].customFieldNames: 3 names for the 5 fields of SYSLOG",
			"9: flows[0].dataProcessingOptions[2].customFieldNames: missing; a matchPattern needs a name for each of its groups",
			"10: flows[0].dataProcessingOptions[3].customFieldNames: 1 names for 2 groups",
			"11: flows[0].dataProcessingOptions[4].customFieldNames: missing; name the columns",
			`12: flows[0].dataProcessingOptions[5].parseOptions: "TRIM" is none of NO_TRIM, ESCAPE_NEW_LINE`,
			`13: flows[0].dataProcessingOptions[6].optionName: "CSV2JSON" is none of`,
			"14: flows[0].dataProcessingOptions[7].optionName: missing; it is one of",
		}},
		"bad-twice": {errors: []string{
			"3: kinesis.region: given twice, first in line 2; remove one", "6: flows[1] has the stream and the file pattern of the flow in",
		}},
		"bad-glob-directory": {errors: []string{
			`3: flows[0].filePattern: "*.log" has no directory`, `4: flows[1].filePattern: "d:\\logs\\web_*.log" has no directory`,
			"5: flows[2].filePattern: a bracket is not closed",
		}},
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != len(tests) {
		t.Errorf("%d files, %d tests: %v", len(files), len(tests), err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name+".json")
			cfg, warnings, err := agent.LoadConfig(path)
			var texts []string
			for _, w := range warnings {
				texts = append(texts, w.String())
			}
			begins(t, "warnings", path, texts, tt.warnings)
			if tt.errors != nil {
				if err == nil {
					t.Fatal("no error")
				}
				begins(t, "errors", path, strings.Split(err.Error(), "\n"), tt.errors)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(cfg.Flows) != tt.flows {
				t.Errorf("%d flows, want %d", len(cfg.Flows), tt.flows)
			}
			sameInYAML(t, path, cfg)
		})
	}
}

// begins fails unless each text, behind its file's name, begins as it should.
func begins(t *testing.T, what, path string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d %s, want %d: %q", len(got), what, len(want), got)
		return
	}
	for i, text := range got {
		if !strings.HasPrefix(text, path+":"+want[i]) {
			t.Errorf("%s: %q, want it to begin with %q", what, text, path+":"+want[i])
		}
	}
}

// sameInYAML fails unless a configuration, converted to YAML, means the same.
func sameInYAML(t *testing.T, path string, cfg *agent.Config) {
	t.Helper()
	text, err := agent.Convert(path)
	if err != nil {
		t.Fatal(err)
	}
	converted := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(converted, text, 0o600); err != nil {
		t.Fatal(err)
	}
	again, _, err := agent.LoadConfig(converted)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if a, b := withoutFunctions(cfg), withoutFunctions(again); !reflect.DeepEqual(a, b) {
		t.Errorf("in YAML it is\n%+v, want\n%+v", b, a)
	}
}

// withoutFunctions is a configuration without what cannot be compared, or means nothing.
func withoutFunctions(cfg *agent.Config) agent.Config {
	c := *cfg
	c.Flows = nil
	for _, f := range cfg.Flows {
		f = agent.Bare(f)
		if f.Firehose() {
			f.Aggregation = false // has no effect, and another default
		}
		if f.DataProcessing != nil { // options hold functions
			f.ID = fmt.Sprintf("%s and %d options", f.ID, len(f.DataProcessing.Options))
			f.DataProcessing = nil
		}
		c.Flows = append(c.Flows, f)
	}
	return c
}
