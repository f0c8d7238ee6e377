package mirror

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

func TestPick(t *testing.T) {
	plain := func(sum uint64) item { return item{sum: sum, data: make([]byte, 10)} }
	stored := func(sum uint64) item { return item{sum: sum, stored: true} }
	many := func(sums ...uint64) item { return item{sums: sums, data: make([]byte, 10)} }
	for _, tt := range []struct {
		name           string
		items          []item
		records, bytes int
		loose          bool
		want           []int
	}{
		{name: "nothing", want: []int{}},
		{name: "one of each key", items: []item{plain(1), plain(2), plain(1), plain(3), plain(2)}, want: []int{0, 1, 3}},
		{name: "loose", loose: true, items: []item{plain(1), plain(2), plain(1)}, want: []int{0, 1, 2}},
		{name: "behind what is stored", items: []item{plain(1), stored(2), stored(3), plain(2), plain(1)}, want: []int{0, 3}},
		{name: "a key that waits inside an aggregate", items: []item{plain(1), many(1, 2), plain(2), plain(3)}, want: []int{0, 3}},
		{name: "aggregates without a common key", items: []item{many(1, 2), many(3, 4), many(4, 5)}, want: []int{0, 1}},
		{name: "no more records", records: 2, items: []item{plain(1), plain(2), plain(3)}, want: []int{0, 1}},
		{name: "no more bytes", bytes: 25, items: []item{plain(1), plain(2), plain(3)}, want: []int{0, 1}},
		{name: "one that is too big goes alone", bytes: 5, items: []item{plain(1), plain(2)}, want: []int{0}},
		{name: "many keys first", items: []item{{barrier: true}, plain(1)}, want: []int{0}},
		{name: "many keys behind others", items: []item{plain(1), {barrier: true}, plain(2)}, want: []int{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := queue{}
			for _, it := range tt.items {
				q.push(it)
			}
			records, bytes := tt.records, tt.bytes
			if records == 0 {
				records = 500
			}
			if bytes == 0 {
				bytes = 1 << 20
			}
			if got := q.pick(records, bytes, !tt.loose); !slices.Equal(got, tt.want) {
				t.Errorf("picked %v, want %v", got, tt.want)
			}
		})
	}
}

// TestQueueModel stores at random what is picked, and checks that each key keeps
// its order, that nothing is lost, and that memory is given back.
func TestQueueModel(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		q := queue{}
		const n = 3000
		pushed, popped := 0, 0
		next := map[uint64]int{} // by key: number of the next to be stored
		number := map[uint64]int{}
		var freed, cost int64
		for popped < n {
			for pushed < n && r.IntN(3) > 0 {
				key := uint64(r.IntN(1 + r.IntN(30)))
				it := item{seq: fmt.Sprint(pushed), sum: key, data: fmt.Appendf(nil, "%d", number[key])}
				number[key]++
				cost += it.cost()
				q.push(it)
				pushed++
			}
			picked := q.pick(1+r.IntN(50), 1000, true)
			if len(picked) == 0 && q.len() > 0 {
				t.Fatalf("seed %d: nothing picked of %d", seed, q.len())
			}
			for _, at := range picked {
				if r.IntN(4) == 0 {
					continue // refused
				}
				it := &q.items[at]
				if string(it.data) != fmt.Sprint(next[it.sum]) {
					t.Fatalf("seed %d: key %d: %s is stored, want %d", seed, it.sum, it.data, next[it.sum])
				}
				next[it.sum]++
				it.stored = true
			}
			before := q.len()
			last, f, ok := q.pop()
			freed += f
			popped += before - q.len()
			if ok && last.seq != fmt.Sprint(popped-1) {
				t.Fatalf("seed %d: last is %s after %d", seed, last.seq, popped)
			}
		}
		if freed != cost || q.bytes != 0 {
			t.Fatalf("seed %d: freed %d of %d, %d left", seed, freed, cost, q.bytes)
		}
	}
}

func TestWithin(t *testing.T) {
	number := func(k hashkey.Key) *big.Int { b := k.Bytes(); return new(big.Int).SetBytes(b[:]) }
	r := rand.New(rand.NewPCG(1, 2))
	key := func() hashkey.Key {
		k := hashkey.Key{Hi: r.Uint64(), Lo: r.Uint64()}
		switch r.IntN(4) {
		case 0:
			k.Hi = 0
		case 1:
			k.Lo = ^uint64(0)
		case 2:
			return hashkey.Max
		}
		return k
	}
	for range 20000 {
		a, b, k := key(), key(), key()
		if b.Less(a) {
			a, b = b, a
		}
		got := Within(hashkey.Range{Start: a, End: b}, k)
		want := new(big.Int).Sub(number(b), number(a))
		want.Mul(want, number(k)).Rsh(want, 128).Add(want, number(a))
		if number(got).Cmp(want) != 0 {
			t.Fatalf("Within([%v, %v], %v) = %v, want %v", a, b, k, got, want)
		}
	}
}

