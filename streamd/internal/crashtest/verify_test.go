package crashtest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/logcheck"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

func synctestWait() { synctest.Wait() }

// verify opens the store on what a cut has left and holds it against what is
// known. deep is how many cuts of the opening, and of what it leaves, are
// verified as well.
func (s *story) verify(d disk, what string, deep int) {
	r := rand.New(rand.NewPCG(s.seed, uint64(500_000+s.cuts)))
	most := 0
	if deep > 0 && r.IntN(8) == 0 {
		most = 3
	}
	st, clk, cuts, err := s.openWithCuts(d, most)
	d.SetHook(nil) // who closes it is the driver, and must not wait for itself
	if err != nil {
		s.fail("%s: the store does not open: %v", what, err)
		return
	}
	seen := s.check(st, what)
	if deep > 0 && r.IntN(4) == 0 {
		// What was shown must be as durable as what was acknowledged.
		cuts = append(cuts, d.cut(r, s.share(r)))
		s.remember(seen)
		defer s.forget(seen)
	}
	if r.IntN(8) == 0 {
		if err := st.Close(); err != nil {
			s.fail("%s: Close: %v", what, err)
		}
		clk.Close()
		if st, clk, err = s.open(d); err != nil {
			s.fail("%s, closed in order: the store does not open: %v", what, err)
			return
		}
		s.check(st, what+", closed in order")
	}
	d.PowerOff() // a snapshot of it is of no use
	_ = st.Close()
	clk.Close()
	for i, c := range cuts {
		if s.bad == nil && s.spend() {
			s.verify(c, fmt.Sprintf("%s; then cut %d of the recovery", what, i+1), 0)
		}
	}
}

// sighting is what a look at a whole stream has shown.
type sighting struct {
	str   *stream
	reads []logcheck.Read
	had   int // reads before
}

// remember adds to the histories what was seen; forget takes it back.
func (s *story) remember(seen []sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range seen {
		seen[i].had = len(seen[i].str.reads)
		seen[i].str.reads = append(seen[i].str.reads, seen[i].reads...)
	}
}

func (s *story) forget(seen []sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range seen {
		g.str.reads = g.str.reads[:g.had]
	}
}

// check holds everything in st against what is known, and returns what it saw.
func (s *story) check(st *store.Store, what string) []sighting {
	var seen []sighting
	s.mu.Lock()
	streams := s.streams
	s.mu.Unlock()
	for _, str := range streams {
		g, bad := s.checkStream(st, str)
		if bad != "" {
			s.fail("%s: %s: %s", what, str.key.Name, bad)
			return nil
		}
		if g != nil {
			seen = append(seen, sighting{str: str, reads: g})
		}
	}
	s.mu.Lock()
	items := s.items
	s.mu.Unlock()
	for _, it := range items {
		if _, bad := s.checkItem(st, it); bad != "" {
			s.fail("%s: item %s: %s", what, it.key, bad)
		}
	}
	return seen
}

func (s *story) checkStream(st *store.Store, str *stream) ([]logcheck.Read, string) {
	s.mu.Lock()
	last, open, deleted, id := str.last, str.open, str.deleted, str.id
	s.mu.Unlock()
	got, ok := st.Stream(str.key)
	if deleted || isDelete(open) {
		switch {
		case ok && (got.ID != id || got.Status == state.Deleting), !ok:
			return nil, ""
		case deleted:
			return nil, fmt.Sprintf("it was deleted and is %s", got.Status)
		}
	}
	switch {
	case !ok && last == nil:
		return nil, "" // its creation had no answer
	case !ok:
		return nil, "it is not there"
	case last != nil && open == nil && describe(got) != describe(last):
		return nil, fmt.Sprintf("it is\n%s\nand was answered to be\n%s", describe(got), describe(last))
	case last != nil && len(got.Shards) < len(last.Shards):
		return nil, fmt.Sprintf("it has %d shards, and had %d", len(got.Shards), len(last.Shards))
	case got.Status == state.Creating:
		return nil, ""
	}
	now := st.Now()
	s.mu.Lock()
	str.passed(now.Sub(s.began), got.Retention)
	if last != nil { // raised a moment ago, it does not bring anything back
		str.passed(now.Sub(s.began), last.Retention)
	}
	if c, ok := open.(state.ChangeRetention); ok {
		str.passed(now.Sub(s.began), time.Duration(c.Hours)*time.Hour)
	}
	s.mu.Unlock()
	final := make(map[string][]logcheck.Record)
	var shards []logcheck.Shard
	var reads []logcheck.Read
	for i := range got.Shards {
		sh := describeShard(got, i)
		sh.Horizon = str.horizon
		shards = append(shards, sh)
		start := s.now()
		all := logcheck.Read{Shard: sh.ID, Start: start, Tip: true}
		for after := ""; ; {
			page, err := readPage(st, got.ID, i, after, 100)
			if errors.Is(err, store.ErrNoShard) && got.Expired(i, now) {
				all.Tip = false
				break
			}
			if err != nil {
				return nil, fmt.Sprintf("reading %s behind %q: %v\nat %v by the server's clock; the stream is\n%s", sh.ID, after, err, now.Sub(s.began), describe(got))
			}
			all.Records = append(all.Records, page.Records...)
			if len(page.Records) == 0 {
				break
			}
			after = page.Records[len(page.Records)-1].Seq
		}
		all.End = s.now()
		final[sh.ID] = all.Records
		if all.Tip {
			reads = append(reads, all)
		}
	}
	h := &logcheck.History{Shards: shards, Final: final, Reads: str.reads}
	s.mu.Lock()
	for _, p := range str.puts {
		h.Puts = append(h.Puts, *p)
	}
	s.mu.Unlock()
	if bad := h.Check(); len(bad) > 0 {
		return nil, fmt.Sprintf("%s\nat %v by the server's clock, what was put until %v may have left; the stream is\n%s", logcheck.Describe(bad), now.Sub(s.began), str.horizon, describe(got))
	}
	return reads, ""
}

