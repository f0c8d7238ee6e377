package store

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/state"
)

// watchers are those who wait for news of a shard. While there are none, the
// apply loop pays one look at n.
type watchers struct {
	n  atomic.Int64 // how many there are
	mu sync.Mutex   // guards by
	by map[shardRef]map[chan struct{}]struct{}

	touched []shardRef // by the frame being applied; the apply loop's alone
	all     bool       // the frame holds a command
}

type shardRef struct {
	stream uint64
	shard  int
}

// Watch returns a channel that tells when there may be news of a shard: records,
// a change of its stream, of its consumers, or its end. Who looks at the shard
// after Watch has returned, and again after each value, misses nothing. Many
// changes may be one value. stop must be called at the end.
func (s *Store) Watch(streamID uint64, shard int) (news <-chan struct{}, stop func()) {
	w, ref := &s.watchers, shardRef{streamID, shard}
	ch := make(chan struct{}, 1) // a value stands for all changes since the last
	w.mu.Lock()
	if w.by == nil {
		w.by = make(map[shardRef]map[chan struct{}]struct{})
	}
	if w.by[ref] == nil {
		w.by[ref] = make(map[chan struct{}]struct{})
	}
	w.by[ref][ch] = struct{}{}
	w.mu.Unlock()
	w.n.Add(1)
	return ch, func() {
		w.mu.Lock()
		delete(w.by[ref], ch)
		if len(w.by[ref]) == 0 {
			delete(w.by, ref)
		}
		w.mu.Unlock()
		w.n.Add(-1)
	}
}

// note remembers what an entry changed. The apply loop calls it while it holds
// the state's lock: who begins to watch later looks at the state afterwards.
func (w *watchers) note(o state.Outcome) {
	if w.n.Load() == 0 {
		return
	}
	if o.StreamID == 0 {
		w.all = w.all || o.Response == nil // tables are no news
		return
	}
	for _, r := range o.Runs {
		if ref := (shardRef{o.StreamID, r.Shard}); len(w.touched) == 0 || w.touched[len(w.touched)-1] != ref {
			w.touched = append(w.touched, ref)
		}
	}
}

// tell tells the watchers of what was noted. Commands are told to all: they are
// few.
func (w *watchers) tell() {
	if len(w.touched) == 0 && !w.all {
		return
	}
	w.mu.Lock()
	if w.all {
		for _, chans := range w.by {
			wake(chans)
		}
	} else {
		for _, ref := range w.touched {
			wake(w.by[ref])
		}
	}
	w.mu.Unlock()
	w.touched, w.all = w.touched[:0], false
}

func wake(chans map[chan struct{}]struct{}) {
	for ch := range chans {
		select {
		case ch <- struct{}{}:
		default: // told already
		}
	}
}

// At calls f once, in a goroutine of its own, when the server's time reaches t,
// unless the server ends before.
func (s *Store) At(t time.Time, f func()) { s.clock.At(t, f) }
