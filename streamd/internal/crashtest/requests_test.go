package crashtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/logcheck"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

var scope = arn.Scope{Account: "000000000000", Region: "us-east-1"}

// stream is what is known of one stream.
type stream struct {
	key state.StreamKey

	// guarded by story.mu
	id      uint64
	puts    []*logcheck.Put // those under way too: they are Unknown
	reads   []logcheck.Read
	ends    []string // numbers of records, to read from
	last    *state.Stream
	open    state.Command // under way, or without an answer; its effect may be there
	deleted bool          // the answer to its deletion has come
	horizon time.Duration // what was put until then may have left
}

// item is one item of the table. Only one request for it is under way.
type item struct {
	key      string
	n        int  // as of the last answer
	underway bool // a request that makes it n+1 has no answer
}

// setUp makes the streams and the table, before anything is parked.
func (s *story) setUp() {
	create := `{"TableName":"leases","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],"BillingMode":"PAY_PER_REQUEST"}`
	if err := s.tableRequest(s.st, "CreateTable", create, nil); err != nil {
		s.fail("CreateTable: %v", err)
		return
	}
	for i := range 4 {
		s.items = append(s.items, &item{key: fmt.Sprint("item", i)})
	}
	for i := range 2 {
		s.create(fmt.Sprint("stream", i), 1+s.r.IntN(3))
	}
	synctestWait()
}

// request begins one request at random.
func (s *story) request() {
	switch n := s.r.IntN(20); {
	case n < 10:
		s.put()
	case n < 13:
		s.read()
	case n < 16:
		s.update()
	default:
		s.command()
	}
}

// begin runs a request beside the driver.
func (s *story) begin(request func(st *store.Store)) {
	s.mu.Lock()
	s.busy++
	s.mu.Unlock()
	st := s.st
	go func() {
		request(st)
		s.mu.Lock()
		s.busy--
		s.mu.Unlock()
	}()
}

// pick returns a stream that can be written to, nil if there is none.
func (s *story) pick() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[s.r.IntN(len(s.streams))]
	if st.deleted || st.id == 0 {
		return nil
	}
	return st
}

func (s *story) put() {
	str := s.pick()
	if str == nil {
		return
	}
	var recs []store.Record
	var puts []*logcheck.Put
	for range 1 + s.r.IntN(4) {
		s.values++
		size := s.r.IntN(50)
		if s.r.IntN(12) == 0 {
			size = s.r.IntN(12_000)
		}
		key := fmt.Sprint("key", s.r.IntN(50))
		value := fmt.Sprintf("v%d", s.values)
		hash := hashkey.Of(key)
		recs = append(recs, store.Record{PartitionKey: key, Data: fill(value, size), HashKey: hash})
		puts = append(puts, &logcheck.Put{Value: value, Hash: hash.Bytes(), Start: s.now()})
	}
	s.mu.Lock()
	str.puts = append(str.puts, puts...)
	id := str.id
	s.mu.Unlock()
	s.begin(func(st *store.Store) {
		stored, err := st.Put(context.Background(), id, recs)
		end := s.now()
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, p := range puts {
			p.End = end
			switch {
			case err == nil:
				n := seqno.Number{Create: stored[i].Create, Shard: uint32(stored[i].Shard), Index: stored[i].Index, Time: stored[i].Second}
				p.Outcome, p.Shard, p.Seq = logcheck.Acked, state.ShardID(stored[i].Shard), n.String()
				str.ends = append(str.ends, p.Seq)
			case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrNoStream):
				p.Outcome = logcheck.Refused
			}
		}
	})
}

// fill returns a record's data: its value, and a filling that follows from it.
func fill(value string, size int) []byte {
	return []byte(value + "|" + strings.Repeat(value[len(value)-1:], size))
}

// valueOf returns the value of a record's data, or what is wrong with it.
func valueOf(data []byte) string {
	value, filling, ok := strings.Cut(string(data), "|")
	if !ok || len(value) < 2 || strings.Trim(filling, value[len(value)-1:]) != "" {
		return fmt.Sprintf("damaged data %.40q", data)
	}
	return value
}

