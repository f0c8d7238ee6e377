package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Screen prints what happens. On a terminal a block of lines at the bottom is
// drawn anew in its place, and messages scroll above it; elsewhere all is
// plain lines. It is safe for concurrent use.
type Screen struct {
	out   io.Writer
	live  bool
	color bool
	size  func() (width, height int)
	start time.Time

	mu    sync.Mutex // guards the fields below, and what is written
	block []string   // as drawn
}

// NewScreen prints to out, live if that is a terminal.
func NewScreen(out io.Writer) *Screen {
	s := &Screen{out: out, start: time.Now(), size: func() (int, int) { return 80, 24 }}
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return s
	}
	s.live, s.color = true, os.Getenv("NO_COLOR") == ""
	s.size = func() (int, int) {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
		return 80, 24
	}
	return s
}

// Live reports whether Draw draws.
func (s *Screen) Live() bool { return s.live }

// Say prints a message for good.
func (s *Screen) Say(format string, args ...any) {
	s.print(fmt.Sprintf(format, args...))
}

// Event prints a message with the time since the start.
func (s *Screen) Event(format string, args ...any) {
	mark, end := "", ""
	if s.color {
		mark, end = "\x1b[1m", "\x1b[0m"
	}
	s.print(fmt.Sprintf("%6.1fs  %s%s%s", time.Since(s.start).Seconds(), mark, fmt.Sprintf(format, args...), end))
}

func (s *Screen) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	s.eraseLocked(&b)
	b.WriteString(text)
	b.WriteByte('\n')
	s.drawLocked(&b)
	_, _ = io.WriteString(s.out, b.String()) // a closed terminal must not stop the demo
}

// Draw replaces the block. Without a terminal it does nothing.
func (s *Screen) Draw(block []string) {
	if !s.live {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	s.eraseLocked(&b)
	// A block higher than the terminal would scroll, and its first line could
	// not be found again.
	width, height := s.size()
	block = block[:min(len(block), max(0, height-2))]
	s.block = s.block[:0]
	for _, line := range block {
		s.block = append(s.block, clip(line, width-1))
	}
	s.drawLocked(&b)
	_, _ = io.WriteString(s.out, b.String())
}

// Clear removes the block.
func (s *Screen) Clear() { s.Draw(nil) }

// eraseLocked goes back to the first line of the block and clears from there.
func (s *Screen) eraseLocked(b *strings.Builder) {
	if len(s.block) > 0 {
		fmt.Fprintf(b, "\x1b[%dA\r\x1b[J", len(s.block))
	}
}

func (s *Screen) drawLocked(b *strings.Builder) {
	for _, line := range s.block {
		b.WriteString(line)
		b.WriteByte('\n')
	}
}

// clip cuts a line to a number of characters, so that it fills one row only
// and the way back to the first line of the block is known.
func clip(line string, width int) string {
	if width < 1 {
		width = 1
	}
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width])
}

// number writes n with separators between groups of three digits.
func number[T int | int64 | uint64](n T) string {
	text := fmt.Sprint(n)
	var b strings.Builder
	for i, c := range text {
		if i > 0 && (len(text)-i)%3 == 0 && text[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// megabytes writes a number of bytes in millions.
func megabytes[T int64 | uint64](n T) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// bar draws a fraction.
func bar(fraction float64, width int) string {
	full := max(0, min(width, int(fraction*float64(width)+0.5)))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
