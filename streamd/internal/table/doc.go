// Package table is the subset of Amazon DynamoDB that lease tables need, as a
// pure state machine: no files, no network, no clock, no goroutines.
//
// [Accept] turns the body of a request into a [Request] and finds everything
// that is wrong with it by itself. [Set] holds the tables: [Set.Apply] answers
// requests that change them, [Set.Read] the others. The answer is a [Response]
// that appends itself as JSON.
//
//	body ─ Accept ──▶ Request ──┬─ Mutates: journal, then Set.Apply ──▶ Response
//	                            └─ otherwise:             Set.Read  ──▶ Response
//
// # Determinism
//
// A mutating request is journaled as its operation, its scope and its raw
// body, and is parsed and applied again at replay, by [Parse]. So Parse is a
// function of the body alone, and Apply of the state, the time, the scope and the request.
// Nothing here may look at a clock, at random numbers or at the order of a Go
// map. And a journal outlives a version of this package: what was accepted and
// applied once must be accepted and applied in the same way ever after, until
// no journal holds it any more. What a client may no longer ask for is refused
// by Accept, before it is journaled. A change of behaviour needs a new operation
// name in the journal.
//
// The tokens of transactions are a part of the Set, with the time of the journal
// at which each was used.
//
// # Sharing
//
// An item is immutable once it is stored: an update builds a new one. So a
// Response may alias items and be encoded after the lock that guards the Set
// is released, and [Set.Clone] shares all items with its original.
//
// # Layout of an item
//
// An item is a list of attributes sorted by name. Sets are sorted, numbers are
// kept in the one form that DynamoDB prints. So equality is a comparison of
// bytes, and equal sets of tables have equal snapshots.
//
// An item's place in its table is a string whose byte order is the order of
// the key: first the hash key, then the range key, each in a form that no
// other value's form is a prefix of. DynamoDB orders hash keys by an unknown
// hash; here they are in their own order.
//
// Sources of facts: Amazon DynamoDB API Reference and Developer Guide, API
// version 2012-08-10.
package table
