package awsproto

// JSON11 is the codec of application/x-amz-json-1.1.
var JSON11 = json11

// CBOR11 is the codec of application/x-amz-cbor-1.1.
var CBOR11 = cbor11

// The messages of event streams.
var (
	AppendEvent   = appendEvent
	AppendFailure = appendFailure
)

// TakeRoom returns a buffer for an answer, GiveRoom takes it back.
var (
	TakeRoom = takeRoom
	GiveRoom = giveBuffer
)

// AnswerRoom is what an answer of a size is counted as.
var AnswerRoom = answerRoom
