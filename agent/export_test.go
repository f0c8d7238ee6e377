package agent

import "context"

// Kill ends the agent as a kill -9 would: nothing is drained, stored or closed.
// cancel is that of the context of Run.
func (a *Agent) Kill(cancel context.CancelFunc) {
	a.mu.Lock()
	a.kill = true
	a.mu.Unlock()
	cancel()
}
