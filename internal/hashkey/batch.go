package hashkey

import "github.com/streamkit/streamkit/internal/md5lanes"

// A Batch computes the hash keys of several partition keys together, which takes
// less time than one after the other. The zero Batch is ready.
type Batch struct {
	short md5lanes.Short
	keys  [md5lanes.Lanes]*Key // where the results go
}

// Add sets *k to what [Of] returns, at the latest when [Batch.Flush] returns.
func (b *Batch) Add(partitionKey string, k *Key) {
	if len(partitionKey) > md5lanes.MaxShort {
		*k = Of(partitionKey)
		return
	}
	b.keys[b.short.Len()] = k
	b.short.Add(partitionKey)
	if b.short.Len() == md5lanes.Lanes {
		b.Flush()
	}
}

// Flush sets all keys that are not set yet.
func (b *Batch) Flush() {
	n := b.short.Len()
	sums := b.short.Sums()
	for i := range n {
		*b.keys[i] = FromBytes(sums[i])
		b.keys[i] = nil
	}
}
