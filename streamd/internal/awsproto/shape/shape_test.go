package shape_test

import (
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// TestListBeyondItsLimit adds elements that are dropped: they cost nothing, and
// each is empty when it comes.
func TestListBeyondItsLimit(t *testing.T) {
	var l shape.List[struct{ Name shape.String }]
	const limit = 2
	fill := func() {
		l.BeginList()
		for range 1000 {
			e := l.Add(limit).(*struct{ Name shape.String })
			if e.Name.Set {
				t.Fatal("an element comes with what another had")
			}
			e.Name = shape.String{V: "x", Set: true}
		}
	}
	fill() // makes the room
	if n := testing.AllocsPerRun(20, fill); n != 0 {
		t.Errorf("%v allocations for 1000 elements", n)
	}
	if l.Kept() != limit || l.Counted() != 1000 || l.Items[0].Name.V != "x" || l.Items[1].Name.V != "x" {
		t.Errorf("%d kept of %d: %v", l.Kept(), l.Counted(), l.Items)
	}
}
