package agent

import "context"

// Keys returns the keys of the configuration.
func Keys() []string {
	keys := []string{"flows", "dataProcessingOptions"}
	for k := range agentKeys {
		keys = append(keys, k)
	}
	for k := range flowKeys {
		keys = append(keys, k)
	}
	return keys
}

// Bare returns f without what only the loader knows of it.
func Bare(f FlowConfig) FlowConfig {
	f.definition = ""
	return f
}

// Kill ends the agent as a kill -9 would: nothing is drained, stored or closed.
// cancel is that of the context of Run.
func (a *Agent) Kill(cancel context.CancelFunc) {
	a.mu.Lock()
	a.kill = true
	a.mu.Unlock()
	cancel()
}
