package logappender

import (
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap/zapcore"
)

// errPanic is what a panic of the putter becomes.
var errPanic = errors.New("logappender: the putter panicked")

// PendingError reports that entries were not finished in time. After Flush and
// Sync they are still on their way; after Close they are lost to the stream,
// and were written to Config.Fallback.
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
	Lost    LevelCounts                // unfinished at Close, or a last word without room
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
