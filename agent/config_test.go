package agent_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
)

func load(t *testing.T, text string) (*agent.Config, []agent.Warning, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return agent.LoadConfig(path)
}

// The configuration that the official agent is installed with, and one with every
// key that has an effect.
func TestLoadConfig(t *testing.T) {
	cfg, warnings, err := load(t, `{
  "cloudwatch.emitMetrics": true,
  "kinesis.endpoint": "",
  "flows": [
    {
      "filePattern": "/tmp/app.log*",
      "kinesisStream": "yourkinesisstream",
      "partitionKeyOption": "RANDOM"
    }
  ]
}`)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Flows) != 1 || cfg.Flows[0].KinesisStream != "yourkinesisstream" || cfg.Flows[0].PartitionKey != agent.KeyRandom ||
		cfg.Flows[0].StartOfFile || cfg.Service.KinesisEndpoint != "" {
		t.Errorf("configuration %+v", cfg)
	}
	if len(warnings) != 0 || !cfg.CloudWatch.Emit {
		t.Errorf("warnings %v, metrics for CloudWatch %v, want none, true", warnings, cfg.CloudWatch.Emit)
	}

	cfg, warnings, err = load(t, `{ // a comment
  "awsAccessKeyId": "AK", "awsSecretAccessKey": "SK", "kinesis.endpoint": "http://127.0.0.1:4567",
  "kinesis.region": "eu-west-1", "checkpointFile": "/var/lib/x/checkpoints", "checkpointTimeToLiveDays": "3",
  "assumeRoleARN": "arn:aws:iam::1:role/r", "assumeRoleExternalId": "x", "sts.endpoint": "http://sts", "firehose.endpoint": "http://fh",
  "maxSendingThreads": 7, "maxSendingThreadsPerCore": 3, "maxConnections": "20", "socketTimeoutMillis": 4000, "connectionTimeoutMillis": "300", "userAgent": "ua",
  "userAgentOverride": "uo", "cloudwatch.emitMetrics": "T", "cloudwatch.namespace": "N", "cloudwatch.tagInstance": 1,
  "cloudwatch.metricsBufferTimeMillis": 10000, "cloudwatch.metricsFile": "/m", "log.level": "debug",
  "shutdownTimeoutMillis": 5000, "log.statusReportingPeriodSeconds": 60, "maxMemoryBytes": 33554432, /* and
  another " */
  "flows": [{
    "filePattern": "/var/log/a//*.log", "kinesisStream": "s", "partitionKeyOption": "DETERMINISTIC", "partitionKey": "file",
    "initialPosition": "START_OF_FILE", "skipHeaderLines": "2", "maxBufferAgeMillis": 1000, "maxBufferSizeRecords": 100,
    "maxBufferSizeBytes": 100000, "truncatedRecordTerminator": "//\"x", "multiLineStartPattern": "^\\[",
    "aggregation": "yes", "include": ["a*"], "exclude": ["b*"], "minTimeBetweenFilePollsMillis": 20,
    "maxTimeBetweenFileTrackerRefreshMillis": 1000, "retryInitialBackoffMillis": 10, "retryMaxBackoffMillis": 1000,
    "maxRecordBytes": 2048, "rotateWaitSeconds": 1, "rotatedDirs": ["old"], "readRotatedGzip": "no", "ignoreOlderSeconds": 60,
    "closeDeletedAfterSeconds": -1, "multiLineFlushMillis": 10, "maxOpenFiles": 9,
    "ordering": "file", "onTruncateSearchSiblings": false, "drainOnShutdown": "n", "deleteAfterDelivered": "t", "recordTtlSeconds": 90, "protect": "hardlink", "protectDirectory": "/p", "protectMaxBytes": "5",
    "dataProcessingOptions": [{"optionName": "SINGLELINE", "parseOptions": ["NO_TRIM"]},
      {"optionName": "CSVTOJSON", "customFieldNames": ["a"], "delimiter": "\\t", "jsonFormat": "PRETTYPRINT"},
      {"optionName": "ADDMETADATA", "metadata": {"k": [1, "é", null, true]}, "timestamp": "true"}]
  }]
}`)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	f := agent.Bare(cfg.Flows[0])
	if !f.MultiLineStart.MatchString("[x\n") || f.MultiLineStart.MatchString(" [") || len(f.DataProcessing.Options) != 3 {
		t.Errorf("flow %+v", f)
	}
	f.MultiLineStart, f.DataProcessing = nil, nil
	want := agent.FlowConfig{
		FilePattern: "/var/log/a//*.log", KinesisStream: "s", PartitionKey: agent.KeyFile, StartOfFile: true, SkipHeaderLines: 2,
		MaxBufferAge: time.Second, MaxBufferSizeRecords: 100, MaxBufferSizeBytes: 100000, TruncatedRecordTerminator: `//"x`,
		Aggregation: true, Include: []string{"a*"}, Exclude: []string{"b*"}, PollInterval: 20 * time.Millisecond,
		ScanInterval: time.Second, RetryInitial: 10 * time.Millisecond, RetryMax: time.Second, MaxRecordBytes: 2048,
		RotatedDirs: []string{"old"}, SkipRotatedGzip: true, IgnoreOlder: time.Minute, CloseDeletedAfter: -1,
		RotateWait: time.Second, MultiLineFlush: 10 * time.Millisecond, MaxOpenFiles: 9,
		Ordering: agent.OrderingFile, SkipSiblings: true, SkipDrain: true, DeleteDelivered: true, RecordTTL: 90 * time.Second, Protect: "hardlink", ProtectDirectory: "/p", ProtectMaxBytes: 5,
	}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("flow\n%+v, want\n%+v", f, want)
	}
	cfg.Flows = nil
	if want := (agent.Config{
		Service: agent.Service{
			AccessKeyID: "AK", SecretAccessKey: "SK", KinesisEndpoint: "http://127.0.0.1:4567", KinesisRegion: "eu-west-1",
			FirehoseEndpoint: "http://fh", AssumeRoleARN: "arn:aws:iam::1:role/r", AssumeRoleExternalID: "x", STSEndpoint: "http://sts",
			MaxSendingThreads: 7, MaxSendingThreadsPerCore: 3, MaxConnections: 20, SocketTimeout: 4 * time.Second,
			ConnectionTimeout: 300 * time.Millisecond,
			UserAgent:         "ua", UserAgentOverride: "uo",
		},
		CloudWatch:     agent.CloudWatch{Emit: true, Namespace: "N", TagInstance: true, Period: 10 * time.Second, File: "/m"},
		LogLevel:       "DEBUG",
		CheckpointFile: "/var/lib/x/checkpoints", CheckpointTimeToLive: 72 * time.Hour, ShutdownTimeout: 5 * time.Second,
		StatusPeriod: time.Minute, MaxMemoryBytes: 32 << 20,
	}); !reflect.DeepEqual(*cfg, want) {
		t.Errorf("configuration\n%+v, want\n%+v", *cfg, want)
	}
}

