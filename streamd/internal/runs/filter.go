package runs

// filter is a Bloom filter: a set of shards in a byte for each, which takes one
// in fifty of those that are not in it for one that is.
type filter []uint64

const filterHashes = 4

func newFilter(keys int) filter { return make(filter, (keys*8+63)/64) }

// hash spreads a key over 64 bits, as splitmix64 does.
func (k Key) hash() uint64 {
	h := k.Stream*0x9e3779b97f4a7c15 + uint64(k.Shard)*0xbf58476d1ce4e5b9 + 0x94d049bb133111eb
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func (f filter) add(k Key) {
	h := k.hash()
	for range filterHashes {
		bit := h % uint64(len(f)*64)
		f[bit/64] |= 1 << (bit % 64)
		h = h>>13 ^ h*0x9e3779b97f4a7c15
	}
}

func (f filter) has(k Key) bool {
	if len(f) == 0 {
		return false
	}
	h := k.hash()
	for range filterHashes {
		bit := h % uint64(len(f)*64)
		if f[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
		h = h>>13 ^ h*0x9e3779b97f4a7c15
	}
	return true
}
