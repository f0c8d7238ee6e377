//go:build !unix

package matrix

import "os/exec"

// group is for systems that know groups of processes.
func group(*exec.Cmd) {}

func sweep(*exec.Cmd) {}
