package state_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

var scope = arn.Scope{Account: "000000000000", Region: "us-east-1"}

func key(name string) state.StreamKey { return state.StreamKey{Scope: scope, Name: name} }

// machine applies frames of its own making, and keeps them.
type machine struct {
	t      testing.TB
	st     *state.State
	lsn    journal.LSN
	n      uint64
	now    time.Time
	frames []*journal.Frame
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	return &machine{t: t, st: state.New(), now: time.UnixMilli(1_700_000_000_000)}
}

func (m *machine) apply(entries []byte) []state.Outcome {
	m.t.Helper()
	m.n++
	f := journal.NewFrame(journal.FrameID{N: m.n, Session: 1}, 0, append(state.BeginFrame(nil, m.now), entries...))
	m.lsn += journal.LSN(64 + len(f.Body))
	m.frames = append(m.frames, f)
	var outcomes []state.Outcome
	if err := m.st.Apply(m.lsn, f, func(o state.Outcome) { outcomes = append(outcomes, o) }); err != nil {
		m.t.Fatal(err)
	}
	return outcomes
}

func (m *machine) do(c state.Command) (*state.Stream, error) {
	m.t.Helper()
	entries, err := state.AppendCommand(nil, c)
	if err != nil {
		m.t.Fatal(err)
	}
	o := m.apply(entries)[0]
	return o.Stream, o.Err
}

func (m *machine) must(c state.Command) *state.Stream {
	m.t.Helper()
	s, err := m.do(c)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func (m *machine) put(stream uint64, shard int, keys ...string) []state.Run {
	m.t.Helper()
	entries, mark := state.BeginRecords(nil, stream, shard, len(keys))
	for _, k := range keys {
		entries = state.AppendRecord(entries, hashkey.Of(k), k, []byte("data of "+k))
	}
	return m.apply(state.EndRecords(entries, mark))[0].Runs
}

func create(name string, shards int) state.CreateStream {
	return state.CreateStream{Key: key(name), ShardCount: shards, Mode: state.Provisioned, MaxRecordBytes: 1 << 20}
}

// checkShards checks what must hold for the shards of every stream.
func checkShards(t testing.TB, s *state.Stream) {
	t.Helper()
	next := hashkey.Key{}
	for n, i := range s.Open() {
		sh := &s.Shards[i]
		if !sh.IsOpen() {
			t.Fatalf("%s is closed, and open", sh.ID())
		}
		if sh.Range.Start != next || sh.Range.End.Less(sh.Range.Start) {
			t.Fatalf("%s covers %v, want from %s on", sh.ID(), sh.Range, next)
		}
		next = sh.Range.End.Add(1)
		if last := n == len(s.Open())-1; last != (sh.Range.End == hashkey.Max) {
			t.Fatalf("%s ends at %s", sh.ID(), sh.Range.End)
		}
	}
	for i := range s.Shards {
		sh := &s.Shards[i]
		if sh.Index != i || sh.IsOpen() != slices.Contains(s.Open(), i) {
			t.Fatalf("shard %d: %+v", i, sh)
		}
		for _, p := range []int{sh.Parent, sh.AdjacentParent} {
			if p == state.NoShard {
				continue
			}
			parent := &s.Shards[p]
			if parent.Closed != sh.Opened {
				t.Fatalf("%s closed at %v, its child %s opened at %v", parent.ID(), parent.Closed, sh.ID(), sh.Opened)
			}
			if seqno.Compare(sh.StartingSequenceNumber().String(), parent.EndingSequenceNumber().String()) <= 0 {
				t.Fatalf("%s starts at %s, not above its parent's end %s", sh.ID(), sh.StartingSequenceNumber(), parent.EndingSequenceNumber())
			}
			if !slices.Contains(s.Children(p), i) {
				t.Fatalf("%s is no child of %s", sh.ID(), parent.ID())
			}
		}
		if sh.IsOpen() != (len(s.Children(i)) == 0) {
			t.Fatalf("%s: open %v, children %v", sh.ID(), sh.IsOpen(), s.Children(i))
		}
	}
}

func TestRandomReshardsCoverTheHashSpace(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			m := newMachine(t)
			s := m.must(create("s", 1+r.IntN(5)))
			for range 60 {
				m.now = m.now.Add(time.Duration(r.IntN(1500)) * time.Millisecond)
				var c state.Command
				switch p := r.IntN(len(s.Open())); r.IntN(4) {
				case 0, 1:
					rng := s.Shards[s.Open()[p]].Range
					h := rng.Start.Add(r.Uint64())
					if r.IntN(4) == 0 {
						h = rng.Start.Add(uint64(r.IntN(4)))
					}
					c = state.SplitShard{Key: s.Key, Shard: s.Open()[p], NewStartingHash: h}
				case 2:
					if p+1 == len(s.Open()) {
						continue
					}
					c = state.MergeShards{Key: s.Key, Shard: s.Open()[p], Adjacent: s.Open()[p+1]}
				default:
					c = state.UpdateShardCount{Key: s.Key, Target: 1 + r.IntN(12)}
				}
				after, err := m.do(c)
				if err != nil {
					if sp, ok := c.(state.SplitShard); ok {
						rng := s.Shards[sp.Shard].Range
						if h := sp.NewStartingHash; !rng.Contains(h) || h == rng.Start || h == rng.Start.Add(1) || h == rng.End {
							continue // too close to an end of the range
						}
					}
					t.Fatalf("%+v: %v", c, err)
				}
				s = after
				checkShards(t, s)
				if u, ok := c.(state.UpdateShardCount); ok {
					checkUniform(t, s, u.Target)
				}
				for range 5 {
					k := fmt.Sprint(r.Uint64())
					runs := m.put(s.ID, s.Route(hashkey.Of(k)), k)
					if !s.Shards[runs[0].Shard].Range.Contains(hashkey.Of(k)) {
						t.Fatalf("%q went to shard %d", k, runs[0].Shard)
					}
				}
			}
		})
	}
}

