package producer

import (
	"hash/maphash"
	"sync"

	"github.com/streamkit/streamkit/internal/hashkey"
)

const (
	cacheStripes = 16
	cacheSets    = 128
	cacheKeyLen  = 40 // longer keys are rare; their MD5 is computed each time
)

// hashCache remembers the hash keys of the partition keys used last, because
// the MD5 of a key costs more than all else that Put does. It holds 4096 keys
// in a quarter of a megabyte and never allocates: a set has two entries, the
// newer one first.
type hashCache struct {
	seed    maphash.Seed
	stripes [cacheStripes]cacheStripe
}

type cacheStripe struct {
	mu   sync.Mutex // guards sets
	sets [cacheSets][2]cacheEntry
}

type cacheEntry struct {
	hash hashkey.Key
	n    uint8 // length of the key; 0 means an empty entry
	key  [cacheKeyLen]byte
}

func (e *cacheEntry) is(key string) bool {
	return int(e.n) == len(key) && string(e.key[:e.n]) == key
}

func newHashCache() *hashCache {
	return &hashCache{seed: maphash.MakeSeed()}
}

// of returns the hash key of a partition key that is not empty.
func (c *hashCache) of(key string) hashkey.Key {
	if len(key) > cacheKeyLen {
		return hashkey.Of(key)
	}
	h := maphash.String(c.seed, key)
	s := &c.stripes[h%cacheStripes]
	set := &s.sets[h/cacheStripes%cacheSets]
	s.mu.Lock()
	switch {
	case set[0].is(key):
		k := set[0].hash
		s.mu.Unlock()
		return k
	case set[1].is(key):
		k := set[1].hash
		set[0], set[1] = set[1], set[0]
		s.mu.Unlock()
		return k
	}
	s.mu.Unlock()
	k := hashkey.Of(key)
	s.mu.Lock()
	set[1] = set[0]
	set[0].hash, set[0].n = k, uint8(len(key))
	copy(set[0].key[:], key)
	s.mu.Unlock()
	return k
}
