package tail_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern  string
		yes, no  []string
		mustFail bool
	}{
		{pattern: "app.log", yes: []string{"app.log"}, no: []string{"app_log", "app.log.1", "xapp.log"}},
		{pattern: "app.log*", yes: []string{"app.log", "app.log.1"}, no: []string{"app.lo"}},
		{pattern: "*", yes: []string{"a", ".hidden", "ü", "a\nb"}},
		{pattern: "a?c", yes: []string{"abc", "aüc"}, no: []string{"ac", "abbc"}},
		{pattern: "[a-c]x", yes: []string{"ax", "cx"}, no: []string{"dx", "-x"}},
		{pattern: "[!a-c]x", yes: []string{"dx", "!x"}, no: []string{"ax"}},
		{pattern: "[^a]x", yes: []string{"^x", "ax"}, no: []string{"bx"}},
		{pattern: "[-a]x", yes: []string{"-x", "ax"}, no: []string{"bx"}},
		{pattern: "[a-]x", yes: []string{"-x", "ax"}, no: []string{"bx"}},
		{pattern: "[.*?]x", yes: []string{".x", "*x"}, no: []string{"ax"}},
		{pattern: "*.{log,txt}", yes: []string{"a.log", "a.txt"}, no: []string{"a.logtxt", "a.{log,txt}"}},
		{pattern: "{a*,b?}c", yes: []string{"aaac", "bxc"}, no: []string{"bc"}},
		{pattern: `a\*b`, yes: []string{"a*b"}, no: []string{"axb", `a\*b`}},
		{pattern: "a,b", yes: []string{"a,b"}},
		{pattern: "a}b", yes: []string{"a}b"}},
		{pattern: "(a|b)+$", yes: []string{"(a|b)+$"}, no: []string{"a"}},
		{pattern: "[a", mustFail: true},
		{pattern: "{a", mustFail: true},
		{pattern: "{a{b}}", mustFail: true},
		{pattern: `a\`, mustFail: true},
		{pattern: "[a/]", mustFail: true},
		{pattern: "[c-a]", mustFail: true},
	} {
		g, err := tail.ParseGlob(tt.pattern)
		if tt.mustFail {
			if err == nil {
				t.Errorf("%q is accepted", tt.pattern)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
			continue
		}
		for _, name := range tt.yes {
			if !g.Match(name) {
				t.Errorf("%q does not match %q", tt.pattern, name)
			}
		}
		for _, name := range tt.no {
			if g.Match(name) {
				t.Errorf("%q matches %q", tt.pattern, name)
			}
		}
	}
}

func FuzzParseGlob(f *testing.F) {
	f.Add("*.{log,[a-z]x}", "a.log")
	f.Fuzz(func(_ *testing.T, pattern, name string) {
		if g, err := tail.ParseGlob(pattern); err == nil {
			g.Match(name)
		}
	})
}

func TestCompressed(t *testing.T) {
	for name, want := range map[string]bool{"a.gz": true, "a.BZ2": true, "a.Zip": true, ".gz": true, "gz": false, "a.gz.1": false} {
		if got := tail.Compressed(name); got != want {
			t.Errorf("Compressed(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestPrefixAndMarker(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 200)
	r := bytes.NewReader(content)
	var h tail.Head
	if err := h.Read(r, int64(len(content))); err != nil {
		t.Fatal(err)
	}
	if p := h.Print(); p.Len != tail.PrefixMax || p != tail.PrintOf(content[:1024]) {
		t.Errorf("prefix %+v", p)
	}
	if !h.Has(tail.PrintOf(content[:17])) || !h.Has(tail.Print{}) || h.Has(tail.PrintOf([]byte("0124"))) {
		t.Error("Has does not compare with a shorter prefix")
	}
	for _, tt := range []struct {
		off    int64
		marker tail.Print
		want   bool
	}{
		{100, tail.PrintOf(content[36:100]), true},
		{100, tail.PrintOf(content[95:100]), true},
		{101, tail.PrintOf(content[36:100]), false},
		{3, tail.PrintOf(content[:3]), true},
		{3, tail.PrintOf(content[:4]), false},
		{5, tail.Print{}, true},
		{3000, tail.PrintOf(content[:64]), false},
	} {
		if got, err := tail.Marked(r, tt.off, tt.marker); err != nil || got != tt.want {
			t.Errorf("Marked(%d, %+v) = %v, %v, want %v", tt.off, tt.marker, got, err, tt.want)
		}
	}
}

func TestIDSurvivesRename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := vfs.Open(vfs.OS, path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := tail.IDOf(path, before), tail.IDOf(path, after); a != b || a == (tail.ID{}) {
		t.Errorf("identity %v before, %v after", a, b)
	}
	if tail.Links(after) != 1 {
		t.Errorf("%d links, want 1", tail.Links(after))
	}
}

func TestPool(t *testing.T) {
	woken := 0
	p := tail.NewPool[[72]byte](1<<20, func() { woken++ })
	a, b := p.Get(1), p.Get(1)
	if a == nil || b == nil || p.Get(1) != nil {
		t.Fatalf("%d bytes in use of %d", p.Used(), p.Limit())
	}
	a.Keep()
	a.Release()
	if p.Get(1) != nil {
		t.Error("a chunk in use was given away")
	}
	a.Release()
	if woken != 1 {
		t.Errorf("woken %d times, want 1", woken)
	}
	if c := p.Get(1); c != a {
		t.Error("the free chunk is not used again")
	} else {
		c.Release()
	}
	b.Release()
	if p.Used() != 0 {
		t.Errorf("%d bytes in use at the end", p.Used())
	}
	// A line longer than the budget must pass some time.
	if c := p.Get(4 << 20); c == nil || len(c.Buf) != 4<<20 {
		t.Error("an empty pool refuses a large chunk")
	}
}
