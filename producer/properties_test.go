package producer_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/streamkit/streamkit/producer"
)

// TestProperties has cases of the description of java.util.Properties.load.
func TestProperties(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string // keys and values by turns
	}{
		{name: "nothing"},
		{name: "three ways", in: "Truth = Beauty\n Truth:Beauty\nTruth                    :Beauty", want: []string{"Truth", "Beauty", "Truth", "Beauty", "Truth", "Beauty"}},
		{name: "white space between", in: "key  \t value of words  ", want: []string{"key", "value of words  "}},
		{name: "one sign only", in: "a==b\nc = : d", want: []string{"a", "=b", "c", ": d"}},
		{name: "continued", in: "fruits   apple, banana, pear, \\\n         cantaloupe, \\\r\n\t kiwi", want: []string{"fruits", "apple, banana, pear, cantaloupe, kiwi"}},
		{name: "two backslashes do not continue", in: "a = b\\\\\nc = d", want: []string{"a", "b\\", "c", "d"}},
		{name: "continued by nothing", in: "a = b\\", want: []string{"a", "b"}},
		{name: "what continues is no comment", in: "a = b\\\n# c", want: []string{"a", "b# c"}},
		{name: "comments", in: "# a = b\n ! c = d \\\ne = f\n\f#g", want: []string{"e", "f"}},
		{name: "blank lines", in: "\n \t\n\\\n\na=b", want: []string{"a", "b"}},
		{name: "no value", in: "cheeses\nother =", want: []string{"cheeses", "", "other", ""}},
		{name: "all line ends", in: "a=1\rb=2\r\nc=3\n\rd=4", want: []string{"a", "1", "b", "2", "c", "3", "d", "4"}},
		{name: "escapes", in: `a\:b\=c\ d = \t\n\r\f\\\q\"`, want: []string{"a:b=c d", "\t\n\r\f\\q\""}},
		{name: "code points", in: `\u0061 = \u00e9\uD83D\uDE00x`, want: []string{"a", "é😀x"}},
		{name: "half a pair", in: `a = \uD83Dx`, want: []string{"a", "\uFFFDx"}},
		{name: "Latin 1", in: "a = caf\xe9", want: []string{"a", "café"}},
		{name: "no key", in: "= b\n: c", want: []string{"", "b", "", "c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := producer.ReadProperties(strings.NewReader(tt.in))
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%q, %v\nwant %q", got, err, tt.want)
			}
		})
	}
}

func TestPropertiesErrors(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"short escape", "a = b\nc = \\u12", "line 2: \\u is not followed"},
		{"no digits", "\\u12g4 = b", "line 1: \\u is not followed"},
		{"several", "a = \\u\nb = c\nd = \\u+123", "line 3"},
		{"too long", strings.Repeat("#", 1<<20+1), "more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := producer.ConfigFromProperties(strings.NewReader(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not mention %q", err, tt.want)
			}
		})
	}
	broken := errors.New("broken disk")
	if _, _, err := producer.ConfigFromProperties(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v, want the reader's", err)
	}
}

