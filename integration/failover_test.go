package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
)

var (
	failoverRounds = flag.Int("failover-rounds", 1, "how often each change of a fleet is timed")
	failoverTime   = flag.Duration("failover-time", failover, "Config.FailoverTime of the workers")
	failoverModes  = flag.String("failover-modes", "kcl2,native+peers", "modes, with commas between them; +peers listens for peers")
)

// TestFailover times what happens to shards when workers of a fleet come, stop
// and are killed, and when shards are split. No record may be lost, and only a
// kill may have one processed twice. What is timed is told and not judged.
func TestFailover(t *testing.T) {
	needProcesses(t)
	for mode := range strings.SplitSeq(*failoverModes, ",") {
		t.Run(mode, func(t *testing.T) {
			s := startServer(t)
			t.Run("fleet", func(t *testing.T) { timeFleet(t, s, mode) })
			t.Run("newcomer", func(t *testing.T) { timeNewcomer(t, s, mode) })
		})
	}
}

// ticker puts a record for each of many hash keys, every few milliseconds.
type ticker struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{} // closed when no more is put
	stored []string      // data; read after done
}

const tick = 20 * time.Millisecond

func startTicker(t *testing.T, s *server, stream string, points int) *ticker {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	k := &ticker{t: t, cancel: cancel, done: make(chan struct{})}
	t.Cleanup(func() { k.stop() })
	var keys []*string
	for _, r := range hashkey.Uniform(points) {
		keys = append(keys, aws.String(r.Start.String()))
	}
	client := s.kinesis()
	go func() {
		defer close(k.done)
		for n := 0; ctx.Err() == nil; n++ {
			in := &kinesis.PutRecordsInput{StreamName: &stream}
			for i, key := range keys {
				data := fmt.Sprintf("%d-%d|%d", i, n, time.Now().UnixNano())
				in.Records = append(in.Records, types.PutRecordsRequestEntry{
					PartitionKey: aws.String(fmt.Sprint("key-", i)), ExplicitHashKey: key, Data: []byte(data),
				})
			}
			out, err := client.PutRecords(context.WithoutCancel(ctx), in, noRetry)
			if err != nil {
				t.Errorf("put: %v", err)
				return
			}
			for i := range out.Records {
				if out.Records[i].SequenceNumber != nil {
					k.stored = append(k.stored, string(in.Records[i].Data))
				}
			}
			pause(ctx, tick)
		}
	}()
	return k
}

func (k *ticker) stop() []string {
	k.cancel()
	<-k.done
	return k.stored
}

// sighting is a record that a worker has processed.
type sighting struct {
	worker, shard, data string
	put, at             time.Time
}

// sightings follows the outputs of a fleet's workers.
type sightings struct {
	dir    string
	offset map[string]int64
	count  map[string]int // of each record's data
}

func (f *fleet) watch() *sightings {
	return &sightings{dir: f.dir, offset: map[string]int64{}, count: map[string]int{}}
}

// next returns what has come since the last call.
func (s *sightings) next() (fresh []sighting, err error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		name := file.Name()
		f, err := os.Open(filepath.Join(s.dir, name))
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.NewSectionReader(f, s.offset[name], 1<<40))
		_ = f.Close() // only read from
		if err != nil {
			return nil, err
		}
		b = b[:bytes.LastIndexByte(b, '\n')+1]
		s.offset[name] += int64(len(b))
		for text := range bytes.Lines(b) {
			var line struct {
				Shard, Data string
				At          int64
			}
			if json.Unmarshal(text, &line) != nil {
				continue // a worker was killed while it wrote
			}
			s.count[line.Data]++
			_, put, _ := strings.Cut(line.Data, "|")
			nanos, err := strconv.ParseInt(put, 10, 64)
			if err != nil {
				return nil, err
			}
			fresh = append(fresh, sighting{name, line.Shard, line.Data, time.Unix(0, nanos), time.Unix(0, line.At)})
		}
	}
	return fresh, nil
}

// again returns how many records have been processed more than once, counting
// each copy.
func (s *sightings) again() (n int) {
	for _, c := range s.count {
		n += c - 1
	}
	return n
}

