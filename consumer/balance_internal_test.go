package consumer

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawBalance draws a fleet of any kind.
func drawBalance(t *rapid.T) balanceInput {
	in := balanceInput{Limits: defaultBalanceLimits()}
	owners := []string{"", "gone"}
	bounded := rapid.Bool().Draw(t, "bounded")
	for i := range rapid.IntRange(0, 6).Draw(t, "workers") {
		w := balanceWorker{ID: fmt.Sprintf("w%d", i)}
		if bounded {
			w.MaxLeases = rapid.IntRange(0, 12).Draw(t, "max")
		}
		in.Workers = append(in.Workers, w)
		owners = append(owners, w.ID)
	}
	choosy := rapid.IntRange(0, 9).Draw(t, "choosy") == 0
	weighed := rapid.Bool().Draw(t, "weighed")
	for i := range rapid.IntRange(0, 40).Draw(t, "leases") {
		l := balanceLease{
			Key: fmt.Sprintf("shard-%02d", i), Owner: rapid.SampledFrom(owners).Draw(t, "owner"), Load: 1,
			Rested: time.Duration(rapid.IntRange(0, 2).Draw(t, "rested")) * time.Minute,
		}
		if weighed {
			l.Load = float64(rapid.IntRange(0, 50).Draw(t, "load"))
		}
		if choosy && rapid.Bool().Draw(t, "not") {
			l.Not = []string{rapid.SampledFrom(owners).Draw(t, "who")}
		}
		l.Moving = l.Owner != "" && l.Owner != "gone" && rapid.IntRange(0, 9).Draw(t, "moving") == 0
		in.Leases = append(in.Leases, l)
	}
	return in
}

// apply returns in as moves leave it, long after.
func (in balanceInput) apply(moves []balanceMove) balanceInput {
	to := map[string]string{}
	for _, m := range moves {
		to[m.Lease] = m.To
	}
	in.Leases = slices.Clone(in.Leases)
	for i := range in.Leases {
		l := &in.Leases[i]
		l.Moving, l.Rested = false, time.Hour
		if w, ok := to[l.Key]; ok {
			l.Owner = w
		}
	}
	return in
}

// state returns numbers of leases and loads by worker.
func (in balanceInput) state() (counts map[string]int, loads map[string]float64) {
	counts, loads = map[string]int{}, map[string]float64{}
	for _, w := range in.Workers {
		counts[w.ID], loads[w.ID] = 0, 0
	}
	for _, l := range in.Leases {
		if _, ok := counts[l.Owner]; ok {
			counts[l.Owner]++
			loads[l.Owner] += l.Load
		}
	}
	return counts, loads
}

func cond[T any](ok bool, a, b T) T {
	if ok {
		return a
	}
	return b
}

func (in balanceInput) limit(id string) int {
	for _, w := range in.Workers {
		if w.ID == id && w.MaxLeases > 0 {
			return w.MaxLeases
		}
	}
	return math.MaxInt
}

// spread returns how far numbers of leases are apart, of those that could have more.
func (in balanceInput) spread() int {
	counts, _ := in.state()
	most, fewest := 0, math.MaxInt
	for id, n := range counts {
		most = max(most, n)
		if n < in.limit(id) {
			fewest = min(fewest, n)
		}
	}
	if fewest == math.MaxInt {
		return 0
	}
	return most - fewest
}

func (in balanceInput) allowedSpread() int {
	n := 0
	for _, l := range in.Leases {
		if l.Owner != "gone" {
			n++
		}
	}
	return max(1, int(in.Limits.Spread*float64(n)/float64(max(1, len(in.Workers)))))
}

