package producer_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/blockrec"
	"github.com/streamkit/streamkit/producer"
)

// simHistory is what the callers were promised, what was sent, and what was
// answered. It is checked while it grows, where that is possible, and at its
// end.
type simHistory struct {
	// Set before the history begins.
	fails       bool          // records may fail
	refusals    bool          // a record that is throttled fails
	paused      bool          // records fail while the stream refuses everything
	onDisk      bool          // records may wait on disk
	stops       bool          // a failure stops the key
	keyed       bool          // and with one that fails the later ones of its key
	unkept      bool          // the order of keys is not promised
	poison      bool          // the service refuses some records, and those behind them may fail
	anyShard    bool          // records land on any shard
	inRangeOnly bool          // of an aggregated record that landed elsewhere, some count
	guarded     bool          // nothing that comes late stands behind what followed
	reshapes    bool          // Kinesis records may be built anew
	stamps      bool          // records are stamped
	ttl         time.Duration // of records
	oldShards   bool          // lists may be behind the times

	mu        sync.Mutex // guards all below
	begin     time.Time
	fates     map[string]*simFate
	keys      map[string]*simKey
	resharded bool
	problems  []string
	resumed   map[string]int // how often a key that was stopped was resumed
	refused   int            // failed because an earlier one did
	inversion int            // reports of a key with a lower number than the one before in the shard
}

// simFate is a user record.
type simFate struct {
	key        string
	n          int
	data       string
	batch      bool // of a PutBatch
	poison     bool
	resumed    int // how often its key had been, when it was put
	accepted   time.Duration
	buffered   time.Duration // when Put had returned; 0 if it is not known
	reportedAt time.Duration
	sends      []*simSend
	done       *simSend // the caller knows that it is stored, and a reader gets it
	reports    int
	result     producer.Result
}

// simKey is the records of one key, in the order in which they were put.
type simKey struct {
	fates    []*simFate
	settled  int    // so many of the first are stored or failed
	reported int    // the number that was reported last
	shard    string // where the last one was stored
	seq      string
}

func newSimHistory() *simHistory {
	return &simHistory{begin: time.Now(), fates: map[string]*simFate{}, keys: map[string]*simKey{}, resumed: map[string]int{}}
}

func (h *simHistory) complain(format string, args ...any) {
	if len(h.problems) < 10 {
		h.problems = append(h.problems, fmt.Sprintf("%v: ", time.Since(h.begin))+fmt.Sprintf(format, args...))
	}
}

// accept notes a record that is about to be put. The records of a key come in
// order, from one caller.
func (h *simHistory) accept(data string, batch bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key, n := parsePayload(data)
	f := &simFate{key: key, n: n, data: data, batch: batch, poison: strings.Contains(data, "|poison"), resumed: h.resumed[key], accepted: time.Since(h.begin)}
	h.fates[data] = f
	k := h.keys[key]
	if k == nil {
		k = &simKey{}
		h.keys[key] = k
	}
	k.fates = append(k.fates, f)
	if len(k.fates) != n {
		panic("the records of a key are not numbered 1, 2, 3")
	}
}

// isBuffered notes that Put has returned for records.
func (h *simHistory) isBuffered(all ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, data := range all {
		h.fates[data].buffered = time.Since(h.begin)
	}
}

// report notes what a callback says.
func (h *simHistory) report(data string, r producer.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.fates[data]
	if f == nil {
		h.complain("record %.40q was reported, and nobody put it", data)
		return
	}
	if f.reports++; f.reports > 1 {
		h.complain("record %.40q was reported twice", data)
		return
	}
	f.result, f.reportedAt = r, time.Since(h.begin)
	if f.batch {
		return
	}
	k := h.keys[f.key]
	if ordered(f.key) && f.n <= k.reported && !h.unkept {
		h.complain("key %s: record %d was reported after %d", f.key, f.n, k.reported)
	}
	k.reported = f.n
	if r.Err == nil && ordered(f.key) {
		if r.ShardID == k.shard && r.SequenceNumber < k.seq {
			h.inversion++
		}
		k.shard, k.seq = r.ShardID, r.SequenceNumber
	}
}