// TestKPLKeys says of each key what values the KPL takes, and what becomes of them.
func TestKPLKeys(t *testing.T) {
	ms := time.Millisecond
	known := producer.KPLKeys()
	for _, tt := range []struct {
		key   string
		good  []string
		bad   []string
		of    string          // the first good value sets this; empty: it is a warning
		warns string          // part of the warning of the last good value
		want  producer.Config // of the first good value
		last  producer.Config // of the last, if it sets something
	}{
		{key: "AggregationEnabled", good: []string{"false", "FALSE", "true"}, bad: []string{"yes", ""}, of: "DisableAggregation", want: producer.Config{DisableAggregation: true}},
		{key: "AggregationMaxCount", good: []string{"1", "9223372036854775807"}, bad: []string{"0", "9223372036854775808", "x"}, of: "AggregationMaxCount", want: producer.Config{AggregationMaxCount: 1}, last: producer.Config{AggregationMaxCount: math.MaxInt}},
		{key: "AggregationMaxSize", good: []string{"64", "1048576"}, bad: []string{"63", "10485761"}, of: "AggregationMaxSize", want: producer.Config{AggregationMaxSize: 64}, last: producer.Config{AggregationMaxSize: 1 << 20}},
		{key: "CollectionMaxCount", good: []string{"1", "500"}, bad: []string{"0", "501"}, of: "CollectionMaxCount", want: producer.Config{CollectionMaxCount: 1}, last: producer.Config{CollectionMaxCount: 500}},
		{key: "CollectionMaxSize", good: []string{"52224", "9223372036854775807"}, bad: []string{"52223"}, of: "CollectionMaxSize", warns: "taken for 10485760", want: producer.Config{CollectionMaxSize: 52224}, last: producer.Config{CollectionMaxSize: 10 << 20}},
		{key: "FailIfThrottled", good: []string{"true", "false"}, bad: []string{"1"}, of: "FailIfThrottled", want: producer.Config{FailIfThrottled: true}},
		{key: "MaxConnections", good: []string{"1", "256"}, bad: []string{"0", "257"}, of: "MaxConnections", want: producer.Config{MaxConnections: 1}, last: producer.Config{MaxConnections: 256}},
		{key: "MaxUserRecordSize", good: []string{"64", "10485760"}, bad: []string{"63", "10485761"}, of: "MaxUserRecordSize", want: producer.Config{MaxUserRecordSize: 64}, last: producer.Config{MaxUserRecordSize: 10 << 20}},
		{key: "RateLimit", good: []string{"1", "9223372036854775807"}, bad: []string{"0"}, of: "RateLimit", warns: "taken for 1000000", want: producer.Config{RateLimit: 1}, last: producer.Config{RateLimit: 1_000_000}},
		{key: "RecordMaxBufferedTime", good: []string{"250", "0"}, bad: []string{"-1"}, of: "RecordMaxBufferedTime", want: producer.Config{RecordMaxBufferedTime: 250 * ms}, last: producer.Config{RecordMaxBufferedTime: -1}},
		{key: "RecordTtl", good: []string{"100", "9223372036854775807"}, bad: []string{"99"}, of: "RecordTTL", want: producer.Config{RecordTTL: 100 * ms}, last: producer.Config{RecordTTL: -1}},
		{key: "RequestTimeout", good: []string{"100", "600000"}, bad: []string{"99", "600001"}, of: "RequestTimeout", want: producer.Config{RequestTimeout: 100 * ms}, last: producer.Config{RequestTimeout: 10 * time.Minute}},

		{key: "AwsAccessKeyId", good: []string{"AKIDEXAMPLE"}, warns: "credentials"},
		{key: "AwsSecretKey", good: []string{"hunter2"}, warns: "credentials"},
		{key: "CaCertFile", good: []string{"/etc/ca.pem", ""}, warns: "TLSClientConfig"},
		{key: "CaCertPath", good: []string{"/etc/ca", ""}, warns: "TLSClientConfig"},
		{key: "CloudwatchEndpoint", good: []string{"monitoring.example.org", ""}, bad: []string{"https://example.org"}, warns: "BaseEndpoint"},
		{key: "CloudwatchPort", good: []string{"1", "65535"}, bad: []string{"0", "65536"}, warns: "BaseEndpoint"},
		{key: "ConnectTimeout", good: []string{"100", "300000"}, bad: []string{"99", "300001"}, warns: "dialer"},
		{key: "CredentialsRefreshDelay", good: []string{"1", "300000"}, bad: []string{"0", "300001"}, warns: "credentials"},
		{key: "CustomEndpoint", good: []string{"127.0.0.1", ""}, bad: []string{"http://a"}, warns: "BaseEndpoint"},
		{key: "DaemonHealthCheckTimeoutMs", good: []string{"5000"}, bad: []string{"4999"}, warns: "native process"},
		{key: "EnableCoreDumps", good: []string{"true"}, bad: []string{"maybe"}, warns: "native process"},
		{key: "EnableDaemonHealthCheck", good: []string{"true"}, bad: []string{"maybe"}, warns: "native process"},
		{key: "EnableOldestFutureTracker", good: []string{"false"}, bad: []string{"maybe"}, warns: "PutHook"},
		{key: "GlueSchemaRegistryPropertiesFilePath", good: []string{"/etc/glue"}, warns: "Encoder"},
		{key: "KinesisEndpoint", good: []string{"kinesis.example.org", "::1"}, bad: []string{"https://a/"}, warns: "BaseEndpoint"},
		{key: "KinesisPort", good: []string{"4567"}, bad: []string{"70000"}, warns: "BaseEndpoint"},
		{key: "LogLevel", good: []string{"trace", "debug", "info", "warning", "error"}, bad: []string{"loud"}, warns: "Logger"},
		{key: "MetricsGranularity", good: []string{"global", "stream", "shard"}, bad: []string{"Shard"}, warns: "producercw"},
		{key: "MetricsLevel", good: []string{"none", "summary", "detailed"}, bad: []string{""}, warns: "producercw"},
		{key: "MetricsNamespace", good: []string{"N", strings.Repeat("n", 255)}, bad: []string{"", "AWS/Kinesis", strings.Repeat("n", 256)}, warns: "producercw"},
		{key: "MetricsUploadDelay", good: []string{"1", "60000"}, bad: []string{"0", "60001"}, warns: "producercw"},
		{key: "MinConnections", good: []string{"1", "16"}, bad: []string{"0", "17"}, warns: "take it out"},
		{key: "NativeExecutable", good: []string{"/bin/kpl"}, warns: "native process"},
		{key: "Port", good: []string{"443"}, bad: []string{"0"}, warns: "BaseEndpoint"},
		{key: "ProxyHost", good: []string{"proxy"}, warns: "HTTPS_PROXY"},
		{key: "ProxyPassword", good: []string{"hunter2"}, warns: "HTTPS_PROXY"},
		{key: "ProxyPort", good: []string{"8080"}, bad: []string{"0"}, warns: "HTTPS_PROXY"},
		{key: "ProxyUserName", good: []string{"me"}, warns: "HTTPS_PROXY"},
		{key: "RecordDistributionStrategyDefault", good: []string{"AUTO"}, warns: "DisableAggregation"},
		{key: "Region", good: []string{"eu-west-1", "us-gov-west-1", ""}, bad: []string{"Europe"}, warns: "Region"},
		{key: "ReturnUserRecordOnFailure", good: []string{"true"}, bad: []string{"1"}, warns: "Tag"},
		{key: "StsEndpoint", good: []string{"sts"}, bad: []string{"a/b"}, warns: "credentials"},
		{key: "StsPort", good: []string{"443"}, bad: []string{"-1"}, warns: "credentials"},
		{key: "TempDirectory", good: []string{"/tmp"}, warns: "native process"},
		{key: "ThreadPoolSize", good: []string{"0", "64"}, bad: []string{"-1"}, warns: "MaxConnections"},
		{key: "ThreadingModel", good: []string{"PER_REQUEST", "POOLED"}, bad: []string{"pooled"}, warns: "MaxConnections"},
		{key: "UserRecordTimeoutInMillis", good: []string{"0", "1"}, bad: []string{"-1"}, warns: "RecordTtl"},
		{key: "VerifyCertificate", good: []string{"false"}, bad: []string{"no"}, warns: "TLSClientConfig"},
	} {
		t.Run(tt.key, func(t *testing.T) {
			initial, ok := known[tt.key]
			if !ok {
				t.Fatal("not a key")
			}
			delete(known, tt.key)
			for i, v := range tt.good {
				c, warnings, err := producer.ConfigFromProperties(strings.NewReader("\n" + tt.key + " = " + v + " \n"))
				if err != nil {
					t.Errorf("%q: %v", v, err)
					continue
				}
				want := producer.Config{}
				switch {
				case i == 0:
					want = tt.want
				case i == len(tt.good)-1:
					want = tt.last
				case tt.of != "":
					want = c
				}
				if !reflect.DeepEqual(c, want) || i == 0 && tt.of != "" && reflect.ValueOf(c).FieldByName(tt.of).IsZero() {
					t.Errorf("%q gives %+v", v, c)
				}
				warns := tt.of == "" || i == len(tt.good)-1 && tt.warns != ""
				if warns != (len(warnings) == 1) || warns && (!strings.Contains(warnings[0].Message, tt.warns) || warnings[0].Line != 2 || warnings[0].Default != (v == initial)) {
					t.Errorf("%q warns %v", v, warnings)
				}
				if v == "hunter2" && strings.Contains(fmt.Sprint(warnings), v) {
					t.Errorf("a warning shows the secret: %v", warnings)
				}
			}
			for _, v := range tt.bad {
				if _, _, err := producer.ConfigFromProperties(strings.NewReader(tt.key + "=" + v)); err == nil || !strings.Contains(err.Error(), "line 1: "+tt.key) {
					t.Errorf("%q: error %v", v, err)
				}
			}
			if initial != "" {
				_, warnings, err := producer.ConfigFromProperties(strings.NewReader(tt.key + "=" + initial))
				if err != nil || len(warnings) > 0 && !warnings[0].Default {
					t.Errorf("default %q: %v, %v", initial, warnings, err)
				}
			}
		})
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		t.Errorf("%s is not tested", key)
	}
}

