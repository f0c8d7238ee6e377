package agent_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/agent/internal/transform"
)

// A known key of the configuration: a value other than its default, and the test of what
// it does. One without a test has no effect, and is named so in a warning, or is refused.
type knownKey struct{ value, test string }

var agentKeys = map[string]knownKey{
	"awsAccessKeyId":                     {`"AK", "awsSecretAccessKey": "SK"`, "TestServiceSettings"},
	"awsSecretAccessKey":                 {`"SK", "awsAccessKeyId": "AK"`, "TestServiceSettings"},
	"assumeRoleARN":                      {`"arn:aws:iam::1:role/r"`, "TestServiceSettings"},
	"assumeRoleExternalId":               {`"x"`, "TestServiceSettings"},
	"sts.endpoint":                       {`"http://sts"`, "TestServiceSettings"},
	"kinesis.endpoint":                   {`"http://k"`, "TestRunOnce"},
	"kinesis.region":                     {`"eu-west-1"`, "TestNoCredentials"},
	"firehose.endpoint":                  {`"http://f"`, "TestDeliveryStream"},
	"maxSendingThreads":                  {`3`, "TestCallsAtOnce"},
	"maxSendingThreadsPerCore":           {`3`, "TestCallsAtOnce"},
	"maxConnections":                     {`3`, "TestCallsAtOnce"},
	"socketTimeoutMillis":                {`4000`, "TestProducerConfig"},
	"connectionTimeoutMillis":            {`4000`, "TestConnectTimeout"},
	"userAgent":                          {`"ua"`, "TestServiceSettings"},
	"userAgentOverride":                  {`"ua"`, "TestUserAgentOverride"},
	"cloudwatch.emitMetrics":             {`true`, "TestCloudWatchLines"},
	"cloudwatch.namespace":               {`"N"`, "TestCloudWatchSettings"},
	"cloudwatch.tagInstance":             {`true`, "TestCloudWatchSettings"},
	"cloudwatch.metricsFile":             {`"/m"`, "TestCloudWatchLines"},
	"cloudwatch.metricsBufferTimeMillis": {`10000`, "TestCloudWatchPeriod"},
	"log.level":                          {`"WARN"`, "TestLogLevel"},
	"checkpointFile":                     {`"/var/lib/x/checkpoints"`, "TestBadInput"},
	"checkpointTimeToLiveDays":           {`3`, "TestRotatedFileThatStays"},
	"shutdownTimeoutMillis":              {`5000`, "TestNotDrained"},
	"log.statusReportingPeriodSeconds":   {`60`, "TestStatusPeriod"},
	"maxMemoryBytes":                     {`33554432`, "TestBudgetIsBackPressure"},

	"userDefinedCredentialsProvider.classname": {`"x"`, ""},
	"userDefinedCredentialsProvider.location":  {`"x"`, ""},
	"cloudwatch.endpoint":                      {`"x"`, ""},
	"cloudwatch.metricsQueueSize":              {`1`, ""},
	"log.emitMetrics":                          {`true`, ""},
	"log.emitInternalMetrics":                  {`true`, ""},
	"log.file":                                 {`"/x"`, ""},
	"checkpoints.queryTimeoutSeconds":          {`1`, ""},
	"checkpoints.connectionTimeoutSeconds":     {`1`, ""},
	"sendingThreadsKeepAliveMillis":            {`1`, ""},
	"sendingThreadsMaxQueueSize":               {`1`, ""},
	"connectionTTLMillis":                      {`1`, ""},
	"useTcpKeepAlive":                          {`true`, ""},
	"useHttpGzip":                              {`true`, ""},
}

