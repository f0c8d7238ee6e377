package producer

import (
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/streamkit/streamkit/internal/javaprops"
)

// A Warning is about a key of a properties file that is of no effect here, or of
// another one than in the KPL.
type Warning struct {
	Line    int    // of the file, from 1
	Key     string // as written
	Message string // why, and what to do
	// Default tells that the value is the KPL's default: nothing was asked for
	// that would be missed.
	Default bool
}

func (w Warning) String() string { return fmt.Sprintf("line %d: %s: %s", w.Line, w.Key, w.Message) }

// ConfigFromProperties reads a properties file of the Kinesis Producer Library and
// returns the settings that have a meaning here. Keys that have none are warnings
// that say why, and what to do. Values are held to the KPL's ranges; the error joins
// all that are not, and what [New] would refuse. What the file does not set has the
// default of [Config], which is not always the KPL's.
func ConfigFromProperties(r io.Reader) (Config, []Warning, error) {
	entries, err := javaprops.Read(r)
	if err != nil {
		return Config{}, nil, fmt.Errorf("producer: properties: %w", err)
	}
	last := make(map[string]int) // of several with one key the last is valid
	for i, e := range entries {
		last[e.Key] = i
	}
	var c Config
	var warnings []Warning
	var errs []error
	for i, e := range entries {
		if last[e.Key] != i {
			continue
		}
		warn := func(isDefault bool, message string) {
			warnings = append(warnings, Warning{Line: e.Line, Key: e.Key, Message: message, Default: isDefault})
		}
		k, known := kplKeys[e.Key]
		if !known {
			warn(false, "the KPL has no such key; check the spelling, or take it out")
			continue
		}
		v, err := k.parse(strings.TrimSpace(e.Value))
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %s: %w", e.Line, e.Key, err))
			continue
		}
		isDefault := strings.TrimSpace(e.Value) == k.initial
		if k.most > 0 && v.n > k.most {
			v.n = k.most
			warn(isDefault, fmt.Sprintf("taken for %d: %s", k.most, k.note))
		} else if k.most == 0 && k.note != "" {
			warn(isDefault, k.note)
		}
		if k.set != nil {
			k.set(&c, v)
		}
	}
	if len(errs) == 0 {
		// Each is in range, and yet they may not fit together.
		if _, err := c.withDefaults(); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, warnings, fmt.Errorf("producer: properties: %w", err)
	}
	return c, warnings, nil
}

// kplKey is a key of the KPL's configuration.
type kplKey struct {
	parse   func(string) (kplValue, error)
	initial string // the KPL's default
	set     func(*Config, kplValue)
	// note is the warning that the key has no effect here; with most set, the
	// reason why that is the greatest value of effect.
	note string
	most int64
}

type kplValue struct {
	n int64
	b bool
}

func number(low, high int64) func(string) (kplValue, error) {
	return func(s string) (v kplValue, err error) {
		v.n, err = strconv.ParseInt(s, 10, 64)
		if err != nil || v.n < low || v.n > high {
			return v, fmt.Errorf("%q is no number in [%d, %d]", s, low, high)
		}
		return v, nil
	}
}

func boolean(s string) (v kplValue, err error) {
	switch strings.ToLower(s) {
	case "true":
		return kplValue{b: true}, nil
	case "false":
		return v, nil
	}
	return v, fmt.Errorf("%q is neither true nor false", s)
}

// like accepts what fits a pattern as a whole. The value is not part of the error
// where secret is set.
func like(pattern string, secret bool) func(string) (kplValue, error) {
	form := regexp.MustCompile("(?s)^(?:" + pattern + ")$")
	return func(s string) (v kplValue, err error) {
		switch {
		case form.MatchString(s):
			return v, nil
		case secret:
			return v, fmt.Errorf("value does not have the form %s", pattern)
		}
		return v, fmt.Errorf("%q does not have the form %s", s, pattern)
	}
}

func namespace(s string) (v kplValue, err error) {
	if s == "" || len(s) > 255 || strings.HasPrefix(s, "AWS/") {
		return v, fmt.Errorf("%q is no namespace: 1 to 255 characters, not beginning with AWS/", s)
	}
	return v, nil
}

