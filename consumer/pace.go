package consumer

import "time"

const (
	readsPerSecond    = 5.0 // what the service allows for a shard, over all readers
	minReadsPerSecond = 0.2
)

// pace decides when a shard is read again: at once while records wait, then
// with a pause that grows while nothing comes. It has no bound of its own on
// reads a second until the service refuses one. From then on it holds a rate
// that halves with each refusal and grows by one read a second each second,
// because other readers of the shard share the service's limit.
//
// Pauses vary by a tenth, so that the shards of a process, which are often
// taken at one moment, do not go on to be read at one moment.
type pace struct {
	idleMin, idleMax time.Duration

	idle     time.Duration // pause when nothing waits
	rate     float64       // reads a second; 0 means no bound
	lastRead time.Time
	lastRate time.Time // when rate was last changed
}

func newPace(idleMax time.Duration) pace {
	return pace{idleMin: idleMax / 5, idleMax: idleMax, idle: idleMax / 5}
}

// read notes a read that begins now.
func (p *pace) read(now time.Time) { p.lastRead = now }

// success notes its result and returns when to read again.
func (p *pace) success(now time.Time, records int, behind time.Duration) time.Time {
	next := now
	switch {
	case behind > 0:
		p.idle = p.idleMin
	case records > 0:
		p.idle = p.idleMin
		next = p.lastRead.Add(jitter(p.idle))
	default:
		next = p.lastRead.Add(jitter(p.idle))
		p.idle = min(p.idle*3/2, p.idleMax)
	}
	if p.rate == 0 {
		return next
	}
	p.rate += now.Sub(p.lastRate).Seconds()
	p.lastRate = now
	if p.rate > 4*readsPerSecond {
		// Nobody has refused for long: nothing to hold back for.
		p.rate = 0
		return next
	}
	if due := p.lastRead.Add(p.gap()); due.After(next) {
		return due
	}
	return next
}

// throttled notes a refused read and returns when to try again.
func (p *pace) throttled(now time.Time) time.Time {
	if p.rate == 0 {
		p.rate = readsPerSecond
	} else {
		p.rate = max(p.rate/2, minReadsPerSecond)
	}
	// The rate grows from the next read on, not while nothing is read.
	p.lastRate = now.Add(jitter(p.gap()))
	return p.lastRate
}

func (p *pace) gap() time.Duration {
	return time.Duration(float64(time.Second) / p.rate)
}
