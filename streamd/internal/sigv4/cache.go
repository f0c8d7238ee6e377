package sigv4

import (
	"crypto/sha256"
	"sync"
)

// maxCached bounds the derived keys that are kept: a day, a region and two
// services of 128 keys.
const maxCached = 256

// cacheKey is what a derived key is derived from. The secret is part of it, so
// that one that is replaced leaves nothing behind that counts.
type cacheKey struct{ id, secret, date, region, service string }

// cache keeps derived keys: deriving one costs as much as the rest of a check
// of a small request.
type cache struct {
	mu   sync.RWMutex // guards keys
	keys map[cacheKey][sha256.Size]byte
}

func (c *cache) get(id cacheKey) (key [sha256.Size]byte, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	key, ok = c.keys[id]
	return key, ok
}

func (c *cache) put(id cacheKey, key [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) >= maxCached || c.keys == nil {
		// Those of past days are never asked for again. The others are derived
		// once more.
		c.keys = make(map[cacheKey][sha256.Size]byte)
	}
	c.keys[id] = key
}
