//go:build unix

package multilang

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps ctrl-C at the terminal from the child, which is told to stop
// in order, and lets killGroup find what the child has started.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// killGroup kills the child and its children.
func killGroup(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
}
