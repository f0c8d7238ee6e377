package logappender

import (
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/vfs"
)

// errPanic is what a panic of the putter becomes.
var errPanic = errors.New("logappender: the putter panicked")

// ErrSpillInUse is wrapped by the error of New if another process has
// Config.SpillDir open.
var ErrSpillInUse = vfs.ErrLocked

// SpillError reports a fault of the disk of Config.SpillDir, to Config.OnError.
// The appender goes on without the disk, and tries it again after 30 seconds.
type SpillError struct {
	Err error // what happened
}

// Error says what happened.
func (e *SpillError) Error() string { return "logappender: spill: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SpillError) Unwrap() error { return e.Err }

// PendingError reports that entries were not finished in time. After Flush and
// Sync they are still on their way; after Close they are lost to the stream,
// and were written to Config.Fallback. What Close leaves in Config.SpillDir is not
// among them: see Stats.Spilled.
type PendingError struct {
	Records int   // entries that are not finished
	Bytes   int   // of their encoded form
	Err     error // why the wait ended, a context's error
}

// Error says how much is pending.
func (e *PendingError) Error() string {
	return fmt.Sprintf("logappender: %d records of %d bytes are not delivered: %v", e.Records, e.Bytes, e.Err)
}

// Unwrap returns the context's error.
func (e *PendingError) Unwrap() error { return e.Err }

// DropError reports entries that did not reach the stream since the last
// report.
type DropError struct {
	Dropped map[DropReason]LevelCounts // reasons without a drop are left out
	Lost    LevelCounts                // unfinished at Close, a last word without room, or unreadable on disk
	Err     error                      // the last error of the producer, or nil
}

// Error lists the counts by reason.
func (e *DropError) Error() string {
	var b strings.Builder
	b.WriteString("logappender: log entries did not reach the stream:")
	for r := range numReasons {
		if c, ok := e.Dropped[r]; ok {
			writeCounts(&b, "dropped "+r.String(), c)
		}
	}
	if e.Lost.Total() > 0 {
		writeCounts(&b, "lost", e.Lost)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the last error of the producer.
func (e *DropError) Unwrap() error { return e.Err }

func writeCounts(b *strings.Builder, what string, c LevelCounts) {
	fmt.Fprintf(b, " %s %d (", what, c.Total())
	sep := ""
	for i, n := range c {
		if n > 0 {
			fmt.Fprintf(b, "%s%s %d", sep, zapcore.Level(i+int(zapcore.DebugLevel)), n)
			sep = ", "
		}
	}
	b.WriteString(")")
}