func isDelete(c state.Command) bool {
	_, ok := c.(state.DeleteStream)
	return ok
}

func describeShard(s *state.Stream, i int) logcheck.Shard {
	sh := &s.Shards[i]
	d := logcheck.Shard{ID: sh.ID(), From: sh.Range.Start.Bytes(), To: sh.Range.End.Bytes(), Starting: sh.StartingSequenceNumber().String()}
	for _, p := range []int{sh.Parent, sh.AdjacentParent} {
		if p != state.NoShard {
			d.Parents = append(d.Parents, state.ShardID(p))
		}
	}
	if !sh.IsOpen() {
		d.Ending = sh.EndingSequenceNumber().String()
	}
	return d
}

// describe writes down all of a stream that an answer has promised.
func describe(s *state.Stream) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %v %v floor %d open %v tags %v", s.ID, s.Status, s.Mode, s.Retention, s.Floor.UnixMilli(), s.Open(), s.Tags)
	for i := range s.Shards {
		sh := &s.Shards[i]
		fmt.Fprintf(&b, "\n  %d of %d and %d, %v, %d to %d, closed %v", sh.Index, sh.Parent, sh.AdjacentParent, sh.Range, sh.CreateSecond, sh.CloseSecond, !sh.IsOpen())
	}
	return b.String()
}

// checkItem returns the number of an item, and what is wrong with it.
func (s *story) checkItem(st *store.Store, it *item) (n int, bad string) {
	var answer struct{ Item map[string]struct{ N string } }
	err := s.tableRequest(st, "GetItem", fmt.Sprintf(`{"TableName":"leases","Key":{"k":{"S":%q}},"ConsistentRead":true}`, it.key), &answer)
	if err != nil {
		return 0, err.Error()
	}
	v, c := 0, 0
	if answer.Item != nil {
		var errV, errC error
		v, errV = strconv.Atoi(answer.Item["v"].N)
		c, errC = strconv.Atoi(answer.Item["c"].N)
		if err := errors.Join(errV, errC); err != nil {
			return 0, err.Error()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	most := it.n
	if it.underway {
		most++
	}
	switch {
	case v < it.n || v > most:
		return v, fmt.Sprintf("it has number %d, acknowledged was %d, under way %v", v, it.n, it.underway)
	case c != v:
		return v, fmt.Sprintf("it has number %d, and was counted up %d times", v, c)
	}
	return v, ""
}

// resolve takes over, at the start of a life, what became of the requests that
// the last one left without an answer. From now on it must not change.
func (s *story) resolve() {
	seen := s.check(s.st, "at the start")
	if s.bad != nil {
		return
	}
	s.remember(seen)
	for _, it := range s.items {
		n, _ := s.checkItem(s.st, it)
		it.n, it.underway = n, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, str := range s.streams {
		now, ok := s.st.Stream(str.key)
		switch {
		case str.deleted:
		case ok && now.Status != state.Deleting:
			if isDelete(str.open) {
				str.open = nil
			}
			s.note(str, str.open, now)
		case str.open != nil:
			str.deleted, str.open = true, nil
		}
	}
}
