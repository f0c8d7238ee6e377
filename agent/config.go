package agent

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/agent/internal/transform"
	"github.com/streamkit/streamkit/internal/vfs"
)

// DefaultCheckpointFile is where the positions are kept without a checkpointFile.
// It differs from the official agent's, which lies on a file system in memory
// and is lost with each reboot; the format is our own.
const DefaultCheckpointFile = "/var/lib/streamagent/checkpoints"

// Config is the configuration of an [Agent], as [LoadConfig] reads it from an
// agent.json. The comments name its keys.
type Config struct {
	Flows []FlowConfig // flows

	// Service says which services the flows speak to, and how. The agent itself does
	// not read it: it is for the one who makes the sinks.
	Service Service

	// CloudWatch says whether and how metrics are written for CloudWatch.
	CloudWatch CloudWatch

	// LogLevel (log.level) is DEBUG, INFO, WARN or ERROR; empty if the configuration
	// does not say.
	LogLevel string

	// CheckpointFile (checkpointFile) keeps the positions. Default
	// [DefaultCheckpointFile].
	CheckpointFile string

	// CheckpointTimeToLive (checkpointTimeToLiveDays) is how long the position of a
	// finished file is kept once the file is gone. Default 7 days.
	CheckpointTimeToLive time.Duration

	// ShutdownTimeout (shutdownTimeoutMillis) bounds the wait for what is in flight
	// when the agent stops. Default 10s.
	ShutdownTimeout time.Duration

	// StatusPeriod (log.statusReportingPeriodSeconds) is the time between two
	// status lines in the log. Default 30s.
	StatusPeriod time.Duration

	// MaxMemoryBytes (maxMemoryBytes, not in the official agent) is the budget for
	// records that are read and not yet acknowledged. Three eighths of it are for the
	// agent, of all flows together, and half for the buffers of its producers, in equal
	// parts. Default 16 MiB.
	MaxMemoryBytes int64

	// Ephemeral keeps the positions in memory alone and begins with none: for trials
	// that leave no trace. Nothing is deleted or protected, and no dead letter is
	// written, whatever the flows say.
	Ephemeral bool

	// Once makes Run return when every file is read to its end and delivered. The error
	// is [ErrUnread] if some cannot be read.
	Once bool

	// Logger receives the agent's log; nil is slog.Default().
	Logger *slog.Logger

	// FS is the file system; nil is the operating system's.
	FS vfs.FS

	// NewWatcher makes the watcher of a flow; nil is [NewFSWatcher].
	NewWatcher func() (Watcher, error)

	// NetworkFS returns the kind of the file system of a directory if it is one
	// whose events and inode numbers are not to be trusted, as NFS is; "" if it is
	// not. Nil asks the operating system.
	NetworkFS func(dir string) string
}

// Service is how to reach Kinesis and Firehose. Empty fields leave the choice to
// the AWS SDK.
type Service struct {
	KinesisEndpoint  string // kinesis.endpoint
	KinesisRegion    string // kinesis.region, also of Firehose
	FirehoseEndpoint string // firehose.endpoint

	AccessKeyID     string // awsAccessKeyId
	SecretAccessKey string // awsSecretAccessKey

	AssumeRoleARN        string // assumeRoleARN, on top of the other credentials
	AssumeRoleExternalID string // assumeRoleExternalId
	STSEndpoint          string // sts.endpoint

	// MaxSendingThreads (maxSendingThreads, or maxSendingThreadsPerCore for each
	// processor) is the most calls at once, of all flows together. Default 0: as
	// many as the producers find useful.
	MaxSendingThreads        int
	MaxSendingThreadsPerCore int
	// MaxConnections (maxConnections) bounds the calls at once like
	// MaxSendingThreads.
	MaxConnections int
	// SocketTimeout (socketTimeoutMillis) bounds one call, connecting included.
	// Default 0: the producer's.
	SocketTimeout time.Duration
	// ConnectionTimeout (connectionTimeoutMillis) bounds the making of a connection,
	// and then its TLS handshake. Default 0: 6s.
	ConnectionTimeout time.Duration

	UserAgent         string // userAgent, put before the SDK's own
	UserAgentOverride string // userAgentOverride, in place of it
}

// readMemory is the part of MaxMemoryBytes for what is read.
func (c *Config) readMemory() int64 { return c.MaxMemoryBytes / 8 * 3 }

