//go:build unix

package tail

import (
	"io/fs"
	"os"
	"syscall"
)

// OpenFlags opens a file for reading. A FIFO that took the place of a file must
// not block the opening.
const OpenFlags = os.O_RDONLY | syscall.O_NONBLOCK

// IDOf returns the identity of the file at path.
func IDOf(_ string, fi fs.FileInfo) ID {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return ID{}
	}
	return ID{Dev: uint64(st.Dev), Ino: st.Ino} //nolint:unconvert // signed on some systems
}

// Links returns the number of names of a file, or 1 if it is unknown.
func Links(fi fs.FileInfo) int {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return int(st.Nlink)
}
