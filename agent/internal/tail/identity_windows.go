package tail

import (
	"io/fs"
	"os"

	"github.com/cespare/xxhash/v2"
)

// OpenFlags opens a file for reading.
const OpenFlags = os.O_RDONLY

// IDOf returns the identity of the file at path. [fs.FileInfo] has no file index
// here, so the path stands for it, and the content tells a rotated file.
func IDOf(path string, _ fs.FileInfo) ID { return ID{Ino: xxhash.Sum64String(path)} }

// Links returns 1: the number is not known.
func Links(fs.FileInfo) int { return 1 }
