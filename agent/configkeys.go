package agent

import (
	"fmt"
	"strings"
	"time"
)

// A key is a name that a configuration may hold. Exactly one of set, idle and
// refuse is given.
type key[T any] struct {
	set    func(t *T, n *node) error
	idle   string // why it has no effect here
	refuse string // why it is an error, and what to do instead
}

func text[T any](f func(*T) *string) key[T] {
	return key[T]{set: func(t *T, n *node) (err error) { *f(t), err = n.asString(); return err }}
}

func whole[T any](f func(*T) *int) key[T] {
	return key[T]{set: func(t *T, n *node) error {
		v, err := n.asInt()
		if *f(t) = int(v); err == nil && int64(int(v)) != v {
			err = fmt.Errorf("%d is too large", v)
		}
		return err
	}}
}

// positive is whole for a number where zero would be a choice that does not exist.
func positive[T any](f func(*T) *int) key[T] {
	k := whole(f)
	return key[T]{set: func(t *T, n *node) error {
		err := k.set(t, n)
		if err == nil && *f(t) <= 0 {
			err = fmt.Errorf("%d must be more than 0", *f(t))
		}
		return err
	}}
}

func truth[T any](f func(*T) *bool) key[T] {
	return key[T]{set: func(t *T, n *node) (err error) { *f(t), err = n.asBool(); return err }}
}

// unless is truth for a field that says the opposite.
func unless[T any](f func(*T) *bool) key[T] {
	return key[T]{set: func(t *T, n *node) error {
		v, err := n.asBool()
		*f(t) = !v
		return err
	}}
}

func texts[T any](f func(*T) *[]string) key[T] {
	return key[T]{set: func(t *T, n *node) (err error) { *f(t), err = n.asStrings(); return err }}
}

func span64[T any](unit time.Duration, f func(*T) *time.Duration) key[T] {
	return key[T]{set: func(t *T, n *node) error {
		v, err := n.asInt()
		if err != nil {
			return err
		}
		if v <= 0 {
			// Zero would take the default behind the user's back.
			return fmt.Errorf("%d must be more than 0", v)
		}
		if v > int64(365*24*100*time.Hour/unit) {
			return fmt.Errorf("%d is more than a hundred years", v)
		}
		*f(t) = time.Duration(v) * unit
		return nil
	}}
}

// pause is span64 in milliseconds of which zero, as the official agent takes it, is the
// least there is.
func pause(f func(*FlowConfig) *time.Duration) key[FlowConfig] {
	k := span64(time.Millisecond, f)
	return key[FlowConfig]{set: func(t *FlowConfig, n *node) error {
		if v, err := n.asInt(); err == nil && v == 0 {
			*f(t) = time.Millisecond
			return nil
		}
		return k.set(t, n)
	}}
}

func idle[T any](why string) key[T]   { return key[T]{idle: why} }
func refuse[T any](why string) key[T] { return key[T]{refuse: why} }

const (
	noQueueOfMetrics = "metrics are written as they are read, without a queue"
	onSocket         = "all counters are on /metrics of the status socket, and in the status line"
	noPool           = "the producer needs no pool of sending threads"
	sdkHTTP          = "the HTTP client has fixed settings"
	noQueue          = "memory is bounded by maxMemoryBytes, not by queues"
	useProcess       = "Java classes cannot be loaded; put credential_process into a profile of ~/.aws/config instead"
)

// setLogLevel takes the levels of log4j, which the official agent's users know.
func setLogLevel(c *Config, n *node) error {
	s, err := n.asString()
	if err != nil {
		return err
	}
	level, ok := logLevels[strings.ToUpper(s)]
	if !ok {
		return fmt.Errorf("%q is none of TRACE, DEBUG, INFO, WARN, ERROR, FATAL", s)
	}
	c.LogLevel = level
	return nil
}

var logLevels = map[string]string{
	"TRACE": "DEBUG", "DEBUG": "DEBUG", "INFO": "INFO", "WARN": "WARN", "ERROR": "ERROR", "FATAL": "ERROR",
}

