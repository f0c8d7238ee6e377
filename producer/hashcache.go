package producer

import (
	"sync"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

const (
	cacheStripes = 16
	cacheSets    = 64
	cacheWays    = 4
	cacheKeyLen  = 40 // longer keys are rare; their MD5 is computed each time
)

// hashCache remembers the hash keys of the partition keys used last, because
// the MD5 of a key costs more than all else that Put does. It holds 4096 keys
// in a quarter of a megabyte and never allocates. A set of four takes a new key
// in place of its oldest: with two, a thousand keys in use would leave one of
// twelve without a place.
type hashCache struct {
	stripes [cacheStripes]cacheStripe
}

type cacheStripe struct {
	mu   sync.Mutex // guards sets
	sets [cacheSets]cacheSet
}

type cacheSet struct {
	tags    [cacheWays]uint8 // a part of each key's hash, so that few are compared
	oldest  uint8
	entries [cacheWays]cacheEntry
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
	return new(hashCache)
}

// of returns the hash key of a partition key that is not empty, and the hash by
// which the cache, and a Builder, know the partition key again.
func (c *hashCache) of(key string) (_ hashkey.Key, h uint64) {
	h = aggregation.KeyHash(key)
	if len(key) > cacheKeyLen {
		return hashkey.Of(key), h
	}
	s := &c.stripes[h%cacheStripes]
	set := &s.sets[h/cacheStripes%cacheSets]
	tag := uint8(h >> 56)
	s.mu.Lock()
	for i := range set.tags {
		if e := &set.entries[i]; set.tags[i] == tag && e.is(key) {
			k := e.hash
			s.mu.Unlock()
			return k, h
		}
	}
	s.mu.Unlock()
	k := hashkey.Of(key)
	s.mu.Lock()
	i := set.oldest
	set.oldest = (i + 1) % cacheWays
	set.tags[i] = tag
	e := &set.entries[i]
	e.hash, e.n = k, uint8(len(key))
	copy(e.key[:], key)
	s.mu.Unlock()
	return k, h
}
