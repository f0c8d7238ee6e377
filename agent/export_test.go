package agent

import (
	"context"
	"testing"

	"github.com/fsnotify/fsnotify"
)

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

// FirstFlow returns a function that waits for the end of what is the first flow now, and
// says how it has ended.
func (a *Agent) FirstFlow() func() (s FlowStatus, drained bool) {
	r := a.flows()[0]
	return func() (FlowStatus, bool) {
		<-r.done
		return r.fl.status(), r.drained
	}
}

// Kill ends the agent as a kill -9 would: nothing is drained, stored or closed.
// cancel is that of the context of Run.
func (a *Agent) Kill(cancel context.CancelFunc) {
	a.mu.Lock()
	a.kill = true
	a.mu.Unlock()
	cancel()
}

// Overflow makes a watcher of [NewFSWatcher] hear from the system that events were lost.
func Overflow(w Watcher) { w.(*fsWatcher).w.Errors <- fsnotify.ErrEventOverflow }

// SetMaxOrphans changes how many orphans a flow remembers, until the test ends.
func SetMaxOrphans(t *testing.T, n int) {
	old := maxOrphans
	maxOrphans = n
	t.Cleanup(func() { maxOrphans = old })
}
