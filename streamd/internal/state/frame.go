package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/internal/arn"
)

// The body of a frame: the time of its arrival, then entries. Integers are
// little-endian or uvarints. All of it is part of the format.
//
//	u64 arrival, milliseconds since the epoch
//	entries:  u8 type, uvarint length, payload
//
//	type 1, records:  u64 stream, u32 shard, u32 count, then each
//	                  16 B hash key (big-endian), uvarint length, partition key,
//	                  uvarint length, data
//	type 2, command:  uvarint length, name, JSON
//	type 3, table:    uvarint length, account, uvarint length, region,
//	                  uvarint length, operation, request body
//
// The shard of a record entry is the writer's guess: if it is closed when the
// entry is applied, each record goes to the open shard of its hash key.
const (
	entryRecords = 1
	entryCommand = 2
	entryTable   = 3

	arrivalSize     = 8
	recordsHeader   = 16
	hashSize        = 16
	maxEntryPayload = 1 << 30
)

var errBadFrame = errors.New("state: frame does not decode")

// BeginFrame starts the body of a frame that arrives at the given time.
func BeginFrame(dst []byte, arrival time.Time) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(arrival.UnixMilli()))
}

// FrameSize returns the size of a frame's body with entries of so many bytes.
func FrameSize(entries int) int { return arrivalSize + entries }

// RecordsSize returns the size of a records entry with count records, whose
// partition keys and data have the given number of bytes, at most.
func RecordsSize(count, bytes int) int {
	return 1 + binary.MaxVarintLen32 + recordsHeader + count*(hashSize+2*binary.MaxVarintLen32) + bytes
}

// BeginRecords starts a records entry. Its length is filled in by EndRecords,
// to which mark goes back.
func BeginRecords(dst []byte, stream uint64, shard, count int) (out []byte, mark int) {
	dst = append(dst, entryRecords, 0, 0, 0, 0, 0)
	mark = len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, stream)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(shard))
	return binary.LittleEndian.AppendUint32(dst, uint32(count)), mark
}

// AppendRecord adds a record to the entry.
func AppendRecord(dst []byte, hash hashkey.Key, partitionKey string, data []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, hash.Hi)
	dst = binary.BigEndian.AppendUint64(dst, hash.Lo)
	dst = binary.AppendUvarint(dst, uint64(len(partitionKey)))
	dst = append(dst, partitionKey...)
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(dst, data...)
}

// EndRecords completes the entry that BeginRecords started.
func EndRecords(dst []byte, mark int) []byte {
	// A uvarint of five bytes, whatever the value: the length is known late.
	n := len(dst) - mark
	for i := range 4 {
		dst[mark-5+i] = byte(n) | 0x80
		n >>= 7
	}
	dst[mark-1] = byte(n)
	return dst
}

// AppendCommand adds a command entry.
func AppendCommand(dst []byte, c Command) ([]byte, error) {
	payload, err := encodeCommand(c)
	if err != nil {
		return dst, err
	}
	dst = append(dst, entryCommand)
	return appendBytes(dst, payload), nil
}

// TableSize returns the size of a table entry, at most.
func TableSize(scope arn.Scope, op string, body []byte) int {
	return 1 + 4*binary.MaxVarintLen32 + len(scope.Account) + len(scope.Region) + len(op) + len(body)
}

// AppendTable adds a table entry: a request of a DynamoDB operation as it came.
func AppendTable(dst []byte, scope arn.Scope, op string, body []byte) []byte {
	size := len(body)
	for _, field := range [...]string{scope.Account, scope.Region, op} {
		size += uvarintLen(uint64(len(field))) + len(field)
	}
	dst = binary.AppendUvarint(append(dst, entryTable), uint64(size))
	for _, field := range [...]string{scope.Account, scope.Region, op} {
		dst = appendBytes(dst, field)
	}
	return append(dst, body...)
}

// uvarintLen returns how many bytes a uvarint takes.
func uvarintLen(v uint64) int { return (max(bits.Len64(v), 1) + 6) / 7 }

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// cutBytes reads what appendBytes wrote. rest is nil if b is too short.
func cutBytes(b []byte) (field, rest []byte) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > maxEntryPayload || uint64(len(b)-size) < n {
		return nil, nil
	}
	return b[size : size+int(n)], b[size+int(n):]
}