// read reads a page of a shard from its oldest record or from one that is known.
func (s *story) read() {
	str := s.pick()
	if str == nil {
		return
	}
	s.mu.Lock()
	shard, after := 0, ""
	if str.last != nil && len(str.last.Shards) > 0 {
		shard = s.r.IntN(len(str.last.Shards))
	}
	if len(str.ends) > 0 && s.r.IntN(2) == 0 {
		after = str.ends[s.r.IntN(len(str.ends))]
		shard = int(mustNumber(after).Shard)
	}
	id, limit := str.id, 1+s.r.IntN(8)
	s.mu.Unlock()
	start := s.now()
	s.begin(func(st *store.Store) {
		read, err := readPage(st, id, shard, after, limit)
		if err != nil {
			return // the stream is gone, or the shard has expired
		}
		read.Start, read.End = start, s.now()
		s.mu.Lock()
		defer s.mu.Unlock()
		str.reads = append(str.reads, read)
	})
}

func mustNumber(seq string) seqno.Number {
	n, err := seqno.Parse(seq)
	if err != nil {
		panic(err) // it was made here
	}
	return n
}

// readPage reads records behind the number after, or the oldest.
func readPage(st *store.Store, id uint64, shard int, after string, limit int) (logcheck.Read, error) {
	req := store.ReadRequest{StreamID: id, Shard: shard, MaxRecords: limit, MaxBytes: 1 << 20}
	if after != "" {
		req.From = state.After(mustNumber(after))
	}
	res, err := st.Read(context.Background(), req)
	if err != nil {
		return logcheck.Read{}, err
	}
	read := logcheck.Read{Shard: state.ShardID(shard), After: after, Tip: res.BehindLatest == 0}
	str, ok := st.StreamByID(id)
	if !ok {
		return logcheck.Read{}, store.ErrNoStream
	}
	for _, r := range res.Records {
		read.Records = append(read.Records, logcheck.Record{
			Value: valueOf(r.Data), Seq: str.Shards[shard].Number(r.Index, r.Arrival).String(), Arrival: r.Arrival,
		})
	}
	return read, nil
}

// update counts an item of the table up, or sets it anew: both say which number
// it has from now on, and the first how often that was done.
func (s *story) update() {
	s.mu.Lock()
	it := s.items[s.r.IntN(len(s.items))]
	if it.underway {
		s.mu.Unlock()
		return
	}
	it.underway = true
	n := it.n + 1
	s.mu.Unlock()
	op, body := "UpdateItem", fmt.Sprintf(`{"TableName":"leases","Key":{"k":{"S":%q}},"UpdateExpression":"SET v = :v ADD c :one","ExpressionAttributeValues":{":v":{"N":"%d"},":one":{"N":"1"}}}`, it.key, n)
	if s.r.IntN(4) == 0 {
		op, body = "PutItem", fmt.Sprintf(`{"TableName":"leases","Item":{"k":{"S":%q},"v":{"N":"%d"},"c":{"N":"%d"},"filling":{"S":%q}}}`, it.key, n, n, strings.Repeat("x", s.r.IntN(300)))
	}
	s.begin(func(st *store.Store) {
		err := s.tableRequest(st, op, body, nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			it.n, it.underway = n, false
		}
	})
}

// tableRequest sends one request, and fills answer, if not nil, from what comes
// back.
func (s *story) tableRequest(st *store.Store, op, body string, answer any) error {
	r, err := table.Parse(op, []byte(body))
	if err != nil {
		return err
	}
	resp, err := st.Table(context.Background(), scope, r)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(resp.AppendJSON(nil), answer)
}

// create makes a stream, the answer pending.
func (s *story) create(name string, shards int) {
	str := &stream{key: state.StreamKey{Scope: scope, Name: name}}
	s.mu.Lock()
	s.streams = append(s.streams, str)
	s.mu.Unlock()
	s.send(str, state.CreateStream{Key: str.key, ShardCount: shards, Mode: state.Provisioned, MaxRecordBytes: 1 << 20, Delay: s.delay()})
}

