package producer

import (
	"errors"
	"fmt"

	"github.com/streamkit/streamkit/internal/vfs"
)

// SpoolMode says which records go to the disk.
type SpoolMode int

const (
	// SpoolOnPressure keeps records in memory while the stream takes them.
	// When four fifths of MaxBufferedBytes are taken, or the stream refuses
	// all requests, records go to the disk, until it is empty again. What is
	// in memory alone is lost if the process is killed; Close and Abort leave
	// it on disk as well, as far as there is room.
	SpoolOnPressure SpoolMode = iota

	// SpoolAlways puts every record on the disk first: Put returns when it is
	// there. A record whose Put has returned survives the end of the process,
	// and with Fsync that of the machine.
	SpoolAlways
)

// SpoolFull says what to do with a record for which the spool has no room, be
// it that MaxBytes are taken or that the disk is full.
type SpoolFull int

const (
	// SpoolBlock has Put wait for room until its context ends; TryPut returns
	// [ErrBufferFull]. It also waits for a disk that fails.
	SpoolBlock SpoolFull = iota

	// SpoolDropOldest removes the oldest file of the spool. The records in it
	// that have not been read back fail with [ErrSpoolFull]. Where that makes
	// no room, it does what SpoolDropNewest does.
	SpoolDropOldest

	// SpoolDropNewest has Put return [ErrSpoolFull].
	SpoolDropNewest
)

// SpoolConfig holds the settings of a spool: a directory in which records wait
// for a stream that does not take them, beyond what memory holds and beyond the
// end of the process.
//
// What a process has left there, the next producer on the directory sends
// first, in its order. It has no callbacks for those records, and counts them.
// A crash may have records sent again that were stored; a clean end does not.
//
// Each record counts to MaxBufferedBytes while it is in memory, and its
// callback while the record is on disk: 96 bytes for each Put, or for each
// PutBatch. A Put without a callback costs no memory while it is on disk.
//
// The records leave the disk in one order: a shard that takes little holds the
// others up once half of MaxBufferedBytes are its own.
type SpoolConfig struct {
	// Dir is the directory, which New makes if need be. It belongs to one
	// stream, and to one producer at a time: New fails if another process uses
	// it. Empty, the default, means no spool.
	Dir string

	// MaxBytes bounds the files in Dir. Default 1073741824; at least 65536, and
	// at least four times MaxUserRecordSize.
	MaxBytes int64

	// Mode says which records go to the disk. Default SpoolOnPressure.
	Mode SpoolMode

	// Fsync has Put wait until its record would survive a power cut. Puts that
	// wait share one fsync. The default, false, survives the end of the process.
	Fsync bool

	// Full says what to do when there is no room. Default SpoolBlock.
	Full SpoolFull

	// OnDrop, if not nil, is told of records that were dropped because the
	// spool was full, and of those that could not be read back. It should be
	// quick, and must not block on this producer.
	OnDrop func(SpoolDrop)

	fs vfs.FS // tests put another in; nil is the operating system's
}

// SpoolDrop is records that a spool has given up.
type SpoolDrop struct {
	Records int64 // -1 if nobody can say, as with a damaged file of an earlier process
	Bytes   int64 // their size in the spool
	Err     error // wraps [ErrSpoolFull], or says what is damaged
}

// enabled reports whether there is a spool.
func (c *SpoolConfig) enabled() bool { return c.Dir != "" }

// check returns an error for each setting out of range.
func (c *SpoolConfig) check(maxUserRecordSize int) error {
	var errs []error
	if low := max(1<<16, 4*int64(maxUserRecordSize)); c.MaxBytes < low {
		errs = append(errs, fmt.Errorf("Spool.MaxBytes %d is less than %d", c.MaxBytes, low))
	}
	if c.Mode < SpoolOnPressure || c.Mode > SpoolAlways {
		errs = append(errs, fmt.Errorf("Spool.Mode %d is unknown", c.Mode))
	}
	if c.Full < SpoolBlock || c.Full > SpoolDropNewest {
		errs = append(errs, fmt.Errorf("Spool.Full %d is unknown", c.Full))
	}
	return errors.Join(errs...)
}
