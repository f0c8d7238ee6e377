package demo

import "io"

// NewLiveScreen is a screen on a terminal of a given width.
func NewLiveScreen(out io.Writer, width int) *Screen {
	s := NewScreen(out)
	s.live, s.width = true, func() int { return width }
	return s
}

// Pair is pair.
var Pair = pair
