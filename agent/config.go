package agent

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
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

	KinesisEndpoint    string // kinesis.endpoint; empty for the SDK's choice
	KinesisRegion      string // kinesis.region; empty for the SDK's choice
	AWSAccessKeyID     string // awsAccessKeyId; empty for the SDK's chain
	AWSSecretAccessKey string // awsSecretAccessKey

	// CheckpointFile (checkpointFile) keeps the positions. Default
	// [DefaultCheckpointFile].
	CheckpointFile string

	// CheckpointTimeToLive (checkpointTimeToLiveDays) is how long the position of a
	// finished or vanished file is kept. Default 7 days.
	CheckpointTimeToLive time.Duration

	// ShutdownTimeout (shutdownTimeoutMillis) bounds the wait for what is in flight
	// when the agent stops. Default 10s.
	ShutdownTimeout time.Duration

	// StatusPeriod (log.statusReportingPeriodSeconds) is the time between two
	// status lines in the log. Default 30s.
	StatusPeriod time.Duration

	// MaxMemoryBytes (maxMemoryBytes, not in the official agent) is the budget for
	// records that are read and not yet acknowledged. Half of it is for the agent,
	// the other half for the buffers of its producers; all flows share it in equal
	// parts. Default 16 MiB.
	MaxMemoryBytes int64

	// Once makes Run return when every file is read to its end and delivered.
	Once bool

	// Logger receives the agent's log; nil is slog.Default().
	Logger *slog.Logger

	// FS is the file system; nil is the operating system's.
	FS vfs.FS

	// NewWatcher makes the watcher of a flow; nil is [NewFSWatcher].
	NewWatcher func() (Watcher, error)
}

// Ways to choose the partition key of a record.
const (
	KeyRandom        = "random"        // the producer spreads the records over the shards
	KeyDeterministic = "deterministic" // MD5 of the record's bytes
	KeyFile          = "file"          // one for each file, so that its order is kept
)

// FlowConfig is one flow: the files of a directory whose names match, and the
// stream that their records go to.
type FlowConfig struct {
	ID            string // kinesis:STREAM:DIR/GLOB, the key of the positions
	FilePattern   string // filePattern: a directory and a pattern for names
	KinesisStream string // kinesisStream

	// Include and Exclude (include, exclude; not in the official agent) are further
	// patterns for names: a file belongs to the flow if it matches filePattern or
	// one of Include, and none of Exclude.
	Include, Exclude []string

	// PartitionKey is one of the Key constants. Default KeyRandom.
	PartitionKey string

	// StartOfFile (initialPosition) reads the files that are there at the first
	// start from their beginning. The default, false, reads them from their end.
	StartOfFile bool

	SkipHeaderLines int            // skipHeaderLines; default 0
	MultiLineStart  *regexp.Regexp // multiLineStartPattern; nil: a record is a line
	// MultiLineFlush (multiLineFlushMillis, not in the official agent) closes the
	// last record of a file that did not grow for this long. Default 1s.
	MultiLineFlush time.Duration

	TruncatedRecordTerminator string // truncatedRecordTerminator; default "\n"
	// MaxRecordBytes (maxRecordBytes, not in the official agent) is where a record is
	// cut, its partition key included. Default 1 MiB, which is also the most.
	MaxRecordBytes int

	MaxBufferAge         time.Duration // maxBufferAgeMillis; default 60s
	MaxBufferSizeRecords int           // maxBufferSizeRecords; default 500
	MaxBufferSizeBytes   int           // maxBufferSizeBytes; default 5 MiB

	// Aggregation (aggregation, not in the official agent) packs records as the KPL
	// does. Default false: a consumer of the official agent's records need not know
	// the packed form.
	Aggregation bool

	PollInterval     time.Duration // minTimeBetweenFilePollsMillis; default 100ms
	ScanInterval     time.Duration // maxTimeBetweenFileTrackerRefreshMillis; default 10s
	RotateWait       time.Duration // rotateWaitSeconds; default 5s
	RetryInitial     time.Duration // retryInitialBackoffMillis; default 100ms
	RetryMax         time.Duration // retryMaxBackoffMillis; default 10s
	MaxOpenFiles     int           // maxOpenFiles; default 1024
	DataProcessing   *transform.Chain
	include, exclude []*tail.Glob
}

const (
	maxRecord  = 1 << 20
	keyReserve = 64 // bytes of a record that its partition key may take
	maxBatch   = 5 << 20
)

