//go:build !purego

package b64

import "golang.org/x/sys/cpu"

// wide says that the CPU, and the system, have AVX2.
var wide = cpu.X86.HasAVX2

// encodeBlocks encodes blocks of 24 bytes from src into 32 characters each at
// dst. It reads four bytes behind the last one.
//
//go:noescape
func encodeBlocks(dst, src *byte, blocks int)

// decodeBlocks decodes at most so many blocks of 32 characters over themselves,
// 24 bytes each, and returns the number of those before the first that has any
// other character than the 64.
//
//go:noescape
func decodeBlocks(text *byte, blocks int) (done int)
