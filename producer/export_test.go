package producer

import "github.com/streamkit/streamkit/internal/hashkey"

// HashCache opens the cache of hash keys to tests.
type HashCache struct{ c *hashCache }

// NewHashCache returns an empty cache.
func NewHashCache() HashCache { return HashCache{newHashCache()} }

// Of returns the hash key of a partition key, cached or not.
func (h HashCache) Of(key string) hashkey.Key { return h.c.of(key) }

// Has reports whether the cache holds key.
func (h HashCache) Has(key string) bool {
	for i := range h.c.stripes {
		for j := range h.c.stripes[i].sets {
			for k := range h.c.stripes[i].sets[j] {
				if h.c.stripes[i].sets[j][k].is(key) {
					return true
				}
			}
		}
	}
	return false
}