// checkUniform checks that the shards are even, but for borders that lie next
// to where a split may not be.
func checkUniform(t testing.TB, s *state.Stream, target int) {
	t.Helper()
	if len(s.Open()) != target {
		t.Fatalf("%d open shards, want %d", len(s.Open()), target)
	}
	for i, want := range hashkey.Uniform(target) {
		got := s.Shards[s.Open()[i]].Range
		if got != want && got.Start.Add(1) != want.Start && got.Start != want.Start.Add(1) && got.End.Add(1) != want.End && got.End != want.End.Add(1) {
			t.Fatalf("range %d is %v, want %v", i, got, want)
		}
	}
}

func TestUpdateShardCountKeepsLineage(t *testing.T) {
	m := newMachine(t)
	m.must(create("s", 2))
	s := m.must(state.UpdateShardCount{Key: key("s"), Target: 3})
	if got := len(s.Shards); got != 2+4+1 {
		t.Errorf("2 to 3 made %d shards in all, want two splits and one merge", got)
	}
	if same := m.must(state.UpdateShardCount{Key: key("s"), Target: 3}); len(same.Shards) != len(s.Shards) || same.Status != state.Active {
		t.Errorf("the same count again changed the shards")
	}
}

func TestRefusals(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 4))
	m.must(state.SplitShard{Key: s.Key, Shard: 0, NewStartingHash: s.Shards[0].Range.Start.Add(1000)}) // makes 4 and 5
	for _, tt := range []struct {
		name string
		do   state.Command
		code string
		text string
	}{
		{"stream exists", create("s", 1), "ResourceInUseException", "Stream s under account 000000000000 already exists."},
		{"no such stream", state.DeleteStream{Key: key("x")}, "ResourceNotFoundException", "Stream x under account 000000000000 not found."},
		{"split of no shard", state.SplitShard{Key: key("s"), Shard: 99}, "ResourceNotFoundException", "Could not find shard shardId-000000000099 in stream s under account 000000000000."},
		{"split of a closed shard", state.SplitShard{Key: key("s"), Shard: 0}, "InvalidArgumentException", "Shard shardId-000000000000 in stream s under account 000000000000 has already been merged or split, and thus is not eligible for merging or splitting."},
		{"split at the start", state.SplitShard{Key: key("s"), Shard: 4, NewStartingHash: hashkey.Key{Lo: 1}}, "InvalidArgumentException", "NewStartingHashKey 1 used in SplitShard() on shard shardId-000000000004 in stream s under account 000000000000 is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey 999."},
		{"split at the end", state.SplitShard{Key: key("s"), Shard: 4, NewStartingHash: hashkey.Key{Lo: 999}}, "InvalidArgumentException", "NewStartingHashKey 999 used in SplitShard() on shard shardId-000000000004 in stream s under account 000000000000 is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey 999."},
		{"merge in the wrong order", state.MergeShards{Key: key("s"), Shard: 2, Adjacent: 1}, "InvalidArgumentException", "Shards shardId-000000000002 and shardId-000000000001 in stream s under account 000000000000 are not an adjacent pair of shards eligible for merging"},
		{"merge of a shard with itself", state.MergeShards{Key: key("s"), Shard: 2, Adjacent: 2}, "InvalidArgumentException", "Shards shardId-000000000002 and shardId-000000000002 in stream s under account 000000000000 are not an adjacent pair of shards eligible for merging"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := m.do(tt.do)
			e, ok := errors.AsType[*awserr.Error](err)
			if !ok || e.Code != tt.code || e.Message != tt.text {
				t.Errorf("got %v\nwant %s: %s", err, tt.code, tt.text)
			}
		})
	}
}

