package seqno_test

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/seqno"
)

func at(s string) int64 {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t.Unix()
}

func TestVectors(t *testing.T) {
	for _, tt := range []struct {
		text string
		want seqno.Number
	}{
		{"49590338271490256608559692538361571095921575989136588898", seqno.Number{Create: 1542776258, Shard: 6, Index: 1734642199, Time: 1545084650}},
		{"49543463076548007577105092703039560359975228518395019266", seqno.Number{Create: at("2014-09-22T16:39:41Z"), Shard: 0, Index: 5501, Time: at("2014-09-23T00:13:40Z")}},
		{"49549169978943246555030591128013184047489460388642160674", seqno.Number{Create: at("2015-03-26T19:28:48Z"), Shard: 2, Index: 0, Time: at("2015-03-26T19:28:48Z")}},
		{"49646437577175378652512468275250536580403374760793210930", seqno.Number{Create: 1700000000, Shard: 3, Index: 0, Time: 1700000000}},
		{"49646437577175378652512468275251745506222989733565300786", seqno.Number{Create: 1700000000, Shard: 3, Index: 1, Time: 1700000005}},
		{"49646437577186529025111733586820095513720091184319168562", seqno.Number{Create: 1700000000, Shard: 3, Index: seqno.MaxIndex, Time: 1700000100}},
		{"49646437613257984383735016518255328745548430618136674386", seqno.Number{Create: 1700000101, Shard: 5, Index: 0, Time: 1700000101}},
	} {
		got, err := seqno.Parse(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("Parse(%s) = %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
		if s := tt.want.String(); s != tt.text {
			t.Errorf("%+v.String() = %s, want %s", tt.want, s, tt.text)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":              "",
		"zero":               "0",
		"short":              "4954346307654800757710509270303956035997522851839501926",
		"version 1":          "49545115243490985018280067714973144582180062593244200961",
		"letters":            "49646437577175378652512468275250536580403374760793210x30",
		"sentinel":           "TRIM_HORIZON",
		"too large":          "99646437577175378652512468275250536580403374760793210930",
		"nibble of no shard": "49646437577175378652512468275250536580403374760793210914",
	} {
		t.Run(name, func(t *testing.T) {
			if n, err := seqno.Parse(in); !errors.Is(err, seqno.ErrSyntax) {
				t.Errorf("Parse(%q) = %+v, %v, want ErrSyntax", in, n, err)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	next := func() seqno.Number {
		return seqno.Number{Create: 1700000000 + r.Int64N(1000), Shard: r.Uint32N(1 << 31), Index: r.Uint64N(seqno.MaxIndex), Time: 1700000000 + r.Int64N(100000)}
	}
	for range 5000 {
		a, b := next(), next()
		if got, err := seqno.Parse(a.String()); err != nil || got != a {
			t.Fatalf("Parse(%s) = %+v, %v, want %+v", a, got, err, a)
		}
		x, _ := new(big.Int).SetString(a.String(), 10)
		y, _ := new(big.Int).SetString(b.String(), 10)
		if got, want := seqno.Compare(a.String(), b.String()), x.Cmp(y); got != want {
			t.Fatalf("Compare(%s, %s) = %d, want %d", a, b, got, want)
		}
		child := seqno.Number{Create: a.Create + 1, Shard: a.Shard + 1}
		end := a
		end.Index = seqno.MaxIndex
		if seqno.Compare(child.String(), end.String()) <= 0 {
			t.Fatalf("child %s is not above its parent's end %s", child, end)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	n := seqno.Number{Create: 1700000000, Shard: 3, Index: 77, Time: 1700000005}
	buf := make([]byte, 0, 64)
	if got := testing.AllocsPerRun(100, func() { buf = n.Append(buf[:0]) }); got != 0 {
		t.Errorf("Append allocates %v times", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("49646437577175378652512468275250536580403374760793210930")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := seqno.Parse(s)
		if err == nil && n.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, n.String())
		}
	})
}

// integer is the integer that n writes, put together by big integers.
func integer(n seqno.Number) *big.Int {
	want := new(big.Int)
	for _, f := range []struct {
		v    uint64
		bits uint
	}{{2, 0}, {uint64(n.Create), 36}, {uint64(n.Shard & 15), 4}, {n.Index, 64}, {0, 8}, {uint64(n.Time), 36}, {uint64(n.Shard), 32}, {2, 4}} {
		want.Lsh(want, f.bits).Or(want, new(big.Int).SetUint64(f.v))
	}
	return want
}

// TestAppenderCarries lets the next index change the digits far to the left,
// which random numbers do once in 10^8.
func TestAppenderCarries(t *testing.T) {
	step := new(big.Int).Lsh(big.NewInt(1), 80)
	for _, digits := range []int64{16, 32, 48} {
		turn := new(big.Int).Exp(big.NewInt(10), big.NewInt(digits), nil)
		found := 0
		for create := int64(1700000000); found < 20 && create < 1700100000; create++ {
			n := seqno.Number{Create: create, Shard: uint32(create % 16), Time: 1700000005}
			// How many indexes to go until the digits on the right begin anew.
			left := new(big.Int).Mod(integer(n), turn)
			left.Sub(turn, left).Div(left, step)
			if !left.IsUint64() || left.Uint64() >= seqno.MaxIndex-3 {
				continue
			}
			found++
			var a seqno.Appender
			n.Index = left.Uint64()
			for range 3 {
				if got, want := string(a.Append(nil, n)), integer(n).String(); got != want {
					t.Fatalf("%+v is written as %s, want %s", n, got, want)
				}
				n.Index++
			}
		}
		if found == 0 {
			t.Errorf("no number carries beyond %d digits", digits)
		}
	}
}

// TestAppender compares numbers in random succession with those that big
// integers write.
func TestAppender(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var a seqno.Appender
	// A zero number follows nothing, though it is next to the zero Appender.
	n := seqno.Number{Index: 1}
	others := []seqno.Number{{Shard: 1, Time: 1}, {Shard: 2, Time: 1}, {Shard: 9, Time: 1}}
	for i := range 20000 {
		switch r.IntN(10) {
		case 0:
			n = seqno.Number{Create: r.Int64N(16025175000), Shard: r.Uint32N(1 << 31), Index: r.Uint64N(seqno.MaxIndex), Time: r.Int64N(1 << 36)}
		case 1:
			n.Time = r.Int64N(1 << 36)
		case 2:
			n.Shard++
		case 3, 4, 5: // another shard goes on where it was
			s := r.IntN(len(others))
			n, others[s] = others[s], n
			n.Index = min(n.Index+1, seqno.MaxIndex)
		default:
			if i > 0 && n.Index < seqno.MaxIndex {
				n.Index++
			}
		}
		want := integer(n)
		if got := string(a.Append([]byte("x"), n)); got != "x"+want.String() {
			t.Fatalf("%+v is written as %s, want %v", n, got[1:], want)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	n := seqno.Number{Create: 1700000000, Shard: 3, Index: 1 << 40, Time: 1700000005}
	buf := make([]byte, 0, 64)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = n.Append(buf[:0])
		}
	})
	b.Run("following", func(b *testing.B) {
		var a seqno.Appender
		for b.Loop() {
			n.Index++
			buf = a.Append(buf[:0], n)
		}
	})
	b.Run("shards in turn", func(b *testing.B) {
		var a seqno.Appender
		ns := [4]seqno.Number{}
		for i := range ns {
			ns[i] = n
			ns[i].Shard = uint32(i)
		}
		i := 0
		for b.Loop() {
			i = (i + 1) % len(ns)
			ns[i].Index++
			buf = a.Append(buf[:0], ns[i])
		}
	})
}
