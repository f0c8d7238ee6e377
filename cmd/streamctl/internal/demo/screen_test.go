package demo_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
)

// rows interprets the few control sequences that a Screen writes and returns
// what a terminal would show.
func rows(t *testing.T, out string) []string {
	t.Helper()
	screen := []string{""}
	for len(out) > 0 {
		switch {
		case strings.HasPrefix(out, "\n"):
			screen, out = append(screen, ""), out[1:]
		case strings.HasPrefix(out, "\r"):
			out = out[1:]
		case strings.HasPrefix(out, "\x1b["):
			end := strings.IndexAny(out, "AJm")
			n := 0
			for _, c := range out[2:end] {
				n = 10*n + int(c-'0')
			}
			if out[end] == 'A' {
				if n >= len(screen) {
					t.Fatalf("moved up %d rows of %d", n, len(screen))
				}
				screen = screen[:len(screen)-n]
				screen[len(screen)-1] = "" // what follows is \r and clear
			}
			out = out[end+1:]
		default:
			end := strings.IndexAny(out, "\n\r\x1b")
			if end < 0 {
				end = len(out)
			}
			screen[len(screen)-1] += out[:end]
			out = out[end:]
		}
	}
	return screen
}

func TestScreenRedrawsInPlace(t *testing.T) {
	var out bytes.Buffer
	s := demo.NewLiveScreen(&out, 20, 6)
	s.Say("one")
	s.Draw([]string{"a 1", "b 1"})
	s.Say("two")
	s.Draw([]string{"a 2", "b 2", strings.Repeat("ä", 30)})
	s.Draw([]string{"a 3"})
	s.Say("three")
	want := "one|two|three|a 3|"
	if got := strings.Join(rows(t, out.String()), "|"); got != want {
		t.Errorf("screen shows %q, want %q", got, want)
	}
	s.Draw([]string{strings.Repeat("ä", 30)})
	if got := rows(t, out.String()); got[3] != strings.Repeat("ä", 19) {
		t.Errorf("row %q is not cut to the width", got[3])
	}
	s.Draw(strings.Split("a b c d e f g h", " "))
	if got := strings.Join(rows(t, out.String()), "|"); got != "one|two|three|a|b|c|d|" {
		t.Errorf("screen of six rows shows %q", got)
	}
	s.Clear()
	if got := strings.Join(rows(t, out.String()), "|"); got != "one|two|three|" {
		t.Errorf("screen shows %q after Clear", got)
	}
}

func TestScreenWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	s := demo.NewScreen(&out)
	s.Draw([]string{"never"})
	s.Say("one")
	s.Clear()
	if out.String() != "one\n" {
		t.Errorf("output %q", out.String())
	}
}
