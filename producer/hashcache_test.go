package producer_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

func TestHashCache(t *testing.T) {
	c := producer.NewHashCache()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				// Keys of all lengths, one a prefix of the next; more than fit.
				key := strings.Repeat("k", i%50) + fmt.Sprint(i*(w+1)%9000)
				if got := c.Of(key); got != hashkey.Of(key) {
					t.Errorf("Of(%q) = %v", key, got)
					return
				}
			}
		})
	}
	wg.Wait()
	c.Of("the newest")
	if !c.Has("the newest") {
		t.Error("a key that was just asked for is not cached")
	}
	if long := strings.Repeat("x", 41); c.Of(long) != hashkey.Of(long) || c.Has(long) {
		t.Error("a key beyond the cached length")
	}
}

// TestHashCacheReplaces asks for keys by turns, by several callers at once, of
// which there are twice as many as fit: entries are replaced while others read
// them.
func TestHashCacheReplaces(t *testing.T) {
	c := producer.NewHashCache()
	keys := make([]string, 8192)
	want := make([]hashkey.Key, len(keys))
	for i := range keys {
		keys[i] = strings.Repeat("p", i%33) + fmt.Sprint(i)
		want[i] = hashkey.Of(keys[i])
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 100_000 {
				i := (n*(2*w+1) + n/7) % len(keys)
				if got := c.Of(keys[i]); got != want[i] {
					t.Errorf("Of(%q) = %v, want %v", keys[i], got, want[i])
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestHashCacheKeepsTheNewest fills each set with more keys than it has places:
// those asked for last stay.
func TestHashCacheKeepsTheNewest(t *testing.T) {
	c := producer.NewHashCache()
	for i := range 100_000 {
		c.Of(fmt.Sprint("old ", i))
	}
	for i := range 512 {
		c.Of(fmt.Sprint("new ", i))
	}
	kept := 0
	for i := range 512 {
		if c.Has(fmt.Sprint("new ", i)) {
			kept++
		}
	}
	// 512 keys in 1,024 sets of four: more than four of them in a set is rare.
	if kept < 505 {
		t.Errorf("%d of the 512 newest keys are kept", kept)
	}
}
