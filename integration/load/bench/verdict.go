package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/integration/load/gen"
)

// A Spread is the median of several measurements and their range.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spread returns the zero Spread of nothing. The median of an even number of
// values is the mean of the two in the middle.
func spread(values []float64) Spread {
	n := len(values)
	if n == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

// over applies f to each result.
func over(results []gen.Result, f func(gen.Result) float64) Spread {
	var values []float64
	for _, r := range results {
		values = append(values, f(r))
	}
	return spread(values)
}

// Share returns ours as a share of the cap.
func (o Outcome) Share() Spread {
	return ratio(o.Ours, o.Caps, gen.Result.Rate)
}

// ShareOf returns ours as a share of limit i.
func (o Outcome) ShareOf(i int) Spread {
	rate, _ := o.unit(i)
	return ratio(o.Ours, o.Beside[i], rate)
}

// ratio divides by pairs: the two of one round were measured one after the other.
func ratio(ours, other []gen.Result, of func(gen.Result) float64) Spread {
	var values []float64
	for i := range min(len(ours), len(other)) {
		if v := of(other[i]); v > 0 {
			values = append(values, of(ours[i])/v)
		}
	}
	return spread(values)
}

// unit returns what ours and limit i are compared by, and how that is shown:
// records if both have them, else bytes.
func (o Outcome) unit(i int) (rate func(gen.Result) float64, text func(float64) string) {
	counts := func(r gen.Result) bool { return r.Count > 0 }
	if slices.ContainsFunc(o.Ours, counts) && slices.ContainsFunc(o.Beside[i], counts) {
		return gen.Result.Rate, func(v float64) string { return amount(v) + "/s" }
	}
	return gen.Result.ByteRate, byteRate
}

// A demand is one part of a target with what was measured.
type demand struct {
	text string // of the target
	got  string
	met  bool
	// unknown says that it was not measured: there was no cap, or the server is
	// not a process of ours.
	unknown bool
}

// demands compares the medians with the target.
func (o Outcome) demands() []demand {
	var out []demand
	known := func(s Spread) bool { return s.Max > 0 }
	atLeast := func(want float64, got Spread, unit string, show func(float64) string) {
		if want > 0 {
			out = append(out, demand{">= " + show(want) + unit, show(got.Median) + unit, got.Median >= want, !known(got)})
		}
	}
	// set says what a demand in units of the yardstick was where it was set.
	set := func(where string) { out[len(out)-1].text += " (" + where + " where set)" }
	atMost := func(want float64, got Spread, what string, show func(float64) string) {
		if want > 0 {
			out = append(out, demand{what + " <= " + show(want), what + " " + show(got.Median), got.Median <= want, !known(got)})
		}
	}
	t, ours := o.Target, o.Ours
	atLeast(t.Share, o.Share(), " of cap", percent)
	for i, limit := range o.Limits {
		if i < len(o.Beside) {
			atLeast(limit.Share, o.ShareOf(i), " of "+limit.Name, percent)
		}
	}
	if at := t.At; at != nil {
		if t.Rate > 0 {
			atLeast(t.Rate/at.Rate, ratio(ours, o.Yard, gen.Result.Rate), " of null PutRecords/s", percent)
			set(amount(t.Rate) + "/s")
		}
		if t.CPU > 0 {
			atMost(float64(t.CPU)/float64(at.CPU), ratio(ours, o.Yard, cpuEach), "CPU", nullPuts)
			set(duration(float64(t.CPU)))
		}
	} else {
		atLeast(t.Rate, over(ours, gen.Result.Rate), "/s", amount)
		atMost(float64(t.CPU), over(ours, cpuEach), "CPU", duration)
	}
	atMost(float64(t.P50), over(ours, p50), "p50", duration)
	atMost(float64(t.P99), over(ours, p99), "p99", duration)
	atMost(float64(t.Start), over(ours, startTime), "start", duration)
	atMost(float64(t.RSS), over(ours, rss), "RSS", megabytes)
	if atMost(t.Busy, over(ours, gen.Result.Busy), "CPU", percent); t.Busy > 0 && known(over(ours, rss)) {
		out[len(out)-1].unknown = false // no CPU time at all is what is wanted
	}
	return out
}

// Verdict returns "met", or "missed" and by what; "-" if there is no target, or
// nothing that it is about was measured.
func (o Outcome) Verdict() string {
	switch {
	case o.Err != nil:
		return "failed: " + o.Err.Error()
	case o.NotServed:
		return "not served"
	}
	all := o.demands()
	var missed []string
	judged := 0
	for _, d := range all {
		if d.unknown {
			continue
		}
		judged++
		if !d.met {
			missed = append(missed, d.got)
		}
	}
	switch {
	case judged == 0:
		return "-"
	case len(missed) == 0:
		return "met"
	}
	return "missed: " + strings.Join(missed, ", ")
}

// Wanted returns the target in words.
func (o Outcome) Wanted() string {
	var words []string
	for _, d := range o.demands() {
		words = append(words, d.text)
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}

func cpuEach(r gen.Result) float64   { return float64(r.CPUEach()) }
func p50(r gen.Result) float64       { return float64(r.P50) }
func p99(r gen.Result) float64       { return float64(r.P99) }
func startTime(r gen.Result) float64 { return float64(r.StartTime) }
func rss(r gen.Result) float64       { return float64(r.RSS) }
func overhead(r gen.Result) float64  { return r.Overhead }
func optimum(r gen.Result) float64   { return r.Optimum }

func nullPuts(v float64) string  { return fmt.Sprintf("%.3g null PutRecords", v) }
func percent(v float64) string   { return fmt.Sprintf("%.3g%%", v*100) }
func megabytes(v float64) string { return fmt.Sprintf("%.0f MB", v/mb) }
func fewBytes(v float64) string  { return fmt.Sprintf("%.3g B", v) }

func amount(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3g k", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}

func byteRate(v float64) string {
	if v >= 1e9 {
		return fmt.Sprintf("%.3g GB/s", v/1e9)
	}
	return fmt.Sprintf("%.3g MB/s", v/1e6)
}

// duration shows nanoseconds in three digits.
func duration(v float64) string {
	d := time.Duration(v)
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3g ms", v/1e6)
	}
	return fmt.Sprintf("%.3g us", v/1e3)
}