// millis returns a number of milliseconds as a duration, as long as that can be.
func millis(n int64) time.Duration {
	if n > math.MaxInt64/int64(time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Millisecond
}

const (
	anyText  = `.*`
	hostForm = `([A-Za-z0-9.:-]+)?`

	noteClient = "the Kinesis client is made by the caller: "
	noteCreds  = noteClient + "give its configuration the credentials, or a provider; aws-sdk-go-v2/config finds and renews them"
	noteDaemon = "there is no native process here; take it out"
	noteGlue   = "schemas are the caller's: write the header of 18 bytes in Config.Encoder"
	noteCW     = "producer/producercw sends metrics to CloudWatch: set its Config, and put it into Config.Hooks"
	noteCWEnd  = "the CloudWatch client is made by the caller: set its BaseEndpoint"
	noteEnd    = noteClient + "set its BaseEndpoint, with scheme and port"
	notePool   = "requests need no threads here; MaxConnections bounds those in flight"
	noteProxy  = noteClient + "its HTTP client takes the proxy from HTTPS_PROXY, or set Proxy of its transport"
	noteTLS    = noteClient + "set TLSClientConfig of its HTTP client's transport"
)

// kplKeys are the keys of KPL 1.x, and those of files from its first years, with
// their ranges.
//
// Source: amazon-kinesis-producer, KinesisProducerConfiguration.java and
// default_config.properties.
var kplKeys = map[string]kplKey{
	"AggregationEnabled":  {parse: boolean, initial: "true", set: func(c *Config, v kplValue) { c.DisableAggregation = !v.b }},
	"AggregationMaxCount": {parse: number(1, math.MaxInt64), initial: "4294967295", set: func(c *Config, v kplValue) { c.AggregationMaxCount = int(min(v.n, math.MaxInt)) }},
	"AggregationMaxSize":  {parse: number(64, 10<<20), initial: "51200", set: func(c *Config, v kplValue) { c.AggregationMaxSize = int(v.n) }},
	"CollectionMaxCount":  {parse: number(1, 500), initial: "500", set: func(c *Config, v kplValue) { c.CollectionMaxCount = int(v.n) }},
	"CollectionMaxSize": {
		parse: number(52224, math.MaxInt64), initial: "5242880", set: func(c *Config, v kplValue) { c.CollectionMaxSize = int(v.n) },
		most: 10 << 20, note: "a request takes no more",
	},
	"FailIfThrottled":   {parse: boolean, initial: "false", set: func(c *Config, v kplValue) { c.FailIfThrottled = v.b }},
	"MaxConnections":    {parse: number(1, 256), initial: "24", set: func(c *Config, v kplValue) { c.MaxConnections = int(v.n) }},
	"MaxUserRecordSize": {parse: number(64, 10<<20), initial: "1048576", set: func(c *Config, v kplValue) { c.MaxUserRecordSize = int(v.n) }},
	"RateLimit": {
		parse: number(1, math.MaxInt64), initial: "150", set: func(c *Config, v kplValue) { c.RateLimit = int(v.n) },
		most: 1_000_000, note: "which no shard comes near; take it out, and the rate adapts to what the shards take",
	},
	"RecordMaxBufferedTime": {parse: number(0, math.MaxInt64), initial: "100", set: func(c *Config, v kplValue) {
		if c.RecordMaxBufferedTime = millis(v.n); v.n == 0 {
			c.RecordMaxBufferedTime = -1
		}
	}},
	"RecordTtl": {parse: number(100, math.MaxInt64), initial: "30000", set: func(c *Config, v kplValue) {
		if c.RecordTTL = millis(v.n); c.RecordTTL == math.MaxInt64 {
			c.RecordTTL = -1 // what the KPL's users write for never
		}
	}},
	"RequestTimeout": {parse: number(100, 600000), initial: "6000", set: func(c *Config, v kplValue) { c.RequestTimeout = millis(v.n) }},

	"AwsAccessKeyId":                       {parse: like(anyText, true), note: noteCreds},
	"AwsSecretKey":                         {parse: like(anyText, true), note: noteCreds},
	"CaCertFile":                           {parse: like(anyText, false), note: noteTLS},
	"CaCertPath":                           {parse: like(anyText, false), note: noteTLS},
	"CloudwatchEndpoint":                   {parse: like(hostForm, false), note: noteCWEnd},
	"CloudwatchPort":                       {parse: number(1, 65535), initial: "443", note: noteCWEnd},
	"ConnectTimeout":                       {parse: number(100, 300000), initial: "6000", note: noteClient + "set Timeout of the dialer of its HTTP client's transport; RequestTimeout bounds all of a request in any case"},
	"CredentialsRefreshDelay":              {parse: number(1, 300000), initial: "5000", note: noteCreds},
	"CustomEndpoint":                       {parse: like(hostForm, false), note: noteEnd},
	"DaemonHealthCheckTimeoutMs":           {parse: number(5000, math.MaxInt64), initial: "30000", note: noteDaemon},
	"EnableCoreDumps":                      {parse: boolean, initial: "false", note: noteDaemon},
	"EnableDaemonHealthCheck":              {parse: boolean, initial: "false", note: noteDaemon},
	"EnableOldestFutureTracker":            {parse: boolean, initial: "true", note: "there are no futures here; a PutHook can note when each record was put"},
	"GlueSchemaRegistryPropertiesFilePath": {parse: like(anyText, false), note: noteGlue},
	"KinesisEndpoint":                      {parse: like(hostForm, false), note: noteEnd},
	"KinesisPort":                          {parse: number(1, 65535), initial: "443", note: noteEnd},
	"LogLevel":                             {parse: like("trace|debug|info|warning|error", false), initial: "info", note: "set the level of the handler of Config.Logger"},
	"MetricsGranularity":                   {parse: like("global|stream|shard", false), initial: "shard", note: noteCW},
	"MetricsLevel":                         {parse: like("none|summary|detailed", false), initial: "detailed", note: noteCW},
	"MetricsNamespace":                     {parse: namespace, initial: "KinesisProducerLibrary", note: noteCW},
	"MetricsUploadDelay":                   {parse: number(1, 60000), initial: "60000", note: noteCW},
	"MinConnections":                       {parse: number(1, 16), initial: "1", note: "connections are opened as they are needed; take it out"},
	"NativeExecutable":                     {parse: like(anyText, false), note: noteDaemon},
	"Port":                                 {parse: number(1, 65535), initial: "443", note: noteEnd},
	"ProxyHost":                            {parse: like(anyText, false), note: noteProxy},
	"ProxyPassword":                        {parse: like(anyText, true), note: noteProxy},
	"ProxyPort":                            {parse: number(1, 65535), initial: "443", note: noteProxy},
	"ProxyUserName":                        {parse: like(anyText, true), note: noteProxy},
	"RecordDistributionStrategyDefault":    {parse: like(anyText, false), note: "the producer finds it out; if it may not ask for it, set DisableAggregation for streams with AUTO"},
	"Region":                               {parse: like(`([a-z]+-([a-z]+-)?[a-z]+-[0-9])?`, false), note: noteClient + "set Region of its configuration"},
	"ReturnUserRecordOnFailure":            {parse: boolean, initial: "false", note: "set Tag of the user records: Result gives it back"},
	"StsEndpoint":                          {parse: like(hostForm, false), note: noteCreds},
	"StsPort":                              {parse: number(1, 65535), initial: "443", note: noteCreds},
	"TempDirectory":                        {parse: like(anyText, false), note: noteDaemon},
	"ThreadPoolSize":                       {parse: number(0, math.MaxInt64), initial: "0", note: notePool},
	"ThreadingModel":                       {parse: like("PER_REQUEST|POOLED", false), initial: "PER_REQUEST", note: notePool},
	"UserRecordTimeoutInMillis":            {parse: number(0, math.MaxInt64), initial: "0", note: "RecordTtl bounds a record's time, and the ctx of PutSync the wait for it"},
	"VerifyCertificate":                    {parse: boolean, initial: "true", note: noteTLS},
}