// delay is how long a transition takes: mostly no time.
func (s *story) delay() time.Duration {
	if s.r.IntN(3) > 0 {
		return 0
	}
	return time.Duration(1+s.r.IntN(40)) * time.Millisecond
}

// look takes over the end of a transition, which has no answer. What can be seen
// is durable.
func (s *story) look(str *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if str.deleted || str.last == nil || str.last.Transition() == nil {
		return
	}
	if now, ok := s.st.Stream(str.key); ok && now.Status == state.Active {
		s.note(str, nil, now)
	}
}

// command changes one stream, unless a change of it is under way.
func (s *story) command() {
	s.mu.Lock()
	alive := 0
	for _, str := range s.streams {
		if !str.deleted {
			alive++
		}
	}
	str := s.streams[s.r.IntN(len(s.streams))]
	s.mu.Unlock()
	s.look(str)
	s.mu.Lock()
	busy, last := str.deleted || str.open != nil, str.last
	s.mu.Unlock()
	if alive < 2 {
		s.create(fmt.Sprint("stream", len(s.streams)), 1+s.r.IntN(3))
		return
	}
	if busy || last == nil || last.Status != state.Active {
		return
	}
	open := last.Open()
	i := s.r.IntN(len(open))
	var c state.Command
	switch n := s.r.IntN(12); {
	case n < 3:
		rng := last.Shards[open[i]].Range
		c = state.SplitShard{Key: str.key, Shard: open[i], NewStartingHash: hashkey.Key{Hi: rng.Start.Hi/2 + rng.End.Hi/2, Lo: s.r.Uint64()}, Delay: s.delay()}
	case n < 6 && i+1 < len(open):
		c = state.MergeShards{Key: str.key, Shard: open[i], Adjacent: open[i+1], Delay: s.delay()}
	case n < 8:
		c = state.UpdateShardCount{Key: str.key, Target: 1 + s.r.IntN(4), Delay: s.delay()}
	case n < 10:
		hours := 24 + s.r.IntN(48)
		c = state.ChangeRetention{Key: str.key, Hours: hours, Increase: time.Duration(hours)*time.Hour > last.Retention, Delay: s.delay()}
	case n < 11:
		c = state.Tag{Key: str.key, Tags: map[string]string{"t": fmt.Sprint(s.values)}}
	case s.r.IntN(3) == 0:
		c = state.DeleteStream{Key: str.key, Delay: s.delay()}
	default:
		return
	}
	s.send(str, c)
}

// send sends a command, and notes what came of it.
func (s *story) send(str *stream, c state.Command) {
	s.mu.Lock()
	str.open = c
	s.mu.Unlock()
	s.begin(func(st *store.Store) {
		after, err := st.Command(context.Background(), c)
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, refused := errors.AsType[*awserr.Error](err); refused {
			str.open = nil
			return
		}
		if err != nil {
			return // resolved by the next life
		}
		s.note(str, c, after)
	})
}

// note takes over a stream as an answer, or a look at it, has shown it. s.mu is
// held.
func (s *story) note(str *stream, c state.Command, now *state.Stream) {
	_, deleting := c.(state.DeleteStream)
	switch {
	case now == nil || deleting:
		str.deleted, str.open = true, nil
		return
	case now.Transition() != nil:
		// It has its effect later, by itself: see look.
		if str.open = c; c == nil {
			str.open = state.Complete{}
		}
	default:
		str.open = nil
	}
	str.passed(s.clock(), now.Retention)
	if str.last != nil {
		str.passed(s.clock(), str.last.Retention)
	}
	str.id, str.last = now.ID, now
}

// clock is the server's time on the clock of the histories.
func (s *story) clock() time.Duration { return time.Since(s.began) + s.offset }

// passed says that records older than retention may have left by now.
func (str *stream) passed(now, retention time.Duration) {
	// The start of a put has parts of a millisecond that its arrival lacks.
	str.horizon = max(str.horizon, now-retention+time.Millisecond)
}