// TestPlace checks where records are put.
func TestPlace(t *testing.T) {
	halves := hashkey.Uniform(2)
	var low, high string // keys that belong to the halves
	for i := 0; low == "" || high == ""; i++ {
		if k := fmt.Sprint(i); halves[0].Contains(hashkey.Of(k)) {
			low = k
		} else {
			high = k
		}
	}
	blob := func(rs ...aggregation.Record) []byte {
		var b aggregation.Builder
		for _, r := range rs {
			b.Add(r)
		}
		return b.Seal(nil)
	}
	cut := blob(aggregation.Record{PartitionKey: low})
	cut = cut[:len(cut)-1]
	inLow := hashkey.Of(low).String()
	for _, tt := range []struct {
		name  string
		key   *string
		data  []byte
		free  bool
		need  bool
		place func(string) bool // of the explicit hash key, "" if there is none
		keys  int               // that order it
	}{
		{name: "its key says it", key: &low, place: none, keys: 1},
		{name: "placed by hand", key: &high, place: inside(halves[0]), keys: 1},
		{name: "placed by hand in a stream without order", key: &high, free: true, place: none, keys: 1},
		{name: "no key", free: true, place: none, keys: 1},
		{name: "no key, and the target wants one", free: true, need: true, place: none, keys: 1},
		{name: "aggregated", key: aws.String("a"), data: blob(aggregation.Record{PartitionKey: low}, aggregation.Record{PartitionKey: low}), place: exactly(inLow), keys: 1},
		{name: "aggregated, the first is of another shard", key: aws.String("a"), data: blob(aggregation.Record{PartitionKey: high}, aggregation.Record{PartitionKey: low}), place: exactly(inLow), keys: 2},
		{name: "aggregated, with an explicit hash key", key: aws.String("a"), data: blob(aggregation.Record{PartitionKey: high, ExplicitHashKey: "7"}), place: exactly("7"), keys: 1},
		{name: "aggregated, all of another shard", key: &high, data: blob(aggregation.Record{PartitionKey: high}), place: inside(halves[0]), keys: 1},
		{name: "a broken aggregate", key: &high, data: cut, place: inside(halves[0]), keys: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := placer{keys: halves[0], free: tt.free, need: tt.need}
			it := p.item(&types.Record{SequenceNumber: aws.String("5"), PartitionKey: tt.key, Data: tt.data})
			if got := aws.ToString(it.place); !tt.place(got) {
				t.Errorf("placed at %q", got)
			}
			if len(it.keys()) != tt.keys {
				t.Errorf("%d keys, want %d", len(it.keys()), tt.keys)
			}
			if tt.need && aws.ToString(it.key) != "5" {
				t.Errorf("partition key %v", it.key)
			}
		})
	}
}

func none(s string) bool { return s == "" }

func exactly(want string) func(string) bool { return func(s string) bool { return s == want } }

func inside(r hashkey.Range) func(string) bool {
	return func(s string) bool {
		k, err := hashkey.Parse(s)
		return err == nil && r.Contains(k)
	}
}

// TestManyInnerKeys checks that an aggregated record of more keys than are kept
// goes alone.
func TestManyInnerKeys(t *testing.T) {
	var b aggregation.Builder
	for i := range maxInnerKeys + 1 {
		b.Add(aggregation.Record{PartitionKey: fmt.Sprint(i)})
	}
	p := placer{keys: hashkey.All}
	it := p.item(&types.Record{PartitionKey: aws.String("a"), Data: b.Seal(nil)})
	if !it.barrier || it.sums != nil {
		t.Errorf("barrier %v, %d keys", it.barrier, len(it.sums))
	}
}

// TestChangeFor plays the changes of a target until it has a shard that is
// wanted, from random layouts.
func TestChangeFor(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var cuts []hashkey.Key
		for range r.IntN(6) {
			cuts = append(cuts, hashkey.Key{Hi: 1 + r.Uint64()>>1, Lo: r.Uint64()})
		}
		slices.SortFunc(cuts, hashkey.Key.Compare)
		var open []openShard
		start := hashkey.Key{}
		for i, c := range append(cuts, hashkey.Key{}) {
			end := c.Sub(1) // of 0: the last key
			open = append(open, openShard{fmt.Sprint("s", i), hashkey.Range{Start: start, End: end}})
			start = c
		}
		a, b := hashkey.Key{Hi: r.Uint64()}, hashkey.Key{Hi: r.Uint64()}
		if b.Less(a) {
			a, b = b, a
		}
		want := hashkey.Range{Start: a, End: b}
		if r.IntN(3) == 0 {
			want.Start = hashkey.Key{}
		}
		if r.IntN(3) == 0 {
			want.End = hashkey.Max
		}
		for steps := 0; ; steps++ {
			c := changeFor(open, want)
			if c == nil {
				break
			}
			if steps > 10 {
				t.Fatalf("no end: %v for %v", open, want)
			}
			i := slices.IndexFunc(open, func(o openShard) bool { return o.id == c.shard })
			if c.with != "" {
				if open[i+1].id != c.with {
					t.Fatalf("merge of %s with %s, which is not the next", c.shard, c.with)
				}
				open[i] = openShard{c.shard + "m", hashkey.Range{Start: open[i].keys.Start, End: open[i+1].keys.End}}
				open = slices.Delete(open, i+1, i+2)
				continue
			}
			lower := openShard{c.shard + "l", hashkey.Range{Start: open[i].keys.Start, End: c.at.Sub(1)}}
			upper := openShard{c.shard + "u", hashkey.Range{Start: c.at, End: open[i].keys.End}}
			open = slices.Replace(open, i, i+1, lower, upper)
		}
		if !slices.ContainsFunc(open, func(o openShard) bool { return o.keys == want }) {
			t.Fatalf("%v does not have %v", open, want)
		}
	}
	if c := changeFor(nil, hashkey.All); c == nil || c.shard != "" {
		t.Errorf("no shards: %+v", c)
	}
}
