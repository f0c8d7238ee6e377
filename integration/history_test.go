package integration_test

import (
	"cmp"
	"crypto/md5"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// A history is what clients saw of a stream: every put with its answer, every
// read with its records, and at the end the whole of every shard. check holds
// it against what a stream promises. It uses none of our code, so that it
// cannot share a mistake with what it checks.
type history struct {
	began time.Time

	mu    sync.Mutex // guards puts and reads
	puts  []put
	reads []read

	shards []types.Shard
	final  map[string][]types.Record // by shard
}

// A put is one record given to the stream.
type put struct {
	value, key string
	start, end time.Duration // since the history began, by the monotonic clock
	acked      bool          // else nobody knows
	shard, seq string        // of the answer
}

// A read is one answer of GetRecords.
type read struct {
	shard   string
	after   string // number of the last record read before; empty at the shard's start
	records []types.Record
}

func newHistory() *history { return &history{began: time.Now()} }

func (h *history) now() time.Duration { return time.Since(h.began) }

func (h *history) addPuts(p ...put) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.puts = append(h.puts, p...)
}

func (h *history) addRead(r read) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, r)
}

// acked is the number of records acknowledged so far.
func (h *history) acked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, p := range h.puts {
		if p.acked {
			n++
		}
	}
	return n
}

// A place is where a value was found in the final log.
type place struct {
	shard string
	index int
	seq   string
}

// check returns one line for each broken promise.
func (h *history) check() []string {
	var bad []string
	report := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }

	found := map[string][]place{}
	for shard, records := range h.final {
		for i, r := range records {
			found[string(r.Data)] = append(found[string(r.Data)], place{shard, i, aws.ToString(r.SequenceNumber)})
		}
	}
	byValue := map[string]put{}
	for _, p := range h.puts {
		byValue[p.value] = p
	}

	// An acknowledged record is there once, at the place it was told; one
	// without an answer at most once; nothing else is there.
	for _, p := range h.puts {
		at := found[p.value]
		switch {
		case p.acked && len(at) == 0:
			report("lost: %s was acknowledged in %s at %s", p.value, p.shard, p.seq)
		case len(at) > 1:
			report("doubled: %s is at %v", p.value, at)
		case p.acked && (at[0].shard != p.shard || at[0].seq != p.seq):
			report("moved: %s was acknowledged in %s at %s and is in %s at %s", p.value, p.shard, p.seq, at[0].shard, at[0].seq)
		}
	}
	for value, at := range found {
		if _, ok := byValue[value]; !ok {
			report("invented: %q at %v", value, at)
		}
	}

	for shard, records := range h.final {
		h.checkShard(shard, records, byValue, report)
	}
	h.checkFamilies(report)
	h.checkReads(report)
	return bad
}

// checkShard looks at one shard's log by itself.
func (h *history) checkShard(shard string, records []types.Record, puts map[string]put, report func(string, ...any)) {
	for i := 1; i < len(records); i++ {
		a, b := records[i-1], records[i]
		if compareSeq(*a.SequenceNumber, *b.SequenceNumber) >= 0 {
			report("numbers fall in %s: %s, then %s", shard, *a.SequenceNumber, *b.SequenceNumber)
		}
		if b.ApproximateArrivalTimestamp.Before(*a.ApproximateArrivalTimestamp) {
			report("arrival falls in %s: %v, then %v", shard, a.ApproximateArrivalTimestamp, b.ApproximateArrivalTimestamp)
		}
	}
	for _, r := range records {
		if sh, ok := h.shard(shard); ok && !covers(sh, aws.ToString(r.PartitionKey)) {
			report("wrong shard: key %q in %s", *r.PartitionKey, shard)
		}
	}
	// If A was answered before B was asked, A stands before B. From the end of
	// the log to its start: the earliest answer seen so far must not be earlier
	// than the question of what stands before it.
	first, firstValue := time.Duration(1<<62), ""
	for _, r := range slices.Backward(records) {
		p, ok := puts[string(r.Data)]
		if !ok {
			continue // reported as invented
		}
		if first < p.start {
			report("order: %s was acknowledged before %s was put, and stands behind it in %s", firstValue, p.value, shard)
		}
		if p.acked && p.end < first {
			first, firstValue = p.end, p.value
		}
	}
}

// checkFamilies looks at splits and merges: a closed shard holds nothing above
// its end, a child nothing that is not above all of its parents.
func (h *history) checkFamilies(report func(string, ...any)) {
	for _, sh := range h.shards {
		id := aws.ToString(sh.ShardId)
		records := h.final[id]
		if end := sh.SequenceNumberRange.EndingSequenceNumber; end != nil && len(records) > 0 {
			if last := *records[len(records)-1].SequenceNumber; compareSeq(last, *end) > 0 {
				report("after the end: %s ended at %s and holds %s", id, *end, last)
			}
		}
		for _, parent := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
			above := h.final[aws.ToString(parent)]
			if len(above) == 0 || len(records) == 0 {
				continue
			}
			last, first := *above[len(above)-1].SequenceNumber, *records[0].SequenceNumber
			if compareSeq(first, last) <= 0 {
				report("below the parent: %s begins with %s, its parent %s ends with %s", id, first, *parent, last)
			}
		}
	}
}

// checkReads holds every answer against the final log: a contiguous piece of
// it, right behind the record read before. So what one read has shown, no later
// one can miss.
func (h *history) checkReads(report func(string, ...any)) {
	index := map[string]map[string]int{} // shard, number, position in the log
	for shard, records := range h.final {
		index[shard] = map[string]int{}
		for i, r := range records {
			index[shard][*r.SequenceNumber] = i
		}
	}
	for _, r := range h.reads {
		next := 0
		if r.after != "" {
			i, ok := index[r.shard][r.after]
			if !ok {
				report("read and gone: %s of %s", r.after, r.shard)
				continue
			}
			next = i + 1
		}
		for _, got := range r.records {
			if next >= len(h.final[r.shard]) {
				report("read and gone: %s of %s", *got.SequenceNumber, r.shard)
				break
			}
			want := h.final[r.shard][next]
			if *got.SequenceNumber != *want.SequenceNumber || string(got.Data) != string(want.Data) {
				report("read with a gap: %s after %s of %s, where the log has %s", *got.SequenceNumber, r.after, r.shard, *want.SequenceNumber)
				break
			}
			next++
		}
	}
}

func (h *history) shard(id string) (types.Shard, bool) {
	i := slices.IndexFunc(h.shards, func(sh types.Shard) bool { return *sh.ShardId == id })
	if i < 0 {
		return types.Shard{}, false
	}
	return h.shards[i], true
}

// covers reports whether the hash of key lies in the shard's range.
func covers(sh types.Shard, key string) bool {
	sum := md5.Sum([]byte(key))
	hash := new(big.Int).SetBytes(sum[:])
	return hash.Cmp(decimal(sh.HashKeyRange.StartingHashKey)) >= 0 && hash.Cmp(decimal(sh.HashKeyRange.EndingHashKey)) <= 0
}

func decimal(s *string) *big.Int {
	n, ok := new(big.Int).SetString(aws.ToString(s), 10)
	if !ok {
		return big.NewInt(-1)
	}
	return n
}

// compareSeq compares decimal numbers without leading zeros.
func compareSeq(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func sortByHash(shards []types.Shard) {
	slices.SortFunc(shards, func(a, b types.Shard) int {
		return decimal(a.HashKeyRange.StartingHashKey).Cmp(decimal(b.HashKeyRange.StartingHashKey))
	})
}
