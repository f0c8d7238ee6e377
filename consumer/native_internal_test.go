package consumer

import "testing"

// TestUnforeseen: the leader tells of leases that changed hands without it.
func TestUnforeseen(t *testing.T) {
	lead := newLeading()
	lead.gave = map[string]string{"given": "b"}
	n := &native{lead: lead, workers: map[string]seenWorker{"a": {incarnation: "ia"}}}
	had := Lease{Key: "s", Owner: "a", Incarnation: "ia", Counter: 5, Checkpoint: Checkpoint{SequenceNumber: "1"}}
	change := func(f func(*Lease)) Lease {
		l := had.Clone()
		f(&l)
		return l
	}
	on := func(key string, l Lease) Lease { l.Key = key; return l }
	given := change(func(l *Lease) { l.Owner, l.Incarnation, l.Counter, l.OwnerSwitches = "b", "ib", 6, 1 })
	asked := change(func(l *Lease) { l.Owner, l.CheckpointOwner = "b", "a" })
	for _, tt := range []struct {
		name        string
		before, now Lease
		want        bool
	}{
		{"a checkpoint", had, change(func(l *Lease) { l.Counter, l.Checkpoint.SequenceNumber = 6, "2" }), false},
		{"given by somebody", had, given, true},
		{"given by this leader", on("given", had), on("given", given), false},
		{"released by somebody", had, change(func(l *Lease) { l.Owner, l.Counter = "", 6 }), true},
		{"to be handed over", had, asked, true},
		{"handed over", asked, given, true},
		{"given, and given back", had, change(func(l *Lease) { l.Counter, l.OwnerSwitches = 7, 2 }), true},
		{"given back as often as before", change(func(l *Lease) { l.OwnerSwitches = 1 }), change(func(l *Lease) { l.Counter, l.OwnerSwitches = 7, 1 }), true},
		{"nothing since it was given back", change(func(l *Lease) { l.OwnerSwitches = 1 }), change(func(l *Lease) { l.OwnerSwitches = 1 }), false},
		{"read to its end", had, change(func(l *Lease) { l.Owner, l.Checkpoint.SequenceNumber = "", ShardEnd }), false},
	} {
		if got := n.unforeseen(tt.before, tt.now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