// shardsOf returns the open shards whose leases a worker has.
func (f *fleet) shardsOf(worker string) map[string]bool {
	f.t.Helper()
	list, err := f.leases.List(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	shards := map[string]bool{}
	for _, l := range list {
		if l.Owner == worker {
			shards[l.Key] = true
		}
	}
	return shards
}

// times is a distribution.
type times []time.Duration

func (d times) String() string {
	if len(d) == 0 {
		return "none"
	}
	s := slices.Sorted(slices.Values(d))
	at := func(p int) time.Duration { return s[min(len(s)-1, len(s)*p/100)].Round(time.Millisecond) }
	return fmt.Sprintf("%d: min %v, p50 %v, p90 %v, p99 %v, max %v", len(s), at(0), at(50), at(90), at(99), at(100))
}

func startIn(f *fleet, mode, id string) *process {
	f.t.Helper()
	name, peers := strings.CutSuffix(mode, "+peers")
	args := []string{"-app", f.app, "-stream", f.stream, "-id", id, "-out", filepath.Join(f.dir, id), "-failover", failoverTime.String(), "-mode", name}
	if peers {
		args = append(args, "-peer", "127.0.0.1:0")
	}
	return start(f.t, "worker", f.s.env(), args...)
}

// awaitAll waits until all of these records have been processed.
func (s *sightings) awaitAll(t *testing.T, stored []string) {
	t.Helper()
	eventually(t, time.Minute, "all records processed", func() error {
		if _, err := s.next(); err != nil {
			return err
		}
		missing := 0
		for _, data := range stored {
			if s.count[data] == 0 {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d records are missing", missing, len(stored))
		}
		return nil
	})
}

// takenOver waits until other workers have processed a record of each shard that
// were written after a time, and returns how long after it each first was.
func takenOver(t *testing.T, w *sightings, shards map[string]bool, lost string, since time.Time) (took times) {
	t.Helper()
	left := maps.Clone(shards)
	eventually(t, 2*time.Minute, "shards taken over", func() error {
		fresh, err := w.next()
		if err != nil {
			return err
		}
		for _, s := range fresh {
			if left[s.shard] && s.worker != lost && s.at.After(since) {
				delete(left, s.shard)
				took = append(took, s.at.Sub(since))
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("%d shards wait", len(left))
		}
		return nil
	})
	return took
}

// steals says that a new worker of a mode takes leases from others without asking,
// as the official library's 2.x does: what is in flight then is processed twice.
func steals(mode string) bool { return mode == "kcl2" }

// timeFleet kills, stops and adds workers, and splits shards.
func timeFleet(t *testing.T, s *server, mode string) {
	const shards = 8
	stream := "fleet-" + strings.ReplaceAll(mode, "+", "-")
	s.createStream(stream, shards)
	f := newFleet(t, s, stream)
	load := startTicker(t, s, stream, 2*shards)
	w := f.watch()
	names := []string{"a", "b"}
	procs := map[string]*process{}
	for _, n := range names {
		procs[n] = startIn(f, mode, n)
	}
	half := func() map[string]int { return map[string]int{names[0]: shards / 2, names[1]: shards / 2} }
	f.awaitOwners(time.Minute, half())

	var crashed, stopped, came, children times
	again, moved := 0, 0 // records processed twice though workers stopped in order; when leases moved to a new one
	settle := func() {   // until the owners have processed what is put from now on
		t.Helper()
		switch {
		case steals(mode):
			pause(t.Context(), *failoverTime) // until whoever was stolen from knows
		case strings.HasSuffix(mode, "+peers"):
			pause(t.Context(), *failoverTime/4) // until peers have met
		}
		now := time.Now()
		left := map[string]string{}
		for _, n := range names {
			for shard := range f.shardsOf(n) {
				left[shard] = n
			}
		}
		eventually(t, time.Minute, "workers at the end of the stream", func() error {
			fresh, err := w.next()
			for _, s := range fresh {
				if s.put.After(now) && left[s.shard] == s.worker {
					delete(left, s.shard)
				}
			}
			if err == nil && len(left) > 0 {
				err = fmt.Errorf("%d shards are behind", len(left))
			}
			return err
		})
	}
	for round := range 2 * *failoverRounds {
		old := names[0]
		orphans := f.shardsOf(old)
		settle()
		before := w.again()
		since := time.Now()
		if round%2 == 0 {
			procs[old].kill()
			crashed = append(crashed, slices.Max(takenOver(t, w, orphans, old, since)))
		} else {
			ended := make(chan error, 1) // sent once
			go func() { ended <- procs[old].stop() }()
			stopped = append(stopped, slices.Max(takenOver(t, w, orphans, old, since)))
			if err := <-ended; err != nil {
				t.Errorf("a worker that is asked to stop ends with %v", err)
			}
			names = names[1:]
			settle()
			again += w.again() - before
		}
		next := fmt.Sprint("w", round)
		names = []string{names[len(names)-1], next}
		procs[next] = startIn(f, mode, next)
		came = append(came, f.awaitOwners(time.Minute, half()))
		settle()
		if round%2 == 1 {
			moved += w.again() - before
		}
	}
	before := w.again()
	for range min(*failoverRounds, shards) {
		list, err := s.kinesis().ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}})
		if err != nil {
			t.Fatal(err)
		}
		// Of those that the stream began with.
		parent := list.Shards[slices.IndexFunc(list.Shards, func(sh types.Shard) bool { return sh.ParentShardId == nil })]
		a, err := hashkey.Parse(*parent.HashKeyRange.StartingHashKey)
		if err != nil {
			t.Fatal(err)
		}
		points := hashkey.Uniform(2 * shards) // both children get records
		mid := points[slices.IndexFunc(points, func(r hashkey.Range) bool { return a.Less(r.Start) })].Start
		if _, err := s.kinesis().SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: &stream, ShardToSplit: parent.ShardId, NewStartingHashKey: aws.String(mid.String())}); err != nil {
			t.Fatal(err)
		}
		if err := s.awaitActive(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
		list, err = s.kinesis().ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream})
		if err != nil {
			t.Fatal(err)
		}
		born := map[string]bool{}
		for _, sh := range list.Shards {
			if aws.ToString(sh.ParentShardId) == *parent.ShardId {
				born[*sh.ShardId] = true
			}
		}
		eventually(t, time.Minute, "children read", func() error {
			fresh, err := w.next()
			for _, s := range fresh {
				if born[s.shard] {
					delete(born, s.shard)
					children = append(children, s.at.Sub(s.put))
				}
			}
			if err == nil && len(born) > 0 {
				err = fmt.Errorf("%d children wait", len(born))
			}
			return err
		})
	}
	split := w.again() - before
	again += split

	stored := load.stop()
	w.awaitAll(t, stored)
	for _, n := range names {
		if err := procs[n].stop(); err != nil {
			t.Errorf("worker %s ends with %v", n, err)
		}
	}
	moved -= again - split
	if again > 0 {
		t.Errorf("%d records were processed twice though workers stopped in order", again)
	}
	if moved > 0 && !steals(mode) {
		t.Errorf("%d records were processed twice though leases were handed over", moved)
	}
	t.Logf("mode %s, FailoverTime %v, %d records; processed twice after stops %d, with leases that moved to a new worker %d, after kills %d",
		mode, *failoverTime, len(stored), again, moved, w.again()-again-moved)
	t.Logf("killed, until all its shards are read:    %v", crashed)
	t.Logf("stopped, until all its shards are read:   %v", stopped)
	t.Logf("a new process, until leases are balanced: %v", came)
	t.Logf("put into a child, until processed:        %v", children)
}

