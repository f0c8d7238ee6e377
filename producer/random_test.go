package producer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/producer"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// TestRandomHistories runs random callers against a stream with random faults
// and reshards, and checks the history: nothing lost, each key in order,
// duplicates only of whole Kinesis records, each record reported once.
//
// A failing seed is run again with STREAMKIT_SEED.
func TestRandomHistories(t *testing.T) {
	seeds := 200
	first := rand.Uint64() >> 1
	if s := os.Getenv("STREAMKIT_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, seeds = seed, 1
	}
	var sum producer.Stats
	for i := range seeds {
		seed := first + uint64(i)
		synctest.Test(t, func(t *testing.T) {
			s := randomHistory(t, rand.New(rand.NewPCG(seed, 0)))
			sum.Retries += s.Retries
			sum.WrongShard += s.WrongShard
			sum.ReshardResent += s.ReshardResent
			sum.UserRecordsExpired += s.UserRecordsExpired
			sum.UserRecordsPut += s.UserRecordsPut
		})
		if t.Failed() {
			t.Fatalf("failed with STREAMKIT_SEED=%d", seed)
		}
	}
	t.Logf("%d records stored, %d expired, %d retries, %d wrong shards, %d records resent", sum.UserRecordsPut, sum.UserRecordsExpired, sum.Retries, sum.WrongShard, sum.ReshardResent)
	if seeds > 1 && (sum.Retries == 0 || sum.ReshardResent == 0 || sum.UserRecordsExpired == 0) {
		t.Error("the random faults missed a case")
	}
}

// ledger is what the callers know of the records that they put.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]bool
	results  map[string]producer.Result
	twice    []string
	order    map[string][]int // per key, the numbers of records stored, as reported
}

func newLedger() *ledger {
	return &ledger{accepted: map[string]bool{}, results: map[string]producer.Result{}, order: map[string][]int{}}
}

func (l *ledger) accept(data ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range data {
		l.accepted[d] = true
	}
}

func (l *ledger) report(data string, r producer.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.results[data]; ok {
		l.twice = append(l.twice, data)
	}
	l.results[data] = r
	if key, n := parsePayload(data); r.Err == nil && r.SequenceNumber != "" {
		l.order[key] = append(l.order[key], n)
	}
}

func payload(key string, n int) string { return key + "|" + strconv.Itoa(n) }

func parsePayload(data string) (key string, n int) {
	key, num, _ := strings.Cut(data, "|")
	num, _, _ = strings.Cut(num, "|")
	n, _ = strconv.Atoi(num)
	return key, n
}