// TestBalanceRules checks each plan by itself.
func TestBalanceRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawBalance(t)
		moves := balance(in)

		shuffled := balanceInput{slices.Clone(in.Leases), slices.Clone(in.Workers), in.Limits}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		rng.Shuffle(len(shuffled.Leases), func(i, j int) {
			shuffled.Leases[i], shuffled.Leases[j] = shuffled.Leases[j], shuffled.Leases[i]
		})
		rng.Shuffle(len(shuffled.Workers), func(i, j int) {
			shuffled.Workers[i], shuffled.Workers[j] = shuffled.Workers[j], shuffled.Workers[i]
		})
		if again := balance(shuffled); !slices.Equal(moves, again) {
			t.Fatalf("the order of the input matters:\n%v\n%v", moves, again)
		}

		leases := map[string]balanceLease{}
		moving, known := 0, 0
		for _, l := range in.Leases {
			leases[l.Key] = l
			moving += cond(l.Moving, 1, 0)
			known += cond(l.Owner != "gone", 1, 0)
		}
		before, _ := in.state()
		seen, voluntary, free := map[string]bool{}, 0, 0
		for _, m := range moves {
			l := leases[m.Lease]
			_, live := before[m.To]
			switch {
			case seen[m.Lease]:
				t.Fatalf("%v moves twice", m)
			case slices.Contains(l.Not, m.To):
				t.Fatalf("%v goes where it cannot: %+v", m, l)
			case !live, m.From != l.Owner, m.From == m.To:
				t.Fatalf("%v of %+v", m, l)
			case m.From != "" && (l.Moving || l.Rested < in.Limits.CoolDown):
				t.Fatalf("%v moves too soon: %+v", m, l)
			}
			seen[m.Lease] = true
			voluntary += cond(m.From != "", 1, 0)
			free += cond(m.From == "", 1, 0)
		}
		if allowed := max(1, int(in.Limits.MaxMoving*float64(known))); voluntary > 0 && moving+voluntary > allowed {
			t.Fatalf("%d leases would be moving, %d may", moving+voluntary, allowed)
		}
		after := in.apply(moves)
		counts, _ := after.state()
		room := 0
		for id, n := range counts {
			if n > in.limit(id) && n > before[id] {
				t.Fatalf("%s has %d leases, and may have %d", id, n, in.limit(id))
			}
			room += max(0, min(in.limit(id), 1<<20)-n)
		}
		left := 0
		for _, l := range after.Leases {
			left += cond(l.Owner == "" && len(l.Not) == 0, 1, 0)
		}
		if left > 0 && room > 0 {
			t.Fatalf("%d leases have no owner, and there is room for %d", left, room)
		}
	})
}

// TestBalanceSettles plays plans until there are no more.
func TestBalanceSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawBalance(t).apply(nil)
		for i := range in.Leases {
			in.Leases[i].Not = nil // what cannot move may stay uneven
		}
		total := 0
		for range 400 {
			moves := balance(in)
			if len(moves) == 0 {
				break
			}
			total += len(moves)
			in = in.apply(moves)
		}
		if moves := balance(in); len(moves) > 0 {
			t.Fatalf("still moving after %d moves: %v", total, moves)
		}
		if got, want := in.spread(), in.allowedSpread(); got > want {
			counts, _ := in.state()
			t.Fatalf("numbers of leases differ by %d, and may by %d: %v", got, want, counts)
		}
		if len(in.Workers) == 0 {
			return
		}
		// Where load is too high, no move and no exchange would help enough.
		_, loads := in.state()
		counts, _ := in.state()
		mean := 0.0
		for _, v := range loads {
			mean += v / float64(len(loads))
		}
		top := slices.MaxFunc(slices.Sorted(maps.Keys(loads)), func(a, b string) int { return int(math.Round(1e6 * (loads[a] - loads[b]))) })
		if loads[top] <= in.Limits.MaxLoad*mean+1e-9 {
			return
		}
		for _, l := range in.Leases {
			if l.Owner != top {
				continue
			}
			for id := range loads {
				moved := in.apply([]balanceMove{{Lease: l.Key, From: top, To: id}})
				_, now := moved.state()
				if id != top && counts[id] < in.limit(id) && moved.spread() <= in.allowedSpread() &&
					max(now[top], now[id]) < loads[top]*(1-in.Limits.MinGain)-1e-6 {
					t.Fatalf("%s (load %v) could go from %s to %s: %v", l.Key, l.Load, top, id, loads)
				}
			}
		}
	})
}

