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
