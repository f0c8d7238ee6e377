package state

import (
	"maps"
	"slices"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// day is the window of limits by the day. It slides: it does not begin at
// midnight.
const day = 24 * time.Hour

// daily is a limit on how often a stream is changed in a [day]. It is part of
// the command: whether there is one is a setting of the server, which may be
// another when the journal is replayed, and the count must be exact when
// commands come at the same time. Only changes that carry a limit are counted.
type daily struct {
	kind string // under which Stream.Changes has it
	most int    // 0 means no limit
	what string // for the message
}

func (c UpdateShardCount) daily() daily {
	return daily{"UpdateShardCount", c.Daily, "UpdateShardCount calls"}
}

func (c ChangeMode) daily() daily { return daily{"ChangeMode", c.Daily, "capacity mode updates"} }

func (c ChangeEncryption) daily() daily {
	return daily{"ChangeEncryption", c.Daily, "encryption changes"}
}

// count adds a change by c, if c has a limit, to those of s, or refuses it. It
// returns a stream that is not published yet.
//
// AWS documents the numbers, and that the error is LimitExceededException; its
// wording is not known.
func (st *State) count(s *Stream, c Command) (*Stream, error) {
	limited, ok := c.(interface{ daily() daily })
	if !ok {
		return s, nil
	}
	d := limited.daily()
	if d.most <= 0 {
		return s, nil
	}
	since := st.now().Add(-day).UnixMilli()
	recent := slices.DeleteFunc(slices.Clone(s.Changes[d.kind]), func(at int64) bool { return at <= since })
	if len(recent) >= d.most {
		return nil, awserr.New("LimitExceededException", "This request would exceed the limit on the number of %s within 24 hours for the stream %s under account %s. Limit: %d.", d.what, s.Key.Name, s.Key.Account, d.most)
	}
	next := *s
	if next.Changes = maps.Clone(s.Changes); next.Changes == nil {
		next.Changes = make(map[string][]int64, 1)
	}
	next.Changes[d.kind] = append(recent, st.arrival)
	return &next, nil
}