// sinkMemory is the part of MaxMemoryBytes for the buffers of each sink.
func (c *Config) sinkMemory() int64 { return c.MaxMemoryBytes / 2 / int64(len(c.Flows)) }

// CloudWatch is the writing of metrics in CloudWatch's embedded metric format.
type CloudWatch struct {
	// Emit (cloudwatch.emitMetrics) writes them. Default false, where the official
	// agent has true: it sends them itself, and these need somebody who does.
	Emit bool
	// Namespace (cloudwatch.namespace) is theirs. Default AWSKinesisAgent.
	Namespace string
	// TagInstance (cloudwatch.tagInstance) adds the dimension Instance.
	TagInstance bool
	// Period (cloudwatch.metricsBufferTimeMillis) is the time between two reports.
	// Default 30s; from 1s to 1h.
	Period time.Duration
	// File (cloudwatch.metricsFile, not in the official agent) is appended to.
	// Default: the standard output.
	File string
}

// FlowConfig is one flow: the files of a directory whose names match, and the
// stream that their records go to.
type FlowConfig struct {
	// ID (id, not in the official agent) is the key of the positions. Default
	// kinesis:STREAM:PATTERN or fh:STREAM:PATTERN, the official agent's, under which
	// a change of the stream or the pattern forgets the positions.
	ID            string
	FilePattern   string // filePattern: a directory and a pattern for names
	KinesisStream string // kinesisStream
	// DeliveryStream (deliveryStream) sends the records to Amazon Data Firehose. It
	// wins over KinesisStream.
	DeliveryStream string

	// Include and Exclude (include, exclude; not in the official agent) are further
	// patterns: a file belongs to the flow if it matches filePattern or one of
	// Include, and none of Exclude. One without a directory is for names, in the
	// directories of filePattern. In all of them a directory may be a pattern too,
	// and "**" stands for any number of directories.
	Include, Exclude []string

	// RotatedDirs (rotatedDirs, not in the official agent) are directories that
	// rotated files are moved to, seen from the directory of the file if they are not
	// absolute. The rest of a file that was rotated while the agent did not run is
	// looked for there. Default none.
	RotatedDirs []string

	// SkipRotatedGzip (readRotatedGzip false, not in the official agent) gives up the
	// rest of a file that was compressed before it was read. The default, false,
	// reads it from the compressed file.
	SkipRotatedGzip bool

	// IgnoreOlder (ignoreOlderSeconds, not in the official agent) leaves out files
	// that are found for the first time and were not written for so long. Default 0,
	// none is.
	IgnoreOlder time.Duration

	// CloseDeletedAfter (closeDeletedAfterSeconds, not in the official agent) is how
	// long a deleted file is held open without any progress in reading it; what is
	// unread then is counted as lost. Default 15m; negative is for ever.
	CloseDeletedAfter time.Duration

	// PartitionKey (partitionKey) is one of the Key constants. Default KeyRandom.
	PartitionKey string

	// Ordering (ordering, not in the official agent) is one of the Ordering constants.
	// Default OrderingNone.
	Ordering string

	// SkipSiblings (onTruncateSearchSiblings false, not in the official agent) does not
	// look beside a file that was truncated, or in RotatedDirs, for a copy of what was
	// not read of it; a copy that is a file of the flow is still found. The default,
	// false, looks.
	SkipSiblings bool

	// SkipDrain (drainOnShutdown false, not in the official agent) does not wait, when
	// the flow ends, for what is on its way. It is read again at the next start, and
	// arrives twice if it was stored. The default, false, waits for up to
	// Config.ShutdownTimeout.
	SkipDrain bool

	// DeleteDelivered (deleteAfterDelivered, not in the official agent) deletes rotated
	// files once every byte is acknowledged and the position that says so is on the
	// disk. A file that has the name under which it is written to is never deleted.
	DeleteDelivered bool

	// Protect (protect, not in the official agent) is one of the Protect constants.
	// Default ProtectNone. With ProtectHardlink each file has a second name below
	// ProtectDirectory until it is delivered: what is rotated away or deleted while the
	// agent does not run is read all the same, but for what is truncated. Where that
	// cannot be, it is logged and counted, and the file is read as without.
	Protect string
	// ProtectDirectory (protectDirectory, not in the official agent) must be on the file
	// system of the files. Default: protected, beside Config.CheckpointFile.
	ProtectDirectory string
	// ProtectMaxBytes (protectMaxBytes, not in the official agent) bounds what deleted
	// files take of the disk for their second name alone; beyond it the oldest lose
	// theirs. Default 1 GiB.
	ProtectMaxBytes int64

	// RecordTTL (recordTtlSeconds, not in the official agent) is how long after it was
	// read a record may wait for the stream. Then it goes to the DeadLetterFile, or
	// without one is counted as lost. Default 0: for ever.
	RecordTTL time.Duration

	// StartOfFile (initialPosition) reads the files that are there at the first
	// start from their beginning. The default, false, reads them from their end, also
	// those that the first start cannot see, once they can be seen.
	StartOfFile bool

	SkipHeaderLines int            // skipHeaderLines; default 0
	MultiLineStart  *regexp.Regexp // multiLineStartPattern; nil: a record is a line
	// MultiLineFlush (multiLineFlushMillis, not in the official agent) closes the
	// last record of a file that did not grow for this long, and a line of a container
	// whose last part did not come. Default 1s.
	MultiLineFlush time.Duration
	// MultiLineMaxBytes (multiLineMaxBytes, not in the official agent) closes a record
	// of several lines before the line with which it would be longer. Default what
	// MaxRecordBytes allows.
	MultiLineMaxBytes int
	// FlushPartial (flushPartialAfterMillis, not in the official agent) takes a last
	// line without a newline for whole when its file did not grow for this long.
	// Default 0: it waits until it is, or the file is rotated.
	FlushPartial time.Duration
	// FileFooter (fileFooterPattern) matches records, without blanks around them, that
	// are left out.
	FileFooter *regexp.Regexp

	// Encoding (encoding, not in the official agent) is how the characters of the files
	// are written: bytes, utf-8, utf-16, utf-16le, utf-16be, iso-8859-1, windows-1252,
	// or auto for what a byte order mark says. What arrives is UTF-8. Default bytes: as
	// they are.
	Encoding string
	// Container (container, not in the official agent) is one of the Container
	// constants if the files are the logs of containers. What arrives is what the
	// process wrote. Default none.
	Container string

	// OnOversize (onOversize, not in the official agent) is one of the Oversize
	// constants. Default OversizeTruncate.
	OnOversize string
	// OnParseError (onParseError, not in the official agent) is one of the ParseError
	// constants. Default as the official agent has it: a line that LOGTOJSON does not
	// match is left out, a record that another option cannot convert is sent as it is.
	OnParseError string
	// DeadLetterFile (deadLetterFile, not in the official agent) is the file that
	// OversizeDeadLetter and ParseErrorDeadLetter append records to, a line each, and
	// RecordTTL those that are too old. They are on the disk before the position that
	// lies behind them.
	DeadLetterFile string

	TruncatedRecordTerminator string // truncatedRecordTerminator; default "\n"
	// NoRecordTerminator (an empty truncatedRecordTerminator) leaves a record that is cut
	// as it is.
	NoRecordTerminator bool
	// MaxRecordBytes (maxRecordBytes, not in the official agent) is where a record is
	// cut, its partition key included. Default 1 MiB, and with DeliveryStream 1000 KiB,
	// which is then also the most. Kinesis takes up to 10 MiB if the stream is set so.
	// More than 1 MiB needs a Config.MaxMemoryBytes of four times as much for each flow.
	MaxRecordBytes int

	MaxBufferAge         time.Duration // maxBufferAgeMillis; default 60s
	MaxBufferSizeRecords int           // maxBufferSizeRecords; default 500
	MaxBufferSizeBytes   int           // maxBufferSizeBytes; default 5 MiB, and up to 10 MiB; with DeliveryStream both 4 MiB

	// AggregatedRecordSizeBytes (aggregatedRecordSizeBytes), with DeliveryStream and
	// without MultiLineStart, packs whole lines in records of up to this size.
	// Default 0: a line is a record; at most 1024000.
	AggregatedRecordSizeBytes int

	// Aggregation (aggregation, not in the official agent) packs records as the KPL
	// does. Default false: a consumer of the official agent's records need not know
	// the packed form.
	Aggregation bool

	PollInterval   time.Duration // minTimeBetweenFilePollsMillis; default 100ms
	ScanInterval   time.Duration // maxTimeBetweenFileTrackerRefreshMillis; default 10s
	RotateWait     time.Duration // rotateWaitSeconds; default 5s
	RetryInitial   time.Duration // retryInitialBackoffMillis; default 100ms
	RetryMax       time.Duration // retryMaxBackoffMillis; default 10s
	DataProcessing *transform.Chain

	// MaxOpenFiles (maxOpenFiles) is how many files the flow has open when all are
	// read; those that are not stay open. Default 4096, or half of what the system
	// allows the process, for all flows together.
	MaxOpenFiles int

	patterns     []*tail.Path
	exclude      []*tail.Glob
	excludePaths []*tail.Path

	definition string // as the configuration has it, to tell a changed flow
}

