// Package crashtest cuts the power of streamd's store, kills it and breaks its
// disk, and holds what is there afterwards against what was acknowledged.
//
// It is a module of its own, for the second opinion: besides
// [vfstest.Disk] the suite runs on the crashable file system of Pebble, which
// users of this project need not download.
//
// Everything that happens follows from a seed. A failure prints the command that
// repeats it.
//
// [vfstest.Disk]: https://pkg.go.dev/github.com/streamkit/streamkit/internal/vfs/vfstest#Disk
package crashtest
