package state_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/state"
)

// TestChangesByTheDay has each kind of change reach its limit, and come back
// when the oldest is a day old.
func TestChangesByTheDay(t *testing.T) {
	for _, tt := range []struct {
		kind, what string
		most       int
		change     func(i, most int) state.Command
	}{
		{"UpdateShardCount", "UpdateShardCount calls", 10, func(i, most int) state.Command {
			return state.UpdateShardCount{Key: key("s"), Target: 1 + i%2, Daily: most}
		}},
		{"ChangeMode", "capacity mode updates", 2, func(i, most int) state.Command {
			return state.ChangeMode{Key: key("s"), Mode: []state.Mode{state.OnDemand, state.Provisioned}[i%2], Daily: most}
		}},
		{"ChangeEncryption", "encryption changes", 25, func(i, most int) state.Command {
			return state.ChangeEncryption{Key: key("s"), KeyID: []string{"k", ""}[i%2], Daily: most}
		}},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			m := newMachine(t)
			m.must(create("s", 1))
			m.must(create("other", 1))
			m.must(tt.change(1, 0)) // is not counted
			m.must(tt.change(0, 0))
			if tt.kind != "UpdateShardCount" {
				m.must(tt.change(0, tt.most)) // is no change
			}
			for i := range tt.most {
				m.must(tt.change(i+1, tt.most))
				m.now = m.now.Add(time.Minute)
			}
			text := fmt.Sprintf("This request would exceed the limit on the number of %s within 24 hours for the stream s under account 000000000000. Limit: %d.", tt.what, tt.most)
			next := tt.change(tt.most+1, tt.most)
			refused(t, m, next, "LimitExceededException", text)
			refused(t, m, next, "LimitExceededException", text)
			first := time.UnixMilli(1_700_000_000_000)
			m.now = first.Add(24*time.Hour - time.Millisecond)
			refused(t, m, next, "LimitExceededException", text)
			m.now = first.Add(24 * time.Hour)
			s := m.must(next)
			refused(t, m, tt.change(tt.most+2, tt.most), "LimitExceededException", text)
			if got := s.Changes[tt.kind]; len(got) != tt.most || !slices.IsSorted(got) {
				t.Errorf("kept %v", got)
			}
			m.must(tt.change(tt.most+2, 0)) // without a limit

			st, _, err := state.ReadSnapshot(snapshot(t, m.st, m.lsn))
			if err != nil {
				t.Fatal(err)
			}
			m.st = st
			refused(t, m, tt.change(tt.most+3, tt.most), "LimitExceededException", text)
			m.must(state.DeleteStream{Key: key("s")})
			m.must(create("s", 1)) // is another stream
			m.must(tt.change(tt.most+3, tt.most))
		})
	}
}