func TestTransitions(t *testing.T) {
	m := newMachine(t)
	const delay = time.Second
	s := m.must(state.CreateStream{Key: key("s"), ShardCount: 1, Delay: delay})
	complete := func() *state.Stream {
		t.Helper()
		m.now = s.Transition().Due
		return m.must(state.Complete{StreamID: s.ID, Transition: s.Transition().ID})
	}
	if s.Status != state.Creating || len(s.Shards) != 0 {
		t.Fatalf("created: %s with %d shards", s.Status, len(s.Shards))
	}
	if runs := m.put(s.ID, 0, "a"); runs != nil {
		t.Errorf("a put while CREATING went to %v", runs)
	}
	stale := s.Transition().ID
	if s = complete(); s.Status != state.Active || len(s.Open()) != 1 {
		t.Fatalf("after creating: %s with %d shards", s.Status, len(s.Open()))
	}
	s = m.must(state.SplitShard{Key: s.Key, Shard: 0, NewStartingHash: hashkey.Key{Hi: 1 << 63}, Delay: delay})
	if s.Status != state.Updating || len(s.Open()) != 1 {
		t.Fatalf("splitting: %s with %d open shards", s.Status, len(s.Open()))
	}
	if runs := m.put(s.ID, 0, "a"); len(runs) != 1 || runs[0].Shard != 0 {
		t.Errorf("a put while UPDATING went to %v, want the parent", runs)
	}
	if _, err := m.do(state.UpdateShardCount{Key: s.Key, Target: 5}); err == nil || err.Error() != "ResourceInUseException: Stream s under account 000000000000 not ACTIVE, instead in state UPDATING" {
		t.Errorf("a second change: %v", err)
	}
	if after := m.must(state.Complete{StreamID: s.ID, Transition: stale}); after.Status != state.Updating {
		t.Errorf("an old transition ended a new one")
	}
	if s = complete(); len(s.Open()) != 2 {
		t.Fatalf("after splitting: %d open shards", len(s.Open()))
	}
	s = m.must(state.DeleteStream{Key: s.Key, Delay: delay})
	if s.Status != state.Deleting {
		t.Fatalf("deleting: %s", s.Status)
	}
	if _, err := m.do(create("s", 1)); err == nil {
		t.Error("the name of a stream being deleted was given again")
	}
	if runs := m.put(s.ID, 1, "a"); runs != nil {
		t.Errorf("a put while DELETING went to %v", runs)
	}
	if gone := complete(); gone != nil {
		t.Fatalf("after deleting: %+v", gone)
	}
	if again := m.must(create("s", 1)); again.ID == s.ID {
		t.Error("a stream made anew has the id of the old one")
	}
}

// Records whose writer looked before a reshard go to the children by their
// hash keys, in order, and none is numbered above the parent's end.
func TestRecordsForAClosedShardAreRouted(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	m.put(s.ID, 0, "before")
	s = m.must(state.SplitShard{Key: s.Key, Shard: 0, NewStartingHash: hashkey.Key{Hi: 1 << 63}})
	keys := []string{"a", "b", "c", "d", "e", "f"}
	runs := m.put(s.ID, 0, keys...)
	if len(runs) != len(keys) {
		t.Fatalf("%d runs for %d records", len(runs), len(keys))
	}
	seen := make(map[int]bool)
	for i, run := range runs {
		sh := &s.Shards[run.Shard]
		seen[run.Shard] = true
		if !sh.IsOpen() || !sh.Range.Contains(hashkey.Of(keys[i])) || run.Count != 1 {
			t.Errorf("%q went to %+v", keys[i], run)
		}
		if i > 0 && run.First != runs[i-1].First+1 {
			t.Errorf("%q has index %d after %d", keys[i], run.First, runs[i-1].First)
		}
	}
	if len(seen) != 2 {
		t.Errorf("records went to shards %v, want both children", slices.Collect(maps.Keys(seen)))
	}
}