// flowID is the official agent's id of a flow, by which it knows its checkpoints.
func flowID(stream, pattern string) string { return "kinesis:" + stream + ":" + pattern }

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
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.NewWatcher == nil {
		c.NewWatcher = NewFSWatcher
	}
	for i := range c.Flows {
		c.Flows[i].setDefaults()
	}
}

func (f *FlowConfig) setDefaults() {
	def(&f.ID, flowID(f.KinesisStream, f.FilePattern))
	def(&f.PartitionKey, KeyRandom)
	def(&f.MultiLineFlush, time.Second)
	def(&f.TruncatedRecordTerminator, "\n")
	def(&f.MaxRecordBytes, maxRecord)
	def(&f.MaxBufferAge, time.Minute)
	def(&f.MaxBufferSizeRecords, 500)
	def(&f.MaxBufferSizeBytes, maxBatch)
	def(&f.PollInterval, 100*time.Millisecond)
	def(&f.ScanInterval, 10*time.Second)
	def(&f.RotateWait, 5*time.Second)
	def(&f.RetryInitial, 100*time.Millisecond)
	def(&f.RetryMax, 10*time.Second)
	def(&f.MaxOpenFiles, 1024)
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

// validate returns all that is wrong with a flow whose defaults are set.
func (f *FlowConfig) validate() (errs []problem) {
	const day = 24 * time.Hour
	if f.KinesisStream == "" {
		errs = append(errs, problem{"kinesisStream", "missing; name the stream that the records go to"})
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
	f.include, f.exclude = nil, nil
	glob := func(key, pattern string, list *[]*tail.Glob) {
		g, err := tail.ParseGlob(pattern)
		if err != nil {
			errs = append(errs, problem{key, err.Error()})
			return
		}
		*list = append(*list, g)
	}
	glob("filePattern", name, &f.include)
	for _, p := range f.Include {
		glob("include", p, &f.include)
	}
	for _, p := range f.Exclude {
		glob("exclude", p, &f.exclude)
	}
	switch f.PartitionKey {
	case KeyRandom, KeyDeterministic, KeyFile:
	default:
		errs = append(errs, problem{"partitionKey", fmt.Sprintf("%q is none of %s, %s, %s",
			f.PartitionKey, KeyRandom, KeyDeterministic, KeyFile)})
	}
	errs = inRange(errs, "skipHeaderLines", f.SkipHeaderLines, 0, 1<<30)
	errs = inRange(errs, "multiLineFlushMillis", f.MultiLineFlush, time.Millisecond, time.Hour)
	errs = inRange(errs, "maxRecordBytes", f.MaxRecordBytes, 1024, maxRecord)
	if len(f.TruncatedRecordTerminator) >= f.MaxRecordBytes-keyReserve {
		errs = append(errs, problem{"truncatedRecordTerminator", "longer than a record may be"})
	}
	errs = inRange(errs, "maxBufferAgeMillis", f.MaxBufferAge, 10*time.Millisecond, 15*time.Minute)
	errs = inRange(errs, "maxBufferSizeRecords", f.MaxBufferSizeRecords, 1, 500)
	errs = inRange(errs, "maxBufferSizeBytes", f.MaxBufferSizeBytes, 1, maxBatch)
	errs = inRange(errs, "minTimeBetweenFilePollsMillis", f.PollInterval, time.Millisecond, time.Hour)
	errs = inRange(errs, "maxTimeBetweenFileTrackerRefreshMillis", f.ScanInterval, time.Millisecond, day)
	errs = inRange(errs, "rotateWaitSeconds", f.RotateWait, time.Millisecond, day)
	errs = inRange(errs, "retryInitialBackoffMillis", f.RetryInitial, time.Millisecond, time.Hour)
	errs = inRange(errs, "retryMaxBackoffMillis", f.RetryMax, f.RetryInitial, time.Hour)
	errs = inRange(errs, "maxOpenFiles", f.MaxOpenFiles, 1, 1<<20)
	return errs
}

// Files returns the names of the flow's files that are there now.
func (f FlowConfig) Files() ([]string, error) {
	f.setDefaults()
	if errs := f.validate(); len(errs) > 0 {
		return nil, errs[0]
	}
	entries, err := os.ReadDir(filepath.Dir(f.FilePattern))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && f.matches(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// matches reports whether a name in the flow's directory belongs to the flow.
func (f *FlowConfig) matches(name string) bool {
	if tail.Compressed(name) {
		return false
	}
	for _, g := range f.exclude {
		if g.Match(name) {
			return false
		}
	}
	for _, g := range f.include {
		if g.Match(name) {
			return true
		}
	}
	return false
}
