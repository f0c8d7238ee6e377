package producer_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/producer"
)

func TestBudgetConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  producer.Config
		want string // part of the error; empty means valid
	}{
		{name: "takes the place of the default", cfg: producer.Config{Budget: producer.NewBudget(64 << 20)}},
		{name: "a part for this producer", cfg: producer.Config{Budget: producer.NewBudget(64 << 20), MaxBufferedBytes: 4 << 20}},
		{name: "small, like the records", cfg: producer.Config{Budget: producer.NewBudget(2000), MaxUserRecordSize: 1000}},
		{name: "too small for two records", cfg: producer.Config{Budget: producer.NewBudget(1 << 20)}, want: "less than twice MaxUserRecordSize"},
		{name: "nothing", cfg: producer.Config{Budget: producer.NewBudget(0)}, want: "greater than the Budget's 0"},
		{name: "a part that is more than all", cfg: producer.Config{Budget: producer.NewBudget(4 << 20), MaxBufferedBytes: 5 << 20}, want: "greater than the Budget's 4194304"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.cfg.Logger = quiet()
				p, err := producer.New(newFake(1), "s", tt.cfg)
				if err == nil {
					defer closeNow(t, p)
				}
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("New = %v, want %q", err, tt.want)
				}
			})
		})
	}
}

// TestBudgetIsShared runs four producers on a budget that is too small for
// them, and looks at it all the time.
func TestBudgetIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 20_000
		b := producer.NewBudget(size)
		var ps []*producer.Producer
		var fakes []*fakeStream
		for range 4 {
			f := newFake(2)
			fakes = append(fakes, f)
			ps = append(ps, start(t, f, producer.Config{Budget: b, MaxUserRecordSize: 2000}))
		}
		var most int64
		watched := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(watched)
			for {
				most = max(most, b.Used())
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
				}
			}
		}()
		var wg sync.WaitGroup
		for _, p := range ps {
			for range 2 {
				wg.Go(func() {
					for range 200 {
						if err := p.Put(t.Context(), record("k", strings.Repeat("x", 900)), nil); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		for i, p := range ps {
			closeNow(t, p)
			if n := len(fakes[i].readAll()); n != 400 {
				t.Errorf("producer %d stored %d records, want 400", i, n)
			}
		}
		close(stop)
		<-watched
		if most > size || most < size/2 {
			t.Errorf("at most %d of %d bytes were taken", most, size)
		}
		if b.Used() != 0 {
			t.Errorf("%d bytes are taken in the end", b.Used())
		}
	})
}

// TestBudgetServesInOrder has records of two producers wait for bytes that a
// third user holds. Each takes more than half of all, so one is served at a time.
func TestBudgetServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := producer.NewBudget(4000)
		cfg := producer.Config{Budget: b, MaxUserRecordSize: 2000}
		ps := []*producer.Producer{start(t, newFake(1), cfg), start(t, newFake(1), cfg)}
		if err := b.Acquire(t.Context(), 4000); err != nil {
			t.Fatal(err)
		}
		if b.TryAcquire(1) {
			t.Error("TryAcquire took of a budget that is used up")
		}
		if err := ps[0].TryPut(record("k", "x"), nil); !errors.Is(err, producer.ErrBufferFull) {
			t.Errorf("TryPut = %v, want ErrBufferFull", err)
		}
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if err := ps[i%2].Put(t.Context(), record("k", strings.Repeat("x", 1950)), nil); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait()
		}
		// Small, and would fit before those who wait: nobody overtakes.
		b.Release(500)
		if err := ps[1].TryPut(record("k", "x"), nil); !errors.Is(err, producer.ErrBufferFull) {
			t.Errorf("TryPut past those who wait = %v, want ErrBufferFull", err)
		}
		b.Release(1550)
		synctest.Wait()
		mu.Lock()
		if len(order) != 1 || order[0] != 0 {
			t.Errorf("served %v, want the first alone", order)
		}
		mu.Unlock()
		b.Release(1950)
		wg.Wait()
		for i := range order {
			if order[i] != i {
				t.Fatalf("served in the order %v", order)
			}
		}
		for _, p := range ps {
			closeNow(t, p)
		}
		if b.Used() != 0 {
			t.Errorf("%d bytes are taken in the end", b.Used())
		}
	})
}

// TestBudgetLeavesRoomBesideStuckProducer gives a stream that never answers a
// part of the budget; the other producer has the rest.
func TestBudgetLeavesRoomBesideStuckProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := producer.NewBudget(10_000)
		stuck := newFake(1)
		stuck.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("InternalFailure") }
		hung := start(t, stuck, producer.Config{Budget: b, MaxBufferedBytes: 4000, MaxUserRecordSize: 2000, RecordTTL: -1})
		good := start(t, newFake(1), producer.Config{Budget: b, MaxUserRecordSize: 2000})
		for hung.TryPut(record("k", strings.Repeat("x", 500)), nil) == nil {
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := hung.Put(ctx, record("k", strings.Repeat("x", 500)), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put beyond the part = %v, want the deadline's error", err)
		}
		for range 100 {
			if err := good.Put(t.Context(), record("k", strings.Repeat("x", 500)), nil); err != nil {
				t.Fatal(err)
			}
		}
		closeNow(t, good)
		if err := hung.Abort(t.Context()); err == nil {
			t.Error("Abort gave records up and returned nil")
		}
		if b.Used() != 0 {
			t.Errorf("%d bytes are taken in the end", b.Used())
		}
	})
}

// TestBudgetWaitEndsWithClose closes a producer whose Put waits for bytes that
// others hold.
func TestBudgetWaitEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := producer.NewBudget(4000)
		p := start(t, newFake(1), producer.Config{Budget: b, MaxUserRecordSize: 2000})
		if !b.TryAcquire(4000) {
			t.Fatal("a new budget has no room")
		}
		failed := make(chan error, 1)
		go func() { failed <- p.Put(t.Context(), record("k", "x"), nil) }()
		synctest.Wait()
		closeNow(t, p)
		if err := <-failed; !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Put = %v, want ErrClosed", err)
		}
		if b.Used() != 4000 {
			t.Errorf("%d bytes are taken, want those of the holder", b.Used())
		}
		if err := b.Acquire(t.Context(), 4001); !errors.Is(err, producer.ErrTooLarge) {
			t.Errorf("Acquire of more than all = %v, want ErrTooLarge", err)
		}
	})
}
