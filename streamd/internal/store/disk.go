package store

import (
	"sync/atomic"
	"time"
)

// Disk says what a store takes of its disk, in bytes, and how it copes.
type Disk struct {
	Journal, Runs, Snapshots int64
	RunFiles                 int
	// Stalled is how long writes have waited for checkpoints in all.
	Stalled time.Duration
	// Refused says that records are refused for want of room.
	Refused bool
}

// Disk returns what the store takes. In memory, the journal is what it holds.
func (s *Store) Disk() Disk {
	d := Disk{Stalled: time.Duration(s.stalled.Load()), Refused: s.room.refuses(s)}
	if j, ok := s.j.(interface{ Size() (live, all int64) }); ok {
		_, d.Journal = j.Size()
	}
	if s.opts.Dir != "" {
		d.Runs, d.RunFiles = s.runs.Bytes(), len(s.runs.Live())
		d.Snapshots = s.snapshots.size()
	}
	return d
}

// Stored returns how many bytes of records each stream takes, by its id: of those
// that have not expired, and of those that go with them.
func (s *Store) Stored() map[uint64]uint64 {
	stored := make(map[uint64]uint64)
	s.mu.RLock()
	for _, stream := range s.state.All() {
		stored[stream.ID] = s.state.IndexedBytes(stream.ID)
	}
	s.mu.RUnlock()
	for _, r := range s.runs.Live() {
		for _, p := range r.Streams() {
			if _, ok := stored[p.Stream]; ok {
				stored[p.Stream] += p.Bytes
			}
		}
	}
	return stored
}

// reserve is what records leave of a journal that cannot be freed, so that
// leases can be renewed and retention lowered for some time: 4 MiB of the
// default ring.
func (s *Store) reserve() int64 { return int64(s.opts.RingFiles*s.opts.RingBytes) / 12 }

// room decides whether records are taken. What is small, commands and tables, is
// taken as long as the journal has room.
type room struct {
	crowded atomic.Bool  // the directory takes more than it may
	starved atomic.Bool  // the last checkpoint failed for want of room
	asked   atomic.Int64 // when a refused record last asked for another, in ns of the server's clock
}

func (r *room) refuses(s *Store) bool {
	return r.crowded.Load() || r.starved.Load() && s.ring != nil && s.ring.Room() < s.reserve()
}

// admit reports whether records can be taken. While they cannot, it has it tried
// once a second whether there is room again.
func (r *room) admit(s *Store) bool {
	if !r.refuses(s) {
		return true
	}
	now := s.clock.Now().UnixNano()
	if last := r.asked.Load(); now-last >= int64(time.Second) && r.asked.CompareAndSwap(last, now) {
		s.checkpoints.ask()
	}
	return false
}

// note takes down how a checkpoint ended.
func (r *room) note(s *Store, err error) {
	r.starved.Store(err != nil)
	d := s.Disk()
	r.crowded.Store(s.opts.MaxBytes > 0 && d.Journal+d.Runs+d.Snapshots > s.opts.MaxBytes)
}
