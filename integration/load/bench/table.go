package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/streamkit/streamkit/integration/load/gen"
)

// Print writes the table, and one of the limits of its rows if they have any, and one of
// the bytes that records take in the stream where that was measured. Medians are
// followed by min..max.
func Print(w io.Writer, cfg Config, machine Machine, outcomes []Outcome) error {
	var head, rows strings.Builder
	fmt.Fprintf(&head, "machine: %s\n", machine)
	fmt.Fprintf(&head, "settings: %d rounds of %v, cap and ours in turns, each on a fresh server; streamd %s; medians, and min..max of the rounds\n\n",
		cfg.Rounds, cfg.Duration, settings(cfg.StreamdArgs))
	if _, err := io.WriteString(w, head.String()); err != nil {
		return err
	}
	rows.WriteString("row\ttarget\tcap\tours\tshare\tCPU/record\tof cap\tp50 / p99\tRSS\tverdict\n")
	for _, o := range outcomes {
		rows.WriteString(strings.Join(o.cells(), "\t") + "\n")
	}
	var limits strings.Builder
	for _, o := range outcomes {
		for i := range o.Beside {
			limits.WriteString(strings.Join(o.limit(i), "\t") + "\n")
		}
	}
	if limits.Len() > 0 {
		rows.WriteString("\nrow\tlimit\tours\tthe limit\tshare\tCPU/record of the limit\tp50 / p99 of the limit\n" + limits.String())
	}
	var sizes strings.Builder
	for _, o := range outcomes {
		if s := over(o.Ours, overhead); s.Max > 0 {
			sizes.WriteString(o.Title + "\t" + show(s, fewBytes) + "\t" + show(over(o.Ours, optimum), fewBytes) + "\n")
		}
	}
	if sizes.Len() > 0 {
		rows.WriteString("\nrow\tin the stream beyond a record's data\tleast of the format\n" + sizes.String())
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(t, rows.String()); err != nil {
		return err
	}
	return t.Flush()
}

// limit is the line of limit i.
func (o Outcome) limit(i int) []string {
	rate, text := o.unit(i)
	return []string{o.Title, o.Limits[i].Name, show(over(o.Ours, rate), text), show(over(o.Beside[i], rate), text), show(o.ShareOf(i), percent), show(over(o.Beside[i], cpuEach), duration), pair(o.Beside[i])}
}

func settings(args []string) string {
	if len(args) == 0 {
		return "at its defaults"
	}
	return strings.Join(args, " ")
}

// cells are the columns of a row. A column that says nothing is "-".
func (o Outcome) cells() []string {
	return []string{
		o.Title, o.Wanted(), main(o.Caps), main(o.Ours),
		show(o.Share(), percent), show(over(o.Ours, cpuEach), duration), show(over(o.Caps, cpuEach), duration),
		pair(o.Ours), show(over(o.Ours, rss), megabytes), strings.Join(strings.Fields(o.Verdict()), " "),
	}
}

// main returns what a row is mainly about: its rate, in records if it has any,
// its start or its idleness.
func main(results []gen.Result) string {
	if s := over(results, gen.Result.Rate); s.Median > 0 {
		return show(s, amount) + " /s"
	}
	if s := over(results, gen.Result.ByteRate); s.Median > 0 {
		return show(s, byteRate)
	}
	if s := over(results, startTime); s.Median > 0 {
		return show(s, duration)
	}
	if len(results) == 0 {
		return "-"
	}
	busy := over(results, gen.Result.Busy)
	if busy.Max == 0 {
		return "0% CPU"
	}
	return show(busy, percent) + " CPU"
}

func pair(results []gen.Result) string {
	a, b := over(results, p50), over(results, p99)
	if a.Median == 0 {
		return "-"
	}
	return duration(a.Median) + " / " + show(b, duration)
}

// show writes a median and, if there is more than one value, their range.
func show(s Spread, f func(float64) string) string {
	switch {
	case s.Median == 0 && s.Max == 0:
		return "-"
	case s.Min == s.Max:
		return f(s.Median)
	}
	return fmt.Sprintf("%s (%s..%s)", f(s.Median), f(s.Min), f(s.Max))
}

// WriteJSON writes everything that was measured.
func WriteJSON(w io.Writer, cfg Config, machine Machine, outcomes []Outcome) error {
	type limit struct {
		Name    string       `json:"name"`
		Share   Spread       `json:"share"`
		Results []gen.Result `json:"results"`
	}
	type row struct {
		Name    string       `json:"name"`
		Title   string       `json:"title"`
		Target  string       `json:"target"`
		Verdict string       `json:"verdict"`
		Share   Spread       `json:"share"`
		Caps    []gen.Result `json:"caps"`
		Ours    []gen.Result `json:"ours"`
		Yard    []gen.Result `json:"yardstick,omitempty"`
		Limits  []limit      `json:"limits,omitempty"`
	}
	doc := struct {
		Machine Machine `json:"machine"`
		Rounds  int     `json:"rounds"`
		Seconds float64 `json:"seconds"`
		Args    string  `json:"streamd"`
		Rows    []row   `json:"rows"`
	}{machine, cfg.Rounds, cfg.Duration.Seconds(), settings(cfg.StreamdArgs), nil}
	for _, o := range outcomes {
		r := row{o.Name, o.Title, o.Wanted(), o.Verdict(), o.Share(), o.Caps, o.Ours, o.Yard, nil}
		for i := range o.Beside {
			r.Limits = append(r.Limits, limit{o.Limits[i].Name, o.ShareOf(i), o.Beside[i]})
		}
		doc.Rows = append(doc.Rows, r)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
