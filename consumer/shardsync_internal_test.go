package consumer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// vectorShards is the stream of amazon-kinesis-client's documentation in
// HierarchicalShardSyncer: 0 to 5, then 6 of 0 and 1, 7 of 2 and 3, then 8 of 6
// and 7, 9 and 10 of 5.
func vectorShards() []shardInfo {
	sh := func(id, first int, open bool, parents ...string) shardInfo {
		return shardInfo{id: strconv.Itoa(id), parents: parents, first: strconv.Itoa(first), open: open}
	}
	return []shardInfo{
		sh(10, 206, true, "5"), sh(9, 206, true, "5"), sh(8, 206, true, "6", "7"),
		sh(7, 103, false, "2", "3"), sh(6, 103, false, "0", "1"),
		sh(5, 1, false), sh(4, 1, true), sh(3, 1, false), sh(2, 1, false), sh(1, 1, false), sh(0, 1, false),
	}
}

func keysOf(leases []Lease) []string {
	var keys []string
	for _, l := range leases {
		keys = append(keys, l.Key+" "+l.Checkpoint.SequenceNumber)
	}
	return keys
}

func TestMissingLeases(t *testing.T) {
	at := func(cp string, keys ...string) []Lease {
		var ls []Lease
		for _, k := range keys {
			ls = append(ls, Lease{Key: k, Checkpoint: Checkpoint{SequenceNumber: cp}})
		}
		return ls
	}
	timed := Position{Time: testTime}
	for _, tt := range []struct {
		name    string
		leases  []Lease
		initial Position
		want    []string
	}{
		{"vector, latest", at("7", "4", "5", "7"), Position{Latest: true}, []string{"6 LATEST"}},
		{"vector, oldest", at("7", "4", "5", "7"), Position{}, []string{"0 TRIM_HORIZON", "1 TRIM_HORIZON"}},
		{"vector, time", at("7", "4", "5", "7"), timed, []string{"0 AT_TIMESTAMP", "1 AT_TIMESTAMP"}},
		{"all tracked", at("7", "0", "1", "2", "3", "4", "5"), Position{}, nil},
		{"nothing known but one, latest", at("7", "4"), Position{Latest: true}, []string{"10 LATEST", "8 LATEST", "9 LATEST"}},
		{"nothing known but one, oldest", at("7", "4"), Position{}, []string{"0 TRIM_HORIZON", "1 TRIM_HORIZON", "2 TRIM_HORIZON", "3 TRIM_HORIZON", "5 TRIM_HORIZON"}},
		{"a child was lost", append(at("7", "4", "6", "7", "9"), at(ShardEnd, "5")...), Position{Latest: true}, []string{"10 TRIM_HORIZON"}},
		{"a merge whose parents ended was lost", append(at("7", "4", "5"), at(ShardEnd, "6", "7")...), Position{}, []string{"8 TRIM_HORIZON"}},
		{"a merge waits for one parent", append(at("7", "4", "5", "6"), at(ShardEnd, "7")...), Position{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := keysOf(missingLeases(vectorShards(), tt.leases, tt.initial)); !slices.Equal(got, tt.want) {
				t.Errorf("missing %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAncestorLeases(t *testing.T) {
	leases := []Lease{{Key: "4"}, {Key: "0"}, {Key: "1"}, {Key: "7"}}
	if got, want := keysOf(ancestorLeases(vectorShards(), leases, "8", Position{Latest: true})), []string{"6 TRIM_HORIZON"}; !slices.Equal(got, want) {
		t.Errorf("a branch that is tracked: %v, want %v", got, want)
	}
	if got, want := keysOf(ancestorLeases(vectorShards(), leases[3:], "8", Position{Latest: true})), []string{"6 LATEST"}; !slices.Equal(got, want) {
		t.Errorf("a new branch from the newest record: %v, want %v", got, want)
	}
	if got, want := keysOf(ancestorLeases(vectorShards(), leases[3:], "8", Position{})), []string{"0 TRIM_HORIZON", "1 TRIM_HORIZON", "6 TRIM_HORIZON"}; !slices.Equal(got, want) {
		t.Errorf("a new branch from the oldest record: %v, want %v", got, want)
	}
}

// TestSyncLeavesNoShardBehind checks, on random streams with random leases,
// that every open shard is read: by a lease of its own or after an ancestor
// that has one and has not ended.
func TestSyncLeavesNoShardBehind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var shards []shardInfo
		add := func(r hashkey.Range, parents ...int) {
			sh := shardInfo{id: strconv.Itoa(len(shards)), first: strconv.Itoa(100 + len(shards)), open: true, start: r.Start.String(), end: r.End.String()}
			for _, p := range parents {
				sh.parents = append(sh.parents, shards[p].id)
				shards[p].open = false
			}
			shards = append(shards, sh)
		}
		for _, r := range hashkey.Uniform(1 + rng.IntN(4)) {
			add(r)
		}
		rangeOf := func(i int) hashkey.Range { r, _ := parseRange(shards[i].start, shards[i].end); return r }
		for range rng.IntN(15) {
			i := rng.IntN(len(shards))
			if !shards[i].open {
				continue
			}
			r := rangeOf(i)
			if rng.IntN(2) == 0 {
				mid := hashkey.Key{Hi: r.Start.Hi + (r.End.Hi-r.Start.Hi)/2}
				if r.Start.Less(mid) {
					add(hashkey.Range{Start: r.Start, End: mid.Sub(1)}, i)
					add(hashkey.Range{Start: mid, End: r.End}, i)
				}
				continue
			}
			for j := range shards {
				if shards[j].open && r.Precedes(rangeOf(j)) {
					add(hashkey.Range{Start: r.Start, End: rangeOf(j).End}, i, j)
					break
				}
			}
		}
		// Retention: the oldest, if closed, are gone.
		trimmed := rng.IntN(4)
		for trimmed > 0 && !shards[0].open {
			shards = shards[1:]
			trimmed--
		}
		var leases []Lease
		for _, sh := range shards {
			if rng.IntN(3) == 0 {
				at := "150"
				if !sh.open && rng.IntN(2) == 0 {
					at = ShardEnd
				}
				leases = append(leases, sh.lease(Checkpoint{SequenceNumber: at}))
			}
		}
		initial := Position{Latest: rng.IntN(2) == 0}
		missing := missingLeases(shards, leases, initial)

		have := map[string]Lease{}
		for _, l := range leases {
			have[l.Key] = l
		}
		for _, l := range missing {
			if _, ok := have[l.Key]; ok {
				t.Fatalf("a second lease for %s", l.Key)
			}
			have[l.Key] = l
		}
		byID := map[string]shardInfo{}
		for _, sh := range shards {
			byID[sh.id] = sh
		}
		var read func(sh shardInfo) bool
		read = func(sh shardInfo) bool {
			if _, ok := have[sh.id]; ok {
				return true
			}
			// Through a parent that will end and create it.
			for _, p := range sh.parents {
				if parent, ok := byID[p]; ok && read(parent) {
					if l, ok := have[p]; !ok || !l.ended() {
						return true
					}
				}
			}
			return false
		}
		for _, sh := range shards {
			if sh.open && !read(sh) {
				t.Fatalf("open shard %s is never read; shards %+v, leases %v, missing %v", sh.id, shards, keysOf(leases), keysOf(missing))
			}
		}
		// Done again, nothing is missing.
		if again := missingLeases(shards, append(leases, missing...), initial); len(again) > 0 {
			t.Fatalf("a second sync finds %v missing after %v; shards %+v, leases %v", keysOf(again), keysOf(missing), shards, keysOf(leases))
		}
	})
}

func TestFirstLeasesMustCoverAllKeys(t *testing.T) {
	half := hashkey.Uniform(2)
	info := func(i int) shardInfo {
		return shardInfo{id: fmt.Sprint(i), start: half[i].Start.String(), end: half[i].End.String(), open: true}
	}
	if _, err := firstLeases([]shardInfo{info(1)}, Position{}); err == nil {
		t.Error("half of the hash keys is enough")
	}
	ls, err := firstLeases([]shardInfo{info(1), info(0)}, Position{Time: testTime})
	if err != nil || len(ls) != 2 || ls[0].Key != "0" || ls[0].Checkpoint.SequenceNumber != AtTimestamp || ls[0].StartingHashKey != "0" {
		t.Errorf("leases %+v, %v", ls, err)
	}
}

func TestFinished(t *testing.T) {
	all := map[string]observed{}
	add := func(key, at string, parents, children []string) {
		all[key] = observed{Lease: Lease{Key: key, Checkpoint: Checkpoint{SequenceNumber: at}, Parents: parents, Children: children}}
	}
	add("done", ShardEnd, []string{"gone"}, []string{"c1", "c2"})
	add("c1", "12", []string{"done"}, nil)
	add("c2", ShardEnd, []string{"done"}, []string{"c3"}) // its parent is still there
	add("c3", "13", []string{"c2"}, nil)
	add("young", ShardEnd, nil, []string{"y1"})
	add("y1", TrimHorizon, []string{"young"}, nil) // not begun
	add("half", ShardEnd, nil, []string{"c1", "nowhere"})
	add("orphan", ShardEnd, nil, nil) // children unknown
	got := keysOf(finished(all))
	if want := []string{"done " + ShardEnd}; !slices.Equal(got, want) {
		t.Errorf("finished %v, want %v", got, want)
	}
}
