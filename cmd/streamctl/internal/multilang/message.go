package multilang

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/streamkit/streamkit/consumer"
)

// The actions of requests.
const (
	actionInitialize        = "initialize"
	actionProcessRecords    = "processRecords"
	actionLeaseLost         = "leaseLost"
	actionShardEnded        = "shardEnded"
	actionShutdownRequested = "shutdownRequested"
	actionShutdown          = "shutdown" // of the KCL 1.x, for both leaseLost and shardEnded
)

// Fields are in the order in which the KCL writes them.
type (
	initializeMessage struct {
		Action            string `json:"action"`
		ShardID           string `json:"shardId"`
		SequenceNumber    string `json:"sequenceNumber"`
		SubSequenceNumber int64  `json:"subSequenceNumber"`
	}
	recordMessage struct {
		Data                        []byte `json:"data"`
		PartitionKey                string `json:"partitionKey"`
		SequenceNumber              string `json:"sequenceNumber"`
		ApproximateArrivalTimestamp *int64 `json:"approximateArrivalTimestamp"` // milliseconds since 1970
		SubSequenceNumber           int64  `json:"subSequenceNumber"`
		Action                      string `json:"action"`
	}
	processRecordsMessage struct {
		Action             string          `json:"action"`
		Records            []recordMessage `json:"records"`
		MillisBehindLatest int64           `json:"millisBehindLatest"`
	}
	checkpointMessage struct {
		Action            string  `json:"action"`
		SequenceNumber    *string `json:"sequenceNumber"`
		SubSequenceNumber *int64  `json:"subSequenceNumber"`
		Error             *string `json:"error"`
	}
	plainMessage struct {
		Action string `json:"action"`
		Reason string `json:"reason,omitempty"`
	}
)

// encode returns m as one line.
func encode(m any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("multilang: encode a message: %w", err)
	}
	return b.Bytes(), nil
}

func encodeInitialize(shard string, start consumer.Checkpoint) ([]byte, error) {
	return encode(initializeMessage{actionInitialize, shard, start.SequenceNumber, start.SubSequenceNumber})
}

func encodeRecords(b *consumer.Batch) ([]byte, error) {
	m := processRecordsMessage{Action: actionProcessRecords, Records: make([]recordMessage, len(b.Records)), MillisBehindLatest: b.BehindLatest.Milliseconds()}
	for i := range b.Records {
		r := &b.Records[i]
		to := &m.Records[i]
		*to = recordMessage{
			Data: r.Data, PartitionKey: r.PartitionKey, SequenceNumber: r.SequenceNumber,
			SubSequenceNumber: r.SubSequenceNumber, Action: "record",
		}
		if to.Data == nil {
			to.Data = []byte{} // null would not be base64
		}
		if t := r.ApproximateArrivalTime; !t.IsZero() {
			millis := t.UnixMilli()
			to.ApproximateArrivalTimestamp = &millis
		}
	}
	return encode(m)
}

// encodeAnswer answers a checkpoint; name is empty if it is stored.
func encodeAnswer(m *message, name string) ([]byte, error) {
	out := checkpointMessage{Action: "checkpoint", SubSequenceNumber: m.sub}
	if m.seq != "" {
		out.SequenceNumber = &m.seq
	}
	if name != "" {
		out.Error = &name
	}
	return encode(out)
}

// kind is what a child may say.
type kind int

const (
	kindOther      kind = iota // a message of the protocol that is not for the bridge
	kindStatus                 // ends a request
	kindCheckpoint             // asks for a checkpoint
)

// message is one line of a child.
type message struct {
	kind        kind
	action      string
	responseFor string // of a status
	seq         string // of a checkpoint; empty: all that was delivered
	sub         *int64 // of a checkpoint with a sequence number; nil: 0
}

// kinds are the actions that a child may send.
var kinds = map[string]kind{
	"status":                kindStatus,
	"checkpoint":            kindCheckpoint,
	actionInitialize:        kindOther,
	actionProcessRecords:    kindOther,
	actionLeaseLost:         kindOther,
	actionShardEnded:        kindOther,
	actionShutdownRequested: kindOther,
	actionShutdown:          kindOther,
}

var errNoMessage = errors.New("multilang: not a message")

// decode reads a line of a child. An error means that the line is no message:
// something else that the program has printed. What follows the JSON object,
// and fields of no meaning, are ignored; numbers may be strings and strings
// numbers, as with the KCL.
func decode(line []byte) (message, error) {
	line = bytes.TrimLeft(line, " \t\r\ufeff")
	if len(line) == 0 || line[0] != '{' {
		return message{}, errNoMessage
	}
	var in struct {
		Action            string          `json:"action"`
		ResponseFor       string          `json:"responseFor"`
		SequenceNumber    json.RawMessage `json:"sequenceNumber"`
		SubSequenceNumber json.RawMessage `json:"subSequenceNumber"`
	}
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&in); err != nil {
		return message{}, fmt.Errorf("%w: %w", errNoMessage, err)
	}
	k, ok := kinds[in.Action]
	if !ok {
		return message{}, errNoMessage
	}
	m := message{kind: k, action: in.Action, responseFor: in.ResponseFor}
	if k != kindCheckpoint {
		return m, nil
	}
	seq, err := scalar(in.SequenceNumber)
	if err != nil {
		return message{}, err
	}
	m.seq = seq
	sub, err := scalar(in.SubSequenceNumber)
	if err != nil {
		return message{}, err
	}
	if sub != "" {
		n, err := strconv.ParseInt(sub, 10, 64)
		if err != nil {
			return message{}, errNoMessage
		}
		m.sub = &n
	}
	return m, nil
}

// scalar returns a JSON string's content or a number's digits; "" for null and
// what is not there.
func scalar(raw json.RawMessage) (string, error) {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case raw[0] >= '0' && raw[0] <= '9' || raw[0] == '-':
		return string(raw), nil
	}
	return "", errNoMessage
}
