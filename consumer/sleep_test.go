package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// tokens notes under which holding each record was delivered, and which holdings were
// lost.
type tokens struct {
	hear func() // called with each delivery, if not nil; set while nothing is delivered

	mu   sync.Mutex // guards all below
	of   map[string][]int64
	lost []int64
}

func (k *tokens) processor(s *consumer.Shard) (consumer.Processor, error) {
	return &puppet{
		shard: s,
		process: func(_ context.Context, _ *puppet, b *consumer.Batch) error {
			if k.hear != nil {
				k.hear()
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			for _, r := range b.Records {
				k.of[string(r.Data)] = append(k.of[string(r.Data)], s.Token().Counter)
			}
			return nil
		},
		lost: func(*puppet) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.lost = append(k.lost, s.Token().Counter)
		},
	}, nil
}

func (k *tokens) deliveries(data string) []int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.of[data])
}

// TestSleep: a machine whose monotonic clock stood still while the wall clock went on
// gives its leases up at once, before it delivers anything, and takes them anew.
func TestSleep(t *testing.T) {
	for i := range 3 * 8 {
		mode := []consumer.Mode{consumer.ModeKCL2, consumer.ModeKCL3, consumer.ModeNative}[i%3]
		phase := time.Duration(i/3) * 300 * time.Millisecond // against beats and renewals
		t.Run(fmt.Sprint(mode, phase), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer consumer.Play(uint64(i))()
				stream, mem := newFakeStream(1, 1), memlease.New()
				got := &tokens{of: map[string][]int64{}}
				c, err := consumer.New(stream, mem, "app", "stream", got.processor, consumer.Config{Mode: mode, Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				var ahead atomic.Int64
				c.SetWall(func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) })
				stop := run(t, c)
				time.Sleep(time.Minute)
				stream.put("k", []byte("before"))
				time.Sleep(10 * time.Second)
				for i, step := range []time.Duration{-time.Hour, 499 * time.Millisecond} { // set back, and adjusted
					ahead.Add(int64(step))
					time.Sleep(10 * time.Second)
					stream.put("k", []byte(fmt.Sprint(i)))
				}
				time.Sleep(10*time.Second + phase)
				before := got.deliveries("before")
				if len(before) != 1 || !slices.Equal(got.deliveries("0"), before) || !slices.Equal(got.deliveries("1"), before) || c.Stats().Sleeps != 0 {
					t.Fatalf("delivered under %v, lost %v, %d sleeps", got.of, got.lost, c.Stats().Sleeps)
				}

				if mode == consumer.ModeNative && c.Lapsed() {
					t.Error("others are thought to have thought it dead")
				}
				beats := c.Stats().Beats
				got.hear = func() {
					if mode == consumer.ModeNative && (c.Stats().Beats == beats || !c.Lapsed()) {
						t.Errorf("delivered after %d beats, lapsed %v", c.Stats().Beats-beats, c.Lapsed())
					}
				}
				ahead.Add(int64(20 * time.Second))
				stream.put("k", []byte("after"))
				time.Sleep(time.Second)
				got.mu.Lock()
				lost := slices.Clone(got.lost)
				got.mu.Unlock()
				if !slices.Equal(lost, before) {
					t.Errorf("holdings lost: %v, want %v", lost, before)
				}
				time.Sleep(time.Minute)
				stop()
				if after := got.deliveries("after"); len(after) != 1 || after[0] <= before[0] {
					t.Errorf("delivered under %v, before the sleep under %v", after, before)
				}
				if st := c.Stats(); st.Sleeps != 1 || st.LeasesExpired != 1 {
					t.Errorf("%d sleeps, %d leases expired", st.Sleeps, st.LeasesExpired)
				}
			})
		})
	}
}

// slowAnswers is a store whose answers to writes that take a lease come late.
type slowAnswers struct {
	consumer.LeaseStore
	wait time.Duration
}

func (s *slowAnswers) Take(ctx context.Context, l consumer.Lease, owner, incarnation string) (consumer.Lease, error) {
	got, err := s.LeaseStore.Take(ctx, l, owner, incarnation)
	time.Sleep(s.wait)
	return got, err
}

// TestSleepDuringTake: a lease that was taken before the sleep, as its answer tells
// after it, is not believed in.
func TestSleepDuringTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(1, 1)
		got := &tokens{of: map[string][]int64{}}
		c, err := consumer.New(stream, &slowAnswers{memlease.New(), 1500 * time.Millisecond}, "app", "stream", got.processor, consumer.Config{Mode: consumer.ModeKCL2, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		c.SetWall(func() time.Time {
			if time.Since(begun) < 100*time.Millisecond {
				return time.Now().Round(0)
			}
			return time.Now().Round(0).Add(20 * time.Second)
		})
		stream.put("k", []byte("x"))
		stop := run(t, c)
		time.Sleep(time.Minute)
		stop()
		if of := got.deliveries("x"); len(of) != 1 || of[0] < 2 || c.Stats().Sleeps != 1 || c.Stats().LeasesExpired != 1 {
			t.Errorf("delivered under %v, %+v", of, c.Stats())
		}
	})
}
