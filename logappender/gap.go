package logappender

import (
	"strconv"
	"time"

	"go.uber.org/zap/zapcore"
)

// ReservedLoggerName names the loggers whose entries the appender drops and
// counts as [DropSelf]: this name, and those below it such as
// "logappender.x". Name the logger of anything that the appender depends on
// like that, and it cannot feed itself.
const ReservedLoggerName = "logappender"

func reserved(name string) bool {
	const n = len(ReservedLoggerName)
	return len(name) >= n && name[:n] == ReservedLoggerName && (len(name) == n || name[n] == '.')
}

// gap is a run of dropped entries.
type gap struct {
	total    uint64
	byLevel  LevelCounts
	byReason [numReasons]uint64
	from, to time.Time
}

func (g *gap) add(level int, reason DropReason) { g.addN(level, reason, 1, time.Now()) }

// addN adds n drops; the first of them was written at the time from.
func (g *gap) addN(level int, reason DropReason, n uint64, from time.Time) {
	g.note(level, n, from)
	g.byReason[reason] += n
}

// note is addN without a reason.
func (g *gap) note(level int, n uint64, from time.Time) {
	if n == 0 {
		return
	}
	if g.total == 0 {
		g.from = from
	}
	g.to = time.Now()
	g.total += n
	g.byLevel[level] += n
}

// appendRecord appends the gap record: JSON with the keys of zap's production
// encoder, whatever the encoders of the cores are. Without a reason the entries were
// left out by sampling.
func (g *gap) appendRecord(b []byte, now time.Time, s *static) []byte {
	what := "dropped"
	if g.byReason == [numReasons]uint64{} {
		what = "sampled"
	}
	b = append(b, `{"level":"warn","ts":`...)
	b = strconv.AppendFloat(b, float64(now.UnixNano())/float64(time.Second), 'f', 6, 64)
	b = append(b, `,"logger":"`+ReservedLoggerName+`","msg":"log records `...)
	b = append(b, what...)
	b = appendCount(b, `",`, what, g.total)
	b = append(b, `,"by_level":{`...)
	sep := ""
	for i, n := range g.byLevel {
		if n > 0 {
			b = appendCount(b, sep, zapcore.Level(i+int(zapcore.DebugLevel)).String(), n)
			sep = ","
		}
	}
	sep = `},"reason":{`
	for r, n := range g.byReason {
		if n > 0 {
			b = appendCount(b, sep, DropReason(r).String(), n)
			sep = ","
		}
	}
	b = append(b, `},"from":"`...)
	b = g.from.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","to":"`...)
	b = g.to.UTC().AppendFormat(b, time.RFC3339Nano)
	return s.closeObject(append(b, '"'))
}

func appendCount(b []byte, sep, name string, n uint64) []byte {
	b = append(b, sep...)
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	return strconv.AppendUint(b, n, 10)
}

// closeGapLocked writes the gap record if there was a gap and it is over: an
// ordinary entry, of need bytes, would find room again, and the producer
// delivers. While it does not, the record would be lost as well, and the gap
// grows instead.
func (a *Appender) closeGapLocked(need int) {
	a.closeThinnedLocked(need)
	if a.gap.total > 0 {
		a.tellGapLocked(&a.gap, need)
	}
}

// tellGapLocked writes the record of g, and empties g. It reports whether that was
// possible.
func (a *Appender) tellGapLocked(g *gap, need int) bool {
	if a.stats.LastError != nil {
		return false
	}
	if a.cfg.DisableGapRecords {
		*g = gap{}
		return true
	}
	k := a.gapKey()
	a.gapText = g.appendRecord(a.gapText[:0], time.Now(), &a.static)
	if !a.roomLocked(a.softLimit(), entrySize(k, a.gapText)+need) {
		return false
	}
	a.placeLocked(zapcore.WarnLevel, k, a.gapText, flagGap)
	a.stats.Gaps++
	*g = gap{}
	return true
}

// gapLeft reports whether there is something missing that the stream was not told of.
func (a *Appender) gapLeft() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gap.total > 0 || a.thinned.total > 0
}

// headGapLocked returns a chunk with the gap record for chunks dropped under
// DropOldest, marked as handed over: it goes where they would have gone. Its
// few bytes may exceed the budget; there is at most one such chunk for each
// chunk handed over.
func (a *Appender) headGapLocked() *chunk {
	if a.headGap.total == 0 {
		return nil
	}
	g := a.headGap
	a.headGap = gap{}
	if a.cfg.DisableGapRecords {
		return nil
	}
	k := a.gapKey()
	a.gapText = g.appendRecord(a.gapText[:0], time.Now(), &a.static)
	c := &chunk{buf: make([]byte, 0, entrySize(k, a.gapText)), id: a.lastID}
	c.add(zapcore.WarnLevel, k, a.gapText, flagGap)
	if w := a.live.waiting; w != nil {
		c.id = w.id
	}
	a.live.insertTaken(c)
	a.committed += c.cost()
	a.stats.Gaps++
	return c
}

// gapKey is the partition key of gap records: the fixed one, so that they keep
// their place, or none.
func (a *Appender) gapKey() *key {
	if a.cfg.PartitionKey.kind == keyFixed {
		return &key{s: a.cfg.PartitionKey.text}
	}
	return &key{}
}