// Firehose reports whether the flow delivers to a delivery stream.
func (f *FlowConfig) Firehose() bool { return f.DeliveryStream != "" }

// Stream returns the name of the stream or delivery stream.
func (f *FlowConfig) Stream() string {
	if f.Firehose() {
		return f.DeliveryStream
	}
	return f.KinesisStream
}

// Destination returns the official agent's name of where the flow's records go,
// which is the dimension of its metrics: KinesisStream:NAME or DeliveryStream:NAME.
func (f *FlowConfig) Destination() string {
	if f.Firehose() {
		return "DeliveryStream:" + f.DeliveryStream
	}
	return "KinesisStream:" + f.KinesisStream
}

const (
	keyReserve = 64 // bytes of a record that its partition key may take

	// Source: Amazon Kinesis API Reference, PutRecords, since October 2025. A stream
	// takes records of 1 MiB unless it is set to take more.
	maxRecord     = 10 << 20
	usualRecord   = 1 << 20
	maxBatch      = 10 << 20
	usualBatch    = 5 << 20 // the official agent's bound
	memoryRecords = 4       // records of the largest size that the memory of a flow holds

	// Source: Amazon Data Firehose API Reference, PutRecordBatch.
	maxDeliveryRecord = 1000 << 10
	maxDeliveryBatch  = 4 << 20

	maxDeliveryAggregate = 1024000 // the official agent's bound
)

