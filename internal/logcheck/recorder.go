package logcheck

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Recorder collects the puts and reads of a [History] while clients are at work.
// It is safe for concurrent use. The zero Recorder is not: see [NewRecorder].
type Recorder struct {
	began time.Time

	mu    sync.Mutex // guards what follows
	puts  []Put
	reads []Read
	acked int
}

// NewRecorder returns an empty Recorder whose clock starts now.
func NewRecorder() *Recorder { return &Recorder{began: time.Now()} }

// Now returns the time since the Recorder was made, for the Start and End of
// what it is given.
func (r *Recorder) Now() time.Duration { return time.Since(r.began) }

// Put adds puts that have ended.
func (r *Recorder) Put(puts ...Put) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.puts = append(r.puts, puts...)
	for i := range puts {
		if puts[i].Outcome == Acked {
			r.acked++
		}
	}
}

// Read adds a read.
func (r *Recorder) Read(read Read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, read)
}

// Acked returns how many records were acknowledged so far.
func (r *Recorder) Acked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acked
}

// History returns what was collected, with the shards of the stream and all
// that is in them in the end. Nothing may be added meanwhile.
func (r *Recorder) History(shards []Shard, final map[string][]Record) *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &History{Puts: r.puts, Reads: r.reads, Shards: shards, Final: final}
}

// Describe returns the violations for people, those after the first twenty as a
// count.
func Describe(bad []Violation) string {
	const most = 20
	var b strings.Builder
	fmt.Fprintf(&b, "%d broken promises", len(bad))
	for i, v := range bad {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(bad)-most)
			break
		}
		fmt.Fprintf(&b, "\n  %v", v)
	}
	return b.String()
}
