package multilang_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/multilang"
	"github.com/streamkit/streamkit/consumer"
)

// least is a file with what no file can do without.
// It polls, which without a word on retrieval would be another matter.
const least = "executableName = app.py\napplicationName = app\nstreamName = words\nretrievalMode = POLLING\n"

func TestSettings(t *testing.T) {
	arn := "arn:aws:kinesis:eu-west-1:123456789012:stream/letters"
	for _, tt := range []struct {
		name, lines string
		want        func(*multilang.Settings)
		warn        []string // parts of the warnings, in order
	}{
		{name: "the least"},
		{name: "arguments", lines: "executableName = node  app.js   --fast", want: func(s *multilang.Settings) { s.Command = []string{"node", "app.js", "--fast"} }},
		{name: "ARN", lines: "streamArn=" + arn, want: func(s *multilang.Settings) { s.Stream = arn }},
		{name: "ARN before name", lines: "streamArn=" + arn + "\nstreamName=other", want: func(s *multilang.Settings) { s.Stream = arn }},
		{name: "table and worker", lines: "tableName=t\nworkerId = w 1 ", want: func(s *multilang.Settings) { s.Table, s.Consumer.WorkerID = "t", "w 1" }},
		{name: "an empty value sets nothing", lines: "workerId =\nmaxRecords =\nregionName ="},
		{name: "regions and endpoints", lines: "regionName=eu-west-1\ndynamoDBRegionName=eu-west-2\nkinesisEndpoint=kinesis.example.com\ndynamoDbClient.endpointOverride=http://127.0.0.1:1", want: func(s *multilang.Settings) {
			s.Region, s.DynamoDBRegion = "eu-west-1", "eu-west-2"
			s.KinesisEndpoint, s.DynamoDBEndpoint = "https://kinesis.example.com", "http://127.0.0.1:1"
		}},
		{name: "oldest", lines: "initialPositionInStream = trim_horizon", want: func(s *multilang.Settings) { s.Consumer.InitialPosition.Latest = false }},
		{name: "newest", lines: "initialPositionInStream = LATEST"},
		{name: "a time", lines: "initialPositionInStreamExtended = 1636609142\ninitialPositionInStream = LATEST", want: func(s *multilang.Settings) {
			s.Consumer.InitialPosition = consumer.Position{Time: time.Unix(1636609142, 0)}
		}},
		{name: "the consumer", lines: "failoverTimeMillis=20000\nmaxRecords=100\nidleTimeBetweenReadsInMillis=250\nmaxLeasesForWorker=3\nmaxLeasesToStealAtOneTime=2\nmaxLeaseRenewalThreads=7\n" +
			"cleanupLeasesUponShardCompletion=false\ncallProcessRecordsEvenForEmptyRecordList=TRUE\nleaseTableDeletionProtectionEnabled=true\nshutdownGraceMillis=15000\ntimeoutInSeconds=60", want: func(s *multilang.Settings) {
			c := &s.Consumer
			c.FailoverTime, c.MaxRecords, c.IdleTimeBetweenReads = 20*time.Second, 100, 250*time.Millisecond
			c.MaxLeasesForWorker, c.MaxLeasesToStealAtOneTime, c.MaxLeaseRenewalThreads = 3, 2, 7
			c.DisableCleanupLeasesUponShardCompletion, c.CallProcessRecordsEvenForEmptyRecordList = true, true
			c.ShutdownTimeout, s.Timeout, s.TableDeletionProtection = 15*time.Second, time.Minute, true
		}},
		{name: "retrieval by default", lines: "retrievalMode=default", want: func(s *multilang.Settings) { s.Consumer.RetrievalMode = consumer.RetrievalMixed }},
		{name: "retrieval by default, without a word", lines: "retrievalMode=\nconsumerName=c", want: func(s *multilang.Settings) {
			s.Consumer.RetrievalMode, s.Consumer.ConsumerName = consumer.RetrievalMixed, "c"
		}},
		{name: "retrieval by default, with a property of polling", lines: "retrievalMode=DEFAULT\nmaxRecords=7\nfanoutConfig.consumerName=c", want: func(s *multilang.Settings) { s.Consumer.MaxRecords = 7 }},
		{name: "retrieval by fan-out", lines: "retrievalMode=Fanout\nmaxRecords=7\nconsumerArn=arn\nconsumerName=c", want: func(s *multilang.Settings) {
			s.Consumer.RetrievalMode, s.Consumer.MaxRecords, s.Consumer.ConsumerARN = consumer.RetrievalFanOut, 7, "arn"
		}},
		{name: "credentials by the chain", lines: "AWSCredentialsProvider = DefaultAWSCredentialsProviderChain"},
		{name: "credentials of a profile", lines: "AwsCredentialsProvider = software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider|ours", want: func(s *multilang.Settings) {
			s.Kinesis, s.DynamoDB = multilang.Credentials{Profile: "ours"}, multilang.Credentials{Profile: "ours"}
		}},
		{name: "credentials of each", lines: "awscredentialsproviderDynamoDB = ProfileCredentialsProvider\nAWSCredentialsProvider = Strange|x, StaticCredentialsProvider|id|secret", want: func(s *multilang.Settings) {
			s.Kinesis, s.DynamoDB = multilang.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, multilang.Credentials{Profile: "default"}
		}},
		{name: "the last one counts", lines: "maxRecords=1\nmaxRecords=2", want: func(s *multilang.Settings) { s.Consumer.MaxRecords = 2 }},
		{name: "tables of the KCL 3.0", lines: "coordinatorStateTableName = state\nworkerMetricsTableName = metrics\nworkerMetricsTags = a\nclientVersionConfig = CLIENT_VERSION_CONFIG_3X", want: func(s *multilang.Settings) {
			s.CoordinatorStateTable, s.WorkerMetricsTable = "state", "metrics"
		}, warn: []string{"line 7: workerMetricsTags: has no effect: no table is made", "line 8: clientVersionConfig: has no effect: by which rules"}},
		{name: "without meaning", lines: "metricsLevel = SUMMARY\nmaxGetRecordsThreadPool = 3\nclientVersionConfig=CLIENT_VERSION_CONFIG_3X\nmaxActiveThreads=5", warn: []string{
			"line 5: metricsLevel: has no effect: no metrics", "line 6: maxGetRecordsThreadPool: has no effect", "line 7: clientVersionConfig", "line 8: maxActiveThreads",
		}},
		{name: "without meaning, and set to what is", lines: "metricsLevel = none\nmaxActiveThreads = 0\nbillingMode = PAY_PER_REQUEST"},
		{name: "unknown", lines: "RetrievalMode = POLLING\nfoo = bar", warn: []string{"line 5: RetrievalMode: is not a property; is retrievalMode meant?", "line 6: foo: is not a property of the KCL"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := &multilang.Settings{Application: "app", Table: "app", Stream: "words"}
			want.Command = []string{"app.py"}
			want.Consumer.InitialPosition.Latest = true
			if tt.want != nil {
				tt.want(want)
			}
			got, warnings, err := multilang.ReadSettings(strings.NewReader(least + tt.lines))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%+v\nwant %+v", got, want)
			}
			if len(warnings) != len(tt.warn) {
				t.Fatalf("warnings %v, want %q", warnings, tt.warn)
			}
			for i, w := range warnings {
				if !strings.Contains(w.String(), tt.warn[i]) {
					t.Errorf("warning %q, want %q", w, tt.warn[i])
				}
			}
		})
	}
}