// agentKeys are the keys at the top of the configuration, all of the official
// agent's and our own. "flows" is read apart.
var agentKeys = map[string]key[Config]{
	"awsAccessKeyId":           text(func(c *Config) *string { return &c.Service.AccessKeyID }),
	"awsSecretAccessKey":       text(func(c *Config) *string { return &c.Service.SecretAccessKey }),
	"assumeRoleARN":            text(func(c *Config) *string { return &c.Service.AssumeRoleARN }),
	"assumeRoleExternalId":     text(func(c *Config) *string { return &c.Service.AssumeRoleExternalID }),
	"sts.endpoint":             text(func(c *Config) *string { return &c.Service.STSEndpoint }),
	"kinesis.endpoint":         text(func(c *Config) *string { return &c.Service.KinesisEndpoint }),
	"kinesis.region":           text(func(c *Config) *string { return &c.Service.KinesisRegion }),
	"firehose.endpoint":        text(func(c *Config) *string { return &c.Service.FirehoseEndpoint }),
	"maxSendingThreads":        positive(func(c *Config) *int { return &c.Service.MaxSendingThreads }),
	"maxSendingThreadsPerCore": positive(func(c *Config) *int { return &c.Service.MaxSendingThreadsPerCore }),
	"maxConnections":           positive(func(c *Config) *int { return &c.Service.MaxConnections }),
	"socketTimeoutMillis":      span64(time.Millisecond, func(c *Config) *time.Duration { return &c.Service.SocketTimeout }),
	"connectionTimeoutMillis":  span64(time.Millisecond, func(c *Config) *time.Duration { return &c.Service.ConnectionTimeout }),
	"userAgent":                text(func(c *Config) *string { return &c.Service.UserAgent }),
	"userAgentOverride":        text(func(c *Config) *string { return &c.Service.UserAgentOverride }),
	"cloudwatch.emitMetrics":   truth(func(c *Config) *bool { return &c.CloudWatch.Emit }),
	"cloudwatch.namespace":     text(func(c *Config) *string { return &c.CloudWatch.Namespace }),
	"cloudwatch.tagInstance":   truth(func(c *Config) *bool { return &c.CloudWatch.TagInstance }),
	"cloudwatch.metricsFile":   text(func(c *Config) *string { return &c.CloudWatch.File }),
	"cloudwatch.metricsBufferTimeMillis": span64(time.Millisecond,
		func(c *Config) *time.Duration { return &c.CloudWatch.Period }),
	"log.level":                {set: setLogLevel},
	"checkpointFile":           text(func(c *Config) *string { return &c.CheckpointFile }),
	"checkpointTimeToLiveDays": span64(24*time.Hour, func(c *Config) *time.Duration { return &c.CheckpointTimeToLive }),
	"shutdownTimeoutMillis":    span64(time.Millisecond, func(c *Config) *time.Duration { return &c.ShutdownTimeout }),
	"log.statusReportingPeriodSeconds": span64(time.Second,
		func(c *Config) *time.Duration { return &c.StatusPeriod }),
	"maxMemoryBytes": {set: func(c *Config, n *node) (err error) {
		if c.MaxMemoryBytes, err = n.asInt(); err == nil && c.MaxMemoryBytes <= 0 {
			err = fmt.Errorf("%d must be more than 0", c.MaxMemoryBytes)
		}
		return err
	}},

	"userDefinedCredentialsProvider.classname": refuse[Config](useProcess),
	"userDefinedCredentialsProvider.location":  refuse[Config](useProcess),

	"cloudwatch.endpoint": idle[Config]("metrics are written as lines, which the CloudWatch agent or the log driver " +
		"of a container takes to CloudWatch"),
	"cloudwatch.metricsQueueSize":     idle[Config](noQueueOfMetrics),
	"log.emitMetrics":                 idle[Config](onSocket),
	"log.emitInternalMetrics":         idle[Config](onSocket),
	"log.file":                        idle[Config]("the log goes to the standard error output"),
	"checkpoints.queryTimeoutSeconds": idle[Config]("the checkpoint file is no SQLite database"),
	"checkpoints.connectionTimeoutSeconds": idle[Config](
		"the checkpoint file is no SQLite database"),
	"sendingThreadsKeepAliveMillis": idle[Config](noPool),
	"sendingThreadsMaxQueueSize":    idle[Config](noPool),
	"connectionTTLMillis":           idle[Config](sdkHTTP),
	"useTcpKeepAlive":               idle[Config](sdkHTTP),
	"useHttpGzip":                   idle[Config](sdkHTTP),
}

