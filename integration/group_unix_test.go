//go:build unix

package integration_test

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the command and its children into a process group, so that
// killGroup reaches what a shell or `go run` started.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
