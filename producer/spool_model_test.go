package producer_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/producer"
)

var (
	spoolSeeds = flag.Uint64("spool-seeds", 150, "how many histories of a spool are played")
	spoolSeed  = flag.Uint64("spool-seed", 0, "the only one to play")
)

// mortal is the stream as one process sees it: after its end no request of the
// process arrives.
type mortal struct {
	*fakeStream
	dead atomic.Bool
}

var errDead = errors.New("the process is dead")

func (m *mortal) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	return m.fakeStream.PutRecords(ctx, in, opts...)
}

// spoolHistory is several processes, one after another, on one directory.
type spoolHistory struct {
	t      *testing.T
	f      *fakeStream
	draw   func(int) int
	always bool
	fsync  bool
	full   producer.SpoolFull

	next map[string]int // number of the last record of each key; of one caller

	mu       sync.Mutex
	accepted map[string]bool  // Put returned nil, or has not returned
	unsure   map[string]bool  // Put returned an error, or the process ended first
	results  map[string]error // of callbacks in processes that ended well
	twice    int
	drops    int64
	endings  map[string]int
	stats    producer.Stats // sums
}

// TestSpoolHistories plays random histories: callers, outages, throttled
// shards, splits and merges, a disk that is full or fails, processes that are
// closed, closed too early, killed, or lose their power. What a spool has taken
// must come to the stream, each key in its order.
func TestSpoolHistories(t *testing.T) {
	first, seeds := uint64(1), *spoolSeeds
	if *spoolSeed != 0 {
		first, seeds = *spoolSeed, 1
	}
	sum := spoolHistory{endings: map[string]int{}}
	for seed := first; seed < first+seeds; seed++ {
		synctest.Test(t, func(t *testing.T) {
			defer func() { // a failure ends the outer test, too
				if t.Failed() {
					t.Logf("failed with -spool-seed=%d", seed)
				}
			}()
			h := playSpool(t, rand.New(rand.NewPCG(seed, 7)))
			for e, n := range h.endings {
				sum.endings[e] += n
			}
			sum.drops += h.drops
			sum.stats.SpoolAppended += h.stats.SpoolAppended
			sum.stats.SpoolReplayed += h.stats.SpoolReplayed
			sum.stats.SpoolFailures += h.stats.SpoolFailures
			sum.stats.SpoolTorn += h.stats.SpoolTorn
			sum.stats.UserRecordsPut += h.stats.UserRecordsPut
		})
	}
	t.Logf("%d records stored, %d on disk, %d replayed, %d dropped, %d failed writes, %d torn ends; endings: %v",
		sum.stats.UserRecordsPut, sum.stats.SpoolAppended, sum.stats.SpoolReplayed, sum.drops, sum.stats.SpoolFailures, sum.stats.SpoolTorn, sum.endings)
	if seeds > 100 && (sum.stats.SpoolReplayed == 0 || sum.drops == 0 || sum.stats.SpoolFailures == 0 || len(sum.endings) < 4) {
		t.Error("the histories missed a case")
	}
}

func playSpool(t *testing.T, r *rand.Rand) *spoolHistory {
	t.Helper()
	var rmu sync.Mutex
	draw := func(n int) int {
		rmu.Lock()
		defer rmu.Unlock()
		return r.IntN(n)
	}
	h := &spoolHistory{
		t: t, f: newFake(1 + draw(4)), draw: draw, next: map[string]int{},
		accepted: map[string]bool{}, unsure: map[string]bool{}, results: map[string]error{}, endings: map[string]int{},
		always: draw(3) > 0, fsync: draw(2) == 0, full: producer.SpoolFull(draw(4) % 3),
	}
	h.f.latency = func() time.Duration { return time.Duration(draw(40)) * time.Millisecond }
	disk := vfstest.NewDisk()
	processes := 2 + draw(4)
	for i := range processes {
		disk = h.process(disk, r, &rmu, i == processes-1)
		if t.Failed() {
			return h
		}
	}
	h.check(disk)
	return h
}

