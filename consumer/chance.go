package consumer

import "math/rand/v2"

// chance is what everything here is drawn from that is left to chance. It is safe
// for concurrent use. Only a test that plays a seed puts another in its place.
var chance = rand.New(globalSource{})

// globalSource is the global source, which has no name of its own.
type globalSource struct{}

// Uint64 implements [rand.Source].
func (globalSource) Uint64() uint64 { return rand.Uint64() }
