package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/producer"
)

// header puts the 18 bytes of a schema registry before the data.
func header(dst []byte, r producer.UserRecord) ([]byte, error) {
	if string(r.Data) == "invalid" {
		return nil, errSchema
	}
	dst = append(dst, 3, 0)
	dst = append(dst, "0123456789abcdef"...)
	return append(dst, r.Data...), nil
}

var errSchema = errors.New("schema does not fit")

func TestEncoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, producer.Config{Encoder: header, MaxUserRecordSize: 100})
		never := func(r producer.Result) { t.Errorf("callback of a refused record: %+v", r) }
		put(t, p, record("k", "Put"), nil)
		if err := p.TryPut(record("k", "TryPut"), nil); err != nil {
			t.Error(err)
		}
		rs := []producer.UserRecord{record("k", "batch1"), record("k", ""), record("k", "batch3")}
		if err := p.PutBatch(t.Context(), rs, nil); err != nil {
			t.Error(err)
		}
		if string(rs[0].Data) != "batch1" {
			t.Errorf("the caller's record has become %q", rs[0].Data)
		}
		if _, err := p.PutSync(t.Context(), record("k", "PutSync")); err != nil {
			t.Error(err)
		}
		for name, err := range map[string]error{
			"Put":      p.Put(t.Context(), record("k", "invalid"), never),
			"TryPut":   p.TryPut(record("k", "invalid"), never),
			"PutBatch": p.PutBatch(t.Context(), []producer.UserRecord{record("k", "d"), record("k", "invalid")}, func(producer.BatchResult) { t.Error("callback of a refused batch") }),
		} {
			if !errors.Is(err, errSchema) {
				t.Errorf("%s = %v, want the encoder's error", name, err)
			}
		}
		// 99 bytes with the key, 18 more encoded.
		if err := p.Put(t.Context(), record("k", strings.Repeat("x", 98)), never); !errors.Is(err, producer.ErrTooLarge) {
			t.Errorf("Put = %v, want ErrTooLarge for what is stored", err)
		}
		closeNow(t, p)
		var got []string
		for _, r := range f.readAll() {
			data, ok := strings.CutPrefix(r.data, "\x03\x000123456789abcdef")
			if !ok {
				t.Errorf("stored %q without a header", r.data)
			}
			got = append(got, data)
		}
		if s := strings.Join(got, ","); s != "Put,TryPut,batch1,,batch3,PutSync" {
			t.Errorf("stored %s", s)
		}
		if s := p.Stats(); s.UserRecordsReceived != 6 || s.BufferedBytes != 0 {
			t.Errorf("Stats: %+v", s)
		}
	})
}

func TestEncoderThatShortens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, newFake(1), producer.Config{Encoder: func([]byte, producer.UserRecord) ([]byte, error) { return nil, nil }})
		err := p.PutBatch(t.Context(), []producer.UserRecord{record("k", "a"), record("k", "b")}, nil)
		if err != nil {
			t.Errorf("an encoder that makes nothing: %v", err)
		}
		closeNow(t, p)
		calls := 0
		p = start(t, newFake(1), producer.Config{Encoder: func(dst []byte, r producer.UserRecord) ([]byte, error) {
			if calls++; calls == 2 {
				return nil, nil
			}
			return append(dst, r.Data...), nil
		}})
		err = p.PutBatch(t.Context(), []producer.UserRecord{record("k", "a"), record("k", "b")}, nil)
		if err == nil || !strings.Contains(err.Error(), "record 1 of the batch") {
			t.Errorf("an encoder that takes bytes away: %v", err)
		}
		closeNow(t, p)
	})
}