// sent checks a Kinesis record that is being sent.
func (h *simHistory) sent(send *simSend, unkept bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, data := range send.records {
		f := h.fates[data]
		if f == nil {
			h.complain("record %.40q was sent, and nobody put it", data)
			continue
		}
		if f.reports > 0 {
			h.complain("record %.40q was sent after it had been reported", data)
		}
		if f.done != nil && !h.forgivable(f.done) {
			h.complain("record %.40q was sent again, although it was stored", data)
		}
		// What was certainly refused may be cut in parts.
		unsure := slices.ContainsFunc(f.sends, func(s *simSend) bool { return s.told != toldRefused })
		if n := len(f.sends); n > 0 && f.sends[n-1].sum != send.sum && unsure && !h.reshapes && !h.resharded {
			h.complain("record %.40q was sent again in other bytes", data)
		}
		f.sends = append(f.sends, send)
		if !unkept && ordered(f.key) {
			h.inTurn(f, send.records[:i])
		}
	}
}

// forgivable says whether a record may be sent again although the answer told
// that it is stored where readers get it: the lists of shards that the producer
// has had may not have shown what belongs to the shard.
func (h *simHistory) forgivable(done *simSend) bool {
	return !done.alone && (done.stored.shard.closed || h.oldShards && h.resharded || h.anyShard)
}

// inTurn checks that all records of the key before f are settled, or in the
// same Kinesis record before it.
func (h *simHistory) inTurn(f *simFate, before []string) {
	k := h.keys[f.key]
	settled := func(f *simFate) bool {
		expired := h.ttl > 0 && time.Since(h.begin) >= f.accepted+h.ttl // and is reported before f
		// One of a batch is reported with the last of it.
		refused := f.batch && h.refusals && slices.ContainsFunc(f.sends, func(s *simSend) bool { return s.told == toldRefused })
		part := f.batch && h.inRangeOnly && slices.ContainsFunc(f.sends, func(s *simSend) bool { return s.told == toldStored })
		return f.reports > 0 || f.done != nil || expired || refused || part || f.batch && h.paused || f.batch && (h.keyed || h.stops) && h.follows(k, f)
	}
	for k.settled < len(k.fates) && settled(k.fates[k.settled]) {
		k.settled++
	}
	for _, earlier := range k.fates[min(k.settled, f.n-1) : f.n-1] {
		if !settled(earlier) && !slices.Contains(before, earlier.data) {
			h.complain("key %s: record %d was sent before %d was settled", f.key, f.n, earlier.n)
			return
		}
	}
}

// follows says whether a record of the key before f has failed, or may have
// without telling yet.
func (h *simHistory) follows(k *simKey, f *simFate) bool {
	return slices.ContainsFunc(k.fates[:f.n-1], func(e *simFate) bool {
		expired := h.ttl > 0 && time.Since(h.begin) >= e.accepted+h.ttl
		refused := h.refusals && slices.ContainsFunc(e.sends, func(s *simSend) bool { return s.told == toldRefused })
		return e.reports > 0 && e.result.Err != nil || expired || refused || e.poison
	})
}

