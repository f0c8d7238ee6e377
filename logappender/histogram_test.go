package logappender_test

import (
	"maps"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
)

// inBuckets lists the bounds of the buckets that hold something, as often as they do.
func inBuckets(h logappender.Histogram) (bounds []float64) {
	buckets := h.Buckets()
	before := uint64(0)
	for _, bound := range slices.Sorted(maps.Keys(buckets)) {
		for range buckets[bound] - before {
			bounds = append(bounds, bound)
		}
		before = buckets[bound]
	}
	return bounds
}

func sameSum(got, want float64) bool { return math.Abs(got-want) < 1e-6 }

func TestHistograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, bareEncoder()))
		flush(t, a) // of nothing
		l.Info("1234")
		time.Sleep(40 * time.Millisecond)
		l.Info("12345678")
		time.Sleep(time.Second)
		l.Info("12")
		time.Sleep(3 * time.Millisecond)
		flush(t, a)
		p.set(hang)
		l.Info("never")
		if err := l.Sync(); err == nil {
			t.Error("Sync has not timed out")
		}

		s := a.Stats()
		// Each entry has a header of 8 bytes, and no key.
		if h := s.HandoverBytes; h.Count != 3 || h.Sum != 28+10+13 || !slices.Equal(inBuckets(h), []float64{256, 256, 256}) {
			t.Errorf("HandoverBytes %+v", h)
		}
		if h := s.DeliverySeconds; h.Count != 3 || !sameSum(h.Sum, 0.203) || !slices.Equal(inBuckets(h), []float64{.005, .1, .1}) {
			t.Errorf("DeliverySeconds %+v", h)
		}
		if h := s.FlushSeconds; h.Count != 3 || !sameSum(h.Sum, 5) || !slices.Equal(inBuckets(h), []float64{.001, .001, 5}) {
			t.Errorf("FlushSeconds %+v", h)
		}
	})
}

// What comes by way of the disk is counted with the time that it took.
func TestDeliveryFromTheDisk(t *testing.T) {
	for _, mode := range []logappender.SpillMode{logappender.SpillOnPressure, logappender.SpillAlways} {
		synctest.Test(t, func(t *testing.T) {
			disk, s := vfstest.NewDisk(), newSink(refuse)
			p := run(t, disk, s, logappender.Config{SpillMode: mode, Linger: 10 * time.Millisecond})
			p.logEach(numbered(0, 10), 100*time.Millisecond)
			time.Sleep(20 * time.Minute)
			s.set(store)
			time.Sleep(time.Minute)
			st := p.Stats()
			if h := st.DeliverySeconds; h.Count != st.Delivered.Total() || h.Count != 10 || h.Buckets()[600] != 0 || h.Buckets()[3600] != 10 {
				t.Errorf("mode %d: %d entries, DeliverySeconds %+v", mode, st.Delivered.Total(), h)
			}
			s.set(refuse)
			p.log.Info("left behind")
			p.end(time.Second)

			// An earlier process's entries have no time.
			q := run(t, disk, newSink(store), logappender.Config{SpillMode: mode})
			time.Sleep(time.Minute)
			if st := q.Stats(); st.Replayed.Total() != 1 || st.DeliverySeconds.Count != 0 {
				t.Errorf("mode %d: the next process: %+v", mode, st)
			}
			q.end(time.Second)
		})
	}
}
