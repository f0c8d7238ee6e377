package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

func newReader(t *testing.T, api consumer.API, store consumer.LeaseStore, cfg consumer.Config) *consumer.Reader {
	t.Helper()
	cfg.Logger = quiet()
	r, err := consumer.NewReader(api, store, "app", "stream", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReaderReadsEverything through a reshard, with a goroutine for each shard, of
// which some leave their loops and take them up again, and some acknowledge late;
// the stop in between repeats nothing.
func TestReaderReadsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(3, 1), memlease.New()
		stream.limit = 17
		h := newHistory(stream)
		h.store = mem
		n := 0
		produce := func(k int) {
			for range k {
				h.produce(n, 30)
				n++
			}
		}
		var ends sync.Map // shard id: Err
		run := func(ctx context.Context) {
			r := newReader(t, stream, &faultyStore{LeaseStore: mem, history: h}, consumer.Config{MaxUnacked: 40})
			var loops sync.WaitGroup
			for s := range r.Shards(ctx) {
				loops.Go(func() {
					for more := true; more; {
						more = false
						i := 0
						for rec, err := range s.Records(context.Background()) {
							if err != nil {
								t.Errorf("%s: %v", s.Shard().ID, err)
								break
							}
							h.got(rec)
							time.Sleep(10 * time.Millisecond)
							if i++; i%3 == 0 {
								time.AfterFunc(time.Second, func() { h.ack(rec); rec.Ack() })
							} else {
								h.ack(rec)
								rec.Ack()
							}
							if i == 50 {
								more = true
								break
							}
						}
					}
					ends.Store(s.Shard().ID, s.Err())
				})
			}
			loops.Wait()
			if r.Err() != nil {
				t.Error(r.Err())
			}
			if st := r.Consumer().Stats(); st.BufferedBytes != 0 {
				t.Errorf("%d bytes held", st.BufferedBytes)
			}
		}
		produce(500)
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		run(ctx)
		cancel()
		for _, l := range leases(t, mem) {
			if l.Owner != "" || l.Checkpoint.IsSentinel() {
				t.Errorf("lease %s after the stop: owner %q, %v", l.Key, l.Owner, l.Checkpoint)
			}
		}
		produce(200)
		stream.split(1)
		produce(200)
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		run(ctx)
		cancel()
		if h.missing() != 0 || h.duplicates() != 0 {
			t.Errorf("%d missing, %d twice", h.missing(), h.duplicates())
		}
		for _, p := range h.problems {
			t.Error(p)
		}
		for shard, want := range map[string]error{"shardId-000000000000": consumer.ErrShutdown, "shardId-000000000001": nil, "shardId-000000000003": consumer.ErrShutdown} {
			if got, _ := ends.Load(shard); !errors.Is(errOf(got), want) {
				t.Errorf("%s: Err is %v, want %v", shard, got, want)
			}
		}
	})
}

func errOf(v any) error {
	err, _ := v.(error)
	return err
}

// TestReaderLoses: a loop ends with an error when its lease is lost, another when
// the reading is begun anew, and the shard comes again.
func TestReaderLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		_, seq := stream.put("k", []byte("first"))
		stream.put("k", []byte("second"))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		r := newReader(t, stream, mem, consumer.Config{WorkerID: "me"})
		var got []string
		var errs []error
		var starts []consumer.Checkpoint
		lives := 0
		for s := range r.Shards(ctx) {
			lives++
			starts = append(starts, s.Start())
			for rec, err := range s.Records(t.Context()) {
				if err != nil {
					errs = append(errs, err)
					continue
				}
				got = append(got, string(rec.Data))
				switch lives {
				case 1:
					if lives == 1 && string(rec.Data) == "first" {
						rec.Ack()
						if err := s.Shard().Commit(t.Context()); err != nil {
							t.Error(err)
						}
						s.Shard().Restart(errFake)
					}
				case 2:
					if _, err := mem.Take(t.Context(), leases(t, mem)[firstShard], "other", "i"); err != nil {
						t.Error(err)
					}
					time.Sleep(10 * time.Second)
				case 3:
					rec.Ack()
					stop()
				}
			}
			if lives < 3 && !errors.Is(errs[lives-1], s.Err()) {
				t.Errorf("the loop ended with %v, Err is %v", errs[lives-1], s.Err())
			}
		}
		if want := []string{"first", "second", "second"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if len(errs) != 2 || !errors.Is(errs[0], consumer.ErrRestart) || !errors.Is(errs[1], consumer.ErrLeaseLost) {
			t.Errorf("errors %v", errs)
		}
		if want := at(seq, 0); len(starts) != 3 || starts[1] != want || starts[2] != want {
			t.Errorf("starts %v", starts)
		}
		if r.Err() != nil {
			t.Error(r.Err())
		}
	})
}

// TestReaderThatIsLeft: leaving the loop over the shards is the stop, with loops
// over records that never began, and what nobody has asked for does not hold it up.
func TestReaderThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(4, 1), memlease.New()
		for i := range 100 {
			stream.put(fmt.Sprint(i), []byte("x"))
		}
		r := newReader(t, stream, mem, consumer.Config{})
		start := time.Now()
		for s := range r.Shards(t.Context()) {
			n := 0
			for rec, err := range s.Records(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				rec.Ack()
				if n++; n == 5 {
					// A second loop beside the first is refused.
					for _, err := range s.Records(t.Context()) {
						if err == nil || !strings.Contains(err.Error(), "already") {
							t.Errorf("a second loop: %v", err)
						}
					}
					break
				}
			}
			over, cancel := context.WithCancel(t.Context())
			cancel()
			for range 100 {
				for _, err := range s.Records(over) {
					t.Errorf("a record after the end of ctx, error %v", err)
				}
			}
			break
		}
		if d := time.Since(start); d > time.Second || r.Err() != nil {
			t.Errorf("the stop took %v: %v", d, r.Err())
		}
		for range r.Shards(t.Context()) {
			t.Error("a second loop over the shards")
		}
		if !errors.Is(r.Err(), consumer.ErrRunning) {
			t.Errorf("Err %v", r.Err())
		}
		if _, err := consumer.NewReader(stream, mem, "app", "stream", consumer.Config{ExplicitCheckpoints: true}); err == nil {
			t.Error("explicit checkpoints are taken")
		}
		if _, err := consumer.NewReader(stream, mem, "", "stream", consumer.Config{}); err == nil {
			t.Error("an application without a name is taken")
		}
	})
}
