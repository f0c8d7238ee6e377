package logappender_test

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

var (
	outageRate = flag.Int("outage.rate", 100_000, "bytes logged per second in TestTenMinutesOfOutage")
	outageDir  = flag.String("outage.dir", "", "directory on the real disk for TestTenMinutesOfOutage; empty: a disk in memory")
)

// counter stores numbers, refuses while it is down, and knows whether they come
// in two rows at most, each ascending: from memory and from the disk.
type counter struct {
	mu    sync.Mutex
	down  bool
	have  []bool
	n     int
	twice int
	last  [2]int
	mixed int // numbers that fit into neither row
}

func (*counter) Flush(context.Context) error { return nil }

func (c *counter) PutBatch(_ context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	c.mu.Lock()
	res := producer.BatchResult{Records: len(rs)}
	for i, r := range rs {
		if c.down {
			res.Failed = append(res.Failed, producer.FailedRecord{Index: i, Err: producer.ErrExpired})
			continue
		}
		n, err := strconv.Atoi(string(r.Data[:10]))
		if err != nil {
			panic(err)
		}
		if c.have[n] {
			c.twice++
			continue
		}
		c.have[n] = true
		c.n++
		row := 0
		if c.last[1] < n && (c.last[0] >= n || c.last[1] > c.last[0]) {
			row = 1
		}
		if c.last[row] >= n {
			c.mixed++
		}
		c.last[row] = n
	}
	c.mu.Unlock()
	done(res)
	return nil
}

// TestTenMinutesOfOutage logs through ten minutes without a stream, and goes on
// until the disk is empty again. With -outage.rate=5000000 and -outage.dir it is
// the test at full size.
func TestTenMinutesOfOutage(t *testing.T) {
	for _, mode := range []logappender.SpillMode{logappender.SpillOnPressure, logappender.SpillAlways} {
		synctest.Test(t, func(t *testing.T) {
			const entry = 1000
			perTick := max(*outageRate/entry/10, 1)
			c := &counter{have: make([]bool, perTick*10*60*90), last: [2]int{-1, -1}}
			var fsys vfs.FS = vfstest.NewDisk()
			dir := "spill"
			if *outageDir != "" {
				fsys, dir = vfs.OS, fmt.Sprintf("%s/%d", *outageDir, mode)
			}
			a, err := logappender.NewOn(fsys, c, quiet(logappender.Config{
				SpillDir: dir, SpillMode: mode, SpillMaxBytes: 8 << 30, ReplayBytesPerSecond: 2 * *outageRate,
			}))
			if err != nil {
				t.Fatal(err)
			}
			l := zap.New(a.Core(zap.InfoLevel, bareEncoder()))
			pad := strings.Repeat("x", entry-11)
			n := 0
			run := func(d time.Duration) {
				for range d / (100 * time.Millisecond) {
					for range perTick {
						l.Info(fmt.Sprintf("%010d %s", n, pad))
						n++
					}
					time.Sleep(100 * time.Millisecond)
				}
			}
			set := func(down bool) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.down = down
			}
			run(10 * time.Second)
			set(true)
			run(10 * time.Minute)
			st := a.Stats()
			if behind := int(st.Spilled.Total()); behind < perTick*10*590 {
				t.Errorf("mode %d: only %d of %d entries are on disk: %+v", mode, behind, n, st)
			}
			set(false)
			up := time.Now()
			for a.Stats().Spilled.Total() > 0 && time.Since(up) < time.Hour {
				run(time.Second)
			}
			caughtUp := time.Since(up)
			run(time.Second)
			if err := a.Close(t.Context()); err != nil {
				t.Error(err)
			}
			checkAccounts(t, a)
			st = a.Stats()
			if c.n != n || c.twice > 0 || c.mixed > 0 || st.DroppedTotal() > 0 || st.Lost.Total() > 0 {
				t.Errorf("mode %d: %d of %d stored, %d twice, %d out of order: %+v", mode, c.n, n, c.twice, c.mixed, st)
			}
			if mode == logappender.SpillAlways && c.last[1] >= 0 {
				t.Errorf("mode %d: two rows, want one", mode)
			}
			t.Logf("mode %d: %d entries, caught up after %v", mode, n, caughtUp)
		})
	}
}