// commandNames are the names under which commands are stored.
var commandNames = map[string]func([]byte) (Command, error){
	"CreateStream":         decodeAs[CreateStream],
	"DeleteStream":         decodeAs[DeleteStream],
	"SplitShard":           decodeAs[SplitShard],
	"MergeShards":          decodeAs[MergeShards],
	"UpdateShardCount":     decodeAs[UpdateShardCount],
	"ChangeRetention":      decodeAs[ChangeRetention],
	"Tag":                  decodeAs[Tag],
	"Untag":                decodeAs[Untag],
	"ChangeMonitoring":     decodeAs[ChangeMonitoring],
	"ChangeEncryption":     decodeAs[ChangeEncryption],
	"ChangeMaxRecordSize":  decodeAs[ChangeMaxRecordSize],
	"ChangeMode":           decodeAs[ChangeMode],
	"ChangeWarmThroughput": decodeAs[ChangeWarmThroughput],
	"ChangeDistribution":   decodeAs[ChangeDistribution],
	"ChangeCommitment":     decodeAs[ChangeCommitment],
	"PutPolicy":            decodeAs[PutPolicy],
	"DeletePolicy":         decodeAs[DeletePolicy],
	"CreateChannel":        decodeAs[CreateChannel],
	"UpdateChannel":        decodeAs[UpdateChannel],
	"DeleteChannel":        decodeAs[DeleteChannel],
	"RegisterConsumer":     decodeAs[RegisterConsumer],
	"DeregisterConsumer":   decodeAs[DeregisterConsumer],
	"Complete":             decodeAs[Complete],
	"Skip":                 decodeAs[Skip],
}

func decodeAs[T Command](b []byte) (Command, error) {
	var c T
	err := json.Unmarshal(b, &c)
	return c, err
}

func commandName(c Command) string {
	switch c.(type) {
	case CreateStream:
		return "CreateStream"
	case DeleteStream:
		return "DeleteStream"
	case SplitShard:
		return "SplitShard"
	case MergeShards:
		return "MergeShards"
	case UpdateShardCount:
		return "UpdateShardCount"
	case ChangeRetention:
		return "ChangeRetention"
	case Tag:
		return "Tag"
	case Untag:
		return "Untag"
	case ChangeMonitoring:
		return "ChangeMonitoring"
	case ChangeEncryption:
		return "ChangeEncryption"
	case ChangeMaxRecordSize:
		return "ChangeMaxRecordSize"
	case ChangeMode:
		return "ChangeMode"
	case ChangeWarmThroughput:
		return "ChangeWarmThroughput"
	case ChangeDistribution:
		return "ChangeDistribution"
	case ChangeCommitment:
		return "ChangeCommitment"
	case PutPolicy:
		return "PutPolicy"
	case DeletePolicy:
		return "DeletePolicy"
	case CreateChannel:
		return "CreateChannel"
	case UpdateChannel:
		return "UpdateChannel"
	case DeleteChannel:
		return "DeleteChannel"
	case RegisterConsumer:
		return "RegisterConsumer"
	case DeregisterConsumer:
		return "DeregisterConsumer"
	case Complete:
		return "Complete"
	case Skip:
		return "Skip"
	}
	return ""
}

func encodeCommand(c Command) ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return append(appendBytes(nil, commandName(c)), b...), nil
}

func decodeCommand(b []byte) (Command, error) {
	name, rest := cutBytes(b)
	decode, ok := commandNames[string(name)]
	if !ok {
		return nil, fmt.Errorf("%w: unknown command %q; was it written by a newer version?", errBadFrame, name)
	}
	return decode(rest)
}

// A RecordView is a record inside a frame's body.
type RecordView struct {
	Hash         hashkey.Key
	PartitionKey []byte
	Data         []byte
}

// NextRecord reads the record that b begins with. rest is nil if b is damaged.
func NextRecord(b []byte) (r RecordView, rest []byte) {
	if len(b) < hashSize {
		return r, nil
	}
	r.Hash = hashkey.FromBytes([hashSize]byte(b))
	if r.PartitionKey, rest = cutBytes(b[hashSize:]); rest == nil {
		return r, nil
	}
	r.Data, rest = cutBytes(rest)
	return r, rest
}
