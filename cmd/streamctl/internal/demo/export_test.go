package demo

import (
	"io"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/leases"
)

// NewLiveScreen is a screen on a terminal of a given size.
func NewLiveScreen(out io.Writer, width, height int) *Screen {
	s := NewScreen(out)
	s.live, s.size = true, func() (int, int) { return width, height }
	return s
}

// Pair is pair.
var Pair = pair

// Number is number, for lines.
var Number = number[uint64]

// Table draws shards and leases.
func Table(shards []types.Shard, ls []leases.Lease, down bool) []string {
	o := observed{shards: shards, leases: map[string]leases.Lease{}, down: down}
	for _, l := range ls {
		o.leases[l.Key] = l
	}
	return o.table()
}

// Start starts a process that writes to a log.
func Start(name, path string, args, env []string, log string) (*Proc, error) {
	return start(command{name: name, path: path, args: args, env: env, log: log})
}

// Done is closed when the process has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Died is died.
func (p *Proc) Died() bool { return p.died() }

// EndedError is endedError.
func (p *Proc) EndedError() error { return p.endedError() }

// ChildEnv is childEnv.
var ChildEnv = childEnv
