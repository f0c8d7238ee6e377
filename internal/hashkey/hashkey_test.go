package hashkey_test

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/hashkey"
)

func TestOf(t *testing.T) {
	for key, want := range map[string]string{
		"a":         "16955237001963240173058271559858726497",
		"user-1":    "285573413173782752570879317399258818820",
		"é":         "136732923097551493579404309126273812335",
		"shard-key": "210181118610492074126377613208573773952",
		"日本":        "103341369634063465466164320543046703539",
	} {
		if got := hashkey.Of(key).String(); got != want {
			t.Errorf("Of(%q) = %s, want %s", key, got, want)
		}
	}
}

func TestBatch(t *testing.T) {
	for n := range 12 {
		var b hashkey.Batch
		keys := make([]string, n)
		got := make([]hashkey.Key, n)
		for i := range keys {
			keys[i] = strings.Repeat("k", i*17%90) + "é" // some too long to be taken together
			b.Add(keys[i], &got[i])
		}
		b.Flush()
		b.Flush() // nothing more to do
		for i, key := range keys {
			if want := hashkey.Of(key); got[i] != want {
				t.Errorf("key %d of %d, %q: %v, want %v", i, n, key, got[i], want)
			}
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	keys := make([]string, 500)
	got := make([]hashkey.Key, len(keys))
	for i := range keys {
		keys[i] = fmt.Sprintf("partition-%06d", i)
	}
	b.Run("together", func(b *testing.B) {
		for b.Loop() {
			var batch hashkey.Batch
			for i, key := range keys {
				batch.Add(key, &got[i])
			}
			batch.Flush()
		}
	})
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			for i, key := range keys {
				got[i] = hashkey.Of(key)
			}
		}
	})
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     hashkey.Key
		err      error
	}{
		{name: "zero", in: "0"},
		{name: "carry into the high word", in: "18446744073709551616", want: hashkey.Key{Hi: 1}},
		{name: "greatest", in: "340282366920938463463374607431768211455", want: hashkey.Max},
		{name: "one too large", in: "340282366920938463463374607431768211456", err: hashkey.ErrSyntax},
		{name: "39 nines", in: "999999999999999999999999999999999999999", err: hashkey.ErrSyntax},
		{name: "leading zero", in: "01", err: hashkey.ErrSyntax},
		{name: "empty", in: "", err: hashkey.ErrSyntax},
		{name: "sign", in: "+1", err: hashkey.ErrSyntax},
		{name: "40 digits", in: "1000000000000000000000000000000000000000", err: hashkey.ErrSyntax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := hashkey.Parse(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("Parse(%q) error = %v, want %v", tt.in, err, tt.err)
			}
			if got != tt.want {
				t.Errorf("Parse(%q) = %v, want %v", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("0")
	f.Add("340282366920938463463374607431768211455")
	f.Add("18446744073709551615")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := hashkey.Parse(s)
		if err == nil && k.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, k.String())
		}
	})
}

// toBig is the model that Key's arithmetic is compared with.
func toBig(k hashkey.Key) *big.Int {
	b := k.Bytes()
	return new(big.Int).SetBytes(b[:])
}

func TestArithmeticAgainstBig(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	mod := new(big.Int).Lsh(big.NewInt(1), 128)
	for range 10_000 {
		a := hashkey.Key{Hi: r.Uint64() >> r.IntN(64), Lo: r.Uint64() >> r.IntN(64)}
		b := hashkey.Key{Hi: r.Uint64() >> r.IntN(64), Lo: r.Uint64() >> r.IntN(64)}
		n := r.Uint64() >> r.IntN(64)
		if got, want := a.String(), toBig(a).String(); got != want {
			t.Fatalf("%#v.String() = %s, want %s", a, got, want)
		}
		if got, want := a.Compare(b), toBig(a).Cmp(toBig(b)); got != want {
			t.Fatalf("Compare(%s, %s) = %d, want %d", a, b, got, want)
		}
		if got, want := a.Less(b), toBig(a).Cmp(toBig(b)) < 0; got != want {
			t.Fatalf("Less(%s, %s) = %v, want %v", a, b, got, want)
		}
		sum := new(big.Int).Add(toBig(a), new(big.Int).SetUint64(n))
		if got, want := a.Add(n).String(), sum.Mod(sum, mod).String(); got != want {
			t.Fatalf("%s.Add(%d) = %s, want %s", a, n, got, want)
		}
		if got := a.Add(n).Sub(n); got != a {
			t.Fatalf("%s.Add(%d).Sub(%d) = %s", a, n, n, got)
		}
		if p, err := hashkey.Parse(a.String()); err != nil || p != a {
			t.Fatalf("Parse(%s) = %v, %v", a, p, err)
		}
	}
}

func TestUniform(t *testing.T) {
	space := new(big.Int).Lsh(big.NewInt(1), 128)
	for _, n := range []int{1, 2, 3, 4, 5, 7, 16, 100, 1000, 4096, 10_000} {
		rs := hashkey.Uniform(n)
		width := new(big.Int).Div(space, big.NewInt(int64(n)))
		for i, r := range rs {
			if want := new(big.Int).Mul(width, big.NewInt(int64(i))); toBig(r.Start).Cmp(want) != 0 {
				t.Fatalf("Uniform(%d)[%d].Start = %s, want %s", n, i, r.Start, want)
			}
			if i > 0 && !rs[i-1].Precedes(r) {
				t.Fatalf("Uniform(%d): gap before range %d", n, i)
			}
		}
		if rs[n-1].End != hashkey.Max {
			t.Fatalf("Uniform(%d) ends at %s", n, rs[n-1].End)
		}
	}
	if got := hashkey.Uniform(3)[1].Start.String(); got != "113427455640312821154458202477256070485" {
		t.Errorf("Uniform(3)[1].Start = %s", got)
	}
	if got := hashkey.Uniform(2)[0].End.String(); got != "170141183460469231731687303715884105727" {
		t.Errorf("Uniform(2)[0].End = %s", got)
	}
}

func TestOfAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { hashkey.Of("user-1") }); n != 0 {
		t.Errorf("Of allocates %v times", n)
	}
}
