package table_test

import (
	"cmp"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamkit/streamkit/streamd/internal/table"
)

func TestCanonical(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"0", "0"},
		{"-0", "0"},
		{"0.000", "0"},
		{"0e99", "0"},
		{"0e-999999", "0"},
		{"1", "1"},
		{"+1", "1"},
		{"-1", "-1"},
		{"007", "7"},
		{"1.", "1"},
		{".5", "0.5"},
		{"1.50", "1.5"},
		{"1.0E-5", "0.00001"},
		{"1e5", "100000"},
		{"1.25e1", "12.5"},
		{"12345e-2", "123.45"},
		{"1200", "1200"},
		{"1e125", "1" + strings.Repeat("0", 125)},
		{"1e-130", "0." + strings.Repeat("0", 129) + "1"},
		{"99999999999999999999999999999999999999", strings.Repeat("9", 38)},
		{"9" + strings.Repeat("0", 60), "9" + strings.Repeat("0", 60)},
		{"0." + strings.Repeat("0", 60) + "9", "0." + strings.Repeat("0", 60) + "9"},
	} {
		got, err := table.Canonical(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("Canonical(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", " 1", "1 ", "-", "+", ".", "e5", "1e", "1e+", "1.2.3", "--1", "0x10", "1_000", "NaN", "Infinity", "1e99999999999", "1e126", "-1e126", "1e-131", strings.Repeat("1", 39), "1e-99999999", "٣"} {
		if got, err := table.Canonical(in); err == nil {
			t.Errorf("Canonical(%q) = %q, want an error", in, got)
		}
	}
}

// number draws the text of a number that DynamoDB takes.
func number() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		digits := rapid.StringMatching(`[0-9]{1,19}(\.[0-9]{1,19})?`).Draw(t, "digits")
		sign := rapid.SampledFrom([]string{"", "-", "+"}).Draw(t, "sign")
		exp := rapid.SampledFrom([]string{"", "e0", "E5", "e-5", "e+80", "e-100"}).Draw(t, "exp")
		return sign + digits + exp
	})
}

func rat(t interface{ Fatalf(string, ...any) }, s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("math/big does not read %q", s)
	}
	return r
}

// TestNumbersAgainstBig compares values, order, keys and sums with math/big.
func TestNumbersAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		as, bs := number().Draw(t, "a"), number().Draw(t, "b")
		a, err := table.Canonical(as)
		if err != nil {
			t.Fatalf("Canonical(%q): %v", as, err)
		}
		b, err := table.Canonical(bs)
		if err != nil {
			t.Fatalf("Canonical(%q): %v", bs, err)
		}
		x, y := rat(t, a), rat(t, b)
		if x.Cmp(rat(t, as)) != 0 {
			t.Fatalf("Canonical(%q) = %q", as, a)
		}
		if again, err := table.Canonical(a); err != nil || again != a {
			t.Fatalf("Canonical(%q) = %q, %v", a, again, err)
		}
		if strings.ContainsAny(a, "eE+") || len(a) > 1 && strings.HasPrefix(a, "0") && a[1] != '.' {
			t.Fatalf("%q is not canonical", a)
		}
		if got, want := cmp.Compare(table.CompareNumbers(a, b), 0), x.Cmp(y); got != want {
			t.Fatalf("CompareNumbers(%q, %q) = %d, want %d", a, b, got, want)
		}
		ka, kb := table.NumberKey(a), table.NumberKey(b)
		if got, want := cmp.Compare(ka, kb), x.Cmp(y); got != want {
			t.Fatalf("keys of %q and %q compare as %d, want %d", a, b, got, want)
		}
		if a != b && (strings.HasPrefix(ka, kb) || strings.HasPrefix(kb, ka)) {
			t.Fatalf("key of one of %q and %q begins with the other's", a, b)
		}
		for _, minus := range []bool{false, true} {
			want := new(big.Rat).Add(x, y)
			if minus {
				want.Sub(x, y)
			}
			got, err := table.AddNumbers(a, b, minus)
			if err != nil {
				continue // more than 38 digits; TestAddNumbers has the limits
			}
			if rat(t, got).Cmp(want) != 0 {
				t.Fatalf("AddNumbers(%q, %q, %t) = %q, want %s", a, b, minus, got, want)
			}
			if c, err := table.Canonical(got); err != nil || c != got {
				t.Fatalf("AddNumbers(%q, %q, %t) = %q, which is not canonical", a, b, minus, got)
			}
		}
	})
}

