package logappender

import (
	"time"

	"go.uber.org/zap/zapcore"
)

const (
	// sampleSlots is the number of counters of entries that are alike. Kinds that
	// come to the same one are counted together.
	sampleSlots = 4096

	// sampleText is how much of a message tells its kind.
	sampleText = 256
)

// sampleSlot returns the counter of a kind of entries: FNV-1a, so that the same
// program samples alike in every run.
func sampleSlot(level int, msg string) int {
	h := (uint32(2166136261) ^ uint32(level)) * 16777619
	for i := range min(len(msg), sampleText) {
		h = (h ^ uint32(msg[i])) * 16777619
	}
	return int(h % sampleSlots)
}

// sampled reports whether an entry is left out for Config.Sample, and counts it
// then. It comes before the encoding: a flood should cost little.
func (a *Appender) sampled(level zapcore.Level, msg string) bool {
	if a.cfg.Sample <= 1 || level >= zapcore.WarnLevel {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.usedLocked() < a.sampleFrom {
		return false
	}
	if s := a.spill; s != nil && !s.sick {
		return false // the disk relieves the memory
	}
	i := levelIndex(level)
	n := &a.samples[sampleSlot(i, msg)]
	*n++
	if (*n-1)%uint32(a.cfg.Sample) == 0 {
		return false
	}
	a.stats.Accepted[i]++
	a.stats.Sampled[i]++
	a.thinned.note(i, 1, time.Now())
	return true
}

// closeThinnedLocked tells the stream how many entries sampling has left out, once
// the buffer is half as full as where that begins: between the two marks it may
// begin and end a thousand times.
func (a *Appender) closeThinnedLocked(need int) {
	if a.thinned.total == 0 || a.usedLocked() >= a.sampleFrom/2 {
		return
	}
	if a.tellGapLocked(&a.thinned, need) {
		clear(a.samples) // the first of each kind is kept again
	}
}
