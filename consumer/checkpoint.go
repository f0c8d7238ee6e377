package consumer

import (
	"cmp"
	"fmt"

	"github.com/streamkit/streamkit/internal/seqno"
)

// The sentinels that a [Checkpoint] may hold instead of a sequence number.
// They are stored as they are.
const (
	TrimHorizon = "TRIM_HORIZON" // before the oldest record
	Latest      = "LATEST"       // after the newest record
	AtTimestamp = "AT_TIMESTAMP" // at Config.InitialPosition's time
	ShardEnd    = "SHARD_END"    // after the last record of a closed shard
)

// Checkpoint is a place in a shard: everything up to and including it has been
// acknowledged. The zero Checkpoint is no place at all; it orders before all
// others.
type Checkpoint struct {
	// SequenceNumber is a sequence number in decimal, or a sentinel.
	SequenceNumber string

	// SubSequenceNumber is the index of a user record inside an aggregated
	// record; 0 for other records and for sentinels.
	SubSequenceNumber int64
}

// IsSentinel reports whether c holds no sequence number.
func (c Checkpoint) IsSentinel() bool {
	return c.SequenceNumber == "" || c.SequenceNumber[0] < '0' || c.SequenceNumber[0] > '9'
}

// Compare orders two places of one shard: AT_TIMESTAMP, TRIM_HORIZON, LATEST,
// sequence numbers by value and then sub-sequence number, SHARD_END. It returns
// -1, 0 or +1.
//
// Source: amazon-kinesis-client, ExtendedSequenceNumber.
func (c Checkpoint) Compare(o Checkpoint) int {
	if r := cmp.Compare(c.rank(), o.rank()); r != 0 || c.IsSentinel() {
		return r
	}
	if r := seqno.Compare(c.SequenceNumber, o.SequenceNumber); r != 0 {
		return r
	}
	return cmp.Compare(c.SubSequenceNumber, o.SubSequenceNumber)
}

func (c Checkpoint) rank() int {
	switch c.SequenceNumber {
	case "":
		return -4
	case AtTimestamp:
		return -3
	case TrimHorizon:
		return -2
	case Latest:
		return -1
	case ShardEnd:
		return 1
	}
	return 0
}

// Validate returns an error unless c holds a sentinel or a sequence number.
func (c Checkpoint) Validate() error {
	switch {
	case c.rank() < 0 && c.SequenceNumber != "", c.SequenceNumber == ShardEnd:
		if c.SubSequenceNumber == 0 {
			return nil
		}
	case seqno.Valid(c.SequenceNumber) && c.SubSequenceNumber >= 0:
		return nil
	}
	return fmt.Errorf("consumer: checkpoint %v is neither a sequence number nor a sentinel", c)
}

// String writes c as its sequence number, with "/n" for a sub-sequence number
// that is not 0.
func (c Checkpoint) String() string {
	if c.SubSequenceNumber == 0 {
		return c.SequenceNumber
	}
	return fmt.Sprintf("%s/%d", c.SequenceNumber, c.SubSequenceNumber)
}
