package agent_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/agent"
)

func loadYAML(t *testing.T, text string) (*agent.Config, []agent.Warning, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return agent.LoadConfig(path)
}

// One model in two languages: nested or flat, with anchors, and with its own
// default for aggregation.
func TestLoadYAML(t *testing.T) {
	want, _, err := load(t, `{"kinesis.endpoint": "http://127.0.0.1:4567", "kinesis.region": "eu-west-1", "cloudwatch.emitMetrics": true,
		"log.statusReportingPeriodSeconds": 60, "flows": [
		{"filePattern": "/l/*.log", "kinesisStream": "s", "maxBufferAgeMillis": 1000, "skipHeaderLines": "2", "aggregation": true,
		 "multiLineStartPattern": "^\\[", "exclude": ["b*"]},
		{"filePattern": "/m/*.log", "kinesisStream": "5", "maxBufferAgeMillis": 1000, "aggregation": false}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, text string }{
		{"flat", `
kinesis.endpoint: http://127.0.0.1:4567
kinesis.region: eu-west-1
cloudwatch.emitMetrics: true
log.statusReportingPeriodSeconds: 60
flows:
  - filePattern: /l/*.log
    kinesisStream: s
    maxBufferAgeMillis: 1000
    skipHeaderLines: "2"
    multiLineStartPattern: ^\[
    exclude: [b*]
  - {filePattern: /m/*.log, kinesisStream: 5, maxBufferAgeMillis: 1000, aggregation: no}
`},
		{"nested", `
kinesis: {endpoint: "http://127.0.0.1:4567", region: eu-west-1}
cloudwatch: {emitMetrics: yes}
log:
  statusReportingPeriodSeconds: 0x3c
flows:
  - &first
    filePattern: /l/*.log
    kinesisStream: s
    maxBufferAgeMillis: 1000
    skipHeaderLines: 2
    multiLineStartPattern: '^\['
    exclude: ["b*"]
  - filePattern: /m/*.log
    kinesisStream: "5"
    aggregation: false
    <<: {maxBufferAgeMillis: 1000}
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, warnings, err := loadYAML(t, tt.text)
			if err != nil || len(warnings) > 0 {
				t.Fatal(err, warnings)
			}
			for i := range got.Flows {
				got.Flows[i], want.Flows[i] = agent.Bare(got.Flows[i]), agent.Bare(want.Flows[i])
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("configuration\n%+v, want\n%+v", got, want)
			}
		})
	}
}

func TestLoadYAMLErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "# nothing\n", "agent.yaml:1:1: no YAML: the file is empty"},
		{"tab", "flows:\n\t- a\n", "agent.yaml:2:1: no YAML: found character that cannot start any token; indent with blanks, not tabs"},
		{"two documents", "flows: []\n---\nflows: []\n", "more than one document"},
		{"no mapping", "- a\n", "must hold an object"},
		{"wrong type", "flows:\n  - filePattern: /l/*\n    kinesisStream: s\n    maxOpenFiles: many\n", "agent.yaml:4: flows[0].maxOpenFiles: must be a whole number"},
		{"given twice", "kinesis.region: a\nkinesis: {region: b}\nflows: []\n", "agent.yaml:2: kinesis.region: given twice, first in line 1"},
		{"merge of a text", "flows:\n  - <<: x\n", "<< must name a mapping"},
		{"too much", bomb(), "aliases expand to too much"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := loadYAML(t, tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// bomb is a small text whose aliases stand for a billion nodes.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	names := "0123456789"
	for i := 1; i < 9; i++ {
		prev := "*a" + names[i-1:i]
		b.WriteString("a" + names[i:i+1] + ": &a" + names[i:i+1] + " [" + strings.TrimSuffix(strings.Repeat(prev+",", 10), ",") + "]\n")
	}
	return b.String()
}

func convert(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := agent.Convert(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestConvert(t *testing.T) {
	const fromJSON = `{ // a comment
  "kinesis.region": "eu-west-1", "unknown": null,
  "flows": [{"filePattern": "/l/*.log", "kinesisStream": "yes", "maxBufferAgeMillis": "5000", "skipHeaderLines": 1,
    "dataProcessingOptions": [{"optionName": "ADDMETADATA", "metadata": {"a: b": [1.50, "1.50", "", "~", "é\n"]}, "timestamp": "true"}]},
    {"filePattern": "/l/*.log", "deliveryStream": "d"}]
}`
	const yamlText = `kinesis.region: eu-west-1
unknown: null
flows:
  - filePattern: "/l/*.log"
    kinesisStream: "yes"
    maxBufferAgeMillis: "5000"
    skipHeaderLines: 1
    dataProcessingOptions:
      - optionName: ADDMETADATA
        metadata:
          "a: b":
            - 1.50
            - "1.50"
            - ""
            - "~"
            - "é\n"
        timestamp: "true"
    aggregation: false
  - filePattern: "/l/*.log"
    deliveryStream: d
`
	if got := convert(t, "agent.json", fromJSON); got != yamlText {
		t.Errorf("YAML\n%s, want\n%s", got, yamlText)
	}
	const jsonText = `{
  "kinesis.region": "eu-west-1",
  "flows": [
    {
      "filePattern": "/l/*.log",
      "kinesisStream": "s",
      "exclude": [],
      "aggregation": true
    }
  ]
}
`
	if got := convert(t, "agent.yml", "kinesis: {region: eu-west-1}\nflows:\n- {filePattern: /l/*.log, kinesisStream: s, exclude: []}\n"); got != jsonText {
		t.Errorf("JSON\n%s, want\n%s", got, jsonText)
	}
	// And back: nothing changes any more.
	if got := convert(t, "agent.json", convert(t, "agent.yaml", yamlText)); got != yamlText {
		t.Errorf("there and back\n%s, want\n%s", got, yamlText)
	}
}

// FuzzConvert checks that a configuration means the same in both languages.
func FuzzConvert(f *testing.F) {
	f.Add(`{"flows": [{"filePattern": "/l/*", "kinesisStream": "s", "aggregation": "y"}], "a": {"b": ["<<", "&a", "*b", "no", 1e3, -0]}}`)
	f.Add("{}")
	f.Add("{\"flows\": [{\"filePattern\": \"\\u0085\\u2028\\t\", \"kinesisStream\": \"0o7\"}], \"\": \"=\"}")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "agent.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := agent.Convert(path)
		if err != nil {
			return
		}
		again := convert(t, "agent.json", convert(t, "agent.yaml", string(first)))
		if again != string(first) {
			t.Errorf("there and back\n%q, want\n%q", again, first)
		}
	})
}

// FuzzLoadYAML checks that no text makes the loader panic.
func FuzzLoadYAML(f *testing.F) {
	f.Add("flows:\n- &a {filePattern: /l/*, kinesisStream: s}\n- <<: *a\n  id: x\n")
	f.Add("a: !!binary x\nb: 2001-01-01\n? [c]\n: .inf\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, _, err := loadYAML(t, text)
		if err == nil && len(cfg.Flows) == 0 {
			t.Error("accepted without flows")
		}
	})
}
