package tables

import "fmt"

// Difference is a request to which streamd and another server gave different
// answers.
type Difference struct {
	At           int // place in the corpus
	Request      Request
	Ours, Theirs Answer
	Decision     string // name of the decision that explains it, empty if none does
}

// String returns d over some lines.
func (d Difference) String() string {
	return fmt.Sprintf("#%d %s %s\n   ours   %s\n   theirs %s\n   %s", d.At, d.Request.Op, d.Request.Body, d.Ours, d.Theirs, d.Decision)
}

// Compare returns where the answers to a list of requests differ. The first
// decision that explains a difference is named in it.
func Compare(server string, list []Request, ours, theirs []Answer) []Difference {
	var found []Difference
	for i, r := range list {
		a, b := ours[i], theirs[i]
		if a.same(b) || r.Sync {
			continue
		}
		d := Difference{At: i, Request: r, Ours: a, Theirs: b}
		for _, x := range Decisions[server] {
			if x.explains(d) {
				d.Decision = x.Name
				break
			}
		}
		found = append(found, d)
	}
	return found
}
