package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table prints columns of text, as wide as they need to be.
type table struct {
	lines []string
}

func newTable(header ...string) *table {
	t := &table{}
	t.row(header...)
	return t
}

func (t *table) row(cells ...string) {
	t.lines = append(t.lines, strings.Join(cells, "\t"))
}

func (t *table) write(w io.Writer) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, l := range t.lines {
		fmt.Fprintln(tw, l)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	// No blanks at the ends of lines, which an empty last cell leaves.
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// count writes a number with its noun in the right number.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
