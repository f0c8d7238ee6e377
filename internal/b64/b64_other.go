//go:build !amd64 || purego

package b64

const wide = false

func encodeBlocks(_, _ *byte, _ int) { panic("b64: not for this machine") }

func decodeBlocks(_ *byte, _ int) int { panic("b64: not for this machine") }