// TestBalanceMovesFewest compares with the least number of moves that brings
// numbers of leases together.
func TestBalanceMovesFewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := balanceInput{Limits: defaultBalanceLimits()}
		in.Limits.MaxMoving = 1
		var counts []int
		total := 0
		for i := range rapid.IntRange(1, 5).Draw(t, "workers") {
			id := fmt.Sprintf("w%d", i)
			in.Workers = append(in.Workers, balanceWorker{ID: id})
			n := rapid.IntRange(0, 30).Draw(t, "leases")
			for range n {
				in.Leases = append(in.Leases, balanceLease{Key: fmt.Sprint(len(in.Leases)), Owner: id, Rested: time.Hour})
			}
			counts, total = append(counts, n), total+n
		}
		spread := in.allowedSpread()
		want := math.MaxInt
		for low := range 31 {
			above, below, least, most := 0, 0, 0, 0
			for _, n := range counts {
				above += max(0, n-low-spread)
				below += max(0, low-n)
				least, most = least+low, most+low+spread
			}
			if least <= total && total <= most {
				want = min(want, max(above, below))
			}
		}
		if got := len(balance(in)); got != want {
			t.Fatalf("%d moves for %v, where %d do", got, counts, want)
		}
	})
}

func TestBalance(t *testing.T) {
	fleet := func(owned map[string][]float64, workers ...balanceWorker) balanceInput {
		in := balanceInput{Workers: workers, Limits: defaultBalanceLimits()}
		for _, owner := range slices.Sorted(maps.Keys(owned)) {
			for i, load := range owned[owner] {
				in.Leases = append(in.Leases, balanceLease{Key: fmt.Sprintf("%s/%d", owner, i), Owner: owner, Load: load, Rested: time.Hour})
			}
		}
		return in
	}
	a, b := balanceWorker{ID: "a"}, balanceWorker{ID: "b"}
	tests := []struct {
		name string
		in   balanceInput
		want []balanceMove
	}{
		{"nothing", balanceInput{}, nil},
		{"nobody", fleet(map[string][]float64{"": {1}}), nil},
		{"one lease apart", fleet(map[string][]float64{"a": {1, 1}, "b": {1}}, a, b), nil},
		{"heaviest first", fleet(map[string][]float64{"": {1, 2, 9, 3}}, a, b), []balanceMove{{"/2", "", "a"}, {"/3", "", "b"}, {"/1", "", "b"}, {"/0", "", "a"}}},
		{"load by a move", fleet(map[string][]float64{"a": {8, 8}, "b": {1}}, a, b), []balanceMove{{"a/0", "a", "b"}}},
		{"one hot shard", fleet(map[string][]float64{"a": {90}, "b": {1}}, a, b), nil},
		{"a bounded worker", fleet(map[string][]float64{"a": {1, 1, 1, 1, 1}}, a, balanceWorker{ID: "b", MaxLeases: 1}), []balanceMove{{"a/0", "a", "b"}}},
		{"no room", fleet(map[string][]float64{"": {1}, "a": {1}}, balanceWorker{ID: "a", MaxLeases: 1}), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := balance(tt.in); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestBalanceReplay plays plans that were written down.
func TestBalanceReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/balance/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var dump balancePlan
			if err := json.Unmarshal(text, &dump); err != nil {
				t.Fatal(err)
			}
			if got := balance(dump.Input); !slices.Equal(got, dump.Moves) {
				t.Errorf("got %v, want %v", got, dump.Moves)
			}
		})
	}
}