var flowKeys = map[string]knownKey{
	"filePattern":               {`"/m/*"`, "TestDirectories"},
	"kinesisStream":             {`"t"`, "TestRunOnce"},
	"deliveryStream":            {`"d"`, "TestDeliveryStream"},
	"id":                        {`"i"`, "TestReload"},
	"aggregatedRecordSizeBytes": {`1000, "deliveryStream": "d"`, "TestDeliveryStream"},
	"include":                   {`["x*"]`, "TestDirectories"},
	"exclude":                   {`["x*"]`, "TestDirectories"},
	"partitionKey":              {`"const:x"`, "TestPartitionKeys"},
	"partitionKeyOption":        {`"DETERMINISTIC"`, "TestDeterministicKey"},
	"initialPosition":           {`"START_OF_FILE"`, "TestInitialPosition"},
	"skipHeaderLines":           {`2`, "TestSkipHeaderLines"},
	"multiLineFlushMillis":      {`10`, "TestMultiLineWithPauses"},
	"maxRecordBytes":            {`2048`, "TestOversize"},
	"maxBufferAgeMillis":        {`1000`, "TestProducerConfig"},
	"maxBufferSizeRecords":      {`7`, "TestProducerConfig"},
	"maxBufferSizeBytes":        {`100000`, "TestProducerConfig"},
	"aggregation":               {`true`, "TestIntoServer"},
	"rotateWaitSeconds":         {`1`, "TestSearchOfSiblings"},
	"retryInitialBackoffMillis": {`10`, "TestMetricValues"},
	"retryMaxBackoffMillis":     {`1000`, "TestMetricValues"},
	"maxOpenFiles":              {`9`, "TestManyFilesFewOpen"},
	"rotatedDirs":               {`["old"]`, "TestScenarios"},
	"ignoreOlderSeconds":        {`60`, "TestIgnoreOlder"},
	"readRotatedGzip":           {`false`, "TestReadRotatedGzip"},
	"closeDeletedAfterSeconds":  {`60`, "TestCloseDeletedAfter"},
	"multiLineStartPattern":     {`"^x"`, "TestMultiLine"},
	"multiLineMaxBytes":         {`1000`, "TestMultiLineLimit"},
	"flushPartialAfterMillis":   {`10`, "TestFlushPartial"},
	"fileFooterPattern":         {`"x"`, "TestFooter"},
	"truncatedRecordTerminator": {`"x"`, "TestOverlongLines"},
	"encoding":                  {`"utf-8"`, "TestEncodings"},
	"container":                 {`"cri"`, "TestContainerLogs"},
	"onOversize":                {`"skip"`, "TestOversize"},
	"onParseError":              {`"raw"`, "TestParseErrors"},
	"deadLetterFile":            {`"/x/y", "onParseError": "deadletter"`, "TestDeadLetters"},
	"ordering":                  {`"file"`, "TestOrderOfFilesThroughRefusals"},
	"onTruncateSearchSiblings":  {`false`, "TestSearchOfSiblings"},
	"drainOnShutdown":           {`false`, "TestEndWithoutDraining"},
	"deleteAfterDelivered":      {`true`, "TestDeleteAfterDelivered"},
	"protect":                   {`"hardlink"`, "TestProtect"},
	"protectDirectory":          {`"/p", "protect": "hardlink"`, "TestProtectConfig"},
	"protectMaxBytes":           {`5, "protect": "hardlink"`, "TestProtectMaxBytes"},
	"recordTtlSeconds":          {`90`, "TestRecordTTL"},
	"dataProcessingOptions":     {`[{"optionName": "ADDBRACKETS"}]`, "TestOptions"},

	"minTimeBetweenFilePollsMillis":          {`20`, "TestPollInterval"},
	"maxTimeBetweenFileTrackerRefreshMillis": {`1000`, "TestScanInterval"},

	"publishQueueCapacity":          {`1`, ""},
	"waitOnFullPublishQueueMillis":  {`1000`, ""},
	"waitOnEmptyPublishQueueMillis": {`1000`, ""},
	"log.emitInternalMetrics":       {`true`, ""},
}

// testNames are the names of all tests of the packages that make up the agent.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, pattern := range []string{"*_test.go", "internal/*/*_test.go", "../cmd/streamagent/*_test.go", "../internal/sdkhttp/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
				names[m[1]] = true
			}
		}
	}
	return names
}

// Each key has an effect that a test is about, or a warning says that it has none, and so
// do the docs.
func TestEveryKey(t *testing.T) {
	names := testNames(t)
	page, err := os.ReadFile(filepath.Join("..", "docs", "agent.md"))
	if err != nil {
		t.Fatal(err)
	}
	var without strings.Builder // the paragraphs of the docs about keys without effect
	for paragraph := range strings.SplitSeq(string(page), "\n\n") {
		if strings.HasPrefix(paragraph, "Without effect") {
			without.WriteString(paragraph)
		}
	}
	const one = `"filePattern": "/l/*", "kinesisStream": "s"`
	bare := func(cfg *agent.Config) agent.Config {
		c := *cfg
		c.Flows = []agent.FlowConfig{agent.Bare(cfg.Flows[0])}
		return c
	}
	plain, _, err := load(t, `{"flows": [{`+one+`}]}`)
	if err != nil {
		t.Fatal(err)
	}
	check := func(key string, k knownKey, text string) {
		t.Helper()
		cfg, warnings, err := load(t, text)
		switch {
		case strings.HasPrefix(key, "userDefinedCredentialsProvider."):
			if err == nil || k.test != "" {
				t.Errorf("%s is not refused", key)
			}
			return
		case err != nil:
			t.Errorf("%s: %v", key, err)
			return
		}
		warned := false
		for _, w := range warnings {
			warned = warned || strings.Contains(w.String(), key+": no effect")
		}
		switch changed := !reflect.DeepEqual(bare(cfg), bare(plain)); {
		case warned == changed:
			t.Errorf("%s: warned that it has no effect: %t; has one: %t", key, warned, changed)
		case warned && (k.test != "" || !strings.Contains(without.String(), "`"+key+"`")):
			t.Errorf("%s has no effect; the docs must say so, and no test can be about it", key)
		case changed && !names[k.test]:
			t.Errorf("%s: there is no test %s", key, k.test)
		}
	}
	known := map[string]bool{"flows": true}
	for key, k := range agentKeys {
		known[key] = true
		check(key, k, `{"`+key+`": `+k.value+`, "flows": [{`+one+`}]}`)
	}
	for key, k := range flowKeys {
		known[key] = true
		rest := `"filePattern": "/l/*", "kinesisStream": "s", `
		rest = strings.Replace(rest, map[string]string{"filePattern": `"filePattern": "/l/*", `, "kinesisStream": `"kinesisStream": "s", `}[key], "", 1)
		check(key, k, `{"flows": [{`+rest+`"`+key+`": `+k.value+`}]}`)
	}
	for _, key := range agent.Keys() {
		if !known[key] {
			t.Errorf("%s is in no table of this test", key)
		}
	}
	for key := range known {
		if !slices.Contains(agent.Keys(), key) {
			t.Errorf("%s is no key", key)
		}
	}
}

