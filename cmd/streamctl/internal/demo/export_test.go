package demo

import "io"

// NewLiveScreen is a screen on a terminal of a given size.
func NewLiveScreen(out io.Writer, width, height int) *Screen {
	s := NewScreen(out)
	s.live, s.size = true, func() (int, int) { return width, height }
	return s
}

// Pair is pair.
var Pair = pair
