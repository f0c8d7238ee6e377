package kinesiswire

import "errors"

// Result is what became of one record. A nil member was not in the answer.
type Result struct {
	ShardID, SequenceNumber, ErrorCode, ErrorMessage []byte
}

// Response is the answer to a PutRecords request. All bytes alias what was
// parsed, or memory of the Response; they hold until either is used again.
type Response struct {
	Records        []Result
	HasRecords     bool // even of an empty list
	Failed         int32
	HasFailed      bool
	EncryptionType []byte

	text []byte // strings that are not in the answer as they are
}

// reset empties r and keeps its memory.
func (r *Response) reset() {
	*r = Response{Records: r.Records[:0], text: r.text[:0]}
}

// add appends a Result.
func (r *Response) add() *Result {
	r.Records = append(r.Records, Result{})
	return &r.Records[len(r.Records)-1]
}

// ErrSyntax is returned for an answer that cannot be read, or that is not what
// it should be.
var ErrSyntax = errors.New("kinesiswire: no answer to a PutRecords")

// maxDepth bounds how deep values may be nested in members that are passed
// over.
const maxDepth = 64

// member is a place for a string in an answer's list.
func (r *Result) member(name []byte) *[]byte {
	switch string(name) {
	case "SequenceNumber":
		return &r.SequenceNumber
	case "ShardId":
		return &r.ShardID
	case "ErrorCode":
		return &r.ErrorCode
	case "ErrorMessage":
		return &r.ErrorMessage
	}
	return nil
}