func randomHistory(t *testing.T, r *rand.Rand) producer.Stats {
	t.Helper()
	f := newFake(1 + r.IntN(5))
	var rmu sync.Mutex
	draw := func(n int) int {
		rmu.Lock()
		defer rmu.Unlock()
		return r.IntN(n)
	}
	f.latency = func() time.Duration { return time.Duration(draw(40)) * time.Millisecond }
	f.pageSize = draw(4)
	faults := draw(3) // none, some, many
	reshards := draw(3) * 2
	if faults > 0 {
		f.onRequest = func(*kinesis.PutRecordsInput) error {
			switch {
			case draw(100) < 2*faults:
				return apiError("ThrottlingException")
			case draw(100) < faults:
				return errors.New("connection refused")
			}
			return nil
		}
		f.onEntry = func(*types.PutRecordsRequestEntry) string {
			switch {
			case draw(100) < 5*faults:
				return "ProvisionedThroughputExceededException"
			case draw(100) < 2*faults:
				return "InternalFailure"
			}
			return ""
		}
		f.afterStore = func() fate {
			if draw(100) < 4*faults {
				return timeout + fate(draw(3))
			}
			return answer
		}
		f.onList = func() error {
			if draw(100) < 10*faults {
				return apiError("LimitExceededException")
			}
			return nil
		}
	}
	cfg := producer.Config{
		DisableAggregation:    draw(5) == 0,
		AggregationMaxSize:    200 + draw(2000),
		CollectionMaxCount:    1 + draw(20),
		RecordMaxBufferedTime: time.Duration(1+draw(50)) * time.Millisecond,
		RecordTTL:             -1,
		MaxUserRecordSize:     4000,
		MaxConnections:        1 + draw(6),
		RequestTimeout:        time.Duration(100+draw(900)) * time.Millisecond,
		MaxBufferedBytes:      int64(8000 + draw(60_000)),
		ShardRefreshInterval:  time.Duration(1+draw(3)) * time.Second,
		Logger:                quiet(),
	}
	expiring := faults == 2 && draw(2) == 0
	if expiring {
		cfg.RecordTTL = time.Duration(300+draw(1000)) * time.Millisecond
	}
	p, err := producer.New(f, "stream", cfg)
	if err != nil {
		t.Fatal(err)
	}

	led := newLedger()
	var callers sync.WaitGroup
	for c := range 1 + draw(4) {
		callers.Go(func() { call(t, p, led, draw, c) })
	}
	var resharder sync.WaitGroup
	resharder.Go(func() {
		for range reshards {
			time.Sleep(time.Duration(draw(300)) * time.Millisecond)
			if draw(3) == 0 {
				old := f.listing()
				f.mu.Lock()
				for range draw(4) {
					f.listed = append(f.listed, old) // a list behind the times
				}
				if len(old) > 1 && draw(2) == 0 {
					f.listed = append(f.listed, old[1:]) // and one with a hole
				}
				f.mu.Unlock()
			}
			if draw(2) == 0 {
				f.split(draw(100))
			} else {
				f.merge(draw(100))
			}
		}
	})
	callers.Wait()
	resharder.Wait()
	if draw(2) == 0 {
		if err := p.Flush(t.Context()); err != nil {
			t.Errorf("Flush: %v", err)
		}
		led.mu.Lock()
		if len(led.results) != len(led.accepted) {
			t.Errorf("Flush returned with %d results for %d records", len(led.results), len(led.accepted))
		}
		led.mu.Unlock()
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	s := p.Stats()
	check(t, f, led, s, !expiring, reshards == 0 && !expiring)
	return s
}

// call is one caller: keys of its own, numbered records, all ways to put.
func call(t *testing.T, p *producer.Producer, led *ledger, draw func(int) int, id int) {
	t.Helper()
	next := map[string]int{}
	record := func() (producer.UserRecord, string) {
		key := fmt.Sprintf("caller-%d-key-%d", id, draw(6))
		u := producer.UserRecord{PartitionKey: key}
		if draw(10) == 0 {
			key = fmt.Sprintf("keyless-%d", id)
			u.PartitionKey = ""
		}
		next[key]++
		data := payload(key, next[key]) + "|" + strings.Repeat("x", draw(200))
		if draw(40) == 0 {
			data += strings.Repeat("y", 3000)
		}
		u.Data = []byte(data)
		return u, data
	}
	ctx := context.Background()
	for range 20 + draw(60) {
		if draw(4) == 0 {
			time.Sleep(time.Duration(draw(60)) * time.Millisecond)
		}
		switch draw(10) {
		case 0:
			u, data := record()
			for {
				err := p.TryPut(u, func(r producer.Result) { led.report(data, r) })
				if !errors.Is(err, producer.ErrBufferFull) {
					if err != nil {
						t.Errorf("TryPut: %v", err)
					}
					break
				}
				time.Sleep(time.Millisecond)
			}
			led.accept(data)
		case 1, 2:
			var batch []producer.UserRecord
			var all []string
			for range 1 + draw(5) {
				u, data := record()
				if len(data) > 3000 {
					continue // eight thousand bytes may be all there is
				}
				batch, all = append(batch, u), append(all, data)
			}
			led.accept(all...)
			err := p.PutBatch(ctx, batch, func(b producer.BatchResult) {
				failed := map[int]error{}
				for _, fr := range b.Failed {
					failed[fr.Index] = fr.Err
				}
				for i, data := range all {
					led.report(data, producer.Result{Err: failed[i]})
				}
			})
			if err != nil {
				t.Errorf("PutBatch: %v", err)
			}
		case 3:
			u, data := record()
			led.accept(data)
			res, err := p.PutSync(ctx, u)
			if err != nil && res.Err == nil {
				t.Errorf("PutSync: %v", err)
			}
			led.report(data, res)
		default:
			u, data := record()
			led.accept(data)
			if err := p.Put(ctx, u, func(r producer.Result) { led.report(data, r) }); err != nil {
				t.Errorf("Put: %v", err)
			}
		}
	}
}

// check compares what the callers were told with what the stream holds.
func check(t *testing.T, f *fakeStream, led *ledger, s producer.Stats, allStored, wholeDuplicates bool) {
	t.Helper()
	led.mu.Lock()
	defer led.mu.Unlock()
	if len(led.twice) > 0 {
		t.Errorf("%d records reported twice, the first %q", len(led.twice), led.twice[0])
	}
	all := f.readAll()
	type place struct {
		shard, seq string
		sub        int
	}
	at := map[place]string{}
	delivered := map[string]int{}
	blobOf := map[string][16]byte{}
	last := map[string]int{}
	for _, rd := range all {
		at[place{rd.shard, rd.seq, rd.sub}] = rd.data
		if rd.discarded {
			continue
		}
		if !led.accepted[rd.data] {
			t.Errorf("the stream holds %q, which nobody put", rd.data)
		}
		key, n := parsePayload(rd.data)
		keyless := strings.HasPrefix(key, "keyless")
		if !keyless && rd.pk != key || keyless && rd.ehk == "" {
			t.Errorf("record %q was stored with partition key %q, explicit hash key %q", rd.data, rd.pk, rd.ehk)
		}
		delivered[rd.data]++
		if delivered[rd.data] == 1 {
			blobOf[rd.data] = rd.blob
			if !keyless && n <= last[key] {
				t.Errorf("key %s: record %d comes first after %d", key, n, last[key])
			}
			last[key] = n
		} else if wholeDuplicates && blobOf[rd.data] != rd.blob {
			t.Errorf("record %q is in two different Kinesis records", rd.data)
		}
	}
	stored, failed := 0, 0
	for data := range led.accepted {
		res, ok := led.results[data]
		switch {
		case !ok:
			t.Errorf("record %q was never reported", data)
		case res.Err != nil:
			failed++
			if allStored {
				t.Errorf("record %q failed: %v", data, res.Err)
			}
		default:
			stored++
			if delivered[data] == 0 {
				t.Errorf("record %q was acknowledged, and no reader gets it", data)
			}
			if res.SequenceNumber == "" {
				break // of a batch
			}
			if got := at[place{res.ShardID, res.SequenceNumber, res.SubSequenceNumber}]; got != data {
				t.Errorf("record %q was reported at %s/%s/%d, where %q is", data, res.ShardID, res.SequenceNumber, res.SubSequenceNumber, got)
			}
			if res.Attempts < 1 {
				t.Errorf("record %q was stored after %d attempts", data, res.Attempts)
			}
		}
	}
	for key, ns := range led.order {
		for i := 1; i < len(ns); i++ {
			if !strings.HasPrefix(key, "keyless") && ns[i] <= ns[i-1] {
				t.Errorf("key %s: callback of %d after that of %d", key, ns[i], ns[i-1])
			}
		}
	}
	if s.UserRecordsReceived != uint64(len(led.accepted)) || s.UserRecordsPut != uint64(stored) || s.UserRecordsFailed != uint64(failed) {
		t.Errorf("Stats: %d received, %d put, %d failed; the callers count %d, %d, %d",
			s.UserRecordsReceived, s.UserRecordsPut, s.UserRecordsFailed, len(led.accepted), stored, failed)
	}
	if s.UserRecordsPending != 0 || s.BufferedBytes != 0 || s.RequestsInFlight != 0 {
		t.Errorf("Stats after Close: %d records, %d bytes, %d requests", s.UserRecordsPending, s.BufferedBytes, s.RequestsInFlight)
	}
	if s.SequenceRegressions != 0 {
		t.Errorf("%d sequence regressions", s.SequenceRegressions)
	}
}
