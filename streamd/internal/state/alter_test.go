package state_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// randomChange returns a change of s apart from its shards, which must be
// ACTIVE, that succeeds.
func randomChange(r *rand.Rand, s *state.Stream) state.Command {
	delay := time.Duration(r.IntN(2)) * time.Second
	switch r.IntN(10) {
	case 9:
		return state.PutPolicy{Key: s.Key, Policy: fmt.Sprintf(`{"n":%d}`, r.IntN(9))}
	case 8:
		return state.ChangeCommitment{Scope: s.Key.Scope, Enable: r.IntN(3) > 0}
	case 7:
		if s.Mode == state.OnDemand && len(s.Channels) == 0 {
			return state.CreateChannel{Key: s.Key, Channel: bucketChannel(s.Key.Name), Delay: delay}
		}
		if s.Mode == state.OnDemand {
			return state.ChangeDistribution{Key: s.Key, Distribution: []state.Distribution{state.Auto, state.ByKeys}[r.IntN(2)]}
		}
		return state.ChangeDistribution{Key: s.Key, Distribution: state.ByKeys}
	case 5:
		return state.ChangeMode{Key: s.Key, Mode: []state.Mode{state.Provisioned, state.OnDemand}[r.IntN(2)], Delay: delay, Daily: 1000 * r.IntN(2)}
	case 4:
		return state.ChangeMaxRecordSize{Key: s.Key, MaxRecordBytes: 1<<20 + r.IntN(3)<<10, Delay: delay}
	case 3:
		return state.ChangeEncryption{Key: s.Key, KeyID: []string{"", "alias/a", "alias/b"}[r.IntN(3)], Delay: delay, Daily: 1000 * r.IntN(2)}
	case 2:
		all := state.ShardMetrics()
		return state.ChangeMonitoring{Key: s.Key, Metrics: all[r.IntN(3):][:1+r.IntN(3)], Enable: r.IntN(2) == 0, Delay: delay}
	case 0:
		tags := make(map[string]string)
		for range r.IntN(4) {
			tags[fmt.Sprint("k", r.IntN(6))] = fmt.Sprint(r.IntN(10))
		}
		return state.Tag{Key: s.Key, Tags: tags}
	case 1:
		return state.Untag{Key: s.Key, TagKeys: []string{fmt.Sprint("k", r.IntN(6)), fmt.Sprint("k", r.IntN(6))}}
	}
	hours := 24 + r.IntN(3)
	return state.ChangeRetention{Key: s.Key, Hours: hours, Increase: time.Duration(hours)*time.Hour > s.Retention, Delay: delay}
}

func refused(t *testing.T, m *machine, c state.Command, code, text string) {
	t.Helper()
	_, err := m.do(c)
	if e, ok := errors.AsType[*awserr.Error](err); !ok || e.Code != code || e.Message != text {
		t.Errorf("%+v: got %v\nwant %s: %s", c, err, code, text)
	}
}

// within counts the runs of shard 0 that can be read.
func within(m *machine, s *state.Stream) int {
	return len(m.st.Log(s.ID, 0).From(state.Position{}, s.Horizon(m.now)))
}

func TestRetentionDoesNotResurrect(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	for _, k := range []string{"first", "second", "third"} { // at hours 0, 20 and 40
		m.put(s.ID, 0, k)
		m.now = m.now.Add(20 * time.Hour)
	}
	set := func(hours int, increase bool) {
		t.Helper()
		s = m.must(state.ChangeRetention{Key: s.Key, Hours: hours, Increase: increase})
	}
	expect := func(when string, want int) {
		t.Helper()
		if got := within(m, s); got != want {
			t.Errorf("%s: %d runs can be read, want %d", when, got, want)
		}
	}
	expect("hour 60 of 24", 1)
	set(100, true)
	expect("raised to 100", 1)
	m.now = m.now.Add(30 * time.Hour)
	expect("hour 90 of 100", 1)
	set(49, false)
	expect("lowered to 49", 0)
	set(100, true)
	expect("raised again", 0)
	m.put(s.ID, 0, "fourth")
	expect("after a put", 1)
	m.st.Trim(m.now)
	if got := len(m.st.Log(s.ID, 0).From(state.Position{}, time.Time{})); got != 1 {
		t.Errorf("%d runs after trimming, want 1", got)
	}
	m.now = m.now.Add(100 * time.Hour)
	expect("100 hours later", 0)
}

