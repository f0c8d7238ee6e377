// Package arch holds the rules of which package may import which. It has no
// code: the rules are a table in its test, so that breaking one fails
// `go test ./...` with the reason for the rule.
package arch
