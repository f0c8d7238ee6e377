package awsproto

import (
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// A Codec is one encoding of requests and answers. The request's content type
// chooses it.
type Codec interface {
	// ContentType names the encoding.
	ContentType() string

	// Decode fills the input that in points to from body, by the table s. It
	// may use body as its own memory: strings and blobs of the input lie in it
	// afterwards. syntaxOK is false if body is not well-formed or no structure;
	// conversion is the first value, in the order of the table, that does not
	// fit its member.
	Decode(body []byte, s shape.Struct, in any) (conversion *awserr.Error, syntaxOK bool)

	// AppendOutput adds a structure with the members of out.
	AppendOutput(dst []byte, out shape.Output) []byte

	// AppendError adds the body of an error.
	AppendError(dst []byte, e *awserr.Error) []byte
}

// shardIDSize is the length of a shard's id.
const shardIDSize = 20

// appendShardID adds the id of a shard.
func appendShardID(dst []byte, index int) []byte {
	dst = append(dst, "shardId-000000000000"...)
	for i, v := len(dst)-1, index; v > 0; i, v = i-1, v/10 {
		dst[i] = byte('0' + v%10)
	}
	return dst
}

// messageKey is the member that holds the text of an error: this one exception
// spells it in its own way.
func messageKey(code string) string {
	if code == codeSerialization {
		return "Message"
	}
	return "message"
}

const codeSerialization = "SerializationException"

// found is the type of a value on the wire, for conversion errors.
type found uint8

const (
	foundBool found = iota
	foundNumber
	foundString
	foundBytes // CBOR has them
	foundList
	foundStruct
)

// classes are the names under which AWS's messages know scalar values.
var classes = [...]string{
	foundBool:   "class java.lang.Boolean",
	foundNumber: "class com.amazon.coral.value.json.numbers.TruncatingBigNumber",
	foundString: "class java.lang.String",
	foundBytes:  "class java.nio.HeapByteBuffer",
}

// targets are how the messages name what a scalar should have become.
var targets = [...]string{
	shape.KindString: "an String",
	shape.KindInt:    "an Integer",
	shape.KindBool:   "an Boolean",
	shape.KindTime:   "milliseconds since epoch",
	shape.KindBlob:   "a Blob",
}

// mismatch is the error of a value whose type does not fit its member.
//
// Source of the wording: errors recorded from AWS.
func mismatch(want shape.Kind, got found) *awserr.Error {
	switch {
	case (want == shape.KindList || want == shape.KindStrings) && got < foundList:
		return serialization("Expected list or null")
	case want == shape.KindMap && got < foundList:
		return serialization("Expected map or null")
	case want == shape.KindStruct && got < foundList:
		return serialization("Expected null")
	case got == foundList:
		return serialization("Start of list found where not expected")
	case got == foundStruct:
		return serialization("Start of structure or map found where not expected.")
	}
	return serialization(classes[got] + " can not be converted to " + targets[want])
}

func serialization(message string) *awserr.Error {
	return &awserr.Error{Code: codeSerialization, Message: message, Status: 400}
}
