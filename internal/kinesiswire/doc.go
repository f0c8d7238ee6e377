// Package kinesiswire writes PutRecords requests and reads their answers, in
// the two encodings that Kinesis has on one address: JSON 1.1 and the CBOR that
// the AWS SDKs for Java send. It makes no garbage: requests go into memory of
// the caller's, and what is read aliases the answer's bytes.
//
// A request in JSON carries its data in base64, a third more bytes to write,
// to hash for the signature and to send; in CBOR the data are as they are.
//
//	JSON  {"Records":[{"Data":"…","ExplicitHashKey":"…","PartitionKey":"…"},…],"StreamName":"…"}
//	CBOR  the same members; maps and lists of indefinite length
//
// Sources: Amazon Kinesis API Reference, PutRecords; RFC 8259, RFC 8949; what
// the AWS SDK for Java 2 sends, which is where the lists without a length come
// from.
package kinesiswire
