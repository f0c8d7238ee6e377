package logappender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/producer"
)

// Putter is what an [Appender] needs of a producer; [*producer.Producer]
// satisfies it.
//
// PutBatch accepts all records or none. It may block until ctx ends, and must
// return then. It copies what it keeps: the slice and the data are reused
// after done was called and PutBatch has returned. If it returns nil it calls
// done once, from any goroutine, possibly before it returns; if it returns an
// error it does not.
//
// Flush asks for what was accepted to be sent now. It must return when ctx
// ends.
type Putter interface {
	PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error
	Flush(ctx context.Context) error
}

var _ Putter = (*producer.Producer)(nil)

// Overflow says what happens to an entry for which the buffer has no room.
type Overflow int

// The overflow policies. The zero value is DropNewest.
const (
	// DropNewest drops the entry.
	DropNewest Overflow = iota
	// DropOldest drops the oldest chunk that was not handed to the producer
	// yet, whatever the levels in it, and falls back to DropNewest if there is
	// none.
	DropOldest
	// Block makes the log call wait for room, no longer than
	// Config.BlockTimeout, and drops the entry then.
	Block
)

const (
	defaultBufferBytes = 8 << 20
	defaultSpillBuffer = 32 << 20 // of an appender with a spill
	minBufferBytes     = 256 << 10
	maxBufferBytes     = 1 << 30

	minChunkBytes = 4 << 10
	maxChunkBytes = 4 << 20

	// maxRecord is the limit of Kinesis for data and partition key together.
	// Source: Amazon Kinesis API Reference, PutRecords, as it is unless the
	// stream was set otherwise.
	maxRecord = 1 << 20
	// maxKeyBytes is 256 characters of four bytes.
	maxKeyBytes = 1024

	minRecordBytes = 1 << 10

	// lastWordsBytes is room beyond the budget that only Panic and Fatal use.
	lastWordsBytes = 64 << 10

	defaultSpillBytes = 256 << 20
	minSpillBytes     = 1 << 20
	defaultReplayRate = 2 << 20

	reportEvery = 10 * time.Second

	maxSample          = 1_000_000_000
	defaultSampleAbove = 0.75
)