func TestClosedShardsExpireWithTheRetention(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	s = m.must(state.SplitShard{Key: s.Key, Shard: 0, NewStartingHash: hashkey.Key{Hi: 1 << 63}})
	s = m.must(state.ChangeRetention{Key: s.Key, Hours: 48, Increase: true})
	m.now = m.now.Add(30 * time.Hour)
	if s.Expired(0, m.now) {
		t.Error("a closed shard expired before its 48 hours")
	}
	if s = m.must(state.ChangeRetention{Key: s.Key, Hours: 24}); !s.Expired(0, m.now) {
		t.Error("a shard closed for 30 hours is there, at a retention of 24")
	}
	if s = m.must(state.ChangeRetention{Key: s.Key, Hours: 48, Increase: true}); !s.Expired(0, m.now) {
		t.Error("an expired shard came back")
	}
}

func TestRetentionChanges(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	const code = "InvalidArgumentException"
	refused(t, m, state.ChangeRetention{Key: key("x"), Hours: 24}, "ResourceNotFoundException", "Stream x under account 000000000000 not found.")
	refused(t, m, state.ChangeRetention{Key: s.Key, Hours: 25}, code, "Requested retention period (25 hours) for stream s can not be longer than existing retention period (24 hours). Use IncreaseRetentionPeriod API.")
	s = m.must(state.ChangeRetention{Key: s.Key, Hours: 30, Increase: true, Delay: time.Second})
	if s.Status != state.Updating || s.Retention != 24*time.Hour {
		t.Errorf("while UPDATING: %s, %v", s.Status, s.Retention)
	}
	refused(t, m, state.ChangeRetention{Key: s.Key, Hours: 24, Increase: true}, "ResourceInUseException", "Stream s under account 000000000000 not ACTIVE, instead in state UPDATING")
	s = m.must(state.Complete{StreamID: s.ID, Transition: s.Transition().ID})
	if s.Status != state.Active || s.Retention != 30*time.Hour || len(s.Open()) != 1 {
		t.Errorf("afterwards: %+v", s)
	}
	refused(t, m, state.ChangeRetention{Key: s.Key, Hours: 24, Increase: true}, code, "Requested retention period (24 hours) for stream s can not be shorter than existing retention period (30 hours). Use DecreaseRetentionPeriod API.")
	for _, increase := range []bool{false, true} {
		if same := m.must(state.ChangeRetention{Key: s.Key, Hours: 30, Increase: increase, Delay: time.Second}); same.Status != state.Active {
			t.Errorf("the same retention again: %s", same.Status)
		}
	}
}