// answered notes what the caller has been told of a send.
func (h *simHistory) answered(send *simSend) {
	if send.told != toldStored || !send.inRange {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, data := range send.records {
		if f := h.fates[data]; f != nil {
			f.done = send
		}
	}
}

// simDelivery is a user record that a reader gets.
type simDelivery struct {
	data  string
	pk    string
	seq   string
	shard string
	sub   int
}

// A simReader takes a Kinesis record of a shard apart.
type simReader struct {
	name string
	read func(sh *simShard, e *simEntry) []simDelivery
}

// simReaders are the consumers that must lose nothing: the KCL, which discards
// an aggregated record of which one user record belongs elsewhere; one that
// leaves out just that user record; and one that takes all.
var simReaders = []simReader{
	{"KCL", func(sh *simShard, e *simEntry) (ds []simDelivery) {
		for _, r := range kclUnpack(sh.keys, e.pk, e.ehk, e.data) {
			if blockrec.IsBlock([]byte(r.data)) {
				ds = append(ds, openBlock(sh, e, r.data)...)
				continue
			}
			ds = append(ds, simDelivery{data: r.data, pk: r.pk, seq: e.seq(), shard: sh.id, sub: r.sub})
		}
		return ds
	}},
	{"record by record", func(sh *simShard, e *simEntry) (ds []simDelivery) {
		for _, u := range unpack(e.data, e.pk, e.ehk) {
			if e.send.alone || sh.keys.Contains(u.hash) {
				ds = append(ds, simDelivery{data: u.data, pk: u.pk, seq: e.seq(), shard: sh.id, sub: u.sub})
			}
		}
		return ds
	}},
	{"lenient", func(sh *simShard, e *simEntry) (ds []simDelivery) {
		for _, u := range unpack(e.data, e.pk, e.ehk) {
			ds = append(ds, simDelivery{data: u.data, pk: u.pk, seq: e.seq(), shard: sh.id, sub: u.sub})
		}
		return ds
	}},
}

// readAll reads all shards, parents before children.
func (s *simService) readAll(r simReader) (ds []simDelivery) {
	for _, sh := range s.shards {
		for _, e := range sh.entries {
			ds = append(ds, r.read(sh, e)...)
		}
	}
	return ds
}

// check compares, at the end, what the callers were told with what readers get.
func (s *simService) check(st *producer.Stats) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range simReaders {
		// Two settings are for consumers that leave out less than others do.
		if h.inRangeOnly && r.name == "KCL" || h.anyShard && s.aggregatesOnAuto && r.name != "lenient" {
			continue
		}
		s.checkReader(h, r, st)
	}
	if h.keyed && !h.onDisk { // on disk a record does not know of an earlier one
		h.checkGapless()
	}
	if h.stops {
		h.checkStops()
	}
	if h.guarded {
		s.checkLate(h)
	}
	s.checkStamped(h)
	var stored, failed, expired uint64
	for _, f := range h.fates {
		switch {
		case f.reports == 0:
			h.complain("record %.40q was never reported", f.data)
		case f.result.Err == nil:
			stored++
			h.checkStored(f)
		default:
			failed++
			if errors.Is(f.result.Err, producer.ErrExpired) {
				expired++
			}
			h.checkFailed(f)
		}
	}
	if st == nil {
		return h.problems
	}
	if st.UserRecordsReceived != uint64(len(h.fates)) || st.UserRecordsPut != stored || st.UserRecordsFailed != failed || st.UserRecordsExpired != expired {
		h.complain("Stats: %d received, %d put, %d failed, %d expired; the callers count %d, %d, %d, %d", st.UserRecordsReceived, st.UserRecordsPut,
			st.UserRecordsFailed, st.UserRecordsExpired, len(h.fates), stored, failed, expired)
	}
	if st.UserRecordsPending != 0 || st.BufferedBytes != 0 || st.RequestsInFlight != 0 {
		h.complain("Stats after the end: %d records, %d bytes, %d requests", st.UserRecordsPending, st.BufferedBytes, st.RequestsInFlight)
	}
	if st.Requests != uint64(s.calls) {
		h.complain("Stats: %d requests, the service counts %d", st.Requests, s.calls)
	}
	if s.faults.misnumber == 0 && st.SequenceRegressions > 0 && !s.unkept {
		h.complain("Stats: %d sequence regressions, and the service numbers in order", st.SequenceRegressions)
	}
	if h.inversion > 0 && st.SequenceRegressions == 0 && !s.unkept {
		h.complain("Stats: no sequence regression, but %d are in the results", h.inversion)
	}
	if !h.inRangeOnly && !s.aggregatesOnAuto {
		s.checkKinesisRecords(h, st)
	}
	return h.problems
}

