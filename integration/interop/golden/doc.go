// Package golden holds what official clients have sent to streamd, and what it
// answered when they took it. Its tests send the requests again and compare the
// answers, so that the contract is held without the clients.
//
// testdata/calls has a capture of each client (package capture) in NAME.ndjson.gz,
// and the answers in NAME.answers.gz, a line of JSON for each request: in them,
// what every run names otherwise stands as a word and a number, the same where it
// was the same. Both are written by
//
//	make interop ARGS=-capture
//	go test ./integration/interop/golden -run TestCalls -record NAME
//
// What package tables has recorded of the KCLs is then of other captures, too:
// make interop-tables.
//
// testdata/wire has whole requests as they are on the wire, in NAME.http, of what a
// capture does not keep: the first line, headers, the version of HTTP. Those marked
// fixtures were written after a client's documentation and sources, as the client
// could not be run.
package golden
