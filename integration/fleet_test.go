package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/producer"
)

// failover is Config.FailoverTime of the workers in these tests.
const failover = 2 * time.Second

// A fleet is the workers of one application.
type fleet struct {
	t      *testing.T
	s      *server
	stream string
	app    string
	dir    string // of the workers' outputs
	leases *dynamolease.Store
}

func newFleet(t *testing.T, s *server, stream string) *fleet {
	t.Helper()
	app := stream + "-app"
	leases, err := dynamolease.New(s.dynamodb(), app, dynamolease.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{t: t, s: s, stream: stream, app: app, dir: t.TempDir(), leases: leases}
}

func (f *fleet) start(id string) *process {
	f.t.Helper()
	return start(f.t, "worker", f.s.env(), "-app", f.app, "-stream", f.stream, "-id", id,
		"-out", filepath.Join(f.dir, id), "-failover", failover.String())
}

// owners returns how many leases of open shards each worker has.
func (f *fleet) owners(ctx context.Context) (map[string]int, error) {
	list, err := f.leases.List(ctx)
	if err != nil {
		return nil, err
	}
	owners := map[string]int{}
	for _, l := range list {
		if l.Checkpoint.SequenceNumber != consumer.ShardEnd {
			owners[l.Owner]++
		}
	}
	return owners, nil
}

// awaitOwners waits until the leases are shared out as wanted.
func (f *fleet) awaitOwners(limit time.Duration, want map[string]int) time.Duration {
	f.t.Helper()
	began := time.Now()
	eventually(f.t, limit, "leases shared out", func() error {
		got, err := f.owners(f.t.Context())
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("owners are %v, want %v", got, want)
		}
		return err
	})
	return time.Since(began).Round(10 * time.Millisecond)
}

// received returns how often each record's data stands in the workers' outputs.
// A line that a killed worker did not finish was not acknowledged.
func (f *fleet) received() map[string]int {
	f.t.Helper()
	files, err := os.ReadDir(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	got := map[string]int{}
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(f.dir, file.Name()))
		if err != nil {
			f.t.Fatal(err)
		}
		for text := range strings.Lines(string(b)) {
			var line struct{ Data string }
			if err := json.Unmarshal([]byte(text), &line); err == nil {
				got[line.Data]++
			}
		}
	}
	return got
}

// TestWorkerKilled kills one of two workers while records come in. The other
// takes its shards over, and every record is processed. Then a new worker comes
// and the old one leaves in order.
func TestWorkerKilled(t *testing.T) {
	const stream = "fleet"
	needProcesses(t)
	s := startServer(t)
	s.createStream(stream, 4)

	load := startLoad(t, s, stream)
	f := newFleet(t, s, stream)
	first, second := f.start("first"), f.start("second")
	t.Logf("balance after %v", f.awaitOwners(2*time.Minute, map[string]int{"first": 2, "second": 2}))

	first.kill()
	took := f.awaitOwners(2*time.Minute, map[string]int{"second": 4})
	t.Logf("taken over %v after the kill, with FailoverTime %v", took, failover)

	third := f.start("third")
	t.Logf("balance again after %v", f.awaitOwners(2*time.Minute, map[string]int{"second": 2, "third": 2}))
	if err := second.stop(); err != nil {
		t.Errorf("a worker that is asked to stop ends with %v", err)
	}
	t.Logf("handed over %v after the stop", f.awaitOwners(2*time.Minute, map[string]int{"third": 4}))

	stored := load.stop()
	var again int
	eventually(t, time.Minute, "all records processed", func() error {
		got := f.received()
		again = 0
		missing := 0
		for _, data := range stored {
			switch n := got[data]; n {
			case 0:
				missing++
			default:
				again += n - 1
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d records are missing", missing, len(stored))
		}
		return nil
	})
	if err := third.stop(); err != nil {
		t.Errorf("a worker that is asked to stop ends with %v", err)
	}
	t.Logf("%d records, %d processed again", len(stored), again)
}

// load is a producer that puts numbered records until it is stopped.
type load struct {
	t      *testing.T
	p      *producer.Producer
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex // guards stored
	stored []string
	failed atomic.Int64
}

func startLoad(t *testing.T, s *server, stream string) *load {
	t.Helper()
	p, err := producer.New(s.kinesis(), stream, producer.Config{Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, p: p, cancel: cancel}
	t.Cleanup(func() { l.stop() })
	l.work.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			data := fmt.Sprintf("record-%d", n)
			r := producer.UserRecord{PartitionKey: fmt.Sprintf("key-%d", n%997), Data: []byte(data)}
			err := p.Put(ctx, r, func(res producer.Result) {
				if res.Err != nil {
					l.failed.Add(1)
					return
				}
				l.mu.Lock()
				defer l.mu.Unlock()
				l.stored = append(l.stored, data)
			})
			if err != nil && ctx.Err() == nil {
				t.Errorf("put: %v", err)
				return
			}
			if n%20 == 19 {
				pause(ctx, 5*time.Millisecond)
			}
		}
	})
	return l
}

// stop ends the load and returns the data of all records that were stored.
func (l *load) stop() []string {
	l.cancel()
	l.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := l.p.Close(ctx); err != nil {
		l.t.Errorf("close the producer: %v", err)
	}
	if n := l.failed.Load(); n > 0 {
		l.t.Errorf("%d records failed", n)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.stored)
}