// flow returns a configuration with one flow that has the given members too.
func flow(members string) string {
	return `{"flows": [{"filePattern": "/l/*.log", "kinesisStream": "s", ` + members + `}]}`
}

// delivery is flow for a delivery stream.
func delivery(members string) string {
	return `{"flows": [{"filePattern": "/l/*.log", "deliveryStream": "d", ` + members + `}]}`
}

// What the official agent takes is not refused, even where it makes little sense.
func TestLoadConfigOddValues(t *testing.T) {
	cfg, _, err := load(t, flow(`"minTimeBetweenFilePollsMillis": 0, "maxTimeBetweenFileTrackerRefreshMillis": 0,
		"retryInitialBackoffMillis": 0, "retryMaxBackoffMillis": "0", "truncatedRecordTerminator": ""`))
	if err != nil {
		t.Fatal(err)
	}
	f := cfg.Flows[0]
	if f.PollInterval != time.Millisecond || f.ScanInterval != time.Millisecond || f.RetryInitial != time.Millisecond || f.RetryMax != time.Millisecond || !f.NoRecordTerminator {
		t.Errorf("flow %+v", f)
	}
}

func TestLoadConfigErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty file", "", "the file is empty"},
		{"comma before a brace", "{\n\"flows\": [],\n}", ":2:12: no JSON: a comma stands before a closing brace"},
		{"comma missing", "{\n\"kinesis.region\": \"x\"\n\"flows\": []}", "a comma is missing"},
		{"colon missing", "{\n\"flows\" []}", "agent.json:2:9: no JSON: a colon is missing between a key and its value"},
		{"single quotes", "{'flows': []}", "agent.json:1:2: no JSON: texts stand in double quotes"},
		{"brace missing", "{\"flows\": [{}", "the text ends early"},
		{"quote missing", "{\"flows: []}", "the text ends early"},
		{"open comment", "{\n/* \"flows\": []}", ":2:1: no JSON: a comment that begins here is not closed"},
		{"second value", "{\"flows\": []} x", "something follows the closing brace"},
		{"no object", "[]", "must hold an object"},
		{"no flows", "{}", `no flows; add "flows"`},
		{"flows no list", `{"flows": {}}`, `"flows" must be a list, in brackets`},
		{"flow no object", `{"flows": ["x"]}`, "flows[0] must be an object"},
		{"no stream", `{"flows": [{"filePattern": "/l/*"}]}`, "flows[0].kinesisStream: missing; name the stream"},
		{"no pattern", `{"flows": [{"kinesisStream": "s"}]}`, "flows[0].filePattern: missing; name the files"},
		{"a directory", `{"flows": [{"kinesisStream": "s", "filePattern": "/l/"}]}`, `add a pattern for file names, as in "/l/*"`},
		{"no directory", `{"flows": [{"kinesisStream": "s", "filePattern": "*.log"}]}`, "has no directory"},
		{"bad pattern", `{"flows": [{"kinesisStream": "s", "filePattern": "/l/[a"}]}`, "a bracket is not closed"},
		{"range", flow(`"maxBufferSizeRecords": 501`), "flows[0].maxBufferSizeRecords: 501 is outside [1, 500]"},
		{"zero", flow(`"maxBufferSizeRecords": 0`), "flows[0].maxBufferSizeRecords: 0 must be more than 0"},
		{"no number", flow(`"maxBufferAgeMillis": "1s"`), "must be a whole number"},
		{"no truth", flow(`"aggregation": "on"`), "must be true or false"},
		{"case of a word", flow(`"initialPosition": "start_of_file"`), "none of START_OF_FILE, END_OF_FILE"},
		{"wrong key option", flow(`"partitionKeyOption": "HASH"`), "none of RANDOM, DETERMINISTIC"},
		{"wrong key", flow(`"partitionKey": "host"`), "none of random, deterministic, file"},
		{"Java pattern", flow(`"multiLineStartPattern": "(?=x)"`), "lookaround does not exist here"},
		{"given twice", flow(`"aggregation": true, "aggregation": true`), "flows[0].aggregation: given twice, first in line 1"},
		{"options no list", flow(`"dataProcessingOptions": {"optionName": "SINGLELINE"}`), "put the object into brackets"},
		{"refused option", flow(`"dataProcessingOptions": [{"optionName": "USINGPLUGGIN", "className": "x"}]`), "Java classes cannot be loaded"},
		{"unknown option", flow(`"dataProcessingOptions": [{"optionName": "CSV"}]`), `"CSV" is none of ADDBRACKETS, ADDEC2METADATA`},
		{"CSV without names", flow(`"dataProcessingOptions": [{"optionName": "CSVTOJSON"}]`), "customFieldNames: missing"},
		{"footer", flow(`"fileFooterPattern": "a++"`), "fileFooterPattern: ++ at character 2 of the pattern: possessive"},
		{"log format", flow(`"dataProcessingOptions": [{"optionName": "LOGTOJSON", "matchPattern": "(a)(b)", "customFieldNames": ["a"]}]`), "1 names for 2 groups"},
		{"encoding", flow(`"encoding": "big5"`), `encoding: "big5" is none of bytes, utf-8`},
		{"container", flow(`"container": "docker"`), `container: "docker" is none of auto, cri, json-file`},
		{"container and encoding", flow(`"container": "cri", "encoding": "utf-8"`), "encoding: has no place beside container"},
		{"oversize", flow(`"onOversize": "drop"`), `"drop" is none of truncate, split, skip, deadletter`},
		{"parse error", flow(`"onParseError": "skip"`), `"skip" is none of drop, raw, deadletter`},
		{"dead letters without a file", flow(`"onParseError": "deadletter"`), "deadLetterFile: missing"},
		{"a file without dead letters", flow(`"deadLetterFile": "/x/y"`), "deadLetterFile: nothing goes there"},
		{
			"dead letters that are read again", `{"flows": [{"filePattern": "/l/**/*.log", "kinesisStream": "s", "onOversize": "deadletter", "deadLetterFile": "/l/a/dead.log"}]}`,
			"flows[0].deadLetterFile: matches the flow's own patterns",
		},
		{
			"dead letters that are included", flow(`"include": ["/d/*"], "onOversize": "deadletter", "deadLetterFile": "/d/dead"`),
			"flows[0].deadLetterFile: matches the flow's own patterns",
		},
		{"dead letters among the logs", flow(`"onOversize": "deadletter", "deadLetterFile": "/l/dead"`), "lies in the flow's own directory"},
		{"partition key", flow(`"partitionKey": "hash"`), `"hash" is none of random, deterministic, file, const:KEY`},
		{"partition key of nothing", flow(`"partitionKey": "field:"`), "nothing follows"},
		{"partition key with two groups", flow(`"partitionKey": "regex:(a)(b)"`), "must have one group"},
		{"long partition key", flow(`"partitionKey": "const:` + strings.Repeat("k", 65) + `"`), "has 65 bytes"},
		{"multi-line limit", flow(`"multiLineMaxBytes": 2000000`), "multiLineMaxBytes: 2000000 is outside [1, 1048576]"},
		{"no field to keep", flow(`"dataProcessingOptions": [{"optionName": "JSONFIELDS"}]`), "keep: missing"},
		{"nothing to look for", flow(`"dataProcessingOptions": [{"optionName": "GREP"}]`), "include: missing"},
		{"GREP pattern", flow(`"dataProcessingOptions": [{"optionName": "GREP", "include": ["a\\1"]}]`), `include: \1 at character 2`},
		{"plug-in", `{"userDefinedCredentialsProvider.classname": "x", "flows": []}`, "put credential_process into a profile"},
		{"log level", `{"log.level": "loud", "flows": []}`, "none of TRACE, DEBUG, INFO, WARN, ERROR, FATAL"},
		{"id twice", `{"flows": [{"filePattern": "/l/*", "kinesisStream": "s", "id": "i"}, {"filePattern": "/m/*", "kinesisStream": "s", "id": "i"}]}`, "give one of them another"},
		{"size of a delivery", delivery(`"maxBufferSizeBytes": 4194305`), "maxBufferSizeBytes: 4194305 is outside [1, 4194304]"},
		{"packed size", delivery(`"aggregatedRecordSizeBytes": 1024001`), "is outside [0, 1024000]"},
		{"half a credential", `{"awsAccessKeyId": "x", "flows": [{"filePattern": "/l/*", "kinesisStream": "s"}]}`, "give both or none"},
		{"same flow twice", `{"flows": [{"filePattern": "/l/*", "kinesisStream": "s"}, {"filePattern": "/l/*", "kinesisStream": "s"}]}`, "remove one of them"},
		{"ordering", flow(`"ordering": "strict"`), `ordering: "strict" is none of none, file`},
		{"ordering with another key", flow(`"ordering": "file", "partitionKey": "random"`), "ordering: needs the partition key of the file"},
		{"ordering of a delivery", delivery(`"ordering": "file"`), "ordering: a delivery stream keeps no order"},
		{"time to live", flow(`"recordTtlSeconds": 0`), "recordTtlSeconds: 0 must be more than 0"},
		{"draining", flow(`"drainOnShutdown": "maybe"`), "drainOnShutdown: must be true or false"},
		{"siblings", flow(`"onTruncateSearchSiblings": 5`), "onTruncateSearchSiblings: must be true or false"},
		{"protection", flow(`"protect": "hardlink", "protectMaxBytes": 0`), "protectMaxBytes: 0 must be more than 0"},
		{"deletion", flow(`"deleteAfterDelivered": "x"`), "deleteAfterDelivered: must be true or false"},
		{"record size", flow(`"maxRecordBytes": 10485761`), "maxRecordBytes: 10485761 is outside [1024, 10485760]"},
		{"record size of a delivery", delivery(`"maxRecordBytes": 1024001`), "maxRecordBytes: 1024001 is outside [1024, 1024000]"},
		{"size of a request", flow(`"maxBufferSizeBytes": 10485761`), "maxBufferSizeBytes: 10485761 is outside [1, 10485760]"},
		{"large records in little memory", flow(`"maxRecordBytes": 10485760`), "maxMemoryBytes: 16777216 is too little for records of 10485760 bytes"},
		{"connection timeout", `{"connectionTimeoutMillis": 5, "flows": [{"filePattern": "/l/*", "kinesisStream": "s"}]}`, "connectionTimeoutMillis: 5ms is outside"},
		{"memory", `{"maxMemoryBytes": 1, "flows": [{"filePattern": "/l/*", "kinesisStream": "s"}]}`, "maxMemoryBytes: 1 is outside"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := load(t, tt.text)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "agent.json:") {
				t.Errorf("error %q, want the place and %q", err, tt.want)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		_, _, err := agent.LoadConfig(filepath.Join(t.TempDir(), "none.json"))
		if err == nil || !strings.Contains(err.Error(), "there is no configuration file") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		_, _, err := load(t, "{\"flows\": [\n{\"filePattern\": \"/l/\",\n\"aggregation\": 5,\n\"maxOpenFiles\": -1}]}")
		for _, want := range []string{":2: flows[0].filePattern", ":3: flows[0].aggregation", ":4: flows[0].maxOpenFiles", ":2: flows[0].kinesisStream"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not tell of %q", err, want)
			}
		}
	})
}

