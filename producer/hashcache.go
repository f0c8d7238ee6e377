package producer

import (
	"sync"
	"sync/atomic"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

const (
	cacheSets    = 1024
	cacheWays    = 4
	cacheWords   = 5
	cacheKeyLen  = 8 * cacheWords // longer keys are rare; their MD5 is computed each time
	cacheStripes = 16
)

// hashCache remembers the hash keys of the partition keys used last, because
// the MD5 of a key costs more than all else that Put does. It holds 4096 keys
// in a quarter of a megabyte and never allocates. A set of four takes a new key
// in place of its oldest: with two, a thousand keys in use would leave one of
// twelve without a place.
//
// Readers take no lock, so that callers on several processors do not pass its
// memory to and fro: all of it is atomic, and the head of an entry, which says
// how often it was written, tells a reader whether what it read belongs together.
type hashCache struct {
	sets    [cacheSets]cacheSet
	writers [cacheStripes]sync.Mutex // one writer a set at a time
}

type cacheSet [cacheWays]cacheEntry

// cacheEntry fills a line of the processor's caches. It is guarded by its head: 32
// bits of the key's hash, 8 of its length, and 24 that count the writes. While one
// is under way the length is 0.
type cacheEntry struct {
	head   atomic.Uint64
	hi, lo atomic.Uint64             // the hash key
	key    [cacheWords]atomic.Uint64 // as keyWord has it
}

const (
	headHash   = 0xffffffff << 32 // the bits of a head that are from the hash
	headKey    = headHash | 0xff<<24
	headWrites = 1<<24 - 1
)

func newHashCache() *hashCache {
	return new(hashCache)
}

// of returns the hash key of a partition key that is not empty, and the hash by
// which the cache, and a Builder, know the partition key again.
func (c *hashCache) of(key string) (k hashkey.Key, h uint64) {
	k, h, known := c.find(key)
	if !known {
		k = hashkey.Of(key)
		c.keep(key, k, h)
	}
	return k, h
}

// find is of without the work, and without k, for a partition key that is not
// remembered.
func (c *hashCache) find(key string) (k hashkey.Key, h uint64, known bool) {
	h = aggregation.KeyHash(key)
	if len(key) > cacheKeyLen {
		return k, h, false
	}
	set := &c.sets[h%cacheSets]
	want := h&headHash | uint64(len(key))<<24
	for i := range set {
		e := &set[i]
		head := e.head.Load()
		if head&headKey != want || !e.is(key) {
			continue
		}
		k.Hi, k.Lo = e.hi.Load(), e.lo.Load()
		if e.head.Load() == head {
			return k, h, true
		}
	}
	return k, h, false
}

// is reports whether the entry, whose key is as long, is that of key.
func (e *cacheEntry) is(key string) bool {
	for i, w := 0, 0; i < len(key); i, w = i+8, w+1 {
		if e.key[w].Load() != keyWord(key, i) {
			return false
		}
	}
	return true
}

// keep remembers the hash key k of a partition key, unless that is long.
func (c *hashCache) keep(key string, k hashkey.Key, h uint64) {
	if len(key) > cacheKeyLen {
		return
	}
	set := &c.sets[h%cacheSets]
	mu := &c.writers[h%cacheStripes]
	mu.Lock()
	defer mu.Unlock()
	e := &set[set.oldest()]
	writes := e.head.Load() & headWrites
	e.head.Store(writes) // of no key meanwhile
	e.hi.Store(k.Hi)
	e.lo.Store(k.Lo)
	for i, w := 0, 0; i < len(key); i, w = i+8, w+1 {
		e.key[w].Store(keyWord(key, i))
	}
	e.head.Store(h&headHash | uint64(len(key))<<24 | (writes+1)&headWrites)
}

// oldest returns the way that a new key takes. As each takes the next one, the
// ways before it have been written once more than those from it on.
func (s *cacheSet) oldest() int {
	first := s[0].head.Load() & headWrites
	for i := 1; i < cacheWays; i++ {
		if s[i].head.Load()&headWrites != first {
			return i
		}
	}
	return 0
}

// keyWord returns the eight bytes of a key from i on, which is a multiple of
// eight; its last eight where there are fewer, and all of a key that is shorter.
func keyWord(key string, i int) uint64 {
	switch n := len(key); {
	case i+8 <= n:
	case n >= 8:
		i = n - 8
	default:
		var w uint64
		for j := range n {
			w |= uint64(key[j]) << (8 * j)
		}
		return w
	}
	s := key[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
