package transform

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	samplesAMinute = 3
	sampleBytes    = 200
	maxSamples     = 10
)

// Sample is a record that an option made nothing of.
type Sample struct {
	Time   time.Time `json:"time"`
	Option string    `json:"option"`
	Result string    `json:"result"` // skipped or failed
	Path   string    `json:"path"`
	Offset int64     `json:"offset"`
	Text   string    `json:"text"` // its first 200 bytes
}

// Run is a chain at work for one flow. Append is for one goroutine; the rest is
// safe for concurrent use.
type Run struct {
	chain   *Chain
	counts  []counts
	scratch []byte
	failure func(Sample) // called for each new sample

	since   time.Time // of the minute whose samples are counted
	sampled int

	mu      sync.Mutex // guards samples
	samples []Sample
}

type counts struct{ in, skipped, failed atomic.Uint64 }

// NewRun returns a run of chain. It calls failure, which may be nil, for the first
// few records a minute that an option could not convert.
func NewRun(chain *Chain, failure func(Sample)) *Run {
	return &Run{chain: chain, counts: make([]counts, len(chain.Options)), failure: failure}
}

// Append appends the record that the chain makes of rec to dst. With any
// other result than Converted nothing is appended.
func (r *Run) Append(dst, rec []byte, from *Record) ([]byte, Result) {
	start := len(dst)
	in := rec
	for i, o := range r.chain.Options {
		if i > 0 {
			r.scratch = append(r.scratch[:0], dst[start:]...)
			in = r.scratch
		}
		r.counts[i].in.Add(1)
		var res Result
		dst, res = o.Append(dst[:start], in, from)
		switch res {
		case Filtered:
			r.counts[i].skipped.Add(1)
			return dst[:start], res
		case Skipped:
			r.counts[i].skipped.Add(1)
		case Failed:
			r.counts[i].failed.Add(1)
		case Converted:
			continue
		}
		r.sample(o, res, rec, from)
		return dst[:start], res
	}
	return dst, Converted
}

// sample keeps a record for those who want to know why it went wrong.
func (r *Run) sample(o Option, res Result, rec []byte, from *Record) {
	// The clock is asked only for the first ones of a minute, or to see it end.
	now := time.Now()
	if now.Sub(r.since) >= time.Minute {
		r.since, r.sampled = now, 0
	}
	if r.sampled == samplesAMinute {
		return
	}
	r.sampled++
	s := Sample{
		Time: now, Option: o.Name(), Result: "skipped", Path: from.Path, Offset: from.Offset,
		Text: string(rec[:min(len(rec), sampleBytes)]),
	}
	if res == Failed {
		s.Result = "failed"
	}
	r.mu.Lock()
	if len(r.samples) == maxSamples {
		r.samples = append(r.samples[:0], r.samples[1:]...)
	}
	r.samples = append(r.samples, s)
	r.mu.Unlock()
	if r.failure != nil {
		r.failure(s)
	}
}

// OptionStatus is what one option did since the start.
type OptionStatus struct {
	Option  string `json:"option"`
	In      uint64 `json:"in"`
	Out     uint64 `json:"out"`
	Skipped uint64 `json:"skipped"`
	Failed  uint64 `json:"failed"`
}

// Status returns what each option did, in their order, and the last samples.
func (r *Run) Status() ([]OptionStatus, []Sample) {
	options := make([]OptionStatus, len(r.counts))
	for i := range r.counts {
		c := &r.counts[i]
		// In last: it is the first to be counted, so that Out is never below zero.
		s := OptionStatus{Option: r.chain.Options[i].Name(), Skipped: c.skipped.Load(), Failed: c.failed.Load()}
		s.In = c.in.Load()
		s.Out = s.In - s.Skipped - s.Failed
		options[i] = s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return options, append([]Sample(nil), r.samples...)
}