func (h *spoolHistory) config(disk *vfstest.Disk) producer.Config {
	cfg := producer.Config{
		AggregationMaxSize:    300 + h.draw(2000),
		RecordMaxBufferedTime: time.Duration(1+h.draw(20)) * time.Millisecond,
		MaxUserRecordSize:     4000,
		MaxConnections:        1 + h.draw(6),
		RequestTimeout:        time.Duration(100+h.draw(900)) * time.Millisecond,
		MaxBufferedBytes:      int64(9000 + h.draw(30_000)),
		ShardRefreshInterval:  time.Duration(1+h.draw(3)) * time.Second,
		Logger:                quiet(),
		Spool: producer.SpoolConfig{
			Dir: "spool", MaxBytes: int64(1<<16 + h.draw(1<<17)), Fsync: h.fsync, Full: h.full,
			OnDrop: func(d producer.SpoolDrop) {
				h.mu.Lock()
				h.drops += d.Records
				h.mu.Unlock()
				if d.Records < 0 || !errors.Is(d.Err, producer.ErrSpoolFull) {
					h.t.Errorf("dropped: %+v", d)
				}
			},
		},
	}
	if h.always {
		cfg.Spool.Mode = producer.SpoolAlways
	}
	return producer.SpoolOn(cfg, disk)
}