// Config holds the optional settings of an [Appender]. The zero Config is
// valid: a field left zero takes the default that its comment names.
type Config struct {
	// BufferBytes bounds the memory of entries that are not finished. The last
	// tenth is kept for entries of level Warn and above. Default 8 MiB, with
	// SpillDir 32 MiB: at 5 MB/s it holds for four seconds what the disk does not
	// take, while the producer keeps a quarter. From 256 KiB to 1 GiB.
	BufferBytes int

	// ChunkBytes is the unit in which entries go to the producer. Default
	// 64 KiB; from 4 KiB to 4 MiB, and no more than an eighth of BufferBytes.
	ChunkBytes int

	// Linger is how long an entry waits for others to fill its chunk. Default
	// 100ms; negative means no waiting.
	Linger time.Duration

	// Overflow says what happens when the buffer is full. Default DropNewest.
	Overflow Overflow

	// Sample keeps one in so many of the entries below Warn, of each level and
	// message, while the buffer is fuller than SampleAbove, whatever Overflow says
	// of a full one: a flood of one message then leaves room for others. Of a
	// message the first is kept, and its first 256 bytes tell it from others; a
	// line of a Writer is one. What is left out counts as Stats.Sampled, and makes
	// one gap record when the flood is over. With SpillDir it is left out only
	// while the disk fails. Default 0, which like 1 keeps all; at most 1e9.
	Sample int

	// SampleAbove is how full the buffer is when Sample begins, as a part of
	// BufferBytes. Default 0.75; above 0 and below 0.9, where the room for Warn
	// begins.
	SampleAbove float64

	// BlockTimeout is the most that a log call waits under [Block]. Default
	// 50ms; not negative.
	BlockTimeout time.Duration

	// PartitionKey chooses the partition key of an entry. Default [RandomKey].
	PartitionKey PartitionKey

	// StaticFields are in every entry of every core and handler, before all others,
	// and in gap records: see [ProcessFields]. They are encoded once. A line of a
	// Writer stays as it is, but for the partition key a field among them counts
	// there too. In a handler a value is what zap's map encoder makes of it. No
	// namespaces; in JSON a quarter of MaxRecordBytes at most. Default none.
	StaticFields []zapcore.Field

	// MaxRecordBytes is the most bytes of one encoded entry. A longer one has
	// its message cut, and then its fields left out, and says so in the field
	// "truncated". Default 1 MiB less 1024 bytes for the partition key; from
	// 1 KiB to 10 MiB less 1024, and no more than half of BufferBytes. It must
	// fit the producer's MaxUserRecordSize.
	MaxRecordBytes int

	// DropOversize drops entries longer than MaxRecordBytes instead.
	DropOversize bool

	// KeepLineEnding leaves the line ending that the encoder writes at the end
	// of a record, for readers that join records into a file. Default false:
	// one "\n" is cut.
	KeepLineEnding bool

	// DisableGapRecords leaves out the records that tell a reader of the
	// stream how many entries were dropped at this place.
	DisableGapRecords bool

	// SyncTimeout bounds the Sync of a core, which has no context. Default 5s;
	// at least 1ms.
	SyncTimeout time.Duration

	// FatalTimeout bounds how long a Panic or Fatal entry waits for delivery
	// before the process may die. What is unfinished then is written to
	// Fallback, for which it waits as long again at most. With SpillDir the second
	// half of the time is for the disk, which is synced, and Fallback is only used
	// if that fails; while the stream takes nothing, and under SpillAlways, the disk
	// comes at once. Default 2s; negative means not to wait for delivery at all.
	FatalTimeout time.Duration

	// SpillDir is a directory for entries that the stream does not take, which New
	// makes if need be. It belongs to one stream, and to one appender at a time.
	// What a process leaves in it the next one sends. Default none: such entries
	// stay in memory as long as there is room.
	SpillDir string

	// SpillMode says which entries go there. Default [SpillOnPressure].
	SpillMode SpillMode

	// SpillMaxBytes bounds the files in SpillDir. Beyond it the oldest file, an
	// eighth of it or 8 MiB, is removed, and what was in it counts as
	// [DropSpillFull]. Default 256 MiB; at least 1 MiB, and at least four times
	// ChunkBytes and MaxRecordBytes.
	SpillMaxBytes int64

	// ReplayBytesPerSecond is how fast entries go from the disk to the stream
	// under [SpillOnPressure], so that they do not compete with new ones for its
	// throughput. Default 2 MiB; negative means as fast as the stream takes them.
	ReplayBytesPerSecond int

	// Fallback receives, one a line, the entries that are unfinished when a
	// Panic or Fatal entry has waited for FatalTimeout, or when the context of
	// Close ends. After a Panic or Fatal the newest chunk comes first, then the
	// others in order. Default standard error. It must not lead back into the
	// appender.
	Fallback zapcore.WriteSyncer

	// OnError hears of dropped and lost entries in a [*DropError], and of faults
	// of the disk in a [*SpillError]: at once, then at most every ten seconds. It runs on a goroutine of the appender
	// and must not log into it. If nil, the error is written to ErrorOutput.
	OnError func(error)

	// ErrorOutput receives one line for each error if OnError is nil. Default
	// standard error.
	ErrorOutput io.Writer
}

