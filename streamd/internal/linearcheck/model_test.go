package linearcheck_test

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// keys is how many items the table has: few, so that clients meet.
const keys = 3

// state is the table: the counter of each item, absent for none.
type state [keys]int

const absent = -1

type kind uint8

const (
	get kind = iota
	create
	count  // n = n + 1 if n = want
	remove // if n = want
	move   // in a transaction: count key if n = want, create other if it is not there
	look   // in a transaction: read key and other
	kinds
)

// input is a request.
type input struct {
	kind       kind
	key, other int
	want       int
}

// output is an answer.
type output struct {
	unknown bool // whether it was done is not known
	refused bool // it was not done
	ok      bool
	n, m    int // of get and look
}

// step says what an operation does to the table, and what it answers.
func (s state) step(in input) (state, output) {
	out := output{ok: true}
	n := &s[in.key]
	switch in.kind {
	case get:
		out.n = *n
	case look:
		out.n, out.m = *n, s[in.other]
	case create:
		if out.ok = *n == absent; out.ok {
			*n = 0
		}
	case count:
		if out.ok = *n != absent && *n == in.want; out.ok {
			*n++
		}
	case remove:
		if out.ok = *n != absent && *n == in.want; out.ok {
			*n = absent
		}
	case move:
		if out.ok = *n != absent && *n == in.want && s[in.other] == absent; out.ok {
			*n++
			s[in.other] = 0
		}
	case kinds: // is none
	}
	return s, out
}

// model is the table as porcupine knows it.
var model = porcupine.NondeterministicModel{
	Init: func() []any {
		var s state
		for i := range s {
			s[i] = absent
		}
		return []any{s}
	},
	Step: func(st, in, out any) []any {
		before := st.(state)
		after, want := before.step(in.(input))
		switch got := out.(output); {
		case got.unknown:
			return []any{before, after}
		case got == want:
			return []any{after}
		}
		return nil
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v: %+v", in, out) },
}