// flowID is the official agent's id of a flow, by which it knows its checkpoints.
func (f *FlowConfig) flowID() string {
	if f.Firehose() {
		return "fh:" + f.DeliveryStream + ":" + f.FilePattern
	}
	return "kinesis:" + f.KinesisStream + ":" + f.FilePattern
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func (c *Config) setDefaults() {
	def(&c.CheckpointFile, DefaultCheckpointFile)
	def(&c.CheckpointTimeToLive, 7*24*time.Hour)
	def(&c.ShutdownTimeout, 10*time.Second)
	def(&c.StatusPeriod, 30*time.Second)
	def(&c.MaxMemoryBytes, 16<<20)
	def(&c.CloudWatch.Namespace, "AWSKinesisAgent")
	def(&c.CloudWatch.Period, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.NewWatcher == nil {
		c.NewWatcher = NewFSWatcher
	}
	if c.NetworkFS == nil {
		c.NetworkFS = tail.Network
	}
	for i := range c.Flows {
		c.Flows[i].setDefaults()
		def(&c.Flows[i].MaxOpenFiles, max(16, min(4096, tail.OpenLimit()/2)/len(c.Flows)))
	}
}

func (f *FlowConfig) setDefaults() {
	def(&f.ID, f.flowID())
	def(&f.Ordering, OrderingNone)
	if f.Ordering == OrderingFile {
		def(&f.PartitionKey, KeyFile)
	}
	def(&f.PartitionKey, KeyRandom)
	def(&f.MultiLineFlush, time.Second)
	def(&f.TruncatedRecordTerminator, "\n")
	def(&f.MaxRecordBytes, min(usualRecord, f.recordLimit()))
	f.setFormatDefaults()
	def(&f.MaxBufferAge, time.Minute)
	def(&f.MaxBufferSizeRecords, 500)
	def(&f.MaxBufferSizeBytes, min(usualBatch, f.batchLimit()))
	def(&f.PollInterval, 100*time.Millisecond)
	def(&f.ScanInterval, 10*time.Second)
	def(&f.RotateWait, 5*time.Second)
	def(&f.RetryInitial, 100*time.Millisecond)
	def(&f.RetryMax, 10*time.Second)
	def(&f.CloseDeletedAfter, 15*time.Minute)
	def(&f.Protect, ProtectNone)
	def(&f.ProtectMaxBytes, 1<<30)
}

// memoryProblems returns what flows want to read and the memory does not hold. The
// defaults are set.
func (c *Config) memoryProblems() (errs []problem) {
	for i := range c.Flows {
		f := &c.Flows[i]
		if need := memoryRecords * int64(len(c.Flows)) * int64(f.MaxRecordBytes); f.MaxRecordBytes > usualRecord && c.MaxMemoryBytes < need {
			errs = append(errs, problem{"maxMemoryBytes", fmt.Sprintf("%d is too little for records of %d bytes in flow %s; "+
				"set it to %d or more, or lower maxRecordBytes", c.MaxMemoryBytes, f.MaxRecordBytes, f.ID, need)})
		}
	}
	return errs
}

// problem is one thing wrong with a configuration: the key and what to do.
type problem struct{ key, text string }

func (p problem) Error() string { return fmt.Sprintf("%q: %s", p.key, p.text) }

func inRange[T int | int64 | time.Duration](errs []problem, key string, v, lo, hi T) []problem {
	if v < lo || v > hi {
		errs = append(errs, problem{key, fmt.Sprintf("%v is outside [%v, %v]", v, lo, hi)})
	}
	return errs
}

// absolute returns a path or pattern as seen from the root, where it is not.
func absolute(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	if dir, err := os.Getwd(); err == nil {
		return filepath.Join(dir, path)
	}
	return path
}

// validate returns all that is wrong with a flow whose defaults are set.
func (f *FlowConfig) validate() (errs []problem) {
	const day = 24 * time.Hour
	if f.Stream() == "" {
		errs = append(errs, problem{"kinesisStream", "missing; name the stream that the records go to, or the deliveryStream"})
	}
	dir, name := filepath.Split(f.FilePattern)
	switch {
	case f.FilePattern == "":
		errs = append(errs, problem{"filePattern", "missing; name the files, as in /var/log/app/*.log"})
	case name == "":
		errs = append(errs, problem{"filePattern", fmt.Sprintf("%q names a directory; add a pattern for file names, as in %q",
			f.FilePattern, f.FilePattern+"*")})
	case dir == "":
		errs = append(errs, problem{"filePattern", fmt.Sprintf("%q has no directory; write it with its whole path", f.FilePattern)})
	}
	f.patterns, f.exclude, f.excludePaths = nil, nil, nil
	include := func(key, pattern string) {
		p, err := tail.ParsePath(absolute(pattern))
		if err != nil {
			errs = append(errs, problem{key, err.Error()})
			return
		}
		f.patterns = append(f.patterns, p)
	}
	include("filePattern", f.FilePattern)
	for _, p := range f.Include {
		if filepath.Base(p) == p {
			p = filepath.Join(dir, p)
		}
		include("include", p)
	}
	for _, p := range f.Exclude {
		if filepath.Base(p) != p {
			path, err := tail.ParsePath(absolute(p))
			if err != nil {
				errs = append(errs, problem{"exclude", err.Error()})
				continue
			}
			f.excludePaths = append(f.excludePaths, path)
			continue
		}
		g, err := tail.ParseGlob(p)
		if err != nil {
			errs = append(errs, problem{"exclude", err.Error()})
			continue
		}
		f.exclude = append(f.exclude, g)
	}
	if _, err := newKeyer(f.PartitionKey); err != nil {
		errs = append(errs, problem{"partitionKey", err.Error()})
	}
	errs = inRange(errs, "skipHeaderLines", f.SkipHeaderLines, 0, 1<<30)
	errs = inRange(errs, "multiLineFlushMillis", f.MultiLineFlush, time.Millisecond, time.Hour)
	errs = inRange(errs, "maxRecordBytes", f.MaxRecordBytes, 1024, f.recordLimit())
	if len(f.TruncatedRecordTerminator) >= f.MaxRecordBytes-keyReserve {
		errs = append(errs, problem{"truncatedRecordTerminator", "longer than a record may be"})
	}
	errs = inRange(errs, "maxBufferAgeMillis", f.MaxBufferAge, 10*time.Millisecond, 15*time.Minute)
	errs = inRange(errs, "maxBufferSizeRecords", f.MaxBufferSizeRecords, 1, 500)
	errs = inRange(errs, "maxBufferSizeBytes", f.MaxBufferSizeBytes, 1, f.batchLimit())
	errs = inRange(errs, "aggregatedRecordSizeBytes", f.AggregatedRecordSizeBytes, 0, maxDeliveryAggregate)
	errs = inRange(errs, "minTimeBetweenFilePollsMillis", f.PollInterval, time.Millisecond, time.Hour)
	errs = inRange(errs, "maxTimeBetweenFileTrackerRefreshMillis", f.ScanInterval, time.Millisecond, day)
	errs = inRange(errs, "rotateWaitSeconds", f.RotateWait, time.Millisecond, day)
	errs = inRange(errs, "retryInitialBackoffMillis", f.RetryInitial, time.Millisecond, time.Hour)
	errs = inRange(errs, "retryMaxBackoffMillis", f.RetryMax, f.RetryInitial, time.Hour)
	errs = inRange(errs, "maxOpenFiles", f.MaxOpenFiles, 0, 1<<20)
	errs = inRange(errs, "recordTtlSeconds", f.RecordTTL, 0, 36500*day)
	errs = f.validateOrdering(errs)
	errs = inRange(errs, "ignoreOlderSeconds", f.IgnoreOlder, 0, 36500*day)
	errs = inRange(errs, "closeDeletedAfterSeconds", f.CloseDeletedAfter, -36500*day, 36500*day)
	errs = f.validateProtect(errs)
	return f.validateFormat(errs)
}

// Which records arrive in the order in which they were written.
const (
	OrderingNone = "none" // those with the same partition key, unless the stream refuses some of them
	// OrderingFile: those of each file. Its records have one partition key, and when
	// the stream refuses one, those behind it are held back too. The sink must be a
	// [KeyResumer].
	OrderingFile = "file"
)

func (f *FlowConfig) validateOrdering(errs []problem) []problem {
	switch {
	case f.Ordering != OrderingNone && f.Ordering != OrderingFile:
		errs = append(errs, problem{"ordering", fmt.Sprintf("%q is none of %s, %s", f.Ordering, OrderingNone, OrderingFile)})
	case f.Ordering == OrderingFile && f.Firehose():
		errs = append(errs, problem{"ordering", "a delivery stream keeps no order; remove it, or name a kinesisStream"})
	case f.Ordering == OrderingFile && f.PartitionKey != KeyFile:
		errs = append(errs, problem{"ordering", "needs the partition key of the file; remove partitionKey and partitionKeyOption, or set partitionKey to " + KeyFile})
	}
	return errs
}

// owns reports whether a path is that of one of the flow's files, and not of what
// is only like one.
func (f *FlowConfig) owns(path string) bool {
	return slices.ContainsFunc(f.patterns, func(p *tail.Path) bool { return p.Match(path) }) && !f.leftOut(path)
}

// recordLimit is the most bytes of a record that the service takes.
func (f *FlowConfig) recordLimit() int {
	if f.Firehose() {
		return maxDeliveryRecord
	}
	return maxRecord
}

// batchLimit is the most bytes of a request that the service takes.
func (f *FlowConfig) batchLimit() int {
	if f.Firehose() {
		return maxDeliveryBatch
	}
	return maxBatch
}

// Files returns the paths of the flow's files that are there now.
func (f FlowConfig) Files() ([]string, error) {
	f.setDefaults()
	if errs := f.validate(); len(errs) > 0 {
		return nil, errs[0]
	}
	var (
		names  []string
		failed error
	)
	for _, p := range f.patterns {
		p.Walk(vfs.OS, func(dir string) {
			entries, err := os.ReadDir(dir)
			if err != nil {
				failed = cmp.Or(failed, err)
				return
			}
			for _, e := range entries {
				path := filepath.Join(dir, e.Name())
				if !e.IsDir() && p.Name.Match(e.Name()) && !f.leftOut(path) {
					names = append(names, path)
				}
			}
		}, func(string) {}, func(_ string, err error) { failed = cmp.Or(failed, err) })
	}
	slices.Sort(names)
	return slices.Compact(names), failed
}

// leftOut reports whether a file that one of the flow's patterns matches does not
// belong to the flow all the same.
func (f *FlowConfig) leftOut(path string) bool {
	name := filepath.Base(path)
	return tail.Compressed(name) ||
		slices.ContainsFunc(f.exclude, func(g *tail.Glob) bool { return g.Match(name) }) ||
		slices.ContainsFunc(f.excludePaths, func(p *tail.Path) bool { return p.Match(path) })
}