// withDefaults returns c with defaults filled in, and an error that joins one
// error for each setting out of range.
func (c Config) withDefaults() (Config, error) {
	if c.SpillDir != "" {
		c.BufferBytes = cmp.Or(c.BufferBytes, defaultSpillBuffer)
	}
	c.BufferBytes = cmp.Or(c.BufferBytes, defaultBufferBytes)
	c.ChunkBytes = cmp.Or(c.ChunkBytes, min(64<<10, max(minChunkBytes, c.BufferBytes/8)))
	c.Linger = cmp.Or(c.Linger, 100*time.Millisecond)
	if c.Sample > 1 {
		c.SampleAbove = cmp.Or(c.SampleAbove, defaultSampleAbove)
	}
	c.BlockTimeout = cmp.Or(c.BlockTimeout, 50*time.Millisecond)
	c.MaxRecordBytes = cmp.Or(c.MaxRecordBytes, max(minRecordBytes, min(maxRecord-maxKeyBytes, c.BufferBytes/2)))
	c.SyncTimeout = cmp.Or(c.SyncTimeout, 5*time.Second)
	c.FatalTimeout = cmp.Or(c.FatalTimeout, 2*time.Second)
	if c.Fallback == nil {
		c.Fallback = zapcore.Lock(os.Stderr)
	}
	if c.ErrorOutput == nil {
		c.ErrorOutput = os.Stderr
	}
	c.Linger = max(c.Linger, 0)
	c.SpillMaxBytes = cmp.Or(c.SpillMaxBytes, defaultSpillBytes)
	c.ReplayBytesPerSecond = cmp.Or(c.ReplayBytesPerSecond, defaultReplayRate)

	var errs []error
	within := func(name string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s %d is outside [%d, %d]", name, v, low, high))
		}
	}
	within("BufferBytes", c.BufferBytes, minBufferBytes, maxBufferBytes)
	within("ChunkBytes", c.ChunkBytes, minChunkBytes, maxChunkBytes)
	if c.ChunkBytes > c.BufferBytes/8 {
		errs = append(errs, fmt.Errorf("ChunkBytes %d is more than an eighth of BufferBytes %d", c.ChunkBytes, c.BufferBytes))
	}
	within("MaxRecordBytes", c.MaxRecordBytes, minRecordBytes, 10<<20-maxKeyBytes)
	if c.MaxRecordBytes > c.BufferBytes/2 {
		errs = append(errs, fmt.Errorf("MaxRecordBytes %d is more than half of BufferBytes %d", c.MaxRecordBytes, c.BufferBytes))
	}
	if c.Overflow < DropNewest || c.Overflow > Block {
		errs = append(errs, fmt.Errorf("Overflow %d is none of DropNewest, DropOldest, Block", c.Overflow))
	}
	switch {
	case c.Sample < 0 || c.Sample > maxSample:
		errs = append(errs, fmt.Errorf("a Sample of %d is outside [0, %d]: 0 keeps all, 10 one in ten", c.Sample, maxSample))
	case c.Sample > 1 && !(c.SampleAbove > 0 && c.SampleAbove < 0.9):
		errs = append(errs, fmt.Errorf("SampleAbove %v is not between 0 and 0.9", c.SampleAbove))
	case c.Sample <= 1 && c.SampleAbove != 0:
		errs = append(errs, fmt.Errorf("SampleAbove %v does nothing without Sample: set it to 10, say, to keep one entry in ten", c.SampleAbove))
	}
	if c.BlockTimeout < 0 {
		errs = append(errs, fmt.Errorf("BlockTimeout %v is negative", c.BlockTimeout))
	}
	if least := max(minSpillBytes, 4*int64(max(c.ChunkBytes, c.MaxRecordBytes))); c.SpillDir != "" && c.SpillMaxBytes < least {
		errs = append(errs, fmt.Errorf("SpillMaxBytes %d is less than %d, which is 1 MiB, or four times ChunkBytes or MaxRecordBytes", c.SpillMaxBytes, least))
	}
	if c.SpillMode < SpillOnPressure || c.SpillMode > SpillAlways {
		errs = append(errs, fmt.Errorf("SpillMode %d is neither SpillOnPressure nor SpillAlways", c.SpillMode))
	}
	if c.SyncTimeout < time.Millisecond {
		errs = append(errs, fmt.Errorf("SyncTimeout %v is less than 1ms", c.SyncTimeout))
	}
	return c, errors.Join(errs...)
}
