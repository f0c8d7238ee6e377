package consumer_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// exStep is what happens on the way from one world to the next: to or by a worker,
// numbered from 1, or the leader (0), or nobody of these.
type exStep struct {
	who  int8
	what string
	to   int8 // another worker; 0: none
	key  int8 // 1 + the number of the lease; 0: it does not matter
}

const exNobody = -1

var exNames = [...]string{"", "a", "b", "c"}

func (s exStep) String() string {
	who := ""
	if s.who != exNobody {
		who = cmp.Or(exNames[s.who], "the leader")
	}
	text := strings.TrimSpace(who + " " + s.what + " " + exNames[s.to])
	if s.key > 0 {
		text += fmt.Sprint(", lease ", s.key-1)
	}
	return text
}

// explorer visits every world that can be reached from a first one, breadth first. A
// world has fields of one byte alone: two are the same if their bytes are. All are
// kept as they are, in blocks, with how each was reached; the table beside them has their
// numbers, by a hash of their bytes. So a world takes no allocation of its own, and none
// is taken for another.
type explorer[W comparable] struct {
	// step calls visit with each world that is one step away. It may use the same world
	// for all.
	step func(w *W, visit func(next *W, what exStep))

	failed string // the rule that was broken
	depth  int    // how many steps to go at most; 0: no bound

	blocks [][]exWorld[W]
	count  int
	table  []uint32 // 1 + number; the length is a power of two
}

type exWorld[W comparable] struct {
	world W
	from  uint32
	nth   uint32 // of the steps that were possible there
}

const exBlock = 1 << 14

func (e *explorer[W]) fail(format string, args ...any) {
	if e.failed == "" {
		e.failed = fmt.Sprintf(format, args...)
	}
}

func (e *explorer[W]) at(i int) *exWorld[W] { return &e.blocks[i/exBlock][i%exBlock] }

// exOrders are all orders of three workers, by their numbers.
var exOrders = [...][4]int8{{0, 1, 2, 3}, {0, 1, 3, 2}, {0, 2, 1, 3}, {0, 2, 3, 1}, {0, 3, 1, 2}, {0, 3, 2, 1}}

func exBytes[W comparable](w *W) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(w)), unsafe.Sizeof(*w))
}

func exHash[W comparable](w *W) uint64 {
	b := exBytes(w)
	h := uint64(len(b))
	mix := func(v uint64) {
		hi, lo := bits.Mul64(h^v^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
		h = hi ^ lo
	}
	for ; len(b) >= 8; b = b[8:] {
		mix(binary.LittleEndian.Uint64(b))
	}
	for _, c := range b {
		mix(uint64(c))
	}
	return h ^ h>>32
}

// find returns the number of a world, or its place in the table.
func (e *explorer[W]) find(w *W) (number int, place uint64, ok bool) {
	mask := uint64(len(e.table) - 1)
	for place = exHash(w) & mask; ; place = (place + 1) & mask {
		n := e.table[place]
		if n == 0 {
			return 0, place, false
		}
		if e.at(int(n-1)).world == *w {
			return int(n - 1), place, true
		}
	}
}

// has reports whether a world was reached.
func (e *explorer[W]) has(w *W) bool {
	_, _, ok := e.find(w)
	return ok
}

// add keeps a world, unless it is known.
func (e *explorer[W]) add(w *W, from, nth int) bool {
	if 2*e.count >= len(e.table) {
		e.grow()
	}
	_, place, known := e.find(w)
	if known {
		return false
	}
	if e.count%exBlock == 0 {
		e.blocks = append(e.blocks, make([]exWorld[W], 0, exBlock))
	}
	last := &e.blocks[len(e.blocks)-1]
	*last = append(*last, exWorld[W]{*w, uint32(from), uint32(nth)})
	e.count++
	e.table[place] = uint32(e.count)
	return true
}

func (e *explorer[W]) grow() {
	old := e.table
	e.table = make([]uint32, max(1<<10, 2*len(old)))
	for _, n := range old {
		if n != 0 {
			_, place, _ := e.find(&e.at(int(n - 1)).world)
			e.table[place] = n
		}
	}
}

// explore goes on until there is nothing new, or a rule is broken: then it returns the
// steps to there.
func (e *explorer[W]) explore(first W) (way []string) {
	oneByte(reflect.TypeFor[W]())
	e.add(&first, 0, 0)
	depth, until := 0, 1 // the first world that is a step further
	for i := 0; ; i++ {
		if i == e.count {
			return nil
		}
		if i == until {
			depth, until = depth+1, e.count
		}
		if e.depth > 0 && depth == e.depth {
			return nil
		}
		nth := -1
		e.step(&e.at(i).world, func(next *W, what exStep) {
			nth++
			if way == nil && e.failed != "" {
				way = append(e.trace(i), what.String(), e.failed)
			}
			if way == nil {
				e.add(next, i, nth)
			}
		})
		if way != nil {
			return way
		}
	}
}

// trace returns the steps to a world. Where worlds are told apart only by what matters,
// workers of one kind may change their names on the way.
func (e *explorer[W]) trace(i int) (steps []string) {
	for ; i > 0; i = int(e.at(i).from) {
		nth := int(e.at(i).nth)
		e.step(&e.at(int(e.at(i).from)).world, func(_ *W, what exStep) {
			if nth == 0 {
				steps = append(steps, what.String())
			}
			nth--
		})
	}
	slices.Reverse(steps)
	return steps
}

// oneByte makes sure that a world has no padding, and nothing that points elsewhere.
func oneByte(t reflect.Type) {
	switch t.Kind() {
	case reflect.Int8, reflect.Uint8, reflect.Bool:
	case reflect.Array:
		oneByte(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			oneByte(f.Type)
		}
	default:
		panic(fmt.Sprintf("a world has a field of type %v, which is more than a byte", t))
	}
}

// judge reports what an exploration has found: the way to a world that breaks a rule.
func judge(t *testing.T, way []string, want string) {
	t.Helper()
	switch found := strings.Join(way, "\n"); {
	case want == "" && found != "":
		t.Errorf("this breaks a rule:\n%s", found)
	case !strings.Contains(found, want):
		t.Errorf("found %q, want %q", found, want)
	}
}

// sameReached compares two explorations that go equally far: one of all worlds, and one of
// those that stand for others. Each world of the first must be stood for in the
// second, and if it is to be exact, there must be none else.
func sameReached[W comparable](t *testing.T, all, few *explorer[W], plain func(W) W, exact bool) {
	t.Helper()
	stands := make(map[W]bool, few.count)
	for i := range all.count {
		w := plain(all.at(i).world)
		if stands[w] {
			continue
		}
		stands[w] = true
		if !few.has(&w) {
			t.Fatalf("a world is left out: it stands for\n%+v\nwhich is reached by\n%s", all.at(i).world, strings.Join(all.trace(i), "\n"))
		}
	}
	for i := range few.count {
		if w := few.at(i).world; exact && !stands[w] {
			t.Fatalf("a world is not stood for by any: %+v\nreached by\n%s", w, strings.Join(few.trace(i), "\n"))
		}
	}
}