// timeNewcomer starts a worker of a new application on 64 shards, has a second one join
// it, and then counts the calls of the lease table while nothing happens.
func timeNewcomer(t *testing.T, s *server, mode string) {
	const shards = 64
	var took, began, opened times // of the second; until the first has processed a record, and one of each shard
	again, stored := 0, 0
	for round := range *failoverRounds {
		stream := fmt.Sprintf("wide-%s-%d", strings.ReplaceAll(mode, "+", "-"), round)
		s.createStream(stream, shards)
		f := newFleet(t, s, stream)
		load := startTicker(t, s, stream, shards)
		w := f.watch()
		since := time.Now()
		first := startIn(f, mode, "first")
		f.awaitOwners(time.Minute, map[string]int{"first": shards})
		fresh := takenOver(t, w, f.shardsOf("first"), "", since)
		began, opened = append(began, slices.Min(fresh)), append(opened, slices.Max(fresh))
		since = time.Now()
		second := startIn(f, mode, "second")
		var owners map[string]int
		eventually(t, 2*time.Minute, "leases shared out", func() error {
			var err error
			if owners, err = f.owners(t.Context()); err == nil && (owners["second"] < shards*9/20 || owners["first"]+owners["second"] < shards) {
				err = fmt.Errorf("owners are %v", owners)
			}
			return err
		})
		took = append(took, time.Since(since))
		if round == 0 {
			before := leaseCalls(t, s)
			counting := time.Now()
			pause(t.Context(), time.Duration(min(30, 3**failoverRounds))*time.Second)
			hours := time.Since(counting).Hours()
			after := leaseCalls(t, s)
			for op, n := range after {
				if n -= before[op]; n > 0 {
					t.Logf("lease table, two workers, %d shards with records all the time: %s %.0f a shard and hour", shards, op, n/hours/shards)
				}
			}
		}
		data := load.stop()
		w.awaitAll(t, data)
		for _, p := range []*process{first, second} {
			if err := p.stop(); err != nil {
				t.Errorf("a worker ends with %v", err)
			}
		}
		again += w.again()
		stored += len(data)
	}
	if again > 0 && !steals(mode) {
		t.Errorf("%d records were processed twice though leases were handed over", again)
	}
	t.Logf("mode %s, %d records, %d processed twice", mode, stored, again)
	t.Logf("a process of a new application, from its launch until a record is processed:    %v", began)
	t.Logf("the same, until one of each of %d shards is:                                    %v", shards, opened)
	t.Logf("a second process, until %d leases are balanced: %v", shards, took)
}

// leaseCalls returns how many requests of each kind the server has had for
// tables.
func leaseCalls(t *testing.T, s *server) map[string]float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "streamd_requests_total{") || !strings.Contains(line, `service="dynamodb"`) && !strings.Contains(line, `service="DynamoDB"`) {
			continue
		}
		labels, value, _ := strings.Cut(strings.TrimPrefix(line, "streamd_requests_total{"), "} ")
		_, op, _ := strings.Cut(labels, `operation="`)
		op, _, _ = strings.Cut(op, `"`)
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			t.Fatal(err)
		}
		calls[op] += n
	}
	return calls
}
