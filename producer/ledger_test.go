package producer_test

import (
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/streamkit/streamkit/producer"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

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
