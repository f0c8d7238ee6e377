// Package scenario plays what happens to a stream around an official client: it
// starts a streamd, a program of the client and a load, changes the stream,
// kills the server, and checks what the client has made of it.
//
// A scenario needs binaries that were built before: streamd, and the class paths
// of the programs in Java, see Setup.
package scenario
