package matrix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Line says in one line what came of a row, and below it what did not go well.
func (o Outcome) Line() string {
	var b strings.Builder
	good := 0
	for _, c := range o.Checks {
		if c.OK {
			good++
		}
	}
	switch {
	case o.Skipped != "":
		fmt.Fprintf(&b, "SKIP %-14s %s", o.Row, o.Skipped)
	case o.OK():
		fmt.Fprintf(&b, "ok   %-14s %3d checks %6.1fs  %s %s", o.Row, good, o.Seconds, o.Client, o.Version)
	default:
		fmt.Fprintf(&b, "FAIL %-14s %d of %d checks %.1fs  %s %s", o.Row, good, len(o.Checks), o.Seconds, o.Client, o.Version)
	}
	for _, c := range o.Checks {
		if !c.OK {
			fmt.Fprintf(&b, "\n     %s: %s", c.Check, c.Detail)
		}
	}
	if o.Failed != "" {
		fmt.Fprintf(&b, "\n     %s", strings.ReplaceAll(o.Failed, "\n", "\n     "))
	}
	return b.String()
}

// Merge puts what has been run in the place of what was known of these rows. What
// was skipped leaves what is known as it is. Rows that the matrix no longer has
// are left out.
func (m Matrix) Merge(known, ran []Outcome) []Outcome {
	var out []Outcome
	for _, row := range m.Rows {
		is := func(o Outcome) bool { return o.Row == row.Name && o.Skipped == "" && !row.Short }
		for _, from := range [][]Outcome{ran, known} {
			if i := slices.IndexFunc(from, is); i >= 0 {
				out = append(out, from[i])
				break
			}
		}
	}
	return out
}

// ReadOutcomes reads what is known of rows. A file that is not there knows
// nothing.
func ReadOutcomes(name string) ([]Outcome, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Outcome
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// WriteOutcomes writes what is known.
func WriteOutcomes(name string, all []Outcome) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

const pageHead = `# Compatibility

What official clients have done against streamd. This page is written by
` + "`make interop`" + `, and says nothing that was not run on the date beside it.
What the machine of a run lacked is left as it was known.

`

// Page renders docs/compatibility.md.
func (m Matrix) Page(known []Outcome) []byte {
	var b bytes.Buffer
	b.WriteString(pageHead)
	b.WriteString("| client | version | runs on | tried | went well | date |\n|---|---|---|---:|---:|---|\n")
	for _, o := range known {
		good := 0
		for _, c := range o.Checks {
			if c.OK {
				good++
			}
		}
		result := fmt.Sprint(good)
		if o.Failed != "" {
			result += ", then failed"
		}
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %d | %s | %s |\n", cell(o.title()), anchor(o.heading()), cell(o.Version), cell(o.Runtime), len(o.Checks), result, o.Date)
	}
	for _, row := range m.Rows {
		if !row.Short && !slices.ContainsFunc(known, func(o Outcome) bool { return o.Row == row.Name }) {
			fmt.Fprintf(&b, "| %s | | | 0 | not run yet | |\n", cell(row.Name))
		}
	}
	if len(m.Absent) > 0 {
		b.WriteString("\n## What could not be had\n\nThese clients do not run. Requests written after their documentation and sources\nstand for them in the tests of streamd, marked fixtures.\n\n| client | tried | said | date | fixtures |\n|---|---|---|---|---|\n")
		for _, a := range m.Absent {
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", cell(a.Client), cell(a.Tried), cell(a.Error), a.Date, cell(a.Cover))
		}
	}
	for _, o := range known {
		fmt.Fprintf(&b, "\n## %s\n\n", o.heading())
		if o.Failed != "" {
			first, _, _ := strings.Cut(o.Failed, "\n")
			fmt.Fprintf(&b, "Failed: %s\n\n", cell(first))
		}
		if len(o.Checks) == 0 {
			continue
		}
		b.WriteString("| exercised | result | detail |\n|---|---|---|\n")
		for _, c := range o.Checks {
			result := "ok"
			if !c.OK {
				result = "**failed**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(c.Check), result, cell(c.Detail))
		}
	}
	return b.Bytes()
}

func (o Outcome) title() string {
	if o.Client == "" {
		return o.Row
	}
	return o.Client
}

// heading is unique: one client may have several rows.
func (o Outcome) heading() string {
	return strings.TrimSpace(o.title()+" "+o.Version) + " (" + o.Row + ")"
}

// anchor is what a heading's link is called.
func anchor(heading string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(heading) {
		switch {
		case c == ' ':
			b.WriteByte('-')
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_':
			b.WriteRune(c)
		}
	}
	return b.String()
}

// cell is text that does not end a cell of a table.
func cell(text string) string {
	const most = 400
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strings.ReplaceAll(text, "|", `\|`)
}

// Publish adds what has been run to what is known, and writes both its files
// below root: the page, and what it is made of.
func Publish(root string, m Matrix, ran []Outcome) error {
	name := filepath.Join(root, filepath.FromSlash(ResultsFile))
	known, err := ReadOutcomes(name)
	if err != nil {
		return err
	}
	known = m.Merge(known, ran)
	if err := WriteOutcomes(name, known); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(PageFile)), m.Page(known), 0o644)
}

// Where the results are kept, in the checkout.
const (
	ResultsFile = "integration/interop/matrix/results.json"
	PageFile    = "docs/compatibility.md"
)