func TestSettingsErrors(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       []string
	}{
		{"nothing", "", []string{"executableName is missing", "applicationName is missing", "streamName or streamArn is missing"}},
		{"all at once", least + "maxRecords=many\nmaxLeasesForWorker=0\nfailoverTimeMillis=-1\ncleanupLeasesUponShardCompletion=perhaps\ninitialPositionInStream=MIDDLE\n" +
			"initialPositionInStreamExtended=yesterday\nstreamArn=words\nretrievalMode=PUSH\nkinesisEndpoint=://\ntimeoutInSeconds=99999999999999", []string{
			"line 5: maxRecords", "line 6: maxLeasesForWorker", "line 7: failoverTimeMillis", "line 8: cleanup", "line 9: initialPositionInStream: ",
			"line 10: initialPositionInStreamExtended", "line 11: streamArn", "line 12: retrievalMode", "line 13: kinesisEndpoint", "line 14: timeoutInSeconds",
		}},
		{"credentials", least + "AWSCredentialsProvider=StsAssumeRoleCredentialsProvider|arn:x|me", []string{`"StsAssumeRoleCredentialsProvider" is not known here`, "role_arn"}},
		{"not a properties file", "a=\\u12", []string{"line 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := multilang.ReadSettings(strings.NewReader(tt.file))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not say %q", err, want)
				}
			}
		})
	}
}

// TestPropertiesAreDocumented: docs/multilang.md has every key, and no key is
// without meaning.
func TestPropertiesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "multilang.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range multilang.Properties() {
		if !strings.Contains(string(doc), "`"+key+"`") {
			t.Errorf("docs/multilang.md does not have %s", key)
		}
	}
}