// An empty pattern is none, as with the official agent: as one for the footer it would
// leave out each empty line.
func TestEmptyPatterns(t *testing.T) {
	cfg, warnings, err := load(t, flow(`"fileFooterPattern": "", "multiLineStartPattern": ""`))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if f := cfg.Flows[0]; f.FileFooter != nil || f.MultiLineStart != nil {
		t.Errorf("patterns %v and %v, want none", f.FileFooter, f.MultiLineStart)
	}
}

func TestLoadConfigWarnings(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"misspelt", flow(`"partitionKeyOptions": "RANDOM"`), `did you mean "partitionKeyOption"?`},
		{"unlike any", flow(`"zzz": 1`), "unknown key, without effect; remove it"},
		{"flow key above", `{"aggregation": true, "flows": [{"filePattern": "/l/*", "kinesisStream": "s"}]}`, "it belongs into a flow"},
		{"agent key in a flow", flow(`"kinesis.endpoint": "x"`), "it belongs to the top level"},
		{"option key in a flow", flow(`"logFormat": "SYSLOG"`), "it belongs into an entry of dataProcessingOptions"},
		{"key of another option", flow(`"dataProcessingOptions": [{"optionName": "SINGLELINE", "delimiter": ","}]`), "delimiter: no effect with SINGLELINE"},
		{"delimiter that is an expression", flow(`"dataProcessingOptions": [{"optionName": "CSVTOJSON", "customFieldNames": ["a"], "delimiter": "|"}]`), `write "\\|" for that`},
		{
			"pattern for a prefix", flow(`"dataProcessingOptions": [{"optionName": "LOGTOJSON", "matchPattern": "(a) (\\d+)", "customFieldNames": ["a", "b"]}]`),
			"must match the whole line",
		},
		{"metadata of nothing", flow(`"dataProcessingOptions": [{"optionName": "ADDMETADATA", "timestamp": true}]`), "metadata: missing; null is added"},
		{"null", flow(`"skipHeaderLines": null`), "null has no effect"},
		{
			"stars in a name", `{"flows": [{"filePattern": "/l/**", "kinesisStream": "s"}]}`,
			`flows[0].filePattern: "**" stands for directories only before the last slash, as in "/l/**/*"`,
		},
		{"stars in an included name", flow(`"include": ["/m/**.log"]`), `flows[0].include: "**" stands for directories only before the last slash`},
		{"a compressed file", `{"flows": [{"filePattern": "/l/a.gz", "kinesisStream": "s"}]}`, "flows[0].filePattern: files whose names end in .gz, .bz2 or .zip are not read"},
		{"no effect", flow(`"publishQueueCapacity": 5`), "memory is bounded by maxMemoryBytes"},
		{"memory file system", `{"checkpointFile": "/var/run/x", "flows": [{"filePattern": "/l/*", "kinesisStream": "s"}]}`, "lost with a reboot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, warnings, err := load(t, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0].String(), tt.want) {
				t.Errorf("warnings %q, want one with %q", warnings, tt.want)
			}
		})
	}
}