// defaultFile sets what the KPL's own file of defaults sets.
const defaultFile = `
# Enable aggregation.
AggregationEnabled = true
AggregationMaxCount = 4294967295
AggregationMaxSize = 51200
# AwsAccessKeyId =
CollectionMaxCount = 500
CollectionMaxSize = 5242880
ConnectTimeout = 6000
FailIfThrottled = false
LogLevel = info
MaxConnections = 4
MetricsGranularity = shard
MetricsLevel = detailed
MetricsNamespace = KinesisProducerLibrary
MinConnections = 1
Port = 443
RateLimit = 150
RecordMaxBufferedTime = 100
RecordTtl = 30000
RequestTimeout = 6000
VerifyCertificate = true
`

func TestConfigFromDefaultFile(t *testing.T) {
	c, warnings, err := producer.ConfigFromProperties(strings.NewReader(defaultFile))
	want := producer.Config{
		AggregationMaxCount: min(math.MaxUint32, math.MaxInt), AggregationMaxSize: 51200, CollectionMaxCount: 500, CollectionMaxSize: 5242880, MaxConnections: 4,
		RateLimit: 150, RecordMaxBufferedTime: 100 * time.Millisecond, RecordTTL: 30 * time.Second, RequestTimeout: 6 * time.Second,
	}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, w := range warnings {
		if !w.Default {
			t.Errorf("of the KPL's defaults: %v", w)
		}
	}
	if len(warnings) != 8 {
		t.Errorf("%d warnings: %v", len(warnings), warnings)
	}
}

