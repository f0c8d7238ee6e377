package tail_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	p := tail.NewBudget[[72]byte](1 << 20).Pool(func() { woken++ })
	a, b := p.Get(1), p.Get(1)
	if a == nil || b == nil || p.Get(1) != nil {
		t.Fatalf("%d bytes in use of %d", p.Used(), 1<<20)
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

// One pool whose chunks do not come back leaves the others room.
func TestBudgetIsShared(t *testing.T) {
	const limit = 4 << 20
	b := tail.NewBudget[[72]byte](limit)
	woken := 0
	greedy, late := b.Pool(func() {}), b.Pool(func() { woken++ })
	var held []*tail.Chunk[[72]byte]
	for {
		c := greedy.Get(1)
		if c == nil {
			break
		}
		held = append(held, c)
	}
	if greedy.Used() <= limit/2 {
		t.Errorf("one pool alone gets %d bytes of %d", greedy.Used(), limit)
	}
	first, second := late.Get(1), late.Get(1)
	if first == nil || second == nil {
		t.Fatal("the other pool has no room for two chunks")
	}
	if b.Used() > limit {
		t.Errorf("%d bytes are in use, the budget is %d", b.Used(), limit)
	}
	if late.Get(1) != nil {
		t.Fatal("more than the budget")
	}
	held[0].Release()
	if woken != 1 {
		t.Errorf("who waits for memory was told %d times that some came back, want 1", woken)
	}
	for _, c := range append(held[1:], first, second) {
		c.Release()
	}
	greedy.Close()
	if b.Used() != 0 {
		t.Errorf("%d bytes in use at the end", b.Used())
	}
}

func gzipped(t *testing.T, content []byte) vfs.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.gz")
	var b bytes.Buffer
	half := len(content) / 2
	for _, part := range [][]byte{content[:half], content[half:]} { // two members, as appending makes them
		w := gzip.NewWriter(&b)
		_, err := w.Write(part)
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := vfs.Open(vfs.OS, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestGzip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	content := make([]byte, 1<<20)
	for i := range content {
		content[i] = byte('a' + rng.IntN(8))
	}
	z, err := tail.OpenGzip(gzipped(t, content))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := z.Measure(); err != nil || n != int64(len(content)) {
		t.Fatalf("Measure: %d, %v, want %d", n, err, len(content))
	}
	if fi, err := z.Stat(); err != nil || fi.Size() != int64(len(content)) {
		t.Errorf("Stat: %v, %v", fi.Size(), err)
	}
	buf := make([]byte, 400_000)
	for range 60 {
		off := rng.Int64N(int64(len(content)) + 100)
		b := buf[:rng.IntN(len(buf))]
		n, err := z.ReadAt(b, off)
		want := content[min(off, int64(len(content))):]
		want = want[:min(len(want), len(b))]
		if !bytes.Equal(b[:n], want) || (err == nil) != (n == len(b)) {
			t.Fatalf("ReadAt(%d bytes, %d): %d, %v, want %d of them", len(b), off, n, err, len(want))
		}
	}
}

// A compressed file that is still being written is not taken for a whole one.
func TestGzipCutShort(t *testing.T) {
	f := gzipped(t, bytes.Repeat([]byte("some text\n"), 1000))
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for size := range fi.Size() {
		if err := os.Truncate(f.Name(), fi.Size()-1-size); err != nil {
			t.Fatal(err)
		}
		z, err := tail.OpenGzip(f)
		if err == nil {
			_, err = z.Measure()
		}
		// What ends behind the first of its members is whole.
		if err == nil && size < 8 {
			t.Fatalf("%d bytes are missing, and no error", size+1)
		}
	}
}

func TestPath(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/x.log", "a/b/x.log", "a/b/c/x.log", "d1/y.log", "d2/y.log", "d2/z.txt", "e/d1/y.log"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "a", "loop")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		pattern string
		want    string // directories
		yes, no []string
	}{
		{"a/*.log", "a", []string{"a/x.log"}, []string{"a/b/x.log", "b/x.log", "ax/x.log"}},
		{"d?/*.log", "d1 d2", []string{"d1/y.log"}, []string{"d1/z.txt", "e/d1/y.log"}},
		{"a/**/*.log", "a a/b a/b/c", []string{"a/x.log", "a/b/c/x.log"}, []string{"d1/x.log"}},
		{"**/d1/*", "d1 e/d1", []string{"d1/y.log", "e/d1/y.log"}, []string{"d2/y.log"}},
		{"{a,e}/*/y.log", "a/b a/loop e/d1", []string{"e/d1/y.log"}, []string{"e/y.log"}},
		{"*/d1/y.log", "e/d1", nil, []string{"d1/y.log"}},
		{"none/*/x", "", nil, nil},
	} {
		p, err := tail.ParsePath(filepath.Join(dir, filepath.FromSlash(tt.pattern)))
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		var got []string
		p.Walk(vfs.OS, func(d string) {
			rel, err := filepath.Rel(dir, d)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, filepath.ToSlash(rel))
		}, func(string) {}, func(d string, err error) {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s: %v", tt.pattern, d, err)
			}
		})
		slices.Sort(got)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: directories %v, want %s", tt.pattern, got, tt.want)
		}
		for _, name := range tt.yes {
			if !p.Match(filepath.Join(dir, name)) {
				t.Errorf("%s does not match %s", tt.pattern, name)
			}
		}
		for _, name := range tt.no {
			if p.Match(filepath.Join(dir, name)) {
				t.Errorf("%s matches %s", tt.pattern, name)
			}
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("/var/**/[a-z]x/*.log", "/var/a/bx/c.log")
	f.Add("*", "/")
	f.Fuzz(func(_ *testing.T, pattern, path string) {
		if p, err := tail.ParsePath(pattern); err == nil {
			p.Match(path)
		}
	})
}

func FuzzGzip(f *testing.F) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte("some text"))
	_ = w.Close()
	f.Add(b.Bytes(), int64(3))
	path := filepath.Join(f.TempDir(), "a.gz")
	f.Fuzz(func(t *testing.T, data []byte, off int64) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := vfs.Open(vfs.OS, path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		z, err := tail.OpenGzip(file)
		if err != nil {
			return
		}
		size, err := z.Measure()
		if err != nil {
			return
		}
		buf := make([]byte, 100)
		if n, err := z.ReadAt(buf, min(max(off, 0), 1<<20)); err == nil && n < len(buf) || int64(n) > size {
			t.Errorf("%d bytes of %d without an error", n, size)
		}
	})
}
