package consumer

import (
	"iter"
	"maps"
	"slices"
)

// byKey goes through m by its keys, wherever the order may be seen from outside: by which
// goroutine starts first, or by how a sum is rounded.
func byKey[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
