package agent

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watcher tells sooner what a scan would find anyway. A flow works without one.
type Watcher interface {
	// Add watches the names in a directory and the content of its files.
	Add(dir string) error
	// Remove ends that. It does nothing for a directory that is not watched.
	Remove(dir string)
	// Events delivers what happened; never too often, and nothing is lost: an event
	// that nobody took grows.
	Events() <-chan WatchEvent
	Close() error
}

// WatchEvent sums up what happened in the watched directories.
type WatchEvent struct {
	Names   bool     // names came, went or changed, or events were lost
	Lost    bool     // events were lost
	Written []string // paths of files that were written, or whose attributes changed
}

// coalesce is the least time between two events of a watcher: a busy writer
// causes an event for each of its writes.
const coalesce = 50 * time.Millisecond

type fsWatcher struct {
	w    *fsnotify.Watcher
	out  chan WatchEvent
	done chan struct{} // closed by run as it returns
}

// NewFSWatcher returns a watcher on the operating system's file events.
func NewFSWatcher() (Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	f := &fsWatcher{w: w, out: make(chan WatchEvent), done: make(chan struct{})}
	go f.run()
	return f, nil
}

func (f *fsWatcher) Add(dir string) error      { return f.w.Add(dir) }
func (f *fsWatcher) Remove(dir string)         { _ = f.w.Remove(dir) } // the only error is that it is not watched
func (f *fsWatcher) Events() <-chan WatchEvent { return f.out }

func (f *fsWatcher) Close() error {
	err := f.w.Close() // closes the channels that run reads
	<-f.done
	return err
}

func (f *fsWatcher) run() {
	defer close(f.done)
	var (
		ev      WatchEvent
		seen    = make(map[string]struct{})
		pause   = time.NewTimer(0)
		waiting bool // for the pause to end
	)
	defer pause.Stop()
	<-pause.C
	for {
		var out chan WatchEvent
		if !waiting && (ev.Names || len(ev.Written) > 0) {
			out = f.out
		}
		select {
		case e, ok := <-f.w.Events:
			if !ok {
				return
			}
			if e.Has(fsnotify.Write | fsnotify.Chmod) {
				path := filepath.Clean(e.Name)
				if _, ok := seen[path]; !ok {
					seen[path] = struct{}{}
					ev.Written = append(ev.Written, path)
				}
			}
			if e.Has(fsnotify.Create | fsnotify.Rename | fsnotify.Remove) {
				ev.Names = true
			}
		case _, ok := <-f.w.Errors:
			if !ok {
				return
			}
			// Overflow or another loss of events: a scan makes up for it.
			ev.Names, ev.Lost = true, true
		case out <- ev:
			ev = WatchEvent{}
			clear(seen)
			waiting = true
			pause.Reset(coalesce)
		case <-pause.C:
			waiting = false
		}
	}
}