func TestAddNumbers(t *testing.T) {
	nines := strings.Repeat("9", 38)
	for _, tt := range []struct {
		a, b  string
		minus bool
		want  string // "" for an error
	}{
		{"1", "2", false, "3"},
		{"1", "2", true, "-1"},
		{"0.1", "0.2", false, "0.3"},
		{"1", "1", true, "0"},
		{"0.5", "0.5", true, "0"},
		{"999999999999999999", "999999999999999999", false, "1999999999999999998"},
		{"-999999999999999999", "1", true, "-1000000000000000000"},
		{nines, "1", false, "1" + strings.Repeat("0", 38)},
		{nines, "2", false, ""},
		{"1", strings.Repeat("0", 0) + "0." + strings.Repeat("0", 36) + "1", false, "1." + strings.Repeat("0", 36) + "1"},
		{"1", "0." + strings.Repeat("0", 37) + "1", false, ""},
		{"9" + strings.Repeat("0", 125), "9" + strings.Repeat("0", 125), false, ""},
	} {
		got, err := table.AddNumbers(tt.a, tt.b, tt.minus)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("AddNumbers(%q, %q, %t) = %q, %v, want %q", tt.a, tt.b, tt.minus, got, err, tt.want)
		}
	}
}

// TestTextKeys checks that the order of keys is that of strings, zeros
// included.
func TestTextKeys(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 'b', 0xFF, 0x10FFFF}), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		ka, kb := table.TextKey(a), table.TextKey(b)
		if got, want := cmp.Compare(ka, kb), cmp.Compare(a, b); got != want {
			t.Fatalf("keys of %q and %q compare as %d, want %d", a, b, got, want)
		}
		if a != b && strings.HasPrefix(ka, kb) {
			t.Fatalf("key of %q begins with that of %q", a, b)
		}
		if got, want := strings.HasPrefix(ka, table.TextKeyPrefix(b)), strings.HasPrefix(a, b); got != want {
			t.Fatalf("key of %q begins with the prefix of %q: %t, want %t", a, b, got, want)
		}
	})
}

// TestItemSize counts sizes as the developer guide does.
func TestItemSize(t *testing.T) {
	for _, tt := range []struct {
		item string
		want int
	}{
		{`{"k":{"S":"abc"}}`, 1 + 3},
		{`{"k":{"S":"é"}}`, 1 + 2},
		{`{"k":{"B":"AQID"}}`, 1 + 3},
		{`{"k":{"BOOL":true}}`, 1 + 1},
		{`{"k":{"NULL":true}}`, 1 + 1},
		{`{"k":{"N":"0"}}`, 1 + 1},
		{`{"k":{"N":"27"}}`, 1 + 2},
		{`{"k":{"N":"-27"}}`, 1 + 3},
		{`{"k":{"N":"461"}}`, 1 + 3},
		{`{"k":{"SS":["ab","c"]}}`, 1 + 3},
		{`{"k":{"L":[]}}`, 1 + 3},
		{`{"k":{"M":{}}}`, 1 + 3},
		{`{"k":{"L":[{"S":"ab"},{"BOOL":true}]}}`, 1 + 3 + 1 + 2 + 1 + 1},
		{`{"k":{"M":{"xy":{"S":"ab"}}}}`, 1 + 3 + 1 + 2 + 2},
	} {
		req, err := table.Parse("PutItem", []byte(`{"TableName":"tab","Item":`+tt.item+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := table.ItemSize(req); got != tt.want {
			t.Errorf("size of %s = %d, want %d", tt.item, got, tt.want)
		}
	}
}
