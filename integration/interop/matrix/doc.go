// Package matrix runs the official clients of Kinesis and DynamoDB against
// streamd, as the programs of integration/interop, and keeps what came of it.
//
// A row names a program, what it needs, how its packages are fetched, and what
// happens beside it. A program is any executable that reads its settings from the
// environment:
//
//	STREAMD_KINESIS, STREAMD_DYNAMODB   endpoint with TLS, https://127.0.0.1:port
//	STREAMD_PLAIN                       the same without, http://127.0.0.1:port
//	STREAMD_CA                          file of the authority to trust, in PEM
//	STREAM                              a stream that is there
//	TABLE, APP                          name for tables and for an application
//	RECORDS                             how many records to put or to expect
//	OUT                                 file to write records to, as lines of JSON
//	AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION
//
// It prints lines of JSON: first what it is, then each thing that it has tried.
// Other lines are for its log. It ends with 0 if all went well.
//
//	{"client":"boto3","version":"1.44.8","runtime":"python 3.11.7"}
//	{"check":"put_record","ok":true,"detail":"shardId-000000000000"}
//
// A line of OUT is a record, in the order of its shard:
//
//	{"shard":"shardId-000000000000","seq":"4959…","sub":0,"key":"k","data":"aGVsbG8="}
//
// A program that puts leaves shard, seq and sub out where it does not know them.
package matrix
