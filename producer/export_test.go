package producer

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/javaprops"
	"github.com/streamkit/streamkit/internal/vfs"
)

// Seeded returns c with chance drawn from seed.
func Seeded(c Config, seed uint64) Config {
	c.source = &lockedSource{src: rand.NewPCG(seed, 1)}
	return c
}

// Gathering returns c with aggregated records of any size that wait for others.
func Gathering(c Config) Config {
	c.gathers = true
	return c
}

type lockedSource struct {
	mu  sync.Mutex
	src rand.Source // guarded by mu
}

func (s *lockedSource) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.src.Uint64()
}

// HashCache opens the cache of hash keys to tests.
type HashCache struct{ c *hashCache }

// NewHashCache returns an empty cache.
func NewHashCache() HashCache { return HashCache{newHashCache()} }

// Of returns the hash key of a partition key, cached or not.
func (h HashCache) Of(key string) hashkey.Key {
	k, _ := h.c.of(key)
	return k
}

// Has reports whether the cache holds key.
func (h HashCache) Has(key string) bool {
	_, _, known := h.c.find(key)
	return known
}

// PutOnWire makes one PutRecords call with the producer's own serializer.
func PutOnWire(ctx context.Context, client *kinesis.Client, in *kinesis.PutRecordsInput, cbor bool) (*kinesis.PutRecordsOutput, error) {
	return (&wire{client: client}).put(ctx, in, cbor)
}

// PlainCall makes one PutRecords call as the SDK does it.
func PlainCall(ctx context.Context, api API, in *kinesis.PutRecordsInput) (*kinesis.PutRecordsOutput, error) {
	return plainPutter{api}.putRecords(ctx, in)
}

// ReadProperties opens the reader of properties files to tests: keys and values by
// turns.
func ReadProperties(r io.Reader) (all []string, err error) {
	ps, err := javaprops.Read(r)
	for _, p := range ps {
		all = append(all, p.Key, p.Value)
	}
	return all, err
}

// KPLKeys returns the keys that ConfigFromProperties knows, and the defaults of
// the KPL, which may be empty.
func KPLKeys() map[string]string {
	all := make(map[string]string)
	for name, k := range kplKeys {
		all[name] = k.initial
	}
	return all
}

// SpoolOn returns c with its spool on another file system.
func SpoolOn(c Config, fsys vfs.FS) Config {
	c.Spool.fs = fsys
	return c
}

// BufferFor returns the size of the buffer that n bytes get, and whether it comes
// back for as many after it was given away.
func BufferFor(n int) (size int, again bool) {
	class, size := bufferClass(n)
	back, exact := bufferClass(size)
	return size, back == class && exact == size
}

// Lookup returns which of ranges, which cover the hash space in order, a map of shards
// finds for k.
func Lookup(ranges []hashkey.Range, k hashkey.Key) int {
	lanes := make([]*lane, len(ranges))
	for i, r := range ranges {
		lanes[i] = &lane{keys: r}
	}
	return slices.Index(lanes, newShardMap(lanes).lookup(k))
}

// SealedAhead counts the batches that wait in lanes and have the bytes to send.
func (p *Producer) SealedAhead() (n int) {
	for _, l := range p.shards.Load().lanes {
		l.mu.Lock()
		for _, b := range l.sealed {
			if b.sealed {
				n++
			}
		}
		l.mu.Unlock()
	}
	return n
}