func TestConfigFromProperties(t *testing.T) {
	c, warnings, err := producer.ConfigFromProperties(strings.NewReader("RateLimit = 0\nRateLimit = 80\nRatelimit = 5\n"))
	if err != nil || c.RateLimit != 80 {
		t.Errorf("the last of two is valid: %+v, %v", c, err)
	}
	if len(warnings) != 1 || warnings[0].String() != "line 3: Ratelimit: the KPL has no such key; check the spelling, or take it out" {
		t.Errorf("warnings: %v", warnings)
	}
	_, _, err = producer.ConfigFromProperties(strings.NewReader("RateLimit = 0\nRecordTtl=1\n"))
	for _, want := range []string{"producer: properties: ", "line 1: RateLimit", "line 2: RecordTtl"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %q", err, want)
		}
	}
	if _, _, err := producer.ConfigFromProperties(strings.NewReader("AggregationMaxSize = 2000000")); err == nil || !strings.Contains(err.Error(), "MaxUserRecordSize") {
		t.Errorf("what does not fit together: %v", err)
	}
}

func FuzzConfigFromProperties(f *testing.F) {
	f.Add([]byte(defaultFile))
	f.Add([]byte("a\\\n b:c\\u00e9\r!x\n=\\"))
	f.Add([]byte("RecordTtl=9223372036854775807\nMaxUserRecordSize\t10485760\nRegion"))
	f.Fuzz(func(t *testing.T, in []byte) {
		kv, err := producer.ReadProperties(bytes.NewReader(in))
		if err == nil {
			// What was read, written with escapes, is read as the same.
			var b strings.Builder
			for i := 0; i < len(kv); i += 2 {
				for j, s := range kv[i : i+2] {
					for _, r := range s {
						if r < 0x10000 {
							fmt.Fprintf(&b, `\u%04x`, r)
						} else {
							fmt.Fprintf(&b, `\u%04X\u%04x`, 0xD800+(r-0x10000)>>10, 0xDC00+(r-0x10000)&0x3ff)
						}
					}
					b.WriteString([]string{"=", "\n"}[j])
				}
			}
			again, err := producer.ReadProperties(strings.NewReader(b.String()))
			if err != nil && b.Len() <= 1<<20 || err == nil && !slices.Equal(again, kv) {
				t.Errorf("%q written as %q is read as %q, %v", kv, b.String(), again, err)
			}
		}
		c, _, err := producer.ConfigFromProperties(bytes.NewReader(in))
		if err != nil {
			return
		}
		c.Logger = quiet()
		p, err := producer.New(newStub(1), "s", c)
		if err != nil {
			t.Fatalf("New refuses %+v: %v", c, err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