// TestExtrasAllocate holds a producer with an encoder, a shared budget, and hooks
// that follow no single record to what one without them may allocate.
func TestExtrasAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	p, err := producer.New(newStub(4), "stream", producer.Config{
		Logger: quiet(), Encoder: header, Budget: producer.NewBudget(32 << 20), Hooks: []producer.Hook{&counting{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, p)
	ks := keys(1000)
	data := make([]byte, 100)
	batch := make([]producer.UserRecord, 100)
	run := func() {
		for i := range 1000 {
			if err := p.Put(t.Context(), producer.UserRecord{PartitionKey: ks[i], Data: data}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 1000 {
			if batch[i%100] = (producer.UserRecord{PartitionKey: ks[i], Data: data}); i%100 == 99 {
				if err := p.PutBatch(t.Context(), batch, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run()
	n := testing.AllocsPerRun(30, run) / 2000
	t.Logf("%.4f allocations a record", n)
	if n > 0.05 {
		t.Errorf("%.4f allocations a record", n)
	}
}

// counting is a hook that does not look at single user records.
type counting struct{ records atomic.Int64 }

func (c *counting) OnDone(d producer.DoneInfo) { c.records.Add(int64(d.UserRecords)) }

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		p := start(t, f, producer.Config{})
		if err := p.Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v", err)
		}
		f.mu.Lock()
		f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("AccessDeniedException") }
		f.mu.Unlock()
		if err := p.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "AccessDeniedException") || !strings.Contains(err.Error(), `"stream"`) {
			t.Errorf("Ping = %v, want the refusal", err)
		}
		if s := p.Stats(); s.Paused || s.Requests != 0 || len(f.readAll()) != 0 {
			t.Errorf("Ping left traces: %+v", s)
		}
		f.mu.Lock()
		f.onRequest, f.noDryRun = nil, true
		f.mu.Unlock()
		for range 3 {
			if err := p.Ping(t.Context()); !errors.Is(err, producer.ErrNoDryRun) {
				t.Errorf("Ping = %v, want ErrNoDryRun", err)
			}
		}
		if all := f.readAll(); len(all) != 1 || all[0].data != "" {
			t.Errorf("a server without DryRun has %+v", all)
		}
		closeNow(t, p)
		if err := p.Ping(t.Context()); !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Ping = %v, want ErrClosed", err)
		}
	})
}

func TestPutAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(4)
		p := start(t, f, producer.Config{MaxUserRecordSize: 1000, RecordMaxBufferedTime: time.Minute, RecordTTL: 2 * time.Minute})
		var rs []producer.UserRecord
		for i := range 50 {
			r := record(fmt.Sprint(i), fmt.Sprint("data", i))
			r.Tag = i
			rs = append(rs, r)
		}
		if _, err := p.PutSync(t.Context(), record("k", "d")); err != nil { // the shards are known
			t.Fatal(err)
		}
		begin := time.Now()
		res, err := p.PutAll(t.Context(), rs)
		if err != nil || len(res) != 50 {
			t.Fatalf("PutAll = %d results, %v", len(res), err)
		}
		for i, r := range res {
			if r.Tag != i || r.SequenceNumber == "" || r.Err != nil {
				t.Errorf("result %d: %+v", i, r)
			}
		}
		if took := time.Since(begin); took > 10*time.Millisecond {
			t.Errorf("PutAll took %v", took)
		}
		f.mu.Lock()
		n := f.requests
		f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("InternalFailure") }
		f.mu.Unlock()
		if n > 6 {
			t.Errorf("%d requests", n)
		}
		rs[1].Data = make([]byte, 2000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		res, err = p.PutAll(ctx, rs[:3])
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(res[0].Err, context.DeadlineExceeded) || !errors.Is(res[1].Err, producer.ErrTooLarge) || res[2].Tag != 2 {
			t.Errorf("PutAll = %+v, %v", res, err)
		}
		if res, err := p.PutAll(t.Context(), nil); err != nil || len(res) != 0 {
			t.Errorf("PutAll of nothing = %v, %v", res, err)
		}
		f.mu.Lock()
		f.onRequest = nil
		f.mu.Unlock()
		closeNow(t, p)
	})
}

func TestFirstErr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, producer.Config{FailIfThrottled: true})
		var first producer.FirstErr
		put(t, p, record("k", "d"), first.Done)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if first.Err() != nil || first.Failed() != 0 {
			t.Errorf("Err = %v of %d", first.Err(), first.Failed())
		}
		f.mu.Lock()
		f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("ProvisionedThroughputExceededException") }
		f.mu.Unlock()
		put(t, p, record("k", "d"), first.Done)
		put(t, p, record("k", "d"), first.Done)
		closeNow(t, p)
		if !errors.Is(first.Err(), producer.ErrThrottled) || first.Failed() != 2 {
			t.Errorf("Err = %v of %d", first.Err(), first.Failed())
		}
	})
}