func TestTags(t *testing.T) {
	m := newMachine(t)
	c := create("s", 1)
	c.Tags, c.Delay = map[string]string{"a": "1", "b": "2"}, time.Second
	s := m.must(c)
	if !maps.Equal(s.Tags, c.Tags) {
		t.Errorf("while CREATING: %v", s.Tags)
	}
	refused(t, m, state.Tag{Key: s.Key, Tags: map[string]string{"c": "3"}}, "ResourceInUseException", "Stream s under account 000000000000 not ACTIVE, instead in state CREATING")
	s = m.must(state.Complete{StreamID: s.ID, Transition: s.Transition().ID})
	before, clone := s, m.st.Clone()
	s = m.must(state.UpdateShardCount{Key: s.Key, Target: 2, Delay: time.Second})
	m.must(state.Tag{Key: s.Key, Tags: map[string]string{"a": "x", "c": ""}})
	s = m.must(state.Untag{Key: s.Key, TagKeys: []string{"b", "nope"}})
	if want := map[string]string{"a": "x", "c": ""}; !maps.Equal(s.Tags, want) {
		t.Errorf("tags %v, want %v", s.Tags, want)
	}
	s = m.must(state.Complete{StreamID: s.ID, Transition: s.Transition().ID})
	if len(s.Tags) != 2 || len(s.Open()) != 2 {
		t.Errorf("a reshard meanwhile left %v and %d shards", s.Tags, len(s.Open()))
	}
	if cloned, _ := clone.Stream(s.Key); cloned != before || !maps.Equal(before.Tags, c.Tags) {
		t.Errorf("a stream has changed: %v", before.Tags)
	}

	many := make(map[string]string)
	for i := range 49 {
		many[fmt.Sprint(i)] = ""
	}
	text := "Failed to add tags to stream %s under account 000000000000 because a given stream cannot have more than 50 tags associated with it."
	refused(t, m, state.Tag{Key: s.Key, Tags: many}, "InvalidArgumentException", fmt.Sprintf(text, "s"))
	delete(many, "0")
	if s = m.must(state.Tag{Key: s.Key, Tags: many}); len(s.Tags) != 50 {
		t.Errorf("%d tags, want 50", len(s.Tags))
	}
	m.must(state.Tag{Key: s.Key, Tags: map[string]string{"a": "again"}})
	tagged := create("t", 1)
	tagged.Tags = maps.Clone(s.Tags)
	tagged.Tags["one more"] = ""
	refused(t, m, tagged, "InvalidArgumentException", fmt.Sprintf(text, "t"))
}

func TestMonitoring(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	all := state.ShardMetrics()
	change := func(enable bool, metrics, want []string) {
		t.Helper()
		before := slices.Clone(s.Metrics)
		after := m.must(state.ChangeMonitoring{Key: s.Key, Metrics: metrics, Enable: enable})
		if !slices.Equal(after.Metrics, want) {
			t.Errorf("metrics %v, want %v", after.Metrics, want)
		}
		if !slices.Equal(s.Metrics, before) {
			t.Error("a stream has changed")
		}
		s = after
	}
	change(false, all, nil)
	change(true, []string{all[4], all[1], all[4]}, []string{all[1], all[4]})
	change(true, []string{all[0]}, []string{all[0], all[1], all[4]})
	change(false, []string{all[1], all[2]}, []string{all[0], all[4]})
	change(true, all, all)
	if same := m.must(state.ChangeMonitoring{Key: s.Key, Metrics: all[:2], Enable: true, Delay: time.Second}); same.Status != state.Active {
		t.Errorf("the same metrics again: %s", same.Status)
	}
	change(false, all, nil)
}

func TestEncryptedRecords(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	other := m.must(create("other", 1))
	indexes := make(map[string]uint64)
	put := func(k string) {
		t.Helper()
		indexes[k] = m.put(s.ID, 0, k)[0].First
		m.put(other.ID, 0, k) // takes indexes too
	}
	encrypt := func(key string) {
		t.Helper()
		s = m.must(state.ChangeEncryption{Key: s.Key, KeyID: key})
	}
	expect := func(want map[string]bool) {
		t.Helper()
		for k, want := range want {
			if got := s.Encrypted(indexes[k]); got != want {
				t.Errorf("%s: encrypted %v, want %v; spans %v", k, got, want, s.Ciphers)
			}
		}
	}
	put("plain")
	encrypt("a")
	put("first")
	encrypt("b")
	put("second")
	expect(map[string]bool{"plain": false, "first": true, "second": true})
	if s.KeyID != "b" || len(s.Ciphers) != 1 {
		t.Errorf("another key: %q, spans %v", s.KeyID, s.Ciphers)
	}
	before := *s
	encrypt("")
	put("off")
	encrypt("a")
	encrypt("")
	if len(s.Ciphers) != 1 {
		t.Errorf("a span without records is kept: %v", s.Ciphers)
	}
	s = m.must(state.ChangeEncryption{Key: s.Key, KeyID: "c", Delay: time.Second})
	put("while starting")
	s = m.must(state.Complete{StreamID: s.ID, Transition: s.Transition().ID})
	put("third")
	expect(map[string]bool{"plain": false, "first": true, "second": true, "off": false, "while starting": false, "third": true})
	if !before.Encrypted(indexes["off"]) {
		t.Error("a stream has changed") // it went on when it was taken
	}

	m.now = m.now.Add(25 * time.Hour)
	encrypt("")
	if len(s.Ciphers) != 1 {
		t.Errorf("spans of trimmed records are kept: %v", s.Ciphers)
	}
	put("last")
	expect(map[string]bool{"third": true, "last": false})
}

