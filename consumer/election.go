package consumer

import (
	"cmp"
	"slices"
	"unicode/utf16"
)

// electionSeed is that of the shuffle by which workers of the official library agree
// on one of them without a word.
//
// Source: amazon-kinesis-client 2.x and 3.x, DeterministicShuffleShardSyncLeaderDecider.
const electionSeed = 1947

// elected returns the worker that leads by the rules of 2.x: of the owners of leases,
// in the order in which Java sorts them, the one that a shuffle brings to the front. It is "" if
// no lease has an owner; official workers then all take themselves for it.
func elected(leases []Lease) string {
	seen := make(map[string]bool)
	var owners []string
	for _, l := range leases {
		if l.Owner != "" && !seen[l.Owner] {
			seen[l.Owner] = true
			owners = append(owners, l.Owner)
		}
	}
	if len(owners) == 0 {
		return ""
	}
	slices.SortFunc(owners, compareJava)
	javaShuffle(owners, newJavaRandom(electionSeed))
	return owners[0]
}

// compareJava compares as Java's String does, by UTF-16.
func compareJava(a, b string) int {
	if !hasAstral(a) && !hasAstral(b) {
		return cmp.Compare(a, b)
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

// hasAstral reports whether s has characters that UTF-16 takes two units for: only
// these are sorted otherwise than by their bytes.
func hasAstral(s string) bool {
	for _, r := range s {
		if r > 0xffff {
			return true
		}
	}
	return false
}

// javaRandom gives the numbers of java.util.Random.
type javaRandom struct{ state uint64 }

const javaMultiplier, javaMask = 0x5deece66d, 1<<48 - 1

func newJavaRandom(seed int64) *javaRandom {
	return &javaRandom{(uint64(seed) ^ javaMultiplier) & javaMask}
}

// next31 returns a number of 31 bits.
func (r *javaRandom) next31() int32 {
	r.state = (r.state*javaMultiplier + 0xb) & javaMask
	return int32(r.state >> 17)
}

// intn returns a number below n, which must be above 0.
func (r *javaRandom) intn(n int32) int32 {
	bits := r.next31()
	if n&(n-1) == 0 {
		return int32(int64(n) * int64(bits) >> 31)
	}
	for {
		v := bits % n
		if bits-v+(n-1) >= 0 { // else it wraps: the last numbers, which are not as many as n
			return v
		}
		bits = r.next31()
	}
}

// javaShuffle does what java.util.Collections.shuffle does.
func javaShuffle[T any](list []T, r *javaRandom) {
	for i := len(list); i > 1; i-- {
		j := r.intn(int32(i))
		list[i-1], list[j] = list[j], list[i-1]
	}
}