// flowKeys are the keys of a flow. "dataProcessingOptions" is read apart.
var flowKeys = map[string]key[FlowConfig]{
	"filePattern":               text(func(f *FlowConfig) *string { return &f.FilePattern }),
	"kinesisStream":             text(func(f *FlowConfig) *string { return &f.KinesisStream }),
	"deliveryStream":            text(func(f *FlowConfig) *string { return &f.DeliveryStream }),
	"id":                        text(func(f *FlowConfig) *string { return &f.ID }),
	"aggregatedRecordSizeBytes": whole(func(f *FlowConfig) *int { return &f.AggregatedRecordSizeBytes }),
	"include":                   texts(func(f *FlowConfig) *[]string { return &f.Include }),
	"exclude":                   texts(func(f *FlowConfig) *[]string { return &f.Exclude }),
	"partitionKey":              text(func(f *FlowConfig) *string { return &f.PartitionKey }),
	"partitionKeyOption": {set: func(f *FlowConfig, n *node) error {
		switch s, err := n.asString(); {
		case err != nil:
			return err
		case s == "RANDOM":
			def(&f.PartitionKey, KeyRandom)
		case s == "DETERMINISTIC":
			def(&f.PartitionKey, KeyDeterministic)
		default:
			return fmt.Errorf("%q is none of RANDOM, DETERMINISTIC", s)
		}
		return nil
	}},
	"initialPosition": {set: func(f *FlowConfig, n *node) error {
		s, err := n.asString()
		if f.StartOfFile = s == "START_OF_FILE"; err == nil && !f.StartOfFile && s != "END_OF_FILE" {
			err = fmt.Errorf("%q is none of START_OF_FILE, END_OF_FILE", s)
		}
		return err
	}},
	"skipHeaderLines":      whole(func(f *FlowConfig) *int { return &f.SkipHeaderLines }),
	"multiLineFlushMillis": span64(time.Millisecond, func(f *FlowConfig) *time.Duration { return &f.MultiLineFlush }),
	"maxRecordBytes":       positive(func(f *FlowConfig) *int { return &f.MaxRecordBytes }),
	"maxBufferAgeMillis":   span64(time.Millisecond, func(f *FlowConfig) *time.Duration { return &f.MaxBufferAge }),
	"maxBufferSizeRecords": positive(func(f *FlowConfig) *int { return &f.MaxBufferSizeRecords }),
	"maxBufferSizeBytes":   positive(func(f *FlowConfig) *int { return &f.MaxBufferSizeBytes }),
	"aggregation":          truth(func(f *FlowConfig) *bool { return &f.Aggregation }),
	"minTimeBetweenFilePollsMillis": pause(
		func(f *FlowConfig) *time.Duration { return &f.PollInterval }),
	"maxTimeBetweenFileTrackerRefreshMillis": pause(
		func(f *FlowConfig) *time.Duration { return &f.ScanInterval }),
	"rotateWaitSeconds":         span64(time.Second, func(f *FlowConfig) *time.Duration { return &f.RotateWait }),
	"retryInitialBackoffMillis": pause(func(f *FlowConfig) *time.Duration { return &f.RetryInitial }),
	"retryMaxBackoffMillis":     pause(func(f *FlowConfig) *time.Duration { return &f.RetryMax }),
	"maxOpenFiles":              positive(func(f *FlowConfig) *int { return &f.MaxOpenFiles }),

	"rotatedDirs":        texts(func(f *FlowConfig) *[]string { return &f.RotatedDirs }),
	"ignoreOlderSeconds": span64(time.Second, func(f *FlowConfig) *time.Duration { return &f.IgnoreOlder }),
	"readRotatedGzip":    unless(func(f *FlowConfig) *bool { return &f.SkipRotatedGzip }),
	"closeDeletedAfterSeconds": {set: func(f *FlowConfig, n *node) error {
		v, err := n.asInt()
		if err == nil && (v == 0 || v > 36500*86400) {
			err = fmt.Errorf("%d must be more than 0, or -1 for ever", v)
		}
		if f.CloseDeletedAfter = time.Duration(v) * time.Second; v < 0 {
			f.CloseDeletedAfter = -1
		}
		return err
	}},

	"multiLineStartPattern":     {set: setMultiLineStart},
	"multiLineMaxBytes":         positive(func(f *FlowConfig) *int { return &f.MultiLineMaxBytes }),
	"flushPartialAfterMillis":   span64(time.Millisecond, func(f *FlowConfig) *time.Duration { return &f.FlushPartial }),
	"fileFooterPattern":         {set: setFileFooter},
	"truncatedRecordTerminator": {set: setTerminator},
	"encoding":                  text(func(f *FlowConfig) *string { return &f.Encoding }),
	"container":                 text(func(f *FlowConfig) *string { return &f.Container }),
	"onOversize":                text(func(f *FlowConfig) *string { return &f.OnOversize }),
	"onParseError":              text(func(f *FlowConfig) *string { return &f.OnParseError }),
	"deadLetterFile":            text(func(f *FlowConfig) *string { return &f.DeadLetterFile }),

	"ordering":                 text(func(f *FlowConfig) *string { return &f.Ordering }),
	"onTruncateSearchSiblings": unless(func(f *FlowConfig) *bool { return &f.SkipSiblings }),
	"drainOnShutdown":          unless(func(f *FlowConfig) *bool { return &f.SkipDrain }),
	"deleteAfterDelivered":     truth(func(f *FlowConfig) *bool { return &f.DeleteDelivered }),
	"protect":                  text(func(f *FlowConfig) *string { return &f.Protect }),
	"protectDirectory":         text(func(f *FlowConfig) *string { return &f.ProtectDirectory }),
	"protectMaxBytes": {set: func(f *FlowConfig, n *node) (err error) {
		if f.ProtectMaxBytes, err = n.asInt(); err == nil && f.ProtectMaxBytes <= 0 {
			err = fmt.Errorf("%d must be more than 0", f.ProtectMaxBytes)
		}
		return err
	}},
	"recordTtlSeconds": span64(time.Second, func(f *FlowConfig) *time.Duration { return &f.RecordTTL }),

	"publishQueueCapacity":         idle[FlowConfig](noQueue),
	"waitOnFullPublishQueueMillis": idle[FlowConfig](noQueue),
	"waitOnEmptyPublishQueueMillis": idle[FlowConfig](
		noQueue),
	"log.emitInternalMetrics": idle[FlowConfig](onSocket),
}
