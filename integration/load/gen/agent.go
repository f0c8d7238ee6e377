package gen

import (
	"context"
	"fmt"
	"time"
)

// Agent reads files of lines with the agent, in a process of its own. Its result
// counts lines, and CPU time and memory are the agent's, not the server's.
type Agent struct {
	Files  int
	Bytes  int64  // of all files
	Format string // of the lines, one of agentbench's
	// Sink says that there is no server: each batch is acknowledged at once.
	Sink bool
	// Pace is how many bytes a second are written while the agent reads. 0 is none:
	// it reads what is there, again and again, and with Idle waits.
	Pace int64
	Idle bool
	// Restart measures the start of an agent that has read the files before: until
	// it has the line that was written to one of them since.
	Restart bool
	// Outage has the server refuse all while the files are written at a pace, and
	// measures from then on, until all is acknowledged. The memory is the most that
	// there was.
	Outage bool
	By     Reader
}

// Reader is what reads the files.
type Reader string

// The readers are the agent, cat(1), the library nxadm/tail, whose lines are counted,
// and [ReadByHand].
const (
	ByAgent Reader = ""
	ByCat   Reader = "cat"
	ByTail  Reader = "tail"
	ByHand  Reader = "hand"
)

// Run implements [Load].
func (l Agent) Run(ctx context.Context, env *Env) (Result, error) {
	args := []string{
		"-duration", env.Duration.String(), "-files", fmt.Sprint(l.Files), "-bytes", fmt.Sprint(l.Bytes), "-format", l.Format,
		"-pace", fmt.Sprint(l.Pace), fmt.Sprint("-idle=", l.Idle), fmt.Sprint("-restart=", l.Restart),
		fmt.Sprint("-outage=", l.Outage), "-by", string(l.By), "-shards", fmt.Sprint(env.Shards),
	}
	if !l.Sink {
		srv, err := env.Start(ctx)
		if err != nil {
			return Result{}, err
		}
		if _, err := createStream(ctx, srv.Endpoint, env.Shards); err != nil {
			return Result{}, err
		}
		args = append(args, "-endpoint", srv.Endpoint, "-stream", streamName)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*env.Duration+5*time.Minute)
	defer cancel()
	return env.Agent(ctx, args...)
}
