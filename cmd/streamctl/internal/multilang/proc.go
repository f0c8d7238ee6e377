package multilang

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
)

// startProcess starts a command with pipes to all three of its streams.
func startProcess(ctx context.Context, command []string) (_ *proc, err error) {
	var files []*os.File
	defer func() {
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
		}
	}()
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("multilang: pipe to %q: %w", command[0], err)
		}
		files = append(files, r, w)
	}
	// The child outlives ctx: it is told to stop.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[3], files[5]
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("multilang: start %q: %w", command[0], err)
	}
	for _, i := range []int{0, 3, 5} {
		err = errors.Join(err, files[i].Close()) // the child's own ends
	}
	var reaped atomic.Bool // from then on its id may be another's
	return &proc{
		pid: cmd.Process.Pid, stdin: files[1], stdout: files[2], stderr: files[4],
		wait: func() error {
			err := cmd.Wait()
			// What it leaves behind would hold its pipes and do its work beside the
			// next child. The group's id is not given away while it has members.
			killGroup(cmd)
			reaped.Store(true)
			return err
		},
		kill: func() {
			if !reaped.Load() {
				killGroup(cmd)
			}
		},
	}, err
}