func TestAFrameAppendedTwiceCountsOnce(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	m.put(s.ID, 0, "a")
	last := m.st.Log(s.ID, 0).Last()
	err := m.st.Apply(m.lsn+1000, m.frames[len(m.frames)-1], func(state.Outcome) { t.Error("a repeated frame has an outcome") })
	if err != nil || m.st.Log(s.ID, 0).Last() != last {
		t.Errorf("repeated: %v, last index %d, want %d", err, m.st.Log(s.ID, 0).Last(), last)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	m.put(s.ID, 0, "a")
	m.now = m.now.Add(-time.Hour)
	m.put(s.ID, 0, "b")
	refs := m.st.Log(s.ID, 0).From(state.Position{}, time.Time{})
	if len(refs) != 2 || refs[1].Arrival < refs[0].Arrival {
		t.Errorf("arrivals of %+v go back", refs)
	}
}

func randomHistory(t testing.TB, seed uint64) *machine {
	r := rand.New(rand.NewPCG(seed, 2))
	m := newMachine(t)
	for i := range 200 {
		m.now = m.now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
		name := fmt.Sprint("s", r.IntN(4))
		s, ok := m.st.Stream(key(name))
		switch {
		case !ok:
			c := create(name, 1+r.IntN(3))
			c.Delay = time.Duration(r.IntN(2)) * time.Second
			m.must(c)
		case s.Transition() != nil && r.IntN(2) == 0:
			m.must(state.Complete{StreamID: s.ID, Transition: s.Transition().ID})
		case len(s.Open()) == 0:
		case r.IntN(20) == 0 && len(s.Channels) == 0:
			m.must(state.DeleteStream{Key: s.Key})
		case r.IntN(6) == 0 && s.Status == state.Active:
			m.must(randomChange(r, s))
		case r.IntN(6) == 0 && s.Status == state.Active && s.Mode == state.Provisioned:
			m.must(state.UpdateShardCount{Key: s.Key, Target: 1 + r.IntN(6), Delay: time.Duration(r.IntN(2)) * time.Second})
		default:
			k := fmt.Sprint("k", i)
			m.put(s.ID, s.Route(hashkey.Of(k)), k, k, k)
		}
	}
	return m
}

func snapshot(t testing.TB, st *state.State, lsn journal.LSN) []byte {
	t.Helper()
	b, err := st.AppendSnapshot(nil, lsn)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The same frames give the same state, from the start, from any snapshot, and
// in a clone taken on the way.
func TestReplayAndSnapshotsAgree(t *testing.T) {
	for seed := range uint64(10) {
		m := randomHistory(t, seed)
		want := snapshot(t, m.st, m.lsn)
		st, lsn := state.New(), journal.LSN(0)
		for i, f := range m.frames {
			lsn += journal.LSN(64 + len(f.Body))
			if err := st.Apply(lsn, f, nil); err != nil {
				t.Fatal(err)
			}
			if i%37 != 0 {
				continue
			}
			clone := st.Clone()
			again, at, err := state.ReadSnapshot(snapshot(t, clone, lsn))
			if err != nil || at != lsn {
				t.Fatalf("seed %d: ReadSnapshot at frame %d: %d, %v", seed, i, at, err)
			}
			st = again
		}
		if !bytes.Equal(snapshot(t, st, lsn), want) {
			t.Errorf("seed %d: replay with snapshots differs", seed)
		}
	}
}

func TestCloneIsNotChanged(t *testing.T) {
	m := randomHistory(t, 99)
	clone, lsn := m.st.Clone(), m.lsn
	before := snapshot(t, clone, lsn)
	s := m.must(create("another", 2))
	m.put(s.ID, 0, "a")
	for _, s := range m.st.All() {
		if len(s.Open()) > 0 {
			m.put(s.ID, s.Open()[0], "x", "y")
		}
	}
	m.st.Trim(m.now.Add(48 * time.Hour))
	if !bytes.Equal(snapshot(t, clone, lsn), before) {
		t.Error("frames and trimming changed a clone")
	}
}

func TestTrimFreesWhatIsPastRetention(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	m.put(s.ID, 0, "old")
	m.now = m.now.Add(25 * time.Hour)
	m.put(s.ID, 0, "new")
	l := m.st.Log(s.ID, 0)
	if got := l.From(state.Position{}, m.now.Add(-s.Retention)); len(got) != 1 {
		t.Fatalf("%d runs within retention, want 1", len(got))
	}
	first, _ := m.st.Oldest()
	m.st.Trim(m.now)
	if got := l.From(state.Position{}, time.Time{}); len(got) != 1 {
		t.Fatalf("%d runs after trimming, want 1", len(got))
	}
	if second, ok := m.st.Oldest(); !ok || second <= first {
		t.Errorf("oldest position %d after %d", second, first)
	}
}

func TestEveryFlippedSnapshotByteIsReported(t *testing.T) {
	b := snapshot(t, randomHistory(t, 5).st, 5)
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, _, err := state.ReadSnapshot(bad); err == nil {
			t.Fatalf("byte %d of %d flipped, and not reported", i, len(b))
		}
	}
	for n := range 50 {
		if _, _, err := state.ReadSnapshot(b[:n]); err == nil {
			t.Fatalf("the first %d bytes are read as a snapshot", n)
		}
	}
}

func FuzzApply(f *testing.F) {
	m := randomHistory(f, 1)
	for _, fr := range m.frames[:40] {
		f.Add(fr.Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, entries, err := state.Entries(body); err == nil {
			for _, e := range entries {
				if e.Records != nil && len(e.Records.Each) != e.Records.Count {
					t.Errorf("%d records of %d", len(e.Records.Each), e.Records.Count)
				}
			}
		}
		st := state.New()
		first, err := state.AppendCommand(state.BeginFrame(nil, time.UnixMilli(1)), create("s", 2))
		if err != nil {
			panic(err)
		}
		if err := st.Apply(100, journal.NewFrame(journal.FrameID{N: 1}, 0, first), nil); err != nil {
			panic(err)
		}
		_ = st.Apply(100+journal.LSN(len(body)), journal.NewFrame(journal.FrameID{N: 2}, 0, body), nil) // must not panic
	})
}

func FuzzReadSnapshot(f *testing.F) {
	b := snapshot(f, randomHistory(f, 3).st, 9)
	f.Add(b[:len(b)-4])
	f.Fuzz(func(_ *testing.T, b []byte) {
		// With a checksum that fits, so that the decoder is reached.
		b = binary.LittleEndian.AppendUint32(slices.Clip(b), journal.Checksum(b))
		_, _, _ = state.ReadSnapshot(b) // must not panic
	})
}

// TestKnownRequests applies a frame whose author says what its requests to tables
// were parsed to, rightly, wrongly or not at all. The bytes decide.
func TestKnownRequests(t *testing.T) {
	const create = `{"TableName":"tab","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}`
	put := func(k string) string { return `{"TableName":"tab","Item":{"k":{"S":"` + k + `"}}}` }
	parse := func(op, body string) *table.Request {
		r, err := table.Parse(op, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	entries := state.AppendTable(nil, scope, "CreateTable", []byte(create))
	entries = state.AppendTable(entries, scope, "PutItem", []byte(put("a")))
	f := journal.NewFrame(journal.FrameID{N: 1, Session: 1}, 0, append(state.BeginFrame(nil, time.UnixMilli(1)), entries...))
	right := parse("PutItem", put("a"))
	for name, known := range map[string][]*table.Request{
		"rightly":           {parse("CreateTable", create), right},
		"not at all":        {nil, nil},
		"another body":      {nil, parse("PutItem", put("b"))},
		"another operation": {right, parse("DescribeTable", `{"TableName":"tab"}`)},
	} {
		st := state.New()
		asked := 0
		err := st.ApplyOwn(100, f, func() *table.Request { asked++; return known[asked-1] }, nil)
		if err != nil || asked != len(known) {
			t.Fatalf("%s: %v, asked %d times", name, err, asked)
		}
		resp, err := st.Tables().Read(time.UnixMilli(1), scope, parse("Scan", `{"TableName":"tab"}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(resp.AppendJSON(nil)), `{"Count":1,"Items":[{"k":{"S":"a"}}],"ScannedCount":1}`; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