func TestModes(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 3))
	if s = m.must(state.ChangeMode{Key: s.Key, Mode: state.Provisioned, Delay: time.Second}); s.Status != state.Active {
		t.Errorf("the same mode again: %s", s.Status)
	}
	s = m.must(state.ChangeMode{Key: s.Key, Mode: state.OnDemand, Delay: time.Second})
	if s.Status != state.Updating || s.Mode != state.Provisioned {
		t.Errorf("while UPDATING: %s, %s", s.Status, s.Mode)
	}
	s = m.must(state.Complete{StreamID: s.ID, Transition: s.Transition().ID})
	if s.Mode != state.OnDemand || len(s.Open()) != 3 {
		t.Errorf("on demand: %s with %d shards", s.Mode, len(s.Open()))
	}
	refused(t, m, state.UpdateShardCount{Key: s.Key, Target: 2}, "ValidationException", "Request is invalid. Stream s under account 000000000000 is in On-Demand mode.")
	s = m.must(state.ChangeMode{Key: s.Key, Mode: state.Provisioned})
	if s = m.must(state.UpdateShardCount{Key: s.Key, Target: 2}); len(s.Open()) != 2 {
		t.Errorf("%d shards, want 2", len(s.Open()))
	}
}

// testdata/first.snap was written by the first version: by the commands that
// made streams a (split, with records on both sides), b (CREATING) and c
// (UPDATING), before streams had anything but shards and records.
func TestSnapshotOfTheFirstVersion(t *testing.T) {
	b, err := os.ReadFile("testdata/first.snap")
	if err != nil {
		t.Fatal(err)
	}
	st, lsn, err := state.ReadSnapshot(b)
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	m.st, m.lsn, m.n, m.now = st, lsn, 100, m.now.Add(time.Minute)
	for name, want := range map[string]struct {
		status state.Status
		mode   state.Mode
		shards int
	}{
		"a": {state.Active, state.Provisioned, 4},
		"b": {state.Creating, state.OnDemand, 0},
		"c": {state.Updating, state.Provisioned, 1},
	} {
		s, ok := st.Stream(key(name))
		if !ok || s.Status != want.status || s.Mode != want.mode || len(s.Shards) != want.shards || s.Retention != 24*time.Hour || s.MaxRecordBytes != 1<<20 || !s.Floor.IsZero() || s.Tags != nil || s.Metrics != nil || s.KeyID != "" || s.Ciphers != nil {
			t.Errorf("%s: %+v", name, s)
			continue
		}
		if p := s.Transition(); p != nil {
			s = m.must(state.Complete{StreamID: s.ID, Transition: p.ID})
			if s.Status != state.Active {
				t.Errorf("%s after its transition: %s", name, s.Status)
			}
		}
		checkShards(t, s)
	}
	s, _ := st.Stream(key("a"))
	if n := len(st.Log(s.ID, 0).From(state.Position{}, s.Horizon(m.now))); n != 1 {
		t.Errorf("%d runs in the split shard, want 1", n)
	}
	runs := m.put(s.ID, s.Route(hashkey.Of("k3")), "k3")
	if runs[0].First != 5 {
		t.Errorf("the next record has sequence index %d, want 5", runs[0].First)
	}
	if again, _, err := state.ReadSnapshot(snapshot(t, st, lsn)); err != nil || len(again.All()) != 3 {
		t.Errorf("written anew: %v", err)
	}
}