// process plays one process, and returns the disk as the next one finds it. The
// last one meets no faults.
func (h *spoolHistory) process(disk *vfstest.Disk, r *rand.Rand, rmu *sync.Mutex, last bool) *vfstest.Disk {
	h.f.mu.Lock()
	h.f.onRequest, h.f.onEntry, h.f.afterStore = nil, nil, nil
	h.f.mu.Unlock()
	disk.SetRoom(-1)
	api := &mortal{fakeStream: h.f}
	cfg := h.config(disk)
	p, err := producer.New(api, "stream", cfg)
	if err != nil {
		h.t.Fatalf("New: %v", err)
	}
	var alive atomic.Bool
	alive.Store(true)
	if !last {
		h.faults(disk)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for c := range 1 + h.draw(3) {
		h.mu.Lock()
		rounds := 10 + h.draw(60)
		h.mu.Unlock()
		callers.Go(func() { h.call(ctx, p, c, rounds, &alive) })
	}
	stop := func() { // of the faults and the callers
		disk.SetHook(nil)
		cancel()
		callers.Wait()
	}
	ending := "close"
	if !last {
		ending = []string{"close", "short", "abort", "kill", "kill", "cut"}[h.draw(6)]
		if ending == "cut" && !h.fsync {
			ending = "kill"
		}
		time.Sleep(time.Duration(h.draw(3000)) * time.Millisecond)
	} else {
		callers.Wait()
	}
	h.endings[ending]++
	switch ending {
	case "kill", "cut":
		// In one instant: nothing of the process runs on.
		alive.Store(false)
		api.dead.Store(true)
		var next *vfstest.Disk
		if ending == "kill" {
			next = disk.TakeOver()
		} else {
			rmu.Lock()
			next = disk.Cut(r, r.IntN(101))
			rmu.Unlock()
			disk.PowerOff()
		}
		stop()
		_ = p.Abort(context.Background())
		h.add(p.Stats())
		return next
	case "short", "abort":
		stop()
		sound := h.draw(4) > 0
		if sound {
			disk.SetRoom(-1)
		} else if good := h.draw(10); h.draw(2) == 0 {
			disk.SetHook(func(op vfstest.Op, _ string) error {
				if op == vfstest.Write || op == vfstest.Sync || op == vfstest.OpenFile {
					if good--; good < 0 {
						return syscall.EIO
					}
				}
				return nil
			})
		}
		defer disk.SetHook(nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(h.draw(200))*time.Millisecond)
		defer cancel()
		end := p.Close
		if ending == "abort" {
			end = p.Abort
		}
		err := end(ctx)
		// What is in memory finds room beside what is on disk, frames included.
		sound = sound && p.Stats().SpoolBytes+2*cfg.MaxBufferedBytes < cfg.Spool.MaxBytes
		if ue, ok := errors.AsType[*producer.UnsentError](err); ok && sound && h.full != producer.SpoolDropOldest && ue.Records > 0 {
			h.t.Errorf("%s: %v, with room in the spool", ending, err)
		}
		if ue, ok := errors.AsType[*producer.UnsentError](err); ok && (ue.Spooled != p.Stats().SpoolRecords || h.always && h.full != producer.SpoolDropOldest && ue.Records > 0) {
			h.t.Errorf("%s: %v, with %d records in the spool", ending, err, p.Stats().SpoolRecords)
		}
		if ue, ok := errors.AsType[*producer.UnsentError](err); ok {
			h.mu.Lock()
			h.drops += ue.Records // they may have been dropped while they were in memory
			h.mu.Unlock()
		}
	default:
		stop()
		h.f.mu.Lock()
		h.f.onRequest, h.f.onEntry, h.f.afterStore = nil, nil, nil
		h.f.mu.Unlock()
		disk.SetRoom(-1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		before := time.AfterFunc(50*time.Minute, func() { h.t.Errorf("Close hangs: %+v", p.Stats()) })
		if err := p.Close(ctx); err != nil {
			h.t.Errorf("Close: %v", err)
		}
		before.Stop()
		if s := p.Stats(); s.SpoolRecords != 0 {
			h.t.Errorf("%d records in the spool after Close", s.SpoolRecords)
		}
	}
	s := p.Stats()
	if s.BufferedBytes != 0 || s.RequestsInFlight != 0 {
		h.t.Errorf("after %s: %d bytes, %d requests", ending, s.BufferedBytes, s.RequestsInFlight)
	}
	h.add(s)
	return disk
}

func (h *spoolHistory) add(s producer.Stats) {
	h.stats.SpoolAppended += s.SpoolAppended
	h.stats.SpoolReplayed += s.SpoolReplayed
	h.stats.SpoolFailures += s.SpoolFailures
	h.stats.SpoolTorn += s.SpoolTorn
	h.stats.UserRecordsPut += s.UserRecordsPut
	if s.SpoolDamaged != 0 || s.SpoolLost != 0 || s.SequenceRegressions != 0 {
		h.t.Errorf("%d damaged segments, %d records lost, %d sequence regressions", s.SpoolDamaged, s.SpoolLost, s.SequenceRegressions)
	}
}

// faults sets the weather for a process.
func (h *spoolHistory) faults(disk *vfstest.Disk) {
	draw := h.draw
	outage, level, hole := draw(3) == 0, draw(3)*4, draw(3) == 0
	begin := time.Now()
	from, to := time.Duration(draw(1000))*time.Millisecond, time.Duration(1000+draw(3000))*time.Millisecond
	h.f.mu.Lock()
	h.f.onRequest = func(*kinesis.PutRecordsInput) error {
		at := time.Since(begin)
		if outage && at >= from && at < to {
			return apiError("ResourceNotFoundException")
		}
		if draw(100) < level {
			return apiError("ThrottlingException")
		}
		return nil
	}
	h.f.onEntry = func(*types.PutRecordsRequestEntry) string {
		if draw(100) < 3*level {
			return "ProvisionedThroughputExceededException"
		}
		return ""
	}
	h.f.afterStore = func() fate {
		at := time.Since(begin)
		if hole && at >= from && at < to || draw(100) < level {
			return timeout
		}
		return answer
	}
	h.f.mu.Unlock()
	if draw(2) == 0 {
		h.f.split(draw(10))
	} else {
		h.f.merge(draw(10))
	}
	switch draw(4) {
	case 0:
		disk.SetRoom(disk.Used() + int64(draw(100_000)))
	case 1:
		percent := 1 + draw(20)
		disk.SetHook(func(op vfstest.Op, _ string) error {
			if (op == vfstest.Write || op == vfstest.Sync || op == vfstest.Rename || op == vfstest.OpenFile) && draw(100) < percent {
				if draw(2) == 0 {
					return syscall.ENOSPC
				}
				return syscall.EIO
			}
			return nil
		})
	}
}

// call is one caller, with keys of its own.
func (h *spoolHistory) call(ctx context.Context, p *producer.Producer, id, rounds int, alive *atomic.Bool) {
	for range rounds {
		if h.draw(4) == 0 {
			time.Sleep(time.Duration(h.draw(50)) * time.Millisecond)
		}
		if ctx.Err() != nil {
			return
		}
		var us []producer.UserRecord
		var all []string
		for range 1 + h.draw(5) {
			key := fmt.Sprintf("caller-%d-key-%d", id, h.draw(5))
			u := producer.UserRecord{PartitionKey: key}
			if h.draw(10) == 0 {
				key = fmt.Sprintf("keyless-%d", id)
				u.PartitionKey = ""
			}
			h.mu.Lock()
			h.next[key]++
			data := payload(key, h.next[key]) + "|" + strings.Repeat("x", h.draw(300))
			h.mu.Unlock()
			u.Data = []byte(data)
			us, all = append(us, u), append(all, data)
		}
		report := func(data string, err error) {
			if !alive.Load() {
				return
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if _, again := h.results[data]; again {
				h.twice++
			}
			h.results[data] = err
		}
		short, cancel := context.WithTimeout(ctx, time.Duration(10+h.draw(500))*time.Millisecond)
		var err error
		switch h.draw(6) {
		case 0, 1:
			err = p.PutBatch(short, us, func(b producer.BatchResult) {
				failed := map[int]error{}
				for _, fr := range b.Failed {
					failed[fr.Index] = fr.Err
				}
				for i, data := range all {
					report(data, failed[i])
				}
			})
			h.returned(err, alive, all...)
		case 2:
			err = p.TryPut(us[0], func(r producer.Result) { report(all[0], r.Err) })
			h.returned(err, alive, all[0])
		default:
			for i := range us {
				err = p.Put(short, us[i], func(r producer.Result) { report(all[i], r.Err) })
				h.returned(err, alive, all[i])
			}
		}
		cancel()
	}
}

// returned takes note of what a Put has said.
func (h *spoolHistory) returned(err error, alive *atomic.Bool, all ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, data := range all {
		if err != nil || !alive.Load() {
			h.unsure[data] = true
		} else {
			h.accepted[data] = true
		}
	}
}

func (h *spoolHistory) check(disk *vfstest.Disk) {
	h.t.Helper()
	delivered := map[string]int{}
	last := map[string]int{}
	for _, rd := range h.f.readAll() {
		if rd.discarded {
			continue
		}
		key, n := parsePayload(rd.data)
		if !h.accepted[rd.data] && !h.unsure[rd.data] {
			h.t.Errorf("the stream holds %q, which nobody put", rd.data)
		}
		if delivered[rd.data]++; delivered[rd.data] == 1 {
			if h.unsure[rd.data] {
				continue // a disk may show what it said it had not written, whenever that is
			}
			if !strings.HasPrefix(key, "keyless") && n <= last[key] {
				h.t.Errorf("key %s: record %d comes first after %d; always %v, fsync %v, full %v, endings %v", key, n, last[key], h.always, h.fsync, h.full, h.endings)
			}
			last[key] = n
		}
	}
	if h.twice > 0 {
		h.t.Errorf("%d records were reported twice", h.twice)
	}
	dropped, missing, lost := 0, 0, 0
	for data := range h.accepted {
		err, known := h.results[data]
		switch {
		case delivered[data] > 0:
		case errors.Is(err, producer.ErrSpoolFull):
			dropped++
		case errors.Is(err, producer.ErrClosed) && !errors.Is(err, producer.ErrSpooled):
			if h.always && h.full != producer.SpoolDropOldest {
				h.t.Errorf("record %q failed: %v", data, err)
			}
		case known && err == nil:
			h.t.Errorf("record %q was reported as stored, and no reader gets it", data)
		case !h.always && !known:
			// It was in memory alone when its process was killed.
		case h.full == producer.SpoolDropOldest:
			missing++ // dropped by a later process, perhaps
		default:
			if lost++; lost < 5 {
				h.t.Errorf("record %.40q is lost, its result is %v; always %v, fsync %v, full %v, endings %v", data, err, h.always, h.fsync, h.full, h.endings)
			}
		}
	}
	// Who is killed may have dropped some and told nobody.
	if killed := h.endings["kill"]+h.endings["cut"] > 0; int64(dropped) > h.drops || !killed && int64(dropped+missing) > h.drops {
		h.t.Errorf("%d records failed because the spool was full and %d are missing, it counted %d", dropped, missing, h.drops)
	}
	entries, err := disk.ReadDir("spool")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".seg") || strings.HasSuffix(e.Name(), ".front") || strings.HasSuffix(e.Name(), ".damaged") {
			h.t.Errorf("%s is left in an empty spool", e.Name())
		}
	}
}