func TestDropInDirectory(t *testing.T) {
	dir := t.TempDir()
	drop := filepath.Join(dir, "agent.d")
	if err := os.Mkdir(drop, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"agent.json":        `{"kinesis.region": "r"}`,
		"agent.d/b.json":    `{"flows": [{"filePattern": "/b/*", "kinesisStream": "s"}]}`,
		"agent.d/a":         `{"kinesis.region": "x", "flows": [{"filePattern": "/a/*", "kinesisStream": "s"}]}`,
		"agent.d/c.json~":   `{"flows": [{"filePattern": "/c/*", "kinesisStream": "s"}]}`,
		"agent.d/.d.json":   `not read`,
		"agent.d/e.rpmsave": `not read`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, warnings, err := agent.LoadConfig(filepath.Join(dir, "agent.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Flows) != 2 || cfg.Flows[0].FilePattern != "/a/*" || cfg.Flows[1].FilePattern != "/b/*" || cfg.Service.KinesisRegion != "r" {
		t.Errorf("configuration %+v", cfg)
	}
	if len(warnings) != 1 || warnings[0].File != filepath.Join(drop, "a") {
		t.Errorf("warnings %v, want one for the region in a drop-in file", warnings)
	}
	if err := os.WriteFile(filepath.Join(drop, "f.json"), []byte(`{`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := agent.LoadConfig(filepath.Join(dir, "agent.json")); err == nil || !strings.Contains(err.Error(), "f.json:1:2: no JSON") {
		t.Errorf("error %v, want one that names the broken file", err)
	}
}

// FuzzLoadConfig checks that no text makes the loader panic, and that what it
// accepts has flows.
func FuzzLoadConfig(f *testing.F) {
	f.Add(flow(`"dataProcessingOptions": [{"optionName": "ADDMETADATA", "metadata": {"a": [1.5e3, null]}}]`))
	f.Add("{ // x\n \"flows\": [ /* y */ ] }")
	f.Add("{\"flows\": [{\"filePattern\": \"/a/{b,c}[!d-f]?\\\\*\", \"kinesisStream\": 5}]}")
	f.Add("\ufeff{\"a")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, _, err := load(t, text)
		if err == nil && len(cfg.Flows) == 0 {
			t.Error("accepted without flows")
		}
	})
}
