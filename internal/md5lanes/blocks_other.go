//go:build !amd64 || purego

package md5lanes

const together = false

func blocks2(_, _ *[4]uint32, _, _ *byte, _ int) { panic("md5lanes: not for this machine") }

func blocks4(_ *[4][4]uint32, _ *[4]*byte, _ int) { panic("md5lanes: not for this machine") }
