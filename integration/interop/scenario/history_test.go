package scenario_test

import (
	"encoding/base64"
	"testing"

	"github.com/streamkit/streamkit/integration/interop/scenario"
)

// at makes an event one of a worker's, at a time.
func at(micros int64, worker string, e scenario.Event) scenario.Event {
	e.Micros, e.Worker = micros, worker
	return e
}

func TestHistory(t *testing.T) {
	begin := scenario.Event{Event: "begin", Shard: "a"}
	lost := scenario.Event{Event: "lost", Shard: "a"}
	moved := came("a", 1, 0)
	moved.Seq = "8"
	workers := map[string]scenario.Fate{"java": {Official: true}, "go": {}, "dead": {Killed: true}, "dead-java": {Official: true, Killed: true}}
	for name, c := range map[string]struct {
		events []scenario.Event
		strict bool
		again  scenario.Again
		err    string
	}{
		"order of time, not of files": {events: []scenario.Event{at(3, "go", came("a", 1, 1)), at(2, "go", begin), at(1, "java", came("a", 1, 0)), at(0, "java", begin)}},
		"lost":                        {events: []scenario.Event{at(0, "java", begin), at(1, "java", came("a", 1, 0)), at(2, "java", came("a", 1, 2))}, err: "before record 1"},
		"after a kill": {
			events: []scenario.Event{at(0, "dead", begin), at(1, "dead", came("a", 1, 0)), at(2, "go", begin), at(3, "go", came("a", 1, 0))},
			strict: true, again: scenario.Again{Killed: 1},
		},
		"after a kill of the other side": {
			events: []scenario.Event{at(0, "dead-java", begin), at(1, "dead-java", came("a", 1, 0)), at(2, "go", begin), at(3, "go", came("a", 1, 0))},
			strict: true, again: scenario.Again{Killed: 1},
		},
		"dropped by the other side": {
			events: []scenario.Event{at(0, "java", begin), at(1, "java", came("a", 1, 0)), at(2, "go", begin), at(3, "go", came("a", 1, 0))},
			strict: true, again: scenario.Again{Dropped: 1},
		},
		"taken": {
			events: []scenario.Event{at(0, "go", begin), at(1, "go", came("a", 1, 0)), at(2, "java", begin), at(3, "java", came("a", 1, 0)), at(4, "go", lost)},
			again:  scenario.Again{Taken: 1},
		},
		"taken, where leases are handed over": {
			events: []scenario.Event{at(0, "go", begin), at(1, "go", came("a", 1, 0)), at(2, "java", begin), at(3, "java", came("a", 1, 0)), at(4, "go", lost)},
			strict: true, err: "neither a kill nor a lost lease",
		},
		"lost before": {
			events: []scenario.Event{at(0, "go", lost), at(1, "go", begin), at(2, "go", came("a", 1, 0)), at(3, "java", begin), at(4, "java", came("a", 1, 0))},
			err:    "neither a kill nor a lost lease",
		},
		"twice to one": {
			events: []scenario.Event{at(0, "go", begin), at(1, "go", came("a", 1, 0)), at(2, "go", came("a", 1, 0))},
			err:    "came to go and again to go",
		},
		"stored twice": {
			events: []scenario.Event{at(0, "go", begin), at(1, "go", came("a", 1, 0)), at(2, "go", moved)},
			err:    "stored twice",
		},
		"late to the other side": {
			events: []scenario.Event{at(0, "java", begin), at(1, "go", begin), at(2, "go", came("a", 1, 0)), at(3, "go", came("a", 1, 1)), at(4, "java", came("a", 1, 2))},
			strict: true, again: scenario.Again{Overlaps: 1},
		},
		"late, again, and told of it": {
			events: []scenario.Event{at(0, "java", begin), at(1, "go", begin), at(2, "go", came("a", 1, 0)), at(3, "java", came("a", 1, 0)), at(4, "java", lost)},
			strict: true, again: scenario.Again{Overlaps: 1},
		},
		"late, again, and never told": {
			events: []scenario.Event{at(0, "java", begin), at(1, "go", begin), at(2, "go", came("a", 1, 0)), at(3, "java", came("a", 1, 0))},
			err:    "came to go and again to java",
		},
		"again after a late one": {
			events: []scenario.Event{
				at(0, "java", begin), at(1, "go", begin), at(2, "go", came("a", 1, 0)), at(3, "java", came("a", 1, 0)), at(4, "java", lost), at(5, "go", came("a", 1, 0)),
			},
			err: "came to go and again to go",
		},
		"late to this side": {
			events: []scenario.Event{at(0, "go", begin), at(1, "java", begin), at(2, "go", came("a", 1, 0))},
			strict: true, again: scenario.Again{Overlaps: 1}, err: "after java had begun there",
		},
	} {
		t.Run(name, func(t *testing.T) {
			again, err := scenario.CheckHistory(c.events, workers, c.strict)
			if !says(err, c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if c.err == "" && again != c.again {
				t.Errorf("again: %+v, want %+v", again, c.again)
			}
		})
	}
}

func TestTableWatch(t *testing.T) {
	for name, c := range map[string]struct {
		looks []scenario.Look
		err   string
	}{
		"all is well": {[]scenario.Look{{Counter: 1, Checkpoint: "TRIM_HORIZON"}, {Counter: 2, Checkpoint: "5"}, {Counter: 2, Checkpoint: "5"}, {Counter: 3, Checkpoint: "5", Sub: 2}, {Counter: 4, Checkpoint: "SHARD_END"}}, ""},
		"counter":     {[]scenario.Look{{Counter: 2, Checkpoint: "5"}, {Counter: 1, Checkpoint: "6"}}, "went from 2 to 1"},
		"checkpoint":  {[]scenario.Look{{Counter: 1, Checkpoint: "50"}, {Counter: 2, Checkpoint: "6"}}, "went back"},
		"sub":         {[]scenario.Look{{Counter: 1, Checkpoint: "50", Sub: 3}, {Counter: 2, Checkpoint: "50", Sub: 2}}, "went back"},
		"another row": {[]scenario.Look{{Counter: 1, Checkpoint: "50", Kind: "GOPHER"}}, `of kind "GOPHER"`},
		"leader's":    {[]scenario.Look{{Counter: 1, Checkpoint: "50", Kind: "LEADER"}}, ""},
		"never there": {nil, "never there"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := scenario.WatchTable(c.looks); !says(err, c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestHolders(t *testing.T) {
	got := scenario.Holders([]scenario.Look{
		{Owner: "a", Checkpoint: "5"}, {Owner: "a", Checkpoint: "SHARD_END"}, {Owner: "b", From: "a", Checkpoint: "5"}, {Checkpoint: "5"},
	})
	if len(got) != 2 || len(got["a"]) != 2 || len(got[""]) != 1 {
		t.Errorf("leases are held by %v", got)
	}
}

func TestStreamOrder(t *testing.T) {
	from := func(seq string, sub int64, n int64) scenario.Event {
		e := came("a", 1, n)
		e.Seq, e.Sub = seq, sub
		return e
	}
	for name, c := range map[string]struct {
		events        []scenario.Event
		again, behind int
		err           string
	}{
		"in order":         {[]scenario.Event{from("9", 0, 0), from("10", 0, 1), from("10", 1, 2)}, 0, 0, ""},
		"put twice":        {[]scenario.Event{from("9", 0, 0), from("10", 0, 0)}, 1, 0, ""},
		"put behind":       {[]scenario.Event{from("9", 0, 1), from("10", 0, 0)}, 0, 1, ""},
		"from before":      {[]scenario.Event{from("10", 0, 0), from("9", 0, 1)}, 0, 0, "came after"},
		"twice from there": {[]scenario.Event{from("10", 1, 0), from("10", 1, 0)}, 0, 0, "came after"},
	} {
		t.Run(name, func(t *testing.T) {
			again, behind, err := scenario.StreamOrder(c.events)
			if again != c.again || behind != c.behind || !says(err, c.err) {
				t.Errorf("%d again, %d behind, %v", again, behind, err)
			}
		})
	}
}

func TestDelivered(t *testing.T) {
	said := []scenario.Told{{OK: true, Data: base64.StdEncoding.EncodeToString(scenario.Payload(1, 0))}, {Data: "AAAA"}}
	if err := scenario.Delivered(said, []scenario.Event{came("a", 1, 0)}); err != nil {
		t.Errorf("all that was acknowledged has come, and: %v", err)
	}
	if err := scenario.Delivered(said, []scenario.Event{came("a", 1, 1)}); !says(err, "1 of 2 have not come") {
		t.Errorf("error %v", err)
	}
}