// checkReader: a reader loses nothing that was reported stored, and gets each
// key's records in order, if it passes over what it has had before.
func (s *simService) checkReader(h *simHistory, r simReader, st *producer.Stats) {
	first := map[string]bool{}
	last := map[string]int{}
	place := map[string][]string{} // several, if they are in a block
	for _, d := range s.readAll(r) {
		f := h.fates[d.data]
		if f == nil {
			h.complain("%s: the stream holds %.40q, which nobody put", r.name, d.data)
			continue
		}
		if ordered(f.key) && d.pk != f.key {
			h.complain("%s: record %.40q has partition key %q", r.name, d.data, d.pk)
		}
		at := fmt.Sprint(d.seq, "/", d.sub)
		place[at] = append(place[at], d.data)
		if first[d.data] {
			continue
		}
		first[d.data] = true
		if f.result.Err != nil || !ordered(f.key) || s.unkept {
			continue // it failed, and an attempt was stored all the same: at any time
		}
		// Where the service numbers out of order, that shows in Stats, but for
		// what was stored with the answer lost.
		explained := s.faults.misnumber > 0 && (st == nil || st.SequenceRegressions > 0 || s.lost)
		if f.n <= last[f.key] && !explained {
			h.complain("%s: key %s: record %d comes first after %d", r.name, f.key, f.n, last[f.key])
		}
		last[f.key] = max(last[f.key], f.n)
	}
	for _, f := range h.fates {
		if f.reports == 0 || f.result.Err != nil {
			continue
		}
		if !first[f.data] {
			h.complain("%s: record %.40q was reported stored, and is lost", r.name, f.data)
		}
		if f.batch {
			continue
		}
		if got := place[fmt.Sprint(f.result.SequenceNumber, "/", f.result.SubSequenceNumber)]; !slices.Contains(got, f.data) {
			h.complain("%s: record %.40q was reported at %s/%d, where %.40q are", r.name, f.data, f.result.SequenceNumber, f.result.SubSequenceNumber, got)
		}
	}
}

func (h *simHistory) checkStored(f *simFate) {
	if f.poison {
		h.complain("record %.40q is refused by the service, and was reported stored", f.data)
	}
	if len(f.sends) == 0 {
		h.complain("record %.40q was reported stored, and never sent", f.data)
		return
	}
	copies, sure := 0, 0
	for _, s := range f.sends {
		if s.stored == nil {
			continue
		}
		copies++
		if s.told == toldStored && s.inRange && !h.forgivable(s) {
			sure++
		}
	}
	if sure > 1 {
		h.complain("record %.40q was stored %d times for certain", f.data, sure)
	}
	if !f.batch && f.result.Attempts != len(f.sends) {
		h.complain("record %.40q was reported after %d attempts, and was sent %d times", f.data, f.result.Attempts, len(f.sends))
	}
	if copies > 1 {
		for _, s := range f.sends[:len(f.sends)-1] {
			if s.stored != nil && s.told == toldStored && s.inRange && !h.forgivable(s) {
				h.complain("record %.40q is there twice, without a reason", f.data)
			}
		}
	}
}

func (h *simHistory) checkFailed(f *simFate) {
	if _, ok := errors.AsType[*producer.PutError](f.result.Err); !ok {
		h.complain("record %.40q failed with %v, which is no PutError", f.data, f.result.Err)
	}
	if !h.fails && !f.poison && !(h.poison && errors.Is(f.result.Err, producer.ErrEarlierFailed)) {
		h.complain("record %.40q failed: %v", f.data, f.result.Err)
	}
	// One that was stored on an unknown shard is given up as undecided.
	if f.done != nil && (f.done.alone || !h.resharded) {
		h.complain("record %.40q was stored for certain, and reported failed: %v", f.data, f.result.Err)
	}
}

// checkKinesisRecords: what Stats counts as Kinesis records is what is there
// and was acknowledged.
func (s *simService) checkKinesisRecords(h *simHistory, st *producer.Stats) {
	acked := map[*simEntry]bool{}
	bytes := 0
	for _, f := range h.fates {
		if f.reports == 0 || f.result.Err != nil || f.done == nil || f.done.stored == nil {
			continue
		}
		if e := f.done.stored; !acked[e] {
			acked[e] = true
			bytes += len(e.data)
		}
	}
	if st.KinesisRecordsPut != uint64(len(acked)) || st.KinesisRecordsDataPut != uint64(bytes) {
		h.complain("Stats: %d Kinesis records of %d bytes, the service counts %d of %d", st.KinesisRecordsPut, st.KinesisRecordsDataPut, len(acked), bytes)
	}
}
