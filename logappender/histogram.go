package logappender

const numBuckets = 16

// Upper bounds of buckets.
var (
	byteBounds = [numBuckets]float64{
		256, 512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10,
		256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 16 << 20,
	}
	secondBounds = [numBuckets]float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 600, 3600}
)

// Histogram counts values by their size. The zero value has no values.
type Histogram struct {
	Count uint64  // values
	Sum   float64 // of all values, in bytes or in seconds

	bounds *[numBuckets]float64
	counts [numBuckets]uint64 // each without those below
}

// Buckets returns how many values are at most each bound.
func (h *Histogram) Buckets() map[float64]uint64 {
	b := make(map[float64]uint64, numBuckets)
	if h.bounds == nil {
		return b
	}
	sum := uint64(0)
	for i, bound := range h.bounds {
		sum += h.counts[i]
		b[bound] = sum
	}
	return b
}

// add counts n values of v, negative ones as 0.
func (h *Histogram) add(v float64, n uint64) {
	v = max(v, 0)
	h.Count += n
	h.Sum += v * float64(n)
	for i, bound := range h.bounds {
		if v <= bound {
			h.counts[i] += n
			return
		}
	}
}

// merge adds the values of o, which has the same bounds.
func (h *Histogram) merge(o *Histogram) {
	h.Count += o.Count
	h.Sum += o.Sum
	for i, n := range o.counts {
		h.counts[i] += n
	}
}
