package state

import (
	"slices"
	"time"
)

// A Span is a range of sequence indexes.
type Span struct {
	First uint64
	Last  uint64    `json:",omitzero"` // 0 while the span goes on
	Ended time.Time `json:",omitzero"` // when Last was set: its records arrived then or before
}

// Encrypted reports whether the record with the given sequence index was
// written while encryption was on.
func (s *Stream) Encrypted(index uint64) bool {
	for _, sp := range slices.Backward(s.Ciphers) {
		if index >= sp.First {
			return sp.Last == 0 || index <= sp.Last
		}
	}
	return false
}

func (c ChangeEncryption) check(s *Stream) (same bool, err error) { return c.KeyID == s.KeyID, nil }

// change begins a span where encryption is switched on and ends it where it is
// switched off: sequence indexes are given in the order of the journal, in which
// the change has its place.
func (c ChangeEncryption) change(next *Stream, st *State) {
	// Spans whose records have all left the stream are of no use any more.
	horizon := next.Horizon(st.now())
	spans := slices.DeleteFunc(slices.Clone(next.Ciphers), func(sp Span) bool {
		return sp.Last != 0 && !sp.Ended.After(horizon)
	})
	switch {
	case next.KeyID == "" && c.KeyID != "":
		spans = append(spans, Span{First: st.seq + 1})
	case next.KeyID != "" && c.KeyID == "":
		last := &spans[len(spans)-1]
		if last.Last, last.Ended = st.seq, st.now(); last.Last < last.First {
			spans = spans[:len(spans)-1] // nothing was written in between
		}
	}
	next.KeyID, next.Ciphers = c.KeyID, spans
}
