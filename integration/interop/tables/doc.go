// Package tables compares the tables of streamd with those of other servers
// that speak the DynamoDB API, request by request.
//
// [Corpus] makes a list of some thousand requests from a seed: all operations,
// right and wrong, over tables whose content builds up. [Play] sends them to a
// server and notes the answers in a form in which two servers' can be compared
// ([Normal]). What dynalite and moto answered is kept in testdata; the test of
// this package plays the corpus to streamd and compares. Every answer that
// differs must be explained by an entry of [Decisions], and every entry must
// explain one: the list is complete, and has nothing that is out of date.
//
// [Captured] and [CapturedTwice] are lists of what the KCLs have really asked, out
// of the captures of package golden, with a reading of all tables at the end. They
// are played and compared in the same way.
//
// `make interop-tables` starts the servers, and makes the recordings anew.
package tables
