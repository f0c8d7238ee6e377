// Package capture is the file in which streamd notes the requests of a run, and
// from which streamctl sends them again: the format, its writer and reader, and
// the mapping of what the two runs name differently.
//
// # Format
//
// A file is text, a JSON object in each line. The first is a header; another
// one in the middle begins a further run of the server:
//
//	{"format":"streamd-capture","version":1,"started":"2026-11-23T10:00:00Z"}
//
// Every other line is a request to the APIs that was answered, or the end of a
// stream of events:
//
//	at_us   microseconds from the header's time to the request's arrival
//	target  X-Amz-Target
//	type    Content-Type: JSON or CBOR
//	body    the request's body if it is JSON
//	base64  the request's body if it is not
//	status  HTTP status of the answer
//	code    type of the error; absent if there was none
//	failed  how many entries of PutRecords were refused; absent if none
//	values  what later requests may repeat from the answer, by its place:
//	        iterators, tokens, sequence numbers, ARNs
//	stream  number of the stream of events that the request has opened
//	ended   on the line that ends the stream of that number: how many events had
//	        records (or named the children of the shard), how many records they
//	        had, and whether the shard has ended; code is then the error that
//	        ended the stream, values the number to go on from
//
// Headers are not kept, so that neither credentials nor signatures are; the
// data of records is, in the bodies.
//
// # Order
//
// Lines are in the order in which answers were ready to be sent. A request that
// repeats something from an answer is therefore behind that answer's line. A
// stream of events has two: where it was opened, and where it ended; the second
// is missing if it had not ended, or was not followed.
package capture
