// Package integration tests the product from outside: the binaries that users
// run, as processes of their own, on real directories, spoken to by the AWS SDK
// and by our libraries over loopback, and killed in the middle.
//
// It has no code besides tests. `make integration` runs them always; with
// -short they skip themselves and say so.
package integration
