package consumer

import (
	"slices"
	"testing"
)

// Results of Java 17, by java.util.Random and java.util.Collections.shuffle.

// TestJavaRandom compares numbers below bounds of all kinds, also such as make some
// be drawn again.
func TestJavaRandom(t *testing.T) {
	bounds := []int32{1, 2, 3, 7, 8, 10, 1000, 1 << 20, 1<<30 + 1, 1<<31 - 1, 5, 6}
	for seed, want := range map[int64][]int32{
		1947: {
			0, 0, 2, 2, 3, 8, 561, 486233, 980392342, 1947956560, 1, 4, 0, 1, 2, 6, 1, 3, 226, 300611, 27003479, 1925838748, 1, 2,
			0, 0, 1, 1, 2, 4, 526, 581408, 525131098, 195221516, 1, 1,
		},
		0: {
			0, 1, 1, 2, 5, 3, 491, 122690, 715581077, 542832677, 3, 4, 0, 1, 1, 0, 7, 0, 143, 328137, 276804524, 790221947, 2, 4,
			0, 0, 0, 6, 7, 5, 37, 265167, 613975862, 882178125, 3, 4,
		},
		-1: {
			0, 0, 0, 6, 5, 8, 477, 418684, 121412731, 1730951808, 2, 3, 0, 0, 0, 2, 7, 6, 655, 628336, 754206257, 1997687263, 3, 0,
			0, 0, 0, 1, 1, 4, 733, 250319, 226558178, 232543901, 3, 3,
		},
		42: {
			0, 0, 0, 3, 2, 5, 505, 742088, 196118093, 1939977182, 2, 0, 0, 0, 2, 0, 6, 3, 209, 963985, 326327863, 937357226, 3, 5,
			0, 0, 1, 4, 1, 0, 756, 219957, 538291085, 1773748217, 2, 0,
		},
	} {
		r := newJavaRandom(seed)
		for i, w := range want {
			if got := r.intn(bounds[i%len(bounds)]); got != w {
				t.Errorf("seed %d: number %d is %d, want %d", seed, i, got, w)
			}
		}
	}
}

func TestJavaShuffle(t *testing.T) {
	shuffled := func(n int) []int32 {
		list := make([]int32, n)
		for i := range list {
			list[i] = int32(i)
		}
		javaShuffle(list, newJavaRandom(electionSeed))
		return list
	}
	for _, want := range [][]int32{
		nil,
		{0},
		{0, 1},
		{2, 0, 1},
		{3, 0, 1, 2},
		{4, 0, 2, 1, 3},
		{2, 3, 5, 4, 0, 1},
		{2, 4, 3, 5, 0, 6, 1},
		{2, 3, 0, 6, 4, 7, 1, 5},
		{3, 8, 0, 5, 7, 1, 6, 2, 4},
		{8, 5, 1, 6, 9, 4, 2, 0, 7, 3},
		{6, 7, 3, 4, 1, 0, 10, 2, 9, 5, 8},
		{9, 4, 8, 2, 0, 11, 6, 10, 1, 5, 3, 7},
		{12, 2, 6, 8, 0, 4, 11, 3, 7, 9, 5, 1, 10},
		{4, 9, 8, 12, 0, 6, 13, 5, 3, 10, 2, 11, 7, 1},
		{10, 9, 12, 7, 2, 11, 4, 3, 6, 8, 5, 14, 0, 1, 13},
		{11, 3, 9, 2, 0, 6, 12, 5, 7, 1, 8, 14, 4, 13, 15, 10},
	} {
		if got := shuffled(len(want)); !slices.Equal(got, want) {
			t.Errorf("%d are shuffled to %v, want %v", len(want), got, want)
		}
	}
	// Of longer ones List.hashCode.
	for n, want := range map[int]int32{31: -431428346, 100: -671009395, 1000: -892458663} {
		hash := int32(1)
		for _, v := range shuffled(n) {
			hash = 31*hash + v
		}
		if hash != want {
			t.Errorf("%d are shuffled to what has the hash %d, want %d", n, hash, want)
		}
	}
}

func TestElected(t *testing.T) {
	owned := func(owners ...string) (leases []Lease) {
		for _, o := range owners {
			leases = append(leases, Lease{Owner: o})
		}
		return leases
	}
	for _, tt := range []struct {
		name   string
		leases []Lease
		want   string
	}{
		{"no leases", nil, ""},
		{"none has an owner", owned("", ""), ""},
		{"one", owned("", "b", "b"), "b"},
		{"the first of two", owned("b", "a", "b"), "a"},
		{"the last of three", owned("a", "c", "b", "a"), "c"},
		{"capitals come first", owned("b", "C"), "C"},
		{"so do digits", owned("worker-9", "worker-10"), "worker-10"},
		// Java sorts these: Worker-c, worker-10, worker-9, worker-a, worker-b, z, é, 😀, Ａ.
		{"nine", owned("worker-b", "worker-a", "Worker-c", "worker-10", "worker-9", "\u00e9", "\uff21", "\U0001f600", "z"), "worker-a"},
		{"two units sort before one", owned("\uff21", "\U0001f600"), "\U0001f600"},
		{"so they do behind a common beginning", owned("w\U0001f600", "w\uff21"), "w\U0001f600"},
	} {
		if got := elected(tt.leases); got != tt.want {
			t.Errorf("%s: %q is elected, want %q", tt.name, got, tt.want)
		}
	}
}