// The keys of ADDEC2METADATA are those of the option.
func TestEC2MetadataKeys(t *testing.T) {
	cfg, _, err := load(t, flow(`"dataProcessingOptions": [{"optionName": "ADDEC2METADATA", "logFormat": "RFC3339SYSLOG",
		"metadataTTL": 5, "metadataEndpoint": "http://m", "jsonFormat": "PRETTYPRINT"}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := &transform.AddEC2Metadata{TTL: 5 * time.Second, Endpoint: "http://m", Pretty: true}
	if got := cfg.Flows[0].DataProcessing.Options; len(got) != 1 || !reflect.DeepEqual(got[0], transform.Option(want)) {
		t.Errorf("options %+v, want %+v", got, want)
	}
}

// A file is looked at once in a minTimeBetweenFilePollsMillis.
func TestPollInterval(t *testing.T) {
	for _, every := range []time.Duration{20 * time.Millisecond, 3 * time.Second} {
		bubble(t, agent.FlowConfig{PollInterval: every}, func(w *world) {
			w.deaf = true
			w.lines("app.log", 10)
			w.start()
			w.settle(4*every + every/4)
			w.lines("app.log", 10)
			w.settle(every / 2)
			if n := len(w.data()); n != 10 {
				t.Errorf("%d records arrived before the next look, want 10", n)
			}
			w.settle(every / 4)
			w.verify(0)
			w.stopped()
		})
	}
}

// Without an event a new file is found by the scan that comes after
// maxTimeBetweenFileTrackerRefreshMillis.
func TestScanInterval(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 7 * time.Second} {
		bubble(t, agent.FlowConfig{PollInterval: 500 * time.Millisecond, ScanInterval: every}, func(w *world) {
			w.deaf = true
			w.lines("app.log", 10)
			w.start()
			w.settle(2*every + every/20)
			w.lines("app.log.new", 10)
			if w.watcher != nil { // a directory without events is polled
				w.settle(every * 9 / 10)
				if n := len(w.data()); n != 10 {
					t.Errorf("%d records arrived before the next scan, want 10", n)
				}
			}
			w.settle(every)
			w.verify(0)
			w.stopped()
		})
	}
}

// With readRotatedGzip false, what was not read of a file before it was compressed is lost,
// and counted.
func TestReadRotatedGzip(t *testing.T) {
	for _, skip := range []bool{false, true} {
		bubble(t, agent.FlowConfig{FilePattern: "app.log", SkipRotatedGzip: skip}, func(w *world) {
			unread, z := unreadInGzip(w)
			w.check(os.WriteFile(w.path("app.log.1.gz"), z, 0o600))
			w.sink.got = w.sink.got[:100] // what the first agent has delivered for certain
			w.start()
			w.settle(3 * time.Minute)
			lost := w.status().LostBytes["missing"]
			if !skip {
				if w.verify(0); lost != 0 {
					t.Errorf("%d bytes are counted as missing of what is there", lost)
				}
			} else if n := len(w.data()); n != 100 || lost != uint64(unread) {
				t.Errorf("%d records arrived, want 100; %d bytes are counted as missing, want %d", n, lost, unread)
			}
			w.stopped()
		})
	}
}

// A status line for each flow comes once in a log.statusReportingPeriodSeconds.
func TestStatusPeriod(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		var log strings.Builder // the handler's lock guards it
		w.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		w.cfg.StatusPeriod = 7 * time.Second
		w.lines("app.log", 10)
		w.start()
		w.settle(30 * time.Second)
		w.stopped()
		if n := strings.Count(log.String(), "msg=status"); n != 4 {
			t.Errorf("%d status lines in 30 s, want 4:\n%s", n, log.String())
		}
		if !strings.Contains(log.String(), "records=10 acked=10") {
			t.Errorf("log:\n%s", log.String())
		}
	})
}
