package logappender

import (
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/spool"
)

// numLevels is the number of zap's levels, Debug to Fatal.
const numLevels = int(zapcore.FatalLevel-zapcore.DebugLevel) + 1

// LevelCounts counts entries by level, from Debug to Fatal. Levels outside
// count as the nearest.
type LevelCounts [numLevels]uint64

// At returns the count of a level.
func (c LevelCounts) At(l zapcore.Level) uint64 { return c[levelIndex(l)] }

// Total returns the sum over all levels.
func (c LevelCounts) Total() uint64 {
	var sum uint64
	for _, n := range c {
		sum += n
	}
	return sum
}

func (c *LevelCounts) add(o *LevelCounts) {
	for i, n := range o {
		c[i] += n
	}
}

func (c *LevelCounts) sub(o *LevelCounts) {
	for i, n := range o {
		c[i] -= n
	}
}

func levelIndex(l zapcore.Level) int {
	return int(min(max(l, zapcore.DebugLevel), zapcore.FatalLevel) - zapcore.DebugLevel)
}

// DropReason says why an entry was dropped.
type DropReason int

// The reasons of a drop.
const (
	DropFull      DropReason = iota // no room in the buffer
	DropOversize                    // longer than MaxRecordBytes, with DropOversize set
	DropClosed                      // the appender was closed
	DropSelf                        // the logger's name is reserved
	DropEncode                      // the encoder failed or panicked
	DropRejected                    // the producer gave the entry up or refused it
	DropSpillFull                   // it was on disk, and made room for newer ones
	numReasons
)

var reasonNames = [numReasons]string{"full", "oversize", "closed", "self", "encode_error", "rejected", "spill_full"}

// String returns the reason in a word, such as "full".
func (r DropReason) String() string {
	if r < 0 || r >= numReasons {
		return "unknown"
	}
	return reasonNames[r]
}

// Stats is a snapshot of an [Appender]. At any moment, for every level,
//
//	Accepted = Delivered + sum of Dropped + Sampled + Lost + Pending + Spilled
type Stats struct {
	Accepted  LevelCounts             // entries that were to be written
	Delivered LevelCounts             // entries that the stream has stored
	Dropped   [numReasons]LevelCounts // indexed by DropReason
	Sampled   LevelCounts             // entries left out for Config.Sample
	Lost      LevelCounts             // unfinished at the end of Close, last words without room, or unreadable on disk
	Pending   LevelCounts             // entries in the buffer or with the producer
	Spilled   LevelCounts             // entries on disk that are not delivered yet
	Truncated uint64                  // entries that were cut to MaxRecordBytes
	Saved     uint64                  // entries written to Fallback, or as copies to the disk, by Panic, Fatal and Close
	Gaps      uint64                  // gap records written into the stream

	BufferBytes    int           // memory in use, of BufferCapacity
	BufferCapacity int           // Config.BufferBytes
	OldestPending  time.Duration // age of the oldest chunk that is not finished; 0 if none
	Blocked        time.Duration // total time that log calls have waited under Block
	FlushTimeouts  uint64        // Flush, Sync, Panic or Fatal that ended before delivery
	LastSuccess    time.Time     // of a delivery; zero if there was none
	LastError      error         // of the producer; nil after a delivery without failure

	// HandoverBytes has the size of each chunk that went to the producer or to the
	// disk. DeliverySeconds has each delivered entry, with the time from when the
	// first of its chunk was written until the stream had it: up to Linger more than
	// its own. FlushSeconds has each Flush, Sync, Panic and Fatal, and how long it
	// waited for delivery.
	HandoverBytes   Histogram
	DeliverySeconds Histogram
	FlushSeconds    Histogram

	// The spill. All are zero without Config.SpillDir.

	SpillBytes    int64       // of the files in SpillDir, delivered entries among them included
	SpillSegments int         // of these files
	SpillHealthy  bool        // the disk has taken the last chunk that was given to it
	CircuitOpen   bool        // entries go to the disk because the stream does not take them
	CircuitOpened uint64      // how often that has begun
	SpillMissing  uint64      // entries of earlier processes that their files have lost, as far as that is known; outside the equation
	SpillTorn     uint64      // files that a crash has cut short; what was not yet written to them nobody was told of
	SpillDamaged  uint64      // files that could not be read to their end
	Recovered     uint64      // entries of earlier processes read from the disk; outside the equation
	Replayed      LevelCounts // of these, entries that the stream has stored since; outside the equation
}

// DroppedTotal returns the number of dropped entries.
func (s Stats) DroppedTotal() uint64 {
	var sum uint64
	for i := range s.Dropped {
		sum += s.Dropped[i].Total()
	}
	return sum
}

// Stats returns a consistent snapshot.
func (a *Appender) Stats() Stats {
	var disk spool.Stats
	if a.spill != nil {
		disk = a.spill.store.Stats()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	s.BufferBytes = a.usedLocked()
	s.BufferCapacity = a.cfg.BufferBytes
	s.OldestPending = a.oldestLocked()
	if p := a.spill; p != nil {
		s.SpillBytes, s.SpillSegments = disk.Bytes, disk.Segments
		s.SpillMissing, s.SpillTorn, s.SpillDamaged = disk.Missing, disk.Torn, disk.Damaged
		s.SpillHealthy, s.CircuitOpen = !p.sick, p.open
	}
	return s
}

// Healthy reports whether the appender is open, the last delivery had no
// failure, and nothing has been pending for longer than ten seconds; with a
// spill also whether the disk takes entries and the circuit is closed.
func (a *Appender) Healthy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.spill; s != nil && (s.sick || s.open) {
		return false
	}
	return !a.closed && a.stats.LastError == nil && a.oldestLocked() <= 10*time.Second
}

func (a *Appender) oldestLocked() time.Duration {
	c := a.live.head
	if c == nil {
		c = a.open
	}
	if c == nil || len(c.buf) == 0 {
		return 0
	}
	return time.Since(c.born)
}
